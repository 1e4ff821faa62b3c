"""Find the rows of a block that a target refuses: all at once where an encoder of ours knows
them, by bisection where only the server does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from streams_engine.arrow.plain import from_numpy
from streams_engine.errors import RowRejected

__all__ = ["bisect", "unfit"]


def unfit(values: pa.Array, encode: Callable[[pa.Array], Any]) -> np.ndarray:
    """Return a mask of the values that ``encode`` refuses, which is called at most twice for each
    value."""
    mask = np.zeros(len(values), bool)
    spans = [(0, len(values))]
    while spans:
        start, rows = spans.pop()
        try:
            encode(values.slice(start, rows))
        except (KeyError, pa.ArrowInvalid, pa.ArrowNotImplementedError, OverflowError, ValueError):
            if rows == 1:
                mask[start] = True
            else:
                half = rows // 2
                spans += [(start, half), (start + half, rows - half)]
    return mask


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
        known = _known(fault, part.num_rows)
        if known is not None:
            for place in np.flatnonzero(known):
                yield part.slice(int(place), 1), fault
            yield from bisect(part.filter(from_numpy(~known)), attempt)
            start += part.num_rows
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


def _known(fault: RowRejected, rows: int) -> np.ndarray | None:
    """Return the mask of the bad rows where an encoder knows them; None where it was given a part
    of the block."""
    if fault.find_unfit is None:
        return None
    mask: np.ndarray = fault.find_unfit()
    fault.find_unfit = None  # it keeps the values alive
    return mask if len(mask) == rows and mask.any() else None
