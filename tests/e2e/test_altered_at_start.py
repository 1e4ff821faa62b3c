"""What is altered on the source while a stream starts is on the target, in rows and structure."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from streams_engine import Stream
from streams_engine.faults import install
from streams_engine.testing.servers import Server
from tests.support.databases import End

SECONDS = 60
ROUTES = [("mysql9", "pg18"), ("mariadb", "mysql9"), ("pg18", "mysql9"), ("pg18", "pg18")]


@pytest.fixture(params=ROUTES, ids=["-".join(route) for route in ROUTES])
def ends(request: pytest.FixtureRequest, database: Any) -> tuple[End, End]:
    """A source with a table, and a target."""
    servers: list[Server] = [request.getfixturevalue(name) for name in request.param]
    source, target = (End(server, database(server)) for server in servers)
    source.run("CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t VALUES (1)")
    return source, target


@contextmanager
def once(point: str, act: Callable[[], None]) -> Iterator[threading.Event]:
    """Do something the first time that a run comes to a point."""
    done = threading.Event()

    def hook(here: str) -> None:
        if here == point and not done.is_set():
            act()
            done.set()

    install(hook)
    try:
        yield done
    finally:
        install(None)


def test_a_column_that_comes_with_the_position(ends: tuple[End, End]) -> None:
    """Without a load: between the look at the catalog and the end of the log."""
    source, target = ends
    with (
        once(
            "handover: position taken", lambda: source.run("ALTER TABLE t ADD COLUMN p int")
        ) as done,
        Stream(source.url, target.url, mode="cdc", name="with", initial_load=False) as stream,
    ):
        stream.start()
        assert stream.catch_up(SECONDS), stream.error
        assert done.is_set()
        source.run("INSERT INTO t VALUES (2, 7)")
        assert stream.catch_up(SECONDS), stream.error
        assert target.rows("SELECT id, p FROM t") == [(2, 7)]
        source.run("ALTER TABLE t ADD COLUMN q int", "INSERT INTO t VALUES (3, 8, 9)")
        assert stream.catch_up(SECONDS), stream.error
        assert target.rows("SELECT id, p, q FROM t ORDER BY id") == [(2, 7, None), (3, 8, 9)]
        stream.stop()
        stream.wait(timeout=SECONDS)
        stream.release()


@pytest.mark.parametrize("point", ["handover: rows copied", "handover: keys built", "log: opened"])
def test_a_column_that_comes_in_the_load(ends: tuple[End, End], point: str) -> None:
    source, target = ends
    # While the view is open its locks keep the statement waiting.
    altered = threading.Thread(target=source.run, args=("ALTER TABLE t ADD COLUMN p int",))
    with (
        once(point, altered.start) as done,
        Stream(source.url, target.url, mode="cdc", name="load") as stream,
    ):
        stream.start()
        assert stream.catch_up(SECONDS), stream.error
        assert done.wait(SECONDS)
        altered.join()
        source.run("INSERT INTO t VALUES (2, 7)")
        assert stream.catch_up(SECONDS), stream.error
        assert target.rows("SELECT id, p FROM t ORDER BY id") == [(1, None), (2, 7)]
        assert stream.verify().ok
        stream.stop()
        stream.wait(timeout=SECONDS)
        stream.release()


@pytest.mark.parametrize("point", ["handover: rows copied", "handover: keys built"])
def test_a_column_that_comes_while_a_load_is_interrupted(ends: tuple[End, End], point: str) -> None:
    """Its rows were copied, and it has neither keys nor a place in the log yet."""
    source, target = ends
    first = Stream(source.url, target.url, mode="cdc", name="cut")
    with once(point, lambda: threading.Thread(target=first.stop).start()), first:
        first.start()
        assert first.wait(timeout=SECONDS).final
    source.run("ALTER TABLE t ADD COLUMN p int", "INSERT INTO t VALUES (2, 7)")
    with Stream(source.url, target.url, mode="cdc", name="cut") as second:
        second.start()
        assert second.catch_up(SECONDS), second.error
        assert target.rows("SELECT id, p FROM t ORDER BY id") == [(1, None), (2, 7)]
        assert second.verify().ok
    second.release()


def test_a_character_set_that_changes_while_a_load_is_interrupted(
    mysql9: Server, mariadb: Server, database: Any
) -> None:
    source, target = End(mysql9, database(mysql9)), End(mariadb, database(mariadb))
    source.run("CREATE TABLE t (id int PRIMARY KEY, v varchar(9))", "INSERT INTO t VALUES (1, 'a')")
    first = Stream(source.url, target.url, mode="cdc", name="cut")
    cut = threading.Thread(target=first.stop)
    with once("handover: structure made", cut.start), first:
        first.start()
        assert first.wait(timeout=SECONDS).final
    source.run("ALTER TABLE t MODIFY v varchar(9) CHARACTER SET latin1")
    with Stream(source.url, target.url, mode="cdc", name="cut") as second:
        second.start()
        assert second.catch_up(SECONDS), second.error
    found = "SELECT character_set_name FROM information_schema.columns WHERE column_name = 'v'"
    assert target.rows(f"{found} AND table_schema = '{target.database}'") == [("latin1",)]
    second.release()


KEYS = {
    "unique": "ALTER TABLE t ADD UNIQUE (v)",
    "no longer unique": "ALTER TABLE t DROP CONSTRAINT u; INSERT INTO t VALUES (2, '', '',"
    " repeat('x', 9000))",
    "foreign": "ALTER TABLE t ADD FOREIGN KEY (w) REFERENCES s",
}


@pytest.mark.parametrize("statements", KEYS.values(), ids=KEYS)
@pytest.mark.parametrize("point", ["handover: structure made", "handover: rows copied"])
def test_a_key_that_changes_while_a_load_is_interrupted(
    pg18: Server, mysql9: Server, database: Any, point: str, statements: str
) -> None:
    """MySQL has keys over short texts only, so the key decides the type of its columns."""
    source, target = End(pg18, database(pg18)), End(mysql9, database(mysql9))
    source.run(
        "CREATE TABLE s (id text PRIMARY KEY)",
        "INSERT INTO s VALUES ('')",
        "CREATE TABLE t (id int PRIMARY KEY, v text, w text, x text CONSTRAINT u UNIQUE)",
        "INSERT INTO t VALUES (1, 'a', '', 'b')",
    )
    first = Stream(source.url, target.url, mode="cdc", name="cut")
    with once(point, lambda: threading.Thread(target=first.stop).start()), first:
        first.start()
        assert first.wait(timeout=SECONDS).final
    source.run(*statements.split("; "))
    with Stream(source.url, target.url, mode="cdc", name="cut") as second:
        second.start()
        assert second.catch_up(SECONDS), second.error
        rows = "SELECT id, v, w, x FROM t ORDER BY id"
        assert target.rows(rows) == source.rows(rows)
        assert second.verify().ok
    second.release()
