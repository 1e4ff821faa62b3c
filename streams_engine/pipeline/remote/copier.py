"""Chunks that worker processes copy: each is waited for, each row counted once."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any, Protocol

from streams_engine.contracts import SharedSink, SnapshotHandle
from streams_engine.errors import FencedOff
from streams_engine.pipeline.checkpoint_records import ChunkRecord
from streams_engine.pipeline.control import Control
from streams_engine.pipeline.remote.fenced_copy import (
    ChunkCommit,
    ChunkProgress,
    fence_of,
    rest_of,
)
from streams_engine.pipeline.snapshot.chunk_copy import ChunkTask
from streams_engine.stats import Counters

__all__ = ["ChunkRequest", "ChunkTally", "RemoteCopier", "RemoteRun", "WorkerCluster", "WorkerPool"]

ALL_ROWS = 1 << 62


class WorkerPool(Protocol):
    """The places of a run on the workers of a cluster. Thread-safe."""

    slots: int
    """How many chunks may be under way at once."""

    def join(self, alias: str, handle: SnapshotHandle) -> None:
        """Let every worker join a source's view. Returns when all have.

        Raises what kept one from it, and `LockTimeout` if one does not answer in time.
        """
        ...

    def hold(self, alias: str) -> bool:
        """Return True if the workers have joined that source's snapshot."""
        ...

    def copy(
        self, task: ChunkTask, run: tuple[str, Mapping[str, Any]], rows: int | None
    ) -> Iterator[ChunkProgress]:
        """Copy a chunk on a worker, at most ``rows`` rows, yielding its progress.

        A lost worker's chunk goes to another worker; the last progress is that of the attempt that
        ended. Raises `ConnectionFailed` if no worker is left.
        """
        ...


class WorkerCluster(Protocol):
    """Worker processes of the user's that copy chunks for a run."""

    def open_pool(self, control: Control) -> AbstractContextManager[WorkerPool]:
        """Open sessions on the cluster's workers, which follow ``control`` until the block ends."""
        ...


@dataclass(frozen=True, slots=True)
class RemoteRun:
    """The run that chunks are copied for."""

    stream: str
    record: tuple[str, Mapping[str, Any]]
    """The key of its record in the checkpoint, and the record."""
    sink: SharedSink
    counters: Counters


@dataclass(frozen=True, slots=True)
class ChunkRequest:
    """A chunk on its way to a worker. Pickles."""

    task: ChunkTask
    run: tuple[str, Mapping[str, Any]]
    """The key of the run's record, and the record."""
    rows: int | None
    """No more rows than that; None: all."""


class ChunkTally:
    """The durable part of one chunk, over all attempts at it. Used by one thread.

    An attempt may be lost with all that it has not told yet, told twice, or told late.
    """

    def __init__(self, run: RemoteRun, task: ChunkTask) -> None:
        self._run = run
        self._task = task
        self._rows = task.rows
        self._record: ChunkRecord | None = None
        self._seen: dict[str, ChunkProgress] = {}
        self.written = 0
        """Rows that became durable on the target since the ledger was opened."""

    def rest(self) -> ChunkTask | None:
        """Return what is left to copy; None if nothing is. Raises `ProcessLost`."""
        return self._task if self._record is None else rest_of(self._task, self._record)

    def take(self, report: ChunkProgress) -> None:
        """Make durable what the report has pending, and count what was not counted yet.

        Raises `FencedOff` if another attempt was before it: the rest is to be copied anew.
        """
        seen = self._seen.setdefault(report.attempt, ChunkProgress(report.attempt))
        if report.number <= seen.number:
            return
        self._count_read(report, seen)
        # Where a portion cannot be settled, what came before it was counted all the same.
        seen = replace(report, number=seen.number, commits=seen.commits)
        self._seen[report.attempt] = seen
        for commit in report.commits[len(seen.commits) :]:
            self._commit(commit)
            seen = replace(seen, commits=(*seen.commits, commit))
            self._seen[report.attempt] = seen
        self._advance(report.found)
        self._seen[report.attempt] = report

    def _commit(self, commit: ChunkCommit) -> None:
        begun = 0 if commit.before is None else commit.before.rows
        if begun < self._rows and commit.prepared.pending is None:
            return  # told late: the attempt that found it has counted it
        fence = fence_of(self._run.record, self._task.chunk, commit.before)
        self._run.sink.commit_write(self._run.stream, self._task.plan, commit.prepared, fence)
        self._advance(commit.before)
        written = commit.prepared.written
        self._wrote(written.rows, written.quarantined, written.bytes)
        self._rows = commit.record.rows
        self._record = commit.record

    def _advance(self, record: ChunkRecord | None) -> None:
        """Count rows that an attempt committed and told nobody of."""
        if record is None or record.rows < self._rows:
            return
        if record.rows > self._rows:
            self._wrote(record.rows - self._rows, 0, 0)
        self._rows, self._record = record.rows, record

    def _wrote(self, rows: int, quarantined: int, size: int) -> None:
        self.written += rows
        self._run.counters.wrote(self._task.mapping.source.id, rows, quarantined, size)

    def _count_read(self, report: ChunkProgress, seen: ChunkProgress) -> None:
        counters = self._run.counters
        counters.read(report.rows - seen.rows, report.bytes - seen.bytes)
        for column, count in report.replaced.items():
            more = count - seen.replaced.get(column, 0)
            if more:
                counters.replaced(self._task.mapping.source.id, column, more)


@dataclass
class RemoteCopier:
    """Has the chunks of one run copied on the seats of a cluster. Used by many threads."""

    run: RemoteRun
    pool: WorkerPool
    control: Control

    def copy(self, task: ChunkTask) -> bool:
        """Copy one chunk remotely. Return True if it is complete, False if the run is interrupted.

        Raises the error of the last attempt.
        """
        tally = ChunkTally(self.run, task)
        while (left := tally.rest()) is not None:
            if not self.control.hold():
                return False
            report = self._attempt(tally, left)
            if report is not None and report.error is not None:
                raise report.error
        return True

    def _attempt(self, tally: ChunkTally, task: ChunkTask) -> ChunkProgress | None:
        """Try to copy a chunk once. Return None if another worker had written what it read."""
        limited = self.control.counts_rows
        granted = self.control.reserve(ALL_ROWS) if limited else 0
        before = tally.written
        try:
            report = None
            for report in self.pool.copy(task, self.run.record, granted if limited else None):
                with contextlib.suppress(FencedOff):
                    tally.take(report)
                if report.holding:
                    self.control.hold()
            if report is not None:
                tally.take(report)
            return report
        except FencedOff:
            return None
        finally:
            if limited:
                self.control.release_rows(granted - (tally.written - before))
