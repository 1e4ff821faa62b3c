"""Copy one chunk: read, convert, write and record it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from streams_engine.contracts import (
    Checkpoint,
    CheckpointCallback,
    QuarantinedRow,
    RecordBatches,
    WritePlan,
    WriteResult,
)
from streams_engine.errors import RowRejected, StreamsError, require
from streams_engine.model import Chunk, Extract, TableId
from streams_engine.pipeline.checkpoint_records import ChunkRecord
from streams_engine.pipeline.control import Control
from streams_engine.pipeline.retry import retry
from streams_engine.pipeline.snapshot.rebatcher import Rebatcher
from streams_engine.schema.mapping.tables import TableMapping
from streams_engine.schema.types.conversions import CHOOSE_TYPE, BadRows, Converter
from streams_engine.schema.types.source_texts import source_texts

__all__ = ["ChunkCopy", "ChunkTask", "CopyListener"]

RELEASED_BLOCKS = 4
"""After so many blocks Arrow's allocator is told to hand back what it keeps: unasked it keeps,
for each thread, several times of what is in use."""


QUARANTINE_ROWS = 2048
"""Rows of a block whose bad ones are quarantined: a server may be asked about each of them, and a
run can stop between two blocks only."""


@dataclass(frozen=True, slots=True)
class ChunkTask:
    """A chunk, with all that its copy needs to know. Pickles."""

    mapping: TableMapping
    chunk: Chunk
    plan: WritePlan
    before: ChunkRecord | None = None
    """The chunk's record that it goes on from; None: it begins."""

    @property
    def rows(self) -> int:
        """Rows of the chunk that are committed already and are not read again."""
        return 0 if self.before is None else self.before.rows


class CopyListener(Protocol):
    """The listener to the progress of a copy."""

    def read(self, rows: int, size: int) -> None:
        """Count rows and bytes that were read from the source."""
        ...

    def wrote(self, table: TableId, rows: int, quarantined: int, size: int) -> None:
        """Count rows that became durable on the target, and those that were quarantined."""
        ...

    def replaced(self, table: TableId, column: str, count: int) -> None:
        """Count zero dates of a column that became NULL."""
        ...


@dataclass
class ChunkCopy:
    """Copies single chunks. Used by many threads at once."""

    read: Callable[[Extract, Chunk], RecordBatches]
    write: Callable[[WritePlan, Iterator[pa.RecordBatch], CheckpointCallback], WriteResult]
    control: Control
    account: CopyListener
    bundle: int
    zero_dates: str
    quarantine: bool

    def copy(self, task: ChunkTask) -> bool:
        """Copy one chunk. True if it is whole. A transient refusal of the target is tried
        again from what is committed; where that place has no name, it is final.
        """
        rest: list[ChunkTask | None] = [task]

        def attempt() -> bool:
            # What has no name is final: it is not tried again.
            begin = require(rest[-1], "the rest of a chunk")
            try:
                return self._portions(begin, rest)
            except StreamsError as error:
                if rest[-1] is None:
                    error.retryable = False
                raise

        return retry(attempt, str(task.mapping.source.id))

    def _portions(self, task: ChunkTask, rest: list[ChunkTask | None]) -> bool:
        """Copy in as many portions as the run is cut into; ``rest`` learns what is left."""
        feed = _Feed(self, task, self.read(task.mapping.extract(), task.chunk))
        plan = task.plan
        try:
            while True:
                feed.begin()
                written = self.write(plan, feed, feed.checkpoint)
                self.control.release_rows(feed.taken - written.rows)
                feed.taken = 0
                self.account.wrote(
                    task.mapping.source.id, written.rows, written.quarantined, written.bytes
                )
                if feed.ended:
                    return True
                # The next portion must not empty the table under the first one.
                plan = replace(plan, freeze=False)
                rest.append(feed.rest(plan))
                if not self.control.hold():
                    return False
        finally:
            self.control.release_rows(feed.taken)
            feed.close()


class _Feed(Iterator[pa.RecordBatch]):
    """The rows of one chunk on their way to the sink, converted, up to the next cut."""

    def __init__(self, copy: ChunkCopy, task: ChunkTask, batches: RecordBatches) -> None:
        self._copy = copy
        self._task = task
        most = QUARANTINE_ROWS if copy.quarantine else sys.maxsize
        self._blocks = Rebatcher(batches, copy.bundle, copy.control, self._count, most)
        self._convert = Converter(task.mapping.columns, copy.zero_dates)
        # A portion without rows must not forget how far earlier ones came.
        self._last = None if task.chunk.ordered else task.chunk.low
        self._rows = task.rows
        self._converted = 0
        self.taken = 0
        self.quarantined: list[QuarantinedRow] = []

    def begin(self) -> None:
        """Begin a new portion."""
        self.taken = 0
        self.quarantined = []

    def rest(self, plan: WritePlan) -> ChunkTask | None:
        """Return what is left of the chunk after the last committed row, None if it has no
        name."""
        if self._task.chunk.ordered:
            chunk = replace(self._task.chunk, skip=self._rows)
        elif self._last is not None:
            chunk = replace(self._task.chunk, low=self._last)
        else:
            return None
        return replace(self._task, chunk=chunk, plan=plan, before=self._record())

    @property
    def ended(self) -> bool:
        """True if the source has no more rows."""
        return self._blocks.ended

    def close(self) -> None:
        """Free the reader's connection."""
        self._blocks.close()

    def __next__(self) -> pa.RecordBatch:
        while True:
            block = next(self._blocks)
            self._copy.account.read(0, block.nbytes)
            self._converted += 1
            if not self._converted % RELEASED_BLOCKS:
                pa.default_memory_pool().release_unused()
            converted = self._checked(block)
            if converted.num_rows:
                return converted

    def _count(self, rows: int) -> None:
        """Count rows of a bundle that left the source."""
        self.taken += rows
        self._rows += rows
        self._copy.account.read(rows, 0)

    def _checked(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        if self._task.plan.tuples:
            return batch
        converted, bad, replaced = self._convert(batch)
        table = self._task.mapping.source.id
        for column, count in replaced.items():
            self._copy.account.replaced(table, column, count)
        if bad:
            converted = self._quarantine(batch, converted, bad)
        if self._task.chunk.key and batch.num_rows:
            self._remember(batch)
        return converted

    def _remember(self, batch: pa.RecordBatch) -> None:
        """Note the key to go on from. A zero or partial date has no text that the server would
        find again; in a key it is a bad row of any target, and is read once more after a crash."""
        if all(name in batch.schema.names for name in self._task.chunk.key):
            keys = (_key(batch, self._task.chunk.key, row) for row in _backwards(batch))
            self._last = next((key for key in keys if key is not None), self._last)

    def _quarantine(
        self, batch: pa.RecordBatch, converted: pa.RecordBatch, bad: Sequence[BadRows]
    ) -> pa.RecordBatch:
        """Take out the rows that fit no target value, or fail naming table and column."""
        table = self._task.mapping.source.id
        if not self._copy.quarantine:
            first = bad[0]
            raise RowRejected(
                f"A row of {table} cannot be moved: column {first.column}: {first.reason}.",
                remedy=f"Start again with onError: quarantine. Or {CHOOSE_TYPE}",
                table=str(table),
                column=first.column,
            )
        keep = np.ones(batch.num_rows, dtype=bool)
        for rows in bad:
            for index in np.flatnonzero(rows.mask & keep):
                row = source_texts(batch.slice(int(index), 1), self._task.mapping.columns)
                self.quarantined.append(
                    QuarantinedRow(table, f"column {rows.column}: {rows.reason}", "POLICY", row)
                )
            keep &= ~rows.mask
        return converted.filter(pa.array(keep))

    def checkpoint(self) -> Checkpoint:
        """Return the chunk's record, to be durable with the rows."""
        record = self._record()
        return Checkpoint(record.key, record.to_json(), tuple(self.quarantined))

    def _record(self) -> ChunkRecord:
        chunk = self._task.chunk
        return ChunkRecord(chunk.table, chunk.number, self.ended, self._rows, self._last)


def _backwards(batch: pa.RecordBatch) -> range:
    return range(batch.num_rows - 1, -1, -1)


def _key(batch: pa.RecordBatch, names: Sequence[str], row: int) -> tuple[Any, ...] | None:
    """Return the key of a row; None if a part of it is a date that Python cannot represent."""
    try:
        values = [batch.column(name)[row].as_py() for name in names]
    except (OverflowError, ValueError):
        return None
    return tuple(v if isinstance(v, int) else str(v) for v in values)
