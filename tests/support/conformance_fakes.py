"""A source in memory that keeps the contract, and broken ones that do not."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest

from streams_engine.contracts import (
    Scope,
)
from streams_engine.errors import NotFound
from streams_engine.model import (
    Catalog,
    Chunk,
    Column,
    Dialect,
    Extract,
    Filter,
    Finding,
    Index,
    IndexPart,
    NativeType,
    TableId,
    TableSchema,
)
from streams_engine.testing.conformance_source import SourceConformance, SourcePlace
from streams_engine.testing.sample_rows import TABLES, SampleTable

Row = Mapping[str, Any]


def native(arrow: pa.DataType) -> NativeType:
    return NativeType(Dialect.FILES, str(arrow), str(arrow))


# A source


TESTS: Mapping[str, Callable[[Any, Any], bool]] = {
    "=": lambda a, b: a == type(a)(b) if not isinstance(a, str) else a == b,
    "!=": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
    "IN": lambda a, b: a in b,
    "NOT IN": lambda a, b: a not in b,
    "BETWEEN": lambda a, b: b[0] <= a <= b[1],
    "CONTAINS": lambda a, b: b in a,
    "NOT_CONTAINS": lambda a, b: b not in a,
    "STARTS_WITH": lambda a, b: a.startswith(b),
    "ENDS_WITH": lambda a, b: a.endswith(b),
    "LIKE": lambda a, b: a.startswith("gamma"),
    "NOT LIKE": lambda a, b: not a.endswith("a"),
    "IS NOT NULL": lambda a, b: True,
    "IS NULL": lambda a, b: False,
}


def means(chosen: Filter, value: Any) -> bool:
    if value is None:
        return chosen.operator == "IS NULL"
    wanted = chosen.value
    if hasattr(value, "isoformat"):
        text = value.isoformat(" ") if hasattr(value, "hour") else value.isoformat()
        return TESTS[chosen.operator](text, wanted)
    return TESTS[chosen.operator](value, wanted)


class MemoryView:
    findings: Sequence[Finding] = ()

    def __init__(self, source: MemorySource, catalog: Catalog, readers: int) -> None:
        self.catalog = catalog
        self.readers = readers
        self.source = source
        self.data = {name: list(rows) for name, rows in source.data.items()}
        self.position = {"system": "memory", "changes": source.changes}
        self.free = threading.Semaphore(readers)

    def chunks(self, table: TableSchema, rows: int) -> Sequence[Chunk]:
        count = len(self.data[table.id.name])
        if table.primary_key:
            keys = [row["id"] for row in self.data[table.id.name]][rows::rows]
            edges = [(key,) for key in keys]
            bounds = zip([None, *edges], [*edges, None], strict=True)
            return [Chunk(table.id, n, None, ("id",), a, b) for n, (a, b) in enumerate(bounds)]
        edges = [None, *((n,) for n in range(rows, count, rows)), None]
        return [
            Chunk(table.id, n, None, ("place",), a, b, ordered=True)
            for n, (a, b) in enumerate(itertools.pairwise(edges))
        ]

    def read(self, extract: Extract, chunk: Chunk) -> Generator[pa.RecordBatch, None, None]:
        yield from self.blocks(extract, chunk)

    def rows_of(self, chunk: Chunk) -> list[Row]:
        rows = self.data[chunk.table.name]
        low = chunk.low[0] if chunk.low else None
        high = chunk.high[0] if chunk.high else None
        if chunk.key == ("id",):
            return [
                r
                for r in rows
                if (low is None or r["id"] > low) and (high is None or r["id"] <= high)
            ]
        return rows[low:high]

    def blocks(self, extract: Extract, chunk: Chunk) -> Iterator[pa.RecordBatch]:
        assert self.free.acquire(timeout=1), "no reader is free"
        try:
            rows = self.rows_of(chunk)
            rows = [r for r in rows if all(means(f, r[f.column]) for f in extract.filters)]
            for sort in reversed(extract.sorts):
                known = [row for row in rows if row[sort.column] is not None]
                known.sort(key=lambda row: row[sort.column], reverse=sort.descending)
                rows = known + [row for row in rows if row[sort.column] is None]
            rows = rows[chunk.skip :][: extract.limit]
            for start in range(0, len(rows), 64):
                yield self.encoded(rows[start : start + 64], extract)
        finally:
            self.free.release()

    def encoded(self, rows: Sequence[Row], extract: Extract) -> pa.RecordBatch:
        arrays = [pa.array([row[c.name] for row in rows], c.arrow) for c in extract.columns]
        return pa.RecordBatch.from_arrays(arrays, schema=extract.arrow_schema())


class MemorySource:
    dialect = Dialect.FILES
    view = MemoryView

    def __init__(self) -> None:
        self.data: dict[str, list[Row]] = {t.name: list(t.rows) for t in TABLES.values()}
        self.changes = 0

    def check(self) -> Sequence[Finding]:
        return ()

    def catalog(self, scope: Scope) -> Catalog:
        for name in scope.tables or ():
            if name not in self.data:
                raise NotFound(f"No table {name}.", remedy=f"There are {', '.join(self.data)}.")
        names = TABLES if scope.tables is None else scope.tables
        return Catalog(Dialect.FILES, tuple(self.described(TABLES[name]) for name in names))

    def described(self, table: SampleTable) -> TableSchema:
        columns = tuple(
            Column(field.name, native(field.type), field.type, field.nullable)
            for field in table.arrow_schema()
        )
        key = Index("key", tuple(map(IndexPart, table.key)), unique=True, primary=True)
        of = TableId("", table.name)
        return TableSchema(of, Dialect.FILES, columns, key if table.key else None)

    @contextmanager
    def snapshot(self, scope: Scope, readers: int) -> Iterator[MemoryView]:
        yield self.view(self, self.catalog(scope), readers)

    def close(self) -> None:
        pass


class MemorySourcePlace(SourcePlace):
    def __init__(self, kind: type[MemorySource] = MemorySource) -> None:
        self.kind = kind
        self.source: MemorySource = kind()

    def open(self) -> MemorySource:
        return self.kind()

    @contextmanager
    def inserted(self, table: SampleTable) -> Iterator[None]:
        self.source.data[table.name].append(table.more)
        self.source.changes += 1
        yield
        self.source.data[table.name].pop()


class WithMemorySource(SourceConformance):
    kind: type[MemorySource] = MemorySource

    @pytest.fixture(scope="class")
    @classmethod
    def place(cls) -> SourcePlace:
        return MemorySourcePlace(cls.kind)


class TestGoodSource(WithMemorySource):
    pass


def broken_source(view: type[MemoryView]) -> type[MemorySource]:
    return type(view.__name__ + "Source", (MemorySource,), {"view": view})


class LosesARow(MemoryView):
    def rows_of(self, chunk: Chunk) -> list[Row]:
        rows = super().rows_of(chunk)
        return rows[1:] if chunk.number == 1 else rows


class DoublesARow(MemoryView):
    def rows_of(self, chunk: Chunk) -> list[Row]:
        rows = super().rows_of(chunk)
        return rows[:1] + rows if chunk.number == 1 else rows


class LowIsInclusive(MemoryView):
    def rows_of(self, chunk: Chunk) -> list[Row]:
        if chunk.key == ("id",) and chunk.low:
            return super().rows_of(replace(chunk, low=(chunk.low[0] - 1,)))
        return super().rows_of(chunk)


class IgnoresSkip(MemoryView):
    def blocks(self, extract: Extract, chunk: Chunk) -> Iterator[pa.RecordBatch]:
        return super().blocks(extract, replace(chunk, skip=0))


class Unclosable(MemoryView):
    def read(self, extract: Extract, chunk: Chunk) -> Any:
        return iter(list(self.blocks(extract, chunk)))


class WrongTypes(MemoryView):
    def encoded(self, rows: Sequence[Row], extract: Extract) -> pa.RecordBatch:
        found = super().encoded(rows, extract)
        first = found.column(0).cast(pa.string())
        return pa.RecordBatch.from_arrays([first, *found.columns[1:]], found.schema.names)


class ColumnsOfTheTable(MemoryView):
    def encoded(self, rows: Sequence[Row], extract: Extract) -> pa.RecordBatch:
        table = self.catalog.table(extract.table)
        assert table is not None
        own = tuple(c for c in table.columns if c in extract.columns)
        return super().encoded(rows, replace(extract, columns=own))


class KeepsReaders(MemoryView):
    def blocks(self, extract: Extract, chunk: Chunk) -> Iterator[pa.RecordBatch]:
        whole = False
        try:
            yield from super().blocks(extract, chunk)
            whole = True
        finally:
            if not whole:
                self.free.acquire(timeout=0)


class SeesLaterRows(MemoryView):
    def __init__(self, source: MemorySource, catalog: Catalog, readers: int) -> None:
        super().__init__(source, catalog, readers)
        self.data = source.data


class StandsStill(MemoryView):
    def __init__(self, source: MemorySource, catalog: Catalog, readers: int) -> None:
        super().__init__(source, catalog, readers)
        self.position = {"system": "memory"}


class Nameless(MemoryView):
    def __init__(self, source: MemorySource, catalog: Catalog, readers: int) -> None:
        super().__init__(source, catalog, readers)
        self.position = {"changes": source.changes}


class NullMatches(MemoryView):
    def blocks(self, extract: Extract, chunk: Chunk) -> Iterator[pa.RecordBatch]:
        names = {f.column for f in extract.filters if f.operator == "!="}
        held = self.data
        if names:
            own = held[chunk.table.name]
            filled = [
                {k: "" if k in names and v is None else v for k, v in row.items()} for row in own
            ]
            self.data = {**held, chunk.table.name: filled}
        try:
            yield from super().blocks(extract, chunk)
        finally:
            self.data = held


class LimitFirst(MemoryView):
    def blocks(self, extract: Extract, chunk: Chunk) -> Iterator[pa.RecordBatch]:
        if extract.limit is None:
            yield from super().blocks(extract, chunk)
            return
        held = self.data
        self.data = {n: rows[: extract.limit] for n, rows in held.items()}
        try:
            yield from super().blocks(extract, chunk)
        finally:
            self.data = held


class SortsTheOtherWay(MemoryView):
    def blocks(self, extract: Extract, chunk: Chunk) -> Iterator[pa.RecordBatch]:
        sorts = tuple(replace(sort, descending=not sort.descending) for sort in extract.sorts)
        return super().blocks(replace(extract, sorts=sorts), chunk)


class Shuffles(MemoryView):
    turn = 0

    def rows_of(self, chunk: Chunk) -> list[Row]:
        self.turn += 1
        rows = super().rows_of(chunk)
        return rows if self.turn % 2 else rows[::-1]


class NoNearNames(MemorySource):
    def catalog(self, scope: Scope) -> Catalog:
        try:
            return super().catalog(scope)
        except NotFound as error:
            raise NotFound(error.message) from None


class MoreTables(MemorySource):
    def catalog(self, scope: Scope) -> Catalog:
        super().catalog(scope)
        return super().catalog(replace(scope, tables=None))


class ClosesOnce(MemorySource):
    closed = False

    def close(self) -> None:
        assert not self.closed
        self.closed = True


BROKEN_SOURCES: Mapping[str, tuple[type[MemorySource], set[str]]] = {
    kind.__name__: (kind if issubclass(kind, MemorySource) else broken_source(kind), fails)
    for kind, fails in {
        LosesARow: {"chunks_hold_each_row_once"},
        DoublesARow: {"chunks_hold_each_row_once"},
        LowIsInclusive: {"chunks_hold_each_row_once", "a_cut_chunk_goes_on"},
        IgnoresSkip: {"a_cut_chunk_goes_on", "a_chunk_cut_at_its_end_holds_no_more"},
        Unclosable: {"a_reader_that_is_closed_early_is_free", "some_columns_in_another_order"},
        WrongTypes: {"batches_have_exactly_the_schema"},
        ColumnsOfTheTable: {"some_columns_in_another_order"},
        KeepsReaders: {"a_reader_that_is_closed_early_is_free"},
        SeesLaterRows: {"later_rows_are_not_seen"},
        StandsStill: {"later_rows_are_not_seen"},
        Nameless: {"the_position_names_the_source_and_is_json"},
        NullMatches: {"filters"},
        LimitFirst: {"a_limit_comes_last"},
        SortsTheOtherWay: {"sorts", "a_limit_comes_last"},
        Shuffles: {"a_chunk_read_twice_is_the_same", "a_cut_chunk_goes_on"},
        NoNearNames: {"an_unknown_table_is_named_with_near_ones"},
        MoreTables: {"the_catalog_describes_the_tables_in_scope", "an_empty_scope_is_empty"},
        ClosesOnce: {"close_is_idempotent"},
    }.items()
}
"""What is broken, and the tests that have to fail of it (others may)."""


for _name, (_source, _) in BROKEN_SOURCES.items():
    globals()[f"Test{_name}"] = type(f"Test{_name}", (WithMemorySource,), {"kind": _source})
