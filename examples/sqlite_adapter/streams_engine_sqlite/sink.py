"""A SQLite file as a target: rows, checkpoint and quarantine in one transaction."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from streams_engine.contracts import (
    ApplyResult,
    CheckpointCallback,
    QuarantinedRow,
    Statement,
    WritePlan,
    WriteResult,
)
from streams_engine.errors import (
    ConfigError,
    ConnectionFailed,
    FencedOff,
    RowRejected,
    TargetConflict,
)
from streams_engine.model import (
    Column,
    Dialect,
    Finding,
    NetChanges,
    TableId,
    TableSchema,
    Truncation,
)
from streams_engine_sqlite.source import OWN, described
from streams_engine_sqlite.storage import connect, declared, quoted, values_of

__all__ = ["SqliteSink"]

Records = Mapping[str, Mapping[str, Any] | None]

STATE, TABLES, REJECTED = f"{OWN}state", f"{OWN}tables", f"{OWN}rejected"
MADE = (
    f"CREATE TABLE IF NOT EXISTS {STATE} (stream TEXT, key TEXT, document TEXT, "
    "epoch INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (stream, key))",
    f"CREATE TABLE IF NOT EXISTS {TABLES} (stream TEXT, name TEXT, PRIMARY KEY (stream, name))",
    f"CREATE TABLE IF NOT EXISTS {REJECTED} (stream TEXT, name TEXT, code TEXT, reason TEXT, "
    "row TEXT)",
)


class SqliteSink:
    """Writes tables of one file. Safe to use from many threads; SQLite lets one commit at once."""

    dialect = Dialect.FILES
    transactional_ddl = True

    def __init__(self, path: str) -> None:
        self._path = str(path)
        self._open: set[sqlite3.Connection] = set()
        self._lock = threading.Lock()
        self._closed = False

    @contextlib.contextmanager
    def connected(self) -> Iterator[sqlite3.Connection]:
        """A connection of one's own; what it has not committed is undone at the end."""
        with self._lock:
            if self._closed:
                raise ConnectionFailed("The sink is closed.")
            connection = connect(self._path)
            self._open.add(connection)
        try:
            yield connection
        except sqlite3.ProgrammingError as error:  # closed meanwhile
            raise ConnectionFailed("The sink is closed.") from error
        except sqlite3.OperationalError as error:
            raise ConnectionFailed(f"SQLite: {error}.") from error
        finally:
            with self._lock:
                self._open.discard(connection)
            connection.close()

    def check(self) -> Sequence[Finding]:
        """Make the file, and the tables of the checkpoint."""
        with self.connected() as connection, begun(connection):
            make_own(connection)
        return ()

    # The checkpoint

    def load_state(self, stream: str) -> Mapping[str, Mapping[str, Any]]:
        """The records of a stream."""
        with self.connected() as connection:
            if not there(connection, STATE):
                return {}
            rows = connection.execute(
                f"SELECT key, document FROM {STATE} WHERE stream = ? AND document IS NOT NULL",
                (stream,),
            )
            return {key: json.loads(document) for key, document in rows}

    def save_state(self, stream: str, records: Records) -> None:
        """Put or remove records, in one transaction."""
        with self.connected() as connection, begun(connection):
            make_own(connection)
            put(connection, stream, records)

    def forget(self, stream: str) -> None:
        """Remove a stream's records; the tables of the checkpoint go with the last of them."""
        with self.connected() as connection, begun(connection):
            make_own(connection)
            for table in (STATE, TABLES):
                connection.execute(f"DELETE FROM {table} WHERE stream = ?", (stream,))
            for table in (STATE, TABLES, REJECTED):
                if connection.execute(f"SELECT 1 FROM {table} LIMIT 1").fetchone() is None:
                    connection.execute(f"DROP TABLE {table}")

    # Tables

    def prepare(
        self,
        stream: str,
        tables: Sequence[TableSchema],
        *,
        write_mode: str,
        keep: bool,
        reload: AbstractSet[TableId],
    ) -> None:
        """Make tables, or empty them. See `LayoutSink`."""
        if write_mode == "upsert":
            raise ConfigError("Use append or truncate_and_load.", path="$.target.spec.db.writeMode")
        with self.connected() as connection, begun(connection):
            make_own(connection)
            for table in tables:
                name, kept = table.id.name, keep and table.id not in reload
                if not there(connection, name):
                    create(connection, name, table)
                elif not (kept and self._mine(connection, stream, name)):
                    self._reuse(connection, stream, table, write_mode)
                connection.execute(f"INSERT OR IGNORE INTO {TABLES} VALUES (?, ?)", (stream, name))

    def _mine(self, connection: sqlite3.Connection, stream: str, name: str) -> bool:
        query = f"SELECT 1 FROM {TABLES} WHERE stream = ? AND name = ?"
        return connection.execute(query, (stream, name)).fetchone() is not None

    def _reuse(
        self, connection: sqlite3.Connection, stream: str, table: TableSchema, write_mode: str
    ) -> None:
        """Take over a table that is there. Raises `TargetConflict`."""
        name, mine = table.id.name, self._mine(connection, stream, table.id.name)
        filled = connection.execute(f"SELECT 1 FROM {quoted(name)} LIMIT 1").fetchone() is not None
        if mine and (write_mode != "append" or not filled):
            # Made anew: the source's columns may be others than when its load was cut.
            connection.execute(f"DROP TABLE {quoted(name)}")
            create(connection, name, table)
            return
        present = described(connection, name).columns
        wanted = [(c.name, c.arrow) for c in table.columns]
        if [(c.name, c.arrow) for c in present] != wanted:
            raise TargetConflict(f"The table {name} exists with other columns.", table=name)
        if write_mode == "append" or not filled:
            return
        if write_mode == "fail_if_not_empty":
            raise TargetConflict(
                f"The table {name} contains rows.",
                remedy="Empty it, or use append or truncate_and_load.",
                table=name,
            )
        connection.execute(f"DELETE FROM {quoted(name)}")

    def finish(self, stream: str, tables: Sequence[TableId]) -> None:
        """Nothing is left to do: rows are there once they are committed."""

    # Rows

    def write_rows(
        self,
        stream: str,
        plan: WritePlan,
        rows: Iterator[pa.RecordBatch],
        make_checkpoint: CheckpointCallback,
    ) -> WriteResult:
        """Write rows and their record in one transaction.

        They are gathered in a table of the connection's own first, so that several chunks are
        read at once though SQLite lets one write.
        """
        with self.connected() as connection:
            count, size = self._gather(connection, plan, rows)
            checkpoint = make_checkpoint()
            with begun(connection):
                make_own(connection)
                unfit = self._move(connection, plan)
                aside = (*checkpoint.quarantined, *unfit)
                put(connection, stream, {checkpoint.key: checkpoint.document})
                quarantine(connection, stream, aside)
        return WriteResult(count - len(unfit), len(aside), size)

    def _gather(
        self, connection: sqlite3.Connection, plan: WritePlan, rows: Iterator[pa.RecordBatch]
    ) -> tuple[int, int]:
        columns = ", ".join(
            f"{quoted(c.name)} {declared(c.arrow, plan.table, c.name)}" for c in plan.columns
        )
        connection.execute(f"CREATE TEMP TABLE gathered ({columns})")
        places = ", ".join("?" * len(plan.columns))
        count = size = 0
        connection.execute("BEGIN")
        for batch in rows:
            connection.executemany(
                f"INSERT INTO temp.gathered VALUES ({places})", sqlite_rows(batch, plan.table)
            )
            count += batch.num_rows
            size += batch.nbytes
        connection.execute("COMMIT")
        return count, size

    def _move(self, connection: sqlite3.Connection, plan: WritePlan) -> Sequence[QuarantinedRow]:
        """Insert what was gathered; rows that are refused are returned, where they may be."""
        names = ", ".join(quoted(c.name) for c in plan.columns)
        verb = "INSERT OR REPLACE" if plan.upsert else "INSERT"
        into = f"{verb} INTO main.{quoted(plan.table.name)} ({names})"
        try:
            connection.execute(f"{into} SELECT {names} FROM temp.gathered ORDER BY rowid")
        except sqlite3.IntegrityError as error:
            if not plan.quarantine:
                raise refused(plan.table, error) from None
        else:
            return ()
        aside = []
        places = ", ".join("?" * len(plan.columns))
        for row in connection.execute("SELECT * FROM temp.gathered ORDER BY rowid").fetchall():
            try:
                connection.execute(f"{into} VALUES ({places})", row)
            except sqlite3.IntegrityError as error:
                shown = {c.name: v for c, v in zip(plan.columns, row, strict=True)}
                aside.append(QuarantinedRow(plan.table, str(error), error.sqlite_errorname, shown))
        return aside

    # A log that is followed

    @contextlib.contextmanager
    def change_writer(self, stream: str, key: str) -> Iterator[SqliteWriter]:
        """Take the stream's changes over: an earlier writer commits no more."""
        with self.connected() as connection:
            with begun(connection):
                make_own(connection)
                connection.execute(
                    f"INSERT INTO {STATE} (stream, key, epoch) VALUES (?, ?, 1) "
                    "ON CONFLICT DO UPDATE SET epoch = epoch + 1",
                    (stream, key),
                )
            yield SqliteWriter(connection, stream, key)

    def close(self) -> None:
        """Close every connection: whoever uses one gets `ConnectionFailed`."""
        with self._lock:
            self._closed = True
            for connection in self._open:
                connection.interrupt()


class SqliteWriter:
    """One stream's changes, applied by key."""

    findings: Sequence[Finding] = ()
    foreign_keys_enforced = False

    def __init__(self, connection: sqlite3.Connection, stream: str, key: str) -> None:
        self._connection = connection
        self._stream = stream
        self._key = key
        document, self._epoch = connection.execute(
            f"SELECT document, epoch FROM {STATE} WHERE stream = ? AND key = ?", (stream, key)
        ).fetchone()
        self.document: Mapping[str, Any] | None = None if document is None else json.loads(document)

    def _begin(self) -> None:
        if not self._connection.in_transaction:
            self._connection.execute("BEGIN IMMEDIATE")

    def apply(self, steps: Sequence[NetChanges | Truncation]) -> ApplyResult:
        """Apply steps in order."""
        rows: dict[TableId, int] = {}
        unmatched: dict[TableId, int] = {}
        self._begin()
        for step in steps:
            if isinstance(step, Truncation):
                for table in step.tables:
                    self._connection.execute(f"DELETE FROM {quoted(table.name)}")
                continue
            try:
                lost = self._apply(step)
            except sqlite3.IntegrityError as error:
                self.rollback()
                raise refused(step.table, error) from None
            rows[step.table] = rows.get(step.table, 0) + step.rows - lost
            if lost:
                unmatched[step.table] = unmatched.get(step.table, 0) + lost
        return ApplyResult(rows, unmatched)

    def _apply(self, step: NetChanges) -> int:
        """Apply one table's changes; the number of rows that were not there."""
        lost = self._delete(step)
        table = quoted(step.table.name)
        for old, new in step.moves:
            lost += self._update(table, step.key, new, next(sqlite_rows(old, step.table)), step)
        for batch in step.updates:
            places = [batch.schema.names.index(name) for name in step.key]
            for row in sqlite_rows(batch, step.table):
                lost += self._update(table, step.key, batch, [row[i] for i in places], step, row)
        if step.inserts is not None:
            names = ", ".join(quoted(name) for name in step.inserts.schema.names)
            places_ = ", ".join("?" * step.inserts.num_columns)
            self._connection.executemany(
                f"INSERT INTO {table} ({names}) VALUES ({places_})",
                sqlite_rows(step.inserts, step.table),
            )
        return lost

    def _delete(self, step: NetChanges) -> int:
        if step.deletes is None:
            return 0
        table, lost = quoted(step.table.name), 0
        tests = " AND ".join(f"{quoted(name)} IS ?" for name in step.deletes.schema.names)
        copies = [1] * step.deletes.num_rows if step.copies is None else step.copies.tolist()
        for row, wanted in zip(sqlite_rows(step.deletes, step.table), copies, strict=True):
            gone = self._connection.execute(
                f"DELETE FROM {table} WHERE rowid IN "
                f"(SELECT rowid FROM {table} WHERE {tests} LIMIT ?)",
                (*row, wanted),
            ).rowcount
            lost += wanted - gone
        return lost

    def _update(
        self,
        table: str,
        key: Sequence[str],
        batch: pa.RecordBatch,
        old: Sequence[Any],
        step: NetChanges,
        row: Sequence[Any] | None = None,
    ) -> int:
        values = next(sqlite_rows(batch, step.table)) if row is None else row
        sets = ", ".join(f"{quoted(name)} = ?" for name in batch.schema.names)
        tests = " AND ".join(f"{quoted(name)} IS ?" for name in key)
        found = self._connection.execute(
            f"UPDATE {table} SET {sets} WHERE {tests}", (*values, *old)
        )
        return 1 - found.rowcount

    def alter(
        self,
        before: TableSchema | None,
        after: TableSchema | None,
        renamed: Mapping[str, str],
    ) -> None:
        """Make the table anew, with the rows and columns that stay."""
        self._begin()
        if after is None or before is None:
            if before is not None:
                self._connection.execute(f"DROP TABLE IF EXISTS {quoted(before.id.name)}")
            if after is not None and not there(self._connection, after.id.name):
                create(self._connection, after.id.name, after)
            return
        was = {now: then for then, now in renamed.items()}
        present = {column.name for column in before.columns}
        pairs = {c.name: was.get(c.name, c.name) for c in after.columns}
        pairs = {now: then for now, then in pairs.items() if then in present}
        create(self._connection, f"{OWN}new", after)
        into = ", ".join(quoted(now) for now in pairs)
        values = ", ".join(quoted(then) for then in pairs.values())
        old = quoted(before.id.name)
        self._connection.execute(
            f"INSERT INTO {OWN}new ({into}) SELECT {values} FROM {old} ORDER BY rowid"
        )
        self._connection.execute(f"DROP TABLE {old}")
        self._connection.execute(f"ALTER TABLE {OWN}new RENAME TO {quoted(after.id.name)}")

    def execute(self, statements: Sequence[Statement]) -> Sequence[Finding]:
        """There are none: tables are altered by `alter`."""
        return ()

    def commit(
        self,
        document: Mapping[str, Any],
        records: Records | None = None,
        quarantined: Sequence[QuarantinedRow] = (),
    ) -> None:
        """Commit what was applied, with the records. Raises `FencedOff`."""
        self._begin()
        held = self._connection.execute(
            f"UPDATE {STATE} SET document = ? WHERE stream = ? AND key = ? AND epoch = ?",
            (json.dumps(document), self._stream, self._key, self._epoch),
        ).rowcount
        if not held:
            self.rollback()
            raise FencedOff("Another process took the stream over.")
        put(self._connection, self._stream, records or {})
        quarantine(self._connection, self._stream, quarantined)
        self._connection.execute("COMMIT")
        self.document = document

    def rollback(self) -> None:
        """Undo what was applied since the last commit."""
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")


# Small things


@contextlib.contextmanager
def begun(connection: sqlite3.Connection) -> Iterator[None]:
    """A transaction that writes."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def make_own(connection: sqlite3.Connection) -> None:
    for statement in MADE:
        connection.execute(statement)


def there(connection: sqlite3.Connection, table: str) -> bool:
    query = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?"
    return connection.execute(query, (table,)).fetchone() is not None


def create(connection: sqlite3.Connection, name: str, table: TableSchema) -> None:
    parts = [_column(column, table.id) for column in table.columns]
    if table.primary_key is not None:
        keys = ", ".join(quoted(column) for column in table.primary_key.columns)
        parts.append(f"PRIMARY KEY ({keys})")
    connection.execute(f"CREATE TABLE {quoted(name)} ({', '.join(parts)})")


def _column(column: Column, table: TableId) -> str:
    required = "" if column.nullable else " NOT NULL"
    return f"{quoted(column.name)} {declared(column.arrow, table, column.name)}{required}"


def put(connection: sqlite3.Connection, stream: str, records: Records) -> None:
    for key, document in records.items():
        if document is None:
            connection.execute(f"DELETE FROM {STATE} WHERE stream = ? AND key = ?", (stream, key))
        else:
            connection.execute(
                f"INSERT INTO {STATE} (stream, key, document) VALUES (?, ?, ?) "
                "ON CONFLICT DO UPDATE SET document = excluded.document",
                (stream, key, json.dumps(document)),
            )


def quarantine(
    connection: sqlite3.Connection, stream: str, quarantined: Sequence[QuarantinedRow]
) -> None:
    rows = [
        (stream, r.table.name, r.code, r.reason, json.dumps(dict(r.row), default=str))
        for r in quarantined
    ]
    connection.executemany(f"INSERT INTO {REJECTED} VALUES (?, ?, ?, ?, ?)", rows)


def sqlite_rows(batch: pa.RecordBatch, table: TableId) -> Iterator[tuple[Any, ...]]:
    """The rows of a batch. Raises `RowRejected` for NaN, which SQLite would make NULL of."""
    for field, column in zip(batch.schema, batch.columns, strict=True):
        if pa.types.is_floating(field.type) and pc.any(pc.is_nan(column)).as_py():
            raise RowRejected(
                f"A row of {table} cannot be moved: column {field.name}: SQLite has no NaN.",
                table=str(table),
                column=field.name,
            )
    return zip(*(values_of(column) for column in batch.columns), strict=True)


def refused(table: TableId, error: sqlite3.IntegrityError) -> RowRejected:
    """SQLite's messages name columns and no values."""
    return RowRejected(f"{table}: {error}.", table=str(table), sqlstate=error.sqlite_errorname)
