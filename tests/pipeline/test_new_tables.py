"""Tables that a listing shows, and no log: they join, come and go."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

from streams_engine import Stream
from streams_engine.adapters.memory import MemorySource
from streams_engine.adapters.memory.source import MemoryReader, MemorySnapshot
from streams_engine.contracts import Scope
from streams_engine.model import ChangeSet, Position, TableId, TableSubscription
from tests.support.memory_run import SHOP, MemoryRun, ends, filled

WAIT = 60


class Listing(MemorySource):
    """Lists what is there, and tables that are dropped before anybody can read them."""

    asked = 0
    ghosts = 0

    def tables(self, scope: Scope) -> Sequence[TableId]:
        self.asked += 1
        there = [t for t in self.database.tables if scope.tables is None or t.name in scope.tables]
        (schema,) = {t.schema for t in self.database.tables}
        return [*there, *(TableId(schema, f"ghost{n}") for n in range(self.ghosts))]


def shown_by_no_log(run: MemoryRun, name: str) -> None:
    """Create a table with a row, and drop the log of that: the log goes on after it."""
    run.source.create_table(name, SHOP, ("id",))
    run.source.insert(name, {"id": 1, "who": "first", "price": None})


@pytest.mark.parametrize("ghosts", [0, 3], ids=["quiet", "while others come and go"])
def test_catch_up_waits_for_what_was_there_alone(ghosts: int) -> None:
    run = filled(MemoryRun())
    _, sink, options = ends(run, mode="cdc")
    source = Listing(run.source)
    with Stream(source, sink, **options) as stream:
        stream.start()
        assert stream.catch_up(WAIT)
        source.ghosts = ghosts
        for number in range(3):
            run.source.insert("orders", {"id": 100 + number, "who": "new", "price": None})
            shown_by_no_log(run, f"made{number}")
            assert stream.catch_up(WAIT), stream.error
            assert run.equal()
    assert source.asked


class HeldBack(Listing):
    """Its log stands still, once that is wished, until it is opened again; so does a listing.

    No log shows that a table was created.
    """

    def __init__(self, run: MemoryRun) -> None:
        super().__init__(run.source)
        self.held = False
        self.stands, self.looked, self.go = (threading.Event() for _ in range(3))
        self.stop_at = 0

    def tables(self, scope: Scope) -> Sequence[TableId]:
        found = super().tables(scope)
        if self.asked == self.stop_at:
            self.looked.set()
            assert self.go.wait(WAIT)
        return found

    @contextmanager
    def changes(
        self, tracked: Sequence[TableSubscription], after: Position
    ) -> Iterator[MemoryReader]:
        self.held = False
        with super().changes(tracked, after) as reader:
            poll = reader.poll

            def polled(timeout: float, rows: int | None = None) -> ChangeSet | None:
                if not self.held:
                    return poll(min(timeout, 0.01), rows)
                self.stands.set()
                return None

            reader.poll = polled  # type: ignore[method-assign]
            reader._concerns = lambda entry: False  # type: ignore[method-assign]
            yield reader


def test_catch_up_goes_on_with_who_follows_after_a_join() -> None:
    """Tables join for somebody else while one waits for the log."""
    run = filled(MemoryRun())
    _, sink, options = ends(run, mode="cdc")
    source = HeldBack(run)
    answers: list[bool] = []
    with Stream(source, sink, **options) as stream:
        waiters = [
            threading.Thread(target=lambda: answers.append(stream.catch_up(WAIT))) for _ in range(2)
        ]
        stream.start()
        assert stream.catch_up(WAIT)
        shown_by_no_log(run, "made")
        source.stop_at = source.asked + 2
        waiters[0].start()
        assert source.looked.wait(WAIT)  # all before is applied: now the new table joins
        source.held = True
        assert source.stands.wait(WAIT)
        run.source.insert("orders", {"id": 100, "who": "new", "price": None})
        waiters[1].start()
        waiters[1].join(0.3)
        assert answers == []
        source.go.set()
        for waiter in waiters:
            waiter.join(WAIT)
        assert answers == [True, True] and run.equal()


class OpenedLate(Listing):
    """Its log opens only when somebody has waited for the stream for a while."""

    def __init__(self, run: MemoryRun) -> None:
        super().__init__(run.source)
        self.open = threading.Event()

    @contextmanager
    def changes(
        self, tracked: Sequence[TableSubscription], after: Position
    ) -> Iterator[MemoryReader]:
        assert self.open.wait(WAIT)
        with super().changes(tracked, after) as reader:
            yield reader


def test_catch_up_before_the_log_is_open_waits_for_what_joins() -> None:
    run = filled(MemoryRun())
    _, sink, options = ends(run, mode="cdc")
    with Stream(Listing(run.source), sink, **options, tables=["orders"]) as stream:
        stream.start()
        assert stream.catch_up(WAIT)
    source = OpenedLate(run)
    answers: list[bool] = []
    with Stream(source, sink, **options) as stream:
        stream.start()
        waiter = threading.Thread(target=lambda: answers.append(stream.catch_up(WAIT)))
        waiter.start()
        waiter.join(0.3)
        assert answers == []
        source.open.set()
        waiter.join(WAIT)
        assert answers == [True] and run.equal()


class JoinedBeside(HeldBack):
    """Another table is created while the rows of a table that joins are read."""

    def __init__(self, run: MemoryRun) -> None:
        super().__init__(run)
        self.run = run
        self.late: str | None = None

    @contextmanager
    def snapshot(self, scope: Scope, readers: int) -> Iterator[MemorySnapshot]:
        with super().snapshot(scope, readers) as snapshot:
            late, self.late = self.late, None
            if late is not None:
                shown_by_no_log(self.run, late)
            yield snapshot


def test_a_table_that_is_created_while_another_one_joins_joins_too() -> None:
    run = filled(MemoryRun())
    _, sink, options = ends(run, mode="cdc")
    source = JoinedBeside(run)
    with Stream(source, sink, **options) as stream:
        stream.start()
        assert stream.catch_up(WAIT)
        source.late = "late"
        shown_by_no_log(run, "made")
        assert stream.catch_up(WAIT), stream.error
        assert source.late is None
        assert stream.catch_up(WAIT), stream.error
        assert run.equal()
