"""Tables in memory as a source: Arrow, pandas, polars, DuckDB, generators of batches, and functions
that return any of these.

Whatever speaks Arrow's C stream interface is a table, read with the rules of a Parquet file.
https://arrow.apache.org/docs/format/CDataInterface/PyCapsuleInterface.html
"""

from __future__ import annotations

import difflib
import threading
import uuid
import weakref
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from streams_engine.adapters.files.filters import kept
from streams_engine.adapters.files.formats.parquet import normal_array, normal_type
from streams_engine.config.connection import ObjectConnection
from streams_engine.contracts import Adapter, RecordBatches, Scope
from streams_engine.errors import ConfigError, NotFound, RowRejected
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
from streams_engine.schema.types.arrow_texts import texts_of
from streams_engine.schema.types.canonical import CanonicalRead
from streams_engine.schema.types.files import files_type

__all__ = ["ADAPTER", "FramesSource"]

BLOCK_ROWS = 65_536
NEAR = 10
"""How many names are listed where none is similar."""


@dataclass
class _Frame:
    """One table: its schema, and how its batches are read."""

    schema: TableSchema
    open: Callable[[], Iterator[pa.RecordBatch]]
    once: bool
    """It is a stream: its rows come a single time."""
    given: bool = field(default=False)
    """They came."""


class FramesSource:
    """Tables by name. Thread-safe, if nobody changes the tables meanwhile."""

    dialect = Dialect.FILES

    def __init__(self, frames: Mapping[str, Any]) -> None:
        """Take tables by name. Raises `ConfigError` for what is none, and for a column of a type
        that no file can have."""
        self._frames = {name: _frame(name, frame) for name, frame in frames.items()}
        self._position: Position = {"system": "frames", "frames": uuid.uuid4().hex}
        self._reading = threading.Lock()

    @property
    def location(self) -> str:
        """Name of the source in messages."""
        return f"frames: {', '.join(self._frames)}"

    def check(self) -> Sequence[Finding]:
        """Return no findings: there is nothing to check."""
        return ()

    def close(self) -> None:
        """Do nothing: no connection is open."""

    def catalog(self, scope: Scope) -> Catalog:
        """Describe the tables in scope. Raises `NotFound` for a missing one."""
        if scope.queries:
            raise ConfigError("Frames run no queries.", remedy="Give the result as a frame.")
        names = list(self._frames) if scope.tables is None else list(scope.tables)
        return Catalog(self.dialect, tuple(self._named(name).schema for name in names))

    def _named(self, name: str) -> _Frame:
        frame = self._frames.get(name)
        if frame is None:
            near = difflib.get_close_matches(name, self._frames) or sorted(self._frames)[:NEAR]
            raise NotFound(
                f"There is no table {name} among the frames.",
                remedy=f"Similar names: {', '.join(near)}.",
            )
        return frame

    @contextmanager
    def snapshot(self, scope: Scope, readers: int) -> Iterator[_FramesSnapshot]:
        """Yield the tables as they are now."""
        yield _FramesSnapshot(self, self.catalog(scope), self._position, readers)

    def blocks(self, table: TableId) -> Iterator[pa.RecordBatch]:
        """Yield all rows of a table. Raises `NotFound` if it is a stream that was read."""
        frame = self._named(table.name)
        with self._reading:
            if frame.once and frame.given:
                raise _gone(table.name)
            frame.given = True
        yield from frame.open()

    def canonical(self) -> _FramesCanonical:
        """Return the reader of the same tables for `verify`."""
        return _FramesCanonical(self)


class _FramesSnapshot:
    """The tables, each one chunk."""

    findings: Sequence[Finding] = ()

    def __init__(
        self, source: FramesSource, catalog: Catalog, position: Position, readers: int
    ) -> None:
        self._source = source
        self.catalog, self.position, self.readers = catalog, position, readers

    def chunks(self, table: TableSchema, rows: int) -> Sequence[Chunk]:
        """Return the table as one chunk."""
        return [Chunk(table.id, ordered=True)]

    def read(self, extract: Extract, chunk: Chunk) -> RecordBatches:
        """Yield a table's rows in their order."""
        return self._read(extract, chunk)

    def _read(self, extract: Extract, chunk: Chunk) -> Generator[pa.RecordBatch, None, None]:
        if extract.sorts:
            raise ConfigError(
                f"{extract.table.name}: frames are read in their order.", remedy="Sort the frame."
            )
        schema, skip, left = extract.arrow_schema(), chunk.skip, extract.limit
        for block in self._source.blocks(extract.table):
            rows = kept(block, extract.filters)
            rows, skip = rows.slice(skip), max(0, skip - rows.num_rows)
            if left is not None:
                rows = rows.slice(0, left)
                left -= rows.num_rows
            if rows.num_rows:
                yield pa.RecordBatch.from_arrays(
                    [rows.column(column.name) for column in extract.columns], schema=schema
                )
            if left == 0:
                return


class _FramesCanonical:
    """Tables in memory as texts, for `verify`."""

    def __init__(self, source: FramesSource) -> None:
        self._source = source

    def __enter__(self) -> _FramesCanonical:
        return self

    def __exit__(self, *_: object) -> None:
        """Do nothing: no connection is open."""

    @contextmanager
    def rows(self, read: CanonicalRead) -> Iterator[Iterator[tuple[str | None, ...]]]:
        """Yield every row as texts."""
        yield (
            row
            for block in self._source.blocks(read.table)
            for row in texts_of(kept(block, read.filters), read.columns)
        )


def _frame(name: str, frame: Any) -> _Frame:
    if not isinstance(name, str) or not name:
        raise ConfigError("source: the name of a frame is a text.", path="source")
    schema, batches, once = _opened(name, frame)
    _refuse_twins(f"source.{name}", schema.names)
    columns = tuple(_column(name, one) for one in schema)
    table = TableSchema(TableId("", name), Dialect.FILES, columns)

    def normal() -> Iterator[pa.RecordBatch]:
        for batch in batches():
            yield from _blocks(name, batch, columns)

    return _Frame(table, normal, once)


def _opened(
    name: str, frame: Any
) -> tuple[pa.Schema, Callable[[], Iterable[pa.RecordBatch]], bool]:
    """Return the schema, a function that reads the batches, and whether it does so only once."""
    if callable(frame) and not hasattr(frame, "__arrow_c_stream__"):
        return _opened(name, frame())[0], lambda: _opened(name, frame())[1](), False
    if isinstance(frame, pa.RecordBatchReader):
        return frame.schema, lambda: _rows_of(name, frame), True
    if not isinstance(frame, Iterator):
        table = _table(name, frame)
        return table.schema, table.to_batches, False
    first = next(frame, None)
    if first is None:
        raise ConfigError(
            f"source.{name}: no record batch came: the stream is empty, or was read already.",
            path=f"source.{name}",
            remedy="Yield at least one, if only for its schema.",
        )
    if not isinstance(first, pa.RecordBatch):
        raise ConfigError(
            f"source.{name}: expected pyarrow record batches, not {type(first).__name__}.",
            path=f"source.{name}",
            remedy="Yield pyarrow.RecordBatch objects of one schema.",
        )

    def all_of_it() -> Iterator[pa.RecordBatch]:
        yield first
        yield from frame

    return first.schema, all_of_it, True


_given: weakref.WeakSet[pa.RecordBatchReader] = weakref.WeakSet()
"""Readers whose rows came: another reading would find none, and no error."""


def _rows_of(name: str, reader: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
    if reader in _given:
        raise _gone(name)
    _given.add(reader)
    yield from reader


def _gone(name: str) -> NotFound:
    return NotFound(
        f"The rows of the frame {name} are gone: it is a stream of batches, which is read once.",
        remedy="Give a table, or a function that returns the batches anew.",
    )


def _table(name: str, frame: Any) -> pa.Table:
    """Return a table of another library as Arrow's. Raises `ConfigError` for one that Arrow cannot
    hold whole."""
    path = f"source.{name}"
    index = [level for level in getattr(getattr(frame, "index", None), "names", ()) if level]
    if index:
        raise ConfigError(
            f"{path}: the index {', '.join(map(str, index))} of the frame is no column of it.",
            path=path,
            remedy="Give frame.reset_index(), or frame.reset_index(drop=True) without it.",
        )
    _refuse_twins(path, _labels(frame))
    if opaque := _opaque(frame):
        raise ConfigError(
            f"{path}: column {opaque} holds objects of Python, which are no values.",
            path=path,
            remedy="Cast it, or leave the column out.",
        )
    try:
        return pa.table(frame)
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise ConfigError(
            f"{path}: this {type(frame).__name__} is no table that Arrow holds.",
            path=path,
            remedy="Give a table whose columns have one type each; see the cause of this error.",
        ) from error


def _labels(frame: Any) -> list[str]:
    """Return the names of the columns of a pandas frame, which may be there twice; else none."""
    return list(map(str, getattr(frame, "columns", ()))) if hasattr(frame, "iloc") else []


def _refuse_twins(path: str, names: Sequence[str]) -> None:
    """Raise `ConfigError` that names the columns of one name."""
    twins = sorted(name for name, times in Counter(names).items() if times > 1)
    if twins:
        raise ConfigError(
            f"{path}: two columns have the same name: {', '.join(twins)}.",
            path=path,
            remedy="Rename one, or leave it out.",
        )


ROUND = (
    "Databases hold microseconds. Decide on the rest yourself: in pandas frame[column]"
    '.astype("datetime64[us]") cuts it off, in Arrow cast(pyarrow.timestamp("us"), safe=False).'
)
"""What to do with nanoseconds."""


def _opaque(frame: Any) -> str | None:
    """Return the name of a column of polars that gives Arrow addresses in memory in place of
    values; None if there is none."""
    schema = getattr(frame, "schema", None)
    kinds = schema.items() if isinstance(schema, Mapping) else ()
    return next((str(name) for name, kind in kinds if str(kind) == "Object"), None)


def _column(name: str, one: pa.Field) -> Column:
    arrow, kind = normal_type(one.type)
    if arrow is None:
        raise ConfigError(
            f"source.{name}: column {one.name} has the type {one.type}, which is not supported.",
            path=f"source.{name}",
            remedy="Cast it, or leave the column out.",
        )
    return Column(one.name, files_type(arrow, kind), arrow, one.nullable)


def _blocks(name: str, batch: Any, columns: Sequence[Column]) -> Iterator[pa.RecordBatch]:
    names = [column.name for column in columns]
    if not isinstance(batch, pa.RecordBatch) or batch.schema.names != names:
        raise RowRejected(f"{name}: a batch has other columns than the first one.", table=name)
    for start in range(0, batch.num_rows, BLOCK_ROWS):
        part = batch.slice(start, BLOCK_ROWS)
        arrays = []
        for column in columns:
            try:
                arrays.append(normal_array(part.column(column.name)).cast(column.arrow))
            except (pa.ArrowException, RowRejected, OverflowError):
                kind = part[column.name].type
                raise RowRejected(
                    f"{name}: column {column.name}: a value of {kind} cannot be represented "
                    f"exactly as {column.arrow}.",
                    remedy=ROUND if pa.types.is_timestamp(kind) else None,
                    table=name,
                    column=column.name,
                ) from None
        yield pa.RecordBatch.from_arrays(arrays, names)


def _connection(frames: Any, _: str) -> ObjectConnection:
    return ObjectConnection(FramesSource(frames))


ADAPTER = Adapter(("frames",), Dialect.FILES, _connection)
