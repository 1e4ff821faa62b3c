"""Rows of a source's table as Arrow, in the exact types that files get."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import pyarrow as pa

from streams_engine.contracts import Scope, Snapshot, Source
from streams_engine.errors import RowRejected
from streams_engine.model import Catalog, Chunk, Dialect, TableSchema
from streams_engine.schema.mapping.routes import map_catalog, parse_type
from streams_engine.schema.mapping.selection import apply_selections
from streams_engine.schema.mapping.tables import (
    Findings,
    MappingOptions,
    SelectedRows,
    TableMapping,
)
from streams_engine.schema.types.conversions import Converter

__all__ = ["PreviewRequest", "PreviewRows", "mapped", "preview", "preview_of"]


@dataclass(frozen=True, slots=True)
class PreviewRequest:
    """The rows wanted of one table."""

    selected: SelectedRows = field(default_factory=SelectedRows)
    offset: int = 0
    """Rows at the beginning that are left out; which ones they are only sorts can say."""
    texts: tuple[str, ...] = ()
    """Columns that are read as the texts that their server prints."""
    zero_dates: str = "null"


@dataclass(frozen=True, slots=True)
class PreviewRows:
    """Rows on their way: the schema of every batch, and the batches."""

    schema: pa.Schema
    batches: Iterator[pa.RecordBatch]

    def table(self) -> pa.Table:
        """Return all rows as one table."""
        return pa.Table.from_batches(list(self.batches), self.schema)


def mapped(table: TableSchema, request: PreviewRequest) -> TableMapping:
    """Map the selected columns. Raises `ConfigError` naming a column that does not exist."""
    alone = Catalog(table.dialect, (replace(table, foreign_keys=(), query=None),))
    by_name = f"{table.id.schema}.{table.id.name}"
    narrowed, _ = apply_selections(alone, {by_name: ("$", request.selected)}, Findings())
    text = parse_type(Dialect.FILES, "text")
    options = MappingOptions(
        overrides=tuple((f"{by_name}.{name}", text) for name in request.texts),
        zero_dates=request.zero_dates,
    )
    mapping = map_catalog(narrowed, Dialect.FILES, options).tables[0]
    source = replace(mapping.source, query=table.query)
    return replace(mapping, source=source, selection=request.selected)


@contextmanager
def preview(source: Source, scope: Scope, request: PreviewRequest) -> Iterator[PreviewRows]:
    """Read the one table (or query) that ``scope`` names, in one consistent snapshot.

    The batches raise `RowRejected` naming a column with a value that its Arrow type cannot hold,
    such as an infinite timestamp. Leaving the block early frees the connection.
    """
    with (
        source.snapshot(scope, 1) as view,
        preview_of(view, view.catalog.tables[-1], request) as rows,
    ):
        yield rows


@contextmanager
def preview_of(
    view: Snapshot, table: TableSchema, request: PreviewRequest
) -> Iterator[PreviewRows]:
    """Read one table of an open snapshot, like `preview`."""
    mapping = mapped(table, request)
    convert = Converter(mapping.columns, request.zero_dates)
    chunk = Chunk(mapping.source.id, skip=request.offset)
    blocks = view.read(mapping.extract(), chunk)
    try:
        yield PreviewRows(convert.schema, _converted(blocks, convert, mapping))
    finally:
        blocks.close()


def _converted(
    blocks: Iterator[pa.RecordBatch], convert: Converter, mapping: TableMapping
) -> Iterator[pa.RecordBatch]:
    for block in blocks:
        converted, bad, _ = convert(block)
        if bad:
            name = f"{mapping.source.id}.{bad[0].column}"
            raise RowRejected(
                f"Column {name}: {bad[0].reason}.",
                remedy="Leave the column out, or read it as text.",
                column=name,
            )
        yield converted
