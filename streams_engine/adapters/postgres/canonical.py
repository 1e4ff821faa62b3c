"""PostgreSQL's own text of every value, for `verify`. Shares nothing with the copy.

Rows come by COPY in its text format: a value there is what its type's output function
prints, which no cast is (casts to text strip blanks of char(n), and add /32 to an inet).
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping

import psycopg
from psycopg import sql

from streams_engine.adapters.postgres.connect import PostgresConnect, translating
from streams_engine.adapters.postgres.query import SET_PATH, path_of
from streams_engine.adapters.postgres.selecting import condition
from streams_engine.required import required
from streams_engine.schema.forms import CanonicalColumn, CanonicalRead, Form, form_of

__all__ = ["PostgresCanonical"]

# What is no plain list of labels is shown as the array that it is, behind a letter that no
# MySQL column ends up with: a NULL, a comma in a label, a single empty label, dimensions.
LABELS = (
    "CASE WHEN array_ndims({0}) > 1 OR array_position({0}, NULL) IS NOT NULL"
    " OR array_to_string({0}, '') LIKE '%,%' OR {0} = ARRAY['']"
    " THEN chr(1) || {0}::text ELSE array_to_string({0}, ',') END"
)

RENDERINGS: Mapping[tuple[Form, str], str] = {
    **{(form, Form.BOOLEAN): "{}::int" for form in (Form.BOOLEAN, Form.INTEGER, Form.DECIMAL)},
    **{(form, Form.BITS): "{}::bigint" for form in (Form.BOOLEAN, Form.INTEGER, Form.DECIMAL)},
    (Form.FLOAT, "float4"): "{}::float8",
    (Form.BYTES, "uuid"): "replace({}::text, '-', '')",
    (Form.BYTES, Form.BYTES): "encode({}, 'hex')",
    (Form.BYTES, Form.TEXT): "encode(convert_to({}::text, 'UTF8'), 'hex')",
    (Form.TEXT, "bpchar"): "{}::text",
    (Form.LABELS, Form.LABELS): LABELS,
    (Form.JSON, Form.LABELS): "to_jsonb({})",
}
"""By form and by the column's type name or own sort; every other value is printed as it is."""

ESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


class PostgresCanonical:
    """One consistent view of a database, read as texts. Not for use by several threads."""

    def __init__(self, connect: PostgresConnect) -> None:
        self._connect = connect
        self._connection: psycopg.Connection | None = None

    def __enter__(self) -> PostgresCanonical:
        self._connection = self._connect.open()
        with translating("verify"):
            self._connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        return self

    def __exit__(self, *_: object) -> None:
        if self._connection is not None:
            self._connection.close()

    @contextlib.contextmanager
    def rows(self, read: CanonicalRead) -> Iterator[Iterator[tuple[str | None, ...]]]:
        """Every row as texts, in no order. ``only``: without the children of inheritance."""
        connection = required(self._connection, "the connection (use it as a context manager)")
        columns = sql.SQL(", ").join(map(_rendered, read.columns))
        source = sql.SQL("ONLY {}" if read.only else "{}").format(
            sql.Identifier(read.table.schema, read.table.name)
        )
        if read.query is not None:
            connection.execute(SET_PATH, (path_of(read.table.schema),))
            source = sql.SQL("({}) AS q").format(sql.SQL(read.query))
        where = sql.SQL(" AND ").join(map(condition, read.filters))
        query = sql.SQL("COPY (SELECT {} FROM {} WHERE {}) TO STDOUT").format(
            columns if read.columns else sql.SQL("NULL"),
            source,
            where if read.filters else sql.SQL("true"),
        )
        with (
            translating(f"verifying {read.table}"),
            connection.cursor() as cursor,
            cursor.copy(query) as lines,
        ):
            yield map(_values, lines)  # the server sends a row a message


def _rendered(column: CanonicalColumn) -> sql.Composed:
    by_name = RENDERINGS.get((column.form, column.type.name))
    template = by_name or RENDERINGS.get((column.form, form_of(column.type)), "{}")
    return sql.SQL(template).format(sql.Identifier(column.name))


def _values(line: bytes | bytearray | memoryview) -> tuple[str | None, ...]:
    """The values of one line of COPY's text format."""
    text = str(line, "utf-8")[:-1]
    values = text.split("\t")
    if "\\" not in text:
        return tuple(values)
    return tuple([_unescaped(value) if "\\" in value else value for value in values])


def _unescaped(value: str) -> str | None:
    if value == "\\N":
        return None
    return re.sub(r"\\(.)", lambda found: ESCAPES.get(found[1], found[1]), value)
