"""A table without a character set has that of its database, as it was at the statement."""

from __future__ import annotations

from typing import Any

from streams_engine import Stream
from streams_engine.testing.servers import Server
from tests.support.cdc import caught_up
from tests.support.databases import End


def collations(end: End) -> dict[str, str]:
    return dict(
        end.rows(
            "SELECT table_name, collation_name FROM information_schema.columns WHERE"
            f" table_schema = '{end.database}' AND column_name = 'v'"
        )
    )


def test_a_database_that_is_altered_later_in_a_backlog(mysql_server: Server, database: Any) -> None:
    source, target = (End(mysql_server, database(mysql_server)) for _ in range(2))
    source.run("CREATE TABLE first (id int PRIMARY KEY, v varchar(9))")
    with Stream(source.url, target.url, mode="cdc", name="collations") as stream:
        stream.start()
        caught_up(stream)
    source.run(
        "CREATE TABLE a (id int PRIMARY KEY, v varchar(9))",
        "ALTER DATABASE CHARACTER SET cp1250",
        "CREATE TABLE b (id int PRIMARY KEY, v varchar(9))",
        "ALTER DATABASE CHARACTER SET latin1",
        "CREATE TABLE c (id int PRIMARY KEY, v varchar(9))",
        "INSERT INTO a VALUES (1, 'Ω')",
    )
    with Stream(source.url, target.url, mode="cdc", name="collations") as stream:
        stream.start()
        caught_up(stream)
    assert collations(source) == collations(target)
    assert len(set(collations(source).values())) == 3
    assert target.rows("SELECT v FROM a") == [("Ω",)]
