"""Where the text of a value in MySQL's log is what PostgreSQL's type reads as the converted value.

The same as `conversions` and the writer of columns make of it: a table, one line a type.
"""

from __future__ import annotations

from collections.abc import Mapping

from streams_engine.model import TypeKind
from streams_engine.schema.mapping.tables import ColumnMapping, TextConversion, unchanged
from streams_engine.schema.types.mysql import arrow_type

__all__ = ["TARGETS", "text_conversion"]

MIDNIGHT = b"24:00:00.000000"
"""The last time of a day, in the form of the log's texts."""


def as_bytea(value: bytes) -> bytes:
    """Return bytes as bytea reads them."""
    return b"\\x" + value.hex().encode()


def as_array(value: bytes) -> bytes:
    """Return the labels of a SET as an array of texts."""
    if not value:
        return b"{}"
    escaped = value.replace(b"\\", b"\\\\").replace(b'"', b'\\"')
    return b'{"' + escaped.replace(b",", b'","') + b'"}'


def within_day(value: bytes) -> bytes:
    """Return a time of day. Raises `ValueError` for any other, which PostgreSQL's does not hold."""
    if len(value) != len(MIDNIGHT) or value > MIDNIGHT:  # negative ones are longer
        raise ValueError("no time of day")
    return value


_INTEGERS: Mapping[str, TextConversion] = dict.fromkeys(
    ("int2", "int4", "int8", "numeric", "bool"), unchanged
)
"""A number that is not in the type's range, or no boolean, the server refuses."""
_TEXTS: Mapping[str, TextConversion] = {"text": unchanged, "varchar": unchanged}
_BYTES: Mapping[str, TextConversion] = {"bytea": as_bytea}

TARGETS: Mapping[str, Mapping[str, TextConversion]] = {
    **dict.fromkeys(("tinyint", "smallint", "mediumint", "int", "bigint", "year"), _INTEGERS),
    "decimal": {"numeric": unchanged},
    "float": {"float4": unchanged},
    "double": {"float8": unchanged},
    "bit": {"bit": unchanged},
    "date": {"date": unchanged},
    "datetime": {"timestamp": unchanged},
    "timestamp": {"timestamptz": unchanged},
    "time": {"time": within_day},
    **dict.fromkeys(("char", "varchar", "tinytext", "text", "mediumtext", "longtext"), _TEXTS),
    **dict.fromkeys(("binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob"), _BYTES),
    "enum": _TEXTS,
    "set": {"_text": as_array},
    "json": {"json": unchanged, "jsonb": unchanged},
    "uuid": {"uuid": unchanged},
    "inet4": {"inet": unchanged},
    "inet6": {"inet": unchanged},
}
"""By type of MySQL, and by PostgreSQL's. Any other pair goes in columns, as do geometries."""


def text_conversion(column: ColumnMapping) -> TextConversion | None:
    """Return how a value's text in the log becomes one that the target's type reads back exactly;
    None if it takes the value itself."""
    source, target = column.source.type, column.target.type
    if column.fit is not None or column.source.arrow != arrow_type(source):
        return None
    if source.name == "enum" and target.kind is TypeKind.ENUM:
        return unchanged
    if target.extension is not None or target.user is not None:
        return None
    if source.name == "bit" and column.convert == "boolean":
        return unchanged if target.name == "bool" else None
    return TARGETS.get(source.name, {}).get(target.name)
