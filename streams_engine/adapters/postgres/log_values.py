"""Values of PostgreSQL's log, which are texts, in the Arrow type that is asked for.

The texts are those of a session with the settings of `connect.SESSION`. What comes out equals
what a snapshot's reader gives for the same value, marks of what Arrow cannot hold included.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from streams_engine.adapters.postgres.log_arrays import beyond, json_of
from streams_engine.cutting import cut
from streams_engine.errors import InternalError, RowRejected
from streams_engine.model import Column, NativeType, TableId
from streams_engine.schema.postgres import WIRE, base_of

__all__ = ["Asked", "Cells", "converted"]

EPOCH_DAYS = 10_957
EPOCH_MICROSECONDS = 946_684_800_000_000
DAY_MICROSECONDS = 86_400_000_000


@dataclass(frozen=True, slots=True)
class Cells:
    """One column's values: where each is in the buffer; of length 0 where there is none."""

    buffer: bytes
    start: np.ndarray
    length: np.ndarray
    valid: np.ndarray
    """bool[n]"""

    def bits(self) -> pa.Buffer | None:
        """The validity as Arrow has it."""
        if self.valid.all():
            return None
        return pa.py_buffer(np.packbits(self.valid, bitorder="little"))

    def raw(self, skip: int = 0, drop: int = 0) -> pa.Array:
        """The bytes, without the first ``skip`` and the last ``drop``."""
        start, length = self.start + skip, np.maximum(self.length - skip - drop, 0)
        return cut(self.buffer, np.where(self.valid, start, 0), length, self.bits())

    def first(self) -> np.ndarray:
        """The first byte of each."""
        return self.at(0)

    def last(self) -> np.ndarray:
        """The last byte of each."""
        return self.at(self.length - 1)

    def at(self, place: int | np.ndarray) -> np.ndarray:
        """The byte at a place in each."""
        return np.asarray(np.frombuffer(self.buffer, np.uint8)[self.start + place])

    def text(self, index: int) -> str:
        """One of them."""
        start = int(self.start[index])
        return self.buffer[start : start + int(self.length[index])].decode()


Asked = Callable[[list[str], NativeType], list[str]]
"""Texts of a type, as the JSON that the server makes of them."""


def converted(cells: Cells, column: Column, table: TableId, asked: Asked) -> pa.Array:
    """The column in ``column.arrow``. Raises `RowRejected` where a text is no value of it."""
    try:
        if column.as_json:
            return _json(cells, column, asked)
        return _converter(column)(cells, column.arrow)
    except (pa.ArrowInvalid, UnicodeDecodeError, ValueError, OverflowError):
        raise RowRejected(
            f"A change of {table}, column {column.name}: a value cannot be read as {column.arrow}.",
            remedy="Choose text for the column with options.typeOverrides.",
            table=str(table),
            column=column.name,
        ) from None


Conversion = Callable[[Cells, pa.DataType], pa.Array]


def _converter(column: Column) -> Conversion:
    base = base_of(column.type)
    arrow = column.arrow
    if arrow == WIRE:
        found = MOMENTS.get(base.name)
        if found is None:
            raise InternalError(f"Column {column.name}: {base.name} was asked for in wire form.")
        numbers, width = found
        return lambda cells, _: _wire(numbers(cells), cells, width)
    if pa.types.is_string(arrow):
        return _boolean_text if base.name == "bool" else _text
    if pa.types.is_boolean(arrow):
        return _boolean
    if pa.types.is_binary(arrow):
        return _bytes
    if pa.types.is_timestamp(arrow):
        return _timestamp
    if pa.types.is_date32(arrow):
        return _date
    return _parsed


def _text(cells: Cells, _: pa.DataType) -> pa.Array:
    return cells.raw().cast(pa.string())


def _parsed(cells: Cells, wanted: pa.DataType) -> pa.Array:
    """Numbers: Arrow reads a text to the nearest float, and integers exactly."""
    return cells.raw().cast(pa.string()).cast(wanted)


def _boolean(cells: Cells, _: pa.DataType) -> pa.Array:
    true = (cells.first() == ord("t")) & cells.valid
    bits = pa.py_buffer(np.packbits(true, bitorder="little"))
    return pa.Array.from_buffers(pa.bool_(), len(true), [cells.bits(), bits])


def _boolean_text(cells: Cells, wanted: pa.DataType) -> pa.Array:
    """The cast that a snapshot reads by says true and false, the output function t and f."""
    return _boolean(cells, wanted).cast(pa.string())


def _bytes(cells: Cells, _: pa.DataType) -> pa.Array:
    r"""Of ``\x6162``."""
    digits = cells.raw(skip=2)
    _, offsets, data = digits.buffers()
    places = np.frombuffer(offsets, np.int32)[: len(digits) + 1]
    if (places & 1).any():
        raise ValueError("half a byte")
    text = b"" if data is None else memoryview(data)[: int(places[-1])]
    values = pa.py_buffer(binascii.unhexlify(text))
    return pa.Array.from_buffers(
        pa.binary(), len(digits), [cells.bits(), pa.py_buffer(places // 2), values]
    )


# Dates and times: numbers since 2000, as the server sends them in binary

LONGEST = np.iinfo(np.int64)
MOMENT = re.compile(
    r"(\d{4,})-(\d\d)-(\d\d)(?: (\d\d):(\d\d):(\d\d)(?:\.(\d{1,6}))?)?(?:\+00)?( BC)?"
)


def _common(cells: Cells, shortest: int, longest: int) -> np.ndarray:
    """True where a text is a date of four digits' year, and nothing special."""
    length = cells.length
    plain = cells.valid & (length >= shortest) & (length <= longest)
    last = cells.last()
    return np.asarray(plain & (cells.at(4) == ord("-")) & (last >= ord("0")) & (last <= ord("9")))


def _plain(cells: Cells, plain: np.ndarray, drop: int = 0) -> pa.Array:
    """The plain texts, NULL elsewhere."""
    length = np.where(plain, cells.length, 0)
    return Cells(cells.buffer, cells.start, length, plain).raw(drop=drop).cast(pa.string())


def _counted(array: pa.Array, dtype: type[np.signedinteger]) -> np.ndarray:
    bits = pa.int32() if dtype is np.int32 else pa.int64()
    numbers = array.view(bits).fill_null(0).to_numpy(zero_copy_only=False)
    return np.asarray(numbers).astype(np.int64)


def _days(cells: Cells) -> np.ndarray:
    plain = _common(cells, 10, 10)
    days = _counted(_plain(cells, plain).cast(pa.date32()), np.int32) - EPOCH_DAYS
    limits = np.iinfo(np.int32)
    for index in np.flatnonzero(cells.valid & ~plain).tolist():
        days[index] = _moment(cells.text(index), 1, limits.min, limits.max)
    return days


def _micro(cells: Cells) -> np.ndarray:
    """Of timestamps with and without a zone, which is always +00."""
    zoned = cells.at(cells.length - 3) == ord("+")
    drop = np.where(zoned & (cells.length > 19), 3, 0)
    inner = Cells(cells.buffer, cells.start, cells.length - drop, cells.valid)
    plain = _common(inner, 19, 26)
    texts = _plain(inner, plain)
    micro = _counted(texts.cast(pa.timestamp("us")), np.int64) - EPOCH_MICROSECONDS
    for index in np.flatnonzero(cells.valid & ~plain).tolist():
        micro[index] = _moment(cells.text(index), DAY_MICROSECONDS, LONGEST.min, LONGEST.max)
    return micro


def _time(cells: Cells) -> np.ndarray:
    """Of times without a zone; 24:00:00 is one of them."""
    whole = (cells.at(0) == ord("2")) & (cells.at(1) == ord("4")) & cells.valid
    texts = _plain(cells, cells.valid & ~whole)
    dated = pc.binary_join_element_wise("1970-01-01", texts, " ")
    micro = _counted(dated.cast(pa.timestamp("us")), np.int64)
    micro[whole] = DAY_MICROSECONDS
    return micro


MOMENTS: dict[str, tuple[Callable[[Cells], np.ndarray], int]] = {
    "date": (_days, 4),
    "timestamp": (_micro, 8),
    "timestamptz": (_micro, 8),
    "time": (_time, 8),
}


def _moment(text: str, unit: int, low: int, high: int) -> int:
    """Any date or timestamp as the server prints it, in ``unit`` parts of a day since 2000."""
    if text in ("infinity", "-infinity"):
        return low if text[0] == "-" else high
    found = MOMENT.fullmatch(text)
    if found is None:
        raise ValueError("no date or timestamp")
    year = int(found[1])
    number = _civil(1 - year if found[8] else year, int(found[2]), int(found[3])) * unit
    if found[4]:
        seconds = int(found[4]) * 3600 + int(found[5]) * 60 + int(found[6])
        number += seconds * 1_000_000 + int((found[7] or "").ljust(6, "0"))
    return number


def _civil(year: int, month: int, day: int) -> int:
    """Days since 2000-01-01 in the Gregorian calendar, which PostgreSQL carries to any year."""
    year -= month <= 2
    era, of_era = divmod(year, 400)
    of_year = (153 * (month + (-3 if month > 2 else 9)) + 2) // 5 + day - 1
    days = of_era * 365 + of_era // 4 - of_era // 100 + of_year
    return era * 146_097 + days - 719_468 - EPOCH_DAYS


def _wire(numbers: np.ndarray, cells: Cells, width: int) -> pa.Array:
    """Big-endian numbers; a NULL has no bytes."""
    values = numbers[cells.valid].astype(f">i{width}")
    offsets = np.zeros(len(numbers) + 1, np.int64)
    np.cumsum(cells.valid * width, out=offsets[1:])
    return pa.Array.from_buffers(
        WIRE, len(numbers), [cells.bits(), pa.py_buffer(offsets), pa.py_buffer(values.tobytes())]
    )


def _moved(numbers: np.ndarray, epoch: int, limits: np.iinfo) -> np.ndarray:
    """Since 1970; what has no such number becomes the storage's minimum."""
    beyond = (numbers > limits.max - epoch) | (numbers == limits.min)
    return np.where(beyond, limits.min, np.where(beyond, 0, numbers) + epoch)


def _timestamp(cells: Cells, wanted: pa.DataType) -> pa.Array:
    moved = _moved(_micro(cells), EPOCH_MICROSECONDS, LONGEST)
    moved[~cells.valid] = 0
    return pa.Array.from_buffers(wanted, len(moved), [cells.bits(), pa.py_buffer(moved)])


def _date(cells: Cells, wanted: pa.DataType) -> pa.Array:
    moved = _moved(_days(cells), EPOCH_DAYS, np.iinfo(np.int32)).astype(np.int32)
    moved[~cells.valid] = 0
    return pa.Array.from_buffers(wanted, len(moved), [cells.bits(), pa.py_buffer(moved)])


# Arrays as JSON


def _json(cells: Cells, column: Column, asked: Asked) -> pa.Array:
    native = base_of(column.type)
    places = np.flatnonzero(cells.valid).tolist()
    texts: list[str | None] = [None] * len(cells.start)
    given = [cells.text(index) for index in places]
    shown = asked(given, native) if beyond(native) else [json_of(text, native) for text in given]
    for index, text in zip(places, shown, strict=True):
        texts[index] = text
    return pa.array(texts, pa.string())
