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
from streams_engine.queries.native import native_text
from streams_engine.queries.places import Places
from streams_engine.queries.source import QuerySource, at_path
from streams_engine.queries.statement import Statement, read_statement

__all__ = ["Entry", "entries", "refuse_unfit"]

QUERIES = "$.source.queries"


@dataclass(frozen=True, slots=True)
class Entry:
    """One statement of a stream's document."""

    name: str
    """The table that its result becomes."""
    path: str
    statement: Statement
    places: Places

    def native(self, config: StreamConfig) -> tuple[int, SourceConnection] | None:
        """The one server that answers it, by its place in the document, and what it is asked."""
        if self.statement.native is None:
            return None
        documents = config.document.source.connections
        number = [document.alias for document in documents].index(self.statement.native)
        own = documents[number]
        query = QueryDocument(name=self.name, query=native_text(self.statement, None))
        asked = own.model_copy(update={"tables": [], "queries": [query]})
        return number, asked

    def source(self, zero_dates: str) -> QuerySource:
        """What runs it over several sources. Nothing is connected yet."""
        return QuerySource(self.name, self.statement, self.places, self.path, zero_dates)


def entries(config: StreamConfig, resolvers: Mapping[str, Resolver]) -> list[Entry]:
    """The statements of a document, parsed. Raises `QueryRefused` naming one by its path."""
    queries = config.document.source.queries
    if not queries:
        return []
    places = _places(config, resolvers)
    found = []
    for number, one in enumerate(queries):
        path = f"{QUERIES}[{number}].query"
        with at_path(path):
            found.append(Entry(one.name, path, read_statement(one.query, places), places))
    return found


def refuse_unfit(config: StreamConfig) -> None:
    """Raises `ConfigError` or `QueryRefused` by path for what cannot run, without connecting."""
    source = config.document.source
    if not source.queries:
        return
    if config.document.mode == "cdc":
        raise ConfigError(
            f"{QUERIES}: a cdc follows whole tables.",
            path=QUERIES,
            remedy="Leave them out, or use mode convert.",
        )
    for number, connection in enumerate(source.connections):
        if connection.alias is None:
            path = f"$.source.connections[{number}].alias"
            raise ConfigError(
                f"{path}: the statements of source.queries name tables by it.",
                path=path,
                remedy="Give the connection an alias: a letter, then letters, digits and _.",
            )
    joined = [one for one in entries(config, {}) if one.native(config) is None]
    if joined and config.options.zero_dates == "text":
        raise ConfigError(
            "$.options.zeroDates: text is not for statements over several sources, where dates "
            "are joined as dates.",
            path="$.options.zeroDates",
            remedy="Choose null or error, or leave it out.",
        )


def _places(config: StreamConfig, resolvers: Mapping[str, Resolver]) -> Places:
    documents = {str(one.alias): one for one in config.document.source.connections}
    connections = {
        alias: _narrowed(connection, document)
        for (alias, document), connection in zip(documents.items(), config.sources, strict=True)
    }
    return Places(tuple(connections), connections.__getitem__, resolvers, documents)


def _narrowed(connection: Connection, document: SourceConnection) -> Connection:
    """The connection with what the document says in its place."""
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
