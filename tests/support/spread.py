"""Tables spread over several servers and files."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

from streams_engine.config.connection import parse_connection
from streams_engine.query import Queries, QueryConnections, QueryResult
from tests.support.databases import End


class Spread:
    """Queries over ``pg1``, ``my1`` (and what else there is), beside one database with it all."""

    def __init__(self, ends: Mapping[str, End], one: End, folder: Path) -> None:
        self.ends = ends
        self.one = one
        self.folder = folder
        connections = {name: parse_connection(end.url) for name, end in ends.items()}
        connections["lake"] = parse_connection(str(folder))
        self.places = QueryConnections(tuple(connections), connections.__getitem__, {})
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
