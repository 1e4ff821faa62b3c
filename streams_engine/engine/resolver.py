"""Stored connections as they are opened, secrets and all: for the engine's own parts."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from typing import Any

from streams_engine.adapters.registry import (
    open_explorer,
    open_navigator,
    open_session,
    open_source,
)
from streams_engine.adapters.ssh import reachable
from streams_engine.config.connection import Connection, DatabaseConnection, parse_connection
from streams_engine.config.documents import SourceConnection
from streams_engine.config.secret import Resolver, Secret
from streams_engine.contracts import Explorer, Navigator, Scope, Source, StatementSession
from streams_engine.engine.store import EngineStore
from streams_engine.errors import NotFound
from streams_engine.model import TableSchema

__all__ = ["ADDED", "URL", "ConnectionResolver", "entry", "named", "plain", "scope_of"]

Document = dict[str, Any]

URL = "url"
"""The key of a stored connection that is a reference to a whole URL."""

ADDED = ("id", "created", "stream", "latestRun")
"""The keys that the engine adds to a document; they may be given back."""


class ConnectionResolver:
    """Opens the connections of stored documents. Thread-safe."""

    def __init__(self, store: EngineStore, resolvers: Mapping[str, Resolver]) -> None:
        self._store = store
        self.resolvers = resolvers

    def stored(self, connection: str) -> Document:
        """Return the stored document, with its secrets, by id or name."""
        return named(self._store, "connections", "connection", connection)

    def known(self, references: Iterable[str]) -> dict[str, Document | str]:
        """Return the stored documents, or the URLs that they refer to, by the name that a config
        uses, without those that do not exist."""
        documents: dict[str, Document | str] = {}
        for reference in references:
            with suppress(NotFound):  # the config's own check says so, with the path
                documents[reference] = self.opened(self.stored(reference))
        return documents

    def opened(self, document: Document) -> Document | str:
        """Return a stored document; of one that refers to a URL (``{"url": "env:NAME"}``) the URL.

        Raises `ConfigError` if the reference cannot be resolved.
        """
        if URL not in document:
            return document
        return Secret(document[URL]).reveal(self.resolvers)

    @contextmanager
    def explorer(
        self, connection: str | Mapping[str, Any], database: str | None = None
    ) -> Iterator[Explorer]:
        """Open an explorer of a connection."""
        document = SourceConnection(database=database)
        with reachable(self.parsed(connection), self.resolvers) as reached:
            yield open_explorer(reached, document, self.resolvers)

    @contextmanager
    def source(
        self, connection: str, database: str | None = None
    ) -> Iterator[tuple[Source, Scope]]:
        """Open a source for a preview, with the scope of its own schema."""
        document = SourceConnection(database=database)
        with (
            reachable(self.parsed(connection), self.resolvers) as reached,
            closing(open_source(reached, document, self.resolvers, "$", looking=True)) as opened,
        ):
            yield opened, scope_of(reached, database)

    @contextmanager
    def navigator(
        self, connection: str, database: str | None = None
    ) -> Iterator[tuple[Navigator, str | None]]:
        """Open a look around a connection, with the schema (MySQL: database) of its own."""
        parsed = self.parsed(connection)
        document = SourceConnection(database=database)
        with reachable(parsed, self.resolvers) as reached:
            own = scope_of(parsed, database).schema
            yield open_navigator(reached, document, self.resolvers), own

    @contextmanager
    def session(self, connection: str, database: str | None = None) -> Iterator[StatementSession]:
        """Open a connection for statements of its users. Raises `ConfigError` for files."""
        document = SourceConnection(database=database)
        with reachable(self.parsed(connection), self.resolvers) as reached:
            yield open_session(reached, document, self.resolvers)

    def table(self, connection: str, table: str, database: str | None = None) -> TableSchema:
        """Return the structure of a table. Raises `NotFound` that lists similar names."""
        with self.source(connection, database) as (source, scope):
            return source.catalog(Scope(scope.schema, (table,))).tables[0]

    def parsed(self, connection: str | Mapping[str, Any]) -> Connection:
        """Parse a connection so that it can be opened. Raises `ConfigError`."""
        if isinstance(connection, str) and "://" not in connection:
            opened = self.opened(self.stored(connection))
            return parse_connection(opened if isinstance(opened, str) else plain(opened))
        return parse_connection(connection)


def scope_of(connection: Connection, database: str | None) -> Scope:
    """Return the scope of a connection: its schema (MySQL: database); None stands for all."""
    if not isinstance(connection, DatabaseConnection):
        return Scope()
    if connection.kind == "postgresql":
        return Scope(connection.schema)
    return Scope(database or connection.database)


def named(store: EngineStore, table: str, kind: str, reference: str) -> Document:
    """Return the entry of a table by id or name; an id goes before a name. Raises `NotFound`."""
    row = store.row(
        f"SELECT * FROM {table} WHERE id = ? OR name = ? ORDER BY id = ? DESC", (reference,) * 3
    )
    if row is None:
        raise NotFound(
            f"There is no {kind} '{reference}'.",
            remedy=f"{table}.list() lists them all.",
            reference=reference,
        )
    return entry(row)


def entry(row: Any) -> Document:
    """Return the document of a stored row, with its id and time of creation."""
    document: Document = json.loads(row["document"])
    return {"id": row["id"], "created": row["created"]} | document


def plain(document: Document) -> Document:
    """Return the document without the keys that the engine adds."""
    return {key: value for key, value in document.items() if key not in ADDED}
