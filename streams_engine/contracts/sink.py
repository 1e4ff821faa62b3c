"""The contract of a sink: rows and checkpoint records in one transaction."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Protocol, runtime_checkable

import pyarrow as pa

from streams_engine.errors import StreamsError
from streams_engine.model import (
    Catalog,
    Column,
    Dialect,
    Expression,
    Finding,
    ObjectRef,
    Severity,
    TableId,
    TableSchema,
)

__all__ = [
    "Checkpoint",
    "CheckpointCallback",
    "CheckpointStorage",
    "DatabaseSink",
    "LayoutSink",
    "QuarantineSink",
    "QuarantinedRow",
    "Sink",
    "Statement",
    "StructureSink",
    "TrialSink",
    "WritePlan",
    "WriteResult",
    "absent_database",
    "orphaned_rows",
    "skipped_statement",
]


@dataclass(frozen=True, slots=True)
class QuarantinedRow:
    """Quarantined row: its table on the source, the reason, and its values as text."""

    table: TableId
    reason: str
    code: str
    """SQLSTATE of the target, or the name of the policy that refused the value."""
    row: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class WritePlan:
    """Plan of writing rows to one target table: columns in batch order, and what to do on a
    conflict."""

    table: TableId
    columns: tuple[Column, ...]
    """The *target's* columns (target dialect types), parallel to the columns of each batch;
    the Arrow types are those that the batches carry."""
    key: tuple[str, ...] = ()
    """The key that ``upsert`` matches on; empty: plain append."""
    upsert: bool = False
    freeze: bool = False
    """The table was created or truncated by this run and is loaded by one writer alone."""
    quarantine: bool = False
    """False: a refused row fails the write; True: it is isolated, written aside in the same
    transaction with its reason, and counted; the others go through."""
    chunk: int = 0
    """The number of the chunk that the rows are of: it names a file."""
    tuples: bool = False
    """Batches are those of an extract with ``tuples``; ``columns`` say what is in them."""
    source: TableId | None = None
    """The table that the rows are of, for the quarantine; None: it has no other name."""
    source_columns: tuple[Column, ...] = ()
    """The columns of that table, parallel to ``columns``."""


@dataclass(frozen=True, slots=True)
class WriteResult:
    """The result of one `Sink.write_rows`: what became durable."""

    rows: int
    quarantined: int
    bytes: int
    """Bytes that were sent to the target."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Record and quarantined rows that become durable together with rows."""

    key: str
    document: Mapping[str, Any]
    quarantined: tuple[QuarantinedRow, ...] = ()
    run: tuple[str, Mapping[str, Any]] | None = None
    """The key of the run's record, and the record, which names one start of the stream: where it is
    another one by now, the sink raises `FencedOff`, and nothing of the write counts."""


CheckpointCallback = Callable[[], Checkpoint]
"""Called when the rows are exhausted and before the commit."""


class Sink(Protocol):
    """Target of rows. Safe to use from many threads; each write has its own connection."""

    @property
    def dialect(self) -> Dialect | None:
        """Dialect of its types and SQL; None if it accepts every Arrow type unchanged (null)."""
        ...

    def check(self) -> Sequence[Finding]:
        """Connect, create what must exist and may be created, and return what prevents a load."""
        ...

    def write_rows(
        self,
        stream: str,
        plan: WritePlan,
        rows: Iterator[pa.RecordBatch],
        make_checkpoint: CheckpointCallback,
    ) -> WriteResult:
        """Write all of ``rows`` and the record of ``make_checkpoint`` in one transaction.

        Nothing is visible before the commit; if ``rows`` or the target raises, nothing stays.
        Raises `RowRejected` naming table, column and constraint, never the value.
        """
        ...

    def close(self) -> None:
        """Release every connection. Idempotent."""
        ...


@runtime_checkable
class CheckpointStorage(Protocol):
    """Storage of checkpoint records: an ability of a sink that commits them with its rows.

    A load into a sink without it cannot be resumed by a later run, and no log is followed into it.
    """

    def load_state(self, stream: str) -> Mapping[str, Mapping[str, Any]]:
        """Return the checkpoint records of a stream by key; empty if there are none."""
        ...

    def save_state(self, stream: str, records: Mapping[str, Mapping[str, Any] | None]) -> None:
        """Put records durably, or remove those that are None, in one transaction."""
        ...

    def forget(self, stream: str) -> None:
        """Delete every record of a stream, and the state tables if they are empty."""
        ...


@runtime_checkable
class QuarantineSink(Protocol):
    """A sink that can tell where its quarantined rows are."""

    def quarantine_place(self, stream: str) -> str:
        """Return, in words, the table or the folder with the quarantined rows of a stream."""
        ...


@dataclass(frozen=True, slots=True)
class Statement:
    """One piece of DDL or clean-up, with the object that it is about."""

    sql: str
    object: ObjectRef
    table: TableId | None = None
    optional: bool = False
    """A failure is a warning (a comment, a full-text equivalent), not the end of the run."""
    truncates: tuple[TableId, ...] = ()
    """The tables that it drops or truncates."""
    orphans: str | None = None
    """Of a foreign key: a SELECT of the rows that refer to none. Where there are any, the sink
    leaves the statement out and returns `orphaned_rows` instead of raising. A target whose own
    check of the rows is slow may ask this query first."""
    concurrent: bool = False
    """It may run concurrently with other statements of its table, as CREATE INDEX does."""
    clause: str | None = None
    """What it adds in an ALTER TABLE: a target may join those of one table, which reads its
    rows once."""
    expression: Expression | None = None
    """The expression that it is about: a check's, an index's."""
    cleanup: bool = False
    """It removes what others left. A target whose DDL commits by itself runs it before it puts
    the state: with the state there, what is found counts as this stream's own."""


def skipped_statement(statement: Statement, error: StreamsError) -> Finding:
    """Return the finding for an optional statement that failed."""
    message = error.message
    expression = statement.expression
    if expression is not None:
        there = expression.source or expression.sql
        message = f"{message} On the source it is ({there}), on the target ({expression.sql})."
    return Finding(Severity.WARNING, "left-out", str(statement.object), message, error.remedy)


def orphaned_rows(statement: Statement, count: int) -> Finding:
    """Return the finding for a foreign key that orphaned rows forbid. It names no row's values."""
    rows = "1 row refers" if count == 1 else f"{count} rows refer"
    return Finding(
        Severity.ERROR,
        "orphans",
        str(statement.object),
        f"The foreign key is left out: {rows} to a row that does not exist.",
        f"Find them with: {statement.orphans}; repair them, or move the rows that they refer to, "
        f"and add the foreign key: {statement.sql};",
    )


def absent_database(name: str, existing: Iterable[str], *, create: bool) -> Finding:
    """Return the finding for a target database that does not exist; it names similar ones among
    ``existing``. ``create``: it may be created."""
    near = get_close_matches(name, sorted(existing), 3)
    similar = f" Similar names: {', '.join(near)}." if near else ""
    if create:
        message = f"The database {name} does not exist: it is created.{similar}"
        remedy = "Check the name. With createDatabase: false a missing database is an error."
        return Finding(Severity.WARNING, "database-created", "target", message, remedy)
    return Finding(
        Severity.ERROR,
        "no-database",
        "target",
        f"The database {name} does not exist.{similar}",
        "Correct the name, or create it: with the server's own means, or by createDatabase "
        "(--create-database).",
    )


StateChange = tuple[str, Mapping[str, Mapping[str, Any] | None]]
"""A stream and its records to put, or to remove where they are None."""


@runtime_checkable
class LayoutSink(Protocol):
    """A sink that makes its tables itself, out of Arrow types: files, or anything without SQL of
    this library's. It makes room before the rows, and says when a table is whole."""

    def prepare(
        self,
        stream: str,
        tables: Sequence[TableSchema],
        *,
        write_mode: str,
        keep: bool,
        reload: AbstractSet[TableId],
    ) -> None:
        """Prepare the tables' places for a load.

        ``keep``: rows that an earlier run of this stream committed stay, except for those of
        ``reload``, which are loaded again; otherwise this stream's own rows are removed, and no
        others. The records that are saved next agree: a chunk without a record has no rows (a sink
        that keeps rows and record together may remove both there). Raises `TargetConflict` if a
        table contains what this stream did not write and ``write_mode`` is fail_if_not_empty, and
        `ConfigError` for an unsupported ``write_mode``.
        """
        ...

    def finish(self, stream: str, tables: Sequence[TableId]) -> None:
        """Mark these tables as complete where readers look for it."""
        ...


@runtime_checkable
class DatabaseSink(Protocol):
    """A sink whose place is a database that may have to be created."""

    def missing_database(self) -> Finding | None:
        """Connect and return `absent_database` if the database does not exist. Changes nothing."""
        ...


@runtime_checkable
class StructureSink(Protocol):
    """Sink with tables of its own, which it can describe and change by DDL."""

    def inspect(self, tables: Sequence[TableId]) -> Catalog:
        """Describe those of the tables that exist, with types that exist in their schemas."""
        ...

    def has_rows(self, table: TableId) -> bool:
        """Return True if the table contains a row."""
        ...

    def execute(
        self, statements: Sequence[Statement], state: StateChange | None = None
    ) -> Sequence[Finding]:
        """Run statements and store the records of ``state``, in one transaction if the target can.

        Optional statements that fail become warnings. Raises `PermissionDenied` and `ServerError`
        naming the object.
        """
        ...


@runtime_checkable
class TrialSink(Protocol):
    """A sink that can try statements out and leave no trace of them."""

    def try_out(
        self, before: Sequence[Statement], attempts: Sequence[Sequence[Statement]]
    ) -> Sequence[StreamsError | None]:
        """Run each attempt by itself after ``before`` (schemas, types), and roll everything back.

        Return the error of each attempt, or None; all None if ``before`` cannot be run.
        """
        ...
