"""Tables that INHERIT on PostgreSQL: each has rows of its own, and a statement means its own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from streams_engine import Engine, Stream
from streams_engine.config.connection import parse_connection
from streams_engine.query import Queries, QueryConnections
from streams_engine.testing.servers import Server
from tests.support.cdc import OWN_SLOTS, caught_up, following
from tests.support.databases import End

TABLES = ["parent", "child", "log", "log_child"]
FAMILY = [
    "CREATE TABLE parent (id int PRIMARY KEY, n text, place int, fat text,"
    " CONSTRAINT placed UNIQUE (place))",
    "CREATE TABLE child (more int, PRIMARY KEY (id), UNIQUE (place)) INHERITS (parent)",
    "CREATE TABLE log (n text)",
    "CREATE TABLE log_child () INHERITS (log)",
    "ALTER TABLE log REPLICA IDENTITY FULL",
    "ALTER TABLE log_child REPLICA IDENTITY FULL",
    "INSERT INTO parent SELECT g, 'p', g, NULL FROM generate_series(1, 60) g",
    "INSERT INTO child SELECT g, 'c', g, NULL, 1 FROM generate_series(1, 60) g",
    "INSERT INTO log VALUES ('x'), ('x'), ('y')",
    "INSERT INTO log_child VALUES ('x'), ('y')",
]


@pytest.fixture
def source(pg15: Server, database: Any) -> Iterator[End]:
    end = End(pg15, database(pg15))
    end.run(*FAMILY)
    yield end
    end.run(f"SELECT pg_terminate_backend(active_pid, 5000) {OWN_SLOTS} AND active")
    end.run(f"SELECT pg_drop_replication_slot(slot_name) {OWN_SLOTS}")


@pytest.fixture
def target(pg18: Server, database: Any) -> End:
    return End(pg18, database(pg18))


def own(end: End) -> dict[str, list[Any]]:
    """The rows of each table without its children's."""
    return {t: sorted(map(repr, end.rows(f"SELECT * FROM ONLY {t}"))) for t in TABLES}


WORK = {
    "a few rows": [
        "UPDATE ONLY parent SET n = 'changed' WHERE id = 1",
        "DELETE FROM ONLY parent WHERE id = 2",
    ],
    "many rows": [
        "UPDATE ONLY parent SET n = 'changed' WHERE id < 31",
        "DELETE FROM ONLY parent WHERE id > 30",
    ],
    "a row that moves": [
        "UPDATE ONLY parent SET fat = (SELECT string_agg(md5(g::text), '')"
        " FROM generate_series(1, 500) g) WHERE id = 3",
        "UPDATE ONLY parent SET id = 103 WHERE id = 3",
    ],
    "unique values that change places": [
        "BEGIN; UPDATE ONLY parent SET place = 99 WHERE id = 1;"
        " UPDATE ONLY parent SET place = 1 WHERE id = 2;"
        " UPDATE ONLY parent SET place = 2 WHERE id = 1; COMMIT",
    ],
    "rows without a key": [
        "UPDATE ONLY log SET n = 'z' WHERE n = 'y'",
        "DELETE FROM ONLY log WHERE n = 'x'",
    ],
    "a truncation": ["TRUNCATE ONLY parent", "TRUNCATE ONLY log"],
}


@pytest.mark.parametrize("what", WORK)
def test_changes_of_a_parent_leave_its_children_alone(source: End, target: End, what: str) -> None:
    with following(source, target, tables=TABLES) as stream:
        assert own(target) == own(source)
        for statement in WORK[what]:
            source.run(statement)
        caught_up(stream)
        assert own(target) == own(source)
        assert stream.stats().changes.unmet == 0
        assert stream.verify().ok


def test_a_parent_alone_is_not_its_children(source: End, target: End) -> None:
    """On a target whose child table is somebody else's, with rows that the source lacks."""
    target.run(*FAMILY, "UPDATE child SET n = 'own'")
    child = own(target)["child"]
    source.run("UPDATE ONLY parent SET n = 'new'", "INSERT INTO parent VALUES (61)")
    with Stream(
        source.url, target.url, tables=["parent"], write_mode="truncate_and_load"
    ) as stream:
        stream.run()
        assert stream.verify().ok
    assert own(target) == {**own(source), "child": child}


def test_a_child_alone_is_a_table_of_its_own(source: End, target: End) -> None:
    """Its parent is not moved, and cannot be inherited from."""
    with Stream(source.url, target.url, tables=["child"]) as stream:
        stream.run()
        assert stream.verify().ok
    query = "SELECT * FROM child ORDER BY id"
    assert target.rows(query) == source.rows(query)
    assert "inherits from public.parent" in " ".join(f.message for f in stream.stats().findings)


def test_a_target_whose_child_alone_has_rows_is_empty(source: End, target: End) -> None:
    target.run(*FAMILY, "TRUNCATE ONLY parent")
    Stream(source.url, target.url, tables=["parent"]).run()
    assert own(target) == own(source)


def test_an_engine_counts_what_it_shows(source: End) -> None:
    with Engine() as engine:
        server = source.server
        connection = engine.connections.create({
            "name": "family", "type": "postgresql", "host": server.host, "port": server.port,
            "username": server.user, "password": server.password, "database": source.database,
        })["id"]  # fmt: skip
        assert engine.count(connection, "log") == 5
        assert engine.data(connection, "log")["items"].num_rows == 5


def test_a_federated_query_sees_what_the_server_would_show(source: End, target: End) -> None:
    target.run("CREATE TABLE k (n text)", "INSERT INTO k VALUES ('x'), ('y')")
    connections = {"a": parse_connection(source.url), "b": parse_connection(target.url)}
    queries = Queries(QueryConnections(("a", "b"), connections.__getitem__, {}))
    for statement in (
        "SELECT count(*) AS n FROM a.public.log",
        "SELECT count(*) AS n FROM a.public.log JOIN b.public.k USING (n)",
    ):
        with queries.query(statement) as result:
            assert result.table().to_pylist() == [{"n": 5}]


def test_verify_looks_into_the_partitions_of_a_target(source: End, target: End) -> None:
    target.run(
        "CREATE TABLE log (n text) PARTITION BY LIST (n)",
        "CREATE TABLE log_all PARTITION OF log DEFAULT",
    )
    with Stream(source.url, target.url, tables=["log"]) as stream:
        stream.run()
        assert stream.verify().ok
