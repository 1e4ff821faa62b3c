"""The MySQL and MariaDB type of each PostgreSQL type: one row of a table a type."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pyarrow as pa

from streams_engine.model import NativeType, TypeKind
from streams_engine.schema.types.postgres import ARROW, WIRE, base_of

__all__ = ["RULES", "PostgresTypeRule", "rule_for"]

MOST_DIGITS, MOST_DECIMALS = 65, 30
"""https://dev.mysql.com/doc/refman/en/fixed-point-types.html"""


@dataclass(frozen=True, slots=True)
class PostgresTypeRule:
    """The target type of a source type, and how its values travel.

    ``read``: the Arrow type asked of the reader; ``arrives``: what reaches the sink after
    ``convert`` (of `streams_engine.schema.types.conversions`); None: as it was read.
    """

    target: str | Callable[[NativeType], str]
    read: pa.DataType
    arrives: pa.DataType | None = None
    convert: str | None = None
    as_json: bool = False
    note: str | None = None

    def type_text(self, native: NativeType) -> str:
        """Return the MySQL type text for this column's type."""
        return self.target if isinstance(self.target, str) else self.target(native)


def _numeric(native: NativeType) -> str:
    if not native.args:
        return f"decimal({MOST_DIGITS},{MOST_DECIMALS})"
    precision, scale = native.args
    if scale < 0:
        precision, scale = precision - scale, 0
    precision = max(precision, scale)
    fits = precision <= MOST_DIGITS and scale <= MOST_DECIMALS
    return f"decimal({precision},{scale})" if fits else "longtext"


def _fraction(name: str) -> Callable[[NativeType], str]:
    def text(native: NativeType) -> str:
        digits = native.args[0] if native.args else 6
        return f"{name}({digits})" if digits else name

    return text


def _varchar(native: NativeType) -> str:
    return f"varchar({native.args[0]})" if native.args and native.args[0] <= 16_000 else "longtext"


def _char(native: NativeType) -> str:
    length = native.args[0] if native.args else 1
    return f"char({length})" if length <= 255 else _varchar(native)


def _bits(native: NativeType) -> str:
    width = native.args[0] if native.args else 1
    return f"bit({width})" if width <= 64 else "longtext"


def _text(
    target: str = "longtext", note: str | None = "kept as PostgreSQL's text"
) -> PostgresTypeRule:
    return PostgresTypeRule(target, pa.string(), note=note)


def _plain(name: str, target: str) -> PostgresTypeRule:
    return PostgresTypeRule(target, ARROW[name])


_INSTANT = "in UTC"
_TEXTS = _text(note=None)

RULES: Mapping[str, PostgresTypeRule] = {
    "bool": _plain("bool", "tinyint(1)"),
    "int2": _plain("int2", "smallint"),
    "int4": _plain("int4", "int"),
    "int8": _plain("int8", "bigint"),
    "float4": _plain("float4", "float"),
    "float8": _plain("float8", "double"),
    "bytea": _plain("bytea", "longblob"),
    "numeric": PostgresTypeRule(_numeric, pa.string(), note="NaN and infinities are rejected"),
    "text": _TEXTS,
    "varchar": PostgresTypeRule(_varchar, pa.string()),
    "bpchar": PostgresTypeRule(_char, pa.string()),
    "name": _text("varchar(64)", None),
    "char": _text("varchar(4)", None),
    "citext": _TEXTS,
    "date": PostgresTypeRule("date", WIRE, pa.date32(), "pg_date"),
    "timestamp": PostgresTypeRule(_fraction("datetime"), WIRE, pa.timestamp("us"), "pg_timestamp"),
    "timestamptz": PostgresTypeRule(
        _fraction("datetime"), WIRE, pa.timestamp("us"), "pg_timestamp", note=_INSTANT
    ),
    "time": PostgresTypeRule(_fraction("time"), WIRE, pa.duration("us"), "pg_time"),
    "timetz": _text("varchar(32)"),
    "uuid": _text("char(36)", None),
    "json": PostgresTypeRule("json", pa.string()),
    "jsonb": PostgresTypeRule("json", pa.string()),
    "bit": PostgresTypeRule(_bits, pa.string()),
    "oid": _text("int unsigned", None),
    "xid": _text("int unsigned", None),
    "inet": _text("varchar(43)"),
    "cidr": _text("varchar(43)"),
    "macaddr": _text("varchar(17)"),
    "macaddr8": _text("varchar(23)"),
    "money": _text("varchar(64)"),
}
"""Every other type becomes its PostgreSQL text in a LONGTEXT, an array JSON."""

_ARRAY = PostgresTypeRule("json", pa.string(), as_json=True, note="as JSON; lower bounds are lost")


def rule_for(native: NativeType) -> PostgresTypeRule:
    """Return the rule for a column; for a domain, the rule of its base type."""
    base = base_of(native)
    if base.kind is TypeKind.ARRAY:
        return _ARRAY
    if base.kind is TypeKind.BASE and (base.extension is None or base.name == "citext"):
        return RULES.get(base.name, _text())
    return _text()
