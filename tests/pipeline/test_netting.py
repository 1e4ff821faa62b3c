"""What changes come to equals what they do one by one (CASES A34, A35, B36-B38, C102)."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from streams_engine.model import Column, Dialect, NativeType, NetChanges, Op, RowChanges, TableId
from streams_engine.pipeline.changes.netting import net

TABLE = TableId("s", "t")
NAMES = ("id", "part", "a", "b")
COLUMNS = tuple(
    Column(name, NativeType(Dialect.POSTGRES, "text", "text"), pa.string()) for name in NAMES
)
SCHEMA = pa.schema([pa.field(name, pa.string()) for name in NAMES])
KEY = ("id", "part")

Row = tuple[str | None, ...]
Change = tuple[Op, Row | None, Row | None, frozenset[str]]
"""(what, old row, new row as the log has it, columns that the log does not carry)"""


def batch(rows: list[Row | None], names: tuple[str, ...] = NAMES) -> pa.RecordBatch:
    filled = [row or (None,) * len(names) for row in rows]
    arrays = [pa.array([row[i] for row in filled], pa.string()) for i in range(len(names))]
    return pa.RecordBatch.from_arrays(arrays, names=list(names))


def as_changes(history: list[Change], old_columns: tuple[str, ...]) -> RowChanges:
    places = [NAMES.index(name) for name in old_columns]
    before = [None if old is None else tuple(old[p] for p in places) for _, old, _, _ in history]
    missing = {
        name: np.array([name in absent for *_, absent in history])
        for name in NAMES
        if any(name in absent for *_, absent in history)
    }
    after = [
        None
        if new is None
        else tuple(None if n in absent else v for n, v in zip(NAMES, new, strict=True))
        for _, _, new, absent in history
    ]
    changing = any(op is not Op.INSERT for op, *_ in history)
    return RowChanges(
        TABLE,
        COLUMNS,
        old_columns,
        np.array([op for op, *_ in history], np.uint8),
        np.arange(len(history)),
        batch(after),
        batch(before, old_columns) if changing else None,
        missing,
    )


def rows_of(found: pa.RecordBatch | None) -> list[dict[str, Any]]:
    return [] if found is None else found.to_pylist()


def apply_keyed(table: dict[Row, dict[str, Any]], steps: list[NetChanges]) -> None:
    """What a target does, and how it would complain."""

    def key_of(row: dict[str, Any]) -> Row:
        return tuple(row[name] for name in KEY)

    for step in steps:
        touched = [key_of(row) for row in rows_of(step.deletes)]
        for key in touched:
            del table[key]
        for old, new in step.moves:
            row = table.pop(key_of(old.to_pylist()[0]))
            row |= new.to_pylist()[0]
            assert key_of(row) not in table
            table[key_of(row)] = row
        for part in step.updates:
            for row in part.to_pylist():
                table[key_of(row)].update(row)
                touched.append(key_of(row))
        for row in rows_of(step.inserts):
            assert key_of(row) not in table
            table[key_of(row)] = row
            touched.append(key_of(row))
        assert len(touched) == len(set(touched)), "a key is touched once"


@st.composite
def histories(draw: st.DrawFn) -> tuple[dict[Row, Row], list[Change], dict[Row, Row]]:
    """(rows at first, the log, rows at last) of a table with a key of two columns."""
    ids = st.tuples(st.sampled_from("xyz"), st.sampled_from("01"))
    value = st.sampled_from([None, "", "u", "v"])
    state: dict[Row, Row] = {
        key: (*key, draw(value), draw(value)) for key in draw(st.sets(ids, max_size=6))
    }
    first = dict(state)
    log: list[Change] = []
    for _ in range(draw(st.integers(1, 12))):
        key = draw(ids)
        if key not in state:
            row: Row = (*key, draw(value), draw(value))
            log.append((Op.INSERT, None, row, frozenset()))
            state[key] = row
            continue
        old = state.pop(key)
        if draw(st.booleans()):
            log.append((Op.DELETE, old, None, frozenset()))
            continue
        wanted = draw(ids)
        to = wanted if wanted not in state else key
        absent = frozenset(draw(st.sets(st.sampled_from(("a", "b")))))
        new = (
            *to,
            *(old[i] if NAMES[i] in absent else draw(value) for i in (2, 3)),
        )
        log.append((Op.UPDATE, old, new, absent))
        state[to] = new
    return first, log, state


@settings(max_examples=400, deadline=None)
@given(histories(), st.integers(1, 4))
def test_net_changes_of_a_key_equal_the_changes_one_by_one(
    drawn: tuple[dict[Row, Row], list[Change], dict[Row, Row]], size: int
) -> None:
    first, log, last = drawn
    several = [as_changes(log[i : i + size], KEY) for i in range(0, len(log), size)]
    steps = net(several, KEY)
    table = {key: dict(zip(NAMES, row, strict=True)) for key, row in first.items()}
    apply_keyed(table, steps)
    assert {key: tuple(row[n] for n in NAMES) for key, row in table.items()} == last


@st.composite
def bags(draw: st.DrawFn) -> tuple[Counter[Row], list[Change], Counter[Row]]:
    """A table without a key: equal rows are not told apart."""
    rows = st.tuples(*[st.sampled_from([None, "u"])] * 4)
    state = Counter(draw(st.lists(rows, max_size=5)))
    first = Counter(state)
    log: list[Change] = []
    for _ in range(draw(st.integers(1, 12))):
        present = sorted(state.elements(), key=str)
        if not present or draw(st.integers(0, 2)) == 0:
            row = draw(rows)
            log.append((Op.INSERT, None, row, frozenset()))
            state[row] += 1
            continue
        old = draw(st.sampled_from(present))
        state[old] -= 1
        if draw(st.booleans()):
            log.append((Op.DELETE, old, None, frozenset()))
        else:
            new = draw(rows)
            log.append((Op.UPDATE, old, new, frozenset()))
            state[new] += 1
    return first, log, +state


@settings(max_examples=300, deadline=None)
@given(bags(), st.integers(1, 4))
def test_without_a_key_exactly_one_of_equal_rows_goes(
    drawn: tuple[Counter[Row], list[Change], Counter[Row]], size: int
) -> None:
    first, log, last = drawn
    several = [as_changes(log[i : i + size], NAMES) for i in range(0, len(log), size)]
    table = Counter(first)
    for step in net(several, ()):
        copies = [] if step.copies is None else step.copies.tolist()
        for row, count in zip(rows_of(step.deletes), copies, strict=True):
            table[tuple(row[n] for n in NAMES)] -= count
        assert min(table.values(), default=0) >= 0, "only rows that are there go"
        table += Counter(tuple(row[n] for n in NAMES) for row in rows_of(step.inserts))
    assert +table == last


def test_swapped_keys_are_two_updates() -> None:
    log: list[Change] = [
        (Op.UPDATE, ("1", "0", "a", None), ("t", "0", "a", None), frozenset()),
        (Op.UPDATE, ("2", "0", "b", None), ("1", "0", "b", None), frozenset()),
        (Op.UPDATE, ("t", "0", "a", None), ("2", "0", "a", None), frozenset()),
    ]
    (step,) = net([as_changes(log, KEY)], KEY)
    assert step.deletes is None and step.inserts is None
    assert [row["a"] for part in step.updates for row in part.to_pylist()] == ["b", "a"]


def test_more_columns_missing_than_an_integer_has_bits() -> None:
    names = ["id", *(f"c{i}" for i in range(70))]
    columns = tuple(
        Column(name, NativeType(Dialect.POSTGRES, "text", "text"), pa.string()) for name in names
    )
    row = pa.RecordBatch.from_arrays([pa.array(["1"])] * 71, names=names)
    missing = {name: np.array([name != "c7"]) for name in names[1:]}
    op, seq = np.array([Op.UPDATE], np.uint8), np.array([0])
    old = row.select(["id"])
    changes = RowChanges(TABLE, columns, ("id",), op, seq, row, old, missing)
    (step,) = net([changes], ("id",))
    assert [part.schema.names for part in step.updates] == [["id", "c7"]]
