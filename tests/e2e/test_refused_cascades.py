"""A delete that cascades, and that the target refuses, leaves the session as it was."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import pytest

from streams_engine import State, Stream
from streams_engine.testing.servers import Server
from tests.support.databases import End
from tests.support.stream_control import SECONDS

TABLES = (
    "CREATE TABLE parent (id int PRIMARY KEY)",
    "CREATE TABLE child (id int PRIMARY KEY, parent_id int,"
    " FOREIGN KEY (parent_id) REFERENCES parent (id) ON DELETE CASCADE)",
    "INSERT INTO parent VALUES (1), (2), (3)",
    "INSERT INTO child VALUES (10, 1), (20, 2), (30, 3)",
)
WORK = (
    "SET foreign_key_checks = 1",
    "DELETE FROM parent WHERE id = 2",
    "SET foreign_key_checks = 0",
    "INSERT INTO child VALUES (40, 999)",
    "UPDATE child SET parent_id = 998 WHERE id = 10",
    "SET foreign_key_checks = 1",
    "DELETE FROM parent WHERE id = 3",
)


@pytest.mark.parametrize("target_name", ["mysql9", "pg18"])
def test_only_the_refused_delete_is_set_aside(
    mariadb: Server, target_name: str, request: pytest.FixtureRequest, database: Any
) -> None:
    """MariaDB's log lacks what foreign keys do: the target's own do it for these steps alone.
    Children that the source keeps without a parent stay right rows."""
    server: Server = request.getfixturevalue(target_name)
    source, target = End(mariadb, database(mariadb)), End(server, database(server))
    source.run(*TABLES)
    options = {"mode": "cdc", "name": f"cascade {target_name}", "on_error": "quarantine"}
    with Stream(source.url, target.url, **options) as stream:
        stream.start()
        assert stream.catch_up(SECONDS), stream.error
        target.run(
            "CREATE TABLE kept (id int PRIMARY KEY, FOREIGN KEY (id) REFERENCES parent (id))",
            "INSERT INTO kept VALUES (2)",
        )
        stream.pause()
        stream.wait(State.PAUSED, timeout=SECONDS)
        with closing(mariadb.connect(source.database)) as connection:
            cursor = connection.cursor()
            for statement in ("BEGIN", *WORK, "COMMIT"):
                cursor.execute(statement)
        stream.resume()
        assert stream.catch_up(SECONDS), stream.error
        failed = stream.stats().target.failed_counter
        stream.stop()
        stream.wait(timeout=SECONDS)
    children = "SELECT id, parent_id FROM child ORDER BY id"
    assert source.rows(children) == [(10, 998), (40, 999)]
    assert target.rows(children) == [(10, 998), (20, 2), (40, 999)]
    assert target.rows("SELECT id FROM parent ORDER BY id") == [(1,), (2,)]
    assert failed == 1
