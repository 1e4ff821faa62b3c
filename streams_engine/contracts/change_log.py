"""The contract of a source whose log can be followed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from streams_engine.contracts.snapshot import Snapshot
from streams_engine.contracts.source import Scope, Source
from streams_engine.model import (
    ChangeSet,
    Finding,
    Position,
    SequenceValue,
    TableId,
    TableSchema,
    TableSubscription,
)

__all__ = [
    "CascadeSource",
    "CatalogSource",
    "ChangeReader",
    "ChangeSource",
    "Lag",
    "LagSource",
    "NamingSource",
    "ReadinessSource",
    "RowIdentitySource",
    "SequenceSource",
    "SlotSource",
    "TextReader",
    "WakingReader",
    "WatchedSource",
]


@dataclass(frozen=True, slots=True)
class Lag:
    """Distance of a position from the end of its log."""

    bytes: int
    """Bytes of log after the position, also those of other tables."""
    retained: int | None = None
    """Bytes of log that the server keeps for this stream, None if it keeps none for it."""
    end: Position | None = None
    """The end of the log, for `ChangeSource.at_or_after`; None if it is not known. What is read up
    to there and holds no changes of the stream counts as bytes, but not as seconds of lag."""


class ChangeReader(Protocol):
    """A log being read, from one position on. Used by one thread, but for `acknowledge`.

    The connection is kept alive, and the server answered, by the reader itself, however long
    nobody polls.
    """

    def poll(self, timeout: float, rows: int | None = None) -> ChangeSet | None:
        """Return the next change set; None if none arrived within ``timeout`` seconds.

        With ``rows`` the set ends at the first commit at which it contains that many row changes.
        It waits for more only while a transaction is incomplete; otherwise it returns what is there
        at once. A set with a position but without parts means that the log advanced without changes
        of the tracked tables. After a set that ends with a `SchemaChange`, adopt (or drop) the
        table before the next poll. Raises `ConnectionFailed` (retryable: a new reader continues
        from the last durable position), `LogLost`, `SchemaChangeRefused`, `RowRejected`.
        """
        ...

    def adopt(self, table: TableId, tracked: TableSubscription | None) -> None:
        """Decode a table with this subscription from here on; None stops decoding it."""
        ...

    def acknowledge(self, position: Position) -> None:
        """Report that all up to the position is durable on the target, so that the server may
        forget it. Thread-safe."""
        ...


@runtime_checkable
class WakingReader(ChangeReader, Protocol):
    """A reader that need not be polled again and again: its `poll` can be ended. Of any other a
    poll is short, because that is how long a stop waits."""

    def wake(self) -> None:
        """Have the `poll` that waits return at once, or else the next one. Thread-safe, also once
        the reader is closed."""
        ...


@runtime_checkable
class TextReader(ChangeReader, Protocol):
    """A reader that can give a few changes as the texts of its log, which costs less than columns
    do."""

    def give_texts(self, most: int) -> None:
        """Give sets of at most so many row changes as `TextRows` from here on, if that is exact."""
        ...


class ChangeSource(Source, Protocol):
    """A source whose log can be followed. What it may do beyond that are protocols of their own."""

    def snapshot_at_position(
        self, scope: Scope, readers: int, *, resume: bool
    ) -> AbstractContextManager[Snapshot]:
        """Open a snapshot from whose ``position`` the log continues, with no gap and nothing twice.

        The first call creates what the log needs (publication and slot), which stays; with
        ``resume`` it exists already, and further tables get a newer snapshot. Raises what
        `snapshot` raises, and `LogLost`.
        """
        ...

    def start(self, tables: Sequence[TableId]) -> Position:
        """Create what the log needs, without a snapshot; return the position from which changes
        will be read."""
        ...

    def changes(
        self, tracked: Sequence[TableSubscription], after: Position
    ) -> AbstractContextManager[ChangeReader]:
        """Read the log from the position of an earlier set, snapshot or `start`.

        Raises `LogLost` if the server does not have it any more, or is another one: nothing is ever
        silently skipped.
        """
        ...

    def end(self) -> Position:
        """Return the present end of the log: what was committed before the call is at or below
        it."""
        ...

    def at_or_after(self, position: Position, wanted: Position) -> bool:
        """Return True if ``position`` is at or after ``wanted``."""
        ...


@runtime_checkable
class ReadinessSource(Protocol):
    """A `ChangeSource` that can say what hinders following; any other is always ready."""

    def readiness(self, scope: Scope) -> Sequence[Finding]:
        """Return what prevents following these tables, each with the statement that repairs it."""
        ...


@runtime_checkable
class RowIdentitySource(Protocol):
    """A `ChangeSource` whose log identifies rows by rules of its own; in that of any other by the
    primary key, or else by all columns."""

    def identities(self, tables: Sequence[TableSchema]) -> Mapping[TableId, tuple[str, ...]]:
        """Return the columns by which the log identifies a row of each table: its key, or all
        columns."""
        ...


class CascadeSource(Protocol):
    """A `ChangeSource` that says whether its log has what foreign keys do; that of any other has.

    Not to be checked by isinstance(), which would ask the server.
    """

    @property
    def logs_cascades(self) -> bool:
        """False if the log lacks the rows that foreign keys delete or change."""
        ...


@runtime_checkable
class LagSource(Protocol):
    """A `ChangeSource` that can measure its log; of any other no lag is known."""

    def lag(self, position: Position) -> Lag:
        """Return how far a position lags behind."""
        ...


@runtime_checkable
class WatchedSource(Protocol):
    """A `ChangeSource` whose server knows whether anybody reads its log."""

    def is_read(self) -> bool | None:
        """Return whether a process reads the log for this stream now, as far as the server tells;
        None if none is seen, and this account does not see all."""
        ...


@runtime_checkable
class SequenceSource(Protocol):
    """Source that reports the values of sequences and AUTO_INCREMENT columns."""

    def sequence_values(self, tables: Sequence[TableSchema]) -> Sequence[SequenceValue]:
        """Read the present values: those that the tables own or call, and those of nobody."""
        ...


@runtime_checkable
class CatalogSource(Protocol):
    """A `ChangeSource` whose log does not hold all of the tables' structure: its readers look at
    the catalog, first of all when they begin."""

    def structure_is_watched(self) -> bool:
        """Return True."""
        ...


@runtime_checkable
class NamingSource(Protocol):
    """A `ChangeSource` that knows a table whatever its name is."""

    def present_name(self, table: TableSchema) -> TableId | None:
        """Return the name that a table has now; None if it is gone, or cannot be told."""
        ...


@runtime_checkable
class SlotSource(Protocol):
    """A `ChangeSource` that makes something on its server to begin with, as a slot."""

    def release(self) -> Sequence[str]:
        """Drop the slot and publication that were made for the stream; return a description of
        what was dropped."""
        ...

    def drop_created(self) -> None:
        """Drop what this object's `snapshot_at_position` or `start` created, because no position
        was recorded."""
        ...
