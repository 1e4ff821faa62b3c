"""One set of changes, cut into spans whose net changes are applied one after the other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from streams_engine.changes import (
    ChangeBatch,
    ChangeSet,
    Emptied,
    LoggedChanges,
    NetChanges,
    Op,
    SchemaChange,
    Truncate,
)
from streams_engine.model import TableId
from streams_engine.runtime.compaction import Changes, net
from streams_engine.runtime.followed import Followed

__all__ = ["Converted", "Spans"]

Converted = tuple[ChangeBatch, tuple[Changes, np.ndarray] | None]
"""A batch, and what of it is to be applied with its order; None: nothing."""

Edge = tuple[int, Emptied | None]
"""(where a span ends, what comes between it and the next one)"""


@dataclass(frozen=True, slots=True)
class Spans:
    """A set's changes by table, and where it must be cut."""

    tables: Mapping[TableId, Followed]
    alias: str
    changes: ChangeSet
    converted: Sequence[Converted]
    act: bool = False
    """The target's foreign keys cannot rest."""

    def steps(self, *, singly: bool = False) -> list[NetChanges | Emptied]:
        """What the set comes to. ``singly``: each change by itself, in the order of the log."""
        steps: list[NetChanges | Emptied] = []
        low = -1
        runs = self._answered()
        answered = {seq for run in runs for seq in range(*run)}
        for seq, between in (*self._edges(runs, singly=singly), (None, None)):
            found = self._span(low, seq, cascades=low in answered, singly=singly)
            steps += _deletes_last(found) if self.act and not singly else found
            steps += [] if between is None else [between]
            low = low if seq is None else seq
        return steps

    def logged(self) -> list[LoggedChanges | Emptied]:
        """Every change of the set; a truncation comes after all that came before it."""
        logged: list[LoggedChanges | Emptied] = []
        low = -1
        for seq, between in (*self._truncations(), (None, None)):
            for name, part, order in self._within(low, seq):
                logged.append(self.tables[name].logged(part, order))
            logged += [] if between is None else [between]
            low = low if seq is None else seq
        for change in self.changes.parts:
            if isinstance(change, SchemaChange) and change.after is None:
                # Its name may be given to another table, which begins without rows.
                found = self.tables.get(self._with_alias(change.table))
                logged += [] if found is None else [Emptied((found.mapping.target.id,))]
        return logged

    @property
    def order(self) -> list[int]:
        """The place in the log of each change."""
        found = [kept[1] for _, kept in self.converted if kept is not None]
        return sorted(int(seq) for several in found for seq in several)

    def before(self, seq: int) -> Spans:
        """What comes before a change."""
        parts = tuple(p for p in self.changes.parts if not isinstance(p, Truncate) or p.seq < seq)
        return replace(
            self, changes=replace(self.changes, parts=parts), converted=self._kept(upto=seq)
        )

    def without(self, seq: int) -> Spans:
        """All but one change."""
        return replace(self, converted=self._kept(but=seq))

    def at(self, seq: int) -> tuple[ChangeBatch, int]:
        """(the batch that a change is of, its row there)."""
        for batch, _ in self.converted:
            place = int(np.searchsorted(batch.seq, seq))
            if place < len(batch.seq) and batch.seq[place] == seq:
                return batch, place
        raise KeyError(seq)

    # Cutting

    def _kept(self, upto: int | None = None, but: int | None = None) -> list[Converted]:
        found: list[Converted] = []
        for batch, kept in self.converted:
            if kept is not None:
                changes, seq = kept
                keep = seq != but if upto is None else seq < upto
                kept = (changes.only(keep), seq[keep]) if keep.any() else None
            found.append((batch, kept))
        return found

    def _with_alias(self, table: TableId) -> TableId:
        return TableId(table.schema, table.name, self.alias)

    def _answered(self) -> list[tuple[int, int]]:
        """The runs (first seq, seq after the last) of changes that foreign keys answered."""
        return [
            run
            for batch, _ in self.converted
            for run in self.tables[self._with_alias(batch.table)].acting(batch)
        ]

    def _edges(self, answered: Sequence[tuple[int, int]], *, singly: bool) -> list[Edge]:
        """A truncation, or a row whose foreign keys act, has to find all that came before it, and
        nothing of what came after."""
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
                    edges.append((part.seq, Emptied(tuple(targets), part.restart_identity)))
        return edges

    def _span(
        self, low: int, high: int | None, *, cascades: bool, singly: bool
    ) -> list[NetChanges]:
        """The net changes of all tables with ``low`` <= seq < ``high``."""
        parts: dict[TableId, list[Changes]] = {}
        for name, part, _ in self._within(low, high):
            parts.setdefault(name, []).append(part)
        whole = self.changes.position is not None
        spared: tuple[TableId, ...] = ()
        if self.act and whole:  # of a part of a transaction, they may change in the next one
            spared = tuple(table.mapping.target.id for table in self.tables.values())
        steps: list[NetChanges] = []
        for name, several in parts.items():
            table = self.tables[name]
            unlogged = any(table.cascades)
            # Where foreign keys act, a row that moves takes those with it that refer to it. In
            # a whole set it need not: these have changed too when it goes.
            in_place = unlogged or (self.act and (singly or not whole))
            spares = () if unlogged else spared
            nets = net(table.shape, several, in_place=in_place)
            if cascades or spares:
                nets = [replace(step, cascades=cascades, spares=spares) for step in nets]
            steps += nets
        return steps

    def _within(self, low: int, high: int | None) -> Iterator[tuple[TableId, Changes, np.ndarray]]:
        """(table, its changes, their order) of what has ``low`` <= seq < ``high``."""
        for batch, found in self.converted:
            if found is None:
                continue
            changes, seq = found
            start = int(np.searchsorted(seq, low))
            end = len(seq) if high is None else int(np.searchsorted(seq, high))
            if end > start:
                part = changes if end - start == len(seq) else changes.part(start, end)
                yield self._with_alias(batch.table), part, seq[start:end]


def _deletes_last(steps: Sequence[NetChanges]) -> list[NetChanges]:
    """The steps so that nobody refers to a row any more when it goes: no foreign key has
    anything to do then.

    A table whose rows move by themselves keeps its order: a row may come where another one went.
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
