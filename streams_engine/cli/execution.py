"""Run a stream to its end, with a view on it and with Ctrl-C in good hands."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from types import FrameType
from typing import TYPE_CHECKING

from streams_engine.cli.views import ProgressView
from streams_engine.errors import StateConflict
from streams_engine.events import Event
from streams_engine.lifecycle import State
from streams_engine.stats import Stats

if TYPE_CHECKING:
    from streams_engine.stream import Stream

__all__ = ["InterruptCount", "execute", "interrupts"]

_TICK = 0.25
_NOTES = (
    "Stopping after the current work. Press Ctrl-C again to abandon it.",
    "Stopping at once and abandoning the current work.",
)


@dataclass(slots=True)
class InterruptCount:
    """Number of times the user asked to stop."""

    count: int = 0


@contextmanager
def interrupts() -> Iterator[InterruptCount]:
    """Count SIGINT and SIGTERM instead of dying of them."""
    seen = InterruptCount()

    def pressed(number: int, frame: FrameType | None) -> None:
        seen.count += 1

    before = {number: signal.signal(number, pressed) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield seen
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def execute(stream: Stream, view: ProgressView, begin: Callable[[], None] = lambda: None) -> Stats:
    """Show a stream until it is in a final state, and return its last stats. ``begin`` starts it,
    unless it runs already.

    The first Ctrl-C (or SIGTERM) stops it cleanly, the second by force. The caller
    looks at ``stream.error`` where the state is FAILED.
    """
    reports: SimpleQueue[Stats | Event] = SimpleQueue()
    ended = threading.Event()

    def moved(old: State, new: State) -> None:
        if new.final:
            ended.set()

    # all are called on the stream's threads: they only hand over to this one
    stream.on_progress(reports.put)
    stream.on_record(reports.put)
    stream.on_state(moved)
    with interrupts() as seen, view:
        begin()
        heard = 0
        while not stream.state.final:
            if seen.count > heard:
                heard += 1
                view.note(_NOTES[heard > 1])
                with suppress(StateConflict):  # it ended by itself meanwhile
                    stream.stop(force=heard > 1)
            view.tick(stream.stats())
            _show(reports, view)
            ended.wait(_TICK)
        _show(reports, view)
        stats = stream.stats()
        view.finish(stats)
    return stats


def _show(reports: SimpleQueue[Stats | Event], view: ProgressView) -> None:
    with suppress(Empty):
        while True:
            report = reports.get_nowait()
            if isinstance(report, Event):
                view.event(report)
            elif not report.state.final:  # the end is told once, by `finish`
                view.reported(report)
