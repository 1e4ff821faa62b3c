"""`engine.sql`: help for editors that let people write SQL."""

from __future__ import annotations

from typing import Any

import sqlglot
from sqlglot import exp
from sqlglot.errors import ErrorLevel, SqlglotError, UnsupportedError

from streams_engine.errors import ConfigError, QueryRefused
from streams_engine.query.catalog_cache import CatalogCache
from streams_engine.query.completion import completed
from streams_engine.query.connections import QueryConnections
from streams_engine.query.diagnostics import diagnosed
from streams_engine.query.validation import position

__all__ = ["SqlHelp"]

DIALECTS = {
    "mysql": "mysql",
    "mariadb": "mysql",
    "postgres": "postgres",
    "postgresql": "postgres",
    "duckdb": "duckdb",
}
BEGINNINGS = {"SELECT", "WITH", "VALUES", "L_PAREN", "INSERT", "UPDATE", "DELETE", "MERGE"}
"""What is parsed: of a statement that it does not know, sqlglot would log the text."""


class SqlHelp:
    """Diagnosis, completion, formatting, and other dialects. Runs no statement. Thread-safe.

    Where a connection is named (by id or name), its tables are read once and known for five
    minutes, or until `refresh`: later calls ask no server.
    """

    def __init__(self, places: QueryConnections) -> None:
        self._places = places
        self._knowledge = CatalogCache(places)

    def diagnose(self, sql: str, connection: str | None = None) -> list[dict[str, Any]]:
        """Diagnose a query: return ``{severity, message, suggestion, line, column, start, end}`` of
        each error, in the order of the text; an empty list if there is none.

        With a connection in its server's SQL, tables and columns by its catalog; without, the
        syntax of a query over several sources. Lines and columns count from one, ``start`` and
        ``end`` are offsets. Raises `NotFound`, `ConnectionFailed` and its kin.
        """
        if connection is None:
            return diagnosed(sql, "duckdb", None)
        known = self._knowledge.of(connection)
        return diagnosed(sql, _dialect_of(known.family), known)

    def complete(self, sql: str, offset: int, connection: str) -> list[dict[str, str | None]]:
        """Complete the text at an offset: ``{text, kind, detail}``.

        ``kind`` is table, view, schema, alias, column, function or keyword; what is given begins
        with the word that ends at the offset. Raises as `diagnose` does, `ConfigError` for an
        offset outside of the text.
        """
        if not 0 <= offset <= len(sql):
            raise ConfigError("$.offset: expected a position within the text.", path="$.offset")
        known = self._knowledge.of(connection)
        return completed(sql, offset, _dialect_of(known.family), known)

    def refresh(self, connection: str | None = None) -> None:
        """Read a connection's tables anew at the next call; None: of all connections."""
        self._knowledge.forget(connection)

    def format(self, sql: str, dialect: str = "postgresql") -> str:
        """Format statements: one clause per line, keywords in capitals.

        ``dialect``: mysql, mariadb, postgresql or duckdb. Raises `QueryRefused` with line and
        column if they cannot be parsed.
        """
        written = _dialect(dialect, "$.dialect")
        trees = _parsed(sql, written)
        return ";\n\n".join(tree.sql(dialect=written, pretty=True) for tree in trees)

    def transpile(self, sql: str, source: str, target: str) -> str:
        """Translate statements to another dialect: ``mysql``, ``mariadb``, ``postgresql``,
        ``duckdb``.

        Raises `QueryRefused` for what cannot be parsed or has no equivalent.
        """
        written = _dialect(target, "$.target")
        trees = _parsed(sql, _dialect(source, "$.source"))
        try:
            return ";\n".join(
                tree.sql(dialect=written, unsupported_level=ErrorLevel.RAISE) for tree in trees
            )
        except UnsupportedError as error:
            raise QueryRefused(
                f"There is no equivalent in {target}: {str(error).splitlines()[0]}",
                remedy="Write that part in another way.",
            ) from None


def _dialect_of(family: str) -> str:
    return "duckdb" if family == "files" else family


def _dialect(name: str, path: str) -> str:
    dialect = DIALECTS.get(name.lower())
    if dialect is None:
        raise ConfigError(f"{path}: expected one of {', '.join(sorted(DIALECTS))}.", path=path)
    return dialect


def _parsed(sql: str, dialect: str) -> list[Any]:
    try:
        tokens = sqlglot.tokenize(sql, dialect=dialect)
        starts = [
            token
            for before, token in zip([None, *tokens], tokens, strict=False)
            if before is None or before.token_type.name == "SEMICOLON"
        ]
        kinds = {token.token_type.name for token in starts} - {"SEMICOLON"}
        if not kinds or kinds - BEGINNINGS:
            raise QueryRefused("Expected a query, INSERT, UPDATE, DELETE or MERGE.")
        trees: list[Any] = [tree for tree in sqlglot.parse(sql, dialect=dialect) if tree]
    except SqlglotError as error:
        raise QueryRefused("The statement cannot be parsed.", **position(error)) from None
    except RecursionError:
        raise QueryRefused("The statement is nested too deeply.") from None
    if any(isinstance(tree, exp.Command) for tree in trees):
        raise QueryRefused("The statement cannot be parsed.")
    return trees
