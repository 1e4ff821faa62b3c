"""Order the changes of a set, and cut it into spans that are netted one by one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from streams_engine.arrow.plain import from_numpy, scalar
from streams_engine.model import (
    ChangeSet,
    NetChanges,
    Op,
    RowChanges,
    TableId,
    Truncate,
    Truncation,
)
from streams_engine.pipeline.changes.netting import net
from streams_engine.pipeline.changes.table_replication import TableReplication

__all__ = [
    "Converted",
    "Spans",
    "in_log_order",
]


def in_log_order(batches: Sequence[RowChanges]) -> list[RowChanges]:
    """Return batches that, read one after the other, have each table's changes by rising ``seq``.

    A reader may give several batches of one table whose numbers interleave (MySQL: table maps
    that differ). Those are merged row by row; batches that do not interleave stay as they are.
    """
    tables: dict[TableId, list[RowChanges]] = {}
    for batch in batches:
        if batch.rows:
            tables.setdefault(batch.table, []).append(batch)
    ordered = [batch for several in tables.values() for batch in _of_table(several)]
    return sorted(ordered, key=_first)


def _first(batch: RowChanges) -> int:
    return int(batch.seq[0])


def _of_table(batches: Sequence[RowChanges]) -> list[RowChanges]:
    if len(batches) == 1:
        return list(batches)
    groups: list[list[RowChanges]] = []
    last = -1
    for batch in sorted(batches, key=_first):
        if groups and _first(batch) < last:
            groups[-1].append(batch)
        else:
            groups.append([batch])
        last = max(last, int(batch.seq[-1]))
    return [group[0] if len(group) == 1 else _merged(group) for group in groups]


def _merged(batches: Sequence[RowChanges]) -> RowChanges:
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


def _unchecked(batches: Sequence[RowChanges], order: np.ndarray) -> np.ndarray | None:
    if all(batch.unchecked is None for batch in batches):
        return None
    masks = [np.zeros(b.rows, bool) if b.unchecked is None else b.unchecked for b in batches]
    unchecked: np.ndarray = np.concatenate(masks)[order]
    return unchecked


def _mask(batch: RowChanges, name: str) -> np.ndarray:
    return batch.missing.get(name, np.zeros(batch.rows, bool))


def _before(batches: Sequence[RowChanges], order: np.ndarray) -> pa.RecordBatch | None:
    schema = next((b.before.schema for b in batches if b.before is not None), None)
    if schema is None:
        return None
    return _taken([_old_values(batch, schema) for batch in batches], order)


def _old_values(batch: RowChanges, schema: pa.Schema) -> pa.RecordBatch:
    """Return ``before``; if it is None every update kept its identity, and the after values stand
    for it."""
    if batch.before is not None:
        return batch.before
    updated = from_numpy(batch.op == Op.UPDATE)
    columns = [
        pc.if_else(updated, batch.after.column(name), scalar(None, kind))
        for name, kind in zip(schema.names, schema.types, strict=True)
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _taken(parts: Sequence[pa.RecordBatch], order: np.ndarray) -> pa.RecordBatch:
    if not parts[0].num_columns:  # a table without columns has rows all the same
        return pa.RecordBatch.from_struct_array(pa.array([{}] * len(order), pa.struct([])))
    return pa.concat_batches(parts).take(from_numpy(order))


Converted = tuple[RowChanges, RowChanges | None]
"""A batch, and what of it is to be applied with its order; None: nothing."""

Edge = tuple[int, Truncation | None]
"""(where a span ends, what comes between it and the next one)"""


@dataclass(frozen=True, slots=True)
class Spans:
    """A set's changes by table, and where it must be cut."""

    tables: Mapping[TableId, TableReplication]
    alias: str
    changes: ChangeSet
    converted: Sequence[Converted]
    foreign_keys_enforced: bool = False
    """The target's foreign keys cannot rest."""

    @property
    def changed(self) -> frozenset[TableId]:
        """The tables whose rows change."""
        changed = (batch.table for batch, changes in self.converted if changes is not None)
        return frozenset(map(self._with_alias, changed))

    def steps(self, *, singly: bool = False) -> list[NetChanges | Truncation]:
        """Return the steps of the set. ``singly``: each change by itself, in the order of the
        log."""
        steps: list[NetChanges | Truncation] = []
        low = -1
        runs = self._triggered_ranges()
        answered = {seq for run in runs for seq in range(*run)}
        for seq, between in (*self._edges(runs, singly=singly), (None, None)):
            net_changes = self._span(low, seq, cascades=low in answered, singly=singly)
            steps += (
                _deletes_last(net_changes)
                if self.foreign_keys_enforced and not singly
                else net_changes
            )
            steps += [] if between is None else [between]
            low = low if seq is None else seq
        return steps

    def logged(self) -> list[RowChanges | Truncation]:
        """Return every change of the set; a truncation comes after all changes before it."""
        logged: list[RowChanges | Truncation] = []
        low = -1
        for seq, between in (*self._truncations(), (None, None)):
            logged += [part for _, part in self._within(low, seq)]
            logged += [] if between is None else [between]
            low = low if seq is None else seq
        return logged

    @property
    def order(self) -> list[int]:
        """The place in the log of each change."""
        orders = [kept.seq for _, kept in self.converted if kept is not None]
        return sorted(int(seq) for several in orders for seq in several)

    def before(self, seq: int) -> Spans:
        """Return the part before a change."""
        parts = tuple(p for p in self.changes.parts if not isinstance(p, Truncate) or p.seq < seq)
        return replace(
            self, changes=replace(self.changes, parts=parts), converted=self._kept(upto=seq)
        )

    def without(self, seq: int) -> Spans:
        """Return the set without one change."""
        return replace(self, converted=self._kept(but=seq))

    def at(self, seq: int) -> tuple[RowChanges, int]:
        """Return the batch that contains a change, and its row there."""
        for batch, _ in self.converted:
            place = int(np.searchsorted(batch.seq, seq))
            if place < len(batch.seq) and batch.seq[place] == seq:
                return batch, place
        raise KeyError(seq)

    # Cutting

    def _kept(self, upto: int | None = None, but: int | None = None) -> list[Converted]:
        kept_batches: list[Converted] = []
        for batch, kept in self.converted:
            if kept is not None:
                keep = kept.seq != but if upto is None else kept.seq < upto
                kept = kept.filter(keep) if keep.any() else None
            kept_batches.append((batch, kept))
        return kept_batches

    def _with_alias(self, table: TableId) -> TableId:
        return TableId(table.schema, table.name, self.alias)

    def _triggered_ranges(self) -> list[tuple[int, int]]:
        """Return the half-open ``seq`` ranges whose changes triggered referential actions."""
        return [
            run
            for batch, _ in self.converted
            for run in self.tables[self._with_alias(batch.table)].triggered_ranges(batch)
        ]

    def _edges(self, answered: Sequence[tuple[int, int]], *, singly: bool) -> list[Edge]:
        """Return where the set must be split: a truncation, or a row with referential actions, must
        see all earlier changes and no later ones."""
        edges = self._truncations()
        edges += [(seq, None) for run in answered for seq in run]
        if singly:
            edges += [(seq, None) for seq in self.order]
        return sorted(edges, key=lambda edge: edge[0])

    def _truncations(self) -> list[Edge]:
        edges: list[Edge] = []
        for part in self.changes.parts:
            if isinstance(part, Truncate):
                tables = [self.tables.get(self._with_alias(table)) for table in part.tables]
                targets = [
                    table.mapping.target.id
                    for table in tables
                    # Who does not want rows to be deleted does not want all of them to be.
                    if table is not None and Op.DELETE in table.operations
                ]
                if targets:
                    edges.append((part.seq, Truncation(tuple(targets), part.restart_identity)))
        return edges

    def _span(
        self, low: int, high: int | None, *, cascades: bool, singly: bool
    ) -> list[NetChanges]:
        """Return the net changes of all tables with ``low`` <= seq < ``high``."""
        parts: dict[TableId, list[RowChanges]] = {}
        for name, part in self._within(low, high):
            parts.setdefault(name, []).append(part)
        whole = self.changes.position is not None
        protected: tuple[TableId, ...] = ()
        # In a part of a transaction they may still change: the next set says more.
        if self.foreign_keys_enforced and whole:
            protected = tuple(table.mapping.target.id for table in self.tables.values())
        steps: list[NetChanges] = []
        for name, several in parts.items():
            table = self.tables[name]
            unlogged = any(table.cascades)
            # Where foreign keys act, a row that moves takes those with it that refer to it. In
            # a whole set it need not: these have changed too when it goes.
            in_place = unlogged or (self.foreign_keys_enforced and (singly or not whole))
            protected_tables = () if unlogged else protected
            nets = net(several, table.key, in_place=in_place)
            if cascades or protected_tables:
                nets = [
                    replace(step, cascades=cascades, protected_tables=protected_tables)
                    for step in nets
                ]
            steps += nets
        return steps

    def _within(self, low: int, high: int | None) -> Iterator[tuple[TableId, RowChanges]]:
        """Yield (table, its changes) with ``low`` <= seq < ``high``."""
        for batch, changes in self.converted:
            part = None if changes is None else changes.within(low, high)
            if part is not None and part.rows:
                yield self._with_alias(batch.table), part


def _deletes_last(steps: Sequence[NetChanges]) -> list[NetChanges]:
    """Order the steps so that no row is referred to when it is deleted, and no foreign key acts.

    A table whose rows are moved in place keeps its order: a row may take the key of a deleted one.
    """
    several = Counter(step.table for step in steps)
    first, last = [], []
    for step in steps:
        if step.deletes is None or step.moves or several[step.table] > 1:
            first.append(step)
            continue
        last.append(replace(step, updates=(), inserts=None))
        if step.updates or step.inserts is not None:
            first.append(replace(step, deletes=None, copies=None))
    return first + last
