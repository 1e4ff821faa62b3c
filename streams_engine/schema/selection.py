"""What a user selected of the tables, applied to a catalog before it is mapped."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from streams_engine.errors import ConfigError
from streams_engine.model import Catalog, Index, TableId, TableSchema
from streams_engine.schema.mapping import Findings, Selected

__all__ = ["apply_selections"]


def apply_selections(
    catalog: Catalog, selections: Mapping[str, tuple[str, Selected]], findings: Findings
) -> tuple[Catalog, dict[TableId, Selected]]:
    """The catalog with the chosen columns alone, and what is chosen of each table.

    ``selections``: by the table's name as the user wrote it, its JSON path and the choice.
    Raises `ConfigError` naming the path of a column that the table has not.
    """
    chosen: dict[TableId, Selected] = {}
    tables = []
    for table in catalog.tables:
        for name in (table.id.name, f"{table.id.schema}.{table.id.name}"):
            if name in selections and table.query is None:
                path, selected = selections[name]
                _check(table, selected, path)
                chosen[table.id] = selected
                if selected.columns:
                    table = _narrowed(table, selected.columns, findings)
        tables.append(table)
    return replace(catalog, tables=tuple(tables)), chosen


def _check(table: TableSchema, selected: Selected, path: str) -> None:
    known = {column.name for column in table.columns}
    named = [(f"{path}.selectedColumns[{i}]", name) for i, name in enumerate(selected.columns)]
    named += [(f"{path}.filters[{i}].column", f.column) for i, f in enumerate(selected.filters)]
    named += [(f"{path}.sorts[{i}].column", s.column) for i, s in enumerate(selected.sorts)]
    for where, name in named:
        if name not in known:
            raise ConfigError(
                f"{where}: the table {table.id} has no column '{name}'.",
                path=where,
                remedy=f"It has: {', '.join(sorted(known))}.",
            )


def _narrowed(table: TableSchema, names: tuple[str, ...], findings: Findings) -> TableSchema:
    """The table with these columns; what needs another one is left out."""
    kept = set(names)

    def whole(index: Index | None) -> bool:
        return (
            index is not None
            and set(index.columns) <= kept
            and len(index.columns) == len(index.parts)
        )

    left = [i.name for i in (table.primary_key, *table.indexes) if i and not whole(i)]
    left += [fk.name for fk in table.foreign_keys if not set(fk.columns) <= kept]
    left += [check.name for check in table.checks]
    if left:
        findings.warn(
            "selection",
            table.id,
            f"Left out with the columns that are not selected: {', '.join(sorted(left))}.",
        )
    return replace(
        table,
        columns=tuple(table.column(name) for name in names),
        primary_key=table.primary_key if whole(table.primary_key) else None,
        indexes=tuple(index for index in table.indexes if whole(index)),
        foreign_keys=tuple(fk for fk in table.foreign_keys if set(fk.columns) <= kept),
        checks=(),
        exclusions=(),
        partitioning=None,
        inherits=(),
    )
