"""The contract of a sink that changes are applied to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from streams_engine.contracts.sink import QuarantinedRow, Statement
from streams_engine.model import (
    Column,
    Finding,
    NetChanges,
    Position,
    RowChanges,
    RowTexts,
    TableId,
    TableSchema,
    Truncation,
)

__all__ = [
    "ApplyResult",
    "ChangeSink",
    "ChangeWriter",
    "FencedWriter",
    "LogWriter",
    "SmallSetWriter",
    "StateWriter",
    "TableWriter",
    "TextWriter",
]


@dataclass(frozen=True, slots=True)
class ApplyResult:
    """The result of one `ChangeWriter.apply`, by target table."""

    rows: Mapping[TableId, int]
    """Rows that were inserted, updated or deleted."""
    unmatched: Mapping[TableId, int]
    """Updates and deletes whose row was not there: the target has diverged."""
    bytes: int = 0


class ChangeWriter(Protocol):
    """One stream's way into a target. Used by one thread; one transaction at a time."""

    document: Mapping[str, Any] | None
    """What the last commit under this key said, also of an earlier process; None: nothing."""
    foreign_keys_enforced: bool
    """The target's foreign keys cannot rest: they are looked at, and cascade."""

    @property
    def findings(self) -> Sequence[Finding]:
        """Findings on limits of this target."""
        ...

    def apply(self, steps: Sequence[NetChanges | Truncation]) -> ApplyResult:
        """Apply steps in order within the transaction that `commit` ends, begun if need be.

        Raises `RowRejected` naming table, column and constraint; nothing stays then.
        """
        ...

    def execute(self, statements: Sequence[Statement]) -> Sequence[Finding]:
        """Run DDL within the transaction if the target can, else after a commit."""
        ...

    def commit(
        self,
        document: Mapping[str, Any],
        records: Mapping[str, Mapping[str, Any] | None] | None = None,
        quarantined: Sequence[QuarantinedRow] = (),
    ) -> None:
        """Commit the applied changes together with the document, further records, and quarantined
        rows.

        Raises `FencedOff`, with everything rolled back, if another process has taken over the
        stream.
        """
        ...

    def rollback(self) -> None:
        """Roll back the changes applied since the last commit."""
        ...


@runtime_checkable
class SmallSetWriter(ChangeWriter, Protocol):
    """A writer that applies and commits a small set at once."""

    def apply_and_commit(
        self, steps: Sequence[NetChanges | Truncation], document: Mapping[str, Any]
    ) -> ApplyResult | None:
        """Do what `apply` and `commit` would, in one round trip. Nothing is applied since the last
        commit.

        Returns None, with nothing done, if the set is not for this, or a row of it is refused:
        `apply` tells more. Raises `FencedOff` as `commit` does.
        """
        ...


@runtime_checkable
class TextWriter(SmallSetWriter, Protocol):
    """A writer that takes a small set as texts."""

    def apply_texts_and_commit(
        self, rows: Sequence[RowTexts], document: Mapping[str, Any]
    ) -> ApplyResult | None:
        """Do what `apply_and_commit` does, with rows in the order of the log; one may come several
        times.

        Returns None, with nothing done, if the set is not for this, or a row of it is refused.
        """
        ...


@runtime_checkable
class FencedWriter(Protocol):
    """A writer that can say without a commit whether another process took the stream over."""

    def check_fence(self) -> None:
        """Raise `FencedOff` if another process has taken over the stream. Call it when nothing is
        applied since the last commit."""
        ...


@runtime_checkable
class StateWriter(Protocol):
    """A writer whose session can read what the stream's checkpoint holds."""

    def load_state(self) -> Mapping[str, Mapping[str, Any]]:
        """Do what `CheckpointStorage.load_state` does for its stream. Call it when nothing is
        applied since the last commit."""
        ...


@runtime_checkable
class LogWriter(ChangeWriter, Protocol):
    """A writer that keeps the log itself: it is given every change, by `append` instead of
    `apply`, and its commits are worth gathering many sets for."""

    @property
    def full(self) -> bool:
        """True once so much is held that it should be committed at the next boundary."""
        ...

    def append(
        self,
        changes: Sequence[RowChanges | Truncation],
        position: Position | None,
        committed_at: float | None,
    ) -> ApplyResult:
        """Hold the changes of one set, in order, until `commit`.

        ``position`` and ``committed_at`` are the set's. Without a position the transaction
        continues in the next set, and `commit` is called only after a set that has one.
        """
        ...

    def create(self, table: TableId, columns: Sequence[Column], identity: Sequence[str]) -> None:
        """Hold that a table without rows begins, perhaps under the name of one that was dropped.
        The set continues."""
        ...

    def drop(self, table: TableId) -> None:
        """Hold that a table no longer exists. The set continues."""
        ...

    def column_names(self, table: TableId) -> AbstractSet[str]:
        """Return the names of the columns in which rows that were given may have values."""
        ...


@runtime_checkable
class TableWriter(ChangeWriter, Protocol):
    """A writer of a sink that makes its tables itself (`LayoutSink`): it changes them too."""

    def alter(
        self,
        before: TableSchema | None,
        after: TableSchema | None,
        renamed: Mapping[str, str],
    ) -> None:
        """Change a target table within the transaction that `commit` ends.

        ``before`` is None for a new table, ``after`` for a dropped one. ``renamed`` maps old to new
        column names; other columns that only ``after`` has are new, and NULL in existing rows.
        """
        ...


@runtime_checkable
class ChangeSink(Protocol):
    """A sink that changes can be applied to."""

    transactional_ddl: bool
    """DDL is part of the transaction, or commits by itself."""

    def change_writer(self, stream: str, key: str) -> AbstractContextManager[ChangeWriter]:
        """Take over the stream's changes under a key: whoever had them before is fenced off."""
        ...
