"""Net a run of changes: at most one change for each key of a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from streams_engine.arrow.plain import from_numpy, to_numpy
from streams_engine.model import NetChanges, Op, RowChanges

__all__ = ["net"]


def net(
    several: Sequence[RowChanges], key: tuple[str, ...], *, in_place: bool = False
) -> list[NetChanges]:
    """Reduce the changes of one table to as few sets as possible, which are applied in order.

    It is one set, unless an update moved a row to another key without carrying all its values: the
    missing ones are on the target, so the row is updated there. With ``in_place`` every moved row
    is, because rows that refer to it would otherwise see it deleted. ``key`` is empty where only
    all values together name a row.
    """
    changes = _joined(several)
    if not key:
        return _multiset(changes)
    codes = _key_codes(key, changes)
    if codes is None:
        return [NetChanges(changes.table, changes.columns, key, inserts=changes.after)]
    moved = (changes.op == Op.UPDATE) & (codes.old != codes.new)
    alone = moved if in_place else moved & _any_missing(changes)
    if not alone.any():
        return _keyed(key, changes, codes, moved)
    sets: list[NetChanges] = []
    start = 0
    for at in np.flatnonzero(alone).tolist():
        if at > start:
            sets += _span(key, changes, codes, moved, start, at)
        sets.append(_move(key, changes, at))
        start = at + 1
    if start < len(changes.op):
        sets += _span(key, changes, codes, moved, start, len(changes.op))
    return sets


def _span(
    named: tuple[str, ...],
    changes: RowChanges,
    codes: _Codes,
    moved: np.ndarray,
    low: int,
    high: int,
) -> list[NetChanges]:
    part = _Codes(codes.old[low:high], codes.new[low:high])
    return _keyed(named, changes.slice(low, high), part, moved[low:high])


def _joined(several: Sequence[RowChanges]) -> RowChanges:
    if len(several) == 1:
        return several[0]
    names = {name for changes in several for name in changes.missing}
    before = None
    if any(changes.before is not None for changes in several):
        before = _concat([_old_keys(changes, several) for changes in several])
    return replace(
        several[0],
        op=np.concatenate([changes.op for changes in several]),
        seq=np.concatenate([changes.seq for changes in several]),
        after=_concat([changes.after for changes in several]),
        before=before,
        missing={
            name: np.concatenate([c.missing.get(name, np.zeros(c.rows, bool)) for c in several])
            for name in names
        },
        unchecked=None,
    )


def _old_keys(changes: RowChanges, several: Sequence[RowChanges]) -> pa.RecordBatch:
    """Return the old keys; an update without an old image kept its key."""
    if changes.before is not None:
        return changes.before
    names = next(c.before.schema.names for c in several if c.before is not None)
    return changes.after.select(names)


def _concat(batches: Sequence[pa.RecordBatch]) -> pa.RecordBatch:
    return pa.concat_batches(batches) if len(batches) > 1 else batches[0]


def _any_missing(changes: RowChanges) -> np.ndarray:
    if not changes.missing:
        return np.zeros(len(changes.op), bool)
    lacking: np.ndarray = np.logical_or.reduce(list(changes.missing.values()))
    return lacking


# Keys as numbers


@dataclass(frozen=True, slots=True)
class _Codes:
    """Equal keys have equal numbers, before and after."""

    old: np.ndarray
    new: np.ndarray


def _key_codes(named: tuple[str, ...], changes: RowChanges) -> _Codes | None:
    """Return the numbers of all keys; None if there are only inserts of different keys."""
    rows = len(changes.op)
    new = [changes.after.column(name) for name in named]
    if changes.before is None:
        numbers = _numbers(new, rows)
        if not changes.op.any() and _all_differ(numbers):
            return None
        return _Codes(numbers, numbers)
    old = [changes.before.column(name) for name in named]
    numbers = _numbers([pa.concat_arrays([a, b]) for a, b in zip(old, new, strict=True)], 2 * rows)
    before, after = numbers[:rows].copy(), numbers[rows:].copy()
    inserted, deleted = changes.op == Op.INSERT, changes.op == Op.DELETE
    before[inserted] = after[inserted]
    after[deleted] = before[deleted]
    return _Codes(before, after)


def _all_differ(numbers: np.ndarray) -> bool:
    """Return True if no number occurs twice; mostly they increase and need no sorting."""
    if (numbers[1:] > numbers[:-1]).all():
        return True
    ordered = np.sort(numbers)
    return bool((ordered[1:] != ordered[:-1]).all())


def _numbers(columns: Sequence[pa.Array], rows: int) -> np.ndarray:
    """Return one int64 for each row, equal if all columns are equal; NULL equals NULL."""
    codes = np.zeros(rows, np.int64)  # without columns, all rows are equal
    for place, column in enumerate(columns):
        if pa.types.is_integer(column.type) and len(columns) == 1 and not column.null_count:
            return to_numpy(column.cast(pa.int64(), safe=False))
        if pa.types.is_list(column.type):  # the labels of a SET, which hold no comma
            column = pc.binary_join(column, ",")
        # Floats by their bits: NaN equals itself, and 0 is not -0.
        if pa.types.is_floating(column.type):
            column = column.view(pa.int32() if column.type == pa.float32() else pa.int64())
        encoded = column.dictionary_encode(null_encoding="encode")
        part = to_numpy(encoded.indices).astype(np.int64)
        if not place:
            codes = part
        else:
            codes = codes * (len(encoded.dictionary) + 1) + part
            codes = np.unique(codes, return_inverse=True)[1].astype(np.int64)
    return codes


# Tables with a key


def _keyed(
    named: tuple[str, ...], changes: RowChanges, codes: _Codes, moved: np.ndarray
) -> list[NetChanges]:
    """Reduce the changes by key: the first and last event of a key decide what became of its
    row."""
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
        changes.table,
        changes.columns,
        named,
        deletes=_keys(named, changes, gone) if len(gone) else None,
        updates=_patches(named, changes, runs, existed & stays),
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


def _keys(named: tuple[str, ...], changes: RowChanges, rows: np.ndarray) -> pa.RecordBatch:
    source = changes.before if changes.before is not None else changes.after
    return source.select(list(named)).take(from_numpy(rows))


def _images(changes: RowChanges, runs: _Runs, chosen: np.ndarray) -> pa.RecordBatch | None:
    """Return the last images of the chosen runs, with each value from the last event that carries
    it."""
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
            from_numpy(
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
    return batch if whole else batch.take(from_numpy(rows))


def _known(changes: RowChanges, runs: _Runs, name: str) -> np.ndarray:
    """Return, for each event, the last event up to it that carries a value of a column; -1 for
    none."""
    carries = ~changes.missing[name][runs.rows] & (runs.kind != Op.DELETE)
    return np.maximum.accumulate(np.where(carries, np.arange(len(carries)), -1))


def _patches(
    named: tuple[str, ...], changes: RowChanges, runs: _Runs, chosen: np.ndarray
) -> tuple[pa.RecordBatch, ...]:
    """Return the updates, in one batch for each set of columns whose values the log lacks."""
    if not chosen.any():
        return ()
    if not changes.missing:
        whole = _images(changes, runs, chosen)
        return () if whole is None else (whole,)
    names = [name for name in changes.after.schema.names if name in changes.missing]
    unknown = np.stack(
        [_known(changes, runs, name)[runs.last] < runs.first for name in names], axis=1
    )
    patches = []
    for pattern in np.unique(unknown[chosen], axis=0):
        batch = _images(changes, runs, chosen & (unknown == pattern).all(axis=1))
        absent = {name for name, is_absent in zip(names, pattern, strict=True) if is_absent}
        present = [name for name in changes.after.schema.names if name not in absent]
        if batch is not None and set(present) > set(named):
            patches.append(batch.select(present))
    return tuple(patches)


def _move(named: tuple[str, ...], changes: RowChanges, at: int) -> NetChanges:
    """Return the change that moves one row to another key and keeps the values that the log
    lacks."""
    present = [
        name
        for name in changes.after.schema.names
        if name not in changes.missing or not changes.missing[name][at]
    ]
    old = _keys(named, changes, np.array([at]))
    new = changes.after.slice(at, 1).select(present)
    return NetChanges(changes.table, changes.columns, named, moves=((old, new),))


# Tables without a key


def _multiset(changes: RowChanges) -> list[NetChanges]:
    """Count how many more, or fewer, of each row there are."""
    if changes.before is None:  # nothing was deleted, and no update changed a value
        inserted = changes if not changes.op.any() else changes.filter(changes.op == Op.INSERT)
        if not len(inserted.op):
            return []
        return [NetChanges(changes.table, changes.columns, (), inserts=inserted.after)]
    names = changes.after.schema.names
    gone = changes.op != Op.INSERT
    come = changes.op != Op.DELETE
    both = _concat(
        [
            changes.before.select(names).filter(from_numpy(gone)),
            changes.after.filter(from_numpy(come)),
        ]
    )
    sign = np.concatenate([np.full(int(gone.sum()), -1), np.full(int(come.sum()), 1)])
    codes = _numbers(both.columns, both.num_rows)
    _, place, inverse = np.unique(codes, return_index=True, return_inverse=True)
    count = np.bincount(inverse, weights=sign).astype(np.int64)
    less, more = count < 0, count > 0
    result = NetChanges(
        changes.table,
        changes.columns,
        (),
        deletes=both.take(from_numpy(place[less])) if less.any() else None,
        copies=-count[less],
        inserts=both.take(from_numpy(np.repeat(place[more], count[more]))) if more.any() else None,
    )
    return [result] if result.rows else []
