"""A source's extension that comes into use while a stream follows, or while it is stopped."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from streams_engine import Stream
from streams_engine.adapters.postgres.replication.ddl_events import TRIGGERS
from streams_engine.testing.servers import Server
from tests.support.cdc import OWN_SLOTS, caught_up, failure
from tests.support.databases import End

TABLE = ("CREATE TABLE k (id int PRIMARY KEY, v text)", "INSERT INTO k VALUES (1, 'a'), (2, 'b')")
COLUMNS = """
SELECT a.attrelid::regclass::text, a.attname, format_type(a.atttypid, a.atttypmod),
       pg_get_expr(d.adbin, d.adrelid)
FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE a.attrelid IN (SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace
                     AND relkind = 'r') AND a.attnum > 0 AND NOT a.attisdropped
UNION ALL SELECT tablename, indexname, indexdef, NULL FROM pg_indexes WHERE schemaname = 'public'
UNION ALL SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid), NULL
FROM pg_constraint WHERE connamespace = 'public'::regnamespace AND contype = 'c'
ORDER BY 1, 2
"""
USES = {
    "a column": (
        "CREATE EXTENSION ltree",
        "ALTER TABLE k ADD path ltree DEFAULT 'Top.Science'",
        "INSERT INTO k VALUES (3, 'c', 'Top.Arts')",
    ),
    "a column that goes again": (
        "CREATE EXTENSION ltree",
        "ALTER TABLE k ADD path ltree",
        "INSERT INTO k VALUES (3, 'c', 'Top.Arts')",
        "ALTER TABLE k DROP path",
        "INSERT INTO k VALUES (4, 'd')",
    ),
    "an array of a domain": (
        "CREATE EXTENSION ltree",
        "CREATE DOMAIN place AS ltree CHECK (nlevel(VALUE) > 0)",
        "ALTER TABLE k ADD places place[]",
        "INSERT INTO k VALUES (3, 'c', '{Top,Top.Arts}')",
    ),
    "another type": (
        "CREATE EXTENSION citext",
        "ALTER TABLE k ALTER v TYPE citext",
        "INSERT INTO k VALUES (3, 'C')",
    ),
    "a new table": (
        "CREATE EXTENSION citext",
        "CREATE TABLE n (id citext PRIMARY KEY)",
        "INSERT INTO n VALUES ('x'), ('y')",
    ),
    "an index": (
        "CREATE EXTENSION pg_trgm",
        "CREATE INDEX ON k USING gin (v gin_trgm_ops)",
        "INSERT INTO k VALUES (3, 'c')",
    ),
    "a check": (
        "CREATE EXTENSION ltree",
        "ALTER TABLE k ADD CONSTRAINT deep CHECK (nlevel(v::ltree) > 0)",
        "INSERT INTO k VALUES (3, 'c.d')",
    ),
    "a schema of its own": (
        "CREATE SCHEMA ext",
        "CREATE EXTENSION ltree SCHEMA ext",
        "ALTER TABLE k ADD path ext.ltree",
        "INSERT INTO k VALUES (3, 'c', 'Top')",
    ),
}


@pytest.fixture(params=[("pg18", "pg15"), ("pg15", "pg18")], ids="-".join)
def ends(request: pytest.FixtureRequest, database: Any) -> Iterator[tuple[End, End]]:
    servers: list[Server] = [request.getfixturevalue(name) for name in request.param]
    source, target = (End(server, database(server)) for server in servers)
    source.run(TRIGGERS, *TABLE)
    yield source, target
    source.run(f"SELECT pg_terminate_backend(active_pid, 5000) {OWN_SLOTS} AND active")
    source.run(f"SELECT pg_drop_replication_slot(slot_name) {OWN_SLOTS}")


def stream(source: End, target: End) -> Stream:
    return Stream(source.url, target.url, mode="cdc", name="extensions", allow_lossy=True)


def alike(source: End, target: End) -> None:
    assert source.rows(COLUMNS) == target.rows(COLUMNS)
    for (table,) in source.rows("SELECT tablename FROM pg_tables WHERE schemaname = 'public'"):
        query = f"SELECT t::text FROM {table} t ORDER BY 1"
        assert source.rows(query) == target.rows(query)


@pytest.mark.parametrize("use", USES)
def test_an_extension_is_made_where_a_table_needs_it_while_followed(
    ends: tuple[End, End], use: str
) -> None:
    source, target = ends
    with stream(source, target) as running:
        running.start()
        caught_up(running)
        for statement in USES[use]:
            source.run(statement)
            caught_up(running)
        alike(source, target)


@pytest.mark.parametrize("use", USES)
def test_an_extension_is_made_where_a_table_needs_it_in_a_backlog(
    ends: tuple[End, End], use: str
) -> None:
    source, target = ends
    with stream(source, target) as first:
        first.start()
        caught_up(first)
    source.run(*USES[use])
    with stream(source, target) as second:
        second.start()
        caught_up(second)
        alike(source, target)


def test_an_extension_that_the_target_cannot_have_is_named(
    pg18: Server, pg15: Server, database: Any
) -> None:
    """PostgreSQL 15 of these tests has no vector: the type is declared otherwise there."""
    source, target = End(pg18, database(pg18)), End(pg15, database(pg15))
    source.run(TRIGGERS, *TABLE)
    with stream(source, target) as running:
        running.start()
        caught_up(running)
        source.run("CREATE EXTENSION vector", "ALTER TABLE k ADD at vector(2)")
        source.run("INSERT INTO k VALUES (3, 'c', '[1,2]')")
        error = failure(running)
    assert error.code == "TARGET_CONFLICT", error
    assert "extension vector" in str(error) and "fresh" in str(error.remedy), error.remedy
    options: dict[str, Any] = {
        "type_overrides": [{"column": "k.at", "to": "text"}],
        "schema_policy": "drop_and_recreate",
    }
    with Stream(source.url, target.url, mode="cdc", name="extensions", **options) as again:
        again.start(fresh=True)
        caught_up(again)
        query = "SELECT id, v, at::text FROM k ORDER BY id"
        assert source.rows(query) == target.rows(query)
    again.release()
