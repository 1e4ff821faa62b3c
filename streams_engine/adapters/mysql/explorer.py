"""Explorer of a MySQL or MariaDB server: databases, tables, views, and their DDL."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

from streams_engine.adapters.mysql.catalog import queries
from streams_engine.adapters.mysql.catalog.reader import SYSTEM, ask
from streams_engine.adapters.mysql.connection import MysqlConnect, translating
from streams_engine.adapters.mysql.snapshot.select import condition, name, quote
from streams_engine.contracts import RelationKind
from streams_engine.errors import ConfigError
from streams_engine.model import Extract, TableId, TableSchema

__all__ = ["MysqlExplorer"]

VIEWS = """
SELECT table_schema, table_name FROM information_schema.views
WHERE table_schema {place} ORDER BY 1, 2
"""


class MysqlExplorer:
    """Explorer of a MySQL or MariaDB server."""

    def __init__(self, connect: MysqlConnect) -> None:
        self._connect = connect

    @contextlib.contextmanager
    def _asking(self, what: str, *, database: str | None = None) -> Iterator[Any]:
        with (
            contextlib.closing(self._connect.open(database=database)) as connection,
            translating(what),
        ):
            yield connection

    def ping(self) -> None:
        """Connect and log in."""
        self._connect.open().close()

    def databases(self) -> Sequence[dict[str, Any]]:
        """Return the user databases."""
        with self._asking("listing databases", database="") as connection:
            rows = _all(connection, queries.DATABASES)
        return [{"name": row[0]} for row in sorted(rows) if row[0].lower() not in SYSTEM]

    def create_database(self, name: str) -> None:
        """Make a database whose texts are utf8mb4."""
        with self._asking(f"creating the database {name}", database="") as connection:
            _all(connection, f"CREATE DATABASE {quote(name)} CHARSET utf8mb4")

    def create_schema(self, name: str) -> None:
        """Raise `ConfigError`: a database of MySQL has no schemas."""
        raise ConfigError(
            "A MySQL or MariaDB database has no schemas.", remedy="Use create_database."
        )

    def relations(self, kind: RelationKind, schema: str | None) -> Sequence[TableId]:
        """Return the tables or views of one database, or of all user databases."""
        query = VIEWS if kind == "view" else queries.TABLES
        with self._asking(f"listing {kind}s") as connection:
            relations = ask(connection, query, schema=schema or self._connect.database)
        return [TableId(row[0], row[1]) for row in relations]

    def ddl(self, table: TableSchema) -> str | None:
        """Return what SHOW CREATE TABLE prints."""
        with self._asking(f"reading the definition of {table.id}") as connection:
            return str(_all(connection, f"SHOW CREATE TABLE {name(table.id)}")[0][1]) + ";"

    def count(self, extract: Extract) -> int:
        """Return how many rows pass the filters."""
        place = f"({extract.query})" if extract.query else name(extract.table)
        query = f"SELECT count(*) FROM {place} AS q"
        if extract.filters:
            query += " WHERE " + " AND ".join(map(condition, extract.filters))
        with self._asking(f"counting {extract.table}") as connection:
            return int(_all(connection, query)[0][0])


def _all(connection: Any, query: str) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(query)
        return list(cursor.fetchall())
