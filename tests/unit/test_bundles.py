"""Bundles: every row once, in order, in exactly the size asked for."""

from __future__ import annotations

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from streams_engine.bundles import bundles

SCHEMA = pa.schema([("n", pa.int64()), ("s", pa.string())])


def block(start: int, rows: int) -> pa.RecordBatch:
    numbers = list(range(start, start + rows))
    return pa.RecordBatch.from_pydict(
        {"n": numbers, "s": [None if n % 3 == 0 else str(n) for n in numbers]}, schema=SCHEMA
    )


@given(st.lists(st.integers(0, 40), max_size=12), st.integers(1, 50))
def test_every_row_once_in_exact_sizes(sizes: list[int], rows: int) -> None:
    total = sum(sizes)
    starts = [sum(sizes[:i]) for i in range(len(sizes))]
    found = list(bundles((block(a, n) for a, n in zip(starts, sizes, strict=True)), rows))
    wanted = [rows] * (total // rows) + ([total % rows] if total % rows else [])
    assert [batch.num_rows for batch in found] == wanted
    assert [n for batch in found for n in batch["n"].to_pylist()] == list(range(total))
    assert all(batch.schema == SCHEMA for batch in found)
    for batch in found:
        batch.validate(full=True)


@given(st.lists(st.integers(0, 9), max_size=6), st.integers(1, 10))
def test_rows_without_columns_are_counted(sizes: list[int], rows: int) -> None:
    empty = [pa.RecordBatch.from_struct_array(pa.array([{}] * n, pa.struct([]))) for n in sizes]
    assert sum(batch.num_rows for batch in bundles(empty, rows)) == sum(sizes)


def test_a_bundle_inside_one_block_is_no_copy() -> None:
    whole = block(0, 100)
    first, second = bundles([whole], 50)
    addresses = [b.column(0).buffers()[1].address for b in (whole, first, second)]
    assert len(set(addresses)) == 1


def test_a_bundle_is_given_before_the_next_block_is_asked_for() -> None:
    asked: list[int] = []

    def source() -> object:
        for start in (0, 10, 20):
            asked.append(start)
            yield block(start, 10)

    taken = bundles(source(), 10)  # type: ignore[arg-type]
    next(taken)
    assert asked == [0]
    taken.close()  # type: ignore[attr-defined]
