"""Values as texts: what is written reads back equal, and what has no exact text is refused."""

from __future__ import annotations

import datetime as dt
import math
import struct
from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams_engine.adapters.files.formats.text_values import parse, render
from streams_engine.errors import RowRejected

FORMS = ("csv", "jsonl")
I64 = st.integers(-(2**63) + 1, 2**63 - 1)


def back(array: pa.Array) -> None:
    for form in FORMS:
        for part in (array, array.slice(1), array.slice(0, 0)):
            assert parse(render(part, form=form), array.type, form=form).equals(part)


def rows(values: st.SearchStrategy) -> st.SearchStrategy:
    return st.lists(st.one_of(st.none(), values), max_size=12)


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_whatever_is_rendered_reads_back_equal(data: st.DataObject) -> None:
    storage = {
        pa.int64(): st.integers(-(2**63), 2**63 - 1),
        pa.uint64(): st.integers(0, 2**64 - 1),
        pa.int8(): st.integers(-128, 127),
        pa.bool_(): st.booleans(),
        pa.string(): st.text(),
        pa.binary(): st.binary(),
        pa.decimal128(38, 9): st.decimals(-(10**28), 10**28, places=9),
        pa.decimal256(76, 2): st.decimals(-(10**25), 10**25, places=2),
    }
    for arrow, values in storage.items():
        back(pa.array(data.draw(rows(values)), arrow))
    for arrow in (pa.timestamp("us"), pa.timestamp("us", "UTC"), pa.duration("us")):
        back(pa.array(data.draw(rows(I64)), pa.int64()).view(arrow))
    back(pa.array(data.draw(rows(st.integers(-(2**31) + 1, 2**31 - 1))), pa.int32()).view("date32"))
    clock = st.integers(0, 86_400_000_000 - 1)
    back(pa.array(data.draw(rows(clock)), pa.int64()).view(pa.time64("us")))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 2**64 - 1), max_size=12))
def test_every_float_reads_back_bit_for_bit(bits: list[int]) -> None:
    values = [struct.unpack("<d", struct.pack("<Q", b))[0] for b in bits]
    array = pa.array([v for v in values if not math.isnan(v)], pa.float64())
    got = parse(render(array, form="csv"), pa.float64(), form="csv")
    assert got.view(pa.int64()).equals(array.view(pa.int64()))


@pytest.mark.parametrize(
    "array, texts",
    [
        (pa.array([1.0, 0.1, math.nan, math.inf, -math.inf]),
         ["1", "0.1", "NaN", "Infinity", "-Infinity"]),
        (pa.array([Decimal("0.0000001"), Decimal("1.5")], pa.decimal128(20, 7)),
         ["0.0000001", "1.5000000"]),
        (pa.array([dt.datetime(2020, 1, 2, 3, 4, 5), dt.datetime(1, 1, 1, 0, 0, 0, 120)]),
         ["2020-01-02T03:04:05", "0001-01-01T00:00:00.000120"]),
        (pa.array([0], pa.timestamp("us", "UTC")), ["1970-01-01T00:00:00+00:00"]),
        (pa.array([-719_163, 2_932_897], pa.int32()).view(pa.date32()),
         ["+000000-12-31", "+010000-01-01"]),
        (pa.array([-3_020_399_000_000, 1], pa.duration("us")), ["-838:59:59", "00:00:00.000001"]),
        (pa.array([b"\x00\xff", b""]), ["00ff", ""]),
        (pa.array([True, None]), ["true", None]),
    ],
)  # fmt: skip
def test_the_forms(array: pa.Array, texts: list[str | None]) -> None:
    assert render(array, form="csv").to_pylist() == texts


def test_usual_spellings_are_read() -> None:
    spellings = ["2020-01-01T12:00:00Z", "2020-01-01 13:30:00.0+01:30", "2020-01-01 07:00:00-05"]
    got = parse(pa.array(spellings), pa.timestamp("us", "UTC"), form="csv")
    assert set(got.to_pylist()) == {dt.datetime(2020, 1, 1, 12, tzinfo=dt.UTC)}
    assert render(pa.array([b"\x00\xff"]), form="jsonl").to_pylist() == ["AP8="]


@pytest.mark.parametrize(
    "text, arrow",
    [
        ("1e400", pa.float64()),
        ("1.234", pa.decimal128(5, 2)),
        ("300", pa.int8()),
        ("0x1F", pa.int64()),
        (" 1", pa.int64()),
        ("2020-02-30", pa.date32()),
        ("+012345-02-30", pa.date32()),
        ("2020-01-01T00:00:00", pa.timestamp("us", "UTC")),
        ("2020-01-01T00:00:00Z", pa.timestamp("us")),
        ("2020-01-01T00:00:00.1234567", pa.timestamp("us")),
        ("24:00:00", pa.time64("us")),
        ("2:61:00", pa.duration("us")),
        ("0", pa.bool_()),
        ("abc", pa.binary()),
        ("1\n", pa.int64()),
    ],
)
def test_what_is_not_exact_is_refused_without_its_value(text: str, arrow: pa.DataType) -> None:
    with pytest.raises(RowRejected) as caught:
        parse(pa.array([text]), arrow, form="csv")
    assert text not in str(caught.value) or len(text) < 4


def test_the_storage_minimum_stands_for_no_date() -> None:
    for arrow, lowest in ((pa.date32(), -(2**31)), (pa.timestamp("us"), -(2**63))):
        storage = pa.int32() if arrow == pa.date32() else pa.int64()
        with pytest.raises(RowRejected):
            render(pa.array([lowest], storage).view(arrow), form="csv")
