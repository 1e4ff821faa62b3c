"""The change of a table on MySQL and MariaDB: one ALTER TABLE, and what cannot be part of it.

Each statement commits by itself there. All that one ALTER TABLE can say is therefore said in one,
which either happened or did not; foreign keys go before it and come after it, for no key may
stand in the way, and so does what is optional, whose failure must not fail the rest.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import replace

from streams_engine.contracts import Statement
from streams_engine.model import (
    Catalog,
    Check,
    Column,
    ForeignKey,
    Index,
    ObjectKind,
    ObjectRef,
    TableId,
    TableSchema,
)
from streams_engine.schema.ddl import mysql as ddl
from streams_engine.schema.ddl.structure import Structure
from streams_engine.schema.evolution.differences import (
    ChangedObjects,
    ColumnPair,
    TableDifference,
    bare,
    canonical,
    mentions,
)
from streams_engine.schema.evolution.steps import DdlPlan, DdlStep

__all__ = ["plan"]

ALL = Structure()
UNSAFE = re.compile(r"\b(uuid|uuid_short|rand|random_bytes)\s*\(", re.I)
"""Functions that give another value at each call."""

GEOMETRIES = {"point", "linestring", "polygon", "geometry", "geometrycollection"}
COLLECTIONS = {"multipoint", "multilinestring", "multipolygon"}
NO_NUMBER = frozenset({"uuid", "inet4", "inet6", *GEOMETRIES, *COLLECTIONS})
"""Types that MariaDB converts from and to strings alone (error 4078), even without rows."""
STRINGS = frozenset({"char", "varchar", "tinytext", "text", "mediumtext", "longtext"})

APART = ("fulltext", "spatial")
"""InnoDB builds one FULLTEXT index at a time, and only where nothing else is altered."""


def plan(difference: TableDifference) -> DdlPlan:
    """Plan the statements that change the old table into the new one."""
    renamed = [pair.old.name for pair in difference.pairs if pair.old.name != pair.new.name]
    # The server refuses to rename a column that a generated one is computed of.
    difference = difference.redoing(lambda pair: _redo(pair, renamed))
    retyped = [
        pair.old.name for pair in difference.pairs if _type(pair.old) != _type(pair.new)
    ]  # which the server refuses for a column of a foreign key
    keys = difference.foreign_keys(retyped)
    indexes = difference.indexes(renamed)
    checks = difference.checks(renamed)
    columns = list(_columns(difference))
    clauses = [
        *_gone(indexes, checks),
        *(f"DROP COLUMN {ddl.quote(column.name)}" for column in difference.away),
        *columns,
        *_made(difference.new, indexes, checks),
    ]
    if difference.old.comment != difference.new.comment:
        clauses.append(f"COMMENT={ddl.literal(difference.new.comment or '')}")
    if difference.old.id != difference.new.id:
        clauses.append(f"RENAME TO {ddl.name_of(difference.new.id)}")
    before = [
        *(
            DdlStep(
                _alter(
                    ObjectRef(ObjectKind.FOREIGN_KEY, key.name, difference.old.id),
                    difference.old.id,
                    f"DROP FOREIGN KEY {ddl.quote(key.name)}",
                ),
                ObjectRef(ObjectKind.FOREIGN_KEY, key.name),
            )
            for key in keys.gone
        ),
        *_optional_away(difference.old.id, indexes, checks),
    ]
    table = ObjectRef(ObjectKind.TABLE, table=difference.old.id)
    main = _alter(table, difference.old.id, ",\n  ".join(clauses)) if clauses else None
    repeatable = _repeatable(difference, clauses)
    return DdlPlan(
        tuple(before),
        (*_by_strings(difference), main) if main else (),
        tuple(_after(difference, keys.made, indexes, checks)),
        repeatable=repeatable,
    )


def _repeatable(difference: TableDifference, clauses: Sequence[str]) -> bool:
    """Return whether all clauses may run twice, as those that compute a column anew, or make
    another one under its name."""
    made = {side.target.name for side in difference.added}
    names = [p.new.name for p in difference.redone if p.old.name == p.new.name]
    names += [side.target.name for side in difference.dropped if side.target.name in made]
    again = [ddl.quote(name) for name in names]
    heads = [f"{verb} COLUMN {name}" for name in again for verb in ("DROP", "ADD")]
    return all(clause.startswith(("MODIFY ", "COMMENT=", *heads)) for clause in clauses)


def _alter(what: ObjectRef, table: TableId, clause: str, *, optional: bool = False) -> Statement:
    return Statement(f"ALTER TABLE {ddl.name_of(table)} {clause}", what, table, optional)


def _by_strings(difference: TableDifference) -> Iterator[Statement]:
    """Make strings of the columns whose type the server does not change into the new one."""
    columns = [
        pair.old.name
        for pair in difference.pairs
        if (names := {pair.old.type.name, pair.new.type.name}) & NO_NUMBER
        and len(names) > 1
        and not names & STRINGS
    ]
    if columns:
        table = difference.old.id
        clauses = (f"MODIFY COLUMN {ddl.quote(name)} varchar(64)" for name in columns)
        yield _alter(ObjectRef(ObjectKind.TABLE, table=table), table, ", ".join(clauses))


def _redo(pair: ColumnPair, renamed: list[str]) -> bool:
    """Return True if a generated column must be dropped and added: the server changes few of them
    in place."""
    old, new = pair.old, pair.new
    if old.generated is None and new.generated is None:
        return False
    if new.generated is None:
        return not old.stored
    changed = canonical(old.generated) != canonical(new.generated) or old.stored != new.stored
    return changed or _type(old) != _type(new) or mentions(old.generated, renamed)


def _type(column: Column) -> tuple[str | None, ...]:
    return ddl.type_text(column.type), column.charset, column.collation


# Columns


def _columns(difference: TableDifference) -> Iterator[str]:
    """Yield a clause for each column that is new, renamed, changed or in another place."""
    pairs = {pair.new.name: pair for pair in difference.pairs}
    fresh = {side.target.name for side in difference.fresh}
    still = _unmoved(difference)
    place = "FIRST"
    for column in difference.new.columns:
        text = ddl.column_text(column)
        if column.name in fresh:
            bare = replace(column, default=None) if _is_unsafe(column) else column
            yield f"ADD COLUMN {ddl.column_text(bare)} {place}"
        else:
            old = pairs[column.name].old
            moved = "" if column.name in still else f" {place}"
            named = "" if old.name == column.name else f"{ddl.quote(old.name)} "
            if moved or ddl.column_text(replace(old, name=column.name)) != text:
                yield f"{'CHANGE' if named else 'MODIFY'} COLUMN {named}{text}{moved}"
            elif named:
                yield f"RENAME COLUMN {named}TO {ddl.quote(column.name)}"
        place = f"AFTER {ddl.quote(column.name)}"


def _is_unsafe(column: Column) -> bool:
    """Return True if a server with a binary log refuses to add the column with its default
    (ER_BINLOG_UNSAFE_SYSTEM_FUNCTION)."""
    return column.default is not None and UNSAFE.search(column.default.sql) is not None


def _unmoved(difference: TableDifference) -> set[str]:
    """Return the new names of a longest run of columns that keep their order: only the others
    move."""
    olds = {column.name: place for place, column in enumerate(difference.old.columns)}
    news = {column.name: place for place, column in enumerate(difference.new.columns)}
    pairs = sorted(difference.pairs, key=lambda pair: news[pair.new.name])
    ends: list[int] = []
    runs: list[tuple[str, ...]] = []
    for pair in pairs:
        place = bisect_left(ends, olds[pair.old.name])
        run = (*(runs[place - 1] if place else ()), pair.new.name)
        ends[place : place + 1] = [olds[pair.old.name]]
        runs[place : place + 1] = [run]
    return set(runs[-1]) if runs else set()


# Keys, indexes, checks


def _gone(indexes: ChangedObjects[Index], checks: ChangedObjects[Check]) -> Iterator[str]:
    for index in indexes.gone:
        if index.primary:
            yield "DROP PRIMARY KEY"
        elif not index.optional:
            yield f"DROP INDEX {ddl.quote(index.name)}"
    for check in checks.gone:
        if not check.optional:
            yield f"DROP CONSTRAINT {ddl.quote(check.name)}"


def _made(
    schema: TableSchema, indexes: ChangedObjects[Index], checks: ChangedObjects[Check]
) -> Iterator[str]:
    for old, new in indexes.renamed:
        if not old.optional and not old.primary:
            yield f"RENAME INDEX {ddl.quote(old.name)} TO {ddl.quote(new.name)}"
    for index in indexes.made:
        if index.primary:
            yield f"ADD PRIMARY KEY ({ddl.parts_text(index)})"
        elif _within(schema, index):
            yield f"ADD {ddl.index_text(index)}"
    for check in checks.made:
        if not check.optional:
            yield f"ADD {ddl.check_text(check)}"


def _within(schema: TableSchema, index: Index) -> bool:
    """Return True if the index belongs in the one ALTER TABLE; the key of an AUTO_INCREMENT column
    must."""
    return index is ddl.counter_key(schema) or not (index.optional or index.method in APART)


def _optional_away(
    table: TableId, indexes: ChangedObjects[Index], checks: ChangedObjects[Check]
) -> Iterator[DdlStep]:
    """Drop or rename what may be missing on the target, where it is there."""
    clauses = [
        (index.name, f"DROP INDEX {ddl.quote(index.name)}", ObjectKind.INDEX)
        for index in indexes.gone
        if index.optional
    ]
    clauses += [
        (old.name, f"RENAME INDEX {ddl.quote(old.name)} TO {ddl.quote(new.name)}", ObjectKind.INDEX)
        for old, new in indexes.renamed
        if old.optional
    ]
    clauses += [
        (check.name, f"DROP CONSTRAINT {ddl.quote(check.name)}", ObjectKind.CHECK)
        for check in checks.gone
        if check.optional
    ]
    for name, clause, kind in clauses:
        statement = _alter(ObjectRef(kind, name, table), table, clause, optional=True)
        yield DdlStep(statement, ObjectRef(kind, name))


def _after(
    difference: TableDifference,
    keys: tuple[ForeignKey, ...],
    indexes: ChangedObjects[Index],
    checks: ChangedObjects[Check],
) -> Iterator[DdlStep]:
    new = difference.new
    for side in difference.fresh:
        column = side.target
        if column.default is not None and _is_unsafe(column):
            what = ObjectRef(ObjectKind.COLUMN, column.name, new.id)
            rule = f"ALTER COLUMN {ddl.quote(column.name)} SET DEFAULT {column.default.sql}"
            yield DdlStep(_alter(what, new.id, rule), None)
    apart = [i for i in indexes.made if not i.primary and not _within(new, i)]
    for index in apart:
        for statement in ddl.indexes(bare(new, indexes=(index,)), ALL):
            yield DdlStep(statement, ObjectRef(ObjectKind.INDEX, index.name))
    for check in checks.made:
        for statement in ddl.indexes(bare(new, checks=(check,)), ALL):
            yield DdlStep(statement, ObjectRef(ObjectKind.CHECK, check.name))
    for key in keys:
        for statement in ddl.foreign_keys(bare(new, foreign_keys=(key,))):
            yield DdlStep(statement, ObjectRef(ObjectKind.FOREIGN_KEY, key.name))
    counted = {pair.new.name for pair in difference.pairs if pair.old.identity is not None}
    counters = tuple(c for c in new.columns if c.identity and c.name not in counted)
    table = replace(new, columns=counters)
    for statement in ddl.sequence_values(Catalog(new.dialect, (table,))):
        yield DdlStep(statement, None)
