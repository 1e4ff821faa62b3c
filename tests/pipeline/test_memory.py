"""The pipeline between two databases in memory: load, resume, changes, structure, states, and
every named point of a run, without a server."""

from __future__ import annotations

import contextlib
import random
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams_engine import State, Stream
from streams_engine.adapters.memory import MemoryDatabase, MemorySink, MemorySource
from streams_engine.contracts import ChangeSink, LayoutSink, TableWriter
from streams_engine.errors import (
    FencedOff,
    LogLost,
    RowRejected,
    SchemaChangeRefused,
    TargetConflict,
)
from streams_engine.faults import POINTS
from tests.support.memory_run import SHOP, Cut, MemoryRun, ends, filled

WAIT = 60


def test_the_sink_has_the_abilities_that_it_says() -> None:
    sink = MemorySink(MemoryDatabase())
    assert isinstance(sink, LayoutSink) and isinstance(sink, ChangeSink)
    with sink.change_writer("s", "log") as writer:
        assert isinstance(writer, TableWriter)


# Load


def test_a_load_copies_every_row() -> None:
    run = filled(MemoryRun())
    assert run.run("convert") is State.FINISHED
    assert run.equal() and not run.target.records.get("s")


def test_a_load_that_was_cut_reads_no_committed_row_again() -> None:
    run = filled(MemoryRun(), rows=12)
    run.options["limit"] = 8
    run.run("convert")
    there = sum(len(run.target.rows(name)) for name in ("orders", "visits"))
    assert there == 8
    del run.options["limit"]
    assert run.run("convert") is State.FINISHED
    assert run.counters.rows == 24 - 8
    assert run.equal()


def test_a_load_begins_again_where_the_source_changed() -> None:
    run = filled(MemoryRun(), rows=12)
    run.options["limit"] = 8
    run.run("convert")
    del run.options["limit"]
    with run.source.transaction() as transaction:
        transaction.update("orders", {"id": 1}, {"who": "other"})
    run.run("convert")
    assert run.counters.rows == 24 and run.equal()


def test_rows_of_others_are_not_written_over() -> None:
    run = filled(MemoryRun())
    run.run("convert")
    with pytest.raises(TargetConflict):
        run.run("convert")
    run.options["write_mode"] = "truncate_and_load"
    run.run("convert")
    assert run.equal()


@pytest.mark.parametrize("count", range(1, 6))
def test_a_load_may_be_cut_after_each_chunk(count: int) -> None:
    run = filled(MemoryRun(), rows=12)
    seen = 0

    def cut(point: str) -> bool:
        nonlocal seen
        seen += point == "handover: chunk copied"
        return seen == count

    with pytest.raises(Cut):
        run.run("convert", cut=cut)
    assert run.run("convert") is State.FINISHED
    assert run.equal()


# The log


def write(run: MemoryRun) -> None:
    """Every kind of change of both tables."""
    with run.source.transaction() as transaction:
        transaction.insert("orders", {"id": 100, "who": "new", "price": None})
        transaction.update("orders", {"id": 1}, {"who": "changed"})
        transaction.update("orders", {"id": 2}, {"id": 200})
        transaction.delete("orders", {"id": 3})
    with run.source.transaction() as transaction:
        transaction.insert("visits", {"at": 1, "page": "/new"}, {"at": 1, "page": "/new"})
        transaction.delete("visits", {"at": 0, "page": "/"}, 1)
        transaction.update("visits", {"at": 2}, {"page": "/other"})


def test_changes_follow_the_load() -> None:
    run = filled(MemoryRun())
    assert run.run() is State.STOPPED
    write(run)
    run.run()
    assert run.equal()
    assert run.target.records["s"]["log"] == {
        "position": {"system": "source", "pos": run.source.end}
    }


def test_keys_that_change_places_in_one_transaction() -> None:
    run = filled(MemoryRun())
    run.run()
    with run.source.transaction() as transaction:
        for old, new in ((1, -1), (2, 1), (-1, 2)):
            transaction.update("orders", {"id": old}, {"id": new})
    run.run()
    assert run.equal()


def test_truncated_tables_are_empty() -> None:
    run = filled(MemoryRun())
    run.run()
    with run.source.transaction() as transaction:
        transaction.truncate("orders", "visits")
        transaction.insert("orders", {"id": 1, "who": "after", "price": 1.0})
    run.run()
    assert run.equal() and len(run.target.rows("orders")) == 1


def test_a_transaction_that_was_rolled_back_is_nowhere() -> None:
    run = filled(MemoryRun())
    run.run()
    with pytest.raises(ZeroDivisionError), run.source.transaction() as transaction:
        transaction.delete("orders", {"id": 1})
        raise ZeroDivisionError
    run.run()
    assert run.equal() and len(run.target.rows("orders")) == 12


def test_a_log_that_was_dropped_is_an_error() -> None:
    run = filled(MemoryRun())
    run.run()
    write(run)
    run.source.forget_log()
    with pytest.raises(LogLost):
        run.run()


def test_updates_of_rows_that_are_not_there_are_counted() -> None:
    run = filled(MemoryRun())
    run.run()
    with run.target.transaction() as transaction:
        transaction.delete("orders", {"id": 1})
    with run.source.transaction() as transaction:
        transaction.update("orders", {"id": 1}, {"who": "gone"})
    run.run()
    changes = frozen(run).changes
    assert changes is not None and changes.unmet == 1


def frozen(run: MemoryRun) -> Any:
    return run.counters.freeze(
        name="s", config_id="", stream_id="", state=State.STOPPED, intervals=(3, 3), error=None
    )


ELSEWHERE = ("pending", "reload", "verify")
"""Points that tests of their own reach."""


@pytest.mark.parametrize("point", [p for p in POINTS if p.split(":")[0] not in ELSEWHERE])
def test_a_run_cut_at_each_point_goes_on(point: str) -> None:
    """What a kill leaves at any point is gone on from, with every change once."""
    unload = point == "handover: position taken"
    run = filled(MemoryRun(**({"initial_load": False} if unload else {})))
    if point in ("ddl: intent recorded",):
        pytest.skip("DDL is part of the transaction: there is no intent")
    if point.startswith("load"):
        with pytest.raises(Cut):
            run.run("convert", cut=lambda here: here == point)
        run.run("convert")
        assert run.equal()
        return
    if not (point.startswith("handover") or unload):
        run.run()
    write(run)
    with run.source.transaction() as transaction:
        transaction.alter_table("orders", add=[pa.field("note", pa.string())])
        transaction.insert("orders", {"id": 300, "who": "x", "price": 0.5, "note": "added"})
    if unload:
        with pytest.raises(Cut):
            run.run(cut=lambda here: here == point)
        assert not run.target.records.get("s")
        run.run()
        assert "log" in run.target.records["s"]
        return
    with pytest.raises(Cut):
        run.run(cut=lambda here: here == point)
    write_more(run)
    run.run()
    assert run.equal(), run.differences()
    assert frozen(run).changes.unmet == 0


def write_more(run: MemoryRun) -> None:
    with run.source.transaction() as transaction:
        transaction.insert("orders", {"id": 400, "who": "after", "price": 2.0})
        transaction.delete("visits", {"at": 5, "page": "/"}, 1)


# Structure


@pytest.mark.parametrize("point", ["handover: structure made", "handover: chunk copied"])
def test_columns_may_change_between_a_cut_load_and_the_next(point: str) -> None:
    """The tables of the cut load are the stream's own: they are made anew."""
    run = filled(MemoryRun())
    with pytest.raises(Cut):
        run.run(cut=lambda here: here == point)
    with run.source.transaction() as transaction:
        transaction.alter_table("orders", add=[pa.field("note", pa.string())])
    run.run()
    assert run.equal()


def test_changes_of_structure_are_carried_over() -> None:
    run = filled(MemoryRun(allow_lossy=True))
    run.run()
    with run.source.transaction() as transaction:
        transaction.alter_table("orders", add=[pa.field("note", pa.string())])
        transaction.insert("orders", {"id": 20, "who": "y", "price": 1.0, "note": "n"})
        transaction.alter_table("orders", rename={"who": "name"}, drop=["price"])
        transaction.update("orders", {"id": 20}, {"name": "z"})
    run.source.create_table("late", SHOP, ("id",))
    run.source.insert("late", {"id": 1, "who": "late", "price": 0.0})
    with run.source.transaction() as transaction:
        transaction.drop_table("visits")
    run.run()
    assert run.differences() == []


def test_a_loss_is_refused_unless_it_is_allowed() -> None:
    run = filled(MemoryRun())
    run.run()
    with run.source.transaction() as transaction:
        transaction.alter_table("orders", drop=["price"])
    with pytest.raises(SchemaChangeRefused, match="price"):
        run.run()
    assert "price" in run.target.rows("orders")[0]


def test_structure_stays_where_that_is_wanted() -> None:
    run = filled(MemoryRun(schema_changes="fail"))
    run.run()
    with run.source.transaction() as transaction:
        transaction.alter_table("orders", add=[pa.field("note", pa.string())])
    with pytest.raises(SchemaChangeRefused):
        run.run()


# Refused rows


def test_a_refused_row_fails_the_stream_or_is_set_aside() -> None:
    run = filled(MemoryRun())
    run.run()
    run.target.insert("orders", {"id": 500, "who": "somebody else's", "price": None})
    with run.source.transaction() as transaction:
        transaction.insert("orders", {"id": 500, "who": "s3cret", "price": 1.0})
        transaction.insert("orders", {"id": 501, "who": "fine", "price": 1.0})
    with pytest.raises(RowRejected) as caught:
        run.run()
    assert "s3cret" not in str(caught.value)
    run.options["on_error"] = "quarantine"
    run.run()
    assert [row["id"] for row in run.target.rows("orders")][-1] == 501
    ((stream, aside),) = run.target.quarantined
    assert stream == "s" and aside.row["id"] == "500"


def test_a_writer_that_was_taken_over_commits_no_more() -> None:
    sink = MemorySink(MemoryDatabase())
    with sink.change_writer("s", "log") as old:
        with sink.change_writer("s", "log") as new:
            new.commit({"position": {"pos": 2}})
        with pytest.raises(FencedOff):
            old.commit({"position": {"pos": 1}})
    assert sink.load_state("s") == {"log": {"position": {"pos": 2}}}


# States, through Stream


def test_a_plan_and_a_verification_of_objects() -> None:
    run = filled(MemoryRun())
    source, sink, options = ends(run)
    stream = Stream(source, sink, **options)
    assert {str(table.source) for table in stream.plan().tables} == {"orders", "visits"}
    assert "memory:source -> memory:target" in repr(stream)
    assert stream.run().rows == 24
    assert Stream(source, sink).verify().ok
    with run.target.transaction() as transaction:
        transaction.update("orders", {"id": 7}, {"price": -1.0})
    (verdict,) = (t for t in Stream(source, sink).verify().tables if not t.equal)
    assert verdict.keys == ("7",)


def test_a_stream_is_paused_and_stopped_where_it_stands() -> None:
    run = filled(MemoryRun())
    source, sink, options = ends(run, mode="cdc")
    with Stream(source, sink, **options) as stream:
        stream.start()
        assert stream.catch_up(WAIT)
        stream.pause()
        assert stream.wait(State.PAUSED, timeout=WAIT) is State.PAUSED
        write(run)
        assert not run.equal()
        stream.resume()
        assert stream.catch_up(WAIT) and run.equal()
        stream.stop()
        assert stream.wait(timeout=WAIT) is State.STOPPED
    write_more(run)
    with Stream(source, sink, **options) as again:
        again.start()
        assert again.catch_up(WAIT) and run.equal()


def test_a_cdc_ends_at_its_limit_with_whole_transactions() -> None:
    run = filled(MemoryRun())
    source, sink, options = ends(run, mode="cdc")
    run.run()
    for number in range(6):
        run.source.insert("visits", {"at": number, "page": "3"}, {"at": number, "page": "4"})
    before = len(run.target.rows("visits"))
    stats = Stream(source, sink, **options, limits={"numberOfEvents": 3}).run()
    assert stats.state is State.EVENT_LIMIT_REACHED
    assert len(run.target.rows("visits")) == before + 4


def test_a_stream_ends_after_its_time() -> None:
    run = filled(MemoryRun())
    source, sink, options = ends(run, mode="cdc")
    stats = Stream(source, sink, **options, limits={"elapsedTime": 0.2}).run()
    assert stats.state is State.TIME_LIMIT_REACHED and run.equal()


# Any schedule


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**32), steps=st.integers(3, 12))
def test_any_schedule_of_changes_and_cuts_ends_equal(seed: int, steps: int) -> None:
    """Changes, runs and cuts at any point in any order: at the end the target is the source."""
    schedule(seed, steps)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_thousands_of_schedules_end_equal() -> None:
    for seed in range(3000):
        schedule(seed, 3 + seed % 20)


def schedule(seed: int, steps: int) -> None:
    chosen = random.Random(seed)
    run = filled(MemoryRun(allow_lossy=True), rows=chosen.randrange(0, 14))
    altered = 0
    for _ in range(steps):
        what = chosen.random()
        if what < 0.5:
            change(run, chosen)
        elif what < 0.6:
            altered += 1
            with run.source.transaction() as transaction:
                transaction.alter_table("orders", add=[pa.field(f"c{altered}", pa.int64())])
                transaction.insert(
                    "orders", {"id": chosen.randrange(10**6, 10**9), "who": "c", f"c{altered}": 1}
                )
        else:
            left = chosen.randrange(0, 12)

            def cut(point: str) -> bool:
                nonlocal left
                left -= 1
                return left < 0

            with contextlib.suppress(Cut):
                run.run(cut=cut if chosen.random() < 0.7 else None)
    run.run()
    assert run.differences() == []
    assert frozen(run).changes.unmet == 0


def change(run: MemoryRun, chosen: random.Random) -> None:
    """One transaction of a few changes of any kind."""
    with run.source.transaction() as transaction:
        for _ in range(chosen.randrange(1, 5)):
            keys = [row["id"] for row in run.source.rows("orders")]
            kind = chosen.randrange(6)
            key = chosen.choice(keys) if keys else 0
            if kind == 0:
                new = chosen.randrange(10**6)
                if new not in keys:
                    transaction.delete("orders", {"id": new})
                    transaction.insert("orders", {"id": new, "who": "i", "price": 0.25})
            elif kind == 1:
                transaction.update("orders", {"id": key}, {"who": str(chosen.random())})
            elif kind == 2:
                transaction.delete("orders", {"id": key})
            elif kind == 3:
                new = chosen.randrange(10**6)
                transaction.delete("orders", {"id": new})
                transaction.update("orders", {"id": key}, {"id": new})
            elif kind == 4:
                transaction.insert("visits", {"at": chosen.randrange(4), "page": "/"})
            else:
                transaction.delete("visits", {"at": chosen.randrange(4), "page": "/"}, 1)
        if chosen.random() < 0.05:
            transaction.truncate("visits")


def test_sources_and_sinks_are_the_callers_to_close() -> None:
    run = filled(MemoryRun())
    sink = MemorySink(run.target)
    Stream(MemorySource(run.source), sink, name="one").run()
    run.source.create_table("more", SHOP, ("id",))
    Stream(MemorySource(run.source), sink, tables="more", name="two", allow_empty=True).run()
    assert run.target.rows("more") == []


@pytest.mark.parametrize("number", range(2), ids=["dialect", "memory"])
def test_the_examples_of_the_documentation_run(number: int) -> None:
    page = Path(__file__).parents[2] / "docs" / "adapters.md"
    texts = re.findall(r"```python\n(import pyarrow.*?)```", page.read_text(), re.S)
    assert len(texts) == 2
    exec(compile(texts[number], str(page), "exec"), {})
