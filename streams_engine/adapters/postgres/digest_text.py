"""The digest of a row in PostgreSQL's SQL.

A row's text is its values' texts, then the lengths of those that may contain the separator; what
is NULL has no text, or one that no value has. No two rows have one text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from psycopg import sql

from streams_engine.model import TypeKind
from streams_engine.schema.types.canonical import (
    CanonicalColumn,
    CanonicalType,
    canonical_type_of,
)
from streams_engine.schema.types.row_digests import ROW_END

__all__ = ["BLOCK", "can_digest", "kinds", "row_digest", "row_text"]

KINDS: Mapping[str, str] = {
    # Jenkins' hash of text, the same in every version since 11 (src/common/hashfn.c).
    "hashtextextended": 'hashtextextended({} COLLATE "C", 0)',
    "sha256/64": (
        "('x' || left(encode(sha256(convert_to({}, 'UTF8')), 'hex'), 16))::bit(64)::bigint"
    ),
}
CAST_KINDS = {**KINDS, "sha256/64": "substr(sha256(convert_to({}, 'UTF8')), 1, 8)::bigint"}
"""Since 18, bytes are cast to numbers (the manual's Binary String Functions)."""

SHORT = frozenset(["int2", "int4", "int8", "oid", "numeric", "bool", "float4", "float8", "uuid"])
MOMENTS = frozenset(["date", "timestamp", "timestamptz", "time", "timetz", "interval"])
"""Types whose texts contain no comma."""

LABELS = (
    "CASE WHEN array_ndims({0}) > 1 OR array_position({0}, NULL) IS NOT NULL"
    " OR array_to_string({0}, '') LIKE '%,%' OR {0} = ARRAY['']"
    " THEN chr(1) || {0}::text ELSE array_to_string({0}, ',') END"
)


def kinds(version: int) -> Mapping[str, str]:
    """Return the digests of a server, by name, the cheapest first."""
    return CAST_KINDS if version >= 180000 else KINDS


def can_digest(column: CanonicalColumn) -> bool:
    """Return whether a column has a text whose equality means that of its values."""
    return _text(column) is not None


def row_digest(columns: Sequence[CanonicalColumn], template: str) -> sql.Composable:
    """Return the expression of a row's digest: bigint, signed."""
    return sql.SQL(template).format(row_text(columns))


BLOCK = sql.SQL(
    "encode(sha256(convert_to(string_agg(t, {}), 'UTF8')), 'hex')"
).format(sql.Literal(ROW_END))  # fmt: skip
"""The digest of rows' texts, in the order in which they come."""


def row_text(columns: Sequence[CanonicalColumn]) -> sql.Composable:
    """Return the expression of a row's text."""
    texts, lengths = [], []
    for column in columns:
        text = _text(column)
        if text is None:
            raise ValueError(f"{column.name} has no text for a digest")
        shown = sql.SQL(text).format(sql.Identifier(column.name))
        told = OR_DASH if column.form is CanonicalType.BYTES else OR_EMPTY
        texts.append(shown if column.required else sql.SQL(told).format(shown))
        if not _is_short(column):
            length = sql.SQL("octet_length(({})::text)").format(shown)
            lengths.append(length if column.required else sql.SQL(OR_EMPTY).format(length))
    return _joined([*texts, *lengths])


OR_EMPTY = "concat({})"
"""What a type's output function prints; of NULL, which concat_ws leaves out, an empty text."""
OR_DASH = "coalesce({}, '-')"
"""For texts that may be empty, and have no length."""

ARGUMENTS = 98
"""A function takes 100 at most (FUNC_MAX_ARGS)."""


def _joined(texts: Sequence[sql.Composable]) -> sql.Composable:
    """Return concat_ws of texts, in parts where they are too many for one call."""
    if len(texts) <= ARGUMENTS:
        return sql.SQL("concat_ws(',', {})").format(sql.SQL(", ").join(texts))
    starts = range(0, len(texts), ARGUMENTS)
    return _joined([_joined(texts[start : start + ARGUMENTS]) for start in starts])


def _is_short(column: CanonicalColumn) -> bool:
    """Return whether a column's text has no comma, so that its length need not be told. As on the
    other end."""
    if column.form in (CanonicalType.TEXT, CanonicalType.LABELS, CanonicalType.JSON):
        return False
    if column.form is not CanonicalType.NATIVE:
        return True
    return column.type.kind is TypeKind.BASE and column.type.name in SHORT | MOMENTS


def _text(column: CanonicalColumn) -> str | None:
    name, form, own = column.type.name, column.form, canonical_type_of(column.type)
    if form is CanonicalType.NATIVE:
        return "{}"
    if own is CanonicalType.FLOAT:
        return FLOATS[name] if form is CanonicalType.FLOAT else None
    if form is CanonicalType.BYTES:
        return BYTES.get(name if name == "uuid" else own)
    if form is CanonicalType.BITS:
        digits = "coalesce(nullif(ltrim({}::text, '0'), ''), '0')"
        return digits if own is CanonicalType.BITS else None
    if form in (CanonicalType.INTEGER, CanonicalType.BOOLEAN, CanonicalType.DECIMAL):
        if own is CanonicalType.DECIMAL and not column.same_scale:
            return "trim_scale({})"
        return NUMBERS.get(own)
    if form is CanonicalType.MOMENT:
        return MOMENT.get(name, "{}") if own is CanonicalType.MOMENT else None
    if form is CanonicalType.LABELS:
        return LABELS if own is CanonicalType.LABELS else None
    if form is CanonicalType.JSON:
        return "to_jsonb({})" if own is CanonicalType.LABELS else "{}"
    return "{}::text" if name == "bpchar" else "{}"


BITS_OF_DOUBLE = "upper(encode(float8send({}), 'hex') COLLATE \"C\")"
"""IEEE 754, the highest byte first."""
FLOATS = {"float4": BITS_OF_DOUBLE.format("{}::float8"), "float8": BITS_OF_DOUBLE}
BYTES = {
    "uuid": "replace({}::text, '-', '')",
    CanonicalType.BYTES: "encode({}, 'hex')",
    CanonicalType.TEXT: "encode(convert_to({}::text, 'UTF8'), 'hex')",
}
NUMBERS = {
    CanonicalType.INTEGER: "{}",
    CanonicalType.DECIMAL: "{}",
    CanonicalType.BOOLEAN: "{}::int",
    CanonicalType.BITS: "{}::bigint",
}
MOMENT = {"timestamptz": "({} AT TIME ZONE 'UTC')"}
