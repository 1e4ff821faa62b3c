"""The plan of a convert: which table becomes what, with which DDL, and what is not carried."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from streams_engine.errors import TargetConflict
from streams_engine.model import (
    Catalog,
    Column,
    Dialect,
    Finding,
    LeftBehind,
    TableId,
    TableSchema,
)
from streams_engine.protocols import Statement
from streams_engine.schema.ddl import ddl_of
from streams_engine.schema.fitting import fit
from streams_engine.schema.from_postgres import without_wire
from streams_engine.schema.mapping import ColumnMapping, MappedCatalog, TableMapping
from streams_engine.schema.structure import Structure

__all__ = ["ColumnPlan", "Plan", "TablePlan", "adapt", "creation_order", "describe"]


@dataclass(frozen=True, slots=True)
class ColumnPlan:
    """One column: source type, Arrow type in between, target type, and what to know of it."""

    name: str
    source_type: str
    arrow_type: str
    target_type: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TablePlan:
    """One table; ``rows`` is the source's own estimate."""

    source: TableId
    target: TableId
    columns: tuple[ColumnPlan, ...]
    rows: int | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run would do. Making it touches no target."""

    tables: tuple[TablePlan, ...]
    statements: tuple[Statement, ...]
    findings: tuple[Finding, ...]
    left_behind: tuple[LeftBehind, ...]

    def to_dict(self) -> dict[str, Any]:
        """The plan as a JSON-able document."""
        return {
            "tables": [
                {
                    "source": str(table.source),
                    "target": str(table.target),
                    "rows": table.rows,
                    "columns": [
                        {
                            "name": c.name,
                            "sourceType": c.source_type,
                            "arrowType": c.arrow_type,
                            "targetType": c.target_type,
                            "notes": list(c.notes),
                        }
                        for c in table.columns
                    ],
                }
                for table in self.tables
            ],
            "statements": [s.sql for s in self.statements],
            "findings": [
                {
                    "severity": str(f.severity),
                    "code": f.code,
                    "object": f.object,
                    "message": f.message,
                    "remedy": f.remedy,
                }
                for f in self.findings
            ],
            "leftBehind": [{"kind": x.kind, "name": x.name} for x in self.left_behind],
        }


def describe(mapped: MappedCatalog, wanted: Structure, findings: Sequence[Finding] = ()) -> Plan:
    """The plan of a mapping onto an empty target."""
    return Plan(
        tuple(_table_plan(mapping) for mapping in mapped.tables),
        tuple(all_statements(mapped.target, wanted)),
        (*findings, *mapped.findings),
        mapped.source.left_behind,
    )


def _table_plan(mapping: TableMapping) -> TablePlan:
    carried = {c.target.name: c for c in mapping.columns}
    columns = []
    for source, target in zip(mapping.source.columns, mapping.target.columns, strict=True):
        found = carried.get(target.name)
        columns.append(
            ColumnPlan(
                target.name,
                source.type.text,
                str(found.source.arrow) if found else "",
                target.type.text,
                found.notes if found else ("generated on the target",),
            )
        )
    return TablePlan(
        mapping.source.id, mapping.target.id, tuple(columns), mapping.source.estimated_rows
    )


def all_statements(catalog: Catalog, wanted: Structure) -> list[Statement]:
    """Every statement that builds a catalog from nothing, in order; none for files."""
    if catalog.dialect is Dialect.FILES:
        return []
    ddl = ddl_of(catalog.dialect)
    statements: list[Statement] = []
    if wanted.tables:
        statements += ddl.objects(catalog)
        for schema in creation_order(catalog.tables):
            statements += ddl.table(schema, wanted)
    for schema in catalog.tables:
        statements += ddl.indexes(schema, wanted)
    statements += ddl.sequence_values(catalog)
    if wanted.foreign_keys:
        for schema in catalog.tables:
            statements += ddl.foreign_keys(schema)
    return statements


def creation_order(tables: Sequence[TableSchema]) -> list[TableSchema]:
    """Tables with the parents of plain inheritance before their children."""
    by_id = {table.id: table for table in tables}
    ordered: dict[TableId, TableSchema] = {}

    def visit(table: TableSchema) -> None:
        for parent in table.inherits:
            if parent in by_id and parent not in ordered:
                visit(by_id[parent])
        ordered.setdefault(table.id, table)

    for table in tables:
        visit(table)
    return list(ordered.values())


# Existing tables


def adapt(mapping: TableMapping, existing: TableSchema, *, recreates: bool = True) -> TableMapping:
    """The mapping onto a table that is already there. Raises `TargetConflict` naming columns.

    ``recreates``: the table would be made anew by another schemaPolicy, which may be advised.
    """
    faults: list[str] = []
    present = {column.name: column for column in existing.columns}
    plain = []
    for computed in mapping.generated:
        there = present.get(computed.target.name)
        if there is None:
            faults.append(f"column {computed.target.name} ({computed.target.type}) is missing")
        elif there.generated is None:
            plain.append(computed)
    if plain:
        mapping = replace(mapping, columns=mapping.carrying(plain), tuples=False)
    columns = []
    for column in mapping.columns:
        there = present.pop(column.target.name, None)
        fault = _fault(column, there)
        if fault:
            faults.append(fault)
        fitted = None if there is None else fit(column, there)
        if fitted is not None:
            columns.append(fitted)
    faults += [
        f"column {extra.name} is NOT NULL without a default and gets no value"
        for extra in present.values()
        if not extra.nullable
        and extra.default is None
        and extra.identity is None
        and extra.generated is None
    ]
    if faults:
        raise TargetConflict(
            f"The table {existing.id} on the target does not fit {mapping.source.id}: "
            f"{'; '.join(faults)}.",
            remedy="Change the table, or choose typeOverrides"
            + (", or use schemaPolicy drop_and_recreate." if recreates else "."),
            table=str(existing.id),
            faults=faults,
        )
    if existing.dialect is Dialect.POSTGRES:
        columns = without_wire(columns)
    wanted = {c.target.name: c.target.type for c in mapping.columns}
    # Tuples go as they are: into the very same types alone.
    tuples = mapping.tuples and all(c.target.type == wanted[c.target.name] for c in columns)
    return replace(mapping, target=existing, columns=tuple(columns), tuples=tuples)


def _fault(column: ColumnMapping, there: Column | None) -> str | None:
    wanted = column.target
    if there is None:
        return f"column {wanted.name} ({wanted.type}) is missing"
    if there.generated is not None:
        return f"column {wanted.name} is generated there and holds values here"
    if fit(column, there) is None:
        return (
            f"column {wanted.name} is {there.type} there, which holds no {column.source.type} "
            f"({wanted.type} does)"
        )
    return None
