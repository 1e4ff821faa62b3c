"""The connections that a statement may name, by alias."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urlsplit

from streams_engine.adapters.registry import open_explorer, open_source
from streams_engine.adapters.ssh import reachable
from streams_engine.config.connection import (
    Connection,
    DatabaseConnection,
    FilesConnection,
    S3Connection,
)
from streams_engine.config.documents import SourceConnection
from streams_engine.config.secret import Resolver
from streams_engine.errors import QueryRefused
from streams_engine.exploring import Explorer
from streams_engine.protocols import Source

__all__ = ["Family", "Places", "folder_of"]

Family = Literal["mysql", "postgres", "files"]
"""Whose SQL a connection speaks, in sqlglot's words; files speak none."""


@dataclass(frozen=True)
class Places:
    """What a statement may name. Nothing is connected before it is opened. Thread-safe."""

    names: Collection[str]
    """The aliases."""
    parsed: Callable[[str], Connection]
    """The connection of an alias. Raises `ConfigError`, `NotFound`."""
    resolvers: Mapping[str, Resolver]
    documents: Mapping[str, SourceConnection] = field(default_factory=dict)
    """By alias, how a stream's document says that files are to be read."""

    def alias(self, name: str) -> str:
        """The alias that is meant: as written, else the one that differs in case alone.

        Raises `QueryRefused`.
        """
        if name in self.names:
            return name
        near = [known for known in self.names if known.lower() == name.lower()]
        if len(near) != 1:
            raise QueryRefused(
                f"'{name}' is no connection of this query.",
                remedy="Name tables alias.schema.table; the aliases are: "
                f"{', '.join(sorted(self.names)) or 'none'}.",
            )
        return near[0]

    def family(self, alias: str) -> Family:
        """Whose SQL it speaks. Raises `QueryRefused` for what holds no rows."""
        connection = self.parsed(alias)
        if isinstance(connection, DatabaseConnection):
            return "postgres" if connection.kind == "postgresql" else "mysql"
        if isinstance(connection, FilesConnection | S3Connection):
            return "files"
        raise QueryRefused(f"The connection '{alias}' holds no rows that a query could read.")

    def schema(self, alias: str) -> str | None:
        """The schema (PostgreSQL) or database (MySQL) that bare names are of."""
        connection = self.parsed(alias)
        if not isinstance(connection, DatabaseConnection):
            return None
        return connection.schema if connection.kind == "postgresql" else connection.database

    def folders(self) -> dict[str, Path]:
        """The local folders among the connections."""
        found = {alias: self.parsed(alias) for alias in self.names}
        return {
            alias: folder_of(connection)
            for alias, connection in found.items()
            if isinstance(connection, FilesConnection)
        }

    @contextmanager
    def opened(self, alias: str, document: SourceConnection | None = None) -> Iterator[Source]:
        """A source to look at; nothing is connected yet. Raises `ConfigError`."""
        with (
            reachable(self.parsed(alias), self.resolvers) as connection,
            closing(
                open_source(
                    connection, self._chosen(alias, document), self.resolvers, "$", looking=True
                )
            ) as source,
        ):
            yield source

    def _chosen(self, alias: str, wanted: SourceConnection | None) -> SourceConnection:
        """The files that are wanted, read as the stream's document says."""
        own, wanted = self.documents.get(alias), wanted or SourceConnection()
        if own is None:
            return wanted
        files, s3 = own.files, own.s3
        if wanted.files is not None:
            paths = {"paths": wanted.files.paths}
            files = (files or wanted.files).model_copy(update=paths)
        if wanted.s3 is not None:
            prefixes = {"bucket": wanted.s3.bucket, "prefixes": wanted.s3.prefixes}
            s3 = (s3 or wanted.s3).model_copy(update=prefixes)
        return SourceConnection(files=files, s3=s3)

    @contextmanager
    def explored(self, alias: str) -> Iterator[Explorer]:
        """A look at a connection: its views, which are in no catalog."""
        with reachable(self.parsed(alias), self.resolvers) as connection:
            yield open_explorer(connection, SourceConnection(), self.resolvers)


def folder_of(connection: FilesConnection) -> Path:
    """The folder of a connection, links resolved."""
    base = connection.base_path
    path = unquote(urlsplit(base).path) if base.startswith("file:") else base
    return Path(path).resolve()
