"""A column that the source fills with what the target cannot hold."""

from __future__ import annotations

from typing import Any

from streams_engine.testing.servers import Server
from tests.support.cdc import caught_up, following, prepared
from tests.support.databases import End


def test_a_new_date_that_is_not_null_without_strict_mode(
    mysql_server: Server, pg18: Server, database: Any
) -> None:
    """The server gives the rows that are there zero dates, which become NULL: the table is read
    again, and what it shows decides that the column allows it."""
    target = End(pg18, database(pg18))
    with prepared(mysql_server, database) as source:
        with following(source, target) as stream:
            source.run(
                "SET sql_mode = ''",
                "ALTER TABLE t ADD COLUMN d datetime NOT NULL",
                "INSERT INTO t VALUES (3, 'three', '2020-01-02')",
            )
            caught_up(stream)
            assert "table-reloaded" in {f.code for f in stream.stats().findings}
        rows = target.rows("SELECT id, to_char(d, 'YYYY-MM-DD') FROM t ORDER BY id")
        assert rows == [(1, None), (2, None), (3, "2020-01-02")]
