"""Work that other threads want done on the target between two transactions of a log."""

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
"""How often it is looked whether the stream has ended."""

Work = Callable[[ChangeWriter], int]


@dataclass
class _Task:
    work: Work
    done: threading.Event = field(default_factory=threading.Event)
    result: int = 0
    error: BaseException | None = None


@dataclass
class WriterTasks:
    """A queue that lasts as long as the stream, over all sessions of its log."""

    state: Callable[[], State]
    _waiting: deque[_Task] = field(default_factory=deque)

    def run(self, work: Work) -> int:
        """Have work done in a transaction of its own, under the stream's fence, and return what it
        returns; it is committed then. For any thread but the log's.

        Raises what the work raises, and `StateConflict` if the stream ends before.
        """
        task = _Task(work)
        self._waiting.append(task)
        while not task.done.wait(LOOK_SECONDS):
            if self.state().final:
                raise StateConflict("The stream ended before its target could be written to.")
        if task.error is not None:
            raise task.error
        return task.result

    def do(self, writer: ChangeWriter, commit: Callable[[], None]) -> None:
        """Do what waits. For the log's thread, where nothing is applied that is not committed.

        Raises what ends the session: an error that may pass.
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
