"""Connections that stand while nothing comes through them any more are noticed, and only those."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from streams_engine import State, Stream
from streams_engine.testing.servers import Server
from tests.support.outages import OFTEN, SECONDS, Road, fill, reached, road, waiting
from tests.support.relaunch import frozen
from tests.support.relay import FROM_SERVER, TO_SERVER

HEARTBEAT = 2.0
NOTICED = HEARTBEAT + 15


def noticed(stream: Stream, since: float) -> None:
    told = reached(stream, waiting(attempts=1)).connection
    assert time.monotonic() - since < NOTICED
    assert told.code in ("CONNECTION_FAILED", "SNAPSHOT_LOST")


@pytest.mark.parametrize(
    ("source_name", "target_name", "way_lost"),
    [(*OFTEN[0], TO_SERVER), (*OFTEN[1], FROM_SERVER)],
)
def test_a_target_that_answers_no_more_is_left(
    source_name: str,
    target_name: str,
    way_lost: str,
    request: pytest.FixtureRequest,
    database: Any,
) -> None:
    with road(source_name, target_name, request, database) as way:
        fill(way.source, 0, 10)
        with way.stream(mode="cdc", heartbeat_timeout=HEARTBEAT) as stream:
            stream.start()
            assert stream.catch_up(SECONDS), stream.error
            way.relays["target"].stall(way_lost)
            fill(way.source, 10, 10)
            noticed(stream, time.monotonic())
            way.relays["target"].restore()
            assert stream.catch_up(SECONDS), stream.error
            assert way.equal()
            stream.stop()
            assert stream.wait(timeout=SECONDS) is State.STOPPED
        stream.release()


@pytest.mark.parametrize(
    ("source_name", "target_name"),
    [*OFTEN, pytest.param("pg15", "pg18", marks=pytest.mark.soak)],
)
@pytest.mark.parametrize("side", ["source", "target"])
def test_a_load_leaves_a_server_that_answers_no_more(
    source_name: str,
    target_name: str,
    side: str,
    request: pytest.FixtureRequest,
    database: Any,
) -> None:
    with road(source_name, target_name, request, database) as way:
        for first in range(0, 60_000, 10_000):
            fill(way.source, first, 10_000)
        with way.stream(heartbeat_timeout=HEARTBEAT) as stream:
            stalled = stall_in_mid_load(stream, way, side)
            stream.start()
            assert stalled.wait(SECONDS), stream.error
            noticed(stream, time.monotonic())
            way.relays[side].restore()
            assert stream.wait(timeout=SECONDS) is State.FINISHED, stream.error
            assert way.equal()


def stall_in_mid_load(stream: Stream, way: Road, side: str) -> threading.Event:
    """Stall once the copy of the table has begun."""
    stalled = threading.Event()

    def told(record: Any) -> None:
        if record.event == "table" and not stalled.is_set():
            way.relays[side].stall()
            stalled.set()

    stream.on_record(told)
    return stalled


@pytest.mark.parametrize(("source_name", "target_name"), OFTEN)
@pytest.mark.parametrize("side", ["source", "target"])
@pytest.mark.parametrize("mode", ["convert", pytest.param("cdc", marks=pytest.mark.soak)])
def test_a_forced_stop_ends_on_a_server_that_answers_no_more(
    source_name: str,
    target_name: str,
    side: str,
    mode: str,
    request: pytest.FixtureRequest,
    database: Any,
) -> None:
    with road(source_name, target_name, request, database) as way:
        for first in range(0, 20_000, 10_000):
            fill(way.source, first, 10_000)
        with way.stream(mode=mode) as stream:
            if mode == "convert":
                stalled = stall_in_mid_load(stream, way, side)
                stream.start()
                assert stalled.wait(SECONDS), stream.error
            else:
                stream.start()
                assert stream.catch_up(SECONDS), stream.error
                way.relays[side].stall()
                fill(way.source, 20_000, 10)
            assert way.relays[side].holds.wait(SECONDS), stream.error
            begun = time.monotonic()
            stream.stop(force=True)
            assert stream.wait(timeout=SECONDS) is State.STOPPED
            assert time.monotonic() - begun < 10
        way.relays[side].restore()
        if mode == "cdc":
            stream.release()


SLEEPY = {
    "pg18": (
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS"
        " $$BEGIN PERFORM pg_sleep({seconds}); RETURN NEW; END$$",
        "CREATE TRIGGER slow BEFORE INSERT ON t FOR EACH ROW"
        " WHEN (NEW.id = 1000000) EXECUTE FUNCTION slow()",
        "ALTER TABLE t ENABLE ALWAYS TRIGGER slow",
    ),
    "mysql9": (
        "CREATE TRIGGER slow BEFORE INSERT ON t FOR EACH ROW"
        " SET @slept = IF(NEW.id = 1000000, SLEEP({seconds}), 0)",
    ),
}


@pytest.mark.parametrize(("source_name", "target_name"), OFTEN)
def test_a_statement_that_takes_long_is_waited_for(
    source_name: str, target_name: str, request: pytest.FixtureRequest, database: Any
) -> None:
    """The server is at work all the time, and takes no bytes of what is sent meanwhile."""
    with road(source_name, target_name, request, database) as way:
        fill(way.source, 0, 10)
        outages: list[str] = []
        with way.stream(mode="cdc", heartbeat_timeout=HEARTBEAT) as stream:
            stream.on_record(lambda record: outages.append(record.event))
            stream.start()
            assert stream.catch_up(SECONDS), stream.error
            way.target.run(*(s.format(seconds=3 * HEARTBEAT) for s in SLEEPY[target_name]))
            fill(way.source, 1_000_000, 10_000)
            begun = time.monotonic()
            assert stream.catch_up(SECONDS), stream.error
            assert time.monotonic() - begun > 2 * HEARTBEAT
            assert way.equal()
            assert stream.stats().connection.attempts == 0
            assert "reconnecting" not in outages
            stream.stop()
            assert stream.wait(timeout=SECONDS) is State.STOPPED
        stream.release()


@pytest.mark.parametrize(
    ("source_name", "target_name"), [OFTEN[0], pytest.param(*OFTEN[1], marks=pytest.mark.soak)]
)
def test_a_frozen_target_is_left_and_found_again(
    source_name: str, target_name: str, request: pytest.FixtureRequest, database: Any
) -> None:
    with road(source_name, target_name, request, database) as way:
        server: Server = way.target.server
        fill(way.source, 0, 10)
        with way.stream(mode="cdc", heartbeat_timeout=HEARTBEAT) as stream:
            stream.start()
            assert stream.catch_up(SECONDS), stream.error
            with frozen(server):
                fill(way.source, 10, 10)
                noticed(stream, time.monotonic())
            assert stream.catch_up(SECONDS), stream.error
            assert way.equal()
            stream.stop()
            assert stream.wait(timeout=SECONDS) is State.STOPPED
        stream.release()
