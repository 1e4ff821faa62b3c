"""A stream that plays a script, so that the command line is tested without any server."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

from streams_engine.cli import arguments
from streams_engine.errors import StreamsError
from streams_engine.events import Event
from streams_engine.lifecycle import State
from streams_engine.model import Finding, Severity, SkippedObject
from streams_engine.stats import NodeStats, Stats, TableStats


def make_stats(state: State = State.RUNNING, *tables: TableStats, **changes: Any) -> Stats:
    """Stats of those tables, the totals added up."""
    rows, size = sum(t.rows for t in tables), sum(t.bytes for t in tables)
    given: dict[str, Any] = {
        "name": "a_stream",
        "config_id": "config_1",
        "stream_id": "stream_1",
        "state": state,
        "phase": "done" if state is State.FINISHED else "copying",
        "source": NodeStats("source", rows, 0, size),
        "target": NodeStats("target", rows, sum(t.rejected for t in tables), size),
        "tables": tables,
        "duration_ns": 2_000_000_000,
    }
    return Stats(**(given | changes))


FINDINGS = (
    Finding(Severity.WARNING, "fulltext-index", "shop.products.words", "Becomes a GIN index."),
    Finding(Severity.WARNING, "fulltext-index", "shop.notes.words", "Becomes a GIN index."),
)
LEFT = (SkippedObject("view", "shop.revenue"), SkippedObject("view", "shop.best"))


class FakeStream:
    """Plays ``script`` one step a look, and ends in the last state of it."""

    def __init__(self) -> None:
        half = TableStats("shop.orders", 50, 0, 5000, 100, "copying", 1.0)
        done = TableStats("shop.orders", 100, 0, 10_000, 100, "done", 2.0)
        self.script = [
            make_stats(State.RUNNING, half),
            make_stats(State.FINISHED, done, findings=FINDINGS, left_behind=LEFT),
        ]
        self.request: arguments.Arguments | None = None
        self.error: StreamsError | None = None
        self.presses: set[int] = set()
        """At these looks somebody presses Ctrl-C."""
        self.stops: list[bool] = []
        self.obeys = 1
        """It stops at so many calls of `stop`."""
        self.closed = False
        self.fresh: bool | None = None
        self.document: Any = None
        self.look = 0
        self._state = State.READY
        self._progress: Callable[[Stats], None] = lambda stats: None
        self.record: Callable[[Event], None] = lambda event: None
        self._moved: Callable[[State, State], None] = lambda old, new: None

    def __enter__(self) -> FakeStream:
        return self

    def __exit__(self, *_: object) -> None:
        self.closed = True

    @property
    def state(self) -> State:
        return self._state

    def _move(self, new: State) -> None:
        old, self._state = self._state, new
        if old is not new:
            self._moved(old, new)

    def on_progress(self, callback: Callable[[Stats], None]) -> None:
        self._progress = callback

    name = "a_stream"
    follows = False

    def on_state(self, callback: Callable[[State, State], None]) -> None:
        self._moved = callback

    def on_record(self, callback: Callable[[Event], None]) -> Callable[[], None]:
        self.record = callback
        return lambda: None

    def start(self, fresh: bool = False) -> None:
        self.fresh = fresh
        self._move(State.RUNNING)

    def stop(self, force: bool = False) -> None:
        self.stops.append(force)
        if len(self.stops) >= self.obeys:
            self.script = [make_stats(State.STOPPED, *self.script[0].tables)]
            self._move(State.STOPPED)

    def stats(self) -> Stats:
        stats = self.script[min(self.look, len(self.script) - 1)]
        if self.look in self.presses:
            signal.raise_signal(signal.SIGINT)
        self.look += 1
        if not self._state.final:
            self._progress(stats)
            self._move(stats.state)
        return stats

    def plan(self) -> Any:
        return self.document

    def verify(self, *_: Any, **__: Any) -> Any:
        return self.document
