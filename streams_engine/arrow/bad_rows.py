"""Find the rows of a block that a target refuses, by bisection."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pyarrow as pa

from streams_engine.errors import RowRejected

__all__ = ["bisect"]


def bisect(
    block: pa.RecordBatch, attempt: Callable[[pa.RecordBatch], RowRejected | None]
) -> Iterator[tuple[pa.RecordBatch, RowRejected]]:
    """Load a block, from its first row to its last; yields each refused row with its fault.

    ``attempt`` loads a part whole or not at all. A fault may name the row that it stumbled
    over (``details["row"]``, from 1); what a server cannot name is found by halving. The
    window shrinks to where bad rows are and grows again where none is, so that many of them
    do not send the block anew each time.
    """
    start, window = 0, block.num_rows
    while start < block.num_rows:
        part = block.slice(start, window)
        fault = attempt(part)
        if fault is None:
            start += part.num_rows
            window *= 2
            continue
        bad = fault.details.pop("row", None) or (1 if part.num_rows == 1 else None)
        if bad is None or bad > part.num_rows:
            window = max(1, part.num_rows // 2)
            continue
        if bad > 1 and attempt(part.slice(0, bad - 1)) is not None:
            window = bad - 1  # an earlier row is bad by a rule checked later
            continue
        yield part.slice(bad - 1, 1), fault
        start += bad
        window = max(16, 2 * bad)
