"""Health, alerts and metrics, from the facts of a stream."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from streams_engine import Alert, ConfigError, ConnectionFailed, State, Stream
from streams_engine.alerts import watch
from streams_engine.health import health_of
from streams_engine.model import TableId
from streams_engine.stats import Counters, Stats
from tests.support.schema_play import validator

TABLE = TableId("shop", "orders")


def frozen(counters: Counters, state: State = State.RUNNING, error: Any = None) -> Stats:
    return counters.freeze(
        name="repl", config_id="c", stream_id="s", state=state, intervals=(3, 3), error=error
    )


@pytest.fixture
def counters() -> Counters:
    made = Counters()
    made.follow()
    made.expect(TABLE, 10)
    made.clock_on()
    return made


# Health


def test_a_stream_at_work_is_ok(counters: Counters) -> None:
    counters.behind(0, 4096)
    counters.looked("", time.monotonic(), 0, None, lambda _: False)
    health = health_of(frozen(counters).to_dict())
    assert (health.status, health.lag_seconds, health.retained_bytes) == ("ok", 0.0, 4096)
    assert health.findings == () and health.since is None


def test_an_outage_degrades_as_long_as_it_lasts(counters: Counters) -> None:
    counters.reconnecting("", ConnectionFailed("The server is away."), 30.0)
    health = health_of(frozen(counters).to_dict())
    assert health.status == "degraded" and health.since is not None
    assert health.lag_seconds is not None and health.lag_seconds >= 30
    assert [(f.code, f.message) for f in health.findings] == [
        ("CONNECTION_FAILED", "The server is away.")
    ]
    counters.connected("")
    assert health_of(frozen(counters).to_dict()).status == "ok"


@pytest.mark.parametrize(
    ("state", "code"),
    [
        (State.PAUSED, "paused"),
        (State.STOPPED, "stopped"),
        (State.TIME_LIMIT_REACHED, "stopped"),
        (State.EVENT_LIMIT_REACHED, "stopped"),
        (State.FINISHED, None),
    ],
)
def test_a_stream_at_rest_is_not_ok_unless_it_is_done(
    counters: Counters, state: State, code: str | None
) -> None:
    counters.looked("", time.monotonic(), 0, None, lambda _: False)
    health = health_of(frozen(counters, state).to_dict())
    assert health.status == ("ok" if code is None else "degraded")
    assert [finding.code for finding in health.findings] == ([] if code is None else [code])
    assert health.lag_seconds == (None if state.final else 0.0)


# The lag


def lag(counters: Counters, state: State = State.RUNNING) -> float:
    """The lag in seconds, which every view shows alike."""
    stats = frozen(counters, state)
    document = stats.to_dict()
    assert stats.changes is not None and stats.changes.lag_seconds is not None
    seconds = stats.changes.lag_seconds
    assert document["changes"]["lagSeconds"] == health_of(document).lag_seconds
    [metric] = [
        sample.value
        for family in text_string_to_metric_families(stats.to_prometheus())
        for sample in family.samples
        if sample.name == "streams_engine_lag_seconds"
    ]
    assert metric == pytest.approx(seconds, abs=1)
    return seconds


def look(counters: Counters, lag: int, ago: float = 0.0, end: int | None = None) -> None:
    known = None if end is None else {"pos": end}
    counters.looked("", time.monotonic() - ago, lag, known, lambda _: False)


def test_what_is_read_and_not_durable_lags_since_its_commit(counters: Counters) -> None:
    look(counters, 0, ago=100)
    counters.taken(time.time() - 30)
    counters.taken(time.time() - 20)
    assert 30 <= lag(counters) < 35
    assert 30 <= lag(counters, State.PAUSED) < 35
    counters.reopened("")  # a session that broke
    assert 30 <= lag(counters) < 35
    counters.committed(2, time.time() - 20)
    assert 20 <= lag(counters) < 25
    look(counters, 0)
    assert lag(counters) == 0


def test_log_that_is_not_read_lags_since_the_target_was_in_step(counters: Counters) -> None:
    look(counters, 0, ago=40)
    look(counters, 277, ago=5, end=9)
    look(counters, 277, ago=2, end=9)
    assert 40 <= lag(counters) < 45
    counters.committed(1, time.time() - 38, "", lambda end: end["pos"] < 9)
    assert 38 <= lag(counters) < 43, "the end that is known was not reached"
    counters.passed("", lambda end: end["pos"] <= 9)
    assert lag(counters) == 0


def test_log_that_comes_and_is_passed_at_once_is_no_lag(counters: Counters) -> None:
    look(counters, 0, ago=40)
    look(counters, 277)
    assert lag(counters) == 0


def test_commits_are_expected_while_no_look_is_answered(counters: Counters) -> None:
    look(counters, 0, ago=60)
    assert 60 <= lag(counters) < 65


@pytest.mark.parametrize("skew", [-3600, 3600])
def test_a_source_whose_clock_is_wrong(counters: Counters, skew: int) -> None:
    look(counters, 0, ago=10)
    counters.taken(time.time() + skew)
    assert 0 <= lag(counters) < 15
    counters.committed(1, time.time() + skew)
    assert 0 <= lag(counters) < 15


def test_the_lag_of_several_sources_is_the_largest(counters: Counters) -> None:
    counters.looked("a", time.monotonic(), 0, None, lambda _: False)
    counters.taken(time.time() - 30, "b")
    assert 30 <= lag(counters) < 35


def test_missing_rows_degrade(counters: Counters) -> None:
    counters.wrote(TABLE, 5, 2, 100)
    counters.diverged(3)
    health = health_of(frozen(counters).to_dict())
    assert (health.status, health.quarantined, health.unmatched) == ("degraded", 2, 3)
    assert [finding.code for finding in health.findings] == ["quarantined", "unmatched"]


def test_a_failure_is_one(counters: Counters) -> None:
    error = ConnectionFailed("The server is away.").to_dict()
    health = health_of(frozen(counters, State.FAILED, error).to_dict())
    assert health.status == "failed" and health.findings[0].code == "CONNECTION_FAILED"
    assert not list(validator("health").iter_errors(health.to_dict()))


# Alerts


def test_one_alert_and_one_clear_for_each_crossing() -> None:
    made = watch(lambda _: None, {"lag": 10, "quarantined": 0, "silent": None})
    lags: list[float | None] = [0, 11, 12, None, 50, 9, 10, 11, 3]
    told = [alert for lag in lags for alert in made.look("repl", {"lag": lag, "quarantined": 0})]
    assert [(alert.state, alert.value) for alert in told] == [
        ("alert", 11), ("clear", 9), ("alert", 11), ("clear", 3),
    ]  # fmt: skip
    [alert] = made.look("repl", {"quarantined": 1})
    assert alert.message == "1 rows are quarantined, above 0"
    assert not list(validator("alert").iter_errors(alert.to_dict()))


def test_a_failed_stream_is_told_once_and_nothing_is_cleared() -> None:
    made = watch(lambda _: None, {"silent": 1})
    facts: dict[Any, float | None] = {"silent": 5}
    assert [alert.state for alert in made.look("repl", facts)] == ["alert"]
    facts = {"silent": 0}
    [alert] = made.look("repl", facts, "The server is away.")
    assert (alert.kind, alert.state) == ("failed", "alert")
    assert alert.message == "the stream failed: The server is away."
    assert not list(validator("alert").iter_errors(alert.to_dict()))
    assert made.look("repl", facts, "The server is away.") == []


@pytest.mark.parametrize(
    "thresholds", [{}, {"lag": None}, {"lag": -1}, {"lag": True}, {"lag": "1"}]
)
def test_thresholds_that_are_none(thresholds: dict[str, Any]) -> None:
    with Stream("/in", "null://") as stream, pytest.raises(ConfigError):
        stream.on_alert(print, **thresholds)


@pytest.fixture
def held(tmp_path: Path) -> Iterator[tuple[Stream, threading.Event]]:
    """A stream whose source waits until the event is set."""
    (tmp_path / "t.csv").write_text("id,n\n1,1\n2,2\n")
    go = threading.Event()
    stream = Stream(str(tmp_path), "null://", name="repl", reporting_interval=0)
    stream.on_record(lambda event: event.message == "copying rows" and go.wait(30))
    with stream:
        yield stream, go
        go.set()


def test_a_silent_stream_is_told_once_and_cleared_once(
    held: tuple[Stream, threading.Event], caplog: pytest.LogCaptureFixture
) -> None:
    stream, go = held
    told: list[Alert] = []
    alerted = threading.Event()

    def hear(alert: Alert) -> None:
        told.append(alert)
        alerted.set()

    unsubscribe = stream.on_alert(hear, silent=0.5)
    stream.on_alert(lambda _: 1 / 0, silent=0.5)  # harms nothing
    with caplog.at_level(logging.INFO, "streams_engine.stream"):
        stream.start()
        assert alerted.wait(30)
        go.set()
        assert stream.wait(timeout=30) is State.FINISHED
        stream._join_reporter()
    assert [alert.state for alert in told] == ["alert", "clear"]
    lines = [r.getMessage() for r in caplog.records if getattr(r, "event", "") == "alert"]
    assert lines[0].startswith("repl: nothing was heard for ")
    unsubscribe()
    unsubscribe()


# Metrics


def test_metrics_in_prometheus_format(counters: Counters) -> None:
    counters.wrote(TABLE, 5, 2, 100)
    counters.behind(7, 4096)
    for waited in (0.0, 1.0):  # a session that is opened again counts, not each attempt
        counters.reconnecting("", ConnectionFailed("The server is away."), waited)
    counters.connected()
    counters.reconnecting("", ConnectionFailed("The server is away."), 1.0)
    found: dict[tuple[str, ...], float] = {}
    for family in text_string_to_metric_families(frozen(counters).to_prometheus()):
        for sample in family.samples:
            labels = {k: v for k, v in sample.labels.items() if k != "stream"}
            assert sample.labels["stream"] == "repl"
            found[sample.name.removeprefix("streams_engine_"), *labels.values()] = sample.value
    expected = {
        ("state", "RUNNING"): 1, ("state", "PAUSED"): 0, ("phase", "checking"): 1,
        ("phase", "copying"): 0, ("waiting",): 1, ("rows_total", "shop.orders"): 5,
        ("rows_quarantined_total", "shop.orders"): 2, ("bytes_total", "shop.orders"): 100,
        ("reconnects_total",): 1, ("unmatched_total",): 0, ("lag_bytes",): 7,
        ("retained_bytes",): 4096, ("transactions_total",): 0,
    }  # fmt: skip
    assert {key: found.get(key) for key in expected} == expected
    assert ("seconds_since_report",) in found


def test_without_the_client_it_says_what_to_install(
    counters: Counters, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(ConfigError, match="not installed") as caught:
        frozen(counters).to_prometheus()
    assert caught.value.remedy == "pip install 'streams-engine[metrics]'"


# Records


def test_a_line_says_it_without_other_fields(
    counters: Counters, caplog: pytest.LogCaptureFixture
) -> None:
    counters.journal.stream = "repl"
    with caplog.at_level(logging.INFO, "streams_engine.stream"):
        counters.enter(TABLE, "copying")
        counters.wrote(TABLE, 61213, 0, 1000)
        counters.enter(TABLE, "copied")
        counters.journal.note(logging.INFO, "other", "100% of %s")
    lines = [record.getMessage() for record in caplog.records]
    assert lines[0] == "repl: shop.orders: copying"
    assert lines[1].startswith("repl: shop.orders: copied 61,213 rows in 0.")
    assert lines[2] == "repl: 100% of %s"
    assert [record.category for record in caplog.records] == ["progress", "progress", "general"]
