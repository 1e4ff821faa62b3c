"""A partitioned table of PostgreSQL that changes while a stream follows, or while it is stopped."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from streams_engine import Stream
from streams_engine.adapters.postgres.replication.ddl_events import TRIGGERS
from streams_engine.testing.servers import Server
from tests.support.cdc import OWN_SLOTS, caught_up
from tests.support.databases import End

TABLES = (
    "CREATE TABLE ref (id int PRIMARY KEY)",
    "CREATE TABLE item (id int, day date, v text, PRIMARY KEY (id, day)) PARTITION BY RANGE (day)",
    "CREATE TABLE item_22 PARTITION OF item FOR VALUES FROM ('2022-01-01') TO ('2023-01-01')",
    "CREATE TABLE item_d PARTITION OF item DEFAULT",
    "INSERT INTO ref VALUES (1), (2), (9)",
    "INSERT INTO item VALUES (1, '2022-05-05', 'a'), (2, '2025-05-05', 'b')",
)
OWN = """
SELECT 'index', c.relname, pg_get_indexdef(i.indexrelid) FROM pg_index i
JOIN pg_class c ON c.oid = i.indexrelid
WHERE i.indrelid = ANY (ARRAY['item_22', 'item_d']::regclass[])
UNION ALL SELECT 'constraint', conname, pg_get_constraintdef(oid) FROM pg_constraint
WHERE conrelid = 'item_22'::regclass AND contype IN ('c', 'f', 'u')
UNION ALL SELECT 'default', attname, pg_get_expr(adbin, adrelid) FROM pg_attrdef
JOIN pg_attribute ON attrelid = adrelid AND attnum = adnum WHERE adrelid = 'item_22'::regclass
ORDER BY 1, 2
"""


@pytest.fixture
def ends(pg18: Server, pg15: Server, database: Any) -> Iterator[tuple[End, End]]:
    source, target = End(pg18, database(pg18)), End(pg15, database(pg15))
    source.run(TRIGGERS, *TABLES)
    yield source, target
    source.run(f"SELECT pg_terminate_backend(active_pid, 5000) {OWN_SLOTS} AND active")
    source.run(f"SELECT pg_drop_replication_slot(slot_name) {OWN_SLOTS}")


def stream(source: End, target: End) -> Stream:
    return Stream(source.url, target.url, mode="cdc", name="partitions")


def test_rows_of_a_root_that_was_renamed_in_a_backlog_arrive(ends: tuple[End, End]) -> None:
    """The server does not describe a root anew before rows of a partition that it described."""
    source, target = ends
    with stream(source, target) as first:
        first.start()
        caught_up(first)
    source.run(
        "UPDATE item SET v = v || '!'",
        "ALTER TABLE item RENAME TO thing",
        "INSERT INTO thing VALUES (9, '2025-06-06', 'new')",
        "UPDATE thing SET v = 'x' WHERE id = 1",
    )
    with stream(source, target) as second:
        second.start()
        caught_up(second)
    query = "SELECT id, v FROM thing ORDER BY id"
    assert source.rows(query) == target.rows(query) == [(1, "x"), (2, "b!"), (9, "new")]


def test_what_a_partition_has_of_its_own_is_carried(ends: tuple[End, End]) -> None:
    source, target = ends
    with stream(source, target) as running:
        running.start()
        caught_up(running)
        for statement in (
            "CREATE INDEX ON item_22 (v) WHERE v > 'a'",
            "ALTER TABLE item_22 ADD CONSTRAINT own_c CHECK (id > 0), ADD CONSTRAINT own_f"
            " FOREIGN KEY (id) REFERENCES ref, ADD CONSTRAINT own_u UNIQUE (v)",
            "ALTER TABLE item_22 ALTER v SET DEFAULT 'own'",
            "ALTER INDEX item_22_v_idx RENAME TO own_i",
            "ALTER TABLE item RENAME v TO w",
            "CREATE INDEX ON item (w)",
            "ALTER TABLE item_22 DROP CONSTRAINT own_c, DROP CONSTRAINT own_u",
        ):
            source.run(statement)
            caught_up(running)
            assert source.rows(OWN) == target.rows(OWN), statement
        source.run("INSERT INTO item_22 (id, day) VALUES (9, '2022-06-06')")
        caught_up(running)
    assert target.rows("SELECT w FROM item WHERE id = 9") == [("own",)]


def test_storage_options_are_carried(ends: tuple[End, End]) -> None:
    source, target = ends
    source.run("ALTER TABLE item_22 SET (fillfactor = 70, autovacuum_enabled = off)")
    query = """SELECT relname::text, reloptions::text FROM pg_class
    WHERE relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace ORDER BY 1"""
    with stream(source, target) as running:
        running.start()
        caught_up(running)
        assert source.rows(query) == target.rows(query)
        for statement in (
            "ALTER TABLE item_d SET (fillfactor = 60)",
            "ALTER TABLE item_22 RESET (fillfactor)",
            "ALTER TABLE item_22 SET (autovacuum_enabled = on)",
            "CREATE TABLE item_23 PARTITION OF item"
            " FOR VALUES FROM ('2023-01-01') TO ('2024-01-01') WITH (fillfactor = 55)",
            "ALTER TABLE ref SET (fillfactor = 80)",
        ):
            source.run(statement)
            caught_up(running)
            assert source.rows(query) == target.rows(query), statement


def test_storage_options_are_told_where_the_target_has_none(
    pg18: Server, mysql9: Server, database: Any
) -> None:
    source, target = End(pg18, database(pg18)), End(mysql9, database(mysql9))
    source.run(TRIGGERS, *TABLES, "ALTER TABLE item_22 SET (fillfactor = 70)")
    with stream(source, target) as running:
        running.start()
        caught_up(running)
        source.run("ALTER TABLE item_d SET (fillfactor = 60)")
        caught_up(running)
        told = [f.message for f in running.stats().findings if "fillfactor" in f.message]
    running.release()
    assert ["item_22" in one for one in told] == [True, False], told
    assert "item_d" in told[1] and "fillfactor=60" in told[1]
