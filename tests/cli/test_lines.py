"""Without a terminal: events as lines, and how far a stream is once a minute."""

from __future__ import annotations

import logging
import time
from typing import Any

from streams_engine.cli import main
from streams_engine.cli.views import LineView, console
from streams_engine.events import Event
from streams_engine.lifecycle import State
from streams_engine.stats import TableStats
from tests.support.fake_stream import FakeStream, make_stats

URLS = ["mysql://root@h/shop", "postgresql://me@h/copy"]


def event(name: str, message: str, level: int = logging.INFO, category: str = "general") -> Event:
    return Event(time.time(), level, name, message, "shop.orders", category=category)


def test_events_are_lines_and_progress_is_told_once_a_minute(capsys: Any) -> None:
    now = 0.0
    view = LineView(console(), clock=lambda: now)
    stats = make_stats(State.RUNNING, TableStats("shop.orders", 50, 0, 5000, 100, "copying", 1.0))
    for seconds in (0.0, 3.0, 59.0, 60.0, 61.0, 120.0):
        now = seconds
        view.reported(stats)
    view.event(event("schema-change", "ADD COLUMN note text"))
    view.event(event("reconnecting", "A server delays the stream.", logging.WARNING, "error"))
    view.event(event("quarantined", "Rows were quarantined.", logging.WARNING, "error"))
    view.event(event("table", "copied 50 rows", category="progress"))
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines[:3]] == ["RUNNING copying"] * 3
    assert lines[3:] == [
        "info schema-change: shop.orders: ADD COLUMN note text",
        "warning reconnecting: shop.orders: A server delays the stream.",
        "warning quarantined: shop.orders: Rows were quarantined.",
    ]


def test_an_event_of_a_run_is_one_line_in_one_place(fake: FakeStream, capsys: Any) -> None:
    def start(fresh: bool = False) -> None:
        log = logging.getLogger("streams_engine.stream")
        log.warning("Rows were quarantined.", extra={"event": "quarantined", "table": "t"})
        fake.record(event("quarantined", "Rows were quarantined.", logging.WARNING, "error"))
        fake._move(State.RUNNING)

    fake.start = start  # type: ignore[method-assign]
    assert main(["run", *URLS]) == 0
    out, err = capsys.readouterr()
    assert out.count("Rows were quarantined.") == 1 and err == ""
