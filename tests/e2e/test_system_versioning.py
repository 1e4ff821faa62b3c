"""MariaDB's tables WITH SYSTEM VERSIONING: the target has the current rows, whatever is logged."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from streams_engine import Stream
from streams_engine.errors import StreamsError
from streams_engine.testing.servers import Server
from tests.support.cdc import caught_up
from tests.support.databases import End, move

PERIOD = (
    "s {kind} GENERATED ALWAYS AS ROW START {shown}, e {kind} GENERATED ALWAYS AS ROW END {shown},"
    " PERIOD FOR SYSTEM_TIME (s, e)"
)
TABLES = {
    "undeclared": "CREATE TABLE {t} (id INT PRIMARY KEY, v VARCHAR(20), n INT)",
    "keyless": "CREATE TABLE {t} (id INT, v VARCHAR(20), n INT)",
    "second key": "CREATE TABLE {t} (id INT NOT NULL, v VARCHAR(20), n INT, UNIQUE (id))",
    "declared": "CREATE TABLE {t} (id INT PRIMARY KEY, v VARCHAR(20), n INT, "
    + PERIOD.format(kind="TIMESTAMP(6)", shown="")
    + ")",
    "declared first": "CREATE TABLE {t} ("
    + PERIOD.format(kind="TIMESTAMP(6)", shown="INVISIBLE")
    + ", id INT PRIMARY KEY, v VARCHAR(20), n INT)",
    "a column without": "CREATE TABLE {t} (id INT PRIMARY KEY, v VARCHAR(20),"
    " n INT WITHOUT SYSTEM VERSIONING)",
    "partitioned": "CREATE TABLE {t} (id INT PRIMARY KEY, v VARCHAR(20), n INT)",
}
TAIL = {
    "partitioned": " PARTITION BY SYSTEM_TIME LIMIT 3 (PARTITION p HISTORY, PARTITION c CURRENT)"
}

PRECISE = (
    "CREATE TABLE precise (id INT PRIMARY KEY, "
    + PERIOD.format(kind="BIGINT UNSIGNED", shown="INVISIBLE")
    + ") WITH SYSTEM VERSIONING"
)

WORK = (
    "INSERT INTO {t} (id, v, n) VALUES (4, 'd', 40), (5, NULL, NULL)",
    "UPDATE {t} SET v = 'B' WHERE id = 2",
    "UPDATE {t} SET n = n + 1",
    "DELETE FROM {t} WHERE id = 1",
    "INSERT INTO {t} (id, v, n) VALUES (1, 'again', 1)",
    "UPDATE {t} SET id = 9 WHERE id = 4",
    "REPLACE INTO {t} (id, v, n) VALUES (2, 'replaced', 2)",
    "INSERT INTO {t} (id, v, n) VALUES (3, 'x', 1) ON DUPLICATE KEY UPDATE v = 'dup'",
    "DELETE HISTORY FROM {t}",
    "DELETE FROM {t} WHERE id = 9",
    "BEGIN; INSERT INTO {t} (id, v, n) VALUES (7, 'a', 1); UPDATE {t} SET v = 'b' WHERE id = 7;"
    " DELETE FROM {t} WHERE id = 7; INSERT INTO {t} (id, v, n) VALUES (7, 'c', 1); COMMIT",
    "BEGIN; UPDATE {t} SET v = 'lost'; ROLLBACK",
)
ROWS = "SELECT id, v, n FROM {t} ORDER BY id, v, n"


def name_of(kind: str) -> str:
    return kind.replace(" ", "_")


def made(server: Server, database: Any) -> End:
    """A table of each kind with rows, and a history."""
    source = End(server, database(server))
    for kind, ddl in TABLES.items():
        t = name_of(kind)
        source.run(
            ddl.format(t=t) + " WITH SYSTEM VERSIONING" + TAIL.get(kind, ""),
            f"INSERT INTO {t} (id, v, n) VALUES (1, 'a', 10), (2, 'b', 20), (3, 'c', 30)",
            f"INSERT INTO {t} (id, v, n) VALUES (8, '', 0)",
            f"UPDATE {t} SET v = 'old' WHERE id = 3",
            f"DELETE FROM {t} WHERE id = 8",
        )
    return source


def differing(source: End, target: End) -> dict[str, Any]:
    """The kinds whose rows differ."""
    found = {}
    for kind in TABLES:
        query = ROWS.format(t=name_of(kind))
        ours, theirs = (sorted(map(repr, end.rows(query))) for end in (source, target))
        if ours != theirs:
            found[kind] = (ours, theirs)
    return found


@pytest.fixture(params=["pg18", "mysql9", "mariadb"])
def target(request: pytest.FixtureRequest, database: Any) -> End:
    server: Server = request.getfixturevalue(request.param)
    return End(server, database(server))


def test_a_load_has_the_current_rows(mariadb: Server, database: Any, target: End) -> None:
    source = made(mariadb, database)
    with Stream(source.url, target.url) as stream:
        stream.run()
        assert differing(source, target) == {}
        assert stream.verify().ok


@pytest.mark.parametrize("metadata", ["FULL", "NO_LOG"])
def test_each_statement_by_the_log(
    mariadb: Server, database: Any, target: End, metadata: str
) -> None:
    source = made(mariadb, database)
    source.run(f"SET GLOBAL binlog_row_metadata = '{metadata}'")
    try:
        with Stream(source.url, target.url, mode="cdc", name="versions") as stream:
            stream.start()
            caught_up(stream)
            for work in WORK:
                for kind in TABLES:
                    source.run(*work.format(t=name_of(kind)).split("; "))
                caught_up(stream)
                assert differing(source, target) == {}, work
            assert stream.verify().ok
            assert stream.stats().changes.unmet == 0
    finally:
        source.run("SET GLOBAL binlog_row_metadata = 'FULL'")


def test_what_was_written_while_the_stream_stood(
    mariadb: Server, database: Any, target: End
) -> None:
    source = made(mariadb, database)
    chosen = random.Random(7)
    with Stream(source.url, target.url, mode="cdc", name="backlog") as stream:
        stream.start()
        caught_up(stream)
    for kind in TABLES:
        t = name_of(kind)
        for number in range(60):
            row = chosen.randrange(12)
            source.run(
                chosen.choice(
                    (
                        f"REPLACE INTO {t} (id, v, n) VALUES ({row}, 'r{number}', {number})",
                        f"UPDATE {t} SET v = concat('u', v), n = {number} WHERE id = {row}",
                        f"DELETE FROM {t} WHERE id = {row}",
                        f"UPDATE {t} SET n = {number}",
                    )
                )
            )
    with Stream(source.url, target.url, mode="cdc", name="backlog") as stream:
        stream.start()
        caught_up(stream)
        assert differing(source, target) == {}
        assert stream.verify().ok


def test_versioning_that_comes_and_goes(mariadb: Server, database: Any, target: End) -> None:
    source = End(mariadb, database(mariadb))
    source.run("CREATE TABLE t (id INT PRIMARY KEY, v INT)", "INSERT INTO t VALUES (1, 1), (2, 2)")
    query = "SELECT id, v FROM t ORDER BY id"
    with Stream(source.url, target.url, mode="cdc", name="comes") as stream:
        stream.start()
        caught_up(stream)
        for statements in (
            ("ALTER TABLE t ADD SYSTEM VERSIONING", "UPDATE t SET v = 5 WHERE id = 1"),
            ("DELETE FROM t WHERE id = 2", "INSERT INTO t VALUES (3, 3)"),
            ("SET system_versioning_alter_history = KEEP", "ALTER TABLE t ADD COLUMN w INT",
             "UPDATE t SET w = 1", "DELETE FROM t WHERE id = 3"),
            ("ALTER TABLE t DROP SYSTEM VERSIONING", "UPDATE t SET v = 6",
             "INSERT INTO t VALUES (4, 4, 4)"),
            ("CREATE TABLE u (id INT PRIMARY KEY, v INT) WITH SYSTEM VERSIONING",
             "INSERT INTO u VALUES (1, 1), (2, 2)", "UPDATE u SET v = 3",
             "DELETE FROM u WHERE id = 1"),
        ):  # fmt: skip
            source.run(*statements)
            caught_up(stream)
            assert target.rows(query) == source.rows(query), statements
        assert target.rows("SELECT id, v FROM u") == [(2, 3)]


def test_transaction_precise_tables_are_refused_by_name(
    mariadb: Server, database: Any, target: End
) -> None:
    """Of these MariaDB logs statements; a load needs no log."""
    source = End(mariadb, database(mariadb))
    source.run(PRECISE, "INSERT INTO precise (id) VALUES (1), (2)")
    source.run("DELETE FROM precise WHERE id = 1")
    stream = Stream(source.url, target.url, mode="cdc", name="precise")
    with pytest.raises(StreamsError, match="transaction-precise") as caught:
        stream.run()
    assert "precise" in caught.value.message and "TIMESTAMP" in str(caught.value.remedy)
    move(source, target)
    assert target.rows("SELECT id FROM precise") == [(2,)]


def test_into_files(mariadb: Server, database: Any, tmp_path: Path, pg18: Server) -> None:
    source = made(mariadb, database)
    folder, back = tmp_path / "out", End(pg18, database(pg18))
    move(source, str(folder))
    move(str(folder), back)
    assert differing(source, back) == {}


def test_periods_of_the_application(mariadb: Server, database: Any, target: End) -> None:
    """PERIOD FOR: the server writes plain rows, also for FOR PORTION OF."""
    source = End(mariadb, database(mariadb))
    source.run(
        "CREATE TABLE t (id INT, f DATE, u DATE, v INT, PERIOD FOR valid (f, u),"
        " PRIMARY KEY (id, valid WITHOUT OVERLAPS))",
        "INSERT INTO t VALUES (1, '2020-01-01', '2021-01-01', 1)",
    )
    query = "SELECT id, f, u, v FROM t ORDER BY id, f"
    with Stream(source.url, target.url, mode="cdc", name="valid") as stream:
        stream.start()
        caught_up(stream)
        source.run(
            "UPDATE t FOR PORTION OF valid FROM '2020-03-01' TO '2020-06-01' SET v = 2",
            "DELETE FROM t FOR PORTION OF valid FROM '2020-04-01' TO '2020-05-01'",
        )
        caught_up(stream)
        assert target.rows(query) == source.rows(query)
        assert len(target.rows(query)) == 4


def test_a_point_in_time_that_the_server_is_set_to_is_not_inherited(
    mariadb: Server, database: Any, target: End
) -> None:
    source = made(mariadb, database)
    source.run("SET GLOBAL system_versioning_asof = '2001-01-01'")
    try:
        move(source, target)
    finally:
        source.run("SET GLOBAL system_versioning_asof = DEFAULT")
    assert target.rows("SELECT count(*) FROM undeclared") == [(3,)]
