"""Fields of binlog row images, decoded over many rows at once: a table of small functions.

Each takes the bytes, the place of its field in every row and which rows are NULL, and gives the
column. The forms are those of the storage engine interface, not of the client protocol:
https://dev.mysql.com/doc/dev/mysql-server/latest/field__types_8h.html
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from dataclasses import field as attribute
from typing import Any

import numpy as np
import pyarrow as pa

from streams_engine.adapters.mysql.binlog import table_map as t
from streams_engine.adapters.mysql.binlog.compression import inflate
from streams_engine.adapters.mysql.binlog.table_map import Field
from streams_engine.adapters.mysql.snapshot.block_decoder import (
    DAY_MICROSECONDS,
    LAST,
    LEAP,
    PASSED,
    YEARS,
)
from streams_engine.arrow.buffers import slice_bytes
from streams_engine.schema.types.mysql import INVALID_DATE, INVALID_TIMESTAMP

__all__ = [
    "FIXED",
    "Image",
    "bits_of",
    "decimal_bytes",
    "decimal_groups",
    "expand",
    "length_bytes",
    "moment_parts",
    "pieces",
    "raw_bytes",
    "value_lengths",
    "width",
]

Nulls = np.ndarray | None


@dataclass(slots=True)
class Image:
    """The bytes that row images are in, with unaligned views over them."""

    buffer: Any
    u8: np.ndarray = attribute(init=False)
    _views: dict[str, np.ndarray] = attribute(default_factory=dict)

    def __post_init__(self) -> None:
        self.u8 = np.frombuffer(self.buffer, np.uint8)

    def view(self, dtype: str) -> np.ndarray:
        """Return a view of ``dtype`` at every byte position."""
        view = self._views.get(dtype)
        if view is None:
            size = np.dtype(dtype).itemsize
            count = len(self.buffer) - size + 1
            view = np.ndarray((count,), dtype=dtype, buffer=self.buffer, strides=(1,))
            self._views[dtype] = view
        return view

    def big(self, place: np.ndarray, size: int) -> np.ndarray:
        """Return unsigned big-endian integers of ``size`` bytes (1 to 7) as int64."""
        numbers: np.ndarray
        if size == 1:
            numbers = self.u8[place].astype(np.int64)
        elif size == 2:
            numbers = self.view(">u2")[place].astype(np.int64)
        elif size <= 4:
            numbers = self.view(">u4")[place].astype(np.int64) >> (32 - 8 * size)
        else:
            wide = self.view(">u8")[place].astype(np.uint64) >> np.uint64(64 - 8 * size)
            numbers = wide.astype(np.int64)
        return numbers


def bits_of(nulls: Nulls) -> pa.Buffer | None:
    """Return the validity bitmap of a column; None if no value is NULL."""
    return None if nulls is None else pa.py_buffer(np.packbits(~nulls, bitorder="little"))


def _array(kind: pa.DataType, values: np.ndarray, nulls: Nulls) -> pa.Array:
    whole = np.ascontiguousarray(values)
    return pa.Array.from_buffers(kind, len(whole), [bits_of(nulls), pa.py_buffer(whole)])


# How many bytes a field has

_WIDTHS: Mapping[int, int] = {
    t.TINY: 1, t.SHORT: 2, t.INT24: 3, t.LONG: 4, t.LONGLONG: 8, t.FLOAT: 4, t.DOUBLE: 8,
    t.YEAR: 1, t.DATE: 3, t.TIME: 3, t.DATETIME: 8, t.TIMESTAMP: 4,
}  # fmt: skip
_FRACTIONS: Mapping[int, int] = {t.TIME2: 3, t.DATETIME2: 5, t.TIMESTAMP2: 4}
_DIGIT_BYTES = (0, 1, 1, 2, 2, 3, 3, 4, 4, 4)


def decimal_bytes(precision: int, scale: int) -> int:
    """Return the size of a DECIMAL in bytes: nine digits in four bytes, the rest in as few as hold
    them."""
    whole, fraction = divmod(precision - scale, 9), divmod(scale, 9)
    return (whole[0] + fraction[0]) * 4 + _DIGIT_BYTES[whole[1]] + _DIGIT_BYTES[fraction[1]]


def width(field: Field) -> int | None:
    """Return the size of a field of fixed size; None if the row contains its length."""
    if field.code in _WIDTHS:
        return _WIDTHS[field.code]
    if field.code in _FRACTIONS:
        return _FRACTIONS[field.code] + (field.meta + 1) // 2
    if field.code == t.NEWDECIMAL:
        return decimal_bytes(field.meta, field.scale)
    if field.code == t.BIT:
        return (field.meta + 7) // 8
    if field.code in (t.ENUM, t.SET):
        return field.meta
    return None


def length_bytes(field: Field) -> int:
    """Return how many bytes the length of a variable field has."""
    if field.code in t.BLOBS or field.code == t.TYPED_ARRAY:
        return field.meta or 4
    return 2 if field.meta > 255 else 1


# Numbers


def _integer(size: int) -> Callable[..., pa.Array]:
    def run(image: Image, place: np.ndarray, nulls: Nulls, field: Field, _: Any) -> pa.Array:
        dtype = f"{'u' if field.unsigned else 'i'}{size}"
        values = image.view(f"<{dtype}" if size > 1 else dtype)[place]
        return _array(pa.from_numpy_dtype(np.dtype(dtype)), values, nulls)

    return run


def _medium(image: Image, place: np.ndarray, nulls: Nulls, field: Field, _: Any) -> pa.Array:
    values = image.view("<u4")[place] & np.uint32(0xFFFFFF)
    if field.unsigned:
        return _array(pa.uint32(), values, nulls)
    return _array(pa.int32(), (values << np.uint32(8)).view(np.int32) >> 8, nulls)


def _float(image: Image, place: np.ndarray, nulls: Nulls, field: Field, _: Any) -> pa.Array:
    return _array(pa.float32(), image.view("<f4")[place], nulls)


def _double(image: Image, place: np.ndarray, nulls: Nulls, field: Field, _: Any) -> pa.Array:
    return _array(pa.float64(), image.view("<f8")[place], nulls)


def _year(image: Image, place: np.ndarray, nulls: Nulls, field: Field, _: Any) -> pa.Array:
    raw = image.u8[place].astype(np.int16)
    return _array(pa.int16(), np.where(raw == 0, 0, raw + 1900).astype(np.int16), nulls)


def _bit(image: Image, place: np.ndarray, nulls: Nulls, field: Field, _: Any) -> pa.Array:
    values = np.zeros(len(place), np.uint64)
    for i in range((field.meta + 7) // 8):
        values = (values << np.uint64(8)) | image.u8[place + i].astype(np.uint64)
    return _array(pa.uint64(), values, nulls)


def decimal_groups(field: Field) -> list[tuple[int, int]]:
    """Return (bytes, digits) of each part of a DECIMAL, in order."""
    whole, fraction = divmod(field.meta - field.scale, 9), divmod(field.scale, 9)
    parts = [(_DIGIT_BYTES[whole[1]], whole[1])] + [(4, 9)] * (whole[0] + fraction[0])
    return [part for part in [*parts, (_DIGIT_BYTES[fraction[1]], fraction[1])] if part[1]]


def _decimal(image: Image, place: np.ndarray, nulls: Nulls, field: Field, _: Any) -> pa.Array:
    """Decode big-endian groups of digits. The first bit is the inverted sign; a negative number has
    every bit inverted."""
    negative = image.u8[place] < 0x80
    at, first, parts = place, True, []
    for size, digits in decimal_groups(field):
        part = image.big(at, size)
        full = (1 << 8 * size) - 1
        if first:
            part ^= 1 << (8 * size - 1)
            first = False
        group = np.where(negative, part ^ full, part)
        wrong = group >= 10**digits
        if (wrong if nulls is None else wrong & ~nulls).any():
            raise ValueError("a DECIMAL has a group of too many digits")
        parts.append((group, digits))
        at = at + size
    wide = field.meta > 38
    kind = (pa.decimal256 if wide else pa.decimal128)(field.meta, field.scale)
    words = _words(parts, negative, 4 if wide else 2, small=field.meta <= 18)
    return _array(kind, words, nulls)


def _words(
    parts: list[tuple[np.ndarray, int]], negative: np.ndarray, words: int, *, small: bool
) -> np.ndarray:
    """Convert groups of digits to little-endian two's complement numbers of ``words`` 64-bit
    words."""
    numbers = np.empty((len(negative), words), np.int64)
    if small:
        total = np.zeros(len(negative), np.int64)
        for part, digits in parts:
            total = total * 10**digits + part
        total = np.where(negative, -total, total)
        numbers[:, 0] = total
        numbers[:, 1:] = (total >> 63)[:, None]
        return numbers
    limbs = [np.zeros(len(negative), np.uint64) for _ in range(2 * words)]
    low = np.uint64(0xFFFFFFFF)
    for part, digits in parts:
        carry = part.astype(np.uint64)
        for i, limb in enumerate(limbs):
            value = limb * np.uint64(10**digits) + carry
            limbs[i], carry = value & low, value >> np.uint64(32)
    carry = negative.astype(np.uint64)
    for i, limb in enumerate(limbs):
        value = np.where(negative, limb ^ low, limb) + carry
        limbs[i], carry = value & low, value >> np.uint64(32)
    for i in range(words):
        numbers[:, i] = (limbs[2 * i] | (limbs[2 * i + 1] << np.uint64(32))).view(np.int64)
    return numbers


# Dates and times


def _days(year: np.ndarray, month: np.ndarray, day: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the days since 1970 of dates, and which are valid."""
    year, month, day = year & 0xFFFF, month & 15, day & 31
    of_year = LEAP[year] | month.astype(np.uint8)
    valid = (year > 0) & (month > 0) & (day > 0) & (day <= LAST[of_year])
    return YEARS[year] + PASSED[of_year] + (day.astype(np.int64) - 1), valid


def _date(image: Image, place: np.ndarray, nulls: Nulls, field: Field, _: Any) -> pa.Array:
    raw = image.view("<u4")[place].astype(np.int64) & 0xFFFFFF
    days, valid = _days(raw >> 9, raw >> 5, raw)
    return _array(pa.date32(), np.where(valid, days, INVALID_DATE).astype(np.int32), nulls)


def _micro(image: Image, place: np.ndarray, digits: int) -> np.ndarray | int:
    size = (digits + 1) // 2
    return image.big(place, size) * 10 ** (6 - 2 * size) if size else 0


def moment_parts(image: Image, place: np.ndarray, field: Field) -> tuple[Any, ...]:
    """Return year, month, day, seconds of the day and microseconds of a DATETIME, old and new
    format."""
    if field.code == t.DATETIME:
        raw = image.view("<u8")[place].astype(np.int64)
        date, clock = raw // 1_000_000, raw % 1_000_000
        seconds = clock // 10_000 * 3600 + clock // 100 % 100 * 60 + clock % 100
        return date // 10_000, date // 100 % 100, date % 100, seconds, 0
    raw = image.big(place, 5) - 0x8000000000
    months = raw >> 22
    seconds = ((raw >> 12) & 31) * 3600 + ((raw >> 6) & 63) * 60 + (raw & 63)
    return (
        months // 13,
        months % 13,
        (raw >> 17) & 31,
        seconds,
        _micro(image, place + 5, field.meta),
    )


def _datetime(image: Image, place: np.ndarray, nulls: Nulls, field: Field, _: Any) -> pa.Array:
    year, month, day, seconds, micro = moment_parts(image, place, field)
    days, valid = _days(year, month, day)
    values = days * DAY_MICROSECONDS + seconds * 1_000_000 + micro
    return _array(pa.timestamp("us"), np.where(valid, values, INVALID_TIMESTAMP), nulls)


def _timestamp(image: Image, place: np.ndarray, nulls: Nulls, field: Field, _: Any) -> pa.Array:
    micro: np.ndarray | int = 0
    if field.code == t.TIMESTAMP:
        seconds = image.view("<u4")[place].astype(np.int64)
    else:
        seconds, micro = image.big(place, 4), _micro(image, place + 4, field.meta)
    values = np.where(seconds == 0, INVALID_TIMESTAMP, seconds * 1_000_000 + micro)
    return _array(pa.timestamp("us", "UTC"), values, nulls)


def _time(image: Image, place: np.ndarray, nulls: Nulls, field: Field, _: Any) -> pa.Array:
    if field.code == t.TIME:
        raw = (image.view("<u4")[place] << np.uint32(8)).view(np.int32).astype(np.int64) >> 8
        clock = np.abs(raw)
        seconds = clock // 10_000 * 3600 + clock // 100 % 100 * 60 + clock % 100
        return _array(pa.duration("us"), np.sign(raw) * seconds * 1_000_000, nulls)
    size = (field.meta + 1) // 2
    raw = image.big(place, 3 + size) - (0x800000 << 8 * size)
    sign, raw = np.where(raw < 0, -1, 1), np.abs(raw)
    clock, fraction = raw >> 8 * size, raw & ((1 << 8 * size) - 1)
    seconds = ((clock >> 12) & 1023) * 3600 + ((clock >> 6) & 63) * 60 + (clock & 63)
    micro = fraction * 10 ** (6 - 2 * size)
    return _array(pa.duration("us"), sign * (seconds * 1_000_000 + micro), nulls)


FIXED: Mapping[int, Callable[..., pa.Array]] = {
    t.TINY: _integer(1),
    t.SHORT: _integer(2),
    t.INT24: _medium,
    t.LONG: _integer(4),
    t.LONGLONG: _integer(8),
    t.FLOAT: _float,
    t.DOUBLE: _double,
    t.YEAR: _year,
    t.BIT: _bit,
    t.NEWDECIMAL: _decimal,
    t.DATE: _date,
    t.DATETIME: _datetime,
    t.DATETIME2: _datetime,
    t.TIMESTAMP: _timestamp,
    t.TIMESTAMP2: _timestamp,
    t.TIME: _time,
    t.TIME2: _time,
}
"""By type: fields whose Arrow form needs nothing but their own bytes."""


# Strings


def pieces(
    image: Image, place: np.ndarray, nulls: Nulls, field: Field
) -> tuple[np.ndarray, np.ndarray]:
    """Return start and length of a variable field; the length of a NULL is 0."""
    length = value_lengths(image, place, field)
    if nulls is not None:
        length[nulls] = 0
    return place + length_bytes(field), length


def value_lengths(image: Image, place: np.ndarray, field: Field) -> np.ndarray:
    """Return the lengths that stand before the values of a variable field; a NULL has none."""
    size = length_bytes(field)
    lengths: np.ndarray
    if size == 1:
        lengths = image.u8[place].astype(np.int64)
    elif size == 2:
        lengths = image.view("<u2")[place].astype(np.int64)
    else:
        lengths = image.view("<u4")[place].astype(np.int64) & ((1 << 8 * size) - 1)
    return lengths


def raw_bytes(image: Image, place: np.ndarray, nulls: Nulls, field: Field) -> pa.Array:
    """Return a variable field as bytes, decompressing MariaDB's compressed columns."""
    start, length = pieces(image, place, nulls, field)
    if nulls is not None:  # a view of the last row's successor may begin behind the buffer
        start = np.where(nulls, 0, start)
    raw = slice_bytes(image.buffer, start, length, bits_of(nulls))
    if field.code in (t.BLOB_COMPRESSED, t.VARCHAR_COMPRESSED):
        return pa.array([None if v is None else expand(v) for v in raw.to_pylist()], pa.binary())
    return raw


def expand(data: bytes) -> bytes:
    """Decompress a value of a compressed column of MariaDB: 0, or 0x80 and the length's size, then
    zlib data."""
    if not data or data[0] == 0:
        return data[1:]
    return inflate(data, -zlib.MAX_WBITS if data[0] & 8 else zlib.MAX_WBITS)
