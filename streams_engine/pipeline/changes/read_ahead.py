"""Read the next set of a log while the one before it is applied."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor

from streams_engine.contracts import ChangeReader
from streams_engine.model import ChangeSet

__all__ = ["ReadAhead"]


class ReadAhead:
    """Polls a reader: on the caller's thread, or ahead of it on one of its own. Used by one thread.

    The two never poll at the same time, so that a reader still has one user at a time.
    """

    def __init__(self, reader: ChangeReader) -> None:
        self._reader = reader
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="streams-engine-read-ahead")
        self._next: Future[ChangeSet | None] | None = None

    def poll(self, timeout: float, rows: int | None) -> ChangeSet | None:
        """Return the set that was read ahead, or else the reader's next one.

        Raises what the reader raises.
        """
        ahead, self._next = self._next, None
        return self._reader.poll(timeout, rows) if ahead is None else ahead.result()

    def begin(self, timeout: float) -> None:
        """Begin to read the next set. Nothing else may use the reader until `poll` returns it, but
        for `acknowledge`."""
        self._next = self._pool.submit(self._reader.poll, timeout)

    def close(self) -> None:
        """Drop what was read ahead, and wait until the reader is not used any more."""
        self._next = None
        self._pool.shutdown()
