"""Without a terminal: events as lines, and how far a stream is once a minute."""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from typing import Any

from streams_engine.cli import main, views
from streams_engine.cli.reports import report
from streams_engine.cli.views import LineView, console
from streams_engine.events import Event
from streams_engine.lifecycle import State
from streams_engine.model import Finding, Severity
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


def test_each_new_phase_is_told_at_once(capsys: Any) -> None:
    view = LineView(console(), clock=lambda: 1.0)
    for phase in ("copying", "copying", "following"):
        view.reported(replace(make_stats(State.RUNNING), phase=phase))
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines] == ["RUNNING copying", "RUNNING following"]


def test_a_run_that_failed_at_once_tells_what_hindered_it_alone(capsys: Any) -> None:
    findings = (
        Finding(Severity.ERROR, "no-right", "shop.orders", "It cannot be read."),
        Finding(Severity.INFO, "collation", "shop.orders", "Another one is chosen."),
    )
    table = TableStats("shop.orders", 0, 0, 0, 100, "waiting", 0.0)
    LineView(console()).finish(replace(make_stats(State.FAILED, table), findings=findings))
    out = capsys.readouterr().out
    assert "no-right" in out and "collation" not in out and "0 B" not in out


def test_the_error_that_ends_a_run_is_left_to_the_last_line(capsys: Any) -> None:
    findings = [Finding(Severity.ERROR, "ROW_REJECTED", f"t{n}", f"Row {n}.") for n in (1, 2)]
    error = {"code": "ROW_REJECTED", "message": "Row 1.", "remedy": "Correct it."}
    ended = replace(make_stats(State.FAILED), findings=tuple(findings), error=error)
    LineView(console()).finish(ended)
    out = capsys.readouterr().out
    assert "Row 2." in out and "Row 1." not in out


def test_of_errors_all_are_told(capsys: Any) -> None:
    missing = [Finding(Severity.ERROR, "orphans", f"key{i}", "Orphans.") for i in range(30)]
    console().print(report(missing, ()))
    told = capsys.readouterr().out
    assert all(f"key{i}" in told for i in range(30)) and told.count("Orphans.") == 1


def test_a_long_comparison_is_told_in_a_pipe(monkeypatch: Any, capsys: Any) -> None:
    monkeypatch.setattr(views, "COMPARED_SECONDS", 0.05)
    with views.verifying(console(), silent=False) as told:
        assert told is not None
        told("shop.orders", 450_000)
        time.sleep(0.3)
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("comparing shop.orders, 450,000 rows, after ")
    with views.verifying(console(), silent=True) as told:
        assert told is None
