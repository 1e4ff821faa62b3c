"""A log and a writer in memory that keep the contract, and broken ones that do not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest

from streams_engine.adapters.memory import MemoryDatabase, MemorySink, MemorySource
from streams_engine.adapters.memory.database import MemoryTransaction, primary
from streams_engine.adapters.memory.sink import MemoryWriter
from streams_engine.adapters.memory.source import MemoryReader
from streams_engine.contracts import ApplyResult, ChangeSource, QuarantinedRow
from streams_engine.errors import RowRejected
from streams_engine.model import (
    ChangeSet,
    Column,
    Dialect,
    NetChanges,
    Op,
    Position,
    RowChanges,
    TableId,
    TableSchema,
    TableSubscription,
    Truncate,
    Truncation,
)
from streams_engine.schema.types.files import files_type
from streams_engine.testing.change_log_place import Change, ChangeLogPlace
from streams_engine.testing.conformance_change_log import ChangeLogConformance
from streams_engine.testing.conformance_change_writer import ChangeWriterConformance
from streams_engine.testing.conformance_sink import BadRow, SinkPlace
from streams_engine.testing.sample_rows import FAMILIES, SECRET
from streams_engine.testing.sink_place import batch

SCHEMA = pa.schema([pa.field("id", pa.int64(), False), pa.field("text", pa.string())])


class MemoryLogPlace(ChangeLogPlace):
    patience = 1.0

    def __init__(self, kind: type[MemorySource] = MemorySource) -> None:
        self.kind = kind
        self.database = MemoryDatabase("log")
        for name in ("followed", "other"):
            self.database.create_table(name, SCHEMA, ("id",))

    def open(self) -> ChangeSource:
        source: ChangeSource = self.kind(self.database)
        return source

    def commit(self, *changes: Change, table: str = "followed") -> None:
        with self.database.transaction() as transaction:
            self.make(transaction, changes, table)

    def make(
        self, transaction: MemoryTransaction, changes: Sequence[Change], table: str = "followed"
    ) -> None:
        for change in changes:
            key = {"id": change.id}
            if change.op is Op.INSERT:
                transaction.insert(table, {**key, "text": change.text})
            elif change.op is Op.DELETE:
                transaction.delete(table, key)
            else:
                moved = change.id if change.new_id is None else change.new_id
                transaction.update(table, key, {"id": moved, "text": change.text})

    def roll_back(self, *changes: Change) -> None:
        transaction = self.database.begin()
        self.make(transaction, changes)
        transaction.rollback()

    def add_column(self, name: str) -> None:
        with self.database.transaction() as transaction:
            transaction.alter_table("followed", add=[pa.field(name, pa.string())])

    def truncate(self) -> None:
        with self.database.transaction() as transaction:
            transaction.truncate("followed")


class WithMemoryLog(ChangeLogConformance):
    kind: type[MemorySource] = MemorySource

    @pytest.fixture
    def place(self) -> ChangeLogPlace:
        return MemoryLogPlace(self.kind)


class TestGoodLog(WithMemoryLog):
    pass


class BrokenLog(MemorySource):
    """A source whose sets are spoiled on their way."""

    def spoiled(self, changes: ChangeSet) -> ChangeSet:
        return changes

    @contextmanager
    def changes(
        self, tracked: Sequence[TableSubscription], after: Position
    ) -> Iterator[MemoryReader]:
        with super().changes(tracked, after) as reader:
            poll = reader.poll

            def polled(timeout: float, rows: int | None = None) -> ChangeSet | None:
                found = poll(0, rows)
                return None if found is None else self.spoiled(found)

            reader.poll = polled  # type: ignore[method-assign]
            yield reader


def batches(changes: ChangeSet, edit: Any) -> ChangeSet:
    parts = tuple(edit(p) if isinstance(p, RowChanges) else p for p in changes.parts)
    return replace(changes, parts=parts)


class ForgetsOldKeys(BrokenLog):
    def spoiled(self, changes: ChangeSet) -> ChangeSet:
        return batches(changes, lambda batch: replace(batch, before=None))


class LosesTheLastChange(BrokenLog):
    def spoiled(self, changes: ChangeSet) -> ChangeSet:
        def edit(batch: RowChanges) -> RowChanges:
            n = batch.rows - 1
            before = None if batch.before is None else batch.before.slice(0, n)
            return replace(
                batch, op=batch.op[:n], seq=batch.seq[:n], after=batch.after.slice(0, n),
                before=before,
            )  # fmt: skip

        return batches(changes, edit)


class PositionIsEarly(BrokenLog):
    def spoiled(self, changes: ChangeSet) -> ChangeSet:
        at = changes.position
        return changes if at is None else replace(changes, position={**at, "pos": at["pos"] - 1})


class PositionIsLate(BrokenLog):
    def spoiled(self, changes: ChangeSet) -> ChangeSet:
        at = changes.position
        if at is None or at["pos"] >= self.database.end:
            return changes
        return replace(changes, position={**at, "pos": at["pos"] + 1})


class HidesTruncations(BrokenLog):
    def spoiled(self, changes: ChangeSet) -> ChangeSet:
        return replace(
            changes, parts=tuple(p for p in changes.parts if not isinstance(p, Truncate))
        )


class StandsStill(BrokenLog):
    def spoiled(self, changes: ChangeSet) -> ChangeSet:
        return changes if changes.parts else replace(changes, position=None)


class IgnoresSince(MemorySource):
    @contextmanager
    def changes(
        self, tracked: Sequence[TableSubscription], after: Position
    ) -> Iterator[MemoryReader]:
        with super().changes([replace(t, since=None) for t in tracked], after) as reader:
            yield reader


class AlwaysReached(MemorySource):
    def at_or_after(self, position: Position, wanted: Position) -> bool:
        return True


class FollowsWhatIsLeft(MemorySource):
    @contextmanager
    def changes(
        self, tracked: Sequence[TableSubscription], after: Position
    ) -> Iterator[MemoryReader]:
        with super().changes(tracked, after) as reader:
            adopt = reader.adopt
            reader.adopt = lambda t, s: None if s is None else adopt(t, s)  # type: ignore[method-assign]
            yield reader


class ViewIsLate(MemorySource):
    """The position of a view is that of the log's end when its context began, one too far."""

    @contextmanager
    def snapshot_at_position(self, scope: Any, readers: int, *, resume: bool) -> Iterator[Any]:
        with super().snapshot_at_position(scope, readers, resume=resume) as view:
            view.position = {**view.position, "pos": view.position["pos"] + 1}
            yield view


BROKEN_LOGS: Mapping[str, tuple[type[MemorySource], set[str]]] = {
    kind.__name__: (kind, fails)
    for kind, fails in {
        ForgetsOldKeys: {"every_kind_of_change_comes_in_order"},
        LosesTheLastChange: {"every_kind_of_change_comes_in_order"},
        PositionIsEarly: {
            "a_set_ends_with_a_whole_transaction",
            "a_reader_goes_on_from_any_position",
        },
        PositionIsLate: {"a_reader_goes_on_from_any_position"},
        HidesTruncations: {"a_table_that_is_emptied_says_so"},
        StandsStill: {"other_tables_move_the_position_alone"},
        IgnoresSince: {"changes_up_to_since_are_not_of_the_table"},
        AlwaysReached: {"positions_have_an_order"},
        FollowsWhatIsLeft: {"a_table_that_is_left_comes_no_more"},
        ViewIsLate: {"a_view_and_the_log_after_it_leave_no_gap"},
    }.items()
}
"""What is broken, and the tests that have to fail of it (others may)."""


# Writers


class MemorySinkPlace(SinkPlace):
    types = {name: files_type(family.arrow) for name, family in FAMILIES.items()}  # noqa: RUF012

    def __init__(self, kind: type[MemoryWriter] = MemoryWriter) -> None:
        self.kind = kind
        self.database = MemoryDatabase("target")

    def open(self) -> MemorySink:
        kind = self.kind

        class Sink(MemorySink):
            @contextmanager
            def change_writer(self, stream: str, key: str) -> Iterator[MemoryWriter]:
                with super().change_writer(stream, key) as writer:
                    writer.__class__ = kind
                    yield writer

        return Sink(self.database)

    def create(self, name: str, columns: Sequence[Column], key: Sequence[str] = ()) -> TableId:
        schema = TableSchema(TableId("", name), Dialect.FILES, tuple(columns), primary(key))
        with self.database.transaction() as transaction:
            return transaction.make(schema)

    def rows(self, table: TableId, columns: Sequence[Column]) -> list[Mapping[str, Any]]:
        return list(self.database.rows(table.name))

    def bad_rows(self) -> Sequence[BadRow]:
        columns = (
            Column("n", self.types["int64"], pa.int64()),
            Column("text", self.types["text"], pa.string()),
            Column("more", self.types["text"], pa.string(), nullable=False),
        )
        good = batch(columns, [{"n": n, "text": f"row {n}", "more": ""} for n in range(4)])
        bad = batch(columns, [{"n": 9, "text": SECRET, "more": None}])
        return [BadRow("no NULL", self.create("strict", columns), columns, good, bad)]

    def quarantine_rows(self, stream: str) -> int | None:
        return sum(of == stream for of, _ in self.database.quarantined)


class WithMemoryWriter(ChangeWriterConformance):
    kind: type[MemoryWriter] = MemoryWriter

    @pytest.fixture
    def place(self) -> SinkPlace:
        return MemorySinkPlace(self.kind)


class TestGoodWriter(WithMemoryWriter):
    pass


Steps = Sequence[NetChanges | Truncation]


class ShowsAtOnce(MemoryWriter):
    def apply(self, steps: Steps) -> ApplyResult:
        found = super().apply(steps)
        assert self._transaction is not None
        self._transaction.commit()
        self._transaction = None
        return found


class ForgetsOtherRecords(MemoryWriter):
    def commit(
        self, document: Any, records: Any = None, quarantined: Sequence[QuarantinedRow] = ()
    ) -> None:
        super().commit(document, None, quarantined)


class ForgetsRejected(MemoryWriter):
    def commit(
        self, document: Any, records: Any = None, quarantined: Sequence[QuarantinedRow] = ()
    ) -> None:
        super().commit(document, records)


class IgnoresItsFence(MemoryWriter):
    def commit(
        self, document: Any, records: Any = None, quarantined: Sequence[QuarantinedRow] = ()
    ) -> None:
        self._epoch = self._database.epochs[self._stream, self._key]
        super().commit(document, records, quarantined)


class SaysAllWasThere(MemoryWriter):
    def apply(self, steps: Steps) -> ApplyResult:
        return replace(super().apply(steps), unmatched={})


class DeletesOnce(MemoryWriter):
    def apply(self, steps: Steps) -> ApplyResult:
        return super().apply([
            replace(s, copies=None) if isinstance(s, NetChanges) else s for s in steps
        ])  # fmt: skip


class KeepsEmptied(MemoryWriter):
    def apply(self, steps: Steps) -> ApplyResult:
        return super().apply([s for s in steps if isinstance(s, NetChanges)])


class FillsWithNull(MemoryWriter):
    def apply(self, steps: Steps) -> ApplyResult:
        def whole(batch: pa.RecordBatch) -> pa.RecordBatch:
            if "text" in batch.schema.names:
                return batch
            return batch.append_column("text", pa.nulls(batch.num_rows, pa.string()))

        return super().apply([
            replace(s, updates=tuple(map(whole, s.updates))) if isinstance(s, NetChanges) else s
            for s in steps
        ])  # fmt: skip


class KeepsWhatWasAbandoned(MemoryWriter):
    def rollback(self) -> None:
        if self._transaction is not None:
            self._transaction.commit()
            self._transaction = None


class ShowsValues(MemoryWriter):
    def apply(self, steps: Steps) -> ApplyResult:
        try:
            return super().apply(steps)
        except RowRejected as error:
            raise RowRejected(
                f"{error.message} {steps[-1]}", table=error.details["table"]
            ) from None


class KnowsNothing(MemoryWriter):
    document = None

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, None if name == "document" else value)


BROKEN_WRITERS: Mapping[str, tuple[type[MemoryWriter], set[str]]] = {
    kind.__name__: (kind, fails)
    for kind, fails in {
        ShowsAtOnce: {"nothing_is_seen_before_the_commit"},
        ForgetsOtherRecords: {"nothing_is_seen_before_the_commit"},
        ForgetsRejected: {"rows_set_aside_come_with_the_commit"},
        IgnoresItsFence: {"a_writer_that_was_taken_over_commits_nothing"},
        SaysAllWasThere: {"rows_that_are_not_there_are_counted"},
        DeletesOnce: {"equal_rows_go_as_often_as_is_said"},
        KeepsEmptied: {"an_emptied_table_is_empty"},
        FillsWithNull: {"an_update_leaves_other_columns_alone"},
        KeepsWhatWasAbandoned: {"what_is_abandoned_leaves_nothing"},
        ShowsValues: {"a_refused_row_leaves_nothing_of_its_transaction"},
        KnowsNothing: {"the_next_writer_knows_what_the_last_one_committed"},
    }.items()
}
"""What is broken, and the tests that have to fail of it (others may)."""

for _name, (_log, _) in BROKEN_LOGS.items():
    globals()[f"Test{_name}"] = type(f"Test{_name}", (WithMemoryLog,), {"kind": _log})
for _name, (_writer, _) in BROKEN_WRITERS.items():
    globals()[f"Test{_name}"] = type(f"Test{_name}", (WithMemoryWriter,), {"kind": _writer})
