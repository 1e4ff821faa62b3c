"""Every value can be shown, also those that Python's own types do not hold."""

from __future__ import annotations

import pyarrow as pa
import pytest

from streams_engine.arrow.row_text import NO_DATE, row_texts, value_text


def scalar(number: int, storage: pa.DataType, wanted: pa.DataType) -> pa.Scalar:
    return pa.array([number], storage).view(wanted)[0]


@pytest.mark.parametrize(
    ("days", "text"),
    [
        (0, "1970-01-01"),
        (-719_162, "0001-01-01"),
        (-719_163, "0001-12-31 BC"),
        (-735_160, "0044-03-15 BC"),
        (2_932_897, "10000-01-01"),
        (2**31 - 1, "5881580-07-11"),
        (-(2**31), NO_DATE),
    ],
)
def test_dates(days: int, text: str) -> None:
    assert value_text(scalar(days, pa.int32(), pa.date32())) == text


@pytest.mark.parametrize(
    ("micro", "zone", "text"),
    [
        (0, None, "1970-01-01 00:00:00.000000"),
        (1, "UTC", "1970-01-01 00:00:00.000001+00:00"),
        (-719_163 * 86_400_000_000, "UTC", "0001-12-31 00:00:00.000000+00:00 BC"),
        (2**63 - 1, None, "294247-01-10 04:00:54.775807"),
        (-(2**63), "UTC", NO_DATE),
    ],
)
def test_timestamps(micro: int, zone: str | None, text: str) -> None:
    assert value_text(scalar(micro, pa.int64(), pa.timestamp("us", zone))) == text


def test_nanoseconds() -> None:
    assert value_text(scalar(1, pa.int64(), pa.timestamp("ns"))) == "1970-01-01 00:00:00.000000001"


def test_other_values() -> None:
    row = pa.RecordBatch.from_pydict({"a": [1], "b": [b"\xff"], "c": ["x"], "d": [None]})
    assert row_texts(row) == {"a": "1", "b": "ff", "c": "x", "d": None}


@pytest.mark.parametrize("kind", [pa.time64("us"), pa.duration("us"), pa.time64("ns")])
def test_numbers_that_are_no_time(kind: pa.DataType) -> None:
    assert value_text(scalar(2**63 - 1, pa.int64(), kind))
