"""The order of one table's changes within a set: by ``seq``, whatever the batches are."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams_engine.model import ChangeSet, Op, RowChanges, TableId, TableSubscription, Truncate
from streams_engine.pipeline.changes.spans import in_log_order
from tests.support.binlog_bytes import Log, reader
from tests.support.memory_target import Kept, Rows, followed, replay

COLUMNS = ("id", "a", "b")
KEYED = {name: followed(name, COLUMNS, ("id",)) for name in ("one", "two")}
BAG = followed("bag", COLUMNS, ())
TABLES = {**KEYED, "bag": BAG}

Row = tuple[int | None, ...]


@dataclass
class Change:
    """One change of one row, as a server does it."""

    table: str
    op: Op
    old: Row | None
    new: Row | None


class History:
    """A random history of the tables, and what their rows are after it."""

    def __init__(self, chosen: random.Random) -> None:
        self._chosen = chosen
        self.rows: dict[TableId, Counter[Row]] = {TableId("s", name): Counter() for name in TABLES}
        self.log: dict[TableId, list[tuple[Op, Row]]] = {}
        for table in self.rows:
            for number in range(3):
                self.rows[table][(number, chosen.choice((None, 1)), 0)] += 1
        self.first = {table: Counter(rows) for table, rows in self.rows.items()}

    def statement(self) -> list[Change]:
        """One to three changes that one statement does to one table."""
        name = self._chosen.choice(list(TABLES))
        op = self._chosen.choice(list(Op))
        found = [self._change(name, op) for _ in range(self._chosen.randint(1, 3))]
        return [change for change in found if change is not None]

    def truncated(self, name: str) -> None:
        table = TableId("s", name)
        self.rows[table].clear()
        self.log.setdefault(table, []).append((Op.DELETE, ("all",)))

    def _change(self, name: str, op: Op) -> Change | None:
        rows, chosen = self.rows[TableId("s", name)], self._chosen
        there = sorted((row for row, n in rows.items() if n), key=str)
        value = (chosen.choice((None, 1, 2)), chosen.randint(0, 3))
        if op == Op.INSERT:
            free = [i for i in range(6) if name == "bag" or all(row[0] != i for row in there)]
            if not free:
                return None
            new: Row | None = (chosen.choice(free), *value)
            old = None
        else:
            if not there:
                return None
            old, new = chosen.choice(there), None
            if op == Op.UPDATE:
                taken = {row[0] for row in there} - {old[0]}
                key = chosen.choice((old[0], chosen.randint(0, 5)))
                new = (old[0] if name != "bag" and key in taken else key, *value)
        if old is not None:
            rows[old] -= 1
        if new is not None:
            rows[new] += 1
        shown = old if new is None else new
        assert shown is not None
        kept = shown if name == "bag" or new is not None else shown[:1]
        self.log.setdefault(TableId("s", name), []).append((op, kept))
        return Change(name, op, old, new)


def written(chosen: random.Random) -> tuple[Log, History]:
    """A binary log whose table maps differ by id, flags and metadata at random."""
    log, history = Log(), History(chosen)
    for _ in range(chosen.randint(1, 5)):
        if chosen.random() < 0.1:
            name = chosen.choice(list(TABLES))
            log.statement(f"TRUNCATE TABLE s.{name}")
            history.truncated(name)
            continue
        log.begin()
        for _ in range(chosen.randint(1, 6)):
            _write(log, history.statement(), chosen)
        log.commit()
    return log, history


def _write(log: Log, changes: Sequence[Change], chosen: random.Random) -> None:
    if not changes:
        return
    name, op = changes[0].table, changes[0].op
    number = 10 * list(TABLES).index(name) + chosen.randint(0, 2)
    nullable = [column.nullable for column in TABLES[name].tracked.schema.columns]
    flags = chosen.choice((1, 3))
    log.table_map(number, flags, name, COLUMNS, nullable, named=chosen.random() < 0.5)
    images = [row for c in changes for row in (c.old, c.new) if row is not None]
    everything = list(range(len(COLUMNS)))
    before = [0] if name != "bag" and chosen.random() < 0.3 else everything
    sides = {Op.INSERT: [everything], Op.UPDATE: [before, everything], Op.DELETE: [before]}[op]
    log.rows(number, op, images, sides, len(COLUMNS))


@pytest.mark.parametrize("stubborn", [False, True], ids=["netted", "one by one"])
@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**32), budget=st.sampled_from([3, 10, 50_000]))
def test_a_log_of_many_table_maps_is_applied_in_its_order(
    stubborn: bool, seed: int, budget: int
) -> None:
    log, history = written(random.Random(seed))
    target = Rows(history.first, stubborn=stubborn and budget > 1000)
    replay(list(TABLES.values()), *reader(log, random.Random(seed), budget), target)
    assert {table: +rows for table, rows in target.tables.items()} == {
        table: +rows for table, rows in history.rows.items()
    }


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**32), budget=st.sampled_from([3, 10, 50_000]))
def test_a_target_that_keeps_the_log_gets_it_in_its_order(seed: int, budget: int) -> None:
    log, history = written(random.Random(seed))
    target = Kept()
    replay(list(TABLES.values()), *reader(log, random.Random(seed), budget), target)
    assert target.log == history.log


class Given:
    """A reader that gives sets, the batches of which are cut at random."""

    def __init__(self, sets: Sequence[ChangeSet]) -> None:
        self._left = list(sets)

    def poll(self, timeout: float, rows: int | None = None) -> ChangeSet | None:
        return self._left.pop(0) if self._left else None

    def acknowledge(self, position: Any) -> None:
        pass

    @property
    def ended(self) -> bool:
        return not self._left


def cut(changes: Sequence[tuple[int, Change]], chosen: random.Random) -> list[RowChanges]:
    """The changes in up to three batches a table, each of a random choice of them."""
    parts: dict[tuple[str, int], list[tuple[int, Change]]] = {}
    for seq, change in changes:
        parts.setdefault((change.table, chosen.randint(0, 2)), []).append((seq, change))
    found = [_batch(TABLES[name].tracked, part, chosen) for (name, _), part in parts.items()]
    chosen.shuffle(found)
    return found


def _batch(
    tracked: TableSubscription, part: Sequence[tuple[int, Change]], chosen: random.Random
) -> RowChanges:
    schema = tracked.extract.arrow_schema()
    nothing = dict.fromkeys(COLUMNS)
    after = [dict(zip(COLUMNS, c.new, strict=True)) if c.new else nothing for _, c in part]
    before = [dict(zip(COLUMNS, c.old, strict=True)) if c.old else nothing for _, c in part]
    old = pa.schema([schema.field(name).with_nullable(True) for name in tracked.identity])
    kept = all(
        c.op == Op.INSERT or (c.op == Op.UPDATE and all(old[n] == new[n] for n in tracked.identity))
        for (_, c), old, new in zip(part, before, after, strict=True)
    )
    missing = {}
    if len(tracked.identity) < len(COLUMNS) and chosen.random() < 0.5:
        # What an update leaves as it was, the log may not carry.
        same = [c.op == Op.UPDATE and c.old[2] == c.new[2] for _, c in part]  # type: ignore[index]
        missing = {"b": np.array(same)} if any(same) else {}
        after = [{**row, "b": None} if s else row for row, s in zip(after, same, strict=True)]
    return RowChanges(
        tracked.schema.id,
        tracked.extract.columns,
        tracked.identity,
        np.array([c.op for _, c in part], np.uint8),
        np.array([seq for seq, _ in part], np.int64),
        pa.RecordBatch.from_pylist(after, pa.schema([f.with_nullable(True) for f in schema])),
        None if kept else pa.RecordBatch.from_pylist(before, old),
        missing,
    )


@pytest.mark.parametrize("stubborn", [False, True], ids=["netted", "one by one"])
@settings(max_examples=200, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_batches_that_interleave_are_applied_by_their_numbers(stubborn: bool, seed: int) -> None:
    chosen = random.Random(seed)
    history, sets = History(chosen), []
    for position in range(chosen.randint(1, 3)):
        changes: list[tuple[int, Change]] = []
        parts: list[Any] = []
        seq = 0
        for _ in range(chosen.randint(1, 8)):
            if chosen.random() < 0.1:
                name = chosen.choice(list(TABLES))
                history.truncated(name)
                parts.append(Truncate((TableId("s", name),), seq))
                seq += 1
                continue
            for change in history.statement():
                changes.append((seq, change))
                seq += chosen.randint(1, 3)
        parts += cut(changes, chosen)
        chosen.shuffle(parts)
        sets.append(ChangeSet(tuple(parts), {"at": position}, 1))
    target, log = Rows(history.first, stubborn=stubborn), Given(sets)
    replay(list(TABLES.values()), lambda tracked: log, lambda: log.ended, target)
    assert {table: +rows for table, rows in target.tables.items()} == {
        table: +rows for table, rows in history.rows.items()
    }


def test_batches_that_do_not_interleave_stay_as_they_are() -> None:
    tracked, chosen = KEYED["one"].tracked, random.Random(0)
    rows = [(seq, Change("one", Op.INSERT, None, (seq, 0, 0))) for seq in range(6)]
    batches = [_batch(tracked, part, chosen) for part in (rows[3:], rows[:3])]
    found = in_log_order(batches)
    assert [id(batch) for batch in found] == [id(batches[1]), id(batches[0])]
