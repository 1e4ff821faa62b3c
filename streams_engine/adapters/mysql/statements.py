"""Statements and rows of a MySQL or MariaDB server: run, described without being run, changed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pymysql

from streams_engine.adapters.mysql.connection import MysqlConnect, translating
from streams_engine.adapters.mysql.snapshot.query import column_of
from streams_engine.adapters.mysql.snapshot.result_set import described
from streams_engine.adapters.mysql.snapshot.select import name, quote
from streams_engine.adapters.sql.login import password_now
from streams_engine.adapters.sql.row_changes import RowChanges
from streams_engine.adapters.sql.server_message import Masked, server_text
from streams_engine.contracts import RowValues, StatementResult
from streams_engine.errors import ConfigError, QueryFailed
from streams_engine.model import Column, TableSchema

__all__ = ["MysqlStatements"]

TOLD = {1046, 1049, 1051, 1052, 1054, 1060, 1064, 1066, 1091, 1109, 1115, 1128, 1146, 1176, 1235,
        1248, 1305, 1327, 1364, 1582, 1584, 4078}  # fmt: skip
"""Errors whose message is about names, types and syntax.
https://dev.mysql.com/doc/mysql-errors/9.0/en/server-error-reference.html"""


class MysqlStatements:
    """Statements on one server."""

    dialect = "mysql"

    def __init__(self, connect: MysqlConnect) -> None:
        self._connect = connect

    def execute(self, sql: str, *, several: bool, limit: int | None) -> StatementResult:
        """Run a statement; several are one transaction, as far as they do not commit by
        themselves."""
        with self._asking("the statement", several=several) as connection:
            if several:
                connection.begin()
            with connection.cursor() as cursor:
                cursor.execute(sql)
                columns: tuple[str, ...] = ()
                rows: list[list[Any]] = []
                affected = 0
                while True:
                    if cursor.description is None:
                        affected += max(cursor.rowcount, 0)
                    else:
                        columns = tuple(column[0] for column in cursor.description)
                        kept = cursor.fetchall()[:limit]
                        rows = [list(row) for row in kept]
                    if not cursor.nextset():
                        break
            if several:
                connection.commit()
        return StatementResult(columns, rows, affected)

    def columns(self, sql: str) -> list[dict[str, Any]]:
        """Describe the result by COM_STMT_PREPARE, which runs nothing.

        https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_com_stmt_prepare.html
        """
        with self._asking("the statement") as connection:
            columns = [column_of(field) for field in described(connection, sql)]
        return [{"name": column.name, "type": column.type.text} for column in columns]

    def insert(self, table: TableSchema, rows: Sequence[RowValues]) -> list[RowValues]:
        """Insert rows in one transaction; return their primary keys, as far as they are known."""
        parts = table.primary_key.parts if table.primary_key else ()
        columns = [table.column(part.column) for part in parts if part.column is not None]
        return self._changes(table).insert(
            rows, "() VALUES ()", lambda cursor, row: _key(cursor, row, columns)
        )

    def update(self, table: TableSchema, key: RowValues, values: RowValues) -> None:
        """Update the one row of a key."""
        self._changes(table).update(key, values)

    def delete(self, table: TableSchema, key: RowValues) -> None:
        """Delete the one row of a key."""
        self._changes(table).delete(key)

    def _changes(self, table: TableSchema) -> RowChanges:
        @contextlib.contextmanager
        def transaction() -> Iterator[Any]:
            with self._asking(str(table.id)) as connection, connection.cursor() as cursor:
                connection.begin()
                yield cursor
                connection.commit()

        return RowChanges(transaction, quote, _adapted, name(table.id), table)

    @contextlib.contextmanager
    def _asking(self, what: str, *, several: bool = False) -> Iterator[Any]:
        password = password_now(self._connect.password)
        connect, secrets = replace(self._connect, password=password), Masked(password)
        opened = connect.open(found_rows=True, several=several)
        with contextlib.closing(opened) as connection, translating(what):
            try:
                yield connection
            except pymysql.MySQLError as error:
                number = error.args[0] if error.args else None
                if isinstance(number, str):  # PyMySQL's own, of a value without a literal
                    raise ConfigError(f"{what}: {number}.") from None
                if number not in TOLD:
                    raise
                raise QueryFailed(
                    f"{what}: {server_text(str(error.args[-1]), secrets)}.", errno=number
                ) from None


def _key(cursor: Any, row: RowValues, columns: Sequence[Column]) -> RowValues:
    """Return a row's key: as it was given, else as AUTO_INCREMENT made it."""
    key = {column.name: row.get(column.name) for column in columns}
    for column in columns:
        if column.identity is not None and key[column.name] in (None, 0):
            key[column.name] = cursor.lastrowid
    return key


def _adapted(value: Any) -> Any:
    """Return a value that PyMySQL writes exactly: a moment in UTC, as the session is. Raises
    `ConfigError` for what it would write as SQL."""
    if isinstance(value, list | tuple | Mapping):
        raise ConfigError("A list or a mapping is a value of JSON columns alone.")
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value.astimezone(UTC).replace(tzinfo=None)
    return value
