"""What a target refuses or computes otherwise is plain or left out, and both texts are said."""

from __future__ import annotations

from typing import Any

import pytest

from streams_engine import Stream
from streams_engine.testing.servers import Server
from tests.support.cdc import NAME, caught_up, cdc, failure, following, prepared
from tests.support.databases import End

UUID = (
    "CREATE TABLE k (id binary(16) PRIMARY KEY DEFAULT (uuid_to_bin(uuid())), v int)",
    "INSERT INTO k (v) VALUES (1), (2)",
)


def end(request: pytest.FixtureRequest, name: str) -> End:
    server: Server = request.getfixturevalue(name)
    return End(server, request.getfixturevalue("database")(server))


def said(stream: Stream, code: str) -> dict[str, str]:
    """The findings of a code by the last word of their object."""
    found = [f for f in stream.stats().findings if f.code == code]
    return {f.object.split(".")[-1]: f.message for f in found}


@pytest.mark.parametrize("kind", ["mariadb", "pg15", "mysql9"])
def test_a_default_that_the_target_lacks_is_left_out(
    request: pytest.FixtureRequest, kind: str
) -> None:
    """UUID_TO_BIN is MySQL's alone; the rows come all the same."""
    source, target = end(request, "mysql9"), end(request, kind)
    source.run(*UUID)
    stream = Stream(source.url, target.url, tables=["k"])
    stream.run()
    assert stream.verify().ok
    assert target.rows("SELECT count(*) FROM k") == [(2,)]
    left = said(stream, "default")
    if kind == "mariadb":
        assert "uuid_to_bin" in left["id"] and "refuses" in left["id"]
    else:
        assert not left
        target.run("INSERT INTO k (v) VALUES (3), (4)")
        assert target.rows("SELECT count(*), max(length(id)) FROM k") == [(4, 16)]


PG = [
    "CREATE TABLE g (id int PRIMARY KEY, a text, v text GENERATED ALWAYS AS (upper(a)) VIRTUAL,"
    " w text GENERATED ALWAYS AS (casefold(a)) STORED, s int GENERATED ALWAYS AS (id + 1) STORED,"
    " u uuid DEFAULT uuidv7(), n int DEFAULT 7, CONSTRAINT low CHECK (casefold(a) <> 'void'),"
    " CONSTRAINT few CHECK (id < 1000))",
    "CREATE INDEX folded ON g (casefold(a))",
    "CREATE INDEX part ON g (id) WHERE casefold(a) = 'x'",
    "INSERT INTO g (id, a) VALUES (1, 'x'), (2, NULL), (3, 'Éa')",
]
"""PostgreSQL 18: what 15 lacks."""


@pytest.mark.parametrize("kind", ["pg15", "mysql9", "mariadb"])
@pytest.mark.parametrize("rule", ['casefold(a || \'%\' || "b""c")', "'const'"])
def test_generated_values_that_the_log_lacks_are_computed_by_the_source(
    request: pytest.FixtureRequest, pg18: Server, database: Any, kind: str, rule: str
) -> None:
    """PostgreSQL logs no generated column: the source computes it of the logged row."""
    target = end(request, kind)
    with prepared(pg18, database) as source:
        source.run(
            'CREATE TABLE g (id int PRIMARY KEY, a text, "b""c" text DEFAULT \'q\','
            f" w text GENERATED ALWAYS AS ({rule}) STORED)",
            "INSERT INTO g (id, a) VALUES (1, 'X')",
        )
        if kind != "pg15":  # else the target computes it, or is told that it cannot
            target.run(
                'CREATE TABLE g (id int PRIMARY KEY, a longtext, `b"c` longtext, w longtext)'
            )
        with cdc(source, target, tables=["g"]) as stream:
            stream.start()
            caught_up(stream)
            source.run(
                "INSERT INTO g (id, a) VALUES (2, 'STRASSE'), (3, NULL), (4, 'gone')",
                "UPDATE g SET a = 'É' WHERE id = 1",
                "DELETE FROM g WHERE id = 4",
            )
            caught_up(stream)
            assert stream.verify().ok
        rows = "SELECT id, w FROM g ORDER BY id"
        assert target.rows(rows) == source.rows(rows)


@pytest.mark.parametrize("rule", ["left(b, 5)", "left(b, 5) || a"])
def test_a_value_that_is_computed_of_one_that_an_update_kept(
    request: pytest.FixtureRequest, pg18: Server, database: Any, rule: str
) -> None:
    """The log lacks a value that is stored out of line, if an UPDATE keeps it."""
    target = end(request, "mysql9")
    with prepared(pg18, database) as source:
        source.run(
            "CREATE TABLE g (id int PRIMARY KEY, a text, b text,"
            f" w text GENERATED ALWAYS AS ({rule}) STORED)",
            "ALTER TABLE g ALTER b SET STORAGE EXTERNAL",
            "INSERT INTO g (id, a, b) VALUES (1, 'x', repeat('toast', 2000))",
        )
        with cdc(source, target, tables=["g"]) as stream:
            stream.start()
            caught_up(stream)
            source.run("UPDATE g SET a = 'y'")
            if "||" in rule:
                error = failure(stream)
                assert error.code == "LOG_LOST" and "REPLICA IDENTITY FULL" in str(error.remedy)
                return
            caught_up(stream)
        assert target.rows("SELECT a, w FROM g") == [("y", "toast")]


def test_generated_columns_are_left_out_by_a_selection(
    request: pytest.FixtureRequest, pg18: Server, database: Any
) -> None:
    target = end(request, "mysql9")
    with prepared(pg18, database) as source:
        source.run(
            "CREATE TABLE g (id int PRIMARY KEY, a text,"
            " w text GENERATED ALWAYS AS (upper(a)) STORED)",
            "INSERT INTO g (id, a) VALUES (1, 'x')",
        )
        table = {"name": "g", "selection": {"selectedColumns": ["id", "a"]}}
        document = {
            "name": NAME,
            "mode": "cdc",
            "source": {"connections": [{"connection": source.url, "tables": [table]}]},
            "target": {"connection": target.url},
        }
        with Stream.from_config(document) as stream:
            stream.start()
            caught_up(stream)
            source.run("UPDATE g SET a = 'y'", "INSERT INTO g (id, a) VALUES (2, 'z')")
            caught_up(stream)
            assert stream.verify().ok
        assert target.rows("SELECT * FROM g ORDER BY id") == [(1, "y"), (2, "z")]


def test_both_texts_are_said(request: pytest.FixtureRequest) -> None:
    source, target = end(request, "pg18"), end(request, "pg15")
    source.run(*PG)
    stream = Stream(source.url, target.url, tables=["g"])
    stream.run()
    assert stream.verify().ok
    assert "casefold(a)" in said(stream, "generated-as-plain")["w"]
    assert "upper(a)" in said(stream, "generated-stored")["v"]
    assert "uuidv7()" in said(stream, "default")["u"]
    assert "casefold" in said(stream, "check")["low"]
    left = said(stream, "left-out")
    assert any("casefold" in message for message in left.values())
    checks = "SELECT conname FROM pg_constraint WHERE conrelid = 'g'::regclass AND contype = 'c'"
    assert target.rows(checks) == [("few",)]


@pytest.mark.parametrize(("one", "other"), [("mysql9", "mariadb"), ("mariadb", "mysql9")])
def test_from_one_flavour_to_the_other_doubtful_columns_are_plain(
    request: pytest.FixtureRequest, one: str, other: str
) -> None:
    source, target = end(request, one), end(request, other)
    source.run(
        "CREATE TABLE g (id int PRIMARY KEY, a varchar(20), js json, n int,"
        " m int AS (n * 2) STORED, k text AS (json_extract(js, '$.k')) STORED,"
        " low varchar(20) AS (lower(a)) VIRTUAL, j varchar(50) AS (concat(a, '-', n)) STORED)",
        """INSERT INTO g (id, a, js, n) VALUES (1, 'É', '{"k": [1,"a"]}', 1), (2, NULL, NULL, 2)""",
    )
    stream = Stream(source.url, target.url, tables=["g"])
    stream.run()
    assert stream.verify().ok
    assert set(said(stream, "generated-as-plain")) == {"k", "low"}
    query = "SELECT id, m, k, low, j FROM g ORDER BY id"
    assert target.rows(query) == source.rows(query)


@pytest.mark.parametrize("kind", ["mysql9", "mariadb"])
def test_within_a_flavour_generated_columns_stay_what_they_are(
    request: pytest.FixtureRequest, kind: str
) -> None:
    source, target = end(request, kind), end(request, kind)
    source.run(
        "CREATE TABLE g (id int PRIMARY KEY, a varchar(20), low varchar(20) AS (lower(a)) VIRTUAL)",
        "INSERT INTO g (id, a) VALUES (1, 'É'), (2, NULL)",
    )
    stream = Stream(source.url, target.url, tables=["g"])
    stream.run()
    assert stream.verify().ok and not said(stream, "generated-as-plain")
    extra = (
        "SELECT extra FROM information_schema.columns WHERE table_name = 'g'"
        " AND column_name = 'low' AND table_schema = DATABASE()"
    )
    assert "VIRTUAL" in target.rows(extra)[0][0]


@pytest.mark.parametrize("kind", ["mysql9", "mariadb"])
def test_a_cdc_between_servers_of_one_flavour_goes_on_with_generated_columns(
    request: pytest.FixtureRequest, database: Any, kind: str
) -> None:
    server = request.getfixturevalue(kind)
    target = End(server, database(server))
    with prepared(server, database) as source:
        source.run(
            "CREATE TABLE g (id int PRIMARY KEY, a varchar(20),"
            " low varchar(20) AS (lower(a)) STORED)",
            "INSERT INTO g (id, a) VALUES (1, 'É'), (2, NULL)",
        )
        for n in (3, 4):
            with following(source, target, tables=["g"]) as stream:
                source.run(f"INSERT INTO g (id, a) VALUES ({n}, 'X')")
                caught_up(stream)
                assert stream.verify().ok
        query = "SELECT id, low FROM g ORDER BY id"
        assert target.rows(query) == source.rows(query)


@pytest.mark.parametrize("route", [("mysql9", "pg15"), ("mysql9", "mysql9"), ("pg18", "pg15")])
def test_verify_finds_a_generated_column_that_is_computed_otherwise(
    request: pytest.FixtureRequest, route: tuple[str, str]
) -> None:
    source, target = (end(request, name) for name in route)
    source.run(
        "CREATE TABLE g (id int PRIMARY KEY, n int, m int GENERATED ALWAYS AS (n * 2) STORED)",
        "INSERT INTO g (id, n) VALUES (1, 5), (2, NULL)",
    )
    stream = Stream(source.url, target.url, tables=["g"])
    stream.run()
    assert stream.verify().ok
    target.run(
        "ALTER TABLE g DROP COLUMN m",
        "ALTER TABLE g ADD COLUMN m int GENERATED ALWAYS AS (n * 3) STORED",
    )
    report = stream.verify()
    assert not report.ok and report.tables[0].keys == ("1",)


@pytest.mark.parametrize("route", [("mysql9", "pg15"), ("mysql9", "mariadb")])
def test_a_plain_column_on_the_target_gets_the_generated_values(
    request: pytest.FixtureRequest, route: tuple[str, str]
) -> None:
    """A table that is there already, by load and by log."""
    server = request.getfixturevalue(route[0])
    with prepared(server, request.getfixturevalue("database")) as source:
        target = end(request, route[1])
        source.run(
            "CREATE TABLE g (id int PRIMARY KEY, n int, m int GENERATED ALWAYS AS (n * 2) STORED)",
            "INSERT INTO g (id, n) VALUES (1, 5), (2, NULL)",
        )
        target.run("CREATE TABLE g (id int PRIMARY KEY, n int, m int)")
        with following(source, target, tables=["g"]) as stream:
            source.run("INSERT INTO g (id, n) VALUES (3, 7)", "UPDATE g SET n = 6 WHERE id = 1")
            source.run("ALTER TABLE g ADD COLUMN x int", "UPDATE g SET n = 8 WHERE id = 3")
            caught_up(stream)
            assert stream.verify().ok
        query = "SELECT id, n, m FROM g ORDER BY id"
        assert target.rows(query) == source.rows(query) == [(1, 6, 12), (2, None, None), (3, 8, 16)]
