"""PostgreSQL's tuples handed on whole, against what psycopg's own COPY reads."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import psycopg
import pyarrow as pa
import pytest

from streams_engine.adapters.postgres.snapshot import copy_messages, copy_tuples
from streams_engine.testing.servers import Server

HEADER = 19
WAYS = {"socket": copy_messages.off_the_socket, "libpq": copy_messages.by_libpq}
MANY = (
    "SELECT i, CASE WHEN i % 3 > 0 THEN repeat('x', i % 40) END, i * 1.5"
    " FROM generate_series(1, 30000) i"
)
QUERIES = {
    "nothing": "SELECT 1 WHERE false",
    "one": "SELECT 1",
    "short": "SELECT NULL::int FROM generate_series(1, 5000)",
    "many": MANY,
    "larger than any buffer": "SELECT i, repeat('y', i * 400000) FROM generate_series(1, 7) i",
    "large and small": "SELECT repeat('z', CASE WHEN i % 50 = 0 THEN 90000 ELSE 1 END)"
    " FROM generate_series(1, 500) i",
}


@pytest.fixture
def connection(pg_server: Server) -> Iterator[psycopg.Connection]:
    with closing(pg_server.connect()) as found:
        yield found


@pytest.fixture(params=WAYS)
def read(request: pytest.FixtureRequest) -> Callable[..., Iterator[pa.RecordBatch]]:
    way = WAYS[request.param]

    def run(connection: Any, query: str, size: int) -> Iterator[pa.RecordBatch]:
        copy = f"COPY ({query}) TO STDOUT (FORMAT binary)".encode()
        return copy_tuples.batches_of(way(connection, copy, size))

    return run


@pytest.mark.parametrize("size", [4096, 1 << 21])
@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES)
def test_the_tuples_are_those_of_the_server(
    connection: psycopg.Connection, read: Any, query: str, size: int
) -> None:
    with connection.cursor() as cursor:
        with cursor.copy(f"COPY ({query}) TO STDOUT (FORMAT binary)") as copy:
            wanted = b"".join(map(bytes, copy))[HEADER:-2]
        cursor.execute(f"SELECT count(*) FROM ({query}) AS q")
        [rows] = cursor.fetchone()
    batches = list(read(connection, query, size))
    for batch in batches:
        batch.validate(full=True)
        assert batch.num_rows
    assert sum(batch.num_rows for batch in batches) == rows
    assert b"".join(bytes(copy_tuples.encode(batch)) for batch in batches) == wanted
    # What a slice encodes is what it holds.
    for batch in batches[:1]:
        part = batch.slice(1, 2)
        assert bytes(copy_tuples.encode(part)) == b"".join(part.column(0).to_pylist())
    assert connection.execute("SELECT 'usable'").fetchone() == ("usable",)


@pytest.mark.parametrize("row", [1, 20_000])
def test_the_servers_error_ends_the_rows(
    connection: psycopg.Connection, read: Any, row: int
) -> None:
    query = f"SELECT 1 / (i - {row}) FROM generate_series(1, 30000) i"
    with pytest.raises(psycopg.errors.DivisionByZero):
        list(read(connection, query, 4096))
    connection.rollback()
    assert connection.execute("SELECT 'usable'").fetchone() == ("usable",)


def test_a_cancel_ends_the_rows(connection: psycopg.Connection, read: Any) -> None:
    rows = read(connection, "SELECT pg_sleep(60) FROM generate_series(1, 3)", 4096)
    canceller = threading.Timer(0.3, connection.cancel_safe)
    canceller.start()
    with pytest.raises(psycopg.errors.QueryCanceled):
        list(rows)
    canceller.join()


def test_a_lost_connection_is_an_operational_error(
    pg_server: Server, connection: psycopg.Connection, read: Any
) -> None:
    more_than_lies_between = "SELECT repeat('x', 1000) FROM generate_series(1, 50000)"
    rows = read(connection, more_than_lies_between, 4096)
    next(rows)
    with closing(pg_server.connect()) as other:
        other.execute("SELECT pg_terminate_backend(%s, 5000)", (connection.info.backend_pid,))
    with pytest.raises(psycopg.Error) as caught:
        list(rows)
    assert isinstance(caught.value, psycopg.OperationalError)
