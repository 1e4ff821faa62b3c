"""MySQL's own text of every value, for `verify`. Shares nothing with the copy."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pymysql.cursors import SSCursor

from streams_engine.adapters.mysql.connect import MysqlConnect, translating
from streams_engine.model import NativeType, TableId
from streams_engine.schema.forms import Form

__all__ = ["MysqlCanonical"]

RENDERINGS: Mapping[Form, str] = {
    Form.BYTES: "HEX({})",
    Form.BITS: "CAST({} + 0 AS CHAR)",
    Form.BOOLEAN: "CAST({} + 0 AS CHAR)",
    Form.INTEGER: "CAST({} + 0 AS CHAR)",
    # FLOAT's own text is rounded to six digits; as DOUBLE every bit shows.
    Form.FLOAT: "CAST(CAST({} AS DOUBLE) AS CHAR)",
}
"""Every other form is CAST(... AS CHAR)."""


class MysqlCanonical:
    """One consistent view of a server, read as texts."""

    def __init__(self, connect: MysqlConnect) -> None:
        self._connect = connect
        self._connection: Any = None

    def __enter__(self) -> MysqlCanonical:
        self._connection = self._connect.open()
        with self._connection.cursor() as cursor:
            cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            cursor.execute("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def rows(
        self, table: TableId, columns: Sequence[tuple[str, NativeType, Form]], *, only: bool
    ) -> Iterator[tuple[str | None, ...]]:
        """Every row as texts, in no order. MySQL has no inheritance: ``only`` says nothing."""
        rendered = ", ".join(
            RENDERINGS.get(form, "CAST({} AS CHAR)").format(_quoted(name))
            for name, _, form in columns
        )
        query = f"SELECT {rendered} FROM {_quoted(table.schema)}.{_quoted(table.name)}"
        with (
            translating(f"verifying {table}"),
            contextlib.closing(self._connection.cursor(SSCursor)) as cursor,
        ):
            cursor.execute(query)
            yield from cursor.fetchall_unbuffered()


def _quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"
