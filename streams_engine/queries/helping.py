"""`engine.sql`: help for editors that let people write SQL."""

from __future__ import annotations

from typing import Any

import sqlglot
from sqlglot import exp
from sqlglot.errors import ErrorLevel, SqlglotError, UnsupportedError

from streams_engine.errors import ConfigError, QueryRefused
from streams_engine.queries.completing import completed
from streams_engine.queries.diagnosing import diagnosed
from streams_engine.queries.knowing import Knowledge
from streams_engine.queries.places import Places
from streams_engine.queries.refusing import position

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

    def __init__(self, places: Places) -> None:
        self._places = places
        self._knowledge = Knowledge(places)

    def diagnose(self, sql: str, connection: str | None = None) -> list[dict[str, Any]]:
        """What is wrong with a query: ``{severity, message, suggestion, line, column, start,
        end}`` of each fault, in the order of the text; empty where nothing is found.

        With a connection in its server's SQL, tables and columns by its catalog; without, the
        syntax of a query over several sources. Lines and columns count from one, ``start`` and
        ``end`` are offsets. Raises `NotFound`, `ConnectionFailed` and its kin.
        """
        if connection is None:
            return diagnosed(sql, "duckdb", None)
        known = self._knowledge.of(connection)
        return diagnosed(sql, _dialect_of(known.family), known)

    def complete(self, sql: str, offset: int, connection: str) -> list[dict[str, str | None]]:
        """What may stand at an offset of the text: ``{text, kind, detail}``.

        ``kind`` is table, view, schema, alias, column, function or keyword; what is given begins
        with the word that ends at the offset. Raises as `diagnose` does, `ConfigError` for an
        offset outside of the text.
        """
        if not 0 <= offset <= len(sql):
            raise ConfigError("$.offset: expected a place in the text.", path="$.offset")
        known = self._knowledge.of(connection)
        return completed(sql, offset, _dialect_of(known.family), known)

    def refresh(self, connection: str | None = None) -> None:
        """Read a connection's tables anew at the next call; None: of all connections."""
        self._knowledge.forget(connection)

    def format(self, sql: str, dialect: str = "postgresql") -> str:
        """Statements laid out: a clause a line, keywords in capitals.

        ``dialect``: mysql, mariadb, postgresql or duckdb. Raises `QueryRefused` with line and
        column where it cannot be parsed.
        """
        written = _dialect(dialect, "$.dialect")
        trees = _parsed(sql, written)
        return ";\n\n".join(tree.sql(dialect=written, pretty=True) for tree in trees)

    def transpile(self, sql: str, source: str, target: str) -> str:
        """Statements of one dialect in another one: ``mysql``, ``mariadb``, ``postgresql``,
        ``duckdb``. Raises `QueryRefused` for what cannot be parsed, or has no equal there."""
        written = _dialect(target, "$.target")
        trees = _parsed(sql, _dialect(source, "$.source"))
        try:
            return ";\n".join(
                tree.sql(dialect=written, unsupported_level=ErrorLevel.RAISE) for tree in trees
            )
        except UnsupportedError as error:
            raise QueryRefused(
                f"It has no equal in {target}: {str(error).splitlines()[0]}",
                remedy="Write that part in another way.",
            ) from None


def _dialect_of(family: str) -> str:
    return "duckdb" if family == "files" else family


def _dialect(name: str, path: str) -> str:
    found = DIALECTS.get(name.lower())
    if found is None:
        raise ConfigError(f"{path}: expected one of {', '.join(sorted(DIALECTS))}.", path=path)
    return found


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
            raise QueryRefused("That is no query, INSERT, UPDATE, DELETE or MERGE.")
        trees: list[Any] = [tree for tree in sqlglot.parse(sql, dialect=dialect) if tree]
    except SqlglotError as error:
        raise QueryRefused("The statement cannot be parsed.", **position(error)) from None
    except RecursionError:
        raise QueryRefused("The statement is nested too deeply.") from None
    if any(isinstance(tree, exp.Command) for tree in trees):
        raise QueryRefused("The statement cannot be parsed.")
    return trees
