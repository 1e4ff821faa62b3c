"""What a run of changes comes to: for each key of a table at most one change.

Pure, in columns. Equivalent to applying the changes one by one, in order, as far as the
target's rows go after the last of them. A table without a key is a multiset of rows: there a
change comes to how many more, or fewer, of each row there are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from streams_engine.changes import NetChanges, Op
from streams_engine.model import Column, TableId

__all__ = ["Changes", "Shape", "net"]


@dataclass(frozen=True, slots=True)
class Shape:
    """The target table that changes are for."""

    table: TableId
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    """Empty: only all values together name a row."""


@dataclass(frozen=True, slots=True)
class Changes:
    """Changes of one table in log order, converted: the target's names and Arrow types."""

    op: np.ndarray
    """uint8 of `Op`."""
    after: pa.RecordBatch
    before: pa.RecordBatch | None
    """Columns that hold the key's; None: keys did not change, and nothing was deleted."""
    missing: Mapping[str, np.ndarray]

    def part(self, low: int, high: int) -> Changes:
        """Rows ``low`` to ``high``, without a copy."""
        return Changes(
            self.op[low:high],
            self.after.slice(low, high - low),
            None if self.before is None else self.before.slice(low, high - low),
            {name: mask[low:high] for name, mask in self.missing.items()},
        )

    def only(self, keep: np.ndarray) -> Changes:
        """The rows of a mask."""
        chosen = pa.array(keep)
        return Changes(
            self.op[keep],
            self.after.filter(chosen),
            None if self.before is None else self.before.filter(chosen),
            {name: mask[keep] for name, mask in self.missing.items()},
        )


def net(shape: Shape, several: Sequence[Changes], *, in_place: bool = False) -> list[NetChanges]:
    """The changes of one table, in order, as few sets that are to be applied in order.

    One set, but where an update moved a row to another key without carrying all its values:
    what is missing is on the target, so the row moves there, by itself. ``in_place``: every
    row that moves does so, for those that refer to it would else see it go.
    """
    changes = _joined(several)
    if not shape.key:
        return _multiset(shape, changes)
    codes = _key_codes(shape, changes)
    if codes is None:
        return [NetChanges(shape.table, shape.columns, shape.key, inserts=changes.after)]
    moved = (changes.op == Op.UPDATE) & (codes.old != codes.new)
    alone = moved if in_place else moved & _any_missing(changes)
    if not alone.any():
        return _keyed(shape, changes, codes, moved)
    found: list[NetChanges] = []
    start = 0
    for at in np.flatnonzero(alone).tolist():
        if at > start:
            found += _span(shape, changes, codes, moved, start, at)
        found.append(_move(shape, changes, at))
        start = at + 1
    if start < len(changes.op):
        found += _span(shape, changes, codes, moved, start, len(changes.op))
    return found


def _span(
    shape: Shape, changes: Changes, codes: _Codes, moved: np.ndarray, low: int, high: int
) -> list[NetChanges]:
    part = _Codes(codes.old[low:high], codes.new[low:high])
    return _keyed(shape, changes.part(low, high), part, moved[low:high])


def _joined(several: Sequence[Changes]) -> Changes:
    if len(several) == 1:
        return several[0]
    names = {name for changes in several for name in changes.missing}
    before = None
    if any(changes.before is not None for changes in several):
        before = _concat([_old_keys(changes, several) for changes in several])
    return Changes(
        np.concatenate([changes.op for changes in several]),
        _concat([changes.after for changes in several]),
        before,
        {
            name: np.concatenate([c.missing.get(name, np.zeros(len(c.op), bool)) for c in several])
            for name in names
        },
    )


def _old_keys(changes: Changes, several: Sequence[Changes]) -> pa.RecordBatch:
    """``before``, or what stands for it: an update that says nothing kept its key."""
    if changes.before is not None:
        return changes.before
    names = next(c.before.schema.names for c in several if c.before is not None)
    return changes.after.select(names)


def _concat(batches: Sequence[pa.RecordBatch]) -> pa.RecordBatch:
    return pa.concat_batches(batches) if len(batches) > 1 else batches[0]


def _any_missing(changes: Changes) -> np.ndarray:
    if not changes.missing:
        return np.zeros(len(changes.op), bool)
    found: np.ndarray = np.logical_or.reduce(list(changes.missing.values()))
    return found


# Keys as numbers


@dataclass(frozen=True, slots=True)
class _Codes:
    """Equal keys have equal numbers, before and after."""

    old: np.ndarray
    new: np.ndarray


def _key_codes(shape: Shape, changes: Changes) -> _Codes | None:
    """The numbers of all keys; None where nothing but inserts of different keys came."""
    rows = len(changes.op)
    new = [changes.after.column(name) for name in shape.key]
    if changes.before is None:
        numbers = _numbers(new, rows)
        if not changes.op.any() and _all_differ(numbers):
            return None
        return _Codes(numbers, numbers)
    old = [changes.before.column(name) for name in shape.key]
    numbers = _numbers([pa.concat_arrays([a, b]) for a, b in zip(old, new, strict=True)], 2 * rows)
    found, after = numbers[:rows].copy(), numbers[rows:].copy()
    inserted, deleted = changes.op == Op.INSERT, changes.op == Op.DELETE
    found[inserted] = after[inserted]
    after[deleted] = found[deleted]
    return _Codes(found, after)


def _all_differ(numbers: np.ndarray) -> bool:
    """True where no number occurs twice; mostly they rise, and need not be sorted."""
    return bool((numbers[1:] > numbers[:-1]).all()) or len(np.unique(numbers)) == len(numbers)


def _numbers(columns: Sequence[pa.Array], rows: int) -> np.ndarray:
    """One int64 a row; equal where all columns are equal, NULL being equal to NULL."""
    codes = np.zeros(rows, np.int64)  # without columns, all rows are equal
    for place, column in enumerate(columns):
        if pa.types.is_integer(column.type) and len(columns) == 1 and not column.null_count:
            return np.asarray(column.cast(pa.int64(), safe=False))
        if pa.types.is_list(column.type):  # the labels of a SET, which hold no comma
            column = pc.binary_join(column, ",")
        # Floats by their bits: NaN equals itself, and 0 is not -0.
        if pa.types.is_floating(column.type):
            column = column.view(pa.int32() if column.type == pa.float32() else pa.int64())
        encoded = column.dictionary_encode(null_encoding="encode")
        part = np.asarray(encoded.indices, np.int64)
        if not place:
            codes = part
        else:
            codes = codes * (len(encoded.dictionary) + 1) + part
            codes = np.unique(codes, return_inverse=True)[1].astype(np.int64)
    return codes


# Tables with a key


def _keyed(shape: Shape, changes: Changes, codes: _Codes, moved: np.ndarray) -> list[NetChanges]:
    """By key, the first and the last event tell what became of its row."""
    rows = np.arange(len(changes.op))
    kind = np.where(moved, np.uint8(Op.INSERT), changes.op)
    key, order = codes.new, 2 * rows + 1
    if moved.any():
        # Moving to another key deletes the old one first.
        key = np.concatenate([key, codes.old[moved]])
        kind = np.concatenate([kind, np.full(int(moved.sum()), Op.DELETE, np.uint8)])
        order = np.concatenate([order, 2 * rows[moved]])
        rows = np.concatenate([rows, rows[moved]])
        sorting = np.lexsort((order, key))
    else:
        sorting = np.argsort(key, kind="stable")
    key, kind, rows = key[sorting], kind[sorting], rows[sorting]
    edge = np.flatnonzero(np.diff(key)) + 1
    first = np.concatenate([[0], edge])
    last = np.concatenate([edge, [len(key)]]) - 1
    existed = kind[first] != Op.INSERT
    stays = kind[last] != Op.DELETE
    gone = np.sort(rows[first[existed & ~stays]])
    runs = _Runs(first, last, kind, rows)
    result = NetChanges(
        shape.table,
        shape.columns,
        shape.key,
        deletes=_keys(shape, changes, gone) if len(gone) else None,
        updates=_patches(shape, changes, runs, existed & stays),
        inserts=_images(changes, runs, ~existed & stays),
    )
    return [result] if result.rows else []


@dataclass(frozen=True, slots=True)
class _Runs:
    """The events sorted by key, then by order; a run is one key's."""

    first: np.ndarray
    last: np.ndarray
    kind: np.ndarray
    rows: np.ndarray


def _keys(shape: Shape, changes: Changes, rows: np.ndarray) -> pa.RecordBatch:
    source = changes.before if changes.before is not None else changes.after
    return source.select(list(shape.key)).take(pa.array(rows))


def _images(changes: Changes, runs: _Runs, chosen: np.ndarray) -> pa.RecordBatch | None:
    """The last images of the chosen runs, each value from the last event that carries it."""
    if not chosen.any():
        return None
    picked = np.flatnonzero(chosen)
    # In the order of the log, which is that of the target's pages too.
    picked = picked[np.argsort(runs.rows[runs.last[picked]], kind="stable")]
    rows = runs.rows[runs.last[picked]]
    if not changes.missing:
        return _taken(changes.after, rows)
    columns = [
        changes.after.column(name).take(
            pa.array(
                rows
                if name not in changes.missing
                else runs.rows[_known(changes, runs, name)[runs.last[picked]]]
            )
        )
        for name in changes.after.schema.names
    ]
    return pa.RecordBatch.from_arrays(columns, schema=changes.after.schema)


def _taken(batch: pa.RecordBatch, rows: np.ndarray) -> pa.RecordBatch:
    whole = len(rows) == batch.num_rows and bool((np.diff(rows) == 1).all())
    return batch if whole else batch.take(pa.array(rows))


def _known(changes: Changes, runs: _Runs, name: str) -> np.ndarray:
    """For each event the last one, up to it, that carries a value of a column; -1: none."""
    carries = ~changes.missing[name][runs.rows] & (runs.kind != Op.DELETE)
    return np.maximum.accumulate(np.where(carries, np.arange(len(carries)), -1))


def _patches(
    shape: Shape, changes: Changes, runs: _Runs, chosen: np.ndarray
) -> tuple[pa.RecordBatch, ...]:
    """The updates; one batch for each set of columns whose values the log does not have."""
    if not chosen.any():
        return ()
    if not changes.missing:
        whole = _images(changes, runs, chosen)
        return () if whole is None else (whole,)
    names = [name for name in changes.after.schema.names if name in changes.missing]
    unknown = np.stack(
        [_known(changes, runs, name)[runs.last] < runs.first for name in names], axis=1
    )
    found = []
    for pattern in np.unique(unknown[chosen], axis=0):
        batch = _images(changes, runs, chosen & (unknown == pattern).all(axis=1))
        absent = {name for name, is_absent in zip(names, pattern, strict=True) if is_absent}
        present = [name for name in changes.after.schema.names if name not in absent]
        if batch is not None and set(present) > set(shape.key):
            found.append(batch.select(present))
    return tuple(found)


def _move(shape: Shape, changes: Changes, at: int) -> NetChanges:
    """One row that goes to another key and keeps what the log does not carry."""
    present = [
        name
        for name in changes.after.schema.names
        if name not in changes.missing or not changes.missing[name][at]
    ]
    old = _keys(shape, changes, np.array([at]))
    new = changes.after.slice(at, 1).select(present)
    return NetChanges(shape.table, shape.columns, shape.key, moves=((old, new),))


# Tables without a key


def _multiset(shape: Shape, changes: Changes) -> list[NetChanges]:
    """How many more, or fewer, of each row there are."""
    if changes.before is None:  # nothing was deleted, and no update changed a value
        inserted = changes if not changes.op.any() else changes.only(changes.op == Op.INSERT)
        if not len(inserted.op):
            return []
        return [NetChanges(shape.table, shape.columns, (), inserts=inserted.after)]
    names = changes.after.schema.names
    gone = changes.op != Op.INSERT
    come = changes.op != Op.DELETE
    both = _concat(
        [
            changes.before.select(names).filter(pa.array(gone)),
            changes.after.filter(pa.array(come)),
        ]
    )
    sign = np.concatenate([np.full(int(gone.sum()), -1), np.full(int(come.sum()), 1)])
    codes = _numbers(both.columns, both.num_rows)
    _, place, inverse = np.unique(codes, return_index=True, return_inverse=True)
    count = np.bincount(inverse, weights=sign).astype(np.int64)
    less, more = count < 0, count > 0
    result = NetChanges(
        shape.table,
        shape.columns,
        (),
        deletes=both.take(pa.array(place[less])) if less.any() else None,
        copies=-count[less],
        inserts=both.take(pa.array(np.repeat(place[more], count[more]))) if more.any() else None,
    )
    return [result] if result.rows else []
