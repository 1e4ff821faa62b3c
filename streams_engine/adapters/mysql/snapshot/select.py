"""The SELECT of an extract and a chunk, with each column in the form asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pyarrow as pa
from pymysql.converters import escape_string

from streams_engine.model import Chunk, Column, Extract, Filter, TableId
from streams_engine.schema.types.mysql import arrow_type

__all__ = ["beyond", "literal", "name", "quote", "select"]


EVERYTHING = (1 << 64) - 1
"""OFFSET stands only after a LIMIT (the manual's SELECT Statement)."""


def quote(identifier: str) -> str:
    """Quote a name as an identifier."""
    return "`" + identifier.replace("`", "``") + "`"


def name(table: TableId) -> str:
    """Return the qualified, quoted name of a table."""
    return f"{quote(table.schema)}.{quote(table.name)}"


def literal(value: Any) -> str:
    """Return a value as a literal, escaped by the driver (sql_mode is pinned)."""
    if value is None:
        return "NULL"
    if isinstance(value, bool | int):
        return str(int(value))
    if isinstance(value, float):
        return repr(value)
    return f"'{escape_string(str(value))}'"


def select(extract: Extract, chunk: Chunk) -> str:
    """Build the query that reads a chunk, in key order if the chunk has a key."""
    columns = ", ".join(projection(column) for column in extract.columns)
    # Qualified, a column is itself; bare, ORDER BY takes it for its text in the output.
    source = f"({extract.query}) AS q" if extract.query else f"{name(chunk.table)} AS q"
    query = f"SELECT {columns} FROM {source}"
    limits = bounds(chunk)
    conditions = [*limits, *(condition(f) for f in extract.filters)]
    if chunk.key and not extract.sorts and (limits or not conditions):
        query += " FORCE INDEX (PRIMARY)"  # never a sort of a whole table
    if conditions:
        query += " WHERE " + " AND ".join(conditions)
    order = [f"q.{quote(s.column)}" + (" DESC" if s.descending else "") for s in extract.sorts]
    if not order:
        order = [f"q.{quote(column)}" for column in chunk.key]
    if order:
        query += " ORDER BY " + ", ".join(order)
    if extract.limit is not None:
        query += f" LIMIT {int(extract.limit)}"
    elif chunk.skip:
        query += f" LIMIT {EVERYTHING}"
    if chunk.skip:
        query += f" OFFSET {int(chunk.skip)}"
    return query


def projection(column: Column) -> str:
    """Return a column unchanged, or as the server's text if text is requested instead."""
    plain = quote(column.name)
    natural = arrow_type(column.type)
    if pa.types.is_string(column.arrow) and not pa.types.is_string(natural):
        return f"{TEXTS.get(column.type.name, 'CAST({} AS CHAR)').format(plain)} AS {plain}"
    return plain


TEXTS: Mapping[str, str] = {
    "bit": "CAST({} + 0 AS CHAR)",
    # FLOAT's own text is rounded to six digits; DOUBLE's is exact.
    "float": "CAST({} * 1E0 AS CHAR)",
    # The server would make NULL of bytes that are no text; the decoder refuses them by name.
    **dict.fromkeys(
        ("binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob"), "{}"
    ),
    **dict.fromkeys(
        ("geometry", "point", "linestring", "polygon", "multipoint", "multilinestring",
         "multipolygon", "geometrycollection"),
        "ST_AsText({})",
    ),
    "vector": "LOWER(HEX({}))",
}  # fmt: skip
"""The server's text of a value by type, where a plain cast is not it."""


def bounds(chunk: Chunk) -> list[str]:
    """Return the chunk's bounds as conditions on its key columns; the server compares."""
    return [
        beyond(chunk.key, bound, *operators)
        for bound, operators in ((chunk.low, (">", ">")), (chunk.high, ("<", "<=")))
        if chunk.key and bound is not None
    ]


def beyond(key: Sequence[str], bound: Sequence[Any], operator: str, last: str) -> str:
    """Build a comparison of whole keys, column by column, which can use an index."""
    ways = []
    for i, column in enumerate(key):
        tests = [f"{quote(k)} = {literal(v)}" for k, v in zip(key[:i], bound, strict=False)]
        sign = last if i == len(key) - 1 else operator
        ways.append(" AND ".join([*tests, f"{quote(column)} {sign} {literal(bound[i])}"]))
    return ways[0] if len(ways) == 1 else "(" + " OR ".join(f"({way})" for way in ways) + ")"


def condition(chosen: Filter) -> str:
    """Build one condition of a selection."""
    return CONDITIONS[chosen.operator](quote(chosen.column), chosen.value)


def _compared(operator: str) -> Callable[[str, Any], str]:
    return lambda column, value: f"{column} {operator} {literal(value)}"


def _listed(operator: str) -> Callable[[str, Any], str]:
    def build(column: str, value: Any) -> str:
        values = value if isinstance(value, list | tuple) else [value]
        if not values:  # IN () is no SQL
            return f"{column} IS NOT NULL" if operator == "NOT IN" else "FALSE"
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
