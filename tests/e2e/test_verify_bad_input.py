"""What cannot be compared, or not repaired, is in the report by name; the rest is compared."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import pytest

from streams_engine import Stream, TableVerdict
from streams_engine.errors import ConnectionFailed, StreamsError
from streams_engine.testing.servers import Server
from streams_engine.verify import digests
from tests.support.cdc import following
from tests.support.databases import End, account

ROUTES = [("mysql9", "pg18"), ("pg18", "mysql9")]


@pytest.fixture(params=ROUTES, ids="-".join)
def ends(request: pytest.FixtureRequest, database: Any) -> tuple[End, End]:
    servers: list[Server] = [request.getfixturevalue(name) for name in request.param]
    source, target = (End(server, database(server)) for server in servers)
    source.run(
        "CREATE TABLE a (id int PRIMARY KEY, v varchar(9))",
        "INSERT INTO a VALUES (1, 'x'), (2, 'y')",
        "CREATE TABLE t (id int PRIMARY KEY, v varchar(9))",
        "INSERT INTO t VALUES (1, 'x'), (2, 'y')",
        "CREATE TABLE bag (x int, y varchar(9))",
        "INSERT INTO bag VALUES (1, 'a'), (1, 'a')",
    )
    return source, target


def verdicts(report: Any) -> dict[str, TableVerdict]:
    return {table.table.rpartition(".")[2]: table for table in report.tables}


BAD = {
    "dropped on the target": (("DROP TABLE t",), False, "does not exist on the target"),
    "another name of a column": (("ALTER TABLE t RENAME COLUMN v TO w",), False, "lacks the col"),
    "a view": (
        ("ALTER TABLE t RENAME TO hidden", "CREATE VIEW t AS SELECT * FROM hidden"),
        False,
        "does not exist on the target",
    ),
}


@pytest.mark.parametrize("what", BAD)
def test_a_table_that_is_not_as_it_was_is_named(what: str, ends: tuple[End, End]) -> None:
    source, target = ends
    Stream(source.url, target.url).run()
    changes, equal, note = BAD[what]
    target.run(*changes)
    report = Stream(source.url, target.url).verify()
    told = verdicts(report)
    assert not report.ok and told["a"].equal and told["bag"].equal
    assert told["t"].equal is equal and note in (told["t"].note or "")


def test_tables_without_a_key_and_of_one_side_alone(ends: tuple[End, End]) -> None:
    source, target = ends
    Stream(source.url, target.url).run()
    target.run("DELETE FROM bag", "INSERT INTO bag VALUES (1, 'a')", "CREATE TABLE more (x int)")
    told = verdicts(Stream(source.url, target.url).verify())
    assert set(told) == {"a", "t", "bag"}
    assert (told["bag"].equal, told["bag"].differing, told["bag"].differences) == (False, 1, ())
    source.run("DROP TABLE t")
    with pytest.raises(StreamsError) as raised:
        Stream(source.url, target.url, tables=["a", "t"]).verify()
    assert "t" in raised.value.message and raised.value.remedy


def test_an_account_without_a_right_is_told_and_the_rest_compared(
    ends: tuple[End, End],
) -> None:
    source, target = ends
    Stream(source.url, target.url).run()
    server, who = target.server, "'reader'@'%'" if target.server.kind == "mysql" else "reader"
    with account(server, "reader", "Only-reads-1") as url:
        target.run(*(f"GRANT SELECT ON {table} TO {who}" for table in ("a", "bag")))
        report = Stream(source.url, f"{url}{target.database}").verify()
        target.run(*(f"REVOKE SELECT ON {table} FROM {who}" for table in ("a", "bag")))
    told = verdicts(report)
    assert not report.ok and told["a"].equal and told["bag"].equal
    assert told["t"].equal is not True and told["t"].note


def test_a_server_that_goes_away_is_told_and_the_next_call_goes_on(
    ends: tuple[End, End], monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = ends
    Stream(source.url, target.url).run()
    monkeypatch.setattr(digests, "RANGE_ROWS", 1)

    def ended(*_: Any) -> None:
        with closing(source.server.connect()) as connection, connection.cursor() as cursor:
            if source.server.kind == "postgresql":
                cursor.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    f" WHERE datname = '{source.database}' AND pid <> pg_backend_pid()"
                )
            else:
                cursor.execute(
                    "SELECT id FROM information_schema.processlist WHERE id <> connection_id()"
                    f" AND user = '{source.server.user}'"
                )
                for (number,) in cursor.fetchall():
                    try:
                        cursor.execute(f"KILL {number}")
                    except Exception as gone:
                        assert "Unknown thread" in str(gone)

    with pytest.raises(ConnectionFailed) as raised:
        Stream(source.url, target.url).verify(on_progress=ended)
    assert raised.value.retryable and raised.value.remedy
    assert Stream(source.url, target.url).verify().ok


def test_a_table_without_a_key_is_not_repaired_while_it_is_followed(
    mysql9: Server, pg18: Server, database: Any
) -> None:
    source, target = End(mysql9, database(mysql9)), End(pg18, database(pg18))
    source.run(
        "CREATE TABLE t (id int PRIMARY KEY, v varchar(40))",
        "INSERT INTO t VALUES (1, 'one')",
        "CREATE TABLE bag (x int, y varchar(10))",
        "INSERT INTO bag VALUES (1, 'a'), (1, 'a')",
    )
    with following(source, target) as stream:
        target.run("DELETE FROM bag", "DELETE FROM t")
        report = stream.verify(repair=True)
        told = verdicts(report)
        assert not report.ok and told["t"].equal and told["t"].repaired == 1
        assert told["bag"].equal is False and told["bag"].repaired == 0
        note = told["bag"].note or ""
        assert "not repaired" in note and "start(fresh=True)" in note
        assert stream.catch_up(120)
