"""What may interrupt a run: pause, stop, and the two limits. One lock, one condition.

Workers ask `cut` before each bundle and `hold` at each boundary where nothing is
half-done; the stream is PAUSED once every worker holds.
"""

from __future__ import annotations

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

__all__ = ["Control", "Word"]


class Word(StrEnum):
    """What the workers of a stream are to do."""

    GO = "go"
    HOLD = "hold"
    END = "end"
    DROP = "drop"
    """End at once, and leave what is half-done."""


class Control:
    """The state of one stream, and the requests that its workers obey. Thread-safe."""

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
        self.forced = threading.Event()

    # The state

    @property
    def state(self) -> State:
        """Where the stream is."""
        return self._state

    def listen(self, listener: Callable[[State, State], None]) -> None:
        """Call ``listener(old, new)`` at each move, in order, under no lock of the caller's."""
        self._listeners.append(listener)

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

    def request_pause(self) -> None:
        """Ask every worker to hold. Raises `StateConflict` where the stream is not running."""
        with self._changed:
            check_move(self._state, State.PAUSED)
            self._pausing = True
            self._settle()
            self._changed.notify_all()

    def resume(self) -> None:
        """Let the workers go on; takes back a pause that has not come to hold yet."""
        with self._changed:
            if self._state is State.RUNNING and self._pausing:
                self._pausing = False
            else:
                if self._state is State.READY:
                    raise StateConflict(
                        "A stream that is READY was never paused.",
                        remedy="Begin it with start() or run().",
                        current=str(State.READY),
                        wanted=str(State.RUNNING),
                    )
                check_move(self._state, State.RUNNING)
                self._pausing = False
                self._move(State.RUNNING)
            self._changed.notify_all()

    def request_stop(self, *, force: bool = False) -> None:
        """Ask every worker to end at the next boundary, or at once with ``force``."""
        with self._changed:
            if force:
                self.forced.set()
            if self._state is State.READY:
                self._move(State.STOPPED)
                return
            check_move(self._state, State.STOPPED)
            self._stopping = True
            self._changed.notify_all()

    def abort(self) -> None:
        """End every worker at its next boundary: the run cannot go on."""
        with self._changed:
            self._aborted = True
            self._changed.notify_all()

    def recover(self) -> None:
        """Take back an abort: the run goes on from its checkpoint."""
        with self._changed:
            self._aborted = False

    def complete(self) -> None:
        """Nothing is left to do: a stop or limit that comes now comes too late."""
        self._completed = True

    # Workers

    @contextmanager
    def working(self) -> Iterator[None]:
        """Count the calling thread among those whose holding makes a pause."""
        with self._changed:
            self._active += 1
        try:
            yield
        finally:
            with self._changed:
                self._active -= 1
                self._settle()

    @contextmanager
    def resting(self) -> Iterator[None]:
        """The calling thread only waits for workers: it does not keep a pause from settling."""
        with self._changed:
            self._active -= 1
            self._settle()
        try:
            yield
        finally:
            with self._changed:
                self._active += 1

    def cut(self) -> bool:
        """True where the work in hand should be committed at once and no more be begun."""
        return self._pausing or self._stopping or self._aborted or self.out_of_time

    def hold(self) -> bool:
        """At a boundary: block while the stream pauses. False where the run must end."""
        with self._changed:
            while self._pausing and not (self._stopping or self._aborted):
                self._holding += 1
                self._settle()
                self._changed.wait()
                self._holding -= 1
            ending = self._stopping or self._aborted
            return not (ending or self.out_of_time or self.out_of_rows)

    @property
    def word(self) -> Word:
        """What the workers are to do now."""
        if self.forced.is_set():
            return Word.DROP
        if self._stopping or self._aborted or self.out_of_time:
            return Word.END
        return Word.HOLD if self._pausing else Word.GO

    def watch(self, word: Word, seconds: float) -> Word:
        """Wait until the word is another one, but no longer than that. Returns it."""
        with self._changed:
            self._changed.wait_for(lambda: self.word is not word, seconds)
            return self.word

    def obey(self, word: Word) -> None:
        """Do what the control of another process says."""
        with self._changed:
            self._pausing = word is Word.HOLD
            if word in (Word.END, Word.DROP):
                self._stopping = True
            if word is Word.DROP:
                self.forced.set()
            if word is Word.GO and self._state is State.PAUSED:
                self._move(State.RUNNING)
            self._settle()
            self._changed.notify_all()

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
    def seconds(self) -> float:
        """Seconds of running; paused time does not count."""
        since = self._since
        return self._ran + (0.0 if since is None else time.monotonic() - since)

    @property
    def out_of_rows(self) -> bool:
        """True once as many rows are taken as may reach the target."""
        return bool(self._max_rows) and self._reserved >= self._max_rows

    @property
    def counts_rows(self) -> bool:
        """True where there is a limit on rows."""
        return bool(self._max_rows)

    def reserve(self, rows: int) -> int:
        """Take up to ``rows`` of what may still reach the target."""
        if not self._max_rows:
            return rows
        with self._changed:
            granted = max(0, min(rows, self._max_rows - self._reserved))
            self._reserved += granted
            return granted

    def give_back(self, rows: int) -> None:
        """Return what was taken and did not reach the target."""
        if self._max_rows and rows:
            with self._changed:
                self._reserved -= rows

    def limit_rows(self, rows: int) -> None:
        """From now on the rows that reach the target are counted, up to a limit; 0: none."""
        with self._changed:
            self._max_rows = rows

    def rows_left(self) -> int | None:
        """How many row changes may still reach the target; None: any number."""
        return max(1, self._max_rows - self._reserved) if self._max_rows else None

    def count(self, rows: int) -> None:
        """So many row changes are durable on the target: a transaction is never cut for a limit."""
        with self._changed:
            self._reserved += rows

    def idle(self, seconds: float) -> None:
        """Wait, but no longer than until a worker should hold or end."""
        with self._changed:
            self._changed.wait_for(self.cut, seconds)

    def end_state(self) -> State:
        """The final state that an undisturbed end of the run means now."""
        if self._completed:
            return State.FINISHED
        if self._stopping:
            return State.STOPPED
        if self.out_of_rows:
            return State.EVENT_LIMIT_REACHED
        if self.out_of_time:
            return State.TIME_LIMIT_REACHED
        return State.FINISHED
