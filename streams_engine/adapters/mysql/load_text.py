"""Record batches as the fields of LOAD DATA, and as literals of INSERT.

https://dev.mysql.com/doc/refman/en/load-data.html, "Field and Line Handling": tab between
fields, newline after rows, ``\\N`` for NULL, a backslash before tab, newline and itself. The
statement says CHARACTER SET binary, so that bytes arrive as they are; texts are UTF-8. Every
text is one that its column's type reads back exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from streams_engine.errors import RowRejected
from streams_engine.model import Column, NativeType

__all__ = ["fields", "is_bytes", "lines", "literals", "quoted", "values"]

ESCAPES = ((b"\\", b"\\\\"), (b"\t", b"\\t"), (b"\n", b"\\n"))
FIRST_DAY, LAST_DAY = -719_162, 2_932_896
"""0001-01-01 and 9999-12-31, https://dev.mysql.com/doc/refman/en/datetime.html"""
DAY_MICROSECONDS = 86_400_000_000
MOST_TIME = (838 * 3600 + 59 * 60 + 59) * 1_000_000
"""https://dev.mysql.com/doc/refman/en/time.html"""
MOST_BYTES = 1 << 30
"""Arrow's offsets are 32 bits; escaping may double a text."""


def fields(batch: pa.RecordBatch, columns: Sequence[Column]) -> list[pa.Array]:
    """Each column as bytes, NULL staying NULL. Raises `RowRejected` naming the column."""
    return [_field(v, c) for v, c in zip(batch.columns, columns, strict=True)]


def lines(batch: pa.RecordBatch, columns: Sequence[Column]) -> Any:
    """The rows of a batch as LOAD DATA reads them, in one buffer. Raises `RowRejected`."""
    rows = batch.num_rows
    if rows > 1 and batch.nbytes > MOST_BYTES // 2:
        halves = batch.slice(0, rows // 2), batch.slice(rows // 2)
        return b"".join(bytes(lines(half, columns)) for half in halves)
    parts = []
    for values in fields(batch, columns):
        for plain, escaped in ESCAPES:
            values = pc.replace_substring(values, plain, escaped)
        parts.append(values.fill_null(b"\\N"))
    joined = pc.binary_join_element_wise(*parts, b"\t")
    joined = pc.binary_join_element_wise(joined, b"\n", b"")
    offsets = np.frombuffer(joined.buffers()[1], np.int32)
    return memoryview(joined.buffers()[2])[: offsets[joined.offset + rows]]


def literals(batch: pa.RecordBatch, columns: Sequence[Column]) -> list[bytes]:
    """Each row as ``(..., ...)`` for INSERT. Raises `RowRejected`."""
    return [f"({', '.join(row)})".encode() for row in values(batch, columns)]


def values(batch: pa.RecordBatch, columns: Sequence[Column]) -> list[tuple[str, ...]]:
    """The literals of each row. Raises `RowRejected`."""
    shown = []
    for field, column in zip(fields(batch, columns), columns, strict=True):
        write = _hex if is_bytes(column.type) else quoted
        shown.append(["NULL" if v is None else write(v) for v in field.to_pylist()])
    return list(zip(*shown, strict=True))


def _hex(value: bytes) -> str:
    return f"X'{value.hex()}'"


def quoted(value: bytes) -> str:
    """A text in UTF-8 as a literal; the session knows backslashes as escapes."""
    text = value.decode().replace("\\", "\\\\").replace("'", "\\'").replace("\0", "\\0")
    return f"'{text}'"


def is_bytes(native: NativeType) -> bool:
    """True for types whose fields are bytes, not text."""
    return native.name in BYTES or native.name.endswith(("binary", "blob"))


BYTES = {
    "bit", "vector", "geometry", "point", "linestring", "polygon", "multipoint",
    "multilinestring", "multipolygon", "geometrycollection",
}  # fmt: skip


def _field(values: pa.Array, column: Column) -> pa.Array:
    try:
        render = RENDERERS[family(values.type)]
        return render(values, column.type).cast(pa.binary())
    except KeyError:
        reason = f"values of Arrow type {values.type} have no form there"
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OverflowError, ValueError) as error:
        reason = str(error) if isinstance(error, _UnfitError) else "a value does not fit"
    raise RowRejected(
        f"Column {column.name} ({column.type}): {reason}.",
        remedy="Choose another type with typeOverrides, or onError: quarantine.",
        column=column.name,
    )


class _UnfitError(ValueError):
    """A value outside of what the type holds; the text is for the user and names no value."""


def _demand(fits: np.ndarray | np.bool_, reason: str) -> None:
    if not np.all(fits):
        raise _UnfitError(reason)


def _numbers(values: pa.Array, view: pa.DataType) -> np.ndarray:
    """The storage as integers, 0 for NULL."""
    array: np.ndarray = values.view(view).fill_null(0).to_numpy(zero_copy_only=False)
    return array


# One function a family of Arrow types


def integer(values: pa.Array, native: NativeType) -> pa.Array:
    """Digits; four for a YEAR, where '0' would mean 2000; bytes for BIT."""
    if native.name == "bit":
        return _bits(values.cast(pa.uint64()), native)
    text = values.cast(pa.string())
    return pc.utf8_lpad(text, 4, "0") if native.name == "year" else text


def boolean(values: pa.Array, native: NativeType) -> pa.Array:
    """1 and 0."""
    return integer(values.cast(pa.uint8()), native)


def _bits(values: pa.Array, native: NativeType) -> pa.Array:
    """Big-endian bytes, which is how LOAD DATA reads a BIT."""
    width = native.args[0] if native.args else 1
    wide = values.fill_null(0).to_numpy(zero_copy_only=False)
    if width < 64:
        _demand(wide >> np.uint64(width) == 0, "more bits than the column has")
    size = (width + 7) // 8
    raw = wide.astype(">u8").view(np.uint8).reshape(-1, 8)[:, 8 - size :]
    fixed = pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(size), len(values), [None, pa.py_buffer(np.ascontiguousarray(raw))]
    )
    return _where(values, fixed.cast(pa.binary()))


def _where(values: pa.Array, rendered: pa.Array) -> pa.Array:
    return pc.if_else(values.is_valid(), rendered, pa.scalar(None, rendered.type))


def floating(values: pa.Array, native: NativeType) -> pa.Array:
    """The shortest text that reads back equal, as a double: single precision is widened first,
    since a server that reads through a double might round twice."""
    wide = values.cast(pa.float64())
    if not pc.all(pc.is_finite(wide.fill_null(0.0))).as_py():
        raise _UnfitError("MySQL has no NaN and no infinities")
    return wide.cast(pa.string())


def text(values: pa.Array, native: NativeType) -> pa.Array:
    """As it is; binary digits become the bytes of a BIT."""
    if native.name != "bit":
        return values
    numbers = [None if v is None else int(v, 2) for v in values.to_pylist()]
    return _bits(pa.array(numbers, pa.uint64()), native)


def plain(values: pa.Array, native: NativeType) -> pa.Array:
    """Bytes as they are, digits of a decimal."""
    return values if pa.types.is_binary(values.type) else values.cast(pa.string())


def date(values: pa.Array, native: NativeType) -> pa.Array:
    """ISO, within the years 1 to 9999."""
    _demand_days(_numbers(values, pa.int32()))
    return values.cast(pa.string())


def _demand_days(days: np.ndarray) -> None:
    _demand((days >= FIRST_DAY) & (days <= LAST_DAY), "a date outside of the years 1 to 9999")


def timestamp(values: pa.Array, native: NativeType) -> pa.Array:
    """ISO with microseconds; instants in UTC, which is the session's time zone."""
    micro = values.cast(pa.timestamp("us", values.type.tz)).view(pa.timestamp("us"))
    _demand_days(_numbers(micro, pa.int64()) // DAY_MICROSECONDS)
    return micro.cast(pa.string())


def time_of_day(values: pa.Array, native: NativeType) -> pa.Array:
    """The clock; a nanosecond more is refused, not rounded."""
    return values.cast(pa.time64("us")).cast(pa.string())


def duration(values: pa.Array, native: NativeType) -> pa.Array:
    """[-]HHH:MM:SS.ffffff."""
    micro = _numbers(values.cast(pa.duration("us")), pa.int64())
    if native.name == "time":
        _demand(np.abs(micro) <= MOST_TIME, "beyond 838:59:59")
    seconds, rest = np.divmod(np.abs(micro), 1_000_000)
    minutes, second = np.divmod(seconds, 60)
    hour, minute = np.divmod(minutes, 60)
    sign = pc.if_else(pa.array(micro < 0), "-", "")
    clock = pc.binary_join_element_wise(_padded(hour), _padded(minute), _padded(second), ":")
    shown = pc.binary_join_element_wise(
        pc.binary_join_element_wise(sign, clock, ""), _padded(rest, 6), "."
    )
    return _where(values, shown)


def _padded(numbers: np.ndarray, width: int = 2) -> pa.Array:
    return pc.utf8_lpad(pa.array(numbers).cast(pa.string()), width, "0")


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
    """The family of an Arrow type, its own name where it has none."""
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
