"""Sinks that break the contract, made of the sink in memory that keeps it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pytest

from streams_engine.adapters.memory import MemoryDatabase, MemorySink
from streams_engine.contracts import (
    Checkpoint,
    CheckpointCallback,
    WritePlan,
    WriteResult,
)
from streams_engine.errors import RowRejected
from streams_engine.model import Column, TableId
from streams_engine.testing.conformance_sink import BadRow, SinkConformance, SinkPlace
from streams_engine.testing.sample_rows import FAMILIES, SECRET
from streams_engine.testing.sink_place import batch
from tests.support.change_fakes import MemorySinkPlace
from tests.support.polling import pass_time

Batches = Iterator[pa.RecordBatch]
Row = dict[str, Any]


class KeyedMemorySinkPlace(MemorySinkPlace):
    """A place with tables that have a key, for a sink of another class."""

    upserts = True

    def __init__(self, sink: type[MemorySink] = MemorySink) -> None:
        super().__init__()
        self.sink = sink

    def open(self) -> MemorySink:
        return self.sink(self.database)

    def bad_rows(self) -> Sequence[BadRow]:
        columns = tuple(
            Column(name, self.types[family], FAMILIES[family].arrow)
            for name, family in (("n", "int64"), ("text", "text"))
        )
        table = self.create("keyed", columns, ("n",))
        good = batch(columns, [{"n": n, "text": f"row {n}"} for n in range(1, 5)])
        twice = batch(columns, [{"n": 1, "text": SECRET}])
        return [BadRow("a key twice", table, columns, good, twice, alone=False)]


class WithMemorySink(SinkConformance):
    kind: type[MemorySink] = MemorySink

    @pytest.fixture
    def place(self) -> SinkPlace:
        return KeyedMemorySinkPlace(self.kind)


class TestGoodSink(WithMemorySink):
    pass


def changed(rows: Batches, work: Callable[[list[Row]], list[Row]]) -> Batches:
    """The rows after some work on each batch."""
    for block in rows:
        yield pa.RecordBatch.from_pylist(work(block.to_pylist()), block.schema)


class SpoilsRows(MemorySink):
    """Writes other rows than it is given."""

    def spoiled(self, stream: str, plan: WritePlan, rows: Batches) -> Batches:
        raise NotImplementedError

    def write_rows(
        self, stream: str, plan: WritePlan, rows: Batches, make_checkpoint: CheckpointCallback
    ) -> WriteResult:
        return super().write_rows(stream, plan, self.spoiled(stream, plan, rows), make_checkpoint)

    def really_write(self, stream: str, plan: WritePlan, blocks: Sequence[pa.RecordBatch]) -> None:
        """Write rows at once, without a record that stays."""
        MemorySink(self.database).write_rows(stream, plan, iter(blocks), lambda: UNKNOWN)
        self.database.records.get(stream, {}).pop(UNKNOWN.key, None)


UNKNOWN = Checkpoint("nobody's", {})


class LosesTheLastRow(SpoilsRows):
    def spoiled(self, stream: str, plan: WritePlan, rows: Batches) -> Batches:
        return changed(rows, lambda held: held[:-1])


class DoublesTheFirstRow(SpoilsRows):
    def spoiled(self, stream: str, plan: WritePlan, rows: Batches) -> Batches:
        return changed(rows, lambda held: [*held[:1], *held])


class RoundsFloats(SpoilsRows):
    def spoiled(self, stream: str, plan: WritePlan, rows: Batches) -> Batches:
        def rounded(value: Any) -> Any:
            return float(f"{value:.6g}") if isinstance(value, float) else value

        return changed(rows, lambda held: [{k: rounded(v) for k, v in r.items()} for r in held])


class NullIsEmpty(SpoilsRows):
    def spoiled(self, stream: str, plan: WritePlan, rows: Batches) -> Batches:
        return changed(rows, lambda held: [{k: v or None for k, v in r.items()} for r in held])


class ShowsHalf(SpoilsRows):
    """Each batch is visible as it comes."""

    def spoiled(self, stream: str, plan: WritePlan, rows: Batches) -> Batches:
        for block in rows:
            self.really_write(stream, plan, [block])
            pass_time(0.001)
            yield block.slice(0, 0)


class KeepsOnFailure(SpoilsRows):
    """What came before an error stays."""

    def spoiled(self, stream: str, plan: WritePlan, rows: Batches) -> Batches:
        held = []
        try:
            for block in rows:
                held.append(block)
                yield block
        except BaseException:
            self.really_write(stream, plan, held)
            raise


class SwallowsErrors(SpoilsRows):
    def spoiled(self, stream: str, plan: WritePlan, rows: Batches) -> Batches:
        try:
            yield from rows
        except BaseException:
            return


class RecordsFirst(MemorySink):
    """The record is there before the rows are."""

    def write_rows(
        self, stream: str, plan: WritePlan, rows: Batches, make_checkpoint: CheckpointCallback
    ) -> WriteResult:
        def early() -> Checkpoint:
            found = make_checkpoint()
            self.save_state(stream, {found.key: found.document})
            pass_time(0.01)
            return found

        return super().write_rows(stream, plan, rows, early)


class RecordsLast(MemorySink):
    """The rows are there before the record is."""

    def write_rows(
        self, stream: str, plan: WritePlan, rows: Batches, make_checkpoint: CheckpointCallback
    ) -> WriteResult:
        found: list[Checkpoint] = []

        def late() -> Checkpoint:
            found.append(make_checkpoint())
            return found[0]

        written = super().write_rows(f"not {stream}", plan, rows, late)
        pass_time(0.01)
        self.save_state(stream, {found[0].key: found[0].document})
        return written


class MarksFirst(MemorySink):
    def write_rows(
        self, stream: str, plan: WritePlan, rows: Batches, make_checkpoint: CheckpointCallback
    ) -> WriteResult:
        found = make_checkpoint()
        return super().write_rows(stream, plan, rows, lambda: found)


class MarksTwice(MemorySink):
    def write_rows(
        self, stream: str, plan: WritePlan, rows: Batches, make_checkpoint: CheckpointCallback
    ) -> WriteResult:
        return super().write_rows(
            stream, plan, rows, lambda: (make_checkpoint(), make_checkpoint())[1]
        )


class SkipsEmptyWrites(MemorySink):
    def write_rows(
        self, stream: str, plan: WritePlan, rows: Batches, make_checkpoint: CheckpointCallback
    ) -> WriteResult:
        held = list(rows)
        if sum(block.num_rows for block in held):
            return super().write_rows(stream, plan, iter(held), make_checkpoint)
        make_checkpoint()
        return WriteResult(0, 0, 0)


class DropsFalseDocuments(MemorySink):
    def load_state(self, stream: str) -> Mapping[str, Mapping[str, Any]]:
        return {key: found for key, found in super().load_state(stream).items() if found}


class ForgetsAll(MemorySink):
    def forget(self, stream: str) -> None:
        self.database.records.clear()


class KeepsItsOwnRecords(MemorySink):
    """Another sink of the same target sees none of them."""

    def __init__(self, database: MemoryDatabase) -> None:
        super().__init__(database)
        self.own = MemorySink(MemoryDatabase("its own"))

    def load_state(self, stream: str) -> Mapping[str, Mapping[str, Any]]:
        return self.own.load_state(stream)

    def save_state(self, stream: str, records: Mapping[str, Mapping[str, Any] | None]) -> None:
        self.own.save_state(stream, records)


class IgnoresCase(MemorySink):
    def load_state(self, stream: str) -> Mapping[str, Mapping[str, Any]]:
        return super().load_state(stream.lower().strip())

    def save_state(self, stream: str, records: Mapping[str, Mapping[str, Any] | None]) -> None:
        super().save_state(stream.lower().strip(), records)


class ShowsValues(MemorySink):
    def write_rows(
        self, stream: str, plan: WritePlan, rows: Batches, make_checkpoint: CheckpointCallback
    ) -> WriteResult:
        held = list(rows)
        try:
            return super().write_rows(stream, plan, iter(held), make_checkpoint)
        except RowRejected as error:
            raise RowRejected(error.message, rows=str([b.to_pylist() for b in held])) from None


class NamesNoTable(MemorySink):
    def write_rows(
        self, stream: str, plan: WritePlan, rows: Batches, make_checkpoint: CheckpointCallback
    ) -> WriteResult:
        try:
            return super().write_rows(stream, plan, rows, make_checkpoint)
        except RowRejected:
            raise RowRejected("A row was refused.") from None


class RefusesTheWholeBatch(SpoilsRows):
    """All rows are set aside with the one that is bad."""

    def write_rows(
        self, stream: str, plan: WritePlan, rows: Batches, make_checkpoint: CheckpointCallback
    ) -> WriteResult:
        held = list(rows)
        before = len(self.database.quarantined)
        written = super().write_rows(stream, plan, iter(held), make_checkpoint)
        if len(self.database.quarantined) > before:
            self._empty(plan.table)
        return written

    def spoiled(self, stream: str, plan: WritePlan, rows: Batches) -> Batches:
        return rows

    def _empty(self, table: TableId) -> None:
        with self.database.transaction() as transaction:
            transaction.truncate(table.name)


class Raced(MemorySink):
    """Two writes at once overwrite each other."""

    def write_rows(
        self, stream: str, plan: WritePlan, rows: Batches, make_checkpoint: CheckpointCallback
    ) -> WriteResult:
        before = self.database.table(plan.table).copy()
        written = super().write_rows(stream, plan, rows, make_checkpoint)
        mine = list(self.database.table(plan.table).rows.values())[-written.rows or None :]
        pass_time(0.005)
        for row in mine:
            before.insert(row)
        self.database.tables[plan.table] = before
        return written


class WritesAfterClose(SpoilsRows):
    """It says that it is closed, and yet the rows are there."""

    def write_rows(
        self, stream: str, plan: WritePlan, rows: Batches, make_checkpoint: CheckpointCallback
    ) -> WriteResult:
        held = list(rows)
        if self._closed:
            self.really_write(stream, plan, held)
        return super().write_rows(stream, plan, iter(held), make_checkpoint)

    def spoiled(self, stream: str, plan: WritePlan, rows: Batches) -> Batches:
        return rows


BROKEN_SINKS: Mapping[str, tuple[type[MemorySink], set[str]]] = {
    kind.__name__: (kind, fails)
    for kind, fails in {
        LosesTheLastRow: {"values_arrive_exactly", "batches_of_every_size"},
        DoublesTheFirstRow: {"batches_of_every_size", "rows_append_to_what_is_there"},
        RecordsFirst: {"rows_and_record_appear_together"},
        RecordsLast: {"rows_and_record_appear_together"},
        ShowsHalf: {"nothing_is_seen_before_the_end", "rows_and_record_appear_together"},
        MarksFirst: {"mark_is_called_once_after_the_rows"},
        MarksTwice: {"mark_is_called_once_after_the_rows"},
        KeepsOnFailure: {
            "a_failure_leaves_nothing",
            "a_chunk_written_again_after_a_failure_is_there_once",
        },
        SwallowsErrors: {"a_failure_leaves_nothing"},
        SkipsEmptyWrites: {"an_empty_write_records"},
        DropsFalseDocuments: {"an_empty_document_is_a_record"},
        ForgetsAll: {"forget_removes_one_stream"},
        KeepsItsOwnRecords: {"records_come_back", "an_empty_write_records"},
        IgnoresCase: {"streams_are_told_apart"},
        ShowsValues: {"a_bad_row_fails_the_write"},
        NamesNoTable: {"a_bad_row_fails_the_write"},
        RefusesTheWholeBatch: {"quarantine_isolates_the_bad_row"},
        Raced: {"threads_write_one_table_at_once"},
        WritesAfterClose: {"close_is_idempotent"},
        RoundsFloats: {"values_arrive_exactly"},
        NullIsEmpty: {"values_arrive_exactly", "all_families_in_one_table"},
    }.items()
}
"""What is broken, and the tests that have to fail of it (others may)."""


for _name, (_sink, _) in BROKEN_SINKS.items():
    globals()[f"Test{_name}"] = type(f"Test{_name}", (WithMemorySink,), {"kind": _sink})
