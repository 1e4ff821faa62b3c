"""The canonical type of a column: the text form in which `verify` compares it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import Any

import pyarrow as pa

from streams_engine.model import Dialect, Filter, NativeType, TableId, TypeKind

__all__ = [
    "NORMALISERS",
    "BucketFilter",
    "CanonicalColumn",
    "CanonicalRead",
    "CanonicalType",
    "KeyRange",
    "canonical_type_for",
    "canonical_type_of",
    "in_files",
    "nulls_zero_dates",
]


WRITTEN_OUT = 400
"""The longest exponent that is written out in zeros; doubles have up to 324."""

PLAIN = frozenset("123456789")


class CanonicalType(StrEnum):
    """Form in which a pair of columns is compared; also the kind of values that a single type
    holds."""

    NATIVE = "native"
    """One dialect on both ends: the server's own text, letter by letter."""
    INTEGER = "integer"
    DECIMAL = "decimal"
    """Exact numbers by value: 1.50 equals 1.5."""
    FLOAT = "float"
    """Doubles by their bits; single precision is widened, which is exact."""
    BOOLEAN = "boolean"
    """0 and 1, and whatever else an integer column holds instead."""
    TEXT = "text"
    BYTES = "bytes"
    """As hex, in lower case."""
    MOMENT = "moment"
    """Dates, times, timestamps and intervals of hours; instants in UTC."""
    JSON = "json"
    """By value: exact numbers, keys in any order."""
    LABELS = "labels"
    """MySQL's SET and PostgreSQL's text[]."""
    BITS = "bits"
    """Binary digits without leading zeros."""


@dataclass(frozen=True, slots=True)
class CanonicalColumn:
    """A column of one end, and how its server is to render it."""

    name: str
    type: NativeType
    form: CanonicalType
    zero_dates: str = "text"
    """``null``: a date that PostgreSQL cannot hold is rendered as NULL, as the copy made it."""
    same_scale: bool = False
    """The other end's number has as many digits after the point."""
    required: bool = False
    """Neither end may hold NULL in it."""


@dataclass(frozen=True, slots=True)
class KeyRange:
    """Rows by a key of whole numbers: ``low`` <= key < ``high``; None: open."""

    column: str
    low: int | None = None
    high: int | None = None

    @property
    def single(self) -> bool:
        """Whether it holds one key's rows alone."""
        return self.low is not None and self.high == self.low + 1

    def split(self, parts: int) -> tuple[KeyRange, ...]:
        """Return ranges that together are this one, which must be closed."""
        if self.low is None or self.high is None:
            return (self,)
        size = max(1, -(-(self.high - self.low) // parts))
        edges = [*range(self.low, self.high, size), self.high]
        return tuple(KeyRange(self.column, a, b) for a, b in pairwise(edges))


@dataclass(frozen=True, slots=True)
class BucketFilter:
    """Rows by the lowest bits of their digest: whatever key they have, or none."""

    digest: str
    columns: tuple[CanonicalColumn, ...]
    """What the digest is made of."""
    chosen: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class CanonicalRead:
    """The rows to read of one end: a table, or the result of a query, with its selection."""

    table: TableId
    columns: tuple[CanonicalColumn, ...]
    only: bool = False
    """Without the children of plain inheritance."""
    filters: tuple[Filter, ...] = ()
    query: str | None = None
    part: KeyRange | BucketFilter | None = None


MYSQL_FORMS: Mapping[str, CanonicalType] = {
    **dict.fromkeys(
        ("tinyint", "smallint", "mediumint", "int", "bigint", "year"), CanonicalType.INTEGER
    ),
    "decimal": CanonicalType.DECIMAL,
    **dict.fromkeys(("float", "double"), CanonicalType.FLOAT),
    "bit": CanonicalType.BITS,
    "json": CanonicalType.JSON,
    "set": CanonicalType.LABELS,
    **dict.fromkeys(("date", "datetime", "timestamp", "time"), CanonicalType.MOMENT),
    **dict.fromkeys(
        ("char", "varchar", "tinytext", "text", "mediumtext", "longtext", "enum", "uuid",
         "inet4", "inet6"),
        CanonicalType.TEXT,
    ),
}  # fmt: skip
"""Everything else of MySQL's is bytes."""

POSTGRES_FORMS: Mapping[str, CanonicalType] = {
    **dict.fromkeys(("int2", "int4", "int8", "oid"), CanonicalType.INTEGER),
    "numeric": CanonicalType.DECIMAL,
    **dict.fromkeys(("float4", "float8"), CanonicalType.FLOAT),
    "bool": CanonicalType.BOOLEAN,
    "bytea": CanonicalType.BYTES,
    **dict.fromkeys(("bit", "varbit"), CanonicalType.BITS),
    **dict.fromkeys(("json", "jsonb"), CanonicalType.JSON),
    **dict.fromkeys(
        ("date", "timestamp", "timestamptz", "time", "timetz", "interval"), CanonicalType.MOMENT
    ),
}
"""Everything else of PostgreSQL's is text, and arrays are labels."""

FILE_FORMS: Mapping[str, CanonicalType] = {
    "bool": CanonicalType.BOOLEAN,
    "int": CanonicalType.INTEGER,
    "float": CanonicalType.FLOAT,
    "decimal": CanonicalType.DECIMAL,
    "binary": CanonicalType.BYTES,
    "json": CanonicalType.JSON,
    **dict.fromkeys(("date", "time", "timestamp", "duration"), CanonicalType.MOMENT),
}
"""By family of Arrow types; everything else in files is text."""

PADDED = "padded"
"""The name of a column of files that holds PostgreSQL's char(n), blanks and all."""

FILE_FAMILIES: tuple[tuple[str, Callable[[pa.DataType], bool]], ...] = (
    ("bool", pa.types.is_boolean),
    ("int", pa.types.is_integer),
    ("float", pa.types.is_floating),
    ("decimal", pa.types.is_decimal),
    ("binary", pa.types.is_binary),
    ("date", pa.types.is_date),
    ("time", pa.types.is_time),
    ("timestamp", pa.types.is_timestamp),
    ("duration", pa.types.is_duration),
)


def in_files(native: NativeType, arrow: pa.DataType, other: Dialect) -> NativeType:
    """Return the type by which a column of files is compared: that of the file, not of the origin.

    ``other`` is the dialect of the other end, which alone knows whether trailing spaces count.
    """
    family = next((name for name, is_one in FILE_FAMILIES if is_one(arrow)), "string")
    if family == "string" and native.name in ("json", "jsonb"):
        family = "json"
    if native.name == "bpchar" and other is Dialect.POSTGRES:
        family = PADDED
    return NativeType(Dialect.FILES, str(arrow), family)


MEETINGS: Mapping[frozenset[CanonicalType], CanonicalType] = {
    frozenset({CanonicalType.INTEGER, CanonicalType.DECIMAL}): CanonicalType.DECIMAL,
    frozenset({CanonicalType.INTEGER, CanonicalType.FLOAT}): CanonicalType.DECIMAL,
    frozenset({CanonicalType.DECIMAL, CanonicalType.FLOAT}): CanonicalType.DECIMAL,
    frozenset({CanonicalType.BITS, CanonicalType.DECIMAL}): CanonicalType.DECIMAL,
    frozenset({CanonicalType.BITS, CanonicalType.INTEGER}): CanonicalType.INTEGER,
    frozenset({CanonicalType.BOOLEAN, CanonicalType.INTEGER}): CanonicalType.BOOLEAN,
    frozenset({CanonicalType.BOOLEAN, CanonicalType.BITS}): CanonicalType.BOOLEAN,
    frozenset({CanonicalType.BYTES, CanonicalType.TEXT}): CanonicalType.BYTES,
    frozenset({CanonicalType.MOMENT, CanonicalType.TEXT}): CanonicalType.MOMENT,
    frozenset({CanonicalType.JSON, CanonicalType.TEXT}): CanonicalType.JSON,
    frozenset({CanonicalType.JSON, CanonicalType.LABELS}): CanonicalType.JSON,
}
"""Where two sorts of values meet; any other two meet as text."""


SHOWN_BY_ARGUMENTS = {CanonicalType.DECIMAL, CanonicalType.MOMENT}
"""Sorts whose texts have as many digits as the type was declared with."""


def canonical_type_of(native: NativeType) -> CanonicalType:
    """Return the kind of values that a type holds; a domain those of its base."""
    while native.kind is TypeKind.DOMAIN and native.element is not None:
        native = native.element
    if native.dialect is Dialect.FILES:
        return FILE_FORMS.get(native.name, CanonicalType.TEXT)
    if native.dialect is Dialect.MYSQL:
        return MYSQL_FORMS.get(native.name, CanonicalType.BYTES)
    if native.kind is TypeKind.ARRAY or native.name.startswith("_"):
        return CanonicalType.LABELS
    if native.kind is not TypeKind.BASE:
        return CanonicalType.TEXT
    return POSTGRES_FORMS.get(native.name, CanonicalType.TEXT)


def canonical_type_for(source: NativeType, target: NativeType) -> CanonicalType:
    """Return the canonical form in which a source and a target column are compared."""
    alike = source.dialect is target.dialect and source.name == target.name
    if source.args != target.args and canonical_type_of(source) in SHOWN_BY_ARGUMENTS:
        alike = False  # 10:00:00.500 is 10:00:00.5
    # MySQL and MariaDB are one dialect that prints JSON in two ways.
    if (
        alike
        and source.dialect is not Dialect.FILES
        and canonical_type_of(source) is not CanonicalType.JSON
    ):
        return CanonicalType.NATIVE
    one, two = canonical_type_of(source), canonical_type_of(target)
    return one if one is two else MEETINGS.get(frozenset({one, two}), CanonicalType.TEXT)


def nulls_zero_dates(source: NativeType, target: NativeType, policy: str) -> bool:
    """Return True if the copy turned zero and partial dates into NULL, because the target is not a
    text."""
    return (
        policy != "error"
        and source.dialect is Dialect.MYSQL
        and source.name in {"date", "datetime", "timestamp"}
        and target.dialect is not Dialect.MYSQL
        and canonical_type_of(target) is CanonicalType.MOMENT
    )


def _decimal(text: str) -> str:
    """Return one text for each number, by string operations only: no digit is ever rounded."""
    if text[:1] in PLAIN and len(text) <= WRITTEN_OUT and text.replace(".", "", 1).isdecimal():
        return text.rstrip("0").rstrip(".") if "." in text else text  # what most are
    mantissa, _, power = text.lower().partition("e")
    sign = "-" if mantissa.startswith("-") else ""
    whole, _, fraction = mantissa.lstrip("+-").partition(".")
    if not (whole + fraction).isdecimal():
        return text  # NaN, Infinity
    digits = (whole + fraction).lstrip("0")
    significant = digits.rstrip("0")
    exponent = int(power or 0) - len(fraction) + len(digits) - len(significant)
    return sign + _written(significant, exponent) if significant else "0"


def _written(digits: str, exponent: int) -> str:
    """Write a number without an exponent if that stays short, because keys are shown in this
    form."""
    if abs(exponent) > WRITTEN_OUT:
        return f"{digits}e{exponent}"
    if exponent >= 0:
        return digits + "0" * exponent
    padded = digits.rjust(1 - exponent, "0")
    return f"{padded[:exponent]}.{padded[exponent:]}"


def _float(text: str) -> str:
    return repr(float(text))


def _moment(text: str) -> str:
    bare = text.removesuffix(" BC")
    before = text[len(bare) :]
    bare = bare.removesuffix("+00")
    if "." in bare:
        bare = bare.rstrip("0").rstrip(".")
    return bare.removesuffix(" 00:00:00") + before  # a date, where the other end has one


def _bits(text: str) -> str:
    return text.lstrip("0") or "0"


class _Number(str):
    """A number of a JSON document, which is no string of it."""

    __slots__ = ()


def _number(text: str) -> _Number:
    return _Number(_decimal(text))


def _json(text: str) -> str:
    try:
        parsed = json.loads(text, parse_float=_number, parse_int=_number)
        return json.dumps(_plain(parsed), sort_keys=True)
    except (ValueError, RecursionError):
        return text  # a text column on the other end may hold anything


def _plain(value: Any) -> Any:
    """Return the value with numbers and strings told apart by a first letter."""
    if isinstance(value, str):
        return ("n" if isinstance(value, _Number) else "s") + value
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list) else value


NORMALISERS: Mapping[CanonicalType, Callable[[str], str]] = {
    CanonicalType.DECIMAL: _decimal,
    CanonicalType.FLOAT: _float,
    CanonicalType.MOMENT: _moment,
    CanonicalType.JSON: _json,
    CanonicalType.BITS: _bits,
}
"""What is done to the text of both ends; every other form's text is compared as it is."""
