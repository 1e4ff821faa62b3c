"""MySQL's own text of every value, for `verify`. Shares nothing with the copy.

The text protocol carries what the server prints; values that the server has as bytes are
shown as hex. Functions are used only where the plain text is not exact: their results
would be cut (to NULL) at max_allowed_packet.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any

from pymysql.cursors import SSCursor

from streams_engine.adapters.mysql.connect import MysqlConnect, translating
from streams_engine.adapters.mysql.selecting import condition, quote
from streams_engine.errors import ServerError
from streams_engine.schema.forms import CanonicalColumn, CanonicalRead, Form, form_of

__all__ = ["MysqlCanonical"]

# FLOAT's own text is rounded to six digits; times one, as a DOUBLE, every bit shows, and the
# sign of zero too.
WIDENED = "{} * 1E0"

RENDERINGS: Mapping[tuple[Form, str], str] = {
    **{(form, "float"): WIDENED for form in Form},
    # Without the zeros of ZEROFILL and of the year 0000.
    **{(form, of): "{} + 0" for form in (Form.INTEGER, Form.BOOLEAN, Form.DECIMAL)
       for of in (Form.INTEGER, Form.BITS)},
    (Form.BITS, Form.BITS): "BIN({} + 0)",
    # The driver takes what it does not know for ASCII.
    **{(form, "vector"): "LOWER(HEX({}))" for form in Form},
}  # fmt: skip
"""By form and by the column's type name or own sort; every other value is printed as it is."""

NULLED = (
    "IF(YEAR({0}) = 0 OR MONTH({0}) = 0 OR DAYOFMONTH({0}) = 0"
    " OR DAYOFMONTH({0}) > DAYOFMONTH(LAST_DAY(CONCAT(LEFT({0}, 7), '-01'))), NULL, {0})"
)
"""What is no day of the calendar (0000-00-00, 2020-00-15, 2021-02-31) becomes NULL."""

AS_BYTES = {Form.BYTES, Form.BITS}
"""What the driver hands over as bytes, where nothing is rendered."""

FETCH = 1000


class MysqlCanonical:
    """One consistent view of a server, read as texts. Not for use by several threads."""

    def __init__(self, connect: MysqlConnect) -> None:
        self._connect = connect
        self._connection: Any = None

    def __enter__(self) -> MysqlCanonical:
        self._connection = self._connect.open()
        self._connection.decoders = {}  # texts stay as the server wrote them
        with translating("verify"), self._connection.cursor() as cursor:
            cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            cursor.execute("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(Exception):
            self._connection.close()

    @contextlib.contextmanager
    def rows(self, read: CanonicalRead) -> Iterator[Iterator[tuple[str | None, ...]]]:
        """Every row as texts, in no order. MySQL has no inheritance: ``only`` says nothing."""
        rendered = ", ".join(map(_rendered, read.columns))
        binary = any(form_of(column.type) in AS_BYTES for column in read.columns)
        place = f"{quote(read.table.schema)}.{quote(read.table.name)}"
        source = place if read.query is None else f"({read.query}) AS q"
        query = f"SELECT {rendered} FROM {source}"
        if read.filters:
            query += " WHERE " + " AND ".join(map(condition, read.filters))
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
                    f"verifying {read.table}: the server could not print every value."
                )

    def _computed(self, count: int) -> bool:
        """True where all warnings come of computing virtual columns, whose values are there."""
        with self._connection.cursor() as cursor:
            cursor.execute("SHOW WARNINGS")
            codes = [row[1] for row in cursor.fetchall()]
        return len(codes) == count and COMPUTED.issuperset(codes)


COMPUTED = {1292, 1365}
"""A text that is no number, cut at its first letter; a division by zero."""


def _texts(row: tuple[Any, ...]) -> tuple[str | None, ...]:
    return tuple([v.hex() if type(v) is bytes else v for v in row])


def _rendered(column: CanonicalColumn) -> str:
    by_name = RENDERINGS.get((column.form, column.type.name))
    template = by_name or RENDERINGS.get((column.form, form_of(column.type)), "{}")
    if column.zero_dates == "null":
        template = NULLED
    return template.format(quote(column.name))
