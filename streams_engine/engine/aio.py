"""`AsyncEngine`: the same engine for asyncio. A thin face: the work runs on threads.

Every operation is written out, for type checkers and editors; a test compares the signatures with
those of `Engine`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from streams_engine.config.secret import References, Resolver
from streams_engine.display import html_block
from streams_engine.engine.configs import Configs
from streams_engine.engine.connections import Connections
from streams_engine.engine.core import LOGS, Engine
from streams_engine.engine.files import Files
from streams_engine.engine.lists import Conditions, DataPage, FilePage, Page
from streams_engine.engine.rows import Row, Rows
from streams_engine.engine.streams import Streams
from streams_engine.lifecycle import State
from streams_engine.pipeline.snapshot.plan import Plan
from streams_engine.query.editor import Sources, SqlHelp
from streams_engine.query.result import QueryResult
from streams_engine.stream import Stream, VerifyMode, VerifyProgress
from streams_engine.verify.report import VerifyReport
from streams_engine.waits import awaited

__all__ = [
    "AsyncConfigs",
    "AsyncConnections",
    "AsyncEngine",
    "AsyncFiles",
    "AsyncRows",
    "AsyncSqlHelp",
    "AsyncStreams",
]

Document = dict[str, Any]
Documents = list[Document]
Names = list[str]


class AsyncConnections:
    """The operations of `Connections`, each awaited."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    async def create(self, document: Mapping[str, Any]) -> Document:
        """Store a connection; return its document, with ``id`` and ``created`` (Unix seconds)."""
        return await asyncio.to_thread(self._connections.create, document)

    async def list(
        self,
        *,
        limit: int | None = None,
        offset: int = 0,
        filters: Conditions = (),
        sort: Conditions = (),
    ) -> Page:
        """Return ``{"items", "total", "limit", "offset"}``, in the order of creation by default."""
        return await asyncio.to_thread(
            self._connections.list, limit=limit, offset=offset, filters=filters, sort=sort
        )

    async def delete_all(self, *, confirm: bool = False) -> int:
        """Delete all connections; return how many."""
        return await asyncio.to_thread(self._connections.delete_all, confirm=confirm)

    def all(self) -> AsyncIterator[Document]:
        """Iterate over all connections, in the order of creation. With ``async for``."""
        return _iterated(self._connections.all())

    async def get(self, connection: str) -> Document:
        """Return a connection by its id or name."""
        return await asyncio.to_thread(self._connections.get, connection)

    async def update(self, connection: str, document: Mapping[str, Any]) -> Document:
        """Replace a whole document; ``id`` and ``created`` stay."""
        return await asyncio.to_thread(self._connections.update, connection, document)

    async def delete(self, connection: str) -> None:
        """Delete a connection."""
        await asyncio.to_thread(self._connections.delete, connection)

    async def clone(self, connection: str) -> Document:
        """Store a copy, with its secrets, under a new id and a free name."""
        return await asyncio.to_thread(self._connections.clone, connection)

    async def ping(self, connection: str | Mapping[str, Any]) -> Document:
        """Return ``{"ping": "ok"}``, or ``{"ping": "failed", "error": ...}`` with code and
        remedy."""
        return await asyncio.to_thread(self._connections.ping, connection)

    async def databases(self, connection: str) -> Documents:
        """Return ``[{"name"}]``; on PostgreSQL each entry has ``"schemas"``."""
        return await asyncio.to_thread(self._connections.databases, connection)

    async def create_database(self, connection: str, name: str) -> Document:
        """Create a database on the server; return ``{"name"}``."""
        return await asyncio.to_thread(self._connections.create_database, connection, name)

    async def create_schema(
        self, connection: str, name: str, database: str | None = None
    ) -> Document:
        """Create a schema (PostgreSQL) in a database; return ``{"name"}``."""
        return await asyncio.to_thread(self._connections.create_schema, connection, name, database)

    async def tables(
        self, connection: str, database: str | None = None, schema: str | None = None
    ) -> Names:
        """Return the names of the tables."""
        return await asyncio.to_thread(self._connections.tables, connection, database, schema)

    async def views(
        self, connection: str, database: str | None = None, schema: str | None = None
    ) -> Names:
        """Return the names of the views, in the form of `tables`."""
        return await asyncio.to_thread(self._connections.views, connection, database, schema)

    async def describe(self, connection: str, table: str, database: str | None = None) -> Document:
        """Return a table's columns, keys, indexes, foreign keys, and the DDL that creates it."""
        return await asyncio.to_thread(self._connections.describe, connection, table, database)

    async def readiness(
        self, connection: str, tables: Names | None = None, database: str | None = None
    ) -> Documents:
        """Return what prevents following the log of these tables (or all), each with the statement
        that repairs it."""
        return await asyncio.to_thread(self._connections.readiness, connection, tables, database)

    async def sequences(
        self, connection: str, database: str | None = None, schema: str | None = None
    ) -> Documents:
        """Return the sequences: ``name``, ``schema``, ``type``, ``start``, ``increment``, ``min``,
        ``max``, ``cycle``, ``lastValue`` and ``ownedBy`` (``schema.table.column``, or None)."""
        return await asyncio.to_thread(self._connections.sequences, connection, database, schema)

    async def triggers(
        self, connection: str, database: str | None = None, schema: str | None = None
    ) -> Documents:
        """Return the triggers: ``name``, ``schema``, ``table``, ``timing``, ``events``, ``enabled``
        and ``definition``."""
        return await asyncio.to_thread(self._connections.triggers, connection, database, schema)

    async def routines(
        self, connection: str, database: str | None = None, schema: str | None = None
    ) -> Documents:
        """Return functions and procedures: ``name``, ``schema``, ``kind``, ``language``,
        ``arguments``, ``returns`` and ``definition`` (None for what the account may not see)."""
        return await asyncio.to_thread(self._connections.routines, connection, database, schema)

    async def overview(
        self, connection: str, database: str | None = None, schema: str | None = None
    ) -> Document:
        """Return ``type``, ``version``, ``database``, ``encoding``, ``bytes``, and how many
        ``schemas``, ``tables``, ``views``, ``sequences``, ``triggers`` and ``routines`` there
        are."""
        return await asyncio.to_thread(self._connections.overview, connection, database, schema)

    async def sizes(
        self, connection: str, database: str | None = None, schema: str | None = None
    ) -> Documents:
        """Return the sizes of tables, the largest first: ``name``, ``schema``, ``rows`` (an
        estimate), ``bytes``, ``dataBytes`` and ``indexBytes``."""
        return await asyncio.to_thread(self._connections.sizes, connection, database, schema)

    async def column_summary(
        self, connection: str, table: str, columns: Sequence[str] = (), database: str | None = None
    ) -> Documents:
        """Return what columns hold (or all): ``name``, ``type``, ``rows``, ``nulls``, ``distinct``,
        ``min`` and ``max``, as plain Python values."""
        return await asyncio.to_thread(
            self._connections.column_summary, connection, table, columns, database
        )


class AsyncConfigs:
    """The operations of `Configs`, each awaited."""

    def __init__(self, configs: Configs) -> None:
        self._configs = configs

    async def create(self, document: Mapping[str, Any]) -> Document:
        """Store a config of either generation; return the nested document with ``id``, ``created``
        and its name: the given one, ``_`` and the last five characters of the id."""
        return await asyncio.to_thread(self._configs.create, document)

    async def list(
        self,
        search: str | None = None,
        limit: int | None = None,
        offset: int = 0,
        filters: Conditions = (),
        sort: Conditions = (),
    ) -> Page:
        """Return ``{"items", "total", "limit", "offset"}``, in the order of creation by default."""
        return await asyncio.to_thread(self._configs.list, search, limit, offset, filters, sort)

    def all(self) -> AsyncIterator[Document]:
        """Iterate over all stream configs, in the order of creation. With ``async for``."""
        return _iterated(self._configs.all())

    async def get(self, config: str) -> Document:
        """Return a config by its id or name."""
        return await asyncio.to_thread(self._configs.get, config)

    async def update(self, config: str, document: Mapping[str, Any]) -> Document:
        """Replace a whole document; id, created, connections and target connection stay."""
        return await asyncio.to_thread(self._configs.update, config, document)

    async def clone(self, config: str) -> Document:
        """Store a copy under a new id and a name with a suffix."""
        return await asyncio.to_thread(self._configs.clone, config)

    async def delete(self, config: str) -> None:
        """Delete a config and the history of its runs."""
        await asyncio.to_thread(self._configs.delete, config)

    async def delete_all(self, *, confirm: bool = False) -> int:
        """Delete all configs; return how many."""
        return await asyncio.to_thread(self._configs.delete_all, confirm=confirm)


class AsyncStreams:
    """The operations of `Streams`, each awaited."""

    def __init__(self, streams: Streams) -> None:
        self._streams = streams

    async def start(self, config: str, *, fresh: bool = False) -> str:
        """Begin a run of a stream config in this process, and return the stream's id."""
        return await asyncio.to_thread(self._streams.start, config, fresh=fresh)

    async def plan(self, config: str) -> Plan:
        """Plan a run of a config; the target is not touched."""
        return await asyncio.to_thread(self._streams.plan, config)

    async def verify(
        self,
        config: str,
        tables: Sequence[str] | None = None,
        mode: VerifyMode = "full",
        sample: float | None = None,
        live: bool | None = None,
        repair: bool = False,
        resume: bool = True,
        *,
        structure: bool = True,
        on_progress: VerifyProgress | None = None,
    ) -> VerifyReport:
        """Compare a config's source and target row by row."""
        return await awaited(
            self._streams.verify,
            config,
            tables,
            mode,
            sample,
            live,
            repair,
            resume,
            structure=structure,
            on_progress=on_progress,
        )

    async def release(self, config: str) -> tuple[str, ...]:
        """Drop what a cdc created on its source, and its checkpoint; return what was there, in
        words. Waits for the end of a run that was asked to stop."""
        return await asyncio.to_thread(self._streams.release, config)

    async def pause(self, stream: str) -> None:
        """Pause once the bundle in progress is committed."""
        await asyncio.to_thread(self._streams.pause, stream)

    async def resume(self, stream: str) -> None:
        """Continue from PAUSED."""
        await asyncio.to_thread(self._streams.resume, stream)

    async def stop(self, stream: str, *, force: bool = False) -> None:
        """Stop after the current bundle is committed; ``force`` abandons it."""
        await asyncio.to_thread(self._streams.stop, stream, force=force)

    async def wait(self, stream: str, *states: State, timeout: float | None = None) -> State:
        """Wait until one of ``states`` or a final state is reached and recorded."""
        return await awaited(self._streams.wait, stream, *states, timeout=timeout)

    async def catch_up(self, stream: str, timeout: float | None = None) -> bool:
        """Wait until all that is committed on the source of a cdc is durable on the target."""
        return await awaited(self._streams.catch_up, stream, timeout)

    async def open(self, stream: str) -> Stream:
        """Return the `Stream` of a run that this process started, for `catch_up`, `verify` and
        callbacks."""
        return await asyncio.to_thread(self._streams.open, stream)

    async def stats(self, stream: str) -> Document:
        """Return the stats document; for a run of another process, that of its last report."""
        return await asyncio.to_thread(self._streams.stats, stream)

    async def get(self, stream: str) -> Document:
        """Return one run: id, configID, name, status, times (RFC 3339), rows, quarantined, bytes,
        error."""
        return await asyncio.to_thread(self._streams.get, stream)

    async def list(
        self,
        *,
        limit: int | None = None,
        offset: int = 0,
        filters: Conditions = (),
        sort: Conditions = (),
    ) -> Page:
        """Return the runs of all configs: ``{"items", "total", "limit", "offset"}``, by default
        newest first."""
        return await asyncio.to_thread(
            self._streams.list, limit=limit, offset=offset, filters=filters, sort=sort
        )

    async def history(
        self,
        config: str,
        *,
        limit: int | None = None,
        offset: int = 0,
        filters: Conditions = (),
        sort: Conditions = (),
    ) -> Page:
        """Return the runs of a config, as `list` does."""
        return await asyncio.to_thread(
            self._streams.history, config, limit=limit, offset=offset, filters=filters, sort=sort
        )

    async def delete_all(self, *, confirm: bool = False) -> int:
        """Delete the history: all runs with their logs; return how many."""
        return await asyncio.to_thread(self._streams.delete_all, confirm=confirm)

    async def delete_all_logs(self, *, confirm: bool = False) -> int:
        """Delete the log records of all runs; return how many."""
        return await asyncio.to_thread(self._streams.delete_all_logs, confirm=confirm)

    async def health(self, stream: str) -> Document:
        """Return how a stream does: ``{"status", "lagSeconds", "retainedBytes", "unmatched",
        "quarantined", "since", "findings"}``; for a run of another process, by its last report."""
        return await asyncio.to_thread(self._streams.health, stream)

    async def logs(
        self,
        stream: str,
        *,
        level: str | None = None,
        table: str | None = None,
        category: str | None = None,
        limit: int | None = None,
        offset: int = 0,
        filters: Conditions = (),
        sort: Conditions = (),
    ) -> Page:
        """Return the events of a run, by default in their order: ``{"items", "total", "limit",
        "offset"}``, each with time, level, category, stream, event, message, table, details."""
        return await asyncio.to_thread(
            self._streams.logs,
            stream,
            level=level,
            table=table,
            category=category,
            limit=limit,
            offset=offset,
            filters=filters,
            sort=sort,
        )

    def all(self) -> AsyncIterator[Document]:
        """Iterate over the runs of all configs, newest first. With ``async for``."""
        return _iterated(self._streams.all())

    def follow_logs(
        self,
        stream: str,
        *,
        level: str | None = None,
        table: str | None = None,
        category: str | None = None,
    ) -> AsyncIterator[Document]:
        """Yield log records as they are written, until the run has ended. With ``async for``."""
        return _iterated(
            self._streams.follow_logs(stream, level=level, table=table, category=category)
        )


class AsyncFiles:
    """The operations of `Files`, each awaited."""

    def __init__(self, files: Files) -> None:
        self._files = files

    async def list(
        self,
        connection: str,
        path: str = "",
        *,
        limit: int | None = 100,
        offset: int = 0,
        filters: Conditions = (),
        sort: Conditions = (),
        recursive: bool = False,
        total: bool = True,
    ) -> FilePage:
        """Return what a folder contains: ``{"items", "total", "limit", "offset"}``."""
        return await asyncio.to_thread(
            self._files.list,
            connection,
            path,
            limit=limit,
            offset=offset,
            filters=filters,
            sort=sort,
            recursive=recursive,
            total=total,
        )

    async def meta(self, connection: str, path: str) -> Document:
        """Return one file or folder: what `list` tells, and more."""
        return await asyncio.to_thread(self._files.meta, connection, path)

    async def sniff(self, connection: str, path: str) -> Document:
        """Return what a file's first bytes and rows tell, whatever its name says."""
        return await asyncio.to_thread(self._files.sniff, connection, path)

    async def read(
        self,
        connection: str,
        path: str,
        *,
        limit: int | None = 100,
        offset: int = 0,
        columns: Sequence[str] = (),
        filters: Conditions = (),
        sort: Conditions = (),
    ) -> pa.Table:
        """Return rows of a data file, or of a folder of parts, as an Arrow table."""
        return await asyncio.to_thread(
            self._files.read,
            connection,
            path,
            limit=limit,
            offset=offset,
            columns=columns,
            filters=filters,
            sort=sort,
        )

    async def upload(self, connection: str, local: str | Path, path: str) -> Document:
        """Copy a file of this machine to the store; return its document, with ``replaced``."""
        return await asyncio.to_thread(self._files.upload, connection, local, path)

    async def download(self, connection: str, path: str, local: str | Path) -> Document:
        """Copy a file of the store to this machine; return its document."""
        return await asyncio.to_thread(self._files.download, connection, path, local)

    async def delete(self, connection: str, path: str, *, confirm: bool = False) -> int:
        """Delete a file, or a folder with all that is below it; return how many files."""
        return await asyncio.to_thread(self._files.delete, connection, path, confirm=confirm)

    async def buckets(self, connection: str) -> Documents:
        """Return ``[{"name", "created"}]``: all buckets of the account, or the connection's own."""
        return await asyncio.to_thread(self._files.buckets, connection)

    async def create_bucket(self, connection: str, name: str) -> Document:
        """Create a bucket; return ``{"name"}``."""
        return await asyncio.to_thread(self._files.create_bucket, connection, name)

    async def manifest(self, connection: str, path: str) -> Document:
        """Return the manifest of a table's folder that a stream wrote: columns, parts, rows."""
        return await asyncio.to_thread(self._files.manifest, connection, path)

    def all(
        self, connection: str, path: str = "", *, recursive: bool = False
    ) -> AsyncIterator[Document]:
        """Iterate over what a folder contains, as the store lists it. With ``async for``."""
        return _iterated(self._files.all(connection, path, recursive=recursive))


class AsyncRows:
    """The operations of `Rows`, each awaited."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows

    async def insert(
        self, connection: str, table: str, rows: Row | Sequence[Row], database: str | None = None
    ) -> dict[str, Any]:
        """Insert a row or several, all or none; columns left out get their defaults."""
        return await asyncio.to_thread(self._rows.insert, connection, table, rows, database)

    async def update(
        self, connection: str, table: str, key: Row, values: Row, database: str | None = None
    ) -> dict[str, Any]:
        """Update the one row that has a key; return ``{"affectedRows": 1}``."""
        return await asyncio.to_thread(self._rows.update, connection, table, key, values, database)

    async def delete(
        self, connection: str, table: str, key: Row, database: str | None = None
    ) -> dict[str, Any]:
        """Delete the one row that has a key; return ``{"affectedRows": 1}``."""
        return await asyncio.to_thread(self._rows.delete, connection, table, key, database)


class AsyncSqlHelp:
    """The operations of `SqlHelp`, each awaited."""

    def __init__(self, sql: SqlHelp) -> None:
        self._sql = sql

    async def diagnose(self, sql: str, connection: Sources = None) -> list[dict[str, Any]]:
        """Diagnose a query: return ``{severity, message, suggestion, line, column, start, end}`` of
        each error, in the order of the text; an empty list if there is none."""
        return await asyncio.to_thread(self._sql.diagnose, sql, connection)

    async def complete(
        self, sql: str, offset: int, connection: Sources = None
    ) -> list[dict[str, str | None]]:
        """Complete the text at an offset: ``{text, kind, detail}``."""
        return await asyncio.to_thread(self._sql.complete, sql, offset, connection)

    async def hover(
        self, sql: str, offset: int, connection: Sources = None
    ) -> dict[str, Any] | None:
        """Say what the name at an offset is: ``{kind, name, text, start, end}``, or None."""
        return await asyncio.to_thread(self._sql.hover, sql, offset, connection)

    async def signature(
        self, sql: str, offset: int, connection: Sources = None
    ) -> dict[str, Any] | None:
        """Say which arguments the function around an offset takes: ``{label, name, parameters,
        active}``, or None; ``active`` is the index of the parameter at the offset."""
        return await asyncio.to_thread(self._sql.signature, sql, offset, connection)

    async def definition(
        self, sql: str, offset: int, connection: Sources = None
    ) -> dict[str, Any] | None:
        """Say where the name at an offset comes from: ``{kind, name, start, end, connection, table,
        ddl}``, or None."""
        return await asyncio.to_thread(self._sql.definition, sql, offset, connection)

    async def refresh(self, connection: str | None = None) -> None:
        """Read a connection's tables anew at the next call; None: of all connections."""
        await asyncio.to_thread(self._sql.refresh, connection)

    async def format(self, sql: str, dialect: str = "postgresql") -> str:
        """Format statements: one clause per line, keywords in capitals."""
        return await asyncio.to_thread(self._sql.format, sql, dialect)

    async def transpile(self, sql: str, source: str, target: str) -> str:
        """Translate statements to another dialect: ``mysql``, ``mariadb``, ``postgresql``,
        ``duckdb``."""
        return await asyncio.to_thread(self._sql.transpile, sql, source, target)


class AsyncEngine:
    """An `Engine` whose operations are awaited: ``await engine.connections.ping(id)``.

    ``connections``, ``configs``, ``streams``, ``files``, ``rows`` and ``sql`` have the methods of
    `Engine`'s, each awaited; ``async for record in engine.streams.follow_logs(id)`` follows a log.
    """

    def __init__(
        self,
        path: str | Path | None = None,
        *,
        resolvers: Mapping[str, Resolver] | None = None,
        references: References = "none",
        allow_concurrent: bool = False,
        telemetry: bool = False,
        log_max_age: float | None = LOGS.seconds,
        log_max_bytes: int | None = LOGS.bytes,
    ) -> None:
        """Create an `Engine`; does not connect to any server."""
        self._engine = Engine(
            path,
            resolvers=resolvers,
            references=references,
            allow_concurrent=allow_concurrent,
            telemetry=telemetry,
            log_max_age=log_max_age,
            log_max_bytes=log_max_bytes,
        )
        self.connections = AsyncConnections(self._engine.connections)
        self.configs = AsyncConfigs(self._engine.configs)
        self.streams = AsyncStreams(self._engine.streams)
        self.files = AsyncFiles(self._engine.files)
        self.rows = AsyncRows(self._engine.rows)
        self.sql = AsyncSqlHelp(self._engine.sql)

    def __repr__(self) -> str:
        return f"<Async{repr(self._engine)[1:]}"

    def _repr_html_(self) -> str:
        engine = self._engine
        parts = (engine.connections, engine.configs, engine.streams)
        return html_block(repr(self), *(part._repr_html_() for part in parts))

    async def data(
        self,
        connection: str,
        table: str,
        *,
        columns: Sequence[str] = (),
        filters: Conditions = (),
        sort: Conditions = (),
        limit: int | None = 100,
        offset: int = 0,
        texts: Sequence[str] = (),
        database: str | None = None,
        total: bool = True,
    ) -> DataPage:
        """Return rows of a table, a view or a file: ``{"items", "total", "limit", "offset"}``."""
        return await asyncio.to_thread(
            self._engine.data,
            connection,
            table,
            columns=columns,
            filters=filters,
            sort=sort,
            limit=limit,
            offset=offset,
            texts=texts,
            database=database,
            total=total,
        )

    async def count(
        self,
        connection: str,
        table: str,
        *,
        filters: Conditions = (),
        database: str | None = None,
    ) -> int:
        """Return how many rows of a table, a view or a file pass the filters; the server counts
        them."""
        return await asyncio.to_thread(
            self._engine.count, connection, table, filters=filters, database=database
        )

    async def query(
        self,
        sql: str,
        connections: Mapping[str, str] | None = None,
        *,
        limit: int | None = None,
        offset: int = 0,
        filters: Conditions = (),
        sort: Conditions = (),
        timeout: float | None = None,
    ) -> QueryResult:
        """Run one SELECT over one source or several; its rows come as they are read."""
        return await asyncio.to_thread(
            self._engine.query,
            sql,
            connections,
            limit=limit,
            offset=offset,
            filters=filters,
            sort=sort,
            timeout=timeout,
        )

    async def execute(
        self,
        connection: str,
        sql: str,
        *,
        confirm: bool = False,
        limit: int | None = None,
        database: str | None = None,
    ) -> dict[str, Any]:
        """Run a statement, or several, in the SQL of a connection's server."""
        return await asyncio.to_thread(
            self._engine.execute, connection, sql, confirm=confirm, limit=limit, database=database
        )

    async def columns(
        self, sql: str, connection: str, database: str | None = None
    ) -> list[dict[str, Any]]:
        """Return ``{"name", "type"}`` of the columns that a statement would give, without running
        it: the server prepares and describes it."""
        return await asyncio.to_thread(self._engine.columns, sql, connection, database)

    async def explain(
        self, sql: str, connections: Mapping[str, str] | None = None, *, limit: int | None = None
    ) -> dict[str, Any]:
        """Explain what `query` would ask each source: ``{statement, sources, findings}``."""
        return await asyncio.to_thread(self._engine.explain, sql, connections, limit=limit)

    async def logs(
        self,
        *,
        level: str | None = None,
        table: str | None = None,
        category: str | None = None,
        limit: int | None = None,
        offset: int = 0,
        filters: Conditions = (),
        sort: Conditions = (),
    ) -> Page:
        """Return the log records of all streams, as `Streams.logs` does of one; ``stream`` of each
        is the stream's id."""
        return await asyncio.to_thread(
            self._engine.logs,
            level=level,
            table=table,
            category=category,
            limit=limit,
            offset=offset,
            filters=filters,
            sort=sort,
        )

    async def health(self) -> dict[str, Any]:
        """Return ``{"status", "streams"}``: the health of each config's newest run by its id, as
        `Streams.health` does of one, and the worst status of them."""
        return await asyncio.to_thread(self._engine.health)

    async def metrics(self) -> str:
        """Return the metrics of each config's newest run in Prometheus' text format."""
        return await asyncio.to_thread(self._engine.metrics)

    async def close(self) -> None:
        """Stop the runs of this process, wait for them, and close the file."""
        await asyncio.to_thread(self._engine.close)

    async def __aenter__(self) -> AsyncEngine:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


async def _iterated(items: Iterator[Document]) -> AsyncIterator[Document]:
    """Iterate in a thread, and close the iterator at the end."""
    while (item := await awaited(next, items, None)) is not None:
        yield item
