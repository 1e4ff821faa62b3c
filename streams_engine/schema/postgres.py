"""PostgreSQL's types in Arrow, and the wire form that carries what Arrow cannot."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

from streams_engine.model import NativeType, TypeKind

__all__ = ["ARROW", "TEXT_FORMS", "WIRE", "arrow_type", "base_of", "has_binary_form"]

WIRE = pa.large_binary()
"""Asked for instead of a natural type: the value in PostgreSQL's own binary send format.

``large_binary`` is used for nothing else between adapters, so that the type says it.
"""

ARROW: Mapping[str, pa.DataType] = {
    "bool": pa.bool_(),
    "int2": pa.int16(),
    "int4": pa.int32(),
    "int8": pa.int64(),
    "float4": pa.float32(),
    "float8": pa.float64(),
    "bytea": pa.binary(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us"),
    "timestamptz": pa.timestamp("us", "UTC"),
}
"""What a reader yields where nothing else is asked for; every other type is text.

NUMERIC is text too: NaN, infinities and a scale without bound fit no Arrow decimal.
"""


def arrow_type(native: NativeType) -> pa.DataType:
    """The natural Arrow type of a column; a domain's is its base's."""
    native = base_of(native)
    if native.kind is not TypeKind.BASE or native.extension is not None:
        return pa.string()
    return ARROW.get(native.name, pa.string())


TEXT_FORMS = frozenset({"text", "varchar", "bpchar", "json", "xml", "citext"})
"""Types whose binary form is their text."""


def base_of(native: NativeType) -> NativeType:
    """The type under a domain, or under a domain over domains."""
    while native.kind is TypeKind.DOMAIN and native.element is not None:
        native = native.element
    return native


def has_binary_form(native: NativeType, arrow: pa.DataType) -> bool:
    """True where a column of this type can be written by COPY BINARY from this Arrow type.

    One column without makes the whole table a text COPY, and then no other may be WIRE.
    """
    if not pa.types.is_string(arrow):
        return True
    base = base_of(native)
    if base.kind is TypeKind.ENUM:
        return True
    plain = base.kind is TypeKind.BASE and base.extension is None
    return plain and base.name in TEXT_FORMS | {"jsonb", "uuid"}
