"""Changes that constraints refuse wait for those that make way for them."""

from __future__ import annotations

import pyarrow as pa
import pytest

from streams_engine.adapters.postgres.sink.deferred import DeferredChanges
from streams_engine.errors import RowRejected
from streams_engine.model import NetChanges, TableId

PARENT, CHILD = TableId("public", "parent"), TableId("public", "child")


def keys(*values: int) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict({"id": list(values)})


def come(table: TableId, *values: int) -> NetChanges:
    return NetChanges(table, (), ("id",), inserts=keys(*values))


def go(table: TableId, *values: int) -> NetChanges:
    return NetChanges(table, (), ("id",), deletes=keys(*values))


class Family:
    """Two tables: a child needs the parent of its number, and nobody comes twice."""

    def __init__(self, *there: int) -> None:
        self.rows = {PARENT: set(there), CHILD: set(there)}

    def change(self, step: NetChanges) -> None:
        gone, new = ({*batch["id"].to_pylist()} if batch is not None else set()
                     for batch in (step.deletes, step.inserts))  # fmt: skip
        rows = {**self.rows, step.table: (self.rows[step.table] - gone) | new}
        if new & self.rows[step.table] or not rows[CHILD] <= rows[PARENT]:
            raise RowRejected("refused", sqlstate="23503")
        self.rows = rows


def test_a_child_waits_for_its_parent_and_a_parent_for_its_child() -> None:
    family = Family(1)
    waiting = DeferredChanges(family.change)
    for step in (come(CHILD, 2), come(PARENT, 2), go(PARENT, 1), go(CHILD, 1)):
        waiting.take(step)
    waiting.demand_none()
    assert family.rows == {PARENT: {2}, CHILD: {2}}


def test_changes_of_one_key_keep_their_order() -> None:
    """The parent's second coming waits for its first end."""
    family = Family(1)
    waiting = DeferredChanges(family.change)
    for step in (go(PARENT, 1), come(PARENT, 1), go(CHILD, 1), come(CHILD, 1)):
        waiting.take(step)
    waiting.demand_none()
    assert family.rows == {PARENT: {1}, CHILD: {1}}


def test_many_wait_until_the_end() -> None:
    family = Family(*range(100))
    waiting = DeferredChanges(family.change)
    for step in (*(go(PARENT, i) for i in range(100)), *(go(CHILD, i) for i in range(100))):
        waiting.take(step)
    waiting.demand_none()
    assert family.rows == {PARENT: set(), CHILD: set()}


def test_what_nothing_makes_way_for_is_refused() -> None:
    waiting = DeferredChanges(Family().change)
    waiting.take(come(CHILD, 1))
    with pytest.raises(RowRejected, match="refused"):
        waiting.demand_none()


def test_what_no_constraint_refuses_does_not_wait() -> None:
    def change(step: NetChanges) -> None:
        raise RowRejected("too long", sqlstate="22001")

    with pytest.raises(RowRejected, match="too long"):
        DeferredChanges(change).take(come(CHILD, 1))
