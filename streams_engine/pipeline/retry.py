"""Retries and outages: what is tried again, how long is waited, and what is said of it."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from streams_engine.errors import ConnectionFailed, SnapshotLost, StreamsError
from streams_engine.pipeline.control import Control
from streams_engine.stats import Counters

__all__ = [
    "Outage",
    "retry",
]


log = logging.getLogger("streams_engine.retrying")

ATTEMPTS = 5
FIRST_PAUSE = 0.05
T = TypeVar("T")


def retry(work: Callable[[], T], what: str) -> T:
    """Run ``work``; where it raises a transient error (deadlock, serialization), run it again.

    At most five times, with growing random pauses. A lost connection is not tried again
    here: a reader cannot rejoin its view. ``work`` must be safe to repeat.
    """

    for attempt in range(1, ATTEMPTS):
        try:
            return work()
        except StreamsError as error:
            if not error.retryable or isinstance(error, ConnectionFailed):
                raise
            log.warning(
                "%s is tried again: %s [%s]",
                what,
                error.message,
                error.code,
                extra={"what": what, "code": error.code},
            )
        time.sleep(random.uniform(0, min(2.0, FIRST_PAUSE * 2**attempt)))
    return work()


FIRST_ATTEMPTS = 8
"""How often a session that never stood may break before the stream fails."""

SHORTEST_WAIT, LONGEST_WAIT = 0.1, 5.0
"""Seconds between two tries: doubled each time. A server that is back is found that soon."""

CALM_SECONDS = 30.0
"""A session that stood for so long was no part of an outage before it."""


@dataclass
class Outage:
    """The outages of one connection of a run. Used by one thread."""

    control: Control
    counters: Counters
    alias: str = ""
    timeout: float = 0.0
    """Seconds after which an outage ends the stream; 0: never."""
    stood: bool = False
    """A session stood already: it is waited for however often it breaks."""
    _attempts: int = 0
    _since: float = 0.0
    _standing: float | None = None
    _blocked: bool = False
    """What is waited for is none of the connection's, as a lock: only a commit shows its end."""

    def over(self) -> None:
        """Record that a session is connected again."""
        self.stood, self._standing = True, time.monotonic()
        if not self._blocked:
            self.counters.connected(self.alias)

    def progressed(self) -> None:
        """Record that something became durable: a later failure is a new outage."""
        self._attempts = 0
        if self._blocked:
            self._blocked = False
            self.counters.connected(self.alias)

    def wait(self, error: StreamsError) -> None:
        """Wait before the next try, no longer than until the run is to pause or end.

        Raises ``error`` where it is final: the same try would not succeed later, the timeout is
        over, or the session never stood and broke too often.
        """
        now = time.monotonic()
        stood = self._standing is not None
        if self._standing is not None and now - self._standing > CALM_SECONDS and not self._blocked:
            self._attempts = 0
        self._standing = None
        self._attempts += 1
        if self._attempts == 1:
            self._since = now
        lasting = isinstance(error, SnapshotLost)  # of the view; its server may come back
        if not (error.retryable or lasting) or self.control.forced.is_set():
            raise error
        if not self.stood and self._attempts >= FIRST_ATTEMPTS:
            raise error
        if self.timeout and now - self._since >= self.timeout:
            raise error
        self._blocked = stood and not isinstance(error, ConnectionFailed)
        self.counters.reconnecting(self.alias, error, now - self._since)
        self.control.idle(self._pause())

    def _pause(self) -> float:
        longest = min(LONGEST_WAIT, SHORTEST_WAIT * 2 ** min(self._attempts, 16))
        # Many streams that lost one server must not come back at one moment.
        return random.uniform(longest / 2, longest)
