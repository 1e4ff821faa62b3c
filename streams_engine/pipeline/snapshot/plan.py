"""The plan of a convert: which table becomes what, by which DDL, and what is skipped."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from streams_engine.contracts import Statement
from streams_engine.display import html_block, html_folded, html_table
from streams_engine.errors import TargetConflict
from streams_engine.model import (
    Catalog,
    Column,
    Finding,
    NativeType,
    SkippedObject,
    TableId,
    TableSchema,
    findings_html,
)
from streams_engine.schema.ddl.structure import Structure
from streams_engine.schema.dialects import spec_of
from streams_engine.schema.mapping.tables import ColumnMapping, MappedCatalog, TableMapping
from streams_engine.schema.types.compatibility import fit
from streams_engine.units import plural

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
    """The plan of a run. Making it touches no target."""

    tables: tuple[TablePlan, ...]
    statements: tuple[Statement, ...]
    findings: tuple[Finding, ...]
    left_behind: tuple[SkippedObject, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as a JSON-able document."""
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

    def __str__(self) -> str:
        counted = (
            plural(len(self.tables), "table"),
            plural(len(self.statements), "statement"),
            plural(len(self.findings), "finding"),
        )
        kinds = Counter(skipped.kind for skipped in self.left_behind)
        left = ", ".join(plural(number, kind) for kind, number in kinds.items())
        return f"Plan: {', '.join(counted)}" + (f"; not moved: {left}" if left else "")

    def _repr_html_(self) -> str:
        tables = [
            (table.source, table.target, table.rows, c.name, c.source_type, c.target_type,
             " ".join(c.notes))
            for table in self.tables for c in table.columns
        ]  # fmt: skip
        headers = ("table", "becomes", "rows, about", "column", "type", "becomes", "notes")
        ddl = "\n".join(f"{statement.sql.rstrip(';')};" for statement in self.statements)
        left = [(skipped.kind, skipped.name) for skipped in self.left_behind]
        return html_block(
            str(self),
            findings_html(self.findings),
            html_table(("not moved", "name"), left) if left else "",
            html_table(headers, tables),
            html_folded(plural(len(self.statements), "statement"), ddl),
        )


def describe(mapped: MappedCatalog, wanted: Structure, findings: Sequence[Finding] = ()) -> Plan:
    """Plan a mapping onto an empty target."""
    return Plan(
        tuple(_table_plan(mapping) for mapping in mapped.tables),
        tuple(all_statements(mapped.target, wanted)),
        (*findings, *mapped.findings),
        mapped.source.skipped,
    )


def _table_plan(mapping: TableMapping) -> TablePlan:
    carried = {c.target.name: c for c in mapping.columns}
    columns = []
    for source, target in zip(mapping.source.columns, mapping.target.columns, strict=True):
        column = carried.get(target.name)
        columns.append(
            ColumnPlan(
                target.name,
                source.type.text,
                str(column.source.arrow) if column else "",
                target.type.text,
                column.notes if column else ("generated on the target",),
            )
        )
    return TablePlan(
        mapping.source.id, mapping.target.id, tuple(columns), mapping.source.estimated_rows
    )


def all_statements(catalog: Catalog, wanted: Structure) -> list[Statement]:
    """Return every statement that creates a catalog from nothing, in order; none without
    DDL."""
    ddl = spec_of(catalog.dialect).ddl
    if ddl is None:
        return []
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


def _row_types(table: TableSchema) -> Iterator[TableId]:
    """Yield the user-defined types of a table's columns, and of their elements: each table is
    one."""
    for column in table.columns:
        native: NativeType | None = column.type
        while native is not None:
            if native.user is not None:
                yield native.user
            native = native.element


def creation_order(tables: Sequence[TableSchema]) -> list[TableSchema]:
    """Return tables with the parents of plain inheritance before their children, and those whose
    rows are a column's type before the table of that column."""
    by_id = {table.id: table for table in tables}
    ordered: dict[TableId, TableSchema] = {}

    def visit(table: TableSchema) -> None:
        for parent in (*table.inherits, *_row_types(table)):
            if parent in by_id and parent not in ordered:
                visit(by_id[parent])
        ordered.setdefault(table.id, table)

    for table in tables:
        visit(table)
    return list(ordered.values())


# Existing tables


def adapt(mapping: TableMapping, existing: TableSchema, *, recreates: bool = True) -> TableMapping:
    """Adapt the mapping to an existing table. Raises `TargetConflict` naming columns.

    ``recreates``: another schemaPolicy would create the table again, which may be advised.
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
        f"column {extra.name} is NOT NULL without a default, and the stream writes no value to it"
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
    columns = spec_of(existing.dialect).onto_existing(columns)
    wanted = {c.target.name: c.target.type for c in mapping.columns}
    # Tuples go as they are: into the very same types alone.
    tuples = mapping.tuples and all(c.target.type == wanted[c.target.name] for c in columns)
    return replace(mapping, target=existing, columns=tuple(columns), tuples=tuples)


def _fault(column: ColumnMapping, there: Column | None) -> str | None:
    wanted = column.target
    if there is None:
        return f"column {wanted.name} ({wanted.type}) is missing"
    if there.generated is not None:
        return f"column {wanted.name} is a generated column there, but holds values on the source"
    if fit(column, there) is None:
        return (
            f"column {wanted.name} is {there.type} there, which cannot hold {column.source.type} "
            f"({wanted.type} can)"
        )
    return None
