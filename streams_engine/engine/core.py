"""`Engine`: connections, stream configs and runs in one SQLite file, and previews of data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from streams_engine.config.secret import References, Resolver, allowed
from streams_engine.display import html_block
from streams_engine.engine.configs import Configs
from streams_engine.engine.connections import Connections
from streams_engine.engine.files import Files
from streams_engine.engine.lists import Conditions, DataPage, Page, list_request
from streams_engine.engine.preview import TablePreview, preview_request
from streams_engine.engine.process_lock import ProcessLock
from streams_engine.engine.resolver import ConnectionResolver
from streams_engine.engine.rows import Rows
from streams_engine.engine.runs import LogRetention, Runs
from streams_engine.engine.statements import Statements
from streams_engine.engine.store import EngineStore
from streams_engine.engine.streams import Streams
from streams_engine.errors import ConfigError
from streams_engine.query.connections import QueryConnections
from streams_engine.query.editor import SqlHelp
from streams_engine.query.queries import Queries
from streams_engine.query.result import QueryResult

__all__ = ["Engine"]


LOGS = LogRetention()


def _retention(age: float | None, size: int | None) -> LogRetention:
    """Return the retention of logs. Raises `ConfigError` for one that keeps nothing."""
    for name, value in (("log_max_age", age), ("log_max_bytes", size)):
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if value is not None and not (number and value > 0):
            raise ConfigError(
                f"{name}: expected a number above 0.", path=name, remedy="None: without limit."
            )
    return LogRetention(age, size)


class Engine:
    """Control plane with the operations of the REST API, in plain Python.

    ``connections``, ``configs``, ``streams``, ``files`` and ``rows`` have the operations, ``sql``
    helps editors.
    Thread-safe. Several processes of one machine may open the same file: each sees what the others
    store and run. Secrets are stored as given, in a file of mode 0600: prefer references that your
    own resolver resolves, or ``env:NAME`` and ``file:PATH`` if ``references`` allows them.
    """

    connections: Connections
    configs: Configs
    streams: Streams
    files: Files
    rows: Rows
    sql: SqlHelp

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
        """Open the file, creating it if it does not exist; None keeps everything in memory.

        ``resolvers`` turn schemes of references into secrets. ``references`` says which of the
        schemes ``env`` and ``file`` are resolved too; by default none, because a document that
        somebody else wrote could read any variable and file of this machine. ``allow_concurrent``:
        a stream may start while another one is paused. ``telemetry``: streams are counted and
        traced by OpenTelemetry, see `streams_engine.telemetry`. Runs whose process has ended are
        marked as failed. ``log_max_age`` and ``log_max_bytes``: log records that are older, in
        seconds, and the oldest beyond so many bytes are deleted; None: never. Raises `ConfigError`
        if the file is not an Engine's.
        """
        resolvers_allowed = allowed(resolvers, references)
        self._store = EngineStore(None if path is None else Path(path))
        resolver = ConnectionResolver(self._store, resolvers_allowed)
        self.connections = Connections(self._store, resolver)
        owner = ProcessLock(self._store.path)
        runs = Runs(self._store, owner.token, _retention(log_max_age, log_max_bytes))
        self.configs = Configs(self._store, resolver, runs)
        self.streams = Streams(
            self._store,
            self.configs,
            resolver,
            runs,
            owner,
            allow_concurrent=allow_concurrent,
            telemetry=telemetry,
        )
        self._preview = TablePreview(resolver)
        self._dialler = resolver
        self.files = Files(resolver)
        self.rows = Rows(resolver)
        self._statements = Statements(resolver)
        self.sql = SqlHelp(
            QueryConnections((), resolver.parsed, resolvers_allowed), self._connections_by_name
        )

    def data(
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
        """Return rows of a table, a view or a file: ``{"items", "total", "limit", "offset"}``.

        ``items`` is an Arrow table, in the same types as a Parquet target; ``filters`` and
        ``sort`` are those of the stream document's selection. ``texts`` names columns to return as
        texts that their server prints. The server counts the rows that pass the filters, unless
        the page shows how many there are; ``total=False`` does not have them counted. Raises
        `NotFound`, `ConfigError` by path, and `RowRejected` naming a column with a value that its
        Arrow type cannot hold.
        """
        asked = list_request(limit, offset, filters, sort)
        request = preview_request(asked, columns, texts)
        rows = self._preview.rows(connection, table, request, database)
        count: int | None = None
        if total and asked.ends_with(rows.num_rows):
            count = offset + rows.num_rows
        elif total:
            count = self._preview.count(connection, table, request, database)
        return {"items": rows, "total": count, "limit": limit, "offset": offset}

    def count(
        self,
        connection: str,
        table: str,
        *,
        filters: Conditions = (),
        database: str | None = None,
    ) -> int:
        """Return how many rows of a table, a view or a file pass the filters; the server counts
        them."""
        request = preview_request(list_request(None, 0, filters))
        return self._preview.count(connection, table, request, database)

    def query(
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
        """Run one SELECT over one source or several; its rows come as they are read.

        ``connections``: by the alias that the statement uses, the id or name of a stored
        connection; None: all of them, by their names. Tables are named ``alias.schema.table``
        (PostgreSQL), ``alias.database.table`` (MySQL, MariaDB) or ``alias.table``, files
        ``read_parquet('alias://path')``. ``filters`` and ``sort`` are those of `data`, of
        the columns of the result; ``limit``: so many rows at most, after the first ``offset``;
        ``timeout``: seconds until the last row is read. `QueryResult.page` gives the rows as a
        page. Raises `QueryRefused` for anything but a SELECT,
        `QueryTimeout`, `NotFound`, `ConnectionFailed` and its kin.
        """
        asked = list_request(limit, offset, filters, sort)
        return Queries(self._places(connections)).query(
            sql,
            limit=limit,
            offset=offset,
            timeout=timeout,
            filters=asked.filters,
            sorts=asked.sorts,
        )

    def execute(
        self,
        connection: str,
        sql: str,
        *,
        confirm: bool = False,
        limit: int | None = None,
        database: str | None = None,
    ) -> dict[str, Any]:
        """Run a statement, or several, in the SQL of a connection's server.

        Return ``{"columns", "rows", "affectedRows", "duration"}``: names, rows of plain Python
        values (of the last statement that gives any; ``limit``: so many at most), rows that were
        inserted, updated and deleted, seconds. What destroys data or structure by its parse, or
        cannot be parsed, needs ``confirm=True``. Raises `ConfigError`, `QueryFailed` with the
        server's sentence for names and syntax, and errors without values for the rest.
        """
        return self._statements.execute(
            connection, sql, confirm=confirm, limit=limit, database=database
        )

    def columns(
        self, sql: str, connection: str, database: str | None = None
    ) -> list[dict[str, Any]]:
        """Return ``{"name", "type"}`` of the columns that a statement would give, without running
        it: the server prepares and describes it. Raises as `execute` does."""
        return self._statements.columns(sql, connection, database)

    def explain(
        self,
        sql: str,
        connections: Mapping[str, str] | None = None,
        *,
        limit: int | None = None,
    ) -> dict[str, Any]:
        """Explain what `query` would ask each source: ``{statement, sources, findings}``.

        Only the sources' catalogs are read. Raises what `query` raises.
        """
        return Queries(self._places(connections)).explain(sql, limit=limit)

    def _connections_by_name(self) -> dict[str, str]:
        return {one["name"]: one["id"] for one in self.connections.all()}

    def _places(self, connections: Mapping[str, str] | None) -> QueryConnections:
        chosen = connections
        if chosen is None:
            chosen = self._connections_by_name()
        named = dict(chosen)
        resolver = self._dialler
        return QueryConnections(
            tuple(named), lambda alias: resolver.parsed(named[alias]), resolver.resolvers
        )

    def logs(
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
        is the stream's id.

        ``category``: general, progress, stat, sql, error or s3.
        """
        return self.streams.monitoring.logs(level, table, category, limit, offset, filters, sort)

    def health(self) -> dict[str, Any]:
        """Return ``{"status", "streams"}``: the health of each config's newest run by its id, as
        `Streams.health` does of one, and the worst status of them."""
        return self.streams.monitoring.health()

    def metrics(self) -> str:
        """Return the metrics of each config's newest run in Prometheus' text format.

        Raises `ConfigError` if prometheus-client (extra ``metrics``) is not installed.
        """
        return self.streams.monitoring.metrics()

    def close(self) -> None:
        """Stop the runs of this process, wait for them, and close the file. Idempotent."""
        self.streams.close()
        self._store.close()

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Engine {self._store.path or 'in memory'}>"

    def _repr_html_(self) -> str:
        parts = (self.connections, self.configs, self.streams)
        return html_block(repr(self), *(part._repr_html_() for part in parts))
