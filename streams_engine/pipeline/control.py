"""Pause, stop and limits of a run. One lock, one condition.

Workers ask `cut` before each bundle and `hold` at each boundary where nothing is
half-done; the stream is PAUSED once every worker holds.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from contextlib import contextmanager
from enum import StrEnum
from typing import TYPE_CHECKING

from streams_engine.errors import StateConflict
from streams_engine.lifecycle import State, check_move

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Control", "Directive"]


class Directive(StrEnum):
    """The directive to the workers of a stream."""

    RUN = "go"
    PAUSE = "hold"
    END = "end"
    ABORT = "drop"
    """End at once, and leave what is half-done."""


class Control:
    """State of one stream, and the requests that its workers follow. Thread-safe."""

    def __init__(self, *, max_rows: int = 0, max_seconds: float = 0) -> None:
        self._changed = threading.Condition()
        self._state = State.READY
        self._pausing = False
        self._stopping = False
        self._aborted = False
        self._completed = False
        self._max_rows = max_rows
        self._max_seconds = max_seconds
        self._reserved = 0
        self._active = 0
        self._holding = 0
        self._ran = 0.0
        self._since: float | None = None
        self._listeners: list[Callable[[State, State], None]] = []
        self._wakers: list[Callable[[], None]] = []
        self.forced = threading.Event()

    # The state

    @property
    def state(self) -> State:
        """Present state of the stream."""
        return self._state

    def listen(self, listener: Callable[[State, State], None]) -> None:
        """Call ``listener(old, new)`` at each transition, in order, under the state's lock.

        It is for what must change together with the state: it must not block, and must not call a
        user's callback.
        """
        self._listeners.append(listener)

    @contextmanager
    def waking(self, waker: Callable[[], None]) -> Iterator[None]:
        """Call ``waker`` at each request inside the block, once workers can see it: for one that
        waits for something else than the control. It must not block."""
        self._wakers.append(waker)
        try:
            yield
        finally:
            self._wakers.remove(waker)

    def _wake(self) -> None:
        for waker in list(self._wakers):
            waker()

    def move(self, wanted: State) -> None:
        """Make a move of the transition table. Raises `StateConflict`."""
        with self._changed:
            self._move(wanted)

    def _move(self, wanted: State) -> None:
        old, self._state = self._state, check_move(self._state, wanted)
        now = time.monotonic()
        if self._since is not None:
            self._ran += now - self._since
        self._since = now if wanted is State.RUNNING else None
        self._changed.notify_all()
        for listener in self._listeners:
            listener(old, wanted)

    def wait(self, states: frozenset[State], timeout: float | None) -> State:
        """Block until the state is one of ``states`` or final. Raises `TimeoutError`."""
        with self._changed:
            reached = self._changed.wait_for(
                lambda: self._state in states or self._state.final, timeout
            )
            if not reached:
                raise TimeoutError(f"Still {self._state} after {timeout} seconds.")
            return self._state

    # Requests

    def start(self) -> None:
        """Change READY to RUNNING. Raises `StateConflict` in every other state, also PAUSED."""
        with self._changed:
            if self._state is State.PAUSED:
                raise StateConflict(
                    "A stream that is PAUSED cannot be started.",
                    remedy="Continue with resume(), or end it with stop().",
                    current=str(self._state),
                    wanted=str(State.RUNNING),
                )
            if self._state is State.RUNNING:
                raise StateConflict(
                    "The stream was started already.",
                    remedy="wait() for its end, or stop() it.",
                    current=str(self._state),
                    wanted=str(State.RUNNING),
                )
            self._move(State.RUNNING)

    def request_pause(self) -> None:
        """Ask every worker to hold. Raises `StateConflict` if the stream is not running."""
        with self._changed:
            check_move(self._state, State.PAUSED)
            self._pausing = True
            self._settle()
            self._changed.notify_all()
        self._wake()

    def resume(self) -> None:
        """Let the workers continue; cancels a pause that has not taken effect yet."""
        with self._changed:
            if self._state is State.RUNNING and self._pausing:
                self._pausing = False
            else:
                if self._state is State.READY:
                    raise StateConflict(
                        "A stream that is READY cannot be resumed.",
                        remedy="Begin it with start() or run().",
                        current=str(State.READY),
                        wanted=str(State.RUNNING),
                    )
                check_move(self._state, State.RUNNING)
                self._pausing = False
                self._move(State.RUNNING)
            self._changed.notify_all()

    def request_stop(self, *, force: bool = False) -> None:
        """Ask every worker to end at the next boundary, or at once with ``force``; do nothing in a
        final state."""
        with self._changed:
            if self._state.final:
                return
            if self._state is State.READY:
                self._move(State.STOPPED)
                return
            check_move(self._state, State.STOPPED)
            if force:
                self.forced.set()
            self._stopping = True
            self._changed.notify_all()
        self._wake()

    @property
    def stopping(self) -> bool:
        """True once a stop was requested of a run that has not ended."""
        return self._stopping and not self._state.final

    def abort(self) -> None:
        """End every worker at its next boundary: the run has failed, or nothing is left of it."""
        with self._changed:
            self._aborted = True
            self._changed.notify_all()
        self._wake()

    def recover(self) -> None:
        """Cancel an abort: the run continues from its checkpoint."""
        with self._changed:
            self._aborted = False

    def complete(self) -> None:
        """Mark the work as complete: a stop or limit has no effect any more."""
        with self._changed:
            self._completed = True

    # Workers

    @contextmanager
    def working(self) -> Iterator[None]:
        """Count the calling thread among those that a pause waits for."""
        with self._changed:
            self._active += 1
        try:
            yield
        finally:
            with self._changed:
                self._active -= 1
                self._settle()

    @contextmanager
    def inactive(self) -> Iterator[None]:
        """Exclude the calling thread from what a pause waits for, because it only waits for workers
        itself."""
        with self._changed:
            self._active -= 1
            self._settle()
        try:
            yield
        finally:
            with self._changed:
                self._active += 1

    def cut(self) -> bool:
        """Return True if the current work should be committed at once and no new work begun."""
        return self._pausing or self._stopping or self._aborted or self.out_of_time

    def hold(self) -> bool:
        """Block at a boundary while the stream is paused; return False if the run must end."""
        with self._changed:
            while self._pausing and not (self._stopping or self._aborted):
                self._holding += 1
                self._settle()
                self._changed.wait()
                self._holding -= 1
            ending = self._stopping or self._aborted
            return not (ending or self.out_of_time or self.out_of_rows)

    @property
    def ending(self) -> bool:
        """True once nothing but the end of the run can follow."""
        return self._state.final or self.word in (Directive.END, Directive.ABORT)

    @property
    def word(self) -> Directive:
        """The present directive to the workers."""
        if self.forced.is_set():
            return Directive.ABORT
        if self._stopping or self._aborted or self.out_of_time:
            return Directive.END
        return Directive.PAUSE if self._pausing else Directive.RUN

    def watch(self, word: Directive, seconds: float) -> Directive:
        """Wait until the word is another one, but no longer than that. Returns it."""
        with self._changed:
            self._changed.wait_for(lambda: self.word is not word, seconds)
            return self.word

    def apply_directive(self, word: Directive) -> None:
        """Follow the directive of another process's control."""
        with self._changed:
            self._pausing = word is Directive.PAUSE
            if word in (Directive.END, Directive.ABORT):
                self._stopping = True
            if word is Directive.ABORT:
                self.forced.set()
            if word is Directive.RUN and self._state is State.PAUSED:
                self._move(State.RUNNING)
            self._settle()
            self._changed.notify_all()
        self._wake()

    def _settle(self) -> None:
        running = self._state is State.RUNNING
        if self._pausing and running and self._active and self._holding == self._active:
            self._move(State.PAUSED)

    # Limits

    @property
    def out_of_time(self) -> bool:
        """True once the stream has been running for as long as it may."""
        return bool(self._max_seconds) and self.seconds >= self._max_seconds

    @property
    def seconds_left(self) -> float:
        """Seconds for which the stream may still run."""
        return self._max_seconds - self.seconds if self._max_seconds else math.inf

    @property
    def seconds(self) -> float:
        """Seconds of running; paused time does not count."""
        with self._changed:
            since = self._since
            return self._ran + (0.0 if since is None else time.monotonic() - since)

    @property
    def out_of_rows(self) -> bool:
        """True once as many rows are taken as may reach the target."""
        return bool(self._max_rows) and self._reserved >= self._max_rows

    @property
    def counts_rows(self) -> bool:
        """True if there is a limit on rows."""
        return bool(self._max_rows)

    def reserve(self, rows: int) -> int:
        """Reserve up to ``rows`` of the rows that may still reach the target."""
        if not self._max_rows:
            return rows
        with self._changed:
            granted = max(0, min(rows, self._max_rows - self._reserved))
            self._reserved += granted
            return granted

    def release_rows(self, rows: int) -> None:
        """Return reserved rows that did not reach the target."""
        if self._max_rows and rows:
            with self._changed:
                self._reserved -= rows

    def limit_rows(self, rows: int) -> None:
        """Limit the rows that reach the target from now on; 0 for no limit."""
        with self._changed:
            self._max_rows = rows

    def rows_left(self) -> int | None:
        """Return how many row changes may still reach the target; None for any number."""
        return max(1, self._max_rows - self._reserved) if self._max_rows else None

    def count(self, rows: int) -> None:
        """Count row changes that are durable on the target. A transaction is never split for a
        limit."""
        with self._changed:
            self._reserved += rows

    def idle(self, seconds: float) -> None:
        """Wait, but no longer than until a worker should hold or end."""
        with self._changed:
            self._changed.wait_for(self.cut, seconds)

    def end_state(self) -> State:
        """Return the final state that an undisturbed end of the run has now."""
        if self._completed:
            return State.FINISHED
        if self._stopping:
            return State.STOPPED
        if self.out_of_rows:
            return State.EVENT_LIMIT_REACHED
        if self.out_of_time:
            return State.TIME_LIMIT_REACHED
        return State.FINISHED
