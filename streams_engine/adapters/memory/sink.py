"""Tables in memory as a target: rows, checkpoint, quarantine and changes in one transaction."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from typing import Any

import pyarrow as pa

from streams_engine.adapters.memory.database import (
    MemoryDatabase,
    MemoryTable,
    MemoryTransaction,
    Row,
)
from streams_engine.adapters.memory.source import MemoryCanonical
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
    Dialect,
    Finding,
    NetChanges,
    TableId,
    TableSchema,
    Truncation,
)

__all__ = ["MemorySink", "MemoryWriter"]

Records = Mapping[str, Mapping[str, Any] | None]


class MemorySink:
    """Writes tables of a `MemoryDatabase`. Safe to use from many threads."""

    dialect = Dialect.FILES
    transactional_ddl = True

    def __init__(self, database: MemoryDatabase) -> None:
        self.database = database
        self._closed = False

    @property
    def location(self) -> str:
        """Name of the sink in messages."""
        return f"memory:{self.database.name}"

    def check(self) -> Sequence[Finding]:
        """Return no findings: there is nothing to check."""
        return ()

    def close(self) -> None:
        """Refuse all later writes."""
        self._closed = True

    def canonical(self) -> MemoryCanonical:
        """Return the reader of the same tables for `verify`."""
        return MemoryCanonical(self.database)

    # The checkpoint

    def load_state(self, stream: str) -> Mapping[str, Mapping[str, Any]]:
        """Return the records of a stream."""
        with self.database.changed:
            return dict(self.database.records.get(stream, {}))

    def save_state(self, stream: str, records: Records) -> None:
        """Put or remove records."""
        with self.database.transaction() as transaction:
            transaction.save(stream, records)

    def forget(self, stream: str) -> None:
        """Remove a stream's records; its rows stay, and are nobody's."""
        with self.database.changed:
            self.database.records.pop(stream, None)
            owners = self.database.owners
            self.database.owners = {t: s for t, s in owners.items() if s != stream}
            for key in [key for key in self.database.epochs if key[0] == stream]:
                self.database.epochs[key] += 1

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
        with self.database.transaction() as transaction:
            for table in tables:
                mine = self.database.owners.get(table.id) == stream
                if not transaction.holds(table.id):
                    transaction.make(table)
                elif not (mine and keep and table.id not in reload):
                    self._reuse(transaction, table, write_mode, mine)
        with self.database.changed:
            self.database.owners.update(dict.fromkeys((t.id for t in tables), stream))

    @staticmethod
    def _reuse(
        transaction: MemoryTransaction, table: TableSchema, write_mode: str, mine: bool
    ) -> None:
        """Take over a table that is there. Raises `TargetConflict`."""
        present = transaction.changing(table.id)
        if mine and (write_mode != "append" or not present.rows):
            # Made anew: the source's columns may be others than when its load was cut.
            transaction.drop_table(table.id.name)
            transaction.make(table)
            return
        if [(c.name, c.arrow) for c in present.schema.columns] != [
            (c.name, c.arrow) for c in table.columns
        ]:
            raise TargetConflict(
                f"The table {table.id} exists with other columns.", table=str(table.id)
            )
        if write_mode == "append" or not present.rows:
            return
        if write_mode == "fail_if_not_empty":
            raise TargetConflict(
                f"The table {table.id} contains rows.",
                remedy="Empty it, or use append or truncate_and_load.",
                table=str(table.id),
            )
        transaction.truncate(table.id.name)

    def finish(self, stream: str, tables: Sequence[TableId]) -> None:
        """Do nothing: the tables are complete already."""

    # Rows

    def write_rows(
        self,
        stream: str,
        plan: WritePlan,
        rows: Iterator[pa.RecordBatch],
        make_checkpoint: CheckpointCallback,
    ) -> WriteResult:
        """Write rows and their record in one transaction."""
        self._demand_open()
        batches = list(rows)
        checkpoint = make_checkpoint()
        self._demand_open()
        with self.database.transaction() as transaction:
            table = transaction.changing(plan.table)
            unfit: list[QuarantinedRow] = []
            for batch in batches:
                self._write(transaction, table, plan, batch, unfit)
            rejected_rows = (*checkpoint.quarantined, *unfit)
            transaction.quarantine(stream, rejected_rows)
            transaction.save(stream, {checkpoint.key: checkpoint.document})
        count = sum(batch.num_rows for batch in batches) - len(unfit)
        return WriteResult(count, len(rejected_rows), sum(batch.nbytes for batch in batches))

    @staticmethod
    def _write(
        transaction: MemoryTransaction,
        table: MemoryTable,
        plan: WritePlan,
        batch: pa.RecordBatch,
        unfit: list[QuarantinedRow],
    ) -> None:
        for row in rows_of(batch, table):
            try:
                if plan.upsert:
                    values = dict(zip(table.names, row, strict=True))
                    transaction.delete(plan.table.name, {name: values[name] for name in plan.key})
                transaction.put(table, row)
            except RowRejected as error:
                if not plan.quarantine:
                    raise
                shown = dict(zip(table.names, row, strict=True))
                state = str(error.details.get("sqlstate"))
                unfit.append(QuarantinedRow(plan.table, error.message, state, shown))

    def _demand_open(self) -> None:
        if self._closed:
            raise ConnectionFailed("The sink is closed.")

    # A log that is followed

    @contextmanager
    def change_writer(self, stream: str, key: str) -> Iterator[MemoryWriter]:
        """Take over the stream's changes: an earlier writer can no longer commit."""
        self._demand_open()
        with self.database.changed:
            epoch = self.database.epochs.get((stream, key), 0) + 1
            self.database.epochs[stream, key] = epoch
        writer = MemoryWriter(self.database, stream, key, epoch)
        try:
            yield writer
        finally:
            writer.rollback()


class MemoryWriter:
    """One stream's changes, applied by key. For one thread."""

    findings: Sequence[Finding] = ()
    foreign_keys_enforced = False

    def __init__(self, database: MemoryDatabase, stream: str, key: str, epoch: int) -> None:
        self._database = database
        self._stream = stream
        self._key = key
        self._epoch = epoch
        self._transaction: MemoryTransaction | None = None
        with database.changed:
            self.document = database.records.get(stream, {}).get(key)

    def _begun(self) -> MemoryTransaction:
        if self._transaction is None:
            self._transaction = self._database.begin()
        return self._transaction

    def apply(self, steps: Sequence[NetChanges | Truncation]) -> ApplyResult:
        """Apply steps in order. If a row is rejected, the whole transaction is rolled back."""
        rows: dict[TableId, int] = {}
        unmatched: dict[TableId, int] = {}
        transaction = self._begun()
        try:
            for step in steps:
                if isinstance(step, Truncation):
                    transaction.truncate(*(table.name for table in step.tables))
                    continue
                lost = _apply(transaction, step)
                rows[step.table] = rows.get(step.table, 0) + step.rows - lost
                if lost:
                    unmatched[step.table] = unmatched.get(step.table, 0) + lost
        except BaseException:
            self.rollback()
            raise
        return ApplyResult(rows, unmatched)

    def alter(
        self, before: TableSchema | None, after: TableSchema | None, renamed: Mapping[str, str]
    ) -> None:
        """Make the table another one."""
        transaction = self._begun()
        if before is not None and after is not None:
            transaction.alter(before, after, renamed)
        elif before is not None and transaction.holds(before.id):
            transaction.drop_table(before.id.name)
        elif after is not None and not transaction.holds(after.id):
            transaction.make(after)

    def execute(self, statements: Sequence[Statement]) -> Sequence[Finding]:
        """Return no findings: tables are altered by `alter`, not by statements."""
        return ()

    def commit(
        self,
        document: Mapping[str, Any],
        records: Records | None = None,
        quarantined: Sequence[QuarantinedRow] = (),
    ) -> None:
        """Commit the applied steps with the records. Raises `FencedOff`."""
        transaction = self._begun()
        if self._database.epochs.get((self._stream, self._key)) != self._epoch:
            self.rollback()
            raise FencedOff("Another writer has taken over the stream.")
        transaction.save(self._stream, {self._key: document, **(records or {})})
        transaction.quarantine(self._stream, quarantined)
        transaction.commit()
        self._transaction = None
        self.document = document

    def rollback(self) -> None:
        """Discard the steps applied since the last commit."""
        if self._transaction is not None:
            self._transaction.rollback()
            self._transaction = None


def _apply(transaction: MemoryTransaction, step: NetChanges) -> int:
    """Apply one table's changes: deletes, moves, updates, inserts. The number of rows that were
    not there."""
    name, lost = step.table.name, 0
    if step.deletes is not None:
        copies = [1] * step.deletes.num_rows if step.copies is None else step.copies.tolist()
        for row, wanted in zip(step.deletes.to_pylist(), copies, strict=True):
            lost += wanted - transaction.delete(name, row, wanted)
    for old, new in step.moves:
        lost += 1 - transaction.update(name, old.to_pylist()[0], new.to_pylist()[0])
    for batch in step.updates:
        for row in batch.to_pylist():
            lost += 1 - transaction.update(name, {key: row[key] for key in step.key}, row)
    if step.inserts is not None:
        table = transaction.changing(step.table)
        for values in rows_of(step.inserts, table):
            transaction.put(table, values)
    return lost


def rows_of(batch: pa.RecordBatch, table: MemoryTable) -> Iterator[Row]:
    """Yield the rows of a batch in the order of the table's columns; a missing column is NULL."""
    there = set(batch.schema.names)
    nothing = [None] * batch.num_rows
    columns = [batch.column(n).to_pylist() if n in there else nothing for n in table.names]
    return zip(*columns, strict=True)
