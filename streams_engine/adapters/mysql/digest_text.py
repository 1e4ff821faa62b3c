"""The digest of a row in MySQL's SQL.

A row's text is its values' texts, then the lengths of those that may contain the separator; what
is NULL has no text, or one that no value has. No two rows have one text.
A date that the copy made NULL stays a text here: its row is compared by its values.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence

from streams_engine.adapters.mysql.snapshot.select import quote
from streams_engine.schema.types.canonical import (
    CanonicalColumn,
    CanonicalType,
    canonical_type_of,
)
from streams_engine.schema.types.row_digests import ROW_END

__all__ = ["KINDS", "block_digest", "can_digest", "row_digest"]

UTF8 = "CONVERT({} USING utf8mb4)"
ONE_COLLATION = "{} COLLATE utf8mb4_bin"
"""Columns of several collations would be an illegal mix."""
TRIMMED = "TRIM(TRAILING '.' FROM TRIM(TRAILING '0' FROM {}))"
"""Of digits after a point, which there must be."""
TRIMMED_DATETIME = "IF(MICROSECOND({0}), TRIM(TRAILING '0' FROM {0}), LEFT({0}, 19))"
"""The same; most have no fraction, and LEFT costs less."""

BITS_OF_DOUBLE = "HEX(REVERSE(SUBSTR(POINT({}, 0), 10, 8)))"
"""IEEE 754, the highest byte first. A point is stored as an SRID, the head of its WKB and its
coordinates, the lowest byte first (Internal Geometry Storage Format). To print a double in decimal
costs ten times as much."""
DOUBLES = {"float": BITS_OF_DOUBLE.format("{} * 1E0"), "double": BITS_OF_DOUBLE}
"""FLOAT is widened, which is exact."""

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


def row_digest(
    columns: Sequence[CanonicalColumn], kind: str, unicode: Container[str] = frozenset()
) -> str:
    """Return the expression of a row's digest: BIGINT UNSIGNED."""
    return KINDS[kind].format(row_text(columns, unicode))


def block_digest(columns: Sequence[CanonicalColumn], unicode: Container[str]) -> str:
    """Return the expression of a digest of rows in the order in which they are read."""
    return f"SHA2(GROUP_CONCAT({row_text(columns, unicode)} SEPARATOR '{ROW_END}'), 256)"


def row_text(columns: Sequence[CanonicalColumn], unicode: Container[str]) -> str:
    """Return the expression of a row's text.

    ``unicode`` names columns whose character set is utf8mb4: what they hold is not converted.
    """
    texts, lengths = [], []
    for column in columns:
        name = quote(column.name)
        text = _text(column, name, ONE_COLLATION if column.name in unicode else UTF8)
        if text is None:
            raise ValueError(f"{column.name} has no text for a digest")
        texts.append(_told(column, text, "-" if _may_be_empty(column) else ""))
        if _is_free(column):
            lengths.append(_told(column, f"LENGTH({text})", ""))
    return f"CONCAT_WS(',', {', '.join([*texts, *lengths])})"


def _told(column: CanonicalColumn, text: str, null: str) -> str:
    """Return a text that NULL has too: CONCAT_WS leaves NULL out."""
    return text if column.required else f"COALESCE({text}, '{null}')"


def _is_free(column: CanonicalColumn) -> bool:
    """Return whether a column's texts may contain the separator."""
    return column.form in FREE or (native(column) and column.type.name in TEXTS)


def _may_be_empty(column: CanonicalColumn) -> bool:
    """Return whether a column without a length has empty texts."""
    return column.form is CanonicalType.BYTES or (native(column) and column.type.name in BYTES)


FREE = {CanonicalType.TEXT, CanonicalType.LABELS, CanonicalType.JSON}
"""Forms whose texts may contain anything."""


def native(column: CanonicalColumn) -> bool:
    """Return whether both ends print one type alike."""
    return column.form is CanonicalType.NATIVE


def _text(column: CanonicalColumn, value: str, converted: str = UTF8) -> str | None:
    name, form, own = column.type.name, column.form, canonical_type_of(column.type)
    if native(column):
        return _native(name, value, converted)
    if name == "float" or own is CanonicalType.FLOAT:
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
        trimmed = TRIMMED if name == "time" else TRIMMED_DATETIME
        return trimmed.format(value) if fraction else f"CONCAT({value})"
    if name in BYTES:
        return None
    return converted.format(value)


def _native(name: str, value: str, converted: str) -> str:
    if name in BYTES:
        return f"HEX({value})"
    if name == "bit":
        return f"{value} + 0"
    if name in DOUBLES:
        return DOUBLES[name].format(value)
    if name in TEXTS:
        return converted.format(value)
    return f"CONCAT({value})" if name in PRINTED else value


def _number(column: CanonicalColumn, value: str, own: CanonicalType) -> str | None:
    if own in (CanonicalType.INTEGER, CanonicalType.BITS):
        plain = column.type.name in INTEGERS and "zerofill" not in column.type.text.lower()
        return value if plain else f"{value} + 0"
    if own is not CanonicalType.DECIMAL:
        return None
    scale = column.type.args[1] if len(column.type.args) > 1 else 0
    return TRIMMED.format(value) if scale and not column.same_scale else value
