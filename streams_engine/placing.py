"""From a stream's document to what is read of each source, and where it lands on the target."""

from __future__ import annotations

from streams_engine.config.connection import (
    Connection,
    DatabaseConnection,
    FilesConnection,
    S3Connection,
)
from streams_engine.config.documents import Selection, SourceConnection
from streams_engine.config.stream import StreamConfig
from streams_engine.errors import ConfigError
from streams_engine.model import Filter, Sort
from streams_engine.protocols import Scope
from streams_engine.schema.mapping import Selected

__all__ = ["file_format", "scope_of", "selected_of", "selections_of", "shown", "target_schema"]

NO_VALUE = {"IS NULL", "IS NOT NULL"}
LISTS = {"IN", "NOT IN", "BETWEEN"}


def scope_of(document: SourceConnection, connection: Connection) -> Scope:
    """Which tables and queries of a source are meant."""
    tables = tuple(t.name for t in document.tables if t.query is None)
    queries = [(q.name, q.query) for q in document.queries]
    queries += [(t.name, t.query) for t in document.tables if t.query is not None]
    return Scope(
        schema=_schema_of(document, connection),
        # Queries alone: no tables at all.
        tables=tables if tables or queries else None,
        queries=tuple(queries),
    )


def shown(connection: Connection, document: SourceConnection) -> str:
    """Return what messages call a source, without secrets."""
    if isinstance(connection, DatabaseConnection):
        return connection.show(document.database, document.schema_)
    if isinstance(connection, FilesConnection):
        return connection.show(document.files.base_path if document.files else None)
    if isinstance(connection, S3Connection):
        return connection.show(document.s3.bucket if document.s3 else None)
    return connection.show()


def _schema_of(document: SourceConnection, connection: Connection) -> str | None:
    if not isinstance(connection, DatabaseConnection):
        return None
    if connection.kind == "postgresql":
        return document.schema_ or connection.schema
    return document.database or connection.database


def selections_of(document: SourceConnection, path: str) -> dict[str, tuple[str, Selected]]:
    """What is selected of each table, by its name. Raises `ConfigError` by path."""
    found = {}
    for i, table in enumerate(document.tables):
        if table.selection != Selection():
            where = f"{path}.tables[{i}].selection"
            found[table.name] = (where, selected_of(table.selection, where))
    return found


def selected_of(selection: Selection, path: str) -> Selected:
    """What a selection chooses. Raises `ConfigError` by path."""
    for i, condition in enumerate(selection.filters):
        _check_value(condition.operator, condition.value, f"{path}.filters[{i}].value")
    return Selected(
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
        expected = "values that are no NULL and no list"
    if expected:
        raise ConfigError(f"{path}: {operator} expects {expected}.", path=path)


def target_schema(
    config: StreamConfig, source: Connection | None, document: SourceConnection
) -> str | None:
    """The one schema (MySQL: database) on the target; None: each of the source's own name.

    ``source`` is None for what is of no single connection.
    Raises `ConfigError` where a MySQL target names no database and the source has none either.
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
            "$.target: no database is named.",
            path="$.target.spec.db.database",
            remedy="Name the database in the target's URL or in target.spec.db.database.",
        )
    return chosen


def file_format(config: StreamConfig) -> str:
    """The format of a target of files: csv, jsonl or parquet. Raises `ConfigError`."""
    spec = config.document.target.spec
    chosen = spec.files.file_format if spec.files else spec.s3.file_format if spec.s3 else None
    target = config.target
    if chosen is None and isinstance(target, FilesConnection | S3Connection):
        chosen = target.file_format  # type: ignore[assignment]
    if chosen not in (None, "csv", "jsonl", "parquet"):
        raise ConfigError(
            f"$.target: the format '{chosen}' is none of csv, jsonl, parquet.", path="$.target"
        )
    return chosen or "parquet"
