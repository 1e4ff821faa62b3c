"""SQLAlchemy's engines and URLs are ends of a stream, as they reach the same servers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy
from sqlalchemy import URL

from streams_engine import AsyncStream, Stream
from tests.support.databases import End

DRIVERS = {
    "mysql": "mysql+pymysql",
    "mariadb": "mariadb+pymysql",
    "postgresql": "postgresql+psycopg",
}


def url_of(end: End) -> URL:
    server = end.server
    return URL.create(
        DRIVERS[server.kind], server.user, server.password, server.host, server.port, end.database
    )


@pytest.mark.parametrize(
    ("source_name", "target_name"),
    [("mysql9", "pg18"), ("pg18", "mariadb"), ("mariadb", "mysql9")],
)
def test_rows_move_between_two_engines(
    source_name: str,
    target_name: str,
    request: pytest.FixtureRequest,
    database: Callable[..., str],
) -> None:
    source, target = (
        End(server, database(server))
        for server in map(request.getfixturevalue, (source_name, target_name))
    )
    one, other = (sqlalchemy.create_engine(url_of(end)) for end in (source, target))
    with one.begin() as connection:
        connection.execute(sqlalchemy.text("CREATE TABLE t (id int PRIMARY KEY, v varchar(20))"))
        connection.execute(sqlalchemy.text("INSERT INTO t VALUES (1, 'one'), (2, 'two')"))
    with Stream(one, other) as stream:
        assert stream.run().rows == 2
        assert stream.verify().ok
    with other.connect() as connection:
        rows = connection.execute(sqlalchemy.text("SELECT v FROM t ORDER BY id")).scalars().all()
    assert rows == ["one", "two"]
    text: Any = one.url.render_as_string(hide_password=False)
    for given in (text, one.url):
        assert [table.source for table in Stream(given, "null://").plan().tables]
        assert AsyncStream(given, other.url).state.name == "READY"
    one.dispose()
    other.dispose()
