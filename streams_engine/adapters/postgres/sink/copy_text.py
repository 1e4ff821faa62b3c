"""Record batches as COPY text, for types whose binary form is not ours.

https://www.postgresql.org/docs/current/sql-copy.html, "Text Format": tab between fields,
newline after rows, ``\\N`` for NULL, backslash escapes for tab, newline, carriage return
and itself. Every text is one that the input function of its type reads back exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from streams_engine.adapters.postgres.sink.copy_binary import (
    DAY_MICROSECONDS,
    MOST_BYTES,
    family,
    value_of,
)
from streams_engine.arrow.batches import is_large, parts, slices
from streams_engine.arrow.plain import filled, from_numpy, joined, scalar, to_numpy
from streams_engine.errors import RowRejected
from streams_engine.model import Column, NativeType, TypeKind
from streams_engine.schema.types.postgres import WIRE, base_of

__all__ = ["buffers", "encode", "texts"]

ESCAPES = (("\\", "\\\\"), ("\t", "\\t"), ("\n", "\\n"), ("\r", "\\r"))
FIRST_DAY, LAST_DAY = -719_162, 2_932_896
"""0001-01-01 and 9999-12-31, between which Arrow's text is also PostgreSQL's."""
JULIAN_EPOCH = 2_440_588
"""1970-01-01 as a Julian day, which PostgreSQL reads for any year as ``J2440588``
(https://www.postgresql.org/docs/current/datatype-datetime.html)."""
HEX = np.array([list(b"%02x" % byte) for byte in range(256)], np.uint8)
LAST_CONTROL, BACKSLASH = ord("\r"), ord("\\")
"""The largest control character that is escaped, and the other byte that is."""


def encode(batch: pa.RecordBatch, columns: Sequence[Column]) -> Any:
    """Encode the rows of a batch as COPY text in one buffer. Raises `RowRejected` naming the
    column."""
    rows = batch.num_rows
    if not columns or not rows:
        return b"\n" * rows
    if rows > 1 and batch.nbytes > MOST_BYTES:
        halves = batch.slice(0, rows // 2), batch.slice(rows // 2)
        return b"".join(encode(half, columns) for half in halves)
    fields = [_field(values, column) for values, column in zip(batch.columns, columns, strict=True)]
    lines = joined([joined(fields, "\t"), "\n"])
    offsets = np.frombuffer(lines.buffers()[1], np.int32)
    return memoryview(lines.buffers()[2])[: offsets[lines.offset + rows]]


def buffers(batch: pa.RecordBatch, columns: Sequence[Column]) -> Iterator[Any]:
    """Yield the rows of a batch as COPY text, buffer by buffer; a large value is escaped in slices.

    Raises `RowRejected` naming the column.
    """
    for part in parts(batch):
        if is_large(part):
            yield from _line(part, columns)
        else:
            yield encode(part, columns)


def _line(row: pa.RecordBatch, columns: Sequence[Column]) -> Iterator[bytes]:
    """Yield a single row as COPY text."""
    for number, (values, column) in enumerate(zip(row.columns, columns, strict=True)):
        if number:
            yield b"\t"
        if values.null_count:
            yield b"\\N"
        elif pa.types.is_binary(values.type) and base_of(column.type).name == "bytea":
            yield b"\\\\x"
            yield from (bytes(piece).hex().encode() for piece in slices(value_of(values)))
        else:
            text = _plain(values, column).cast(pa.string())
            yield from map(_escaped, slices(value_of(text)))
    yield b"\n"


def _escaped(piece: memoryview) -> bytes:
    text_bytes = bytes(piece)
    for plain, escaped in ESCAPES:
        text_bytes = text_bytes.replace(plain.encode(), escaped.encode())
    return text_bytes


def texts(batch: pa.RecordBatch, columns: Sequence[Column]) -> list[pa.Array]:
    """Return each column as texts; NULL stays NULL. Raises `RowRejected` naming the column."""
    return [_plain(values, column) for values, column in zip(batch.columns, columns, strict=True)]


def _field(values: pa.Array, column: Column) -> pa.Array:
    text = _plain(values, column)
    held = _bytes_of(text)
    if (held <= LAST_CONTROL).any() or (held == BACKSLASH).any():
        for plain, escaped in ESCAPES:
            text = pc.replace_substring(text, plain, escaped)
    return filled(text, "\\N")


def _bytes_of(text: pa.Array) -> np.ndarray:
    """Return the bytes of all texts together."""
    _, offsets, data = text.buffers()
    if data is None or not data.size:
        return np.zeros(0, np.uint8)
    places = np.frombuffer(offsets, np.int32)
    return np.frombuffer(data, np.uint8)[places[text.offset] : places[text.offset + len(text)]]


def _plain(values: pa.Array, column: Column) -> pa.Array:
    try:
        return _text(values, base_of(column.type))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OverflowError, ValueError):
        raise RowRejected(
            f"Column {column.name}: a value cannot be written as {column.type}.",
            remedy="Choose another type with typeOverrides.",
            column=column.name,
        ) from None


def _text(values: pa.Array, native: NativeType) -> pa.Array:
    """Convert values to texts; NULL stays NULL."""
    if values.type == WIRE:
        raise ValueError("a value in binary form cannot be written as text")
    render = RENDERERS.get(family(values.type))
    return render(values, native) if render else values.cast(pa.string())


def _numpy(values: pa.Array) -> np.ndarray:
    """Return values as 64-bit integers; 0 for NULL."""
    return to_numpy(filled(values.view(pa.int64()), 0))


def _where(valid: pa.Array, text: pa.Array) -> pa.Array:
    """Return the texts, with NULL where the values were NULL."""
    return pc.if_else(valid, text, scalar(None, pa.string()))


# One function a family of Arrow types


def text(values: pa.Array, _: NativeType) -> pa.Array:
    """Return texts unchanged. Checks for NUL here, because the server would name its line, not its
    column."""
    plain = values.cast(pa.string())
    if (_bytes_of(plain) == 0).any():
        raise ValueError("the text contains a NUL character")
    return plain


def boolean(values: pa.Array, native: NativeType) -> pa.Array:
    """Write booleans as true and false, or as 1 and 0 for a number."""
    return (values if native.name == "bool" else values.cast(pa.int8())).cast(pa.string())


def integer(values: pa.Array, native: NativeType) -> pa.Array:
    """Write integers as digits; for bit strings as binary digits, from the left."""
    if native.name not in {"bit", "varbit"}:
        return values.cast(pa.string())
    width = native.args[0] if native.args else 1
    wide = to_numpy(filled(values.cast(pa.uint64()), 0))
    if width < 64 and len(wide) and int(wide.max()) >> width:
        raise ValueError("the value has more bits than the column")
    places = wide.astype(">u8").view(np.uint8).reshape(-1, 8)
    digits = np.unpackbits(places, axis=1)[:, -width:] + ord("0")
    offsets = np.arange(len(values) + 1, dtype=np.int32) * digits.shape[1]
    return _where(values.is_valid(), _string(offsets, digits))


def binary(values: pa.Array, native: NativeType) -> pa.Array:
    """Write bytes as hexadecimal digits, as bytea and uuid read them."""
    prefix = HEX_PREFIX.get(native.name)
    if prefix is None:
        raise ValueError("bytes cannot be written to this type")
    plain = filled(values.cast(pa.binary()), b"")
    data = plain.buffers()[2]
    offsets = np.frombuffer(plain.buffers()[1], np.int32)[plain.offset :][: len(plain) + 1]
    raw = np.frombuffer(data, np.uint8)[offsets[0] : offsets[-1]] if data else HEX[:0, 0]
    doubled = ((offsets.astype(np.int64) - offsets[0]) * 2).astype(np.int32)
    return _where(values.is_valid(), joined([prefix, _string(doubled, HEX[raw])]))


def _string(offsets: np.ndarray, data: np.ndarray) -> pa.Array:
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(np.ascontiguousarray(data))]
    return pa.Array.from_buffers(pa.string(), len(offsets) - 1, buffers)


def date(values: pa.Array, _: NativeType) -> pa.Array:
    """Write dates in ISO 8601; as Julian days outside of the years 1 to 9999."""
    days = values.view(pa.int32()).cast(pa.int64())
    julian = joined(["J", pc.add(days, scalar(JULIAN_EPOCH, pa.int64())).cast(pa.string())])
    return pc.if_else(_usual(days), values.cast(pa.string()), julian)


def timestamp(values: pa.Array, _: NativeType) -> pa.Array:
    """Write timestamps in ISO 8601 with microseconds, and with an offset for instants."""
    plain = values.cast(pa.timestamp("us", values.type.tz)).view(pa.timestamp("us"))
    day, rest = np.divmod(_numpy(plain), DAY_MICROSECONDS)
    iso = plain.cast(pa.string())
    usual = _usual(from_numpy(day))
    if not pc.all(usual).as_py():
        clock = from_numpy(rest).view(pa.time64("us")).cast(pa.string())
        julian = joined(["J", from_numpy(day + JULIAN_EPOCH).cast(pa.string()), " ", clock])
        iso = _where(values.is_valid(), pc.if_else(usual, iso, julian))
    return iso if values.type.tz is None else joined([iso, "+00"])


def _usual(days: pa.Array) -> pa.Array:
    first, last = (scalar(day, pa.int64()) for day in (FIRST_DAY, LAST_DAY))
    return pc.and_(pc.greater_equal(days, first), pc.less_equal(days, last))


def time_of_day(values: pa.Array, _: NativeType) -> pa.Array:
    """Write times to the microsecond; a nanosecond more is an error, not rounded."""
    return values.cast(pa.time64("us")).cast(pa.string())


def duration(values: pa.Array, native: NativeType) -> pa.Array:
    """Write a time of day up to 24:00:00, or an interval in seconds."""
    micro = _numpy(values.cast(pa.duration("us")))
    if native.name == "time":
        if len(micro) and (micro.min() < 0 or micro.max() > DAY_MICROSECONDS):
            raise ValueError("the time is not within one day")
        clock = from_numpy(micro % DAY_MICROSECONDS).view(pa.time64("us")).cast(pa.string())
        midnight = from_numpy(micro == DAY_MICROSECONDS)
        return _where(
            values.is_valid(), pc.if_else(midnight, scalar("24:00:00", pa.string()), clock)
        )
    seconds, rest = np.divmod(np.abs(micro), 1_000_000)
    sign = pc.if_else(from_numpy(micro < 0), *(scalar(s, pa.string()) for s in ("-", "")))
    fraction = pc.utf8_lpad(from_numpy(rest).cast(pa.string()), 6, "0")
    parts = [sign, from_numpy(seconds).cast(pa.string()), ".", fraction, " seconds"]
    return _where(values.is_valid(), joined(parts))


def listed(values: pa.Array, native: NativeType) -> pa.Array:
    """Write an array literal with every element quoted."""
    element = native.element or replace(
        native, name=native.name.removeprefix("_"), kind=TypeKind.BASE
    )
    flat = _text(values.flatten(), base_of(element))
    for plain in ("\\", '"'):
        flat = pc.replace_substring(flat, plain, "\\" + plain)
    quoted = filled(joined(['"', flat, '"']), "NULL")
    counts = to_numpy(filled(pc.list_value_length(values), 0))
    offsets = np.zeros(len(values) + 1, np.int32)
    np.cumsum(counts, out=offsets[1:])
    # The one built-in type whose elements are separated by another character (pg_type.typdelim).
    between = ";" if base_of(element).name == "box" else ","
    inner = pc.binary_join(
        pa.ListArray.from_arrays(from_numpy(offsets), quoted), scalar(between, pa.string())
    )
    return _where(values.is_valid(), joined(["{", inner, "}"]))


HEX_PREFIX: Mapping[str, str] = {"bytea": "\\x", "uuid": ""}

RENDERERS: Mapping[str, Callable[[pa.Array, NativeType], pa.Array]] = {
    "text": text,
    "bool": boolean,
    "int": integer,
    "bytes": binary,
    "date": date,
    "timestamp": timestamp,
    "time": time_of_day,
    "duration": duration,
    "list": listed,
}
"""Floats and decimals are what Arrow makes of them: the shortest text that reads back equal."""
