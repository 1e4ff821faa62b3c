"""The prepared statements of small sets, beside those of the driver."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from streams_engine.adapters.postgres.connection import PostgresConnect
from streams_engine.adapters.postgres.sink.small_sets import SmallSets
from streams_engine.testing.servers import Server


def test_statements_are_forgotten_beside_those_of_the_driver(
    pg18: Server, database: Callable[[Server], str]
) -> None:
    """The driver deallocates all beside a later command."""
    name = database(pg18)
    connect = PostgresConnect(pg18.host, pg18.port, pg18.user, pg18.password, name)
    with connect.open() as connection:
        connection.prepare_threshold = 0
        connection.execute("SELECT %s::int", (1,))
        dml: Any = None
        sets = SmallSets(connection, dml, _made=1)
        connection.pgconn.prepare(b"streams_engine_1", b"SELECT 1")
        connection._prepared.clear()  # as it does after DROP, ALTER or ROLLBACK
        sets.forget()
        left = "SELECT name FROM pg_prepared_statements WHERE starts_with(name, 'streams_engine_')"
        assert connection.execute(left).fetchall() == []
