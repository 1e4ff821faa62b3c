"""PostgreSQL's own text of every value, for `verify`. Shares nothing with the copy.

Rows are read by COPY in text format, where a value is what its type's output function prints. No
cast is the same (casts to text strip spaces of char(n), and add /32 to an inet).
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import psycopg
from psycopg import sql

from streams_engine.adapters.postgres import digest_text
from streams_engine.adapters.postgres.connection import PostgresConnect, translating
from streams_engine.adapters.postgres.snapshot.select import SET_PATH, condition, path_of
from streams_engine.errors import require
from streams_engine.schema.types.canonical import (
    BucketFilter,
    CanonicalColumn,
    CanonicalRead,
    CanonicalType,
    KeyRange,
    canonical_type_of,
)
from streams_engine.schema.types.row_digests import BUCKETS, Digested

__all__ = ["PostgresCanonical"]

# What is no plain list of labels is shown as the array that it is, behind a letter that no
# MySQL column ends up with: a NULL, a comma in a label, a single empty label, dimensions.
LABELS = (
    "CASE WHEN array_ndims({0}) > 1 OR array_position({0}, NULL) IS NOT NULL"
    " OR array_to_string({0}, '') LIKE '%,%' OR {0} = ARRAY['']"
    " THEN chr(1) || {0}::text ELSE array_to_string({0}, ',') END"
)

RENDERINGS: Mapping[tuple[CanonicalType, str], str] = {
    **{
        (form, CanonicalType.BOOLEAN): "{}::int"
        for form in (CanonicalType.BOOLEAN, CanonicalType.INTEGER, CanonicalType.DECIMAL)
    },
    **{
        (form, CanonicalType.BITS): "{}::bigint"
        for form in (CanonicalType.BOOLEAN, CanonicalType.INTEGER, CanonicalType.DECIMAL)
    },
    (CanonicalType.FLOAT, "float4"): "{}::float8",
    (CanonicalType.BYTES, "uuid"): "replace({}::text, '-', '')",
    (CanonicalType.BYTES, CanonicalType.BYTES): "encode({}, 'hex')",
    (CanonicalType.BYTES, CanonicalType.TEXT): "encode(convert_to({}::text, 'UTF8'), 'hex')",
    (CanonicalType.TEXT, "bpchar"): "{}::text",
    (CanonicalType.LABELS, CanonicalType.LABELS): LABELS,
    (CanonicalType.JSON, CanonicalType.LABELS): "to_jsonb({})",
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
        self._connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        self._connection.read_only = True
        return self

    def __exit__(self, *_: object) -> None:
        if self._connection is not None:
            self._connection.close()

    @contextlib.contextmanager
    def rows(self, read: CanonicalRead) -> Iterator[Iterator[tuple[str | None, ...]]]:
        """Yield every row as texts, in no order. With ``only``, leave out the rows of child tables
        (INHERITS)."""
        columns = sql.SQL(", ").join(map(_rendered, read.columns))
        connection = self._placed(read)
        query = sql.SQL("COPY (SELECT {} {}) TO STDOUT").format(
            columns if read.columns else sql.SQL("NULL"), self._from(read)
        )
        with (
            translating(f"verifying {read.table}"),
            connection.cursor() as cursor,
            cursor.copy(query) as lines,
        ):
            yield map(_values, lines)  # the server sends a row a message

    def renew(self) -> None:
        """See what is committed by now."""
        with translating("verify"):
            self._open.rollback()

    # Digests

    @property
    def digests(self) -> Sequence[str]:
        """The kinds of digest that the server makes."""
        return tuple(self._kinds)

    def can_digest(self, column: CanonicalColumn) -> bool:
        """Return whether a column has a text that the digest can be made of."""
        return digest_text.can_digest(column)

    def key_bounds(self, read: CanonicalRead, column: str) -> tuple[int, int] | None:
        """Return the least and the greatest value of a column of whole numbers."""
        key = sql.Identifier(column)
        query = sql.SQL("SELECT min({0}), max({0}) {1}").format(key, self._from(read))
        ((low, high),) = self._asked(read, query)
        return None if low is None else (int(low), int(high))

    def key_after(self, read: CanonicalRead, column: str, rows: int) -> int | None:
        """Return the value of a column that so many rows come before, in its order."""
        key = sql.Identifier(column)
        query = sql.SQL("SELECT {0} {1} ORDER BY {0} LIMIT 1 OFFSET {2}")
        found = self._asked(read, query.format(key, self._from(read), sql.Literal(rows)))
        return int(found[0][0]) if found else None

    def digest(self, read: CanonicalRead, kind: str) -> Digested:
        """Return the sum over the rows of a read."""
        digest = digest_text.row_digest(read.columns, self._kinds[kind])
        query = sql.SQL("SELECT count(*), sum({}) {}").format(digest, self._from(read))
        return _digested(*self._asked(read, query)[0])

    def buckets(self, read: CanonicalRead, kind: str) -> Mapping[int, Digested]:
        """Return the sums by bucket."""
        digest = digest_text.row_digest(read.columns, self._kinds[kind])
        # OFFSET 0: the expression is not pulled up, and computed for each use of it.
        query = sql.SQL(
            "SELECT d & {}, count(*), sum(d) FROM (SELECT {} AS d {} OFFSET 0) AS digests"
            " GROUP BY 1"
        ).format(sql.Literal(BUCKETS - 1), digest, self._from(read))
        return {int(b): _digested(rows, total) for b, rows, total in self._asked(read, query)}

    def block(self, read: CanonicalRead) -> Digested:
        """Return the hash of a range, in the order of its column."""
        part = read.part
        order = part.column if isinstance(part, KeyRange) else read.columns[0].name
        query = sql.SQL("SELECT count(*), {} FROM (SELECT {} AS t {} ORDER BY {}) AS texts").format(
            digest_text.BLOCK,
            digest_text.row_text(read.columns),
            self._from(read),
            sql.Identifier(order),
        )
        ((rows, total),) = self._asked(read, query)
        return Digested(int(rows), int(total or "0", 16))

    def count(self, read: CanonicalRead) -> int:
        """Return the rows of a read."""
        query = sql.SQL("SELECT count(*) {}").format(self._from(read))
        return int(self._asked(read, query)[0][0])

    @property
    def _open(self) -> psycopg.Connection:
        return require(self._connection, "the connection (use it as a context manager)")

    @property
    def _kinds(self) -> Mapping[str, str]:
        return digest_text.kinds(self._open.info.server_version)

    def _placed(self, read: CanonicalRead) -> psycopg.Connection:
        """Return the connection, with the search path that a query needs."""
        if read.query is not None:
            self._open.execute(SET_PATH, (path_of(read.table.schema),))
        return self._open

    def _asked(self, read: CanonicalRead, query: sql.Composed) -> list[tuple[Any, ...]]:
        with translating(f"verifying {read.table}"):
            return self._placed(read).execute(query).fetchall()

    def _from(self, read: CanonicalRead) -> sql.Composable:
        """Return FROM and WHERE of a read."""
        source = sql.SQL("ONLY {}" if read.only else "{}").format(
            sql.Identifier(read.table.schema, read.table.name)
        )
        if read.query is not None:
            source = sql.SQL("({}) AS q").format(sql.SQL(read.query))
        where: list[sql.Composable] = [condition(one) for one in read.filters]
        part = read.part
        if isinstance(part, KeyRange):
            key = sql.Identifier(part.column)
            edges = (("{} >= {}", part.low), ("{} < {}", part.high))
            where += [sql.SQL(f).format(key, sql.Literal(v)) for f, v in edges if v is not None]
        elif isinstance(part, BucketFilter):
            digest = digest_text.row_digest(part.columns, self._kinds[part.digest])
            chosen = sql.SQL(", ").join(map(sql.Literal, part.chosen))
            bucket = sql.SQL("{} & {} IN ({})")
            where.append(bucket.format(digest, sql.Literal(BUCKETS - 1), chosen))
        ending = sql.SQL(" WHERE ") + sql.SQL(" AND ").join(where) if where else sql.SQL("")
        return sql.SQL("FROM {}{}").format(source, ending)


def _digested(rows: Any, total: Any) -> Digested:
    return Digested(int(rows), int(total or 0) % (1 << 64))


def _rendered(column: CanonicalColumn) -> sql.Composed:
    by_name = RENDERINGS.get((column.form, column.type.name))
    template = by_name or RENDERINGS.get((column.form, canonical_type_of(column.type)), "{}")
    return sql.SQL(template).format(sql.Identifier(column.name))


def _values(line: bytes | bytearray | memoryview) -> tuple[str | None, ...]:
    """Return the values of one line of COPY's text format."""
    text = str(line, "utf-8")[:-1]
    values = text.split("\t")
    if "\\" not in text:
        return tuple(values)
    return tuple([_unescaped(value) if "\\" in value else value for value in values])


def _unescaped(value: str) -> str | None:
    if value == "\\N":
        return None
    return re.sub(r"\\(.)", lambda match: ESCAPES.get(match[1], match[1]), value)
