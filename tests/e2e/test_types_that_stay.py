"""Types of the user's that stand on a target already when a table that uses them joins."""

from __future__ import annotations

from typing import Any

import pytest

from streams_engine import Stream
from streams_engine.testing.servers import Server
from tests.support.databases import End

SECONDS = 120
NAME = "types"

ANOTHER_SCHEMA = (
    [
        "CREATE TYPE pair AS (a int)",
        "CREATE SEQUENCE numbers",
        "CREATE SCHEMA one",
        "CREATE TABLE one.x (id int PRIMARY KEY DEFAULT nextval('numbers'), p pair)",
        "INSERT INTO one.x VALUES (1, '(1)')",
    ],
    [
        "CREATE SCHEMA two",
        "CREATE TABLE two.x (id int PRIMARY KEY DEFAULT nextval('numbers'), p pair)",
        "INSERT INTO two.x VALUES (2, '(2)')",
    ],
    "two.x",
)
ANOTHER_COMPOSITE = (
    ["CREATE TYPE pair AS (a int)", "CREATE TABLE x (id int PRIMARY KEY, p pair)"],
    [
        "DROP TABLE x",
        "ALTER TYPE pair ADD ATTRIBUTE b int",
        "CREATE TABLE y (id int PRIMARY KEY, p pair)",
        "INSERT INTO y VALUES (2, '(1,2)')",
    ],
    "y",
)
ANOTHER_KIND = (
    ["CREATE TYPE pair AS (a int)", "CREATE TABLE x (id int PRIMARY KEY, p pair)"],
    [
        "DROP TABLE x",
        "DROP TYPE pair",
        "CREATE TYPE pair AS ENUM ('one', 'other')",
        "CREATE TABLE y (id int PRIMARY KEY, p pair)",
        "INSERT INTO y VALUES (2, 'other')",
    ],
    "y",
)


@pytest.mark.parametrize(
    ("before", "later", "table"),
    [ANOTHER_SCHEMA, ANOTHER_COMPOSITE, ANOTHER_KIND],
    ids=["another-schema", "another-composite", "another-kind"],
)
def test_a_table_joins_with_a_type_that_is_there(
    pg18: Server, database: Any, before: list[str], later: list[str], table: str
) -> None:
    source, target = End(pg18, database(pg18)), End(pg18, database(pg18))
    source.run("CREATE TABLE item (id int PRIMARY KEY)", *before)
    with Stream(source.url, target.url, mode="cdc", name=NAME, allow_lossy=True) as stream:
        stream.start()
        assert stream.catch_up(SECONDS), stream.error
        for statement in later[:-2]:
            source.run(statement)
            assert stream.catch_up(SECONDS), stream.error
        source.run(*later[-2:])
        assert stream.catch_up(SECONDS), stream.error
        shown = f"SELECT id, p::text FROM {table} ORDER BY id"
        assert target.rows(shown) == source.rows(shown) != []
    stream.release()
