"""Tables in memory as a source: snapshots, and the log of their transactions."""

from __future__ import annotations

import difflib
import itertools
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pyarrow as pa

from streams_engine.adapters.memory.database import (
    LoggedTransaction,
    MemoryDatabase,
    MemoryTable,
    Row,
    RowEntry,
    SchemaEntry,
    TruncateEntry,
)
from streams_engine.contracts import Lag, RecordBatches, Scope
from streams_engine.errors import ConfigError, LogLost, NotFound
from streams_engine.model import (
    Catalog,
    ChangeSet,
    Chunk,
    Dialect,
    Extract,
    Finding,
    Position,
    RowChanges,
    SchemaChange,
    TableId,
    TableSchema,
    TableSubscription,
    Truncate,
)
from streams_engine.model.conditions import passes
from streams_engine.schema.types.arrow_digests import (
    KINDS,
    buckets_of,
    can_digest,
    digest_of,
    in_buckets,
)
from streams_engine.schema.types.arrow_texts import texts_of
from streams_engine.schema.types.canonical import BucketFilter, CanonicalColumn, CanonicalRead
from streams_engine.schema.types.row_digests import Digested

__all__ = ["MemoryCanonical", "MemoryReader", "MemorySnapshot", "MemorySource"]

BLOCK_ROWS = 4096
LOG_SET_ROWS = 10_000
"""A set of changes ends at the first transaction at which it holds so many."""


class MemorySource:
    """The tables of a `MemoryDatabase`. A position is the number of transactions before it."""

    dialect = Dialect.FILES

    def __init__(self, database: MemoryDatabase) -> None:
        self.database = database

    @property
    def location(self) -> str:
        """Name of the source in messages."""
        return f"memory:{self.database.name}"

    def check(self) -> Sequence[Finding]:
        """Return no findings: there is nothing to check."""
        return ()

    def close(self) -> None:
        """Do nothing: no connection is open."""

    def canonical(self) -> MemoryCanonical:
        """Return the reader of the same tables for `verify`."""
        return MemoryCanonical(self.database)

    # Snapshots

    def catalog(self, scope: Scope) -> Catalog:
        """Return the named tables, or all of them."""
        with self.database.changed:
            return self._catalog(dict(self.database.tables), scope)

    def _catalog(self, tables: Mapping[TableId, MemoryTable], scope: Scope) -> Catalog:
        if scope.queries:
            raise ConfigError("This source does not run queries.")
        names = {table.name: table for table in tables}
        for name in scope.tables or ():
            if name not in names:
                near = ", ".join(difflib.get_close_matches(name, names)) or "another name"
                raise NotFound(
                    f"There is no table {name} in {self.database.name}.",
                    remedy=f"Did you mean {near}?",
                )
        wanted = names if scope.tables is None else scope.tables
        return Catalog(self.dialect, tuple(tables[names[name]].schema for name in wanted))

    @contextmanager
    def snapshot(self, scope: Scope, readers: int) -> Iterator[MemorySnapshot]:
        """Yield the tables as they are now: committed tables are never changed in place."""
        with self.database.changed:
            tables, position = dict(self.database.tables), self.end()
        yield MemorySnapshot(tables, self._catalog(tables, scope), position, readers)

    # The log

    @contextmanager
    def snapshot_at_position(
        self, scope: Scope, readers: int, *, resume: bool
    ) -> Iterator[MemorySnapshot]:
        """Yield a snapshot; the log continues from its position."""
        with self.snapshot(scope, readers) as view:
            yield view

    def start(self, tables: Sequence[TableId]) -> Position:
        """Return the end of the log: nothing has to be created."""
        return self.end()

    @contextmanager
    def changes(
        self, tracked: Sequence[TableSubscription], after: Position
    ) -> Iterator[MemoryReader]:
        """Read the log from a position on. Raises `LogLost`."""
        yield MemoryReader(self.database, tracked, self._number(after))

    def end(self) -> Position:
        """Return the present end of the log."""
        return {"system": self.database.name, "pos": self.database.end}

    def at_or_after(self, position: Position, wanted: Position) -> bool:
        """Return True if ``position`` is at or after ``wanted``."""
        return bool(position["pos"] >= wanted["pos"])

    def lag(self, position: Position) -> Lag:
        """Return how many transactions a position lags behind; there are no bytes."""
        end = self.end()
        return Lag(end["pos"] - int(position["pos"]), end=end)

    def _number(self, position: Position) -> int:
        number = int(position["pos"])
        with self.database.changed:
            there = self.database.log_start <= number <= self.database.end
        if position["system"] != self.database.name or not there:
            raise LogLost(
                f"The change log of {self.database.name} no longer contains position {number}.",
                remedy="Load again with start(fresh=True).",
            )
        return number


class MemorySnapshot:
    """Tables as they were at one moment. Any number of threads reads it."""

    findings: Sequence[Finding] = ()

    def __init__(
        self,
        tables: Mapping[TableId, MemoryTable],
        catalog: Catalog,
        position: Position,
        readers: int,
    ) -> None:
        self._tables = tables
        self.catalog = catalog
        self.position = position
        self.readers = readers

    def chunks(self, table: TableSchema, rows: int) -> Sequence[Chunk]:
        """Cut after every so many rows; a bound is the last row number of a chunk."""
        numbers = self._tables[table.id].rows
        ends = [None, *((n,) for n in itertools.islice(numbers, rows - 1, None, rows)), None]
        return [
            Chunk(table.id, number, key=(), low=low, high=high, ordered=True)
            for number, (low, high) in enumerate(itertools.pairwise(ends))
        ]

    def read(self, extract: Extract, chunk: Chunk) -> RecordBatches:
        """Yield the chunk's rows in the order of their numbers."""
        return self._blocks(extract, chunk)

    def _blocks(self, extract: Extract, chunk: Chunk) -> Generator[pa.RecordBatch, None, None]:
        table = self._tables[extract.table]
        low = -1 if chunk.low is None else chunk.low[0]
        places = {name: place for place, name in enumerate(table.names)}
        rows_of_chunk = [
            row
            for number, row in table.rows.items()
            if number > low
            and (chunk.high is None or number <= chunk.high[0])
            and all(passes(f, row[places[f.column]]) for f in extract.filters)
        ]
        for sort in reversed(extract.sorts):
            place = places[sort.column]
            known = [row for row in rows_of_chunk if row[place] is not None]
            known.sort(key=lambda row: row[place], reverse=sort.descending)
            rows_of_chunk = known + [row for row in rows_of_chunk if row[place] is None]
        rows_of_chunk = rows_of_chunk[chunk.skip :][: extract.limit]
        wanted = [places[column.name] for column in extract.columns]
        for start in range(0, len(rows_of_chunk), BLOCK_ROWS):
            yield _batch(rows_of_chunk[start : start + BLOCK_ROWS], wanted, extract.arrow_schema())


def _batch(rows: Sequence[Row | None], places: Sequence[int], schema: pa.Schema) -> pa.RecordBatch:
    """Convert rows to Arrow; None becomes a row of NULLs."""
    arrays = [
        pa.array([None if row is None else row[place] for row in rows], kind)
        for place, kind in zip(places, schema.types, strict=True)
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


class MemoryReader:
    """A log being read."""

    def __init__(
        self, database: MemoryDatabase, tracked: Sequence[TableSubscription], after: int
    ) -> None:
        self._database = database
        self._tracked = {one.schema.id: one for one in tracked}
        self._at = after
        """Transactions that were given."""
        self._within = 0
        """Entries of the next transaction that were given."""
        self._woken = False

    def wake(self) -> None:
        """Have the poll that waits, or else the next one, return at once. Thread-safe."""
        with self._database.changed:
            self._woken = True
            self._database.changed.notify_all()

    def adopt(self, table: TableId, tracked: TableSubscription | None) -> None:
        """Decode a table by this subscription from here on; None stops decoding it."""
        if tracked is None:
            self._tracked.pop(table, None)
        else:
            self._tracked[table] = tracked

    def acknowledge(self, position: Position) -> None:
        """Do nothing: only `MemoryDatabase.forget_log` removes log entries."""

    def poll(self, timeout: float, rows: int | None = None) -> ChangeSet | None:
        """Return the next set: whole transactions, up to ``rows`` or a schema change."""
        waiting = self._wait(timeout)
        if not waiting:
            return None
        builder = _SetBuilder()
        most = LOG_SET_ROWS if rows is None else min(rows, LOG_SET_ROWS)
        transactions, committed_at, position = 0, None, None
        for transaction in waiting:
            whole = self._take(transaction, builder)
            if not whole:
                position = None
                break
            self._at, self._within = self._at + 1, 0
            transactions, committed_at = transactions + 1, transaction.committed_at
            position = {"system": self._database.name, "pos": self._at}
            if builder.rows >= most or builder.schema_changed:
                break
        return ChangeSet(tuple(builder.parts()), position, transactions, committed_at)

    def _wait(self, timeout: float) -> list[LoggedTransaction]:
        """Wait for the next transactions. Raises `LogLost` if they do not exist any more."""
        until = time.monotonic() + timeout
        database = self._database
        with database.changed:
            while database.end == self._at and (left := until - time.monotonic()) > 0:
                if self._woken:
                    break
                database.changed.wait(left)
            self._woken = False
            if self._at < database.log_start:
                raise LogLost(f"The change log of {database.name} was dropped.")
            return database.log[self._at - database.log_start :]

    def _take(self, transaction: LoggedTransaction, builder: _SetBuilder) -> bool:
        """Add what is left of a transaction. False if it goes on after a change of structure."""
        entries = transaction.entries
        while self._within < len(entries):
            entry = entries[self._within]
            self._within += 1
            if isinstance(entry, RowEntry):
                tracked = self._followed(entry.schema.id)
                if tracked is not None:
                    builder.row(tracked, entry)
            elif isinstance(entry, TruncateEntry):
                tables = tuple(t for t in entry.tables if self._followed(t) is not None)
                if tables:
                    builder.truncate(tables)
            elif self._concerns(entry):
                builder.schema(entry)
                return self._within == len(entries)
        return True

    def _followed(self, table: TableId) -> TableSubscription | None:
        """Return how a table is decoded, if the present transaction is after its snapshot."""
        tracked = self._tracked.get(table)
        if tracked is None or (tracked.since is not None and self._at < tracked.since["pos"]):
            return None
        return tracked

    def _concerns(self, entry: SchemaEntry) -> bool:
        if entry.before is None and entry.after is not None:
            return entry.after.id not in self._tracked
        return entry.before is not None and self._followed(entry.before.id) is not None


class _SetBuilder:
    """The parts of one set."""

    def __init__(self) -> None:
        self._parts: list[RowChanges | Truncate | SchemaChange] = []
        self._run: list[RowEntry] = []
        self._tracked: TableSubscription | None = None
        self._seq = 0
        self.rows = 0
        self.schema_changed = False

    def row(self, tracked: TableSubscription, entry: RowEntry) -> None:
        if tracked is not self._tracked:
            self._flush()
            self._tracked = tracked
        self._run.append(entry)
        self.rows += 1

    def truncate(self, tables: tuple[TableId, ...]) -> None:
        self._flush()
        self._parts.append(Truncate(tables, self._next()))

    def schema(self, entry: SchemaEntry) -> None:
        self._flush()
        change = SchemaChange(entry.before, entry.after, self._next(), renamed=entry.renamed)
        self._parts.append(change)
        self.schema_changed = True

    def parts(self) -> list[RowChanges | Truncate | SchemaChange]:
        self._flush()
        return self._parts

    def _next(self, count: int = 1) -> int:
        self._seq += count
        return self._seq - count

    def _flush(self) -> None:
        """Turn the gathered rows of one table into a batch."""
        run, tracked = self._run, self._tracked
        self._run, self._tracked = [], None
        if not run or tracked is None:
            return
        names = [column.name for column in run[0].schema.columns]
        extract = tracked.extract
        start = self._next(len(run))
        after = _batch(
            [entry.after for entry in run],
            [names.index(column.name) for column in extract.columns],
            pa.schema([pa.field(c.name, c.arrow) for c in extract.columns]),
        )
        self._parts.append(
            RowChanges(
                tracked.schema.id,
                extract.columns,
                tracked.identity,
                np.array([entry.op for entry in run], np.uint8),
                np.arange(start, start + len(run)),
                after,
                self._before(run, names, tracked),
            )
        )

    @staticmethod
    def _before(
        run: Sequence[RowEntry], names: Sequence[str], tracked: TableSubscription
    ) -> pa.RecordBatch | None:
        places = [names.index(name) for name in tracked.identity]

        def moved(entry: RowEntry) -> bool:
            before, after = entry.before, entry.after
            if before is None or after is None:
                return after is None
            return any(before[place] != after[place] for place in places)

        if not any(moved(entry) for entry in run):
            return None
        kinds: dict[str, Any] = {c.name: c.arrow for c in tracked.extract.columns}
        schema = pa.schema([pa.field(name, kinds[name]) for name in tracked.identity])
        return _batch([entry.before for entry in run], places, schema)


class MemoryCanonical:
    """Tables in memory as texts, for `verify`."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._source = MemorySource(database)

    def __enter__(self) -> MemoryCanonical:
        return self

    def __exit__(self, *_: object) -> None:
        """Do nothing: no connection is open."""

    @contextmanager
    def rows(self, read: CanonicalRead) -> Iterator[Iterator[tuple[str | None, ...]]]:
        """Yield every row of a table, or of some buckets, as texts."""
        wanted = read.part if isinstance(read.part, BucketFilter) else None
        further = () if wanted is None else wanted.columns
        with self._batches(read, further) as batches:
            yield (
                row
                for batch in batches
                for row in texts_of(in_buckets(batch, wanted) if wanted else batch, read.columns)
            )

    @contextmanager
    def _batches(
        self, read: CanonicalRead, further: Sequence[CanonicalColumn] = ()
    ) -> Iterator[Iterator[pa.RecordBatch]]:
        with self._source.snapshot(Scope(tables=(read.table.name,)), 1) as view:
            columns = {column.name: column for column in view.catalog.tables[0].columns}
            names = dict.fromkeys(column.name for column in (*read.columns, *further))
            wanted = tuple(columns[name] for name in names)
            extract = Extract(view.catalog.tables[0].id, wanted, read.filters)
            yield view.read(extract, Chunk(extract.table))

    @property
    def digests(self) -> Sequence[str]:
        """The kinds of digest that are made."""
        return KINDS

    def can_digest(self, column: CanonicalColumn) -> bool:
        """Return whether a column has a text that the digest can be made of."""
        return can_digest(column)

    def digest(self, read: CanonicalRead, kind: str) -> Digested:
        """Return the sum over the rows of a read."""
        with self._batches(read) as batches:
            return digest_of(batches, read.columns)

    def buckets(self, read: CanonicalRead, kind: str) -> Mapping[int, Digested]:
        """Return the sums by bucket."""
        with self._batches(read) as batches:
            return buckets_of(batches, read.columns)

    def renew(self) -> None:
        """Do nothing: each read sees what is there."""
