"""One query's end before its time: a timeout, or somebody who cancels it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable

from streams_engine.errors import QueryStopped, QueryTimeout

__all__ = ["Cancellation"]


class Cancellation:
    """Cancel the parts of a query, and say why. Thread-safe."""

    def __init__(self, timeout: float | None) -> None:
        """Start the timer of a query. ``timeout`` is in seconds from now; None for no limit."""
        self._lock = threading.Lock()
        self._stops: list[Callable[[], None]] = []
        self._reason: QueryStopped | None = None
        self._timer: threading.Timer | None = None
        if timeout is not None:
            error = QueryTimeout(
                f"The query took longer than {timeout:g} seconds and was cancelled.",
                remedy="Ask for fewer rows, or raise the timeout.",
                timeout=timeout,
            )
            self._timer = threading.Timer(timeout, self.stop, (error,))
            self._timer.daemon = True
            self._timer.start()

    @property
    def reason(self) -> QueryStopped | None:
        """Why it was stopped; None as long as it was not."""
        return self._reason

    def add(self, stop: Callable[[], None]) -> None:
        """Call ``stop`` when the query is stopped; at once if it was stopped already."""
        with self._lock:
            self._stops.append(stop)
            stopped = self._reason is not None
        if stopped:
            stop()

    def stop(self, reason: QueryStopped) -> None:
        """Stop everything; the first reason counts."""
        with self._lock:
            if self._reason is not None:
                return
            self._reason = reason
            stops = list(reversed(self._stops))
        for stop in stops:
            # One that is at its end already must not keep the others alive.
            with contextlib.suppress(Exception):
                stop()

    def demand(self) -> None:
        """Raise `QueryStopped` if the query was stopped."""
        if self._reason is not None:
            raise self._reason

    def close(self) -> None:
        """End the timer and forget all callbacks: the query has ended."""
        if self._timer is not None:
            self._timer.cancel()
        with self._lock:
            self._stops.clear()
