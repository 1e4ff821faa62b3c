"""Tables of any source, mapped to a dialect by the Arrow types of their columns.

For a dialect that no mapping of its own leads to: names, keys and conversions are those of a
target of files, and each column gets the type that its Arrow type calls for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import pyarrow as pa

from streams_engine.errors import UnsupportedType
from streams_engine.model import Catalog, Column, Dialect, NativeType, TableId
from streams_engine.schema.mapping.databases_to_files import map_to_files
from streams_engine.schema.mapping.tables import (
    ColumnMapping,
    MappedCatalog,
    MappingOptions,
    TableMapping,
    override_for,
    warning,
)
from streams_engine.schema.types.files import family

__all__ = ["Rule", "arrow_mapper"]

Rule = str | Callable[[pa.DataType], str]
"""The text of a type, or what gives it for an Arrow type."""


def arrow_mapper(
    dialect: Dialect, rules: Mapping[str, Rule], parse: Callable[[str], NativeType]
) -> Callable[[Catalog, MappingOptions], MappedCatalog]:
    """Return a mapping to ``dialect``.

    ``rules`` gives a type's text for each family of `schema.types.files.FAMILIES` (``int``,
    ``float``, ``decimal``, ``string``, ...). A column whose type is of the dialect keeps it. The
    mapping raises `UnsupportedType` naming a column of another family.
    """

    def column(mapped: ColumnMapping, table: TableMapping, options: MappingOptions) -> Column:
        target = mapped.target
        override = override_for(options.overrides, table.source.id, mapped.source)
        if override is not None:
            return replace(target, type=override)
        if target.type.dialect is dialect:
            return target
        rule = rules.get(family(target.arrow))
        if rule is None:
            where = f"{table.source.id}.{mapped.source.name}"
            raise UnsupportedType(
                f"The column {where} has the type {target.type}, which {dialect} has no type for.",
                remedy="Name a type for it in options.typeOverrides, or leave the column out.",
                column=where,
            )
        return replace(target, type=parse(rule if isinstance(rule, str) else rule(target.arrow)))

    def onto(table: TableMapping, options: MappingOptions) -> TableMapping:
        columns = tuple(
            replace(mapped, target=column(mapped, table, options)) for mapped in table.columns
        )
        key = table.target.primary_key
        keyed = set(key.columns) if key else set()
        columns = tuple(
            replace(
                c,
                target=replace(c.target, nullable=c.target.nullable and c.target.name not in keyed),
            )
            for c in columns
        )
        target = replace(
            table.target,
            id=TableId(options.target_schema or "", table.target.id.name),
            dialect=dialect,
            columns=tuple(c.target for c in columns),
        )
        return replace(table, target=target, columns=columns)

    def run(catalog: Catalog, options: MappingOptions) -> MappedCatalog:
        mapped = map_to_files(catalog, options)
        tables = tuple(onto(table, options) for table in mapped.tables)
        left = [
            warning(
                "not-carried",
                table.source.id,
                f"Its indexes, checks and foreign keys are not created on {dialect}.",
            )
            for table in tables
            if table.source.indexes or table.source.checks or table.source.foreign_keys
        ]
        target = Catalog(dialect, tuple(t.target for t in tables))
        return MappedCatalog(catalog, target, tables, (*mapped.findings, *left))

    return run
