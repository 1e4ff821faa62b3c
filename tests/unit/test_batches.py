"""Bundles: every row once, in order, in exactly the size asked for."""

from __future__ import annotations

import threading
from collections.abc import Generator

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams_engine.arrow.batches import coalesced, prefetch, split_large

SCHEMA = pa.schema([("n", pa.int64()), ("s", pa.string())])


def block(start: int, rows: int) -> pa.RecordBatch:
    numbers = list(range(start, start + rows))
    return pa.RecordBatch.from_pydict(
        {"n": numbers, "s": [None if n % 3 == 0 else str(n) for n in numbers]}, schema=SCHEMA
    )


@given(st.lists(st.integers(0, 40), max_size=30), st.integers(1, 60))
def test_gathered_blocks_hold_every_row_once(sizes: list[int], most: int) -> None:
    total = sum(sizes)
    starts = [sum(sizes[:i]) for i in range(len(sizes))]
    given_ = iter([block(a, n) for a, n in zip(starts, sizes, strict=True)])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("streams_engine.arrow.batches.LEAST_ROWS", most)
        found = list(coalesced(given_))
    assert [n for batch in found for n in batch["n"].to_pylist()] == list(range(total))
    assert all(batch.num_rows >= most for batch in found[:-1])
    assert all(0 < batch.num_rows < most + 40 for batch in found)


def test_gathering_stops_at_bytes() -> None:
    rows = iter([pa.RecordBatch.from_pydict({"b": [b"x" * 350_000] * 2}) for _ in range(6)])
    assert [batch.num_rows for batch in coalesced(rows)] == [4, 4, 4]


def test_a_block_that_is_enough_is_not_copied() -> None:
    enough = pa.RecordBatch.from_pydict({"b": [b"x" * 350_000] * 4})
    first, _ = coalesced(iter([enough, enough]))
    assert first is enough


def test_ahead_gives_every_block_and_the_error() -> None:
    def failing() -> Generator[pa.RecordBatch, None, None]:
        yield block(0, 3)
        yield block(3, 3)
        raise RuntimeError("the source is gone")

    taken = prefetch(failing())
    assert next(taken)["n"].to_pylist() == [0, 1, 2]
    assert next(taken)["n"].to_pylist() == [3, 4, 5]
    with pytest.raises(RuntimeError, match="the source is gone"):
        next(taken)
    assert list(prefetch(block(0, n) for n in range(0))) == []


def test_ahead_that_is_left_early_closes_its_source() -> None:
    closed = threading.Event()

    def endless() -> Generator[pa.RecordBatch, None, None]:
        try:
            while True:
                yield block(0, 1)
        finally:
            closed.set()

    before = threading.active_count()
    taken = prefetch(endless())
    next(taken)
    taken.close()
    assert closed.is_set() and threading.active_count() == before


def test_large_blocks_come_in_pieces_and_others_as_they_are() -> None:
    small, large = block(0, 20_000), block(20_000, 70_000)
    found = list(split_large([small, large]))
    assert found[0] is small
    assert all(16_384 <= piece.num_rows <= 32_768 for piece in found[1:])
    assert [n for piece in found for n in piece["n"].to_pylist()] == list(range(90_000))
