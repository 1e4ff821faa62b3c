"""Decode COPY BINARY: the columns of all rows of a block at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import numpy as np
import pyarrow as pa

from streams_engine.arrow.buffers import PAD, demand_within, slice_bytes, violation, well_formed
from streams_engine.errors import RowRejected
from streams_engine.model import Column, TypeKind
from streams_engine.schema.types.postgres import ARROW, base_of

__all__ = ["columns_of", "readable"]

DAYS = 10_957
MICROSECONDS = 946_684_800_000_000
"""2000-01-01, PostgreSQL's epoch, since 1970-01-01."""

COUNT = 2
"""Bytes of the number of fields, before the first."""
SIZE = 4
"""Bytes of a field's length, before its bytes."""
NULL = -1
WHAT = "COPY TO STDOUT (FORMAT binary)"


def readable(columns: Iterable[Column]) -> bool:
    """Return whether every column is read in its natural form, or as text."""
    return all(column.arrow == pa.string() or _is_natural(column) for column in columns)


def _is_natural(column: Column) -> bool:
    native = base_of(column.type)
    return native.kind is TypeKind.BASE and ARROW.get(native.name) == column.arrow


def columns_of(tuples: pa.RecordBatch, wanted: pa.Schema) -> pa.RecordBatch:
    """Decode tuples to columns of the `wanted` types, which must be `readable`.

    Infinite dates and times, and those that Arrow cannot hold, become the storage's minimum. Raises
    `ProtocolViolation` if the tuples have another form, `RowRejected` if bytes are not text.
    """
    with well_formed(WHAT):
        return _columns_of(tuples, wanted)


def _columns_of(tuples: pa.RecordBatch, wanted: pa.Schema) -> pa.RecordBatch:
    rows = tuples.column(0)
    offsets = np.frombuffer(rows.buffers()[1], np.int32)[rows.offset : rows.offset + len(rows) + 1]
    # What reads pieces may look over the end of the last.
    buffer = bytearray(memoryview(rows.buffers()[2])[: offsets[-1]]) + bytes(PAD)
    sizes = _strided(buffer, ">i4")
    if (_strided(buffer, ">i2")[offsets[:-1]] != len(wanted)).any():
        raise violation(WHAT, "a tuple has another number of fields than its table")
    place, end = offsets[:-1].astype(np.int64) + COUNT, offsets[1:]
    arrays = []
    for field in wanted:
        size = sizes[place].astype(np.int64)
        valid = size >= 0
        if not valid.all():
            if (size < NULL).any():
                raise violation(WHAT, "a field has a negative length")
            size[~valid] = 0
        start = place + SIZE
        place = start + size
        demand_within(place, end, WHAT)
        try:
            arrays.append(_column(buffer, start, size, valid, field.type))
        except pa.ArrowInvalid:  # a database without an encoding keeps any bytes
            raise RowRejected(
                f"Column {field.name}: a value is not a valid {field.type} (bytes that are not "
                "UTF-8?).",
                remedy="Read it as bytea: convert_to(column, 'SQL_ASCII') in a query.",
                column=field.name,
            ) from None
    if (place != end).any():
        raise violation(WHAT, "a tuple has another length than its fields")
    return pa.RecordBatch.from_arrays(arrays, schema=wanted)


def _strided(buffer: bytearray, kind: str) -> np.ndarray:
    """Return a view of one value at every byte position."""
    width = np.dtype(kind).itemsize
    return np.ndarray((len(buffer) - width + 1,), kind, buffer, strides=(1,))


def _column(
    buffer: bytearray, start: np.ndarray, size: np.ndarray, valid: np.ndarray, arrow: pa.DataType
) -> pa.Array:
    bits = None if valid.all() else pa.py_buffer(np.packbits(valid, bitorder="little"))
    fixed = FIXED.get(arrow)
    if fixed is None:
        pieces = slice_bytes(buffer, start, size, bits)
        return pieces if arrow == pa.binary() else pieces.cast(arrow)
    kind, made = fixed
    if (size[valid] != np.dtype(kind).itemsize).any():
        raise violation(WHAT, "a field has another length than its type")
    numbers = _strided(buffer, kind)[start]
    values = made(numbers.astype(numbers.dtype.newbyteorder("=")))
    return pa.Array.from_buffers(arrow, len(start), [bits, pa.py_buffer(values)])


def _bits(values: np.ndarray) -> np.ndarray:
    return np.packbits(values != 0, bitorder="little")


def _as_it_is(values: np.ndarray) -> np.ndarray:
    return values


def _since(epoch: int) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function that shifts values to Arrow's epoch."""

    def moved(values: np.ndarray) -> np.ndarray:
        limits = np.iinfo(values.dtype)
        # The infinities are the limits themselves.
        beyond = (values > limits.max - epoch) | (values == limits.min)
        return np.where(beyond, limits.min, np.where(beyond, 0, values) + values.dtype.type(epoch))

    return moved


FIXED: Mapping[pa.DataType, tuple[str, Callable[[np.ndarray], np.ndarray]]] = {
    pa.bool_(): ("u1", _bits),
    pa.int16(): (">i2", _as_it_is),
    pa.int32(): (">i4", _as_it_is),
    pa.int64(): (">i8", _as_it_is),
    pa.float32(): (">f4", _as_it_is),
    pa.float64(): (">f8", _as_it_is),
    pa.date32(): (">i4", _since(DAYS)),
    pa.timestamp("us"): (">i8", _since(MICROSECONDS)),
    pa.timestamp("us", "UTC"): (">i8", _since(MICROSECONDS)),
}
"""By Arrow type, the bytes of a value, and what is made of it; all others are pieces."""
