"""Statements and rows of a PostgreSQL database: run, described without being run, changed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import psycopg
from psycopg import pq, sql
from psycopg.types.datetime import DateLoader, TimeLoader, TimestampLoader, TimestamptzLoader
from psycopg.types.string import TextLoader

from streams_engine.adapters.postgres.connection import PostgresConnect, translating
from streams_engine.adapters.postgres.snapshot.select import name
from streams_engine.adapters.sql.login import password_now
from streams_engine.adapters.sql.row_changes import RowChanges
from streams_engine.adapters.sql.server_message import Masked, server_text
from streams_engine.contracts import RowValues, StatementResult
from streams_engine.errors import ConfigError, QueryFailed
from streams_engine.model import TableSchema

__all__ = ["PostgresStatements", "plain_values"]

TEXTS = (
    *("json", "jsonb", "jsonpath", "interval", "inet", "cidr", "uuid", "xml"),
    *("int4range", "int8range", "numrange", "daterange", "tsrange", "tstzrange"),
    *("int4multirange", "int8multirange", "nummultirange", "datemultirange", "tsmultirange",
      "tstzmultirange"),
)  # fmt: skip
"""Types whose values are given as PostgreSQL prints them: Python has none that hold them all."""

TOLD = ("42", "22P02", "0A000", "3D", "3F")
"""Beginnings of SQLSTATEs whose message is about names, types and syntax."""


class _Whole(TextLoader):
    """A value of a type that Python holds in part: what it does not hold is a text."""

    inner: type[Any]

    def load(self, data: Any) -> Any:
        try:
            return self.inner(self.oid, self.connection).load(data)
        except (psycopg.DataError, ValueError, OverflowError):
            return super().load(data)


LOADERS = {
    kind: type(f"Whole{kind.title()}Loader", (_Whole,), {"inner": loader})
    for kind, loader in (
        ("date", DateLoader),
        ("time", TimeLoader),
        ("timestamp", TimestampLoader),
        ("timestamptz", TimestamptzLoader),
    )
}
"""Infinite dates, those before Christ, and 24:00."""


def plain_values(connection: psycopg.Connection) -> None:
    """Let a connection give values as plain Python: exact, else as the server's own text."""
    for kind in TEXTS:
        connection.adapters.register_loader(kind, TextLoader)
    for kind, loader in LOADERS.items():
        connection.adapters.register_loader(kind, loader)


class PostgresStatements:
    """Statements on one database."""

    dialect = "postgres"

    def __init__(self, connect: PostgresConnect, schema: str | None) -> None:
        self._connect = connect
        self._path = tuple(dict.fromkeys((schema or "public", "public")))

    def execute(self, sql: str, *, several: bool, limit: int | None) -> StatementResult:
        """Run a statement; several are one transaction, as PostgreSQL has it."""
        with self._asking("the statement") as connection, connection.cursor() as cursor:
            cursor.execute(sql.encode())
            result = StatementResult((), [], 0)
            while True:
                affected = max(cursor.rowcount, 0)
                if cursor.description is None:
                    result = StatementResult(
                        result.columns, result.rows, result.affected + affected
                    )
                else:
                    rows = cursor.fetchall() if limit is None else cursor.fetchmany(limit)
                    read = (cursor.statusmessage or "").split()[:1] in (["SELECT"], ["SHOW"])
                    result = StatementResult(
                        tuple(column.name for column in cursor.description),
                        [[_plain(value) for value in row] for row in rows],
                        result.affected + (0 if read else affected),
                    )
                if not cursor.nextset():
                    return result

    def columns(self, sql: str) -> list[dict[str, Any]]:
        """Describe the result by Parse and Describe, which run nothing.

        https://www.postgresql.org/docs/current/protocol-flow.html
        """
        with self._asking("the statement") as connection:
            prepared = connection.pgconn
            for answer in (
                prepared.prepare(b"", sql.encode()),
                prepared.describe_prepared(b""),
            ):
                if answer.status != pq.ExecStatus.COMMAND_OK:
                    raise psycopg.errors.error_from_result(answer)
            told = [
                ((answer.fname(i) or b"").decode(), answer.ftype(i), answer.fmod(i))
                for i in range(answer.nfields)
            ]
            names = connection.execute(
                "SELECT pg_catalog.format_type(t, m) FROM"
                " unnest(%s::pg_catalog.oid[], %s::pg_catalog.int4[]) WITH ORDINALITY x(t, m, n)"
                " ORDER BY n",
                ([kind for _, kind, _ in told], [modifier for _, _, modifier in told]),
            ).fetchall()
        return [
            {"name": column, "type": kind}
            for (column, _, _), (kind,) in zip(told, names, strict=True)
        ]

    def insert(self, table: TableSchema, rows: Sequence[RowValues]) -> list[RowValues]:
        """Insert rows in one transaction; return their primary keys as the server made them."""
        key = [part.column for part in table.primary_key.parts] if table.primary_key else []
        names = [column for column in key if column is not None]
        returned = f" RETURNING {', '.join(map(_quoted, names))}".replace("%", "%%")
        changes = self._changes(table, returned if names else "")
        return changes.insert(rows, "DEFAULT VALUES", lambda cursor, _: _key(cursor, names))

    def update(self, table: TableSchema, key: RowValues, values: RowValues) -> None:
        """Update the one row of a key."""
        self._changes(table).update(key, values)

    def delete(self, table: TableSchema, key: RowValues) -> None:
        """Delete the one row of a key."""
        self._changes(table).delete(key)

    def _changes(self, table: TableSchema, returning: str = "") -> RowChanges:
        @contextlib.contextmanager
        def transaction() -> Iterator[Any]:
            with (
                self._asking(str(table.id)) as connection,
                connection.transaction(),
                connection.cursor() as cursor,
            ):
                yield cursor

        place = name(table.id).as_string(None)
        return RowChanges(transaction, _quoted, lambda value: value, place, table, returning)

    @contextlib.contextmanager
    def _asking(self, what: str) -> Iterator[psycopg.Connection]:
        password = password_now(self._connect.password)
        connect, secrets = replace(self._connect, password=password), Masked(password)
        with (
            contextlib.closing(connect.open(autocommit=True, search_path=self._path)) as connection,
            translating(what, secrets),
        ):
            plain_values(connection)
            try:
                yield connection
            except psycopg.Error as error:
                state, message = error.sqlstate or "", error.diag.message_primary
                if isinstance(error, psycopg.ProgrammingError) and not state:
                    raise ConfigError(f"{what}: a value's type cannot be sent.") from None
                if not (state.startswith(TOLD) and message) or state == "42501":
                    raise
                raise QueryFailed(
                    f"{what}: {server_text(message, secrets)}.", sqlstate=state
                ) from None


def _quoted(identifier: str) -> str:
    return sql.Identifier(identifier).as_string(None)


def _key(cursor: Any, names: Sequence[str]) -> RowValues:
    return dict(zip(names, cursor.fetchone(), strict=True)) if names else {}


def _plain(value: Any) -> Any:
    """Return a value without types of psycopg: a composite is a list of its fields."""
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, memoryview | bytearray):
        return bytes(value)
    return value
