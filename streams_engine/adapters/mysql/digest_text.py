"""The digest of a row in MySQL's SQL.

A row's text is CONCAT_WS of its values' texts, which leaves NULLs out, then which of them are
NULL, then the lengths of those that may contain the separator: no two rows have one text.
A date that the copy made NULL stays a text here: its row is looked at by its values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from streams_engine.adapters.mysql.snapshot.select import quote
from streams_engine.schema.types.canonical import (
    CanonicalColumn,
    CanonicalType,
    canonical_type_of,
)

__all__ = ["KINDS", "can_digest", "row_digest"]

UTF8 = "CONVERT({} USING utf8mb4)"
TRIMMED = "TRIM(TRAILING '.' FROM TRIM(TRAILING '0' FROM {}))"
"""Of digits after a point, which there must be."""

DOUBLES = {"float": "{} * 1E0", "double": "{}"}
"""FLOAT's own text is rounded to six digits."""

BYTES = frozenset(
    ("binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob", "vector", "geometry",
     "point", "linestring", "polygon", "multipoint", "multilinestring", "multipolygon",
     "geomcollection", "geometrycollection")
)  # fmt: skip
TEXTS = frozenset(
    ("char", "varchar", "tinytext", "text", "mediumtext", "longtext", "enum", "set", "json")
)
INTEGERS = frozenset(("tinyint", "smallint", "mediumint", "int", "bigint"))
PRINTED = frozenset(("date", "datetime", "timestamp", "time", "uuid", "inet4", "inet6"))
"""Types that CONCAT takes for what they print."""

KINDS: Mapping[str, str] = {
    "sha256/64": "CAST(CONV(LEFT(SHA2({}, 256), 16), 16, 10) AS UNSIGNED)",
}
"""By name; MySQL 9 has neither MD5 nor SHA1, and CRC32 has too few bits."""


def can_digest(column: CanonicalColumn) -> bool:
    """Return whether a column has a text whose equality means that of its values."""
    return _text(column, quote(column.name)) is not None


def row_digest(columns: Sequence[CanonicalColumn], kind: str) -> str:
    """Return the expression of a row's digest: BIGINT UNSIGNED."""
    texts, nulls, lengths = [], [], []
    for column in columns:
        name = quote(column.name)
        text = _text(column, name)
        if text is None:
            raise ValueError(f"{column.name} has no text for a digest")
        texts.append(text)
        if not column.required:  # each flag costs as much as a value
            nulls.append(f"{name} IS NULL")
        if column.form in FREE or (native(column) and column.type.name in TEXTS):
            lengths.append(f"LENGTH({text})")
    return KINDS[kind].format(f"CONCAT_WS(',', {', '.join([*texts, *nulls, *lengths])})")


FREE = {CanonicalType.TEXT, CanonicalType.LABELS, CanonicalType.JSON}
"""Forms whose texts may contain anything."""


def native(column: CanonicalColumn) -> bool:
    """Return whether both ends print one type alike."""
    return column.form is CanonicalType.NATIVE


def _text(column: CanonicalColumn, value: str) -> str | None:
    name, form, own = column.type.name, column.form, canonical_type_of(column.type)
    if native(column):
        return _native(name, value)
    if name == "float" or own is CanonicalType.FLOAT:
        # Each server prints a double in the fewest digits that tell it apart; only where it
        # changes to an exponent do they differ.
        return DOUBLES[name].format(value) if form is CanonicalType.FLOAT else None
    if form is CanonicalType.BYTES:
        return f"LOWER(HEX({value}))" if own is CanonicalType.BYTES else None
    if form is CanonicalType.BITS:
        return f"BIN({value} + 0)" if own is CanonicalType.BITS else None
    if form in (CanonicalType.INTEGER, CanonicalType.BOOLEAN, CanonicalType.DECIMAL):
        return _number(column, value, own)
    if form is CanonicalType.MOMENT:
        digits = column.type.args[:1]
        fraction = own is CanonicalType.MOMENT and name != "date" and digits not in ((), (0,))
        if own is not CanonicalType.MOMENT:
            return None
        return TRIMMED.format(value) if fraction else f"CONCAT({value})"
    if name in BYTES:
        return None
    return UTF8.format(value)


def _native(name: str, value: str) -> str | None:
    if name in BYTES:
        return f"HEX({value})"
    if name == "bit":
        return f"{value} + 0"
    if name in DOUBLES:
        return DOUBLES[name].format(value)
    if name in TEXTS:
        return UTF8.format(value)
    return f"CONCAT({value})" if name in PRINTED else value


def _number(column: CanonicalColumn, value: str, own: CanonicalType) -> str | None:
    if own in (CanonicalType.INTEGER, CanonicalType.BITS):
        plain = column.type.name in INTEGERS and "zerofill" not in column.type.text.lower()
        return value if plain else f"{value} + 0"
    if own is not CanonicalType.DECIMAL:
        return None
    scale = column.type.args[1] if len(column.type.args) > 1 else 0
    return TRIMMED.format(value) if scale and not column.same_scale else value
