"""Render the statements that sources are asked, in their own SQL."""

from __future__ import annotations

from typing import Any

from streams_engine.model import Chunk, Dialect, Extract, Filter, TableSchema
from streams_engine.pipeline.preview import PreviewRequest, mapped
from streams_engine.query.source_request import TableRequest
from streams_engine.schema.ddl import mysql, postgres

__all__ = ["digits_query", "every_row", "rendered"]


def rendered(ask: TableRequest, further: tuple[Filter, ...] = ()) -> str:
    """Return the statement that runs on the source; of files, what is read of them."""
    extract = mapped(ask.table, PreviewRequest(ask.selected(further))).extract()
    chunk = Chunk(extract.table)
    if ask.table.dialect is Dialect.MYSQL:
        from streams_engine.adapters.mysql.snapshot.select import select

        return select(extract, chunk)
    if ask.table.dialect is Dialect.POSTGRES:
        from streams_engine.adapters.postgres.snapshot.select import select as select_postgres

        whole = ask.table.partitioning is None and ask.table.query is None
        return select_postgres(extract, chunk, only=whole).as_string(None)
    return _of_files(ask, extract)


def _of_files(ask: TableRequest, extract: Extract) -> str:
    text = f"read {', '.join(column.name for column in extract.columns)} of {ask.named}"
    if extract.filters:
        tests = [f"{one.column} {one.operator} {_shown(one.value)}" for one in extract.filters]
        text += " where " + " and ".join(test.strip() for test in tests)
    return text if extract.limit is None else f"{text} limit {extract.limit}"


def _shown(value: Any) -> str:
    return "" if value is None else repr(value)


def every_row(table: TableSchema) -> str:
    """Return a query that reads a view unchanged."""
    name_of = mysql.name_of if table.dialect is Dialect.MYSQL else postgres.name_of
    return f"SELECT * FROM {name_of(table.id)}"


def digits_query(ask: TableRequest, names: tuple[str, ...], further: tuple[Filter, ...]) -> str:
    """Return a query that counts the digits of NUMERIC columns in the wanted rows, before and after
    the point."""
    from psycopg import sql

    from streams_engine.adapters.postgres.snapshot.select import condition, name

    place: Any = name(ask.table.id)
    if ask.table.query is not None:
        place = sql.SQL("({}) AS q").format(sql.SQL(ask.table.query))
    counts: Any = sql.SQL(", ").join(
        sql.SQL(
            "max(length(trunc(abs({column}))::text)) AS {whole}, max(scale({column})) AS {part}"
        ).format(
            column=sql.Identifier(column),
            whole=sql.Identifier(f"whole_{number}"),
            part=sql.Identifier(f"part_{number}"),
        )
        for number, column in enumerate(names)
    )
    query = sql.SQL("SELECT {} FROM {}").format(counts, place)
    conditions = [condition(one) for one in (*ask.filters, *further)]
    if conditions:
        query += sql.SQL(" WHERE ") + sql.SQL(" AND ").join(conditions)
    return query.as_string(None)
