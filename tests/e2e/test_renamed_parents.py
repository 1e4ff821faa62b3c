"""The foreign keys of other tables follow a table that is renamed while a stream follows."""

from __future__ import annotations

from typing import Any

import pytest

from streams_engine import Stream
from streams_engine.testing.servers import Server
from tests.support.databases import End

SECONDS = 120
NAME = "parents"
TABLES = (
    "CREATE TABLE cask (id int PRIMARY KEY)",
    "CREATE TABLE cup (id int PRIMARY KEY, cask int,"
    " FOREIGN KEY (cask) REFERENCES cask (id) ON DELETE CASCADE)",
    "INSERT INTO cask VALUES (1), (2)",
    "INSERT INTO cup VALUES (1, 1), (2, 2)",
)


@pytest.mark.parametrize("stopped", [False, True], ids=["live", "started-again"])
def test_cascades_of_a_renamed_parent_are_repeated(
    mariadb: Server, pg18: Server, database: Any, stopped: bool
) -> None:
    """They are not in the log of MariaDB."""
    source, target = End(mariadb, database(mariadb)), End(pg18, database(pg18))
    source.run(*TABLES)
    stream = Stream(source.url, target.url, mode="cdc", name=NAME)
    with stream:
        stream.start()
        source.run("ALTER TABLE cask RENAME TO barrel")
        assert stream.catch_up(SECONDS), stream.error
        if not stopped:
            source.run("DELETE FROM barrel WHERE id = 1")
            assert stream.catch_up(SECONDS), stream.error
    if stopped:
        source.run("DELETE FROM barrel WHERE id = 1")
        with Stream(source.url, target.url, mode="cdc", name=NAME) as stream:
            stream.start()
            assert stream.catch_up(SECONDS), stream.error
    assert target.rows("SELECT * FROM cup") == source.rows("SELECT * FROM cup") == [(2, 2)]
    stream.release()


def test_a_renamed_parent_is_dropped_where_the_source_checks_no_keys(
    mysql9: Server, pg18: Server, database: Any
) -> None:
    source, target = End(mysql9, database(mysql9)), End(pg18, database(pg18))
    source.run(*TABLES)
    with Stream(source.url, target.url, mode="cdc", name=NAME, allow_lossy=True) as stream:
        stream.start()
        assert stream.catch_up(SECONDS), stream.error
        source.run(
            "SET foreign_key_checks = 0",
            "ALTER TABLE cask RENAME TO barrel",
            "DROP TABLE barrel",
            "INSERT INTO cup VALUES (3, 9)",
        )
        assert stream.catch_up(SECONDS), stream.error
    assert target.rows("SELECT * FROM cup ORDER BY id") == [(1, 1), (2, 2), (3, 9)]
    stream.release()


@pytest.mark.parametrize("backlog", [False, True], ids=["live", "backlog"])
@pytest.mark.parametrize("renamed", [False, True], ids=["dropped", "renamed-and-dropped"])
@pytest.mark.parametrize(
    ("source_name", "target_name"),
    [("mysql9", "pg18"), ("mysql9", "mysql9"), ("mariadb", "mariadb")],
)
def test_a_key_to_a_dropped_parent_is_told(
    source_name: str,
    target_name: str,
    renamed: bool,
    backlog: bool,
    request: pytest.FixtureRequest,
    database: Any,
) -> None:
    """MySQL keeps the key where foreign_key_checks is 0; the target cannot have it."""
    servers = [request.getfixturevalue(name) for name in (source_name, target_name)]
    source, target = (End(server, database(server)) for server in servers)
    source.run(*TABLES[:1], TABLES[1].replace(" ON DELETE CASCADE", ""), *TABLES[2:])
    rename = ["ALTER TABLE cask RENAME TO barrel"] if renamed else []
    gone = f"DROP TABLE {'barrel' if renamed else 'cask'}"
    work = ["SET foreign_key_checks = 0", *rename, gone, "INSERT INTO cup VALUES (3, 9)"]
    stream = Stream(source.url, target.url, mode="cdc", name=NAME, allow_lossy=True)
    with stream:
        stream.start()
        assert stream.catch_up(SECONDS), stream.error
        if not backlog:
            source.run(*work)
            assert stream.catch_up(SECONDS), stream.error
    if backlog:
        source.run(*work)
        stream = Stream(source.url, target.url, mode="cdc", name=NAME, allow_lossy=True)
        with stream:
            stream.start()
            assert stream.catch_up(SECONDS), stream.error
    told = [f for f in stream.stats().findings if f.code == "foreign-key"]
    assert [str(f.object).split(".")[1] for f in told] == ["cup"], stream.stats().findings
    assert ("barrel" if renamed else "cask") in told[0].message
    assert target.rows("SELECT * FROM cup ORDER BY id") == [(1, 1), (2, 2), (3, 9)]
    stream.release()


REWRITES = "ADD s timestamp NULL DEFAULT CURRENT_TIMESTAMP"
"""The log does not hold what it gives to rows that are there: the table is read again."""


@pytest.mark.parametrize("target_name", ["pg18", "mariadb"])
@pytest.mark.parametrize(
    "work",
    [
        (f"ALTER TABLE cask {REWRITES}", "DELETE FROM cask WHERE id = 1"),
        (
            f"ALTER TABLE cask {REWRITES}",
            "DELETE FROM cask WHERE id = 1",
            "ALTER TABLE cup ADD n int DEFAULT 7",
            "INSERT INTO cup (id, cask) VALUES (3, 2)",
        ),
        (
            f"ALTER TABLE cup {REWRITES}",
            "REPLACE INTO cask VALUES (1)",
            "INSERT INTO cup (id, cask) VALUES (1, 1), (3, 1)",
        ),
        (
            f"ALTER TABLE sip {REWRITES}",
            "DELETE FROM cask WHERE id = 1",
            "INSERT INTO cask VALUES (1)",
            "INSERT INTO cup VALUES (1, 1)",
            "INSERT INTO sip (id, cup) VALUES (1, 1)",
        ),
        (
            f"ALTER TABLE cup {REWRITES}",
            "DELETE FROM jug WHERE id = 1",
            "INSERT INTO jug VALUES (1)",
            "ALTER TABLE cup ADD FOREIGN KEY (cask) REFERENCES jug (id) ON DELETE CASCADE",
        ),
    ],
    ids=["of-a-parent", "of-a-changed-child", "of-a-child", "of-a-grandchild", "by-a-later-key"],
)
def test_cascades_that_a_reload_hides_are_carried(
    mariadb: Server,
    target_name: str,
    work: tuple[str, ...],
    request: pytest.FixtureRequest,
    database: Any,
) -> None:
    """MariaDB does not log them: what foreign keys connect is read again in one view."""
    other: Server = request.getfixturevalue(target_name)
    source, target = End(mariadb, database(mariadb)), End(other, database(other))
    source.run(
        *TABLES,
        "CREATE TABLE sip (id int PRIMARY KEY, cup int,"
        " FOREIGN KEY (cup) REFERENCES cup (id) ON DELETE CASCADE)",
        "INSERT INTO sip VALUES (1, 1), (2, 2), (3, NULL)",
        "CREATE TABLE jug (id int PRIMARY KEY)",
        "INSERT INTO jug VALUES (1), (2)",
    )
    for statements in ((), work, ("DELETE FROM cask WHERE id = 2",)):
        source.run(*statements)
        with Stream(source.url, target.url, mode="cdc", name=NAME) as stream:
            stream.start()
            assert stream.catch_up(SECONDS), stream.error
            assert [t for t in stream.verify().tables if not t.equal] == []
        for columns in ("id FROM cask", "id, cask FROM cup", "id, cup FROM sip", "id FROM jug"):
            query = f"SELECT {columns} ORDER BY id"
            assert target.rows(query) == source.rows(query), statements
    stream.release()
