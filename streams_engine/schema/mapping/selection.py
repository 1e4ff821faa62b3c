"""Apply the user's selection of tables to a catalog before it is mapped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace

from streams_engine.errors import ConfigError
from streams_engine.model import (
    Catalog,
    Column,
    Dialect,
    Expression,
    ForeignKey,
    Index,
    TableId,
    TableSchema,
)
from streams_engine.model import Sequence as Counter
from streams_engine.schema.mapping.tables import Findings, SelectedRows

__all__ = ["apply_selections"]


def apply_selections(
    catalog: Catalog, selections: Mapping[str, tuple[str, SelectedRows]], findings: Findings
) -> tuple[Catalog, dict[TableId, SelectedRows]]:
    """Return the catalog reduced to the selected columns, and the selection of each table.

    ``selections`` maps the table's name as the user wrote it to its JSON path and the selection.
    Raises `ConfigError` naming the path of a column that the table does not have.
    """
    chosen: dict[TableId, SelectedRows] = {}
    for table in catalog.tables:
        for name in (table.id.name, f"{table.id.schema}.{table.id.name}"):
            if name in selections and table.query is None:
                path, selected = selections[name]
                _check(table, selected, path)
                chosen[table.id] = selected
    narrowing = _Narrowing(
        {table: frozenset(s.columns) for table, s in chosen.items() if s.columns}, findings
    )
    if not narrowing.kept:
        return catalog, chosen
    tables = tuple(
        narrowing.table(table, chosen[table.id].columns)
        if table.id in narrowing.kept
        else narrowing.others(table)
        for table in catalog.tables
    )
    whole = replace(catalog, tables=tables)
    return replace(whole, sequences=narrowing.sequences(whole)), chosen


def _check(table: TableSchema, selected: SelectedRows, path: str) -> None:
    known = {column.name for column in table.columns}
    named = [(f"{path}.selectedColumns[{i}]", name) for i, name in enumerate(selected.columns)]
    for i, (where, name) in enumerate(named):
        if name in selected.columns[:i]:
            raise ConfigError(
                f"{where}: the column '{name}' is selected twice.",
                path=where,
                remedy="Name it once.",
            )
    named += [(f"{path}.filters[{i}].column", f.column) for i, f in enumerate(selected.filters)]
    named += [(f"{path}.sorts[{i}].column", s.column) for i, s in enumerate(selected.sorts)]
    for where, name in named:
        if name not in known:
            raise ConfigError(
                f"{where}: the table {table.id} has no column '{name}'.",
                path=where,
                remedy=f"It has: {', '.join(sorted(known))}.",
            )


def _names(expression: Expression | None) -> set[str] | None:
    """Return the columns that an expression names; None if it cannot be parsed."""
    if expression is None:
        return set()
    import sqlglot  # takes a tenth of a second to load, and few tables have an expression

    try:
        parsed = sqlglot.parse_one(expression.sql, dialect=str(expression.dialect))
    except sqlglot.errors.SqlglotError:
        return None
    return {column.name for column in parsed.find_all(sqlglot.exp.Column)}


@dataclass
class _Cut:
    """The rest of one table, and the names of what it lost."""

    kept: AbstractSet[str]
    left: list[str] = field(default_factory=list)

    def has(
        self,
        name: str,
        expressions: Iterable[Expression | None] = (),
        columns: Iterable[str] = (),
    ) -> bool:
        """Return True if all columns that an object needs are kept; else record its name as left
        out."""
        needs = [set(columns), *map(_names, expressions)]
        whole = all(names is not None and names <= self.kept for names in needs)
        if not whole:
            self.left.append(name)
        return whole

    def index(self, index: Index) -> bool:
        """Return True if all columns of an index are kept, including its condition and included
        columns."""
        expressions = [*(part.expression for part in index.parts), index.where]
        return self.has(index.name, expressions, (*index.columns, *index.include))

    def column(self, column: Column, counted: AbstractSet[str]) -> Column:
        """Return the column, as a plain one if what generates or numbers it is not kept."""
        if not self.has(column.name, [column.generated]):
            column = replace(column, generated=None)
        if column.identity is not None and column.name not in counted:
            column = replace(column, identity=None)
            self.left.append(f"the counter of {column.name}")
        return column


@dataclass
class _Narrowing:
    """The tables with their selected columns; what needs another one is left out, and said."""

    kept: Mapping[TableId, frozenset[str]]
    findings: Findings

    def table(self, table: TableSchema, names: Sequence[str]) -> TableSchema:
        """Return one table with only these columns, in their order."""
        cut = _Cut(self.kept[table.id])
        keys = [index for index in (table.primary_key,) if index and cut.index(index)]
        indexes = tuple(index for index in table.indexes if cut.index(index))
        foreign = tuple(
            fk
            for fk in table.foreign_keys
            if cut.has(fk.name, columns=fk.columns) and self._refers(fk, cut.left)
        )
        checks = tuple(check for check in table.checks if cut.has(check.name, [check.expression]))
        cut.left += [exclusion.name for exclusion in table.exclusions]
        cut.left += ["its partitions"] * (table.partitioning is not None)
        cut.left += ["its parents"] * bool(table.inherits)
        counted = {index.columns[0] for index in (*keys, *indexes) if index.columns}
        if table.dialect is not Dialect.MYSQL:  # which counts only the first column of a key
            counted = set(names)
        columns = tuple(cut.column(table.column(name), counted) for name in names)
        if cut.left:
            self.findings.warn(
                "selection",
                table.id,
                "Left out, or made plain, because columns are not selected: "
                f"{', '.join(sorted(cut.left))}.",
            )
        return replace(
            table,
            columns=columns,
            primary_key=keys[0] if keys else None,
            indexes=indexes,
            foreign_keys=foreign,
            checks=checks,
            exclusions=(),
            partitioning=None,
            inherits=(),
        )

    def _refers(self, fk: ForeignKey, left: list[str]) -> bool:
        there = self.kept.get(fk.referenced)
        whole = there is None or set(fk.referenced_columns) <= there
        if not whole:
            left.append(fk.name)
        return whole

    def others(self, table: TableSchema) -> TableSchema:
        """Return a table that is selected whole, without foreign keys to columns that are not
        selected."""
        left: list[str] = []
        foreign = tuple(fk for fk in table.foreign_keys if self._refers(fk, left))
        if not left:
            return table
        self.findings.warn(
            "selection",
            table.id,
            "These refer to columns that are not selected and are left out: "
            f"{', '.join(sorted(left))}.",
        )
        return replace(table, foreign_keys=foreign)

    def sequences(self, catalog: Catalog) -> tuple[Counter, ...]:
        """Return the sequences of selected columns; without an owner if another column calls the
        sequence."""
        kept = []
        for sequence in catalog.sequences:
            if sequence.owner is not None and not self._owned(sequence.owner):
                if not self._called(sequence, catalog):
                    continue
                sequence = replace(sequence, owner=None)
            kept.append(sequence)
        return tuple(kept)

    def _owned(self, owner: tuple[TableId, str]) -> bool:
        kept = self.kept.get(owner[0])
        return kept is None or owner[1] in kept

    def _called(self, sequence: Counter, catalog: Catalog) -> bool:
        return any(
            column.default is not None
            and f"nextval('{sequence.id.name}'" in column.default.sql.replace('"', "")
            for table in catalog.tables
            for column in table.columns
            if column.name in self.kept.get(table.id, {column.name})
        )
