"""One stream's changes into PostgreSQL: rows, structure and position in one transaction."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import psycopg

from streams_engine.adapters.postgres.changing import Changer
from streams_engine.adapters.postgres.connect import translating
from streams_engine.adapters.postgres.state import StateTable
from streams_engine.adapters.postgres.structure import run_statements
from streams_engine.adapters.postgres.waiting import Waiting
from streams_engine.changes import Emptied, NetChanges
from streams_engine.errors import FencedOff, RowRejected
from streams_engine.model import Finding, Severity, TableId
from streams_engine.protocols import Applied, Rejected, Statement

__all__ = ["PostgresChangeWriter"]


class PostgresChangeWriter:
    """Changes on a connection of its own, whose transaction `commit` ends. Used by one thread."""

    def __init__(
        self, connection: psycopg.Connection, state: StateTable, stream: str, key: str
    ) -> None:
        self._connection = connection
        self._state = state
        self._stream = stream
        self._key = key
        self.foreign_keys_act = not self._without_triggers()
        self._changer = Changer(connection, acting=self.foreign_keys_act)
        self.document: Mapping[str, Any] | None
        state.begin(connection)
        with translating("taking over the stream"):
            self.document, self._epoch = state.claim(connection, stream, key)
            connection.commit()

    @property
    def findings(self) -> Sequence[Finding]:
        """That foreign keys are looked at, where the account may not let them rest."""
        if not self.foreign_keys_act:
            return ()
        return (
            Finding(
                Severity.WARNING,
                "foreign-keys-act",
                "target",
                "The account may not set session_replication_role: triggers fire, and foreign keys "
                "are looked at, deferred where they are deferrable. Changes that they refuse wait "
                "for others of their set, at last one after the other, which is slow.",
                "GRANT SET ON PARAMETER session_replication_role TO the account (PostgreSQL 15), "
                "or use a superuser.",
            ),
        )

    def _without_triggers(self) -> bool:
        """Foreign keys and triggers did their work on the source. True where they can rest.

        https://www.postgresql.org/docs/current/runtime-config-client.html
        """
        with translating("preparing the session"):
            try:
                self._connection.execute("SET SESSION session_replication_role = replica")
                self._connection.commit()
            except psycopg.errors.InsufficientPrivilege:
                self._connection.rollback()
                return False
        return True

    def apply(self, steps: Sequence[NetChanges | Emptied]) -> Applied:
        """Apply steps in order. Raises `RowRejected` naming table and constraint.

        Where foreign keys act, steps that they refuse wait for others.
        """
        rows: Counter[TableId] = Counter()
        unmet: Counter[TableId] = Counter()
        before = self._changer.bytes

        def change(step: NetChanges) -> None:
            with translating(f"changing {step.table}"), self._acting(step):
                changed, missed = self._changed(step)
            rows[step.table] += changed
            unmet[step.table] += missed

        waiting = Waiting(change)
        if self.foreign_keys_act:
            with translating("deferring constraints"):
                self._connection.execute("SET CONSTRAINTS ALL DEFERRED")
        for step in steps:
            if isinstance(step, Emptied):
                waiting.demand_none()
                with translating(f"emptying {', '.join(map(str, step.tables))}"):
                    self._changer.empty(step)
            elif self.foreign_keys_act:
                waiting.take(step)
            else:
                change(step)
        waiting.demand_none()
        return Applied(dict(rows), dict(+unmet), self._changer.bytes - before)

    def _changed(self, step: NetChanges) -> tuple[int, int]:
        try:
            self._changer.demand_spared(step)
            with self._changer.undoing(self.foreign_keys_act):
                return self._changer.change(step)
        except RowRejected as error:
            # What is found before anything is sent knows no table.
            raise RowRejected(
                f"changing {step.table}: {error.message}",
                remedy=error.remedy,
                **{**error.details, "table": str(step.table)},
            ) from None

    @contextlib.contextmanager
    def _acting(self, step: NetChanges) -> Any:
        """Foreign keys act for a step whose log does not carry what they did."""
        if self.foreign_keys_act or not step.cascades:
            yield
            return
        self._connection.execute("SET LOCAL session_replication_role = origin")
        yield
        self._connection.execute("SET LOCAL session_replication_role = replica")

    def execute(self, statements: Sequence[Statement]) -> Sequence[Finding]:
        """Run DDL within the transaction."""
        findings = run_statements(self._connection, statements, self._changer.undoing)
        self._changer.forget()
        return findings

    def commit(
        self,
        document: Mapping[str, Any],
        records: Mapping[str, Mapping[str, Any] | None] | None = None,
        rejected: Sequence[Rejected] = (),
    ) -> None:
        """Commit rows and records, if the stream is still ours."""
        if records:
            self._state.save(self._connection, self._stream, records)
        if rejected:
            self._state.set_aside(self._connection, self._stream, rejected)
        with translating("committing changes"):
            ours = self._state.advance(
                self._connection, self._stream, self._key, self._epoch, document
            )
        if not ours:
            self.abandon()
            raise FencedOff(
                f"Another process runs the stream '{self._stream}' now; nothing of this set is "
                "kept here.",
                remedy="Run a stream in one process at a time.",
            )
        self._changer.ended(committed=True)
        self.document = document

    def abandon(self) -> None:
        """Roll back."""
        with contextlib.suppress(psycopg.Error):
            self._connection.rollback()
        self._changer.ended(committed=False)
