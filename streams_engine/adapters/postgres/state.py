"""The checkpoint and the quarantine of streams, as two tables in the target database."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import psycopg
from psycopg import sql

from streams_engine.adapters.postgres.connect import translating
from streams_engine.errors import FencedOff, PermissionDenied, ServerError, TargetConflict
from streams_engine.protocols import Checkpoint, Rejected
from streams_engine.sharing import Fence

__all__ = ["SCHEMA", "STATE_TABLES", "StateTable"]

SCHEMA = "streams_engine"
STATE_TABLES = ("state", "quarantine")
LOCK = "SELECT pg_catalog.pg_advisory_xact_lock(7306090)"
"""Held while the tables are made or dropped; the number is this library's own."""

MAY_KEEP = """
SELECT CASE
  WHEN n.oid IS NULL THEN pg_catalog.has_database_privilege(current_database(), 'CREATE')
  WHEN t.there = 2 THEN pg_catalog.has_schema_privilege(n.oid, 'USAGE') AND t.ours
  ELSE pg_catalog.has_schema_privilege(n.oid, 'CREATE') END
FROM (SELECT %(schema)s::text AS name) AS wanted
LEFT JOIN pg_catalog.pg_namespace n ON n.nspname = wanted.name
CROSS JOIN LATERAL (
  SELECT count(*) AS there, bool_and(pg_catalog.pg_has_role(c.relowner, 'USAGE')) AS ours
  FROM pg_catalog.pg_class c
  WHERE c.relnamespace = n.oid AND c.relname IN ('state', 'quarantine')) AS t
"""
"""Whether the tables are there and the account's own (they are dropped at the end), or can be."""

TRIES = 5


class StateTable:
    """``state`` (stream, key, document) and ``quarantine`` in a schema of their own."""

    def __init__(self, schema: str | None) -> None:
        self._schema = schema or SCHEMA
        self._own_schema = schema is None
        self._state = sql.Identifier(self._schema, "state")
        self._quarantine = sql.Identifier(self._schema, "quarantine")
        self._made = False

    def demand(self, connection: psycopg.Connection) -> None:
        """Raise `PermissionDenied` where the tables are not there and cannot be made."""
        with translating("looking for the state tables"):
            row = connection.execute(MAY_KEEP, {"schema": self._schema}).fetchone()
        if row is not None and not row[0]:
            database = connection.info.dbname
            raise PermissionDenied(
                f"The account {connection.info.user} cannot keep a checkpoint in the schema "
                f"{self._schema} of the target {database}.",
                remedy="Grant CREATE on the database, or name in options.stateSchema a schema in "
                "which it may create tables.",
            )

    def make(self, connection: psycopg.Connection) -> None:
        """Create what is missing. Safe where several runs begin at once."""
        if self._made:
            return
        what = f"creating the state table in schema {self._schema}"
        with translating(what), connection.transaction():
            # CREATE IF NOT EXISTS races with itself; an advisory lock does not.
            connection.execute(LOCK)
            if not self._there(connection):
                self._create(connection)
        self._made = True

    def begin(self, connection: psycopg.Connection) -> None:
        """Begin a transaction in which the tables stay: no one can drop them until it ends."""
        hold = sql.SQL("LOCK TABLE {}, {} IN ROW EXCLUSIVE MODE").format(
            self._state, self._quarantine
        )
        with translating("opening the checkpoint"):
            for _ in range(TRIES):
                self.make(connection)
                try:
                    connection.execute(hold)
                    return
                except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName):
                    connection.rollback()
                    self._made = False  # another process, whose stream was the last, dropped them
        raise TargetConflict(
            f"The state tables in schema {self._schema} vanish again and again.",
            remedy="Find what drops them.",
        )

    def make_within(self, connection: psycopg.Connection) -> None:
        """Create what is missing in the caller's transaction: gone again where that fails."""
        with translating(f"creating the state table in schema {self._schema}"):
            connection.execute(LOCK)
            if not self._there(connection):
                self._create(connection)

    def _there(self, connection: psycopg.Connection) -> bool:
        query = (
            "SELECT count(*) FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n"
            " ON n.oid = c.relnamespace WHERE n.nspname = %s"
            " AND c.relname IN ('state', 'quarantine')"
        )
        row = connection.execute(query, (self._schema,)).fetchone()
        return row is not None and row[0] == 2

    def _create(self, connection: psycopg.Connection) -> None:
        query = "SELECT EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = %s)"
        row = connection.execute(query, (self._schema,)).fetchone()
        if row is None or not row[0]:
            connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(self._schema)))
        connection.execute(
            sql.SQL(
                "CREATE TABLE IF NOT EXISTS {} (stream text NOT NULL, key text NOT NULL,"
                " document jsonb NOT NULL, updated_at timestamptz NOT NULL DEFAULT now(),"
                " PRIMARY KEY (stream, key))"
            ).format(self._state)
        )
        connection.execute(
            sql.SQL(
                "CREATE TABLE IF NOT EXISTS {} (id bigint GENERATED ALWAYS AS IDENTITY,"
                " stream text NOT NULL, source_table text NOT NULL, reason text NOT NULL,"
                " code text NOT NULL, source_row jsonb NOT NULL,"
                " at timestamptz NOT NULL DEFAULT now())"
            ).format(self._quarantine)
        )

    def load(self, connection: psycopg.Connection, stream: str) -> dict[str, dict[str, Any]]:
        """The records of a stream by key."""
        with translating("reading the checkpoint"):
            if not self._there(connection):
                return {}
            query = sql.SQL("SELECT key, document FROM {} WHERE stream = %s").format(self._state)
            return dict(connection.execute(query, (stream,)).fetchall())

    def save(
        self,
        connection: psycopg.Connection,
        stream: str,
        records: Mapping[str, Mapping[str, Any] | None],
    ) -> None:
        """Put records, or remove those that are None; the caller commits."""
        put = sql.SQL(
            "INSERT INTO {} (stream, key, document) VALUES (%s, %s, %s) ON CONFLICT (stream, key)"
            " DO UPDATE SET document = excluded.document, updated_at = now()"
        ).format(self._state)
        drop = sql.SQL("DELETE FROM {} WHERE stream = %s AND key = ANY(%s)").format(self._state)
        kept = [(stream, k, json.dumps(v)) for k, v in records.items() if v is not None]
        gone = [key for key, document in records.items() if document is None]
        with translating("writing the checkpoint"), connection.cursor() as cursor:
            if kept:
                cursor.executemany(put, kept)
            if gone:
                cursor.execute(drop, (stream, gone))

    def claim(
        self, connection: psycopg.Connection, stream: str, key: str
    ) -> tuple[dict[str, Any] | None, int]:
        """Take a record over: (its document, the new epoch). Waits for who is writing it.

        The caller commits; from then on `advance` of an earlier epoch changes nothing.
        """
        put = sql.SQL(
            "INSERT INTO {} (stream, key, document) VALUES (%s, %s, '{{\"epoch\": 1}}')"
            " ON CONFLICT (stream, key) DO UPDATE SET document = jsonb_set(state.document,"
            " '{{epoch}}', to_jsonb(1 + COALESCE((state.document ->> 'epoch')::bigint, 0)))"
            " RETURNING document"
        ).format(self._state)
        row = connection.execute(put, (stream, key)).fetchone()
        if row is None:  # a rule or a trigger of somebody else
            raise ServerError(
                "The state table of the target did not take the stream's record.",
                remedy="Remove rules and triggers from the table streams_engine.state.",
            )
        document = dict(row[0])
        epoch = int(document.pop("epoch"))
        return document or None, epoch

    def advance(
        self,
        connection: psycopg.Connection,
        stream: str,
        key: str,
        epoch: int,
        document: Mapping[str, Any],
    ) -> bool:
        """Put a claimed record and commit, in one round trip. False where the record was claimed
        since: then nothing of the transaction stays."""
        # The division fails the transaction where no row was found: COMMIT then rolls back.
        query = sql.SQL(
            "WITH moved AS (UPDATE {} SET document = %s, updated_at = now() WHERE stream = %s"
            " AND key = %s AND (document ->> 'epoch')::bigint = %s RETURNING 1)"
            " SELECT 1 / count(*) FROM moved"
        ).format(self._state)
        text = json.dumps({**document, "epoch": epoch})
        try:
            with connection.pipeline():
                connection.execute(query, (text, stream, key, epoch))
                connection.commit()
        except psycopg.errors.DivisionByZero:
            return False
        return True

    def enter(self, connection: psycopg.Connection, stream: str, fence: Fence) -> None:
        """Take a chunk's record for the caller's transaction. Waits for who is writing it.

        Raises `FencedOff` where it is not as the fence says.
        """
        key, before = fence.chunk
        with translating("entering a chunk"):
            if before is None:
                make = sql.SQL(
                    "INSERT INTO {} (stream, key, document) VALUES (%s, %s, '{{}}')"
                    " ON CONFLICT DO NOTHING"
                ).format(self._state)
                held = connection.execute(make, (stream, key)).rowcount == 1
            else:
                hold = sql.SQL(
                    "UPDATE {} SET updated_at = now() WHERE stream = %s AND key = %s"
                    " AND document = %s::jsonb"
                ).format(self._state)
                row = (stream, key, json.dumps(before))
                held = connection.execute(hold, row).rowcount == 1
        if not held:
            raise FencedOff(
                f"Another worker has written {key} meanwhile.", remedy="It goes on from there."
            )

    def demand_run(self, connection: psycopg.Connection, stream: str, fence: Fence) -> None:
        """Raise `FencedOff` where the stream was started anew; until the commit it cannot be.

        Whoever changes the run's record starts it anew, and may be waiting for us: no waiting.
        """
        key, document = fence.run
        query = sql.SQL(
            "SELECT 1 FROM {} WHERE stream = %s AND key = %s AND document = %s::jsonb"
            " FOR SHARE NOWAIT"
        ).format(self._state)
        row = None
        with (
            translating("looking for the run"),
            contextlib.suppress(psycopg.errors.LockNotAvailable),
        ):
            row = connection.execute(query, (stream, key, json.dumps(document))).fetchone()
        if row is None:
            raise FencedOff(
                f"The stream '{stream}' was started anew, and this worker is of an earlier start.",
                remedy="Nothing is to be done: what it read is not written.",
            )

    def forget(self, connection: psycopg.Connection, stream: str) -> None:
        """Remove a stream's records, then what of the state is empty; the caller commits."""
        with translating("removing the checkpoint"):
            connection.execute(LOCK)
            if not self._there(connection):
                return
            drop = sql.SQL("DELETE FROM {} WHERE stream = %s").format(self._state)
            connection.execute(drop, (stream,))
            if not self._alone(connection):
                return
            used = sql.SQL("SELECT EXISTS (SELECT FROM {}) OR EXISTS (SELECT FROM {})").format(
                self._state, self._quarantine
            )
            row = connection.execute(used).fetchone()
            if row is None or row[0]:
                return
            connection.execute(sql.SQL("DROP TABLE {}, {}").format(self._state, self._quarantine))
            self._made = False
            if self._own_schema and not self._schema_used(connection):
                connection.execute(sql.SQL("DROP SCHEMA {}").format(sql.Identifier(self._schema)))

    def _alone(self, connection: psycopg.Connection) -> bool:
        """Keep others out of the tables. False where a write of another stream is under way."""
        keep_out = sql.SQL("LOCK TABLE {}, {} IN ACCESS EXCLUSIVE MODE NOWAIT").format(
            self._state, self._quarantine
        )
        try:
            with connection.transaction():
                connection.execute(keep_out)
        except psycopg.errors.LockNotAvailable:
            return False
        return True

    def _schema_used(self, connection: psycopg.Connection) -> bool:
        query = (
            "SELECT EXISTS (SELECT FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_namespace n"
            " ON d.refclassid = 'pg_namespace'::regclass AND d.refobjid = n.oid"
            " WHERE n.nspname = %s)"
        )
        row = connection.execute(query, (self._schema,)).fetchone()
        return row is None or bool(row[0])

    def record(
        self,
        connection: psycopg.Connection,
        stream: str,
        checkpoint: Checkpoint,
        rejected: Sequence[Rejected],
    ) -> None:
        """A chunk's record and the rows set aside, in the caller's transaction."""
        self.save(connection, stream, {checkpoint.key: checkpoint.document})
        if rejected:
            self.set_aside(connection, stream, rejected)

    def set_aside(
        self, connection: psycopg.Connection, stream: str, rejected: Sequence[Rejected]
    ) -> None:
        """Write rows into the quarantine, in the caller's transaction."""
        query = sql.SQL(
            "INSERT INTO {} (stream, source_table, reason, code, source_row)"
            " VALUES (%s, %s, %s, %s, %s)"
        ).format(self._quarantine)
        with translating("writing the quarantine"), connection.cursor() as cursor:
            cursor.executemany(
                query,
                [
                    # jsonb holds no NUL; the escape shows where one was.
                    (stream, str(r.table), r.reason, r.code, _json(r.row))
                    for r in rejected
                ],
            )


def _json(row: Mapping[str, Any]) -> str:
    return json.dumps(
        {
            key: value.replace("\0", "\\0") if isinstance(value, str) else value
            for key, value in row.items()
        }
    )
