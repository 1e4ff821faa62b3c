"""Who writes rows at a pace, and who looks when they are visible on the target."""

from __future__ import annotations

import time
from typing import Any

from benchmarks.jobs import Job, place

__all__ = ["watch_rows", "write_rows"]

LOOK_EVERY = 0.0003
"""Seconds between two looks of the watcher: as exact as that are the times."""


def _connect(url: str) -> Any:
    at = place(url)
    if url.startswith("postgresql"):
        import psycopg

        return psycopg.connect(url)
    import pymysql

    return pymysql.connect(
        host=at.host,
        port=int(at.port),
        user=at.user,
        password=at.password,
        database=at.database,
        ssl_disabled=True,
    )


def write_rows(job: Job) -> dict[str, object]:
    """A transaction of one row at each tick; the time is taken right before its COMMIT."""
    connection = _connect(job.source)
    times: list[tuple[int, float]] = []
    pause = 1.0 / job.options["rate"]
    with connection.cursor() as cursor:
        begun = time.monotonic()
        for number in range(1, job.rows + 1):
            due = begun + number * pause
            if (left := due - time.monotonic()) > 0:
                time.sleep(left)
            cursor.execute("INSERT INTO ticks (id, note) VALUES (%s, %s)", (number, "a tick"))
            times.append((number, time.monotonic()))
            connection.commit()
        seconds = time.monotonic() - begun
    return {"seconds": seconds, "rows": len(times), "times": times}


def watch_rows(job: Job) -> dict[str, object]:
    """``SELECT max(id)`` again and again on a connection of its own, until the last row is there.

    Both processes read the machine's monotonic clock, which they have in common.
    """
    connection = _connect(job.target)
    connection.autocommit = True
    times: list[tuple[int, float]] = []
    last = 0
    deadline = time.monotonic() + job.options["longest"]
    begun = time.monotonic()
    with connection.cursor() as cursor:
        print("ready", flush=True)
        while last < job.rows and time.monotonic() < deadline:
            cursor.execute("SELECT max(id) FROM ticks")
            found = cursor.fetchone()[0] or 0
            now = time.monotonic()
            times += [(number, now) for number in range(last + 1, found + 1)]
            last = max(last, found)
            time.sleep(LOOK_EVERY)
    return {"seconds": time.monotonic() - begun, "rows": last, "times": times}
