"""The order of one table's row changes within a set: ``seq`` alone decides it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from streams_engine.changes import ChangeBatch, Op
from streams_engine.model import TableId

__all__ = ["in_log_order"]


def in_log_order(batches: Sequence[ChangeBatch]) -> list[ChangeBatch]:
    """Return batches that, read one after the other, have each table's changes by rising ``seq``.

    A reader may give several batches of one table whose numbers interleave (MySQL: table maps
    that differ). Those are merged row by row; batches that do not interleave stay as they are.
    """
    tables: dict[TableId, list[ChangeBatch]] = {}
    for batch in batches:
        if batch.rows:
            tables.setdefault(batch.table, []).append(batch)
    ordered = [batch for several in tables.values() for batch in _of_table(several)]
    return sorted(ordered, key=_first)


def _first(batch: ChangeBatch) -> int:
    return int(batch.seq[0])


def _of_table(batches: Sequence[ChangeBatch]) -> list[ChangeBatch]:
    if len(batches) == 1:
        return list(batches)
    groups: list[list[ChangeBatch]] = []
    last = -1
    for batch in sorted(batches, key=_first):
        if groups and _first(batch) < last:
            groups[-1].append(batch)
        else:
            groups.append([batch])
        last = max(last, int(batch.seq[-1]))
    return [group[0] if len(group) == 1 else _merged(group) for group in groups]


def _merged(batches: Sequence[ChangeBatch]) -> ChangeBatch:
    seq = np.concatenate([batch.seq for batch in batches])
    order = np.argsort(seq, kind="stable")
    names = {name for batch in batches for name in batch.missing}
    return replace(
        batches[0],
        op=np.concatenate([batch.op for batch in batches])[order],
        seq=seq[order],
        after=_taken([batch.after for batch in batches], order),
        before=_before(batches, order),
        missing={
            name: np.concatenate([_mask(batch, name) for batch in batches])[order]
            for name in sorted(names)
        },
        unchecked=_unchecked(batches, order),
    )


def _unchecked(batches: Sequence[ChangeBatch], order: np.ndarray) -> np.ndarray | None:
    if all(batch.unchecked is None for batch in batches):
        return None
    masks = [np.zeros(b.rows, bool) if b.unchecked is None else b.unchecked for b in batches]
    found: np.ndarray = np.concatenate(masks)[order]
    return found


def _mask(batch: ChangeBatch, name: str) -> np.ndarray:
    return batch.missing.get(name, np.zeros(batch.rows, bool))


def _before(batches: Sequence[ChangeBatch], order: np.ndarray) -> pa.RecordBatch | None:
    schema = next((b.before.schema for b in batches if b.before is not None), None)
    if schema is None:
        return None
    return _taken([_old_values(batch, schema) for batch in batches], order)


def _old_values(batch: ChangeBatch, schema: pa.Schema) -> pa.RecordBatch:
    """Return ``before``, or what it stands for where it is None: every update kept its identity."""
    if batch.before is not None:
        return batch.before
    updated = pa.array(batch.op == Op.UPDATE)
    columns = [
        pc.if_else(updated, batch.after.column(name), pa.scalar(None, kind))
        for name, kind in zip(schema.names, schema.types, strict=True)
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _taken(parts: Sequence[pa.RecordBatch], order: np.ndarray) -> pa.RecordBatch:
    if not parts[0].num_columns:  # a table without columns has rows all the same
        return pa.RecordBatch.from_struct_array(pa.array([{}] * len(order), pa.struct([])))
    return pa.concat_batches(parts).take(pa.array(order))
