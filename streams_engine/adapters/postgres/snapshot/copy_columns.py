"""Decode COPY BINARY: the columns of all tuples of a block at once."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import psycopg
import pyarrow as pa

from streams_engine.adapters.postgres.snapshot.copy_messages import WHAT, Tuples, tuples_of
from streams_engine.arrow.buffers import cut_views, strided, violation, well_formed
from streams_engine.errors import RowRejected
from streams_engine.model import Column, TypeKind
from streams_engine.schema.types.postgres import ARROW, WIRE, base_of

__all__ = ["columns_of", "read", "sent_types"]

DAYS = 10_957
MICROSECONDS = 946_684_800_000_000
"""2000-01-01, PostgreSQL's epoch, since 1970-01-01."""

COUNT = 2
"""Bytes of the number of fields, before the first."""
SIZE = 4
"""Bytes of a field's length, before its bytes."""
NULL = -1
HEAD = "V16"
"""A field's length and its first bytes: as a view of Arrow's has them
(https://arrow.apache.org/docs/format/Columnar.html, "Variable-size Binary View Layout")."""


def read(
    connection: psycopg.Connection,
    query: str,
    size: int,
    sent: Sequence[pa.DataType],
    wanted: pa.Schema,
) -> Generator[pa.RecordBatch, None, None]:
    """Yield the rows of a query in batches of about ``size`` bytes, decoded as by `columns_of`.

    Raises psycopg's errors, too.
    """
    for tuples in tuples_of(connection, query, size):
        batch = [columns_of(tuples, sent, wanted)]
        del tuples
        yield batch.pop()  # kept by nobody here while the next ones come


def sent_types(columns: Iterable[Column]) -> list[pa.DataType]:
    """Return the Arrow types of what `select.projection` asks for: of each column its natural one,
    its bytes, or text."""
    return [_sent_type(column) for column in columns]


def _sent_type(column: Column) -> pa.DataType:
    native = base_of(column.type)
    if column.as_json:
        return pa.string()
    if column.arrow == WIRE:
        return pa.binary()
    natural = native.kind is TypeKind.BASE and ARROW.get(native.name) == column.arrow
    return column.arrow if natural else pa.string()


def columns_of(tuples: Tuples, sent: Sequence[pa.DataType], wanted: pa.Schema) -> pa.RecordBatch:
    """Decode tuples of columns of the types ``sent`` to the ``wanted`` ones.

    Infinite dates and times, and those that Arrow cannot hold, become the storage's minimum. Raises
    `ProtocolViolation` if the tuples have another form, `RowRejected` if bytes are not text.
    """
    with well_formed(WHAT):
        fields = _fields(tuples, len(wanted))
        arrays = [
            _column(tuples.buffer, field, kind, asked)
            for field, kind, asked in zip(fields, sent, wanted, strict=True)
        ]
        return pa.RecordBatch.from_arrays(arrays, schema=wanted)


@dataclass(frozen=True, slots=True)
class Field:
    """One field of all tuples."""

    head: np.ndarray
    """Of each, its length and the first twelve bytes behind: four words."""
    start: np.ndarray
    """Where its value begins."""
    size: np.ndarray
    """Its length, 0 for NULL."""
    valid: np.ndarray | None
    """Which are not NULL; None: all."""


def _fields(tuples: Tuples, count: int) -> list[Field]:
    """Return the fields, once it is known that they fill their tuples exactly."""
    heads, counts = strided(tuples.buffer, HEAD), strided(tuples.buffer, ">i2")
    if (counts[tuples.start] != count).any():
        raise violation(WHAT, "a tuple has another number of fields than its table")
    fields: list[Field] = []
    place = tuples.start + COUNT
    for _ in range(count):
        head = heads[place]
        size = _in_each(head, ">i4", 0).astype(np.int64)
        valid = None
        if size.min(initial=0) < 0:
            if size.min() < NULL:
                raise violation(WHAT, "a field has a negative length")
            valid = size >= 0
            size[~valid] = 0
        start = place + SIZE
        place = start + size
        fields.append(Field(head, start, size, valid))
    if (place != tuples.end).any():
        raise violation(WHAT, "a tuple has another length than its fields")
    return fields


def _in_each(head: np.ndarray, kind: str, offset: int) -> np.ndarray:
    """Return a view of a value in each head."""
    return np.ndarray(head.shape, kind, head, offset, head.strides)


def _column(buffer: bytearray, field: Field, kind: pa.DataType, asked: pa.Field) -> pa.Array:
    size, valid = field.size, field.valid
    bits = None if valid is None else pa.py_buffer(np.packbits(valid, bitorder="little"))
    fixed = FIXED.get(kind)
    if fixed is None:
        return _pieces(buffer, field, bits, kind, asked)
    form, made = fixed
    if ((size if valid is None else size[valid]) != np.dtype(form).itemsize).any():
        raise violation(WHAT, "a field has another length than its type")
    numbers = _in_each(field.head, form, SIZE)
    values = made(numbers.astype(numbers.dtype.newbyteorder("=")))
    return pa.Array.from_buffers(kind, len(size), [bits, pa.py_buffer(values)])


def _pieces(
    buffer: bytearray, field: Field, bits: pa.Buffer | None, kind: pa.DataType, asked: pa.Field
) -> pa.Array:
    words = field.head.view("<u4").reshape(-1, 4)
    try:
        pieces = cut_views(buffer, words, field.start, field.size, bits, kind)
        return pieces if kind == asked.type else pieces.cast(asked.type)
    except pa.ArrowInvalid:  # a database without an encoding keeps any bytes
        raise RowRejected(
            f"Column {asked.name}: a value is not a valid {asked.type} (bytes that are not "
            "UTF-8?).",
            remedy="Read it as bytea: convert_to(column, 'SQL_ASCII') in a query.",
            column=asked.name,
        ) from None


def _bits(values: np.ndarray) -> np.ndarray:
    return np.packbits(values != 0, bitorder="little")


def _as_it_is(values: np.ndarray) -> np.ndarray:
    return values


def _since(epoch: int) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function that shifts values to Arrow's epoch."""

    def moved(values: np.ndarray) -> np.ndarray:
        limits = np.iinfo(values.dtype)
        if values.min(initial=0) > limits.min and values.max(initial=0) <= limits.max - epoch:
            values += values.dtype.type(epoch)
            return values
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
