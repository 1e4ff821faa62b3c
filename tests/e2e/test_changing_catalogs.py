"""Tables of others come and go while a plan, a copy or a stream begins."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import Any

import psycopg
import pytest

from streams_engine import Stream
from streams_engine.adapters.mysql.catalog import queries
from streams_engine.adapters.mysql.catalog import reader as catalog_reader
from streams_engine.adapters.postgres.catalog import reader as postgres_reader
from streams_engine.adapters.postgres.connection import PostgresConnect
from streams_engine.adapters.postgres.snapshot.source import PostgresSource
from streams_engine.contracts import Scope
from streams_engine.errors import LockTimeout, NotFound
from streams_engine.model import Extract
from streams_engine.testing.servers import Server
from tests.support.cdc import OWN_SLOTS, is_postgres
from tests.support.databases import End
from tests.support.polling import until

KEPT = [f"keep{i}" for i in range(12)]
ROUNDS = 6
CARRIED = 100
"""Tables that each session makes while a stream carries their statements one by one."""


@pytest.fixture(params=["pg15", "pg18", "mysql9", "mariadb"])
def source(request: pytest.FixtureRequest, database: Any) -> Iterator[End]:
    server: Server = request.getfixturevalue(request.param)
    end = End(server, database(server))
    end.run(*(f"CREATE TABLE {name} (a int PRIMARY KEY)" for name in KEPT))
    end.run(*(f"INSERT INTO {name} VALUES (1)" for name in KEPT))
    yield end
    if is_postgres(end):
        end.run(f"SELECT pg_terminate_backend(active_pid, 5000) {OWN_SLOTS} AND active")
        end.run(f"SELECT pg_drop_replication_slot(slot_name) {OWN_SLOTS}")


@pytest.fixture
def target(pg18: Server, database: Any) -> End:
    return End(pg18, database(pg18))


@contextmanager
def churning(end: End, most: int = 1_000_000) -> Iterator[None]:
    """Two sessions make and drop tables, with sequences, keys and comments, until the end, or
    ``most`` each."""
    done = threading.Event()
    faults: list[Exception] = []
    begun = threading.Barrier(3)

    def churn(number: int) -> None:
        number_type = "serial" if is_postgres(end) else "int AUTO_INCREMENT"
        try:
            with closing(end.server.connect(end.database)) as connection:
                cursor = connection.cursor()
                if is_postgres(end):
                    # Readers wait behind what waits for the load: it gives up before they do.
                    cursor.execute("SET lock_timeout = '1s'")
                begun.wait()
                for i in range(most):
                    if done.is_set():
                        return
                    name = f"stage{number}_{i % 5}"
                    cursor.execute(
                        f"CREATE TABLE {name} (a {number_type} PRIMARY KEY, b int DEFAULT 7,"
                        f" c varchar(9), CONSTRAINT u_{name} UNIQUE (b), CHECK (b > 0))"
                    )
                    drop(cursor, name)
        except Exception as error:
            faults.append(error)

    threads = [threading.Thread(target=churn, args=(n,)) for n in range(2)]
    for thread in threads:
        thread.start()
    begun.wait()
    try:
        yield
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert not faults


def drop(cursor: Any, name: str) -> None:
    """Drop a table, and try it again while a load keeps it."""
    while True:
        try:
            cursor.execute(f"DROP TABLE {name}")
        except psycopg.errors.LockNotAvailable:
            continue
        return


def kept(names: list[str]) -> list[str]:
    return sorted(name.rpartition(".")[2] for name in names if "stage" not in name)


def test_a_plan_shows_what_stays(source: End, target: End) -> None:
    with churning(source):
        for _ in range(ROUNDS):
            plan = Stream(source.url, target.url).plan()
            assert kept([str(table.source) for table in plan.tables]) == sorted(KEPT)
            staged = [table for table in plan.tables if "stage" in str(table.source)]
            assert all(len(table.columns) == 3 for table in staged)


def test_a_copy_moves_what_stays(source: End, target: End) -> None:
    with churning(source):
        for _ in range(ROUNDS):
            with Stream(source.url, target.url, schema_policy="drop_and_recreate") as stream:
                stream.run()
    assert [target.rows(f"SELECT * FROM {name}") for name in KEPT] == [[(1,)]] * len(KEPT)


def test_a_stream_follows_what_stays(source: End, target: End) -> None:
    for number in range(2):
        options = {"name": f"churn{number}", "allow_lossy": True}  # MySQL logs a dropped table
        with (
            Stream(source.url, target.url, mode="cdc", **options) as stream,
            churning(source, CARRIED),
        ):
            stream.start()
            source.run(f"INSERT INTO keep3 VALUES ({number + 2})")
            assert stream.catch_up(120), stream.error
        assert target.rows("SELECT * FROM keep3 ORDER BY a") == source.rows(
            "SELECT * FROM keep3 ORDER BY a"
        )
        stream.release()
        target.run("DROP SCHEMA public CASCADE", "CREATE SCHEMA public")


def test_a_table_that_is_named_and_gone_is_told(source: End, target: End) -> None:
    with pytest.raises(NotFound) as caught:
        Stream(source.url, target.url, tables=["keep1", "gone"]).run()
    assert "gone" in caught.value.message and caught.value.remedy


@pytest.mark.parametrize("named", [False, True], ids=["all", "named"])
@pytest.mark.parametrize("source", ["mysql9", "mariadb"], indirect=True)
def test_a_table_that_is_made_anew_while_the_catalog_is_read(
    source: End, monkeypatch: pytest.MonkeyPatch, named: bool
) -> None:
    """It was away when the columns were read: it is left out, or told where it was named."""
    plain = catalog_reader._Reader._ask

    def ask(reader: Any, query: str) -> list[Any]:
        if query == queries.COLUMNS:
            source.run("DROP TABLE keep3")
        found = plain(reader, query)
        if query == queries.COLUMNS:
            source.run("CREATE TABLE keep3 (a int PRIMARY KEY)")
        return found

    monkeypatch.setattr(catalog_reader._Reader, "_ask", ask)
    with closing(source.server.connect(source.database)) as connection:
        if named:
            with pytest.raises(NotFound, match="keep3 were dropped or renamed") as caught:
                catalog_reader.read_catalog(connection, Scope(source.database, ("keep1", "keep3")))
            assert caught.value.remedy
        else:
            found = catalog_reader.read_catalog(connection, Scope(source.database)).tables
            assert [table.id.name for table in found] == sorted(set(KEPT) - {"keep3"})


@pytest.mark.parametrize("tuples", [False, True], ids=["blocks", "tuples"])
@pytest.mark.parametrize("source", ["pg15", "pg18"], indirect=True)
def test_a_statement_that_waits_for_the_load_and_keeps_its_readers_out_is_told(
    source: End, tuples: bool
) -> None:
    server = source.server
    where = (server.host, server.port, server.user, server.password, source.database)
    reader = PostgresSource(PostgresConnect(*where, lock_seconds=0.3))
    with ThreadPoolExecutor(1) as pool, reader.snapshot(Scope("public"), 1) as view:
        (table,) = (table for table in view.catalog.tables if table.id.name == "keep3")
        waiting = pool.submit(source.run, "ALTER TABLE keep3 ADD b int")
        until(lambda: source.rows("SELECT 1 FROM pg_locks WHERE NOT granted"))
        (chunk,) = view.chunks(table, 1000)
        with pytest.raises(LockTimeout, match=r"reading public\.keep3") as caught:
            list(view.read(Extract(table.id, table.columns, tuples=tuples), chunk))
        assert caught.value.remedy
        view.close()
        waiting.result(30)


@pytest.mark.parametrize("source", ["pg15", "pg18"], indirect=True)
def test_listing_tables_opens_none(source: End) -> None:
    """One may be locked by its owner, and an index of one may be dropped meanwhile."""
    server = source.server
    where = (server.host, server.port, server.user, server.password, source.database)
    reader = PostgresSource(PostgresConnect(*where, lock_seconds=0.3))
    with closing(server.connect(source.database)) as session, session.transaction():
        session.execute("LOCK TABLE keep3 IN ACCESS EXCLUSIVE MODE")
        listed = reader.tables(Scope("public"))
    assert [table.name for table in listed] == sorted(KEPT)


def test_a_catalog_is_read_again_where_something_was_dropped_meanwhile() -> None:
    answers = iter([psycopg.errors.InternalError_("cache lookup failed for type 7"), "read"])

    def read() -> Any:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert postgres_reader.undisturbed(read) == "read"
