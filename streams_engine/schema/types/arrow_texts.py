"""Arrow values as the texts that `verify` compares: of files, and of every place that keeps Arrow
types."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa

from streams_engine.schema.types.canonical import PADDED, CanonicalColumn, CanonicalType

__all__ = ["text_of", "texts_of", "values_of"]

Row = tuple[str | None, ...]

PLACES = {"s": 0, "ms": 3, "us": 6, "ns": 9}
"""Decimal places of a second, by the unit of an Arrow type."""


def texts_of(batch: pa.RecordBatch, columns: Sequence[CanonicalColumn]) -> Iterator[Row]:
    """Yield the rows of a batch as texts."""
    texts = [text_of(column) for column in columns]
    arrays = [values_of(batch.column(column.name)) for column in columns]
    for values in zip(*arrays, strict=True):
        yield tuple(
            None if value is None else text(value)
            for text, value in zip(texts, values, strict=True)
        )


def values_of(column: pa.Array) -> list[Any]:
    """Return Python values; moments as ISO texts, whatever the year, durations in hours, as servers
    print them."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        return values_of(column.dictionary_decode())
    if pa.types.is_timestamp(kind) or pa.types.is_date32(kind):
        unit, storage = ("D", pa.int32()) if pa.types.is_date32(kind) else (kind.unit, pa.int64())
        numbers = column.view(storage) if not pa.types.is_timestamp(kind) else column.cast(storage)
        made: Any = np.datetime64
        return [None if v is None else str(made(v, unit)) for v in numbers.to_pylist()]
    if pa.types.is_duration(kind):
        places = PLACES[kind.unit]
        return [
            None if v is None else _span(v, places) for v in column.view(pa.int64()).to_pylist()
        ]
    plain = column.cast(pa.string()) if pa.types.is_time(kind) else column
    values_listed: list[Any] = plain.to_pylist()
    return values_listed


def _span(count: int, places: int) -> str:
    """Return a duration; ``places``: the decimal places of a second that it counts in."""
    seconds, rest = divmod(abs(count), 10**places)
    minutes, second = divmod(seconds, 60)
    hours, minute = divmod(minutes, 60)
    fraction = f".{rest:0{places}d}" if rest else ""
    return f"{'-' if count < 0 else ''}{hours:02d}:{minute:02d}:{second:02d}{fraction}"


def text_of(column: CanonicalColumn) -> Callable[[Any], str]:
    """Return what renders a value of the column, which is not None, in its form."""
    if column.type.name == PADDED:
        return lambda value: str(value).rstrip(" ")
    if column.type.name == "float" and column.form is CanonicalType.FLOAT:
        return _single if column.type.text == "float" else _double
    return TEXTS.get(column.form, _plain_text)


def _plain_text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value.hex() if isinstance(value, bytes) else str(value)


def _single(value: Any) -> str:
    try:
        return repr(float(np.float32(value)))
    except ValueError:
        return str(value)  # a text that stands in a file in place of a number


def _double(value: Any) -> str:
    try:
        return repr(float(value))
    except ValueError:
        return str(value)


def _boolean(value: Any) -> str:
    text = _plain_text(value).lower()
    return {"true": "1", "false": "0"}.get(text, text)


def _bytes(value: Any) -> str:
    return value.hex() if isinstance(value, bytes) else str(value).lower().removeprefix("\\x")


_INSTANT = re.compile(r"\d{4}-\d\d-\d\d .*[+-]\d\d:?\d\d$")
"""With a day, so that it can be moved to UTC: a time with a zone (timetz) cannot."""

_DAY = re.compile(r"([+-]?\d{4,}|-\d{3})-((?:0[1-9]|1[0-2])-\d\d.*)")


def _moment(value: Any) -> str:
    text = str(value).replace("T", " ", 1).replace("Z", "+00:00")
    if _INSTANT.match(text) and not text.endswith(("+00:00", "+0000")):
        try:
            moved = datetime.fromisoformat(text).astimezone(UTC)
        except (ValueError, OverflowError):
            return text  # no moment of any calendar: equal to the same text alone
        text = moved.replace(tzinfo=None).isoformat(" ")
    text = text.removesuffix("+00:00").removesuffix("+0000")
    if day := _DAY.match(text):
        year = int(day[1])  # of ISO 8601: that before 1 is 0
        return f"{year:04d}-{day[2]}" if year > 0 else f"{1 - year:04d}-{day[2]} BC"
    return text


TEXTS: Mapping[CanonicalType, Callable[[Any], str]] = {
    CanonicalType.BOOLEAN: _boolean,
    CanonicalType.BYTES: _bytes,
    CanonicalType.MOMENT: _moment,
}
