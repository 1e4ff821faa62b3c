"""A query's result described as a table, from what the server says of its columns."""

from __future__ import annotations

from collections.abc import Sequence

import psycopg
from psycopg import sql

from streams_engine.adapters.postgres.catalog.types import TypeCatalog
from streams_engine.adapters.postgres.connection import translating
from streams_engine.adapters.postgres.snapshot.select import SET_PATH, path_of
from streams_engine.errors import require
from streams_engine.model import Column, Dialect, TableId, TableSchema, UserType
from streams_engine.schema.types.postgres import arrow_type

__all__ = ["query_tables"]

FORMAT = "SELECT pg_catalog.format_type(oid, modifier) FROM unnest(%s::oid[], %s::int[]) \
WITH ORDINALITY AS t (oid, modifier, place) ORDER BY place"


def query_tables(
    connection: psycopg.Connection, queries: Sequence[tuple[str, str]], schema: str | None
) -> tuple[tuple[TableSchema, ...], tuple[UserType, ...]]:
    """Describe each query as a table of its name, with the user types of its columns.

    Locks what the queries read against DDL until the transaction ends. Raises `ConfigError` and
    `ServerError` naming the query.
    """
    tables, types = [], {}
    before = connection.execute("SHOW search_path").fetchone()
    connection.execute(SET_PATH, (path_of(schema),))
    if queries:
        from streams_engine.schema.query_check import reading_only  # loads sqlglot: 0.1 s
    for name, query in queries:
        plain = reading_only(name, query, Dialect.POSTGRES)
        with translating(f"the query '{name}'"):
            statement = sql.SQL("SELECT * FROM ({}) AS q LIMIT 0").format(sql.SQL(plain))
            answer = connection.execute(statement).pgresult
            result = require(answer, f"the answer to the query '{name}'")
            places = range(result.nfields)
            oids = [result.ftype(i) for i in places]
            modifiers = [result.fmod(i) for i in places]
            names = [(result.fname(i) or b"").decode() for i in places]
            texts = [row[0] for row in connection.execute(FORMAT, (oids, modifiers))]
            known = TypeCatalog(connection, sorted(set(oids)))
        types.update({user.id: user for user in known.user_types()})
        columns = []
        for column, oid, text, modifier in zip(names, oids, texts, modifiers, strict=True):
            native = known.native(oid, text, modifier)
            columns.append(Column(column, native, arrow_type(native)))
        table_id = TableId(schema or "public", name)
        tables.append(TableSchema(table_id, Dialect.POSTGRES, tuple(columns), query=plain))
    connection.execute(SET_PATH, before)
    return tuple(tables), tuple(types.values())
