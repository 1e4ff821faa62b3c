"""MySQL's and MariaDB's types: their texts, and their Arrow types."""

from __future__ import annotations

import re
from collections.abc import Mapping

import pyarrow as pa

from streams_engine.errors import UnsupportedType
from streams_engine.model import Dialect, NativeType, TypeKind

__all__ = [
    "COMPRESSED",
    "INVALID_DATE",
    "INVALID_TIMESTAMP",
    "arrow_type",
    "mysql_type",
]


INVALID_DATE = -(1 << 31)
INVALID_TIMESTAMP = -(1 << 63)
"""A zero or partial date (0000-00-00, 2020-00-15), which Arrow cannot hold, arrives as the
minimum of the storage: what becomes of it is the policy's to say (``zeroDates``)."""

COMPRESSED = " /*M!100301 COMPRESSED*/"
"""How MariaDB's catalog writes that a column is compressed, behind its type."""

INTEGERS: Mapping[str, tuple[pa.DataType, pa.DataType]] = {
    "tinyint": (pa.int8(), pa.uint8()),
    "smallint": (pa.int16(), pa.uint16()),
    "mediumint": (pa.int32(), pa.uint32()),
    "int": (pa.int32(), pa.uint32()),
    "bigint": (pa.int64(), pa.uint64()),
}

OTHERS: Mapping[str, pa.DataType] = {
    "float": pa.float32(),
    "double": pa.float64(),
    "bit": pa.uint64(),
    "year": pa.int16(),
    "date": pa.date32(),
    "datetime": pa.timestamp("us"),
    "timestamp": pa.timestamp("us", "UTC"),
    "time": pa.duration("us"),
    **dict.fromkeys(
        ("char", "varchar", "tinytext", "text", "mediumtext", "longtext", "enum", "set", "json",
         "uuid", "inet4", "inet6"),
        pa.string(),
    ),
}  # fmt: skip
"""Everything that is named nowhere here is bytes: BINARY, BLOB, GEOMETRY, VECTOR."""


def arrow_type(native: NativeType) -> pa.DataType:
    """Return the Arrow type of a column. DECIMAL keeps all its 65 digits."""
    if native.name in INTEGERS:
        return INTEGERS[native.name][native.unsigned]
    if native.name == "decimal":
        precision, scale = native.args if len(native.args) == 2 else (*native.args, 0)
        return (
            pa.decimal128(precision, scale) if precision <= 38 else pa.decimal256(precision, scale)
        )
    return OTHERS.get(native.name, pa.binary())


# SQL spelling -> DATA_TYPE (https://dev.mysql.com/doc/refman/en/data-types.html)
NAMES = {
    **{name: name for name in (
        "tinyint", "smallint", "mediumint", "int", "bigint", "decimal", "float", "double", "bit",
        "year", "date", "datetime", "timestamp", "time", "char", "varchar", "tinytext", "text",
        "mediumtext", "longtext", "binary", "varbinary", "tinyblob", "blob", "mediumblob",
        "longblob", "json", "enum", "set", "uuid", "inet4", "inet6", "vector", "geometry", "point",
        "linestring", "polygon", "multipoint", "multilinestring", "multipolygon",
        "geometrycollection",
    )},
    "integer": "int",
    "bool": "tinyint",
    "boolean": "tinyint",
    "numeric": "decimal",
    "dec": "decimal",
    "real": "double",
    "double precision": "double",
}  # fmt: skip

_TYPE = re.compile(
    r"^(?P<name>[a-z][a-z0-9 ]*?)\s*(?:\((?P<args>[^()]*|'.*')\))?"
    r"(?P<rest>(?:\s+(?:unsigned|signed|zerofill))*)$",
    re.I | re.S,
)


def mysql_type(text: str) -> NativeType:
    """Parse a type's text such as ``int unsigned`` or ``enum('a','b')``.

    Raises `UnsupportedType` for a text that names no known type.
    """
    plain = text.strip()
    match = _TYPE.match(plain)
    name = NAMES.get(" ".join(match["name"].lower().split())) if match else None
    if match is None or name is None:
        raise UnsupportedType(
            f"'{text}' is not a known MySQL type.",
            remedy=f"Use one of: {', '.join(sorted(NAMES))}, with its length if needed.",
        )
    rest = match["rest"].lower()
    inner = match["args"]
    if name in ("enum", "set"):
        labels = tuple(
            label.replace("''", "'") for label in re.findall(r"'((?:[^']|'')*)'", inner or "")
        )
        kind = TypeKind.ENUM if name == "enum" else TypeKind.SET
        return NativeType(Dialect.MYSQL, plain, name, kind=kind, labels=labels)
    if match["name"].lower() in ("bool", "boolean"):
        return NativeType(Dialect.MYSQL, "tinyint(1)", "tinyint", (1,))
    args = tuple(int(part) for part in inner.split(",")) if inner else ()
    shown = name + (f"({','.join(map(str, args))})" if args else "") + rest
    return NativeType(Dialect.MYSQL, shown, name, args, unsigned="unsigned" in rest)
