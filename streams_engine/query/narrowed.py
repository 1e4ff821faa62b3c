"""A statement narrowed down from outside: its rows filtered, sorted, counted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from streams_engine.model import Filter, Sort
from streams_engine.query.connections import QueryConnections
from streams_engine.query.statement import read_statement
from streams_engine.schema.query_check import one_query

__all__ = ["counted", "narrowed"]


def narrowed(
    sql: str, places: QueryConnections, filters: Sequence[Filter], sorts: Sequence[Sort]
) -> str:
    """Return a statement for those rows that pass the filters, in the order of the sort keys.

    It is in the same SQL as the statement. Raises `QueryRefused`.
    """
    if not filters and not sorts:
        return sql
    family, inner = _inner(sql, places)
    quote, condition = DIALECTS[family]()
    text = f"SELECT * FROM ({inner}) AS q"
    if filters:
        text += " WHERE " + " AND ".join(map(condition, filters))
    if sorts:
        keys = (f"{quote(one.column)} {'DESC' if one.descending else 'ASC'}" for one in sorts)
        text += " ORDER BY " + ", ".join(keys)
    return text


def counted(sql: str, places: QueryConnections) -> str:
    """Return a statement for the number of a statement's rows. Raises `QueryRefused`."""
    return f"SELECT count(*) AS n FROM ({_inner(sql, places)[1]}) AS q"


def _inner(sql: str, places: QueryConnections) -> tuple[str, str]:
    """Return whose SQL a statement is in, and the statement without what would end it."""
    statement = read_statement(sql, places)
    family = statement.family or "duckdb"
    return family, one_query(sql, family)[0]


Quote = Callable[[str], str]
Condition = Callable[[Filter], str]


def _postgres() -> tuple[Quote, Condition]:
    from psycopg import sql

    from streams_engine.adapters.postgres.snapshot.select import condition

    return (
        lambda name: sql.Identifier(name).as_string(None),
        lambda chosen: condition(chosen).as_string(None),
    )


def _mysql() -> tuple[Quote, Condition]:
    from streams_engine.adapters.mysql.snapshot.select import condition, quote

    return quote, condition


def _duckdb() -> tuple[Quote, Condition]:
    return _quoted, lambda chosen: CONDITIONS[chosen.operator](_quoted(chosen.column), chosen.value)


DIALECTS: Mapping[str, Callable[[], tuple[Quote, Condition]]] = {
    "postgres": _postgres,
    "mysql": _mysql,
    "duckdb": _duckdb,
}


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _literal(value: Any) -> str:
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, int | Decimal):
        return f"{value:f}" if isinstance(value, Decimal) else str(value)
    text = repr(value) if isinstance(value, float) else str(value)
    return "'" + text.replace("'", "''") + "'"


def _compared(operator: str) -> Callable[[str, Any], str]:
    return lambda column, value: f"{column} {operator} {_literal(value)}"


def _listed(operator: str) -> Callable[[str, Any], str]:
    return lambda column, values: f"{column} {operator} ({', '.join(map(_literal, values))})"


def _like(operator: str) -> Callable[[str, Any], str]:
    escape = "ESCAPE '\\'"
    return lambda column, value: f"CAST({column} AS TEXT) {operator} {_literal(value)} {escape}"


def _called(function: str, form: str = "{}") -> Callable[[str, Any], str]:
    return lambda column, value: form.format(
        f"{function}(CAST({column} AS TEXT), {_literal(str(value))})"
    )


CONDITIONS: Mapping[str, Callable[[str, Any], str]] = {
    **{operator: _compared(operator) for operator in ("=", "<", "<=", ">", ">=")},
    "!=": _compared("<>"),
    "IN": _listed("IN"),
    "NOT IN": _listed("NOT IN"),
    "LIKE": _like("LIKE"),
    "NOT LIKE": _like("NOT LIKE"),
    "BETWEEN": lambda column, value: (
        f"{column} BETWEEN {_literal(value[0])} AND {_literal(value[1])}"
    ),
    "CONTAINS": _called("contains"),
    "NOT_CONTAINS": _called("contains", "NOT {}"),
    "STARTS_WITH": _called("starts_with"),
    "ENDS_WITH": _called("ends_with"),
    "IS NULL": lambda column, _: f"{column} IS NULL",
    "IS NOT NULL": lambda column, _: f"{column} IS NOT NULL",
}
"""The operators of a filter in DuckDB's SQL."""
