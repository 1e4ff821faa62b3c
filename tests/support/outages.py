"""Streams over a relay that a test cuts, and waits for what they say."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from streams_engine import State, Stream
from streams_engine.stats import Stats
from streams_engine.testing.servers import Server
from tests.support.databases import End
from tests.support.relay import Relay, relayed

SECONDS = 60.0
BACK_SECONDS = 10.0
"""So soon after the server's return a stream is in step again."""

ROUTES = [("mysql9", "pg18"), ("pg18", "mysql9"), ("mariadb", "pg18"), ("pg15", "pg18"),
          ("mysql9", "mariadb"), ("pg18", "mariadb")]  # fmt: skip
OFTEN = ROUTES[:2]
"""In each ordinary run."""


class Road:
    """A source and a target, each behind a relay."""

    def __init__(self, source: End, target: End, relays: dict[str, Relay]) -> None:
        self.source, self.target = source, target
        self.relays = relays
        self.urls = [
            end.url.replace(f":{end.server.port}/", f":{relays[side].port}/")
            for side, end in (("source", source), ("target", target))
        ]

    def stream(self, **options: Any) -> Stream:
        return Stream(*self.urls, name=f"outage {self.source.database}", **options)

    def rows(self, end: End) -> list[tuple[Any, ...]]:
        return end.rows("SELECT id, v FROM t ORDER BY id")

    def equal(self) -> bool:
        return self.rows(self.source) == self.rows(self.target)


@contextmanager
def road(
    source_name: str, target_name: str, request: pytest.FixtureRequest, database: Any
) -> Iterator[Road]:
    one: Server = request.getfixturevalue(source_name)
    other: Server = request.getfixturevalue(target_name)
    source, target = End(one, database(one)), End(other, database(other))
    source.run("CREATE TABLE t (id int PRIMARY KEY, v varchar(200))")
    with ExitStack() as stack:
        relays = {
            "source": stack.enter_context(relayed(one)),
            "target": stack.enter_context(relayed(other)),
        }
        yield Road(source, target, relays)


def reached(stream: Stream, wanted: Callable[[Stats], bool]) -> Stats:
    """The stats once they are as wanted: records are told when something happens."""
    seen = threading.Event()
    stream.on_record(lambda _: seen.set())
    deadline = time.monotonic() + SECONDS
    while not wanted(stats := stream.stats()):
        assert time.monotonic() < deadline, stats.to_dict()
        assert stream.state is State.RUNNING, stream.error
        seen.wait(0.2)
        seen.clear()
    return stats


def waiting(attempts: int) -> Callable[[Stats], bool]:
    def there(stats: Stats) -> bool:
        return stats.connection.state == "waiting" and stats.connection.attempts >= attempts

    return there


def fill(end: End, first: int, count: int) -> None:
    rows = ", ".join(f"({i}, 'value {i} {'x' * 150}')" for i in range(first, first + count))
    end.run(f"INSERT INTO t VALUES {rows}")


def hold(stream: Stream, seconds: float) -> None:
    """Stay away for longer: nothing but time can pass."""
    ended = threading.Event()
    stream.on_state(lambda *_: ended.set())
    assert not ended.wait(seconds), stream.error
    assert stream.state is State.RUNNING, stream.error
