"""Writer of a stream's changes to an SQL database: rows and position in one transaction.

The dialect supplies the session: how rows are changed, whether foreign keys are enforced, and
whether DDL is part of the transaction.
"""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any, Protocol

import pyarrow as pa

from streams_engine.adapters.sql.checkpoint_table import CheckpointTable, Records, fenced_off
from streams_engine.contracts import ApplyResult, QuarantinedRow, Statement
from streams_engine.model import Finding, NetChanges, RowTexts, TableId, Truncation

__all__ = [
    "ChangeSession",
    "Claim",
    "SqlChangeWriter",
    "StepOrder",
    "StepsAsTheyCome",
    "change_table",
]


def change_table(
    net: NetChanges,
    *,
    delete: Callable[[NetChanges, pa.RecordBatch], int],
    move: Callable[[NetChanges, pa.RecordBatch, pa.RecordBatch], int],
    update: Callable[[NetChanges], int],
    insert: Callable[[NetChanges, pa.RecordBatch], int],
) -> tuple[int, int]:
    """Apply one table's changes. Returns (rows changed, rows that were not there).

    Rows go before others take their keys. Each function returns how many rows it changed.
    """
    changed = wanted = 0
    if net.deletes is not None:
        wanted += net.deletes.num_rows if net.copies is None else int(net.copies.sum())
        changed += delete(net, net.deletes)
    for old, new in net.moves:
        wanted += 1
        changed += move(net, old, new)
    if net.updates:
        wanted += sum(batch.num_rows for batch in net.updates)
        changed += update(net)
    if net.inserts is not None:
        wanted += net.inserts.num_rows
        changed += insert(net, net.inserts)
    return changed, wanted - changed


@dataclass(frozen=True, slots=True)
class Claim:
    """A claimed record of the checkpoint, and what is to be written there."""

    stream: str
    key: str
    epoch: int
    document: str


class StepOrder(Protocol):
    """Applies the steps of one set, in an order that the target takes."""

    def take(self, step: NetChanges) -> None:
        """Apply a step, now or later."""

    def demand_none(self) -> None:
        """Apply the deferred steps. Raises the error of the first one that is rejected."""


class StepsAsTheyCome:
    """Applies each step at once by ``change``."""

    def __init__(self, change: Callable[[NetChanges], None]) -> None:
        self.take = change

    def demand_none(self) -> None:
        """Do nothing: no step is deferred."""


class ChangeSession(Protocol):
    """A connection of a dialect's own on which changes are applied. Used by one thread."""

    foreign_keys_enforced: bool
    """Foreign keys cannot rest: see `ChangeWriter`."""

    @property
    def findings(self) -> Sequence[Finding]:
        """Findings on missing privileges of the account."""

    @property
    def bytes(self) -> int:
        """Bytes sent to the target."""

    def begin(self) -> None:
        """Begin a transaction if there is none."""

    def order(self, change: Callable[[NetChanges], None]) -> StepOrder:
        """Return the order in which the steps of a set go to ``change``."""

    def change(self, step: NetChanges) -> tuple[int, int]:
        """Apply one table's changes: (rows changed, rows that were not there).

        Raises `RowRejected` naming the table.
        """

    def empty(self, step: Truncation) -> None:
        """Empty tables."""

    def foreign_keys_active(self) -> AbstractContextManager[None]:
        """Enforce foreign keys inside the block."""

    def undoing(self) -> AbstractContextManager[None]:
        """Undo what a refused set did, if foreign keys are enforced; it may fit in another
        order."""

    def execute(self, statements: Sequence[Statement]) -> Sequence[Finding]:
        """Run DDL. Optional statements that fail become findings."""

    def at_once(self, steps: Sequence[NetChanges | Truncation], claim: Claim) -> ApplyResult | None:
        """Apply the steps, write the claimed record and commit, in one round trip.

        Returns None, with nothing done, if these steps need more than that, or the server refused
        a row. Raises `FencedOff` if the record was claimed again.
        """

    def texts_at_once(self, rows: Sequence[RowTexts], claim: Claim) -> ApplyResult | None:
        """Apply rows as texts, as `at_once` does steps."""

    def ended(self, *, committed: bool) -> None:
        """Take note of the end of the transaction."""


class SqlChangeWriter:
    """Changes on a connection of its own, whose transaction `commit` ends. Used by one thread.

    See `contracts.ChangeWriter`.
    """

    def __init__(
        self,
        connection: Any,
        session: ChangeSession,
        state: CheckpointTable[Any],
        stream: str,
        key: str,
    ) -> None:
        self._connection = connection
        self._session = session
        self._state = state
        self._stream = stream
        self._key = key
        self._translating = state.tables.translating
        self.document: Mapping[str, Any] | None
        self.foreign_keys_enforced = session.foreign_keys_enforced
        self.findings = session.findings
        with self._translating("taking over the stream"):
            state.begin(connection)
            self.document, self._epoch = state.tables.claim(connection, stream, key)
            connection.commit()

    def apply(self, steps: Sequence[NetChanges | Truncation]) -> ApplyResult:
        """Apply steps in order. Raises `RowRejected` naming table, column and constraint.

        Where foreign keys are enforced, steps that they refuse wait for others.
        """
        rows: Counter[TableId] = Counter()
        unmatched: Counter[TableId] = Counter()
        session, before = self._session, self._session.bytes

        def change(step: NetChanges) -> None:
            with self._translating(f"changing {step.table}"), self._cascading(step):
                changed, missed = session.change(step)
            rows[step.table] += changed
            unmatched[step.table] += missed

        session.begin()
        with session.undoing():
            order = session.order(change)
            for step in steps:
                if isinstance(step, Truncation):
                    order.demand_none()
                    with self._translating(f"emptying {', '.join(map(str, step.tables))}"):
                        session.empty(step)
                else:
                    order.take(step)
            order.demand_none()
        return ApplyResult(dict(rows), dict(+unmatched), session.bytes - before)

    def _cascading(self, step: NetChanges) -> AbstractContextManager[None]:
        """Enforce foreign keys during a step whose log lacks the referential actions."""
        idle = self.foreign_keys_enforced or not step.cascades
        return contextlib.nullcontext() if idle else self._session.foreign_keys_active()

    def execute(self, statements: Sequence[Statement]) -> Sequence[Finding]:
        """Run DDL within the transaction if the target can, else after a commit."""
        return self._session.execute(statements)

    def commit(
        self,
        document: Mapping[str, Any],
        records: Records | None = None,
        quarantined: Sequence[QuarantinedRow] = (),
    ) -> None:
        """Commit rows and records, if the stream is still ours."""
        self._session.begin()
        if records:
            self._state.save(self._connection, self._stream, records)
        self._state.quarantine(self._connection, self._stream, quarantined)
        with self._translating("committing changes"):
            ours = self._state.commit_claimed(
                self._connection, self._stream, self._key, self._epoch, document
            )
        if not ours:
            self.rollback()
            raise fenced_off(self._stream)
        self._session.ended(committed=True)
        self.document = document

    def apply_and_commit(
        self, steps: Sequence[NetChanges | Truncation], document: Mapping[str, Any]
    ) -> ApplyResult | None:
        """Apply a small set and commit it with the document; see `contracts.SmallSetWriter`."""
        tables = (step.table for step in steps if isinstance(step, NetChanges))
        return self._at_once(tables, document, lambda claim: self._session.at_once(steps, claim))

    def apply_texts_and_commit(
        self, rows: Sequence[RowTexts], document: Mapping[str, Any]
    ) -> ApplyResult | None:
        """Apply rows as texts and commit them with the document; see `contracts.TextWriter`."""
        tables = (row.table for row in rows)
        return self._at_once(
            tables, document, lambda claim: self._session.texts_at_once(rows, claim)
        )

    def _at_once(
        self,
        tables: Iterable[TableId],
        document: Mapping[str, Any],
        send: Callable[[Claim], ApplyResult | None],
    ) -> ApplyResult | None:
        if self.foreign_keys_enforced:
            return None
        before = self._session.bytes
        text = json.dumps({**document, "epoch": self._epoch})
        with self._translating(f"changing {', '.join(dict.fromkeys(map(str, tables)))}"):
            applied = send(Claim(self._stream, self._key, self._epoch, text))
        if applied is None:
            return None
        self._session.ended(committed=True)
        self.document = document
        return replace(applied, bytes=self._session.bytes - before)

    def load_state(self) -> Mapping[str, Mapping[str, Any]]:
        """Return the stream's records, over the session's own connection."""
        records = self._state.load(self._connection, self._stream)
        with self._translating("reading the checkpoint"):
            self._connection.rollback()
        return records

    def check_fence(self) -> None:
        """Raise `FencedOff` if another process has taken over the stream."""
        with self._translating("finding the process that runs the stream"):
            epoch = self._state.epoch(self._connection, self._stream, self._key)
            self._connection.rollback()
        if epoch != self._epoch:
            raise fenced_off(self._stream)

    def rollback(self) -> None:
        """Roll back."""
        with contextlib.suppress(*self._state.tables.errors):
            self._connection.rollback()
        self._session.ended(committed=False)
