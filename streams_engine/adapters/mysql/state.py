"""The checkpoint and the quarantine of streams, as two tables in a MySQL database.

They lie in the target's own database, where the account has its rights. Making a table
commits, so it is done before a transaction begins.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import pymysql

from streams_engine.adapters.mysql.connect import is_mariadb, translating
from streams_engine.adapters.mysql.selecting import quote
from streams_engine.errors import FencedOff, TargetConflict
from streams_engine.protocols import Checkpoint, Rejected
from streams_engine.sharing import Fence

__all__ = ["STATE_TABLES", "StateTable"]

STATE_TABLES = ("streams_engine_state", "streams_engine_quarantine")
DATABASE = "streams_engine"
"""Where the target has no database of its own: a whole server is written to."""

NO_TABLE = (1146, 1049)
BUSY = (1044, 1142, 1205)
"""No right to lock; or a lock that others hold."""

HELD = (1205, 3572)
"""A lock that others hold is not waited for: MariaDB's word for it, and MySQL's."""

TRIES = 5


class StateTable:
    """Records by stream and key; every method but `make` leaves the commit to its caller."""

    def __init__(self, database: str | None) -> None:
        self._database = database or DATABASE
        self._own = database is None
        self._state, self._quarantine = (
            f"{quote(self._database)}.{quote(name)}" for name in STATE_TABLES
        )
        self._made = False

    def named(self, table: str) -> str:
        """The qualified, quoted name of a table in the state's database."""
        return f"{quote(self._database)}.{quote(table)}"

    def make(self, connection: Any) -> None:
        """Create what is missing. Ends a transaction. Safe where several runs begin at once."""
        if self._made:
            return
        with (
            translating(f"creating the state tables in database {self._database}"),
            connection.cursor() as cursor,
        ):
            if self._own:
                cursor.execute(f"CREATE DATABASE IF NOT EXISTS {quote(self._database)}")
            cursor.execute(
                f"CREATE TABLE IF NOT EXISTS {self._state} (stream VARBINARY(800) NOT NULL,"
                " name VARBINARY(2200) NOT NULL, document LONGTEXT NOT NULL,"
                " attempt CHAR(32) NOT NULL DEFAULT '',"
                " updated_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP"
                " ON UPDATE CURRENT_TIMESTAMP, PRIMARY KEY (stream, name))"
                " ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin"
            )
            cursor.execute(
                f"CREATE TABLE IF NOT EXISTS {self._quarantine}"
                " (id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY, stream VARCHAR(200) NOT NULL,"
                " source_table TEXT NOT NULL, reason TEXT NOT NULL, code VARCHAR(16) NOT NULL,"
                " source_row LONGTEXT NOT NULL,"
                " at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP)"
                " ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin"
            )
        self._made = True

    def begin(self, connection: Any) -> None:
        """Begin a transaction in which the tables stay: no one can drop them until it ends."""
        with translating("opening the checkpoint"), connection.cursor() as cursor:
            for _ in range(TRIES):
                self.make(connection)
                connection.begin()
                try:
                    cursor.execute(f"SELECT 1 FROM {self._state} LIMIT 0")
                    cursor.execute(f"SELECT 1 FROM {self._quarantine} LIMIT 0")
                    return
                except pymysql.ProgrammingError as error:
                    if error.args[0] not in NO_TABLE:
                        raise
                    self._made = False  # another process, whose stream was the last, dropped them
        raise TargetConflict(
            f"The state tables in database {self._database} vanish again and again.",
            remedy="Find what drops them.",
        )

    def _there(self, cursor: Any) -> bool:
        cursor.execute(
            "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = %s"
            " AND table_name IN %s",
            (self._database, STATE_TABLES),
        )
        return bool(cursor.fetchone()[0] == len(STATE_TABLES))

    def load(self, connection: Any, stream: str) -> dict[str, dict[str, Any]]:
        """The records of a stream by key."""
        with translating("reading the checkpoint"), connection.cursor() as cursor:
            if not self._there(cursor):
                return {}
            cursor.execute(
                f"SELECT name, document FROM {self._state} WHERE stream = %s", (_short(stream),)
            )
            return {key.decode(): json.loads(document) for key, document in cursor.fetchall()}

    def save(
        self,
        connection: Any,
        stream: str,
        records: Mapping[str, Mapping[str, Any] | None],
        attempt: str = "",
    ) -> None:
        """Put records, or remove those that are None."""
        put = (
            f"INSERT INTO {self._state} (stream, name, document, attempt) VALUES (%s, %s, %s, %s)"
            " ON DUPLICATE KEY UPDATE document = VALUES(document), attempt = VALUES(attempt)"
        )
        kept = [
            (_short(stream), key, json.dumps(document), attempt)
            for key, document in records.items()
            if document is not None
        ]
        gone = [key for key, document in records.items() if document is None]
        with translating("writing the checkpoint"), connection.cursor() as cursor:
            if kept:
                cursor.executemany(put, kept)
            if gone:
                cursor.execute(
                    f"DELETE FROM {self._state} WHERE stream = %s AND name IN %s",
                    (_short(stream), gone),
                )

    def claim(self, connection: Any, stream: str, key: str) -> tuple[dict[str, Any] | None, int]:
        """Take a record over: (its document, the new epoch). Waits for who is writing it.

        The caller commits; from then on `advance` of an earlier epoch changes nothing.
        """
        with connection.cursor() as cursor:
            document = self._locked(cursor, stream, key, "FOR UPDATE") or {}
        epoch = int(document.pop("epoch", 0)) + 1
        self.save(connection, stream, {key: {**document, "epoch": epoch}})
        return document or None, epoch

    def advance(
        self,
        connection: Any,
        stream: str,
        key: str,
        epoch: int,
        document: Mapping[str, Any],
    ) -> bool:
        """Put a claimed record in the caller's transaction. False where it was claimed since.

        The connection has to count rows that were found, not those that were changed.
        """
        with connection.cursor() as cursor:
            found = cursor.execute(
                f"UPDATE {self._state} SET document = %s WHERE stream = %s AND name = %s"
                " AND CAST(JSON_EXTRACT(document, '$.epoch') AS UNSIGNED) = %s",
                (json.dumps({**document, "epoch": epoch}), _short(stream), key, epoch),
            )
            return bool(found == 1)

    def enter(self, connection: Any, stream: str, fence: Fence) -> None:
        """Take a chunk's record for the caller's transaction. Waits for who is writing it.

        Raises `FencedOff` where it is not as the fence says.
        """
        key, before = fence.chunk
        with translating("entering a chunk"), connection.cursor() as cursor:
            if before is None:
                # A look for a row that is not there would lock its neighbours' place too.
                held = cursor.execute(
                    f"INSERT IGNORE INTO {self._state} (stream, name, document)"
                    " VALUES (%s, %s, '{}')",
                    (_short(stream), key),
                )
            else:
                held = self._locked(cursor, stream, key, "FOR UPDATE") == before
        if not held:
            raise FencedOff(
                f"Another worker has written {key} meanwhile.", remedy="It goes on from there."
            )

    def demand_run(self, connection: Any, stream: str, fence: Fence) -> None:
        """Raise `FencedOff` where the stream was started anew; until the commit it cannot be.

        Whoever changes the run's record starts it anew, and may be waiting for us: no waiting.
        """
        key, document = fence.run
        how = f"{'LOCK IN SHARE MODE' if is_mariadb(connection) else 'FOR SHARE'} NOWAIT"
        found = None
        with translating("looking for the run"), connection.cursor() as cursor:
            try:
                found = self._locked(cursor, stream, key, how)
            except pymysql.MySQLError as error:
                if error.args[0] not in HELD:
                    raise
        if found != document:
            raise FencedOff(
                f"The stream '{stream}' was started anew, and this worker is of an earlier start.",
                remedy="Nothing is to be done: what it read is not written.",
            )

    def _locked(self, cursor: Any, stream: str, key: str, how: str) -> dict[str, Any] | None:
        cursor.execute(
            f"SELECT document FROM {self._state} WHERE stream = %s AND name = %s {how}",
            (_short(stream), key),
        )
        row = cursor.fetchone()
        return None if row is None else dict(json.loads(row[0]))

    def attempted(self, connection: Any, stream: str, key: str) -> str | None:
        """Who wrote a record last. Waits for a transaction that holds it to end."""
        with translating("asking for the outcome of a commit"), connection.cursor() as cursor:
            cursor.execute(
                f"SELECT attempt FROM {self._state} WHERE stream = %s AND name = %s FOR UPDATE",
                (_short(stream), key),
            )
            row = cursor.fetchone()
            return None if row is None else str(row[0])

    def forget(self, connection: Any, stream: str) -> None:
        """Remove a stream's records, then what of the state is empty. Commits."""
        with translating("removing the checkpoint"), connection.cursor() as cursor:
            if not self._there(cursor):
                return
            cursor.execute(f"DELETE FROM {self._state} WHERE stream = %s", (_short(stream),))
            connection.commit()
            self._drop_empty(cursor)

    def _drop_empty(self, cursor: Any) -> None:
        """Drop the tables where both are empty, and no write of another stream is under way."""
        cursor.execute("SET SESSION lock_wait_timeout = 1")
        try:
            cursor.execute(f"LOCK TABLES {self._state} WRITE, {self._quarantine} WRITE")
            cursor.execute(
                f"SELECT EXISTS (SELECT 1 FROM {self._state})"
                f" OR EXISTS (SELECT 1 FROM {self._quarantine})"
            )
            if not cursor.fetchone()[0]:
                cursor.execute(f"DROP TABLE {self._state}, {self._quarantine}")
                self._made = False
        except pymysql.MySQLError as error:
            if error.args[0] not in BUSY:
                raise
            return  # somebody writes, or may not lock: they stay for the next end of a stream
        finally:
            cursor.execute("UNLOCK TABLES")
            cursor.execute("SET SESSION lock_wait_timeout = DEFAULT")
        if self._own and not self._made:
            cursor.execute(
                "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = %s",
                (self._database,),
            )
            if not cursor.fetchone()[0]:
                cursor.execute(f"DROP DATABASE IF EXISTS {quote(self._database)}")

    def record(
        self,
        connection: Any,
        stream: str,
        checkpoint: Checkpoint,
        rejected: Sequence[Rejected],
        attempt: str,
    ) -> None:
        """A chunk's record and the rows set aside, in the caller's transaction."""
        self.save(connection, stream, {checkpoint.key: checkpoint.document}, attempt)
        if rejected:
            self.set_aside(connection, stream, rejected)

    def set_aside(self, connection: Any, stream: str, rejected: Sequence[Rejected]) -> None:
        """Write rows into the quarantine, in the caller's transaction."""
        with translating("writing the quarantine"), connection.cursor() as cursor:
            cursor.executemany(
                f"INSERT INTO {self._quarantine}"
                " (stream, source_table, reason, code, source_row) VALUES (%s, %s, %s, %s, %s)",
                [
                    (_short(stream), str(r.table), r.reason, r.code, json.dumps(dict(r.row)))
                    for r in rejected
                ],
            )


def _short(stream: str) -> str:
    """A stream's name where it fits the column, else its head and a digest of the whole."""
    if len(stream) <= 200:
        return stream
    return stream[:160] + "_" + hashlib.blake2b(stream.encode(), digest_size=16).hexdigest()
