"""The conformance suite of sinks, for a third party to run against its own.

Subclass `SinkConformance` in a test file and give it a fixture ``place``, a `SinkPlace`
that makes tables on the target and reads them back by other means. See docs/adapters.md.
"""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections.abc import Callable, Iterator

import pyarrow as pa
import pytest

from streams_engine.contracts import (
    Checkpoint,
    CheckpointStorage,
    LayoutSink,
    Sink,
    StructureSink,
    WritePlan,
    WriteResult,
)
from streams_engine.errors import ConnectionFailed, TargetConflict
from streams_engine.model import Dialect, Finding, Index, IndexPart, Severity, TableId, TableSchema
from streams_engine.testing.sample_rows import FAMILIES, canonical, counted, together
from streams_engine.testing.sink_bad_rows import RefusingConformance
from streams_engine.testing.sink_place import (
    STREAM,
    BadRow,
    BrokenTarget,
    SinkPlace,
    batch,
    column,
    expect,
    marking,
    numbered,
    numbers,
    renumbered,
    rows_now,
    stored,
    write,
)
from streams_engine.testing.sink_records import RecordsConformance

__all__ = ["BadRow", "SinkConformance", "SinkPlace"]


class SinkConformance(RecordsConformance, RefusingConformance):
    """The conformance suite of sinks. A subclass gives the fixture ``place``, anew for each
    test."""

    @pytest.fixture
    def sink(self, place: SinkPlace) -> Iterator[Sink]:
        """Open a sink and check it first, as a run does."""
        sink = place.open()
        sink.check()
        yield sink
        sink.close()

    @pytest.fixture
    def plan(self, place: SinkPlace) -> WritePlan:
        """Plan an append to an empty table of numbers and texts without a key."""
        columns = numbered(place)
        return WritePlan(place.create("numbers", columns), columns)

    # Check

    def test_check_finds_nothing_that_forbids_a_start(self, place: SinkPlace) -> None:
        """`check` connects and returns findings, none of them an error where all is well; it
        may be called again, and leaves no record."""
        sink = place.open()
        for _ in range(2):
            findings = sink.check()
            assert all(isinstance(finding, Finding) for finding in findings)
            assert not [finding for finding in findings if finding.severity is Severity.ERROR]
        assert sink.dialect is None or isinstance(sink.dialect, Dialect)
        if isinstance(sink, CheckpointStorage):
            assert dict(sink.load_state(STREAM)) == {}

    # Rows

    def test_values_arrive_exactly(self, place: SinkPlace, sink: Sink) -> None:
        """The rows are there when `write_rows` returns, with exactly the values given."""
        for number, family in enumerate(place.types):
            values = [None, *FAMILIES[family].values, None]
            columns = (column(place, "n", "int64"), column(place, "v", family))
            plan = WritePlan(place.create(f"valued_{number}", columns), columns)
            rows = batch(columns, [{"n": n, "v": value} for n, value in enumerate(values)])
            written = write(sink, plan, [rows])
            assert (written.rows, written.quarantined) == (len(values), 0), family
            if place.keeps_rows:
                read = place.rows(plan.table, columns)
                kept = {int(row["n"]): canonical(family, row["v"]) for row in read}
                assert kept == {n: canonical(family, v) for n, v in enumerate(values)}, family

    def test_all_families_in_one_table(self, place: SinkPlace, sink: Sink) -> None:
        """A table of all families at once holds what each of its columns was given, NULLs
        included, out of batches that are slices of larger ones."""
        names = {f"a {family}": family for family in place.types}
        columns = tuple(column(place, name, family) for name, family in names.items())
        wanted = [
            {name: (None, *FAMILIES[f].values)[n % (1 + len(FAMILIES[f].values))]
             for name, f in names.items()}
            for n in range(60)
        ]  # fmt: skip
        plan = WritePlan(place.create("Mixed table", columns), columns)
        block = batch(columns, [*wanted[:7], *wanted])
        slices = [block.slice(start, 20) for start in range(7, 67, 20)]
        assert write(sink, plan, slices).rows == 60
        if place.keeps_rows:
            assert counted(place.rows(plan.table, columns), names) == counted(wanted, names)

    def test_batches_of_every_size(self, place: SinkPlace, sink: Sink, plan: WritePlan) -> None:
        """Batches may be of any size, empty ones among them; every row arrives once."""
        sizes = [0, 1, 500, 0, 7, 70_000, 1, 0]
        edges = [0, *itertools.accumulate(sizes)]
        batches = [numbers(plan, low, high) for low, high in itertools.pairwise(edges)]
        assert write(sink, plan, batches).rows == edges[-1]
        expect(place, plan, range(edges[-1]))

    def test_rows_append_to_what_is_there(
        self, place: SinkPlace, sink: Sink, plan: WritePlan
    ) -> None:
        """A second write adds its rows: another chunk, and another portion of the same one."""
        write(sink, plan, [numbers(plan, 0, 50)], "first", done=False)
        write(sink, plan, [numbers(plan, 50, 80)], "first", done=True)
        write(sink, renumbered(plan, 1), [numbers(plan, 80, 100)], "second")
        expect(place, plan, range(100))
        assert stored(sink).load_state(STREAM)["first"] == {"done": True}

    def test_it_says_how_much_it_wrote(self, place: SinkPlace, sink: Sink, plan: WritePlan) -> None:
        """`WriteResult` counts the rows, the quarantined rows, and the bytes that were sent."""
        written = write(sink, plan, [numbers(plan, 0, 300), numbers(plan, 300, 500)])
        assert isinstance(written, WriteResult)
        assert (written.rows, written.quarantined) == (500, 0)
        assert written.bytes > 0

    # Rows and their record

    def test_mark_is_called_once_after_the_rows(
        self, place: SinkPlace, sink: Sink, plan: WritePlan
    ) -> None:
        """`mark` is called exactly once, when the rows are exhausted."""
        exhausted = False
        calls: list[bool] = []

        def rows() -> Iterator[pa.RecordBatch]:
            nonlocal exhausted
            for start in range(0, 3000, 500):
                yield numbers(plan, start, start + 500)
            exhausted = True

        def mark() -> Checkpoint:
            calls.append(exhausted)
            return Checkpoint("chunk", {"done": True})

        sink.write_rows(STREAM, plan, rows(), mark)
        assert calls == [True]

    def test_nothing_is_seen_before_the_end(
        self, place: SinkPlace, sink: Sink, plan: WritePlan
    ) -> None:
        """Neither rows nor record of a write are visible to others before it is committed."""
        other = place.open()
        seen: list[tuple[int, bool]] = []

        def look() -> None:
            seen.append((len(rows_now(place, plan)), "chunk" in stored(other).load_state(STREAM)))

        def rows() -> Iterator[pa.RecordBatch]:
            look()
            yield numbers(plan, 0, 20_000)
            look()
            yield numbers(plan, 20_000, 20_001)
            look()

        def mark() -> Checkpoint:
            look()
            return Checkpoint("chunk", {"done": True})

        together(lambda: sink.write_rows(STREAM, plan, rows(), mark))
        assert seen == [(0, False)] * 4, "something was visible before the commit"
        look()
        assert seen[-1][1], "the record is missing"
        expect(place, plan, range(20_001))

    def test_rows_and_record_appear_together(
        self, place: SinkPlace, sink: Sink, plan: WritePlan
    ) -> None:
        """A concurrent reader sees all rows of a write and its record, or nothing of either."""
        watch = _Watch(place, plan, rows=100)
        with watch:
            for chunk in range(12):
                low = chunk * 100
                batches = [numbers(plan, n, n + 20) for n in range(low, low + 100, 20)]
                write(sink, renumbered(plan, chunk), batches, f"chunk {chunk}")
        assert not watch.faults, watch.faults[0]
        expect(place, plan, range(1200))

    def test_a_failure_leaves_nothing(self, place: SinkPlace, sink: Sink, plan: WritePlan) -> None:
        """An exception out of the rows or the mark comes out as it is, and neither rows nor
        record stay; what was there before does, and the sink goes on working."""
        write(sink, plan, [numbers(plan, 0, 10)], "before", n=1)

        def failing(batches: int, error: type[BaseException]) -> Iterator[pa.RecordBatch]:
            for number in range(batches):
                yield numbers(plan, number * 30_000, (number + 1) * 30_000)
            raise error("the source is gone")

        def mark() -> Checkpoint:
            raise BrokenTarget("no record")

        again = renumbered(plan, 1)
        for batches, error in ((0, BrokenTarget), (1, KeyboardInterrupt), (3, BrokenTarget)):
            with pytest.raises(error, match="the source is gone"):
                rows = failing(batches, error)
                sink.write_rows(STREAM, again, rows, marking("before", n=2))
            expect(place, plan, range(10))
        with pytest.raises(BrokenTarget, match="no record"):
            sink.write_rows(STREAM, again, iter([numbers(plan, 0, 20_000)]), mark)
        expect(place, plan, range(10))
        assert dict(stored(place.open()).load_state(STREAM)) == {"before": {"n": 1}}
        write(sink, again, [numbers(plan, 10, 20)], "after")
        expect(place, plan, range(20))

    def test_a_chunk_written_again_after_a_failure_is_there_once(
        self, place: SinkPlace, sink: Sink, plan: WritePlan
    ) -> None:
        """The same chunk written again after a failure equals written once, by the same sink
        or by one that a later run opens."""

        def broken() -> Iterator[pa.RecordBatch]:
            yield numbers(plan, 0, 20_000)
            raise BrokenTarget("the source is gone")

        for chunk, again in enumerate((sink, place.open())):
            aimed = renumbered(plan, chunk)
            with pytest.raises(BrokenTarget):
                sink.write_rows(STREAM, aimed, broken(), marking(f"chunk {chunk}"))
            batches = [numbers(plan, chunk * 100, chunk * 100 + 100)]
            write(again, aimed, batches, f"chunk {chunk}")
        expect(place, plan, range(200))

    def test_an_empty_write_records(self, place: SinkPlace, sink: Sink, plan: WritePlan) -> None:
        """A write without rows, or of empty batches, still puts its record."""
        for key, batches in (("none", []), ("empty", [numbers(plan, 0, 0)] * 2)):
            written = write(sink, plan, batches, key)
            assert (written.rows, written.quarantined) == (0, 0)
        assert set(stored(place.open()).load_state(STREAM)) == {"none", "empty"}
        expect(place, plan, range(0))

    def test_threads_write_one_table_at_once(
        self, place: SinkPlace, sink: Sink, plan: WritePlan
    ) -> None:
        """Several threads write different chunks of one table at once, and all arrive."""
        meet = threading.Barrier(4, timeout=2)

        def work(worker: int) -> Callable[[], None]:
            def run() -> None:
                for number in range(worker, 20, 4):
                    low = number * 50

                    def rows(low: int = low) -> Iterator[pa.RecordBatch]:
                        yield numbers(plan, low, low + 30)
                        # All four are within a write now, unless the sink lets in one only.
                        with contextlib.suppress(threading.BrokenBarrierError):
                            meet.wait()
                        yield numbers(plan, low + 30, low + 50)

                    mark = marking(f"chunk {number}")
                    sink.write_rows(STREAM, renumbered(plan, number), rows(), mark)

            return run

        together(*(work(worker) for worker in range(4)))
        expect(place, plan, range(1000))
        wanted = {f"chunk {number}": {"done": True} for number in range(20)}
        assert dict(stored(place.open()).load_state(STREAM)) == wanted

    # Upsert

    def test_an_upsert_twice_equals_once(self, place: SinkPlace, sink: Sink) -> None:
        """With a key to match on, a chunk written twice is there once, new rows are added, and
        of rows with one key the last one wins."""
        if not place.upserts:
            pytest.skip("this target does not upsert")
        columns = numbered(place)
        plan = WritePlan(place.create("keyed", columns, ["n"]), columns, ("n",), upsert=True)
        for _ in range(2):
            write(sink, plan, [numbers(plan, 0, 100)])
        expect(place, plan, range(100))
        changes = [{"n": 99, "text": "first"}, {"n": 100, "text": "new"}, {"n": 99, "text": "last"}]
        write(sink, plan, [batch(columns, changes)])
        read = {int(row["n"]): row["text"] for row in place.rows(plan.table, columns)}
        assert len(read) == 101
        assert (read[98], read[99], read[100]) == ("row 98", "last", "new")

    # Abilities

    def test_structure_can_be_looked_at(
        self, place: SinkPlace, sink: Sink, plan: WritePlan
    ) -> None:
        """A `StructureSink` describes the tables that are there, and says which hold rows."""
        if not isinstance(sink, StructureSink):
            pytest.skip("this sink has no tables of its own")
        missing = TableId(plan.table.schema, "not_there_at_all")
        (table,) = sink.inspect([plan.table, missing]).tables
        assert (table.id.name, [c.name for c in table.columns]) == ("numbers", ["n", "text"])
        assert not sink.has_rows(plan.table)
        write(sink, plan, [numbers(plan, 0, 1)])
        assert sink.has_rows(plan.table)

    def test_room_is_made_for_rows(self, place: SinkPlace, sink: Sink, plan: WritePlan) -> None:
        """A `LayoutSink` keeps a stream's own parts or removes them, as told, and refuses to
        write over what another stream left."""
        if not isinstance(sink, LayoutSink):
            pytest.skip("this sink needs no room")
        key = Index("key", (IndexPart("n"),), unique=True, primary=True)
        table = TableSchema(plan.table, Dialect.FILES, plan.columns, key)
        for keep, wanted in ((False, 10), (True, 20), (False, 10)):
            mode = "fail_if_not_empty"
            sink.prepare(STREAM, [table], write_mode=mode, keep=keep, reload=frozenset())
            write(sink, plan, [numbers(plan, wanted - 10, wanted)])
            expect(place, plan, range(wanted))
        sink.prepare(STREAM, [table], write_mode=mode, keep=True, reload={plan.table})
        stored(sink).save_state(STREAM, {"chunk": None})
        write(sink, plan, [numbers(plan, 0, 10)])
        expect(place, plan, range(10))
        sink.finish(STREAM, [plan.table])
        expect(place, plan, range(10))
        with pytest.raises(TargetConflict):
            sink.prepare(
                "other", [table], write_mode="fail_if_not_empty", keep=False, reload=frozenset()
            )
        expect(place, plan, range(10))

    # The end

    def test_close_is_idempotent(self, place: SinkPlace, plan: WritePlan) -> None:
        """`close` may be called twice and before any use. A write to a closed sink raises
        `ConnectionFailed`, or a kind of it, and leaves nothing, where there was a connection to
        close; else it goes through."""
        place.open().close()
        sink = place.open()
        write(sink, plan, [numbers(plan, 0, 10)], "before")
        sink.close()
        sink.close()
        wanted, records = 10, {"before"}
        with contextlib.suppress(ConnectionFailed):
            write(sink, renumbered(plan, 1), [numbers(plan, 10, 20)], "after")
            wanted, records = 20, {"before", "after"}
        assert set(stored(place.open()).load_state(STREAM)) == records
        expect(place, plan, range(wanted))


class _Watch:
    """Somebody who looks at rows and records all the time while others write."""

    def __init__(self, place: SinkPlace, plan: WritePlan, rows: int) -> None:
        self._place = place
        self._load = plan
        self._rows = rows
        self._sink = place.open()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.faults: list[str] = []

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join(60)

    def _run(self) -> None:
        try:
            while not self._done.is_set() and not self.faults:
                self._look()
        except BaseException as error:
            self.faults.append(f"looking on failed: {error!r}")

    def _look(self) -> None:
        """Check that rows and records never disappear: what was there before is there after."""
        before = len(stored(self._sink).load_state(STREAM))
        read = len(rows_now(self._place, self._load))
        after = len(stored(self._sink).load_state(STREAM))
        if not self._place.keeps_rows:
            return
        if read % self._rows:
            self.faults.append(f"{read} rows were seen: a part of a write")
        if read < before * self._rows:
            self.faults.append(f"{before} records were seen, and then only {read} rows")
        if read > after * self._rows:
            self.faults.append(f"{read} rows were seen, and then only {after} records")
