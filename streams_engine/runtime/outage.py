"""Outages: whether a broken session is opened again, how long is waited, and what is said of it."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass

from streams_engine.errors import SnapshotLost, StreamsError
from streams_engine.runtime.control import Control
from streams_engine.stats import Counters

__all__ = ["Outage"]

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

    def over(self) -> None:
        """A session stands."""
        self.stood, self._standing = True, time.monotonic()
        self.counters.connected(self.alias)

    def progressed(self) -> None:
        """Something became durable: what breaks now is another outage."""
        self._attempts = 0

    def wait(self, error: StreamsError) -> None:
        """Wait before the next try, no longer than until the run is to pause or end.

        Raises ``error`` where it is final: the same try would not succeed later, the timeout is
        over, or the session never stood and broke too often.
        """
        now = time.monotonic()
        if self._standing is not None and now - self._standing > CALM_SECONDS:
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
        self.counters.reconnecting(self.alias, error, now - self._since)
        self.control.idle(self._pause())

    def _pause(self) -> float:
        longest = min(LONGEST_WAIT, SHORTEST_WAIT * 2 ** min(self._attempts, 16))
        # Many streams that lost one server must not come back at one moment.
        return random.uniform(longest / 2, longest)
