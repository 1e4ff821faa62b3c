"""The lag grows while a stream stalls, and is 0 where only others write."""

from __future__ import annotations

import threading
import time
from contextlib import closing
from typing import Any

import pytest

from streams_engine import Alert, State, Stream
from streams_engine.testing.servers import Server
from tests.support.databases import End
from tests.support.outages import SECONDS, fill
from tests.support.polling import came, pass_time, until

LOCKS = {"postgresql": ("BEGIN", "LOCK TABLE t IN ACCESS EXCLUSIVE MODE")}
LOCK_ON_MYSQL = ("LOCK TABLES t WRITE",)
LAG = 1.0
"""The threshold of the alert, in seconds."""


@pytest.fixture
def ends(request: pytest.FixtureRequest, database: Any) -> tuple[End, End]:
    servers: list[Server] = [request.getfixturevalue(name) for name in request.param]
    source, target = (End(server, database(server)) for server in servers)
    source.run("CREATE TABLE t (id int PRIMARY KEY, v varchar(200))")
    fill(source, 0, 10)
    return source, target


ROUTES = pytest.mark.parametrize(
    "ends", [("pg18", "mysql9"), ("mysql9", "pg18")], indirect=True, ids="-".join
)


def stream_of(source: End, target: End) -> Stream:
    return Stream(
        source.url, target.url, mode="cdc", name=f"lag {source.database}", reporting_interval=1
    )


def lags(stream: Stream) -> list[float | None]:
    """The lag in each view."""
    changes = stream.stats().changes
    assert changes is not None
    [metric] = [
        float(line.rpartition(" ")[2])
        for line in stream.stats().to_prometheus().splitlines()
        if line.startswith("streams_engine_lag_seconds{")
    ]
    return [changes.lag_seconds, stream.health().lag_seconds, metric]


def all_above(stream: Stream, seconds: float) -> bool:
    return all(lag is not None and lag >= seconds for lag in lags(stream))


@ROUTES
def test_a_lock_on_the_target(ends: tuple[End, End]) -> None:
    source, target = ends
    told: list[Alert] = []
    with stream_of(source, target) as stream:
        stream.on_alert(told.append, lag=LAG)
        stream.start()
        assert stream.catch_up(SECONDS), stream.error
        with closing(target.server.connect(target.database)) as held, held.cursor() as cursor:
            for statement in LOCKS.get(target.server.kind, LOCK_ON_MYSQL):
                cursor.execute(statement)
            source.run("INSERT INTO t VALUES (50, 'x')")
            begun = time.monotonic()
            until(lambda: told, 5)  # long before the wait for the lock is over
            assert [(alert.kind, alert.state) for alert in told] == [("lag", "alert")]
            pass_time(2)
            waited = time.monotonic() - begun
            assert all_above(stream, waited - 1), (waited, lags(stream))
        assert stream.catch_up(SECONDS), stream.error
        assert max(lag or 0.0 for lag in lags(stream)) < LAG
        until(lambda: len(told) == 2)
        assert told[-1].state == "clear"
    stream.release()


@ROUTES
def test_a_pause_with_a_commit_that_is_not_read(ends: tuple[End, End]) -> None:
    source, target = ends
    told: list[Alert] = []
    with stream_of(source, target) as stream:
        stream.on_alert(told.append, lag=LAG)
        stream.start()
        assert stream.catch_up(SECONDS), stream.error
        stream.pause()
        assert stream.wait(State.PAUSED, timeout=SECONDS) is State.PAUSED
        source.run("INSERT INTO t VALUES (50, 'x')")
        begun = time.monotonic()
        until(lambda: told, 10)
        pass_time(3)
        waited = time.monotonic() - begun
        assert all_above(stream, waited - 1), (waited, lags(stream))
        health = stream.health()
        assert health.status == "degraded" and health.findings[0].code == "paused"
        stream.resume()
        assert stream.catch_up(SECONDS), stream.error
        assert max(lag or 0.0 for lag in lags(stream)) < LAG
        assert stream.health().status == "ok"
        stream.stop()
        assert stream.wait(timeout=SECONDS) is State.STOPPED
        health = stream.health()
        assert (health.status, health.lag_seconds) == ("degraded", None)
        assert health.findings[0].code == "stopped"
    stream.release()


@ROUTES
def test_what_others_write_all_the_time_is_no_lag(ends: tuple[End, End], database: Any) -> None:
    source, target = ends
    beside = End(source.server, database(source.server))
    beside.run("CREATE TABLE x (y int)")
    over = threading.Event()

    def write() -> None:
        while not over.wait(0.02):
            beside.run("INSERT INTO x VALUES (1)")

    seen: list[float] = []
    with stream_of(source, target) as stream:
        stream.start()
        assert stream.catch_up(SECONDS), stream.error
        writer = threading.Thread(target=write)
        writer.start()
        try:
            assert not came(lambda: seen.append(max(lag or 0.0 for lag in lags(stream))), 15)
        finally:
            over.set()
            writer.join()
    stream.release()
    assert max(seen) < LAG
