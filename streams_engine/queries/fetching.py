"""The rows of one table of a source, as a stream of exact Arrow batches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack

import pyarrow as pa

from streams_engine.errors import StreamsError, UnsupportedType
from streams_engine.model import Filter
from streams_engine.protocols import Scope, Source
from streams_engine.queries.asking import Ask
from streams_engine.queries.fitting import MOST_DIGITS, fit
from streams_engine.queries.rendering import digits_query, rendered
from streams_engine.queries.stopping import Stopping
from streams_engine.queries.viewing import Seat
from streams_engine.runtime.reading import Look, mapped, reading, reading_of
from streams_engine.schema.values import Converter

__all__ = ["Digits", "Fetching", "count_digits", "schema_of"]

Digits = Mapping[str, pa.DataType]
"""By column."""


class Fetching:
    """One table on its way. Its batches are read by one thread at a time."""

    def __init__(self, ask: Ask, seat: Seat, stopping: Stopping, zero_dates: str = "null") -> None:
        self.ask = ask
        self.rows = 0
        """How many came so far."""
        self.error: StreamsError | None = None
        """What ended it: DuckDB would only pass on its text."""
        self._seat = seat
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
        ask, seat = self.ask, self._seat
        self._stopping.demand()
        try:
            if digits is None:
                digits = count_digits(ask, seat.source, further)
            self._further = further
            look = Look(ask.selected(further), zero_dates=self._zero_dates)
            found = self._stack.enter_context(reading_of(seat.view, seat.table, look))
        except StreamsError:
            self._stopping.demand()
            raise
        self.schema, fitted = fit(ask, found.schema, digits)
        self.batches = self._counted(fitted(batch) for batch in found.batches)
        self._stopping.demand()

    @property
    def asked(self) -> str:
        """What the source was asked."""
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
        """All batches, those first that were read already."""

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


def count_digits(ask: Ask, source: Source, further: tuple[Filter, ...] = ()) -> Digits:
    """The decimals that NUMERIC columns of no precision become, by what is in them now.

    Raises `UnsupportedType` naming a column with more digits than a join can hold.
    """
    names = ask.loose_numbers()
    if not names:
        return {}
    query = digits_query(ask, names, further)
    scope = Scope(ask.named.schema, (), (("digits", query),))
    with reading(source, scope, Look()) as found:
        (row,) = found.table().to_pylist()
    decimals = {}
    for number, name in enumerate(names):
        whole, part = row[f"whole_{number}"] or 1, row[f"part_{number}"] or 0
        if whole + part > MOST_DIGITS:
            raise UnsupportedType(
                f"{ask.named}.{name}: its numbers have more than {MOST_DIGITS} digits.",
                remedy="Round it in a view on the server, and query that.",
            )
        decimals[name] = pa.decimal128(whole + part, part)
    return decimals


def schema_of(ask: Ask, digits: Digits, zero_dates: str) -> pa.Schema:
    """The schema of what will be fetched. Raises `UnsupportedType`."""
    mapping = mapped(ask.table, Look(ask.selected(), zero_dates=zero_dates))
    return fit(ask, Converter(mapping.columns, zero_dates).schema, digits)[0]
