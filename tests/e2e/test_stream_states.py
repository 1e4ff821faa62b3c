"""The states of a stream on real servers: pause, stop, limits, callbacks, asyncio, stats."""

from __future__ import annotations

import asyncio
import multiprocessing
import signal
import subprocess
import sys
import threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import pytest

from streams_engine import AsyncStream, State, Stream
from streams_engine.errors import ConfigError, RowRejected, StateConflict
from streams_engine.stats import Stats
from tests.support.databases import End
from tests.support.fault_points import at_points
from tests.support.stream_control import (
    CHUNK_ROWS,
    ROWS,
    SECONDS,
    big,
    equal,
    finish,
    held,
    records,
    sums,
)

SMALL = {"data_bundle_size": 100, "reporting_interval": 1}


@pytest.fixture(params=["mysql9", "pg15"])
def source(request: pytest.FixtureRequest, database: Any) -> End:
    """A MySQL and a PostgreSQL database with one table."""
    server = request.getfixturevalue(request.param)
    end = End(server, database(server))
    big(end)
    return end


@pytest.fixture
def mysql(mysql9: Any, database: Any) -> End:
    """A MySQL database with one table."""
    end = End(mysql9, database(mysql9))
    big(end)
    return end


@pytest.fixture
def target(pg18: Any, database: Any) -> End:
    """An empty target."""
    return End(pg18, database(pg18))


def stream(source: End, target: End | str, **options: Any) -> Stream:
    url = target if isinstance(target, str) else target.url
    return Stream(source.url, url, **{**SMALL, **options})


# Pause, resume, stop


def test_a_pause_holds_and_resume_goes_on(source: End, target: End) -> None:
    with held(5000) as gate, stream(source, target) as s:
        s.start()
        gate.wait()
        s.pause()
        gate.open()
        assert s.wait(State.PAUSED, timeout=SECONDS) is State.PAUSED
        before = s.stats()
        # What was in hand is committed: paused, the target shows what the counters say.
        assert sums(target)[0] == before.rows == before.source.counter == 5000
        assert s.stats() == before
        with pytest.raises(StateConflict):
            s.pause()
        s.resume()
        assert s.wait(timeout=SECONDS) is State.FINISHED
        assert s.stats().rows == ROWS
        assert s.stats().duration_ns > before.duration_ns
    equal(source, target)
    assert records(target) == []


def test_paused_then_stopped_continues_later(source: End, target: End) -> None:
    with held(5000) as gate:
        s = stream(source, target)
        s.start()
        gate.wait()
        s.pause()
        gate.open()
        s.wait(State.PAUSED, timeout=SECONDS)
        s.stop()
        assert s.wait(timeout=SECONDS) is State.STOPPED
    assert sums(target)[0] == 5000
    finish(stream(source, target))
    equal(source, target)


def test_a_pause_that_is_taken_back(mysql: End, target: End) -> None:
    with held(5000) as gate:
        s = stream(mysql, target)
        s.start()
        gate.wait()
        s.pause()
        s.resume()
        gate.open()
        assert s.wait(timeout=SECONDS) is State.FINISHED
    equal(mysql, target)


def test_a_pause_with_several_readers(mysql: End, target: End) -> None:
    big(mysql, "u", 9000)
    with held(4000) as gate:
        s = stream(mysql, target, chunk_rows=CHUNK_ROWS)
        s.start()
        gate.wait()
        s.pause()
        gate.open()
        assert s.wait(State.PAUSED, timeout=SECONDS) is State.PAUSED
        rows = s.stats().rows
        assert sums(target, "t")[0] + sums(target, "u")[0] == rows < ROWS + 9000
        s.resume()
        assert s.wait(timeout=SECONDS) is State.FINISHED
    equal(mysql, target, "t", "u")


@pytest.mark.parametrize("paused", [False, True])
def test_a_forced_stop_leaves_nothing_half_done(source: End, target: End, paused: bool) -> None:
    with held(5000) as gate:
        s = stream(source, target)
        s.start()
        gate.wait()
        if paused:
            s.pause()
            gate.open()
            s.wait(State.PAUSED, timeout=SECONDS)
        s.stop(force=True)
        gate.open()
        assert s.wait(timeout=SECONDS) is State.STOPPED
        assert s.error is None
    assert sums(target)[0] == s.stats().rows == (5000 if paused else 0)
    finish(stream(source, target))
    equal(source, target)


def test_a_forced_stop_wakes_a_reader_that_waits_for_its_server(source: End, target: End) -> None:
    """The target's backend waits for a lock of ours: neither side answers."""
    target.run("CREATE TABLE t (id BIGINT PRIMARY KEY, n INT, v VARCHAR(60), d NUMERIC(12,2))")
    blocker = target.server.connect(target.database)
    try:
        with blocker.transaction():
            blocker.execute("LOCK TABLE t IN SHARE MODE")
            s = stream(source, target, data_bundle_size=1000)
            copying = threading.Event()
            s.on_progress(lambda x: copying.set() if x.phase == "copying" else None)
            s.start()
            assert copying.wait(SECONDS)
            s.stop(force=True)
            assert s.wait(timeout=SECONDS) is State.STOPPED
    finally:
        blocker.close()
    assert sums(target)[0] == 0
    finish(stream(source, target, data_bundle_size=1000))
    equal(source, target)


# The table of moves


def test_illegal_calls_raise_and_change_nothing(mysql: End, target: End) -> None:
    s = stream(mysql, target)
    for call in (s.pause, s.resume):
        with pytest.raises(StateConflict) as caught:
            call()
        assert caught.value.code == "STATE_CONFLICT" and "READY" in str(caught.value)
    assert s.state is State.READY
    with held(1000) as gate:
        s.start()
        gate.wait()
        for call in (s.start, s.resume):
            with pytest.raises(StateConflict):
                call()
        assert s.state is State.RUNNING
    assert s.wait(timeout=SECONDS) is State.FINISHED
    for call in (s.start, s.run, s.pause, s.resume):
        with pytest.raises(StateConflict):
            call()
    assert s.stop() is State.FINISHED
    assert s.state is State.FINISHED
    equal(mysql, target)


def test_a_stop_before_the_start_is_final(mysql: End, target: End) -> None:
    s = stream(mysql, target)
    s.stop()
    assert s.state is State.STOPPED
    with pytest.raises(StateConflict):
        s.start()


def test_waiting_gives_up_in_time(mysql: End, target: End) -> None:
    s = stream(mysql, target)
    with pytest.raises(TimeoutError):
        s.wait(timeout=0.01)
    with held(1000) as gate:
        s.start()
        gate.wait()
        with pytest.raises(TimeoutError):
            s.wait(State.PAUSED, timeout=0.05)
        assert s.state is State.RUNNING
    # A state that is passed by: the wait ends with the stream.
    assert s.wait(State.PAUSED, timeout=SECONDS) is State.FINISHED


def test_the_context_manager_stops_and_releases(source: End, target: End) -> None:
    with held(5000) as gate:
        with stream(source, target) as s:
            s.start()
            gate.wait()
            opener = threading.Thread(target=gate.open)
            s.on_state(lambda old, new: None)
            s.stop()
            opener.start()
        assert s.state is State.STOPPED
        opener.join()
    assert sums(target)[0] == s.stats().rows > 0
    assert sessions(target) == 0 and sessions(source) == 0


def sessions(end: End) -> int:
    """How many sessions of the engine a server has on a database."""
    if end.server.kind == "postgresql":
        query = (
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'streams_engine'"
            f" AND datname = '{end.database}'"
        )
    else:
        query = (
            "SELECT COUNT(*) FROM information_schema.processlist WHERE id <> connection_id()"
            f" AND db = '{end.database}'"
        )
    return int(end.rows(query)[0][0])


# Callbacks


def test_moves_are_told_in_order(mysql: End, target: End) -> None:
    moves: list[tuple[State, State]] = []
    ended = threading.Event()
    with held(5000) as gate:
        s = stream(mysql, target)
        s.on_state(lambda old, new: moves.append((old, new)))
        s.on_state(lambda old, new: ended.set() if new.final else None)
        s.start()
        gate.wait()
        s.pause()
        gate.open()
        s.wait(State.PAUSED, timeout=SECONDS)
        s.resume()
        s.wait(timeout=SECONDS)
        assert ended.wait(SECONDS)
    assert moves == [
        (State.READY, State.RUNNING),
        (State.RUNNING, State.PAUSED),
        (State.PAUSED, State.RUNNING),
        (State.RUNNING, State.FINISHED),
    ]


def test_run_returns_after_the_last_callback(mysql: End, target: End) -> None:
    s = stream(mysql, target)
    told: list[Any] = []
    s.on_state(lambda old, new: told.append(new))
    s.on_progress(told.append)
    s.run()
    assert [t for t in told if isinstance(t, State)] == [State.RUNNING, State.FINISHED]
    assert told[-1].state is State.FINISHED and told[-1].rows == ROWS


def test_callbacks_that_raise_harm_nothing(mysql: End, target: End, caplog: Any) -> None:
    s = stream(mysql, target)
    told: list[Any] = []

    def broken(*_: Any) -> None:
        raise ValueError("a fault of the caller")

    for hook in (s.on_state, s.on_progress):
        hook(broken)
    s.on_progress(told.append)
    assert s.run().rows == ROWS and s.state is State.FINISHED
    assert told and "a callback raised" in caplog.text
    equal(mysql, target)


def test_a_callback_may_pause_and_stop(mysql: End, target: End) -> None:
    s = stream(mysql, target)
    s.on_state(lambda old, new: s.stop() if new is State.RUNNING else None)
    s.start()
    assert s.wait(timeout=SECONDS) is State.STOPPED


# Limits


@pytest.mark.parametrize("limit", [1, 101, 1900, 5170])
def test_the_row_limit_is_exact_and_the_next_run_goes_on(
    source: End, target: End, limit: int
) -> None:
    source.run("DELETE FROM t WHERE n % 4 > 0")  # 5,000 rows stay
    big(source, "u", 130)
    big(source, "k", 40, key=False)
    total = 0
    while True:
        s = stream(source, target, limits={"numberOfEvents": limit})
        stats = s.run()
        total += stats.rows
        shown = sum(sums(target, name)[0] for name in ("t", "u", "k"))
        assert shown == total or s.state is State.FINISHED
        if limit < 1000:
            assert s.state is State.EVENT_LIMIT_REACHED and shown == stats.rows == limit
            break
        if s.state is State.FINISHED:
            break
        assert s.state is State.EVENT_LIMIT_REACHED and stats.rows == limit
    if limit < 1000:
        finish(stream(source, target))
    equal(source, target, "t", "u", "k")


def test_the_row_limit_counts_only_rows_that_arrived(source: End, target: End) -> None:
    target.run(
        "CREATE TABLE t (id BIGINT PRIMARY KEY, n INT CHECK (n <> 3), v VARCHAR(60),"
        " d NUMERIC(12,2))"
    )
    s = stream(source, target, on_error="quarantine", limits={"numberOfEvents": 2500})
    stats = s.run()
    assert s.state is State.EVENT_LIMIT_REACHED
    assert stats.rows == sums(target)[0] == 2500
    aside = target.rows("SELECT count(*) FROM streams_engine.quarantine")[0][0]
    assert stats.target.failed_counter == aside > 0
    s = stream(source, target, on_error="quarantine")
    finish(s)
    assert sums(target)[0] == ROWS * 999 // 1000


def test_a_failed_table_neither_uses_up_the_limit_nor_hides_behind_it(
    mysql: End, target: End
) -> None:
    big(mysql, "u", 500)
    target.run("CREATE TABLE t (id BIGINT CHECK (id < 0), n INT, v VARCHAR(60), d NUMERIC(12,2))")
    s = stream(mysql, target, limits={"numberOfEvents": 300}, structure_options={})
    with pytest.raises(RowRejected):
        s.run()
    assert s.state is State.FAILED and s.stats().rows == 300
    assert [f.object for f in s.stats().findings if f.severity == "error"] == [
        f"{mysql.database}.t"
    ]
    assert sums(target, "u")[0] == s.stats().rows == 300


def test_the_time_limit_ends_and_the_next_run_goes_on(source: End, target: End) -> None:
    moved = threading.Event()
    with held(2000) as gate:
        s = stream(source, target, limits={"elapsedTime": 2})
        s.on_progress(lambda stats: moved.set() if stats.seconds >= 2 else None)
        s.start()
        gate.wait()
        assert moved.wait(SECONDS)
        gate.open()
        assert s.wait(timeout=SECONDS) is State.TIME_LIMIT_REACHED
    assert s.stats().seconds >= 2
    assert sums(target)[0] == s.stats().rows < ROWS
    finish(stream(source, target))
    equal(source, target)


# The stats document


def test_the_stats_document(mysql: End, target: End) -> None:
    seen: list[Stats] = []
    ready = threading.Event()

    def note(stats: Stats) -> None:
        seen.append(stats)
        ready.set()

    with held(5000) as gate:
        s = stream(mysql, target)
        s.on_progress(note)
        s.start()
        gate.wait()
        assert ready.wait(SECONDS)
        gate.open()
        s.wait(timeout=SECONDS)
    seen += [s.stats()]
    document = s.stats().to_dict()
    assert {"configID", "streamID", "nodes"} <= set(document)
    assert [node["type"] for node in document["nodes"]] == ["source", "target"]
    for node in document["nodes"]:
        assert set(node) == {"id", "type", "stat"}
        assert set(node["stat"]) == {
            "failedCounter",
            "counter",
            "prevDataSize",
            "sumDataSize",
            "reportingInterval",
            "start",
            "duration",
            "avgRate",
            "status",
        }
        assert node["stat"]["counter"] == ROWS and node["stat"]["status"] == "FINISHED"
        assert node["stat"]["sumDataSize"] > 0 and node["stat"]["reportingInterval"] == 1
    for one, two in pairwise(seen):
        for name in ("source", "target"):
            a, b = getattr(one, name), getattr(two, name)
            assert a.counter <= b.counter and a.sum_data_size <= b.sum_data_size
        assert one.duration_ns <= two.duration_ns


def test_the_null_sink_counts(source: End) -> None:
    s = stream(source, "null://")
    stats = s.run()
    assert s.state is State.FINISHED and stats.rows == stats.source.counter == ROWS
    s = stream(source, "null://", limits={"numberOfEvents": 777})
    assert s.run().rows == 777 and s.state is State.EVENT_LIMIT_REACHED


# asyncio


def asynchronous(source: End, target: End) -> AsyncStream:
    return AsyncStream(source.url, target.url, **SMALL)


def test_async_run_and_iteration(mysql: End, target: End) -> None:
    async def main() -> list[Stats]:
        async with asynchronous(mysql, target) as s:
            s.start()
            return [stats async for stats in s]

    seen = asyncio.run(main())
    assert seen[-1].state is State.FINISHED and seen[-1].rows == ROWS
    equal(mysql, target)
    assert asyncio.run(asynchronous(mysql, End(target.server, target.database)).plan()).tables


def test_async_pause_and_wait(mysql: End, target: End) -> None:
    async def main(gate: Any) -> State:
        s = asynchronous(mysql, target)
        s.start()
        await asyncio.to_thread(gate.wait)
        s.pause()
        gate.open()
        assert await s.wait(State.PAUSED, timeout=SECONDS) is State.PAUSED
        with pytest.raises(TimeoutError):
            await s.wait(timeout=0.01)
        s.resume()
        return await s.wait(timeout=SECONDS)

    with held(5000) as gate:
        assert asyncio.run(main(gate)) is State.FINISHED
    equal(mysql, target)


def test_a_cancelled_task_stops_the_stream(mysql: End, target: End) -> None:
    async def main(gate: Any) -> AsyncStream:
        s = asynchronous(mysql, target)
        task = asyncio.ensure_future(s.run())
        await asyncio.to_thread(gate.wait)
        task.cancel()
        asyncio.get_running_loop().call_soon(gate.open)
        with pytest.raises(asyncio.CancelledError):
            await task
        return s

    with held(1000) as gate:
        s = asyncio.run(main(gate))
    assert s.state in {State.STOPPED, State.FINISHED}
    if s.state is State.STOPPED:
        finish(stream(mysql, target))
    equal(mysql, target)


# Ctrl-C

INTERRUPTED = """
import sys, threading
from streams_engine import Stream
from streams_engine.pipeline.control import Control
from streams_engine.stats import Counters
plain, request_stop = Counters.read, Control.request_stop
total, asked = 0, threading.Event()
def stopping(self, **how):
    request_stop(self, **how)
    asked.set()
Control.request_stop = stopping
def read(self, rows, size):
    global total
    plain(self, rows, size)
    total += rows
    if total == 2000:
        print("reached", flush=True)
        assert asked.wait(120)
Counters.read = read
s = Stream(sys.argv[1], sys.argv[2], data_bundle_size=100)
s.on_state(lambda old, new: print(new, flush=True))
try:
    s.run()
except KeyboardInterrupt:
    print("interrupted", s.state, s.stats().rows, flush=True)
"""


RESTARTING = "import signal; signal.siginterrupt(signal.SIGINT, False)"
"""What polars does when it is imported: a wait goes on after Ctrl-C."""


@pytest.mark.parametrize("before", ["", RESTARTING], ids=["alone", "beside polars"])
def test_ctrl_c_stops_cleanly(source: End, target: End, before: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", before + INTERRUPTED, source.url, target.url],
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "RUNNING\n"
        assert child.stdout.readline() == "reached\n"
        child.send_signal(signal.SIGINT)
        out, _ = child.communicate(timeout=SECONDS)
    *_, last = out.splitlines()
    word, state, rows = last.split()
    assert (word, state) == ("interrupted", "STOPPED")
    assert sums(target)[0] == int(rows)
    finish(stream(source, target))
    equal(source, target)


# A pool of the caller's


def test_chunks_run_on_the_callers_pool(source: End, target: End) -> None:
    """And it stays usable; no more chunks are under way than the view has readers."""
    with ThreadPoolExecutor(9, thread_name_prefix="mine") as pool:
        seen: set[str] = set()

        def reached(point: str) -> None:
            if point == "load: rows read":
                seen.add(threading.current_thread().name)

        with at_points(reached):
            finish(Stream(source.url, target.url, chunk_rows=CHUNK_ROWS, executor=pool))
        assert pool.submit(int).result() == 0
    assert seen and all(name.startswith("mine") for name in seen)
    equal(source, target)


def test_a_pool_that_was_shut_down_is_refused(source: End, target: End) -> None:
    pool = ThreadPoolExecutor(1)
    pool.shutdown()
    with pytest.raises(ConfigError, match="shut down"):
        Stream(source.url, target.url, executor=pool).run()


@pytest.mark.parametrize("pool", [3, ProcessPoolExecutor])
def test_a_pool_that_cannot_be_used_is_refused(source: End, target: End, pool: Any) -> None:
    given = pool if pool == 3 else pool(1, mp_context=multiprocessing.get_context("spawn"))
    try:
        with pytest.raises(ConfigError, match="executor"):
            Stream(source.url, target.url, executor=given).run()
    finally:
        if pool != 3:
            given.shutdown()
    assert target.rows("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == [(0,)]
