"""Text COPY without a server: read back by the format's own rules."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams_engine.adapters.postgres.sink import copy_text
from streams_engine.errors import RowRejected
from streams_engine.model import Column, Dialect, NativeType, TypeKind

UNESCAPES = {"\\": "\\", "t": "\t", "n": "\n", "r": "\r"}


def column(name: str, arrow: pa.DataType, *args: int) -> Column:
    kind = TypeKind.ARRAY if name.startswith("_") else TypeKind.BASE
    return Column("c", NativeType(Dialect.POSTGRES, name, name, args, kind=kind), arrow)


def unescaped(field: str) -> str | None:
    if field == "\\N":
        return None
    letters = iter(field)
    return "".join(UNESCAPES[next(letters)] if c == "\\" else c for c in letters)


def read(stream: bytes) -> list[list[str | None]]:
    lines = stream.decode().split("\n")
    assert lines.pop() == ""
    return [[unescaped(field) for field in line.split("\t")] for line in lines]


def shown(values: pa.Array, name: str, *args: int) -> list[str | None]:
    target = column(name, values.type, *args)
    batch = pa.RecordBatch.from_arrays([values], ["c"])
    return [row[0] for row in read(bytes(copy_text.encode(batch, [target])))]


TEXTS = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0")
    | st.sampled_from("\\\t\n\rN"),
    max_size=12,
)


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.tuples(st.none() | TEXTS, st.none() | TEXTS), max_size=10),
    st.integers(0, 3),
)
def test_text_null_and_empty_are_told_apart(
    pairs: list[tuple[str | None, str | None]], skip: int
) -> None:
    columns = [column("inet", pa.string()), column("text", pa.large_string())]
    arrays = [pa.array([p[i] for p in pairs], c.arrow)[skip:] for i, c in enumerate(columns)]
    batch = pa.RecordBatch.from_arrays(arrays, ["a", "b"])
    assert read(bytes(copy_text.encode(batch, columns))) == [list(p) for p in pairs[skip:]]


def test_the_classic() -> None:
    values = pa.array(["", None, "NULL", "\\N", "\\.", "\\"])
    assert shown(values, "text") == ["", None, "NULL", "\\N", "\\.", "\\"]


@settings(deadline=None, max_examples=50)
@given(st.lists(st.none() | st.binary(max_size=9), min_size=1, max_size=9))
def test_bytes_are_hex(values: list[bytes | None]) -> None:
    wanted = [None if v is None else "\\x" + v.hex() for v in values]
    assert shown(pa.array(values, pa.binary()), "bytea") == wanted
    assert shown(pa.array(values, pa.binary())[1:], "bytea") == wanted[1:]


@settings(deadline=None, max_examples=50)
@given(st.lists(st.none() | st.floats(), max_size=9))
def test_floats_read_back_equal(values: list[float | None]) -> None:
    back = [
        None if t is None else float(t) for t in shown(pa.array(values, pa.float64()), "float8")
    ]
    assert [repr(v) for v in back] == [repr(v) for v in values]


@pytest.mark.parametrize(
    ("values", "name", "args", "wanted"),
    [
        (pa.array([True, None, False]), "bool", (), ["true", None, "false"]),
        (pa.array([True, None]), "int4", (), ["1", None]),
        (pa.array([5, None], pa.uint64()), "bit", (4,), ["0101", None]),
        (pa.array([2**64 - 1], pa.uint64()), "bit", (64,), ["1" * 64]),
        (pa.array([0, None, 2_932_897, -719_163], pa.date32()), "date", (),
         ["1970-01-01", None, "J5373485", "J1721425"]),
        (pa.array([0, None, 253_402_300_800_000_001], pa.timestamp("us")), "timestamp", (),
         ["1970-01-01 00:00:00.000000", None, "J5373485 00:00:00.000001"]),
        (pa.array([1], pa.timestamp("s", "UTC")), "timestamptz", (),
         ["1970-01-01 00:00:01.000000+00"]),
        (pa.array([0, 86_400_000_000, None], pa.duration("us")), "time", (),
         ["00:00:00.000000", "24:00:00", None]),
        (pa.array([timedelta(microseconds=-1), None]), "interval", (),
         ["-0.000001 seconds", None]),
        (pa.array([["a", None, 'q"\\'], [], None, ["", "NULL"]]), "_text", (),
         ['{"a",NULL,"q\\"\\\\"}', "{}", None, '{"","NULL"}']),
        (pa.array([[b"\x01"]]), "_bytea", (), ['{"\\\\x01"}']),
        (pa.array([b"\x01" * 16]), "uuid", (), ["01" * 16]),
    ],
)  # fmt: skip
def test_each_family(values: pa.Array, name: str, args: tuple[int, ...], wanted: list[Any]) -> None:
    assert shown(values, name, *args) == wanted


@pytest.mark.parametrize(
    ("values", "name", "args"),
    [
        (pa.array(["a\0b"]), "text", ()),
        (pa.array([["a\0b"]]), "_text", ()),
        (pa.array([86_400_000_001], pa.duration("us")), "time", ()),
        (pa.array([1], pa.timestamp("ns")), "timestamp", ()),
        (pa.array([1], pa.time64("ns")), "time", ()),
        (pa.array([b"x"], pa.large_binary()), "inet", ()),
        (pa.array([b"x"]), "text", ()),
        (pa.array([4], pa.uint64()), "bit", (2,)),
    ],
)
def test_what_has_no_text_is_refused_by_column(
    values: pa.Array, name: str, args: tuple[int, ...]
) -> None:
    with pytest.raises(RowRejected) as caught:
        shown(values, name, *args)
    assert caught.value.details["column"] == "c"


def test_no_columns_and_a_large_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    batch = pa.RecordBatch.from_struct_array(pa.array([{}] * 3, pa.struct([])))
    assert copy_text.encode(batch, []) == b"\n\n\n"
    values = pa.array([f"text {i}" if i % 7 else None for i in range(1000)])
    whole = shown(values, "text")
    monkeypatch.setattr(copy_text, "MOST_BYTES", 500)
    assert shown(values, "text") == whole


def test_elements_of_box_are_separated_by_semicolons() -> None:
    """pg_type.typdelim; a comma would be a part of the box."""
    values = pa.array([["(3,4),(1,2)", None, "(1,1),(0,0)"], [], None], pa.list_(pa.string()))
    assert shown(values, "_box") == ['{"(3,4),(1,2)";NULL;"(1,1),(0,0)"}', "{}", None]
