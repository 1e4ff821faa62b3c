"""A start that waits for other sessions of a MySQL source says so, keeps times, and obeys."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest

from streams_engine import State, Stream
from streams_engine.events import Event
from streams_engine.testing.servers import Server
from tests.support.cdc import caught_up
from tests.support.databases import End
from tests.support.stream_control import SECONDS

QUICK = 6.0
"""Seconds that an answer may take on a busy machine, well below those of a wait."""


@pytest.fixture
def source(mysql_server: Server, database: Any) -> End:
    end = End(mysql_server, database(mysql_server))
    end.run(
        "CREATE TABLE t (id INT PRIMARY KEY, v INT)",
        "CREATE TABLE u (id INT PRIMARY KEY)",
        "INSERT INTO t VALUES (1, 1)",
    )
    return end


@pytest.fixture
def target(pg18: Server, database: Any) -> End:
    return End(pg18, database(pg18))


@contextmanager
def kept(source: End, *statements: str) -> Iterator[Any]:
    """A session that keeps what the statements lock; its cursor."""
    with closing(source.server.connect(source.database)) as c, c.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
        yield cursor


WAITS = {
    "locked tables": ("LOCK TABLES t WRITE", "UNLOCK TABLES", "t"),
    "a prepared transaction": (
        "XA START 'gone'; INSERT INTO t VALUES (9, 9); XA END 'gone'; XA PREPARE 'gone'",
        "XA ROLLBACK 'gone'",
        "gone",
    ),
}


@pytest.fixture(params=WAITS)
def wait(request: pytest.FixtureRequest, source: End) -> Iterator[tuple[Any, str]]:
    """What a start waits for: (how it is ended, what is to be named)."""
    before, after, named = WAITS[request.param]
    with kept(source, *before.split("; ")) as cursor:
        ended = threading.Event()

        def end() -> None:
            if not ended.is_set():
                ended.set()
                cursor.execute(after)

        yield end, named
        end()


def told(stream: Stream, named: str) -> None:
    """Wait until the stream says what it waits for."""
    said = threading.Event()

    def hear(record: Event) -> None:
        if record.event == "start-waits" and named in record.message:
            said.set()

    stream.on_record(hear)
    found = [f for f in stream.stats().findings if f.code == "start-waits"]
    assert any(named in f.message for f in found) or said.wait(SECONDS), (stream.error, found)
    assert all(f.remedy for f in found)


def test_it_says_what_it_waits_for_and_keeps_the_time_of_catch_up(
    source: End, target: End, wait: Any
) -> None:
    end, named = wait
    with Stream(source.url, target.url, mode="cdc", name="waits") as stream:
        stream.start()
        told(stream, named)
        started = time.monotonic()
        assert not stream.catch_up(0.5)
        assert time.monotonic() - started < QUICK
        end()
        caught_up(stream)
        assert target.rows("SELECT id, v FROM t") == [(1, 1)]


def test_it_stops(source: End, target: End, wait: Any) -> None:
    _, named = wait
    stream = Stream(source.url, target.url, mode="cdc", name="stops")
    stream.start()
    told(stream, named)
    started = time.monotonic()
    stream.stop()
    assert stream.wait(timeout=SECONDS) is State.STOPPED
    assert time.monotonic() - started < QUICK
    assert stream.error is None


def test_it_pauses_and_goes_on(source: End, target: End, wait: Any) -> None:
    end, named = wait
    with Stream(source.url, target.url, mode="cdc", name="pauses") as stream:
        stream.start()
        told(stream, named)
        stream.pause()
        stream.wait(State.PAUSED, timeout=SECONDS)
        end()
        stream.resume()
        caught_up(stream)
        assert target.rows("SELECT id, v FROM t") == [(1, 1)]


def test_a_convert_stops_too(source: End, target: End) -> None:
    with kept(source, "LOCK TABLES t WRITE"):
        stream = Stream(source.url, target.url)
        stream.start()
        told(stream, "t")
        stream.stop()
        assert stream.wait(timeout=SECONDS) is State.STOPPED


def test_ddl_that_waits_for_another_session_does_not_lock_the_start_out(
    source: End, target: End
) -> None:
    """ALTER TABLE holds the global lock off while it waits for a transaction on the table."""
    waiting = threading.Event()

    def alter() -> None:
        with closing(source.server.connect(source.database)) as c, c.cursor() as cursor:
            waiting.set()
            cursor.execute("ALTER TABLE t ADD COLUMN w INT")

    with kept(source, "BEGIN", "SELECT * FROM t") as cursor:
        thread = threading.Thread(target=alter)
        thread.start()
        waiting.wait()
        with Stream(source.url, target.url, mode="cdc", name="ddl") as stream:
            stream.start()
            told(stream, "lock")
            cursor.execute("COMMIT")
            thread.join()
            caught_up(stream)
            source.run("INSERT INTO t VALUES (2, 2, 2)")
            caught_up(stream)
            assert target.rows("SELECT id, v, w FROM t ORDER BY id") == [(1, 1, None), (2, 2, 2)]


def test_the_applications_own_ddl_is_not_held_up_by_a_start(source: End, target: End) -> None:
    slowest, ended, failed = [0.0], threading.Event(), []

    def alter() -> None:
        with closing(source.server.connect(source.database)) as c, c.cursor() as cursor:
            number = 0
            while not ended.is_set():
                started = time.monotonic()
                try:
                    cursor.execute(f"ALTER TABLE u ADD COLUMN c{number} INT")
                except Exception as error:
                    failed.append(error)
                    return
                slowest[0] = max(slowest[0], time.monotonic() - started)
                number += 1
                ended.wait(0.25)  # the stream carries each; and a table has at most 1,017 columns

    thread = threading.Thread(target=alter)
    thread.start()
    try:
        for name in ("one", "two", "three"):
            options = {"mode": "cdc", "name": name, "schema_policy": "drop_and_recreate"}
            with Stream(source.url, target.url, **options) as stream:
                stream.start()
                caught_up(stream)
    finally:
        ended.set()
        thread.join()
    assert not failed
    assert slowest[0] < QUICK
