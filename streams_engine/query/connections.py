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
from streams_engine.contracts import Explorer, Source
from streams_engine.errors import QueryRefused

__all__ = ["Family", "QueryConnections", "folder_of"]

Family = Literal["mysql", "postgres", "files"]
"""Whose SQL a connection speaks, in sqlglot's words; files speak none."""


@dataclass(frozen=True)
class QueryConnections:
    """The connections that a statement may name. Each is opened at its first use. Thread-safe."""

    names: Collection[str]
    """The aliases."""
    parsed: Callable[[str], Connection]
    """The connection of an alias. Raises `ConfigError`, `NotFound`."""
    resolvers: Mapping[str, Resolver]
    documents: Mapping[str, SourceConnection] = field(default_factory=dict)
    """By alias, how a stream's document says that files are to be read."""

    def alias(self, name: str) -> str:
        """Return the alias as written, else the one that differs only in case.

        Raises `QueryRefused` if there is none.
        """
        if name in self.names:
            return name
        near = [known for known in self.names if known.lower() == name.lower()]
        if len(near) != 1:
            raise QueryRefused(
                f"'{name}' is not a connection of this query.",
                remedy="Name tables alias.schema.table; the aliases are: "
                f"{', '.join(sorted(self.names)) or 'none'}.",
            )
        return near[0]

    def family(self, alias: str) -> Family:
        """Return the dialect of its SQL. Raises `QueryRefused` for what holds no rows."""
        connection = self.parsed(alias)
        if isinstance(connection, DatabaseConnection):
            return "postgres" if connection.kind == "postgresql" else "mysql"
        if isinstance(connection, FilesConnection | S3Connection):
            return "files"
        raise QueryRefused(f"The connection '{alias}' contains nothing that a query could read.")

    def schema(self, alias: str) -> str | None:
        """Return the schema (PostgreSQL) or database (MySQL) of names without one."""
        connection = self.parsed(alias)
        if not isinstance(connection, DatabaseConnection):
            return None
        return connection.schema if connection.kind == "postgresql" else connection.database

    def folders(self) -> dict[str, Path]:
        """Return the local folders among the connections."""
        connections = {alias: self.parsed(alias) for alias in self.names}
        return {
            alias: folder_of(connection)
            for alias, connection in connections.items()
            if isinstance(connection, FilesConnection)
        }

    @contextmanager
    def opened(self, alias: str, document: SourceConnection | None = None) -> Iterator[Source]:
        """Open a source for reading its catalog and rows; it connects when it is used. Raises
        `ConfigError`."""
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
        """Combine the requested files with the file options of the stream's document."""
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
        """Open an explorer of a connection, which knows the views that no catalog contains."""
        with reachable(self.parsed(alias), self.resolvers) as connection:
            yield open_explorer(connection, SourceConnection(), self.resolvers)


def folder_of(connection: FilesConnection) -> Path:
    """Return the folder of a connection, with links resolved."""
    base = connection.base_path
    path = unquote(urlsplit(base).path) if base.startswith("file:") else base
    return Path(path).resolve()
