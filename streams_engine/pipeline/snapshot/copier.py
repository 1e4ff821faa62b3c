"""Copy the chunks of a run on a pool of threads."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future, wait
from dataclasses import dataclass, field

from streams_engine.errors import ConnectionFailed, FencedOff, StreamsError
from streams_engine.faults import reach
from streams_engine.model import Finding, Severity, TableId
from streams_engine.pipeline.control import Control
from streams_engine.pipeline.snapshot.chunk_copy import ChunkTask
from streams_engine.stats import Counters

__all__ = ["Copier"]


@dataclass
class Copier:
    """Sees to the chunks of one run, and remembers which tables failed."""

    control: Control
    counters: Counters
    workers: int
    """How many chunks may be under way, however large the pool is."""
    failed: dict[TableId, StreamsError] = field(default_factory=dict)
    _left: dict[TableId, int] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._slots = threading.Semaphore(self.workers)

    def copy(
        self,
        tasks: Sequence[ChunkTask],
        copy_chunk: Callable[[ChunkTask], bool],
        executor: Executor,
    ) -> None:
        """Copy all tasks, largest table first. A table's failure does not stop the others.

        ``copy_chunk`` copies one; it returns False if the run is interrupted.

        Raises the first error where a connection was lost, or another process took the stream
        over, for then no table can go on.
        """
        for task in tasks:
            table = task.mapping.source.id
            self._left[table] = self._left.get(table, 0) + 1
        futures = [executor.submit(self._work, task, copy_chunk) for task in tasks]
        try:
            wait(futures)
        except BaseException:
            self._abandon(futures)
            raise
        for future in futures:
            if not future.cancelled() and (error := future.exception()):
                raise error

    def _abandon(self, futures: Sequence[Future[None]]) -> None:
        for future in futures:
            future.cancel()
        wait(futures)

    def _work(self, task: ChunkTask, copy_chunk: Callable[[ChunkTask], bool]) -> None:
        table = task.mapping.source.id
        with self._slots, self.control.working():
            if table in self.failed or not self.control.hold():
                return
            self.counters.enter(table, "copying")
            try:
                finished = copy_chunk(task)
            except (ConnectionFailed, FencedOff):
                if not self.control.forced.is_set():
                    self.control.abort()
                    raise
                return
            except StreamsError as error:
                self._fail(table, error)
                return
            reach("handover: chunk copied")
            with self._lock:
                self._left[table] -= finished
                done = not self._left[table]
            if done:
                self.counters.enter(table, "copied")

    def _fail(self, table: TableId, error: StreamsError) -> None:
        self.failed.setdefault(table, error)
        self.counters.enter(table, "failed")
        self.counters.found(
            [Finding(Severity.ERROR, error.code, str(table), error.message, error.remedy)]
        )
