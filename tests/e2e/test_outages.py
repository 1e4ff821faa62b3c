"""A server that is away is waited for; the stream goes on by itself, and nothing is lost."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from relay import Relay, relayed

from streams_engine import State, Stream
from streams_engine.errors import StreamsError
from streams_engine.stats import Stats
from streams_engine.testing.servers import Server

from .moving import End

SECONDS = 60.0
BACK_SECONDS = 10.0
"""So soon after the server's return a stream is in step again."""

ROUTES = [("mysql9", "pg18"), ("pg18", "mysql9"), ("mariadb", "pg18"), ("pg15", "pg18"),
          ("mysql9", "mariadb"), ("pg18", "mariadb")]  # fmt: skip
OFTEN = ROUTES[:2]
"""In each ordinary run."""


class Road:
    """A source and a target, each behind a relay."""

    def __init__(self, source: End, target: End, relays: dict[str, Relay]) -> None:
        self.source, self.target = source, target
        self.relays = relays
        self.urls = [
            end.url.replace(f":{end.server.port}/", f":{relays[side].port}/")
            for side, end in (("source", source), ("target", target))
        ]

    def stream(self, **options: Any) -> Stream:
        return Stream(*self.urls, name=f"outage {self.source.database}", **options)

    def rows(self, end: End) -> list[tuple[Any, ...]]:
        return end.rows("SELECT id, v FROM t ORDER BY id")

    def equal(self) -> bool:
        return self.rows(self.source) == self.rows(self.target)


@contextmanager
def road(
    source_name: str, target_name: str, request: pytest.FixtureRequest, database: Any
) -> Iterator[Road]:
    one: Server = request.getfixturevalue(source_name)
    other: Server = request.getfixturevalue(target_name)
    source, target = End(one, database(one)), End(other, database(other))
    source.run("CREATE TABLE t (id int PRIMARY KEY, v varchar(200))")
    with ExitStack() as stack:
        relays = {
            "source": stack.enter_context(relayed(one)),
            "target": stack.enter_context(relayed(other)),
        }
        yield Road(source, target, relays)


def reached(stream: Stream, wanted: Callable[[Stats], bool]) -> Stats:
    """The stats once they are as wanted: records are told when something happens."""
    seen = threading.Event()
    stream.on_record(lambda _: seen.set())
    deadline = time.monotonic() + SECONDS
    while not wanted(stats := stream.stats()):
        assert time.monotonic() < deadline, stats.to_dict()
        assert stream.state is State.RUNNING, stream.error
        seen.wait(0.2)
        seen.clear()
    return stats


def waiting(attempts: int) -> Callable[[Stats], bool]:
    def there(stats: Stats) -> bool:
        return stats.connection.state == "waiting" and stats.connection.attempts >= attempts

    return there


def fill(end: End, first: int, count: int) -> None:
    rows = ", ".join(f"({i}, 'value {i} {'x' * 150}')" for i in range(first, first + count))
    end.run(f"INSERT INTO t VALUES {rows}")


@pytest.mark.parametrize(
    ("source_name", "target_name", "seconds"),
    [(*route, 0.0) for route in OFTEN]
    + [
        pytest.param(*route, seconds, marks=pytest.mark.soak)
        for route in ROUTES
        for seconds in (5.0, 60.0, 300.0)
    ],
)
@pytest.mark.parametrize("side", ["source", "target"])
def test_a_cdc_waits_for_a_server_and_goes_on(
    source_name: str,
    target_name: str,
    seconds: float,
    side: str,
    request: pytest.FixtureRequest,
    database: Any,
) -> None:
    with road(source_name, target_name, request, database) as way:
        fill(way.source, 0, 10)
        with way.stream(mode="cdc") as stream:
            stream.start()
            assert stream.catch_up(SECONDS), stream.error
            fill(way.source, 10, 10)
            assert stream.catch_up(SECONDS), stream.error
            way.relays[side].cut()
            fill(way.source, 20, 10)
            told = reached(stream, waiting(attempts=6)).connection
            assert told.code == "CONNECTION_FAILED" and told.since is not None and told.reason
            hold(stream, seconds)
            way.relays[side].restore()
            back = time.monotonic()
            assert stream.catch_up(SECONDS), stream.error
            assert time.monotonic() - back < BACK_SECONDS
            assert stream.stats().connection.state == "connected"
            assert way.equal()
            stream.stop()
            assert stream.wait(timeout=SECONDS) is State.STOPPED
        stream.release()


def hold(stream: Stream, seconds: float) -> None:
    """Stay away for longer: nothing but time can pass."""
    ended = threading.Event()
    stream.on_state(lambda *_: ended.set())
    assert not ended.wait(seconds), stream.error
    assert stream.state is State.RUNNING, stream.error


@pytest.mark.parametrize(("source_name", "target_name"), OFTEN)
@pytest.mark.parametrize("side", ["source", "target"])
@pytest.mark.parametrize("mode", ["convert", "cdc"])
def test_a_load_outlives_an_outage(
    source_name: str,
    target_name: str,
    side: str,
    mode: str,
    request: pytest.FixtureRequest,
    database: Any,
) -> None:
    with road(source_name, target_name, request, database) as way:
        for first in range(0, 60_000, 10_000):
            fill(way.source, first, 10_000)
        with way.stream(mode=mode) as stream:
            cut = cut_in_mid_load(stream, way.relays[side])
            stream.start()
            assert cut.wait(SECONDS), stream.error
            reached(stream, waiting(attempts=3))
            way.relays[side].restore()
            if mode == "cdc":
                assert stream.catch_up(SECONDS), stream.error
                stream.stop()
            stream.wait(timeout=SECONDS)
            assert stream.state is (State.STOPPED if mode == "cdc" else State.FINISHED), (
                stream.error
            )
            assert way.equal()
            assert mode == "cdc" or stream.stats().rows == 60_000
        if mode == "cdc":
            stream.release()


def cut_in_mid_load(stream: Stream, relay: Relay) -> threading.Event:
    """Cut the way once the copy of the table has begun."""
    cut = threading.Event()

    def told(record: Any) -> None:
        if record.event == "table" and not cut.is_set():
            relay.cut()
            cut.set()

    stream.on_record(told)
    return cut


def test_a_stream_that_waits_can_be_stopped_and_paused(
    request: pytest.FixtureRequest, database: Any
) -> None:
    with road("mysql9", "pg18", request, database) as way:
        fill(way.source, 0, 10)
        with way.stream(mode="cdc") as stream:
            stream.start()
            assert stream.catch_up(SECONDS), stream.error
            way.relays["target"].cut()
            fill(way.source, 10, 10)
            reached(stream, waiting(attempts=2))
            stream.pause()
            assert stream.wait(State.PAUSED, timeout=10) is State.PAUSED
            stream.resume()
            reached(stream, waiting(attempts=4))
            stream.stop()
            assert stream.wait(timeout=20) is State.STOPPED, stream.error
        way.relays["target"].restore()
        with way.stream(mode="cdc") as stream:
            stream.start()
            assert stream.catch_up(SECONDS), stream.error
            assert way.equal()
            stream.stop()
            stream.wait(timeout=SECONDS)
        stream.release()


def test_an_outage_beyond_the_timeout_ends_the_stream(
    request: pytest.FixtureRequest, database: Any
) -> None:
    with road("mysql9", "pg18", request, database) as way:
        fill(way.source, 0, 10)
        with way.stream(mode="cdc", reconnect_timeout=1) as stream:
            stream.start()
            assert stream.catch_up(SECONDS), stream.error
            way.relays["target"].cut()
            fill(way.source, 10, 10)
            assert stream.wait(timeout=SECONDS) is State.FAILED
            assert isinstance(stream.error, StreamsError)
            assert stream.error.code == "CONNECTION_FAILED"
        way.relays["target"].restore()
        way.stream(mode="cdc").release()


def test_a_start_that_finds_no_server_fails_at_once(
    request: pytest.FixtureRequest, database: Any
) -> None:
    with road("mysql9", "pg18", request, database) as way:
        way.relays["source"].cut()
        with way.stream(mode="cdc") as stream:
            stream.start()
            assert stream.wait(timeout=20) is State.FAILED
            assert stream.error is not None and stream.error.code == "CONNECTION_FAILED"


def test_sessions_of_the_target_that_were_ended_do_not_fail_a_stop(
    request: pytest.FixtureRequest, database: Any
) -> None:
    with road("mysql9", "pg18", request, database) as way:
        fill(way.source, 0, 10)
        with way.stream(mode="cdc") as stream:
            stream.start()
            assert stream.catch_up(SECONDS), stream.error
            way.target.run(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            stream.stop()
            assert stream.wait(timeout=SECONDS) is State.STOPPED, stream.error
        stream.release()


@pytest.mark.parametrize("source_name", ["pg18", "mysql9"])
def test_a_source_that_says_nothing_any_more_is_left(
    source_name: str, request: pytest.FixtureRequest, database: Any
) -> None:
    """Its connection stands for all that anybody can see; only its silence tells."""
    target_name = "pg15" if source_name == "pg18" else "pg18"
    with road(source_name, target_name, request, database) as way:
        fill(way.source, 0, 10)
        with way.stream(mode="cdc", heartbeat_timeout=3) as stream:
            stream.start()
            assert stream.catch_up(SECONDS), stream.error
            way.relays["source"].stall()
            reached(stream, waiting(attempts=1))
            way.relays["source"].cut()
            way.relays["source"].restore()
            fill(way.source, 10, 10)
            assert stream.catch_up(SECONDS), stream.error
            assert way.equal()
            stream.stop()
            stream.wait(timeout=SECONDS)
        stream.release()
