"""The conformance suite of change logs, for a third party to run against its own.

Subclass `ChangeLogConformance` in a test file and give it a fixture ``place``, a
`ChangeLogPlace`, anew for each test. See docs/adapters.md.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from streams_engine.contracts import ChangeSource, LagSource, Scope, SlotSource, WakingReader
from streams_engine.model import Op, Position, SchemaChange, TableId
from streams_engine.testing.change_log_place import (
    Change,
    ChangeLogPlace,
    Reading,
    inserts,
    quiet,
    read,
    subscribed,
    subscription,
)

__all__ = ["Change", "ChangeLogConformance", "ChangeLogPlace"]


class ChangeLogConformance:
    """The conformance suite of change logs. A subclass gives the fixture ``place``, anew for
    each test."""

    @pytest.fixture
    def source(self, place: ChangeLogPlace) -> Iterator[ChangeSource]:
        """Open a source and check it first, as a run does."""
        source = place.open()
        source.check()
        yield source
        if isinstance(source, SlotSource):
            source.release()
        source.close()

    @pytest.fixture
    def start(self, source: ChangeSource) -> Position:
        """Return the end of the log before the test's changes."""
        tables: list[TableId] = [t.id for t in source.catalog(Scope(tables=("followed",))).tables]
        return source.start(tables)

    def test_every_kind_of_change_comes_in_order(
        self, place: ChangeLogPlace, source: ChangeSource, start: Position
    ) -> None:
        """Applied one after the other, in the order of ``seq``, the changes give the rows; a
        delete and a changed key say the old one."""
        place.commit(*inserts(range(1, 6)))
        place.commit(
            Change(Op.UPDATE, 1, "changed"),
            Change(Op.UPDATE, 2, "moved", new_id=20),
            Change(Op.DELETE, 3),
            Change(Op.INSERT, 3, "again"),
            Change(Op.UPDATE, 4, None),
        )
        with source.changes([subscription(source)], start) as reader:
            reading = read(place, reader, 10)
        assert reading.rows == {1: "changed", 20: "moved", 3: "again", 4: None, 5: "5"}

    def test_a_set_ends_with_a_whole_transaction(
        self, place: ChangeLogPlace, source: ChangeSource, start: Position
    ) -> None:
        """However few rows are asked for, a position is that of a commit: a reader from there
        begins with the next transaction."""
        for first in (0, 10, 20):
            place.commit(*inserts(range(first, first + 4)))
        seen = 0
        position, reading = start, Reading()
        while seen < 12:
            with source.changes([subscription(source)], position) as reader:
                now = read(place, reader, 4, rows=1)
            seen += now.changes
            assert now.position is not None
            position = now.position
            reading.rows |= now.rows
        assert sorted(reading.rows) == [*range(4), *range(10, 14), *range(20, 24)]

    def test_a_reader_goes_on_from_any_position(
        self, place: ChangeLogPlace, source: ChangeSource, start: Position
    ) -> None:
        """Each position that a set gave, brought through JSON, gives all that comes after it and
        nothing before, also to another source object."""
        for number in range(4):
            place.commit(*inserts([number]))
        places: list[tuple[Position, int]] = []
        with source.changes([subscription(source)], start) as reader:
            reading = Reading()
            for count in range(1, 5):
                if reading.changes < count:
                    read(place, reader, count, reading, rows=1)
                assert reading.position is not None
                places.append((reading.position, reading.changes))
        for position, count in places:
            if count < 4:
                with source.changes([subscription(source)], position) as reader:
                    assert sorted(read(place, reader, 4 - count).rows) == list(range(count, 4))

    def test_what_was_rolled_back_never_comes(
        self, place: ChangeLogPlace, source: ChangeSource, start: Position
    ) -> None:
        """Only committed changes are in the log."""
        place.commit(*inserts([1]))
        place.roll_back(*inserts([2]), Change(Op.DELETE, 1))
        place.commit(*inserts([3]))
        with source.changes([subscription(source)], start) as reader:
            assert read(place, reader, 2).rows == {1: "1", 3: "3"}
            assert quiet(reader) == []

    def test_a_view_and_the_log_after_it_leave_no_gap(
        self, place: ChangeLogPlace, source: ChangeSource
    ) -> None:
        """The rows of `snapshot_at_position` and the changes after its position are all rows."""
        place.commit(*inserts(range(3)))
        with source.snapshot_at_position(Scope(tables=("followed",)), 1, resume=False) as view:
            place.commit(Change(Op.DELETE, 0), *inserts([3]))
            (table,) = view.catalog.tables
            tracked = subscribed(source, table)
            reading = Reading()
            for chunk in view.chunks(table, 100):
                for batch in view.read(tracked.extract, chunk):
                    reading.rows |= {int(r["id"]): r["text"] for r in batch.to_pylist()}
            position = view.position
        assert sorted(reading.rows) == [0, 1, 2]
        with source.changes([tracked], position) as reader:
            read(place, reader, 2, reading)
        assert reading.rows == {1: "1", 2: "2", 3: "3"}

    def test_changes_up_to_since_are_not_of_the_table(
        self, place: ChangeLogPlace, source: ChangeSource, start: Position
    ) -> None:
        """Transactions at or below a table's ``since`` are left out."""
        place.commit(*inserts([1, 2]))
        since = source.end()
        place.commit(*inserts([3]))
        with source.changes([subscription(source, since=since)], start) as reader:
            assert read(place, reader, 1).rows == {3: "3"}

    def test_other_tables_move_the_position_alone(
        self, place: ChangeLogPlace, source: ChangeSource, start: Position
    ) -> None:
        """Changes of tables that are not followed give no part; sooner or later the position
        goes past them."""
        place.commit(*inserts([1]), table="other")
        wanted = source.end()
        with source.changes([subscription(source)], start) as reader:
            until, position = time.monotonic() + place.patience, start
            while not source.at_or_after(position, wanted):
                assert time.monotonic() < until, "the position stands still"
                changes = reader.poll(0.5)
                assert changes is None or not changes.parts
                position = changes.position if changes and changes.position else position

    def test_an_idle_log_gives_nothing(self, source: ChangeSource, start: Position) -> None:
        """`poll` comes back after its timeout, with no changes."""
        with source.changes([subscription(source)], start) as reader:
            assert quiet(reader) == []

    def test_a_poll_that_waits_can_be_ended(
        self, place: ChangeLogPlace, source: ChangeSource, start: Position
    ) -> None:
        """A reader with `wake` returns at once, also if it was woken before it waited; what comes
        after that is not lost."""
        with source.changes([subscription(source)], start) as reader:
            if not isinstance(reader, WakingReader):
                return
            begun = time.monotonic()
            reader.wake()
            reader.poll(place.patience)
            threading.Timer(0.1, reader.wake).start()
            reader.poll(place.patience)
            assert time.monotonic() - begun < place.patience
            place.commit(*inserts([1]))
            assert read(place, reader, 1).rows == {1: "1"}
        reader.wake()

    def test_positions_have_an_order(
        self, place: ChangeLogPlace, source: ChangeSource, start: Position
    ) -> None:
        """`end` is at or after all that was committed before; `reached` orders positions, and
        `lag` is what lies between."""
        before = source.end()
        place.commit(*inserts(range(5)))
        after = source.end()
        assert source.at_or_after(after, before) and not source.at_or_after(before, after)
        assert source.at_or_after(after, after)
        if isinstance(source, LagSource):
            assert source.lag(before).bytes > 0

    def test_a_table_that_is_emptied_says_so(
        self, place: ChangeLogPlace, source: ChangeSource, start: Position
    ) -> None:
        """A truncation comes in its place among the changes."""
        place.commit(*inserts([1, 2]))
        place.truncate()
        place.commit(*inserts([3]))
        with source.changes([subscription(source)], start) as reader:
            assert read(place, reader, 3).rows == {3: "3"}

    def test_a_change_of_structure_ends_its_set(
        self, place: ChangeLogPlace, source: ChangeSource, start: Position
    ) -> None:
        """Nothing but changes of structure comes after one in its set; once the table was
        adopted as it is then, its rows have the new column."""
        tracked = subscription(source)
        place.commit(*inserts([1]))
        place.add_column("more")
        place.commit(*inserts([2]))
        reading = Reading()
        until = time.monotonic() + place.patience
        with source.changes([tracked], start) as reader:
            while reading.changes < 2 or reading.sets[-1].position is None:
                assert time.monotonic() < until, "the changes do not come"
                changes = reader.poll(0.5)
                if changes is None:
                    continue
                kinds = [isinstance(part, SchemaChange) for part in changes.parts]
                assert kinds == sorted(kinds)
                reading.take(changes)
                for change in changes.parts:
                    if isinstance(change, SchemaChange):
                        assert change.after is not None and change.before is not None
                        assert "more" not in reading.columns
                        reader.adopt(change.after.id, subscribed(source, change.after))
        assert reading.rows == {1: "1", 2: "2"} and "more" in reading.columns

    def test_a_table_that_is_left_comes_no_more(
        self, place: ChangeLogPlace, source: ChangeSource, start: Position
    ) -> None:
        """After ``adopt(table, None)`` its changes are left out."""
        place.commit(*inserts([1]))
        tracked = subscription(source)
        with source.changes([tracked], start) as reader:
            read(place, reader, 1)
            reader.adopt(tracked.schema.id, None)
            place.commit(*inserts([2]))
            assert quiet(reader) == []

    def test_release_and_close_are_idempotent(self, place: ChangeLogPlace) -> None:
        """Both may be called twice, and before any use."""
        source = place.open()
        for _ in range(2):
            if isinstance(source, SlotSource):
                source.release()
        for _ in range(2):
            source.close()
