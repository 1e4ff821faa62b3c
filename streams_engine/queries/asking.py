"""What each source is asked for: columns, filters, a limit, and whose keys narrow it down."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache

import pyarrow as pa
from sqlglot import exp

from streams_engine.errors import QueryRefused
from streams_engine.model import Column, Dialect, Filter, Sort, TableSchema
from streams_engine.queries.comparing import sort_of
from streams_engine.queries.naming import Named
from streams_engine.schema.mapping import Selected
from streams_engine.schema.postgres import base_of

__all__ = ["Ask", "Narrowing", "duckdb_type"]

SELECTIVITY = {"=": 0.01, "IN": 0.05, "IS NULL": 0.1}
"""How much of a table an operator is thought to leave, where nobody counted."""
UNKNOWN_ROWS = 1_000_000


@dataclass(slots=True)
class Ask:
    """One table, as often as the statement names it, and what is read of it."""

    view: str
    """Its name in the statement that DuckDB runs."""
    named: Named
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
                    f"{self.named}: two of its columns differ in case alone: {column.name}.",
                    remedy="Name one of them in a view on the server, and query that.",
                )
        self.by_name = by_name

    def add(self, chosen: Filter) -> None:
        """Ask for no more than this; once is enough."""
        if chosen not in self.filters:
            self.filters.append(chosen)

    def wanted(self) -> tuple[Column, ...]:
        """The columns in the table's order; the one that is read fastest where none is wanted."""
        found = tuple(c for c in self.table.columns if c.name.lower() in self.columns)
        if found:
            return found
        key = self.table.primary_key
        names = [*(key.columns if key else ()), *(c.name for c in self.table.columns)]
        return (self.by_name[names[0].lower()],) if names else ()

    def selected(self, further: tuple[Filter, ...] = ()) -> Selected:
        """As the readers take it."""
        names = tuple(column.name for column in self.wanted())
        return Selected(names, (*self.filters, *further), tuple(self.sorts), self.limit)

    def loose_numbers(self) -> tuple[str, ...]:
        """NUMERIC columns of no declared precision: their digits have to be counted first."""
        return tuple(
            column.name
            for column in self.wanted()
            if column.type.dialect is Dialect.POSTGRES
            and sort_of(column) == "decimal"
            and not base_of(column.type).args
        )

    def estimate(self) -> float:
        """How many rows it may give."""
        rows = self.table.estimated_rows
        found = float(UNKNOWN_ROWS if rows is None or rows < 0 else rows)
        for one in self.filters:
            found *= SELECTIVITY.get(one.operator, 0.3)
        return found if self.limit is None else min(found, self.limit)


@dataclass(frozen=True, slots=True)
class Narrowing:
    """The values of one column leave only those rows of another table that they are found in."""

    by: str
    by_column: str
    view: str
    column: str

    def fits(self, asks: Mapping[str, Ask]) -> bool:
        """Whether both sides hold the same sort of value, so that one finds the other."""
        keys, rows = asks[self.by].by_name, asks[self.view].by_name
        if self.by_column not in keys or self.column not in rows:
            return False
        pair = {sort_of(keys[self.by_column]), sort_of(rows[self.column])}
        return pair <= {"integer", "decimal"} or pair == {"text"} or pair == {"date"}


def duckdb_type(column: Column) -> exp.DataType:
    """The type that a column will have where the sources are joined, for the analysis alone."""
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
