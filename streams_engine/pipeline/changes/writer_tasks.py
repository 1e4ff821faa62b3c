"""Tasks of other threads that run on the target between two transactions of a log."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from streams_engine.contracts import ChangeWriter
from streams_engine.errors import StateConflict, StreamsError
from streams_engine.lifecycle import State

__all__ = ["WriterTasks"]

LOOK_SECONDS = 0.2
"""Seconds between two checks whether the stream has ended."""

Work = Callable[[ChangeWriter], int]


@dataclass
class _Task:
    work: Work
    done: threading.Event = field(default_factory=threading.Event)
    result: int = 0
    error: BaseException | None = None


@dataclass
class WriterTasks:
    """A queue of tasks that lasts as long as the stream, over all sessions of its log."""

    state: Callable[[], State]
    wake: Callable[[], None] = lambda: None
    """Has the log's thread look for tasks."""
    _waiting: deque[_Task] = field(default_factory=deque)

    def run(self, work: Work) -> int:
        """Run work in a transaction of its own, under the stream's fence; commit it, and return its
        result. For any thread but the log's.

        Raises what the work raises, and `StateConflict` if the stream ends first.
        """
        task = _Task(work)
        self._waiting.append(task)
        self.wake()
        while not task.done.wait(LOOK_SECONDS):
            if self.state().final:
                raise StateConflict("The stream ended before its target could be written to.")
        if task.error is not None:
            raise task.error
        return task.result

    @property
    def waiting(self) -> bool:
        """Whether there are tasks."""
        return bool(self._waiting)

    def do(self, writer: ChangeWriter, commit: Callable[[], None]) -> None:
        """Run the waiting tasks. For the log's thread, while nothing is applied and not committed.

        Raises retryable errors, which end the session.
        """
        while self._waiting:
            task = self._waiting.popleft()
            try:
                task.result = task.work(writer)
                commit()
            except BaseException as error:
                task.error = error
                if not isinstance(error, StreamsError) or error.retryable:
                    raise
                writer.rollback()
            finally:
                task.done.set()
