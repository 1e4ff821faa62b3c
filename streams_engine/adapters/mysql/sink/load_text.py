"""Record batches as the fields of LOAD DATA, and as literals of INSERT.

https://dev.mysql.com/doc/refman/en/load-data.html, "Field and Line Handling": tab between
fields, newline after rows, ``\\N`` for NULL, a backslash before tab, newline and itself. The
statement says CHARACTER SET binary, so that bytes arrive as they are; texts are UTF-8. Every
text is one that its column's type reads back exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from streams_engine.arrow.bad_rows import unfit
from streams_engine.arrow.batches import is_large, parts, slices
from streams_engine.arrow.plain import filled, from_numpy, joined, scalar, to_numpy
from streams_engine.errors import RowRejected
from streams_engine.model import Column, NativeType
from streams_engine.schema.types.conversions import CHOOSE_TYPE

__all__ = [
    "buffers",
    "fields",
    "is_bytes",
    "large_literal",
    "lines",
    "literals",
    "quoted",
    "values",
]

ESCAPES = ((b"\\", b"\\\\"), (b"\t", b"\\t"), (b"\n", b"\\n"))
FIRST_DAY, LAST_DAY = -719_162, 2_932_896
"""0001-01-01 and 9999-12-31, https://dev.mysql.com/doc/refman/en/datetime.html"""
DAY_MICROSECONDS = 86_400_000_000
MOST_TIME = (838 * 3600 + 59 * 60 + 59) * 1_000_000
"""https://dev.mysql.com/doc/refman/en/time.html"""
MOST_BYTES = 1 << 30
"""Arrow's offsets are 32 bits; escaping may double a text."""


def fields(batch: pa.RecordBatch, columns: Sequence[Column]) -> list[pa.Array]:
    """Return each column as bytes; NULL stays NULL. Raises `RowRejected` naming the column."""
    return [_field(v, c) for v, c in zip(batch.columns, columns, strict=True)]


def buffers(batch: pa.RecordBatch, columns: Sequence[Column]) -> Iterator[Any]:
    """Yield the rows of a batch in LOAD DATA's format, buffer by buffer; a large value is escaped
    in slices.

    Raises `RowRejected` here, before the first buffer is read.
    """
    rendered = pa.RecordBatch.from_arrays(fields(batch, columns), [c.name for c in columns])
    return _buffers(rendered)


def _buffers(rendered: pa.RecordBatch) -> Iterator[Any]:
    for part in parts(rendered):
        if is_large(part):
            yield from _line(part)
        else:
            yield _joined(part.columns)


def _line(row: pa.RecordBatch) -> Iterator[bytes]:
    """Yield a single row in LOAD DATA's format."""
    for number, values in enumerate(row.columns):
        if number:
            yield b"\t"
        if values.null_count:
            yield b"\\N"
        else:
            yield from map(_escaped, slices(_value(values)))
    yield b"\n"


def _escaped(piece: memoryview) -> bytes:
    text_bytes = bytes(piece)
    for plain, escaped in ESCAPES:
        text_bytes = text_bytes.replace(plain, escaped)
    return text_bytes


def _value(array: pa.Array) -> memoryview:
    """Return the one value of an array as a view."""
    _, offsets, data = array.buffers()
    first, last = np.frombuffer(offsets, np.int32)[array.offset : array.offset + 2]
    return memoryview(b"") if data is None else memoryview(data)[first:last]


def lines(batch: pa.RecordBatch, columns: Sequence[Column]) -> Any:
    """Encode the rows of a batch in LOAD DATA's format, in one buffer. Raises `RowRejected`."""
    rows = batch.num_rows
    if rows > 1 and batch.nbytes > MOST_BYTES // 2:
        halves = batch.slice(0, rows // 2), batch.slice(rows // 2)
        return b"".join(bytes(lines(half, columns)) for half in halves)
    return _joined(fields(batch, columns))


def _joined(shown: Sequence[pa.Array]) -> Any:
    """Join rendered columns to lines, in one buffer."""
    escaped = []
    for values in shown:
        for plain, written in ESCAPES:
            values = pc.replace_substring(values, plain, written)
        escaped.append(filled(values, b"\\N"))
    text = joined([joined(escaped, b"\t"), b"\n"], b"")
    offsets = np.frombuffer(text.buffers()[1], np.int32)
    return memoryview(text.buffers()[2])[: offsets[text.offset + len(text)]]


def literals(batch: pa.RecordBatch, columns: Sequence[Column]) -> list[bytes]:
    """Return each row as ``(..., ...)`` for INSERT. Raises `RowRejected`."""
    return [f"({', '.join(row)})".encode() for row in values(batch, columns)]


def large_literal(row: pa.RecordBatch, columns: Sequence[Column]) -> Iterator[bytes]:
    """Yield a single large row as ``(..., ...)`` for INSERT, in slices. Raises `RowRejected`."""
    shown = fields(row, columns)
    for number, (values, column) in enumerate(zip(shown, columns, strict=True)):
        yield b", " if number else b"("
        if values.null_count:
            yield b"NULL"
        elif is_bytes(column.type):
            yield b"X'"
            yield from (bytes(piece).hex().encode() for piece in slices(_value(values)))
            yield b"'"
        else:
            yield b"'"
            yield from map(_quoted_piece, slices(_value(values)))
            yield b"'"
    yield b")"


def _quoted_piece(piece: memoryview) -> bytes:
    return bytes(piece).replace(b"\\", b"\\\\").replace(b"'", b"\\'").replace(b"\0", b"\\0")


def values(batch: pa.RecordBatch, columns: Sequence[Column]) -> list[tuple[str, ...]]:
    """Return the literals of each row. Raises `RowRejected`."""
    shown = []
    for field, column in zip(fields(batch, columns), columns, strict=True):
        write = _hex if is_bytes(column.type) else quoted
        shown.append(["NULL" if v is None else write(v) for v in field.to_pylist()])
    return list(zip(*shown, strict=True))


def _hex(value: bytes) -> str:
    return f"X'{value.hex()}'"


def quoted(value: bytes) -> str:
    """Quote a text in UTF-8 as a literal; the session treats backslashes as escapes."""
    text = value.decode().replace("\\", "\\\\").replace("'", "\\'").replace("\0", "\\0")
    return f"'{text}'"


def is_bytes(native: NativeType) -> bool:
    """Return True for types whose fields are bytes, not text."""
    return native.name in BYTES or native.name.endswith(("binary", "blob"))


BYTES = {
    "bit", "vector", "geometry", "point", "linestring", "polygon", "multipoint",
    "multilinestring", "multipolygon", "geometrycollection",
}  # fmt: skip


def _field(values: pa.Array, column: Column) -> pa.Array:
    try:
        return _rendered(values, column)
    except KeyError:
        reason = f"values of Arrow type {values.type} cannot be written to it"
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OverflowError, ValueError) as error:
        reason = str(error) if isinstance(error, _UnfitError) else "a value does not fit"
    refused = RowRejected(
        f"Column {column.name} ({column.type}): {reason}.",
        remedy=f"Use onError: quarantine, and start again. Or {CHOOSE_TYPE}",
        column=column.name,
    )
    refused.find_unfit = lambda: unfit(values, lambda part: _rendered(part, column))
    raise refused


def _rendered(values: pa.Array, column: Column) -> pa.Array:
    return RENDERERS[family(values.type)](values, column.type).cast(pa.binary())


class _UnfitError(ValueError):
    """A value outside of what the type holds; the text is for the user and names no value."""


def _demand(fits: np.ndarray | np.bool_, reason: str) -> None:
    if not np.all(fits):
        raise _UnfitError(reason)


def _numbers(values: pa.Array, view: pa.DataType) -> np.ndarray:
    """Return the storage as integers; 0 for NULL."""
    return to_numpy(filled(values.view(view), 0))


# One function a family of Arrow types


def integer(values: pa.Array, native: NativeType) -> pa.Array:
    """Write integers as digits: four for a YEAR, where '0' would mean 2000; as bytes for BIT."""
    if native.name == "bit":
        return _bits(values.cast(pa.uint64()), native)
    text = values.cast(pa.string())
    return pc.utf8_lpad(text, 4, "0") if native.name == "year" else text


def boolean(values: pa.Array, native: NativeType) -> pa.Array:
    """Write booleans as 1 and 0."""
    return integer(values.cast(pa.uint8()), native)


def _bits(values: pa.Array, native: NativeType) -> pa.Array:
    """Write big-endian bytes, which is how LOAD DATA reads a BIT."""
    width = native.args[0] if native.args else 1
    wide = to_numpy(filled(values, 0))
    if width < 64:
        _demand(wide >> np.uint64(width) == 0, "the value has more bits than the column")
    size = (width + 7) // 8
    raw = wide.astype(">u8").view(np.uint8).reshape(-1, 8)[:, 8 - size :]
    fixed = pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(size), len(values), [None, pa.py_buffer(np.ascontiguousarray(raw))]
    )
    return _where(values, fixed.cast(pa.binary()))


def _where(values: pa.Array, rendered: pa.Array) -> pa.Array:
    return pc.if_else(values.is_valid(), rendered, scalar(None, rendered.type))


def floating(values: pa.Array, native: NativeType) -> pa.Array:
    """Write the shortest text that reads back equal, as a double.

    Single precision is widened first, because a server that reads through a double might round
    twice.
    """
    wide = values.cast(pa.float64())
    if not pc.all(pc.is_finite(filled(wide, 0.0)), min_count=0).as_py():
        raise _UnfitError("MySQL has no NaN and no infinity")
    return wide.cast(pa.string())


def text(values: pa.Array, native: NativeType) -> pa.Array:
    """Return texts unchanged; binary digits become the bytes of a BIT."""
    if native.name != "bit":
        return values
    numbers = [None if v is None else int(v, 2) for v in values.to_pylist()]
    return _bits(pa.array(numbers, pa.uint64()), native)


def plain(values: pa.Array, native: NativeType) -> pa.Array:
    """Return bytes unchanged, decimals as digits."""
    return values if pa.types.is_binary(values.type) else values.cast(pa.string())


def date(values: pa.Array, native: NativeType) -> pa.Array:
    """Write dates in ISO 8601; they must be within the years 1 to 9999."""
    _demand_days(_numbers(values, pa.int32()))
    return values.cast(pa.string())


def _demand_days(days: np.ndarray) -> None:
    _demand((days >= FIRST_DAY) & (days <= LAST_DAY), "the date is not within the years 1 to 9999")


def timestamp(values: pa.Array, native: NativeType) -> pa.Array:
    """Write timestamps in ISO 8601 with microseconds; instants in UTC, which is the session's time
    zone."""
    micro = values.cast(pa.timestamp("us", values.type.tz)).view(pa.timestamp("us"))
    _demand_days(_numbers(micro, pa.int64()) // DAY_MICROSECONDS)
    return micro.cast(pa.string())


def time_of_day(values: pa.Array, native: NativeType) -> pa.Array:
    """Write times to the microsecond; a nanosecond more is an error, not rounded."""
    return values.cast(pa.time64("us")).cast(pa.string())


def duration(values: pa.Array, native: NativeType) -> pa.Array:
    """Write durations as [-]HHH:MM:SS.ffffff."""
    micro = _numbers(values.cast(pa.duration("us")), pa.int64())
    if native.name == "time":
        _demand(np.abs(micro) <= MOST_TIME, "beyond 838:59:59")
    seconds, rest = np.divmod(np.abs(micro), 1_000_000)
    minutes, second = np.divmod(seconds, 60)
    hour, minute = np.divmod(minutes, 60)
    sign = pc.if_else(from_numpy(micro < 0), *(scalar(s, pa.string()) for s in ("-", "")))
    clock = joined([_padded(hour), _padded(minute), _padded(second)], ":")
    shown = joined([joined([sign, clock]), _padded(rest, 6)], ".")
    return _where(values, shown)


def _padded(numbers: np.ndarray, width: int = 2) -> pa.Array:
    return pc.utf8_lpad(from_numpy(numbers).cast(pa.string()), width, "0")


FAMILIES: Sequence[tuple[Callable[[pa.DataType], bool], str]] = (
    (pa.types.is_boolean, "bool"),
    (pa.types.is_integer, "int"),
    (pa.types.is_floating, "float"),
    (pa.types.is_decimal, "decimal"),
    (pa.types.is_string, "text"),
    (pa.types.is_binary, "bytes"),
    (pa.types.is_date32, "date"),
    (pa.types.is_timestamp, "timestamp"),
    (pa.types.is_time, "time"),
    (pa.types.is_duration, "duration"),
)


def family(arrow: pa.DataType) -> str:
    """Return the family of an Arrow type; its own name if it has none."""
    return next((name for test, name in FAMILIES if test(arrow)), str(arrow))


RENDERERS: Mapping[str, Callable[[pa.Array, NativeType], pa.Array]] = {
    "bool": boolean,
    "int": integer,
    "float": floating,
    "decimal": plain,
    "text": text,
    "bytes": plain,
    "date": date,
    "timestamp": timestamp,
    "time": time_of_day,
    "duration": duration,
}
