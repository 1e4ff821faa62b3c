"""The plan of a convert: which table becomes what, by which DDL, and what is skipped."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any

from streams_engine.contracts import Statement
from streams_engine.display import html_block, html_folded, html_table, html_unfolded
from streams_engine.errors import NotFound, TargetConflict
from streams_engine.model import (
    Catalog,
    Column,
    Dialect,
    Finding,
    NativeType,
    ObjectKind,
    Severity,
    SkippedObject,
    TableId,
    TableSchema,
    findings_html,
)
from streams_engine.schema.ddl.structure import Structure
from streams_engine.schema.dialects import spec_of
from streams_engine.schema.mapping.tables import ColumnMapping, MappedCatalog, TableMapping
from streams_engine.schema.types.canonical import canonical_type_of
from streams_engine.schema.types.compatibility import fit
from streams_engine.units import about_rows, plural, size

__all__ = [
    "ColumnPlan",
    "Plan",
    "TablePlan",
    "adapt",
    "creation_order",
    "demand_alike",
    "describe",
]


@dataclass(frozen=True, slots=True)
class ColumnPlan:
    """One column: source type, Arrow type in between, target type, and what to know of it."""

    name: str
    source_type: str
    arrow_type: str
    target_type: str
    notes: tuple[str, ...] = ()
    changed: bool = False
    """Its values are of another kind on the target: ``bigint unsigned`` as ``numeric``, not ``int``
    as ``integer``."""

    def __str__(self) -> str:
        notes = f" ({'; '.join(self.notes)})" if self.notes else ""
        return f"{self.name}: {self.source_type} -> {self.target_type}{notes}"


@dataclass(frozen=True, slots=True)
class TablePlan:
    """One table; ``rows`` and ``bytes`` are the source's own estimates."""

    source: TableId
    target: TableId
    columns: tuple[ColumnPlan, ...]
    rows: int | None = None
    bytes: int | None = None
    types: tuple[str, ...] = ()
    """The user-defined types of its columns on the target."""

    @property
    def changes(self) -> tuple[str, ...]:
        """What changes by more than a spelling: the table's own name, then each column whose values
        are of another kind, with its type on the target."""
        renamed = [self.target.name] if self.source.name != self.target.name else []
        return (
            *(f"renamed {name}" for name in renamed),
            *(f"{column.name} {column.target_type}" for column in self.columns if column.changed),
        )

    def __str__(self) -> str:
        about = f", {about_rows(self.rows)}"
        head = f"{self.source} -> {self.target}{about}"
        return "\n".join([head, *(f"  {column}" for column in self.columns)])

    def _repr_html_(self) -> str:
        about = f", {about_rows(self.rows)}"
        rows = [(c.name, c.source_type, c.target_type, " ".join(c.notes)) for c in self.columns]
        headers = ("column", "type", "becomes", "notes")
        return html_block(f"{self.source} becomes {self.target}{about}", html_table(headers, rows))


@dataclass(frozen=True, slots=True)
class Plan:
    """The plan of a run. Making it changes nothing on the target."""

    tables: tuple[TablePlan, ...]
    statements: tuple[Statement, ...]
    findings: tuple[Finding, ...]
    left_behind: tuple[SkippedObject, ...]

    @property
    def errors(self) -> tuple[Finding, ...]:
        """The findings of severity error: what prevents a run, or what it leaves out."""
        return tuple(f for f in self.findings if f.severity is Severity.ERROR)

    def of(self, *names: str) -> Plan:
        """Return what the plan says about some tables, by their names on the source, with or
        without schema. Raises `NotFound` naming similar ones."""
        chosen = tuple(dict.fromkeys(map(self._named, names)))
        by_table = self.findings_by_table()
        return Plan(
            chosen,
            tuple(s for s in self.statements if any(_is_of(s, table) for table in chosen)),
            tuple(f for table in chosen for f in by_table.get(table.source, ())),
            (),
        )

    def _named(self, name: str) -> TablePlan:
        known = {text: t for t in self.tables for text in (t.source.name, str(t.source))}
        if name in known:
            return known[name]
        near = get_close_matches(name, known, 3)
        raise NotFound(
            f"The plan has no table {name}.",
            remedy=f"Similar names: {', '.join(near)}." if near else "Leave the name out for all.",
            table=name,
        )

    def findings_by_table(self) -> dict[TableId, tuple[Finding, ...]]:
        """Return the findings about each table, its columns, keys and indexes; by its `TableId` on
        the source. Those about something else, such as a server, are in none."""
        names = {text: t.source for t in self.tables for text in (str(t.source), str(t.target))}
        longest = sorted(names, key=len, reverse=True)
        told: dict[TableId, list[Finding]] = {}
        for finding in self.findings:
            name = next((name for name in longest if _is_about(finding.object, name)), None)
            if name is not None:
                told.setdefault(names[name], []).append(finding)
        return {table: tuple(found) for table, found in told.items()}

    def to_sql(self) -> str:
        """Return the DDL, each statement on a line of its own and ended by a semicolon."""
        return "\n".join(f"{statement.sql.rstrip(';')};" for statement in self.statements)

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as a JSON-able document."""
        by_table = self.findings_by_table()
        return {
            "tables": [
                {
                    "source": str(table.source),
                    "target": str(table.target),
                    "rows": table.rows,
                    "bytes": table.bytes,
                    "changes": list(table.changes),
                    "findings": len(by_table.get(table.source, ())),
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
        rows, sizes = _total(t.rows for t in self.tables), _total(t.bytes for t in self.tables)
        severities = Counter(finding.severity for finding in self.findings)
        kinds = Counter(skipped.kind for skipped in self.left_behind)
        parts = [
            plural(len(self.tables), "table"),
            *([] if rows is None else [f"about {plural(rows, 'row')}"]),
            *([] if sizes is None else [size(sizes)]),
            plural(len(self.statements), "statement"),
            *(_counted(severities) or ["no findings"]),
        ]
        left = ", ".join(plural(number, kind) for kind, number in kinds.items())
        return f"Plan: {', '.join(parts)}" + (f"; not moved: {left}" if left else "")

    def _repr_html_(self) -> str:
        by_table = self.findings_by_table()
        tables = [
            (t.source, t.rows, None if t.bytes is None else size(t.bytes), t.target,
             ", ".join(t.changes), len(by_table.get(t.source, ())))
            for t in self.tables
        ]  # fmt: skip
        columns = [
            (t.source, c.name, c.source_type, c.target_type, " ".join(c.notes))
            for t in self.tables for c in t.columns
        ]  # fmt: skip
        headers = ("table", "rows, about", "size", "becomes", "changes", "findings")
        left = [(skipped.kind, skipped.name) for skipped in self.left_behind]
        more = ("table", "column", "type", "becomes", "notes")
        return html_block(
            str(self),
            html_table(headers, tables),
            findings_html(self.findings),
            html_table(("not moved", "name"), left) if left else "",
            html_unfolded(plural(len(columns), "column"), html_table(more, columns)),
            html_folded(plural(len(self.statements), "statement"), self.to_sql()),
        )


def _counted(severities: Counter[Severity]) -> list[str]:
    """Return how many findings there are of each severity, the gravest first."""
    counted = [
        plural(severities[Severity.ERROR], "error"),
        plural(severities[Severity.WARNING], "warning"),
        f"{severities[Severity.INFO]:,} info",
    ]
    return [text for text in counted if not text.startswith("0 ")]


def _total(numbers: Iterable[int | None]) -> int | None:
    """Return the sum of what is known; None if nothing is."""
    known = [number for number in numbers if number is not None]
    return sum(known) if known else None


def _is_about(what: str, name: str) -> bool:
    """Return whether an object, in words, is the table of that name or belongs to it: it is named
    as ``t``, ``t.column``, ``table t`` or ``index i of t``."""
    return f" {what}.".find(f" {name}.") >= 0


def _is_of(statement: Statement, table: TablePlan) -> bool:
    """Return whether a statement makes a table, or a type of its columns."""
    if statement.table is not None:
        return statement.table == table.target
    return statement.object.kind is ObjectKind.TYPE and statement.object.name in table.types


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
                _is_of_another_kind(source.type, target.type),
            )
        )
    rows = mapping.source.estimated_rows
    if mapping.source.dialect is Dialect.MYSQL:
        rows = rows or None  # InnoDB counts in the background: of a new table it says 0
    return TablePlan(
        mapping.source.id,
        mapping.target.id,
        tuple(columns),
        rows,
        mapping.source.bytes,
        tuple(dict.fromkeys(str(user) for user in _row_types(mapping.target))),
    )


def _is_of_another_kind(source: NativeType, target: NativeType) -> bool:
    spans = target.name == "interval" != source.name
    return spans or canonical_type_of(source) is not canonical_type_of(target)


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


def demand_alike(mapping: TableMapping, existing: TableSchema) -> None:
    """Raise `TargetConflict` if an existing table does not hold what the table that the mapping
    would create holds, as it is."""
    adapted = adapt(mapping, existing, recreates=False).columns
    others = [f"{c.target.name} is {c.target.type}" for c in adapted if c.fit is not None]
    wanted, there = mapping.target.primary_key, existing.primary_key
    if (wanted and wanted.columns) != (there and there.columns):
        key = ", ".join(there.columns) if there else "missing"
        others.append(f"the primary key is {key}")
    if others:
        raise TargetConflict(
            f"The table {existing.id} on the target is another than the stream would make: "
            f"{'; '.join(others)}.",
            remedy="Drop it there, or leave the table out.",
            table=str(existing.id),
        )


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
