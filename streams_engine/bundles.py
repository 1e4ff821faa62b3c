"""Large decoded blocks, handed on as bundles of an exact row count, and gathered again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pyarrow as pa

__all__ = ["blocks", "bundles"]

BLOCK_BYTES = 8 << 20
BLOCK_ROWS = 65_536
"""How much is gathered from bundles before it is encoded: encoding small blocks costs triple."""


def bundles(blocks: Iterable[pa.RecordBatch], rows: int) -> Iterator[pa.RecordBatch]:
    """Batches of exactly ``rows`` rows, the last one smaller; empty blocks vanish.

    Each is a slice of a block and pins it; only a bundle that straddles two blocks is
    a copy of its own few rows.
    """
    rest: list[pa.RecordBatch] = []
    held = 0
    for block in blocks:
        start = 0
        if held:
            start = min(rows - held, block.num_rows)
            rest.append(block.slice(0, start))
            held += start
            if held < rows:
                continue
            yield _joined(rest)
            rest, held = [], 0
        whole = start + (block.num_rows - start) // rows * rows
        for offset in range(start, whole, rows):
            yield block.slice(offset, rows)
        if whole < block.num_rows:
            rest, held = [block.slice(whole)], block.num_rows - whole
    if held:
        yield _joined(rest)


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
    held: list[pa.RecordBatch] = []
    size = count = 0
    for batch in rows:
        if not batch.num_rows:
            continue
        held.append(batch)
        size += batch.nbytes
        count += batch.num_rows
        if size >= BLOCK_BYTES or count >= BLOCK_ROWS:
            yield _joined(held)
            held, size, count = [], 0, 0
    if held:
        yield _joined(held)
