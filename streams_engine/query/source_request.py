"""Requests to the sources: columns, filters, a limit, and whose keys narrow it down."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache

import pyarrow as pa
from sqlglot import exp

from streams_engine.errors import QueryRefused
from streams_engine.model import Column, Dialect, Filter, Sort, TableSchema
from streams_engine.query.predicates import sort_of
from streams_engine.query.source_names import NamedSource
from streams_engine.schema.mapping.tables import SelectedRows
from streams_engine.schema.types.postgres import base_of

__all__ = ["KeyNarrowing", "TableRequest", "duckdb_type"]

SELECTIVITY = {"=": 0.01, "IN": 0.05, "IS NULL": 0.1}
"""How much of a table an operator is thought to leave, where nobody counted."""
UNKNOWN_ROWS = 1_000_000


@dataclass(slots=True)
class TableRequest:
    """One table, as often as the statement names it, and what is read of it."""

    view: str
    """Its name in the statement that DuckDB runs."""
    named: NamedSource
    table: TableSchema
    columns: set[str] = field(default_factory=set)
    """Names in lower case."""
    filters: list[Filter] = field(default_factory=list)
    sorts: list[Sort] = field(default_factory=list)
    limit: int | None = None
    by_name: Mapping[str, Column] = field(init=False)
    """Its columns by their names in lower case."""

    def __post_init__(self) -> None:
        by_name: dict[str, Column] = {}
        for column in self.table.columns:
            if by_name.setdefault(column.name.lower(), column) is not column:
                raise QueryRefused(
                    f"{self.named}: the names of two columns differ only in case: {column.name}.",
                    remedy=(
                        "Create a view on the server that renames one of them, and query the view."
                    ),
                )
        self.by_name = by_name

    def add(self, chosen: Filter) -> None:
        """Ask for no more than this; once is enough."""
        if chosen not in self.filters:
            self.filters.append(chosen)

    def wanted(self) -> tuple[Column, ...]:
        """Return the wanted columns in the table's order; the column that is read fastest if none
        is wanted."""
        columns = tuple(c for c in self.table.columns if c.name.lower() in self.columns)
        if columns:
            return columns
        key = self.table.primary_key
        names = [*(key.columns if key else ()), *(c.name for c in self.table.columns)]
        return (self.by_name[names[0].lower()],) if names else ()

    def selected(self, further: tuple[Filter, ...] = ()) -> SelectedRows:
        """Return the request as a selection of a source."""
        names = tuple(column.name for column in self.wanted())
        return SelectedRows(names, (*self.filters, *further), tuple(self.sorts), self.limit)

    def loose_numbers(self) -> tuple[str, ...]:
        """Return the NUMERIC columns without declared precision, whose digits have to be counted
        first."""
        return tuple(
            column.name
            for column in self.wanted()
            if column.type.dialect is Dialect.POSTGRES
            and sort_of(column) == "decimal"
            and not base_of(column.type).args
        )

    def estimate(self) -> float:
        """Estimate how many rows the request returns."""
        rows = self.table.estimated_rows
        estimate = float(UNKNOWN_ROWS if rows is None or rows < 0 else rows)
        for one in self.filters:
            estimate *= SELECTIVITY.get(one.operator, 0.3)
        return estimate if self.limit is None else min(estimate, self.limit)


@dataclass(frozen=True, slots=True)
class KeyNarrowing:
    """The values of one column leave only those rows of another table that they are found in."""

    by: str
    by_column: str
    view: str
    column: str

    def fits(self, asks: Mapping[str, TableRequest]) -> bool:
        """Return whether both sides hold the same kind of value, so that keys of one find rows of
        the other."""
        keys, rows = asks[self.by].by_name, asks[self.view].by_name
        if self.by_column not in keys or self.column not in rows:
            return False
        pair = {sort_of(keys[self.by_column]), sort_of(rows[self.column])}
        return pair <= {"integer", "decimal"} or pair == {"text"} or pair == {"date"}


def duckdb_type(column: Column) -> exp.DataType:
    """Return the type that a column has in the joined statement; used only to analyze it."""
    sort = sort_of(column)
    text = _OTHERS.get(str(column.arrow), "UNKNOWN") if sort == "other" else _TYPES[sort]
    return _built(text)


@cache
def _built(text: str) -> exp.DataType:
    return exp.DataType.build(text, dialect="duckdb")


_TYPES = {
    "integer": "BIGINT",
    "decimal": "DECIMAL(38, 10)",
    "double": "DOUBLE",
    "text": "TEXT",
    "bool": "BOOLEAN",
    "date": "DATE",
    "moment": "TIMESTAMP",
    "instant": "TIMESTAMPTZ",
}
_OTHERS = {
    str(pa.float32()): "FLOAT",
    str(pa.float64()): "DOUBLE",
    str(pa.string()): "TEXT",
    str(pa.duration("us")): "TEXT",
    str(pa.bool_()): "BOOLEAN",
    str(pa.uint64()): "BIGINT",
    str(pa.int16()): "BIGINT",
    str(pa.date32()): "DATE",
    str(pa.timestamp("us")): "TIMESTAMP",
    str(pa.timestamp("us", "UTC")): "TIMESTAMPTZ",
}
