"""CASES B51, C85, C88: a table changes while its rows do; the log is read late, so that what it
says must be told by its place in the log and not by today's catalog."""

from __future__ import annotations

from typing import Any

import pytest

from streams_engine import State, Stream
from streams_engine.errors import SchemaChangeRefused
from streams_engine.testing.servers import Server
from tests.support.databases import End

SECONDS = 120

MYSQL = (
    "ALTER TABLE t ADD COLUMN extra int NOT NULL DEFAULT 7",
    "INSERT INTO t VALUES (3, 'c', 3.5, 8)",
    "UPDATE t SET extra = 9 WHERE id = 1",
    "ALTER TABLE t RENAME COLUMN name TO label",
    "INSERT INTO t VALUES (4, 'd', 4.5, 8)",
    "ALTER TABLE t MODIFY label varchar(200) NOT NULL",
    "ALTER TABLE t DROP COLUMN amount",
    "INSERT INTO t VALUES (5, 'e', 1)",
    "CREATE TABLE u (id int PRIMARY KEY, v text)",
    "INSERT INTO u VALUES (1, 'x')",
    "RENAME TABLE u TO w",
    "INSERT INTO w VALUES (2, 'y')",
    "TRUNCATE TABLE w",
    "INSERT INTO w VALUES (3, 'z')",
    "ALTER TABLE t ADD COLUMN first_one varchar(5) FIRST, ADD INDEX (extra)",
    "INSERT INTO t VALUES ('f', 6, 'six', 6)",
    "CREATE TABLE gone (id int)",
    "INSERT INTO gone VALUES (1)",
    "DROP TABLE gone",
    "CREATE TABLE likewise LIKE w",
    "INSERT INTO likewise SELECT * FROM w",
    "GRANT SELECT ON *.* TO CURRENT_USER()",
)
POSTGRES = (
    "ALTER TABLE t ADD COLUMN extra int NOT NULL DEFAULT 7",
    "INSERT INTO t VALUES (3, 'c', 3.5, 8)",
    "UPDATE t SET extra = 9 WHERE id = 1",
    "ALTER TABLE t ALTER name TYPE varchar(200)",
    "INSERT INTO t VALUES (4, 'd', 4.5, 8)",
    "BEGIN; INSERT INTO t VALUES (10, 'x', 1, 1); ALTER TABLE t ADD more int DEFAULT 3;"
    " INSERT INTO t VALUES (11, 'y', 2, 2, 2); COMMIT",
    "ALTER TABLE t DROP COLUMN amount",
    "INSERT INTO t VALUES (5, 'e', 1, 2)",
    "TRUNCATE w",
    "INSERT INTO w VALUES (3, 'z')",
    "UPDATE t SET name = name || '!'",
)
LATE = [("mysql9", "pg18"), ("mariadb", "mysql9"), ("pg15", "pg18"), ("pg18", "mysql9")]
AT_ONCE = [("mysql9", "mysql9"), ("mariadb", "pg15"), ("pg18", "pg15")]


def ends(request: pytest.FixtureRequest, database: Any, *names: str) -> list[End]:
    servers: list[Server] = [request.getfixturevalue(name) for name in names]
    return [End(server, database(server)) for server in servers]


def shown(end: End, table: str) -> list[dict[str, str | None]]:
    """A table's rows by column name, as text."""
    names = [
        row[0]
        for row in end.rows(
            "SELECT column_name FROM information_schema.columns WHERE table_name = "
            f"'{table}' AND table_schema IN ('{end.database}', 'public')"
        )
    ]
    found = end.rows(f"SELECT {', '.join(names)} FROM {table} ORDER BY id")
    return [
        {n: None if v is None else str(v) for n, v in zip(names, row, strict=True)} for row in found
    ]


@pytest.mark.parametrize(
    ("source_name", "target_name", "late"),
    [*((*route, True) for route in LATE), *((*route, False) for route in AT_ONCE)],
)
def test_b51_c85_c88_a_table_changes_in_the_stream(
    source_name: str, target_name: str, late: bool, request: pytest.FixtureRequest, database: Any
) -> None:
    source, target = ends(request, database, source_name, target_name)
    source.run(
        "CREATE TABLE t (id int PRIMARY KEY, name varchar(50), amount decimal(12,2))",
        "INSERT INTO t VALUES (1, 'a', 1.5), (2, 'b', 2.5)",
    )
    postgres = source.server.kind == "postgresql"
    if postgres:
        source.run("CREATE TABLE w (id int PRIMARY KEY, v text)", "INSERT INTO w VALUES (1, 'x')")
    name = f"changes {source_name} {late}"
    with Stream(source.url, target.url, mode="cdc", name=name, allow_lossy=True) as stream:
        stream.start()
        assert stream.catch_up(SECONDS), stream.error
        if late:
            stream.pause()
            stream.wait(State.PAUSED, timeout=SECONDS)
        for statement in POSTGRES if postgres else MYSQL:
            source.run(statement)
            if not late:
                assert stream.catch_up(SECONDS), (statement, stream.error)
        if late:
            stream.resume()
        assert stream.catch_up(SECONDS), stream.error
        tables = ("t", "w") if postgres else ("t", "w", "likewise")
        for table in tables:
            assert shown(source, table) == shown(target, table)
        changes = stream.stats().changes
        assert changes is not None and not changes.unmet
    stream.release()


@pytest.mark.parametrize("source_name", ["mysql9", "pg18"])
def test_what_loses_values_is_refused_unless_that_is_allowed(
    source_name: str, request: pytest.FixtureRequest, database: Any
) -> None:
    source, target = ends(request, database, source_name, "pg18")
    source.run(
        "CREATE TABLE t (id int PRIMARY KEY, v varchar(50))", "INSERT INTO t VALUES (1, 'a')"
    )
    stream = Stream(source.url, target.url, mode="cdc", name=f"lossy {source_name}")
    stream.start()
    assert stream.catch_up(SECONDS), stream.error
    source.run("ALTER TABLE t DROP COLUMN v", "INSERT INTO t VALUES (2)")
    assert stream.wait(timeout=SECONDS) is State.FAILED
    assert isinstance(stream.error, SchemaChangeRefused)
    assert "t.v" in str(stream.error) and "allowLossy" in str(stream.error)
    assert shown(target, "t") == [{"id": "1", "v": "a"}]
    again = Stream(
        source.url, target.url, mode="cdc", name=f"lossy {source_name}", allow_lossy=True
    )
    with again:
        again.start()
        assert again.catch_up(SECONDS), again.error
        assert shown(target, "t") == [{"id": "1"}, {"id": "2"}]
    again.release()


@pytest.mark.parametrize("source_name", ["mysql9", "pg18"])
def test_changes_are_ignored_where_that_is_asked_for(
    source_name: str, request: pytest.FixtureRequest, database: Any
) -> None:
    source, target = ends(request, database, source_name, "pg18")
    source.run(
        "CREATE TABLE t (id int PRIMARY KEY, v varchar(50))", "INSERT INTO t VALUES (1, 'a')"
    )
    options = {"mode": "cdc", "name": f"ignoring {source_name}", "schema_changes": "ignore"}
    with Stream(source.url, target.url, **options) as stream:
        stream.start()
        assert stream.catch_up(SECONDS), stream.error
        source.run("ALTER TABLE t ADD COLUMN w int", "INSERT INTO t VALUES (2, 'b', 5)")
        assert stream.catch_up(SECONDS), stream.error
        assert shown(target, "t") == [{"id": "1", "v": "a"}, {"id": "2", "v": "b"}]
    stream.release()


@pytest.mark.parametrize("source_name", ["mysql9", "pg18"])
def test_changes_end_the_stream_where_that_is_asked_for(
    source_name: str, request: pytest.FixtureRequest, database: Any
) -> None:
    source, target = ends(request, database, source_name, "pg18")
    source.run("CREATE TABLE t (id int PRIMARY KEY)")
    options = {"mode": "cdc", "name": f"failing {source_name}", "schema_changes": "fail"}
    stream = Stream(source.url, target.url, **options)
    stream.start()
    assert stream.catch_up(SECONDS), stream.error
    source.run("ALTER TABLE t ADD COLUMN w int", "INSERT INTO t VALUES (2, 5)")
    assert stream.wait(timeout=SECONDS) is State.FAILED
    assert isinstance(stream.error, SchemaChangeRefused)
    stream.release()


@pytest.mark.parametrize("source_name", ["mysql9", "mariadb"])
def test_a_table_made_like_one_that_is_read_again_later_has_its_former_structure(
    source_name: str, request: pytest.FixtureRequest, database: Any
) -> None:
    source, target = ends(request, database, source_name, "pg18")
    source.run("CREATE TABLE t (id int PRIMARY KEY, b bit(10))", "INSERT INTO t VALUES (1, b'1')")
    for work in (
        (),
        (
            "ALTER TABLE t ADD s timestamp NULL DEFAULT CURRENT_TIMESTAMP",
            "CREATE TABLE u LIKE t",
            "INSERT INTO u (id, b) VALUES (1, b'1')",
            "CREATE TABLE v LIKE t",
            "INSERT INTO v (id, b) VALUES (1, b'1')",
            "ALTER TABLE v ADD w int",
            "INSERT INTO v (id, b, w) VALUES (2, b'1', 2)",
            "ALTER TABLE t MODIFY b bit(20), ADD c int",
            "INSERT INTO t (id, b, c) VALUES (2, b'1', 3)",
        ),
    ):
        if work:
            source.run(*work)
        with Stream(source.url, target.url, mode="cdc", name="like", allow_lossy=True) as stream:
            stream.start()
            assert stream.catch_up(SECONDS), stream.error
            assert stream.verify().ok
    sizes = "SELECT table_name, character_maximum_length FROM information_schema.columns"
    lengths = dict(target.rows(f"{sizes} WHERE table_schema = 'public' AND column_name = 'b'"))
    assert lengths == {"t": 20, "u": 10, "v": 10}
    assert target.rows("SELECT id, s IS NULL FROM u") == [(1, False)]
    assert target.rows("SELECT id, w FROM v ORDER BY id") == [(1, None), (2, 2)]
    stream.release()
