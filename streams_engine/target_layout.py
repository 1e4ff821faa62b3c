"""Map a stream's document to extracts of each source and tables of the target."""

from __future__ import annotations

from streams_engine.config.connection import (
    Connection,
    DatabaseConnection,
)
from streams_engine.config.documents import Selection, SourceConnection
from streams_engine.config.stream import StreamConfig
from streams_engine.contracts import Scope
from streams_engine.errors import ConfigError
from streams_engine.model import Filter, Sort
from streams_engine.schema.mapping.tables import SelectedRows

__all__ = ["scope_of", "selected_of", "selections_of", "target_schema"]

NO_VALUE = {"IS NULL", "IS NOT NULL"}
LISTS = {"IN", "NOT IN", "BETWEEN"}


def scope_of(document: SourceConnection, connection: Connection) -> Scope:
    """Return the scope of the tables and queries that a source document selects."""
    tables = tuple(t.name for t in document.tables if t.query is None)
    queries = [(q.name, q.query) for q in document.queries]
    queries += [(t.name, t.query) for t in document.tables if t.query is not None]
    return Scope(
        schema=_schema_of(document, connection),
        # Queries alone: no tables at all.
        tables=tables if tables or queries else None,
        queries=tuple(queries),
    )


def _schema_of(document: SourceConnection, connection: Connection) -> str | None:
    if not isinstance(connection, DatabaseConnection):
        return None
    if connection.kind == "postgresql":
        return document.schema_ or connection.schema
    return document.database or connection.database


def selections_of(document: SourceConnection, path: str) -> dict[str, tuple[str, SelectedRows]]:
    """Return the selection of each table, by its name. Raises `ConfigError` by path."""
    selections = {}
    for i, table in enumerate(document.tables):
        if table.selection != Selection():
            where = f"{path}.tables[{i}].selection"
            selections[table.name] = (where, selected_of(table.selection, where))
    return selections


def selected_of(selection: Selection, path: str) -> SelectedRows:
    """Parse a selection. Raises `ConfigError` by path."""
    for i, condition in enumerate(selection.filters):
        _check_value(condition.operator, condition.value, f"{path}.filters[{i}].value")
    return SelectedRows(
        tuple(selection.selected_columns),
        tuple(Filter(f.column, f.operator, f.value) for f in selection.filters),
        tuple(Sort(s.column, s.direction.lower() == "desc") for s in selection.sorts),
        selection.limit,
    )


def _check_value(operator: str, value: object, path: str) -> None:
    if operator in NO_VALUE:
        return
    expected = None
    if operator == "BETWEEN" and not (isinstance(value, list) and len(value) == 2):
        expected = "a list of two values"
    elif operator in LISTS - {"BETWEEN"} and not (isinstance(value, list) and value):
        expected = "a list of at least one value"
    elif operator not in LISTS and (value is None or isinstance(value, list | dict)):
        expected = "a value (for NULL use IS NULL or IS NOT NULL)"
    elif isinstance(value, list) and any(v is None or isinstance(v, list | dict) for v in value):
        expected = "a value, not NULL and not a list"
    if expected:
        raise ConfigError(f"{path}: {operator} expects {expected}.", path=path)


def target_schema(
    config: StreamConfig, source: Connection | None, document: SourceConnection
) -> str | None:
    """Return the one schema (MySQL: database) of the target; None to keep the source's schemas.

    ``source`` is None for a source without a single connection. Raises `ConfigError` if a MySQL
    target names no database and the source has none either.
    """
    target = config.target
    if not isinstance(target, DatabaseConnection):
        return ""
    if target.kind == "postgresql":
        chosen = config.db.schema_ or target.schema
        if chosen is not None:
            return chosen
        if isinstance(source, DatabaseConnection):
            if source.kind == "postgresql":
                return None
            # A whole MySQL server: each of its databases becomes a schema of its own.
            return "public" if _schema_of(document, source) else None
        return "public"
    chosen = config.db.database or target.database or config.db.schema_
    if chosen is None and not (
        isinstance(source, DatabaseConnection) and source.kind != "postgresql"
    ):
        raise ConfigError(
            "$.target: names no database.",
            path="$.target.spec.db.database",
            remedy="Name the database in the target's URL or in target.spec.db.database.",
        )
    return chosen
