"""COPY BINARY, read back by a reader of its own that knows the format and not the encoder."""

from __future__ import annotations

import struct
import uuid
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams_engine.adapters.postgres.sink.copy_binary import HEADER, TRAILER, encode, encoders_for
from streams_engine.errors import RowRejected
from streams_engine.model import Column, Dialect, NativeType, TypeKind
from streams_engine.schema.types.postgres import WIRE, postgres_type

DAY = 86_400_000_000
EPOCH_DAYS = 10_957
EPOCH = EPOCH_DAYS * DAY


def column(text: str, arrow: pa.DataType, name: str = "v") -> Column:
    return Column(name, postgres_type(text), arrow)


def tuples(raw: bytes, count: int) -> list[list[bytes | None]]:
    """The fields of every tuple."""
    found: list[list[bytes | None]] = []
    at = 0
    while at < len(raw):
        (fields,) = struct.unpack_from(">h", raw, at)
        assert fields == count
        at += 2
        row: list[bytes | None] = []
        for _ in range(fields):
            (length,) = struct.unpack_from(">i", raw, at)
            at += 4
            assert length >= -1
            row.append(None if length < 0 else raw[at : at + length])
            at += max(length, 0)
        found.append(row)
    assert at == len(raw)
    return found


def encoded(values: pa.Array, of: Column) -> list[bytes | None]:
    batch = pa.RecordBatch.from_arrays([values], names=[of.name])
    encoders = encoders_for([of])
    assert encoders is not None
    return [row[0] for row in tuples(bytes(encode(batch, encoders, [of])), 1)]


def unpacked(form: str) -> Callable[[bytes], Any]:
    return lambda raw: struct.unpack(form, raw)[0]


def read_numeric(raw: bytes) -> Decimal:
    count, weight, sign, scale = struct.unpack_from(">hhHH", raw)
    digits = struct.unpack_from(f">{count}h", raw, 8)
    assert len(raw) == 8 + 2 * count and sign in (0, 0x4000)
    assert all(0 <= digit < 10_000 for digit in digits)
    value = sum(digit * 10_000 ** (count - 1 - i) for i, digit in enumerate(digits))
    whole = Decimal(value).scaleb(4 * (weight - count + 1))
    return (-whole if sign else whole).quantize(Decimal(1).scaleb(-scale))


def read_bits(raw: bytes) -> tuple[int, int]:
    (width,) = struct.unpack_from(">i", raw)
    assert len(raw) == 4 + -(-width // 8)
    return width, int.from_bytes(raw[4:], "big") >> (-width % 8)


def read_texts(raw: bytes) -> list[str | None]:
    dimensions, has_null, oid = struct.unpack_from(">iii", raw)
    assert oid == 25
    if dimensions == 0:
        assert len(raw) == 12
        return []
    count, lower = struct.unpack_from(">ii", raw, 12)
    assert (dimensions, lower) == (1, 1)
    at, found = 20, []
    for _ in range(count):
        (length,) = struct.unpack_from(">i", raw, at)
        at += 4
        found.append(None if length < 0 else raw[at : at + length].decode())
        at += max(length, 0)
    assert at == len(raw)
    assert not (None in found and not has_null)
    return found


def integers(width: int, *, signed: bool = True) -> st.SearchStrategy[int]:
    low, high = (-(1 << width - 1), (1 << width - 1) - 1) if signed else (0, (1 << width) - 1)
    return st.integers(low, high) | st.sampled_from([low, high, 0])


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30) | st.sampled_from(
    ["", "\\N", "\t\n\r\\", "NULL", '"', "{}", "\U0001f680"]
)
moments = st.integers(-(1 << 62), 1 << 62) | st.sampled_from(
    [0, -1, EPOCH, -62_135_596_800_000_000]
)

KINDS: dict[str, tuple[Column, st.SearchStrategy[Any], Callable[[bytes], Any]]] = {
    "bool": (column("bool", pa.bool_()), st.booleans(), unpacked(">?")),
    "int2 of int8": (column("int2", pa.int8()), integers(8), unpacked(">h")),
    "int2 of uint8": (column("int2", pa.uint8()), integers(8, signed=False), unpacked(">h")),
    "int2": (column("int2", pa.int16()), integers(16), unpacked(">h")),
    "int4": (column("int4", pa.int32()), integers(32), unpacked(">i")),
    "int4 of uint16": (column("int4", pa.uint16()), integers(16, signed=False), unpacked(">i")),
    "int8": (column("int8", pa.int64()), integers(64), unpacked(">q")),
    "int8 of uint32": (column("int8", pa.uint32()), integers(32, signed=False), unpacked(">q")),
    "int8 of bool": (column("int8", pa.bool_()), st.booleans(), unpacked(">q")),
    "float4": (column("float4", pa.float32()), st.floats(width=32), unpacked(">f")),
    "float8": (column("float8", pa.float64()), st.floats(), unpacked(">d")),
    "float8 of float4": (column("float8", pa.float32()), st.floats(width=32), unpacked(">d")),
    "text": (column("text", pa.string()), texts, bytes.decode),
    "bytea": (column("bytea", pa.binary()), st.binary(max_size=30), bytes),
    "wire": (column("interval", WIRE), st.binary(max_size=30), bytes),
    "jsonb": (column("jsonb", pa.string()), texts, lambda raw: raw[1:].decode()),
    "uuid": (column("uuid", pa.string()), st.uuids().map(str),
             lambda raw: str(uuid.UUID(bytes=raw))),
    "numeric of uint64": (
        column("numeric(20)", pa.uint64()), integers(64, signed=False), read_numeric,
    ),
    "numeric of int64": (column("numeric(20)", pa.int64()), integers(64), read_numeric),
    "texts": (
        column("text[]", pa.list_(pa.string())), st.lists(st.none() | texts, max_size=5),
        read_texts,
    ),
}  # fmt: skip


def same(mine: Any, theirs: Any) -> bool:
    if isinstance(mine, float):
        return struct.pack(">d", mine) == struct.pack(">d", theirs) or (mine != mine != theirs)
    return type(mine) in (bool, type(theirs), int) and mine == theirs


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
def test_values_come_back(kind: str, data: st.DataObject) -> None:
    of, values, read = KINDS[kind]
    wanted = data.draw(st.lists(st.none() | values, max_size=12))
    before = data.draw(st.lists(st.none() | values, max_size=3))
    array = pa.array([*before, *wanted, *before], of.arrow).slice(len(before), len(wanted))
    found = [None if raw is None else read(raw) for raw in encoded(array, of)]
    assert len(found) == len(wanted)
    for mine, theirs in zip(wanted, found, strict=True):
        assert (mine is None) == (theirs is None)
        assert mine is None or same(mine, theirs), (mine, theirs)


@given(data=st.data())
def test_decimals_of_every_precision(data: st.DataObject) -> None:
    precision = data.draw(st.integers(1, 76))
    scale = data.draw(st.integers(0, min(precision, 38)))
    arrow = pa.decimal128(precision, scale) if precision <= 38 else pa.decimal256(precision, scale)
    limit = 10**precision - 1
    units = st.integers(-limit, limit) | st.sampled_from([limit, -limit, 0, 1, -1])
    wanted = data.draw(st.lists(st.none() | units, max_size=8))
    made = pa.array(
        [None if u is None else exact(u, scale) for u in [7 % (limit + 1), *wanted]], arrow
    )
    of = Column("v", postgres_type("numeric"), arrow)
    found = encoded(made.slice(1), of)
    assert [None if raw is None else read_unscaled(raw, scale) for raw in found] == wanted


def exact(units: int, scale: int) -> Decimal:
    sign, digits, _ = Decimal(units).as_tuple()
    return Decimal((sign, digits, -scale))


def read_unscaled(raw: bytes, scale: int) -> int:
    """The value times 10 to the scale, by integers alone."""
    count, weight, sign, said = struct.unpack_from(">hhHH", raw)
    assert said == scale
    digits = struct.unpack_from(f">{count}h", raw, 8)
    value = sum(digit * 10_000 ** (count - 1 - i) for i, digit in enumerate(digits))
    power = 4 * (weight - count + 1) + scale
    value, rest = (value * 10**power, 0) if power >= 0 else divmod(value, 10**-power)
    assert rest == 0
    return -value if sign else value


@given(st.lists(st.none() | st.integers(-700_000, 2_900_000)))
def test_dates(days: list[int | None]) -> None:
    array = pa.array(days, pa.int32()).view(pa.date32())
    found = encoded(array, column("date", pa.date32()))
    assert [None if r is None else unpacked(">i")(r) + EPOCH_DAYS for r in found] == days


@pytest.mark.parametrize(
    ("text", "arrow"),
    [("timestamp", pa.timestamp("us")), ("timestamptz", pa.timestamp("us", "UTC"))],
)
@given(micro=st.lists(st.none() | moments))
def test_moments(text: str, arrow: pa.DataType, micro: list[int | None]) -> None:
    found = encoded(pa.array(micro, pa.int64()).view(arrow), column(text, arrow))
    assert [None if r is None else unpacked(">q")(r) + EPOCH for r in found] == micro


@given(st.lists(st.none() | st.integers(0, DAY)))
def test_times_of_day_up_to_24_hours(micro: list[int | None]) -> None:
    array = pa.array(micro, pa.int64()).view(pa.duration("us"))
    found = encoded(array, column("time", array.type))
    assert [None if r is None else unpacked(">q")(r) for r in found] == micro


@given(st.lists(st.none() | integers(64)))
def test_intervals(micro: list[int | None]) -> None:
    array = pa.array(micro, pa.int64()).view(pa.duration("us"))
    found = encoded(array, column("interval", array.type))
    assert [None if r is None else struct.unpack(">qii", r) for r in found] == [
        None if m is None else (m, 0, 0) for m in micro
    ]


@given(data=st.data(), width=st.integers(1, 64))
def test_bits_of_every_width(data: st.DataObject, width: int) -> None:
    values = data.draw(st.lists(st.none() | integers(width, signed=False), max_size=8))
    found = encoded(pa.array(values, pa.uint64()), column(f"bit({width})", pa.uint64()))
    assert [None if r is None else read_bits(r) for r in found] == [
        None if v is None else (width, v) for v in values
    ]


@given(data=st.data(), rows=st.integers(0, 20), start=st.integers(0, 5))
def test_columns_woven_into_rows(data: st.DataObject, rows: int, start: int) -> None:
    names = data.draw(st.lists(st.sampled_from(list(KINDS)), min_size=1, max_size=6))
    columns = [KINDS[name][0] for name in names]
    values = [
        data.draw(
            st.lists(st.none() | KINDS[name][1], min_size=rows + start, max_size=rows + start)
        )
        for name in names
    ]
    arrays = [pa.array(v, c.arrow) for v, c in zip(values, columns, strict=True)]
    batch = pa.RecordBatch.from_arrays(arrays, names=[str(i) for i in range(len(names))])
    encoders = encoders_for(columns)
    assert encoders is not None
    found = tuples(bytes(encode(batch.slice(start), encoders, columns)), len(names))
    assert len(found) == rows
    for index, row in enumerate(found):
        for name, wanted, raw in zip(names, values, row, strict=True):
            mine = wanted[start + index]
            assert (mine is None) == (raw is None)
            assert raw is None or same(mine, KINDS[name][2](raw))


@pytest.mark.parametrize(
    ("text", "array"),
    [
        ("int2", pa.array([40_000], pa.int32())),
        ("int2", pa.array([1, None, -40_000], pa.int64())),
        ("int8", pa.array([1 << 63], pa.uint64())),
        ("time", pa.array([DAY + 1], pa.duration("us"))),
        ("time", pa.array([-1], pa.duration("us"))),
        ("bit(3)", pa.array([8], pa.uint64())),
        ("bit(3)", pa.array([-1], pa.int64())),
        ("uuid", pa.array(["not a uuid"])),
        ("uuid", pa.array(["g" * 32])),
        ("uuid", pa.array(["0" * 31 + " "])),
        ("timestamp", pa.array([1], pa.timestamp("ns"))),
        ("timestamp", pa.array([-(1 << 63)], pa.timestamp("us"))),
        ("date", pa.array([-(1 << 31)], pa.int32()).view(pa.date32())),
    ],
)
def test_what_has_no_place_is_refused_by_name(text: str, array: pa.Array) -> None:
    with pytest.raises(RowRejected) as caught:
        encoded(array, column(text, array.type, "price"))
    assert "price" in str(caught.value) and text in str(caught.value)
    assert caught.value.details["column"] == "price"


def test_a_time_outside_a_day_is_found_by_a_condition() -> None:
    long = pa.array([90_000_000_000], pa.duration("us"))
    with pytest.raises(RowRejected) as caught:
        encoded(long, column("time", long.type, "dur"))
    told = str(caught.value.remedy)
    assert "WHERE dur NOT BETWEEN '00:00:00' AND '24:00:00'" in told and "quarantine" in told


def test_no_encoder_rounds() -> None:
    for text, arrow in (
        ("float4", pa.float64()),
        ("int4", pa.float64()),
        ("date", pa.timestamp("us")),
    ):
        assert encoders_for([column(text, arrow)]) is None


def test_domain_and_enum() -> None:
    base = postgres_type("int4")
    domain = NativeType(Dialect.POSTGRES, "year", "year", kind=TypeKind.DOMAIN, element=base)
    enum = NativeType(Dialect.POSTGRES, "mood", "mood", kind=TypeKind.ENUM, labels=("a",))
    assert encoded(pa.array([5]), Column("v", domain, pa.int64())) == [struct.pack(">i", 5)]
    assert encoded(pa.array(["a", None]), Column("v", enum, pa.string())) == [b"a", None]


def test_no_rows_and_no_columns() -> None:
    empty = pa.RecordBatch.from_struct_array(pa.array([{}, {}], pa.struct([])))
    assert bytes(encode(empty, [], [])) == b"\0\0" * 2
    assert (HEADER[:11], TRAILER) == (b"PGCOPY\n\xff\r\n\0", b"\xff\xff")
