"""A source that takes every question and answers none holds up nobody who waits for the stream."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest

from streams_engine import Engine, State, Stream
from streams_engine.contracts import Lag
from tests.support.outages import SECONDS, Road, fill, reached, road, waiting

SILENT = 3
"""Seconds after which a silent server is taken for dead, in these tests."""


@pytest.fixture(params=["mysql9", "mariadb", "pg18"])
def way(request: pytest.FixtureRequest, database: Any) -> Iterator[Road]:
    target = "pg15" if request.param == "pg18" else "pg18"
    with road(request.param, target, request, database) as found:
        fill(found.source, 0, 10)
        yield found


@contextmanager
def stalled(way: Road, **options: Any) -> Iterator[Stream]:
    """A cdc that has caught up, and whose source says nothing any more."""
    options = {"reporting_interval": 1, "heartbeat_timeout": SILENT, **options}
    with way.stream(mode="cdc", **options) as stream:
        stream.start()
        assert stream.catch_up(SECONDS), stream.error
        way.relays["source"].stall()
        yield stream
    way.relays["source"].cut()
    way.relays["source"].restore()
    way.stream(mode="cdc").release()


def test_states_are_told_and_waits_keep_their_time(way: Road) -> None:
    with stalled(way) as stream:
        told, reported = threading.Event(), threading.Event()
        stream.on_state(lambda _, new: told.set() if new is State.PAUSED else None)
        stream.on_progress(lambda _: reported.set())
        reached(stream, waiting(attempts=1))  # by now a look at the lag is under way too
        begun = time.monotonic()
        assert not stream.catch_up(1)
        assert time.monotonic() - begun < 10
        reported.clear()
        assert reported.wait(SECONDS)
        stream.pause()
        assert told.wait(SECONDS)
        begun = time.monotonic()
        with pytest.raises(TimeoutError):
            stream.wait(timeout=0.5)
        assert time.monotonic() - begun < 10
        stream.resume()
        stream.stop()
        assert stream.wait(timeout=SECONDS) is State.STOPPED, stream.error


def test_a_look_at_the_lag_that_never_returns_keeps_nobody(
    way: Road, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even where the client, too, waits for ever."""
    asked, over = threading.Event(), threading.Event()

    def lag(*_: Any) -> Lag:
        asked.set()
        over.wait()
        return Lag(0)

    with way.stream(mode="cdc", reporting_interval=1) as stream:
        stream.start()
        assert stream.catch_up(SECONDS), stream.error
        assert stream._cdc is not None
        monkeypatch.setattr(stream._cdc.context.sources[0].source, "lag", lag)
        assert asked.wait(SECONDS)
        told = threading.Event()
        stream.on_state(lambda _, new: told.set() if new.final else None)
        stream.stop()
        begun = time.monotonic()
        assert stream.wait(timeout=SECONDS) is State.STOPPED, stream.error
        assert told.wait(SECONDS)
    assert time.monotonic() - begun < SECONDS
    before = stream.stats()
    over.set()
    assert stream.stats() == before
    stream.release()


@pytest.mark.parametrize("error", [ValueError("x"), SystemExit(1)], ids=["ValueError", "Exit"])
def test_a_look_at_the_lag_that_raises_ends_nothing(
    error: BaseException, way: Road, monkeypatch: pytest.MonkeyPatch
) -> None:
    raised = threading.Semaphore(0)

    def lag(*_: Any) -> Lag:
        raised.release()
        raise error

    with way.stream(mode="cdc", reporting_interval=1) as stream:
        stream.start()
        assert stream.catch_up(SECONDS), stream.error
        assert stream._cdc is not None
        monkeypatch.setattr(stream._cdc.context.sources[0].source, "lag", lag)
        for _ in range(2):
            assert raised.acquire(timeout=SECONDS)
        fill(way.source, 10, 10)
        assert stream.catch_up(SECONDS), stream.error
        assert way.equal()
        stream.stop()
        assert stream.wait(timeout=SECONDS) is State.STOPPED, stream.error
    stream.release()


def test_an_engine_with_a_silent_source_is_closed(way: Road, tmp_path: Any) -> None:
    with Engine(tmp_path / "engine.db") as engine:
        config = engine.configs.create(
            {
                "name": "silent", "mode": "cdc", "reportingInterval": 1,
                "source": {"connections": [{"connectionId": _stored(engine, "a", way.urls[0]),
                                            "tables": [{"name": "t"}]}]},
                "target": {"id": _stored(engine, "b", way.urls[1])},
                "options": {"heartbeatTimeout": SILENT},
            }
        )["id"]  # fmt: skip
        run = engine.streams.start(config)
        stream = engine.streams.open(run)
        assert stream.catch_up(SECONDS), stream.error
        way.relays["source"].stall()
        reached(stream, waiting(attempts=1))
        begun = time.monotonic()
        engine.close()
        assert time.monotonic() - begun < SECONDS
        assert stream.state is State.STOPPED, stream.error
    way.relays["source"].cut()
    way.relays["source"].restore()
    with Engine(tmp_path / "engine.db") as engine:
        assert engine.streams.get(run)["status"] == "STOPPED"
        engine.streams.release(config)


def _stored(engine: Engine, name: str, url: str) -> str:
    parts = urlsplit(url)
    document = {
        "name": name, "type": parts.scheme, "host": parts.hostname, "port": parts.port,
        "username": parts.username, "password": parts.password, "database": parts.path[1:],
    }  # fmt: skip
    return str(engine.connections.create(document)["id"])
