"""The result of a query: rows as they come, or all of them, with what the sources were asked."""

from __future__ import annotations

import base64
import contextlib
import datetime
import math
import time
import weakref
from collections.abc import Callable, Generator, Iterator, Sequence
from decimal import Decimal
from importlib import import_module
from typing import Any

import pyarrow as pa

from streams_engine.display import html_block, html_table
from streams_engine.errors import ConfigError, QueryStopped, StreamsError
from streams_engine.model import Finding
from streams_engine.model.pages import DataPage
from streams_engine.query.cancellation import Cancellation
from streams_engine.units import plural

__all__ = ["QueryResult", "plain_rows"]

Asked = Callable[[], list[dict[str, Any]]]
EXACT = 1 << 53
"""Up to here every reader of JSON has an integer exactly."""
SHOWN = 20
"""Rows that a notebook shows."""


class _Feed:
    """What a reader pulls batches from. It lets go of the query when that is closed, however long
    the reader lives: Arrow's reader holds it where no garbage collector looks."""

    def __init__(self, batches: Generator[pa.RecordBatch, None, None]) -> None:
        self._batches: Generator[pa.RecordBatch, None, None] | None = batches
        self._ended = False

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        return self

    def __next__(self) -> pa.RecordBatch:
        batches = self._batches
        if batches is None and not self._ended:
            raise QueryStopped("The result was closed before its last row was read.")
        try:
            return next(batches or iter(()))
        except StopIteration:
            self._ended = True
            raise

    def close(self) -> None:
        """Let the query go."""
        batches, self._batches = self._batches, None
        if batches is not None:
            with contextlib.suppress(ValueError):  # it is closed from within
                batches.close()


class QueryResult:
    """The rows of one query. They are read once: by `reader`, or all by `table`.

    Close it, best as a context manager: it holds connections until its last row is read. Use it
    from one thread; any thread may call `cancel`.
    """

    findings: Sequence[Finding]
    """What does not compare between the sources as it does on each."""

    def __init__(
        self,
        schema: pa.Schema,
        batches: Iterator[pa.RecordBatch],
        stopping: Cancellation,
        close: Callable[[], None],
        asked: Asked,
        begun: float,
        *,
        findings: Sequence[Finding] = (),
    ) -> None:
        self.schema = schema
        self.findings = findings
        self._stopping = stopping
        # also where nobody closes it: when it is forgotten, and when the process ends
        self._close = weakref.finalize(self, close)
        self._asked = asked
        self._limit: int | None = None
        self._offset = 0
        self._read = 0
        self._count: Callable[[], int] | None = None
        self._begun = begun
        self._duration: float | None = None
        self._truncated = False
        self._table: pa.Table | None = None
        self._feed = _Feed(self._rows(batches))
        self._taken = False
        self._failed: StreamsError | None = None

    def cut(self, limit: int | None, offset: int, count: Callable[[], int]) -> None:
        """Give ``limit`` rows at most, after the first ``offset``; ``count`` counts them all. Call
        it before the first row is read."""
        self._limit, self._offset, self._count = limit, offset, count

    def _rows(self, batches: Iterator[pa.RecordBatch]) -> Generator[pa.RecordBatch, None, None]:
        left, skip = self._limit, self._offset
        try:
            for batch in batches:
                self._read += batch.num_rows
                passed = min(skip, batch.num_rows)
                skip -= passed
                batch = batch.slice(passed)
                if left is not None and batch.num_rows > left:
                    self._truncated = True
                    batch = batch.slice(0, left)
                if left is not None:
                    left -= batch.num_rows
                yield pa.RecordBatch.from_arrays(batch.columns, schema=self.schema)
                if self._truncated:
                    return
            self._stopping.demand()
        except StreamsError as error:
            self._failed = self._stopping.reason or error
            raise self._failed from None
        finally:
            self.close()

    def reader(self) -> pa.RecordBatchReader:
        """Return a reader of the rows as they arrive; it can be read once.

        Its batches raise the errors of `table`, as text. Raises `QueryStopped` if the rows were
        read already or the result is closed.
        """
        if self._table is not None:
            return self._table.to_reader()
        if self._taken or not self._close.alive:
            raise QueryStopped("The rows of this result have been read, or it is closed.")
        self._taken = True
        return pa.RecordBatchReader.from_batches(self.schema, self._feed)

    def table(self) -> pa.Table:
        """Read all rows into memory.

        Raises `QueryTimeout`, `QueryStopped`, `QueryFailed`, and what reading a source raises.
        """
        if self._table is None:
            reader = self.reader()
            try:
                self._table = reader.read_all()
            except (pa.ArrowException, OSError, StreamsError):
                if self._failed is None:
                    raise
                raise self._failed from None
        return self._table

    def page(self, *, total: bool = True) -> DataPage:
        """Return all rows as a page: ``{"items", "total", "limit", "offset"}``; ``items`` is an
        Arrow table.

        ``total`` is how many rows the statement gives without limit and offset. Where the limit
        left rows out, the sources are asked again to count them; ``total=False``: not then. Raises
        what `table` raises.
        """
        items = self.table()
        count: int | None = self._read
        if self._truncated:
            count = self._count() if total and self._count is not None else None
        return {"items": items, "total": count, "limit": self._limit, "offset": self._offset}

    def to_dict(self) -> dict[str, Any]:
        """Return ``{columns, rows, count, status, duration}`` as a JSON-able document.

        Decimals and large integers are texts, times ISO 8601, bytes base64. ``status`` is complete,
        or truncated by the row limit; ``duration`` is in seconds. Raises what `table` raises.
        """
        table = self.table()
        return {
            "columns": list(table.schema.names),
            "rows": plain_rows(table),
            "count": table.num_rows,
            "status": self.status,
            "duration": self.duration,
        }

    @property
    def status(self) -> str:
        """open, complete, truncated (the row limit left rows out) or failed."""
        if self._failed is not None:
            return "failed"
        if self._truncated:
            return "truncated"
        return "open" if self._close.alive else "complete"

    @property
    def duration(self) -> float:
        """Seconds until the last row was read, or until now."""
        return self._duration if self._duration is not None else time.monotonic() - self._begun

    @property
    def asked(self) -> list[dict[str, Any]]:
        """By source: ``{source, connection, sql, rows}``: the request, and how many rows it
        returned."""
        return self._asked()

    def cancel(self) -> None:
        """End the query, on its servers too. A reader then gets `QueryStopped`. Thread-safe."""
        self._stopping.stop(QueryStopped("The query was cancelled."))

    def close(self) -> None:
        """Release the connections; unread rows are lost. Idempotent."""
        if self._close.alive:
            self._duration = time.monotonic() - self._begun
            self._feed.close()
            self._close()

    def __enter__(self) -> QueryResult:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<QueryResult {self.status}, {len(self.schema)} columns>"

    def _repr_html_(self) -> str:
        """Show the first rows, if they were read by `table`; none is read for it."""
        if self._table is None:
            columns = [(field.name, str(field.type)) for field in self.schema]
            return html_block(repr(self), html_table(("column", "type"), columns))
        lines = zip(*(c.to_pylist() for c in self._table.slice(0, SHOWN).columns), strict=True)
        shown = html_table(self._table.schema.names, lines)
        return html_block(f"{plural(self._table.num_rows, 'row')}, {self.status}", shown)

    def to_pandas(self) -> Any:
        """Read all rows into a pandas DataFrame, its columns of pandas' Arrow types, which are
        exact. Raises `ConfigError` without pandas, and what `table` raises."""
        pandas = _package("pandas")
        return self.table().to_pandas(types_mapper=pandas.ArrowDtype)

    def to_polars(self) -> Any:
        """Read all rows into a polars DataFrame. Raises `ConfigError` without polars, and what
        `table` raises."""
        return _package("polars").from_arrow(self.table())

    def to_duckdb(self, connection: Any = None) -> Any:
        """Read all rows into a relation of DuckDB: of ``connection``, else of DuckDB's default one.
        Raises what `table` raises."""
        return _package("duckdb").from_arrow(self.table(), connection=connection)

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        """Give the rows, once, to any library that speaks Arrow's C stream interface; also to a
        `Stream` as a source. Raises as `reader`."""
        return self.reader().__arrow_c_stream__(requested_schema)


def _package(name: str) -> Any:
    """Import a package that the user brings. Raises `ConfigError` without it."""
    try:
        return import_module(name)
    except ModuleNotFoundError:
        raise ConfigError(
            f"The package {name} is not installed.", remedy=f"pip install {name}"
        ) from None


def plain_rows(rows: pa.Table | pa.RecordBatch) -> list[list[Any]]:
    """Return rows as JSON can represent them, in the form of `QueryResult.to_dict`."""
    columns = [[_plain(value) for value in column.to_pylist()] for column in rows.columns]
    return [list(row) for row in zip(*columns, strict=True)]


def _plain(value: Any) -> Any:
    """Return a value that JSON can represent, or a text that loses nothing."""
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return value
    if isinstance(value, int):
        return value if abs(value) <= EXACT else str(value)
    if isinstance(value, float):
        if math.isfinite(value):
            return value
        return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, datetime.datetime | datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return str(value)
