"""From COMMIT on the source to being visible on the target, at a steady pace."""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass

from benchmarks.cdc.contenders import child
from benchmarks.cdc.logs import Log, Writing
from benchmarks.cdc.targets import Target, subscribed
from benchmarks.jobs import Job
from benchmarks.measuring import ROOT, Failed
from streams_engine.testing.servers import Server

__all__ = ["RATE", "Latency", "latency"]

RATE = 200
WARM_SECONDS = 2
LONGEST_MORE = 20
TICKS = "CREATE TABLE ticks (id BIGINT PRIMARY KEY, note VARCHAR(40))"


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds of one run."""

    median: float
    late: float
    """The 99th percentile."""
    most: float
    count: int


def latency(source: Server, target: Target, seconds: int, *, subscription: bool) -> Latency:
    """One run. Raises `Failed` where not every row came."""
    with Writing(source) as writing:
        writing.run(TICKS)
        writing.publish("ticks")
        begin = writing.mark("begin")
        log = Log(source, writing.database, "ticks", 0, 0, begin, begin, "")
    rows = RATE * (WARM_SECONDS + seconds)
    with target.empty(TICKS) as database, log.entry() as entry:
        follows = _subscription if subscription else _ours
        with follows(log, target.server, database, entry):
            return _ticks(log, target.server.url(database), rows)


def _ticks(log: Log, target: str, rows: int) -> Latency:
    longest = rows / RATE + LONGEST_MORE
    options = {"rate": RATE, "longest": longest}
    job = Job(log.url, target, "ticks", rows, "", options=options).to_json()
    with _started("watch-rows", job) as watcher:
        _await_ready(watcher)
        with _started("write-rows", job) as writer:
            written = _report(writer, longest + 10)
        seen = _report(watcher, longest + 10)
    if len(seen) != rows:
        raise Failed(f"{len(seen)} of {rows} rows were visible in the end")
    late = sorted(
        (seen[number] - at) * 1000 for number, at in written.items() if number > RATE * WARM_SECONDS
    )
    return Latency(statistics.median(late), late[int(len(late) * 0.99)], late[-1], len(late))


@contextmanager
def _ours(log: Log, server: Server, database: str, entry: str) -> Iterator[None]:
    command = child("keep-following", log, entry, "", 0, target=server.url(database))
    with _running(command) as process:
        _await_ready(process)
        yield


@contextmanager
def _subscription(log: Log, server: Server, database: str, entry: str) -> Iterator[None]:
    with subscribed(log, server, database, entry) as (connection, enable):
        connection.execute(enable)
        with closing(log.server.connect()) as source:
            query = "SELECT active FROM pg_replication_slots WHERE slot_name = %s"
            deadline = time.monotonic() + 30
            while not source.execute(query, (entry,)).fetchone()[0]:
                if time.monotonic() > deadline:
                    raise Failed("the subscription did not begin")
                time.sleep(0.05)
        yield


@contextmanager
def _started(name: str, job: str) -> Iterator[subprocess.Popen[str]]:
    with _running([sys.executable, "-m", "benchmarks.cdc.child", name, job]) as process:
        yield process


@contextmanager
def _running(command: list[str]) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
        if process.stdin and not process.stdin.closed:
            process.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            process.wait(20)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        if process.stdout:
            process.stdout.close()


def _await_ready(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    line = process.stdout.readline().strip()
    if line != "ready":
        raise Failed(f"a process of the run did not begin: {line or 'it said nothing'}")


def _report(process: subprocess.Popen[str], seconds: float) -> dict[int, float]:
    try:
        out, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        raise Failed("a process of the run came to no end") from None
    if process.returncode:
        raise Failed(f"a process of the run ended with {process.returncode}")
    return {int(n): float(at) for n, at in json.loads(out.strip().splitlines()[-1])["times"]}
