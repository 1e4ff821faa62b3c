"""Checkpoint and quarantine tables in a MySQL database.

They are in the target's own database, where the account has its privileges. Creating a table
commits, so it is done before a transaction begins.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any
from uuid import uuid4

import pymysql

from streams_engine.adapters.mysql.connection import is_mariadb, translating
from streams_engine.adapters.mysql.snapshot.select import quote
from streams_engine.adapters.sql.checkpoint_table import CheckpointSql

__all__ = ["STATE_TABLES", "MysqlStateTables"]

STATE_TABLES = ("streams_engine_state", "streams_engine_quarantine")
DATABASE = "streams_engine"
"""Where the target has no database of its own: a whole server is written to."""

NO_TABLE = (1146, 1049)
BUSY = (1044, 1142, 1205)
"""No right to lock; or a lock that others hold."""


class MysqlStateTables:
    """``streams_engine_state`` and ``streams_engine_quarantine``. See `StateTables`."""

    translating = staticmethod(translating)
    errors: tuple[type[Exception], ...] = (pymysql.MySQLError, OSError)

    def __init__(self, database: str | None) -> None:
        self._database = database or DATABASE
        self._own = database is None
        self.place = f"database {self._database}"
        self._state, self._quarantine = (self.named(name) for name in STATE_TABLES)
        self._in_query = self._state.replace("%", "%%")  # beside parameters
        self.sql = _statements(self._in_query, self._quarantine.replace("%", "%%"), self._database)

    def named(self, table: str) -> str:
        """Return the qualified, quoted name of a table in the state's database."""
        return f"{quote(self._database)}.{quote(table)}"

    def create(self, connection: Any) -> None:
        """Create the missing tables. Ends a transaction."""
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

    def hold(self, connection: Any) -> str | None:
        """Begin, and read both tables: the transaction's metadata locks keep them. Return a name
        that the record carries."""
        connection.begin()
        with connection.cursor() as cursor:
            try:
                cursor.execute(f"SELECT 1 FROM {self._state} LIMIT 0")
                cursor.execute(f"SELECT 1 FROM {self._quarantine} LIMIT 0")
            except pymysql.ProgrammingError as error:
                if error.args[0] not in NO_TABLE:
                    raise
                return None
        return uuid4().hex

    def together(self, connection: Any) -> AbstractContextManager[object]:
        """Do nothing: each statement is answered before the next is sent."""
        return nullcontext()

    def claim(self, connection: Any, stream: str, key: str) -> tuple[dict[str, Any] | None, int]:
        """Lock the record, and put it with the next epoch."""
        given = {"stream": self.stream_key(stream), "key": key}
        with connection.cursor() as cursor:
            cursor.execute(f"{self.sql.find} {self.sql.lock}", given)
            row = cursor.fetchone()
            document = {} if row is None else dict(json.loads(row[0]))
            epoch = int(document.pop("epoch", 0)) + 1
            text = json.dumps({**document, "epoch": epoch})
            cursor.execute(self.sql.put, {**given, "document": text, "attempt": ""})
        return document or None, epoch

    def commit_claimed(
        self, connection: Any, stream: str, key: str, epoch: int, document: str
    ) -> bool:
        """Update the record if it has the epoch, then commit.

        The connection must count matched rows, not changed ones.
        """
        with translating("writing the position"), connection.cursor() as cursor:
            count = cursor.execute(
                f"UPDATE {self._in_query} SET document = %s WHERE stream = %s AND name = %s"
                " AND CAST(JSON_EXTRACT(document, '$.epoch') AS UNSIGNED) = %s",
                (document, self.stream_key(stream), key, epoch),
            )
        if count == 1:
            connection.commit()
        return bool(count == 1)

    def committed(self, connection: Any, stream: str, key: str, attempt: str) -> bool | None:
        """Look whose the record is. Its lock is held until the server is through with it."""
        connection.begin()
        with connection.cursor() as cursor:
            cursor.execute(
                f"SELECT attempt FROM {self._in_query} WHERE stream = %s AND name = %s FOR UPDATE",
                (self.stream_key(stream), key),
            )
            row = cursor.fetchone()
        return row is not None and row[0] == attempt

    def forget(self, connection: Any, stream: str) -> bool:
        """Delete the records, and commit; then drop empty tables."""
        with connection.cursor() as cursor:
            query = f"DELETE FROM {self._in_query} WHERE stream = %s"
            cursor.execute(query, (self.stream_key(stream),))
            connection.commit()
            return self._drop_empty(cursor)

    def _drop_empty(self, cursor: Any) -> bool:
        """Drop the tables if both are empty and no other stream writes to them.

        Return True if they are dropped.
        """
        cursor.execute(
            "SET @streams_engine_wait = @@SESSION.lock_wait_timeout, SESSION lock_wait_timeout = 1"
        )
        dropped = False
        try:
            cursor.execute(f"LOCK TABLES {self._state} WRITE, {self._quarantine} WRITE")
            cursor.execute(
                f"SELECT EXISTS (SELECT 1 FROM {self._state})"
                f" OR EXISTS (SELECT 1 FROM {self._quarantine})"
            )
            if not cursor.fetchone()[0]:
                cursor.execute(f"DROP TABLE {self._state}, {self._quarantine}")
                dropped = True
        except pymysql.MySQLError as error:
            if error.args[0] not in BUSY:
                raise
            return False  # somebody writes, or may not lock: they stay for the next end of a stream
        finally:
            cursor.execute("UNLOCK TABLES")
            cursor.execute("SET SESSION lock_wait_timeout = @streams_engine_wait")
        if self._own and dropped:
            cursor.execute(
                "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = %s",
                (self._database,),
            )
            if not cursor.fetchone()[0]:
                cursor.execute(f"DROP DATABASE IF EXISTS {quote(self._database)}")
        return dropped

    def share(self, connection: Any) -> str:
        """Return the flavour's words for a shared lock."""
        return f"{'LOCK IN SHARE MODE' if is_mariadb(connection) else 'FOR SHARE'} SKIP LOCKED"

    def stream_key(self, stream: str) -> str:
        """Return a stream's name where it fits the column, else its head and a digest of it."""
        if len(stream) <= 200:
            return stream
        return stream[:160] + "_" + hashlib.blake2b(stream.encode(), digest_size=16).hexdigest()

    @property
    def quarantine_name(self) -> str:
        """The qualified name of the quarantine, for people."""
        return f"{self._database}.{STATE_TABLES[1]}"

    def row_text(self, connection: Any, row: Mapping[str, Any]) -> str:
        """Return JSON."""
        return json.dumps(row)


def _statements(state: str, quarantine: str, database: str) -> CheckpointSql:
    by_key = "WHERE stream = %(stream)s AND name = %(key)s"
    return CheckpointSql(
        count_tables="SELECT COUNT(*) FROM information_schema.tables"
        " WHERE table_schema = %(database)s AND table_name IN %(tables)s",
        count_parameters={"database": database, "tables": STATE_TABLES},
        load=f"SELECT CONVERT(name USING utf8mb4), document FROM {state} WHERE stream = %(stream)s",
        put=f"INSERT INTO {state} (stream, name, document, attempt)"
        " VALUES (%(stream)s, %(key)s, %(document)s, %(attempt)s)"
        " ON DUPLICATE KEY UPDATE document = VALUES(document), attempt = VALUES(attempt)",
        put_first=f"INSERT IGNORE INTO {state} (stream, name, document)"
        " VALUES (%(stream)s, %(key)s, '{}')",
        remove=f"DELETE FROM {state} WHERE stream = %(stream)s AND name IN %(keys)s",
        find=f"SELECT document FROM {state} {by_key}",
        lock="FOR UPDATE",
        quarantine=f"INSERT INTO {quarantine} (stream, source_table, reason, code, source_row)"
        " VALUES (%(stream)s, %(table)s, %(reason)s, %(code)s, %(row)s)",
    )
