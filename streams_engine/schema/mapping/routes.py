"""Map a source's catalog to a target's dialect."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from difflib import get_close_matches

from streams_engine.model import Catalog, Column, Dialect, Finding, NativeType
from streams_engine.schema.dialects import spec_of
from streams_engine.schema.mapping.tables import (
    ColumnMapping,
    MappedCatalog,
    MappingOptions,
    TableMapping,
    override_for,
    warning,
)

__all__ = ["map_catalog", "parse_type"]


def map_catalog(catalog: Catalog, target: Dialect | None, options: MappingOptions) -> MappedCatalog:
    """Map a source's catalog to a target dialect; None keeps everything as it is read.

    Raises `UnsupportedType` naming a column.
    """
    if target is None:
        return _as_it_is(catalog)
    spec = spec_of(target)
    mapped = spec.routes.get(catalog.dialect, spec.through_arrow)(catalog, options)
    return replace(
        mapped,
        target=spec.complete(mapped.target),
        findings=(*mapped.findings, *_unused(catalog, options)),
    )


def parse_type(dialect: Dialect, text: str) -> NativeType:
    """Parse a type's text in a target's dialect. Raises `UnsupportedType`."""
    return spec_of(dialect).parse_type(text)


def _unused(catalog: Catalog, options: MappingOptions) -> Iterator[Finding]:
    """Yield a warning for each override that matches no column, which is likely a typing error."""
    for pattern, native in options.overrides:
        alone = ((pattern, native),)
        if not any(override_for(alone, t.id, c) for t in catalog.tables for c in t.columns):
            known = sorted({f"{t.id.name}.{c.name}" for t in catalog.tables for c in t.columns})
            near = get_close_matches(pattern, known, 1)
            yield warning(
                "type-override",
                pattern,
                f"typeOverrides names {pattern}, which matches no column and no type of the "
                "source.",
                (f"Did you mean {near[0]}? " if near else "")
                + "Write table.column, schema.table.column, or a type of the source.",
            )


def _as_it_is(catalog: Catalog) -> MappedCatalog:
    def carried(column: Column) -> ColumnMapping:
        return ColumnMapping(column, column)

    tables = tuple(
        TableMapping(table, table, tuple(map(carried, table.columns))) for table in catalog.tables
    )
    return MappedCatalog(catalog, catalog, tables)
