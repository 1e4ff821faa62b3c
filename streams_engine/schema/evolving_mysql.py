"""The change of a table on MySQL and MariaDB: one ALTER TABLE, and what cannot be part of it.

Each statement commits by itself there. All that one ALTER TABLE can say is therefore said in one,
which either happened or did not; foreign keys go before it and come after it, for no key may
stand in the way, and so does what is optional, whose failure must not fail the rest.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import replace

from streams_engine.model import Catalog, Check, Column, ForeignKey, Index, TableId, TableSchema
from streams_engine.protocols import Statement
from streams_engine.schema import mysql_ddl as ddl
from streams_engine.schema.differences import Changed, Difference, Pair, bare, canonical, mentions
from streams_engine.schema.planned import Plan, Step
from streams_engine.schema.structure import Structure

__all__ = ["plan"]

ALL = Structure()
APART = ("fulltext", "spatial")
"""InnoDB builds one FULLTEXT index at a time, and only where nothing else is altered."""


def plan(difference: Difference) -> Plan:
    """The statements that lead from the old table to the new one."""
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
            Step(
                _alter(difference.old.id, f"DROP FOREIGN KEY {ddl.quote(key.name)}", key.name),
                f"foreign key {key.name}",
            )
            for key in keys.gone
        ),
        *_optional_away(difference.old.id, indexes, checks),
    ]
    main = _alter(difference.old.id, ",\n  ".join(clauses), "") if clauses else None
    repeatable = all(clause.startswith(("MODIFY ", "COMMENT=")) for clause in clauses)
    return Plan(
        tuple(before),
        (main,) if main else (),
        tuple(_after(difference, keys.made, indexes, checks)),
        repeatable=repeatable,
    )


def _alter(table: TableId, clause: str, what: str, *, optional: bool = False) -> Statement:
    named = f"{what} of {table}" if what else f"table {table}"
    return Statement(f"ALTER TABLE {ddl.name_of(table)} {clause}", named, table, optional)


def _redo(pair: Pair, renamed: list[str]) -> bool:
    """A generated column that has to be made anew: the server changes few of them in place."""
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


def _columns(difference: Difference) -> Iterator[str]:
    """A clause for each column that is new, renamed, changed or in another place."""
    pairs = {pair.new.name: pair for pair in difference.pairs}
    fresh = {side.target.name for side in difference.fresh}
    still = _unmoved(difference)
    place = "FIRST"
    for column in difference.new.columns:
        text = ddl.column_text(column)
        if column.name in fresh:
            yield f"ADD COLUMN {text} {place}"
        else:
            old = pairs[column.name].old
            moved = "" if column.name in still else f" {place}"
            named = "" if old.name == column.name else f"{ddl.quote(old.name)} "
            if moved or ddl.column_text(replace(old, name=column.name)) != text:
                yield f"{'CHANGE' if named else 'MODIFY'} COLUMN {named}{text}{moved}"
            elif named:
                yield f"RENAME COLUMN {named}TO {ddl.quote(column.name)}"
        place = f"AFTER {ddl.quote(column.name)}"


def _unmoved(difference: Difference) -> set[str]:
    """New names of a longest run of columns that keep their order: only the others move."""
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


def _gone(indexes: Changed[Index], checks: Changed[Check]) -> Iterator[str]:
    for index in indexes.gone:
        if index.primary:
            yield "DROP PRIMARY KEY"
        elif not index.optional:
            yield f"DROP INDEX {ddl.quote(index.name)}"
    for check in checks.gone:
        if not check.optional:
            yield f"DROP CONSTRAINT {ddl.quote(check.name)}"


def _made(schema: TableSchema, indexes: Changed[Index], checks: Changed[Check]) -> Iterator[str]:
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
    """True for an index that goes into the one statement: a counter's key must."""
    return index is ddl.counter_key(schema) or not (index.optional or index.method in APART)


def _optional_away(
    table: TableId, indexes: Changed[Index], checks: Changed[Check]
) -> Iterator[Step]:
    """What may be missing on the target is dropped or renamed where it is there."""
    clauses = [
        (index.name, f"DROP INDEX {ddl.quote(index.name)}", "index")
        for index in indexes.gone
        if index.optional
    ]
    clauses += [
        (old.name, f"RENAME INDEX {ddl.quote(old.name)} TO {ddl.quote(new.name)}", "index")
        for old, new in indexes.renamed
        if old.optional
    ]
    clauses += [
        (check.name, f"DROP CONSTRAINT {ddl.quote(check.name)}", "check")
        for check in checks.gone
        if check.optional
    ]
    for name, clause, kind in clauses:
        what = f"{kind} {name}"
        yield Step(_alter(table, clause, what, optional=True), what)


def _after(
    difference: Difference,
    keys: tuple[ForeignKey, ...],
    indexes: Changed[Index],
    checks: Changed[Check],
) -> Iterator[Step]:
    new = difference.new
    apart = [i for i in indexes.made if not i.primary and not _within(new, i)]
    for index in apart:
        for statement in ddl.indexes(bare(new, indexes=(index,)), ALL):
            yield Step(statement, f"index {index.name}")
    for check in checks.made:
        for statement in ddl.indexes(bare(new, checks=(check,)), ALL):
            yield Step(statement, f"check {check.name}")
    for key in keys:
        for statement in ddl.foreign_keys(bare(new, foreign_keys=(key,))):
            yield Step(statement, f"foreign key {key.name}")
    counted = {pair.new.name for pair in difference.pairs if pair.old.identity is not None}
    counters = tuple(c for c in new.columns if c.identity and c.name not in counted)
    table = replace(new, columns=counters)
    for statement in ddl.sequence_values(Catalog(new.dialect, (table,))):
        yield Step(statement, "")
