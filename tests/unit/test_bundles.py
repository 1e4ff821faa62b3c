"""Bundles: every row once, in order, in exactly the size asked for."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams_engine.bundles import ahead, blocks, bundles, pieces

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


def test_rows_of_megabytes_do_not_add_up_to_a_bundle() -> None:
    large = [pa.RecordBatch.from_pydict({"b": [b"x" * (5 << 20)]}) for _ in range(9)]
    found = [batch.num_rows for batch in bundles(large, 500)]
    assert sum(found) == 9 and max(found) <= 4


@given(st.lists(st.integers(0, 40), max_size=30), st.integers(1, 60))
def test_gathered_blocks_hold_every_row_once(sizes: list[int], most: int) -> None:
    total = sum(sizes)
    starts = [sum(sizes[:i]) for i in range(len(sizes))]
    given_ = iter([block(a, n) for a, n in zip(starts, sizes, strict=True)])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("streams_engine.bundles.BLOCK_ROWS", most)
        found = list(blocks(given_))
    assert [n for batch in found for n in batch["n"].to_pylist()] == list(range(total))
    assert all(batch.num_rows >= most for batch in found[:-1])
    assert all(0 < batch.num_rows < most + 40 for batch in found)


def test_gathering_stops_at_bytes() -> None:
    rows = iter([pa.RecordBatch.from_pydict({"b": [b"x" * 700_000] * 2}) for _ in range(6)])
    assert [batch.num_rows for batch in blocks(rows)] == [4, 4, 4]


def test_ahead_gives_every_block_and_the_error() -> None:
    def failing() -> Iterator[pa.RecordBatch]:
        yield block(0, 3)
        yield block(3, 3)
        raise RuntimeError("the source is gone")

    taken = ahead(failing())
    assert next(taken)["n"].to_pylist() == [0, 1, 2]
    assert next(taken)["n"].to_pylist() == [3, 4, 5]
    with pytest.raises(RuntimeError, match="the source is gone"):
        next(taken)
    assert list(ahead(iter(()))) == []


def test_ahead_that_is_left_early_closes_its_source() -> None:
    closed = threading.Event()

    def endless() -> Iterator[pa.RecordBatch]:
        try:
            while True:
                yield block(0, 1)
        finally:
            closed.set()

    before = threading.active_count()
    taken = ahead(endless())
    next(taken)
    taken.close()  # type: ignore[attr-defined]
    assert closed.is_set() and threading.active_count() == before


def test_large_blocks_come_in_pieces_and_others_as_they_are() -> None:
    small, large = block(0, 20_000), block(20_000, 70_000)
    found = list(pieces([small, large]))
    assert found[0] is small
    assert all(piece.num_rows <= 16_384 for piece in found[1:])
    assert [n for piece in found for n in piece["n"].to_pylist()] == list(range(90_000))


def test_who_counts_bundles_takes_the_blocks() -> None:
    whole = [block(0, 7), block(7, 5)]
    assert list(bundles(whole, 3).blocks) == whole
