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
        """Run `Connections.create` in a thread."""
        return await asyncio.to_thread(self._connections.create, document)

    async def list(
        self,
        *,
        limit: int | None = None,
        offset: int = 0,
        filters: Conditions = (),
        sort: Conditions = (),
    ) -> Page:
        """Run `Connections.list` in a thread."""
        return await asyncio.to_thread(
            self._connections.list, limit=limit, offset=offset, filters=filters, sort=sort
        )

    async def delete_all(self, *, confirm: bool = False) -> int:
        """Run `Connections.delete_all` in a thread."""
        return await asyncio.to_thread(self._connections.delete_all, confirm=confirm)

    def all(self) -> AsyncIterator[Document]:
        """Iterate over `Connections.all` with ``async for``."""
        return _iterated(self._connections.all())

    async def get(self, connection: str) -> Document:
        """Run `Connections.get` in a thread."""
        return await asyncio.to_thread(self._connections.get, connection)

    async def update(self, connection: str, document: Mapping[str, Any]) -> Document:
        """Run `Connections.update` in a thread."""
        return await asyncio.to_thread(self._connections.update, connection, document)

    async def delete(self, connection: str) -> None:
        """Run `Connections.delete` in a thread."""
        await asyncio.to_thread(self._connections.delete, connection)

    async def clone(self, connection: str) -> Document:
        """Run `Connections.clone` in a thread."""
        return await asyncio.to_thread(self._connections.clone, connection)

    async def ping(self, connection: str | Mapping[str, Any]) -> Document:
        """Run `Connections.ping` in a thread."""
        return await asyncio.to_thread(self._connections.ping, connection)

    async def databases(self, connection: str) -> Documents:
        """Run `Connections.databases` in a thread."""
        return await asyncio.to_thread(self._connections.databases, connection)

    async def create_database(self, connection: str, name: str) -> Document:
        """Run `Connections.create_database` in a thread."""
        return await asyncio.to_thread(self._connections.create_database, connection, name)

    async def create_schema(
        self, connection: str, name: str, database: str | None = None
    ) -> Document:
        """Run `Connections.create_schema` in a thread."""
        return await asyncio.to_thread(self._connections.create_schema, connection, name, database)

    async def tables(
        self, connection: str, database: str | None = None, schema: str | None = None
    ) -> Names:
        """Run `Connections.tables` in a thread."""
        return await asyncio.to_thread(self._connections.tables, connection, database, schema)

    async def views(
        self, connection: str, database: str | None = None, schema: str | None = None
    ) -> Names:
        """Run `Connections.views` in a thread."""
        return await asyncio.to_thread(self._connections.views, connection, database, schema)

    async def describe(self, connection: str, table: str, database: str | None = None) -> Document:
        """Run `Connections.describe` in a thread."""
        return await asyncio.to_thread(self._connections.describe, connection, table, database)

    async def readiness(
        self, connection: str, tables: Names | None = None, database: str | None = None
    ) -> Documents:
        """Run `Connections.readiness` in a thread."""
        return await asyncio.to_thread(self._connections.readiness, connection, tables, database)

    async def sequences(
        self, connection: str, database: str | None = None, schema: str | None = None
    ) -> Documents:
        """Run `Connections.sequences` in a thread."""
        return await asyncio.to_thread(self._connections.sequences, connection, database, schema)

    async def triggers(
        self, connection: str, database: str | None = None, schema: str | None = None
    ) -> Documents:
        """Run `Connections.triggers` in a thread."""
        return await asyncio.to_thread(self._connections.triggers, connection, database, schema)

    async def routines(
        self, connection: str, database: str | None = None, schema: str | None = None
    ) -> Documents:
        """Run `Connections.routines` in a thread."""
        return await asyncio.to_thread(self._connections.routines, connection, database, schema)

    async def overview(
        self, connection: str, database: str | None = None, schema: str | None = None
    ) -> Document:
        """Run `Connections.overview` in a thread."""
        return await asyncio.to_thread(self._connections.overview, connection, database, schema)

    async def sizes(
        self, connection: str, database: str | None = None, schema: str | None = None
    ) -> Documents:
        """Run `Connections.sizes` in a thread."""
        return await asyncio.to_thread(self._connections.sizes, connection, database, schema)

    async def column_summary(
        self, connection: str, table: str, columns: Sequence[str] = (), database: str | None = None
    ) -> Documents:
        """Run `Connections.column_summary` in a thread."""
        return await asyncio.to_thread(
            self._connections.column_summary, connection, table, columns, database
        )


class AsyncConfigs:
    """The operations of `Configs`, each awaited."""

    def __init__(self, configs: Configs) -> None:
        self._configs = configs

    async def create(self, document: Mapping[str, Any]) -> Document:
        """Run `Configs.create` in a thread."""
        return await asyncio.to_thread(self._configs.create, document)

    async def list(
        self,
        search: str | None = None,
        limit: int | None = None,
        offset: int = 0,
        filters: Conditions = (),
        sort: Conditions = (),
    ) -> Page:
        """Run `Configs.list` in a thread."""
        return await asyncio.to_thread(self._configs.list, search, limit, offset, filters, sort)

    def all(self) -> AsyncIterator[Document]:
        """Iterate over `Configs.all` with ``async for``."""
        return _iterated(self._configs.all())

    async def get(self, config: str) -> Document:
        """Run `Configs.get` in a thread."""
        return await asyncio.to_thread(self._configs.get, config)

    async def update(self, config: str, document: Mapping[str, Any]) -> Document:
        """Run `Configs.update` in a thread."""
        return await asyncio.to_thread(self._configs.update, config, document)

    async def clone(self, config: str) -> Document:
        """Run `Configs.clone` in a thread."""
        return await asyncio.to_thread(self._configs.clone, config)

    async def delete(self, config: str) -> None:
        """Run `Configs.delete` in a thread."""
        await asyncio.to_thread(self._configs.delete, config)

    async def delete_all(self, *, confirm: bool = False) -> int:
        """Run `Configs.delete_all` in a thread."""
        return await asyncio.to_thread(self._configs.delete_all, confirm=confirm)


class AsyncStreams:
    """The operations of `Streams`, each awaited."""

    def __init__(self, streams: Streams) -> None:
        self._streams = streams

    async def start(self, config: str, *, fresh: bool = False) -> str:
        """Run `Streams.start` in a thread."""
        return await asyncio.to_thread(self._streams.start, config, fresh=fresh)

    async def plan(self, config: str) -> Plan:
        """Run `Streams.plan` in a thread."""
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
        on_progress: VerifyProgress | None = None,
    ) -> VerifyReport:
        """Run `Streams.verify` in a thread."""
        return await asyncio.to_thread(
            self._streams.verify,
            config,
            tables,
            mode,
            sample,
            live,
            repair,
            resume,
            on_progress=on_progress,
        )

    async def release(self, config: str) -> None:
        """Run `Streams.release` in a thread."""
        await asyncio.to_thread(self._streams.release, config)

    async def pause(self, stream: str) -> None:
        """Run `Streams.pause` in a thread."""
        await asyncio.to_thread(self._streams.pause, stream)

    async def resume(self, stream: str) -> None:
        """Run `Streams.resume` in a thread."""
        await asyncio.to_thread(self._streams.resume, stream)

    async def stop(self, stream: str, *, force: bool = False) -> None:
        """Run `Streams.stop` in a thread."""
        await asyncio.to_thread(self._streams.stop, stream, force=force)

    async def wait(self, stream: str, *states: State, timeout: float | None = None) -> State:
        """Run `Streams.wait` in a thread."""
        return await asyncio.to_thread(self._streams.wait, stream, *states, timeout=timeout)

    async def catch_up(self, stream: str, timeout: float | None = None) -> bool:
        """Run `Streams.catch_up` in a thread."""
        return await asyncio.to_thread(self._streams.catch_up, stream, timeout)

    async def open(self, stream: str) -> Stream:
        """Run `Streams.open` in a thread."""
        return await asyncio.to_thread(self._streams.open, stream)

    async def stats(self, stream: str) -> Document:
        """Run `Streams.stats` in a thread."""
        return await asyncio.to_thread(self._streams.stats, stream)

    async def get(self, stream: str) -> Document:
        """Run `Streams.get` in a thread."""
        return await asyncio.to_thread(self._streams.get, stream)

    async def list(
        self,
        *,
        limit: int | None = None,
        offset: int = 0,
        filters: Conditions = (),
        sort: Conditions = (),
    ) -> Page:
        """Run `Streams.list` in a thread."""
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
        """Run `Streams.history` in a thread."""
        return await asyncio.to_thread(
            self._streams.history, config, limit=limit, offset=offset, filters=filters, sort=sort
        )

    async def delete_all(self, *, confirm: bool = False) -> int:
        """Run `Streams.delete_all` in a thread."""
        return await asyncio.to_thread(self._streams.delete_all, confirm=confirm)

    async def delete_all_logs(self, *, confirm: bool = False) -> int:
        """Run `Streams.delete_all_logs` in a thread."""
        return await asyncio.to_thread(self._streams.delete_all_logs, confirm=confirm)

    async def health(self, stream: str) -> Document:
        """Run `Streams.health` in a thread."""
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
        """Run `Streams.logs` in a thread."""
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
        """Iterate over `Streams.all` with ``async for``."""
        return _iterated(self._streams.all())

    def follow_logs(
        self,
        stream: str,
        *,
        level: str | None = None,
        table: str | None = None,
        category: str | None = None,
    ) -> AsyncIterator[Document]:
        """Iterate over `Streams.follow_logs` with ``async for``."""
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
        """Run `Files.list` in a thread."""
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
        """Run `Files.meta` in a thread."""
        return await asyncio.to_thread(self._files.meta, connection, path)

    async def sniff(self, connection: str, path: str) -> Document:
        """Run `Files.sniff` in a thread."""
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
        """Run `Files.read` in a thread."""
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
        """Run `Files.upload` in a thread."""
        return await asyncio.to_thread(self._files.upload, connection, local, path)

    async def download(self, connection: str, path: str, local: str | Path) -> Document:
        """Run `Files.download` in a thread."""
        return await asyncio.to_thread(self._files.download, connection, path, local)

    async def delete(self, connection: str, path: str, *, confirm: bool = False) -> int:
        """Run `Files.delete` in a thread."""
        return await asyncio.to_thread(self._files.delete, connection, path, confirm=confirm)

    async def buckets(self, connection: str) -> Documents:
        """Run `Files.buckets` in a thread."""
        return await asyncio.to_thread(self._files.buckets, connection)

    async def create_bucket(self, connection: str, name: str) -> Document:
        """Run `Files.create_bucket` in a thread."""
        return await asyncio.to_thread(self._files.create_bucket, connection, name)

    async def manifest(self, connection: str, path: str) -> Document:
        """Run `Files.manifest` in a thread."""
        return await asyncio.to_thread(self._files.manifest, connection, path)

    def all(
        self, connection: str, path: str = "", *, recursive: bool = False
    ) -> AsyncIterator[Document]:
        """Iterate over `Files.all` with ``async for``."""
        return _iterated(self._files.all(connection, path, recursive=recursive))


class AsyncRows:
    """The operations of `Rows`, each awaited."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows

    async def insert(
        self, connection: str, table: str, rows: Row | Sequence[Row], database: str | None = None
    ) -> dict[str, Any]:
        """Run `Rows.insert` in a thread."""
        return await asyncio.to_thread(self._rows.insert, connection, table, rows, database)

    async def update(
        self, connection: str, table: str, key: Row, values: Row, database: str | None = None
    ) -> dict[str, Any]:
        """Run `Rows.update` in a thread."""
        return await asyncio.to_thread(self._rows.update, connection, table, key, values, database)

    async def delete(
        self, connection: str, table: str, key: Row, database: str | None = None
    ) -> dict[str, Any]:
        """Run `Rows.delete` in a thread."""
        return await asyncio.to_thread(self._rows.delete, connection, table, key, database)


class AsyncSqlHelp:
    """The operations of `SqlHelp`, each awaited."""

    def __init__(self, sql: SqlHelp) -> None:
        self._sql = sql

    async def diagnose(self, sql: str, connection: Sources = None) -> list[dict[str, Any]]:
        """Run `SqlHelp.diagnose` in a thread."""
        return await asyncio.to_thread(self._sql.diagnose, sql, connection)

    async def complete(
        self, sql: str, offset: int, connection: Sources = None
    ) -> list[dict[str, str | None]]:
        """Run `SqlHelp.complete` in a thread."""
        return await asyncio.to_thread(self._sql.complete, sql, offset, connection)

    async def hover(
        self, sql: str, offset: int, connection: Sources = None
    ) -> dict[str, Any] | None:
        """Run `SqlHelp.hover` in a thread."""
        return await asyncio.to_thread(self._sql.hover, sql, offset, connection)

    async def signature(
        self, sql: str, offset: int, connection: Sources = None
    ) -> dict[str, Any] | None:
        """Run `SqlHelp.signature` in a thread."""
        return await asyncio.to_thread(self._sql.signature, sql, offset, connection)

    async def definition(
        self, sql: str, offset: int, connection: Sources = None
    ) -> dict[str, Any] | None:
        """Run `SqlHelp.definition` in a thread."""
        return await asyncio.to_thread(self._sql.definition, sql, offset, connection)

    async def refresh(self, connection: str | None = None) -> None:
        """Run `SqlHelp.refresh` in a thread."""
        await asyncio.to_thread(self._sql.refresh, connection)

    async def format(self, sql: str, dialect: str = "postgresql") -> str:
        """Run `SqlHelp.format` in a thread."""
        return await asyncio.to_thread(self._sql.format, sql, dialect)

    async def transpile(self, sql: str, source: str, target: str) -> str:
        """Run `SqlHelp.transpile` in a thread."""
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
        """Run `Engine.data` in a thread."""
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
        """Run `Engine.count` in a thread."""
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
        """Run `Engine.query` in a thread."""
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
        """Run `Engine.execute` in a thread."""
        return await asyncio.to_thread(
            self._engine.execute, connection, sql, confirm=confirm, limit=limit, database=database
        )

    async def columns(
        self, sql: str, connection: str, database: str | None = None
    ) -> list[dict[str, Any]]:
        """Run `Engine.columns` in a thread."""
        return await asyncio.to_thread(self._engine.columns, sql, connection, database)

    async def explain(
        self, sql: str, connections: Mapping[str, str] | None = None, *, limit: int | None = None
    ) -> dict[str, Any]:
        """Run `Engine.explain` in a thread."""
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
        """Run `Engine.logs` in a thread."""
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
        """Run `Engine.health` in a thread."""
        return await asyncio.to_thread(self._engine.health)

    async def metrics(self) -> str:
        """Run `Engine.metrics` in a thread."""
        return await asyncio.to_thread(self._engine.metrics)

    async def close(self) -> None:
        """Run `Engine.close` in a thread."""
        await asyncio.to_thread(self._engine.close)

    async def __aenter__(self) -> AsyncEngine:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


async def _iterated(items: Iterator[Document]) -> AsyncIterator[Document]:
    """Iterate in a thread, and close the iterator at the end."""
    while (item := await asyncio.to_thread(next, items, None)) is not None:
        yield item
