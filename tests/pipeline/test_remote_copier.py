"""What is counted of a chunk over several attempts at it, and how far one may go."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pytest

from streams_engine.contracts import (
    CheckpointCallback,
    Fence,
    PreparedWrite,
    WritePlan,
    WriteResult,
)
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
from streams_engine.pipeline.checkpoint_records import ChunkRecord
from streams_engine.pipeline.control import Control
from streams_engine.pipeline.remote.copier import ChunkTally, RemoteRun
from streams_engine.pipeline.remote.fenced_copy import (
    ChunkAttempt,
    ChunkCommit,
    ChunkProgress,
    FencedCopy,
)
from streams_engine.pipeline.snapshot.chunk_copy import ChunkTask
from streams_engine.schema.mapping.tables import ColumnMapping, TableMapping
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

    def prepare_write(
        self,
        stream: str,
        plan: WritePlan,
        rows: Iterator[pa.RecordBatch],
        make_checkpoint: CheckpointCallback,
        fence: Fence,
    ) -> PreparedWrite:
        if self.records.get(fence.chunk[0]) != fence.chunk[1]:
            raise FencedOff("it was written meanwhile")
        new = [value for batch in rows for value in batch.column("id").to_pylist()]
        checkpoint = make_checkpoint()
        self.rows += new
        self.records[checkpoint.key] = checkpoint.document
        return PreparedWrite(WriteResult(len(new), 0, 4 * len(new)))

    def load_state(self, stream: str) -> Mapping[str, Mapping[str, Any]]:
        return self.records

    def commit_write(
        self, stream: str, plan: WritePlan, prepared: PreparedWrite, fence: Fence
    ) -> None:
        if self.records.get(fence.chunk[0]) != fence.chunk[1]:
            raise FencedOff("it was written meanwhile")
        self.records[fence.chunk[0]] = prepared.pending


def task() -> ChunkTask:
    """A table of one chunk, by its key."""
    table = TableSchema(T, Dialect.POSTGRES, (NUMBER,))
    mapping = TableMapping(table, table, (ColumnMapping(NUMBER, NUMBER),))
    return ChunkTask(mapping, Chunk(T, 0, key=("id",)), WritePlan(T, (NUMBER,)))


def record(rows: int) -> ChunkRecord:
    """The chunk's record with so many rows."""
    return ChunkRecord(T, 0, False, rows, (rows - 1,))


def read(extract: Extract, chunk: Chunk) -> Iterator[pa.RecordBatch]:
    """Of a hundred rows those that are left, five at a time."""
    rows = 5
    begin = 0 if chunk.low is None else chunk.low[0] + 1
    for i in range(begin, 100, rows):
        yield pa.record_batch({"id": pa.array(range(i, min(100, i + rows)), pa.int32())})


def test_what_a_lost_attempt_wrote_counts_towards_the_limit_of_the_one_that_goes_on() -> None:
    sink = Sink()
    sink.records[KEY] = record(10).to_json()
    sink.rows = list(range(10))
    copying = FencedCopy("s", RUN, sink, sink.load_state, read, 5, "null", False)
    control = Control(max_rows=30)
    control.move(State.RUNNING)
    attempt = ChunkAttempt("second", lambda _: None)
    copying.copy(task(), control, attempt)
    assert sink.rows == list(range(30))


def test_a_report_that_is_fenced_off_is_counted_once_however_often_it_is_taken() -> None:
    sink, counters = Sink(), Counters()
    counters.expect(T, 100)
    tally = ChunkTally(RemoteRun("s", RUN, sink, counters), task())
    pending = [PreparedWrite(WriteResult(10, 0, 40), record(rows).to_json()) for rows in (10, 20)]
    commits = (
        ChunkCommit(None, record(10), pending[0]),
        ChunkCommit(record(99), record(20), pending[1]),
    )
    report = ChunkProgress("one", 2, commits, rows=20, bytes=80, replaced={"id": 3})
    for _ in range(2):
        with pytest.raises(FencedOff):
            tally.take(report)
    assert sink.records[KEY] == record(10).to_json()
    assert tally.written == 10
    assert (counters._source.counter, counters._target.counter) == (20, 10)
    assert list(counters.take_replaced().values()) == [3]


def test_a_chunk_that_a_hung_worker_holds_is_said_with_what_to_do() -> None:
    class Held(Sink):
        def prepare_write(self, *_: Any) -> PreparedWrite:
            raise LockTimeout("a lock was not had", retryable=False)

    copying = FencedCopy("s", RUN, Held(), Sink().load_state, read, 5, "null", False)
    control = Control()
    control.move(State.RUNNING)
    error = copying.copy(task(), control, ChunkAttempt("one", lambda _: None)).error
    assert isinstance(error, LockTimeout) and "hangs" in str(error.remedy)
