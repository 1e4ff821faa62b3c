"""Change writer of MySQL and MariaDB.

Foreign keys are not enforced, because the log contains their effects. DDL commits implicitly, so it
runs only between transactions.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pymysql

from streams_engine.adapters.mysql.connection import translating
from streams_engine.adapters.mysql.sink.dml import MysqlDml
from streams_engine.adapters.mysql.sink.row_errors import REASONS
from streams_engine.adapters.sql.change_writer import Claim, StepsAsTheyCome
from streams_engine.contracts import ApplyResult, Statement, skipped_statement
from streams_engine.errors import InternalError, RowRejected, StreamsError
from streams_engine.model import Finding, NetChanges, RowTexts, Truncation

__all__ = ["MysqlChangeSession"]


class MysqlChangeSession:
    """A session in which foreign keys rest. See `ChangeSession`."""

    findings: Sequence[Finding] = ()
    foreign_keys_enforced = False
    order = StepsAsTheyCome

    def __init__(self, connection: Any, changer: MysqlDml) -> None:
        self._connection = connection
        self._changer = changer
        self._within = False
        self.empty: Callable[[Truncation], None] = changer.empty
        with translating("taking over the stream"):
            self._check_foreign_keys(False)

    @property
    def bytes(self) -> int:
        """Bytes sent to the target."""
        return self._changer.bytes

    def begin(self) -> None:
        """Begin a transaction if there is none."""
        if not self._within:
            with translating("writing to the target"):
                self._connection.begin()
            self._within = True

    def change(self, step: NetChanges) -> tuple[int, int]:
        """Apply one table's changes. Raises `RowRejected`."""
        try:
            return self._changer.change(step)
        except (pymysql.IntegrityError, pymysql.DataError) as error:
            raise RowRejected(
                f"changing {step.table}: a row violates a constraint, or a value does not fit "
                f"its column (error {error.args[0]}).",
                remedy="Correct the row on the target, and start again. Or widen the column with "
                "typeOverrides, and load again with start(fresh=True) and schemaPolicy "
                "drop_and_recreate.",
                table=str(step.table),
                errno=error.args[0],
            ) from None

    def at_once(self, steps: Sequence[NetChanges | Truncation], claim: Claim) -> ApplyResult | None:
        """Return None: nothing is applied in one round trip."""
        return None

    def texts_at_once(self, rows: Sequence[RowTexts], claim: Claim) -> ApplyResult | None:
        """Return None: nothing is applied in one round trip."""
        return None

    def undoing(self) -> contextlib.AbstractContextManager[None]:
        """Undo nothing: foreign keys are not enforced."""
        return contextlib.nullcontext()

    @contextlib.contextmanager
    def foreign_keys_active(self) -> Iterator[None]:
        """Enforce foreign keys inside the block."""
        self._check_foreign_keys(True)
        try:
            yield
        except BaseException:
            # The session outlives the refused step. Where even this fails it is broken.
            with contextlib.suppress(pymysql.MySQLError, OSError):
                self._check_foreign_keys(False)
            raise
        self._check_foreign_keys(False)

    def _check_foreign_keys(self, wanted: bool) -> None:
        with self._connection.cursor() as cursor:
            cursor.execute(f"SET SESSION foreign_key_checks = {int(wanted)}")

    def execute(self, statements: Sequence[Statement]) -> Sequence[Finding]:
        """Run DDL. Earlier changes must be committed, because each statement commits implicitly."""
        if self._within:
            raise InternalError("DDL would commit rows before their position is written.")
        findings = []
        for statement in statements:
            try:
                with translating(str(statement.object)), self._connection.cursor() as cursor:
                    cursor.execute(statement.sql)
            except StreamsError as error:
                if not statement.optional or error.retryable:  # it may well succeed next time
                    raise _unfit(error) or error from None
                findings.append(skipped_statement(statement, error))
        self._changer.forget()
        return findings

    def ended(self, *, committed: bool) -> None:
        """Take note of the end of the transaction."""
        self._within = False


def _unfit(error: StreamsError) -> RowRejected | None:
    """Return the error of a statement that rows of its table do not fit; None for any other."""
    reason = REASONS.get(error.details.get("errno", 0))
    return None if reason is None else RowRejected(f"{error.message} A row: {reason}.")
