"""Rebatch what a source reads: the one place where a load cuts and gathers batches."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator

import pyarrow as pa

from streams_engine.arrow.batches import coalesce, split_large
from streams_engine.contracts import RecordBatches
from streams_engine.faults import reach
from streams_engine.pipeline.control import Control

__all__ = ["Rebatcher"]

STEP_ROWS = 500
"""Smaller bundles are taken several at a time, as many as are no more than so many rows."""


class Rebatcher(Iterator[pa.RecordBatch]):
    """Yield blocks worth encoding, up to the next cut of the run.

    Bundles (``dataBundleSize``) are where a run can be paused, stopped or limited. They are only
    counted: their size changes nothing in what is cut, converted and encoded. After a cut
    the iterator goes on with the next block, once the control lets the run go on.
    """

    def __init__(
        self,
        batches: RecordBatches,
        bundle: int,
        control: Control,
        count: Callable[[int], None],
        most: int = sys.maxsize,
    ) -> None:
        """``count`` is told the rows that go on, bundle by bundle; ``most``: rows of a block."""
        self._most = most
        self._batches = batches
        self._source = split_large(batches)
        self._step = bundle * max(1, STEP_ROWS // bundle)
        self._control = control
        self._count = count
        self._to_cut = 0
        """Rows up to the next place where the run can be cut."""
        self._held: pa.RecordBatch | None = None
        self.ended = False
        """The source has no more rows."""

    def __next__(self) -> pa.RecordBatch:
        block = coalesce(self._granted())
        if block is None:
            raise StopIteration
        return block

    def close(self) -> None:
        """End the read and free its connection."""
        self._batches.close()

    def _granted(self) -> Iterator[pa.RecordBatch]:
        """Yield batches, the last one up to a cut or a limit."""
        given = 0
        while given < self._most and not (self.ended or self._cut()):
            batch = self._held if self._held is not None else next(self._source, None)
            self._held = None
            if batch is None:
                self.ended = True
                if self._to_cut:
                    reach("load: rows read")
                return
            taken = self._take(min(batch.num_rows, self._most - given))
            given += taken
            if taken < batch.num_rows:
                self._held = batch.slice(taken)
                batch = batch.slice(0, taken)
            yield batch

    def _cut(self) -> bool:
        return not self._to_cut and (self._control.cut() or self._control.out_of_rows)

    def _take(self, rows: int) -> int:
        """Return how many of a batch's rows go on, counted bundle by bundle."""
        taken = 0
        while taken < rows and not self._cut():
            self._to_cut = self._to_cut or self._step
            wanted = min(self._to_cut, rows - taken)
            granted = self._control.reserve(wanted)
            # A limit cuts where it is reached.
            self._to_cut = self._to_cut - granted if granted == wanted else 0
            taken += granted
            self._count(granted)
            if not self._to_cut:
                reach("load: rows read")
            if granted < wanted:
                break
        return taken
