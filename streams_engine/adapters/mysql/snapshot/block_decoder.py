"""Decode a block of binary-protocol rows into Arrow columns."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from pymysql.constants import FIELD_TYPE

from streams_engine.arrow.buffers import demand_within, slice_bytes, violation, well_formed
from streams_engine.errors import RowRejected
from streams_engine.schema.types.mysql import INVALID_DATE, INVALID_TIMESTAMP

__all__ = ["Block", "decode"]

Places = np.ndarray
Decoded = tuple[pa.Array, Places]

DAY_MICROSECONDS = 86_400_000_000
MONTH_DAYS = np.array([0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31, 0, 0, 0], np.int64)


WHAT = "a result set"


class Block:
    """Bytes of a block with unaligned views, and where its rows begin and end."""

    def __init__(
        self, buffer: bytearray, starts: array[int], ends: np.ndarray, columns: int
    ) -> None:
        self.buffer = buffer
        self.ends = ends
        self.rows = len(starts)
        # header byte, then the NULL bitmap with two bits of offset
        self._bitmap = np.frombuffer(starts, np.int64) + 1
        self.first = self._bitmap + (columns + 9) // 8
        self.u8 = np.frombuffer(buffer, np.uint8)
        self._flags: dict[int, np.ndarray | None] = {}
        self._views: dict[str, np.ndarray] = {"u1": self.u8}

    def view(self, dtype: str) -> np.ndarray:
        """Return a view of ``dtype`` at every byte position of the buffer."""
        view = self._views.get(dtype)
        if view is None:
            size = np.dtype(dtype).itemsize
            view = np.ndarray(
                (len(self.buffer) - size + 1,), dtype=dtype, buffer=self.buffer, strides=(1,)
            )
            self._views[dtype] = view
        return view

    def nulls(self, column: int) -> np.ndarray | None:
        """Return which rows have NULL in a column; None if none has."""
        byte, bit = divmod(column + 2, 8)
        if byte not in self._flags:
            flags = self.u8[self._bitmap + byte]
            self._flags[byte] = flags if flags.any() else None
        eight = self._flags[byte]
        if eight is None:
            return None
        mask = (eight & np.uint8(1 << bit)).astype(bool)
        return mask if mask.any() else None


def decode(block: Block, types: Sequence[int], schema: pa.Schema, what: str) -> pa.RecordBatch:
    """Decode the rows of a block in exactly ``schema``.

    Raises `RowRejected` naming the column, and `ProtocolViolation` if the fields of a row do not
    fill its bytes exactly.
    """
    with well_formed(what):
        batch, after = _columns(block, types, schema, what)
    if (after != block.ends).any():
        raise violation(what, "a row has another length than its fields")
    return batch


def _columns(
    block: Block, types: Sequence[int], schema: pa.Schema, what: str
) -> tuple[pa.RecordBatch, Places]:
    """Decode the rows; return them, and where each ends by the lengths of its fields."""
    place = block.first
    columns = []
    for index, (code, field) in enumerate(zip(types, schema, strict=True)):
        nulls = block.nulls(index)
        try:
            decoder: Callable[..., Decoded] = DECODERS.get(code, text)
            column, place = decoder(block, place, nulls, field.type)
            if column.type != field.type:
                column = column.cast(field.type)
        except (pa.ArrowInvalid, UnicodeDecodeError):
            raise RowRejected(
                f"{what}, column {field.name}: a value is not a valid {field.type} (bytes that "
                "are not UTF-8?).",
                remedy="Read the column as bytea with typeOverrides.",
                column=field.name,
            ) from None
        columns.append(column)
    return pa.RecordBatch.from_arrays(columns, schema=schema), place


def _valid(nulls: np.ndarray | None) -> pa.Buffer | None:
    return None if nulls is None else pa.py_buffer(np.packbits(~nulls, bitorder="little"))


def _step(size: int, nulls: np.ndarray | None) -> Any:
    return size if nulls is None else size * (~nulls).astype(np.int64)


def fixed(dtype: str, arrow: pa.DataType) -> Callable[..., Decoded]:
    """Create a decoder of little-endian numbers of one width; the wanted type decides about the
    sign."""
    size = np.dtype(dtype).itemsize

    def run(block: Block, place: Places, nulls: np.ndarray | None, wanted: pa.DataType) -> Decoded:
        unsigned = pa.types.is_unsigned_integer(wanted)
        seen = dtype.replace("i", "u") if unsigned else dtype
        values = block.view(seen)[place]
        kind = pa.from_numpy_dtype(np.dtype(seen)) if unsigned else arrow
        array = pa.Array.from_buffers(kind, block.rows, [_valid(nulls), pa.py_buffer(values)])
        return array, place + _step(size, nulls)

    return run


def _calendar() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return tables that replace divisions per row: days from 1970 to a year's first, 16 for a leap
    year, days before a month of such a year, days of a month of such a year."""
    years = np.arange(1 << 16, dtype=np.int64)
    before = years - 1
    first = before * 365 + before // 4 - before // 100 + before // 400 - 719_162
    leap = (years % 4 == 0) & ((years % 100 != 0) | (years % 400 == 0))
    last = np.stack([MONTH_DAYS, MONTH_DAYS + (np.arange(16) == 2)])
    passed = np.cumsum(last, axis=1) - last
    return first, leap * np.uint8(16), passed.ravel(), last.ravel()


YEARS, LEAP, PASSED, LAST = _calendar()


def _civil(block: Block, place: Places, length: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the days since 1970 of the date at ``place + 1`` (proleptic Gregorian), and which are
    valid."""
    year = block.view("<u2")[place + 1]
    month, day = block.u8[place + 3], block.u8[place + 4]
    if length.size and length.min() < 4:
        there = length >= 4
        year, month, day = (np.where(there, part, 0) for part in (year, month, day))
    of_year = LEAP[year] | (month & 15)
    valid = (year > 0) & (month > 0) & (day > 0) & (day <= LAST[of_year])
    return YEARS[year] + PASSED[of_year] + (day.astype(np.int64) - 1), valid


def _lengths(block: Block, place: Places, nulls: np.ndarray | None) -> np.ndarray:
    """Return the lengths of dates and times; their decoders read no byte outside of them."""
    length = block.u8[place].astype(np.int64)
    return length if nulls is None else np.where(nulls, 0, length)


def date(block: Block, place: Places, nulls: np.ndarray | None, wanted: pa.DataType) -> Decoded:
    """Decode DATE: a length of 0 (the zero date) or 4."""
    length = _lengths(block, place, nulls)
    days, valid = _civil(block, place, length)
    values = np.where(valid, days, INVALID_DATE).astype(np.int32)
    array = pa.Array.from_buffers(pa.date32(), block.rows, [_valid(nulls), pa.py_buffer(values)])
    return array, place + length + _step(1, nulls)


def moment(block: Block, place: Places, nulls: np.ndarray | None, wanted: pa.DataType) -> Decoded:
    """Decode DATETIME and TIMESTAMP: 0, 4 (midnight), 7 (seconds) or 11 bytes (microseconds)."""
    length = _lengths(block, place, nulls)
    days, valid = _civil(block, place, length)
    u8 = block.u8
    clock = (
        u8[place + 5].astype(np.int64) * 3600 + u8[place + 6].astype(np.int64) * 60 + u8[place + 7]
    ) * 1_000_000
    micro = block.view("<u4")[place + 8].astype(np.int64)
    shortest = length.min() if length.size else 0
    values = days * DAY_MICROSECONDS
    values += clock if shortest >= 7 else np.where(length >= 7, clock, 0)
    values += micro if shortest >= 11 else np.where(length >= 11, micro, 0)
    if not valid.all():
        values = np.where(valid, values, INVALID_TIMESTAMP)
    array = pa.Array.from_buffers(
        wanted if pa.types.is_timestamp(wanted) else pa.timestamp("us"),
        block.rows,
        [_valid(nulls), pa.py_buffer(values)],
    )
    return array, place + length + _step(1, nulls)


def time(block: Block, place: Places, nulls: np.ndarray | None, wanted: pa.DataType) -> Decoded:
    """TIME: 0, 8 or 12 bytes: sign, days, clock, microseconds."""
    length = _lengths(block, place, nulls)
    u8 = block.u8
    days = block.view("<u4")[place + 2].astype(np.int64)
    clock = (
        u8[place + 6].astype(np.int64) * 3600 + u8[place + 7].astype(np.int64) * 60 + u8[place + 8]
    ) * 1_000_000
    micro = block.view("<u4")[place + 9].astype(np.int64)
    values = np.where(length >= 8, days * DAY_MICROSECONDS + clock, 0)
    values += np.where(length >= 12, micro, 0)
    values = np.where((length >= 8) & (u8[place + 1] == 1), -values, values)
    array = pa.Array.from_buffers(
        pa.duration("us"), block.rows, [_valid(nulls), pa.py_buffer(values)]
    )
    return array, place + length + _step(1, nulls)


def _strings(
    block: Block, place: Places, nulls: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, Places]:
    """Return start, length, and place of the next field of length-encoded strings.

    https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_basic_dt_integers.html: 0xFC:
    two bytes of length follow, 0xFD: three, 0xFE: eight; other values above 0xFA are invalid.
    """
    first = block.u8[place].astype(np.int64)
    if nulls is not None:
        first = np.where(nulls, 0, first)
    start = place + _step(1, nulls)
    length = first
    large = np.flatnonzero(first >= 0xFB)
    if len(large):
        length, start = first.copy(), start.copy()
        at, mark = place[large] + 1, first[large]
        if not np.isin(mark, [0xFC, 0xFD, 0xFE]).all():
            raise violation(WHAT, "a length begins with an invalid byte")
        length[large] = np.select(
            [mark == 0xFC, mark == 0xFD],
            [
                block.view("<u2")[at].astype(np.int64),
                (block.view("<u4")[at] & 0xFFFFFF).astype(np.int64),
            ],
            block.view("<u8")[at].astype(np.int64),
        )
        start[large] += np.select([mark == 0xFC, mark == 0xFD], [2, 3], 8)
        if length.min() < 0:  # eight bytes can say more than memory has
            raise violation(WHAT, "a field extends beyond its packet")
    after = start + length
    demand_within(after, block.ends, WHAT)
    return start, length, after


def text(block: Block, place: Places, nulls: np.ndarray | None, wanted: pa.DataType) -> Decoded:
    """Decode strings and bytes."""
    start, length, after = _strings(block, place, nulls)
    array = slice_bytes(block.buffer, start, length, _valid(nulls))
    if not pa.types.is_binary(wanted):
        # Arrow checks here that the bytes are UTF-8.
        array = array.cast(pa.string())
    return array, after


def decimal(block: Block, place: Places, nulls: np.ndarray | None, wanted: pa.DataType) -> Decoded:
    """Decode DECIMAL, which is sent as digits; Arrow parses them exactly."""
    array, after = text(block, place, nulls, pa.string())
    return (array.cast(wanted) if pa.types.is_decimal(wanted) else array), after


def bit(block: Block, place: Places, nulls: np.ndarray | None, wanted: pa.DataType) -> Decoded:
    """Decode BIT, which is sent as up to eight big-endian bytes."""
    start, length, after = _strings(block, place, nulls)
    values = np.zeros(block.rows, np.uint64)
    for i in range(8):
        byte = block.u8[start + i].astype(np.uint64)
        values = np.where(i < length, (values << np.uint64(8)) | byte, values)
    array = pa.Array.from_buffers(pa.uint64(), block.rows, [_valid(nulls), pa.py_buffer(values)])
    return array, after


DECODERS: Mapping[int, Callable[..., Decoded]] = {
    FIELD_TYPE.TINY: fixed("<i1", pa.int8()),
    FIELD_TYPE.SHORT: fixed("<i2", pa.int16()),
    FIELD_TYPE.YEAR: fixed("<i2", pa.int16()),
    FIELD_TYPE.INT24: fixed("<i4", pa.int32()),
    FIELD_TYPE.LONG: fixed("<i4", pa.int32()),
    FIELD_TYPE.LONGLONG: fixed("<i8", pa.int64()),
    FIELD_TYPE.FLOAT: fixed("<f4", pa.float32()),
    FIELD_TYPE.DOUBLE: fixed("<f8", pa.float64()),
    FIELD_TYPE.DATE: date,
    FIELD_TYPE.NEWDATE: date,
    FIELD_TYPE.DATETIME: moment,
    FIELD_TYPE.TIMESTAMP: moment,
    FIELD_TYPE.TIME: time,
    FIELD_TYPE.NEWDECIMAL: decimal,
    FIELD_TYPE.DECIMAL: decimal,
    FIELD_TYPE.BIT: bit,
}
"""By type code; every other type is a length-encoded string."""
