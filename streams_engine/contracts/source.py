"""The contract of a source: catalog and consistent snapshots."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from streams_engine.contracts.snapshot import Snapshot
from streams_engine.model import (
    Catalog,
    Dialect,
    Finding,
    TableId,
)

__all__ = [
    "ListingSource",
    "Scope",
    "Source",
    "WaitCallback",
    "WaitingSource",
]


@dataclass(frozen=True, slots=True)
class Scope:
    """Selection of a source's tables: names as the user wrote them, or all user tables.

    A name is ``table`` or ``schema.table`` (PostgreSQL) / ``database.table`` (MySQL).
    """

    schema: str | None = None
    """PostgreSQL: only this schema; MySQL: the database. None: every user schema."""
    tables: tuple[str, ...] | None = None
    """None: all of them; none at all where only queries are wanted."""
    queries: tuple[tuple[str, str], ...] = ()
    """(name, SELECT): each result is described, and read, like a table of that name."""


WaitCallback = Callable[[str], None]
"""Takes what a source waits for, about once a second while it does. It may raise to end the wait:
the source releases what it holds, and lets the error through."""


@runtime_checkable
class WaitingSource(Protocol):
    """A source whose start may have to wait for other sessions of its server."""

    def watch_waits(self, waiting: WaitCallback) -> None:
        """Call this with what the source waits for while a snapshot is opened, or the log's
        beginning is determined."""
        ...


@runtime_checkable
class ListingSource(Protocol):
    """A source that can list its tables without describing them."""

    def tables(self, scope: Scope) -> Sequence[TableId]:
        """Return the names of the tables in scope that a snapshot or a log would have. Raises
        `NotFound` naming a missing table."""
        ...


class Source(Protocol):
    """Source of rows. One instance serves one stream; safe to use from many threads."""

    @property
    def dialect(self) -> Dialect:
        """The dialect of its types and SQL."""
        ...

    def check(self) -> Sequence[Finding]:
        """Connect and return what prevents a snapshot. Raises `ConnectionFailed` or a subclass."""
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
