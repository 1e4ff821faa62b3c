"""Stored connections as they are opened, secrets and all: for the engine's own parts."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from typing import Any

from streams_engine.adapters.registry import open_explorer, open_source
from streams_engine.adapters.ssh import reachable
from streams_engine.config.connection import Connection, DatabaseConnection, parse_connection
from streams_engine.config.documents import SourceConnection
from streams_engine.config.secret import Resolver
from streams_engine.engine.store import Store
from streams_engine.errors import NotFound
from streams_engine.exploring import Explorer
from streams_engine.protocols import Scope, Source

__all__ = ["Dialler", "entry", "named", "plain", "scope_of"]

Document = dict[str, Any]


class Dialler:
    """Opens what the documents lead to. Thread-safe."""

    def __init__(self, store: Store, resolvers: Mapping[str, Resolver]) -> None:
        self._store = store
        self.resolvers = resolvers

    def stored(self, connection: str) -> Document:
        """The document as it is stored, secrets and all, by id or name."""
        return named(self._store, "connections", "connection", connection)

    def known(self, references: Iterable[str]) -> dict[str, Document]:
        """The stored documents by what a config calls them; those that are not there left out."""
        found = {}
        for reference in references:
            with suppress(NotFound):  # the config's own check says so, with the path
                found[reference] = self.stored(reference)
        return found

    @contextmanager
    def explorer(
        self, connection: str | Mapping[str, Any], database: str | None = None
    ) -> Iterator[Explorer]:
        """A look at a connection."""
        document = SourceConnection(database=database)
        with reachable(self.parsed(connection), self.resolvers) as found:
            yield open_explorer(found, document, self.resolvers)

    @contextmanager
    def source(
        self, connection: str, database: str | None = None
    ) -> Iterator[tuple[Source, Scope]]:
        """A source for looks, and the scope of its own schema."""
        document = SourceConnection(database=database)
        with (
            reachable(self.parsed(connection), self.resolvers) as found,
            closing(open_source(found, document, self.resolvers, "$", looking=True)) as opened,
        ):
            yield opened, scope_of(found, database)

    def parsed(self, connection: str | Mapping[str, Any]) -> Connection:
        """A connection ready to be opened. Raises `ConfigError`."""
        if isinstance(connection, str) and "://" not in connection:
            return parse_connection(plain(self.stored(connection)))
        return parse_connection(connection)


def scope_of(connection: Connection, database: str | None) -> Scope:
    """The schema (MySQL: database) that a look at a connection is about; None: all of them."""
    if not isinstance(connection, DatabaseConnection):
        return Scope()
    if connection.kind == "postgresql":
        return Scope(connection.schema)
    return Scope(database or connection.database)


def named(store: Store, table: str, kind: str, reference: str) -> Document:
    """What is stored in a table under an id or a name; an id goes before a name. Raises
    `NotFound`."""
    row = store.row(
        f"SELECT * FROM {table} WHERE id = ? OR name = ? ORDER BY id = ? DESC", (reference,) * 3
    )
    if row is None:
        raise NotFound(
            f"There is no {kind} '{reference}'.",
            remedy=f"{table}.list() has them all.",
            reference=reference,
        )
    return entry(row)


def entry(row: Any) -> Document:
    """A stored row as the document that it is of."""
    found: Document = json.loads(row["document"])
    return {"id": row["id"], "created": row["created"]} | found


def plain(document: Document) -> Document:
    """A document without what the engine gave it."""
    return {key: value for key, value in document.items() if key not in ("id", "created")}
