"""PostgreSQL's own text of every value, for `verify`. Shares nothing with the copy."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence

import psycopg
from psycopg import sql

from streams_engine.adapters.postgres.connect import PostgresConnect, translating
from streams_engine.model import NativeType, TableId
from streams_engine.schema.forms import Form

__all__ = ["PostgresCanonical"]

RENDERINGS: Mapping[Form, str] = {
    Form.BOOLEAN: "{}::int::text",
    Form.BYTES: "upper(pg_catalog.encode({}, 'hex'))",
    Form.LABELS: "pg_catalog.array_to_string({}, ',')",
    Form.FLOAT: "{}::float8::text",
    Form.BITS: "{}::bigint::text",
}
"""Every other form is the plain text."""

FETCH = 5000


class PostgresCanonical:
    """One consistent view of a database, read as texts."""

    def __init__(self, connect: PostgresConnect) -> None:
        self._connect = connect
        self._connection: psycopg.Connection | None = None

    def __enter__(self) -> PostgresCanonical:
        self._connection = self._connect.open()
        self._connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        return self

    def __exit__(self, *_: object) -> None:
        if self._connection is not None:
            self._connection.close()

    def rows(
        self, table: TableId, columns: Sequence[tuple[str, NativeType, Form]], *, only: bool
    ) -> Iterator[tuple[str | None, ...]]:
        """Every row as texts, in no order. ``only``: without the children of inheritance."""
        assert self._connection is not None
        rendered: list[sql.Composable] = [
            sql.SQL(_rendering(native, form)).format(sql.Identifier(name))
            for name, native, form in columns
        ]
        query = sql.SQL("SELECT {} FROM {}{}").format(
            sql.SQL(", ").join(rendered or [sql.SQL("NULL::text")]),
            sql.SQL("ONLY " if only else ""),
            sql.Identifier(table.schema, table.name),
        )
        with (
            translating(f"verifying {table}"),
            contextlib.closing(self._connection.cursor("streams_engine_verify")) as cursor,
        ):
            cursor.itersize = FETCH
            cursor.execute(query)
            yield from cursor


def _rendering(native: NativeType, form: Form) -> str:
    if form is Form.BITS and native.name == "bit":
        # bit(64) as bigint has a sign; unsigned it is compared by its digits
        width = native.args[0] if native.args else 1
        return "{}::bigint::text" if width < 64 else "{}::text"
    return RENDERINGS.get(form, "{}::text")
