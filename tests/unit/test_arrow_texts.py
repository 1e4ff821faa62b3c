"""Values of files as `verify` compares them: what is no value of the type is shown, no crash."""

from __future__ import annotations

import pyarrow as pa
import pytest

from streams_engine.model import Dialect, NativeType
from streams_engine.schema.types.arrow_texts import text_of, values_of
from streams_engine.schema.types.canonical import CanonicalColumn, CanonicalType


def shown(value: object, form: CanonicalType, type_name: str = "string") -> str:
    native = NativeType(Dialect.FILES, type_name, "float" if form == "float" else "string")
    return text_of(CanonicalColumn("v", native, form))(value)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("2023-01-01T12:30:45+01:00", "2023-01-01 11:30:45"),
        ("2023-01-01T12:30:45Z", "2023-01-01 12:30:45"),
        ("+010000-01-01T00:59:59.5+00:00", "10000-01-01 00:59:59.5"),
        ("+000000-12-31T23:59:59", "0001-12-31 23:59:59 BC"),
        ("0000-12-31", "0001-12-31 BC"),
        ("-003003-10-19T18:23:54.120000+00:00", "3004-10-19 18:23:54.120000 BC"),
        ("-4712-01-01", "4713-01-01 BC"),
        ("-043-03-15", "0044-03-15 BC"),
        ("0000-00-00", "0000-00-00"),
        ("24:00:00+15:59", "24:00:00+15:59"),
        ("13:00:00-05:30", "13:00:00-05:30"),
        ("2023-02-31 12:30:45+01:00", "2023-02-31 12:30:45+01:00"),
        ("0001-01-01 00:00:00+01:00", "0001-01-01 00:00:00+01:00"),
    ],
)
def test_only_instants_are_moved_to_utc(value: str, text: str) -> None:
    assert shown(value, CanonicalType.MOMENT) == text


def test_a_text_in_place_of_a_number_is_shown() -> None:
    assert shown("0.1", CanonicalType.FLOAT, "double") == "0.1"
    assert shown("0.1", CanonicalType.FLOAT, "float") == "0.10000000149011612"
    assert shown("x", CanonicalType.FLOAT, "double") == "x"
    assert shown("x", CanonicalType.FLOAT, "float") == "x"


def test_durations_are_shown_as_servers_print_them() -> None:
    counts = pa.array([0, 86_403_000_005, -1, None, 3_600_000_000, -90_500_000], pa.duration("us"))
    texts = [
        "00:00:00",
        "24:00:03.000005",
        "-00:00:00.000001",
        None,
        "01:00:00",
        "-00:01:30.500000",
    ]
    assert values_of(counts) == texts
    assert values_of(counts.slice(1, 2)) == texts[1:3]
    assert values_of(pa.array([90], pa.duration("s"))) == ["00:01:30"]
