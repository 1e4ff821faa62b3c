"""The part of the suite for sinks that is about rows which the target refuses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pyarrow as pa
import pytest

from streams_engine.contracts import Checkpoint, QuarantinedRow, Sink, WritePlan
from streams_engine.errors import RowRejected
from streams_engine.testing.sample_rows import SECRET, counted
from streams_engine.testing.sink_place import (
    STREAM,
    BadRow,
    BrokenTarget,
    Rows,
    SinkPlace,
    marking,
    numbers,
    stored,
    write,
)

__all__ = ["RefusingConformance"]


class RefusingConformance:
    """Tests that rejected rows are quarantined, or fail the write."""

    def test_quarantine_isolates_the_bad_row(self, place: SinkPlace, sink: Sink) -> None:
        """With quarantine a refused row is quarantined and counted, and all others are written,
        wherever it stands."""
        for case in self._cases(place):
            before = place.quarantine_rows(STREAM)
            plan = WritePlan(case.table, case.columns, quarantine=True)
            first, others = case.good.slice(0, 1), case.good.slice(1)
            rows = [case.bad, first, case.bad, others, case.bad]
            if not case.alone:
                rows = [first, others, case.bad, case.bad, case.bad]
            written = write(sink, plan, [pa.concat_batches(rows)], case.label)
            counts = (written.rows, written.quarantined)
            assert counts == (case.good.num_rows, 3), case.label
            self._demand(place, case, case.good.to_pylist())
            if before is not None:
                assert place.quarantine_rows(STREAM) == before + 3, case.label
            assert case.label in stored(place.open()).load_state(STREAM)

    def test_rows_set_aside_earlier_are_counted(
        self, place: SinkPlace, sink: Sink, plan: WritePlan
    ) -> None:
        """The rows that a record brings along are quarantined with it, and counted."""
        aside = QuarantinedRow(plan.table, "a policy", "POLICY", {"n": "1", "text": None})
        before = place.quarantine_rows(STREAM)
        written = sink.write_rows(
            STREAM,
            plan,
            iter([numbers(plan, 0, 5)]),
            lambda: Checkpoint("chunk", {"done": True}, (aside, aside)),
        )
        assert (written.rows, written.quarantined) == (5, 2)
        if before is not None:
            assert place.quarantine_rows(STREAM) == before + 2

    def test_rows_set_aside_go_with_a_failure(self, place: SinkPlace, sink: Sink) -> None:
        """Where a write with quarantine fails, the rows that it quarantined do not stay either."""
        for case in self._cases(place):
            plan = WritePlan(case.table, case.columns, quarantine=True)

            def broken(case: BadRow = case) -> Iterator[pa.RecordBatch]:
                yield case.good
                yield case.bad
                raise BrokenTarget("the source is gone")

            before = place.quarantine_rows(STREAM)
            with pytest.raises(BrokenTarget):
                sink.write_rows(STREAM, plan, broken(), marking(case.label))
            assert place.quarantine_rows(STREAM) == before
            assert case.label not in stored(place.open()).load_state(STREAM)
            self._demand(place, case, [])

    def test_a_bad_row_fails_the_write(self, place: SinkPlace, sink: Sink) -> None:
        """Without quarantine a refused row raises `RowRejected`, and nothing of the write
        stays. The error names the table and never the value."""
        for case in self._cases(place):
            plan = WritePlan(case.table, case.columns)
            with pytest.raises(RowRejected) as caught:
                write(sink, plan, [case.good, case.bad], case.label)
            error = caught.value
            assert case.table.name in str(error), f"{case.label}: the table is not named"
            shown = f"{error} {error.remedy} {error.details!r} {error.to_dict()!r}"
            assert SECRET not in shown, f"{case.label}: the error shows a value"
            self._demand(place, case, [])
            assert case.label not in stored(place.open()).load_state(STREAM)
            write(sink, plan, [case.good], case.label)
            self._demand(place, case, case.good.to_pylist())

    def _cases(self, place: SinkPlace) -> Sequence[BadRow]:
        cases = place.bad_rows()
        if not cases:
            pytest.skip("this target refuses no row")
        return cases

    def _demand(self, place: SinkPlace, case: BadRow, wanted: Rows) -> None:
        if place.keeps_rows:
            keys = {case.columns[0].name: "int64"}
            read = place.rows(case.table, case.columns)
            assert counted(read, keys) == counted(wanted, keys), case.label
