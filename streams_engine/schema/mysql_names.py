"""MySQL type texts, read into `NativeType`: for rules and for users' overrides."""

from __future__ import annotations

import re

from streams_engine.errors import UnsupportedType
from streams_engine.model import Dialect, NativeType, TypeKind

__all__ = ["mysql_type"]

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
    """The `NativeType` of a type's text, as ``int unsigned`` or ``enum('a','b')``.

    Raises `UnsupportedType` for a text that names no type known here.
    """
    plain = text.strip()
    found = _TYPE.match(plain)
    name = NAMES.get(" ".join(found["name"].lower().split())) if found else None
    if found is None or name is None:
        raise UnsupportedType(
            f"'{text}' is not a MySQL type known here.",
            remedy=f"Use one of: {', '.join(sorted(NAMES))}, with its length if needed.",
        )
    rest = found["rest"].lower()
    inner = found["args"]
    if name in ("enum", "set"):
        labels = tuple(
            label.replace("''", "'") for label in re.findall(r"'((?:[^']|'')*)'", inner or "")
        )
        kind = TypeKind.ENUM if name == "enum" else TypeKind.SET
        return NativeType(Dialect.MYSQL, plain, name, kind=kind, labels=labels)
    if found["name"].lower() in ("bool", "boolean"):
        return NativeType(Dialect.MYSQL, "tinyint(1)", "tinyint", (1,))
    args = tuple(int(part) for part in inner.split(",")) if inner else ()
    shown = name + (f"({','.join(map(str, args))})" if args else "") + rest
    return NativeType(Dialect.MYSQL, shown, name, args, unsigned="unsigned" in rest)
