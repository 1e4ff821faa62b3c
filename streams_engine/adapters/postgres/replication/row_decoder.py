"""Decode the row messages of one table to a `RowChanges`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from streams_engine.adapters.postgres.replication.computed_columns import (
    Compute,
    ComputedColumn,
    computed_column,
)
from streams_engine.adapters.postgres.replication.pgoutput import (
    KEPT,
    TEXT,
    WHAT,
    Messages,
    Relation,
    Tuples,
    walk,
)
from streams_engine.adapters.postgres.replication.value_decoder import Asked, Cells, converted
from streams_engine.arrow.buffers import demand_within, violation, well_formed
from streams_engine.arrow.plain import from_numpy
from streams_engine.errors import SchemaChangeRefused
from streams_engine.model import Column, Op, RowChanges, TableSubscription, same_values
from streams_engine.schema.types.postgres import base_of

__all__ = ["DecodePlan", "decode", "plan_for"]

OPS = np.zeros(256, np.uint8)
OPS[ord("U")], OPS[ord("D")] = Op.UPDATE, Op.DELETE
NEW, OLD, KEY = ord("N"), ord("O"), ord("K")


@dataclass(frozen=True, slots=True)
class DecodePlan:
    """Mapping from the tuples of a relation to the selected columns of its table."""

    relation: Relation
    tracked: TableSubscription
    wanted: tuple[int, ...]
    """By column of the extract: its number in the relation, -1 where the log lacks it."""
    identity: tuple[tuple[int, Column, int], ...]
    """By identity column: its number, the wanted column, its number in the extract."""
    schema: pa.Schema
    old: pa.Schema
    asked: Asked
    unkeyed: tuple[str, ...]
    """Columns of the identity that an old key does not have."""
    computed: tuple[ComputedColumn | None, ...]
    """By column of the extract: how it is computed where the log lacks it."""
    plain: bool
    """Each wanted column is in the log, and its text there is its value."""
    booleans: tuple[bool, ...]
    """By column of the relation: its text is not the one of a cast."""


def plan_for(
    relation: Relation, tracked: TableSubscription, asked: Asked, compute: Compute
) -> DecodePlan:
    """Return the decode plan of a table, from the last description of its relation."""
    numbers = {column.name: i for i, column in enumerate(relation.columns)}
    columns = tracked.extract.columns
    computed = tuple(
        None
        if column.name in numbers
        else computed_column(tracked.schema, column, list(numbers), compute)
        for column in columns
    )
    places = {column.name: i for i, column in enumerate(columns)}
    identity = tuple(
        (numbers.get(name, -1), columns[places[name]], places[name])
        for name in tracked.identity
        if name in places
    )
    wanted = tuple(numbers.get(column.name, -1) for column in columns)
    kinds = {column.name: base_of(column.type).name for column in columns}
    return DecodePlan(
        relation,
        tracked,
        wanted,
        identity,
        tracked.extract.arrow_schema(),
        pa.schema([pa.field(column.name, column.arrow) for _, column, _ in identity]),
        asked,
        tuple(
            column.name
            for number, column, place in identity
            if computed[place] is None and (number < 0 or not relation.columns[number].key)
        ),
        computed,
        min(wanted, default=0) >= 0 and all(map(_is_text, columns)),
        tuple(kinds.get(column.name) == "bool" for column in relation.columns),
    )


def _is_text(column: Column) -> bool:
    """Return whether the log's text of a column is what the target is given."""
    if column.as_json:
        return False
    return column.arrow == pa.string() or (
        column.arrow == pa.binary() and base_of(column.type).name == "bytea"
    )


@dataclass(frozen=True, slots=True)
class _Side:
    """The tuples of some of the rows."""

    rows: np.ndarray
    """int64: which rows these are."""
    tuples: Tuples


def decode(plan: DecodePlan, messages: Messages, index: np.ndarray) -> RowChanges:
    """Decode the changes that are the messages ``index``, in order.

    Raises `ProtocolViolation` for messages that are not rows of the relation.
    """
    with well_formed(WHAT):
        return _decoded(plan, messages, index)


def _decoded(plan: DecodePlan, messages: Messages, index: np.ndarray) -> RowChanges:
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
            raise violation(WHAT, "a tuple is neither new, old nor a key")
        old = _Side(rows, walk(buffer, at[rows] + 1, end[rows], width))
        at = at.copy()
        at[rows] = old.tuples.end
    kept = np.flatnonzero(op != Op.DELETE)
    demand_within(at[kept] + 1, end[kept], WHAT)
    if not (letters[at[kept]] == NEW).all():
        raise violation(WHAT, "an update or an insert has no new tuple")
    new = _Side(kept, walk(buffer, at[kept] + 1, end[kept], width))
    full = _full(old, marker)
    missing: dict[str, np.ndarray] = {}
    arrays = []
    wanted = zip(plan.wanted, plan.computed, plan.tracked.extract.columns, strict=True)
    for number, computed, column in wanted:
        if computed is None:
            cells, left = _after(buffer, len(index), number, new, full)
        else:
            parts = [_after(buffer, len(index), n, new, full) for n, _ in computed.named]
            cells, left = computed.cells(len(index), new.rows, parts)
        if left is not None:
            missing[column.name] = left
        arrays.append(converted(cells, column, plan.tracked.schema.id, plan.asked))
    after = _batch(arrays, plan.schema, len(index))
    return RowChanges(
        plan.tracked.schema.id,
        plan.tracked.extract.columns,
        plan.tracked.identity,
        op,
        index.astype(np.int64),
        after,
        _before(plan, buffer, op, new, old, after),
        missing,
    )


def _lacking(op: np.ndarray, marker: np.ndarray) -> np.ndarray:
    """Mark the rows for which the log has no old values except the key.

    An update without an old tuple kept that key; it may have changed anything else.
    """
    lacking: np.ndarray = (marker == KEY) | ((marker == NEW) & (op == Op.UPDATE))
    return lacking


def _unkeyed(plan: DecodePlan) -> SchemaChangeRefused:
    table = plan.tracked.schema.id
    return SchemaChangeRefused(
        f"{table}: its replica identity changed; the log lacks the old values of "
        f"{', '.join(plan.unkeyed)}, which identify the row.",
        remedy="Restore the replica identity or set it to FULL, and load the table again.",
        table=str(table),
    )


def _batch(arrays: Sequence[pa.Array], schema: pa.Schema, rows: int) -> pa.RecordBatch:
    if not arrays:
        return pa.RecordBatch.from_struct_array(pa.array([{}] * rows, pa.struct([])))
    return pa.RecordBatch.from_arrays(list(arrays), schema=schema)


def _full(old: _Side | None, marker: np.ndarray) -> _Side | None:
    """Return those of the old tuples that are complete (REPLICA IDENTITY FULL)."""
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
    """Return kind, start and length of a column for every row; 0 for rows that the side lacks."""
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
    """Return a column's values, and a mask of those that the log does not contain, or None."""
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
        carried = left & (kinds != 0) & (kinds != KEPT)
        kind = np.where(carried, kinds, kind)
        start = np.where(carried, starts, start)
        length = np.where(carried, lengths, length)
        left = kind == KEPT
    return Cells(buffer, start, length, kind == TEXT), left if left.any() else None


def _before(
    plan: DecodePlan,
    buffer: bytes,
    op: np.ndarray,
    new: _Side,
    old: _Side | None,
    after: pa.RecordBatch,
) -> pa.RecordBatch | None:
    """Return the old identities; None if every one equals the new one."""
    if old is None:
        return None
    rows = len(op)
    updated = op == Op.UPDATE
    arrays = []
    moved = bool((op == Op.DELETE).any())
    for number, column, place in plan.identity:
        computed = plan.computed[place]
        if computed is not None:
            cells = _computed_before(computed, buffer, rows, new, old)
            arrays.append(converted(cells, column, plan.tracked.schema.id, plan.asked))
            continue
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
            mask = from_numpy(updated)
            moved = not same_values(array.filter(mask), after.column(place).filter(mask))
        arrays.append(array)
    return _batch(arrays, plan.old, rows) if moved else None


def _computed_before(
    computed: ComputedColumn, buffer: bytes, rows: int, new: _Side, old: _Side
) -> Cells:
    """Return a generated column's old values; of updates without an old tuple the new ones."""
    known = np.zeros(rows, bool)
    known[old.rows] = True
    fresh = np.setdiff1d(new.rows, old.rows)
    parts = []
    for number, _ in computed.named:
        before, after = (_spread(side, number, rows) for side in (old, new))
        kind, start, length = (np.where(known, a, b) for a, b in zip(before, after, strict=True))
        left = kind == KEPT
        cells = Cells(buffer, start, length, kind == TEXT)
        parts.append((cells, left if left.any() else None))
    chosen = np.sort(np.concatenate([old.rows, fresh]))
    return computed.cells(rows, chosen, parts)[0]
