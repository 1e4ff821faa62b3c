"""Chunks that worker processes copy: this process waits for each, and counts each row once."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any, Protocol

from streams_engine.errors import FencedOff
from streams_engine.runtime.control import Control
from streams_engine.runtime.fenced import Portion, Report, rest_of
from streams_engine.runtime.portions import ChunkTask
from streams_engine.runtime.resuming import chunk_key
from streams_engine.sharing import Fence, SharedSink, Ticket
from streams_engine.stats import Counters

__all__ = ["Carrier", "Cluster", "Flight", "Ledger", "Run", "Seats"]

ALL_ROWS = 1 << 62


class Seats(Protocol):
    """The places of a run on the workers of a cluster. Thread-safe."""

    slots: int
    """How many chunks may be under way at once."""

    def join(self, alias: str, ticket: Ticket) -> None:
        """Let every worker join a source's view. Returns when all have.

        Raises what kept one from it, and `LockTimeout` where one does not answer in time.
        """
        ...

    def hold(self, alias: str) -> bool:
        """True where the workers have joined that source's view."""
        ...

    def copy(
        self, task: ChunkTask, run: tuple[str, Mapping[str, Any]], rows: int | None
    ) -> Iterator[Report]:
        """Have a chunk copied, of no more than ``rows`` rows: reports as they come.

        A lost worker's chunk goes to another one; the last report is of the attempt that ended.
        Raises `ConnectionFailed` where no worker is left.
        """
        ...


class Cluster(Protocol):
    """Worker processes of the user's that copy chunks for a run."""

    def seated(self, control: Control) -> AbstractContextManager[Seats]:
        """Places on its workers, who do what ``control`` says until the context ends."""
        ...


@dataclass(frozen=True, slots=True)
class Run:
    """The run that chunks are copied for."""

    stream: str
    record: tuple[str, Mapping[str, Any]]
    """The key of its record in the checkpoint, and the record."""
    sink: SharedSink
    counters: Counters


@dataclass(frozen=True, slots=True)
class Flight:
    """A chunk on its way to a worker. Pickles."""

    task: ChunkTask
    run: tuple[str, Mapping[str, Any]]
    """The key of the run's record, and the record."""
    rows: int | None
    """No more rows than that; None: all."""


class Ledger:
    """What is known to be durable of one chunk, over all attempts at it. Used by one thread.

    An attempt may be lost with all that it has not told yet, told twice, or told late.
    """

    def __init__(self, run: Run, task: ChunkTask) -> None:
        self._run = run
        self._task = task
        self._rows = task.rows
        self._record: Mapping[str, Any] | None = None
        self._seen: dict[str, Report] = {}
        self.written = 0
        """Rows that became durable on the target since the ledger was opened."""

    def rest(self) -> ChunkTask | None:
        """What is left to copy; None where nothing is. Raises `ProcessLost`."""
        return self._task if self._record is None else rest_of(self._task, self._record)

    def take(self, report: Report) -> None:
        """Make durable what the report has pending, and count what was not counted yet.

        Raises `FencedOff` where another attempt was before it: the rest is to be copied anew.
        """
        seen = self._seen.setdefault(report.attempt, Report(report.attempt))
        if report.number <= seen.number:
            return
        self._count_read(report, seen)
        # Where a portion cannot be settled, what came before it was counted all the same.
        seen = replace(report, number=seen.number, portions=seen.portions)
        self._seen[report.attempt] = seen
        for portion in report.portions[len(seen.portions) :]:
            self._settle(portion)
            seen = replace(seen, portions=(*seen.portions, portion))
            self._seen[report.attempt] = seen
        self._advance(report.found)
        self._seen[report.attempt] = report

    def _settle(self, portion: Portion) -> None:
        begun = 0 if portion.before is None else int(portion.before["rows"])
        if begun < self._rows and portion.staged.pending is None:
            return  # told late: the attempt that found it has counted it
        fence = Fence(self._run.record, (chunk_key(self._task.chunk), portion.before))
        self._run.sink.settle(self._run.stream, self._task.load, portion.staged, fence)
        self._advance(portion.before)
        written = portion.staged.written
        self._wrote(written.rows, written.rejected, written.bytes)
        self._rows = int(portion.record["rows"])
        self._record = portion.record

    def _advance(self, record: Mapping[str, Any] | None) -> None:
        """Count rows that an attempt committed and told nobody of."""
        if record is None or record["rows"] < self._rows:
            return
        if record["rows"] > self._rows:
            self._wrote(record["rows"] - self._rows, 0, 0)
        self._rows, self._record = int(record["rows"]), record

    def _wrote(self, rows: int, rejected: int, size: int) -> None:
        self.written += rows
        self._run.counters.wrote(self._task.mapping.source.id, rows, rejected, size)

    def _count_read(self, report: Report, seen: Report) -> None:
        counters = self._run.counters
        counters.read(report.rows - seen.rows, report.bytes - seen.bytes)
        for column, count in report.replaced.items():
            more = count - seen.replaced.get(column, 0)
            if more:
                counters.replaced(self._task.mapping.source.id, column, more)


@dataclass
class Carrier:
    """Has the chunks of one run copied on the seats of a cluster. Used by many threads."""

    run: Run
    seats: Seats
    control: Control

    def carry(self, task: ChunkTask) -> bool:
        """Have one chunk copied. True where it is whole, False where the run is cut.

        Raises what the last attempt at it failed of.
        """
        ledger = Ledger(self.run, task)
        while (left := ledger.rest()) is not None:
            if not self.control.hold():
                return False
            report = self._attempt(ledger, left)
            if report is not None and report.error is not None:
                raise report.error
        return True

    def _attempt(self, ledger: Ledger, task: ChunkTask) -> Report | None:
        """One flight of a chunk. None where what it brought had been written by another."""
        limited = self.control.counts_rows
        granted = self.control.reserve(ALL_ROWS) if limited else 0
        before = ledger.written
        try:
            report = None
            for report in self.seats.copy(task, self.run.record, granted if limited else None):
                with contextlib.suppress(FencedOff):
                    ledger.take(report)
                if report.holding:
                    self.control.hold()
            if report is not None:
                ledger.take(report)
            return report
        except FencedOff:
            return None
        finally:
            if limited:
                self.control.give_back(granted - (ledger.written - before))
