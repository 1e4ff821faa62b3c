"""`Engine`: connections, stream configs and runs in one SQLite file, and a look at the data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from streams_engine.config.secret import References, Resolver, allowed
from streams_engine.engine.configs import Configs
from streams_engine.engine.connections import Connections
from streams_engine.engine.dialling import Dialler
from streams_engine.engine.looking import Looking
from streams_engine.engine.store import Store
from streams_engine.engine.streams import Streams
from streams_engine.queries.helping import SqlHelp
from streams_engine.queries.places import Places
from streams_engine.queries.result import QueryResult
from streams_engine.queries.running import Queries

__all__ = ["Engine"]


class Engine:
    """All that the REST API did with connections, stream configs and streams, as plain Python.

    ``connections``, `configs` and `streams` hold the operations, ``sql`` helps editors.
    Thread-safe. Several processes of one machine may have the same file open: each sees what the
    others store and run. Secrets are stored as they are given, in a file of mode 0600: prefer
    references, that a resolver of yours resolves, or ``env:NAME`` and ``file:PATH`` where
    ``references`` allows them.
    """

    connections: Connections
    configs: Configs
    streams: Streams
    sql: SqlHelp

    def __init__(
        self,
        path: str | Path | None = None,
        *,
        resolvers: Mapping[str, Resolver] | None = None,
        references: References = "none",
        allow_concurrent: bool = False,
        telemetry: bool = False,
    ) -> None:
        """Open the file, which is made where it is not there; None: in memory.

        ``resolvers`` turn schemes of references into secrets. ``references``: which of the schemes
        ``env`` and ``file`` are resolved too; by default none, for a document that somebody else
        wrote would read any variable and file of this machine. ``allow_concurrent``: a
        stream may start while another one is paused. ``telemetry``: its streams are counted and
        traced by OpenTelemetry, see `streams_engine.telemetry`. Runs whose process is gone are
        marked. Raises `ConfigError` where the file is none of an Engine's.
        """
        found = allowed(resolvers, references)
        self._store = Store(None if path is None else Path(path))
        dialler = Dialler(self._store, found)
        self.connections = Connections(self._store, dialler)
        self.configs = Configs(self._store, dialler)
        self.streams = Streams(
            self._store,
            self.configs,
            dialler,
            allow_concurrent=allow_concurrent,
            telemetry=telemetry,
        )
        self._looking = Looking(dialler)
        self._dialler = dialler
        self.sql = SqlHelp(Places((), dialler.parsed, found))

    def data(
        self,
        connection: str,
        table: str,
        *,
        columns: Sequence[str] = (),
        filters: Sequence[Mapping[str, Any]] = (),
        sort: Sequence[Mapping[str, Any]] = (),
        limit: int | None = 100,
        offset: int = 0,
        texts: Sequence[str] = (),
        database: str | None = None,
    ) -> pa.Table:
        """Rows of a table, a view or a file, in the exact Arrow types that Parquet gets.

        ``filters`` and ``sort`` are those of the stream document's selection. ``texts`` names
        columns that come as their server prints them. Raises `NotFound`, `ConfigError` by path,
        and `RowRejected` naming a column with a value that its Arrow type cannot hold.
        """
        look = self._looking.look(columns, filters, sort, limit, offset, texts)
        return self._looking.rows(connection, table, look, database)

    def count(
        self,
        connection: str,
        table: str,
        *,
        filters: Sequence[Mapping[str, Any]] = (),
        database: str | None = None,
    ) -> int:
        """How many rows of a table, a view or a file pass the filters, counted by its server."""
        look = self._looking.look((), filters, (), None, 0, ())
        return self._looking.count(connection, table, look, database)

    def query(
        self,
        sql: str,
        connections: Mapping[str, str] | None = None,
        *,
        limit: int | None = None,
        timeout: float | None = None,
    ) -> QueryResult:
        """Run one SELECT over one source or several; its rows come as they are read.

        ``connections``: by the alias that the statement uses, the id or name of a stored
        connection; None: all of them, by their names. Tables are named ``alias.schema.table``
        (PostgreSQL), ``alias.database.table`` (MySQL, MariaDB) or ``alias.table``, files
        ``read_parquet('alias://path')``. ``limit``: so many rows at most; ``timeout``: seconds
        until the last row is read. Raises `QueryRefused` for anything but a SELECT,
        `QueryTimeout`, `NotFound`, `ConnectionFailed` and its kin.
        """
        return Queries(self._places(connections)).query(sql, limit=limit, timeout=timeout)

    def explain(
        self,
        sql: str,
        connections: Mapping[str, str] | None = None,
        *,
        limit: int | None = None,
    ) -> dict[str, Any]:
        """What each source would be asked by `query`: ``{statement, sources, findings}``.

        The sources are asked for their catalogs alone. Raises as `query` does.
        """
        return Queries(self._places(connections)).explain(sql, limit=limit)

    def _places(self, connections: Mapping[str, str] | None) -> Places:
        chosen = connections
        if chosen is None:
            chosen = {one["name"]: one["id"] for one in self.connections.list()}
        named = dict(chosen)
        dialler = self._dialler
        return Places(tuple(named), lambda alias: dialler.parsed(named[alias]), dialler.resolvers)

    def close(self) -> None:
        """Stop the runs of this process, wait for them, and let go of the file. Idempotent."""
        self.streams.close()
        self._store.close()

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Engine {self._store.path or 'in memory'}>"
