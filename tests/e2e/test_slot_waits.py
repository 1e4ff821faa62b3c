"""A start whose slot waits for somebody's open transaction: it says so, and can be ended."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from streams_engine import State, Stream
from streams_engine.adapters.postgres.replication import slots
from streams_engine.model import Finding
from streams_engine.testing.servers import Server, running
from tests.support.cdc import OWN_SLOTS, caught_up, failure
from tests.support.databases import End
from tests.support.stream_control import SECONDS

NAME = "waiting"
WAITS = ("start-waits", "reload-waits")


@pytest.fixture
def source(pg_server: Server, database: Any) -> Iterator[End]:
    end = End(pg_server, database(pg_server))
    end.run("CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t VALUES (1)")
    yield end
    end.run(f"SELECT pg_terminate_backend(active_pid, 5000) {OWN_SLOTS} AND active")
    end.run(f"SELECT pg_drop_replication_slot(slot_name) {OWN_SLOTS}")


@pytest.fixture
def target(pg15: Server, database: Any) -> End:
    return End(pg15, database(pg15))


@contextmanager
def stranger(end: End, database: Any) -> Iterator[Any]:
    """A transaction that is open in another database of the server."""
    other = End(end.server, database(end.server))
    other.run("CREATE TABLE far (id int)")
    connection = end.server.connect(other.database)
    try:
        connection.autocommit = False
        connection.execute("INSERT INTO far VALUES (1)")
        yield connection
    finally:
        connection.close()


def cdc(source: End, target: End, **options: Any) -> Stream:
    return Stream(source.url, target.url, mode="cdc", name=NAME, **options)


def said(stream: Stream) -> Finding:
    """The finding that says what the slot of a start waits for."""
    told = waits(stream)
    stream.start()
    return told()


def waits(stream: Stream) -> Callable[[], Finding]:
    """Return what waits for the finding that says what a slot waits for, from here on."""
    there = threading.Event()
    stream.on_record(lambda record: there.set() if record.event in WAITS else None)

    def told() -> Finding:
        assert there.wait(SECONDS)
        (found,) = [f for f in stream.stats().findings if f.code in WAITS]
        return found

    return told


def nothing_left(source: End) -> bool:
    slots = source.rows(f"SELECT slot_name {OWN_SLOTS}")
    return not slots and not source.rows("SELECT pubname FROM pg_publication")


def test_a_start_says_whose_transaction_it_waits_for_and_goes_on_after_it(
    source: End, target: End, database: Any
) -> None:
    with stranger(source, database) as other, cdc(source, target) as stream:
        found = said(stream)
        assert str(other.info.backend_pid) in found.message
        assert other.info.dbname in found.message and "idle in transaction" in found.message
        assert f"pg_terminate_backend({other.info.backend_pid})" in found.message
        assert stream.state is State.RUNNING
        other.rollback()
        caught_up(stream)
    assert target.rows("SELECT id FROM t") == [(1,)]


@pytest.mark.parametrize("initial_load", [True, False])
def test_stop_is_obeyed_at_once_and_nothing_is_left(
    source: End, target: End, database: Any, initial_load: bool
) -> None:
    with stranger(source, database), cdc(source, target, initial_load=initial_load) as stream:
        said(stream)
        stream.stop()
        assert stream.wait(timeout=SECONDS) is State.STOPPED
        assert stream.error is None
        assert nothing_left(source)
    with cdc(source, target, initial_load=initial_load) as stream:
        stream.start()
        caught_up(stream)


def test_force_is_obeyed_too(source: End, target: End, database: Any) -> None:
    with stranger(source, database), cdc(source, target) as stream:
        said(stream)
        stream.stop(force=True)
        assert stream.wait(timeout=SECONDS) is State.STOPPED
        assert nothing_left(source)


def test_a_time_limit_ends_the_wait(source: End, target: End, database: Any) -> None:
    limits = {"elapsedTime": 2}
    with stranger(source, database), cdc(source, target, limits=limits) as stream:
        stream.start()
        assert stream.wait(timeout=SECONDS) is State.TIME_LIMIT_REACHED
        assert nothing_left(source)


def test_a_pause_holds_while_the_slot_waits(source: End, target: End, database: Any) -> None:
    with stranger(source, database) as other, cdc(source, target) as stream:
        said(stream)
        stream.pause()
        assert stream.wait(State.PAUSED, timeout=SECONDS) is State.PAUSED
        other.rollback()
        stream.resume()
        caught_up(stream)


def test_catch_up_keeps_its_time(source: End, target: End, database: Any) -> None:
    with stranger(source, database), cdc(source, target) as stream:
        said(stream)
        begun = time.monotonic()
        assert stream.catch_up(0.5) is False
        assert time.monotonic() - begun < SECONDS / 4


def test_a_table_that_joins_waits_as_well(source: End, target: End, database: Any) -> None:
    """What the stream had made before stays: its checkpoint depends on it."""
    with cdc(source, target, tables=["t"]) as stream:
        stream.start()
        caught_up(stream)
    source.run("CREATE TABLE u (id int PRIMARY KEY)")
    with stranger(source, database), cdc(source, target, tables=["t", "u"]) as stream:
        said(stream)
        stream.stop()
        assert stream.wait(timeout=SECONDS) is State.STOPPED
    assert len(source.rows(f"SELECT slot_name {OWN_SLOTS}")) == 1
    source.run("INSERT INTO t VALUES (2)", "INSERT INTO u VALUES (1)")
    with cdc(source, target, tables=["t", "u"]) as stream:
        stream.start()
        caught_up(stream)
    assert target.rows("SELECT (SELECT count(*) FROM t), (SELECT count(*) FROM u)") == [(2, 1)]


REWRITES = ("ALTER TABLE t ALTER id TYPE bigint USING id * 100", "INSERT INTO t VALUES (200)")


def test_a_table_that_is_read_again_says_what_it_waits_for(
    source: End, target: End, database: Any
) -> None:
    with cdc(source, target) as stream:
        stream.start()
        caught_up(stream)
        with stranger(source, database) as other:
            said = waits(stream)
            source.run(*REWRITES)
            found = said()
            assert found.object == "public.t" and "read again" in found.message
            assert f"pg_terminate_backend({other.info.backend_pid})" in found.message
            assert stream.stats().phase == "waiting" and stream.state is State.RUNNING
            other.rollback()
            caught_up(stream)
        assert stream.stats().phase == "following"
    assert target.rows("SELECT id FROM t ORDER BY id") == [(100,), (200,)]


@pytest.mark.parametrize("force", [False, True])
def test_stop_ends_the_wait_of_a_table_that_is_read_again(
    source: End, target: End, database: Any, force: bool
) -> None:
    with cdc(source, target) as stream:
        stream.start()
        caught_up(stream)
        with stranger(source, database):
            said = waits(stream)
            source.run(*REWRITES)
            said()
            stream.stop(force=force)
            assert stream.wait(timeout=SECONDS) is State.STOPPED
            assert stream.error is None
    with cdc(source, target) as stream:
        stream.start()
        caught_up(stream)
    assert target.rows("SELECT id FROM t ORDER BY id") == [(100,), (200,)]


def test_a_pause_holds_while_a_table_waits_to_be_read_again(
    source: End, target: End, database: Any
) -> None:
    with cdc(source, target) as stream:
        stream.start()
        caught_up(stream)
        with stranger(source, database) as other:
            said = waits(stream)
            source.run(*REWRITES)
            said()
            stream.pause()
            assert stream.wait(State.PAUSED, timeout=SECONDS) is State.PAUSED
            other.rollback()
            stream.resume()
            caught_up(stream)
    assert target.rows("SELECT id FROM t ORDER BY id") == [(100,), (200,)]


def test_all_sources_are_left_as_they_were(source: End, target: End, database: Any) -> None:
    """The first one's slot is made when the second one's begins to wait."""
    first = End(target.server, database(target.server))
    first.run("CREATE TABLE t (id int PRIMARY KEY)")
    if first.server is source.server:
        pytest.skip("a transaction keeps all slots of its server waiting")
    document = {
        "name": NAME,
        "mode": "cdc",
        "source": {
            "connections": [
                {"alias": "a", "connection": first.url, "tables": [{"name": "t"}]},
                {"alias": "b", "connection": source.url, "tables": [{"name": "t"}]},
            ]
        },
        "target": {"connection": target.url},
    }
    with stranger(source, database), Stream.from_config(document) as stream:
        said(stream)
        assert first.rows(f"SELECT count(*) {OWN_SLOTS}") == [(1,)]
        stream.stop()
        assert stream.wait(timeout=SECONDS) is State.STOPPED
        assert nothing_left(source) and nothing_left(first)


def test_a_prepared_transaction_is_named_and_a_wait_has_an_end(
    database: Any, pg15: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slots, "WAITING_SECONDS", 2.0)
    target = End(pg15, database(pg15))
    with running("pg18", {"max_prepared_transactions": "5"}) as server:
        source = End(server, server.create_database())
        source.run("CREATE TABLE t (id int PRIMARY KEY)")
        with stranger(source, lambda server: server.create_database()) as other:
            other.execute("PREPARE TRANSACTION 'it''s forgotten'")
            with cdc(source, target) as stream:
                found = said(stream)
                assert "'it's forgotten'" in found.message and other.info.dbname in found.message
                assert "ROLLBACK PREPARED 'it''s forgotten'" in found.message
                error = failure(stream)
                assert error.code == "LOCK_TIMEOUT" and "forgotten" in error.message
                assert nothing_left(source)
