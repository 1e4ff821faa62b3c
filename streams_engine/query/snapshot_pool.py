"""The consistent views that a query reads: opened side by side, before anything is planned.

PostgreSQL's tables share one view for each connection; MySQL has one for each table that the
statement names, for a second reader would need a lock on the whole server.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Any

from streams_engine.contracts import Scope, Snapshot, Source
from streams_engine.errors import NotFound, StreamsError
from streams_engine.model import TableSchema
from streams_engine.query.cancellation import Cancellation
from streams_engine.query.connections import QueryConnections
from streams_engine.query.source_names import NamedSource
from streams_engine.query.source_request import TableRequest
from streams_engine.query.tables import one_file, view_of

__all__ = ["PooledSnapshot", "SnapshotPool"]

MOST_THREADS = 8


@dataclass(frozen=True, slots=True)
class PooledSnapshot:
    """One table in an open view: room for one reader."""

    source: Source
    view: Snapshot
    table: TableSchema


class SnapshotPool:
    """All views of one query. Opened once, by one thread; to be closed."""

    def __init__(self, places: QueryConnections, stopping: Cancellation) -> None:
        self._places = places
        self._stopping = stopping
        self._stack = ExitStack()
        self._lock = threading.Lock()
        self._free: dict[NamedSource, list[PooledSnapshot]] = {}
        self._pool = ThreadPoolExecutor(MOST_THREADS, thread_name_prefix="query")

    def submit(self, work: Callable[[], Any]) -> Future[Any]:
        """Do something else meanwhile."""
        return self._pool.submit(work)

    def open(self, wanted: Sequence[NamedSource]) -> None:
        """Open a snapshot for each source; one that is named twice is read twice. Raises what
        opening raises."""
        futures = [self._pool.submit(self._open, group) for group in self._groups(wanted)]
        errors = [future.exception() for future in futures]
        for error in errors:
            if error is not None:
                raise self._stopping.reason or error
        self._stopping.demand()

    def _groups(self, wanted: Sequence[NamedSource]) -> list[list[NamedSource]]:
        groups: dict[object, list[NamedSource]] = {}
        for number, named in enumerate(wanted):
            shared = self._places.family(named.alias) == "postgres"
            groups.setdefault(named.alias if shared else number, []).append(named)
        return list(groups.values())

    def _open(self, group: list[NamedSource]) -> None:
        stack = ExitStack()
        with self._lock:
            self._stack.push(stack)
        first = group[0]
        source = stack.enter_context(self._places.opened(first.alias, first.document()))
        self._stopping.add(source.close)
        view, tables = self._viewed(stack, source, list(dict.fromkeys(group)), len(group))
        take = [(named, PooledSnapshot(source, view, tables[named])) for named in group]
        with self._lock:
            for named, pooled in take:
                self._free.setdefault(named, []).append(pooled)
        warm = getattr(view, "warm", None)
        if warm is not None:
            self.submit(lambda: _quietly(warm))

    def _viewed(
        self, stack: ExitStack, source: Source, group: list[NamedSource], readers: int
    ) -> tuple[Snapshot, Mapping[NamedSource, TableSchema]]:
        """Open a snapshot of all tables of a group; views are read by a query."""
        first = group[0]
        if first.path is not None:
            view = stack.enter_context(source.snapshot(Scope(), readers))
            return view, {first: one_file(view.catalog.tables, first)}
        schema = first.schema if source.dialect == "mysql" else None
        full = {named.full: named for named in group}
        try:
            view = stack.enter_context(source.snapshot(Scope(schema, tuple(full)), readers))
            queries: dict[NamedSource, str] = {}
        except NotFound:
            queries = self._queries(source, group)
            tables = tuple(name for name, named in full.items() if named not in queries)
            # By names of their own: two schemas may have views of one name.
            numbered = tuple((f"view_{n}", query) for n, query in enumerate(queries.values()))
            view = stack.enter_context(source.snapshot(Scope(schema, tables, numbered), readers))
        by_source = {}
        for number, named in enumerate(queries):
            by_source[named] = next(
                t for t in view.catalog.tables if t.query and t.id.name == f"view_{number}"
            )
        plain = {t.id: t for t in view.catalog.tables if t.query is None}
        exact = {str(table_id): table for table_id, table in plain.items()}
        # A server may spell a name otherwise than the statement (lower_case_table_names).
        folded = {name.lower(): table for name, table in exact.items()}
        for name, named in full.items():
            table = exact.get(name) or folded.get(name.lower())
            if named not in by_source and table is not None:
                by_source[named] = table
        return view, by_source

    def _queries(self, source: Source, group: list[NamedSource]) -> dict[NamedSource, str]:
        """Return the query that reads each view of a group. Raises `NotFound` for a name that is
        neither table nor view."""
        queries = {}
        for named in group:
            try:
                source.catalog(Scope(named.schema, (named.full,)))
            except NotFound:
                view = view_of(source, named)
                if view is None or view.query is None:
                    raise
                queries[named] = view.query
        return queries

    def tables(self, wanted: Sequence[NamedSource]) -> Mapping[NamedSource, TableSchema]:
        """Return the tables of the snapshots, for a plan."""
        return {named: self._free[named][0].table for named in wanted}

    def take(self, asks: Mapping[str, TableRequest]) -> Mapping[str, PooledSnapshot]:
        """Take a reserved snapshot for each table of a plan, by view. Call it once."""
        return {view: self._free[ask.named].pop() for view, ask in asks.items()}

    def close(self) -> None:
        """End every view. Idempotent."""
        self._pool.shutdown(wait=True)
        self._stack.close()


def _quietly(work: Callable[[], Any]) -> None:
    """Ignore an error here; it is raised again where the result is needed."""
    with suppress(StreamsError):
        work()
