"""PostgreSQL's types: their texts, their Arrow types, and their wire forms."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace

import pyarrow as pa

from streams_engine.errors import UnsupportedType
from streams_engine.model import (
    Catalog,
    Dialect,
    Extension,
    NativeType,
    TableSchema,
    TypeKind,
)

__all__ = [
    "ARROW",
    "TEXT_FORMS",
    "WIRE",
    "arrow_type",
    "base_of",
    "extensions_of",
    "has_binary_form",
    "postgres_type",
    "with_extensions",
]


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
    """Return the natural Arrow type of a column; for a domain, that of its base type."""
    native = base_of(native)
    if native.kind is not TypeKind.BASE or native.extension is not None:
        return pa.string()
    return ARROW.get(native.name, pa.string())


TEXT_FORMS = frozenset({"text", "varchar", "bpchar", "json", "xml", "citext"})
"""Types whose binary form is their text."""


def base_of(native: NativeType) -> NativeType:
    """Return the type under a domain, or under a domain over domains."""
    while native.kind is TypeKind.DOMAIN and native.element is not None:
        native = native.element
    return native


def has_binary_form(native: NativeType, arrow: pa.DataType) -> bool:
    """Return True if COPY BINARY can write a column of this type from this Arrow type.

    One column that cannot makes the whole table a text COPY, and then no other may be WIRE.
    """
    if not pa.types.is_string(arrow):
        return True
    base = base_of(native)
    if base.kind is TypeKind.ENUM:
        return True
    plain = base.kind is TypeKind.BASE and base.extension is None
    return plain and base.name in TEXT_FORMS | {"jsonb", "uuid"}


# SQL spelling -> pg_type.typname (https://www.postgresql.org/docs/current/datatype.html)
TYPNAMES = {
    "bigint": "int8",
    "int8": "int8",
    "integer": "int4",
    "int": "int4",
    "int4": "int4",
    "smallint": "int2",
    "int2": "int2",
    "boolean": "bool",
    "bool": "bool",
    "real": "float4",
    "float4": "float4",
    "double precision": "float8",
    "float8": "float8",
    "numeric": "numeric",
    "decimal": "numeric",
    "text": "text",
    "character varying": "varchar",
    "varchar": "varchar",
    "character": "bpchar",
    "char": "bpchar",
    "bpchar": "bpchar",
    "citext": "citext",
    "bytea": "bytea",
    "date": "date",
    "timestamp": "timestamp",
    "timestamp without time zone": "timestamp",
    "timestamptz": "timestamptz",
    "timestamp with time zone": "timestamptz",
    "time": "time",
    "time without time zone": "time",
    "timetz": "timetz",
    "time with time zone": "timetz",
    "interval": "interval",
    "json": "json",
    "jsonb": "jsonb",
    "uuid": "uuid",
    "inet": "inet",
    "cidr": "cidr",
    "bit": "bit",
    "bit varying": "varbit",
    "varbit": "varbit",
    "xml": "xml",
    "money": "money",
    "geometry": "geometry",
    "hstore": "hstore",
}

EXTENSIONS = {"citext": "citext", "hstore": "hstore", "geometry": "postgis"}
"""The extension that a type comes with."""

_TYPE = re.compile(
    r"^(?P<name>[a-z][a-z0-9_ ]*?)\s*(?:\((?P<args>\d+(?:\s*,\s*-?\d+)?)\))?"
    r"(?P<zone> with(?:out)? time zone)?(?P<array>(?:\[\])*)$"
)


def postgres_type(text: str) -> NativeType:
    """Parse a built-in type's text such as ``numeric(20)`` or ``text[]``.

    Raises `UnsupportedType` for a text that names no known type.
    """
    match = _TYPE.match(" ".join(text.lower().split()))
    name = TYPNAMES.get(match["name"] + (match["zone"] or "")) if match else None
    if match is None or name is None:
        raise UnsupportedType(
            f"'{text}' is not a known PostgreSQL type.",
            remedy=f"Use one of: {', '.join(sorted(TYPNAMES))}, with its length and [] if needed.",
        )
    args = tuple(int(arg) for arg in match["args"].split(",")) if match["args"] else ()
    bare = (
        match["name"] + (f"({', '.join(map(str, args))})" if args else "") + (match["zone"] or "")
    )
    scalar = NativeType(Dialect.POSTGRES, bare, name, args)
    if not match["array"]:
        return scalar
    return NativeType(
        Dialect.POSTGRES, bare + "[]", "_" + name, args, kind=TypeKind.ARRAY, element=scalar
    )


def extensions_of(table: TableSchema) -> tuple[Extension, ...]:
    """Return the table's extensions without those that only types needed which it does not have
    any more."""
    types = [column.type for column in table.columns]
    for user in table.types:
        types += (native for _, native in user.attributes)
        types += [user.base] if user.base else []
    named = {name for native in types for name in _extensions(native)}
    return tuple(e for e in table.extensions if not e.for_types or e.name in named)


def _extensions(native: NativeType) -> Iterator[str]:
    if native.extension is not None:
        yield native.extension
    if native.element is not None:
        yield from _extensions(native.element)


def with_extensions(catalog: Catalog) -> Catalog:
    """Return the catalog with the extensions that define its columns' types.

    Extensions that it names already stay; others go into the schema that the server chooses.
    """
    known = {extension.name for extension in catalog.extensions}
    types = {c.type.element or c.type for table in catalog.tables for c in table.columns}
    named = {EXTENSIONS[t.name] for t in types if t.extension is None and t.name in EXTENSIONS}
    missing = tuple(Extension(name, "", "") for name in sorted(named - known))
    return replace(catalog, extensions=(*catalog.extensions, *missing))
