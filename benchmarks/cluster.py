"""Two Dask workers beside the thread pool, and what more workers would give.

``python -m benchmarks.cluster [--rows 3000000] [--rounds 5]``. It starts private servers and a
private cluster of two worker processes, moves one table from MySQL to PostgreSQL by turns with
either, then once with a single worker, whose chunks are measured for the simulation: seconds of
each, and of the servers' processors.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psutil
from distributed import Client, LocalCluster

from benchmarks.data import SHAPES, fill
from benchmarks.simulating import ChunkCost, Limits, copy_seconds, stops_paying
from streams_engine import Stream
from streams_engine.pipeline.remote.copier import RemoteCopier
from streams_engine.testing.servers import Server, start

__all__ = ["main"]

FIGURE = 1.2
WORKERS = (2, 4, 8, 16, 32, 64)
CHUNKS = 400
"""Of a quarter of a million rows each: a hundred million rows."""
MACHINES = {
    "2 cores each, 200 MB/s": Limits(2, 2, 200e6),
    "8 cores each, 500 MB/s": Limits(8, 8, 500e6),
    "32 cores each, 2 GB/s": Limits(32, 32, 2e9),
}


def moved(source: str, target: Server, **options: Any) -> float:
    """Seconds of one move into a database of its own."""
    database = target.create_database()
    try:
        begun = time.perf_counter()
        Stream(source, target.url(database), **options).run()
        return time.perf_counter() - begun
    finally:
        target.drop_database(database)


def used(server: Server) -> tuple[float, float]:
    """Seconds of processor that a server has used, with those of its children that are gone, and
    bytes that it has written."""
    head = psutil.Process(server.pid)
    seconds, written = 0.0, 0.0
    for process in (head, *head.children(recursive=True)):
        with process.oneshot():
            times = process.cpu_times()
            seconds += times.user + times.system + times.children_user + times.children_system
            written += process.io_counters().write_chars
    return seconds, written


@contextmanager
def chunk_seconds() -> Iterator[list[float]]:
    """How long each chunk takes, from when it is handed out until it is counted."""
    found: list[float] = []
    plain: Callable[..., bool] = RemoteCopier.copy

    def copy(carrier: RemoteCopier, *arguments: Any) -> bool:
        begun = time.perf_counter()
        try:
            return plain(carrier, *arguments)
        finally:
            found.append(time.perf_counter() - begun)

    RemoteCopier.copy = copy  # type: ignore[method-assign]
    try:
        yield found
    finally:
        RemoteCopier.copy = plain  # type: ignore[method-assign]


def measured(source: str, mysql: Server, postgres: Server, client: Client) -> list[ChunkCost]:
    """The chunks of a move by a single worker."""
    before = used(mysql), used(postgres)
    with chunk_seconds() as seconds:
        moved(source, postgres, executor=client, parallelism=1)
    after = used(mysql), used(postgres)
    source_cpu, target_cpu = (b[0] - a[0] for a, b in zip(before, after, strict=True))
    count, written = len(seconds), after[1][1] - before[1][1]
    print(f"  {count} chunks of {statistics.mean(seconds):.2f} s (from {min(seconds):.2f} to"
          f" {max(seconds):.2f}); for each the source works {source_cpu / count:.2f} s, the target"
          f" {target_cpu / count:.2f} s and writes {written / count / 1e6:.0f} MB")  # fmt: skip
    return [
        ChunkCost(one, source_cpu / count, target_cpu / count, written / count) for one in seconds
    ]


def simulate(costs: list[ChunkCost]) -> None:
    """Print what more workers give, by the servers' size."""
    chunks = [costs[number % len(costs)] for number in range(CHUNKS)]
    for name, limits in MACHINES.items():
        seconds = [(workers, copy_seconds(chunks, workers, limits)) for workers in WORKERS]
        shown = "  ".join(f"{workers}: {one:.0f} s" for workers, one in seconds)
        print(f"  servers of {name}: {shown}; beyond {stops_paying(seconds)} it does not pay")


def main() -> None:
    """Fill, measure, print."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--rows", type=int, default=3_000_000)
    arguments.add_argument("--rounds", type=int, default=5)
    given = arguments.parse_args()
    with (
        start("mariadb") as mysql,
        start("pg18") as postgres,
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as local,
        Client(local) as client,
    ):
        source = mysql.url(fill(mysql, SHAPES["mixed"], given.rows))
        ways: dict[str, dict[str, Any]] = {
            "two workers": {"executor": client},
            "thread pool": {},
            "two threads": {"parallelism": 2},
        }
        for options in ways.values():
            moved(source, postgres, **options)
        runs: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(given.rounds):
            for name, options in ways.items():
                runs[name].append(moved(source, postgres, **options))
        medians = {name: statistics.median(seconds) for name, seconds in runs.items()}
        for name, seconds in medians.items():
            print(f"  {name:12}{seconds:8.2f} s")
        print(f"  {medians['two workers'] / medians['thread pool']:.2f} times as long as the thread"
              f" pool; the figure is {FIGURE:g}")  # fmt: skip
        simulate(measured(source, mysql, postgres, client))


if __name__ == "__main__":
    main()
