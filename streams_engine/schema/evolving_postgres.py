"""The change of a table on PostgreSQL: statements of one transaction, but for labels of enums.

A label that is added can be used only once it is committed
(https://www.postgresql.org/docs/current/sql-altertype.html): these statements come first, and are
to run by themselves.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from streams_engine.model import (
    Catalog,
    Column,
    Dialect,
    ForeignKey,
    Identity,
    Index,
    TableId,
    TableSchema,
)
from streams_engine.protocols import Statement
from streams_engine.schema import postgres_ddl as ddl
from streams_engine.schema.differences import (
    Changed,
    Difference,
    Pair,
    bare,
    canonical,
    in_sequence,
    mentions,
)
from streams_engine.schema.evolving_types import Types, filler, using
from streams_engine.schema.naming import shorten
from streams_engine.schema.planned import Plan
from streams_engine.schema.structure import Structure

__all__ = ["plan"]

ALL = Structure()


def plan(difference: Difference) -> Plan:
    """The statements that lead from the old table to the new one."""
    names = difference.names
    difference = difference.redoing(lambda pair: _redo(pair, names))
    types = Types(difference)
    retyped = [p.old.name for p in difference.pairs if types.differ(p) or types.replaced(p)]
    # The server refuses another type for a column that a generated one is computed of.
    difference = difference.redoing(lambda pair: mentions(pair.old.generated, retyped))
    types = Types(difference)
    indexes, keys = difference.indexes(), difference.foreign_keys()
    labels = list(types.labels())
    old, table = difference.old.id, difference.new.id
    statements = [
        *labels,
        *_constraints_away(difference, indexes, keys),
        *moved("TABLE", old, table),
        *types.renames(),
        *(
            _alter(table, f"DROP COLUMN IF EXISTS {ddl.quote(column.name)}", column.name)
            for column in difference.away
        ),
        *types.before(),
        *_renames(difference),
        *(statement for pair in difference.pairs for statement in _altered(table, pair, types)),
        *(s for side in difference.fresh for s in _added(difference, side.source, side.target)),
        *_keys(difference, indexes, keys),
        *_comments(difference),
        *types.after(),
    ]
    # One transaction: where the table is changed everything is, so it is one whole.
    repeatable = old == table and all(pair.old.name == pair.new.name for pair in difference.pairs)
    return Plan(main=tuple(statements), alone=len(labels), repeatable=repeatable)


def moved(kind: str, old: TableId, new: TableId) -> Iterator[Statement]:
    """A table or type under another name, or in another schema."""
    what = f"{kind.lower()} {old}"
    here = old
    if old.name != new.name:
        here = replace(old, name=new.name)
        sql = f"ALTER {kind} {ddl.name_of(old)} RENAME TO {ddl.quote(new.name)}"
        yield Statement(sql, what, old if kind == "TABLE" else None)
    if old.schema != new.schema:
        schema = ddl.quote(new.schema)
        yield Statement(f"CREATE SCHEMA IF NOT EXISTS {schema}", f"schema {new.schema}")
        yield Statement(f"ALTER {kind} {ddl.name_of(here)} SET SCHEMA {schema}", what)


def _alter(table: TableId, action: str, column: str = "") -> Statement:
    what = f"column {table}.{column}" if column else f"table {table}"
    return Statement(f"ALTER TABLE {ddl.name_of(table)} {action}", what, table)


def _redo(pair: Pair, names: Mapping[str, str]) -> bool:
    """A generated column that has to be made anew: the server changes none in place."""
    old, new = pair.old, pair.new
    if old.generated is None and new.generated is None:
        return False
    if new.generated is None:
        return not old.stored
    same = canonical(old.generated, names) == canonical(new.generated) and old.stored == new.stored
    return not same or ddl.type_text(old.type) != ddl.type_text(new.type)


# Constraints and indexes


def _constraints_away(
    difference: Difference, indexes: Changed[Index], keys: Changed[ForeignKey]
) -> Iterator[Statement]:
    old = difference.old
    checks = difference.checks()
    gone = [key.name for key in keys.gone] + [check.name for check in checks.gone]
    gone += [index.name for index in indexes.gone if index.constraint]
    for name in gone:
        yield _alter(old.id, f"DROP CONSTRAINT IF EXISTS {ddl.quote(name)}")
    for index in indexes.gone:
        if not index.constraint:
            name = ddl.name_of(TableId(old.id.schema, index.name))
            yield Statement(f"DROP INDEX IF EXISTS {name}", f"index {index.name}", old.id)


def _keys(
    difference: Difference, indexes: Changed[Index], keys: Changed[ForeignKey]
) -> Iterator[Statement]:
    new = difference.new
    names = {old.name: now.name for old, now in indexes.renamed}
    for name, wanted in in_sequence(names, _spare):
        # That of a constraint takes the constraint along.
        sql = f"ALTER INDEX IF EXISTS {ddl.name_of(TableId(new.id.schema, name))} RENAME TO "
        yield Statement(sql + ddl.quote(wanted), f"index {name}", new.id)
    yield from ddl.indexes(bare(new, indexes=indexes.made), ALL)
    for check in difference.checks().made:
        # Those that are not optional are else part of CREATE TABLE.
        found = ddl.indexes(bare(new, checks=(replace(check, optional=True),)), ALL)
        yield from (replace(statement, optional=check.optional) for statement in found)
    yield from ddl.foreign_keys(bare(new, foreign_keys=keys.made))


def _comments(difference: Difference) -> Iterator[Statement]:
    old, new = difference.old, difference.new
    table = ddl.name_of(new.id)
    texts = [(f"TABLE {table}", old.comment, new.comment)]
    texts += [
        (f"COLUMN {table}.{ddl.quote(p.new.name)}", p.old.comment, p.new.comment)
        for p in difference.pairs
    ]
    texts += [
        (f"COLUMN {table}.{ddl.quote(c.target.name)}", None, c.target.comment)
        for c in difference.fresh
    ]
    for what, before, after in texts:
        if (before or None) != (after or None):
            text = ddl.literal(after) if after else "NULL"
            yield Statement(f"COMMENT ON {what} IS {text}", f"comment on {new.id}", new.id)


# Columns


def _spare(name: str) -> str:
    return shorten(f"{name}_on_its_way")


def _renames(difference: Difference) -> Iterator[Statement]:
    for old, new in in_sequence(difference.names, _spare):
        yield _alter(difference.new.id, f"RENAME COLUMN {ddl.quote(old)} TO {ddl.quote(new)}", old)


def _altered(table: TableId, pair: Pair, types: Types) -> Iterator[Statement]:
    """What of a column changes, in an order in which each step is allowed."""
    old, new = pair.old, pair.new
    retyped = types.differ(pair) or types.replaced(pair)
    numbered = _counting(old.identity) != _counting(new.identity)
    ruled = old.generated is None
    anew = retyped or not types.same_default(pair)
    dropped_default = ruled and old.default is not None and anew
    set_default = new.generated is None and new.default is not None and anew
    text = ddl.type_text(new.type) + (f" COLLATE {new.collation}" if new.collation else "")
    cast = using(old.type, new.type, ddl.quote(new.name)) if ruled else None
    actions = (
        (not ruled and new.generated is None, "DROP EXPRESSION IF EXISTS"),
        (numbered and old.identity is not None, "DROP IDENTITY IF EXISTS"),
        # The old default need not be one of the new type.
        (dropped_default, "DROP DEFAULT"),
        (retyped, f"TYPE {text}" + (f" USING {cast}" if cast else "")),
        (new.nullable and not old.nullable, "DROP NOT NULL"),
        (old.nullable and not new.nullable, "SET NOT NULL"),
        (set_default, f"SET DEFAULT {new.default.sql}" if new.default else ""),
        (numbered and new.identity is not None, f"ADD {_identity(new)}"),
    )
    for wanted, action in actions:
        if wanted:
            yield _alter(table, f"ALTER COLUMN {ddl.quote(new.name)} {action}", new.name)
    if numbered:
        yield from _next_value(table, new)


def _identity(column: Column) -> str:
    return ddl.identity_text(column.identity) if column.identity else ""


def _counting(identity: Identity | None) -> tuple[object, ...] | None:
    """What an identity is declared as, but for what follows from its type."""
    if identity is None:
        return None
    return (identity.always, identity.increment, identity.cache, identity.cycle)


def _next_value(table: TableId, column: Column) -> Sequence[Statement]:
    schema = TableSchema(table, Dialect.POSTGRES, (column,))
    return tuple(ddl.sequence_values(Catalog(Dialect.POSTGRES, (schema,))))


def _added(difference: Difference, source: Column, column: Column) -> Iterator[Statement]:
    """A new column; rows that are there get what the source's server gave its own."""
    table = difference.new.id
    filled = filler(source, column) if difference.source is Dialect.MYSQL else None
    text = ddl.column_text(replace(column, default=filled) if filled else column)
    yield _alter(table, f"ADD COLUMN IF NOT EXISTS {text}", column.name)
    if filled:
        yield _alter(table, f"ALTER COLUMN {ddl.quote(column.name)} DROP DEFAULT", column.name)
    if column.identity is not None:
        yield from _next_value(table, column)
