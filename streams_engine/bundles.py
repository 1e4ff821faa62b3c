"""Large decoded blocks, handed on as bundles of an exact row count, and gathered again."""

from __future__ import annotations

import contextlib
import math
import queue
import threading
from collections.abc import Generator, Iterable, Iterator

import pyarrow as pa

__all__ = ["BLOCK_BYTES", "Bundles", "ahead", "blocks", "bundles", "gathered", "pieces"]

BLOCK_BYTES = 2 << 20
BLOCK_ROWS = 16_384
"""How much is gathered from bundles before it is encoded: encoding small blocks costs triple."""

BUNDLE_BYTES = 16 << 20
"""A bundle that would hold more is cut short: rows of megabytes must not add up."""

MEASURED_ROWS = 2000
"""The size of a batch is asked for once in so many rows: asking costs more than cutting it."""


class Bundles(Iterator[pa.RecordBatch]):
    """Batches of exactly so many rows, and the blocks that they are cut from.

    Who only counts bundles takes the blocks: nothing has to be cut and put together again.
    """

    def __init__(self, blocks: Iterable[pa.RecordBatch], rows: int) -> None:
        self.blocks = iter(blocks)
        self._bundles = _cut(self.blocks, rows)

    def __next__(self) -> pa.RecordBatch:
        return next(self._bundles)

    def close(self) -> None:
        """Leave it early; what the blocks come from is free then."""
        self._bundles.close()
        getattr(self.blocks, "close", lambda: None)()


def bundles(blocks: Iterable[pa.RecordBatch], rows: int) -> Bundles:
    """Batches of exactly ``rows`` rows, the last one smaller; empty blocks vanish.

    Each is a slice of a block and pins it; only a bundle that straddles two blocks is
    a copy of its own few rows. Rows so large that a bundle of them would hold more than
    `BUNDLE_BYTES` come in smaller ones.
    """
    return Bundles(blocks, rows)


def pieces(blocks: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The blocks as they are, but those of more than twice the size worth encoding in parts."""
    for block in blocks:
        parts = math.ceil(max(block.nbytes / BLOCK_BYTES, block.num_rows / BLOCK_ROWS))
        if parts <= 2:
            yield block
            continue
        step = math.ceil(block.num_rows / parts)
        for offset in range(0, block.num_rows, step):
            yield block.slice(offset, step)


def _cut(blocks: Iterator[pa.RecordBatch], rows: int) -> Generator[pa.RecordBatch, None, None]:
    rest: list[pa.RecordBatch] = []
    held = size = 0
    for block in blocks:
        start = 0
        if held and size >= BUNDLE_BYTES:
            yield _joined(rest)
            rest, held = [], 0
        if held:
            start = min(rows - held, block.num_rows)
            rest.append(block.slice(0, start))
            held += start
            if held < rows:
                size += block.nbytes
                continue
            yield _joined(rest)
            rest, held = [], 0
        whole = start + (block.num_rows - start) // rows * rows
        for offset in range(start, whole, rows):
            yield block.slice(offset, rows)
        if whole < block.num_rows:
            rest, held = [block.slice(whole)], block.num_rows - whole
            size = rest[0].nbytes
    if held:
        yield _joined(rest)


def ahead(blocks: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The blocks, the next one read by a thread of its own while one is worked on."""
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
            getattr(blocks, "close", lambda: None)()
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


def blocks(rows: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Bundles gathered into blocks worth encoding."""
    while (block := gathered(rows)) is not None:
        yield block


def gathered(rows: Iterator[pa.RecordBatch]) -> pa.RecordBatch | None:
    """The next block of bundles, as one batch; None where no row is left."""
    held: list[pa.RecordBatch] = []
    count = usual = 0
    size = row_bytes = 0.0
    unmeasured = MEASURED_ROWS
    while size < BLOCK_BYTES and count < BLOCK_ROWS and (batch := next(rows, None)) is not None:
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
