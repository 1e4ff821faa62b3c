"""All sources of a plan opened: small ones first, whose keys narrow the others down."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from streams_engine.errors import StreamsError
from streams_engine.model import Column, Dialect, Filter
from streams_engine.query.cancellation import Cancellation
from streams_engine.query.fetch import Digits, TableFetch
from streams_engine.query.plan import QueryPlan
from streams_engine.query.predicates import sort_of
from streams_engine.query.snapshot_pool import PooledSnapshot
from streams_engine.query.source_request import KeyNarrowing, TableRequest

__all__ = ["MOST_KEYS", "GatheredInputs"]

MOST_KEYS = 10_000
"""In one list: servers look such a list up, and it is a few hundred kilobytes of SQL."""
FILE_KEYS = 100
"""Files test every key on every row; DuckDB does it better."""
FEW_KEYS = 100
"""So many are asked for, however small the table is thought to be."""
KEY_CHARACTERS = 1 << 20
WHOLE_WEIGHT = 20
HELD_ROWS = 100_000
HELD_BYTES = 32 << 20
"""What is held of a table in the hope that it ends before its keys are too many."""


class GatheredInputs:
    """The inputs of DuckDB, by view: tables that are held whole, and readers."""

    def __init__(
        self,
        plan: QueryPlan,
        snapshots: Mapping[str, PooledSnapshot],
        stopping: Cancellation,
        *,
        digits: Mapping[str, Digits] | None = None,
        zero_dates: str = "null",
    ) -> None:
        """Prepare to fetch the inputs of a plan; nothing is read yet.

        ``digits``, by view, are the decimal types of NUMERIC columns without precision, if they
        were counted before.
        """
        self.rows: dict[str, pa.Table | pa.RecordBatchReader] = {}
        self.fetches: dict[str, TableFetch] = {}
        self.keys: dict[KeyNarrowing, int] = {}
        """By how many keys a table was narrowed down."""
        self._plan = plan
        self._snapshots = snapshots
        self._stopping = stopping
        self._digits = digits or {}
        self._zero_dates = zero_dates

    def open(self) -> None:
        """Ask every source. Raises what `TableFetch.open` raises."""
        further: dict[str, list[Filter]] = {view: [] for view in self._plan.asks}
        waiting = dict(self._plan.asks)
        estimates = {view: ask.estimate() for view, ask in waiting.items()}

        def weight(view: str) -> int:
            """Return how many times over a table's estimate counts: keys of an unfiltered table
            leave most rows of another."""
            return 1 if waiting[view].filters or further[view] else WHOLE_WEIGHT

        while waiting:
            view = min(waiting, key=lambda one: estimates[one] * weight(one))
            ask = waiting.pop(view)
            fetch = TableFetch(ask, self._snapshots[view], self._stopping, self._zero_dates)
            self.fetches[view] = fetch
            fetch.open(tuple(further[view]), self._digits.get(view))
            edges = [e for e in self._plan.narrowings if e.by == view and e.view in waiting]
            table = None
            if edges and estimates[view] <= HELD_ROWS * 10:
                table = self._held(fetch)
            elif view not in self.rows:
                self.rows[view] = fetch.reader()
            for edge in edges if table is not None else ():
                chosen = self._filter(edge, table, waiting[edge.view])
                if chosen is not None:
                    further[edge.view].append(chosen)
                    estimates[edge.view] = min(estimates[edge.view], len(chosen.value) * 10)

    def _held(self, fetch: TableFetch) -> pa.Table | None:
        """Return the whole table if it is small; else None, with the rows read so far first in its
        reader."""
        head: list[pa.RecordBatch] = []
        rows = size = 0
        for batch in fetch.batches:
            head.append(batch)
            rows += batch.num_rows
            size += batch.nbytes
            if rows > HELD_ROWS or size > HELD_BYTES:
                self.rows[fetch.ask.view] = fetch.reader(head)
                return None
        table = self.rows[fetch.ask.view] = pa.Table.from_batches(head, fetch.schema)
        fetch.close()
        return table

    def _filter(self, edge: KeyNarrowing, table: pa.Table, ask: TableRequest) -> Filter | None:
        """Return the filter that the keys make; None if there are too many keys, or too few rows to
        gain."""
        column = ask.by_name[edge.column]
        by = self._plan.asks[edge.by].by_name[edge.by_column]
        values = keys(table[by.name], column)
        most = FILE_KEYS if column.type.dialect is Dialect.FILES else MOST_KEYS
        if values is None or len(values) > min(most, max(ask.estimate(), FEW_KEYS)):
            return None
        self.keys[edge] = len(values)
        return Filter(column.name, "IN", values)

    def close(self) -> None:
        """Let every source go; the first error is raised at the end. Idempotent."""
        errors = []
        self.rows.clear()
        for fetch in self.fetches.values():
            try:
                fetch.close()
            except StreamsError as error:
                errors.append(error)
        if errors:
            raise errors[0]

    @property
    def error(self) -> StreamsError | None:
        """The error that ended one of the sources."""
        return next((f.error for f in self.fetches.values() if f.error is not None), None)


def keys(values: pa.ChunkedArray, column: Column) -> list[Any] | None:
    """Return the distinct values that a column can have; None if there are too many."""
    unique = pc.unique(values)
    if len(unique) > MOST_KEYS + 1:
        return None
    present = [key for key in unique.to_pylist() if key is not None]
    sort = sort_of(column)
    if sort in ("integer", "decimal"):
        numbers = [_number(key) for key in present]
        return [n for n in numbers if sort == "decimal" or _can_be(n, column)]
    if sort == "date":
        return [key.isoformat() for key in present if isinstance(key, datetime.date)]
    texts = [key for key in present if "\0" not in key]
    return texts if sum(map(len, texts)) <= KEY_CHARACTERS else None


def _number(key: Any) -> int | Decimal:
    return int(key) if key == int(key) else key


def _can_be(number: Any, column: Column) -> bool:
    """Return whether an integer column can hold the number at all."""
    if not isinstance(number, int) or not pa.types.is_integer(column.arrow):
        return False
    bits = int(column.arrow.bit_width)
    if pa.types.is_unsigned_integer(column.arrow):
        return 0 <= number < 1 << bits
    return -(1 << bits - 1) <= number < 1 << bits - 1
