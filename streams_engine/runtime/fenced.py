"""One chunk, copied beside others who may copy it too: what it reports, and when it gives way."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa

from streams_engine.errors import FencedOff, InternalError, LockTimeout, ProcessLost, StreamsError
from streams_engine.model import Chunk, Extract, TableId
from streams_engine.protocols import Checkpoint, Load, Mark, Written
from streams_engine.runtime.control import Control
from streams_engine.runtime.portions import ChunkCopy, ChunkTask
from streams_engine.runtime.resuming import chunk_key, continued
from streams_engine.sharing import Fence, SharedSink, Staged

__all__ = ["Attempt", "FencedCopy", "Portion", "Report", "plain", "rest_of"]

Record = Mapping[str, Any]

HANGS = "Look for a worker that hangs, and end it; then start the stream again."
"""Where a chunk was given to another worker, the first one may still hold what it wrote."""


@dataclass(frozen=True, slots=True)
class Portion:
    """What one write put on the target, or has ready for it. Pickles."""

    before: Record | None
    """The chunk's record that it went on from."""
    record: Record
    """The chunk's record with it."""
    staged: Staged


@dataclass(frozen=True, slots=True)
class Report:
    """How far one attempt at a chunk is. Each holds all that the ones before it held. Pickles."""

    attempt: str
    number: int = 0
    """A later report has a higher one."""
    portions: tuple[Portion, ...] = ()
    found: Record | None = None
    """The chunk's record as others left it, where the attempt met one."""
    rows: int = 0
    bytes: int = 0
    """What left the source."""
    replaced: Mapping[str, int] = field(default_factory=dict)
    """By column, how many zero dates became NULL."""
    holding: bool = False
    """It pauses."""
    error: StreamsError | None = None


class Attempt:
    """The account of one attempt at a chunk, and who is told of it. Thread-safe."""

    def __init__(self, name: str, tell: Callable[[Report], None]) -> None:
        self._tell = tell
        self._lock = threading.Lock()
        self.report = Report(name)

    def note(self, **changes: Any) -> Report:
        """Put something into the report."""
        with self._lock:
            self.report = replace(self.report, number=self.report.number + 1, **changes)
            return self.report

    def hold(self, holding: bool) -> None:
        """The copy pauses, or goes on."""
        self._tell(self.note(holding=holding))

    def read(self, rows: int, size: int) -> None:
        """So many rows, or bytes, left the source."""
        with self._lock:
            seen = self.report
            self.report = replace(seen, rows=seen.rows + rows, bytes=seen.bytes + size)

    def wrote(self, table: TableId, rows: int, rejected: int, size: int) -> None:
        """A portion is in the report: whoever reads it counts it."""
        self._tell(self.note())

    def replaced(self, table: TableId, column: str, count: int) -> None:
        """So many zero dates of a column became NULL."""
        seen = self.report.replaced
        self.note(replaced={**seen, column: seen.get(column, 0) + count})


@dataclass
class FencedCopy:
    """Copies chunks for a run of another process. Used by many threads."""

    stream: str
    run: tuple[str, Record]
    """The key of the run's record, and the record."""
    sink: SharedSink
    load_state: Callable[[str], Mapping[str, Record]]
    read: Callable[[Extract, Chunk, int], Iterator[pa.RecordBatch]]
    bundle: int
    zero_dates: str
    quarantine: bool

    def copy(self, task: ChunkTask, control: Control, attempt: Attempt) -> Report:
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
            if isinstance(error, LockTimeout) and error.remedy is None:
                error.remedy = HANGS
            return attempt.note(error=error)
        except Exception as fault:
            what = f"A worker failed of {type(fault).__name__} while it copied a chunk."
            return attempt.note(error=InternalError(what, table=str(task.mapping.source.id)))
        return attempt.note()

    def _copy(self, task: ChunkTask, control: Control, attempt: Attempt) -> None:
        before = [task.before]

        def write(load: Load, rows: Iterator[pa.RecordBatch], mark: Mark) -> Written:
            made: list[Checkpoint] = []

            def marked() -> Checkpoint:
                made.append(mark())
                return made[-1]

            fence = Fence(self.run, (chunk_key(task.chunk), before[-1]))
            staged = self.sink.stage(self.stream, load, rows, marked, fence)
            record = plain(made[-1].document)
            portion = Portion(before[-1], record, staged)
            before.append(record)
            attempt.note(portions=(*attempt.report.portions, portion))
            return staged.written

        copy = ChunkCopy(
            self.read, write, control, attempt, self.bundle, self.zero_dates, self.quarantine
        )
        copy.copy(task)

    def _left(self, task: ChunkTask, control: Control, attempt: Attempt) -> ChunkTask | None:
        """What others have left of the chunk; what they wrote counts towards a limit.

        Raises `FencedOff` where the run is not ours.
        """
        records = self.load_state(self.stream)
        key, run = self.run
        if records.get(key) != run:
            raise FencedOff(
                f"The stream '{self.stream}' was started anew, and this worker is of an earlier "
                "start.",
                remedy="Nothing is to be done: what it read is not written.",
            )
        record = records.get(chunk_key(task.chunk))
        written = [task.before, attempt.report.found]
        written += [portion.record for portion in attempt.report.portions]
        known = max(_rows(one) for one in written)
        control.reserve(max(0, _rows(record) - known))
        attempt.note(found=record)
        return rest_of(task, record)


def rest_of(task: ChunkTask, record: Record | None) -> ChunkTask | None:
    """What a chunk's record leaves of it; None where it is done.

    Raises `ProcessLost` where that has no name: rows without a key cannot be told apart.
    """
    chunk = continued(task.chunk, record)
    if chunk is None:
        return None
    if record is not None and record["rows"] and not chunk.ordered and not record["last"]:
        raise ProcessLost(
            f"{task.mapping.source.id}: the worker that copied it is lost. It had written a part, "
            "and without a key the rest has no name.",
            remedy="Start the stream again: the table is loaded anew.",
            table=str(task.mapping.source.id),
        )
    load = replace(task.load, freeze=task.load.freeze and record is None)
    return replace(task, chunk=chunk, load=load, before=record)


def _rows(record: Record | None) -> int:
    return 0 if record is None else int(record["rows"])


def plain(record: Record) -> Record:
    """A record as it comes back from where it is kept."""
    found: Record = json.loads(json.dumps(record))
    return found
