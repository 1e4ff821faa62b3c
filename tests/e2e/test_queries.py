"""Queries as sources: what they may be, what their results become, and what is refused."""

from __future__ import annotations

import json
import re
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from streams_engine import Stream
from streams_engine.errors import StreamsError
from streams_engine.testing.servers import Server
from tests.support.databases import End
from tests.support.stream_control import SECONDS, big, held, sums

MYSQL = [
    "CREATE TABLE t (id INT PRIMARY KEY, who VARCHAR(20) NOT NULL, price DECIMAL(10,2),"
    " n BIGINT UNSIGNED, at DATETIME(3), day DATE, raw VARBINARY(4), doc JSON, f DOUBLE)",
    "INSERT INTO t VALUES (1, 'a', 1.50, 18446744073709551615, '2026-01-02 03:04:05.678',"
    " '2026-01-02', X'00FF', '{\"k\": 1}', 0.1), (2, 'a', 2.25, 1, NULL, NULL, NULL, NULL, NULL),"
    " (3, 'b%''\\\\', NULL, NULL, NULL, NULL, NULL, NULL, -0.5)",
]
POSTGRES = [
    "CREATE TYPE mood AS ENUM ('sad', 'ok')",
    "CREATE TABLE t (id int PRIMARY KEY, who varchar(20) NOT NULL, price numeric(10,2),"
    " n numeric(20), at timestamp(3), day date, raw bytea, doc jsonb, f float8, m mood,"
    " tags text[])",
    "INSERT INTO t VALUES (1, 'a', 1.50, 18446744073709551615, '2026-01-02 03:04:05.678',"
    " '2026-01-02', '\\x00FF', '{\"k\": 1}', 0.1, 'ok', '{x,y}'), (2, 'a', 2.25, 1), "
    "(3, 'b%''\\', NULL, NULL, NULL, NULL, NULL, NULL, -0.5)",
]
POSTGRES[2:] = [
    POSTGRES[2].replace(", (2, 'a', 2.25, 1), (3, 'b%''\\', NULL, NULL, NULL, NULL, NULL, NULL,"
                        " -0.5)", ""),
    "INSERT INTO t (id, who, price, n) VALUES (2, 'a', 2.25, 1)",
    "INSERT INTO t (id, who, f) VALUES (3, 'b%''\\', -0.5)",
]  # fmt: skip
SERVERS = ["mysql9", "mariadb", "pg15"]
ROUTES = [("mysql9", "pg18"), ("mariadb", "mysql9"), ("pg15", "pg18"), ("pg15", "mysql9")]


def filled(request: pytest.FixtureRequest, database: Any, kind: str) -> End:
    server = request.getfixturevalue(kind)
    end = End(server, database(server))
    end.run(*(POSTGRES if kind == "pg15" else MYSQL))
    return end


def empty(request: pytest.FixtureRequest, database: Any, kind: str) -> End:
    server = request.getfixturevalue(kind)
    return End(server, database(server))


@pytest.fixture
def target(pg18: Server, database: Any) -> End:
    """An empty target."""
    return End(pg18, database(pg18))


def stream(source: Any, target: Any, *queries: tuple[str, str], tables: Any = ()) -> Stream:
    ends = [end.url if isinstance(end, End) else str(end) for end in (source, target)]
    connection = {
        "connection": ends[0],
        "tables": [{"name": name} for name in tables],
        "queries": [{"name": name, "query": query} for name, query in queries],
    }
    return Stream.from_config(
        {"mode": "convert",
         "source": {"connections": [connection], "options": {"dataBundleSize": 100}},
         "target": {"connection": ends[1]}}
    )  # fmt: skip


def refused(source: Any, target: Any, query: str) -> StreamsError:
    with pytest.raises(StreamsError) as caught:
        stream(source, target, ("q", query)).run(fresh=True)
    assert re.search(r"\bq\b", caught.value.message)
    return caught.value


# Results


@pytest.mark.parametrize("kind, into", ROUTES)
def test_results_become_tables(
    request: pytest.FixtureRequest, database: Any, kind: str, into: str
) -> None:
    source, target = filled(request, database, kind), empty(request, database, into)
    made = stream(
        source,
        target,
        ("by who", "SELECT who, COUNT(*) AS n, SUM(price) AS total FROM t GROUP BY who;"),
        ("joined", "SELECT a.id AS one, b.id AS other FROM t a JOIN t b ON b.id = a.id + 1"),
        ("newest", "WITH x AS (SELECT * FROM t WHERE id > 1) SELECT id FROM x ORDER BY id LIMIT 1"),
        ("either", "SELECT id FROM t WHERE id = 1 UNION ALL SELECT id FROM t WHERE id = 3"),
        ("none", "SELECT id, who FROM t WHERE 1 = 0"),
        ("odd", "SELECT id, '100% ''; DELETE FROM t; --' AS `a b` FROM t WHERE who LIKE 'b%'"
         .replace("`", '"' if kind == "pg15" else "`")),
        ("remarked", "-- who\nSELECT /* all */ id FROM t"),
    )  # fmt: skip
    assert made.run().rows == 2 + 2 + 1 + 2 + 0 + 1 + 3
    name = '"{}"' if into == "pg18" else "`{}`"
    found = target.rows(f"SELECT who, n, total FROM {name.format('by who')} ORDER BY who")
    assert found == [("a", 2, Decimal("3.75")), ("b%'\\", 1, None)]
    assert target.rows("SELECT one, other FROM joined ORDER BY one") == [(1, 2), (2, 3)]
    assert target.rows("SELECT id FROM newest") == [(2,)]
    assert target.rows("SELECT id FROM either ORDER BY id") == [(1,), (3,)]
    assert target.rows("SELECT count(*) FROM none") == [(0,)]
    text = f"SELECT id, {name.format('a b')} FROM odd"
    assert target.rows(text) == [(3, "100% '; DELETE FROM t; --")]
    assert target.rows("SELECT count(*) FROM remarked") == [(3,)]
    assert source.rows("SELECT COUNT(*) FROM t") == [(3,)]
    report = made.verify()
    assert report.ok, report


@pytest.mark.parametrize("kind", ["mysql9", "pg15"])
@pytest.mark.parametrize("query", ["SELECT id FROM t -- the end", "SELECT id FROM t; -- the end"])
def test_a_query_that_ends_with_a_remark(
    request: pytest.FixtureRequest, database: Any, target: End, kind: str, query: str
) -> None:
    source = filled(request, database, kind)
    stream(source, target, ("q", query)).run()
    assert target.rows("SELECT count(*) FROM q") == [(3,)]


TYPES = {
    "id": "integer", "who": "character varying(20)", "price": "numeric(10,2)",
    "n": "numeric(20,0)", "at": "timestamp(3) without time zone", "day": "date", "raw": "bytea",
    "doc": "jsonb", "f": "double precision",
}  # fmt: skip


@pytest.mark.parametrize("kind", SERVERS)
def test_types_are_those_of_the_columns(
    request: pytest.FixtureRequest, database: Any, target: End, kind: str
) -> None:
    source = filled(request, database, kind)
    listed = "m, tags, " if kind == "pg15" else ""
    query = f"SELECT {listed}id, who, price, n, at, day, raw, doc, f FROM t"
    stream(source, target, ("q", query)).run()
    found = dict(
        target.rows(
            "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute"
            " WHERE attrelid = 'q'::regclass AND attnum > 0"
        )
    )
    wanted = TYPES | ({"m": "mood", "tags": "text[]"} if kind == "pg15" else {})
    if kind == "mariadb":  # whose JSON is a LONGTEXT with a check
        wanted["doc"] = "text"
    assert found == wanted
    [row] = target.rows("SELECT id, who, price, n, at::text LIKE '%05.678%', day, f FROM q LIMIT 1")
    assert row == (1, "a", Decimal("1.50"), Decimal(2**64 - 1), True, date(2026, 1, 2), 0.1)
    [(raw, doc)] = target.rows("SELECT encode(raw, 'hex'), doc::jsonb->>'k' FROM q WHERE id = 1")
    assert (raw, doc) == ("00ff", "1")


COMPUTED = {
    "mysql9": "SELECT 1 AS i, COUNT(*) AS c, 1.50 AS d, 'x' AS s, CAST('2026-01-02' AS DATE) AS t,"
    " NULL AS z, SUM(n) AS big, AVG(price) AS av, 1e0 AS f FROM t",
    "pg15": "SELECT 1 AS i, count(*) AS c, 1.50 AS d, 'x' AS s, DATE '2026-01-02' AS t,"
    " NULL AS z, sum(n) AS big, avg(price) AS av, 1e0::float8 AS f FROM t",
}
COMPUTED["mariadb"] = COMPUTED["mysql9"]


@pytest.mark.parametrize("kind", SERVERS)
def test_computed_values_are_exact(
    request: pytest.FixtureRequest, database: Any, target: End, kind: str
) -> None:
    source = filled(request, database, kind)
    stream(source, target, ("q", COMPUTED[kind])).run()
    [row] = target.rows("SELECT i, c, d, s, t, z, big, av, f FROM q")
    assert row == (
        1, 3, Decimal("1.50"), "x", date(2026, 1, 2), None, Decimal(2**64), Decimal("1.875"), 1.0
    )  # fmt: skip


@pytest.mark.parametrize("kind", SERVERS)
@pytest.mark.parametrize("form", ["jsonl", "csv", "parquet"])
def test_results_into_files_and_from_there(
    request: pytest.FixtureRequest, database: Any, target: End, tmp_path: Path, kind: str, form: str
) -> None:
    source = filled(request, database, kind)
    query = "SELECT who, COUNT(*) AS n FROM t GROUP BY who"
    stream(source, f"file://{tmp_path}?format={form}", ("by_who", query)).run()
    if form == "jsonl":
        text = "".join(p.read_text() for p in (tmp_path / "by_who").glob("*.jsonl"))
        found = sorted((json.loads(line)["who"], json.loads(line)["n"]) for line in
                       text.splitlines())  # fmt: skip
        assert found == [("a", 2), ("b%'\\", 1)]
    stream(tmp_path, target).run()
    assert target.rows("SELECT who, n FROM by_who ORDER BY who") == [("a", 2), ("b%'\\", 1)]


def test_tables_and_queries_together(mysql9: Server, database: Any, target: End) -> None:
    source = End(mysql9, database(mysql9))
    source.run(*MYSQL, "CREATE TABLE other (id INT)")
    stream(source, target, ("q", "SELECT id FROM t"), tables=["t"]).run()
    names = "SELECT tablename::text FROM pg_tables WHERE schemaname = 'public' ORDER BY 1"
    assert target.rows(names) == [("q",), ("t",)]


def test_a_query_that_was_stopped_is_loaded_again(
    mysql9: Server, database: Any, target: End
) -> None:
    source = End(mysql9, database(mysql9))
    big(source, rows=20_000)
    query = ("q", "SELECT id, n, v, d FROM t WHERE n < 900")
    first = stream(source, target, query)
    with held(3000) as gate:
        first.start()
        gate.wait()
        first.stop()
        gate.open()
        assert first.wait(timeout=SECONDS) == "STOPPED"
    assert 0 < sums(target, "q")[0] < 18_000
    stream(source, target, query).run()
    source.run("CREATE TABLE q AS SELECT * FROM t WHERE n < 900")
    assert sums(source, "q") == sums(target, "q")


def test_a_query_in_the_flat_document(pg15: Server, database: Any, target: End) -> None:
    source = End(pg15, database(pg15))
    source.run(*POSTGRES)
    flat = {"name": "flat", "mode": "convert", "source": "a", "target": "b",
            "tables": [{"name": "q", "query": "SELECT id FROM t WHERE id > 1"}]}  # fmt: skip
    Stream.from_config(flat, connections={"a": source.url, "b": target.url}).run()
    assert target.rows("SELECT id FROM q ORDER BY id") == [(2,), (3,)]


# What is refused

WRITES = [
    "INSERT INTO t (id, who) VALUES (9, 'x')",
    "UPDATE t SET who = 'x'",
    "DELETE FROM t",
    "DROP TABLE t",
    "CREATE TABLE made AS SELECT * FROM t",
    "TRUNCATE TABLE t",
    "SELECT id FROM t; DELETE FROM t",
    "SELECT id FROM t; SELECT id FROM t",
    "SELECT id FROM t) AS q; DELETE FROM t; --",
    "SET @x = 1",
    "CALL p()",
    "not even SQL",
    ";",
    "-- nothing",
]
OF_MYSQL = [
    "REPLACE INTO t (id, who) VALUES (9, 'x')",
    "SELECT id FROM t INTO OUTFILE '/tmp/streams-engine-never'",
    "SELECT id INTO @x FROM t LIMIT 1",
    "LOAD DATA INFILE '/tmp/x' INTO TABLE t",
    "SELECT id FROM t /*! ; DELETE FROM t */",
    "SHOW TABLES",
    "SELECT",
]
OF_POSTGRES = [
    "SELECT * INTO made FROM t",
    "DELETE FROM t RETURNING id",
    "INSERT INTO t (id, who) VALUES (9, 'x') RETURNING id",
    "WITH gone AS (DELETE FROM t RETURNING id) SELECT id FROM gone",
    "WITH gone AS (UPDATE t SET who = 'x' RETURNING id) SELECT id FROM gone",
    "WITH n AS (INSERT INTO t (id, who) VALUES (9, 'x') RETURNING id) SELECT id FROM n",
    "COPY t TO STDOUT",
    "COPY t TO PROGRAM 'true'",
    "DO $$ BEGIN DELETE FROM t; END $$",
    "SELECT E'\\'; DELETE FROM t; --' AS s; DELETE FROM t",
    "VACUUM t",
]


@pytest.mark.parametrize("kind", SERVERS)
def test_what_is_not_one_reading_statement_is_refused(
    request: pytest.FixtureRequest, database: Any, target: End, tmp_path: Path, kind: str
) -> None:
    """Whoever says no, parser or server: a coded error, and source and target as they were."""
    source = filled(request, database, kind)
    state = "SELECT id, who FROM t ORDER BY id"
    before = source.rows(state)
    for query in WRITES + (OF_POSTGRES if kind == "pg15" else OF_MYSQL):
        error = refused(source, target, query)
        assert error.code in {"INVALID_CONFIG", "SERVER_ERROR", "PERMISSION_DENIED"}, (query, error)
        assert source.rows(state) == before, query
        assert not list(tmp_path.iterdir())
    if kind == "pg15":
        assert source.rows("SELECT to_regclass('made')") == [(None,)]
    assert target.rows("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == [(0,)]


CALLS = ["nextval('counter')", "setval('counter', 50)", "writing()"]


def calling(pg15: Server, database: Any) -> End:
    source = End(pg15, database(pg15))
    source.run(
        *POSTGRES,
        "CREATE SEQUENCE counter",
        "CREATE FUNCTION writing() RETURNS int LANGUAGE sql VOLATILE AS"
        " $$ DELETE FROM t; SELECT 1 $$",
    )
    return source


def test_a_query_that_calls_what_writes_changes_nothing(
    pg15: Server, database: Any, target: End
) -> None:
    """No parser sees it; the read-only transaction does."""
    source = calling(pg15, database)
    for call in CALLS:
        refused(source, target, f"SELECT {call} AS n")
        assert source.rows("SELECT count(*) FROM t") == [(3,)]
        assert source.rows("SELECT is_called FROM counter") == [(False,)]


@pytest.mark.parametrize("expression", [*CALLS, "1 / (id - 2)"])
def test_a_query_that_fails_as_it_runs_has_the_servers_error(
    pg15: Server, database: Any, target: End, expression: str
) -> None:
    source = calling(pg15, database)
    error = refused(source, target, f"SELECT {expression} AS n FROM t")
    assert error.code in {"SERVER_ERROR", "PERMISSION_DENIED", "INVALID_CONFIG"}


@pytest.mark.parametrize("kind", SERVERS)
def test_a_refused_query_is_named_with_its_path(
    request: pytest.FixtureRequest, database: Any, target: End, kind: str
) -> None:
    source = filled(request, database, kind)
    error = refused(source, target, "DELETE FROM t")
    assert (error.code, error.remedy) == ("INVALID_CONFIG", "Write one SELECT, or WITH ... SELECT.")
    assert "queries" in error.details["path"]


@pytest.mark.parametrize("kind", SERVERS)
@pytest.mark.parametrize(
    "query", ["SELECT nope FROM t", "SELECT id FROM nowhere", "SELECT a.id, b.id FROM t a, t b"]
)
def test_a_query_that_the_server_refuses_is_named(
    request: pytest.FixtureRequest, database: Any, target: End, kind: str, query: str
) -> None:
    source = filled(request, database, kind)
    error = refused(source, target, query)
    assert error.code in {"SERVER_ERROR", "NOT_FOUND", "INVALID_CONFIG"}
    assert target.rows("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == [(0,)]


@pytest.mark.parametrize(
    ("url", "into"), [("mysql://h/d", "postgresql://h/d"), ("postgresql://h/d", "folder")]
)
@pytest.mark.parametrize("other", ["table", "query"])
def test_a_name_that_is_taken_is_refused(tmp_path: Path, url: str, into: str, other: str) -> None:
    """By a table that is read as well, or by another query: nothing is dialled."""
    queries = [("t", "SELECT id FROM t"), ("t", "SELECT who FROM t")]
    target = tmp_path if into == "folder" else into
    with pytest.raises(StreamsError) as caught:
        stream(url, target, *queries[: 1 + (other == "query")],
               tables=["t"] if other == "table" else [])  # fmt: skip
    number = 0 if other == "table" else 1
    path = f"$.source.connections[0].queries[{number}].name"
    assert (caught.value.code, caught.value.details["path"]) == ("INVALID_CONFIG", path)
    assert (
        "the name of the query 't' is already that of a table or of another query"
        in caught.value.message
    )
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", ["mysql9", "pg15"])
@pytest.mark.parametrize("into", ["pg18", "files"])
def test_a_name_that_is_taken_under_its_place_is_refused(
    request: pytest.FixtureRequest, database: Any, tmp_path: Path, kind: str, into: str
) -> None:
    """Only the server tells that it is the same table."""
    source = filled(request, database, kind)
    target: Any = tmp_path if into == "files" else empty(request, database, into)
    place = "public" if kind == "pg15" else source.database
    made = stream(source, target, ("t", "SELECT id FROM t"), tables=[f"{place}.t"])
    with pytest.raises(StreamsError, match=r"query 't' is already that of a table") as caught:
        made.run()
    assert caught.value.code == "TARGET_CONFLICT"
    assert not list(tmp_path.glob("*/part-*"))


def test_files_answer_no_queries(target: End, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a\n1\n")
    with pytest.raises(StreamsError, match="does not run queries") as caught:
        stream(tmp_path, target, ("q", "SELECT 1")).run()
    assert caught.value.code == "INVALID_CONFIG"


def test_queries_are_for_convert_alone(target: End) -> None:
    document = {
        "mode": "cdc",
        "source": {"connections": [{"connection": "mysql://h/d", "queries": [
            {"name": "q", "query": "SELECT 1"}]}]},
        "target": {"connection": target.url},
    }  # fmt: skip
    with pytest.raises(StreamsError, match="queries are for convert only"):
        Stream.from_config(document)
