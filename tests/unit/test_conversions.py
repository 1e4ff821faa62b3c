"""Conversions of values: exact, or the row is marked; never a guess."""

from __future__ import annotations

import datetime as dt

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams_engine.model import Column, Dialect, NativeType
from streams_engine.schema.mapping.tables import ColumnMapping
from streams_engine.schema.types.conversions import CONVERSIONS, Converter
from streams_engine.schema.types.mysql import INVALID_DATE, INVALID_TIMESTAMP
from streams_engine.schema.types.postgres import postgres_type


def mapping(
    kind: str, arrow: pa.DataType, target: str, arrives: pa.DataType, convert: str | None,
    *, nullable: bool = True,
) -> ColumnMapping:  # fmt: skip
    return ColumnMapping(
        Column("a", NativeType(Dialect.MYSQL, kind, kind), arrow),
        Column("b", postgres_type(target), arrives, nullable=nullable),
        convert,
    )


def moments(arrow: pa.DataType, values: list[int | None]) -> pa.Array:
    storage = pa.int32() if pa.types.is_date32(arrow) else pa.int64()
    return pa.array(values, storage).view(arrow)


@pytest.mark.parametrize("arrow", [pa.int8(), pa.uint8(), pa.int64(), pa.uint64()])
@given(data=st.data())
def test_boolean_marks_all_but_0_and_1(arrow: pa.DataType, data: st.DataObject) -> None:
    width = arrow.bit_width
    low = 0 if pa.types.is_unsigned_integer(arrow) else -(1 << width - 1)
    high = (1 << width) - 1 if low == 0 else (1 << width - 1) - 1
    some = st.none() | st.sampled_from([0, 1, 2, low, high]) | st.integers(low, high)
    values = data.draw(st.lists(some, max_size=10))
    found, bad = CONVERSIONS["boolean"](pa.array(values, arrow), pa.bool_())
    odd = [v is not None and v not in (0, 1) for v in values]
    assert (bad is None and not any(odd)) or (bad is not None and bad.tolist() == odd)
    for value, result in zip(values, found.to_pylist(), strict=True):
        if value in (0, 1) or value is None:
            assert result is (None if value is None else bool(value))


LABELS = pa.list_(pa.string())
labels = st.text(st.characters(exclude_categories=["Cs"], exclude_characters=","), min_size=1)


@given(st.lists(st.none() | st.lists(labels, max_size=4), max_size=10))
def test_labels_of_a_set(sets: list[list[str] | None]) -> None:
    texts = pa.array([None if s is None else ",".join(s) for s in sets], pa.string())
    found, bad = CONVERSIONS["labels"](texts, LABELS)
    assert bad is None
    assert found.to_pylist() == sets
    assert found.type == pa.list_(pa.string())


@pytest.mark.parametrize(
    ("arrow", "lowest"),
    [
        (pa.date32(), INVALID_DATE),
        (pa.timestamp("us"), INVALID_TIMESTAMP),
        (pa.timestamp("us", "UTC"), INVALID_TIMESTAMP),
    ],
)
def test_zero_dates_by_policy(arrow: pa.DataType, lowest: int) -> None:
    batch = pa.RecordBatch.from_arrays([moments(arrow, [lowest, None, 0, 5, lowest])], names=["a"])
    plain = mapping("date", arrow, "date", arrow, "date")
    found, bad, replaced = Converter([plain], "null")(batch)
    assert found.schema.names == ["b"] and not bad and replaced == {"a": 2}
    assert found.column(0).is_null().to_pylist() == [True, True, False, False, True]
    assert found.column(0)[3] == batch.column(0)[3]

    strict = mapping("date", arrow, "date", arrow, "date", nullable=False)
    for columns, policy in (([plain], "error"), ([strict], "null")):
        _, bad, replaced = Converter(columns, policy)(batch)
        assert [b.mask.tolist() for b in bad] == [[True, False, False, False, True]]
        assert bad[0].column == "a" and not replaced


def test_what_needs_no_conversion_is_the_same_memory() -> None:
    batch = pa.RecordBatch.from_pydict({"a": [1, 2]})
    found, bad, replaced = Converter(
        [mapping("bigint", pa.int64(), "bigint", pa.int64(), None)], "null"
    )(batch)
    assert found.column(0).buffers()[1].address == batch.column(0).buffers()[1].address
    assert not bad and not replaced


def test_a_slice_is_converted_as_its_own_rows() -> None:
    days = moments(pa.date32(), [INVALID_DATE, 0, INVALID_DATE, None]).slice(1, 2)
    found, _ = CONVERSIONS["date"](days, days.type)
    assert found.to_pylist() == [dt.date(1970, 1, 1), None]
    texts = pa.array(["x", "", None, "a,b"]).slice(1)
    assert CONVERSIONS["labels"](texts, LABELS)[0].to_pylist() == [[], None, ["a", "b"]]


def test_a_batch_without_columns_keeps_its_rows() -> None:
    batch = pa.RecordBatch.from_struct_array(pa.array([{}, {}], pa.struct([])))
    assert Converter([], "null")(batch)[0].num_rows == 2
