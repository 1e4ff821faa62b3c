"""Large decoded blocks, handed on as bundles of an exact row count, without copies."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pyarrow as pa

__all__ = ["bundles"]


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
