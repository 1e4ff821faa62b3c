"""PostgreSQL type texts, read into `NativeType`: for rules and for users' overrides."""

from __future__ import annotations

import re
from dataclasses import replace

from streams_engine.errors import UnsupportedType
from streams_engine.model import Catalog, Dialect, Extension, NativeType, TypeKind

__all__ = ["postgres_type", "with_extensions"]

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
    """The `NativeType` of a built-in type's text, as ``numeric(20)`` or ``text[]``.

    Raises `UnsupportedType` for a text that names no type known here.
    """
    match = _TYPE.match(" ".join(text.lower().split()))
    name = TYPNAMES.get(match["name"] + (match["zone"] or "")) if match else None
    if match is None or name is None:
        raise UnsupportedType(
            f"'{text}' is not a PostgreSQL type known here.",
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


def with_extensions(catalog: Catalog) -> Catalog:
    """The catalog with the extensions that its columns' types come with.

    Those that it names already stay; another one goes where the server puts it by itself.
    """
    known = {extension.name for extension in catalog.extensions}
    types = {c.type.element or c.type for table in catalog.tables for c in table.columns}
    named = {EXTENSIONS[t.name] for t in types if t.extension is None and t.name in EXTENSIONS}
    missing = tuple(Extension(name, "", "") for name in sorted(named - known))
    return replace(catalog, extensions=(*catalog.extensions, *missing))
