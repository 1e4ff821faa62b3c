"""MySQL's type texts and defaults, as information_schema writes them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

import pyarrow as pa

from streams_engine.model import Column, Dialect, Expression, NativeType, TypeKind
from streams_engine.schema.types.mysql import arrow_type

__all__ = [
    "constant",
    "default_of",
    "labels_of",
    "native_type",
    "unescape",
]


_ARGUMENTS = re.compile(r"^[a-z0-9_]+\(([\d,\s]+)\)")
_SYNONYMS = {"geomcollection": "geometrycollection", "integer": "int", "numeric": "decimal"}
_LABELS = {"enum": TypeKind.ENUM, "set": TypeKind.SET}
_ESCAPES = {"0": "\0", "b": "\b", "n": "\n", "r": "\r", "t": "\t", "Z": "\x1a"}


def native_type(data_type: str, column_type: str) -> NativeType:
    """Return the type of a column from DATA_TYPE and COLUMN_TYPE."""
    name = _SYNONYMS.get(data_type.lower(), data_type.lower())
    kind = _LABELS.get(name, TypeKind.BASE)
    text = column_type
    match = _ARGUMENTS.match(column_type.lower())
    return NativeType(
        Dialect.MYSQL,
        text,
        name,
        args=tuple(int(part) for part in match[1].split(",")) if match else (),
        unsigned="unsigned" in column_type.lower() and kind is TypeKind.BASE,
        kind=kind,
        labels=labels_of(column_type) if kind is not TypeKind.BASE else (),
    )


def labels_of(column_type: str) -> tuple[str, ...]:
    r"""Return the labels of ``enum('a','it''s','back\\slash')``: quotes are doubled, backslashes
    escaped."""
    body = column_type[column_type.index("(") + 1 : column_type.rindex(")")]
    raw = re.findall(r"'((?:[^'\\]|''|\\.)*)'", body, re.S)
    return tuple(
        re.sub(r"\\(.)", lambda m: _ESCAPES.get(m[1], m[1]), label.replace("''", "'"), flags=re.S)
        for label in raw
    )


def unescape(expression: str) -> str:
    r"""Return the SQL of an expression in MySQL's information_schema.

    There quotes and backslashes of the SQL text are escaped once more (``\'it\\\'s\'``), and its
    UTF-8 bytes are shown as one character each (measured on 9.x; texts that look otherwise stay
    unchanged).
    """
    plain = re.sub(r"\\(.)", lambda m: _ESCAPES.get(m[1], m[1]), expression, flags=re.S)
    try:
        return plain.encode("latin-1").decode()
    except UnicodeError:
        return plain


def default_of(
    raw: str | None, native: NativeType, extra: str, mariadb: bool, nullable: bool
) -> Expression | None:
    """Return a column's default as SQL; None if there is none, or it is NULL.

    MySQL writes literals bare and marks expressions with DEFAULT_GENERATED; MariaDB writes SQL
    throughout.
    """
    if raw is None:
        return None
    if isinstance(raw, bytes):
        raw = raw.decode()
    if mariadb:
        return None if raw.upper() == "NULL" else Expression(raw, Dialect.MYSQL)
    if "default_generated" in extra:
        return Expression(unescape(raw), Dialect.MYSQL)
    if native.name == "bit" or (raw.startswith("0x") and native.name.endswith("binary")):
        return Expression(raw, Dialect.MYSQL)
    numeric = native.name in {
        "tinyint", "smallint", "mediumint", "int", "bigint", "decimal", "float", "double", "year",
    }  # fmt: skip
    if numeric:
        return Expression(raw, Dialect.MYSQL)
    return Expression("'" + raw.replace("\\", "\\\\").replace("'", "''") + "'", Dialect.MYSQL)


TEXTS = frozenset({"char", "varchar", "tinytext", "text", "mediumtext", "longtext", "enum", "set"})
INTEGERS = frozenset({"tinyint", "smallint", "mediumint", "int", "bigint", "year"})

_NUMBER = re.compile(r"[+-]?\d+(\.\d*)?")
_TEXT = re.compile(r"'((?:[^'\\]|''|\\.)*)'", re.S)
_ESCAPE = re.compile(r"''|\\(.)", re.S)
_LITERAL_ESCAPES = {"0": "\0", "b": "\b", "n": "\n", "r": "\r", "t": "\t", "Z": "\x1a"}


def _unquoted(sql: str) -> str | None:
    """Return the text of a plain literal, None for anything else."""
    literal = _TEXT.fullmatch(sql)
    if literal is None:
        return None
    return _ESCAPE.sub(lambda m: _LITERAL_ESCAPES.get(m[1], m[1]) if m[1] else "'", literal[1])


def _number(sql: str, make: Callable[[str], Any]) -> Any:
    # MariaDB, and statements in the log, may put a number into quotes.
    text = (_unquoted(sql) or sql).strip()
    return make(text) if _NUMBER.fullmatch(text) else None


_VALUES: Mapping[str, Callable[[str], Any]] = {
    **dict.fromkeys(TEXTS, _unquoted),
    **dict.fromkeys(INTEGERS, lambda sql: _number(sql, int)),
    "decimal": lambda sql: _number(sql, Decimal),
}
"""By type: its default's SQL as a value; None if that is no constant of a known form."""


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
