"""Refuse what a statement may not hold, with errors that say where."""

from __future__ import annotations

from typing import Any

from sqlglot import exp
from sqlglot.errors import ParseError, SqlglotError

from streams_engine.errors import QueryRefused
from streams_engine.schema.query_check import one_query

__all__ = ["at", "parse", "position", "refuse", "refuse_foreign_functions"]

REMEDY = "Write one SELECT, or WITH ... SELECT."

FOREIGN = {
    "GETENV", "CURRENT_SETTING", "SET_CONFIG", "WRITE_LOG", "NEXTVAL", "CURRVAL", "GETVARIABLE",
    "QUERY", "QUERY_TABLE", "GLOB", "SNIFF_CSV", "WHICH_SECRET", "FROM_SUBSTRAIT",
    "FROM_SUBSTRAIT_JSON", "JSON_EXECUTE_SERIALIZED_SQL", "ADD_PARQUET_KEY", "FORCE_CHECKPOINT",
    "CHECKPOINT", "SEQ_SCAN", "ARROW_SCAN", "ARROW_SCAN_DUMB", "PANDAS_SCAN", "PYTHON_MAP_FUNCTION",
}  # fmt: skip
FOREIGN_BEGINNINGS = ("READ_", "DUCKDB_", "PRAGMA_", "PARQUET_", "ICEBERG_", "DELTA_", "SCAN_",
                      "POSTGRES_", "MYSQL_", "SQLITE_", "HTTP_", "LOAD_", "ENABLE_", "DISABLE_",
                      "ST_READ")  # fmt: skip
"""Functions that read the process, its settings or other places: nothing of the statement's."""

KINDS = (
    *(exp.Lock, exp.Into, exp.Command, exp.Describe, exp.Set, exp.Pragma, exp.Use),
    *(exp.Attach, exp.Detach, exp.Copy, exp.Summarize, exp.Show),
    *(exp.Parameter, exp.SessionParameter, exp.Placeholder),
)
"""What is no part of a SELECT that reads and nothing else."""


def parse(sql: str, dialect: str) -> tuple[str, Any]:
    """Return a statement's text without a closing semicolon, and its parse tree in a dialect of
    sqlglot.

    Raises `QueryRefused` with line and column unless it is one SELECT that only reads.
    """
    try:
        text, tree = one_query(sql, dialect)
    except SqlglotError as error:
        where = position(error)
        shown = f" (line {where['line']}, column {where['column']})" if where else ""
        raise QueryRefused(
            f"The statement cannot be parsed{shown}.", remedy=REMEDY, **where
        ) from None
    except RecursionError:
        raise QueryRefused("The statement is nested too deeply.", remedy=REMEDY) from None
    if tree is None:
        raise QueryRefused("Expected one statement that only reads.", remedy=REMEDY)
    for node in tree.find_all(*KINDS):
        what = type(node).__name__.lower()
        raise refuse(f"A query must not contain {what}.", node, REMEDY)
    return text, tree


def position(error: SqlglotError) -> dict[str, Any]:
    """Return where parsing stopped, counted from one; empty if that is unknown."""
    if isinstance(error, ParseError) and error.errors:
        first = error.errors[0]
        line, column = first.get("line"), first.get("col")
        if line and column:
            # sqlglot counts to the end of a word.
            begin = int(column) - len(str(first.get("highlight") or " ")) + 1
            return {"line": int(line), "column": max(begin, 1)}
    return {}


def refuse(message: str, node: Any, remedy: str | None = None) -> QueryRefused:
    """Return an error about a part of the statement."""
    return QueryRefused(message, remedy=remedy, **at(node))


def at(node: Any) -> dict[str, Any]:
    """Return line and column of a part of a statement, if the parser recorded them."""
    for one in node.walk():
        line, column = one.meta.get("line"), one.meta.get("col")
        if line and column:
            length = int(one.meta["end"]) - int(one.meta["start"])
            return {"line": int(line), "column": max(int(column) - length, 1)}
    return {}


def refuse_foreign_functions(tree: Any) -> None:
    """Raise `QueryRefused` naming a function that could read or write something else than the
    sources.

    By then the sources' tables are no functions any more.
    """
    for node in tree.find_all(exp.Func):
        names = {node.name.upper()} if isinstance(node, exp.Anonymous) else set(node.sql_names())
        for name in names:
            if name in FOREIGN or name.startswith(FOREIGN_BEGINNINGS):
                raise refuse(f"The function {name.lower()} is not allowed in queries.", node)
