"""Names with a percent sign, which drivers read as the place of a parameter."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from streams_engine import Stream
from streams_engine.testing.servers import Server
from tests.support.databases import End, run

SECONDS = 120
NAME = "new_%s (100%)"
QUOTES = {"postgresql": '"{}"', "mysql": "`{}`", "mariadb": "`{}`"}


@pytest.fixture
def ends(request: pytest.FixtureRequest) -> Iterator[tuple[End, End]]:
    source, target = map(request.getfixturevalue, request.param)
    names = [QUOTES[s.kind].format(f"{side} {NAME}") for s, side in ((source, 1), (target, 2))]
    for server, name in zip((source, target), names, strict=True):
        run(server, None, f"CREATE DATABASE {name}")
    yield end(source, f"1 {NAME}"), end(target, f"2 {NAME}")
    for server, name in zip((source, target), names, strict=True):
        run(server, None, f"DROP DATABASE {name}")


def end(server: Server, name: str) -> End:
    return End(server, name, server.url(name))


@pytest.mark.parametrize(
    "ends",
    [("mysql9", "mysql9"), ("mysql9", "pg18"), ("pg18", "pg18"), ("pg18", "mariadb")],
    ids="-".join,
    indirect=True,
)
def test_databases_tables_columns_and_the_state(ends: tuple[End, End]) -> None:
    source, target = ends
    table, column, unique = (
        QUOTES[source.server.kind].format(name) for name in ("t%s", "%(a)s", "u%d")
    )
    source.run(
        f"CREATE TABLE {table} (id int PRIMARY KEY, {column} varchar(9))",
        f"CREATE UNIQUE INDEX {unique} ON {table} ({column})",
        f"INSERT INTO {table} VALUES (1, '%s'), (2, 'b')",
    )
    place = "state %s" if target.server.kind == "postgresql" else None
    options: dict[str, Any] = {"name": "of 100%s", "on_error": "quarantine", "state_schema": place}
    with Stream(source.url, target.url, mode="cdc", **options) as stream:
        stream.start()
        assert stream.catch_up(SECONDS), stream.error
        source.run(
            f"INSERT INTO {table} VALUES (3, '%(x)s')",
            f"UPDATE {table} SET {column} = '%%' WHERE id = 1",
            f"UPDATE {table} SET id = 4, {column} = NULL WHERE id = 2",
        )
        assert stream.catch_up(SECONDS), stream.error
        assert stream.verify().ok
    written = QUOTES[target.server.kind].format("t%s")
    assert target.rows(f"SELECT * FROM {written} ORDER BY 1") == [
        (1, "%%"),
        (3, "%(x)s"),
        (4, None),
    ]
    with Stream(source.url, target.url, mode="cdc", **options) as stream:
        stream.start()
        source.run(f"DELETE FROM {table} WHERE id = 3")
        assert stream.catch_up(SECONDS), stream.error
        stream.stop()
        stream.wait(timeout=SECONDS)
        stream.release()
    assert len(target.rows(f"SELECT * FROM {written}")) == 2
