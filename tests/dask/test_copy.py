"""Snapshots whose chunks are copied by the workers of a Dask cluster."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from distributed import Client, LocalCluster

from streams_engine import State, Stream
from streams_engine.dask import worker
from streams_engine.errors import SnapshotLost
from streams_engine.testing.servers import Server
from tests.support.cdc import caught_up, prepared, shown, write
from tests.support.dask_cluster import WORKERS, processes
from tests.support.dask_runs import (
    ROWS,
    between,
    count,
    locked,
    seats,
    waiting,
)
from tests.support.databases import SECRET_ROW, End, account, refused
from tests.support.polling import until
from tests.support.stream_control import CHUNK_ROWS, SECONDS, big, equal, records

WIDE = 16_000
"""Rows of 2 kB."""
ROUTES = [("mariadb", "pg18"), ("pg18", "mysql9"), ("mysql9", "mariadb"), ("pg15", "pg18")]


def wide(source: End, target: End) -> None:
    """A table of one chunk that fits into no socket's buffer, there and, empty, here."""
    for end in (source, target):
        end.run("CREATE TABLE t (id int PRIMARY KEY, v text)")
    text = "(SELECT string_agg(md5((i * 64 + j)::text), '') FROM generate_series(1, 64) j)"
    source.run(f"INSERT INTO t SELECT i, {text} FROM generate_series(1, {WIDE}) i", "ANALYZE t")


@contextmanager
def held_at_a_row(target: End) -> Iterator[Callable[[], None]]:
    """A row in the middle of `wide` that is not inserted before the block, or its lock, ends."""
    target.run(
        "CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS $$"
        " BEGIN PERFORM pg_advisory_xact_lock_shared(7); RETURN NEW; END $$",
        f"CREATE TRIGGER hold BEFORE INSERT ON t FOR EACH ROW WHEN (NEW.id = {WIDE // 4})"
        " EXECUTE FUNCTION hold()",
    )
    with closing(target.server.connect(target.database)) as connection:
        cursor = connection.cursor()
        cursor.execute("SELECT pg_advisory_lock(7)")
        yield lambda: cursor.execute("SELECT pg_advisory_unlock(7)")


def stuck(target: End) -> bool:
    """Whether a worker stands at the row of `held_at_a_row`."""
    query = "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    return bool(target.rows(query))


def digest(end: End) -> list[tuple[Any, ...]]:
    """The rows of `wide`, summed by the server."""
    return end.rows("SELECT count(*), md5(string_agg(id || v, ',' ORDER BY id)) FROM t")


def heard(client: Client, word: str) -> bool:
    """Whether every worker with a seat has heard a word."""

    def words() -> list[str]:
        return [str(seat._word) for seat in worker._sessions.values()]

    return all(found == [word] for found in client.run(words).values())


@between(*ROUTES)
def test_the_workers_copy_and_the_target_is_equal(
    ends: tuple[End, End],
    client: Client,
    workers_alone: None,
) -> None:
    source, target = ends
    big(source, rows=ROWS)
    big(source, "keyless", rows=5000, key=False)
    stats = Stream(
        source.url, target.url, chunk_rows=CHUNK_ROWS, executor=client.get_executor()
    ).run()
    assert stats.state == State.FINISHED
    assert stats.rows == stats.source.counter == ROWS + 5000
    assert [table.phase for table in stats.tables] == ["done", "done"]
    equal(source, target, "t", "keyless")
    if target.server.kind == "postgresql":
        assert records(target) == []
    assert seats(client) == 0


@between(("pg18", "pg15"), ("mariadb", "pg15"))
def test_a_worker_killed_in_mid_chunk_is_replaced_and_its_chunk_counts_once(
    ends: tuple[End, End],
    client: Client,
    workers_alone: None,
) -> None:
    source, target = ends
    for end in ends:
        big(end, rows=ROWS if end is source else 0)
    stream = Stream(source.url, target.url, chunk_rows=CHUNK_ROWS, executor=client)
    with stream, locked(target, "t") as release:
        stream.start()
        until(lambda: len(waiting(target, "t")) == WORKERS)
        os.kill(next(iter(processes(client).values())), signal.SIGKILL)
        until(lambda: len(waiting(target, "t")) < WORKERS)
        release()
        assert stream.wait(timeout=SECONDS) is State.FINISHED, stream.error
    assert stream.stats().rows == ROWS
    equal(source, target, "t")


@between(("mysql9", "pg18"))
def test_views_that_are_lost_with_all_workers_are_said_and_a_new_start_finishes(
    ends: tuple[End, End], client: Client
) -> None:
    source, target = ends
    for end in ends:
        big(end, rows=ROWS if end is source else 0)
    stream = Stream(source.url, target.url, chunk_rows=CHUNK_ROWS, executor=client)
    with stream, locked(target, "t") as release:
        stream.start()
        until(lambda: len(waiting(target, "t")) == WORKERS)
        for process in processes(client).values():
            os.kill(process, signal.SIGKILL)
        assert stream.wait(timeout=SECONDS) is State.FAILED
        release()
    assert isinstance(stream.error, SnapshotLost)
    # A nanny that lost its worker while it was busy is given up, and started again later.
    client.wait_for_workers(WORKERS, timeout=4 * SECONDS)
    again = Stream(source.url, target.url, chunk_rows=CHUNK_ROWS, executor=client)
    assert again.run().state == State.FINISHED
    equal(source, target, "t")


@between(("pg18", "pg15"))
def test_a_pause_holds_the_workers_in_mid_chunk(
    ends: tuple[End, End], client: Client, workers_alone: None
) -> None:
    source, target = ends
    wide(source, target)
    stream = Stream(source.url, target.url, executor=client)
    with stream, held_at_a_row(target) as release:
        stream.start()
        until(lambda: stuck(target))
        stream.pause()
        until(lambda: heard(client, "hold"))
        assert stream.state is State.RUNNING
        release()
        assert stream.wait(State.PAUSED, timeout=SECONDS) is State.PAUSED
        there = count(target)
        assert 0 < there < WIDE
        assert stream.stats().rows == there
        stream.resume()
        assert stream.wait(timeout=SECONDS) is State.FINISHED, stream.error
    assert stream.stats().rows == WIDE
    assert digest(target) == digest(source)


@between(("pg18", "pg15"))
def test_a_stop_cuts_a_chunk_and_the_next_run_goes_on_there(
    ends: tuple[End, End], client: Client, workers_alone: None
) -> None:
    source, target = ends
    wide(source, target)
    stream = Stream(source.url, target.url, executor=client)
    with stream, held_at_a_row(target) as release:
        stream.start()
        until(lambda: stuck(target))
        stream.stop()
        until(lambda: heard(client, "end"))
        release()
        assert stream.wait(timeout=SECONDS) is State.STOPPED
    there = count(target)
    assert 0 < there < WIDE
    assert stream.stats().rows == there
    stats = Stream(source.url, target.url, executor=client).run()
    assert (stats.state, stats.rows) == (State.FINISHED, WIDE - there)
    assert digest(target) == digest(source)


@between(("pg18", "pg15"))
def test_a_forced_stop_leaves_nothing_half_done(
    ends: tuple[End, End], client: Client, workers_alone: None
) -> None:
    source, target = ends
    for end in ends:
        big(end, rows=ROWS if end is source else 0)
    stream = Stream(source.url, target.url, executor=client)
    with stream, locked(target, "t"):
        stream.start()
        until(lambda: len(waiting(target, "t")) == 1)
        stream.stop(force=True)
        assert stream.wait(timeout=SECONDS) is State.STOPPED
        until(lambda: not waiting(target, "t"))
    assert target.rows("SELECT count(*) FROM t") == [(0,)]
    assert seats(client) == 0


@between(("pg18", "mariadb"))
def test_a_limit_of_events_is_exact(
    ends: tuple[End, End],
    client: Client,
    workers_alone: None,
) -> None:
    source, target = ends
    big(source, rows=ROWS)
    options = {"limits": {"numberOfEvents": 7777}, "executor": client}
    stats = Stream(source.url, target.url, chunk_rows=CHUNK_ROWS, **options).run()
    assert (stats.state, stats.rows) == (State.EVENT_LIMIT_REACHED, 7777)
    assert target.rows("SELECT count(*) FROM t") == [(7777,)]
    stats = Stream(source.url, target.url, chunk_rows=CHUNK_ROWS, **options).run()
    assert (stats.state, stats.rows) == (State.EVENT_LIMIT_REACHED, 7777)
    assert (
        Stream(source.url, target.url, chunk_rows=CHUNK_ROWS, executor=client).run().rows
        == ROWS - 2 * 7777
    )
    equal(source, target, "t")


@pytest.mark.parametrize(
    "ends", [("mysql9", "pg18"), ("pg18", "mysql9")], indirect=True, ids="-".join
)
def test_a_refused_row_is_the_stream_s_error_and_is_set_aside_where_wanted(
    ends: tuple[End, End],
    client: Client,
    workers_alone: None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    source, target = ends
    source.run("CREATE TABLE t (id int PRIMARY KEY, v varchar(40))")
    source.run(f"INSERT INTO t VALUES (1, 'a'), (2, '{SECRET_ROW}')")
    target.run(f"CREATE TABLE t (id int PRIMARY KEY, v varchar(40), CHECK (v <> '{SECRET_ROW}'))")
    stats = Stream(source.url, target.url, on_error="quarantine", executor=client).run()
    assert (stats.rows, stats.target.failed_counter) == (1, 1)
    target.run("DELETE FROM t")
    refused(caplog, source, target, "ROW_REJECTED", "t", executor=client)


@between(("mariadb", "pg18"))
def test_a_view_that_cannot_be_shared_is_read_here_and_that_is_said(
    ends: tuple[End, End], client: Client
) -> None:
    source, target = ends
    big(source, rows=ROWS)
    grant = f"GRANT SELECT ON {source.database}.* TO {{who}}"
    with account(source.server, "reader", "pw", grant) as url:
        stats = Stream(url + source.database, target.url, executor=client).run()
    assert stats.state == State.FINISHED
    assert "one-reader" in {finding.code for finding in stats.findings}
    equal(source, target, "t")


@pytest.mark.parametrize("kind", ["mysql9", "pg18"])
def test_a_cdc_is_loaded_by_the_workers_and_followed_from_their_view(
    kind: str,
    request: pytest.FixtureRequest,
    pg15: Server,
    database: Any,
    client: Client,
    workers_alone: None,
) -> None:
    target = End(pg15, database(pg15))
    with prepared(request.getfixturevalue(kind), database) as source:
        stream = Stream(
            source.url, target.url, mode="cdc", name="life", tables=["t", "bag"], executor=client
        )
        with stream:
            stream.start()
            caught_up(stream)
            write(source, 7)
            caught_up(stream)
            assert shown(source) == shown(target)


@between(("pg18", "mysql9"))
@pytest.mark.parametrize("form", ["parquet", "csv", "jsonl"])
def test_files_are_written_and_read_by_the_workers(
    ends: tuple[End, End],
    form: str,
    tmp_path: Path,
    local: LocalCluster,
    workers_alone: None,
) -> None:
    source, target = ends
    big(source, rows=ROWS)
    folder = f"file://{tmp_path}/out?format={form}"
    executor = {"dask": local.scheduler_address}
    written = Stream(source.url, folder, chunk_rows=CHUNK_ROWS, executor=executor).run()
    assert (written.state, written.rows) == (State.FINISHED, ROWS)
    Stream(folder, target.url, executor=executor).run()
    equal(source, target, "t")


def test_the_same_stream_without_the_cluster_goes_on_from_what_its_workers_left(
    pg18: Server, database: Any, client: Client
) -> None:
    source, target = End(pg18, database(pg18)), End(pg18, database(pg18))
    big(source, rows=ROWS)
    limits = {"numberOfEvents": 5000}
    Stream(source.url, target.url, chunk_rows=CHUNK_ROWS, executor=client, limits=limits).run()
    assert Stream(source.url, target.url, chunk_rows=CHUNK_ROWS).run().rows == ROWS - 5000
    equal(source, target, "t")
