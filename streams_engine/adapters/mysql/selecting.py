"""The SELECT of an extract and a chunk, with each column in the form asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pyarrow as pa
from pymysql.converters import escape_string

from streams_engine.model import Chunk, Column, Extract, Filter, TableId
from streams_engine.schema.mysql import arrow_type

__all__ = ["literal", "name", "quote", "select"]


def quote(identifier: str) -> str:
    """A name as a quoted identifier."""
    return "`" + identifier.replace("`", "``") + "`"


def name(table: TableId) -> str:
    """A qualified, quoted name."""
    return f"{quote(table.schema)}.{quote(table.name)}"


def literal(value: Any) -> str:
    """A value as a literal, escaped by the driver (sql_mode is pinned)."""
    if value is None:
        return "NULL"
    if isinstance(value, bool | int):
        return str(int(value))
    if isinstance(value, float):
        return repr(value)
    return f"'{escape_string(str(value))}'"


def select(extract: Extract, chunk: Chunk) -> str:
    """The query that reads a chunk; in key order where the chunk has a key."""
    columns = ", ".join(projection(column) for column in extract.columns)
    query = f"SELECT {columns} FROM {name(chunk.table)}"
    conditions = [*bounds(chunk), *(condition(f) for f in extract.filters)]
    if conditions:
        query += " WHERE " + " AND ".join(conditions)
    order = [quote(s.column) + (" DESC" if s.descending else "") for s in extract.sorts]
    if not order:
        order = [quote(column) for column in chunk.key]
    if order:
        query += " ORDER BY " + ", ".join(order)
    if extract.limit is not None:
        query += f" LIMIT {int(extract.limit)}"
    return query


def projection(column: Column) -> str:
    """A column as it is, or as the server's text where text is asked for instead."""
    plain = quote(column.name)
    natural = arrow_type(column.type)
    if pa.types.is_string(column.arrow) and not pa.types.is_string(natural):
        if column.type.name == "bit":
            return f"CAST({plain} + 0 AS CHAR) AS {plain}"
        if column.type.name == "float":
            # FLOAT's own text is rounded to six digits; DOUBLE's is exact.
            return f"CAST(CAST({plain} AS DOUBLE) AS CHAR) AS {plain}"
        return f"CAST({plain} AS CHAR) AS {plain}"
    return plain


def bounds(chunk: Chunk) -> list[str]:
    """The chunk's bounds as conditions on its one key column."""
    if not chunk.key:
        return []
    key = quote(chunk.key[0])
    return [
        f"{key} {operator} {literal(bound[0])}"
        for operator, bound in ((">", chunk.low), ("<=", chunk.high))
        if bound is not None
    ]


def condition(chosen: Filter) -> str:
    """One condition of a selection."""
    return CONDITIONS[chosen.operator](quote(chosen.column), chosen.value)


def _compared(operator: str) -> Callable[[str, Any], str]:
    return lambda column, value: f"{column} {operator} {literal(value)}"


def _listed(operator: str) -> Callable[[str, Any], str]:
    def build(column: str, value: Any) -> str:
        values = value if isinstance(value, list | tuple) else [value]
        return f"{column} {operator} ({', '.join(map(literal, values))})"

    return build


def _pattern(operator: str, before: str, after: str) -> Callable[[str, Any], str]:
    def build(column: str, value: Any) -> str:
        text = str(value).replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
        return f"{column} {operator} {literal(before + text + after)}"

    return build


CONDITIONS: Mapping[str, Callable[[str, Any], str]] = {
    **{op: _compared(op) for op in ("=", "<", "<=", ">", ">=", "LIKE", "NOT LIKE")},
    "!=": _compared("<>"),
    "IN": _listed("IN"),
    "NOT IN": _listed("NOT IN"),
    "BETWEEN": lambda column, value: (
        f"{column} BETWEEN {literal(value[0])} AND {literal(value[1])}"
    ),
    "CONTAINS": _pattern("LIKE", "%", "%"),
    "NOT_CONTAINS": _pattern("NOT LIKE", "%", "%"),
    "STARTS_WITH": _pattern("LIKE", "", "%"),
    "ENDS_WITH": _pattern("LIKE", "%", ""),
    "IS NULL": lambda column, _: f"{column} IS NULL",
    "IS NOT NULL": lambda column, _: f"{column} IS NOT NULL",
}
