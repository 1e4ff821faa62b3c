"""What each MySQL and MariaDB type becomes on PostgreSQL: one row of a table a type.

The published defaults of the product; each can be overridden by ``typeOverrides``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from streams_engine.model import Column, NativeType

__all__ = ["RULES", "Rule", "rule_for"]


@dataclass(frozen=True, slots=True)
class Rule:
    """What a source type becomes.

    ``target``: PostgreSQL type text, or a function of the source type. ``convert``
    names a value conversion of `streams_engine.schema.values`. ``note`` goes into
    the plan.
    """

    target: str | Callable[[NativeType], str]
    convert: str | None = None
    note: str | None = None

    def type_text(self, native: NativeType) -> str:
        """The PostgreSQL type text for this very column."""
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


_BINARY = Rule("bytea")
_TEXT = Rule("text")
_GEOMETRY = Rule("bytea", note="kept as MySQL's internal form: 4 bytes of SRID, then WKB")
_GEOMETRIES = (
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

RULES: Mapping[str, Rule] = {
    "tinyint": Rule("smallint"),
    "smallint": Rule("smallint"),
    "mediumint": Rule("integer"),
    "int": Rule("integer"),
    "bigint": Rule("bigint"),
    "tinyint unsigned": Rule("smallint"),
    "smallint unsigned": Rule("integer"),
    "mediumint unsigned": Rule("integer"),
    "int unsigned": Rule("bigint"),
    "bigint unsigned": Rule("numeric(20)"),
    "tinyint(1)": Rule("boolean", convert="boolean", note="only 0, 1 and NULL were found in it"),
    "decimal": Rule(_numeric),
    "float": Rule("real"),
    "double": Rule("double precision"),
    "bit": Rule(lambda native: f"bit({_width(native)})"),
    "bit(1)": Rule("boolean", convert="boolean"),
    "char": Rule(_varchar),
    "varchar": Rule(_varchar),
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
    "date": Rule("date", convert="date"),
    "datetime": Rule(_fraction("timestamp"), convert="date"),
    "timestamp": Rule(_fraction("timestamptz"), convert="date"),
    "time": Rule(_fraction("time"), note="a value outside 00:00:00 to 24:00:00 is refused"),
    "year": Rule("smallint"),
    "json": Rule("jsonb"),
    "enum": Rule("enum"),
    "set": Rule("text[]", convert="labels"),
    "uuid": Rule("uuid"),
    "inet4": Rule("inet"),
    "inet6": Rule("inet"),
    "vector": Rule("bytea", note="kept as its 4-byte floats"),
    **dict.fromkeys(_GEOMETRIES, _GEOMETRY),
}


def rule_for(column: Column, *, boolean: bool) -> Rule | None:
    """The rule for a column, or None where its type has no mapping.

    ``boolean``: a TINYINT(1) of this column was seen to hold nothing but 0, 1 and NULL.
    """
    native = column.type
    if native.name == "tinyint" and native.args == (1,) and not native.unsigned and boolean:
        return RULES["tinyint(1)"]
    if native.name == "bit" and _width(native) == 1:
        return RULES["bit(1)"]
    if native.unsigned and f"{native.name} unsigned" in RULES:
        return RULES[f"{native.name} unsigned"]
    return RULES.get(native.name)
