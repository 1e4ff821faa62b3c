"""A stream that pauses or stops while it starts keeps nothing of its source locked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest

from streams_engine import State, Stream
from streams_engine.errors import StreamsError
from streams_engine.testing.servers import Server
from tests.support.cdc import caught_up, cdc, is_postgres, prepared, shown
from tests.support.databases import End
from tests.support.fault_points import once_at
from tests.support.stream_control import SECONDS

POINTS = ("start", "handover: view opened", "handover: structure made")
"""Where the pause comes: with the call of `start`, or at a point of `faults.POINTS`."""


@pytest.fixture(params=["mysql9", "mariadb", "pg18"])
def source(request: pytest.FixtureRequest, database: Any) -> Iterator[End]:
    with prepared(request.getfixturevalue(request.param), database) as end:
        yield end


@pytest.fixture
def target(pg18: Server, database: Any) -> End:
    return End(pg18, database(pg18))


def demand_unlocked(source: End, point: str) -> None:
    """The application alters a table, and writes, at once; no transaction of ours is open.

    Where the target's tables are made already, a column that comes meanwhile is missing there,
    and the stream says so: here comes none.
    """
    made = point.endswith("structure made")
    with closing(source.server.connect(source.database)) as connection:
        cursor = connection.cursor()
        cursor.execute(
            "SET lock_timeout = '2s'" if is_postgres(source) else "SET lock_wait_timeout = 2"
        )
        if made:
            cursor.execute("ALTER TABLE t ADD CONSTRAINT more CHECK (id > 0)")
        else:
            cursor.execute("ALTER TABLE t ADD COLUMN w int")
        cursor.execute("INSERT INTO t (id, v) VALUES (7, 'seven')")
    if is_postgres(source):
        query = (
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'streams_engine'"
            " AND datname = current_database() AND state = 'idle in transaction'"
        )
    else:
        query = (
            "SELECT COUNT(*) FROM information_schema.innodb_trx t JOIN"
            " information_schema.processlist p ON p.id = t.trx_mysql_thread_id"
            f" WHERE p.db = '{source.database}'"
        )
    assert source.rows(query) == [(0,)]


@contextmanager
def begun(stream: Stream, point: str, request: Callable[[], None]) -> Iterator[None]:
    """Start, and ask for something with the start or at a point of it."""
    if point == "start":
        stream.start()
        request()
        yield
        return
    with once_at(point, request):
        stream.start()
        yield


@pytest.mark.parametrize("point", POINTS)
def test_a_cdc_that_pauses_at_its_start_locks_nothing(source: End, target: End, point: str) -> None:
    with cdc(source, target) as stream:
        with begun(stream, point, stream.pause):
            assert stream.wait(State.PAUSED, timeout=SECONDS) is State.PAUSED
        demand_unlocked(source, point)
        assert not stream.catch_up(0.2)
        stream.resume()
        caught_up(stream)
        assert shown(target) == shown(source)
        source.run("INSERT INTO t (id, v) VALUES (8, 'eight')")
        caught_up(stream)
        assert shown(target) == shown(source)
    stream.release()


@pytest.mark.parametrize("point", ["start", "load: structure made"])
def test_a_convert_that_pauses_at_its_start_locks_nothing(
    source: End, target: End, point: str
) -> None:
    with Stream(source.url, target.url, tables=["t", "bag"]) as stream:
        with begun(stream, point, stream.pause):
            assert stream.wait(State.PAUSED, timeout=SECONDS) is State.PAUSED
        demand_unlocked(source, point)
        stream.resume()
        assert stream.wait(timeout=SECONDS) is State.FINISHED, stream.error
    assert shown(target) == shown(source)


@pytest.mark.parametrize("point", POINTS)
def test_a_cdc_that_stops_at_its_start_locks_nothing(source: End, target: End, point: str) -> None:
    with cdc(source, target) as stream:
        with begun(stream, point, stream.stop):
            assert stream.wait(timeout=SECONDS) is State.STOPPED
        demand_unlocked(source, point)
    with cdc(source, target) as stream:
        stream.start()
        caught_up(stream)
        assert shown(target) == shown(source)
    stream.release()


def test_a_failed_stream_holds_nothing(source: End, target: End) -> None:
    """There is nothing that a stop could end any more: it does nothing."""
    target.run("CREATE TABLE t (id int PRIMARY KEY, v varchar(1))", "CREATE TABLE bag (x int)")
    with Stream(source.url, target.url, tables=["t", "bag"]) as stream:
        with pytest.raises(StreamsError):
            stream.run()
        assert stream.state is State.FAILED
        demand_unlocked(source, "start")
        stream.stop()
        assert stream.state is State.FAILED
