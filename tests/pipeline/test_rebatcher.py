"""The one place where a load rebatches: every row once, and cuts only where a bundle ends."""

from __future__ import annotations

from collections.abc import Generator

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from streams_engine.pipeline.control import Control
from streams_engine.pipeline.snapshot.rebatcher import Rebatcher

SIZES = st.lists(st.integers(0, 3000), max_size=12)
BUNDLES = st.sampled_from([10, 97, 500, 1000])


class PausesAfter(Control):
    """Asks for a cut once it was asked so many times."""

    def __init__(self, left: int) -> None:
        super().__init__()
        self.left = left

    def cut(self) -> bool:
        self.left -= 1
        return self.left < 0


def batches(sizes: list[int]) -> Generator[pa.RecordBatch, None, None]:
    start = 0
    for size in sizes:
        yield pa.RecordBatch.from_pydict({"n": pa.array(range(start, start + size), pa.int64())})
        start += size


def numbers(blocks: Rebatcher) -> list[int]:
    return [n for block in blocks for n in block["n"].to_pylist()]


@given(SIZES, BUNDLES)
def test_every_row_goes_on_once_whatever_the_batches_of_the_source(
    sizes: list[int], bundle: int
) -> None:
    counted: list[int] = []
    blocks = Rebatcher(batches(sizes), bundle, Control(), counted.append)
    assert numbers(blocks) == list(range(sum(sizes)))
    assert blocks.ended and sum(counted) == sum(sizes)


@given(SIZES, BUNDLES, st.integers(1, 20_000))
def test_a_limit_on_rows_is_met_exactly(sizes: list[int], bundle: int, most: int) -> None:
    counted: list[int] = []
    blocks = Rebatcher(batches(sizes), bundle, Control(max_rows=most), counted.append)
    assert numbers(blocks) == list(range(min(most, sum(sizes))))
    assert sum(counted) == min(most, sum(sizes))


@given(SIZES, BUNDLES, st.integers(1, 30))
def test_a_cut_comes_where_a_bundle_ends_and_the_rest_goes_on(
    sizes: list[int], bundle: int, after: int
) -> None:
    control = PausesAfter(after)
    blocks = Rebatcher(batches(sizes), bundle, control, lambda _: None)
    first = numbers(blocks)
    assert blocks.ended or len(first) % bundle == 0
    control.left = 10 * sum(sizes) + 10
    assert first + numbers(blocks) == list(range(sum(sizes)))


def test_a_large_batch_is_cut_and_small_ones_are_gathered() -> None:
    def sizes_of(*sizes: int) -> list[int]:
        blocks = Rebatcher(batches(list(sizes)), 500, Control(), lambda _: None)
        return [block.num_rows for block in blocks]

    assert sizes_of(70_000) == [17_500] * 4
    assert sizes_of(*[1000] * 20) == [9_000, 9_000, 2_000]
    assert sizes_of(20_000) == [20_000]


def test_nothing_is_copied_of_a_batch_that_is_large_enough() -> None:
    (whole,) = batches([70_000])
    blocks = Rebatcher((b for b in (whole,)), 10, Control(), lambda _: None)
    address = whole.column(0).buffers()[1].address
    assert {block.column(0).buffers()[1].address for block in blocks} == {address}


def test_close_ends_the_read_of_the_source() -> None:
    read = batches([10, 10])
    blocks = Rebatcher(read, 10, Control(), lambda _: None)
    next(blocks)
    blocks.close()
    assert next(read, None) is None
