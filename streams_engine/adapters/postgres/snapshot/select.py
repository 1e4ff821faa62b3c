"""The SELECT of an extract and a chunk, with each column in the form asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import psycopg
from psycopg import sql

from streams_engine.model import Chunk, Column, Extract, Filter, TableId, TypeKind
from streams_engine.schema.types.postgres import ARROW, WIRE

__all__ = ["SET_PATH", "name", "own_rows", "path_of", "projection", "select"]

SET_PATH = "SELECT pg_catalog.set_config('search_path', %s, false)"


def path_of(schema: str | None) -> str:
    """Return the search_path under which a user's query finds its tables."""
    quoted = (schema or "public").replace('"', '""')
    return f'"{quoted}", public'


def name(table: TableId) -> sql.Identifier:
    """Return the qualified, quoted name of a table."""
    return sql.Identifier(table.schema, table.name)


def own_rows(connection: psycopg.Connection, table: TableId) -> sql.Composable:
    """Return the table for FROM, UPDATE and DELETE with its own rows only: with ONLY, which leaves
    out child tables (INHERITS).

    A partitioned table has only the rows of its partitions, which ONLY would leave out.
    """
    full = name(table)
    row = connection.execute(
        "SELECT relkind FROM pg_catalog.pg_class WHERE oid = pg_catalog.to_regclass(%s)",
        (full.as_string(connection),),
    ).fetchone()
    partitioned = row is not None and row[0] == "p"
    return full if partitioned else sql.SQL("ONLY {}").format(full)


def select(extract: Extract, chunk: Chunk, *, only: bool) -> sql.Composed:
    """Build the query that reads a chunk, in key order if the chunk has a key."""
    show = plain if extract.tuples else projection
    columns = sql.SQL(", ").join(show(column) for column in extract.columns)
    source: sql.Composable = sql.SQL("ONLY {} AS q" if only else "{} AS q").format(
        name(chunk.relation or chunk.table)
    )
    if extract.query is not None:
        source = sql.SQL("({}) AS q").format(sql.SQL(extract.query))
    query = sql.SQL("SELECT {} FROM {}").format(columns, source)
    conditions = [*bounds(chunk), *(condition(f) for f in extract.filters)]
    if conditions:
        query += sql.SQL(" WHERE ") + sql.SQL(" AND ").join(conditions)
    # Qualified, a column is itself; bare, ORDER BY takes it for its text in the output.
    order = [
        sql.Identifier("q", s.column) + sql.SQL(" DESC" if s.descending else "")
        for s in extract.sorts
    ]
    if not order and chunk.key and chunk.key != ("ctid",):
        order = [sql.Identifier("q", column) + sql.SQL("") for column in chunk.key]
    if order:
        query += sql.SQL(" ORDER BY ") + sql.SQL(", ").join(order)
    if extract.limit is not None:
        query += sql.SQL(" LIMIT {}").format(sql.Literal(extract.limit))
    if chunk.skip:
        query += sql.SQL(" OFFSET {}").format(sql.Literal(chunk.skip))
    return query


def plain(column: Column) -> sql.Composable:
    """Return the column's quoted name."""
    return sql.Identifier(column.name)


def projection(column: Column) -> sql.Composed:
    """Return a column in the requested Arrow form: unchanged, as binary bytes, or as text."""
    plain = sql.Identifier(column.name)
    native = column.type
    while native.kind is TypeKind.DOMAIN and native.element is not None:
        native = native.element
    if column.as_json:
        expression = sql.SQL("pg_catalog.to_jsonb({})::pg_catalog.text").format(plain)
    elif column.arrow == WIRE:
        send = (
            "array_send"
            if native.kind is TypeKind.ARRAY
            else SEND.get(native.name, f"{native.name}_send")
        )
        expression = sql.SQL("pg_catalog.{}({})").format(sql.Identifier(send), plain)
    elif native.kind is TypeKind.BASE and ARROW.get(native.name) == column.arrow:
        # A domain reads as its base type, which the driver knows.
        expression = (
            sql.SQL("{}").format(plain)
            if native is column.type
            else sql.SQL("{}::pg_catalog.{}").format(plain, sql.Identifier(native.name))
        )
    elif native.kind is TypeKind.BASE and native.name in {"text", "varchar", "bpchar"}:
        expression = sql.SQL("{}::pg_catalog.{}").format(plain, sql.Identifier(native.name))
    elif native.kind is TypeKind.BASE and native.name == "inet":
        # What the type's output function prints; a cast to text never suppresses the netmask
        # (https://www.postgresql.org/docs/current/functions-net.html, abbrev).
        expression = sql.SQL("pg_catalog.abbrev({}::pg_catalog.inet)").format(plain)
    elif native.kind is TypeKind.BASE and native.name == "xml":
        # The output function leaves the encoding out, which the log and a client do not see; a
        # cast to text shows it (https://www.postgresql.org/docs/current/datatype-xml.html).
        expression = sql.SQL("pg_catalog.textin(pg_catalog.xml_out({}::pg_catalog.xml))").format(
            plain
        )
    else:
        expression = sql.SQL("{}::pg_catalog.text").format(plain)
    return expression + sql.SQL(" AS ") + sql.Identifier(column.name)


SEND: Mapping[str, str] = {
    "int2": "int2send",
    "int4": "int4send",
    "int8": "int8send",
    "float4": "float4send",
    "float8": "float8send",
    "bool": "boolsend",
    "bytea": "byteasend",
    "text": "textsend",
    "varchar": "varcharsend",
    "bpchar": "bpcharsend",
    "oid": "oidsend",
    "path": "path_send",
    "polygon": "poly_send",
}
"""typsend functions that are not called ``<type>_send`` (pg_type.dat)."""


def bounds(chunk: Chunk) -> list[sql.Composable]:
    """Return the chunk's bounds as conditions; the server does every comparison."""
    if chunk.key == ("ctid",):
        tid = sql.SQL("{} {} {}::pg_catalog.tid")
        ctid = sql.Identifier("ctid")
        return [
            tid.format(ctid, sql.SQL(op), sql.Literal(str(bound[0])))
            for op, bound in ((">=", chunk.low), ("<", chunk.high))
            if bound is not None
        ]
    keys = sql.SQL("ROW({})").format(sql.SQL(", ").join(map(sql.Identifier, chunk.key)))
    return [
        sql.SQL("{} {} ROW({})").format(
            keys, sql.SQL(op), sql.SQL(", ").join(sql.Literal(value) for value in bound)
        )
        for op, bound in ((">", chunk.low), ("<=", chunk.high))
        if bound is not None
    ]


def condition(chosen: Filter) -> sql.Composed:
    """Build one condition of a selection; values become literals quoted by the driver."""
    column = sql.Identifier(chosen.column)
    return CONDITIONS[chosen.operator](column, chosen.value)


def _compared(operator: str) -> Callable[[sql.Identifier, object], sql.Composed]:
    def build(column: sql.Identifier, value: object) -> sql.Composed:
        return sql.SQL("{} {} {}").format(column, sql.SQL(operator), sql.Literal(value))

    return build


def _listed(operator: str) -> Callable[[sql.Identifier, object], sql.Composed]:
    def build(column: sql.Identifier, value: object) -> sql.Composed:
        values = value if isinstance(value, list | tuple) else [value]
        if not values:  # IN () is no SQL
            nothing = sql.SQL("{} IS NOT NULL" if operator == "NOT IN" else "{} IS NULL AND FALSE")
            return nothing.format(column)
        items = sql.SQL(", ").join(map(sql.Literal, values))
        return sql.SQL("{} {} ({})").format(column, sql.SQL(operator), items)

    return build


def _pattern(operator: str, before: str, after: str) -> Callable[..., sql.Composed]:
    def build(column: sql.Identifier, value: object) -> sql.Composed:
        text = str(value).replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
        pattern = sql.Literal(before + text + after)
        return sql.SQL("{}::text {} {}").format(column, sql.SQL(operator), pattern)

    return build


def _between(column: sql.Identifier, value: Any) -> sql.Composed:
    low, high = value
    return sql.SQL("{} BETWEEN {} AND {}").format(column, sql.Literal(low), sql.Literal(high))


CONDITIONS: Mapping[str, Callable[[sql.Identifier, object], sql.Composed]] = {
    **{op: _compared(op) for op in ("=", "<", "<=", ">", ">=", "LIKE", "NOT LIKE")},
    "!=": _compared("<>"),
    "IN": _listed("IN"),
    "NOT IN": _listed("NOT IN"),
    "BETWEEN": _between,
    "CONTAINS": _pattern("LIKE", "%", "%"),
    "NOT_CONTAINS": _pattern("NOT LIKE", "%", "%"),
    "STARTS_WITH": _pattern("LIKE", "", "%"),
    "ENDS_WITH": _pattern("LIKE", "%", ""),
    "IS NULL": lambda column, _: sql.SQL("{} IS NULL").format(column),
    "IS NOT NULL": lambda column, _: sql.SQL("{} IS NOT NULL").format(column),
}
