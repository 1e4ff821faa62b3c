"""One stream's changes into MySQL or MariaDB: rows and position in one transaction.

What foreign keys do, the source did: they are not looked at. DDL commits by itself, so it is
run between transactions only.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pymysql

from streams_engine.adapters.mysql.changing import Changer
from streams_engine.adapters.mysql.connect import translating
from streams_engine.adapters.mysql.state import StateTable
from streams_engine.changes import Emptied, NetChanges
from streams_engine.errors import FencedOff, InternalError, RowRejected, StreamsError
from streams_engine.model import Finding, TableId
from streams_engine.protocols import Applied, Rejected, Statement, left_out

__all__ = ["MysqlChangeWriter"]


class MysqlChangeWriter:
    """Changes on a connection of its own, whose transaction `commit` ends. Used by one thread."""

    findings: Sequence[Finding] = ()
    foreign_keys_act = False

    def __init__(
        self, connection: Any, changer: Changer, state: StateTable, stream: str, key: str
    ) -> None:
        self._connection = connection
        self._changer = changer
        self._state = state
        self._stream = stream
        self._key = key
        self._within = False
        self.document: Mapping[str, Any] | None
        with translating("taking over the stream"):
            self._look(False)
            state.begin(connection)
            self.document, self._epoch = state.claim(connection, stream, key)
            connection.commit()

    def _look(self, wanted: bool) -> None:
        """Whether foreign keys are looked at, and act."""
        with self._connection.cursor() as cursor:
            cursor.execute(f"SET SESSION foreign_key_checks = {int(wanted)}")

    def apply(self, steps: Sequence[NetChanges | Emptied]) -> Applied:
        """Apply steps in order. Raises `RowRejected` naming table and column."""
        rows: dict[TableId, int] = {}
        unmet: dict[TableId, int] = {}
        before = self._changer.bytes
        self._begin()
        for step in steps:
            if isinstance(step, Emptied):
                with translating(f"emptying {', '.join(map(str, step.tables))}"):
                    self._changer.empty(step)
                continue
            with translating(f"changing {step.table}"), self._acting(step):
                changed, missed = self._changed(step)
            rows[step.table] = rows.get(step.table, 0) + changed
            if missed:
                unmet[step.table] = unmet.get(step.table, 0) + missed
        return Applied(rows, unmet, self._changer.bytes - before)

    def _changed(self, step: NetChanges) -> tuple[int, int]:
        try:
            return self._changer.change(step)
        except (pymysql.IntegrityError, pymysql.DataError) as error:
            raise RowRejected(
                f"changing {step.table}: a row breaks a constraint, or a value does not fit "
                f"(error {error.args[0]}).",
                remedy="Repair the row on the target, or widen the column with typeOverrides.",
                table=str(step.table),
                errno=error.args[0],
            ) from None

    def _begin(self) -> None:
        if not self._within:
            with translating("writing to the target"):
                self._connection.begin()
            self._within = True

    @contextlib.contextmanager
    def _acting(self, step: NetChanges) -> Iterator[None]:
        """Foreign keys act for a step whose log does not carry what they did."""
        if not step.cascades:
            yield
            return
        self._look(True)
        try:
            yield
        except BaseException:
            # The session outlives the refused step. Where even this fails it is broken.
            with contextlib.suppress(pymysql.MySQLError, OSError):
                self._look(False)
            raise
        self._look(False)

    def execute(self, statements: Sequence[Statement]) -> Sequence[Finding]:
        """Run DDL; what was applied before must be committed, for each commits by itself."""
        if self._within:
            raise InternalError("DDL would commit rows whose position is not written yet.")
        findings = []
        for statement in statements:
            try:
                with translating(statement.object), self._connection.cursor() as cursor:
                    cursor.execute(statement.sql)
            except StreamsError as error:
                if not statement.optional:
                    raise
                findings.append(left_out(statement, error))
        self._changer.forget()
        return findings

    def commit(
        self,
        document: Mapping[str, Any],
        records: Mapping[str, Mapping[str, Any] | None] | None = None,
        rejected: Sequence[Rejected] = (),
    ) -> None:
        """Commit rows and records, if the stream is still ours."""
        self._begin()
        if records:
            self._state.save(self._connection, self._stream, records)
        if rejected:
            self._state.set_aside(self._connection, self._stream, rejected)
        with translating("writing the position"):
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
        with translating("committing changes"):
            self._connection.commit()
        self._within = False
        self.document = document

    def abandon(self) -> None:
        """Roll back."""
        with contextlib.suppress(pymysql.MySQLError, OSError):
            self._connection.rollback()
        self._within = False
