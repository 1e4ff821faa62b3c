"""A table of any source as Arrow, in the exact types that files get: for looks and queries."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import pyarrow as pa

from streams_engine.errors import RowRejected
from streams_engine.model import Catalog, Chunk, Dialect, TableSchema
from streams_engine.protocols import Scope, Snapshot, Source
from streams_engine.schema.mapping import Findings, MappingOptions, Selected, TableMapping
from streams_engine.schema.routes import map_catalog, parse_type
from streams_engine.schema.selection import apply_selections
from streams_engine.schema.values import Converter

__all__ = ["Look", "Reading", "mapped", "reading", "reading_of"]

BLOCK_ROWS = 16_384


@dataclass(frozen=True, slots=True)
class Look:
    """What is wanted of one table."""

    selected: Selected = field(default_factory=Selected)
    offset: int = 0
    """Rows at the beginning that are left out; which ones they are only sorts can say."""
    texts: tuple[str, ...] = ()
    """Columns that are read as the texts that their server prints."""
    zero_dates: str = "null"


@dataclass(frozen=True, slots=True)
class Reading:
    """Rows on their way: the schema of every batch, and the batches."""

    schema: pa.Schema
    batches: Iterator[pa.RecordBatch]

    def table(self) -> pa.Table:
        """All of them."""
        return pa.Table.from_batches(list(self.batches), self.schema)


def mapped(table: TableSchema, look: Look) -> TableMapping:
    """How the wanted columns are read. Raises `ConfigError` naming a column that is not there."""
    alone = Catalog(table.dialect, (replace(table, foreign_keys=(), query=None),))
    by_name = f"{table.id.schema}.{table.id.name}"
    narrowed, _ = apply_selections(alone, {by_name: ("$", look.selected)}, Findings())
    text = parse_type(Dialect.FILES, "text")
    options = MappingOptions(
        overrides=tuple((f"{by_name}.{name}", text) for name in look.texts),
        zero_dates=look.zero_dates,
        file_format="parquet",
    )
    found = map_catalog(narrowed, Dialect.FILES, options).tables[0]
    source = replace(found.source, query=table.query)
    return replace(found, source=source, selection=look.selected)


@contextmanager
def reading(source: Source, scope: Scope, look: Look) -> Iterator[Reading]:
    """The rows of the one table (or query) that ``scope`` names, in one consistent view.

    The batches raise `RowRejected` naming a column with a value that its Arrow type cannot
    hold, as an infinite timestamp; leaving the context early frees the connection.
    """
    with source.snapshot(scope, 1) as view, reading_of(view, view.catalog.tables[-1], look) as rows:
        yield rows


@contextmanager
def reading_of(view: Snapshot, table: TableSchema, look: Look) -> Iterator[Reading]:
    """The rows of one table of an open view, as `reading`."""
    mapping = mapped(table, look)
    convert = Converter(mapping.columns, look.zero_dates)
    chunk = Chunk(mapping.source.id, skip=look.offset)
    blocks = view.read(mapping.extract(), chunk, BLOCK_ROWS)
    try:
        yield Reading(convert.schema, _converted(blocks, convert, mapping))
    finally:
        getattr(blocks, "close", lambda: None)()


def _converted(
    blocks: Iterator[pa.RecordBatch], convert: Converter, mapping: TableMapping
) -> Iterator[pa.RecordBatch]:
    for block in blocks:
        found, bad, _ = convert(block)
        if bad:
            name = f"{mapping.source.id}.{bad[0].column}"
            raise RowRejected(
                f"Column {name}: {bad[0].reason}.",
                remedy="Leave the column out, or read it as text.",
                column=name,
            )
        yield found
