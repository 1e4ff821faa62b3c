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

from streams_engine.errors import NotFound, StreamsError
from streams_engine.model import TableSchema
from streams_engine.protocols import Scope, Snapshot, Source
from streams_engine.queries.asking import Ask
from streams_engine.queries.describing import one_file, view_of
from streams_engine.queries.naming import Named
from streams_engine.queries.places import Places
from streams_engine.queries.stopping import Stopping

__all__ = ["Seat", "Views"]

MOST_THREADS = 8


@dataclass(frozen=True, slots=True)
class Seat:
    """One table in an open view: room for one reader."""

    source: Source
    view: Snapshot
    table: TableSchema


class Views:
    """All views of one query. Opened once, by one thread; to be closed."""

    def __init__(self, places: Places, stopping: Stopping) -> None:
        self._places = places
        self._stopping = stopping
        self._stack = ExitStack()
        self._lock = threading.Lock()
        self._seats: dict[Named, list[Seat]] = {}
        self._pool = ThreadPoolExecutor(MOST_THREADS, thread_name_prefix="query")

    def beside(self, work: Callable[[], Any]) -> Future[Any]:
        """Do something else meanwhile."""
        return self._pool.submit(work)

    def open(self, wanted: Sequence[Named]) -> None:
        """A seat for each: one that is named twice is read twice. Raises what opening raises."""
        futures = [self._pool.submit(self._open, group) for group in self._groups(wanted)]
        errors = [future.exception() for future in futures]
        for error in errors:
            if error is not None:
                raise self._stopping.reason or error
        self._stopping.demand()

    def _groups(self, wanted: Sequence[Named]) -> list[list[Named]]:
        groups: dict[object, list[Named]] = {}
        for number, named in enumerate(wanted):
            shared = self._places.family(named.alias) == "postgres"
            groups.setdefault(named.alias if shared else number, []).append(named)
        return list(groups.values())

    def _open(self, group: list[Named]) -> None:
        stack = ExitStack()
        with self._lock:
            self._stack.push(stack)
        first = group[0]
        source = stack.enter_context(self._places.opened(first.alias, first.document()))
        self._stopping.add(source.close)
        view, tables = self._viewed(stack, source, list(dict.fromkeys(group)), len(group))
        seats = [(named, Seat(source, view, tables[named])) for named in group]
        with self._lock:
            for named, seat in seats:
                self._seats.setdefault(named, []).append(seat)
        warm = getattr(view, "warm", None)
        if warm is not None:
            self.beside(lambda: _quietly(warm))

    def _viewed(
        self, stack: ExitStack, source: Source, group: list[Named], readers: int
    ) -> tuple[Snapshot, Mapping[Named, TableSchema]]:
        """A view with all tables of a group, views among them as the queries that read them."""
        first = group[0]
        if first.path is not None:
            view = stack.enter_context(source.snapshot(Scope(), readers))
            return view, {first: one_file(view.catalog.tables, first)}
        schema = first.schema if source.dialect == "mysql" else None
        full = {named.full: named for named in group}
        try:
            view = stack.enter_context(source.snapshot(Scope(schema, tuple(full)), readers))
            queries: dict[Named, str] = {}
        except NotFound:
            queries = self._queries(source, group)
            tables = tuple(name for name, named in full.items() if named not in queries)
            # By names of their own: two schemas may have views of one name.
            numbered = tuple((f"view_{n}", query) for n, query in enumerate(queries.values()))
            view = stack.enter_context(source.snapshot(Scope(schema, tables, numbered), readers))
        found = {}
        for number, named in enumerate(queries):
            found[named] = next(
                t for t in view.catalog.tables if t.query and t.id.name == f"view_{number}"
            )
        plain = {t.id: t for t in view.catalog.tables if t.query is None}
        exact = {str(table_id): table for table_id, table in plain.items()}
        # A server may spell a name otherwise than the statement (lower_case_table_names).
        folded = {name.lower(): table for name, table in exact.items()}
        for name, named in full.items():
            table = exact.get(name) or folded.get(name.lower())
            if named not in found and table is not None:
                found[named] = table
        return view, found

    def _queries(self, source: Source, group: list[Named]) -> dict[Named, str]:
        """Those that are views, with what reads them. Raises `NotFound` for what is nothing."""
        found = {}
        for named in group:
            try:
                source.catalog(Scope(named.schema, (named.full,)))
            except NotFound:
                view = view_of(source, named)
                if view is None or view.query is None:
                    raise
                found[named] = view.query
        return found

    def tables(self, wanted: Sequence[Named]) -> Mapping[Named, TableSchema]:
        """What is in the seats, for a plan."""
        return {named: self._seats[named][0].table for named in wanted}

    def seats(self, asks: Mapping[str, Ask]) -> Mapping[str, Seat]:
        """A seat for each table of a plan, by view. Once: they are given away."""
        return {view: self._seats[ask.named].pop() for view, ask in asks.items()}

    def close(self) -> None:
        """End every view. Idempotent."""
        self._pool.shutdown(wait=True)
        self._stack.close()


def _quietly(work: Callable[[], Any]) -> None:
    """What fails here fails again where it is needed, and is told there."""
    with suppress(StreamsError):
        work()
