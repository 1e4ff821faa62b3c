"""Extracts of a table: columns in their wanted types, filters, order, chunks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa

from streams_engine.model.tables import Column, TableId

__all__ = [
    "Chunk",
    "CollatedKey",
    "Extract",
    "Filter",
    "RowObservations",
    "Sort",
]


@dataclass(frozen=True, slots=True)
class CollatedKey:
    """A foreign key that holds only because a collation takes different texts for equal."""

    rows: int
    """Rows whose text is not the referenced one, byte by byte."""
    beyond_case: int
    """Those of them that differ by more than case: accents, trailing blanks."""
    query: str
    """A SELECT for the source that finds them."""


@dataclass(frozen=True, slots=True)
class RowObservations:
    """Facts that a scan of the rows showed and no catalog holds; names as in the source."""

    booleans: frozenset[tuple[TableId, str]] = frozenset()
    """TINYINT(1) columns that hold nothing but 0, 1 and NULL."""
    zero_dates: Mapping[tuple[TableId, str], int] = field(default_factory=dict)
    """NOT NULL columns that hold zero or partial dates, and in how many rows."""
    loose_keys: Mapping[tuple[TableId, str], CollatedKey] = field(default_factory=dict)
    """By table and name of the foreign key."""
    long_times: Mapping[tuple[TableId, str], int] = field(default_factory=dict)
    """TIME columns that hold times outside a day, and in how many rows; 0: it was reported."""

    def stamped(self, alias: str) -> RowObservations:
        """Return the same observations, with the alias of their source in every table's name."""

        def of(key: tuple[TableId, str]) -> tuple[TableId, str]:
            return replace(key[0], alias=alias), key[1]

        return RowObservations(
            frozenset(map(of, self.booleans)),
            {of(key): count for key, count in self.zero_dates.items()},
            {of(key): loose for key, loose in self.loose_keys.items()},
            {of(key): count for key, count in self.long_times.items()},
        )


@dataclass(frozen=True, slots=True)
class Filter:
    """One condition of a selection; ``operator`` in the words of the stream document."""

    column: str
    operator: str
    value: Any = None


@dataclass(frozen=True, slots=True)
class Sort:
    """One sort key of a selection."""

    column: str
    descending: bool = False


@dataclass(frozen=True, slots=True)
class Extract:
    """The part of a table to read: its columns in order, each in the wanted Arrow type.

    Yielded batches have exactly these columns, with these names and Arrow types.
    """

    table: TableId
    columns: tuple[Column, ...]
    filters: tuple[Filter, ...] = ()
    sorts: tuple[Sort, ...] = ()
    limit: int | None = None
    query: str | None = None
    """Read this query's result instead of the table."""
    tuples: bool = False
    """Rows as PostgreSQL's COPY BINARY has them, whole, in one column: nothing looks inside."""

    def arrow_schema(self) -> pa.Schema:
        """Return the schema of each batch that a reader yields for this extract."""
        if self.tuples:
            return pa.schema([pa.field("tuple", pa.binary())])
        return pa.schema([pa.field(c.name, c.arrow, nullable=c.nullable) for c in self.columns])


@dataclass(frozen=True, slots=True)
class Chunk:
    """A part of a table that is read and written as one unit of work.

    ``low`` and ``high`` bound ``key`` (``low`` exclusive, ``high`` inclusive, None:
    open); ``key`` names the key columns, or is ``("ctid",)``, or empty for a whole
    relation. Bounds are JSON-able texts or numbers that the source itself made;
    a comparison of them is always the server's.
    """

    table: TableId
    number: int = 0
    relation: TableId | None = None
    """The partition that is read instead of ``table`` itself."""
    key: tuple[str, ...] = ()
    low: tuple[Any, ...] | None = None
    high: tuple[Any, ...] | None = None
    estimated_rows: int | None = None
    ordered: bool = False
    """Its rows come in one order at every read as long as the table is not written to."""
    skip: int = 0
    """Rows at the beginning of that order that are not to be read again."""
