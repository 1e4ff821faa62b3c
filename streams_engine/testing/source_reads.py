"""The part of the suite for sources that is about chunks and reading."""

from __future__ import annotations

import itertools
import json
import pickle
import threading
from collections.abc import Callable
from dataclasses import asdict, replace

import pytest

from streams_engine.contracts import Snapshot
from streams_engine.model import Chunk, Extract, Filter
from streams_engine.testing.sample_rows import (
    EVENTS,
    NOTHING,
    PEOPLE,
    TABLES,
    SampleTable,
    together,
)
from streams_engine.testing.source_place import (
    Rows,
    SourcePlace,
    closed,
    found,
    listed,
    remade,
    rest,
    rows_of,
    same,
    scoped,
    whole,
)

__all__ = ["ReadingConformance"]

CHUNK_ROWS = (110, 250, 100_000)
CHUNK = 250
"""A size at which both tables with rows hold more than one chunk, or a chunk many batches."""


class ReadingConformance:
    """Chunks, batches, readers, and how a cut chunk goes on."""

    # Chunks and reading

    def test_chunks_hold_each_row_once(self, view: Snapshot) -> None:
        """The chunks of a table together hold each of its rows once, whatever their size."""
        for sample, rows in itertools.product(TABLES.values(), CHUNK_ROWS):
            table = found(view, sample.name)
            chunks = view.chunks(table, rows)
            assert [chunk.number for chunk in chunks] == list(range(len(chunks)))
            assert all(chunk.table == table.id for chunk in chunks)
            same(rows_of(view, whole(table), *chunks), sample.rows, sample)

    def test_batches_have_exactly_the_schema(self, view: Snapshot) -> None:
        """Every batch has the names and Arrow types of `Extract.arrow_schema`."""
        for name in TABLES:
            extract = whole(found(view, name))
            wanted = extract.arrow_schema()
            for chunk in view.chunks(found(view, name), CHUNK):
                for batch in view.read(extract, chunk):
                    assert batch.schema.names == wanted.names
                    assert batch.schema.types == wanted.types
                    batch.validate(full=True)

    def test_some_columns_in_another_order(self, view: Snapshot) -> None:
        """An extract of some columns in another order yields those in that order."""
        table = found(view, PEOPLE.name)
        for names in (["note", "Full Name", "price"], ["data"], list(PEOPLE.columns)[::-1]):
            extract = Extract(table.id, tuple(table.column(name) for name in names))
            chunks = view.chunks(table, CHUNK)
            same(rows_of(view, extract, *chunks), PEOPLE.rows, PEOPLE, names)
            batches = view.read(extract, chunks[0])
            assert next(batches).schema.names == names
            closed(batches)

    def test_an_empty_table_has_no_rows(self, view: Snapshot) -> None:
        """A table without rows is described, and read without a row and without an error."""
        table = found(view, NOTHING.name)
        read = [list(view.read(whole(table), chunk)) for chunk in view.chunks(table, 100)]
        assert sum(batch.num_rows for batches in read for batch in batches) == 0

    # Several readers

    def test_two_threads_read_at_once(self, view: Snapshot) -> None:
        """As many threads as the view has readers read at once, each all of what it asked for."""
        if view.readers < 2:
            pytest.skip("this view has one reader")
        meet = threading.Barrier(2, timeout=30)

        def reading(sample: SampleTable) -> Callable[[], Rows]:
            def read() -> Rows:
                table = found(view, sample.name)
                first, *others = view.chunks(table, 100_000)
                batches = view.read(whole(table), first)
                rows: Rows = next(batches).to_pylist()
                meet.wait()  # both are within a chunk now
                rows += [row for batch in batches for row in batch.to_pylist()]
                return rows + rows_of(view, whole(table), *others)

            return read

        first, second = together(reading(PEOPLE), reading(EVENTS))
        same(first, PEOPLE.rows, PEOPLE)
        same(second, EVENTS.rows, EVENTS)

    def test_a_reader_that_is_closed_early_is_free(self, view: Snapshot) -> None:
        """Closing a generator early frees its reader: afterwards all others still read."""
        table = found(view, PEOPLE.name)
        (chunk, *_) = view.chunks(table, 100_000)

        def leave() -> None:
            for _ in range(2 * view.readers + 1):
                batches = view.read(whole(table), chunk)
                next(batches)
                closed(batches)
            closed(view.read(whole(table), chunk))  # not begun at all

        together(leave)
        reads = [lambda: rows_of(view, whole(table), chunk)] * view.readers
        wanted = rows_of(view, whole(table), chunk)
        for read in together(*reads):
            same(read, wanted, PEOPLE)

    def test_a_chunk_read_twice_is_the_same(self, view: Snapshot) -> None:
        """A chunk read twice gives the same rows, in the same order where it is ordered."""
        for name in TABLES:
            table = found(view, name)
            for chunk in view.chunks(table, CHUNK):
                first = rows_of(view, whole(table), chunk)
                again = rows_of(view, whole(table), chunk)
                same(first, again, TABLES[name])
                if chunk.ordered or chunk.key:
                    assert listed(first, TABLES[name]) == listed(again, TABLES[name])

    # Going on

    def test_a_cut_chunk_goes_on(self, view: Snapshot) -> None:
        """A cut chunk goes on after its last row without a gap or a double: by the number of
        rows where it is ordered, by the last row's key where it has one."""
        everything: tuple[Filter, ...] = ()
        some = (Filter("batch", "<", 7),)
        for sample, filters in ((PEOPLE, everything), (PEOPLE, some), (EVENTS, everything)):
            table = found(view, sample.name)
            extract = replace(whole(table), filters=filters)
            for chunk in view.chunks(table, CHUNK):
                wanted = rows_of(view, extract, chunk)
                for count in (20, 60):
                    read = self._cut_twice(view, extract, chunk, count)
                    left = rest(chunk, read)
                    if left is not None:
                        read += rows_of(view, extract, left)
                        assert listed(read, sample) == listed(wanted, sample)

    @staticmethod
    def _cut_twice(view: Snapshot, extract: Extract, chunk: Chunk, count: int) -> Rows:
        """Read with two readers that are closed after some rows, the second after the first."""
        read: Rows = []
        for _ in range(2):
            left = rest(chunk, read)
            if left is not None:
                reader = view.read(extract, left)
                rows = (row for batch in reader for row in batch.to_pylist())
                read += itertools.islice(rows, count)
                closed(reader)
        return read

    def test_a_chunk_cut_at_its_end_holds_no_more(self, view: Snapshot) -> None:
        """The rest of a chunk after its last row is empty."""
        for sample in (PEOPLE, EVENTS):
            table = found(view, sample.name)
            for chunk in view.chunks(table, CHUNK):
                left = rest(chunk, rows_of(view, whole(table), chunk))
                if left is not None:
                    assert rows_of(view, whole(table), left) == []

    def test_what_a_run_keeps_survives(self, view: Snapshot) -> None:
        """Chunks and extracts pickle, chunks are JSON-able too, and read the same afterwards."""
        for sample in (PEOPLE, EVENTS):
            table = found(view, sample.name)
            assert pickle.loads(pickle.dumps(table)) == table
            extract = replace(
                whole(table), sorts=(), filters=(Filter(next(iter(sample.columns)), ">", 5),)
            )
            pickled = pickle.loads(pickle.dumps(extract))
            assert pickled == extract
            for chunk in view.chunks(table, CHUNK):
                assert pickle.loads(pickle.dumps(chunk)) == chunk
                kept = remade(json.loads(json.dumps(asdict(chunk))))
                wanted = rows_of(view, extract, chunk)
                same(rows_of(view, pickled, kept), wanted, sample)

    def test_chunks_of_an_earlier_view_hold_good(self, place: SourcePlace, view: Snapshot) -> None:
        """A chunk of one view, read in a later one of unchanged tables, holds the same rows."""
        for sample in (PEOPLE, EVENTS):
            table = found(view, sample.name)
            with place.source.snapshot(scoped(place, *TABLES), 1) as later:
                for chunk in view.chunks(table, CHUNK):
                    wanted = rows_of(view, whole(table), chunk)
                    same(rows_of(later, whole(table), chunk), wanted, sample)
