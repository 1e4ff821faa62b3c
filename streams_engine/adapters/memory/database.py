"""Tables in memory: transactions, their log, checkpoint records and quarantined rows."""

from __future__ import annotations

import struct
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa

from streams_engine.contracts import QuarantinedRow
from streams_engine.errors import NotFound, RowRejected, TargetConflict
from streams_engine.model import Column, Dialect, Index, IndexPart, Op, TableId, TableSchema
from streams_engine.schema.types.files import files_type

__all__ = [
    "LoggedTransaction",
    "MemoryDatabase",
    "MemoryTable",
    "MemoryTransaction",
    "RowEntry",
    "SchemaEntry",
    "TruncateEntry",
]

Row = tuple[Any, ...]
"""Values in the order of a table's columns."""


@dataclass(frozen=True, slots=True)
class RowEntry:
    """One row change in the log."""

    schema: TableSchema
    """The table as it was then."""
    op: Op
    before: Row | None
    after: Row | None


@dataclass(frozen=True, slots=True)
class TruncateEntry:
    """Tables emptied at once in the log."""

    tables: tuple[TableId, ...]


@dataclass(frozen=True, slots=True)
class SchemaEntry:
    """A change of structure in the log."""

    before: TableSchema | None
    after: TableSchema | None
    renamed: Mapping[str, str] = field(default_factory=dict)


LogEntry = RowEntry | TruncateEntry | SchemaEntry


@dataclass(frozen=True, slots=True)
class LoggedTransaction:
    """Changes of one transaction, in order."""

    entries: tuple[LogEntry, ...]
    committed_at: float


class MemoryTable:
    """One table's rows by row number. Not changed any more once its transaction is committed."""

    def __init__(
        self, schema: TableSchema, rows: Mapping[int, Row] | None = None, next_row: int = 0
    ) -> None:
        self.schema = schema
        self.rows = dict(rows or {})
        self.next_row = next_row
        self.names = [column.name for column in schema.columns]
        key = schema.primary_key
        self.key = () if key is None else tuple(self.names.index(name) for name in key.columns)
        self.by_key = {self.key_of(row): number for number, row in self.rows.items()}

    def copy(self) -> MemoryTable:
        """Copy the table, to change the copy's rows."""
        return MemoryTable(self.schema, self.rows, self.next_row)

    def key_of(self, row: Row) -> Row:
        """Return the values of a row's key; empty if the table has none."""
        return exact(tuple(row[place] for place in self.key))

    def check(self, row: Row) -> None:
        """Raise `RowRejected` for a NULL that a column does not allow, naming no value."""
        for column, value in zip(self.schema.columns, row, strict=True):
            if value is None and not column.nullable:
                raise RowRejected(
                    f"{self.schema.id}: column {column.name} does not allow NULL.",
                    table=str(self.schema.id),
                    column=column.name,
                    sqlstate="23502",
                )

    def insert(self, row: Row) -> None:
        """Add a row. Raises `RowRejected`."""
        self.check(row)
        self._take_key(row, self.next_row)
        self.rows[self.next_row] = row
        self.next_row += 1

    def update(self, number: int, row: Row) -> None:
        """Put another row in the place of one. Raises `RowRejected`."""
        self.check(row)
        old = self.key_of(self.rows[number])
        if self.key and old != self.key_of(row):
            self._take_key(row, number)
            del self.by_key[old]
        self.rows[number] = row

    def delete(self, number: int) -> None:
        """Remove a row."""
        row = self.rows.pop(number)
        if self.key:
            del self.by_key[self.key_of(row)]

    def find(self, wanted: Mapping[str, Any], most: int | None = None) -> list[int]:
        """Return the numbers of the rows that have these values, at most ``most`` of them."""
        places = {self.names.index(name): value for name, value in wanted.items()}
        if self.key and set(places) == set(self.key):
            number = self.by_key.get(exact(tuple(places[place] for place in self.key)))
            return [] if number is None else [number]
        values = exact(tuple(places.values()))
        numbers: list[int] = []
        for number, row in self.rows.items():
            if most is not None and len(numbers) == most:
                break
            if exact(tuple(row[place] for place in places)) == values:
                numbers.append(number)
        return numbers

    def _take_key(self, row: Row, number: int) -> None:
        if not self.key:
            return
        key = self.key_of(row)
        if key in self.by_key:
            raise RowRejected(
                f"{self.schema.id}: a row has the same primary key.",
                table=str(self.schema.id),
                sqlstate="23505",
            )
        self.by_key[key] = number


def exact(row: Row) -> Row:
    """Return values that are equal only if identical: NaN equals itself, and 0.0 differs from
    -0.0."""
    return tuple(struct.pack("d", v) if isinstance(v, float) else v for v in row)


class MemoryDatabase:
    """Tables, their log, and the records of sinks. Safe to use from many threads.

    One transaction writes at a time; reading never waits for it.
    """

    def __init__(self, name: str = "memory") -> None:
        self.name = name
        self.tables: dict[TableId, MemoryTable] = {}
        self.log: list[LoggedTransaction] = []
        self.log_start = 0
        """How many of the oldest transactions are not in the log any more."""
        self.records: dict[str, dict[str, Mapping[str, Any]]] = {}
        """Checkpoint records by stream and key."""
        self.epochs: dict[tuple[str, str], int] = {}
        """By stream and key, how often a log was taken over."""
        self.owners: dict[TableId, str] = {}
        """The unfinished stream whose rows are in a table."""
        self.quarantined: list[tuple[str, QuarantinedRow]] = []
        self.changed = threading.Condition(threading.RLock())
        """Guards all of the above, and is notified at each commit."""
        self._writing = threading.RLock()

    @property
    def end(self) -> int:
        """The number of transactions that were committed."""
        with self.changed:
            return self.log_start + len(self.log)

    @contextmanager
    def transaction(self) -> Iterator[MemoryTransaction]:
        """Change rows and tables: everything at the end of the context, nothing on an error."""
        transaction = self.begin()
        try:
            yield transaction
        except BaseException:
            transaction.rollback()
            raise
        transaction.commit()

    def begin(self) -> MemoryTransaction:
        """Begin a transaction; another one's writer waits until this one ends, in this thread."""
        self._writing.acquire()
        return MemoryTransaction(self, self._writing)

    def create_table(self, name: str, schema: pa.Schema, key: Sequence[str] = ()) -> TableId:
        """Make an empty table in a transaction of its own."""
        with self.transaction() as transaction:
            return transaction.create_table(name, schema, key)

    def insert(self, name: str, *rows: Mapping[str, Any]) -> None:
        """Insert rows in a transaction of its own."""
        with self.transaction() as transaction:
            transaction.insert(name, *rows)

    def rows(self, name: str) -> list[dict[str, Any]]:
        """Return the committed rows of a table, in the order of insertion."""
        with self.changed:
            table = self.table(TableId("", name))
        return [dict(zip(table.names, row, strict=True)) for row in table.rows.values()]

    def table(self, table: TableId) -> MemoryTable:
        """Return a committed table. Raises `NotFound`."""
        committed = self.tables.get(table)
        if committed is None:
            raise NotFound(f"There is no table {table} in {self.name}.")
        return committed

    def forget_log(self) -> None:
        """Drop the log, as a server does that kept it long enough."""
        with self.changed:
            self.log_start += len(self.log)
            self.log.clear()


class MemoryTransaction:
    """Changes that are not committed yet. For one thread."""

    def __init__(self, database: MemoryDatabase, writing: Any) -> None:
        self._database = database
        self._writing = writing
        self._tables: dict[TableId, MemoryTable | None] = {}
        self._entries: list[LogEntry] = []
        self._records: dict[str, dict[str, Mapping[str, Any] | None]] = {}
        self._quarantined: list[tuple[str, QuarantinedRow]] = []

    # Rows

    def insert(self, name: str, *rows: Mapping[str, Any]) -> None:
        """Insert rows; a column that a row does not name is NULL. Raises `RowRejected`."""
        table = self.changing(TableId("", name))
        for row in rows:
            self.put(table, tuple(row.get(column) for column in table.names))

    def put(self, table: MemoryTable, row: Row) -> None:
        """Insert one row of a table that is `changing`. Raises `RowRejected`."""
        table.insert(row)
        self._entries.append(RowEntry(table.schema, Op.INSERT, None, row))

    def update(self, name: str, where: Mapping[str, Any], values: Mapping[str, Any]) -> int:
        """Update the rows with the values of ``where``; return their number. Raises
        `RowRejected`."""
        table = self.changing(TableId("", name))
        numbers = table.find(where)
        for number in numbers:
            old = table.rows[number]
            new = tuple(
                values.get(column, value) for column, value in zip(table.names, old, strict=True)
            )
            table.update(number, new)
            self._entries.append(RowEntry(table.schema, Op.UPDATE, old, new))
        return len(numbers)

    def delete(self, name: str, where: Mapping[str, Any], most: int | None = None) -> int:
        """Delete at most ``most`` rows with the values of ``where``; return their number."""
        table = self.changing(TableId("", name))
        numbers = table.find(where, most)
        for number in numbers:
            self._entries.append(RowEntry(table.schema, Op.DELETE, table.rows[number], None))
            table.delete(number)
        return len(numbers)

    def truncate(self, *names: str) -> None:
        """Empty tables."""
        tables = tuple(TableId("", name) for name in names)
        for name in tables:
            table = self.changing(name)
            self._tables[name] = MemoryTable(table.schema, None, table.next_row)
        self._entries.append(TruncateEntry(tables))

    # Structure

    def create_table(self, name: str, schema: pa.Schema, key: Sequence[str] = ()) -> TableId:
        """Make an empty table."""
        columns = tuple(
            Column(f.name, files_type(f.type), f.type, f.nullable and f.name not in key)
            for f in schema
        )
        return self.make(TableSchema(TableId("", name), Dialect.FILES, columns, primary(key)))

    def make(self, schema: TableSchema) -> TableId:
        """Create an empty table of a schema. Raises `TargetConflict` if it exists."""
        if self._present(schema.id) is not None:
            raise TargetConflict(f"The table {schema.id} exists already.", table=str(schema.id))
        self._tables[schema.id] = MemoryTable(schema)
        self._entries.append(SchemaEntry(None, schema))
        return schema.id

    def drop_table(self, name: str) -> None:
        """Drop a table."""
        table = self.changing(TableId("", name))
        self._tables[table.schema.id] = None
        self._entries.append(SchemaEntry(table.schema, None))

    def alter_table(
        self,
        name: str,
        *,
        add: Sequence[pa.Field] = (),
        drop: Sequence[str] = (),
        rename: Mapping[str, str] | None = None,
    ) -> None:
        """Add, drop and rename columns; a new one is NULL in the rows that are there."""
        old, names = self.changing(TableId("", name)).schema, dict(rename or {})
        kept = [
            replace(c, name=names.get(c.name, c.name)) for c in old.columns if c.name not in drop
        ]
        new = [Column(f.name, files_type(f.type), f.type) for f in add]
        key = [names.get(c, c) for c in old.primary_key.columns] if old.primary_key else []
        self.alter(old, replace(old, columns=(*kept, *new), primary_key=primary(key)), names)

    def alter(self, before: TableSchema, after: TableSchema, renamed: Mapping[str, str]) -> None:
        """Make a table another one, its rows with it."""
        table = self.changing(before.id)
        was = {now: then for then, now in renamed.items()}
        places = [
            table.names.index(then) if (then := was.get(c.name, c.name)) in table.names else None
            for c in after.columns
        ]
        rows = {
            number: tuple(None if place is None else row[place] for place in places)
            for number, row in table.rows.items()
        }
        self._tables[before.id] = None
        self._tables[after.id] = MemoryTable(after, rows, table.next_row)
        self._entries.append(SchemaEntry(before, after, dict(renamed)))

    # What a sink keeps beside the rows

    def save(self, stream: str, records: Mapping[str, Mapping[str, Any] | None]) -> None:
        """Put checkpoint records, or remove those that are None."""
        self._records.setdefault(stream, {}).update(records)

    def quarantine(self, stream: str, rows: Sequence[QuarantinedRow]) -> None:
        """Keep rows that were refused."""
        self._quarantined += [(stream, row) for row in rows]

    # The end

    def commit(self) -> None:
        """Make everything visible at once."""
        database = self._database
        with database.changed:
            for name, table in self._tables.items():
                if table is None:
                    database.tables.pop(name, None)
                else:
                    database.tables[name] = table
            if self._entries:
                database.log.append(LoggedTransaction(tuple(self._entries), time.time()))
            for stream, records in self._records.items():
                kept = database.records.setdefault(stream, {})
                for key, record in records.items():
                    kept.pop(key, None)
                    if record is not None:
                        kept[key] = record
            database.quarantined += self._quarantined
            database.changed.notify_all()
        self._writing.release()

    def rollback(self) -> None:
        """Drop everything."""
        self._writing.release()

    def changing(self, name: TableId) -> MemoryTable:
        """Return this transaction's own copy of a table. Raises `NotFound`."""
        if name not in self._tables:
            self._tables[name] = self._database.table(name).copy()
        table = self._tables[name]
        if table is None:
            raise NotFound(f"The table {name} no longer exists.")
        return table

    def _present(self, name: TableId) -> MemoryTable | None:
        return self._tables[name] if name in self._tables else self._database.tables.get(name)

    def holds(self, name: TableId) -> bool:
        """Return True if a table of that name exists."""
        return self._present(name) is not None


def primary(key: Sequence[str]) -> Index | None:
    """Return a primary key over columns; None if there are no columns."""
    return Index("primary", tuple(map(IndexPart, key)), True, True) if key else None
