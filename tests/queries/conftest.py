"""Tables spread over several sources, and the same ones together in one PostgreSQL."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from e2e.moving import End

from streams_engine.config.connection import parse_connection
from streams_engine.queries import Places, Queries, QueryResult
from streams_engine.testing.servers import Server

__all__ = ["Spread"]


class Spread:
    """Queries over ``pg1``, ``my1`` (and what else there is), beside one database with it all."""

    def __init__(self, ends: Mapping[str, End], one: End, folder: Path) -> None:
        self.ends = ends
        self.one = one
        self.folder = folder
        connections = {name: parse_connection(end.url) for name, end in ends.items()}
        connections["lake"] = parse_connection(str(folder))
        self.places = Places(tuple(connections), connections.__getitem__, {})
        self.queries = Queries(self.places)

    def name(self, alias: str, table: str) -> str:
        """A table as a statement names it."""
        end = self.ends[alias]
        schema = "public" if end.server.kind == "postgresql" else end.database
        return f"{alias}.{schema}.{table}"

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """What the federated query gives; ``{pg1.t}`` stands for the table's full name."""
        with self.query(sql) as result:
            columns = [column.to_pylist() for column in result.table().columns]
        return normal(list(zip(*columns, strict=True)))

    def query(self, sql: str, **more: Any) -> QueryResult:
        """The query, with the names filled in."""
        return self.queries.query(self.filled(sql), **more)

    def filled(self, sql: str) -> str:
        """``{pg1.t}`` as the table's full name."""
        for alias in self.ends:
            for part in sql.split(f"{{{alias}.")[1:]:
                table = part.split("}")[0]
                sql = sql.replace(f"{{{alias}.{table}}}", self.name(alias, table))
        return sql

    def expected(self, sql: str) -> list[tuple[Any, ...]]:
        """What the one PostgreSQL gives, whose tables are called ``pg1_t``."""
        for alias in (*self.ends, "lake"):
            sql = sql.replace(f"{{{alias}.", f"{{{alias}_")
        with closing(self.one.server.connect(self.one.database)) as connection:
            cursor = connection.cursor()
            cursor.execute("SET DateStyle = 'ISO'")
            cursor.execute("SET TimeZone = 'UTC'")
            cursor.execute(sql.replace("{", "").replace("}", ""))
            return normal(cursor.fetchall())


def normal(rows: Sequence[Sequence[Any]]) -> list[tuple[Any, ...]]:
    """Rows without an order, numbers by their value and instants in UTC."""
    return sorted((tuple(map(_value, row)) for row in rows), key=repr)


def _value(value: Any) -> Any:
    if isinstance(value, Decimal):
        return value.normalize() + 0 if value != int(value) else int(value)
    if isinstance(value, datetime.datetime) and value.tzinfo is not None:
        return value.astimezone(datetime.UTC).isoformat()
    if isinstance(value, memoryview):
        return bytes(value)
    return value


@pytest.fixture(scope="module")
def shop(
    mysql9: Server,
    mariadb: Server,
    pg18: Server,
    pg15: Server,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Spread]:
    """Fresh databases on each server, and one that holds all tables; for a whole module."""
    servers = {"pg1": pg18, "pg2": pg15, "my1": mysql9, "my2": mariadb}
    ends = {alias: End(server, server.create_database()) for alias, server in servers.items()}
    one = End(pg18, pg18.create_database())
    yield Spread(ends, one, tmp_path_factory.mktemp("lake"))
    for end in (*ends.values(), one):
        end.server.drop_database(end.database)
