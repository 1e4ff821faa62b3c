"""How many seconds a target is behind the log of one source."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["LogLag"]

Position = Mapping[str, Any]

GRACE_SECONDS = 1.0
"""How long log that a look found after the position may be on its way to the reader: it may all be
of others, and is passed then."""
UNSEEN_SECONDS = 10.0
"""How long, beyond three intervals, no look may answer before commits are to be expected."""
MOST_ENDS = 100
"""So many ends of the log are kept, until the target has reached them."""


@dataclass(slots=True)
class LogLag:
    """Tells the age of the oldest commit that is, or may be, not on the target. Not thread-safe.

    Its clock is this machine's monotonic one. The source's clock counts only for the age of a
    commit when its changes are read: never less than 0, and never more than the time since the
    target was last known to have everything.
    """

    in_step: float | None = None
    """All that was committed until then is on the target."""
    _applied: float | None = None
    """When the last transaction that is on the target was committed."""
    _reading: tuple[float, float] | None = None
    """When the first of the sets that are read and not durable was committed, and read."""
    _ends: list[tuple[float, Position | None]] = field(default_factory=list)
    """Looks that found more log than is on the target: when, and the log's end if it is known."""
    _looked: float | None = None
    """When the last look that was answered began."""
    _last: float | None = None
    """The lag when the last commit became durable, or a look said that nothing is left."""

    def seconds(self, interval: float) -> float | None:
        """Return the lag; None if nothing is known yet. ``interval``: seconds between two looks."""
        now = time.monotonic()
        if self._reading is not None:
            return now - self._not_before(self._reading[0])
        if self._ends and now - self._ends[0][0] >= GRACE_SECONDS:
            return now - self._known(self._ends[0][0])
        if self._looked is not None and now - self._looked > 3 * interval + UNSEEN_SECONDS:
            return now - self._known(self._looked)
        return self._last

    def read(self, committed_at: float | None) -> None:
        """A set was read, and is to be applied; ``committed_at`` by the source's clock."""
        now = time.monotonic()
        committed = self._moment(committed_at, now)
        if self._reading is None:
            self._reading = (committed, now)
        else:
            self._reading = (min(committed, self._reading[0]), self._reading[1])

    def committed(
        self, committed_at: float | None, reached: Callable[[Position], bool] | None
    ) -> None:
        """All that was read is durable; ``reached`` tells whether an end of the log is."""
        was_read, self._reading = self._reading, None
        now = time.monotonic()
        if committed_at is not None:
            committed = self._moment(committed_at, now)
            self._applied = max(committed, self._applied or committed)
        if reached is not None:
            self._reach(reached)
        if was_read is not None and committed_at is not None:
            self._last = now - self._not_before(committed)

    def passed(self, reached: Callable[[Position], bool]) -> None:
        """All that was read is durable or nothing to apply."""
        self._reading = None
        self.reached(reached)

    def reached(self, reached: Callable[[Position], bool]) -> None:
        """Look whether the ends that are known were reached."""
        if self._reach(reached) and not self._ends:
            self._last = 0.0

    def looked(self, at: float, behind: bool, end: Position | None) -> None:
        """A look that began ``at`` found that the durable position is at the log's end, or not."""
        self._looked = at
        if behind:
            self._ends[MOST_ENDS - 1 :] = [(at, end)]
            return
        self._stand(at)
        self._ends.clear()
        self._last = 0.0

    def reopened(self) -> None:
        """A session begins, maybe on another server: ends of the log are not compared any more."""
        self._ends = [(at, None) for at, _ in self._ends[:1]]

    def _reach(self, reached: Callable[[Position], bool]) -> bool:
        """Drop the ends that were reached; return True if there was one."""
        for number in reversed(range(len(self._ends))):
            at, end = self._ends[number]
            if end is not None and reached(end):
                self._stand(at)
                del self._ends[: number + 1]
                return True
        return False

    def _stand(self, at: float) -> None:
        self.in_step = at if self.in_step is None else max(at, self.in_step)
        if self._reading is not None and self._reading[1] <= at:
            self._reading = None  # a session that ended without an answer made it durable

    def _known(self, otherwise: float) -> float:
        """Return since when commits may be missing."""
        known = [at for at in (self.in_step, self._applied) if at is not None]
        return max(known, default=otherwise)

    def _not_before(self, moment: float) -> float:
        return moment if self.in_step is None else max(moment, self.in_step)

    @staticmethod
    def _moment(committed_at: float | None, now: float) -> float:
        """Return when something was committed by this machine's monotonic clock."""
        return now if committed_at is None else now - max(0.0, time.time() - committed_at)
