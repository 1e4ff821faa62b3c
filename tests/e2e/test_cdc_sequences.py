"""Numbers after a cut-over: the target goes on exactly where the source would (CASE B56)."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from streams_engine import Stream
from streams_engine.pipeline.changes import sequences
from streams_engine.testing.servers import Server
from tests.support.cdc import caught_up, following, prepared
from tests.support.databases import End, move
from tests.support.stream_control import SECONDS

SHARED = (
    ["CREATE SEQUENCE gid START 100",
     "CREATE TABLE a (id bigint PRIMARY KEY DEFAULT nextval('gid'), v text)",
     "CREATE TABLE b (id bigint PRIMARY KEY DEFAULT nextval('gid'), v text)",
     "INSERT INTO a (v) VALUES ('x')"],
    ["INSERT INTO b (v) VALUES ('y'), ('z')", "INSERT INTO a (v) VALUES ('w')",
     "DELETE FROM a WHERE v = 'w'"],
    ["INSERT INTO a (v) VALUES ('n') RETURNING id", "INSERT INTO b (v) VALUES ('n') RETURNING id"],
)  # fmt: skip
DOWN = (
    ["CREATE SEQUENCE down INCREMENT -1 START -1",
     "CREATE TABLE a (id int PRIMARY KEY DEFAULT nextval('down'), v text)",
     "INSERT INTO a (v) VALUES ('x')"],
    ["INSERT INTO a (v) VALUES ('y'), ('z')"],
    ["INSERT INTO a (v) VALUES ('n') RETURNING id"],
)  # fmt: skip
IDENTITY_DOWN = (
    ["CREATE TABLE a (id int GENERATED ALWAYS AS IDENTITY (INCREMENT -5 START -5) PRIMARY KEY,"
     " v text)", "INSERT INTO a (v) VALUES ('x')"],
    ["INSERT INTO a (v) VALUES ('y'), ('z')"],
    ["INSERT INTO a (v) VALUES ('n') RETURNING id"],
)  # fmt: skip
EXPRESSION = (
    ["CREATE SEQUENCE ino START 5000",
     "CREATE TABLE a (id serial PRIMARY KEY, no text UNIQUE DEFAULT 'INV-' || nextval('ino'))",
     "INSERT INTO a DEFAULT VALUES"],
    ["INSERT INTO a DEFAULT VALUES", "INSERT INTO a DEFAULT VALUES"],
    ["INSERT INTO a DEFAULT VALUES RETURNING id, no"],
)  # fmt: skip
NOBODY = (
    ["CREATE SEQUENCE ticket START 7", "CREATE TABLE a (id int PRIMARY KEY)",
     "SELECT nextval('ticket')"],
    ["SELECT nextval('ticket')", "SELECT nextval('ticket')", "INSERT INTO a VALUES (1)"],
    ["SELECT nextval('ticket')"],
)  # fmt: skip
STEPS = (
    ["CREATE TABLE a (id int GENERATED ALWAYS AS IDENTITY (INCREMENT 10 START 3) PRIMARY KEY,"
     " v text)", "INSERT INTO a (v) VALUES ('x')"],
    ["INSERT INTO a (v) VALUES ('y'), ('z')", "DELETE FROM a WHERE v = 'z'"],
    ["INSERT INTO a (v) VALUES ('n') RETURNING id"],
)  # fmt: skip
ROUND = (
    ["CREATE SEQUENCE wheel MAXVALUE 4 CYCLE", "CREATE TABLE a (id int PRIMARY KEY, n int DEFAULT"
     " nextval('wheel'))", "INSERT INTO a SELECT n FROM generate_series(1, 3) AS n"],
    ["INSERT INTO a SELECT n FROM generate_series(4, 6) AS n"],
    ["SELECT nextval('wheel')"],
)  # fmt: skip
ODD = (
    ['CREATE SCHEMA "My.Sch"', 'CREATE SEQUENCE "My.Sch"."Od""d\'s"',
     'CREATE TABLE a (id int PRIMARY KEY DEFAULT nextval(\'"My.Sch"."Od""d\'\'s"\'), v text)',
     "INSERT INTO a (v) VALUES ('x')"],
    ["INSERT INTO a (v) VALUES ('y'), ('z')"],
    ["INSERT INTO a (v) VALUES ('n') RETURNING id"],
)  # fmt: skip
KINDS = {
    "two-tables": SHARED,
    "down": DOWN,
    "identity-down": IDENTITY_DOWN,
    "expression": EXPRESSION,
    "no-table": NOBODY,
    "steps": STEPS,
    "round": ROUND,
    "odd-names": ODD,
}


@pytest.fixture
def source(pg15: Server, database: Any) -> Iterator[End]:
    with prepared(pg15, database) as end:
        end.run("DROP TABLE t, bag")
        yield end


@pytest.fixture
def target(pg18: Server, database: Any) -> End:
    return End(pg18, database(pg18))


def numbers(end: End, statements: list[str]) -> list[Any]:
    return [end.rows(statement) for statement in statements]


@pytest.mark.parametrize("kind", KINDS)
def test_after_the_stop_the_target_gives_the_sources_next_numbers(
    source: End, target: End, kind: str
) -> None:
    structure, work, following_numbers = KINDS[kind]
    source.run(*structure)
    with following(source, target, tables=None) as stream:
        source.run(*work)
        caught_up(stream)
    assert numbers(target, following_numbers) == numbers(source, following_numbers)


@pytest.mark.parametrize("kind", KINDS)
def test_while_it_follows_the_sequences_are_kept_ahead(
    source: End, target: End, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A target that takes over without a stop gives no number twice."""
    monkeypatch.setattr(sequences, "EVERY_SECONDS", 0.0)
    monkeypatch.setattr(sequences, "RESTS", 0)
    structure, work, following_numbers = KINDS[kind]
    source.run(*structure)
    values = (
        "SELECT sequencename, last_value FROM pg_sequences"
        " WHERE schemaname <> 'streams_engine' ORDER BY 1"
    )
    with following(source, target, tables=None, reporting_interval=1) as stream:
        source.run(*work)
        caught_up(stream)
        reported = threading.Event()
        stream.on_progress(lambda _: reported.set())
        until = time.monotonic() + SECONDS
        while target.rows(values) != source.rows(values):
            assert time.monotonic() < until
            reported.clear()
            assert reported.wait(SECONDS)
        assert numbers(target, following_numbers) == numbers(source, following_numbers)


def test_only_the_end_of_a_run_reads_the_target_for_its_numbers(
    source: End, target: End, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stream that is idle does not inspect tables and set numbers every few seconds."""
    ends: list[float] = []
    finish = sequences.TargetSequences.finish

    def finished(*given: Any) -> None:
        ends.append(time.monotonic())
        finish(*given)

    monkeypatch.setattr(sequences.TargetSequences, "finish", finished)
    source.run(*SHARED[0])
    with following(source, target, tables=None, reporting_interval=1) as stream:
        reports = threading.Semaphore(0)
        stream.on_progress(lambda _: reports.release())
        assert all(reports.acquire(timeout=SECONDS) for _ in range(3))
        assert not ends
    assert len(ends) == 1


def test_numbers_are_never_set_back(source: End, target: End) -> None:
    """A target that numbers rows of its own already keeps its place."""
    source.run(*SHARED[0])
    with following(source, target, tables=None) as stream:
        target.run("SELECT setval('gid', 900)")
        source.run(*SHARED[1])
        caught_up(stream)
    assert target.rows("SELECT nextval('gid')") == [(901,)]


def test_rows_with_numbers_of_their_own_are_passed_in_the_steps_of_the_sequence(
    source: End, target: End
) -> None:
    """Two servers that number in turns go on in turns."""
    source.run(*STEPS[0], "INSERT INTO a OVERRIDING SYSTEM VALUE VALUES (44, 'own')")
    with following(source, target, tables=None) as stream:
        source.run("INSERT INTO a OVERRIDING SYSTEM VALUE VALUES (55, 'own')")
        caught_up(stream)
    assert target.rows(STEPS[2][0]) == [(63,)]


def test_a_sequence_that_begins_anew_is_loaded_so(source: End, target: End) -> None:
    """ALTER SEQUENCE ... RESTART and setval(..., false) without a call since."""
    source.run(
        "CREATE SEQUENCE later", "ALTER SEQUENCE later RESTART WITH 1000",
        "CREATE TABLE a (id int DEFAULT nextval('later'))",
    )  # fmt: skip
    move(source, target)
    assert target.rows("SELECT nextval('later')") == [(1000,)]


def test_a_sequence_that_may_not_be_read_is_named(source: End, target: End, pg15: Server) -> None:
    source.run(*SHARED[0], "CREATE ROLE counts_not LOGIN REPLICATION PASSWORD 'x'")
    try:
        source.run(
            "GRANT SELECT ON ALL TABLES IN SCHEMA public TO counts_not",
            f'GRANT CREATE ON DATABASE "{source.database}" TO counts_not',
            "ALTER TABLE a OWNER TO counts_not", "ALTER TABLE b OWNER TO counts_not",
        )  # fmt: skip
        url = pg15.url(source.database).replace(f"postgres:{pg15.password}@", "counts_not:x@")
        restricted = End(pg15, source.database, url)
        with following(restricted, target, tables=None) as stream:
            source.run(*SHARED[1])
            caught_up(stream)
        found = {(f.code, f.object) for f in stream.stats().findings}
        assert ("sequence-unread", "public.gid") in found
        # After the rows: 103 was inserted and deleted, which nothing on the target tells.
        assert target.rows("SELECT nextval('gid')") == [(103,)]
    finally:
        source.run("DROP OWNED BY counts_not CASCADE", "DROP ROLE counts_not")


@pytest.mark.parametrize("kind", ["mysql9", "mariadb"])
@pytest.mark.parametrize("column", ["int", "bigint unsigned"])
def test_auto_increment_goes_on_in_postgresql(
    request: pytest.FixtureRequest, target: End, database: Any, kind: str, column: str
) -> None:
    """Also past rows that were deleted again: no number is given twice."""
    server = request.getfixturevalue(kind)
    with prepared(server, database) as mysql:
        mysql.run(
            f"CREATE TABLE n (id {column} AUTO_INCREMENT PRIMARY KEY, v varchar(9))",
            "INSERT INTO n (v) VALUES ('a')",
        )
        with following(mysql, target, tables=["n"]) as stream:
            mysql.run("INSERT INTO n (v) VALUES ('b'), ('c')", "DELETE FROM n WHERE v = 'c'")
            caught_up(stream)
        assert target.rows("INSERT INTO n (v) VALUES ('own') RETURNING id") == [(4,)]


@pytest.mark.parametrize("kind", ["mysql9", "mariadb"])
def test_auto_increment_goes_on_in_mysql(
    request: pytest.FixtureRequest, source: End, database: Any, kind: str
) -> None:
    """Rows that were inserted and deleted within one set never reached the target."""
    server = request.getfixturevalue(kind)
    other = End(server, database(server))
    source.run("CREATE TABLE n (id serial PRIMARY KEY, v text)", "INSERT INTO n (v) VALUES ('a')")
    with following(source, other, tables=["n"]) as stream:
        source.run("BEGIN; INSERT INTO n (v) VALUES ('b'), ('c'); DELETE FROM n WHERE id > 1;")
        caught_up(stream)
    other.run("INSERT INTO n (v) VALUES ('own')")
    assert other.rows("SELECT id FROM n ORDER BY id") == [(1,), (4,)]


def test_numbers_that_mysql_goes_on_giving_are_not_said_to_be_left_out(
    source: End, mysql9: Server, database: Any
) -> None:
    """The log knows no sequences: what is AUTO_INCREMENT already stays so when a column comes."""
    other = End(mysql9, database(mysql9))
    source.run("CREATE TABLE n (id serial PRIMARY KEY, v text)", "INSERT INTO n (v) VALUES ('a')")
    with following(source, other, tables=["n"]) as stream:
        source.run("ALTER TABLE n ADD w int", "INSERT INTO n (v, w) VALUES ('b', 2)")
        caught_up(stream)
        assert "default" not in {finding.code for finding in stream.stats().findings}
    other.run("INSERT INTO n (v, w) VALUES ('own', 3)")
    assert other.rows("SELECT id, w FROM n ORDER BY id") == [(1, None), (2, 2), (3, 3)]


def test_sequences_carry_the_alias_of_their_source(
    source: End, target: End, pg18: Server, database: Any
) -> None:
    """Two sources with sequences of one name, called within expressions too."""
    with prepared(pg18, database) as other:
        other.run("DROP TABLE t, bag")
        for end, start in ((source, 5000), (other, 800)):
            end.run(
                f"CREATE SEQUENCE ino START {start}",
                "CREATE TABLE a (id int PRIMARY KEY DEFAULT nextval('ino'),"
                " no text DEFAULT 'INV-' || nextval('ino'))",
                "INSERT INTO a DEFAULT VALUES",
            )
        connections = [
            {"alias": alias, "connection": end.url, "tables": [{"name": "a"}]}
            for alias, end in (("x", source), ("y", other))
        ]
        document = {
            "name": "both",
            "mode": "cdc",
            "source": {"connections": connections},
            "target": {"connection": target.url},
        }
        with Stream.from_config(document) as stream:
            stream.start()
            caught_up(stream)
            source.run("INSERT INTO a DEFAULT VALUES")
            other.run("INSERT INTO a DEFAULT VALUES")
            caught_up(stream)
        for end, table in ((source, "x_a"), (other, "y_a")):
            added = target.rows(f"INSERT INTO {table} DEFAULT VALUES RETURNING id, no")
            assert added == end.rows("INSERT INTO a DEFAULT VALUES RETURNING id, no")


def test_sequences_of_another_schema_follow_their_tables_into_the_targets(
    source: End, target: End
) -> None:
    source.run(*SHARED[0], *ODD[0][:2])
    source.run('ALTER SEQUENCE gid SET SCHEMA "My.Sch"')
    document = {
        "name": "into",
        "mode": "cdc",
        "source": {"connections": [{"connection": source.url}]},
        "target": {"connection": target.url, "spec": {"db": {"schema": "other"}}},
    }
    with Stream.from_config(document) as stream:
        stream.start()
        caught_up(stream)
        source.run(*SHARED[1])
        caught_up(stream)
    added = [s.replace("INTO ", "INTO other.") for s in SHARED[2]]
    assert numbers(target, added) == numbers(source, SHARED[2])
