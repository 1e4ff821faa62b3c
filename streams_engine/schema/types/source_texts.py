"""Values of a rejected row as its source prints them, so that they can be written back there."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from streams_engine.arrow.row_text import NO_DATE, row_texts, value_text
from streams_engine.contracts import QuarantinedRow, WritePlan
from streams_engine.model import Dialect, NativeType
from streams_engine.schema.mapping.tables import ColumnMapping
from streams_engine.schema.types.conversions import CONVERSIONS, NATURAL, unfit_text
from streams_engine.schema.types.postgres import WIRE, base_of

__all__ = ["WireValue", "quarantined_row", "source_text", "source_texts"]


@dataclass(frozen=True, slots=True)
class WireValue:
    """A value in PostgreSQL's binary form, which a server of its kind turns into text."""

    data: bytes
    type: str
    """Its built-in type by name; that of an array begins with an underscore."""


def quarantined_row(plan: WritePlan, row: pa.RecordBatch, reason: str, code: str) -> QuarantinedRow:
    """Return the only row of a batch that a sink was given, as it goes into the quarantine."""
    if plan.source is None:
        return QuarantinedRow(plan.table, reason, code, row_texts(row))
    texts = {
        column.name: source_text(row.column(place)[0], column.type)
        for place, column in enumerate(plan.source_columns)
    }
    return QuarantinedRow(plan.source, reason, code, texts)


def source_texts(row: pa.RecordBatch, columns: Iterable[ColumnMapping]) -> dict[str, Any]:
    """Return the only row of a batch as its source was read, by the source's names."""
    return {
        column.source.name: _as_read(row.column(column.source.name), column)
        for column in columns
        if column.source.name in row.schema.names
    }


def _as_read(values: pa.Array, column: ColumnMapping) -> Any:
    """Return the only one of some values, one in a binary form as the value that it stands for."""
    convert = column.convert
    wire = values.type == WIRE and values[0].is_valid
    if wire and convert is not None and convert in NATURAL:
        unfit = unfit_text(convert, values[0].as_py())
        if unfit is not None:
            return unfit
        values, _ = CONVERSIONS[convert](values, NATURAL[convert])
    return source_text(values[0], column.source.type)


def source_text(value: pa.Scalar, native: NativeType) -> Any:
    """Return a value of a column of this type as text, or as a `WireValue`; None for NULL.

    Bytes are in hexadecimal: with ``\\x`` before them from PostgreSQL, ``0x`` from MySQL. Moments
    are in UTC, which MySQL does not write.
    """
    kind, mysql = value.type, native.dialect is Dialect.MYSQL
    if not value.is_valid:
        return None
    if kind == WIRE:
        return WireValue(value.as_py(), base_of(native).name)
    if pa.types.is_duration(kind):
        return _span(value, native.args[0] if mysql and native.args else 0)
    if pa.types.is_date32(kind) or pa.types.is_timestamp(kind):
        return _moment(str(value_text(value)), native)
    if pa.types.is_list(kind) and mysql:
        return ",".join(value.as_py())
    if pa.types.is_boolean(kind):
        return str(int(value.as_py())) if mysql else str(value.as_py()).lower()
    if pa.types.is_floating(kind):
        return _number(value)
    if pa.types.is_binary(kind) and native.dialect is not Dialect.FILES:
        return ("0x" if mysql else "\\x") + value.as_py().hex()
    return value_text(value)


def _span(value: pa.Scalar, digits: int) -> str:
    """Return a duration in hours, with at least so many digits of a second."""
    count = value.cast(pa.duration("us")).value
    seconds, micro = divmod(abs(count), 1_000_000)
    fraction = f"{micro:06d}".rstrip("0").ljust(digits, "0")
    sign, point = "-" if count < 0 else "", "." if fraction else ""
    return (
        f"{sign}{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}{point}{fraction}"
    )


def _moment(text: str, native: NativeType) -> str:
    """Return a moment with the digits that MySQL prints."""
    if native.dialect is not Dialect.MYSQL or text == NO_DATE:
        return text
    whole, _, fraction = text.removesuffix("+00:00").partition(".")
    digits = native.args[0] if native.args else 0
    return f"{whole}.{fraction.ljust(digits, '0')[:digits]}" if fraction and digits else whole


def _number(value: pa.Scalar) -> str:
    """Return the shortest text that means the number to its type."""
    number = value.as_py()
    if not math.isfinite(number):
        return "NaN" if math.isnan(number) else "Infinity" if number > 0 else "-Infinity"
    narrow = pa.types.is_float32(value.type)
    return (str(np.float32(number)) if narrow else repr(number)).removesuffix(".0")
