"""Row messages of one table as a `ChangeBatch`: inserts, updates and deletes together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from streams_engine.adapters.postgres.log_values import Asked, Cells, converted
from streams_engine.adapters.postgres.pgoutput import (
    KEPT,
    TEXT,
    WHAT,
    Messages,
    Relation,
    Tuples,
    walk,
)
from streams_engine.bounds import demand_within, violation, well_formed
from streams_engine.changes import ChangeBatch, Op, Tracked, same_values
from streams_engine.errors import SchemaChangeRefused
from streams_engine.model import Column

__all__ = ["Plan", "decode", "plan_for"]

OPS = np.zeros(256, np.uint8)
OPS[ord("U")], OPS[ord("D")] = Op.UPDATE, Op.DELETE
NEW, OLD, KEY = ord("N"), ord("O"), ord("K")


@dataclass(frozen=True, slots=True)
class Plan:
    """How the rows of a relation become what is wanted of its table."""

    relation: Relation
    tracked: Tracked
    wanted: tuple[int, ...]
    """By column of the extract: its number in the relation, -1 where the log lacks it."""
    identity: tuple[tuple[int, Column, int], ...]
    """By column of the identity: its number, how it is wanted, its number in the extract."""
    schema: pa.Schema
    old: pa.Schema
    asked: Asked
    unkeyed: tuple[str, ...]
    """Columns of the identity that an old key does not have."""


def plan_for(relation: Relation, tracked: Tracked, asked: Asked) -> Plan:
    """The plan of a table, as its relation was described last."""
    numbers = {column.name: i for i, column in enumerate(relation.columns)}
    columns = tracked.extract.columns
    places = {column.name: i for i, column in enumerate(columns)}
    identity = tuple(
        (numbers.get(name, -1), columns[places[name]], places[name])
        for name in tracked.identity
        if name in places
    )
    return Plan(
        relation,
        tracked,
        tuple(numbers.get(column.name, -1) for column in columns),
        identity,
        tracked.extract.arrow_schema(),
        pa.schema([pa.field(column.name, column.arrow) for _, column, _ in identity]),
        asked,
        tuple(
            column.name
            for number, column, _ in identity
            if number < 0 or not relation.columns[number].key
        ),
    )


@dataclass(frozen=True, slots=True)
class _Side:
    """The tuples of some of the rows."""

    rows: np.ndarray
    """int64: which rows these are."""
    tuples: Tuples


def decode(plan: Plan, messages: Messages, index: np.ndarray) -> ChangeBatch:
    """The changes that are the messages ``index``, in their order.

    Raises `ProtocolViolation` for messages that are no rows of the relation.
    """
    with well_formed(WHAT):
        return _decoded(plan, messages, index)


def _decoded(plan: Plan, messages: Messages, index: np.ndarray) -> ChangeBatch:
    buffer = messages.buffer
    op = OPS[messages.kind[index]]
    at, end = messages.body[index] + 4, messages.end[index]
    letters = np.frombuffer(buffer, np.uint8)
    marker = letters[at]
    width = len(plan.relation.columns)
    if plan.unkeyed and _lacking(op, marker).any():
        raise _unkeyed(plan)
    old = None
    if not (marker == NEW).all():
        rows = np.flatnonzero(marker != NEW)
        if not np.isin(marker[rows], [OLD, KEY]).all():
            raise violation(WHAT, "a row is neither new, old nor a key")
        old = _Side(rows, walk(buffer, at[rows] + 1, end[rows], width))
        at = at.copy()
        at[rows] = old.tuples.end
    kept = np.flatnonzero(op != Op.DELETE)
    demand_within(at[kept] + 1, end[kept], WHAT)
    if not (letters[at[kept]] == NEW).all():
        raise violation(WHAT, "an update or an insert has no new row")
    new = _Side(kept, walk(buffer, at[kept] + 1, end[kept], width))
    full = _full(old, marker)
    missing: dict[str, np.ndarray] = {}
    arrays = []
    for number, column in zip(plan.wanted, plan.tracked.extract.columns, strict=True):
        cells, left = _after(buffer, len(index), number, new, full)
        if left is not None:
            missing[column.name] = left
        arrays.append(converted(cells, column, plan.tracked.schema.id, plan.asked))
    after = _batch(arrays, plan.schema, len(index))
    return ChangeBatch(
        plan.tracked.schema.id,
        plan.tracked,
        op,
        index.astype(np.int64),
        after,
        _before(plan, buffer, op, new, old, after),
        missing,
    )


def _lacking(op: np.ndarray, marker: np.ndarray) -> np.ndarray:
    """Rows of which the log has no old values beyond the key that the relation names.

    An update without an old tuple kept that key, and may have changed everything else.
    """
    lacking: np.ndarray = (marker == KEY) | ((marker == NEW) & (op == Op.UPDATE))
    return lacking


def _unkeyed(plan: Plan) -> SchemaChangeRefused:
    table = plan.tracked.schema.id
    return SchemaChangeRefused(
        f"{table}: its replica identity is not the one any more that its rows are known by; the "
        f"log lacks the old {', '.join(plan.unkeyed)}.",
        remedy="Set the replica identity back, or to FULL, and load the table again.",
        table=str(table),
    )


def _batch(arrays: Sequence[pa.Array], schema: pa.Schema, rows: int) -> pa.RecordBatch:
    if not arrays:
        return pa.RecordBatch.from_struct_array(pa.array([{}] * rows, pa.struct([])))
    return pa.RecordBatch.from_arrays(list(arrays), schema=schema)


def _full(old: _Side | None, marker: np.ndarray) -> _Side | None:
    """Of the old tuples those that are whole (REPLICA IDENTITY FULL)."""
    if old is None:
        return None
    whole = marker[old.rows] == OLD
    if whole.all():
        return old
    return _chosen(old, whole) if whole.any() else None


def _chosen(side: _Side, mask: np.ndarray) -> _Side:
    t = side.tuples
    return _Side(
        side.rows[mask],
        Tuples(
            [a[mask] for a in t.kind],
            [a[mask] for a in t.start],
            [a[mask] for a in t.length],
            t.end[mask],
        ),
    )


def _spread(side: _Side, number: int, rows: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(kind, start, length) of a column for every row; 0 for rows that the side lacks."""
    t = side.tuples
    if len(side.rows) == rows:
        return t.kind[number], t.start[number], t.length[number]
    kind, start, length = np.zeros(rows, np.uint8), np.zeros(rows, np.int64), np.zeros(rows, int)
    kind[side.rows] = t.kind[number]
    start[side.rows] = t.start[number]
    length[side.rows] = t.length[number]
    return kind, start, length


def _after(
    buffer: bytes, rows: int, number: int, new: _Side, full: _Side | None
) -> tuple[Cells, np.ndarray | None]:
    """A column's values, and where the log does not carry them, if there are such rows."""
    if number < 0:
        nothing = np.zeros(rows, np.int64)
        absent = np.zeros(rows, bool)
        absent[new.rows] = True
        return Cells(buffer, nothing, nothing, np.zeros(rows, bool)), absent
    kind, start, length = _spread(new, number, rows)
    left = kind == KEPT
    if left.any() and full is not None:
        # An unchanged value that is stored out of line is in the old tuple, where that is whole.
        kinds, starts, lengths = _spread(full, number, rows)
        found = left & (kinds != 0) & (kinds != KEPT)
        kind = np.where(found, kinds, kind)
        start = np.where(found, starts, start)
        length = np.where(found, lengths, length)
        left = kind == KEPT
    return Cells(buffer, start, length, kind == TEXT), left if left.any() else None


def _before(
    plan: Plan,
    buffer: bytes,
    op: np.ndarray,
    new: _Side,
    old: _Side | None,
    after: pa.RecordBatch,
) -> pa.RecordBatch | None:
    """The old identities; None where every one is the new one."""
    if old is None:
        return None
    rows = len(op)
    updated = op == Op.UPDATE
    arrays = []
    moved = bool((op == Op.DELETE).any())
    for number, column, place in plan.identity:
        if number < 0:
            arrays.append(pa.nulls(rows, column.arrow))
            continue
        kind, start, length = _spread(old, number, rows)
        # An update without an old tuple has kept its identity.
        other = updated & (kind == 0)
        if other.any():
            kinds, starts, lengths = _spread(new, number, rows)
            kind = np.where(other, kinds, kind)
            start, length = np.where(other, starts, start), np.where(other, lengths, length)
        cells = Cells(buffer, start, length, kind == TEXT)
        array = converted(cells, column, plan.tracked.schema.id, plan.asked)
        if not moved:
            mask = pa.array(updated)
            moved = not same_values(array.filter(mask), after.column(place).filter(mask))
        arrays.append(array)
    return _batch(arrays, plan.old, rows) if moved else None
