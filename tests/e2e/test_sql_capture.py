"""`options.sqlCapture` on real servers: what is sent, and no value of a row."""

from __future__ import annotations

from typing import Any

import pytest

from streams_engine import Event, State, Stream
from streams_engine.testing.servers import Server
from tests.support.databases import End

TABLE = "CREATE TABLE t (id int PRIMARY KEY, n bigint, s varchar(40))"
ROWS = "INSERT INTO t VALUES (1, 8675309, 'pk-s3cret'), (2, 5550100, 'it''s s3cret')"
VALUES = ("s3cret", "8675309", "5550100", "9990001")


@pytest.mark.parametrize("level", ["minimal", "verbose"])
@pytest.mark.parametrize("way", ["mysql to postgres", "postgres to mysql"])
def test_the_statements_of_a_load_and_of_a_log(
    mysql9: Server, pg18: Server, database: Any, level: str, way: str
) -> None:
    mysql, postgres = End(mysql9, database(mysql9)), End(pg18, database(pg18))
    source, target = (mysql, postgres) if way.startswith("mysql") else (postgres, mysql)
    source.run(TABLE, ROWS)
    seen: list[Event] = []
    with Stream(source.url, target.url, mode="cdc", tables=["t"], sql_capture=level) as stream:  # type: ignore[arg-type]
        stream.on_record(seen.append)
        stream.start()
        assert stream.catch_up(120)
        source.run(
            "UPDATE t SET n = 9990001, s = 'new s3cret' WHERE id = 1",
            "DELETE FROM t WHERE id = 2",
        )
        assert stream.catch_up(120)
        stream.stop()
        assert stream.wait(timeout=60) is State.STOPPED
    assert target.rows("SELECT id, n FROM t") == [(1, 9990001)]
    told = [event.message for event in seen if event.category == "sql"]
    words = {message.split()[0].upper() for message in told}
    assert "CREATE" in words
    assert ("SELECT" in words) is (level == "verbose")
    leaks = [m for m in map(str, seen) if any(value in m for value in VALUES)]
    assert leaks == []


def test_nothing_is_told_unless_it_is_asked_for(mysql9: Server, database: Any) -> None:
    source = End(mysql9, database(mysql9))
    source.run(TABLE, ROWS)
    seen: list[Event] = []
    stream = Stream(source.url, "null://", tables=["t"])
    stream.on_record(seen.append)
    stream.run()
    assert [event for event in seen if event.category == "sql"] == []
