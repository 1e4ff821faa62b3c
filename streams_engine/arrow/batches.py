"""Split, coalesce and prefetch record batches."""

from __future__ import annotations

import contextlib
import math
import queue
import threading
from collections.abc import Generator, Iterable, Iterator

import pyarrow as pa

__all__ = [
    "BLOCK_BYTES",
    "LARGE_BYTES",
    "SLICE_BYTES",
    "coalesce",
    "coalesced",
    "is_large",
    "parts",
    "prefetch",
    "slices",
    "split_large",
]

BLOCK_BYTES = 2 << 20
BLOCK_ROWS = 16_384
"""How much is encoded at once."""

LEAST_BYTES = 1 << 20
LEAST_ROWS = 8192
"""How much is gathered before it is encoded: encoding small blocks costs triple. A reader's blocks
are as large; to join two of them would copy every row once more."""

PART_BYTES = 6 << 20
"""Rows are encoded together up to so many bytes."""

LARGE_BYTES = 4 << 20
"""A row of more is encoded value by value: each step of the usual way would hold a copy of it."""

SLICE_BYTES = 1 << 20
"""What of a large value is copied, escaped or sent at once."""

MEASURED_ROWS = 2000
"""The size of a batch is asked for once in so many rows: asking costs more than cutting it."""


def split_large(blocks: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Yield the blocks unchanged, except that blocks of three times the size worth encoding
    come in parts."""
    for block in blocks:
        parts = int(max(block.nbytes / BLOCK_BYTES, block.num_rows / BLOCK_ROWS))
        if parts < 3 or block.num_rows < 2:
            yield block
        else:
            step = math.ceil(block.num_rows / parts)
            for offset in range(0, block.num_rows, step):
                yield block.slice(offset, step)
        del block  # while the next one is read


def parts(block: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """Cut a block into slices of at most `PART_BYTES`, or of one row; rows that are large on the
    average are slices of their own."""
    size = block.nbytes
    if block.num_rows < 2 or (size <= PART_BYTES and size <= LARGE_BYTES * block.num_rows):
        yield block
        return
    half = block.num_rows // 2
    yield from parts(block.slice(0, half))
    yield from parts(block.slice(half))


def is_large(part: pa.RecordBatch) -> bool:
    """Return whether a slice that `parts` gave is one row of more than `LARGE_BYTES`."""
    return bool(part.num_rows == 1 and part.nbytes > LARGE_BYTES)


def slices(value: memoryview) -> Iterator[memoryview]:
    """Cut a large value into slices of `SLICE_BYTES`, without a copy."""
    for start in range(0, len(value), SLICE_BYTES):
        yield value[start : start + SLICE_BYTES]


def prefetch(
    blocks: Generator[pa.RecordBatch, None, None],
) -> Generator[pa.RecordBatch, None, None]:
    """Yield the blocks while a thread reads the next one."""
    held: queue.Queue[tuple[pa.RecordBatch | None, BaseException | None]] = queue.Queue(1)
    left = threading.Event()

    def read() -> None:
        end: tuple[None, BaseException | None] = (None, None)
        try:
            for block in blocks:
                held.put((block, None))
                if left.is_set():
                    return
        except BaseException as error:
            end = (None, error)
        finally:
            blocks.close()
        held.put(end)

    reader = threading.Thread(target=read, name="streams-engine-ahead", daemon=True)
    reader.start()
    try:
        while (item := held.get())[0] is not None:
            yield item[0]
        if item[1] is not None:
            raise item[1]
    finally:
        left.set()
        while reader.is_alive():
            with contextlib.suppress(queue.Empty):
                held.get(timeout=0.01)
        reader.join()


def _joined(parts: list[pa.RecordBatch]) -> pa.RecordBatch:
    if len(parts) == 1:
        return parts[0]
    if not parts[0].num_columns:
        return _without_columns(sum(part.num_rows for part in parts))
    return pa.concat_batches(parts)


def _without_columns(rows: int) -> pa.RecordBatch:
    return pa.RecordBatch.from_struct_array(pa.array([{}] * rows, pa.struct([])))


def coalesced(rows: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Yield blocks that are worth encoding, concatenated from small batches."""
    while (block := coalesce(rows)) is not None:
        yield block
        del block  # while the next one is read


def coalesce(rows: Iterator[pa.RecordBatch]) -> pa.RecordBatch | None:
    """Return the next block, concatenated from small batches; None if no row is left."""
    held: list[pa.RecordBatch] = []
    count = usual = 0
    size = row_bytes = 0.0
    unmeasured = MEASURED_ROWS
    while size < LEAST_BYTES and count < LEAST_ROWS and (batch := next(rows, None)) is not None:
        if not (length := batch.num_rows):
            continue
        held.append(batch)
        count += length
        unmeasured += length
        if unmeasured >= MEASURED_ROWS or length < usual:
            row_bytes = batch.nbytes / length
            unmeasured = 0
        size += row_bytes * length
        usual = length
    return _joined(held) if held else None
