"""Decode the values of PostgreSQL's log, which are texts, to the wanted Arrow type."""

from __future__ import annotations

import binascii
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
import pyarrow as pa

from streams_engine.arrow.batches import LARGE_BYTES, SLICE_BYTES
from streams_engine.arrow.buffers import slice_bytes
from streams_engine.arrow.plain import filled, joined, to_numpy
from streams_engine.errors import InternalError, RowRejected
from streams_engine.model import Column, NativeType, TableId, TypeKind
from streams_engine.schema.types.postgres import WIRE, base_of

__all__ = [
    "Asked",
    "Cells",
    "beyond",
    "converted",
    "json_of",
]


NUMBERS = {"int2", "int4", "int8", "float4", "float8", "numeric"}
ARRAY_MOMENTS = {"date", "timestamp", "timestamptz"}

TOKEN = re.compile(r'[{}]|"((?:[^"\\]|\\.)*)"|((?:[^{},"\\\s]|\\.|\s+(?=[^{},"\s]))+)', re.DOTALL)
BACKSLASHED = re.compile(r"\\(.)", re.DOTALL)
BOUNDS = re.compile(r"(\[-?\d+:-?\d+\])+=")


def beyond(native: NativeType) -> bool:
    """Return True for an array whose elements only the server can convert to JSON: composites,
    ``json``, and types of extensions, which may have their own casts."""
    element = base_of(native.element) if native.element is not None else None
    if element is None or element.kind is TypeKind.COMPOSITE:
        return True
    return element.extension is not None or element.name in {"json", "hstore"}


def json_of(text: str, native: NativeType) -> str:
    """Return the JSON of an array's text, spaced as ``jsonb`` is."""
    element = base_of(native.element) if native.element is not None else native
    show = _shower(element)
    bounds = BOUNDS.match(text)
    out: list[str] = []
    separate = False
    for token, quoted, plain in _tokens(text[bounds.end() :] if bounds else text, element):
        if token == "}":
            out.append("]")
            separate = True
            continue
        if separate:
            out.append(", ")
        if token == "{":
            out.append("[")
            separate = False
            continue
        if quoted is None and plain.upper() == "NULL":
            out.append("null")
        else:
            raw = plain if quoted is None else quoted
            out.append(show(BACKSLASHED.sub(r"\1", raw) if "\\" in raw else raw))
        separate = True
    return "".join(out)


def _tokens(text: str, element: NativeType) -> Iterator[tuple[str, str | None, str]]:
    """Yield (whole token, its text inside quotes, its text without quotes)."""
    if element.name == "box":  # the one type whose elements are separated by semicolons
        for part in re.findall(r"[{}]|[^{};]+", text):
            yield part, None, part
        return
    for match in TOKEN.finditer(text):
        yield match[0], match[1], match[2] or ""


def _shower(element: NativeType) -> Callable[[str], str]:
    if element.kind is TypeKind.BASE:
        if element.name in NUMBERS:
            return _number
        if element.name == "bool":
            return lambda text: "true" if text == "t" else "false"
        if element.name in ARRAY_MOMENTS:
            return _array_moment
        if element.name == "jsonb":
            return lambda text: text
    return _quoted


def _number(text: str) -> str:
    """Return a number as NUMERIC prints it: no exponent, no negative zero."""
    if text.isdigit():
        return text
    if text[-1:].isalpha():  # NaN and the infinities are texts in JSON
        return f'"{text}"'
    number = Decimal(text)
    if number.is_zero():
        number = abs(number)
    return format(number, "f")


def _array_moment(text: str) -> str:
    """Return a timestamp in ISO 8601: a T between date and time, and minutes in the zone."""
    shown = text
    if not text.endswith("infinity"):
        shown = text.replace(" ", "T", 1) if ":" in text else text
        if shown.endswith("+00"):
            shown += ":00"
        elif shown.endswith("+00 BC"):
            shown = shown.removesuffix(" BC") + ":00 BC"
    return f'"{shown}"'


ESCAPES = {
    **{code: f"\\u{code:04x}" for code in range(32)},
    **{ord(c): f"\\{e}" for c, e in zip('\b\f\n\r\t"\\', 'bfnrt"\\', strict=True)},
}


def _quoted(text: str) -> str:
    return '"' + text.translate(ESCAPES) + '"'


EPOCH_DAYS = 10_957
EPOCH_MICROSECONDS = 946_684_800_000_000
DAY_MICROSECONDS = 86_400_000_000


@dataclass(frozen=True, slots=True)
class Cells:
    """Values of one column: the place of each in the buffer; of length 0 for NULL."""

    buffer: bytes
    start: np.ndarray
    length: np.ndarray
    valid: np.ndarray
    """bool[n]"""

    def bits(self) -> pa.Buffer | None:
        """Return the validity bitmap in Arrow's form; None if all are valid."""
        if self.valid.all():
            return None
        return pa.py_buffer(np.packbits(self.valid, bitorder="little"))

    def raw(self, skip: int = 0, drop: int = 0) -> pa.Array:
        """Return the bytes of each cell, without the first ``skip`` and the last ``drop``."""
        start, length = self.start + skip, np.maximum(self.length - skip - drop, 0)
        return slice_bytes(self.buffer, np.where(self.valid, start, 0), length, self.bits())

    def first(self) -> np.ndarray:
        """Return the first byte of each cell."""
        return self.at(0)

    def last(self) -> np.ndarray:
        """Return the last byte of each cell."""
        return self.at(self.length - 1)

    def at(self, place: int | np.ndarray) -> np.ndarray:
        """Return the byte at a place in each cell."""
        return np.asarray(np.frombuffer(self.buffer, np.uint8)[self.start + place])

    def text(self, index: int) -> str:
        """Return the text of one cell."""
        start = int(self.start[index])
        return self.buffer[start : start + int(self.length[index])].decode()


Asked = Callable[[list[str], NativeType], list[str]]
"""Texts of a type, as the JSON that the server makes of them."""


def converted(cells: Cells, column: Column, table: TableId, asked: Asked) -> pa.Array:
    """Convert the column to ``column.arrow``. Raises `RowRejected` if a text is not a valid
    value."""
    try:
        if column.as_json:
            return _json(cells, column, asked)
        return _converter(column)(cells, column.arrow)
    except (pa.ArrowInvalid, UnicodeDecodeError, ValueError, OverflowError):
        raise RowRejected(
            f"A change of {table}, column {column.name}: a value is not a valid {column.arrow}.",
            remedy="Choose text for the column with options.typeOverrides.",
            table=str(table),
            column=column.name,
        ) from None


Conversion = Callable[[Cells, pa.DataType], pa.Array]


def _converter(column: Column) -> Conversion:
    base = base_of(column.type)
    arrow = column.arrow
    if arrow == WIRE:
        conversion = MOMENTS.get(base.name)
        if conversion is None:
            raise InternalError(f"Column {column.name}: {base.name} was requested in binary form.")
        numbers, width = conversion
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
    """Parse numbers: Arrow reads a text to the nearest float, and integers exactly."""
    return cells.raw().cast(pa.string()).cast(wanted)


def _boolean(cells: Cells, _: pa.DataType) -> pa.Array:
    true = (cells.first() == ord("t")) & cells.valid
    bits = pa.py_buffer(np.packbits(true, bitorder="little"))
    return pa.Array.from_buffers(pa.bool_(), len(true), [cells.bits(), bits])


def _boolean_text(cells: Cells, wanted: pa.DataType) -> pa.Array:
    """Return true and false, as the cast of a snapshot does; the output function writes t and f."""
    return _boolean(cells, wanted).cast(pa.string())


def _bytes(cells: Cells, _: pa.DataType) -> pa.Array:
    r"""Decode bytea from ``\x6162``."""
    if int(cells.length.sum()) > LARGE_BYTES:
        return _large_bytes(cells)
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


def _large_bytes(cells: Cells) -> pa.Array:
    """Decode large bytea values one by one, because the digits are twice as long as the bytes."""
    view = memoryview(cells.buffer)
    offsets = np.zeros(len(cells.start) + 1, np.int64)
    np.cumsum(np.where(cells.valid, cells.length - 2, 0) // 2, out=offsets[1:])
    values = np.empty(int(offsets[-1]), np.uint8)
    for index in np.flatnonzero(cells.valid).tolist():
        start, end = int(cells.start[index]) + 2, int(cells.start[index] + cells.length[index])
        at = int(offsets[index])
        for place in range(start, end, 2 * SLICE_BYTES):
            piece = binascii.unhexlify(view[place : min(place + 2 * SLICE_BYTES, end)])
            values[at : at + len(piece)] = np.frombuffer(piece, np.uint8)
            at += len(piece)
    if len(values) > np.iinfo(np.int32).max:
        raise ValueError("more bytes than the column has")
    return pa.Array.from_buffers(
        pa.binary(),
        len(cells.start),
        [cells.bits(), pa.py_buffer(offsets.astype(np.int32)), pa.py_buffer(values)],
    )


# Dates and times: numbers since 2000, as the server sends them in binary

LONGEST = np.iinfo(np.int64)
MOMENT = re.compile(
    r"(\d{4,})-(\d\d)-(\d\d)(?: (\d\d):(\d\d):(\d\d)(?:\.(\d{1,6}))?)?(?:\+00)?( BC)?"
)


def _common(cells: Cells, shortest: int, longest: int) -> np.ndarray:
    """Return True for dates with a four-digit year and without BC or infinity."""
    length = cells.length
    plain = cells.valid & (length >= shortest) & (length <= longest)
    last = cells.last()
    return np.asarray(plain & (cells.at(4) == ord("-")) & (last >= ord("0")) & (last <= ord("9")))


def _plain(cells: Cells, plain: np.ndarray, drop: int = 0) -> pa.Array:
    """Return the plain texts; NULL for all others."""
    length = np.where(plain, cells.length, 0)
    return Cells(cells.buffer, cells.start, length, plain).raw(drop=drop).cast(pa.string())


def _counted(array: pa.Array, dtype: type[np.signedinteger]) -> np.ndarray:
    bits = pa.int32() if dtype is np.int32 else pa.int64()
    return to_numpy(filled(array.view(bits), 0)).astype(np.int64)


def _days(cells: Cells) -> np.ndarray:
    plain = _common(cells, 10, 10)
    days = _counted(_plain(cells, plain).cast(pa.date32()), np.int32) - EPOCH_DAYS
    limits = np.iinfo(np.int32)
    for index in np.flatnonzero(cells.valid & ~plain).tolist():
        days[index] = _moment(cells.text(index), 1, limits.min, limits.max)
    return days


def _micro(cells: Cells) -> np.ndarray:
    """Return microseconds of timestamps with and without time zone, which is always +00."""
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
    """Return microseconds of times without time zone, including 24:00:00."""
    whole = (cells.at(0) == ord("2")) & (cells.at(1) == ord("4")) & cells.valid
    texts = _plain(cells, cells.valid & ~whole)
    dated = joined(["1970-01-01", texts], " ")
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
    """Parse any date or timestamp as the server prints it, in ``unit`` parts of a day since
    2000."""
    if text in ("infinity", "-infinity"):
        return low if text[0] == "-" else high
    match = MOMENT.fullmatch(text)
    if match is None:
        raise ValueError("not a date or timestamp")
    year = int(match[1])
    number = _civil(1 - year if match[8] else year, int(match[2]), int(match[3])) * unit
    if match[4]:
        seconds = int(match[4]) * 3600 + int(match[5]) * 60 + int(match[6])
        number += seconds * 1_000_000 + int((match[7] or "").ljust(6, "0"))
    return number


def _civil(year: int, month: int, day: int) -> int:
    """Return the days since 2000-01-01 in the Gregorian calendar, which PostgreSQL extends to any
    year."""
    year -= month <= 2
    era, of_era = divmod(year, 400)
    of_year = (153 * (month + (-3 if month > 2 else 9)) + 2) // 5 + day - 1
    days = of_era * 365 + of_era // 4 - of_era // 100 + of_year
    return era * 146_097 + days - 719_468 - EPOCH_DAYS


def _wire(numbers: np.ndarray, cells: Cells, width: int) -> pa.Array:
    """Encode big-endian numbers; a NULL has no bytes."""
    values = numbers[cells.valid].astype(f">i{width}")
    offsets = np.zeros(len(numbers) + 1, np.int64)
    np.cumsum(cells.valid * width, out=offsets[1:])
    return pa.Array.from_buffers(
        WIRE, len(numbers), [cells.bits(), pa.py_buffer(offsets), pa.py_buffer(values.tobytes())]
    )


def _moved(numbers: np.ndarray, epoch: int, limits: np.iinfo) -> np.ndarray:
    """Shift values to 1970; one without equivalent becomes the storage's minimum."""
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
