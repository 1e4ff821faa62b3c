"""The library, following a log as a user would let it."""

from __future__ import annotations

import sys
import threading
import time
from typing import Any

from benchmarks.jobs import Job

__all__ = ["follow", "keep_following"]


def _stream(job: Job) -> Any:
    from streams_engine import Stream

    at = job.options["entry"]
    entry = {"binlogPosition": at}
    if job.source.startswith("postgresql"):
        entry = {"replicationSlot": at, "publicationName": job.options["publication"]}
    source = {
        "connections": [{"connection": job.source, "tables": [{"name": job.options["table"]}]}],
        "options": {"initialLoad": False, **entry},
    }
    target: dict[str, Any] = {"connection": job.target}
    if job.target.startswith("postgresql"):
        target["spec"] = {"db": {"schema": "public"}}
    return Stream.from_config({"mode": "cdc", "source": source, "target": target})


def _clocked(begun: list[float]) -> None:
    """Note the time right before the connection is opened on which the log is read."""
    from streams_engine.adapters.mysql.binlog.source import MysqlChangeSource
    from streams_engine.adapters.postgres.replication.source import PostgresChangeSource

    for kind in (MysqlChangeSource, PostgresChangeSource):
        original: Any = kind.changes

        def changes(*arguments: Any, _original: Any = original) -> Any:
            begun.append(time.perf_counter())
            return _original(*arguments)

        setattr(kind, "changes", changes)  # noqa: B010


def _counted(total: list[int]) -> None:
    """Add up the row changes that are durable; `Stream.stats` at each commit would cost time."""
    from streams_engine.stats import Counters

    original: Any = Counters.wrote

    def wrote(counters: Any, table: Any, rows: int, *more: Any, **named: Any) -> Any:
        total[0] += rows
        return original(counters, table, rows, *more, **named)

    setattr(Counters, "wrote", wrote)  # noqa: B010


def follow(job: Job) -> dict[str, object]:
    """From a recorded position until so many row changes are durable on the target."""
    from streams_engine import faults

    begun: list[float] = []
    ended: list[float] = []
    over = threading.Event()
    total = [0]
    _clocked(begun)
    _counted(total)
    stream = _stream(job)

    def reached(point: str) -> None:
        if point == "acknowledge: after" and not ended and total[0] >= job.rows:
            ended.append(time.perf_counter())
            over.set()

    faults.install(reached)
    stream.on_state(lambda _, new: over.set() if new.final else None)
    started = time.perf_counter()
    stream.start()
    over.wait()
    rows = stream.stats().rows
    if not ended:
        raise SystemExit(f"Error: {stream.state} at {rows} rows: {stream.error!r}")
    if len(begun) != 1:
        raise SystemExit(f"Error: the log was opened {len(begun)} times")
    stream.stop()
    stream.wait()
    seconds = ended[0] - begun[0]
    return {"seconds": seconds, "rows": rows, "before": begun[0] - started}


def keep_following(job: Job) -> dict[str, object]:
    """Until the end of the input; says ``ready`` once it has caught up."""
    stream = _stream(job)
    stream.start()
    if not stream.catch_up(60):
        raise SystemExit(f"Error: {stream.state}: {stream.error!r}")
    print("ready", flush=True)
    sys.stdin.read()
    stream.stop()
    stream.wait()
    return {"seconds": 0.0, "rows": stream.stats().rows}
