"""Changes of a log: row changes in columns, whole transactions, in commit order.

A `ChangeSet` is the result of one `ChangeReader.poll`. Its row changes come in batches, each of one
table in one version. Only ``seq`` orders them, also across batches of one table, which may
interleave. Everything is frozen.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum
from types import EllipsisType

import numpy as np
import pyarrow as pa

from streams_engine.errors import require
from streams_engine.model.extracts import Extract
from streams_engine.model.positions import Position
from streams_engine.model.tables import Column, Expression, TableId, TableSchema

__all__ = [
    "ChangeSet",
    "LogOptions",
    "NetChanges",
    "Op",
    "RowChanges",
    "RowTexts",
    "SchemaChange",
    "TableSubscription",
    "TextRow",
    "TextRows",
    "Truncate",
    "Truncation",
    "same_values",
]


class Op(IntEnum):
    """The kind of a row change; the numbers of `RowChanges.op`."""

    INSERT = 0
    UPDATE = 1
    DELETE = 2


@dataclass(frozen=True, slots=True)
class LogOptions:
    """Options for reading a source's log; for None the source chooses, and reports its choice."""

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
class TableSubscription:
    """One table that is followed: how its rows are to be decoded from now on."""

    schema: TableSchema
    """The source's table as it is where the log is read: names and types of a row image."""
    extract: Extract
    """Which columns are wanted, each in the Arrow type that a snapshot was asked for too."""
    identity: tuple[str, ...]
    """The columns whose old values are wanted: those that tell which row was changed."""
    since: Position | None = None
    """Its rows are known up to here: transactions at or below this position are not its."""
    early: bool = False
    """It was read again before its place in the log: up to ``since`` its name alone follows."""

    def inserts(self, rows: pa.RecordBatch) -> RowChanges:
        """Return rows, in the columns of ``extract``, as inserts."""
        count = rows.num_rows
        op, seq = np.full(count, Op.INSERT, np.uint8), np.arange(count, dtype=np.int64)
        return RowChanges(self.schema.id, self.extract.columns, self.identity, op, seq, rows)


@dataclass(frozen=True, slots=True)
class RowChanges:
    """Changes of the rows of one table in one version of it, in the order of the log.

    It is the same thing from the decoder to a target that keeps the log: a source gives it in the
    source's names and Arrow types, the pipeline converts it to the target's.
    """

    table: TableId
    columns: tuple[Column, ...]
    """The columns of ``after``."""
    identity: tuple[str, ...]
    """The columns of ``before``: those whose old values tell which row was changed."""
    op: np.ndarray
    """uint8[n] of `Op`."""
    seq: np.ndarray
    """int64[n], rising; comparable with those of the other parts of one set."""
    after: pa.RecordBatch
    """The new values; all NULL if the row was deleted."""
    before: pa.RecordBatch | None = None
    """The old values of ``identity``; NULL if the row was inserted. None: every update kept its
    identity, and nothing was deleted."""
    missing: Mapping[str, np.ndarray] = field(default_factory=dict)
    """By column of ``after``, bool[n]: what the log did not carry for that row, which is not
    NULL: it keeps the value it has. Columns that are always there are left out."""
    unchecked: np.ndarray | None = None
    """bool[n]: made with foreign keys switched off, so that these did nothing. None: none was."""

    @property
    def rows(self) -> int:
        """The number of changes."""
        return len(self.op)

    def slice(self, low: int, high: int) -> RowChanges:
        """Return the changes ``low`` to ``high`` by their place, without a copy."""
        if low == 0 and high >= self.rows:
            return self
        return replace(
            self,
            op=self.op[low:high],
            seq=self.seq[low:high],
            after=self.after.slice(low, high - low),
            before=None if self.before is None else self.before.slice(low, high - low),
            missing={name: mask[low:high] for name, mask in self.missing.items()},
            unchecked=None if self.unchecked is None else self.unchecked[low:high],
        )

    def within(self, low: int, high: int | None) -> RowChanges:
        """Return the changes with ``low`` <= seq < ``high``, without a copy."""
        end = self.rows if high is None else int(np.searchsorted(self.seq, high))
        return self.slice(int(np.searchsorted(self.seq, low)), end)

    def filter(self, keep: np.ndarray) -> RowChanges:
        """Return the changes that a mask selects."""
        chosen = pa.array(keep)
        return replace(
            self,
            op=self.op[keep],
            seq=self.seq[keep],
            after=self.after.filter(chosen),
            before=None if self.before is None else self.before.filter(chosen),
            missing={name: mask[keep] for name, mask in self.missing.items()},
            unchecked=None if self.unchecked is None else self.unchecked[keep],
        )


@dataclass(frozen=True, slots=True)
class TextRow:
    """A row change with its values as the log's own texts."""

    table: TableId
    op: Op
    after: tuple[bytes | EllipsisType | None, ...]
    """The new values, by column of the extract; ``...``: the log does not carry it. Empty if the
    row was deleted."""
    identity: tuple[bytes | None, ...]
    """The values that tell which row was changed, and which it keeps. Empty if it was inserted."""


@dataclass(frozen=True, slots=True)
class TextRows:
    """A few row changes in the order of the log, which may be applied without being decoded."""

    changes: tuple[TextRow, ...]
    decode: Callable[[], Sequence[RowChanges]]
    """Return the same changes in columns."""

    @property
    def rows(self) -> int:
        """The number of changes."""
        return len(self.changes)


@dataclass(frozen=True, slots=True)
class RowTexts:
    """A change of one row of a target, its values as texts that their types read back exactly."""

    table: TableId
    op: Op
    key: tuple[str, ...]
    """The columns that name a row; empty if only all its values do."""
    columns: tuple[str, ...]
    """The columns with new values; none if it is deleted."""
    values: tuple[bytes | None, ...]
    """The new values, then those of the key unless it is inserted."""


@dataclass(frozen=True, slots=True)
class Truncate:
    """Tables that were emptied by one statement."""

    tables: tuple[TableId, ...]
    seq: int
    restart_identity: bool = False


@dataclass(frozen=True, slots=True)
class SchemaChange:
    """Change of a table's structure. Only such changes follow it in its set.

    ``after`` is None for a dropped table, ``before`` for a new one.
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
    backfill: Mapping[str, Expression | None] = field(default_factory=dict)
    """By new column, the value that the rows have that were there when it came, where that is not
    its default; None: NULL."""
    rewritten: bool = False
    """Rows that were there got other values, or went elsewhere, and the log does not hold it."""
    exchanged: bool = False
    """Its rows are another followed table's now: none are lost."""
    instead: SchemaChange | None = None
    """Of a rename: the change where its new name is none of the stream's; None: it leaves."""
    hindrance: str | None = None
    """Why the log does not hold its rows from here on; None: it does."""

    @property
    def table(self) -> TableId:
        """Id of the table: its old name, or the name of a new table."""
        return require(self.before or self.after, "the table of a schema change").id


@dataclass(frozen=True, slots=True)
class ChangeSet:
    """Whole transactions in commit order, or a part of one that is too large for a set."""

    parts: tuple[RowChanges | TextRows | Truncate | SchemaChange, ...]
    """`TextRows` only from a reader that was asked for them."""
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
        return sum(part.rows for part in self.parts if isinstance(part, RowChanges | TextRows))

    def decoded(self) -> ChangeSet:
        """Return the set with all its row changes in columns."""
        parts: list[RowChanges | Truncate | SchemaChange] = []
        for part in self.parts:
            parts += part.decode() if isinstance(part, TextRows) else (part,)
        return replace(self, parts=tuple(parts))


@dataclass(frozen=True, slots=True)
class NetChanges:
    """The net result of a run of changes for one target table: each key at most once.

    Applied in the order deletes, moves, updates, inserts. Batches carry the target's column
    names, in the Arrow types of ``columns``.
    """

    table: TableId
    columns: tuple[Column, ...]
    """The target's columns that changes carry."""
    key: tuple[str, ...]
    """The columns that name a row; empty if only all its values do."""
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
    protected_tables: tuple[TableId, ...] = ()
    """Tables whose own changes say all that becomes of their rows. Where foreign keys act, a
    delete that would change rows there is refused."""

    @property
    def rows(self) -> int:
        """Rows of the target that it touches."""
        several = (self.deletes, *self.updates, self.inserts)
        rows: int = sum(batch.num_rows for batch in several if batch is not None)
        return len(self.moves) + rows


@dataclass(frozen=True, slots=True)
class Truncation:
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
