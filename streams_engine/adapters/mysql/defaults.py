"""Constant column defaults as values: what an inserted row has where its image lacks a column.

With ``binlog_row_image`` MINIMAL or NOBLOB an INSERT's image holds the columns that the statement
named and those with computed defaults; both servers leave out columns that took a constant one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

import pyarrow as pa

from streams_engine.model import Column
from streams_engine.schema.mysql import arrow_type

__all__ = ["constant"]

TEXTS = frozenset({"char", "varchar", "tinytext", "text", "mediumtext", "longtext", "enum", "set"})
INTEGERS = frozenset({"tinyint", "smallint", "mediumint", "int", "bigint", "year"})

_NUMBER = re.compile(r"[+-]?\d+(\.\d*)?")
_TEXT = re.compile(r"'((?:[^'\\]|''|\\.)*)'", re.S)
_ESCAPE = re.compile(r"''|\\(.)", re.S)
_ESCAPES = {"0": "\0", "b": "\b", "n": "\n", "r": "\r", "t": "\t", "Z": "\x1a"}


def _unquoted(sql: str) -> str | None:
    """Return the text of a plain literal, None for anything else."""
    literal = _TEXT.fullmatch(sql)
    if literal is None:
        return None
    return _ESCAPE.sub(lambda m: _ESCAPES.get(m[1], m[1]) if m[1] else "'", literal[1])


def _number(sql: str, make: Callable[[str], Any]) -> Any:
    # MariaDB, and statements in the log, may put a number into quotes.
    text = (_unquoted(sql) or sql).strip()
    return make(text) if _NUMBER.fullmatch(text) else None


_VALUES: Mapping[str, Callable[[str], Any]] = {
    **dict.fromkeys(TEXTS, _unquoted),
    **dict.fromkeys(INTEGERS, lambda sql: _number(sql, int)),
    "decimal": lambda sql: _number(sql, Decimal),
}
"""By type: its default's SQL as a value; None where that is no constant of a known form."""


def constant(column: Column, wanted: pa.DataType) -> pa.Scalar | None:
    """Return the column's constant default in the Arrow type ``wanted``; None: it is not known.

    A nullable column without a default has NULL.
    """
    if column.default is None:
        return pa.scalar(None, wanted) if column.nullable else None
    make = _VALUES.get(column.type.name)
    if make is None or wanted != arrow_type(column.type):
        return None
    try:
        value = make(column.default.sql)
        return None if value is None else pa.scalar(value, wanted)
    except (ValueError, pa.ArrowInvalid):
        return None
