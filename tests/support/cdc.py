"""What the tests of a cdc's life share: two tables, a stream that follows them, and waiting.

``t`` has a key; ``bag`` has none, so that whatever is applied twice shows.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from streams_engine import State, Stream
from streams_engine.errors import StreamsError
from streams_engine.testing.servers import Server
from tests.support.databases import End
from tests.support.outages import reached
from tests.support.stream_control import SECONDS

__all__ = [
    "NAME",
    "OWN_SLOTS",
    "caught_up",
    "cdc",
    "failure",
    "following",
    "is_postgres",
    "prepared",
    "run_once",
    "shown",
    "write",
]

NAME = "life"
TABLES = [
    "CREATE TABLE t (id int PRIMARY KEY, v varchar(40))",
    "CREATE TABLE bag (x int, y varchar(10))",
    "INSERT INTO t VALUES (1, 'one'), (2, 'two')",
    "INSERT INTO bag VALUES (1, 'a'), (1, 'a')",
]
OWN_SLOTS = "FROM pg_replication_slots WHERE database = current_database()"


def is_postgres(end: End) -> bool:
    return end.server.kind == "postgresql"


@contextmanager
def prepared(server: Server, database: Any) -> Iterator[End]:
    """A database with the tables; its slots are dropped afterwards."""
    end = End(server, database(server))
    end.run(*TABLES)
    if is_postgres(end):
        end.run("ALTER TABLE bag REPLICA IDENTITY FULL")
    yield end
    if is_postgres(end):
        end.run(f"SELECT pg_terminate_backend(active_pid, 5000) {OWN_SLOTS} AND active")
        end.run(f"SELECT pg_drop_replication_slot(slot_name) {OWN_SLOTS}")


def cdc(source: End, target: End, **options: Any) -> Stream:
    options = {"name": NAME, "tables": ["t", "bag"], **options}
    return Stream(source.url, target.url, mode="cdc", **options)


@contextmanager
def following(source: End, target: End, **options: Any) -> Iterator[Stream]:
    """A stream that has loaded and follows; stopped at the end.

    `catch_up` alone may be true of the load, before there is a session that reads the log.
    """
    with cdc(source, target, **options) as stream:
        stream.start()
        reached(stream, lambda stats: stats.phase == "following")
        caught_up(stream)
        yield stream


def caught_up(stream: Stream) -> None:
    assert stream.catch_up(SECONDS), stream.error


def failure(stream: Stream) -> StreamsError:
    """What a started stream fails of."""
    assert stream.wait(timeout=SECONDS) is State.FAILED
    assert stream.error is not None
    return stream.error


def shown(end: End) -> list[list[tuple[Any, ...]]]:
    """The rows of both tables."""
    return [sorted(map(repr, end.rows(f"SELECT * FROM {table}"))) for table in ("t", "bag")]


def write(source: End, number: int) -> None:
    """Three transactions: an insert into each table, and changes of what was there."""
    source.run(
        f"INSERT INTO t VALUES ({number}, 'n{number}')",
        f"INSERT INTO bag VALUES ({number}, 'a'), ({number}, 'a'), (1, 'a')",
        f"UPDATE t SET v = concat(v, '+') WHERE id < {number}",
        f"DELETE FROM bag WHERE x = {number - 1}",
    )


def run_once(source: End, target: End, **options: Any) -> None:
    """Load, and stop."""
    with following(source, target, **options):
        pass
