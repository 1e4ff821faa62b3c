"""A lock that others hold is waited for, however long: the stream says so, and goes on."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest

from streams_engine import State, Stream
from streams_engine.adapters.mysql.connection import MysqlConnect
from streams_engine.adapters.mysql.sink.sink import MysqlSink
from streams_engine.events import Event
from streams_engine.testing.servers import Server
from tests.support.databases import End
from tests.support.outages import SECONDS, fill, hold, reached, waiting

ENOUGH = 2
"""So many lock time-outs show that the stream tries again."""

HELD = {
    "a row": {
        "postgresql": ("BEGIN", "SELECT v FROM t WHERE id = 1 FOR UPDATE"),
        "mysql": ("BEGIN", "SELECT v FROM t WHERE id = 1 FOR UPDATE"),
    },
    "a table": {
        "postgresql": ("BEGIN", "LOCK TABLE t IN ACCESS EXCLUSIVE MODE"),
        "mysql": ("LOCK TABLES t WRITE",),
    },
    "an idle transaction that read": {
        "postgresql": ("BEGIN", "SELECT count(*) FROM t"),
        "mysql": ("BEGIN", "SELECT count(*) FROM t"),
    },
}
CHANGED = {
    "a row": ("UPDATE t SET v = 'new' WHERE id = 1",),
    "a table": ("DELETE FROM t WHERE id = 2", "INSERT INTO t VALUES (50, 'x')"),
    "an idle transaction that read": (
        "ALTER TABLE t ADD COLUMN more int",
        "UPDATE t SET more = 7 WHERE id = 3",
    ),
}
ROWS = {kind: "SELECT id, v FROM t ORDER BY id" for kind in HELD} | {
    "an idle transaction that read": "SELECT id, v, more FROM t ORDER BY id"
}
OFTEN = [("pg18", "mysql9"), ("mysql9", "pg18")]
ROUTES = [
    *OFTEN,
    *(
        pytest.param(route, marks=pytest.mark.soak, id="-".join(route))
        for route in (("mysql9", "mariadb"), ("pg15", "pg18"))
    ),
]


@contextmanager
def kept(end: End, kind: str) -> Iterator[Any]:
    """A session that keeps a lock until the block ends; it can be ended before."""
    family = "postgresql" if end.server.kind == "postgresql" else "mysql"
    with closing(end.server.connect(end.database)) as connection, connection.cursor() as cursor:
        for statement in HELD[kind][family]:
            cursor.execute(statement)
        yield connection


@pytest.fixture
def ends(request: pytest.FixtureRequest, database: Any) -> tuple[End, End]:
    servers: list[Server] = [request.getfixturevalue(name) for name in request.param]
    source, target = (End(server, database(server)) for server in servers)
    source.run("CREATE TABLE t (id int PRIMARY KEY, v varchar(200))")
    fill(source, 0, 10)
    return source, target


def stream_of(source: End, target: End, **options: Any) -> Stream:
    return Stream(source.url, target.url, name=f"locks {source.database}", **options)


@pytest.mark.parametrize(
    ("lock_timeout", "seconds"), [(1, 0.0), pytest.param(10, 130.0, marks=pytest.mark.soak)]
)
@pytest.mark.parametrize("kind", HELD)
@pytest.mark.parametrize("ends", ROUTES, indirect=True, ids="-".join)
def test_a_cdc_waits_for_a_lock_on_its_target(
    ends: tuple[End, End], kind: str, lock_timeout: float, seconds: float
) -> None:
    source, target = ends
    records: list[Event] = []
    with stream_of(source, target, mode="cdc", lock_timeout=lock_timeout) as stream:
        stream.on_record(records.append)
        stream.start()
        assert stream.catch_up(SECONDS), stream.error
        with kept(target, kind):
            source.run(*CHANGED[kind])
            first = reached(stream, waiting(attempts=1)).connection
            hold(stream, seconds)
            told = reached(stream, waiting(attempts=ENOUGH)).connection
            assert told.code == "LOCK_TIMEOUT" and told.reason
            assert told.since == first.since
            assert "RUNNING, waiting for " in repr(stream) and "LOCK_TIMEOUT" in repr(stream)
            said = [r for r in records if r.event == "reconnecting"]
            assert said and said[-1].message.startswith("A lock of another session delays the")
            assert not stream.catch_up(0.1)
        assert stream.catch_up(SECONDS), stream.error
        assert stream.stats().connection.state == "connected"
        assert target.rows(ROWS[kind]) == source.rows(ROWS[kind])
        assert [r.event for r in records if r.event == "reconnected"] == ["reconnected"]
        stream.stop()
        assert stream.wait(timeout=SECONDS) is State.STOPPED, stream.error
    stream.release()


@pytest.mark.parametrize("ends", ROUTES, indirect=True, ids="-".join)
def test_a_stream_that_waits_for_a_lock_is_stopped_and_goes_on_later(
    ends: tuple[End, End],
) -> None:
    source, target = ends
    with stream_of(source, target, mode="cdc", lock_timeout=1) as stream:
        stream.start()
        assert stream.catch_up(SECONDS), stream.error
        with kept(target, "a table"):
            source.run(*CHANGED["a table"])
            reached(stream, waiting(attempts=1))
            stream.pause()
            assert stream.wait(State.PAUSED, timeout=SECONDS) is State.PAUSED
            stream.resume()
            reached(stream, waiting(attempts=2))
            stream.stop()
            assert stream.wait(timeout=SECONDS) is State.STOPPED, stream.error
    with stream_of(source, target, mode="cdc") as stream:
        stream.start()
        assert stream.catch_up(SECONDS), stream.error
        assert target.rows(ROWS["a table"]) == source.rows(ROWS["a table"])
        stream.stop()
        assert stream.wait(timeout=SECONDS) is State.STOPPED, stream.error
    stream.release()


@pytest.mark.parametrize("ends", OFTEN, indirect=True, ids="-".join)
def test_a_lock_beyond_the_timeout_ends_the_stream(ends: tuple[End, End]) -> None:
    source, target = ends
    with stream_of(source, target, mode="cdc", lock_timeout=1, reconnect_timeout=2) as stream:
        stream.start()
        assert stream.catch_up(SECONDS), stream.error
        with kept(target, "a table"):
            source.run(*CHANGED["a table"])
            assert stream.wait(timeout=SECONDS) is State.FAILED
        assert stream.error is not None and stream.error.code == "LOCK_TIMEOUT"
        assert "t" in stream.error.message and stream.error.remedy
    stream_of(source, target, mode="cdc").release()


@pytest.mark.parametrize("mode", ["convert", "cdc"])
@pytest.mark.parametrize("ends", ROUTES, indirect=True, ids="-".join)
def test_a_load_waits_for_a_lock_on_its_target(ends: tuple[End, End], mode: str) -> None:
    source, target = ends
    locked, over = threading.Event(), threading.Event()
    family = "postgresql" if target.server.kind == "postgresql" else "mysql"
    lock = {"postgresql": ("BEGIN", "LOCK TABLE t IN SHARE MODE"), "mysql": ("LOCK TABLES t READ",)}

    def keep() -> None:
        with closing(target.server.connect(target.database)) as c, c.cursor() as cursor:
            for statement in lock[family]:
                cursor.execute(statement)
            locked.set()
            over.wait(SECONDS)

    holder = threading.Thread(target=keep)
    with stream_of(source, target, mode=mode, lock_timeout=1) as stream:

        def begun(record: Event) -> None:
            """The table is made, and none of its rows is written."""
            if record.event == "table" and record.message == "copying" and not locked.is_set():
                holder.start()
                locked.wait(SECONDS)

        stream.on_record(begun)
        stream.start()
        told = reached(stream, waiting(attempts=1)).connection
        assert told.code == "LOCK_TIMEOUT"
        over.set()
        holder.join()
        if mode == "cdc":
            assert stream.catch_up(SECONDS), stream.error
            stream.stop()
        ended = stream.wait(timeout=SECONDS)
        assert ended is (State.STOPPED if mode == "cdc" else State.FINISHED), stream.error
        assert stream.stats().connection.state == "connected"
        assert target.rows(ROWS["a row"]) == source.rows(ROWS["a row"])
    if mode == "cdc":
        stream.release()


@pytest.mark.parametrize("mode", ["convert", pytest.param("cdc", marks=pytest.mark.soak)])
@pytest.mark.parametrize("ends", OFTEN, indirect=True, ids="-".join)
def test_a_start_over_a_locked_source_goes_on_or_says_which_table(
    ends: tuple[End, End], mode: str
) -> None:
    source, target = ends
    with kept(source, "a table"), stream_of(source, target, mode=mode, lock_timeout=1) as stream:
        stream.start()
        assert stream.wait(timeout=SECONDS) is State.FAILED
        assert stream.error is not None and stream.error.code == "LOCK_TIMEOUT", stream.error
        assert stream.error.remedy
    with stream_of(source, target, mode=mode) as stream:
        with kept(source, "a table"):
            stream.start()
            with pytest.raises(TimeoutError):
                stream.wait(timeout=1)
        if mode == "cdc":
            assert stream.catch_up(SECONDS), stream.error
            stream.stop()
        assert stream.wait(timeout=SECONDS).final and stream.error is None
        assert target.rows(ROWS["a row"]) == source.rows(ROWS["a row"])
    if mode == "cdc":
        stream.release()


def test_a_session_that_removed_a_checkpoint_waits_for_locks_no_longer_than_before(
    mysql_server: Server, database: Any
) -> None:
    """It is used again, and the server's own default is a year."""
    server, name = mysql_server, database(mysql_server)
    where = (server.host, server.port, server.user, server.password, name)
    with closing(MysqlSink(MysqlConnect(server.kind, *where, lock_seconds=7))) as sink:
        sink.save_state("s", {"run": {"a": 1}})
        sink.forget("s")
        with sink._pool.transaction() as connection, connection.cursor() as cursor:
            cursor.execute("SELECT @@SESSION.lock_wait_timeout, @@SESSION.innodb_lock_wait_timeout")
            assert cursor.fetchone() == (7, 7)
