"""A server that is away is waited for; the stream goes on by itself, and nothing is lost."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from streams_engine import State, Stream
from streams_engine.errors import StreamsError
from tests.support.outages import (
    BACK_SECONDS,
    OFTEN,
    ROUTES,
    SECONDS,
    fill,
    hold,
    reached,
    road,
    waiting,
)
from tests.support.relay import Relay


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
            assert stream.wait(State.PAUSED, timeout=SECONDS) is State.PAUSED
            stream.resume()
            reached(stream, waiting(attempts=4))
            stream.stop()
            assert stream.wait(timeout=SECONDS) is State.STOPPED, stream.error
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
            assert stream.wait(timeout=SECONDS) is State.FAILED
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
