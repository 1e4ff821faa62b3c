"""Runs on a cluster that a test can look into."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest
from distributed import Client

from streams_engine.dask import worker
from streams_engine.testing.servers import Server
from tests.support.databases import End
from tests.support.fault_points import at_points

ROWS = 20_000


@pytest.fixture
def workers_alone() -> Iterator[None]:
    """This process copies no chunk itself."""

    def reached(point: str) -> None:
        assert point != "load: rows read", "a chunk was copied by the process of the stream"

    with at_points(reached):
        yield


@pytest.fixture
def ends(request: pytest.FixtureRequest, database: Any) -> tuple[End, End]:
    """Two empty databases."""
    servers: list[Server] = [request.getfixturevalue(name) for name in request.param]
    source, target = (End(server, database(server)) for server in servers)
    return source, target


def between(*routes: tuple[str, str]) -> pytest.MarkDecorator:
    """The servers of `ends`, by their fixtures' names."""
    return pytest.mark.parametrize("ends", routes, indirect=True, ids="-".join)


@contextmanager
def locked(end: End, table: str) -> Iterator[Callable[[], None]]:
    """A table that nobody can write to until the block, or its lock, ends."""
    with closing(end.server.connect(end.database)) as connection, connection.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute(f"LOCK TABLE {table} IN SHARE MODE")
        yield lambda: cursor.execute("COMMIT")


def count(end: End) -> int:
    """The rows of a table."""
    return int(end.rows("SELECT count(*) FROM t")[0][0])


def waiting(end: End, table: str) -> list[int]:
    """The sessions that wait for a lock on a table."""
    query = f"SELECT pid FROM pg_locks WHERE NOT granted AND relation = '{table}'::regclass"
    return [row[0] for row in end.rows(query)]


def seats(client: Client) -> int:
    """How many seats the workers still have."""

    def count() -> int:
        return len(worker._sessions) + len(worker._keys)

    return sum(client.run(count).values())
