"""A position tells from where on structure is missing, however often the catalog is looked at."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, cast

from streams_engine.adapters.mysql.binlog.reader import BinlogReader
from streams_engine.adapters.mysql.binlog.statements import StatementJudge
from streams_engine.adapters.mysql.binlog.structure_watch import WAITING, StructureWatch
from streams_engine.model import (
    ChangeSet,
    Dialect,
    Extract,
    Position,
    TableId,
    TableSchema,
    TableSubscription,
)

SHOP = TableId("shop", "orders")


class Log:
    """The sets that a reader gives, and the statements that they touch tables with."""

    def __init__(self, *sets: tuple[int, bool]) -> None:
        self._sets = list(sets)
        self._touched: set[TableId] = set()

    def poll(self, timeout: float, rows: int | None = None) -> ChangeSet | None:
        if not self._sets:
            return None
        at, touched = self._sets.pop(0)
        self._touched = {SHOP} if touched else set()
        return ChangeSet((), {"pos": at})

    def take_touched(self) -> set[TableId]:
        return self._touched

    def collations(self, schemas: Collection[str]) -> Mapping[str, str]:
        return {}


def watch(log: Log, after: Position, ends: Sequence[int]) -> StructureWatch:
    """Return a watch over a log; each look at the catalog finds the next of the ``ends``."""
    left = list(ends)

    def look(tables: Sequence[TableId]) -> tuple[Mapping[TableId, TableSchema], Position]:
        return {table: TableSchema(table, Dialect.MYSQL, ()) for table in tables}, {
            "pos": left.pop(0)
        }

    def reached(position: Position, wanted: Position) -> bool:
        return bool(position["pos"] >= wanted["pos"])

    schema = TableSchema(SHOP, Dialect.MYSQL, ())
    tracked = [TableSubscription(schema, Extract(SHOP, ()), ())]
    both: Any = log
    return StructureWatch(
        cast(BinlogReader, both), cast(StatementJudge, both), tracked, after, look, reached
    )


def test_a_session_that_begins_anew_misses_no_less_than_the_one_before() -> None:
    watched = watch(Log((20, False)), {"pos": 10, WAITING: {"pos": 4}}, [30])
    changes = watched.poll(0)
    assert changes is not None and changes.position is not None
    assert changes.position[WAITING] == {"pos": 4}


def test_a_second_statement_does_not_hide_what_waits_since_the_first() -> None:
    watched = watch(Log((5, False), (10, True), (20, True), (60, False)), {"pos": 1}, [5, 50, 60])
    marks = []
    for _ in range(4):
        changes = watched.poll(0)
        assert changes is not None and changes.position is not None
        marks.append(changes.position.get(WAITING))
    assert marks == [None, {"pos": 10}, {"pos": 10}, None]
