"""The tables of the checkpoint and the quarantine in the target database."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

import psycopg
from psycopg import sql

from streams_engine.adapters.postgres.connection import pipelined, translating
from streams_engine.adapters.postgres.sink.wire_texts import wire_text
from streams_engine.adapters.sql.checkpoint_table import CheckpointSql
from streams_engine.errors import PermissionDenied, ServerError
from streams_engine.schema.types.source_texts import WireValue

__all__ = ["SCHEMA", "STATE_TABLES", "PostgresStateTables"]

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


class PostgresStateTables:
    """``state`` and ``quarantine`` in a schema of their own. See `StateTables`."""

    translating = staticmethod(translating)
    errors: tuple[type[Exception], ...] = (psycopg.Error,)

    def __init__(self, schema: str | None) -> None:
        self._schema = schema or SCHEMA
        self._own_schema = schema is None
        self.place = f"schema {self._schema}"
        self._state = sql.Identifier(self._schema, "state")
        self._quarantine = sql.Identifier(self._schema, "quarantine")
        self._in_query = _beside_parameters(self._state)
        self.sql = _statements(self._in_query, _beside_parameters(self._quarantine), self._schema)

    def demand(self, connection: psycopg.Connection) -> None:
        """Raise `PermissionDenied` if the tables are not there and cannot be made."""
        with translating("reading the state tables"):
            row = connection.execute(MAY_KEEP, {"schema": self._schema}).fetchone()
        if row is not None and not row[0]:
            database = connection.info.dbname
            raise PermissionDenied(
                f"The account {connection.info.user} cannot create the state table in the schema "
                f"{self._schema} of the target {database}.",
                remedy=(
                    "Grant CREATE on the database, or set options.stateSchema to a schema in "
                    "which the account may create tables."
                ),
            )

    def create(self, connection: psycopg.Connection) -> None:
        """Create the missing tables, in its own transaction or a savepoint."""
        with connection.transaction():
            self.create_within(connection)

    def create_within(self, connection: psycopg.Connection) -> None:
        """Create the missing tables in the caller's transaction."""
        with translating(f"creating the state table in schema {self._schema}"):
            # CREATE IF NOT EXISTS races with itself; an advisory lock does not.
            connection.execute(LOCK)
            if not self._there(connection):
                self._create(connection)

    def _there(self, connection: Any) -> bool:
        row = connection.execute(self.sql.count_tables, self.sql.count_parameters).fetchone()
        return row is not None and row[0] == 2

    def hold(self, connection: psycopg.Connection) -> str | None:
        """Lock both tables as writers do, which a DROP has to wait for; return the transaction's
        number."""
        query = sql.SQL("LOCK TABLE {}, {} IN ROW EXCLUSIVE MODE")
        try:
            with pipelined(connection):
                connection.execute(query.format(self._state, self._quarantine))
                number = connection.execute("SELECT pg_catalog.txid_current()")
        except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName):
            connection.rollback()
            return None
        row = number.fetchone()
        return str(row[0]) if row else ""

    def together(self, connection: psycopg.Connection) -> AbstractContextManager[object]:
        """Open a pipeline."""
        return pipelined(connection)

    def claim(
        self, connection: psycopg.Connection, stream: str, key: str
    ) -> tuple[dict[str, Any] | None, int]:
        """Count the epoch up, or put the first, in one statement."""
        put = sql.SQL(
            "INSERT INTO {} (stream, key, document) VALUES (%s, %s, '{{\"epoch\": 1}}')"
            " ON CONFLICT (stream, key) DO UPDATE SET document = jsonb_set(state.document,"
            " '{{epoch}}', to_jsonb(1 + COALESCE((state.document ->> 'epoch')::bigint, 0)))"
            " RETURNING document"
        ).format(self._in_query)
        row = connection.execute(put, (stream, key)).fetchone()
        if row is None:  # a rule or a trigger of somebody else
            raise ServerError(
                "The state table of the target did not store the stream's record.",
                remedy="Remove rules and triggers from the table streams_engine.state.",
            )
        document = dict(row[0])
        epoch = int(document.pop("epoch"))
        return document or None, epoch

    def commit_claimed(
        self, connection: psycopg.Connection, stream: str, key: str, epoch: int, document: str
    ) -> bool:
        """Update the record if it has the epoch, and commit, in one round trip."""
        query = _position_update(self._in_query.as_string(), "%s", "%s", "%s", "%s")
        try:
            with pipelined(connection):
                connection.execute(query, (document, stream, key, epoch))
                connection.commit()
        except psycopg.errors.DivisionByZero:
            return False
        return True

    def position_update(self, document: str, stream: str, key: str, epoch: str) -> bytes:
        """Build the update of a claimed record from its parameters as libpq numbers them."""
        return _position_update(self._state.as_string(), document, stream, key, epoch)

    def committed(
        self, connection: psycopg.Connection, stream: str, key: str, attempt: str
    ) -> bool | None:
        """Ask for the transaction's status."""
        query = "SELECT pg_catalog.txid_status(%s::bigint)"
        row = connection.execute(query, (attempt,)).fetchone()
        if row is None or row[0] not in ("committed", "aborted"):
            return None
        return bool(row[0] == "committed")

    def forget(self, connection: psycopg.Connection, stream: str) -> bool:
        """Delete the records, then drop empty tables and schema, in one transaction."""
        connection.execute(LOCK)
        if not self._there(connection):
            return True
        drop = sql.SQL("DELETE FROM {} WHERE stream = %s").format(self._in_query)
        connection.execute(drop, (stream,))
        if not self._alone(connection):
            return False
        used = sql.SQL("SELECT EXISTS (SELECT FROM {}) OR EXISTS (SELECT FROM {})").format(
            self._state, self._quarantine
        )
        row = connection.execute(used).fetchone()
        if row is None or row[0]:
            return False
        connection.execute(sql.SQL("DROP TABLE {}, {}").format(self._state, self._quarantine))
        if self._own_schema and not self._schema_used(connection):
            connection.execute(sql.SQL("DROP SCHEMA {}").format(sql.Identifier(self._schema)))
        return True

    def _alone(self, connection: psycopg.Connection) -> bool:
        """Keep others out of the tables. False if a write of another stream is under way."""
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

    def share(self, connection: psycopg.Connection) -> str:
        """Return the words for a shared lock."""
        return "FOR SHARE SKIP LOCKED"

    def stream_key(self, stream: str) -> str:
        """Return the name: the column takes any."""
        return stream

    @property
    def quarantine_name(self) -> str:
        """The qualified name of the quarantine, for people."""
        return f"{self._schema}.{STATE_TABLES[1]}"

    def row_text(self, connection: psycopg.Connection, row: Mapping[str, Any]) -> str:
        """Return JSON. A jsonb holds no NUL: a text with one is an object with its bytes."""
        return json.dumps({key: _shown(connection, value) for key, value in row.items()})

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


def _beside_parameters(name: sql.Identifier) -> sql.SQL:
    """Return a name for queries with parameters, in which psycopg reads each % as a place."""
    return sql.SQL(name.as_string().replace("%", "%%"))


def _position_update(state: str, document: str, stream: str, key: str, epoch: str) -> bytes:
    # The division fails the transaction where no row was found: COMMIT then rolls back.
    return (
        f"WITH moved AS (UPDATE {state} SET document = {document},"
        f" updated_at = now() WHERE stream = {stream} AND key = {key}"
        f" AND (document ->> 'epoch')::bigint = {epoch} RETURNING 1)"
        " SELECT 1 / count(*) FROM moved"
    ).encode()


def _shown(connection: psycopg.Connection, value: Any) -> Any:
    """Return a value of a quarantined row as a jsonb holds it."""
    if isinstance(value, WireValue):
        return wire_text(connection, value)
    if isinstance(value, str) and "\0" in value:
        return {"hex": value.encode().hex()}
    return value


def _statements(state: sql.SQL, quarantine: sql.SQL, schema: str) -> CheckpointSql:
    records, rows = state.as_string(), quarantine.as_string()
    by_key = "WHERE stream = %(stream)s AND key = %(key)s"
    return CheckpointSql(
        count_tables="SELECT count(*) FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n"
        " ON n.oid = c.relnamespace WHERE n.nspname = %(schema)s"
        " AND c.relname IN ('state', 'quarantine')",
        count_parameters={"schema": schema},
        load=f"SELECT key, document::text FROM {records} WHERE stream = %(stream)s",
        put=f"INSERT INTO {records} (stream, key, document)"
        " VALUES (%(stream)s, %(key)s, %(document)s) ON CONFLICT (stream, key)"
        " DO UPDATE SET document = excluded.document, updated_at = now()",
        put_first=f"INSERT INTO {records} (stream, key, document)"
        " VALUES (%(stream)s, %(key)s, '{}') ON CONFLICT DO NOTHING",
        remove=f"DELETE FROM {records} WHERE stream = %(stream)s AND key = ANY(%(keys)s)",
        find=f"SELECT document::text FROM {records} {by_key}",
        lock="FOR NO KEY UPDATE",
        quarantine=f"INSERT INTO {rows} (stream, source_table, reason, code, source_row)"
        " VALUES (%(stream)s, %(table)s, %(reason)s, %(code)s, %(row)s)",
    )
