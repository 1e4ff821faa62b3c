"""The rows of one table of a source, as a stream of exact Arrow batches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack

import pyarrow as pa

from streams_engine.contracts import Scope, Source
from streams_engine.errors import StreamsError, UnsupportedType
from streams_engine.model import Filter
from streams_engine.pipeline.preview import PreviewRequest, mapped, preview, preview_of
from streams_engine.query.cancellation import Cancellation
from streams_engine.query.duckdb_types import MOST_DIGITS, fit
from streams_engine.query.snapshot_pool import PooledSnapshot
from streams_engine.query.source_request import TableRequest
from streams_engine.query.sql import digits_query, rendered
from streams_engine.schema.types.conversions import Converter

__all__ = ["Digits", "TableFetch", "count_digits", "schema_of"]

Digits = Mapping[str, pa.DataType]
"""By column."""


class TableFetch:
    """One table on its way. Its batches are read by one thread at a time."""

    def __init__(
        self,
        ask: TableRequest,
        pooled: PooledSnapshot,
        stopping: Cancellation,
        zero_dates: str = "null",
    ) -> None:
        self.ask = ask
        self.rows = 0
        """How many came so far."""
        self.error: StreamsError | None = None
        """What ended it: DuckDB would only pass on its text."""
        self._pooled = pooled
        self._stopping = stopping
        self._zero_dates = zero_dates
        self._further: tuple[Filter, ...] = ()
        self._stack = ExitStack()
        self.schema: pa.Schema = pa.schema([])
        self.batches: Iterator[pa.RecordBatch] = iter(())

    def open(self, further: tuple[Filter, ...] = (), digits: Digits | None = None) -> None:
        """Ask the source; first for the ``digits`` of its numbers, unless they are known.

        Raises `ConnectionFailed` and its kin, `NotFound`, `UnsupportedType`.
        """
        ask, pooled = self.ask, self._pooled
        self._stopping.demand()
        try:
            if digits is None:
                digits = count_digits(ask, pooled.source, further)
            self._further = further
            request = PreviewRequest(ask.selected(further), zero_dates=self._zero_dates)
            rows = self._stack.enter_context(preview_of(pooled.view, pooled.table, request))
        except StreamsError:
            self._stopping.demand()
            raise
        self.schema, fitted = fit(ask, rows.schema, digits)
        self.batches = self._counted(fitted(batch) for batch in rows.batches)
        self._stopping.demand()

    @property
    def asked(self) -> str:
        """Return what the source was asked."""
        return rendered(self.ask, self._further)

    def _counted(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        try:
            for batch in batches:
                self.rows += batch.num_rows
                yield batch
        except StreamsError as error:
            self.error = self._stopping.reason or error
            raise self.error from None

    def reader(self, head: list[pa.RecordBatch] | None = None) -> pa.RecordBatchReader:
        """Return a reader of all batches, beginning with those that were read already."""

        def chained() -> Iterator[pa.RecordBatch]:
            yield from head or ()
            yield from self.batches

        return pa.RecordBatchReader.from_batches(self.schema, chained())

    def close(self) -> None:
        """Let the source go. Idempotent."""
        stopped = self._stopping.reason is not None
        try:
            self._stack.close()
        except (StreamsError, ValueError):  # a generator that another thread is still in
            if not stopped:
                raise


def count_digits(ask: TableRequest, source: Source, further: tuple[Filter, ...] = ()) -> Digits:
    """Return the decimal types of NUMERIC columns without precision, by the digits that they
    contain now.

    Raises `UnsupportedType` naming a column with more digits than a join can hold.
    """
    names = ask.loose_numbers()
    if not names:
        return {}
    query = digits_query(ask, names, further)
    scope = Scope(ask.named.schema, (), (("digits", query),))
    with preview(source, scope, PreviewRequest()) as rows:
        (row,) = rows.table().to_pylist()
    decimals = {}
    for number, name in enumerate(names):
        whole, part = row[f"whole_{number}"] or 1, row[f"part_{number}"] or 0
        if whole + part > MOST_DIGITS:
            raise UnsupportedType(
                f"{ask.named}.{name}: its numbers have more than {MOST_DIGITS} digits.",
                remedy="Create a view on the server that rounds it, and query the view.",
            )
        decimals[name] = pa.decimal128(whole + part, part)
    return decimals


def schema_of(ask: TableRequest, digits: Digits, zero_dates: str) -> pa.Schema:
    """Return the schema of the rows to fetch. Raises `UnsupportedType`."""
    mapping = mapped(ask.table, PreviewRequest(ask.selected(), zero_dates=zero_dates))
    return fit(ask, Converter(mapping.columns, zero_dates).schema, digits)[0]
