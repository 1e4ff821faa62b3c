"""How Arrow types are kept in SQLite, which has four: the declared type says what is meant."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from streams_engine.errors import UnsupportedType
from streams_engine.model import TableId
from streams_engine.schema.types.files import arrow_of

__all__ = ["arrow_type", "column_of", "connect", "declared", "quoted", "values_of"]

KEPT = {
    pa.bool_(): "BOOLEAN_INT",
    **{pa.type_for_alias(f"int{n}"): f"INT{n}" for n in (8, 16, 32)},
    **{pa.type_for_alias(f"uint{n}"): f"UINT{n}" for n in (8, 16, 32)},
    pa.int64(): "INTEGER",
    pa.uint64(): "UNSIGNED_TEXT",
    pa.float32(): "FLOAT",
    pa.float64(): "REAL",
    pa.string(): "TEXT",
    pa.binary(): "BLOB",
    pa.date32(): "DATE_TEXT",
    pa.time64("us"): "TIME_INT",
    pa.timestamp("us"): "TIMESTAMP_TEXT",
    pa.timestamp("us", "UTC"): "TIMESTAMPTZ_TEXT",
    pa.duration("us"): "DURATION_INT",
}
"""By Arrow type; a name chooses the affinity (https://sqlite.org/datatype3.html, 3.1)."""
MEANT = {name: arrow for arrow, name in KEPT.items()}
AFFINITIES = (("INT", pa.int64()), ("CHAR|CLOB|TEXT", pa.string()), ("BLOB|^$", pa.binary()),
              ("REAL|FLOA|DOUB", pa.float64()))  # fmt: skip
DECIMAL = re.compile(r"DECIMAL(128|256)_TEXT(\(\d+, -?\d+\))")


def declared(arrow: pa.DataType, table: TableId, column: str) -> str:
    """The declared type that keeps an Arrow type. Raises `UnsupportedType`."""
    if pa.types.is_decimal(arrow):
        return f"{arrow}".upper().replace("(", "_TEXT(")
    if arrow not in KEPT:
        raise UnsupportedType(
            f"{table}.{column}: SQLite keeps no {arrow}.",
            remedy="Leave the column out, or say text in typeOverrides.",
        )
    return KEPT[arrow]


def arrow_type(text: str) -> pa.DataType:
    """The Arrow type that a declared type means; text for anything numeric but odd."""
    text = text.upper()
    found = DECIMAL.fullmatch(text)
    if found is not None:
        return arrow_of(f"decimal{found[1]}{found[2]}")
    if text in MEANT:
        return MEANT[text]
    return next((arrow for words, arrow in AFFINITIES if re.search(words, text)), pa.string())


def values_of(column: pa.Array) -> list[Any]:
    """An Arrow column as what SQLite is given."""
    kind = column.type
    if _counted(kind):
        column = column.cast(pa.int64())
    elif pa.types.is_decimal(kind) or pa.types.is_temporal(kind) or kind == pa.uint64():
        column = column.cast(pa.string())
    found: list[Any] = column.to_pylist()
    return found


def column_of(values: Sequence[Any], arrow: pa.DataType) -> pa.Array:
    """What SQLite gave as an Arrow column."""
    if _counted(arrow):
        return pa.array(values, pa.int64()).cast(arrow)
    if pa.types.is_string(arrow):
        return pa.array([v if v is None or isinstance(v, str) else str(v) for v in values], arrow)
    if pa.types.is_decimal(arrow) or pa.types.is_temporal(arrow) or arrow == pa.uint64():
        return pa.array(values, pa.string()).cast(arrow)
    return pa.array(values, arrow)


def _counted(arrow: pa.DataType) -> bool:
    """Kept as a whole number: of microseconds, or 0 and 1."""
    return bool(
        pa.types.is_boolean(arrow) or pa.types.is_duration(arrow) or pa.types.is_time(arrow)
    )


def quoted(name: str) -> str:
    """A name in double quotes."""
    return '"' + name.replace('"', '""') + '"'


def connect(path: str) -> sqlite3.Connection:
    """A connection whose transactions begin where they are begun."""
    found = sqlite3.connect(path, timeout=60, isolation_level=None, check_same_thread=False)
    found.execute("PRAGMA case_sensitive_like = on")
    return found
