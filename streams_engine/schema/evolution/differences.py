"""Compare two mappings of one table: column by column, key by key. Pure.

Columns are paired by their source names, and everything else is compared in the target's terms
with the pairs' new names put in, so that a rename alone changes neither index nor check.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from streams_engine.model import (
    Check,
    Column,
    Dialect,
    Exclusion,
    Expression,
    ForeignKey,
    Index,
    NativeType,
    Partitioning,
    TableSchema,
    TypeKind,
)
from streams_engine.schema.ddl.structure import Structure
from streams_engine.schema.mapping.tables import ColumnMapping, TableMapping

__all__ = [
    "ChangedObjects",
    "ColumnPair",
    "TableDifference",
    "bare",
    "canonical",
    "enum_of",
    "in_sequence",
    "mentions",
    "named_columns",
    "of",
    "sides",
    "trimmed",
]

K = TypeVar("K", bound=Hashable)
T = TypeVar("T", Index, ForeignKey, Check)


@dataclass(frozen=True, slots=True)
class ColumnPair:
    """A column that was there before and is there after."""

    before: ColumnMapping
    after: ColumnMapping

    @property
    def old(self) -> Column:
        """The target's column as it is."""
        return self.before.target

    @property
    def new(self) -> Column:
        """The target's column as it is to be."""
        return self.after.target


@dataclass(frozen=True, slots=True)
class ChangedObjects(Generic[T]):
    """The changes of a table's indexes, foreign keys or checks."""

    gone: tuple[T, ...]
    renamed: tuple[tuple[T, T], ...]
    made: tuple[T, ...]


@dataclass(frozen=True, slots=True)
class TableDifference:
    """All that differs; the schemas are the target's."""

    old: TableSchema
    new: TableSchema
    source: Dialect
    pairs: tuple[ColumnPair, ...]
    dropped: tuple[ColumnMapping, ...]
    added: tuple[ColumnMapping, ...]
    redone: tuple[ColumnPair, ...] = ()
    """Generated columns that are dropped and added: their values are computed anew."""

    @property
    def names(self) -> Mapping[str, str]:
        """Old to new name of the columns that stay."""
        return {pair.old.name: pair.new.name for pair in self.pairs}

    @property
    def away(self) -> tuple[Column, ...]:
        """The columns to drop, those that are computed of others first."""
        columns = (*(p.old for p in self.redone), *(c.target for c in self.dropped))
        return tuple(sorted(columns, key=lambda column: column.generated is None))

    @property
    def fresh(self) -> tuple[ColumnMapping, ...]:
        """The columns to add, in the order of the table, those that are computed last."""
        wanted = (*self.added, *(p.after for p in self.redone))
        places = {column.name: place for place, column in enumerate(self.new.columns)}
        return tuple(
            sorted(wanted, key=lambda c: (c.target.generated is not None, places[c.target.name]))
        )

    def redoing(self, which: Callable[[ColumnPair], bool]) -> TableDifference:
        """Return the difference with the chosen pairs dropped and added again instead of
        altered."""
        redone = tuple(pair for pair in self.pairs if which(pair))
        rest = tuple(pair for pair in self.pairs if pair not in redone)
        return replace(self, pairs=rest, redone=self.redone + redone)

    def indexes(self, barred: Iterable[str] = ()) -> ChangedObjects[Index]:
        """Compare keys and indexes. An expression that names a column of ``barred`` cannot stay."""
        return _changed(
            _keys(self.old),
            _keys(self.new),
            lambda index: _index(index, self.names, self._barred(barred)),
            lambda index: _index(index, _same(self.new), ()),
        )

    def foreign_keys(self, barred: Iterable[str] = ()) -> ChangedObjects[ForeignKey]:
        """Compare foreign keys. A key over a column of ``barred`` cannot stay."""
        kept = {old: new for old, new in self.names.items() if old not in set(barred)}
        return _changed(
            self.old.foreign_keys,
            self.new.foreign_keys,
            lambda key: _foreign_key(key, kept, self),
            lambda key: _foreign_key(key, _same(self.new), None),
        )

    def checks(self, barred: Iterable[str] = ()) -> ChangedObjects[Check]:
        """Compare checks. A check that names a column of ``barred`` cannot stay."""
        away = self._barred(barred)
        return _changed(
            self.old.checks,
            self.new.checks,
            lambda check: (
                None
                if mentions(check.expression, away)
                else (check.name, canonical(check.expression, self.names), check.enforced)
            ),
            lambda check: (check.name, canonical(check.expression), check.enforced),
        )

    def _barred(self, barred: Iterable[str]) -> tuple[str, ...]:
        return (*barred, *(column.name for column in self.away))


def of(
    old: TableMapping, new: TableMapping, renamed: Mapping[str, str], structure: Structure
) -> TableDifference:
    """Pair the columns of two mappings.

    ``renamed`` maps old to new source names. A name that maps to no column of ``new`` was
    dropped, even if a new column has that name again.
    """
    before = {side.source.name: side for side in sides(old)}
    after = {side.source.name: side for side in sides(new)}
    origins = {now: was for was, now in renamed.items() if was in before}
    origins |= {
        name: name
        for name in after
        if name in before and name not in renamed and name not in origins
    }
    pairs = tuple(ColumnPair(before[origins[n]], side) for n, side in after.items() if n in origins)
    stay = {pair.before.source.name for pair in pairs}
    return TableDifference(
        trimmed(old.target, structure),
        trimmed(new.target, structure),
        new.source.dialect,
        pairs,
        tuple(side for name, side in before.items() if name not in stay),
        tuple(side for name, side in after.items() if name not in origins),
    )


def sides(mapping: TableMapping) -> tuple[ColumnMapping, ...]:
    """Return every column of the target with its source column, including those that carry no
    data."""
    sources = {c.target.name: c.source for c in mapping.columns}
    carried = {c.source.name for c in mapping.columns}
    rest = iter([c for c in mapping.source.columns if c.name not in carried])
    return tuple(
        ColumnMapping(sources.get(column.name) or next(rest, column), column)
        for column in mapping.target.columns
    )


def trimmed(schema: TableSchema, structure: Structure) -> TableSchema:
    """Return the table without the parts of the structure that are not wanted."""
    return replace(
        schema,
        indexes=schema.indexes if structure.indexes else (),
        exclusions=schema.exclusions if structure.indexes else (),
        foreign_keys=schema.foreign_keys if structure.foreign_keys else (),
        checks=schema.checks if structure.checks else (),
        partitioning=schema.partitioning and _trimmed_parts(schema.partitioning, structure),
    )


def _trimmed_parts(tree: Partitioning, structure: Structure) -> Partitioning:
    return replace(
        tree,
        partitions=tuple(
            replace(
                part,
                indexes=part.indexes if structure.indexes else (),
                foreign_keys=part.foreign_keys if structure.foreign_keys else (),
                checks=part.checks if structure.checks else (),
                inherited=part.inherited if structure.indexes else (),
                partitioning=part.partitioning and _trimmed_parts(part.partitioning, structure),
            )
            for part in tree.partitions
        ),
    )


def bare(
    schema: TableSchema,
    *,
    indexes: Sequence[Index] = (),
    foreign_keys: Sequence[ForeignKey] = (),
    checks: Sequence[Check] = (),
    exclusions: Sequence[Exclusion] = (),
) -> TableSchema:
    """Return the table with only these indexes, keys and checks, so that the dialect's DDL renders
    just them."""
    tree = schema.partitioning
    return replace(
        schema,
        columns=(),
        primary_key=next((index for index in indexes if index.primary), None),
        indexes=tuple(index for index in indexes if not index.primary),
        foreign_keys=tuple(foreign_keys),
        checks=tuple(checks),
        exclusions=tuple(exclusions),
        comment=None,
        partitioning=tree and replace(tree, partitions=()),
    )


def enum_of(native: NativeType) -> NativeType | None:
    """Return the user's enum that a column's type is, or is an array of; None if it is neither."""
    inner = native.element if native.kind is TypeKind.ARRAY else native
    return inner if inner and inner.kind is TypeKind.ENUM and inner.user else None


def mentions(expression: Expression | None, names: Iterable[str]) -> bool:
    """Return True if the expression may name one of these columns (it compares texts, and may say
    so too often)."""
    return expression is not None and any(name in expression.sql for name in names)


def named_columns(expression: Expression) -> frozenset[str] | None:
    """Return the columns that an expression names; None if it cannot be parsed."""
    import sqlglot

    try:
        tree = sqlglot.parse_one(expression.sql, dialect=str(expression.dialect))
    except sqlglot.errors.SqlglotError:
        return None
    return frozenset(column.name for column in tree.find_all(sqlglot.exp.Column))


def canonical(expression: Expression | None, names: Mapping[str, str] | None = None) -> str | None:
    """Return an expression in one normal spelling, with the new names of its columns."""
    if expression is None:
        return None
    import sqlglot  # takes a tenth of a second to load, and few tables have an expression

    dialect = str(expression.dialect)
    try:
        tree = sqlglot.parse_one(expression.sql, dialect=dialect)
    except sqlglot.errors.SqlglotError:
        return expression.sql
    for column in tree.find_all(sqlglot.exp.Column):
        column.this.set("this", (names or {}).get(column.name, column.name))
    return tree.sql(dialect, identify=True)


def in_sequence(renames: Mapping[K, K], spare: Callable[[K], K]) -> Iterator[tuple[K, K]]:
    """Yield renames one by one, none onto a name still in use; a cycle goes through a name from
    ``spare``."""
    left = {old: new for old, new in renames.items() if old != new}
    while left:
        old = next((o for o, new in left.items() if new not in left), None)
        if old is None:
            first = next(iter(left))
            yield first, spare(first)
            left[spare(first)] = left.pop(first)
        else:
            yield old, left.pop(old)


def _changed(
    old: Sequence[T],
    new: Sequence[T],
    old_form: Callable[[T], Hashable],
    new_form: Callable[[T], Hashable],
) -> ChangedObjects[T]:
    """Match by what they are: first under the same name, then under another."""
    left = [(item, old_form(item)) for item in old]
    wanted = [(item, new_form(item)) for item in new]
    for item, form in list(wanted):
        match = next((x for x in left if x[0].name == item.name and x[1] == form), None)
        if match:
            left.remove(match)
            wanted.remove((item, form))
    renamed = []
    for item, form in list(wanted):
        match = next((x for x in left if x[1] == form), None)
        if match:
            left.remove(match)
            wanted.remove((item, form))
            renamed.append((match[0], item))
    return ChangedObjects(
        tuple(item for item, _ in left), tuple(renamed), tuple(item for item, _ in wanted)
    )


def _keys(schema: TableSchema) -> tuple[Index, ...]:
    return (*((schema.primary_key,) if schema.primary_key else ()), *schema.indexes)


def _same(schema: TableSchema) -> Mapping[str, str]:
    return {column.name: column.name for column in schema.columns}


def _index(index: Index, names: Mapping[str, str], barred: Sequence[str]) -> Hashable:
    """Return an index without its name; None if it does not outlive the change."""
    expressions = (*(part.expression for part in index.parts), index.where)
    if any(name not in names for name in (*index.columns, *index.include)) or any(
        mentions(expression, barred) for expression in expressions
    ):
        return None
    parts = tuple(
        (
            part.column and names[part.column],
            canonical(part.expression, names),
            replace(part, column=None, expression=None),
        )
        for part in index.parts
    )
    plain = replace(index, name="", parts=(), include=(), where=None, comment=None, optional=False)
    include = tuple(names[name] for name in index.include)
    return parts, include, canonical(index.where, names), plain


def _foreign_key(
    key: ForeignKey, names: Mapping[str, str], moved: TableDifference | None
) -> Hashable:
    """Return a foreign key, its name included; None if it does not outlive the change."""
    own = moved is not None and key.referenced == moved.old.id
    references = names if own else {name: name for name in key.referenced_columns}
    if any(name not in names for name in key.columns) or any(
        name not in references for name in key.referenced_columns
    ):
        return None
    return replace(
        key,
        columns=tuple(names[name] for name in key.columns),
        referenced=moved.new.id if moved is not None and own else key.referenced,
        referenced_columns=tuple(references[name] for name in key.referenced_columns),
        comment=None,
    )
