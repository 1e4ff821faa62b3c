"""A statement over several sources as a stream's source: its result is a table like any other.

It has no key and one chunk, and nothing can show that its result did not change: a restart reads
it again.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial

import pyarrow as pa

from streams_engine.adapters.files.native import arrow_of, files_type
from streams_engine.adapters.files.source import as_asked
from streams_engine.bundles import Bundles, bundles
from streams_engine.errors import (
    ConnectionFailed,
    QueryRefused,
    QueryStopped,
    StreamsError,
    UnsupportedType,
)
from streams_engine.model import (
    Catalog,
    Chunk,
    Column,
    Dialect,
    Extract,
    Finding,
    Position,
    TableId,
    TableSchema,
)
from streams_engine.protocols import Scope
from streams_engine.queries.describing import described
from streams_engine.queries.fetching import count_digits, schema_of
from streams_engine.queries.flowing import flow, result_schema
from streams_engine.queries.gathering import Gathered
from streams_engine.queries.joining import Joining
from streams_engine.queries.places import Places
from streams_engine.queries.planning import planned
from streams_engine.queries.statement import Statement
from streams_engine.queries.stopping import Stopping
from streams_engine.queries.viewing import Views

__all__ = ["QuerySource", "at_path"]

IDENTITY = ("system", "server")
"""What of a position says which server it is of."""


class QuerySource:
    """One statement over several sources, or over files, and the table that its result is."""

    dialect = Dialect.FILES
    """Its types are Arrow's own, as those of files."""

    def __init__(
        self, name: str, statement: Statement, places: Places, path: str, zero_dates: str
    ) -> None:
        """``path``: the statement's own in the stream's document, which its errors name."""
        self.name = name
        self.path = path
        self.statement = statement
        self.places = places
        self.zero_dates = zero_dates
        self._lock = threading.Lock()
        self._running: set[Stopping] = set()

    def check(self) -> Sequence[Finding]:
        """Connect to every source, and plan: what compares otherwise than on each of them."""
        with at_path(self.path):
            findings: list[Finding] = []
            for alias in dict.fromkeys(named.alias for _, named in self.statement.tables):
                if self.places.family(alias) != "files":
                    with self.places.opened(alias) as source:
                        findings += source.check()
            plan = planned(self.statement, partial(described, self.places))
            return (*findings, *plan.findings)

    def catalog(self, scope: Scope) -> Catalog:
        """The result's table. No row is read, but digits of NUMERIC are counted on its server."""
        with self.snapshot(scope, 1) as view:
            return view.catalog

    @contextmanager
    def snapshot(self, scope: Scope, readers: int) -> Iterator[QuerySnapshot]:
        """The views of all sources that the statement names, each consistent in itself."""
        stopping = Stopping(None)
        with self._lock:
            self._running.add(stopping)
        with ExitStack() as stack:
            stack.callback(stopping.close)
            stack.callback(self._running.discard, stopping)
            with at_path(self.path):
                views = Views(self.places, stopping)
                stack.callback(views.close)
                views.open([named for _, named in self.statement.tables])
                view = QuerySnapshot(self, views, stopping, readers)
            yield view

    def close(self) -> None:
        """End what runs, on its servers too. Idempotent."""
        with self._lock:
            running = list(self._running)
        for stopping in running:
            stopping.stop(QueryStopped("The source was closed."))


class QuerySnapshot:
    """The result of a statement in views of its sources. Each `read` runs it."""

    findings: Sequence[Finding] = ()

    def __init__(self, source: QuerySource, views: Views, stopping: Stopping, readers: int) -> None:
        self.readers = readers
        self._source = source
        self._stopping = stopping
        self._plan = plan = planned(source.statement, views.tables)
        self._seats = views.seats(plan.asks)
        self._digits = {
            view: count_digits(ask, self._seats[view].source) for view, ask in plan.asks.items()
        }
        self.catalog = Catalog(Dialect.FILES, (self._table(),))
        self.position: Position = self._position()

    def chunks(self, table: TableSchema, rows: int) -> Sequence[Chunk]:
        """The whole result: it has no key, and no order that it keeps."""
        return [Chunk(table.id)]

    def read(self, extract: Extract, chunk: Chunk, rows: int) -> Bundles:
        """Run the statement; its rows come as they are read. Not twice at once."""
        return bundles(self._blocks(extract), rows)

    def _blocks(self, extract: Extract) -> Iterator[pa.RecordBatch]:
        with at_path(self._source.path), ExitStack() as stack:
            gathered = Gathered(
                self._plan,
                self._seats,
                self._stopping,
                digits=self._digits,
                zero_dates=self._source.zero_dates,
            )
            stack.callback(gathered.close)
            joining = Joining()
            stack.callback(joining.close)
            self._stopping.add(joining.interrupt)
            gathered.open()
            schema, batches = flow(self._plan, gathered, joining, self._stopping)
            # Before the sources are closed: DuckDB's threads may still read them.
            stack.callback(joining.interrupt)
            places = [schema.names.index(column.name) for column in extract.columns]
            wanted = extract.arrow_schema()
            for batch in batches:
                arrays = [
                    as_asked(batch.column(place), column)
                    for place, column in zip(places, extract.columns, strict=True)
                ]
                yield pa.RecordBatch.from_arrays(arrays, schema=wanted)
            self._stopping.demand()

    def _table(self) -> TableSchema:
        source, plan = self._source, self._plan
        schemas = {
            view: schema_of(ask, self._digits[view], source.zero_dates)
            for view, ask in plan.asks.items()
        }
        joining = Joining()
        try:
            schema = result_schema(plan, schemas, joining)
        finally:
            joining.close()
        return TableSchema(
            TableId("", source.name),
            Dialect.FILES,
            _columns(schema),
            query=source.statement.text,
        )

    def _position(self) -> Position:
        """Which servers it reads, and nothing that could prove them unchanged."""
        places = {
            ask.named.alias: self._seats[view].view.position
            for view, ask in self._plan.asks.items()
        }
        servers = {
            alias: {key: position[key] for key in IDENTITY if key in position}
            for alias, position in places.items()
        }
        return {"system": "queries", "server": servers}


def _columns(schema: pa.Schema) -> tuple[Column, ...]:
    """The result's columns. Raises `QueryRefused`, `UnsupportedType` naming one."""
    names: set[str] = set()
    for name in schema.names:
        if name.lower() in names:
            raise QueryRefused(
                f"Two columns of the result are called '{name}'.",
                remedy="Give one another name: AS.",
            )
        names.add(name.lower())
    return tuple(_column(field) for field in schema)


def _column(field: pa.Field) -> Column:
    try:
        arrow = arrow_of(str(field.type))
    except ValueError:
        raise UnsupportedType(
            f"The column '{field.name}' of the result is {field.type}, which no table can hold.",
            remedy="CAST it: AS TEXT, AS TIMESTAMP, AS DECIMAL(38, 10).",
        ) from None
    return Column(field.name, files_type(arrow), arrow)


@contextmanager
def at_path(path: str) -> Iterator[None]:
    """Errors inside the block name the statement by its path in the stream's document."""
    try:
        yield
    except QueryStopped:
        raise ConnectionFailed(f"{path}: it was stopped.", path=path) from None
    except StreamsError as error:
        if error.details.get("path") != path:
            error.message = f"{path}: {error.message}"
            error.details["path"] = path
        elif not error.message.startswith(path):
            error.message = f"{path}: {error.message}"
        raise
