"""What the next commit makes durable."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace

import numpy as np

from streams_engine.contracts import QuarantinedRow
from streams_engine.model import (
    ChangeSet,
    NetChanges,
    RowChanges,
    RowTexts,
    TableId,
    Truncation,
)
from streams_engine.pipeline.changes.spans import Spans
from streams_engine.pipeline.checkpoint_records import Updates

__all__ = ["PendingCommit"]


@dataclass
class PendingCommit:
    """Everything that the next commit makes durable. Replaced after each commit, and discarded with
    a broken session."""

    applied: bool = False
    """Changes were given to the target since the last commit."""
    gathered: ChangeSet | None = None
    """The sets that wait for more before they are committed: transactions, time and position."""
    gathering_since: float = 0.0
    passed: ChangeSet | None = None
    """The last position without changes, while it is too soon to record it: a reader gives none
    twice."""
    within: bool = False
    """A transaction continues in the next set."""
    updates: Updates = field(default_factory=dict)
    """Checkpoint records to put or to remove."""
    quarantined: list[QuarantinedRow] = field(default_factory=list)
    held: tuple[Spans, list[NetChanges | Truncation]] | None = None
    """A set that the commit applies, and its steps."""
    texts: tuple[ChangeSet, list[RowTexts]] | None = None
    """A set that the commit applies as texts."""
    counts: dict[TableId, list[int]] = field(default_factory=dict)
    """By source table: changes applied, one number for each `Op`, and rows quarantined."""

    @property
    def empty(self) -> bool:
        """True if only a position would become durable."""
        return not (self.applied or self.updates or self.quarantined)

    def gather(self, changes: ChangeSet) -> None:
        """Add an applied set to those that are committed together."""
        before = self.gathered
        if before is None:
            self.gathering_since = time.monotonic()
            self.gathered = replace(changes, parts=())
            return
        self.gathered = replace(
            changes,
            parts=(),
            transactions=before.transactions + changes.transactions,
            committed_at=changes.committed_at or before.committed_at,
        )

    def reject(self, table: TableId, row: QuarantinedRow, op: int) -> None:
        """Quarantine a row that was counted as applied, as a change of the kind ``op``."""
        self.quarantined.append(row)
        counts = self.counts[table]
        counts[op], counts[3] = counts[op] - 1, counts[3] + 1

    def count(self, table: TableId, changes: RowChanges | None, quarantined: int) -> None:
        """Count changes of a table, and rows of it that were quarantined."""
        counts = self.counts.setdefault(table, [0, 0, 0, 0])
        counts[3] += quarantined
        if changes is not None:
            for op, number in enumerate(np.bincount(changes.op).tolist()):
                counts[op] += number

    def count_one(self, table: TableId, op: int) -> None:
        """Count a change of a table."""
        self.counts.setdefault(table, [0, 0, 0, 0])[op] += 1
