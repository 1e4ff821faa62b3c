"""Explorer of a PostgreSQL server: databases, schemas, tables, views, and their DDL."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import psycopg
from psycopg import sql

from streams_engine.adapters.postgres.catalog import queries
from streams_engine.adapters.postgres.connection import PostgresConnect, translating
from streams_engine.adapters.postgres.snapshot.select import condition, name
from streams_engine.contracts import RelationKind
from streams_engine.errors import StreamsError, require
from streams_engine.model import Extract, TableId, TableSchema
from streams_engine.schema.ddl import postgres
from streams_engine.schema.ddl.structure import Structure

__all__ = ["PostgresExplorer"]

DATABASES = """
SELECT datname FROM pg_catalog.pg_database
WHERE datallowconn AND NOT datistemplate AND pg_catalog.has_database_privilege(oid, 'CONNECT')
ORDER BY datname
"""

SCHEMAS = """
SELECT nspname FROM pg_catalog.pg_namespace
WHERE nspname <> 'information_schema' AND nspname !~ '^pg_' ORDER BY nspname
"""


class PostgresExplorer:
    """Explorer of a PostgreSQL server, from one of its databases."""

    def __init__(self, connect: PostgresConnect) -> None:
        self._connect = connect

    @contextlib.contextmanager
    def _asking(self, what: str, *, database: str | None = None) -> Iterator[psycopg.Connection]:
        with (
            contextlib.closing(
                self._connect.open(autocommit=True, database=database)
            ) as connection,
            translating(what),
        ):
            yield connection

    def ping(self) -> None:
        """Connect and log in."""
        self._connect.open().close()

    def databases(self) -> Sequence[dict[str, Any]]:
        """Return the databases that the role may connect to, with their schemas.

        ``schemas`` is None if the server refuses the role all the same (pg_hba.conf).
        """
        with self._asking("listing databases") as connection:
            names = [row[0] for row in connection.execute(DATABASES)]
        return [{"name": database, "schemas": self._schemas(database)} for database in names]

    def _schemas(self, database: str) -> list[str] | None:
        with (
            contextlib.suppress(StreamsError),
            self._asking(f"listing the schemas of {database}", database=database) as connection,
        ):
            return [row[0] for row in connection.execute(SCHEMAS)]
        return None

    def create_database(self, name: str) -> None:
        """Make a database whose texts are UTF-8."""
        query = sql.SQL("CREATE DATABASE {} ENCODING 'UTF8' TEMPLATE template0")
        with self._asking(f"creating the database {name}") as connection:
            connection.execute(query.format(sql.Identifier(name)))

    def create_schema(self, name: str) -> None:
        """Make a schema in the connection's database."""
        with self._asking(f"creating the schema {name}") as connection:
            connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(name)))

    def relations(self, kind: RelationKind, schema: str | None) -> Sequence[TableId]:
        """Return tables (without partitions) or views (including materialized ones)."""
        with self._asking(f"listing {kind}s") as connection:
            if kind == "table":
                rows = connection.execute(queries.TABLES).fetchall()
                relations = [TableId(row[1], row[2]) for row in rows if not row[6]]
            else:
                rows = connection.execute(queries.LEFT_BEHIND).fetchall()
                relations = sorted(
                    TableId(row[1], row[2]) for row in rows if row[0].endswith("view")
                )
        return [one for one in relations if schema is None or one.schema == schema]

    def ddl(self, table: TableSchema) -> str | None:
        """Return the statements with which this library would create the table."""
        whole = Structure()
        statements = [
            *postgres.table(table, whole),
            *postgres.indexes(table, whole),
            *postgres.foreign_keys(table),
        ]
        return "\n".join(f"{statement.sql.rstrip(';')};" for statement in statements)

    def count(self, extract: Extract) -> int:
        """Return how many rows pass the filters."""
        with self._asking(f"counting {extract.table}") as connection:
            place = name(extract.table) if extract.query is None else sql.SQL(f"({extract.query})")
            query = sql.SQL("SELECT count(*) FROM {} AS q").format(place)
            if extract.filters:
                query += sql.SQL(" WHERE ") + sql.SQL(" AND ").join(map(condition, extract.filters))
            row = require(connection.execute(query).fetchone(), "a count")
        return int(row[0])
