"""The form in which `verify` compares a column: texts that the servers render themselves.

A form says which SQL each server renders a value by (in its adapter's ``canonical``) and
which normaliser makes texts that mean the same value equal. Nothing here is shared with
the decoders and encoders of a copy.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import pyarrow as pa

from streams_engine.model import Dialect, Filter, NativeType, TableId, TypeKind

__all__ = [
    "NORMALISERS",
    "CanonicalColumn",
    "CanonicalRead",
    "Form",
    "form_for",
    "form_of",
    "in_files",
    "nulls_zero_dates",
]


WRITTEN_OUT = 400
"""The longest exponent that is written out in zeros; doubles have up to 324."""

PLAIN = frozenset("123456789")


class Form(StrEnum):
    """How a pair of columns is compared; also what sort of values a single type holds."""

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
    form: Form
    zero_dates: str = "text"
    """``null``: a date that PostgreSQL cannot hold is rendered as NULL, as the copy made it."""


@dataclass(frozen=True, slots=True)
class CanonicalRead:
    """What is read of one end: a table, or the result of a query, with the rows selected."""

    table: TableId
    columns: tuple[CanonicalColumn, ...]
    only: bool = False
    """Without the children of plain inheritance."""
    filters: tuple[Filter, ...] = ()
    query: str | None = None


MYSQL_FORMS: Mapping[str, Form] = {
    **dict.fromkeys(("tinyint", "smallint", "mediumint", "int", "bigint", "year"), Form.INTEGER),
    "decimal": Form.DECIMAL,
    **dict.fromkeys(("float", "double"), Form.FLOAT),
    "bit": Form.BITS,
    "json": Form.JSON,
    "set": Form.LABELS,
    **dict.fromkeys(("date", "datetime", "timestamp", "time"), Form.MOMENT),
    **dict.fromkeys(
        ("char", "varchar", "tinytext", "text", "mediumtext", "longtext", "enum", "uuid",
         "inet4", "inet6"),
        Form.TEXT,
    ),
}  # fmt: skip
"""Everything else of MySQL's is bytes."""

POSTGRES_FORMS: Mapping[str, Form] = {
    **dict.fromkeys(("int2", "int4", "int8", "oid"), Form.INTEGER),
    "numeric": Form.DECIMAL,
    **dict.fromkeys(("float4", "float8"), Form.FLOAT),
    "bool": Form.BOOLEAN,
    "bytea": Form.BYTES,
    **dict.fromkeys(("bit", "varbit"), Form.BITS),
    **dict.fromkeys(("json", "jsonb"), Form.JSON),
    **dict.fromkeys(
        ("date", "timestamp", "timestamptz", "time", "timetz", "interval"), Form.MOMENT
    ),
}
"""Everything else of PostgreSQL's is text, and arrays are labels."""

FILE_FORMS: Mapping[str, Form] = {
    "bool": Form.BOOLEAN,
    "int": Form.INTEGER,
    "float": Form.FLOAT,
    "decimal": Form.DECIMAL,
    "binary": Form.BYTES,
    "json": Form.JSON,
    **dict.fromkeys(("date", "time", "timestamp", "duration"), Form.MOMENT),
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
    """The type under which a column of files is compared: what is written, not its origin.

    ``other``: the dialect of the other end, which alone knows blanks that do not count.
    """
    family = next((name for name, is_one in FILE_FAMILIES if is_one(arrow)), "string")
    if family == "string" and native.name in ("json", "jsonb"):
        family = "json"
    if native.name == "bpchar" and other is Dialect.POSTGRES:
        family = PADDED
    return NativeType(Dialect.FILES, str(arrow), family)


MEETINGS: Mapping[frozenset[Form], Form] = {
    frozenset({Form.INTEGER, Form.DECIMAL}): Form.DECIMAL,
    frozenset({Form.INTEGER, Form.FLOAT}): Form.DECIMAL,
    frozenset({Form.DECIMAL, Form.FLOAT}): Form.DECIMAL,
    frozenset({Form.BITS, Form.DECIMAL}): Form.DECIMAL,
    frozenset({Form.BITS, Form.INTEGER}): Form.INTEGER,
    frozenset({Form.BOOLEAN, Form.INTEGER}): Form.BOOLEAN,
    frozenset({Form.BOOLEAN, Form.BITS}): Form.BOOLEAN,
    frozenset({Form.BYTES, Form.TEXT}): Form.BYTES,
    frozenset({Form.MOMENT, Form.TEXT}): Form.MOMENT,
    frozenset({Form.JSON, Form.TEXT}): Form.JSON,
    frozenset({Form.JSON, Form.LABELS}): Form.JSON,
}
"""Where two sorts of values meet; any other two meet as text."""


SHOWN_BY_ARGUMENTS = {Form.DECIMAL, Form.MOMENT}
"""Sorts whose texts have as many digits as the type was declared with."""


def form_of(native: NativeType) -> Form:
    """What sort of values a type holds; a domain those of its base."""
    while native.kind is TypeKind.DOMAIN and native.element is not None:
        native = native.element
    if native.dialect is Dialect.FILES:
        return FILE_FORMS.get(native.name, Form.TEXT)
    if native.dialect is Dialect.MYSQL:
        return MYSQL_FORMS.get(native.name, Form.BYTES)
    if native.kind is TypeKind.ARRAY or native.name.startswith("_"):
        return Form.LABELS
    if native.kind is not TypeKind.BASE:
        return Form.TEXT
    return POSTGRES_FORMS.get(native.name, Form.TEXT)


def form_for(source: NativeType, target: NativeType) -> Form:
    """The form for a source and a target column."""
    alike = source.dialect is target.dialect and source.name == target.name
    if source.args != target.args and form_of(source) in SHOWN_BY_ARGUMENTS:
        alike = False  # 10:00:00.500 is 10:00:00.5
    # MySQL and MariaDB are one dialect that prints JSON in two ways.
    if alike and source.dialect is not Dialect.FILES and form_of(source) is not Form.JSON:
        return Form.NATIVE
    one, two = form_of(source), form_of(target)
    return one if one is two else MEETINGS.get(frozenset({one, two}), Form.TEXT)


def nulls_zero_dates(source: NativeType, target: NativeType, policy: str) -> bool:
    """True where the copy made NULL of zero and partial dates: the target is no text."""
    return (
        policy != "error"
        and source.dialect is Dialect.MYSQL
        and source.name in {"date", "datetime", "timestamp"}
        and target.dialect is not Dialect.MYSQL
        and form_of(target) is Form.MOMENT
    )


def _decimal(text: str) -> str:
    """One text for each number, by strings alone: no digit is ever rounded."""
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
    """Without an exponent where that is of a sane length: keys are shown so."""
    if abs(exponent) > WRITTEN_OUT:
        return f"{digits}e{exponent}"
    if exponent >= 0:
        return digits + "0" * exponent
    padded = digits.rjust(1 - exponent, "0")
    return f"{padded[:exponent]}.{padded[exponent:]}"


def _float(text: str) -> str:
    return repr(float(text))


def _moment(text: str) -> str:
    text = text.removesuffix("+00")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return text.removesuffix(" 00:00:00")  # a date, where the other end has one


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
    """Numbers and strings told apart by their first letter."""
    if isinstance(value, str):
        return ("n" if isinstance(value, _Number) else "s") + value
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list) else value


NORMALISERS: Mapping[Form, Callable[[str], str]] = {
    Form.DECIMAL: _decimal,
    Form.FLOAT: _float,
    Form.MOMENT: _moment,
    Form.JSON: _json,
    Form.BITS: _bits,
}
"""What is done to the text of both ends; every other form's text is compared as it is."""
