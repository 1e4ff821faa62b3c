"""The PostgreSQL type of each MySQL and MariaDB type: one row of a table a type.

The published defaults of the product; each can be overridden by ``typeOverrides``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from streams_engine.model import Column, NativeType

__all__ = ["GEOMETRIES", "LONG_TIME", "RULES", "MysqlTypeRule", "rule_for"]


@dataclass(frozen=True, slots=True)
class MysqlTypeRule:
    """The target type of a source type.

    ``target``: PostgreSQL type text, or a function of the source type. ``convert``
    names a value conversion of `streams_engine.schema.types.conversions`. ``note`` goes into
    the plan.
    """

    target: str | Callable[[NativeType], str]
    convert: str | None = None
    note: str | None = None

    def type_text(self, native: NativeType) -> str:
        """Return the PostgreSQL type text for this column's type."""
        return self.target if isinstance(self.target, str) else self.target(native)


def _varchar(native: NativeType) -> str:
    # VARCHAR(0) is legal on MySQL and holds '' only
    return f"varchar({max(1, native.args[0])})" if native.args else "text"


def _numeric(native: NativeType) -> str:
    return f"numeric({', '.join(map(str, native.args))})" if native.args else "numeric(10)"


def _fraction(name: str) -> Callable[[NativeType], str]:
    def text(native: NativeType) -> str:
        return f"{name}({native.args[0] if native.args else 0})"

    return text


def _width(native: NativeType) -> int:
    return native.args[0] if native.args else 1


_BINARY = MysqlTypeRule("bytea")
_TEXT = MysqlTypeRule("text")
_GEOMETRY = MysqlTypeRule("bytea", note="kept as MySQL's internal form: 4 bytes of SRID, then WKB")
GEOMETRIES = (
    "geometry",
    "point",
    "linestring",
    "polygon",
    "multipoint",
    "multilinestring",
    "multipolygon",
    "geometrycollection",
    "geomcollection",
)

RULES: Mapping[str, MysqlTypeRule] = {
    "tinyint": MysqlTypeRule("smallint"),
    "smallint": MysqlTypeRule("smallint"),
    "mediumint": MysqlTypeRule("integer"),
    "int": MysqlTypeRule("integer"),
    "bigint": MysqlTypeRule("bigint"),
    "tinyint unsigned": MysqlTypeRule("smallint"),
    "smallint unsigned": MysqlTypeRule("integer"),
    "mediumint unsigned": MysqlTypeRule("integer"),
    "int unsigned": MysqlTypeRule("bigint"),
    "bigint unsigned": MysqlTypeRule("numeric(20)"),
    "tinyint(1)": MysqlTypeRule(
        "boolean", convert="boolean", note="its values are only 0, 1 and NULL"
    ),
    "decimal": MysqlTypeRule(_numeric),
    "float": MysqlTypeRule("real"),
    "double": MysqlTypeRule("double precision"),
    "bit": MysqlTypeRule(lambda native: f"bit({_width(native)})"),
    "bit(1)": MysqlTypeRule("boolean", convert="boolean"),
    "char": MysqlTypeRule(_varchar),
    "varchar": MysqlTypeRule(_varchar),
    "tinytext": _TEXT,
    "text": _TEXT,
    "mediumtext": _TEXT,
    "longtext": _TEXT,
    "binary": _BINARY,
    "varbinary": _BINARY,
    "tinyblob": _BINARY,
    "blob": _BINARY,
    "mediumblob": _BINARY,
    "longblob": _BINARY,
    "date": MysqlTypeRule("date", convert="date"),
    "datetime": MysqlTypeRule(_fraction("timestamp"), convert="date"),
    "timestamp": MysqlTypeRule(_fraction("timestamptz"), convert="date"),
    "time": MysqlTypeRule(
        _fraction("time"), note="an interval if it holds times outside 00:00:00 to 24:00:00"
    ),
    "year": MysqlTypeRule("smallint"),
    "json": MysqlTypeRule("jsonb"),
    "enum": MysqlTypeRule("enum"),
    "set": MysqlTypeRule("text[]", convert="labels"),
    "uuid": MysqlTypeRule("uuid"),
    "inet4": MysqlTypeRule("inet"),
    "inet6": MysqlTypeRule("inet"),
    "vector": MysqlTypeRule("bytea", note="kept as its 4-byte floats"),
    **dict.fromkeys(GEOMETRIES, _GEOMETRY),
}


LONG_TIME = MysqlTypeRule(_fraction("interval"))
"""For a TIME column with times outside a day."""


def rule_for(column: Column, *, boolean: bool) -> MysqlTypeRule | None:
    """Return the rule for a column, or None if its type has no mapping.

    ``boolean``: this TINYINT(1) column contains only 0, 1 and NULL.
    """
    native = column.type
    if native.name == "tinyint" and native.args == (1,) and not native.unsigned and boolean:
        return RULES["tinyint(1)"]
    if native.name == "bit" and _width(native) == 1:
        return RULES["bit(1)"]
    if native.unsigned and f"{native.name} unsigned" in RULES:
        return RULES[f"{native.name} unsigned"]
    return RULES.get(native.name)
