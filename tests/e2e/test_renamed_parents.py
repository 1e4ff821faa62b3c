"""The foreign keys of other tables follow a table that is renamed while a stream follows."""

from __future__ import annotations

from typing import Any

import pytest

from streams_engine import Stream
from streams_engine.testing.servers import Server
from tests.support.databases import End

SECONDS = 30
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
