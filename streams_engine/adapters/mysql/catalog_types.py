"""MySQL's type texts and defaults, as information_schema writes them."""

from __future__ import annotations

import re

from streams_engine.model import Dialect, Expression, NativeType, TypeKind

__all__ = ["default_of", "labels_of", "native_type", "unescape"]

_ARGUMENTS = re.compile(r"^[a-z0-9_]+\(([\d,\s]+)\)")
_SYNONYMS = {"geomcollection": "geometrycollection", "integer": "int", "numeric": "decimal"}
_LABELS = {"enum": TypeKind.ENUM, "set": TypeKind.SET}
_ESCAPES = {"0": "\0", "b": "\b", "n": "\n", "r": "\r", "t": "\t", "Z": "\x1a"}


def native_type(data_type: str, column_type: str) -> NativeType:
    """The type of a column from DATA_TYPE and COLUMN_TYPE."""
    name = _SYNONYMS.get(data_type.lower(), data_type.lower())
    kind = _LABELS.get(name, TypeKind.BASE)
    text = column_type
    found = _ARGUMENTS.match(column_type.lower())
    return NativeType(
        Dialect.MYSQL,
        text,
        name,
        args=tuple(int(part) for part in found[1].split(",")) if found else (),
        unsigned="unsigned" in column_type.lower() and kind is TypeKind.BASE,
        kind=kind,
        labels=labels_of(column_type) if kind is not TypeKind.BASE else (),
    )


def labels_of(column_type: str) -> tuple[str, ...]:
    r"""The labels of ``enum('a','it''s','back\\slash')``: quotes doubled, backslashes escaped."""
    body = column_type[column_type.index("(") + 1 : column_type.rindex(")")]
    raw = re.findall(r"'((?:[^'\\]|''|\\.)*)'", body, re.S)
    return tuple(
        re.sub(r"\\(.)", lambda m: _ESCAPES.get(m[1], m[1]), label.replace("''", "'"), flags=re.S)
        for label in raw
    )


def unescape(expression: str) -> str:
    r"""SQL from one of MySQL's information_schema expressions.

    Quotes and backslashes of the SQL text are escaped there once more (``\'it\\\'s\'``), and its
    UTF-8 bytes are shown as one character each (measured on 9.x; what does not look so is
    left as it is).
    """
    plain = re.sub(r"\\(.)", lambda m: _ESCAPES.get(m[1], m[1]), expression, flags=re.S)
    try:
        return plain.encode("latin-1").decode()
    except UnicodeError:
        return plain


def default_of(
    raw: str | None, native: NativeType, extra: str, mariadb: bool, nullable: bool
) -> Expression | None:
    """A column's default as SQL; None where there is none, or it is NULL.

    MySQL writes literals bare and marks expressions with DEFAULT_GENERATED; MariaDB writes
    SQL throughout.
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
