"""The change of a table on PostgreSQL: statements of one transaction, but for labels of enums.

A label that is added can be used only once it is committed
(https://www.postgresql.org/docs/current/sql-altertype.html): these statements come first, and are
to run by themselves.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from streams_engine.contracts import Statement
from streams_engine.model import (
    Catalog,
    Column,
    Dialect,
    ForeignKey,
    Identity,
    Index,
    ObjectKind,
    ObjectRef,
    Partition,
    Partitioning,
    TableId,
    TableSchema,
)
from streams_engine.schema.ddl import postgres as ddl
from streams_engine.schema.ddl.names import shorten
from streams_engine.schema.ddl.structure import Structure
from streams_engine.schema.evolution.differences import (
    ChangedObjects,
    ColumnPair,
    TableDifference,
    bare,
    canonical,
    in_sequence,
    mentions,
)
from streams_engine.schema.evolution.postgres_types import EnumChanges, filler, using
from streams_engine.schema.evolution.postgres_user_types import TypeChanges, block, guarded, made_of
from streams_engine.schema.evolution.steps import DdlPlan

__all__ = ["plan"]

ALL = Structure()


def plan(difference: TableDifference) -> DdlPlan:
    """Plan the statements that change the old table into the new one."""
    names = difference.names
    difference = difference.redoing(lambda pair: _redo(pair, names))
    types, users = EnumChanges(difference), TypeChanges.of(difference)
    replaced = users.replaced

    def retypes(pair: ColumnPair) -> bool:
        return types.differ(pair) or types.replaced(pair) or made_of(pair.new.type, replaced)

    retyped = [pair.old.name for pair in difference.pairs if retypes(pair)]
    # The server refuses another type for a column that a generated one is computed of.
    difference = difference.redoing(lambda pair: mentions(pair.old.generated, retyped))
    types = EnumChanges(difference)
    indexes, keys = difference.indexes(), difference.foreign_keys()
    labels = [*types.labels(), *users.labels()]
    old, table = difference.old.id, difference.new.id
    statements = [
        *labels,
        *_extensions(difference),
        *_constraints_away(difference, indexes, keys),
        *moved("TABLE", old, table),
        *types.renames(),
        *(
            _alter(table, f"DROP COLUMN IF EXISTS {ddl.quote(column.name)}", column.name)
            for column in difference.away
        ),
        *users.before(),
        *types.before(),
        *_renames(difference),
        *(
            s
            for p in difference.pairs
            for s in _altered(difference.new, p, types, retyped=retypes(p))
        ),
        *(s for side in difference.fresh for s in _added(difference, side.source, side.target)),
        *_stored(difference.new.id, difference.old.options, difference.new.options),
        *_partitions(difference),
        *_keys(difference, indexes, keys),
        *_unproved(difference),
        *_inherited_indexes(difference),
        *_comments(difference),
        *types.after(),
        *users.after(),
    ]
    # One transaction: where the table is changed everything is, so it is one whole.
    repeatable = old == table and all(pair.old.name == pair.new.name for pair in difference.pairs)
    return DdlPlan(main=tuple(statements), alone=len(labels), repeatable=repeatable)


def moved(kind: str, old: TableId, new: TableId) -> Iterator[Statement]:
    """Yield the statements that rename a table or type, or move it to another schema."""
    what = (
        ObjectRef(ObjectKind.TABLE, table=old)
        if kind == "TABLE"
        else ObjectRef(ObjectKind.TYPE, str(old))
    )
    here = old
    if old.name != new.name:
        here = replace(old, name=new.name)
        sql = f"ALTER {kind} {ddl.name_of(old)} RENAME TO {ddl.quote(new.name)}"
        yield Statement(sql, what, old if kind == "TABLE" else None)
    if old.schema != new.schema:
        schema = ddl.quote(new.schema)
        yield Statement(
            f"CREATE SCHEMA IF NOT EXISTS {schema}", ObjectRef(ObjectKind.SCHEMA, new.schema)
        )
        yield Statement(f"ALTER {kind} {ddl.name_of(here)} SET SCHEMA {schema}", what)


def _extensions(difference: TableDifference) -> Iterator[Statement]:
    """Yield the statements that make the extensions which the new table needs."""
    known = {extension.name for extension in difference.old.extensions}
    fresh = [e for e in difference.new.extensions if e.name not in known]
    for schema in sorted({extension.schema for extension in fresh} - {"pg_catalog", ""}):
        # IF NOT EXISTS would ask for the right to create schemas even where there is nothing to do.
        there = f"pg_catalog.to_regnamespace({ddl.literal(ddl.quote(schema))})"
        body = f"IF {there} IS NULL THEN CREATE SCHEMA {ddl.quote(schema)}; END IF;"
        yield block(Statement("", ObjectRef(ObjectKind.SCHEMA, schema)), body)
    yield from ddl.extensions(fresh)


def _alter(table: TableId, action: str, column: str = "", *, only: str = "") -> Statement:
    what = (
        ObjectRef(ObjectKind.COLUMN, column, table)
        if column
        else ObjectRef(ObjectKind.TABLE, table=table)
    )
    return Statement(f"ALTER TABLE {only}{ddl.name_of(table)} {action}", what, table)


def _redo(pair: ColumnPair, names: Mapping[str, str]) -> bool:
    """Return True if a generated column must be dropped and added: the server changes none in
    place."""
    old, new = pair.old, pair.new
    if old.generated is None and new.generated is None:
        return False
    if new.generated is None:
        return not old.stored
    same = canonical(old.generated, names) == canonical(new.generated) and old.stored == new.stored
    return not same or ddl.type_text(old.type) != ddl.type_text(new.type)


# Constraints and indexes


def _constraints_away(
    difference: TableDifference, indexes: ChangedObjects[Index], keys: ChangedObjects[ForeignKey]
) -> Iterator[Statement]:
    old = difference.old
    checks = difference.checks()
    gone = [key.name for key in keys.gone] + [check.name for check in checks.gone]
    gone += [index.name for index in indexes.gone if index.constraint]
    gone += [one.name for one in old.exclusions if one not in difference.new.exclusions]
    for name in gone:
        yield _alter(old.id, f"DROP CONSTRAINT IF EXISTS {ddl.quote(name)}")
    for index in indexes.gone:
        if not index.constraint:
            name = ddl.name_of(TableId(old.id.schema, index.name))
            yield Statement(
                f"DROP INDEX IF EXISTS {name}",
                ObjectRef(ObjectKind.INDEX, index.name, old.id),
                old.id,
            )


def _keys(
    difference: TableDifference, indexes: ChangedObjects[Index], keys: ChangedObjects[ForeignKey]
) -> Iterator[Statement]:
    new = difference.new
    names = {old.name: now.name for old, now in indexes.renamed}
    for name, wanted in in_sequence(names, _spare):
        # That of a constraint takes the constraint along.
        sql = f"ALTER INDEX IF EXISTS {ddl.name_of(TableId(new.id.schema, name))} RENAME TO "
        yield Statement(sql + ddl.quote(wanted), ObjectRef(ObjectKind.INDEX, name, new.id), new.id)
    yield from ddl.indexes(bare(new, indexes=indexes.made), ALL)
    for check in difference.checks().made:
        # Those that are not optional are else part of CREATE TABLE.
        alone = replace(bare(new, checks=(replace(check, optional=True),)), inherits=())
        built = ddl.indexes(alone, ALL)
        yield from (replace(statement, optional=check.optional) for statement in built)
    unproved = {check.name for check in difference.old.checks if not check.validated}
    for check in new.checks:
        if check.validated and check.enforced and check.name in unproved:
            proof = _alter(new.id, f"VALIDATE CONSTRAINT {ddl.quote(check.name)}")
            yield replace(proof, optional=True)
    for exclusion in new.exclusions:
        if exclusion not in difference.old.exclusions:
            yield from ddl.indexes(bare(new, exclusions=(exclusion,)), ALL)
    yield from ddl.foreign_keys(bare(new, foreign_keys=keys.made))


def _stored(table: TableId, old: Sequence[str], new: Sequence[str]) -> Iterator[Statement]:
    """Yield what changes of the storage options of a table or partition."""
    names = {option.partition("=")[0] for option in new}
    gone = [name for option in old if (name := option.partition("=")[0]) not in names]
    fresh = [option for option in new if option not in old]
    for action, options in (("RESET", gone), ("SET", fresh)):
        if options:
            # Another version may not know one.
            yield replace(_alter(table, f"{action} ({', '.join(options)})"), optional=True)


def _partitions(difference: TableDifference) -> Iterator[Statement]:
    """Drop the partitions that are gone, whose rows are read again, and create new ones."""
    old, new = difference.old.partitioning, difference.new.partitioning
    if old is None or new is None or old.key != new.key:
        return
    yield from _part_changes(difference, difference.new.id, old, new)


def _part_changes(
    difference: TableDifference, parent: TableId, old: Partitioning, new: Partitioning
) -> Iterator[Statement]:
    root = difference.new
    before = {part.id: part for part in old.partitions}
    after = {part.id: part for part in new.partitions}

    def stays(part: Partition) -> bool:
        was, now = before.get(part.id), after.get(part.id)
        return was is not None and now is not None and was.bound == now.bound

    for part in old.partitions:
        if not stays(part):
            what = ObjectRef(ObjectKind.PARTITION, table=part.id)
            name = ddl.name_of(part.id)
            # Foreign keys of other tables hold what is a partition.
            detach = f"ALTER TABLE {ddl.name_of(parent)} DETACH PARTITION {name}"
            yield guarded(Statement(detach, what, root.id), "undefined_table")
            yield Statement(f"DROP TABLE IF EXISTS {name}", what, root.id)
    created = tuple(part for part in new.partitions if not stays(part))
    for statement in ddl.partitions(root.id, parent, replace(new, partitions=created)):
        yield replace(statement, optional=True)
    for part in new.partitions:
        was = before.get(part.id)
        if stays(part) and was:
            yield from _own_columns(root, part, was)
            yield from _stored(part.id, was.options, part.options)
            yield from _own_keys(difference, part, was)
            if was.partitioning and part.partitioning:
                yield from _part_changes(difference, part.id, was.partitioning, part.partitioning)
        else:
            tree = part.partitioning
            for one in (part, *(tree.every() if tree else ())):
                nothing = Partition(one.id, one.bound)
                for statement in _own_keys(difference, one, nothing):
                    # The whole table's index may have got its name from the server.
                    yield replace(statement, optional=True)


def _inherited_indexes(difference: TableDifference) -> Iterator[Statement]:
    """Yield the statement that names the indexes of partitions which came with the whole table's
    or have another name now."""
    old, new = difference.old.partitioning, difference.new.partitioning
    if new is None:
        return
    before = {part.id: part.inherited for part in (old.every() if old else ())}
    changed = [
        replace(
            part, inherited=tuple(x for x in part.inherited if x not in before.get(part.id, ()))
        )
        for part in new.every()
    ]
    yield from ddl.inherited_indexes(difference.new.id, changed)


def _own_keys(difference: TableDifference, part: Partition, was: Partition) -> Iterator[Statement]:
    """Yield what changes of the indexes, checks and foreign keys that a partition has of its
    own."""
    own = replace(difference, old=_alone(difference.old, was), new=_alone(difference.new, part))
    indexes, keys = own.indexes(), own.foreign_keys()
    yield from _constraints_away(own, indexes, keys)
    yield from _keys(own, indexes, keys)


def _alone(root: TableSchema, part: Partition) -> TableSchema:
    """Return a partition as a table with what it has of its own."""
    return replace(
        root,
        id=part.id,
        primary_key=None,
        indexes=part.indexes,
        checks=part.checks,
        foreign_keys=part.foreign_keys,
        exclusions=(),
        partitioning=part.partitioning,
    )


def _own_columns(root: TableSchema, part: Partition, was: Partition) -> Iterator[Statement]:
    """Yield what changes of the defaults and NOT NULL that a partition has of its own."""
    whole = {column.name: column for column in root.columns}
    known = {column.name: column for column in was.columns}
    for column in part.columns:
        if known.pop(column.name, None) != column:
            yield from ddl.own_column(root.id, part.id, column)
    for name in known.keys() & whole.keys():
        yield from ddl.own_column(root.id, part.id, whole[name])


def _comments(difference: TableDifference) -> Iterator[Statement]:
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
            yield Statement(
                f"COMMENT ON {what} IS {text}", ObjectRef(ObjectKind.COMMENT, str(new.id)), new.id
            )


# Columns


def _spare(name: str) -> str:
    return shorten(f"{name}_on_its_way")


def _renames(difference: TableDifference) -> Iterator[Statement]:
    for old, new in in_sequence(difference.names, _spare):
        yield _alter(difference.new.id, f"RENAME COLUMN {ddl.quote(old)} TO {ddl.quote(new)}", old)


_OWN = ("DROP DEFAULT", "SET DEFAULT", "DROP NOT NULL")
"""Actions that change no table that inherits from this one, if it says ONLY."""


def _altered(
    schema: TableSchema, pair: ColumnPair, types: EnumChanges, *, retyped: bool
) -> Iterator[Statement]:
    """Return the changes of a column, in an order in which each step is allowed.

    A default and NOT NULL change of this table ONLY: what inherits from it has its own difference.
    """
    old, new, table = pair.old, pair.new, schema.id
    only = "" if schema.partitioning or retyped else "ONLY "
    nullable_now = _nullable_now(old, new)
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
        (nullable_now and not schema.inherits, "DROP NOT NULL"),
        (old.nullable and not new.nullable, "SET NOT NULL"),
        (set_default, f"SET DEFAULT {new.default.sql}" if new.default else ""),
        (numbered and new.identity is not None, f"ADD {_identity(new)}"),
    )
    if nullable_now and schema.inherits:
        yield ddl.inherited_not_null(table, new.name, needed=False)
    for wanted, action in actions:
        if wanted:
            change = f"ALTER COLUMN {ddl.quote(new.name)} {action}"
            yield _alter(table, change, new.name, only=only if action.startswith(_OWN) else "")
    if numbered:
        yield from _next_value(table, new)


def _nullable_now(old: Column, new: Column) -> bool:
    """Return True if a column has no NOT NULL any more, or has it as NOT VALID now."""
    return new.nullable and (not old.nullable or old.unproved not in (None, new.unproved))


def _unproved(difference: TableDifference) -> Iterator[Statement]:
    """Yield NOT NULL ... NOT VALID of columns that have it now."""
    was = {pair.new.name: pair.old.unproved for pair in difference.pairs}
    columns = (c for c in difference.new.columns if c.unproved != was.get(c.name))
    yield from ddl.not_null_unproved(difference.new.id, columns)


def _identity(column: Column) -> str:
    return ddl.identity_text(column.identity) if column.identity else ""


def _counting(identity: Identity | None) -> tuple[object, ...] | None:
    """Return an identity's declaration without what follows from its type."""
    if identity is None:
        return None
    return (identity.always, identity.increment, identity.cache, identity.cycle)


def _next_value(table: TableId, column: Column) -> Sequence[Statement]:
    schema = TableSchema(table, Dialect.POSTGRES, (column,))
    return tuple(ddl.sequence_values(Catalog(Dialect.POSTGRES, (schema,))))


def _added(difference: TableDifference, source: Column, column: Column) -> Iterator[Statement]:
    """Yield the statements that add a column and fill existing rows with the values that the
    source's server gave."""
    table = difference.new.id
    filled = filler(source, column) if difference.source is Dialect.MYSQL else None
    text = ddl.column_text(replace(column, default=filled) if filled else column)
    yield _alter(table, f"ADD COLUMN IF NOT EXISTS {text}", column.name)
    if filled:
        yield _alter(table, f"ALTER COLUMN {ddl.quote(column.name)} DROP DEFAULT", column.name)
    if column.identity is not None:
        yield from _next_value(table, column)
