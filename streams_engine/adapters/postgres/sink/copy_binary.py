"""Record batches as COPY BINARY, encoded column by column.

A tuple is a 16-bit field count, then per field a 32-bit length (-1: NULL) and the bytes of
the type's receive function, big-endian
(https://www.postgresql.org/docs/current/sql-copy.html, "Binary Format"). Columns of a fixed
width become byte matrices, neighbours are laid side by side, and Arrow weaves the pieces
into rows; nothing loops over rows.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from streams_engine.arrow.bad_rows import unfit
from streams_engine.arrow.batches import is_large, parts
from streams_engine.arrow.plain import filled, scalar, to_numpy
from streams_engine.errors import RowRejected
from streams_engine.model import Column, NativeType, TypeKind
from streams_engine.schema.types.conversions import CHOOSE_TYPE
from streams_engine.schema.types.postgres import TEXT_FORMS, WIRE, base_of

__all__ = [
    "HEADER",
    "TRAILER",
    "Encoder",
    "buffers",
    "encode",
    "encoder_for",
    "encoders_for",
    "family",
]

HEADER = b"PGCOPY\n\xff\r\n\0" + struct.pack(">II", 0, 0)
TRAILER = struct.pack(">h", -1)

EPOCH_DAYS = 10957
EPOCH_MICROSECONDS = 946_684_800_000_000
DAY_MICROSECONDS = 86_400_000_000
NUMERIC_NEGATIVE = 0x4000
"""numeric_send: ndigits, weight, sign, dscale, then base-10,000 digits (numeric.c)."""
MOST_BYTES = 1 << 28
"""What is woven at once: Arrow's offsets end at 2 GiB, and short values grow sixfold."""

Bytes = np.ndarray
"""A matrix of bytes, one row a tuple."""


@dataclass(frozen=True, slots=True)
class Fixed:
    """Bytes of the same width in every row; ``keep`` masks out those that a row lacks."""

    bytes: Bytes
    keep: np.ndarray | None = None


Part: TypeAlias = Fixed | pa.Array
Encoder: TypeAlias = Callable[[pa.Array, NativeType], list[Part]]


def buffers(
    batch: pa.RecordBatch, encoders: Sequence[Encoder], columns: Sequence[Column]
) -> Iterator[Any]:
    """Yield the tuples of a batch, buffer by buffer; a large value is a view and never copied.

    Raises `RowRejected` naming the column if a value does not fit its type.
    """
    for part in parts(batch):
        if is_large(part):
            yield from map(_bytes_of, _fields(part, encoders, columns))
        else:
            yield encode(part, encoders, columns)


def _bytes_of(part: Part) -> Any:
    """Return the bytes of a part of a single row."""
    if isinstance(part, Fixed):
        return (part.bytes[0] if part.keep is None else part.bytes[0][part.keep[0]]).tobytes()
    return value_of(part)


def value_of(array: pa.Array) -> memoryview:
    """Return the one value of a binary or text array as a view."""
    _, offsets, data = array.buffers()
    first, last = np.frombuffer(offsets, np.int32)[array.offset : array.offset + 2]
    return memoryview(b"") if data is None else memoryview(data)[first:last]


def encode(batch: pa.RecordBatch, encoders: Sequence[Encoder], columns: Sequence[Column]) -> Any:
    """Encode the tuples of a batch as one buffer, without header and trailer.

    Raises `RowRejected` naming the column if a value does not fit its type.
    """
    rows = batch.num_rows
    if not rows:
        return b""
    if rows > 1 and max(batch.nbytes, 8 * rows * batch.num_columns) > MOST_BYTES:
        halves = batch.slice(0, rows // 2), batch.slice(rows // 2)
        return b"".join(encode(half, encoders, columns) for half in halves)
    joined = _weave(_fields(batch, encoders, columns), rows)
    offsets = np.frombuffer(joined.buffers()[1], np.int32)
    return memoryview(joined.buffers()[2])[: offsets[joined.offset + rows]]


_UNFIT = f"Quarantine such rows with onError: quarantine. Or {CHOOSE_TYPE}"
_OUTSIDE_A_DAY = (
    "Find such rows on the source: WHERE {} NOT BETWEEN '00:00:00' AND '24:00:00'; quarantine them "
    "with onError: quarantine. Or choose interval with typeOverrides, and load again with "
    "start(fresh=True) and schemaPolicy drop_and_recreate."
)


def _fields(
    batch: pa.RecordBatch, encoders: Sequence[Encoder], columns: Sequence[Column]
) -> list[Part]:
    """Return the parts of each row, in order."""
    count = np.frombuffer(struct.pack(">h", batch.num_columns), np.uint8)
    parts_of_rows: list[Part] = [Fixed(np.broadcast_to(count, (batch.num_rows, 2)))]
    for values, encoder, column in zip(batch.columns, encoders, columns, strict=True):
        native = base_of(column.type)
        try:
            parts_of_rows += encoder(values, native)
        except (pa.ArrowInvalid, OverflowError, ValueError):
            error = RowRejected(
                f"Column {column.name}: a value does not fit {column.type}.",
                remedy=_OUTSIDE_A_DAY.format(column.name) if native.name == "time" else _UNFIT,
                column=column.name,
            )
            error.find_unfit = _finder(values, encoder, native)
            raise error from None
    return parts_of_rows


def _finder(values: pa.Array, encoder: Encoder, native: NativeType) -> Callable[[], np.ndarray]:
    return lambda: unfit(values, lambda part: encoder(part, native))


def _weave(parts: Sequence[Part], rows: int) -> pa.Array:
    """Interleave the parts of each row to one binary array."""
    woven: list[pa.Array] = []
    run: list[Fixed] = []
    for part in parts:
        if isinstance(part, Fixed):
            run.append(part)
            continue
        woven.append(_adjoined(run, rows))
        run = []
        woven.append(part)
    if run:
        woven.append(_adjoined(run, rows))
    if len(woven) == 1:
        return woven[0]
    return pc.binary_join_element_wise(*woven, scalar(b"", pa.binary()))


def _adjoined(run: Sequence[Fixed], rows: int) -> pa.Array:
    """Join neighbouring fixed parts to one binary array."""
    matrix = run[0].bytes if len(run) == 1 else _side_by_side(run, rows)
    width = matrix.shape[1]
    if all(part.keep is None for part in run):
        offsets = (
            np.arange(0, (rows + 1) * width, width, dtype=np.int32)
            if width
            else np.zeros(rows + 1, np.int32)
        )
        return _binary(offsets, np.ascontiguousarray(matrix), rows)
    keep = np.hstack([np.ones(p.bytes.shape, bool) if p.keep is None else p.keep for p in run])
    offsets = np.zeros(rows + 1, np.int32)
    np.cumsum(keep.sum(axis=1), out=offsets[1:])
    return _binary(offsets, matrix[keep], rows)


def _side_by_side(run: Sequence[Fixed], rows: int) -> np.ndarray:
    matrix = np.empty((rows, sum(part.bytes.shape[1] for part in run)), np.uint8)
    at = 0
    for part in run:
        _put(matrix, at, part.bytes)
        at += part.bytes.shape[1]
    return matrix


def _put(matrix: Bytes, at: int, payload: Bytes) -> None:
    """Copy a payload into its columns, eight bytes of each row at once: numpy would copy each."""
    end = at + payload.shape[1]
    for size in (8, 4, 2, 1):
        while end - at >= size:
            word = f"u{size}"
            matrix[:, at : at + size].view(word)[...] = payload[:, :size].view(word)
            at, payload = at + size, payload[:, size:]


def _binary(offsets: np.ndarray, data: np.ndarray, rows: int) -> pa.Array:
    return pa.Array.from_buffers(
        pa.binary(), rows, [None, pa.py_buffer(offsets), pa.py_buffer(data)]
    )


# Building blocks


def _nulls(values: pa.Array) -> np.ndarray | None:
    if not values.null_count:
        return None
    return to_numpy(values.is_null())


def _sized(payload: Bytes, nulls: np.ndarray | None) -> list[Part]:
    """Put its length before each payload of one width; NULL is the length -1 without payload."""
    rows, width = payload.shape
    matrix = np.empty((rows, 4 + width), np.uint8)
    matrix[:, :4].view(">i4")[...] = width
    _put(matrix, 4, payload)
    if nulls is None:
        return [Fixed(matrix)]
    matrix[nulls, :4] = 0xFF
    keep = np.ones(matrix.shape, bool)
    keep[nulls, 4:] = False
    return [Fixed(matrix, keep)]


def _numbers(values: pa.Array, arrow: pa.DataType, big_endian: str) -> list[Part]:
    """Encode numbers of one width; the cast is checked, so nothing wraps."""
    nulls = _nulls(values)
    array = to_numpy(filled(values, 0).cast(arrow)).astype(big_endian)
    payload = array.view(np.uint8).reshape(len(values), array.dtype.itemsize)
    return _sized(payload, nulls)


def integer(arrow: pa.DataType, big_endian: str) -> Encoder:
    """Create an encoder of int2, int4, int8 or oid from any integer or boolean."""

    def run(values: pa.Array, _: NativeType) -> list[Part]:
        return _numbers(values, arrow, big_endian)

    return run


def floating(arrow: pa.DataType, big_endian: str) -> Encoder:
    """Create an encoder of float4 or float8; float4 only from float4, because a float8 would be
    rounded."""

    def run(values: pa.Array, _: NativeType) -> list[Part]:
        return _numbers(values, arrow, big_endian)

    return run


def boolean(values: pa.Array, _: NativeType) -> list[Part]:
    """Encode bool as one byte."""
    nulls = _nulls(values)
    return _sized(to_numpy(filled(values, False)).view(np.uint8).reshape(-1, 1), nulls)


def zero_or_one(values: pa.Array, native: NativeType) -> list[Part]:
    """Encode the numbers 0 and 1 as bool; any other number is an error."""
    if len(values) and pc.any(pc.greater(values.cast(pa.uint64()), scalar(1, pa.uint64()))).as_py():
        raise ValueError("the value is neither 0 nor 1")
    return boolean(values.cast(pa.bool_()), native)


def date(values: pa.Array, _: NativeType) -> list[Part]:
    """Encode dates as days since 2000-01-01."""
    return _shifted(values.view(pa.int32()), np.int64, EPOCH_DAYS, ">i4")


def timestamp(values: pa.Array, _: NativeType) -> list[Part]:
    """Encode timestamps as microseconds since 2000-01-01; finer fractions are an error."""
    micro = values.cast(pa.timestamp("us", values.type.tz)).view(pa.int64())
    return _shifted(micro, np.int64, EPOCH_MICROSECONDS, ">i8")


def _shifted(values: pa.Array, storage: Any, epoch: int, big_endian: str) -> list[Part]:
    nulls = _nulls(values)
    given = to_numpy(filled(values, 0)).astype(storage)
    # The extremes of the wire form mean infinity.
    limits = np.iinfo(np.dtype(big_endian))
    if len(given) and (given.min() <= limits.min + epoch or given.max() - epoch >= limits.max):
        raise ValueError("the value is out of range")
    shifted = given - epoch
    payload = shifted.astype(big_endian)
    return _sized(payload.view(np.uint8).reshape(len(values), payload.dtype.itemsize), nulls)


def time_of_day(values: pa.Array, _: NativeType) -> list[Part]:
    """Encode times as microseconds since midnight, 00:00:00 to 24:00:00; a duration outside is an
    error."""
    unit = pa.time64("us") if pa.types.is_time(values.type) else pa.duration("us")
    micro = values.cast(unit).view(pa.int64())
    nulls = _nulls(micro)
    plain = to_numpy(filled(micro, 0))
    if len(plain) and (plain.min() < 0 or plain.max() > DAY_MICROSECONDS):
        raise ValueError("the time is not within one day")
    payload = plain.astype(">i8")
    return _sized(payload.view(np.uint8).reshape(len(values), 8), nulls)


def interval(values: pa.Array, _: NativeType) -> list[Part]:
    """Encode intervals as microseconds, days and months (all time in the first)."""
    micro = values.cast(pa.duration("us")).view(pa.int64())
    nulls = _nulls(micro)
    plain = to_numpy(filled(micro, 0))
    payload = np.zeros((len(values), 16), np.uint8)
    payload[:, :8] = plain.astype(">i8").view(np.uint8).reshape(-1, 8)
    return _sized(payload, nulls)


def data(values: pa.Array, _: NativeType | None = None) -> list[Part]:
    """Encode bytes or text unchanged."""
    return _lengths(values, b"")


def jsonb(values: pa.Array, _: NativeType) -> list[Part]:
    """Encode jsonb: a version byte, then the text."""
    return _lengths(values, b"\x01")


def _lengths(values: pa.Array, before: bytes) -> list[Part]:
    rows = len(values)
    nulls = _nulls(values)
    # Text goes by way of string: views and large strings have no cast to binary.
    values = (values if _is_binary(values.type) else values.cast(pa.string())).cast(pa.binary())
    lengths = pc.binary_length(values)
    if nulls is not None:
        lengths, values = filled(lengths, 0), filled(values, b"")
    sizes = (to_numpy(lengths).astype(np.int64) + len(before)).astype(">i4")
    head = np.empty((rows, 4 + len(before)), np.uint8)
    head[:, :4] = sizes.view(np.uint8).reshape(rows, 4)
    head[:, 4:] = np.frombuffer(before, np.uint8)
    keep = None
    if nulls is not None:
        head[nulls, :4] = 0xFF
        if before:
            keep = np.ones(head.shape, bool)
            keep[nulls, 4:] = False
    return [Fixed(head, keep), values]


def _is_binary(arrow: pa.DataType) -> bool:
    tests = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_fixed_size_binary)
    return any(test(arrow) for test in tests)


def numeric(values: pa.Array, _: NativeType) -> list[Part]:
    """Encode numeric as base-10,000 digits around the point; the server strips leading zeros."""
    if pa.types.is_integer(values.type):
        values = values.cast(pa.decimal128(20, 0))
    elif values.type.bit_width < 128:
        values = values.cast(pa.decimal128(values.type.precision, values.type.scale))
    scale, precision = values.type.scale, values.type.precision
    nulls = _nulls(values)
    left = -(precision - scale) % 4
    right = -scale % 4
    if precision + right <= SHORT_DIGITS:
        groups, negative = _short_groups(values, (left + precision + right) // 4, right, nulls)
    else:
        digits, negative = _decimal_digits(values, precision)
        wide = np.zeros((len(values), left + precision + right), np.int16)
        wide[:, left : left + precision] = digits
        groups = wide.reshape(len(values), -1, 4) @ np.array([1000, 100, 10, 1], np.int16)
    count = groups.shape[1]
    fields = np.empty((len(values), 4 + count), ">i2")
    fields[:, 0] = count
    fields[:, 1] = (left + precision - scale) // 4 - 1
    fields[:, 2] = np.where(negative, NUMERIC_NEGATIVE, 0)
    fields[:, 3] = max(scale, 0)
    fields[:, 4:] = groups
    return _sized(fields.view(np.uint8).reshape(len(values), 2 * (4 + count)), nulls)


SHORT_DIGITS = 18
"""As many as 64 bits surely hold."""


def _short_groups(
    values: pa.Array, count: int, right: int, nulls: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return groups of four digits, and which values are negative, of unscaled values that fit 64
    bits."""
    wide = 4 if pa.types.is_decimal256(values.type) else 2
    words = np.frombuffer(values.buffers()[1], np.int64).reshape(-1, wide)
    low = words[values.offset : values.offset + len(values), 0]
    if nulls is not None:
        low = np.where(nulls, 0, low)
    rest = np.abs(low) * 10**right
    groups = np.empty((len(values), count), np.int16)
    for place in range(count - 1, -1, -1):
        higher = rest // 10_000  # numpy divides by a constant fast, and divmod does not
        groups[:, place] = rest - higher * 10_000
        rest = higher
    return groups, low < 0


def _decimal_digits(values: pa.Array, precision: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the decimal digits of the unscaled values, and which are negative."""
    whole = pa.decimal256(76, 0) if pa.types.is_decimal256(values.type) else pa.decimal128(38, 0)
    unscaled = pa.Array.from_buffers(
        whole, len(values), values.buffers(), values.null_count, values.offset
    )
    text = filled(unscaled.cast(pa.string()), "0")
    negative = to_numpy(pc.starts_with(text, "-"))
    padded = pc.utf8_lpad(pc.utf8_ltrim(text, "-"), precision, "0").cast(pa.binary())
    start = np.frombuffer(padded.buffers()[1], np.int32)[padded.offset]
    ascii_digits = np.frombuffer(padded.buffers()[2], np.uint8)[start:]
    digits = ascii_digits[: len(values) * precision].reshape(len(values), precision)
    return (digits - ord("0")).astype(np.int16), negative


def bits(values: pa.Array, native: NativeType) -> list[Part]:
    """Encode bit strings: the number of bits, then the bits from the left."""
    width = native.args[0] if native.args else 1
    size = -(-width // 8)
    nulls = _nulls(values)
    raw = to_numpy(filled(values, 0).cast(pa.uint64()))
    if width < 64 and len(raw) and int(raw.max()) >> width:
        raise ValueError("the value has more bits than the column")
    shifted = raw << np.uint64(8 * size - width)
    payload = np.empty((len(values), 4 + size), np.uint8)
    payload[:, :4] = np.frombuffer(struct.pack(">i", width), np.uint8)
    payload[:, 4:] = shifted.astype(">u8").view(np.uint8).reshape(-1, 8)[:, 8 - size :]
    return _sized(payload, nulls)


def uuid(values: pa.Array, _: NativeType) -> list[Part]:
    """Encode uuid from 16 bytes, or from text with or without hyphens."""
    nulls = _nulls(values)
    bare = values
    if not _is_binary(values.type):
        bare = pc.replace_substring(values.cast(pa.string()), "-", "")
    bare = bare.cast(pa.binary())
    width = 16 if _is_binary(values.type) else 32
    if nulls is not None:
        bare = filled(bare, b"0" * width)
    if pc.any(pc.not_equal(pc.binary_length(bare), scalar(width, pa.int32()))).as_py():
        raise ValueError("no uuid")
    start = np.frombuffer(bare.buffers()[1], np.int32)[bare.offset]
    raw = memoryview(bare.buffers()[2])[start : start + width * len(values)]
    joined = bytes(raw) if width == 16 else bytes.fromhex(bytes(raw).decode("ascii"))
    return _sized(np.frombuffer(joined, np.uint8).reshape(len(values), 16), nulls)


def array_of(element: Encoder, oid: int) -> Encoder:
    """Create an encoder of arrays: dimensions (1 or 0), NULL flag, element oid, length, lower bound
    1, elements."""

    def run(values: pa.Array, native: NativeType) -> list[Part]:
        rows, flat, nulls = len(values), values.flatten(), _nulls(values)
        counts = to_numpy(filled(pc.list_value_length(values), 0))
        ends = np.zeros(rows + 1, np.int64)
        np.cumsum(counts, out=ends[1:])
        inner = native.element or native
        woven = _weave(element(flat, inner), len(flat)) if len(flat) else pa.array([b""])
        offsets = np.frombuffer(woven.buffers()[1], np.int32)[woven.offset :][ends]
        fields = np.zeros((rows, 6), ">i4")
        fields[:, 0] = np.where(counts > 0, 20 + np.diff(offsets), 12)
        fields[:, 1] = counts > 0
        fields[:, 2] = flat.null_count > 0
        fields[:, 3] = oid
        fields[:, 4] = counts
        fields[:, 5] = 1
        head = fields.view(np.uint8).reshape(rows, 24)
        keep = np.ones(head.shape, bool)
        keep[counts == 0, 16:] = False  # no dimension, no bounds
        if nulls is not None:
            head[nulls, :4] = 0xFF
            keep[nulls, 4:] = False
        # Sliced offsets do not count from 0; Arrow's layout allows that.
        buffers = [None, pa.py_buffer(offsets), woven.buffers()[2]]
        return [Fixed(head, keep), pa.Array.from_buffers(pa.binary(), rows, buffers)]

    return run


# The table


def family(arrow: pa.DataType) -> str:
    """Return the class of Arrow types that encoders are looked up by."""
    for name, test in FAMILIES.items():
        if test(arrow):
            return name
    return "other"


FAMILIES: Mapping[str, Callable[[pa.DataType], bool]] = {
    "bool": pa.types.is_boolean,
    "int": pa.types.is_integer,
    "float4": pa.types.is_float32,
    "float8": pa.types.is_float64,
    "decimal": pa.types.is_decimal,
    "text": lambda a: (
        pa.types.is_string(a) or pa.types.is_large_string(a) or pa.types.is_string_view(a)
    ),
    "bytes": lambda a: pa.types.is_binary(a) or pa.types.is_fixed_size_binary(a),
    "date": pa.types.is_date32,
    "timestamp": pa.types.is_timestamp,
    "time": pa.types.is_time,
    "duration": pa.types.is_duration,
    "list": pa.types.is_list,
}

ENCODERS: Mapping[tuple[str, str], Encoder] = {
    ("bool", "bool"): boolean,
    ("int", "bool"): zero_or_one,
    **{
        (numbers, name): integer(arrow, big_endian)
        for numbers in ("int", "bool")
        for name, arrow, big_endian in (
            ("int2", pa.int16(), ">i2"),
            ("int4", pa.int32(), ">i4"),
            ("int8", pa.int64(), ">i8"),
            ("oid", pa.uint32(), ">u4"),
        )
    },
    ("int", "numeric"): numeric,
    ("decimal", "numeric"): numeric,
    ("float4", "float4"): floating(pa.float32(), ">f4"),
    ("float4", "float8"): floating(pa.float64(), ">f8"),
    ("float8", "float8"): floating(pa.float64(), ">f8"),
    **{("text", name): data for name in (*TEXT_FORMS, "name")},
    ("text", "jsonb"): jsonb,
    ("text", "uuid"): uuid,
    ("bytes", "uuid"): uuid,
    ("bytes", "bytea"): data,
    ("date", "date"): date,
    ("timestamp", "timestamp"): timestamp,
    ("timestamp", "timestamptz"): timestamp,
    ("time", "time"): time_of_day,
    ("duration", "time"): time_of_day,
    ("duration", "interval"): interval,
    ("int", "bit"): bits,
}

ELEMENT_OIDS: Mapping[str, int] = {
    "bool": 16, "bytea": 17, "int8": 20, "int2": 21, "int4": 23, "text": 25, "json": 114,
    "float4": 700, "float8": 701, "bpchar": 1042, "varchar": 1043, "date": 1082, "time": 1083,
    "timestamp": 1114, "timestamptz": 1184, "interval": 1186, "numeric": 1700, "uuid": 2950,
    "jsonb": 3802,
}  # fmt: skip
"""Built-in types whose arrays are encoded, with their fixed oids (pg_type.dat)."""

TEXTUAL_EXTENSIONS = {None, "citext"}
"""citext's receive function is text's."""


def encoders_for(columns: Sequence[Column]) -> list[Encoder] | None:
    """Return an encoder for each column; None if one of them has no binary form here."""
    encoders = [encoder_for(column) for column in columns]
    return None if any(encoder is None for encoder in encoders) else [e for e in encoders if e]


def encoder_for(column: Column) -> Encoder | None:
    """Return the encoder from a column's Arrow type to its native type; None if there is none."""
    if column.arrow == WIRE:
        return data
    native = base_of(column.type)
    source = family(column.arrow)
    if native.kind is TypeKind.ENUM and source == "text":
        return data
    if native.extension not in TEXTUAL_EXTENSIONS:
        return None
    if native.kind not in (TypeKind.BASE, TypeKind.ARRAY):
        return None
    if source != "list":
        return ENCODERS.get((source, native.name))
    name = native.name.removeprefix("_")
    element = ENCODERS.get((family(column.arrow.value_type), name))
    return array_of(element, ELEMENT_OIDS[name]) if element and name in ELEMENT_OIDS else None
