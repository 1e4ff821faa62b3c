"""Change writer of PostgreSQL: rows, structure and position in one transaction."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence

import psycopg

from streams_engine.adapters.postgres.connection import translating
from streams_engine.adapters.postgres.sink.checkpoint_table import PostgresStateTables
from streams_engine.adapters.postgres.sink.ddl import run_statements
from streams_engine.adapters.postgres.sink.deferred import DeferredChanges
from streams_engine.adapters.postgres.sink.dml import PostgresDml
from streams_engine.adapters.postgres.sink.small_sets import RowStatement, SmallSets
from streams_engine.adapters.sql.change_writer import Claim, StepOrder, StepsAsTheyCome
from streams_engine.adapters.sql.checkpoint_table import fenced_off
from streams_engine.contracts import ApplyResult, Statement
from streams_engine.errors import RowRejected
from streams_engine.model import Finding, NetChanges, RowTexts, Severity, Truncation

__all__ = ["PostgresChangeSession"]

FOREIGN_KEYS_ENFORCED = Finding(
    Severity.WARNING,
    "foreign-keys-act",
    "target",
    "The account may not set session_replication_role: triggers fire and foreign keys are "
    "enforced, at the end of the transaction if they are DEFERRABLE. Changes that violate them "
    "are retried after other changes of their set, at last one by one, which is slow.",
    "GRANT SET ON PARAMETER session_replication_role TO the account (PostgreSQL 15), "
    "or use a superuser.",
)


class PostgresChangeSession:
    """Session in which foreign keys and triggers are off if the account may turn them off.

    See `ChangeSession`.
    """

    def __init__(self, connection: psycopg.Connection, tables: PostgresStateTables) -> None:
        self._connection = connection
        self._position = tables.position_update("$1", "$2", "$3", "$4")
        self.foreign_keys_enforced = not self._without_triggers()
        self._changer = PostgresDml(connection, enforced=self.foreign_keys_enforced)
        self.empty: Callable[[Truncation], None] = self._changer.empty
        self.ended = self._changer.ended
        self._small = SmallSets(connection, self._changer)

    @property
    def findings(self) -> Sequence[Finding]:
        """Finding that foreign keys are enforced, if the account may not turn them off."""
        return (FOREIGN_KEYS_ENFORCED,) if self.foreign_keys_enforced else ()

    @property
    def bytes(self) -> int:
        """Bytes sent to the target."""
        return self._changer.bytes + self._small.sent

    def _without_triggers(self) -> bool:
        """Turn foreign keys and triggers off, because their effects are in the log; return False if
        the role may not.

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

    def begin(self) -> None:
        """Do nothing: the first statement begins a transaction."""

    def order(self, change: Callable[[NetChanges], None]) -> StepOrder:
        """Return the order of a set: where foreign keys are enforced, what they refuse waits."""
        if not self.foreign_keys_enforced:
            return StepsAsTheyCome(change)
        with translating("deferring constraints"):
            self._connection.execute("SET CONSTRAINTS ALL DEFERRED")
        return DeferredChanges(change)

    def change(self, step: NetChanges) -> tuple[int, int]:
        """Apply one table's changes. Raises `RowRejected`, and psycopg's errors."""
        try:
            self._changer.check_protected(step)
            with self._changer.undoing(self.foreign_keys_enforced):
                return self._changer.change(step)
        except RowRejected as error:
            # What is found before anything is sent knows no table.
            raise RowRejected(
                f"changing {step.table}: {error.message}",
                remedy=error.remedy,
                **{**error.details, "table": str(step.table)},
            ) from None

    def at_once(self, steps: Sequence[NetChanges | Truncation], claim: Claim) -> ApplyResult | None:
        """Apply a small set in one flush of a pipeline, the position and COMMIT with it."""
        try:
            statements = self._small.statements(steps)
        except RowRejected:
            return None
        return self._run(statements, claim) if statements else None

    def texts_at_once(self, rows: Sequence[RowTexts], claim: Claim) -> ApplyResult | None:
        """Apply rows as texts in one flush of a pipeline, the position and COMMIT with them."""
        statements = self._small.text_statements(rows)
        return self._run(statements, claim) if statements else None

    def _run(self, statements: Sequence[RowStatement], claim: Claim) -> ApplyResult | None:
        values = (claim.document, claim.stream, claim.key, str(claim.epoch))
        try:
            return self._small.run(statements, self._position, [v.encode() for v in values])
        except psycopg.errors.DivisionByZero:
            raise fenced_off(claim.stream) from None

    def undoing(self) -> contextlib.AbstractContextManager[None]:
        """Undo what a refused set did, if foreign keys are enforced; the transaction goes on."""
        return self._changer.undoing(self.foreign_keys_enforced)

    @contextlib.contextmanager
    def foreign_keys_active(self) -> Iterator[None]:
        """Enforce foreign keys and fire triggers inside the block."""
        self._connection.execute("SET LOCAL session_replication_role = origin")
        yield
        self._connection.execute("SET LOCAL session_replication_role = replica")

    def execute(self, statements: Sequence[Statement]) -> Sequence[Finding]:
        """Run DDL within the transaction."""
        findings = run_statements(self._connection, statements, self._changer.undoing)
        self._changer.forget()
        self._small.forget()
        return findings
