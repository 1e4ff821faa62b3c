"""Run DDL on PostgreSQL, statement by statement within the caller's transaction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from itertools import groupby

import psycopg

from streams_engine.adapters.postgres.connection import pipelined, translate, translating
from streams_engine.contracts import Statement, orphaned_rows, skipped_statement
from streams_engine.errors import PermissionDenied, StreamsError, TargetConflict
from streams_engine.model import (
    Finding,
    ObjectKind,
)

__all__ = ["run_statements"]

FOREIGN_KEY_VIOLATION = "23503"
UNSUPPORTED = "0A000"
"""TRUNCATE answers so where a table that it does not empty refers to one that it does."""
UNDEFINED = ("42704", "42883")
"""An object or a function does not exist."""

SINGLE = (ObjectKind.TABLE, ObjectKind.INDEX, ObjectKind.CONSTRAINT, ObjectKind.COMMENT)
"""Objects whose statements are one command each: a pipeline takes no others."""

Savepoint = Callable[[bool], AbstractContextManager[object]]
"""Opens a savepoint where that is wanted; what fails inside is undone."""


def run_statements(
    connection: psycopg.Connection, statements: Sequence[Statement], savepoint: Savepoint
) -> list[Finding]:
    """Run all statements, those that have to succeed in as few round trips as can be; an optional
    one that fails becomes a finding. Raises the errors of the others, and those that may be gone
    at the next try."""
    findings = []
    for together, run in groupby(statements, _is_sent_on):
        if together:
            _send(connection, list(run))
            continue
        for statement in run:
            try:
                with translating(str(statement.object)), savepoint(_may_fail(statement)):
                    connection.execute(statement.sql.encode())
            except StreamsError as error:
                finding = None if error.retryable else _left_out(connection, statement, error)
                if finding is None:
                    raise _with_statement(error, statement) from None
                findings.append(finding)
    return findings


def _may_fail(statement: Statement) -> bool:
    return statement.optional or statement.orphans is not None


def _is_sent_on(statement: Statement) -> bool:
    """Return True if the next statement can be sent before this one is answered."""
    return statement.object.kind in SINGLE and not _may_fail(statement)


def _send(connection: psycopg.Connection, statements: Sequence[Statement]) -> None:
    """Run statements in one pipeline. Raises the error of the first that fails."""
    sent: list[psycopg.Cursor] = []
    try:
        with pipelined(connection):
            for statement in statements:
                sent.append(connection.cursor())
                sent[-1].execute(statement.sql.encode())
    except psycopg.Error as error:
        unanswered = (at for at, cursor in enumerate(sent) if cursor.statusmessage is None)
        failed = statements[next(unanswered, len(sent) - 1)]
        raise _with_statement(translate(error, str(failed.object)), failed) from None


def _with_statement(error: StreamsError, statement: Statement) -> StreamsError:
    """Add to the error's remedy the statement that an administrator may run instead."""
    if statement.object.kind is ObjectKind.EXTENSION:
        error.remedy = (
            f"Install it on the server, have an administrator run {statement.sql}; and start "
            "again. Or choose another type for columns of its types, such as text "
            "(options.typeOverrides), and load with fresh=True and schemaPolicy drop_and_recreate."
        )
    elif statement.truncates and error.details.get("sqlstate") == UNSUPPORTED:
        told = error.message.rpartition(": ")[2]
        return TargetConflict(
            f"{statement.object}: another table refers to one of them ({told.rstrip('.')}).",
            remedy="Move that table too, or drop its foreign key first.",
            **error.details,
        )
    elif isinstance(error, PermissionDenied):
        error.remedy = f"Grant the privilege, or have a role that has it run {statement.sql};"
    elif error.details.get("sqlstate") in UNDEFINED:
        return TargetConflict(
            f"{error.message.rstrip('.')}. The target lacks what this names, and it is not moved.",
            remedy="Create it on the target as it is on the source (a base type, a collation, a "
            "function, a text search configuration, ...), and start again.",
            **error.details,
        )
    return error


def _left_out(
    connection: psycopg.Connection, statement: Statement, error: StreamsError
) -> Finding | None:
    """Return the finding for a statement that may be left out for this error; else None."""
    if statement.orphans is not None and error.details.get("sqlstate") == FOREIGN_KEY_VIOLATION:
        with translating(f"counting the orphans of {statement.object}"):
            query = f"SELECT count(*) FROM ({statement.orphans}) o"
            row = connection.execute(query.encode()).fetchone()
        return orphaned_rows(statement, row[0] if row else 0)
    return skipped_statement(statement, error) if statement.optional else None
