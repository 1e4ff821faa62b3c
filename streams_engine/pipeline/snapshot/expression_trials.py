"""Find expressions that the target's server refuses, before anything is created."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from streams_engine.contracts import Statement, TrialSink
from streams_engine.errors import StreamsError
from streams_engine.model import Catalog, Check, Column, Expression, Finding, TableId, TableSchema
from streams_engine.pipeline.snapshot.plan import creation_order
from streams_engine.schema.ddl.structure import Structure
from streams_engine.schema.dialects import ddl_of
from streams_engine.schema.mapping.tables import MappedCatalog, TableMapping, warning

__all__ = ["without_refused"]

_PLAIN_DEFAULT = re.compile(
    r"(?is)\s*(?:'[^']*'(?:::[\w\s().\"\[\]]+)?|[-+]?[\d.]+|null|true|false|b'[01]*'"
    r"|\(?(?:current_timestamp|now)(?:\(\d*\))?\)?|nextval\('[^']*'::regclass\))\s*$"
)
"""Defaults that every server takes: most tables have no other, and need no trial."""

Change = Callable[[TableSchema], TableSchema]


@dataclass(frozen=True, slots=True)
class _Part:
    """An expression of a table: how the table gets it, and what is said where it is refused."""

    add: Change
    code: str
    name: str
    expression: Expression
    message: str
    remedy: str | None = None
    instead: Change | None = None
    """Another way to have it, tried next."""


def without_refused(
    mapped: MappedCatalog, made: Catalog, sink: TrialSink, wanted: Structure
) -> tuple[MappedCatalog, list[Finding]]:
    """Return the mapping without the expressions that the target rejects in tables to be created.

    If a table is rejected for another reason nothing changes: creating it will report that.
    """
    tables = [table for table in made.tables if any(_parts(table, wanted))]
    if not tables or not wanted.tables:
        return mapped, []
    trial = _Trial(sink, made, wanted)
    errors = trial.run(tables)
    findings: list[Finding] = []
    changed: dict[TableId, TableSchema] = {}
    for table, error in zip(tables, errors, strict=True):
        if error is not None:
            narrowed = trial.narrowed(table, findings)
            if narrowed is not None:
                changed[table.id] = narrowed
    if not changed:
        return mapped, []
    target = replace(
        mapped.target,
        tables=tuple(changed.get(table.id, table) for table in mapped.target.tables),
    )
    mappings = tuple(
        _remapped(mapping, changed[mapping.target.id]) if mapping.target.id in changed else mapping
        for mapping in mapped.tables
    )
    return replace(mapped, target=target, tables=mappings), findings


def _remapped(mapping: TableMapping, target: TableSchema) -> TableMapping:
    columns = {column.name: column for column in target.columns}
    computed = [c for c in mapping.generated if columns[c.target.name].generated is not None]
    plain = [c for c in mapping.generated if columns[c.target.name].generated is None]
    carried = mapping.carrying(plain)
    return replace(
        mapping,
        target=target,
        columns=carried,
        generated=tuple(computed),
        tuples=mapping.tuples and not plain,
    )


@dataclass(frozen=True, slots=True)
class _Trial:
    sink: TrialSink
    made: Catalog
    wanted: Structure

    def run(self, tables: Sequence[TableSchema]) -> Sequence[StreamsError | None]:
        ddl = ddl_of(self.made.dialect)
        attempts = []
        for table in tables:
            statements: list[Statement] = []
            for schema in creation_order([*self._ancestors(table), table]):
                statements += ddl.table(schema, self.wanted)
            attempts.append(statements)
        return self.sink.try_out(list(ddl.objects(self.made)), attempts)

    def _ancestors(self, table: TableSchema) -> list[TableSchema]:
        ancestors: dict[TableId, TableSchema] = {}
        left = list(table.inherits)
        while left:
            parent = self.made.table(left.pop())
            if parent is not None and parent.id not in ancestors:
                ancestors[parent.id] = parent
                left += parent.inherits
        return list(ancestors.values())

    def narrowed(self, table: TableSchema, findings: list[Finding]) -> TableSchema | None:
        """Return the table with as many of its expressions as the target accepts; None if it
        accepts none."""
        parts = list(_parts(table, self.wanted))
        kept = _bare(table)
        if self.run([kept])[0] is not None:
            return None
        for part in parts:
            candidates = [part.add(kept)]
            candidates += [part.instead(kept)] if part.instead is not None else []
            errors = self.run(candidates)
            accepted = [c for c, error in zip(candidates, errors, strict=True) if error is None]
            if accepted:
                kept = accepted[0]
            error = errors[0]
            if error is not None:
                findings.append(_finding(table, part, error, stored=bool(accepted)))
        return kept


def _finding(table: TableSchema, part: _Part, error: StreamsError, *, stored: bool) -> Finding:
    source = part.expression.source or part.expression.sql
    says = error.message.rstrip(".")
    message = f"On the source it is ({source}); the target refuses ({part.expression.sql}): {says}."
    if stored:
        return warning(
            "generated-stored",
            f"{table.id}.{part.name}",
            f"{message} Its values are stored, not computed when it is read.",
        )
    return warning(part.code, f"{table.id}.{part.name}", f"{message} {part.message}", part.remedy)


def _bare(table: TableSchema) -> TableSchema:
    columns = tuple(
        replace(
            column,
            generated=None,
            default=None if _doubtful(column) else column.default,
        )
        for column in table.columns
    )
    checks = tuple(check for check in table.checks if check.optional)
    return replace(table, columns=columns, checks=checks)


def _doubtful(column: Column) -> bool:
    default = column.default
    return default is not None and not _PLAIN_DEFAULT.match(default.sql)


def _parts(table: TableSchema, wanted: Structure) -> Iterator[_Part]:
    for column in table.columns:
        if column.generated is not None:
            yield _Part(
                _with(column.name, generated=column.generated, stored=column.stored),
                "generated-as-plain",
                column.name,
                column.generated,
                "It becomes a plain column with its values.",
                instead=None
                if column.stored
                else _with(column.name, generated=column.generated, stored=True),
            )
        elif column.default is not None and _doubtful(column):
            yield _Part(
                _with(column.name, default=column.default),
                "default",
                column.name,
                column.default,
                "The default is left out.",
                "Set it by hand after the run.",
            )
    for check in table.checks if wanted.checks else ():
        if not check.optional:
            yield _Part(
                _with_check(check),
                "check",
                check.name,
                check.expression,
                "The check is left out.",
                "Add it by hand after the run.",
            )


def _with_check(check: Check) -> Change:
    return lambda table: replace(table, checks=(*table.checks, check))


def _with(name: str, **changes: object) -> Change:
    def change(table: TableSchema) -> TableSchema:
        columns = tuple(
            replace(column, **changes) if column.name == name else column  # type: ignore[arg-type]
            for column in table.columns
        )
        return replace(table, columns=columns)

    return change
