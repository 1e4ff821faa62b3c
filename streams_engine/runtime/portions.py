"""One chunk: read, converted, written and recorded, in as many portions as a run is cut into.

A portion is one transaction of the target, rows and checkpoint record together. A pause, a
stop or a limit cuts at a bundle: what was read is committed, and the same reader goes on
afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from streams_engine.bundles import gathered, pieces
from streams_engine.errors import RowRejected, StreamsError
from streams_engine.model import Chunk, Extract, TableId
from streams_engine.protocols import Checkpoint, Load, Mark, Rejected, Written
from streams_engine.required import required
from streams_engine.row_text import row_texts, value_text
from streams_engine.runtime.control import Control
from streams_engine.runtime.resuming import chunk_key
from streams_engine.runtime.retrying import again
from streams_engine.schema.mapping import TableMapping
from streams_engine.schema.postgres import WIRE
from streams_engine.schema.values import BadRows, Converter, unfit_text

__all__ = ["Account", "ChunkCopy", "ChunkTask"]

RELEASED_BLOCKS = 4
"""After so many blocks Arrow's allocator is told to hand back what it keeps: unasked it keeps,
for each thread, several times of what is in use."""


STEP_ROWS = 500
"""Smaller bundles are taken several at a time, as many as are no more than so many rows."""


@dataclass(frozen=True, slots=True)
class ChunkTask:
    """A chunk, with all that its copy needs to know. Pickles."""

    mapping: TableMapping
    chunk: Chunk
    load: Load
    before: Mapping[str, Any] | None = None
    """The chunk's record that it goes on from; None: it begins."""

    @property
    def rows(self) -> int:
        """Rows of the chunk that are committed already and are not read again."""
        return int(self.before["rows"]) if self.before else 0


class Account(Protocol):
    """Who is told how a copy goes."""

    def read(self, rows: int, size: int) -> None:
        """So many rows, or bytes, left the source."""
        ...

    def wrote(self, table: TableId, rows: int, rejected: int, size: int) -> None:
        """Rows became durable on the target, and others were set aside."""
        ...

    def replaced(self, table: TableId, column: str, count: int) -> None:
        """So many zero dates of a column became NULL."""
        ...


@dataclass
class ChunkCopy:
    """Copies single chunks. Used by many threads at once."""

    read: Callable[[Extract, Chunk, int], Iterator[pa.RecordBatch]]
    write: Callable[[Load, Iterator[pa.RecordBatch], Mark], Written]
    control: Control
    account: Account
    bundle: int
    zero_dates: str
    quarantine: bool

    def copy(self, task: ChunkTask) -> bool:
        """Copy one chunk. True where it is whole. A transient refusal of the target is tried
        again from what is committed; where that place has no name, it is final.
        """
        rest: list[ChunkTask | None] = [task]

        def attempt() -> bool:
            # What has no name is final: it is not tried again.
            begin = required(rest[-1], "the rest of a chunk")
            try:
                return self._portions(begin, rest)
            except StreamsError as error:
                if rest[-1] is None:
                    error.retryable = False
                raise

        return again(attempt, str(task.mapping.source.id))

    def _portions(self, task: ChunkTask, rest: list[ChunkTask | None]) -> bool:
        """Copy in as many portions as the run is cut into; ``rest`` learns what is left."""
        reader = self.read(task.mapping.extract(), task.chunk, self.bundle)
        feed = _Feed(self, task, reader)
        load = task.load
        try:
            while True:
                feed.begin()
                written = self.write(load, feed, feed.mark)
                self.control.give_back(feed.taken - written.rows)
                feed.taken = 0
                self.account.wrote(
                    task.mapping.source.id, written.rows, written.rejected, written.bytes
                )
                if feed.ended:
                    return True
                # The next portion must not empty the table under the first one.
                load = replace(load, freeze=False)
                rest.append(feed.rest(load))
                if not self.control.hold():
                    return False
        finally:
            self.control.give_back(feed.taken)
            feed.close()


class _Feed(Iterator[pa.RecordBatch]):
    """The rows of one chunk on their way to the sink, up to the next cut.

    Bundles are where a run can be cut, and they are only counted: whole blocks go on, so that
    cutting, converting and encoding cost the same for any size of bundle.
    """

    def __init__(self, copy: ChunkCopy, task: ChunkTask, reader: Iterator[pa.RecordBatch]) -> None:
        self._copy = copy
        self._task = task
        self._reader = reader
        self._source = pieces(getattr(reader, "blocks", reader))
        self._step = copy.bundle * max(1, STEP_ROWS // copy.bundle)
        self._to_cut = 0
        """Rows up to the next place where the run can be cut."""
        self._convert = Converter(task.mapping.columns, copy.zero_dates)
        self._held: pa.RecordBatch | None = None
        # A portion without rows must not forget how far earlier ones came.
        self._last = None if task.chunk.ordered else task.chunk.low
        self._rows = task.rows
        self._blocks = 0
        self.ended = False
        self.taken = 0
        self.rejected: list[Rejected] = []

    def begin(self) -> None:
        """A new portion begins."""
        self.taken = 0
        self.rejected = []

    def rest(self, load: Load) -> ChunkTask | None:
        """What is left of the chunk after the last committed row, None where it has no name."""
        if self._task.chunk.ordered:
            chunk = replace(self._task.chunk, skip=self._rows)
        elif self._last is not None:
            chunk = replace(self._task.chunk, low=self._last)
        else:
            return None
        return replace(self._task, chunk=chunk, load=load, before=self._document())

    def close(self) -> None:
        """Free the reader's connection."""
        close = getattr(self._reader, "close", None)
        if close is not None:
            close()

    def __next__(self) -> pa.RecordBatch:
        block = gathered(self._granted())
        if block is None:
            raise StopIteration
        self._copy.account.read(0, block.nbytes)
        self._blocks += 1
        if not self._blocks % RELEASED_BLOCKS:
            pa.default_memory_pool().release_unused()
        return self._checked(block)

    def _granted(self) -> Iterator[pa.RecordBatch]:
        """Blocks, the last one up to a cut or a limit."""
        while not (self.ended or self._cut()):
            block = self._held if self._held is not None else next(self._source, None)
            self._held = None
            if block is None:
                self.ended = True
                return
            taken = self._taken(block.num_rows)
            if taken < block.num_rows:
                self._held = block.slice(taken)
                block = block.slice(0, taken)
            yield block

    def _cut(self) -> bool:
        control = self._copy.control
        return not self._to_cut and (control.cut() or control.out_of_rows)

    def _taken(self, rows: int) -> int:
        """How many of a block's rows go on, bundle by bundle."""
        taken = 0
        while taken < rows and not self._cut():
            self._to_cut = self._to_cut or self._step
            wanted = min(self._to_cut, rows - taken)
            granted = self._copy.control.reserve(wanted)
            # A limit cuts where it is reached.
            self._to_cut = self._to_cut - granted if granted == wanted else 0
            taken += granted
            self._copy.account.read(granted, 0)
            if granted < wanted:
                break
        self.taken += taken
        self._rows += taken
        return taken

    def _checked(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        if self._task.load.tuples:
            return batch
        converted, bad, replaced = self._convert(batch)
        table = self._task.mapping.source.id
        for column, count in replaced.items():
            self._copy.account.replaced(table, column, count)
        if bad:
            converted = self._set_aside(batch, converted, bad)
        if self._task.chunk.key and batch.num_rows:
            self._remember(batch)
        return converted

    def _remember(self, batch: pa.RecordBatch) -> None:
        """Note the key to go on from. A zero or partial date has no text that the server would
        find again; in a key it is a bad row of any target, and is read once more after a crash."""
        if all(name in batch.schema.names for name in self._task.chunk.key):
            keys = (_key(batch, self._task.chunk.key, row) for row in _backwards(batch))
            self._last = next((key for key in keys if key is not None), self._last)

    def _set_aside(
        self, batch: pa.RecordBatch, converted: pa.RecordBatch, bad: Sequence[BadRows]
    ) -> pa.RecordBatch:
        """Take out the rows that fit no target value, or fail naming table and column."""
        table = self._task.mapping.source.id
        if not self._copy.quarantine:
            first = bad[0]
            raise RowRejected(
                f"A row of {table} cannot be moved: column {first.column}: {first.reason}.",
                remedy="Choose another type (options.typeOverrides), another zeroDates policy, "
                "or onError: quarantine.",
                table=str(table),
                column=first.column,
            )
        keep = np.ones(batch.num_rows, dtype=bool)
        for rows in bad:
            for index in np.flatnonzero(rows.mask & keep):
                row = self._row_texts(batch, converted, int(index))
                self.rejected.append(
                    Rejected(table, f"column {rows.column}: {rows.reason}", "POLICY", row)
                )
            keep &= ~rows.mask
        return converted.filter(pa.array(keep))

    def _row_texts(
        self, batch: pa.RecordBatch, converted: pa.RecordBatch, index: int
    ) -> dict[str, str | None]:
        """The row as the source has it; a wire form as the value that it means."""
        texts = row_texts(batch.slice(index, 1))
        for place, column in enumerate(self._task.mapping.columns):
            if column.source.arrow != WIRE or column.convert is None:
                continue
            name, raw = column.source.name, batch.column(place)[index].as_py()
            if raw is not None:
                unfit = unfit_text(column.convert, raw)
                texts[name] = unfit or value_text(converted.column(place)[index])
        return texts

    def mark(self) -> Checkpoint:
        """The chunk's record: how far it is, to be durable with the rows."""
        return Checkpoint(chunk_key(self._task.chunk), self._document(), tuple(self.rejected))

    def _document(self) -> dict[str, Any]:
        return {"done": self.ended, "rows": self._rows, "last": self._last}


def _backwards(batch: pa.RecordBatch) -> range:
    return range(batch.num_rows - 1, -1, -1)


def _key(batch: pa.RecordBatch, names: Sequence[str], row: int) -> tuple[Any, ...] | None:
    """The key of a row; None where a part of it is a date that Python does not have."""
    try:
        values = [batch.column(name)[row].as_py() for name in names]
    except (OverflowError, ValueError):
        return None
    return tuple(v if isinstance(v, int) else str(v) for v in values)
