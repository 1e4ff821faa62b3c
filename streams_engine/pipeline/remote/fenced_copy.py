"""Copy one chunk beside others who may copy it too, fenced by its checkpoint record."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa

from streams_engine.contracts import (
    Checkpoint,
    CheckpointCallback,
    Fence,
    PreparedWrite,
    RecordBatches,
    SharedSink,
    WritePlan,
    WriteResult,
)
from streams_engine.errors import (
    FencedOff,
    InternalError,
    LockTimeout,
    ProcessLost,
    StreamsError,
    require,
)
from streams_engine.model import Chunk, Extract, TableId
from streams_engine.pipeline.checkpoint_records import ChunkRecord, Document, Documents, Records
from streams_engine.pipeline.control import Control
from streams_engine.pipeline.resume import remaining_chunk
from streams_engine.pipeline.snapshot.chunk_copy import ChunkCopy, ChunkTask

__all__ = ["ChunkAttempt", "ChunkCommit", "ChunkProgress", "FencedCopy", "fence_of", "rest_of"]

HANGS = "Find the worker that hangs, and end it; then start the stream again."
"""Where a chunk was given to another worker, the first one may still hold what it wrote."""


@dataclass(frozen=True, slots=True)
class ChunkCommit:
    """The result of one write, or the write prepared for commit. Pickles."""

    before: ChunkRecord | None
    """The chunk's record that it went on from."""
    record: ChunkRecord
    """The chunk's record with it."""
    prepared: PreparedWrite


@dataclass(frozen=True, slots=True)
class ChunkProgress:
    """Progress of one attempt at a chunk; each includes all earlier ones. Pickles."""

    attempt: str
    number: int = 0
    """A later report has a higher one."""
    commits: tuple[ChunkCommit, ...] = ()
    found: ChunkRecord | None = None
    """The chunk's record as others left it, where the attempt met one."""
    rows: int = 0
    bytes: int = 0
    """What left the source."""
    replaced: Mapping[str, int] = field(default_factory=dict)
    """By column, how many zero dates became NULL."""
    holding: bool = False
    """It pauses."""
    error: StreamsError | None = None


class ChunkAttempt:
    """The account of one attempt at a chunk, and who is told of it. Thread-safe."""

    def __init__(self, name: str, tell: Callable[[ChunkProgress], None]) -> None:
        self._tell = tell
        self._lock = threading.Lock()
        self.report = ChunkProgress(name)

    def note(self, **changes: Any) -> ChunkProgress:
        """Put something into the report."""
        with self._lock:
            self.report = replace(self.report, number=self.report.number + 1, **changes)
            return self.report

    def hold(self, holding: bool) -> None:
        """Report that the copy pauses or continues."""
        self._tell(self.note(holding=holding))

    def read(self, rows: int, size: int) -> None:
        """Count rows and bytes that were read from the source."""
        with self._lock:
            seen = self.report
            self.report = replace(seen, rows=seen.rows + rows, bytes=seen.bytes + size)

    def wrote(self, table: TableId, rows: int, quarantined: int, size: int) -> None:
        """Send the progress, which includes the written rows."""
        self._tell(self.note())

    def replaced(self, table: TableId, column: str, count: int) -> None:
        """Count zero dates of a column that became NULL."""
        seen = self.report.replaced
        self.note(replaced={**seen, column: seen.get(column, 0) + count})


@dataclass
class FencedCopy:
    """Copies chunks for a run of another process. Used by many threads."""

    stream: str
    run: tuple[str, Document]
    """The key of the run's record, and the record."""
    sink: SharedSink
    load_state: Callable[[str], Documents]
    read: Callable[[Extract, Chunk], RecordBatches]
    bundle: int
    zero_dates: str
    quarantine: bool

    def copy(self, task: ChunkTask, control: Control, attempt: ChunkAttempt) -> ChunkProgress:
        """Copy a chunk, or what others have left of it. Never raises: the report says why."""
        left: ChunkTask | None = task
        try:
            while left is not None:
                if not control.hold():
                    return attempt.note()
                try:
                    self._copy(left, control, attempt)
                    return attempt.note()
                except FencedOff:
                    left = self._left(task, control, attempt)
        except StreamsError as error:
            if isinstance(error, LockTimeout):
                error.remedy = f"{error.remedy} {HANGS}" if error.remedy else HANGS
            return attempt.note(error=error)
        except Exception as fault:
            what = f"A worker failed with {type(fault).__name__} while it copied a chunk."
            return attempt.note(error=InternalError(what, table=str(task.mapping.source.id)))
        return attempt.note()

    def _copy(self, task: ChunkTask, control: Control, attempt: ChunkAttempt) -> None:
        before = [task.before]

        def write(
            plan: WritePlan, rows: Iterator[pa.RecordBatch], make_checkpoint: CheckpointCallback
        ) -> WriteResult:
            made: list[Checkpoint] = []

            def marked() -> Checkpoint:
                made.append(make_checkpoint())
                return made[-1]

            fence = fence_of(self.run, task.chunk, before[-1])
            prepared = self.sink.prepare_write(self.stream, plan, rows, marked, fence)
            record = require(
                ChunkRecord.from_json(task.chunk, made[-1].document), "the record of a chunk"
            )
            commit = ChunkCommit(before[-1], record, prepared)
            before.append(record)
            attempt.note(commits=(*attempt.report.commits, commit))
            return prepared.written

        copy = ChunkCopy(
            self.read, write, control, attempt, self.bundle, self.zero_dates, self.quarantine
        )
        copy.copy(task)

    def _left(self, task: ChunkTask, control: Control, attempt: ChunkAttempt) -> ChunkTask | None:
        """Return what others have left of the chunk; what they wrote counts towards a limit.

        Raises `FencedOff` if the run is not ours.
        """
        records = self.load_state(self.stream)
        key, run = self.run
        if records.get(key) != run:
            raise FencedOff(
                f"The stream '{self.stream}' was started again, and this worker belongs to an "
                "earlier start.",
                remedy="Nothing needs to be done: what it read is not written.",
            )
        record = Records(records).chunk(task.chunk)
        written = [task.before, attempt.report.found]
        written += [commit.record for commit in attempt.report.commits]
        known = max(_rows(one) for one in written)
        control.reserve(max(0, _rows(record) - known))
        attempt.note(found=record)
        return rest_of(task, record)


def fence_of(run: tuple[str, Document], chunk: Chunk, before: ChunkRecord | None) -> Fence:
    """Return what must stand in the checkpoint for a write to a chunk to count."""
    document = None if before is None else before.to_json()
    return Fence(run, (ChunkRecord.key_of(chunk), document))


def rest_of(task: ChunkTask, record: ChunkRecord | None) -> ChunkTask | None:
    """Return what a chunk's record leaves of it; None if it is done.

    Raises `ProcessLost` if that has no name: rows without a key cannot be told apart.
    """
    chunk = remaining_chunk(task.chunk, record)
    if chunk is None:
        return None
    if record is not None and record.rows and not chunk.ordered and not record.last:
        raise ProcessLost(
            f"{task.mapping.source.id}: the worker that copied it is lost after writing a part, "
            "and the table has no key by which to find the rest.",
            remedy="Start the stream again: it loads the table anew.",
            table=str(task.mapping.source.id),
        )
    plan = replace(task.plan, freeze=task.plan.freeze and record is None)
    return replace(task, chunk=chunk, plan=plan, before=record)


def _rows(record: ChunkRecord | None) -> int:
    return 0 if record is None else record.rows
