"""Which mapping leads from one dialect to another: a table."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from streams_engine.model import Catalog, Column, Dialect, Finding, NativeType
from streams_engine.schema.from_files import map_files_to_mysql, map_files_to_postgres
from streams_engine.schema.from_mysql import map_mysql
from streams_engine.schema.from_postgres import map_postgres
from streams_engine.schema.mapping import (
    ColumnMapping,
    MappedCatalog,
    MappingOptions,
    TableMapping,
    override_for,
    warning,
)
from streams_engine.schema.mysql_names import mysql_type
from streams_engine.schema.mysql_to_mysql import map_mysql_to_mysql
from streams_engine.schema.postgres_names import postgres_type, with_extensions
from streams_engine.schema.to_files import file_type, map_to_files
from streams_engine.schema.to_mysql import map_postgres_to_mysql

__all__ = ["map_catalog", "parse_type"]

_MAPPERS: Mapping[
    tuple[Dialect, Dialect | None], Callable[[Catalog, MappingOptions], MappedCatalog]
] = {
    (Dialect.MYSQL, Dialect.POSTGRES): map_mysql,
    (Dialect.POSTGRES, Dialect.POSTGRES): map_postgres,
    (Dialect.MYSQL, Dialect.MYSQL): map_mysql_to_mysql,
    (Dialect.POSTGRES, Dialect.MYSQL): map_postgres_to_mysql,
    (Dialect.FILES, Dialect.POSTGRES): map_files_to_postgres,
    (Dialect.FILES, Dialect.MYSQL): map_files_to_mysql,
    **{(dialect, Dialect.FILES): map_to_files for dialect in Dialect},
}

_PARSERS: Mapping[Dialect, Callable[[str], NativeType]] = {
    Dialect.POSTGRES: postgres_type,
    Dialect.MYSQL: mysql_type,
    Dialect.FILES: file_type,
}


def map_catalog(catalog: Catalog, target: Dialect | None, options: MappingOptions) -> MappedCatalog:
    """Map a source's catalog to a target dialect; None keeps everything as it is read.

    Raises `UnsupportedType` naming a column.
    """
    if target is None:
        return _as_it_is(catalog)
    mapped = _MAPPERS[catalog.dialect, target](catalog, options)
    if target is Dialect.POSTGRES:
        mapped = replace(mapped, target=with_extensions(mapped.target))
    return replace(mapped, findings=(*mapped.findings, *_unused(catalog, options)))


def parse_type(dialect: Dialect, text: str) -> NativeType:
    """A type's text in a target's dialect. Raises `UnsupportedType`."""
    return _PARSERS[dialect](text)


def _unused(catalog: Catalog, options: MappingOptions) -> Iterator[Finding]:
    """The overrides that meet no column: a slip of the pen would go unseen."""
    for pattern, native in options.overrides:
        alone = ((pattern, native),)
        if not any(override_for(alone, t.id, c) for t in catalog.tables for c in t.columns):
            yield warning(
                "type-override",
                pattern,
                f"typeOverrides names {pattern}, which is no column and no type of the source.",
                "Write table.column, schema.table.column, or the source's type.",
            )


def _as_it_is(catalog: Catalog) -> MappedCatalog:
    def carried(column: Column) -> ColumnMapping:
        return ColumnMapping(column, column)

    tables = tuple(
        TableMapping(table, table, tuple(map(carried, table.columns))) for table in catalog.tables
    )
    return MappedCatalog(catalog, catalog, tables)
