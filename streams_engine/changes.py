"""What a log says: row changes in columns, whole transactions, in commit order.

A `ChangeSet` is what one `ChangeReader.poll` gives. Its row changes come in batches, each of
one table in one version. ``seq`` alone orders them: also across batches of one table, which may
interleave. Everything is frozen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np
import pyarrow as pa

from streams_engine.model import Column, Extract, Position, TableId, TableSchema
from streams_engine.required import required

__all__ = [
    "ChangeBatch",
    "ChangeSet",
    "Emptied",
    "LogOptions",
    "LoggedChanges",
    "NetChanges",
    "Op",
    "SchemaChange",
    "Tracked",
    "Truncate",
    "same_values",
]


class Op(IntEnum):
    """What was done to a row; the numbers of `ChangeBatch.op`."""

    INSERT = 0
    UPDATE = 1
    DELETE = 2


@dataclass(frozen=True, slots=True)
class LogOptions:
    """How a source's log is read; what is None the source chooses, and says."""

    stream: str
    """The stream's name: default names of slots and publications are made of it."""
    slot: str | None = None
    publication: str | None = None
    server_id: int | None = None
    position: str | None = None
    """Where to start without an initial load: ``file:pos`` or a GTID set (MySQL, MariaDB)."""
    operations: frozenset[Op] = frozenset(Op)
    """The kinds of change that are applied to any of the tables."""
    columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """By table name as the user wrote it, the columns that are selected; all of any other."""
    partial_publication: bool = False
    """PostgreSQL: the user means what the publication leaves out."""


@dataclass(frozen=True, slots=True)
class Tracked:
    """One table that is followed: how its rows are to be decoded from now on."""

    schema: TableSchema
    """The source's table as it is where the log is read: names and types of a row image."""
    extract: Extract
    """Which columns are wanted, each in the Arrow type that a snapshot was asked for too."""
    identity: tuple[str, ...]
    """The columns whose old values are wanted: those that tell which row was changed."""
    since: Position | None = None
    """Its rows are known up to here: transactions at or below this position are not its."""


@dataclass(frozen=True, slots=True)
class ChangeBatch:
    """Changes of one table in one version of its schema; ``n`` rows, in the order of the log."""

    table: TableId
    tracked: Tracked
    """By what it was decoded."""
    op: np.ndarray
    """uint8[n] of `Op`."""
    seq: np.ndarray
    """int64[n], rising; comparable with those of the other parts of one set."""
    after: pa.RecordBatch
    """The extract's schema; all NULL where the row was deleted."""
    before: pa.RecordBatch | None = None
    """The old values of ``tracked.identity``, in that order and those Arrow types; NULL where
    the row was inserted. None: every update kept its identity, and nothing was deleted."""
    missing: Mapping[str, np.ndarray] = field(default_factory=dict)
    """By column of ``after``, bool[n]: what the log did not carry for that row, which is not
    NULL: it keeps the value it has. Columns that are always there are left out."""
    unchecked: np.ndarray | None = None
    """bool[n]: made with foreign keys switched off, so that these did nothing. None: none was."""

    @property
    def rows(self) -> int:
        """How many changes it holds."""
        return len(self.op)


@dataclass(frozen=True, slots=True)
class Truncate:
    """Tables that were emptied by one statement."""

    tables: tuple[TableId, ...]
    seq: int
    restart_identity: bool = False


@dataclass(frozen=True, slots=True)
class SchemaChange:
    """A table is another one from here on. Nothing but such changes comes after it in its set.

    ``after`` is None where it was dropped, ``before`` None where it is new.
    """

    before: TableSchema | None
    after: TableSchema | None
    seq: int
    renamed: Mapping[str, str] = field(default_factory=dict)
    """Old to new name of columns that the log says were renamed."""
    statement: str | None = None
    """The statement without its literals, where the log has it."""
    identity: tuple[str, ...] | None = None
    """The columns that tell its rows apart from here on, where the log says so; None: the source
    is asked (`ChangeSource.identities`)."""
    filled: bool = False
    """It is new here under this name, and was there before under one that is not followed."""

    @property
    def table(self) -> TableId:
        """The table by its old name, or its new one where it is new."""
        return required(self.before or self.after, "the table that a schema change is about").id


@dataclass(frozen=True, slots=True)
class ChangeSet:
    """Whole transactions in commit order, or a part of one that is too large for a set."""

    parts: tuple[ChangeBatch | Truncate | SchemaChange, ...]
    position: Position | None
    """From where to go on once this set is durable. None while one transaction continues."""
    transactions: int = 0
    """Transactions that end in this set."""
    committed_at: float | None = None
    """When the last of them was committed, in seconds since 1970 by the source's clock."""
    bytes: int = 0
    """Bytes of the log that it was made of."""

    @property
    def rows(self) -> int:
        """Row changes in it."""
        return sum(part.rows for part in self.parts if isinstance(part, ChangeBatch))


@dataclass(frozen=True, slots=True)
class NetChanges:
    """What a run of changes comes to for one table of the target: each key at most once.

    Applied in the order deletes, moves, updates, inserts. Batches carry the target's column
    names, in the Arrow types of ``columns``.
    """

    table: TableId
    columns: tuple[Column, ...]
    """The target's columns that changes carry."""
    key: tuple[str, ...]
    """The columns that name a row; empty where only all its values do."""
    deletes: pa.RecordBatch | None = None
    """The key's columns, or all of them where there is no key."""
    copies: np.ndarray | None = None
    """int64 per row of ``deletes``, without a key: how many of the equal rows go."""
    moves: tuple[tuple[pa.RecordBatch, pa.RecordBatch], ...] = ()
    """(old key, new row of the columns that are known): one row each, in this order."""
    updates: tuple[pa.RecordBatch, ...] = ()
    """Rows that are there: each batch holds the key and the columns that are known."""
    inserts: pa.RecordBatch | None = None
    """Rows that are not there, of all ``columns``."""
    cascades: bool = False
    """The log does not carry what foreign keys did: the target's own do it again."""
    spares: tuple[TableId, ...] = ()
    """Tables whose own changes say all that becomes of their rows. Where foreign keys act, a
    delete that would change rows there is refused."""

    @property
    def rows(self) -> int:
        """Rows of the target that it touches."""
        several = (self.deletes, *self.updates, self.inserts)
        rows: int = sum(batch.num_rows for batch in several if batch is not None)
        return len(self.moves) + rows


@dataclass(frozen=True, slots=True)
class LoggedChanges:
    """Every change of a run of them, for a target that keeps the log itself: one table, one
    version of it, in the target's column names and Arrow types, in the order of the log."""

    table: TableId
    columns: tuple[Column, ...]
    """The target's columns that changes carry: those of ``after``."""
    identity: tuple[str, ...]
    """The columns whose old values tell which row was changed: those of ``before``."""
    op: np.ndarray
    """uint8 of `Op`."""
    seq: np.ndarray
    """int64, rising; comparable with those of the other tables of one set."""
    after: pa.RecordBatch
    """All NULL where the row was deleted."""
    before: pa.RecordBatch | None
    """NULL where the row was inserted. None: every update kept its identity, and nothing was
    deleted."""
    missing: Mapping[str, np.ndarray]
    """By column of ``after``, bool: what the log did not carry, which is not NULL."""

    @property
    def rows(self) -> int:
        """How many changes it holds."""
        return len(self.op)


@dataclass(frozen=True, slots=True)
class Emptied:
    """Tables of the target that lose all their rows at this point."""

    tables: tuple[TableId, ...]
    restart_identity: bool = False


def same_values(one: pa.Array, other: pa.Array) -> bool:
    """Return whether two columns hold the same values: floats by their bits, so that 0 is not -0
    and NaN equals itself."""
    if pa.types.is_floating(one.type):
        bits = pa.int32() if one.type == pa.float32() else pa.int64()
        one, other = one.view(bits), other.view(bits)
    return bool(one.equals(other))
