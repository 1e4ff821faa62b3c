"""Tables that say which existing columns can hold which values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pyarrow as pa

from streams_engine.model import Column, Dialect, NativeType, TypeKind
from streams_engine.schema.mapping import postgres_to_mysql_types
from streams_engine.schema.mapping.tables import ColumnMapping
from streams_engine.schema.types import casts
from streams_engine.schema.types.mysql import arrow_type
from streams_engine.schema.types.postgres import WIRE, base_of

__all__ = ["can_hold", "fit"]

_WIDER: Mapping[Dialect, Mapping[str, frozenset[str]]] = {
    Dialect.POSTGRES: {
        "int2": frozenset({"int4", "int8", "numeric"}),
        "int4": frozenset({"int8", "numeric"}),
        "int8": frozenset({"numeric"}),
        "bool": frozenset({"int2", "int4", "int8"}),
        "float4": frozenset({"float8"}),
        "json": frozenset({"jsonb"}),
        "date": frozenset({"timestamp"}),
    },
    Dialect.MYSQL: {
        "tinyint": frozenset({"smallint", "mediumint", "int", "bigint"}),
        "smallint": frozenset({"mediumint", "int", "bigint"}),
        "mediumint": frozenset({"int", "bigint"}),
        "int": frozenset({"bigint"}),
        "float": frozenset({"double"}),
        "date": frozenset({"datetime"}),
        "enum": frozenset({"varchar", "longtext", "text", "mediumtext"}),
        "char": frozenset({"varchar"}),
        "uuid": frozenset({"char", "varchar"}),
        "binary": frozenset({"varbinary"}),
        **{
            name: frozenset(("tinyblob", "blob", "mediumblob", "longblob")[place + 1 :])
            for place, name in enumerate(("tinyblob", "blob", "mediumblob"))
        },
    },
}
"""Types that hold every value of the key's type."""

_TEXTS = {"text", "varchar", "bpchar", "citext"}
_LENGTHS: Mapping[str, int] = {
    "tinytext": 255, "text": 65_535, "mediumtext": 1 << 24, "longtext": 1 << 32,
}  # fmt: skip
"""MySQL's texts without a declared length, in bytes."""
_DECIMALS = {"numeric", "decimal"}


def can_hold(wanted: NativeType, there: NativeType) -> bool:
    """Return True if every value of ``wanted`` fits ``there`` exactly."""
    if there.dialect is Dialect.MYSQL and (there.name in _LENGTHS or wanted.name in _LENGTHS):
        return _mysql_text(wanted, there)
    if there.dialect is Dialect.POSTGRES and there.name in _TEXTS:
        return not there.args or (
            wanted.name in _TEXTS and bool(wanted.args) and wanted.args[0] <= there.args[0]
        )
    if wanted.unsigned != there.unsigned and not (
        wanted.unsigned and wanted.name != there.name and _wider(wanted, there)
    ):
        return False
    if wanted.name != there.name or wanted.kind is not there.kind:
        return _wider(wanted, there) and (not there.args or _as_long(wanted, there))
    if wanted.labels:
        return set(wanted.labels) <= set(there.labels)
    if wanted.name in _DECIMALS and there.args:
        return (
            bool(wanted.args)
            and _digits(wanted) <= _digits(there)
            and _scale(wanted) <= _scale(there)
        )
    if there.dialect is Dialect.MYSQL and (there.name.endswith("int") or there.name == "year"):
        return True  # a number in brackets is a width of display
    if there.dialect is Dialect.MYSQL and there.name == "uuid":
        return True
    if there.dialect is Dialect.MYSQL and there.name in _WIDER[Dialect.MYSQL]:
        return _as_long(wanted, there)
    if there.dialect is Dialect.MYSQL:
        return (wanted.args or (0,)) <= (there.args or (0,))
    # Without arguments there: the widest of its kind (timestamp is timestamp(6)).
    return not there.args or (bool(wanted.args) and wanted.args[0] <= there.args[0])


def _wider(wanted: NativeType, there: NativeType) -> bool:
    return there.name in _WIDER.get(there.dialect, {}).get(wanted.name, ())


def _as_long(wanted: NativeType, there: NativeType) -> bool:
    if there.name.endswith("int") or there.name in ("datetime", "double"):
        return True
    if wanted.labels:
        return max(map(len, wanted.labels)) <= (there.args or (0,))[0]
    length = 36 if wanted.name == "uuid" else (wanted.args or (1,))[0]
    return length <= (there.args or (1,))[0]


def _mysql_text(wanted: NativeType, there: NativeType) -> bool:
    """Return True if a text column can hold the type: LONGTEXT holds any, others texts of their
    length."""
    if there.name == "longtext":
        return not wanted.name.endswith(("blob", "binary"))
    if there.name not in _LENGTHS:
        return False
    if wanted.name in ("char", "varchar"):
        return wanted.args[0] * 4 <= _LENGTHS[there.name]
    return wanted.name in _LENGTHS and _LENGTHS[wanted.name] <= _LENGTHS[there.name]


def _scale(native: NativeType) -> int:
    return native.args[1] if len(native.args) > 1 else 0


def _digits(native: NativeType) -> int:
    return native.args[0] - _scale(native)


# Values one by one

_INTEGERS = {
    Dialect.POSTGRES: ("int2", "int4", "int8"),
    Dialect.MYSQL: ("tinyint", "smallint", "mediumint", "int", "bigint"),
}
_FLOATS = {Dialect.POSTGRES: ("float4", "float8"), Dialect.MYSQL: ("float", "double")}
_CHARACTERS = {
    Dialect.POSTGRES: ("text", "varchar", "bpchar", "citext"),
    Dialect.MYSQL: ("char", "varchar", "tinytext", "text", "mediumtext", "longtext"),
}
_DECIMAL = {Dialect.POSTGRES: "numeric", Dialect.MYSQL: "decimal"}
_INSTANTS = {
    Dialect.POSTGRES: ("timestamp", "timestamptz"),
    Dialect.MYSQL: ("datetime", "timestamp"),
}
_BLOBS = ("varbinary", "tinyblob", "blob", "mediumblob", "longblob", "vector")
_GEOMETRIES = (
    "geometry", "point", "linestring", "polygon", "multipoint", "multilinestring",
    "multipolygon", "geometrycollection", "geomcollection",
)  # fmt: skip
_READ_BY_SERVER = {
    Dialect.POSTGRES: (
        "json", "xml", "inet", "cidr", "macaddr", "macaddr8", "bit", "varbit",
        "timetz", "tsvector", "hstore", "point", "line", "lseg", "box", "path", "polygon",
        "circle", "int4range", "int8range", "numrange", "tsrange", "tstzrange", "daterange",
    ),
    Dialect.MYSQL: ("json", "uuid", "inet4", "inet6"),
}  # fmt: skip
"""Types whose texts the server itself refuses where they are no value."""


_TEXTS_OF_POSTGRES = {"uuid": "uuid", "jsonb": "unique_keys", "interval": "interval_text"}


def _numbers(dialect: Dialect) -> dict[str, str]:
    kinds = {name: "integer" for name in _INTEGERS[dialect]}
    kinds |= {name: "float" for name in _FLOATS[dialect]}
    return {**kinds, _DECIMAL[dialect]: "decimal"}


def _texts(dialect: Dialect) -> dict[str, str]:
    return dict.fromkeys(_CHARACTERS[dialect], "text")


def _table(dialect: Dialect) -> dict[str, dict[str, str]]:
    postgres = dialect is Dialect.POSTGRES
    numbers, texts = _numbers(dialect), _texts(dialect)
    flag = {"bool": "boolean"} if postgres else {}
    bit = {"bit": "bits"}
    year = {} if postgres else {"year": "year"}
    moments = dict.fromkeys(_INSTANTS[dialect], "timestamp")
    written = dict.fromkeys(_INSTANTS[dialect], "timestamp_text")
    span = {"interval": "time"} if postgres else {}
    return {
        "bool": {**numbers, **texts, **flag, **bit},
        "int": {**numbers, **texts, **flag, **bit, **year},
        "decimal": {**numbers, **texts, **flag},
        "float": {**numbers, **texts},
        "date": {"date": "date", **moments, **texts},
        "timestamp": {"date": "date", **moments, **texts},
        "time": {"time": "time", **texts},
        "duration": {"time": "time", **span, **texts},
        "string": {
            **numbers, **texts, **flag, **year, **written,
            "date": "date_text", "time": "time_text",
            **dict.fromkeys(_READ_BY_SERVER[dialect], "as_it_is"),
            **(_TEXTS_OF_POSTGRES if postgres else {}),
        },
        "padded": dict.fromkeys(_CHARACTERS[dialect], "padded"),
        "list": {} if postgres else {"set": "labels"},
        "bytes": (
            {"bytea": "as_it_is", "uuid": "uuid"}
            if postgres
            else {"binary": "whole_bytes", **dict.fromkeys((*_BLOBS, *_GEOMETRIES), "as_it_is")}
        ),
    }  # fmt: skip


_FITS: Mapping[Dialect, Mapping[str, Mapping[str, str]]] = {
    dialect: _table(dialect) for dialect in (Dialect.POSTGRES, Dialect.MYSQL)
}
"""By the dialect of the target: what sort of values come, and by what check (of
`streams_engine.schema.types.casts`) they go into which types."""

_LABELLED = {TypeKind.ENUM: "label", TypeKind.SET: "label_set"}
_MYSQL_DATES = {"date": "date_text", "datetime": "timestamp_text", "timestamp": "timestamp_text"}


def fit(column: ColumnMapping, there: Column) -> ColumnMapping | None:
    """Return the mapping onto an existing column, with the check that its values need; None if it
    cannot hold them.

    Only values that the target's type may not hold are checked, one by one.
    """
    wanted = column.target
    if can_hold(wanted.type, there.type) and not _becomes_text(wanted.type, there.type):
        return _retyped(column, there)
    read, convert, arrives = _natural(column.source, there.type.dialect)
    name = _check(column.source, arrives, there.type)
    if name is None:
        return None
    if name in ("text", "padded") and column.source.type.dialect is not Dialect.FILES:
        read, convert, arrives = pa.string(), None, pa.string()  # the server's own text
    result = casts.arrives(name, there.type, arrives)
    if result is None:
        return None
    listed = name == "labels"
    source = replace(column.source, arrow=read, as_json=listed)
    if there.type.dialect is Dialect.MYSQL and there.type.name == "json":
        convert = "json_numbers"
    return replace(
        column, source=source, target=replace(there, arrow=result), convert=convert, fit=name
    )


def _becomes_text(wanted: NativeType, there: NativeType) -> bool:
    """Return True if a value that is not a text is stored as the text that its own server
    prints."""
    texts = (*_CHARACTERS.get(there.dialect, ()), "enum", "set", "json", "jsonb", "uuid")
    return (
        there.name in _CHARACTERS.get(there.dialect, ())
        and wanted.name not in texts
        and (wanted.kind is TypeKind.BASE)
    )


def _check(source: Column, arrives: pa.DataType, there: NativeType) -> str | None:
    """Return the check by which values of a source column go into a type; None if they never do."""
    base = base_of(there)
    table = _FITS.get(there.dialect)
    if table is None:
        return None
    family = _family(source.type, arrives)
    if base.kind in _LABELLED and family in ("string", "padded"):
        return _LABELLED[base.kind]
    if family == "list":
        return table["list"].get(base.name)
    if base.kind is not TypeKind.BASE:
        if family != "string" or not _reads(base):
            return None
        return "array" if base.kind is TypeKind.ARRAY else "as_it_is"
    name = table.get(family, {}).get(base.name)
    if family == "string" and source.type.name in _MYSQL_DATES:
        same = _MYSQL_DATES.get(base.name) == name and name is not None
        return name if same or name == "text" else None
    rounds = family == "string" and base.args and base.name in ("interval", "timetz")
    return None if rounds else name


def _reads(base: NativeType) -> bool:
    """Return True for arrays and ranges of built-in types without arguments, which would round."""
    inner = base.element
    kinds = (TypeKind.ARRAY, TypeKind.RANGE, TypeKind.MULTIRANGE)
    return base.kind in kinds and (inner is None or not inner.args)


def _family(native: NativeType, arrives: pa.DataType) -> str:
    """Return the kind of the incoming values."""
    base = base_of(native)
    if base.dialect is Dialect.POSTGRES and base.name == "bpchar":
        return "padded"
    if base.dialect is Dialect.POSTGRES and base.kind is TypeKind.ARRAY:
        return "list"
    return next((name for name, test in _FAMILIES if test(arrives)), "other")


_FAMILIES = (
    ("bool", pa.types.is_boolean),
    ("int", pa.types.is_integer),
    ("float", pa.types.is_floating),
    ("decimal", pa.types.is_decimal),
    ("string", pa.types.is_string),
    ("bytes", pa.types.is_binary),
    ("date", pa.types.is_date32),
    ("timestamp", pa.types.is_timestamp),
    ("time", pa.types.is_time),
    ("duration", pa.types.is_duration),
)


def _natural(source: Column, target: Dialect) -> tuple[pa.DataType, str | None, pa.DataType]:
    """Return the Arrow type read from a source, the conversion, and the Arrow type that results,
    for any target type."""
    if source.type.dialect is Dialect.POSTGRES:
        rule = postgres_to_mysql_types.rule_for(source.type)
        return rule.read, rule.convert, rule.arrives or rule.read
    if source.type.dialect is Dialect.FILES:
        return source.arrow, None, source.arrow
    native = arrow_type(source.type)
    if source.type.name in _MYSQL_DATES:
        if target is Dialect.MYSQL:
            return pa.string(), None, pa.string()  # zero and partial dates stay what they are
        return native, "date", native
    return native, None, native


def _retyped(column: ColumnMapping, there: Column) -> ColumnMapping:
    """Return the column with the type of the existing column; a binary form fits only its own
    type."""
    arrow = column.target.arrow
    source = column.source
    if arrow == WIRE and there.type.name != column.target.type.name:
        arrow = pa.string()
        source = replace(source, arrow=arrow)
    return replace(column, source=source, target=replace(there, arrow=arrow))
