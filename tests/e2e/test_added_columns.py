"""A column that the source fills with what the target cannot hold."""

from __future__ import annotations

from typing import Any

from streams_engine.errors import SchemaChangeRefused
from streams_engine.testing.servers import Server

from .logged import caught_up, cdc, failure, following, prepared
from .moving import End


def test_a_new_date_that_is_not_null_without_strict_mode(
    mysql_server: Server, pg18: Server, database: Any
) -> None:
    """The server gives the rows that are there zero dates. No row has to be repaired: the error
    names the statement of the source, and the cure lets the stream go on."""
    target = End(pg18, database(pg18))
    with prepared(mysql_server, database) as source:
        with following(source, target) as stream:
            source.run(
                "SET sql_mode = ''",
                "ALTER TABLE t ADD COLUMN d datetime NOT NULL",
                "INSERT INTO t VALUES (3, 'three', '2020-01-02')",
            )
            error = failure(stream)
        assert isinstance(error, SchemaChangeRefused)
        assert "ADD COLUMN d datetime NOT NULL" in error.message
        assert "without NOT NULL" in str(error.remedy) and "Repair" not in str(error)
        target.run("ALTER TABLE t ADD COLUMN d timestamp")
        with cdc(source, target) as stream:
            stream.start()
            caught_up(stream)
        rows = target.rows("SELECT id, to_char(d, 'YYYY-MM-DD') FROM t ORDER BY id")
        assert rows == [(1, None), (2, None), (3, "2020-01-02")]
