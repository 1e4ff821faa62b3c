"""The conformance suite of change writers, for a third party to run against its own.

Subclass `ChangeWriterConformance` in a test file and give it a fixture ``place``, a `SinkPlace`
whose sinks take changes, anew for each test. See docs/adapters.md.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import pytest

from streams_engine.contracts import (
    ApplyResult,
    ChangeSink,
    ChangeWriter,
    QuarantinedRow,
    Sink,
    SmallSetWriter,
    StateWriter,
    TextWriter,
)
from streams_engine.errors import FencedOff, RowRejected
from streams_engine.model import Column, NetChanges, Op, RowTexts, TableId, Truncation
from streams_engine.testing.sample_rows import SECRET
from streams_engine.testing.sink_place import (
    STREAM,
    BadRow,
    SinkPlace,
    batch,
    numbered,
    stored,
)

__all__ = ["ChangeWriterConformance"]

KEY = "log"
Row = tuple[int, str | None]


class _Target:
    """A table with some rows, and a way to change it."""

    def __init__(self, place: SinkPlace, *, keyed: bool) -> None:
        self.place = place
        self.columns: tuple[Column, ...] = numbered(place)
        self.key = ("n",) if keyed else ()
        self.table: TableId = place.create("changed", self.columns, self.key)
        self.sink: Sink = place.open()
        self.sink.check()

    def writer(self) -> Any:
        return cast(ChangeSink, self.sink).change_writer(STREAM, KEY)

    def rows(self) -> Counter[Row]:
        """Return the rows that everybody sees now."""
        rows = self.place.rows(self.table, self.columns)
        return Counter((int(row["n"]), row["text"]) for row in rows)

    def records(self) -> dict[str, Any]:
        """Return the stream's records as everybody sees them, without what a writer adds to fence
        its own."""
        records = stored(self.place.open()).load_state(STREAM)
        own = {k: v for k, v in records[KEY].items() if k == "at"}
        return {**records, KEY: own}

    def batch(self, *rows: Mapping[str, Any]) -> Any:
        names = [name for name in ("n", "text") if name in rows[0]]
        by_name = {column.name: column for column in self.columns}
        return batch([by_name[name] for name in names], rows)

    def step(self, **parts: Any) -> NetChanges:
        return NetChanges(self.table, self.columns, self.key, **parts)

    def inserts(self, *rows: Row) -> NetChanges:
        return self.step(inserts=self.batch(*({"n": n, "text": text} for n, text in rows)))

    def fill(self, writer: ChangeWriter, *rows: Row) -> None:
        writer.apply([self.inserts(*rows)])
        writer.commit({"at": 0})


def row_texts(steps: Sequence[NetChanges | Truncation]) -> list[RowTexts] | None:
    """Return steps as texts, row by row; None if they have no such form."""
    rows: list[RowTexts] = []
    for step in steps:
        if isinstance(step, Truncation) or (step.deletes is not None and not step.key):
            return None
        key = step.key
        if step.deletes is not None:
            rows += (RowTexts(step.table, Op.DELETE, key, (), v) for v in _texts(step.deletes, key))
        pairs = [*step.moves, *((batch, batch) for batch in step.updates)]
        for old, new in pairs:
            moved = old is not new
            names = tuple(n for n in new.schema.names if moved or n not in key) or key
            values = zip(_texts(new, names), _texts(old, key), strict=True)
            rows += (RowTexts(step.table, Op.UPDATE, key, names, (*v, *k)) for v, k in values)
        if step.inserts is not None:
            names = tuple(step.inserts.schema.names)
            new_rows = _texts(step.inserts, names)
            rows += (RowTexts(step.table, Op.INSERT, key, names, v) for v in new_rows)
    return rows


def _texts(batch: Any, names: Sequence[str]) -> list[tuple[bytes | None, ...]]:
    """Return the rows of integers and texts as texts."""
    return [
        tuple(None if row[name] is None else str(row[name]).encode() for name in names)
        for row in batch.to_pylist()
    ]


class ChangeWriterConformance:
    """The conformance suite of change writers. A subclass gives the fixture ``place``, anew for
    each test."""

    at_once = False
    """Where the writer is a `SmallSetWriter`, apply sets in that way too, in a subclass."""
    as_texts = False
    """Where it is a `TextWriter`, apply rows as texts too, in a subclass."""

    def short_way(
        self, writer: ChangeWriter, steps: Sequence[NetChanges | Truncation], number: int
    ) -> ApplyResult | None:
        """Apply and commit steps in the short way that is asked for; None if that was not done."""
        if self.as_texts and isinstance(writer, TextWriter):
            rows = row_texts(steps)
            return None if rows is None else writer.apply_texts_and_commit(rows, {"at": number})
        if self.at_once and isinstance(writer, SmallSetWriter):
            return writer.apply_and_commit(steps, {"at": number})
        return None

    def has_short_way(self, writer: ChangeWriter) -> bool:
        """Return True if sets are applied in a short way too."""
        texts = self.as_texts and isinstance(writer, TextWriter)
        return texts or (self.at_once and isinstance(writer, SmallSetWriter))

    def committed(
        self, writer: ChangeWriter, steps: Sequence[NetChanges | Truncation], number: int
    ) -> ApplyResult:
        """Apply steps and commit them."""
        document = {"at": number}
        applied = self.short_way(writer, steps, number)
        if applied is not None:
            return applied
        applied = writer.apply(steps)
        writer.commit(document)
        return applied

    @pytest.fixture
    def target(self, place: SinkPlace) -> _Target:
        """Create an empty table with a key."""
        return _Target(place, keyed=True)

    @pytest.fixture
    def keyless(self, place: SinkPlace) -> _Target:
        """Create an empty table without a key."""
        return _Target(place, keyed=False)

    def test_a_net_result_is_applied_whole(self, target: _Target) -> None:
        """Deletes, moves, updates, inserts: in that order, so that a key may go from one row to
        another."""
        with target.writer() as writer:
            target.fill(writer, (1, "a"), (2, "b"), (3, "c"), (4, "d"))
            step = target.step(
                deletes=target.batch({"n": 1}),
                moves=((target.batch({"n": 2}), target.batch({"n": 1, "text": "moved"})),),
                updates=(target.batch({"n": 3, "text": "new"}),),
                inserts=target.batch({"n": 2, "text": "again"}),
            )
            applied = self.committed(writer, [step], 1)
        assert target.rows() == Counter([(1, "moved"), (2, "again"), (3, "new"), (4, "d")])
        assert dict(applied.rows) == {target.table: 4} and not applied.unmatched

    def test_nothing_is_seen_before_the_commit(self, target: _Target) -> None:
        """Rows and records appear together at `commit`, those of other keys too."""
        with target.writer() as writer:
            target.fill(writer, (1, "a"))
            writer.apply([target.inserts((2, "b"))])
            assert target.rows() == Counter([(1, "a")])
            assert target.records() == {KEY: {"at": 0}}
            writer.commit({"at": 1}, {"other": {"x": 1}})
        assert target.rows() == Counter([(1, "a"), (2, "b")])
        assert target.records() == {KEY: {"at": 1}, "other": {"x": 1}}

    def test_records_that_are_none_go(self, target: _Target) -> None:
        """A record that is None is removed with the commit."""
        with target.writer() as writer:
            writer.commit({"at": 0}, {"other": {"x": 1}})
            writer.commit({"at": 1}, {"other": None})
        assert target.records() == {KEY: {"at": 1}}

    def test_what_is_abandoned_leaves_nothing(self, target: _Target) -> None:
        """`rollback`, and the end of the context, undo what was not committed."""
        with target.writer() as writer:
            target.fill(writer, (1, "a"))
            writer.apply([target.inserts((2, "b"))])
            writer.rollback()
            writer.apply([target.inserts((3, "c"))])
            writer.commit({"at": 1})
            writer.apply([target.inserts((4, "d"))])
        assert target.rows() == Counter([(1, "a"), (3, "c")])

    def test_the_next_writer_knows_what_the_last_one_committed(self, target: _Target) -> None:
        """``document`` is that of the last commit under the key, None if there was none."""
        with target.writer() as writer:
            assert writer.document is None
            writer.commit({"at": 1})
            assert writer.document == {"at": 1}
        with target.writer() as writer:
            assert writer.document == {"at": 1}

    def test_a_writer_reads_the_records_as_its_sink_does(self, target: _Target) -> None:
        """`StateWriter.load_state` returns the records, whoever wrote them last, and the next
        commit is as without it."""
        with target.writer() as writer:
            reader = writer if isinstance(writer, StateWriter) else None
            if reader is None:
                pytest.skip("the writer does not read records")
            writer.commit({"at": 1}, {"other": {"x": 1}})
            stored(target.place.open()).save_state(STREAM, {"third": {"y": 2}})
            assert reader.load_state() == stored(target.place.open()).load_state(STREAM)
            assert reader.load_state().keys() == {KEY, "other", "third"}
            target.fill(writer, (1, "a"))
        assert target.rows() == Counter([(1, "a")])

    def test_a_writer_that_was_taken_over_commits_nothing(self, target: _Target) -> None:
        """Whoever follows later has the stream: the one before raises `FencedOff`."""
        with target.writer() as old:
            target.fill(old, (1, "a"))
            other = cast(ChangeSink, target.place.open())
            with other.change_writer(STREAM, KEY) as new:
                new.commit({"at": 7})
            if self.has_short_way(old):
                with pytest.raises(FencedOff):
                    self.short_way(old, [target.inserts((2, "b"))], 1)
            old.apply([target.inserts((2, "b"))])
            with pytest.raises(FencedOff):
                old.commit({"at": 1})
        assert target.rows() == Counter([(1, "a")])
        assert target.records() == {KEY: {"at": 7}}

    def test_rows_that_are_not_there_are_counted(self, target: _Target) -> None:
        """Updates and deletes that meet no row are ``unmatched``, and the others are done."""
        with target.writer() as writer:
            target.fill(writer, (1, "a"), (2, "b"))
            step = target.step(
                deletes=target.batch({"n": 1}, {"n": 10}),
                updates=(target.batch({"n": 2, "text": "c"}, {"n": 20, "text": "d"}),),
            )
            applied = self.committed(writer, [step], 1)
        assert dict(applied.unmatched) == {target.table: 2}
        assert target.rows() == Counter([(2, "c")])

    def test_an_update_leaves_other_columns_alone(self, target: _Target) -> None:
        """A batch of updates names the key and what is known; the rest keeps its values."""
        with target.writer() as writer:
            target.fill(writer, (1, "a"), (2, "b"))
            step = target.step(
                moves=((target.batch({"n": 1}), target.batch({"n": 5})),),
                updates=(target.batch({"n": 2}),),
            )
            self.committed(writer, [step], 1)
        assert target.rows() == Counter([(5, "a"), (2, "b")])

    def test_equal_rows_go_as_often_as_is_said(self, keyless: _Target) -> None:
        """Without a key so many of the equal rows are deleted, NULLs equal to each other."""
        rows: Sequence[Row] = [(1, "a")] * 3 + [(2, None)] * 3
        with keyless.writer() as writer:
            keyless.fill(writer, *rows)
            gone = keyless.batch({"n": 1, "text": "a"}, {"n": 2, "text": None})
            self.committed(writer, [keyless.step(deletes=gone, copies=np.array([1, 2]))], 1)
        assert keyless.rows() == Counter({(1, "a"): 2, (2, None): 1})

    def test_an_emptied_table_is_empty(self, target: _Target) -> None:
        """A `Truncation` takes the rows before it, and none after it."""
        with target.writer() as writer:
            target.fill(writer, (1, "a"), (2, "b"))
            emptied = Truncation((target.table,))
            self.committed(writer, [target.inserts((3, "c")), emptied, target.inserts((1, "z"))], 1)
        assert target.rows() == Counter([(1, "z")])

    def test_a_refused_row_leaves_nothing_of_its_transaction(self, place: SinkPlace) -> None:
        """`RowRejected` names the table and no value; the writer is good for another try."""
        sink = place.open()
        sink.check()
        for case in [case for case in place.bad_rows() if case.alone]:

            def inserts(rows: Any, case: BadRow = case) -> NetChanges:
                return NetChanges(case.table, case.columns, (), inserts=rows)

            with cast(ChangeSink, sink).change_writer(STREAM, KEY) as writer:
                if self.has_short_way(writer):
                    both = [inserts(case.good), inserts(case.bad)]
                    assert self.short_way(writer, both, 0) is None, case.label
                    assert not place.rows(case.table, case.columns), case.label
                with pytest.raises(RowRejected) as caught:
                    writer.apply([inserts(case.good), inserts(case.bad)])
                error = caught.value
                assert case.table.name in f"{error} {error.details}", case.label
                assert SECRET not in f"{error!r} {error.to_dict()}", case.label
                writer.rollback()
                assert not place.rows(case.table, case.columns), case.label
                writer.apply([inserts(case.good)])
                writer.commit({"at": 1})
            assert len(place.rows(case.table, case.columns)) == case.good.num_rows, case.label

    def test_rows_set_aside_come_with_the_commit(self, target: _Target) -> None:
        """Rejected rows of a commit are in the quarantine, and those of none are not."""
        before = target.place.quarantine_rows(STREAM)
        if before is None:
            pytest.skip("the rows that this target quarantined cannot be read")
        aside = QuarantinedRow(target.table, "a policy", "POLICY", {"n": "1", "text": None})
        with target.writer() as writer:
            writer.commit({"at": 1}, None, (aside,))
            assert target.place.quarantine_rows(STREAM) == before + 1
            writer.commit({"at": 2})
        assert target.place.quarantine_rows(STREAM) == before + 1
