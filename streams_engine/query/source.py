"""A statement over several sources as a stream's source: its result is a table like any other.

It has no key and one chunk, and nothing can show that its result did not change: a restart reads
it again.
"""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial

import pyarrow as pa

from streams_engine.adapters.files.source import as_asked
from streams_engine.contracts import RecordBatches, Scope
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
from streams_engine.query.cancellation import Cancellation
from streams_engine.query.connections import QueryConnections
from streams_engine.query.execution import DuckdbExecution, flow, result_schema
from streams_engine.query.fetch import count_digits, schema_of
from streams_engine.query.gather import GatheredInputs
from streams_engine.query.plan import planned
from streams_engine.query.snapshot_pool import SnapshotPool
from streams_engine.query.statement import ParsedStatement
from streams_engine.query.tables import described
from streams_engine.schema.types.files import arrow_of, files_type

__all__ = ["QuerySource", "at_path"]

IDENTITY = ("system", "server")
"""What of a position says which server it is of."""


class QuerySource:
    """One statement over several sources, or over files, and the table that its result is."""

    dialect = Dialect.FILES
    """Its types are Arrow's own, as those of files."""

    def __init__(
        self,
        name: str,
        statement: ParsedStatement,
        places: QueryConnections,
        path: str,
        zero_dates: str,
    ) -> None:
        """Create a source from a statement. ``path`` is its JSON path in the stream's document, for
        errors."""
        self.name = name
        self.path = path
        self.statement = statement
        self.places = places
        self.zero_dates = zero_dates
        self._lock = threading.Lock()
        self._running: set[Cancellation] = set()

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
        """Return the result's table. Reads no row, but counts digits of NUMERIC columns on their
        server."""
        with self.snapshot(scope, 1) as view:
            return view.catalog

    @contextmanager
    def snapshot(self, scope: Scope, readers: int) -> Iterator[QuerySnapshot]:
        """Open the snapshots of all sources that the statement names, each consistent in itself."""
        stopping = Cancellation(None)
        with self._lock:
            self._running.add(stopping)
        with ExitStack() as stack:
            stack.callback(stopping.close)
            stack.callback(self._running.discard, stopping)
            with at_path(self.path):
                views = SnapshotPool(self.places, stopping)
                stack.callback(views.close)
                views.open([named for _, named in self.statement.tables])
                view = QuerySnapshot(self, views, stopping, readers)
            yield view

    def close(self) -> None:
        """End what runs, on its servers too. Idempotent."""
        with self._lock:
            running = list(self._running)
        for stopping in running:
            stopping.stop(QueryStopped("The source is closed."))


class QuerySnapshot:
    """The result of a statement in views of its sources. Each `read` runs it."""

    findings: Sequence[Finding] = ()

    def __init__(
        self, source: QuerySource, views: SnapshotPool, stopping: Cancellation, readers: int
    ) -> None:
        self.readers = readers
        self._source = source
        self._stopping = stopping
        self._plan = plan = planned(source.statement, views.tables)
        self._snapshots = views.take(plan.asks)
        self._digits = {
            view: count_digits(ask, self._snapshots[view].source) for view, ask in plan.asks.items()
        }
        self.catalog = Catalog(Dialect.FILES, (self._table(),))
        self.position: Position = self._position()

    def chunks(self, table: TableSchema, rows: int) -> Sequence[Chunk]:
        """Return the whole result as one chunk: it has no key and no stable order."""
        return [Chunk(table.id)]

    def read(self, extract: Extract, chunk: Chunk) -> RecordBatches:
        """Run the statement; its rows come as they are read. Not twice at once."""
        return self._blocks(extract)

    def _blocks(self, extract: Extract) -> Generator[pa.RecordBatch, None, None]:
        with at_path(self._source.path), ExitStack() as stack:
            inputs = GatheredInputs(
                self._plan,
                self._snapshots,
                self._stopping,
                digits=self._digits,
                zero_dates=self._source.zero_dates,
            )
            stack.callback(inputs.close)
            joining = DuckdbExecution()
            stack.callback(joining.close)
            self._stopping.add(joining.interrupt)
            inputs.open()
            schema, batches = flow(self._plan, inputs, joining, self._stopping)
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
        joining = DuckdbExecution()
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
        """Return the identities of the servers; they cannot prove that the data is unchanged."""
        places = {
            ask.named.alias: self._snapshots[view].view.position
            for view, ask in self._plan.asks.items()
        }
        servers = {
            alias: {key: position[key] for key in IDENTITY if key in position}
            for alias, position in places.items()
        }
        return {"system": "queries", "server": servers}


def _columns(schema: pa.Schema) -> tuple[Column, ...]:
    """Return the result's columns. Raises `QueryRefused` or `UnsupportedType` naming one."""
    names: set[str] = set()
    for name in schema.names:
        if name.lower() in names:
            raise QueryRefused(
                f"Two columns of the result have the name '{name}'.",
                remedy="Rename one of them with AS.",
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
    """Add the statement's path in the stream's document to errors inside the block."""
    try:
        yield
    except QueryStopped:
        raise ConnectionFailed(f"{path}: the executor is stopped.", path=path) from None
    except StreamsError as error:
        if error.details.get("path") != path:
            error.message = f"{path}: {error.message}"
            error.details["path"] = path
        elif not error.message.startswith(path):
            error.message = f"{path}: {error.message}"
        raise
