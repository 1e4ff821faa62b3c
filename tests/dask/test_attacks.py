"""Workers that hang, come back at the same address, or are given up; a cluster that is busy."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from distributed import Client, LocalCluster

from streams_engine import State, Stream
from streams_engine.dask import cluster as dask_cluster
from streams_engine.dask import worker
from streams_engine.errors import ConfigError, ConnectionFailed, LockTimeout
from streams_engine.testing.servers import Server
from tests.support.dask_cluster import processes
from tests.support.dask_runs import ROWS, between, locked, seats, waiting
from tests.support.databases import End
from tests.support.polling import holds_for, until
from tests.support.stream_control import SECONDS, big, equal


@contextmanager
def stopped(process: int) -> Iterator[Callable[[], None]]:
    """A process that does nothing until the block, or its stop, ends."""
    os.kill(process, signal.SIGSTOP)
    try:
        yield lambda: os.kill(process, signal.SIGCONT)
    finally:
        os.kill(process, signal.SIGCONT)


def under_way(client: Client) -> list[str]:
    """The tasks that workers have, also where they have not begun them."""
    return [key for keys in client.processing().values() for key in keys]


@contextmanager
def busy(client: Client, folder: Path) -> Iterator[None]:
    """The cluster's threads do other people's work."""
    pipe = folder / "pipe"
    os.mkfifo(pipe)

    def work(pipe: Path) -> str:
        return pipe.read_text()  # once somebody writes

    there = processes(client)
    tasks = [client.submit(work, pipe, pure=False, workers=[address]) for address in there]
    until(lambda: len(under_way(client)) == len(tasks))
    try:
        yield
    finally:
        pipe.write_text("")
        client.gather(tasks)


def sessions(end: End) -> int:
    """Sessions at a MySQL source that hold locks against DDL."""
    query = (
        "SELECT COUNT(DISTINCT t.trx_mysql_thread_id) FROM information_schema.innodb_trx t"
        f" JOIN information_schema.processlist p ON p.id = t.trx_mysql_thread_id"
        f" WHERE p.db = '{end.database}'"
    )
    # InnoDB tells what was seen last to who asks again within a tenth of a second.
    end.rows("SELECT SLEEP(0.15)")
    return int(end.rows(query)[0][0])


@between(("pg18", "pg15"))
def test_beats_go_on_while_one_worker_hangs(
    ends: tuple[End, End], client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = ends
    monkeypatch.setattr(dask_cluster, "BEAT_SECONDS", 0.2)
    for end in ends:
        big(end, rows=ROWS if end is source else 0)
    stream = Stream(source.url, target.url, executor=client)
    with stream, locked(target, "t") as release:
        stream.start()
        until(lambda: len(waiting(target, "t")) == 1)
        there = processes(client)
        first, second = there
        with stopped(there[first]):

            def age() -> float:
                found = client.run(
                    lambda: [time.monotonic() - seat._heard for seat in worker._sessions.values()],
                    workers=[second],
                )
                return float(found[second][0])

            holds_for(lambda: age() < 2, 5)
        release()
        assert stream.wait(timeout=SECONDS) is State.FINISHED, stream.error
    equal(source, target)


@pytest.mark.parametrize("word", ["pause", "stop", "force"])
@between(("pg18", "pg15"))
def test_a_chunk_that_waits_for_a_busy_cluster_pauses_and_ends(
    ends: tuple[End, End], client: Client, tmp_path: Path, word: str
) -> None:
    source, target = ends
    big(source, rows=ROWS)
    stream = Stream(source.url, target.url, executor=client)
    with busy(client, tmp_path), stream:
        stream.start()
        until(lambda: any(key.startswith("streams-engine-") for key in under_way(client)))
        if word == "pause":
            stream.pause()
            assert stream.wait(State.PAUSED, timeout=SECONDS) is State.PAUSED
            stream.resume()
        stream.stop(force=word == "force")
        assert stream.wait(timeout=SECONDS) is State.STOPPED
    assert target.rows("SELECT count(*) FROM t") == [(0,)]


def test_several_workers_of_one_process_have_a_seat_each(pg18: Server, database: Any) -> None:
    source, target = (End(pg18, database(pg18)) for _ in range(2))
    for end in (source, target):
        big(end, rows=ROWS if end is source else 0)
    with (
        LocalCluster(
            n_workers=2, threads_per_worker=4, processes=False, dashboard_address=":0"
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        stream = Stream(source.url, target.url, executor=client)
        with stream, locked(target, "t") as release:
            stream.start()
            until(lambda: len(waiting(target, "t")) == 1)
            assert len(worker._sessions) == 2
            release()
            assert stream.wait(timeout=SECONDS) is State.FINISHED, stream.error
        assert not worker._sessions and not worker._keys
        query = "SELECT 1 FROM pg_stat_activity WHERE datname = '{}' AND pid <> pg_backend_pid()"
        until(lambda: not any(end.rows(query.format(end.database)) for end in (source, target)))
    equal(source, target)


@between(("mysql9", "pg18"))
def test_a_worker_that_hangs_while_writers_wait_is_said_and_joins_nothing_later(
    ends: tuple[End, End], client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = ends
    big(source, rows=1000)
    monkeypatch.setattr(dask_cluster, "JOIN_SECONDS", 1)
    plain = dask_cluster.DaskWorkerPool.join
    with ExitStack() as stack:

        def join(*arguments: Any) -> None:
            stack.enter_context(stopped(next(iter(processes(client).values()))))
            plain(*arguments)

        monkeypatch.setattr(dask_cluster.DaskWorkerPool, "join", join)
        monkeypatch.setattr(dask_cluster, "LEAVE_SECONDS", 1)
        with pytest.raises(LockTimeout) as caught:
            Stream(source.url, target.url, executor=client).run()
        assert caught.value.remedy
        source.run("INSERT INTO t (id) VALUES (1)")
    until(lambda: seats(client) == 0)
    until(lambda: sessions(source) == 0)
    source.run("SET SESSION lock_wait_timeout = 5", "ALTER TABLE t ADD COLUMN more int")


@between(("pg18", "pg15"))
def test_seats_that_were_given_up_unheard_are_taken_again(
    ends: tuple[End, End], client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = ends
    monkeypatch.setattr(dask_cluster, "BEAT_SECONDS", 1000)
    for end in ends:
        big(end, rows=ROWS if end is source else 0)

    def lease(seconds: int) -> None:
        worker.LEASE_SECONDS = seconds

    stream = Stream(source.url, target.url, executor=client)
    with stream, locked(target, "t") as release:
        stream.start()
        until(lambda: len(waiting(target, "t")) == 1)
        [first] = waiting(target, "t")
        client.run(lease, 0)
        until(lambda: first not in waiting(target, "t"))
        client.run(lease, 60)
        release()
        assert stream.wait(timeout=SECONDS) is State.FINISHED, stream.error
    assert stream.stats().rows == ROWS
    equal(source, target)
    assert seats(client) == 0


class Own(Client):
    """A client class of the user's, or of a service's."""


@between(("pg18", "pg15"))
def test_workers_are_named_as_dask_names_them(ends: tuple[End, End], local: LocalCluster) -> None:
    source, target = ends
    big(source, rows=100)
    with Own(local, set_as_default=False) as client:
        client.wait_for_workers(1, timeout=SECONDS)
        Stream(source.url, target.url, executor=client.get_executor(workers=[0])).run()
        equal(source, target)
        target.run("DROP TABLE t")
        Stream(source.url, target.url, executor=client).run()
    equal(source, target)


@between(("pg18", "pg15"))
def test_an_address_that_is_no_scheduler_s_is_said_at_once(
    ends: tuple[End, End], client: Client
) -> None:
    source, target = ends
    big(source, rows=10)
    address = next(iter(processes(client)))  # a worker's
    with pytest.raises(ConnectionFailed, match="no Dask scheduler answers"):
        Stream(source.url, target.url, executor={"dask": address}).run()


@between(("pg18", "pg15"))
def test_what_no_worker_has_is_said_instead_of_waited_for(
    ends: tuple[End, End], client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = ends
    big(source, rows=10)
    monkeypatch.setattr(dask_cluster, "ANSWER_SECONDS", 1)
    for wanted in ({"resources": {"GPU": 1}}, {"workers": ["tcp://127.0.0.1:1"]}):
        with pytest.raises(ConfigError, match=next(iter(wanted))):
            Stream(source.url, target.url, executor=client.get_executor(**wanted)).run()
    assert target.rows("SELECT 1 FROM pg_tables WHERE tablename = 't'") == []
