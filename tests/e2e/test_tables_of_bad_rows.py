"""A table whose rows are all bad is quarantined in about the time that it takes to load one."""

from __future__ import annotations

import time
from typing import Any

import pytest

from streams_engine import State, Stream
from streams_engine.testing.servers import Server
from tests.support.databases import End, move

ROWS = 40_000
COUNT = {"pg18": "streams_engine.quarantine", "mysql9": "streams_engine_quarantine"}


@pytest.mark.parametrize("kind", ["pg18", "mysql9"])
def test_every_row_is_quarantined(
    request: pytest.FixtureRequest, mysql9: Server, pg15: Server, database: Any, kind: str
) -> None:
    """TIME over 24 hours has no place in PostgreSQL's time, NaN none in MySQL's double."""
    source_of = {"pg18": mysql9, "mysql9": pg15}[kind]
    server: Server = request.getfixturevalue(kind)
    source, target = End(source_of, database(source_of)), End(server, database(server))
    if kind == "pg18":
        source.run(
            "CREATE TABLE t (id INT PRIMARY KEY, d TIME)",
            "SET SESSION cte_max_recursion_depth = 1000000",
            "INSERT INTO t WITH RECURSIVE n AS (SELECT 1 i UNION ALL SELECT i + 1 FROM n"
            f" WHERE i < {ROWS}) SELECT i, '838:59:59' FROM n",
        )
    else:
        source.run(
            "CREATE TABLE t (id int PRIMARY KEY, d float8)",
            f"INSERT INTO t SELECT i, 'NaN' FROM generate_series(1, {ROWS}) i",
        )
    begun = time.monotonic()
    stats = move(source, target, on_error="quarantine")
    seconds = time.monotonic() - begun
    assert stats.target.failed_counter == ROWS
    assert target.rows("SELECT count(*) FROM t") == [(0,)]
    assert target.rows(f"SELECT count(*) FROM {COUNT[kind]}") == [(ROWS,)]
    assert seconds < 120  # it took hours, two answers of the server for each row


COPYING = """
SELECT FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'COPY%'
"""


def test_a_stop_does_not_wait_for_the_rest_of_the_bad_rows(
    mysql9: Server, pg18: Server, database: Any
) -> None:
    """Rows that the server alone knows to be bad: the run stops between two blocks, and goes on."""
    source, target = End(mysql9, database(mysql9)), End(pg18, database(pg18))
    source.run(
        "CREATE TABLE t (id INT PRIMARY KEY)",
        "SET SESSION cte_max_recursion_depth = 1000000",
        "INSERT INTO t WITH RECURSIVE n AS (SELECT 1 i UNION ALL SELECT i + 1 FROM n"
        " WHERE i < 100000) SELECT i FROM n",
    )
    target.run("CREATE TABLE t (id int PRIMARY KEY CHECK (id > 1000000))")
    stream = Stream(source.url, target.url, on_error="quarantine")
    stream.start()
    deadline = time.monotonic() + 60
    while not target.rows(COPYING):
        assert time.monotonic() < deadline, stream.error
    asked = time.monotonic()
    stream.stop()
    assert stream.wait(timeout=60) is State.STOPPED
    assert time.monotonic() - asked < 30
    begun = stream.stats().target.failed_counter
    assert 0 < begun < 100_000
    assert target.rows("SELECT count(*) FROM streams_engine.quarantine") == [(begun,)]
