"""The seams between the runtime and the adapters. Small on purpose.

A source need not be a database: abilities are separate protocols, and a source
that has no log simply lacks `ChangeSource`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import pyarrow as pa

from streams_engine.changes import ChangeSet, Emptied, LoggedChanges, NetChanges, Tracked
from streams_engine.errors import StreamsError
from streams_engine.model import (
    Catalog,
    Chunk,
    Column,
    Dialect,
    Expression,
    Extract,
    Finding,
    Position,
    SequenceValue,
    Severity,
    TableId,
    TableSchema,
)

__all__ = [
    "Applied",
    "ChangeReader",
    "ChangeSink",
    "ChangeSource",
    "ChangeWriter",
    "Checkpoint",
    "Lag",
    "LayoutSink",
    "Load",
    "LogWriter",
    "Mark",
    "Rejected",
    "Scope",
    "SequenceSource",
    "Sink",
    "SlotSource",
    "Snapshot",
    "Source",
    "Statement",
    "StructureSink",
    "TrialSink",
    "Waiting",
    "WaitingSource",
    "Written",
    "left_out",
    "orphaned",
]


@dataclass(frozen=True, slots=True)
class Scope:
    """Which tables of a source are meant: names as the user wrote them, or all user tables.

    A name is ``table`` or ``schema.table`` (PostgreSQL) / ``database.table`` (MySQL).
    """

    schema: str | None = None
    """PostgreSQL: only this schema; MySQL: the database. None: every user schema."""
    tables: tuple[str, ...] | None = None
    """None: all of them; none at all where only queries are wanted."""
    queries: tuple[tuple[str, str], ...] = ()
    """(name, SELECT): each result is described, and read, like a table of that name."""


Waiting = Callable[[str], None]
"""Takes what a source waits for, about once a second while it does. It may raise to end the wait:
the source releases what it holds, and lets the error through."""


@runtime_checkable
class WaitingSource(Protocol):
    """A source whose start may have to wait for other sessions of its server."""

    def watch_waits(self, waiting: Waiting) -> None:
        """Tell this what is waited for while a view is opened, or the log's beginning found."""
        ...


class Source(Protocol):
    """Where rows come from. One instance serves one stream; safe to use from many threads."""

    @property
    def dialect(self) -> Dialect:
        """Whose types and SQL it speaks."""
        ...

    def check(self) -> Sequence[Finding]:
        """Connect and say what hinders a snapshot. Raises `ConnectionFailed` and its kin."""
        ...

    def catalog(self, scope: Scope) -> Catalog:
        """Describe the tables in scope, without locks. Raises `NotFound` naming a missing table."""
        ...

    def snapshot(self, scope: Scope, readers: int) -> AbstractContextManager[Snapshot]:
        """Open one consistent view for ``readers`` parallel readers.

        Locks against DDL are taken on every table in scope before its catalog is
        read. Raises `LockTimeout`, `PermissionDenied`, `NotFound`.
        """
        ...

    def close(self) -> None:
        """Release every connection. Idempotent."""
        ...


class Snapshot(Protocol):
    """One consistent view of a source, alive until its context ends."""

    readers: int
    """How many `read` may go on at once; fewer than asked for where the view allows no more."""
    catalog: Catalog
    position: Position
    """The log position that this view equals."""
    findings: Sequence[Finding]
    """What is not as good as promised, as a view that is only consistent per table."""

    def chunks(self, table: TableSchema, rows: int) -> Sequence[Chunk]:
        """Cut a table into chunks of about ``rows`` rows; together they hold each row once."""
        ...

    def read(self, extract: Extract, chunk: Chunk, rows: int) -> Iterator[pa.RecordBatch]:
        """Yield the chunk as batches of exactly ``rows`` rows, the last one smaller.

        Batches are slices of larger blocks, so a held batch pins its block. May be
        called from several threads at once (up to the snapshot's ``readers``), each
        call with a connection of its own into the same view; closing the generator
        early frees the connection. Raises `SnapshotLost` where the connection died.
        """
        ...


@dataclass(frozen=True, slots=True)
class Lag:
    """How far a position is behind the end of its log."""

    bytes: int
    """Bytes of log after the position, also those of other tables."""
    retained: int | None = None
    """Bytes of log that the server keeps for this stream, None where it keeps none for it."""


class ChangeReader(Protocol):
    """A log being read, from one position on. Used by one thread, but for `acknowledge`.

    The connection is kept alive, and the server answered, by the reader itself, however long
    nobody polls.
    """

    def poll(self, timeout: float, rows: int | None = None) -> ChangeSet | None:
        """The next set, None where none came within ``timeout`` seconds.

        With ``rows`` it ends at the first commit at which it holds as many row changes. It
        waits for more only while a transaction is incomplete: what is there is given at
        once. A set without parts but with a position says that the log went on without
        changes of the tracked tables. After one that ends with a `SchemaChange` the table
        has to be adopted (or dropped) before the next poll. Raises `ConnectionFailed`
        (retryable: a new reader from the last durable position goes on), `LogLost`,
        `SchemaChangeRefused`, `RowRejected`.
        """
        ...

    def adopt(self, table: TableId, tracked: Tracked | None) -> None:
        """From here on decode a table like this; None: it is not followed any more."""
        ...

    def acknowledge(self, position: Position) -> None:
        """All up to here is durable on the target: the server may forget it. Thread-safe."""
        ...


class ChangeSource(Source, Protocol):
    """A source whose log can be followed."""

    @property
    def logs_cascades(self) -> bool:
        """False where rows that its foreign keys delete or change leave no trace in the log."""
        ...

    def readiness(self, scope: Scope) -> Sequence[Finding]:
        """What hinders following these tables, each with the statement that repairs it."""
        ...

    def identities(self, tables: Sequence[TableSchema]) -> Mapping[TableId, tuple[str, ...]]:
        """The columns by which the log names a row of each table: its key, or all of them."""
        ...

    def handover(
        self, scope: Scope, readers: int, *, again: bool
    ) -> AbstractContextManager[Snapshot]:
        """A view whose ``position`` the log goes on from, with no gap and nothing twice.

        The first time it makes what the log needs (publication and slot) and leaves it;
        ``again``: that is there, and further tables get a newer view of their own. Raises
        what `snapshot` raises, and `LogLost`.
        """
        ...

    def start(self, tables: Sequence[TableId]) -> Position:
        """Make what the log needs, without a snapshot: from where changes will be read."""
        ...

    def changes(
        self, tracked: Sequence[Tracked], after: Position
    ) -> AbstractContextManager[ChangeReader]:
        """Read the log from a position that an earlier set, view or `start` gave.

        Raises `LogLost` where the server does not have it any more, or is another one:
        nothing is ever skipped in silence.
        """
        ...

    def end(self) -> Position:
        """The end of the log now: what was committed before the call is at or below it."""
        ...

    def reached(self, position: Position, wanted: Position) -> bool:
        """True where ``position`` is at or after ``wanted``."""
        ...

    def lag(self, position: Position) -> Lag:
        """How far a position is behind."""
        ...

    def release(self) -> None:
        """Drop the slot and publication that were made for the stream."""
        ...


@runtime_checkable
class SequenceSource(Protocol):
    """A source that can say where the sequences and AUTO_INCREMENT columns of tables stand."""

    def sequence_values(self, tables: Sequence[TableSchema]) -> Sequence[SequenceValue]:
        """Read the present values: those that the tables own or call, and those of nobody."""
        ...


@runtime_checkable
class SlotSource(Protocol):
    """A `ChangeSource` that makes something on its server to begin with, as a slot."""

    def withdraw(self) -> None:
        """Drop what this object's `handover` or `start` made: no position was recorded."""
        ...


@dataclass(frozen=True, slots=True)
class Rejected:
    """A row that was set aside: where it came from and why, and the row itself as text."""

    table: TableId
    reason: str
    code: str
    """SQLSTATE of the target, or the name of the policy that refused the value."""
    row: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Load:
    """How rows enter one target table: columns in batch order, and what to do on a conflict."""

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


@dataclass(frozen=True, slots=True)
class Written:
    """What one `Sink.write_rows` made durable."""

    rows: int
    rejected: int
    bytes: int
    """Bytes that were sent to the target."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What becomes durable together with rows: a record by key, and the rows set aside."""

    key: str
    document: Mapping[str, Any]
    rejected: tuple[Rejected, ...] = ()


Mark = Callable[[], Checkpoint]
"""Called when the rows are exhausted and before the commit."""


class Sink(Protocol):
    """Where rows go. Safe to use from many threads; each write has its own connection."""

    @property
    def dialect(self) -> Dialect | None:
        """Whose types and SQL it speaks; None where it takes every Arrow type as it is (null)."""
        ...

    def check(self) -> Sequence[Finding]:
        """Connect, make what has to be there (database), and say what hinders a load."""
        ...

    def load_state(self, stream: str) -> Mapping[str, Mapping[str, Any]]:
        """The checkpoint records of a stream by key; empty where there are none."""
        ...

    def save_state(self, stream: str, records: Mapping[str, Mapping[str, Any] | None]) -> None:
        """Put records durably, or remove those that are None, in one transaction."""
        ...

    def forget(self, stream: str) -> None:
        """Remove every record of a stream, and the state's own tables where nothing is left."""
        ...

    def write_rows(
        self, stream: str, load: Load, rows: Iterator[pa.RecordBatch], mark: Mark
    ) -> Written:
        """Write all of ``rows`` and the record of ``mark`` in one transaction.

        Nothing of it is visible before the commit; where ``rows`` or the target
        raises, nothing of it stays. Raises `RowRejected` naming table, column and
        constraint, never the value.
        """
        ...

    def close(self) -> None:
        """Release every connection. Idempotent."""
        ...


@dataclass(frozen=True, slots=True)
class Statement:
    """One piece of DDL or clean-up, with the object that it is about."""

    sql: str
    object: str
    table: TableId | None = None
    optional: bool = False
    """A failure is a warning (a comment, a full-text equivalent), not the end of the run."""
    empties: tuple[TableId, ...] = ()
    """The tables that it drops or empties."""
    orphans: str | None = None
    """Of a foreign key: a SELECT of the rows that refer to none. Where there are any, the sink
    leaves the statement out and returns `orphaned` instead of raising. A target whose own check
    of the rows is slow may ask this query first."""
    beside: bool = False
    """It may run beside other statements of its table: an index that is built."""
    clause: str | None = None
    """What it adds in an ALTER TABLE: a target may join those of one table, which reads its
    rows once."""
    expression: Expression | None = None
    """The expression that it is about: a check's, an index's."""
    drops: bool = False
    """It removes what others left. A target whose DDL commits by itself runs it before it puts
    the state: with the state there, what is found counts as this stream's own."""


def left_out(statement: Statement, error: StreamsError) -> Finding:
    """What is said of an optional statement that failed."""
    message = error.message
    expression = statement.expression
    if expression is not None:
        there = expression.source or expression.sql
        message = f"{message} On the source it is ({there}), here ({expression.sql})."
    return Finding(Severity.WARNING, "left-out", statement.object, message, error.remedy)


def orphaned(statement: Statement, count: int) -> Finding:
    """What is said of a foreign key that rows keep from being made. It names no row's values."""
    rows = "1 row refers" if count == 1 else f"{count} rows refer"
    return Finding(
        Severity.ERROR,
        "orphans",
        statement.object,
        f"The foreign key is left out: {rows} to a row that is not there.",
        f"Find them with: {statement.orphans}; repair them, or move the rows that they refer to, "
        f"and add the foreign key: {statement.sql};",
    )


StateChange = tuple[str, Mapping[str, Mapping[str, Any] | None]]
"""A stream and its records to put, or to remove where they are None."""


@runtime_checkable
class LayoutSink(Protocol):
    """A sink of files: it makes room before the rows, and says when a table is whole."""

    def prepare(
        self, stream: str, tables: Sequence[TableSchema], *, write_mode: str, keep: bool
    ) -> None:
        """Make room for the tables.

        ``keep``: an earlier run's committed parts of this stream stay; else this stream's own
        files are removed, and nobody else's. Raises `TargetConflict` where a table's folder
        holds what this stream did not write and ``write_mode`` is fail_if_not_empty.
        """
        ...

    def finish(self, stream: str, tables: Sequence[TableId]) -> None:
        """All rows of these tables are there: their manifests say so."""
        ...


@runtime_checkable
class StructureSink(Protocol):
    """A sink that has tables of its own: it can say what is there, and run DDL."""

    def inspect(self, tables: Sequence[TableId]) -> Catalog:
        """Describe those of the tables that exist, with types that exist in their schemas."""
        ...

    def has_rows(self, table: TableId) -> bool:
        """True where the table holds at least one row."""
        ...

    def execute(
        self, statements: Sequence[Statement], state: StateChange | None = None
    ) -> Sequence[Finding]:
        """Run statements, and put the records of ``state``, in one transaction where the
        target can; optional ones that fail become warnings. Raises `PermissionDenied`,
        `ServerError` naming the object."""
        ...


@runtime_checkable
class TrialSink(Protocol):
    """A sink that can try statements out and leave no trace of them."""

    def try_out(
        self, before: Sequence[Statement], attempts: Sequence[Sequence[Statement]]
    ) -> Sequence[StreamsError | None]:
        """Run each attempt by itself after ``before`` (schemas, types), and undo everything.

        Gives what each attempt was refused with; all None where ``before`` cannot be run.
        """
        ...


@dataclass(frozen=True, slots=True)
class Applied:
    """What one `ChangeWriter.apply` did, by target table."""

    rows: Mapping[TableId, int]
    """Rows that were inserted, updated or deleted."""
    unmet: Mapping[TableId, int]
    """Updates and deletes whose row was not there: the target has diverged."""
    bytes: int = 0


class ChangeWriter(Protocol):
    """One stream's way into a target. Used by one thread; one transaction at a time."""

    document: Mapping[str, Any] | None
    """What the last commit under this key said, also of an earlier process; None: nothing."""
    foreign_keys_act: bool
    """The target's foreign keys cannot rest: they are looked at, and cascade."""

    @property
    def findings(self) -> Sequence[Finding]:
        """What this target cannot do as well as promised."""
        ...

    def apply(self, steps: Sequence[NetChanges | Emptied]) -> Applied:
        """Apply steps in order within the transaction that `commit` ends, begun if need be.

        Raises `RowRejected` naming table, column and constraint; nothing stays then.
        """
        ...

    def execute(self, statements: Sequence[Statement]) -> Sequence[Finding]:
        """Run DDL: within the transaction where the target can, else it commits by itself."""
        ...

    def commit(
        self,
        document: Mapping[str, Any],
        records: Mapping[str, Mapping[str, Any] | None] | None = None,
        rejected: Sequence[Rejected] = (),
    ) -> None:
        """Make what was applied durable together with the document, further records, and the
        rows set aside.

        Raises `FencedOff` where another process took the stream over; nothing stays then.
        """
        ...

    def abandon(self) -> None:
        """Roll back what was applied since the last commit."""
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
        changes: Sequence[LoggedChanges | Emptied],
        position: Position | None,
        committed_at: float | None,
    ) -> Applied:
        """Hold the changes of one set until `commit`, in order.

        ``position`` and ``committed_at`` are the set's; without a position the transaction
        goes on in the next set, and `commit` is called only after one that has it. Truncated
        and dropped tables are `Emptied`.
        """
        ...


@runtime_checkable
class ChangeSink(Protocol):
    """A sink that changes can be applied to."""

    transactional_ddl: bool
    """DDL is part of the transaction, or commits by itself."""

    def follow(self, stream: str, key: str) -> AbstractContextManager[ChangeWriter]:
        """Take over the stream's changes under a key: whoever had them before is fenced off."""
        ...
