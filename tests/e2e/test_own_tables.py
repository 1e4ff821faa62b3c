"""What a stream keeps on a server is its own: another stream that follows that server leaves it
alone."""

from __future__ import annotations

from typing import Any

import pytest

from streams_engine import Stream
from tests.support.databases import End

SECONDS = 60


@pytest.mark.parametrize("kind", ["mysql9", "mariadb", "pg18"])
def test_a_stream_back_beside_it(
    kind: str, request: pytest.FixtureRequest, database: Any, pg18: Any
) -> None:
    server = request.getfixturevalue(kind)
    one, other, back = (End(s, database(s)) for s in (server, pg18, server))
    for end, name in ((one, "orders"), (back, "returned")):
        end.run(f"CREATE TABLE {name} (id int PRIMARY KEY)", f"INSERT INTO {name} VALUES (1)")
    with Stream(one.url, other.url, mode="cdc", name="there") as stream:
        stream.start()
        assert stream.catch_up(SECONDS), stream.error
        with Stream(back.url, one.url, mode="cdc", name="back") as second:
            second.start()
            assert second.catch_up(SECONDS), second.error
            back.run("INSERT INTO returned VALUES (2)")
            assert second.catch_up(SECONDS), second.error
            second.stop()
            second.wait(timeout=SECONDS)
            second.release()
        one.run("INSERT INTO orders VALUES (2)")
        assert stream.catch_up(SECONDS), stream.error
        tables = other.rows(
            "SELECT table_schema, table_name FROM information_schema.tables WHERE table_schema"
            " NOT IN ('pg_catalog', 'information_schema', 'streams_engine') ORDER BY 2"
        )
        stream.stop()
        stream.wait(timeout=SECONDS)
        stream.release()
    assert [name for _, name in tables] == ["orders", "returned"]
    assert [len(other.rows(f"SELECT * FROM {schema}.{name}")) for schema, name in tables] == [2, 2]
