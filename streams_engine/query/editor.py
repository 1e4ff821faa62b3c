"""`engine.sql`: help for editors that let people write SQL."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import sqlglot
from sqlglot import exp
from sqlglot.errors import ErrorLevel, SqlglotError, UnsupportedError

from streams_engine.errors import ConfigError, QueryRefused
from streams_engine.query.catalog_cache import CatalogCache, KnownNames
from streams_engine.query.completion import completed
from streams_engine.query.connections import QueryConnections
from streams_engine.query.diagnostics import diagnosed
from streams_engine.query.hover import Meaning, hovered, meaning, signature_at
from streams_engine.query.validation import position

__all__ = ["Sources", "SqlHelp"]

DIALECTS = {
    "mysql": "mysql",
    "mariadb": "mysql",
    "postgres": "postgres",
    "postgresql": "postgres",
    "duckdb": "duckdb",
}
BEGINNINGS = {"SELECT", "WITH", "VALUES", "L_PAREN", "INSERT", "UPDATE", "DELETE", "MERGE"}
"""What is parsed: of a statement that it does not know, sqlglot would log the text."""


Sources = str | Mapping[str, str] | None
"""A connection by id or name; several by alias; None: all that are stored, by their names."""


class SqlHelp:
    """Diagnosis, completion, hover, formatting, and other dialects. Runs no statement. Thread-safe.

    ``connection`` is one connection by id or name: statements are in its server's SQL. A mapping of
    aliases to connections, or None for all connections by their names: statements are those of
    `Engine.query` over several sources, and files are described too. Tables are read once and known
    for five minutes, or until `refresh`: later calls ask no server. Methods raise `NotFound`,
    `ConnectionFailed` and its kin, and `ConfigError` for an offset outside of the text.
    """

    def __init__(
        self, places: QueryConnections, every: Callable[[], Mapping[str, str]] = dict
    ) -> None:
        """Create the help. ``every`` returns all connections by name."""
        self._every = every
        self._knowledge = CatalogCache(places)

    def _known(self, connection: Sources) -> tuple[str, KnownNames]:
        if isinstance(connection, str):
            known = self._knowledge.of(connection)
            return _dialect_of(known.family), known
        chosen = self._every() if connection is None else connection
        return "duckdb", self._knowledge.federated(chosen)

    def diagnose(self, sql: str, connection: Sources = None) -> list[dict[str, Any]]:
        """Diagnose a query: return ``{severity, message, suggestion, line, column, start, end}`` of
        each error, in the order of the text; an empty list if there is none.

        Lines and columns count from one, ``start`` and ``end`` are offsets.
        """
        dialect, known = self._known(connection)
        return diagnosed(sql, dialect, known)

    def complete(
        self, sql: str, offset: int, connection: Sources = None
    ) -> list[dict[str, str | None]]:
        """Complete the text at an offset: ``{text, kind, detail}``.

        ``kind`` is table, view, schema, connection, cte, alias, column, function or keyword; what
        is given begins with the word that ends at the offset.
        """
        _demand_place(sql, offset)
        return completed(sql, offset, *self._known(connection))

    def hover(self, sql: str, offset: int, connection: Sources = None) -> dict[str, Any] | None:
        """Say what the name at an offset is: ``{kind, name, text, start, end}``, or None.

        ``text`` shows a column with its type, a table or file with its columns, a function with
        its parameters.
        """
        what = self._meaning(sql, offset, connection)
        return None if what is None else hovered(what)

    def signature(self, sql: str, offset: int, connection: Sources = None) -> dict[str, Any] | None:
        """Say which arguments the function around an offset takes: ``{label, name, parameters,
        active}``, or None; ``active`` is the index of the parameter at the offset."""
        _demand_place(sql, offset)
        return signature_at(sql, offset, self._known(connection)[0])

    def definition(
        self, sql: str, offset: int, connection: Sources = None
    ) -> dict[str, Any] | None:
        """Say where the name at an offset comes from: ``{kind, name, start, end, connection,
        table, ddl}``, or None.

        ``start`` and ``end`` are the place in the statement of an alias or a CTE, else None; of a
        table, and of a column, ``table`` and the statements that create it.
        """
        what = self._meaning(sql, offset, connection)
        if what is None or what.kind == "function":
            return None
        start, end = what.defined or (None, None)
        relation = what.relation
        made = None if relation is None else self._knowledge.table(relation)
        return {
            "kind": what.kind,
            "name": what.name,
            "start": start,
            "end": end,
            "connection": None if relation is None else relation.connection,
            "table": None if relation is None else str(relation.id),
            "ddl": None if made is None else made[1],
        }

    def _meaning(self, sql: str, offset: int, connection: Sources) -> Meaning | None:
        _demand_place(sql, offset)
        return meaning(sql, offset, *self._known(connection))

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


def _demand_place(sql: str, offset: int) -> None:
    if not 0 <= offset <= len(sql):
        raise ConfigError("$.offset: expected a position within the text.", path="$.offset")


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
