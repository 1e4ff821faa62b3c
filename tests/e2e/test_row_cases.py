"""Hard cases of rows that no narrower test holds (docs/cases.md), from one end to the other."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import psycopg
import pytest

from streams_engine import State, Stream
from streams_engine.testing.servers import Server
from tests.support.cdc import (
    NAME,
    OWN_SLOTS,
    caught_up,
    cdc,
    failure,
    following,
    is_postgres,
    prepared,
)
from tests.support.databases import End
from tests.support.polling import until
from tests.support.stream_control import SECONDS


@pytest.fixture
def postgres(pg15: Server, database: Any) -> Iterator[End]:
    with prepared(pg15, database) as end:
        yield end


@pytest.fixture
def mysql(mysql9: Server, database: Any) -> Iterator[End]:
    with prepared(mysql9, database) as end:
        yield end


@pytest.fixture(params=["pg15", "mysql9", "mariadb"])
def target(request: pytest.FixtureRequest, database: Any) -> End:
    server = request.getfixturevalue(request.param)
    return End(server, database(server))


@pytest.mark.parametrize("identity", ["DEFAULT", "FULL"])
def test_b39_large_hstore_and_uuid_lists_that_an_update_leaves_alone(
    postgres: End, target: End, identity: str
) -> None:
    postgres.run(
        "CREATE EXTENSION hstore",
        "CREATE TABLE big (id int PRIMARY KEY, n int, h hstore, u uuid[])",
        f"ALTER TABLE big REPLICA IDENTITY {identity}",
        "ALTER TABLE big ALTER h SET STORAGE EXTERNAL, ALTER u SET STORAGE EXTERNAL",
        """INSERT INTO big SELECT n, n, hstore(ARRAY['k', repeat('é"\\', 3000), 'none', NULL]),
        array_agg(gen_random_uuid()) FROM generate_series(1, 3) n, generate_series(1, 400)
        GROUP BY n""",
    )
    with following(postgres, target, tables=["big"]) as stream:
        postgres.run(
            "UPDATE big SET n = 10 WHERE id = 1",
            "UPDATE big SET id = 20 WHERE id = 2",
            "BEGIN; UPDATE big SET n = 30 WHERE id = 3;"
            " UPDATE big SET id = 33 WHERE id = 3; COMMIT",
        )
        caught_up(stream)
        assert stream.verify().ok
        assert stream.stats().changes.unmet == 0  # type: ignore[union-attr]


def test_b49_a_prepared_transaction_comes_at_its_commit(postgres: End, target: End) -> None:
    with following(postgres, target) as stream:
        postgres.run(
            "BEGIN; INSERT INTO t VALUES (7, 'kept'); PREPARE TRANSACTION 'row-case-kept'",
            "BEGIN; INSERT INTO t VALUES (8, 'gone'); PREPARE TRANSACTION 'row-case-gone'",
            "INSERT INTO t VALUES (9, 'later')",
        )
        caught_up(stream)
        rows = "SELECT id FROM t ORDER BY id"
        assert target.rows(rows) == [(1,), (2,), (9,)]
        stream.stop()
        stream.wait(timeout=SECONDS)
    with cdc(postgres, target) as stream:
        stream.start()
        postgres.run("ROLLBACK PREPARED 'row-case-gone'", "COMMIT PREPARED 'row-case-kept'")
        caught_up(stream)
        assert target.rows(rows) == [(1,), (2,), (7,), (9,)]
        assert stream.verify().ok


def test_b64_what_another_replication_wrote_is_followed_and_said(
    postgres: End, target: End
) -> None:
    """Every origin is followed: a stream in a ring would go round."""
    origin = f"row_case_{postgres.database}"
    postgres.run(f"SELECT pg_replication_origin_create('{origin}')")
    try:
        with following(postgres, target) as stream:
            postgres.run(
                f"SELECT pg_replication_origin_session_setup('{origin}');"
                " INSERT INTO t VALUES (7, 'theirs')",
                "INSERT INTO t VALUES (8, 'own')",
            )
            caught_up(stream)
            assert stream.verify().ok
        assert target.rows("SELECT id FROM t ORDER BY id") == [(1,), (2,), (7,), (8,)]
        said = [f for f in stream.stats().findings if f.code == "replication-origins"]
        assert said and origin in said[0].message
    finally:
        postgres.run(f"SELECT pg_replication_origin_drop('{origin}')")


@pytest.fixture
def ascii_source(pg15: Server) -> Iterator[End]:
    """A database without an encoding."""
    name = "row_case_ascii"
    with closing(pg15.connect(None)) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        connection.execute(
            f"CREATE DATABASE {name} ENCODING 'SQL_ASCII' LOCALE 'C' TEMPLATE template0"
        )
    end = End(pg15, name)
    yield end
    end.run(f"SELECT pg_terminate_backend(active_pid, 5000) {OWN_SLOTS} AND active")
    end.run(f"SELECT pg_drop_replication_slot(slot_name) {OWN_SLOTS}")
    with closing(pg15.connect(None)) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def bytes_of(end: End, *statements: bytes) -> None:
    """Run statements whose bytes the server takes as they are."""
    with closing(psycopg.connect(end.url, autocommit=True, client_encoding="SQL_ASCII")) as c:
        for statement in statements:
            c.pgconn.exec_(statement)


def test_b66_a_database_without_an_encoding(ascii_source: End, target: End) -> None:
    """UTF-8 in it comes through by load and by log."""
    bytes_of(
        ascii_source,
        b"CREATE TABLE t (id int PRIMARY KEY, v text, a text[], j jsonb)",
        "INSERT INTO t VALUES (1, 'äö€🍣', ARRAY['é'], '{\"k\": \"ü\"}')".encode(),
    )
    with following(ascii_source, target, tables=["t"]) as stream:
        bytes_of(ascii_source, b"INSERT INTO t SELECT 2, v, a, j FROM t")
        bytes_of(ascii_source, "INSERT INTO t VALUES (3, 'ñ', NULL, NULL)".encode())
        caught_up(stream)
        assert stream.verify().ok
    assert target.rows("SELECT v FROM t ORDER BY id") == [("äö€🍣",), ("äö€🍣",), ("ñ",)]


@pytest.mark.parametrize("by", ["load", "log"])
def test_b66_other_bytes_are_refused_by_name(ascii_source: End, target: End, by: str) -> None:
    bytes_of(ascii_source, b"CREATE TABLE t (id int PRIMARY KEY, v text)")
    latin = b"INSERT INTO t VALUES (1, 'sch\xf6n')"
    if by == "load":
        bytes_of(ascii_source, latin)
    with cdc(ascii_source, target, tables=["t"]) as stream:
        stream.start()
        if by == "log":
            caught_up(stream)
            bytes_of(ascii_source, latin)
        error = failure(stream)
    assert error.code in ("ROW_REJECTED", "SERVER_ERROR"), repr(error)
    assert "t" in str(error) and "sch" not in str(error)
    assert target.rows("SELECT count(*) FROM t") == [(0,)]


def test_b69_tables_of_one_name_and_without_columns_by_the_log(postgres: End, target: End) -> None:
    postgres.run(
        "CREATE SCHEMA other",
        "CREATE TABLE other.t (id int PRIMARY KEY, w int)",
        "INSERT INTO other.t VALUES (1, 10)",
    )
    names = ["public.t", "other.t"]
    if is_postgres(target):
        postgres.run("CREATE TABLE bare ()", "ALTER TABLE bare REPLICA IDENTITY FULL")
        names.append("public.bare")
    with following(postgres, target, tables=names) as stream:
        postgres.run(
            "INSERT INTO other.t VALUES (2, 20)",
            "UPDATE other.t SET w = 11 WHERE id = 1",
            "INSERT INTO t VALUES (3, 'three')",
            "DELETE FROM t WHERE id = 1",
        )
        if is_postgres(target):
            postgres.run("INSERT INTO bare DEFAULT VALUES", "INSERT INTO bare DEFAULT VALUES")
        caught_up(stream)
        assert stream.verify().ok
    other = "other.t" if is_postgres(target) else "other__t"
    assert target.rows(f"SELECT * FROM {other} ORDER BY id") == [(1, 11), (2, 20)]
    assert target.rows("SELECT id FROM t ORDER BY id") == [(2,), (3,)]


ZONE = [
    "DELETE FROM mysql.time_zone_name WHERE Name = 'Test/Berlin'",
    "INSERT INTO mysql.time_zone (Time_zone_id, Use_leap_seconds) VALUES (7777, 'N')",
    "INSERT INTO mysql.time_zone_name (Name, Time_zone_id) VALUES ('Test/Berlin', 7777)",
    "INSERT INTO mysql.time_zone_transition_type"
    " (Time_zone_id, Transition_type_id, `Offset`, Is_DST, Abbreviation)"
    " VALUES (7777, 0, 7200, 1, 'CEST'), (7777, 1, 3600, 0, 'CET')",
    "INSERT INTO mysql.time_zone_transition (Time_zone_id, Transition_time, Transition_type_id)"
    " VALUES (7777, 1711846800, 0), (7777, 1729990800, 1)",
]
UNZONE = [
    f"DELETE FROM mysql.{table} WHERE Time_zone_id = 7777"
    for table in (
        "time_zone_transition",
        "time_zone_transition_type",
        "time_zone_name",
        "time_zone",
    )
]


@pytest.mark.parametrize("kind", ["mysql9", "mariadb"])
def test_c78_an_hour_that_the_clock_repeats(
    request: pytest.FixtureRequest, postgres: End, pg18: Server, database: Any, kind: str
) -> None:
    """Both instants of 02:30 stay two, in a server whose zone has that hour twice."""
    server: Server = request.getfixturevalue(kind)
    target = End(pg18, database(pg18))
    with prepared(server, database) as source:
        source.run(*UNZONE, *ZONE, "SET GLOBAL time_zone = 'Test/Berlin'")
        try:
            source.run("CREATE TABLE h (id int PRIMARY KEY, ts timestamp NULL, dt datetime)")

            def add(first: int) -> str:
                return (
                    f"INSERT INTO h VALUES ({first}, '2024-10-27 00:30:00', '2024-10-27 02:30:00'),"
                    f" ({first + 1}, '2024-10-27 01:30:00', '2024-10-27 02:30:00'),"
                    f" ({first + 2}, '2024-03-31 01:00:00', '2024-03-31 02:30:00')"
                )

            source.run("SET time_zone = '+00:00'", add(1))
            with following(source, target, tables=["h"]) as stream:
                source.run("SET time_zone = '+00:00'", add(11), "SET time_zone = 'Test/Berlin'",
                           "UPDATE h SET dt = dt + INTERVAL 1 DAY WHERE id IN (1, 2)")  # fmt: skip
                caught_up(stream)
                assert stream.verify().ok
            seconds = "SELECT id, extract(epoch FROM ts)::bigint FROM h ORDER BY id"
            instants = [1729989000, 1729992600, 1711846800]
            ids = [1, 2, 3, 11, 12, 13]
            assert target.rows(seconds) == list(zip(ids, instants * 2, strict=True))
            clocks = target.rows("SELECT to_char(dt, 'DD HH24:MI') FROM h ORDER BY id")
            days = ("28", "28", "31", "27", "27", "31")
            assert clocks == [(f"{day} 02:30",) for day in days]
        finally:
            source.run("SET GLOBAL time_zone = 'SYSTEM'", *UNZONE)


def test_c99_the_axes_of_a_geometry_stay_in_their_order(
    mysql: End, mysql9: Server, database: Any
) -> None:
    """4326 is latitude first for the server's texts, and its bytes are longitude first."""
    target = End(mysql9, database(mysql9))
    mysql.run(
        "CREATE TABLE g (id int PRIMARY KEY, p point SRID 4326, a geometry, f geometry SRID 0)",
        "INSERT INTO g VALUES (1, ST_GeomFromText('POINT(52.5 13.4)', 4326),"
        " ST_GeomFromText('LINESTRING(1 2, 3 4)', 4326), ST_GeomFromText('POINT(1 2)', 0))",
    )
    with following(mysql, target, tables=["g"]) as stream:
        mysql.run("INSERT INTO g SELECT id + 1, p, a, f FROM g")
        caught_up(stream)
        assert stream.verify().ok
    query = (
        "SELECT ST_AsText(p), ST_Latitude(p), ST_SRID(p), ST_AsText(a), ST_SRID(a), ST_AsText(f)"
        " FROM g ORDER BY id"
    )
    assert target.rows(query) == mysql.rows(query)
    assert target.rows(query)[0][1] == 52.5


@pytest.mark.parametrize("kind", ["pg15", "mysql9", "mariadb"])
def test_d112_a_deadlock_while_the_log_is_followed(
    request: pytest.FixtureRequest, postgres: End, database: Any, kind: str
) -> None:
    """The transaction that the target's server broke off is applied again, once."""
    server: Server = request.getfixturevalue(kind)
    target = End(server, database(server))
    postgres.run(
        "CREATE TABLE a (id int PRIMARY KEY, n int)", "CREATE TABLE b (id int PRIMARY KEY, n int)",
        "INSERT INTO a VALUES (1, 0)", "INSERT INTO b VALUES (1, 0)",
    )  # fmt: skip
    waiting = (
        "SELECT count(*) FROM pg_locks WHERE NOT granted"
        if is_postgres(target)
        else "SELECT COUNT(*) FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'"
    )
    with following(postgres, target, tables=["a", "b", "bag"]) as stream:
        with closing(server.connect(target.database)) as other:
            cursor = other.cursor()
            if is_postgres(target):
                cursor.execute("SET deadlock_timeout = '10min'")
                cursor.execute("BEGIN")
            else:
                cursor.execute("CREATE TABLE heavy (id int PRIMARY KEY)")
                cursor.execute("BEGIN")
                # The lighter transaction is broken off.
                values = ", ".join(f"({n})" for n in range(500))
                cursor.execute(f"INSERT INTO heavy VALUES {values}")
            cursor.execute("UPDATE b SET n = n + 100 WHERE id = 1")
            postgres.run("BEGIN; UPDATE a SET n = 1; UPDATE b SET n = 1;"
                         " INSERT INTO bag VALUES (5, 'once'); COMMIT")  # fmt: skip
            # innodb_trx shows what it showed where it was asked 0.1 seconds ago.
            until(lambda: target.rows(waiting)[0][0], 2 * SECONDS, pause=0.25)
            cursor.execute("UPDATE a SET n = n + 100 WHERE id = 1")
            cursor.execute("ROLLBACK")
        caught_up(stream)
        assert stream.state is State.RUNNING
        changes = stream.stats().changes
        assert changes is not None and changes.reconnects >= 1 and changes.unmet == 0
        assert stream.verify().ok
    assert target.rows("SELECT count(*) FROM bag WHERE x = 5") == [(1,)]


def test_e118_thousands_of_tables_are_planned_in_seconds(pg15: Server, database: Any) -> None:
    source, target = End(pg15, database(pg15)), End(pg15, database(pg15))
    tables = [f"CREATE TABLE t{n} (id int PRIMARY KEY, v text)" for n in range(2_000)]
    for start in range(0, len(tables), 50):
        source.run(";".join(tables[start : start + 50]))
    begun = time.monotonic()
    plan = Stream(source.url, target.url, name=NAME).plan()
    assert len(plan.tables) == 2_000
    assert time.monotonic() - begun < 60
