"""``source.queries`` of a stream's document: each statement, and who answers it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from streams_engine.config.connection import (
    Connection,
    DatabaseConnection,
    FilesConnection,
    S3Connection,
)
from streams_engine.config.documents import QueryDocument, SourceConnection
from streams_engine.config.secret import Resolver
from streams_engine.config.stream import StreamConfig
from streams_engine.errors import ConfigError
from streams_engine.query.connections import QueryConnections
from streams_engine.query.native import native_text
from streams_engine.query.source import QuerySource, at_path
from streams_engine.query.statement import ParsedStatement, read_statement

__all__ = ["QueryEntry", "entries", "refuse_unfit"]

QUERIES = "$.source.queries"


@dataclass(frozen=True, slots=True)
class QueryEntry:
    """One statement of a stream's document."""

    name: str
    """The table that its result becomes."""
    path: str
    statement: ParsedStatement
    places: QueryConnections

    def native(self, config: StreamConfig) -> tuple[int, SourceConnection] | None:
        """Return the one server that can run the statement, as its index in the document, and its
        source document; None if there is none."""
        if self.statement.native is None:
            return None
        documents = config.document.source.connections
        number = [document.alias for document in documents].index(self.statement.native)
        own = documents[number]
        query = QueryDocument(name=self.name, query=native_text(self.statement, None))
        asked = own.model_copy(update={"tables": [], "queries": [query]})
        return number, asked

    def source(self, zero_dates: str) -> QuerySource:
        """Build the source that runs it over several sources. Nothing is connected yet."""
        return QuerySource(self.name, self.statement, self.places, self.path, zero_dates)


def entries(config: StreamConfig, resolvers: Mapping[str, Resolver]) -> list[QueryEntry]:
    """Parse the statements of a document. Raises `QueryRefused` that names one by its path."""
    queries = config.document.source.queries
    if not queries:
        return []
    places = _places(config, resolvers)
    parsed = []
    for number, one in enumerate(queries):
        path = f"{QUERIES}[{number}].query"
        with at_path(path):
            parsed.append(QueryEntry(one.name, path, read_statement(one.query, places), places))
    return parsed


def refuse_unfit(config: StreamConfig) -> None:
    """Raise `ConfigError` or `QueryRefused`, by path, for statements that cannot run. Connects to
    nothing."""
    source = config.document.source
    if not source.queries:
        return
    if config.document.mode == "cdc":
        raise ConfigError(
            f"{QUERIES}: a cdc reads whole tables.",
            path=QUERIES,
            remedy="Leave them out, or use mode convert.",
        )
    for number, connection in enumerate(source.connections):
        if connection.alias is None:
            path = f"$.source.connections[{number}].alias"
            raise ConfigError(
                f"{path}: the statements of source.queries need it to name tables.",
                path=path,
                remedy="Give the connection an alias: a letter, then letters, digits and _.",
            )
    joined = [one for one in entries(config, {}) if one.native(config) is None]
    if joined and config.options.zero_dates == "text":
        raise ConfigError(
            "$.options.zeroDates: text is not available for statements over several sources, "
            "which join dates as dates.",
            path="$.options.zeroDates",
            remedy="Choose null or error, or leave it out.",
        )


def _places(config: StreamConfig, resolvers: Mapping[str, Resolver]) -> QueryConnections:
    documents = {str(one.alias): one for one in config.document.source.connections}
    connections = {
        alias: _narrowed(connection, document)
        for (alias, document), connection in zip(documents.items(), config.sources, strict=True)
    }
    return QueryConnections(tuple(connections), connections.__getitem__, resolvers, documents)


def _narrowed(connection: Connection, document: SourceConnection) -> Connection:
    """Return the connection with the database, schema or folder that the document sets."""
    if isinstance(connection, DatabaseConnection):
        return replace(
            connection,
            database=document.database or connection.database,
            schema=document.schema_ or connection.schema,
        )
    if isinstance(connection, FilesConnection) and document.files and document.files.base_path:
        return replace(connection, base_path=document.files.base_path)
    if isinstance(connection, S3Connection) and document.s3 and document.s3.bucket:
        return replace(connection, bucket=document.s3.bucket)
    return connection
