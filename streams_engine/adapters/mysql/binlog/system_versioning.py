"""MariaDB's WITH SYSTEM VERSIONING in a log: telling history rows from current rows.

https://mariadb.com/kb/en/system-versioned-tables/: a row is current while its ROW END is the
greatest value of its type. In the log a DELETE is an update of ROW END, an UPDATE is an update and
an insert of the row that it replaced, and DELETE HISTORY deletes rows that were not current any
more. Undeclared period columns are the last ones of every row image, as row_start and row_end.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa

from streams_engine.adapters.mysql.binlog.row_values import Image
from streams_engine.adapters.mysql.binlog.table_map import TIMESTAMP2, Field, TableMap
from streams_engine.errors import SchemaChangeRefused
from streams_engine.model import Op, TableSchema

__all__ = ["CURRENT", "current_decoder", "current_operations", "period_of", "row_end"]

CURRENT = "\0current"
"""The name of a column that no table has: whether a row image is of a current row."""

HIDDEN = ("row_start", "row_end")

LATEST_SECONDS = (0x7FFFFFFF, 0xFFFFFFFF)
"""Where TIMESTAMP ends: until MariaDB 11.4, and since 11.5."""

LATEST_MICROSECONDS = 999_999

Decode = Callable[..., pa.Array]


def period_of(table: TableMap, schema: TableSchema) -> tuple[str, ...]:
    """Return the names of the two undeclared period columns, if the images end with them."""
    known = {column.name for column in schema.columns}
    last = table.fields[-2:]
    if table.named:
        names = tuple(str(field.name) for field in last)
        return HIDDEN if names == HIDDEN and not known & set(HIDDEN) else ()
    hidden = schema.versioned and _declared(schema) is None
    return HIDDEN if hidden and len(table.fields) == len(schema.columns) + 2 else ()


def row_end(table: TableMap, schema: TableSchema) -> str | None:
    """Return the column that says until when a row was current; None for a table without
    history."""
    return HIDDEN[1] if period_of(table, schema) else _declared(schema)


def _declared(schema: TableSchema) -> str | None:
    for column in schema.columns:
        if column.generated is not None and column.generated.sql.upper() == "ROW END":
            return column.name
    return None


def current_decoder(field: Field, table: str) -> Decode:
    """Return the decoder that tells from ROW END whether a row is current.

    Raises `SchemaChangeRefused` if the column's type does not occur in row images: of
    transaction-precise tables the server logs statements.
    """
    if field.code == TIMESTAMP2 and field.meta == 6:
        return _before_the_end_of_time
    raise SchemaChangeRefused(
        f"{table}: in its row images the end of the period has an unexpected type.",
        remedy="The table was altered without writing to the binary log: load it again.",
        table=table,
    )


def _before_the_end_of_time(image: Image, place: np.ndarray, *_: Any) -> pa.Array:
    seconds = image.big(place, 4)
    micro = image.big(place + 4, 3)
    return pa.array(np.isin(seconds, LATEST_SECONDS) & (micro == LATEST_MICROSECONDS))


def current_operations(
    op: np.ndarray, before: np.ndarray, after: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return what was done to current rows, and which changes affected any.

    ``before`` and ``after`` mark images of current rows.
    """
    had = before & (op != Op.INSERT)
    has = after & (op != Op.DELETE)
    done = np.where(had, np.where(has, Op.UPDATE, Op.DELETE), Op.INSERT).astype(op.dtype)
    return done, had | has
