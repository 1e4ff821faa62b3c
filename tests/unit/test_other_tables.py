"""A binary log that holds many tables of other databases: what is kept is bounded by what is
followed."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from streams_engine.adapters.mysql.binlog import statements, table_id_map
from streams_engine.model import Op, RowChanges
from tests.support.binlog_bytes import Log, reader
from tests.support.memory_target import followed

COLUMNS = ("id", "a")
OTHERS = 1000


def other_table(log: Log, number: int, name: str, schema: str) -> None:
    """A table that is made and written to."""
    log.statement(f"CREATE TABLE {schema}.{name} (id INT PRIMARY KEY, a VARCHAR(50), b TEXT)")
    log.begin()
    log.table_map(number, 1, name, COLUMNS, (False, True), named=True, schema=schema)
    log.rows(number, Op.INSERT, [(1, 1)], [(0, 1)], 2)
    log.commit()


def own_row(log: Log, number: int, key: int) -> None:
    log.begin()
    log.table_map(number, 1, "one", COLUMNS, (False, True), named=True)
    log.rows(number, Op.INSERT, [(key, key)], [(0, 1)], 2)
    log.commit()


def dropped_alone(log: Log, schema: str, name: str) -> None:
    log.statement(f"DROP TABLE {schema}.{name}")


def dropped_with_database(log: Log, schema: str, name: str) -> None:
    log.statement(f"DROP DATABASE {schema}")


def kept_for_ever(log: Log, schema: str, name: str) -> None:
    """Nothing drops it."""


@pytest.mark.parametrize("end", [dropped_alone, dropped_with_database, kept_for_ever])
def test_tables_of_other_databases_are_not_kept(end: Callable[[Log, str, str], None]) -> None:
    log = Log()
    for place in range(OTHERS):
        schema, name = f"other{place}", f"t{place}"
        other_table(log, 100 + place, name, schema)
        end(log, schema, name)
        if place % 100 == 0:
            own_row(log, 1_000_000 + place, place)
    opened, ended = reader(log, random.Random(0))
    source = opened([followed("one", COLUMNS, ("id",)).tracked])
    rows = 0
    while not ended() or source._dump.packets.fill - source._at > 4:
        found = source.poll(0)
        if found is not None:
            rows += sum(part.rows for part in found.parts if isinstance(part, RowChanges))
    assert rows == OTHERS // 100
    tables, known = source._assembler.tables, source._assembler._statements
    assert len(tables.images) <= 1
    assert len(tables._bodies) <= 1
    assert len(tables._others) <= table_id_map.OTHER_TABLES
    assert len(known._known) == 1
    expected = statements.OTHER_TABLES if end is kept_for_ever else 0
    assert len(known._others) == expected
    assert not known._unsure


def test_a_table_of_another_database_is_known_when_it_is_renamed_into_a_followed_one() -> None:
    log = Log()
    log.statement("CREATE TABLE other.n (id INT PRIMARY KEY, a INT)")
    log.statement("RENAME TABLE other.n TO s.n")
    opened, _ = reader(log, random.Random(0))
    source = opened([followed("one", COLUMNS, ("id",)).tracked])
    changes = []
    while not changes:
        found = source.poll(0)
        changes = list(found.parts) if found is not None else []
    (change,) = changes
    assert [column.name for column in change.after.columns] == ["id", "a"]
