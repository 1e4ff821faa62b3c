"""A look at a MySQL or MariaDB server: databases, tables, views, and how they were made."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

from streams_engine.adapters.mysql import catalog_queries as queries
from streams_engine.adapters.mysql.catalog import SYSTEM, ask
from streams_engine.adapters.mysql.connect import MysqlConnect, translating
from streams_engine.adapters.mysql.selecting import condition, name, quote
from streams_engine.errors import ConfigError
from streams_engine.exploring import Relation
from streams_engine.model import Extract, TableId, TableSchema

__all__ = ["MysqlExplorer"]

VIEWS = """
SELECT table_schema, table_name FROM information_schema.views
WHERE table_schema {place} ORDER BY 1, 2
"""


class MysqlExplorer:
    """A server of MySQL's family, looked at."""

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
        """The user databases."""
        with self._asking("listing databases", database="") as connection:
            rows = _all(connection, queries.DATABASES)
        return [{"name": row[0]} for row in sorted(rows) if row[0].lower() not in SYSTEM]

    def create_database(self, name: str) -> None:
        """Make a database whose texts are utf8mb4."""
        with self._asking(f"creating the database {name}", database="") as connection:
            _all(connection, f"CREATE DATABASE {quote(name)} CHARSET utf8mb4")

    def create_schema(self, name: str) -> None:
        """Raises `ConfigError`: a database has no schemas here."""
        raise ConfigError(
            "A MySQL or MariaDB database has no schemas.", remedy="Use create_database."
        )

    def relations(self, kind: Relation, schema: str | None) -> Sequence[TableId]:
        """Tables or views of one database, or of all user databases."""
        query = VIEWS if kind == "view" else queries.TABLES
        with self._asking(f"listing {kind}s") as connection:
            found = ask(connection, query, schema=schema or self._connect.database)
        return [TableId(row[0], row[1]) for row in found]

    def ddl(self, table: TableSchema) -> str | None:
        """What SHOW CREATE TABLE says."""
        with self._asking(f"asking how {table.id} was made") as connection:
            return str(_all(connection, f"SHOW CREATE TABLE {name(table.id)}")[0][1]) + ";"

    def count(self, extract: Extract) -> int:
        """Rows that pass the filters."""
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
