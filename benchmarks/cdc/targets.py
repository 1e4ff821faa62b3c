"""PostgreSQL as a target that is some way behind: fresh copies of it, its own subscription to a
source, and whether in the end it is equal to the source."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

from benchmarks.cdc.logs import PUBLICATION, SPOT, Log, Writing, base
from benchmarks.measuring import Failed
from streams_engine.testing.servers import Server

__all__ = ["Target", "subscribed", "sums"]

LOOK_SECONDS = 0.005
LONGEST_SECONDS = 300
SUMS = "SELECT count(*), sum(id), sum(customer), sum(amount), sum(length(note)) FROM mixed"


class Target:
    """A server of PostgreSQL, with databases that hold what the source held at a log's begin."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self._base = ""

    @contextmanager
    def copy(self) -> Iterator[str]:
        """A database of its own for one run: the table with its key and 200,000 rows."""
        if not self._base:
            with Writing(self.server) as writing:
                base(writing)
                writing.run("VACUUM ANALYZE mixed")
                self._base = writing.database
        name = f"copy_{secrets.token_hex(4)}"
        with closing(self.server.connect()) as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {self._base} STRATEGY file_copy")
            connection.execute("CHECKPOINT")
        try:
            yield name
        finally:
            self.server.drop_database(name)

    @contextmanager
    def empty(self, statement: str) -> Iterator[str]:
        """A new database with one empty table."""
        name = self.server.create_database()
        try:
            with closing(self.server.connect(name)) as connection:
                connection.execute(statement)
            yield name
        finally:
            self.server.drop_database(name)

    def demand_equal(self, database: str, log: Log) -> None:
        """Raises `Failed` where the copy is not what the source is."""
        found, wanted = sums(self.server, database), sums(log.server, log.database)
        if found != wanted:
            raise Failed(f"the target holds {found}, the source {wanted} (count, sums)")


def sums(server: Server, database: str) -> tuple[int, ...]:
    """What tells whether two tables are likely equal."""
    with closing(server.connect(database)) as connection, connection.cursor() as cursor:
        cursor.execute(SUMS)
        return tuple(int(value * 100) for value in cursor.fetchone())


@contextmanager
def subscribed(log: Log, server: Server, database: str, slot: str) -> Iterator[Any]:
    """PostgreSQL's own subscription, made and not yet enabled; its connection."""
    name = f"sub_{secrets.token_hex(4)}"
    with closing(server.connect(database)) as connection:
        connection.execute(
            f"CREATE SUBSCRIPTION {name} CONNECTION '{log.url}' PUBLICATION {PUBLICATION}"
            f" WITH (create_slot = false, copy_data = false, enabled = false, slot_name = '{slot}')"
        )
        try:
            yield connection, f"ALTER SUBSCRIPTION {name} ENABLE"
        finally:
            connection.execute(f"ALTER SUBSCRIPTION {name} DISABLE")
            connection.execute(f"ALTER SUBSCRIPTION {name} SET (slot_name = NONE)")
            connection.execute(f"DROP SUBSCRIPTION {name}")


def subscription_seconds(log: Log, server: Server, database: str, slot: str) -> float:
    """From ENABLE until the last transaction's row is seen on the target."""
    with subscribed(log, server, database, slot) as (connection, enable):
        begun = time.perf_counter()
        connection.execute(enable)
        query = f"SELECT 1 FROM mixed WHERE id = {SPOT}"
        while connection.execute(query).fetchone() is None:
            if time.perf_counter() - begun > LONGEST_SECONDS:
                raise Failed(f"the subscription had not caught up after {LONGEST_SECONDS} s")
            time.sleep(LOOK_SECONDS)
        return time.perf_counter() - begun
