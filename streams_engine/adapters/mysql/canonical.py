"""MySQL's own text of every value, for `verify`. Shares nothing with the copy.

The text protocol sends what the server prints; byte values are shown in hexadecimal. Functions are
used only if the plain text is not exact: max_allowed_packet would cut their results (to NULL).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

import pymysql
from pymysql.constants import ER
from pymysql.cursors import SSCursor

from streams_engine.adapters.mysql import digest_text
from streams_engine.adapters.mysql.connection import MysqlConnect, translating
from streams_engine.adapters.mysql.snapshot.select import condition, quote
from streams_engine.errors import ServerError
from streams_engine.model import TableId
from streams_engine.schema.types.canonical import (
    BucketFilter,
    CanonicalColumn,
    CanonicalRead,
    CanonicalType,
    KeyRange,
    canonical_type_of,
)
from streams_engine.schema.types.row_digests import BUCKETS, Digested

__all__ = ["MysqlCanonical"]

# FLOAT's own text is rounded to six digits; times one, as a DOUBLE, every bit shows, and the
# sign of zero too.
WIDENED = "{} * 1E0"

RENDERINGS: Mapping[tuple[CanonicalType, str], str] = {
    **{(form, "float"): WIDENED for form in CanonicalType},
    # Without the zeros of ZEROFILL and of the year 0000.
    **{(form, of): "{} + 0" 
       for form in (CanonicalType.INTEGER, CanonicalType.BOOLEAN, CanonicalType.DECIMAL)
       for of in (CanonicalType.INTEGER, CanonicalType.BITS)},
    (CanonicalType.BITS, CanonicalType.BITS): "BIN({} + 0)",
    # The driver takes what it does not know for ASCII.
    **{(form, "vector"): "LOWER(HEX({}))" for form in CanonicalType},
}  # fmt: skip
"""By form and by the column's type name or own sort; every other value is printed as it is."""

NULLED = (
    "IF(YEAR({0}) = 0 OR MONTH({0}) = 0 OR DAYOFMONTH({0}) = 0"
    " OR DAYOFMONTH({0}) > DAYOFMONTH(LAST_DAY(CONCAT(LEFT({0}, 7), '-01'))), NULL, {0})"
)
"""What is no day of the calendar (0000-00-00, 2020-00-15, 2021-02-31) becomes NULL."""

AS_BYTES = {CanonicalType.BYTES, CanonicalType.BITS}
"""What the driver hands over as bytes, where nothing is rendered."""

UNICODE = (
    "SELECT column_name FROM information_schema.columns WHERE table_schema = %s"
    " AND table_name = %s AND character_set_name = 'utf8mb4'"
)

WARNINGS = 65535
"""The most warnings that the server keeps, and that it counts for the protocol. See
https://dev.mysql.com/doc/refman/9.6/en/server-system-variables.html#sysvar_max_error_count"""

FETCH = 1000
ONCE = "LIMIT 18446744073709551615"
"""Keeps a derived table from being merged into its query, which would compute an expression for
each use of it (Optimizing Derived Tables)."""


class MysqlCanonical:
    """One consistent view of a server, read as texts. Not for use by several threads."""

    def __init__(self, connect: MysqlConnect) -> None:
        self._connect = connect
        self._connection: Any = None
        self._unicode: dict[TableId, frozenset[str]] = {}

    def __enter__(self) -> MysqlCanonical:
        self._connection = self._connect.open()
        self._connection.decoders = {}  # texts stay as the server wrote them
        with translating("verify"), self._connection.cursor() as cursor:
            cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            cursor.execute("SET SESSION group_concat_max_len = @@max_allowed_packet")
            try:
                cursor.execute(f"SET SESSION max_error_count = {WARNINGS}")
            except pymysql.OperationalError as error:
                if error.args[0] != ER.SPECIFIC_ACCESS_DENIED_ERROR:
                    raise
                # MySQL wants SESSION_VARIABLES_ADMIN for it. Of more warnings than the server
                # keeps, `_computed` cannot say what they are.
        self.renew()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(Exception):
            self._connection.close()

    @contextlib.contextmanager
    def rows(self, read: CanonicalRead) -> Iterator[Iterator[tuple[str | None, ...]]]:
        """Yield every row as texts, in no order. ``only`` has no effect: MySQL has no
        inheritance."""
        rendered = ", ".join(map(_rendered, read.columns))
        binary = any(canonical_type_of(column.type) in AS_BYTES for column in read.columns)
        query = f"SELECT {rendered} {self._from(read)}"
        with translating(f"verifying {read.table}"):
            cursor = self._connection.cursor(SSCursor)
            cursor.execute(query)
            try:
                rows = chain.from_iterable(iter(lambda: cursor.fetchmany(FETCH), ()))
                yield map(_texts, rows) if binary else rows
            except BaseException:
                self._connection.close()  # else the rest of the rows would be read and dropped
                raise
            warned = cursor.warning_count
            cursor.close()
            if warned and not self._computed(warned):
                raise ServerError(
                    f"verifying {read.table}: the server could not convert every value to text."
                )

    def renew(self) -> None:
        """See what is committed by now."""
        with translating("verify"), self._connection.cursor() as cursor:
            cursor.execute("COMMIT")
            cursor.execute("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")

    # Digests

    @property
    def digests(self) -> Sequence[str]:
        """The kinds of digest that the server makes."""
        return tuple(digest_text.KINDS)

    def can_digest(self, column: CanonicalColumn) -> bool:
        """Return whether a column has a text that the digest can be made of."""
        return digest_text.can_digest(column)

    def key_bounds(self, read: CanonicalRead, column: str) -> tuple[int, int] | None:
        """Return the least and the greatest value of a column of whole numbers."""
        key = quote(column)
        ((low, high),) = self._asked(read, f"SELECT MIN({key}), MAX({key}) {self._from(read)}")[0]
        return None if low is None else (int(low), int(high))

    def key_after(self, read: CanonicalRead, column: str, rows: int) -> int | None:
        """Return the value of a column that so many rows come before, in its order."""
        key = quote(column)
        query = f"SELECT {key} {self._from(read)} ORDER BY {key} LIMIT 1 OFFSET {rows}"
        found, _ = self._asked(read, query)
        return int(found[0][0]) if found else None

    def digest(self, read: CanonicalRead, kind: str) -> Digested:
        """Return the sum over the rows of a read."""
        digest = self._row_digest(read, read.columns, kind)
        rows, whole = self._asked(read, f"SELECT COUNT(*), SUM({digest}) {self._from(read)}")
        return _digested(rows[0][0], rows[0][1], whole)

    def buckets(self, read: CanonicalRead, kind: str) -> Mapping[int, Digested]:
        """Return the sums by bucket."""
        digest = self._row_digest(read, read.columns, kind)
        rows, whole = self._asked(
            read,
            f"SELECT d & {BUCKETS - 1} AS b, COUNT(*), SUM(d) FROM"
            f" (SELECT {digest} AS d {self._from(read)} {ONCE}) AS digests GROUP BY b",
        )
        return {int(b): _digested(count, total, whole) for b, count, total in rows}

    def block(self, read: CanonicalRead) -> Digested:
        """Return the hash of a range of the primary key, in whose order InnoDB reads it."""
        digest = digest_text.block_digest(read.columns, self._unicode_of(read))
        ((rows, total),), whole = self._asked(read, f"SELECT COUNT(*), {digest} {self._from(read)}")
        return Digested(int(rows), int(total or "0", 16), whole)

    def count(self, read: CanonicalRead) -> int:
        """Return the rows of a read."""
        return int(self._asked(read, f"SELECT COUNT(*) {self._from(read)}")[0][0][0])

    def _asked(self, read: CanonicalRead, query: str) -> tuple[list[tuple[Any, ...]], bool]:
        """Return the rows of a query, and whether every value could be computed."""
        with translating(f"verifying {read.table}"), self._connection.cursor() as cursor:
            cursor.execute(query)
            rows = list(cursor.fetchall())
            warned = cursor.warning_count
        return rows, not warned or self._computed(warned)

    def _row_digest(
        self, read: CanonicalRead, columns: Sequence[CanonicalColumn], kind: str
    ) -> str:
        return digest_text.row_digest(columns, kind, self._unicode_of(read))

    def _unicode_of(self, read: CanonicalRead) -> frozenset[str]:
        """Return the columns of a table that hold utf8mb4."""
        if read.query is not None:
            return frozenset()
        table = read.table
        if table not in self._unicode:
            with translating(f"verifying {table}"), self._connection.cursor() as cursor:
                cursor.execute(UNICODE, (table.schema, table.name))
                self._unicode[table] = frozenset(name for (name,) in cursor.fetchall())
        return self._unicode[table]

    def _from(self, read: CanonicalRead) -> str:
        """Return FROM and WHERE of a read."""
        place = f"{quote(read.table.schema)}.{quote(read.table.name)}"
        source = place if read.query is None else f"({read.query}) AS q"
        where = [condition(one) for one in read.filters]
        part = read.part
        if isinstance(part, KeyRange):
            key = quote(part.column)
            where += [] if part.low is None else [f"{key} >= {part.low}"]
            where += [] if part.high is None else [f"{key} < {part.high}"]
        elif isinstance(part, BucketFilter):
            digest = self._row_digest(read, part.columns, part.digest)
            # Without a digest a row is in each bucket.
            where.append(
                f"COALESCE({digest} & {BUCKETS - 1} IN ({', '.join(map(str, part.chosen))}), 1)"
            )
        return f"FROM {source}" + (f" WHERE {' AND '.join(where)}" if where else "")

    def _computed(self, count: int) -> bool:
        """Return True if all warnings come from computing virtual columns, whose values are
        valid."""
        with self._connection.cursor() as cursor:
            cursor.execute("SHOW WARNINGS")
            codes = [int(row[1]) for row in cursor.fetchall()]
        return len(codes) == count and COMPUTED.issuperset(codes)


COMPUTED = {1292, 1365}
"""A text that is no number, cut at its first letter; a division by zero."""


def _digested(rows: Any, total: Any, whole: bool) -> Digested:
    return Digested(int(rows), int(total or 0) % (1 << 64), whole)


def _texts(row: tuple[Any, ...]) -> tuple[str | None, ...]:
    return tuple([v.hex() if type(v) is bytes else v for v in row])


def _rendered(column: CanonicalColumn) -> str:
    by_name = RENDERINGS.get((column.form, column.type.name))
    template = by_name or RENDERINGS.get((column.form, canonical_type_of(column.type)), "{}")
    if column.zero_dates == "null":
        template = NULLED
    return template.format(quote(column.name))
