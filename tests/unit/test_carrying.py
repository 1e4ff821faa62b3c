"""What is counted of a chunk over several attempts at it, and how far one may go."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pytest

from streams_engine.errors import FencedOff, LockTimeout
from streams_engine.lifecycle import State
from streams_engine.model import (
    Chunk,
    Column,
    Dialect,
    Extract,
    NativeType,
    TableId,
    TableSchema,
)
from streams_engine.protocols import Load, Mark, Written
from streams_engine.runtime.carrying import Ledger, Run
from streams_engine.runtime.control import Control
from streams_engine.runtime.fenced import Attempt, FencedCopy, Portion, Report
from streams_engine.runtime.portions import ChunkTask
from streams_engine.schema.mapping import ColumnMapping, TableMapping
from streams_engine.sharing import Fence, Staged
from streams_engine.stats import Counters

T = TableId("s", "t")
NUMBER = Column("id", NativeType(Dialect.POSTGRES, "integer", "int4"), pa.int32())
RUN = ("run", {"start": "1"})
KEY = f"chunk:{T}:0"


@dataclass
class Sink:
    """A table and its checkpoint in memory, with fences that hold."""

    records: dict[str, Mapping[str, Any]] = field(default_factory=lambda: dict([RUN]))
    rows: list[int] = field(default_factory=list)

    def stage(
        self, stream: str, load: Load, rows: Iterator[pa.RecordBatch], mark: Mark, fence: Fence
    ) -> Staged:
        if self.records.get(fence.chunk[0]) != fence.chunk[1]:
            raise FencedOff("it was written meanwhile")
        new = [value for batch in rows for value in batch.column("id").to_pylist()]
        checkpoint = mark()
        self.rows += new
        self.records[checkpoint.key] = checkpoint.document
        return Staged(Written(len(new), 0, 4 * len(new)))

    def load_state(self, stream: str) -> Mapping[str, Mapping[str, Any]]:
        return self.records

    def settle(self, stream: str, load: Load, staged: Staged, fence: Fence) -> None:
        if self.records.get(fence.chunk[0]) != fence.chunk[1]:
            raise FencedOff("it was written meanwhile")
        self.records[fence.chunk[0]] = staged.pending


def task() -> ChunkTask:
    """A table of one chunk, by its key."""
    table = TableSchema(T, Dialect.POSTGRES, (NUMBER,))
    mapping = TableMapping(table, table, (ColumnMapping(NUMBER, NUMBER),))
    return ChunkTask(mapping, Chunk(T, 0, key=("id",)), Load(T, (NUMBER,)))


def record(rows: int, *, done: bool = False) -> dict[str, Any]:
    """The chunk's record with so many rows."""
    return {"done": done, "rows": rows, "last": [rows - 1]}


def read(extract: Extract, chunk: Chunk, rows: int) -> Iterator[pa.RecordBatch]:
    """Of a hundred rows those that are left."""
    begin = 0 if chunk.low is None else chunk.low[0] + 1
    for i in range(begin, 100, rows):
        yield pa.record_batch({"id": pa.array(range(i, min(100, i + rows)), pa.int32())})


def test_what_a_lost_attempt_wrote_counts_towards_the_limit_of_the_one_that_goes_on() -> None:
    sink = Sink()
    sink.records[KEY] = record(10)
    sink.rows = list(range(10))
    copying = FencedCopy("s", RUN, sink, sink.load_state, read, 5, "null", False)
    control = Control(max_rows=30)
    control.move(State.RUNNING)
    attempt = Attempt("second", lambda _: None)
    copying.copy(task(), control, attempt)
    assert sink.rows == list(range(30))


def test_a_report_that_is_fenced_off_is_counted_once_however_often_it_is_taken() -> None:
    sink, counters = Sink(), Counters()
    counters.expect(T, 100)
    ledger = Ledger(Run("s", RUN, sink, counters), task())
    pending = [Staged(Written(10, 0, 40), record(rows)) for rows in (10, 20)]
    portions = (
        Portion(None, record(10), pending[0]),
        Portion(record(99), record(20), pending[1]),
    )
    report = Report("one", 2, portions, rows=20, bytes=80, replaced={"id": 3})
    for _ in range(2):
        with pytest.raises(FencedOff):
            ledger.take(report)
    assert sink.records[KEY] == record(10)
    assert ledger.written == 10
    assert (counters._source.counter, counters._target.counter) == (20, 10)
    assert list(counters.take_replaced().values()) == [3]


def test_a_chunk_that_a_hung_worker_holds_is_said_with_what_to_do() -> None:
    class Held(Sink):
        def stage(self, *_: Any) -> Staged:
            raise LockTimeout("a lock was not had", retryable=False)

    copying = FencedCopy("s", RUN, Held(), Sink().load_state, read, 5, "null", False)
    control = Control()
    control.move(State.RUNNING)
    error = copying.copy(task(), control, Attempt("one", lambda _: None)).error
    assert isinstance(error, LockTimeout) and "hangs" in str(error.remedy)
