"""Plan a change of a source table's structure for the target: what runs, what is lost."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from streams_engine.contracts import Statement
from streams_engine.errors import TargetConflict
from streams_engine.model import (
    Catalog,
    Dialect,
    Finding,
    NativeType,
    ObjectKind,
    ObjectRef,
    TableSchema,
    TypeKind,
)
from streams_engine.schema.ddl.structure import Structure
from streams_engine.schema.dialects import ddl_of, spec_of
from streams_engine.schema.evolution.differences import (
    ColumnPair,
    TableDifference,
    canonical,
    of,
    sides,
    trimmed,
)
from streams_engine.schema.evolution.found import votes
from streams_engine.schema.evolution.postgres_types import (
    EnumChanges,
    enum_types,
    sequences,
)
from streams_engine.schema.evolution.postgres_user_types import guarded
from streams_engine.schema.evolution.steps import DdlPlan
from streams_engine.schema.mapping.tables import ColumnMapping, TableMapping, warning
from streams_engine.schema.types.compatibility import can_hold
from streams_engine.schema.types.loss import describe_loss

__all__ = ["SchemaChangePlan", "create", "drop", "evolve", "pending"]

ALL = Structure()

_UNSTEADY = re.compile(
    r"current_|localtime|now\(|sysdate|clock_|statement_t|transaction_t|nextval|uuid|rand", re.I
)
"""Defaults that are another value whenever they are asked."""

_UNCARRIED: Mapping[str, str] = {
    "exclusions": "Its exclusion constraints changed",
    "partitioning": "Its partitions changed",
    "inherits": "What it inherits from changed",
    "options": "Its storage options changed",
    "unlogged": "Its kind (LOGGED or UNLOGGED) changed",
}
"""What of a table has no statement here."""


@dataclass(frozen=True, slots=True)
class SchemaChangePlan:
    """The statements that carry a change to the target."""

    statements: tuple[Statement, ...]
    """In an order that works."""
    losses: tuple[str, ...] = ()
    """What would be lost, a sentence each."""
    unknown: tuple[str, ...] = ()
    """Why rows that are there may come out otherwise than on the source, a sentence each: they
    have to be read again."""
    findings: tuple[Finding, ...] = ()
    """What is not carried, or may come out differently."""
    alone: int = 0
    """How many of the first statements are to be committed, each by itself, before the others
    are run: labels that are added to an enum of PostgreSQL, which nothing may use before. They
    can be repeated, and a reader of the target is not disturbed by them."""


def evolve(
    old: TableMapping,
    new: TableMapping,
    renamed: Mapping[str, str],
    structure: Structure = ALL,
) -> SchemaChangePlan:
    """Plan the way from the target of ``old`` to that of ``new``.

    ``renamed`` leads from old to new names of the source's columns. A column that keeps its name
    and changes its type is one column; where it was dropped and another made under its name,
    ``renamed`` leads from it to a name that is no column of ``new`` (as the empty one).
    ``structure``: what of the structure the stream carries at all.
    """
    difference = of(old, new, renamed, structure)
    plan = _plan(difference)
    return SchemaChangePlan(
        plan.statements,
        tuple(
            f"Column {difference.old.id}.{side.target.name} is dropped with its values."
            for side in difference.dropped
            if side.source.generated is None
        ),
        tuple(_unknown_rows(difference)),
        tuple(_findings(difference)),
        plan.alone,
    )


def pending(
    evolution_from: TableMapping,
    wanted: TableMapping,
    there: TableSchema,
    renamed: Mapping[str, str] | None = None,
    structure: Structure = ALL,
) -> tuple[Statement, ...]:
    """Return the statements of `evolve` that still have to run, judging by the table on the target.

    ``there`` is the table found under the new name, or else under the old one. Raises
    `TargetConflict` if the table looks the same before and after the one statement that must not
    run twice (two columns of one type that swap names in place).
    """
    difference = of(evolution_from, wanted, renamed or {}, structure)
    plan = _plan(difference)
    shown = votes(difference, there) or votes(difference, there, optional=True)
    if plan.main and shown == 0 and not plan.repeatable:
        raise TargetConflict(
            f"The table does not show whether the change of {there.id} was made.",
            remedy="Compare the table with the source's, or load it again.",
            table=str(there.id),
        )
    here = _objects(there)
    if plan.main and shown <= 0:
        before = tuple(step.statement for step in plan.before if step.object in here)
        # What stood there although the old mapping left it out, as a key whose columns did not fit.
        stays = here - {step.object for step in plan.before}
        after = (step.statement for step in plan.after if step.object not in stays)
        return (*before, *plan.main, *after)
    # Without a main part an object of the same name may be the old one or the new one.
    open_before = () if plan.main else tuple(s for s in plan.before if s.object in here)
    again = {step.object for step in open_before}
    return (
        *(step.statement for step in open_before),
        *(s.statement for s in plan.after if s.object in again or s.object not in here),
    )


def create(
    mapping: TableMapping, structure: Structure = ALL, catalog: Catalog | None = None
) -> tuple[Statement, ...]:
    """Return the statements that create a table with types, sequences, keys, indexes and foreign
    keys.

    ``catalog``, the target's side of the mapping, supplies types that a column alone does not
    describe (domains, composites); its ``schemas`` exist already and need no privilege to create.
    An existing schema, type or sequence is not an error.
    """
    schema = trimmed(mapping.target, structure)
    ddl = ddl_of(schema.dialect)
    called = sequences(schema.id, sides(mapping))
    names = {sequence.id for sequence in called}
    if catalog is not None:
        called = tuple(s for s in catalog.sequences if s.id in names) or called
    needed = Catalog(
        schema.dialect,
        (schema,),
        types=catalog.types if catalog is not None else schema.types or enum_types(schema.columns),
        sequences=called,
        extensions=catalog.extensions if catalog is not None else schema.extensions,
        schemas=catalog.schemas if catalog is not None else frozenset(),
    )
    needed = spec_of(schema.dialect).complete(needed)
    values = replace(needed, types=(), sequences=called)
    return (
        *(
            guarded(s, "duplicate_object", "duplicate_table")
            if s.object.kind in (ObjectKind.TYPE, ObjectKind.SEQUENCE)
            else s
            for s in ddl.objects(needed)
        ),
        *(
            _with_head(s, "CREATE TABLE ", "CREATE TABLE IF NOT EXISTS ")
            for s in ddl.table(schema, structure)
        ),
        *ddl.indexes(schema, structure),
        *(ddl.foreign_keys(schema) if structure.foreign_keys else ()),
        *ddl.sequence_values(values),
    )


def drop(mapping: TableMapping) -> tuple[Statement, ...]:
    """Return the statements that drop the table, with the enums and sequences that only its columns
    used."""
    schema = mapping.target
    own = mapping.source.dialect is not Dialect.POSTGRES
    types = enum_types(schema.columns) if own else ()
    counters = sequences(schema.id, sides(mapping)) if own else ()
    catalog = Catalog(schema.dialect, (schema,), types=types, sequences=counters)
    statements = ddl_of(schema.dialect).drop((schema.id,), catalog, catalog)
    heads = {f"DROP {kind} ": f"DROP {kind} IF EXISTS " for kind in ("TABLE", "TYPE")}
    drops = []
    for statement in statements:
        for head, spoken in heads.items():
            statement = _with_head(statement, head, spoken)
        drops.append(statement)
    return tuple(drops)


def _with_head(statement: Statement, head: str, instead: str) -> Statement:
    """Replace the beginning ``head`` of the statement by ``instead``, unless it begins so
    already."""
    if not statement.sql.startswith(head) or statement.sql.startswith(instead):
        return statement
    return replace(statement, sql=instead + statement.sql.removeprefix(head))


def _plan(difference: TableDifference) -> DdlPlan:
    """Plan the dialect's statements. Files have none: each of their data files describes its own
    columns."""
    planner = spec_of(difference.new.dialect).evolve
    return planner(difference) if planner else DdlPlan()


# What the target cannot know


def _unknown_rows(difference: TableDifference) -> Iterator[str]:
    for pair in difference.pairs:
        yield from _changed_values(difference, pair)
    for side in difference.added:
        column = side.target
        where = f"{difference.new.id}.{column.name}"
        if column.identity is not None or side.source.identity is not None:
            yield f"Column {where} numbers the rows: existing rows get other numbers."
        elif side.source.default is not None and _UNSTEADY.search(side.source.default.sql):
            yield (
                f"The default ({side.source.default.sql}) of column {where} gives another value "
                "at each call: existing rows do not get the source's values."
            )
        elif side.source.generated is not None and column.generated is None:
            yield f"Column {where} is generated on the source, and the target does not compute it."
        elif _is_filled_with_no_json(side):
            yield f"Column {where} is NOT NULL: MariaDB gives existing rows '', which is no JSON."
        elif side.source.default is not None and column.default is None and not column.generated:
            default = side.source.default.sql
            if default.strip().upper() != "NULL":
                yield (
                    f"Column {where} has a default ({default}) that the target lacks: existing "
                    "rows do not get its value."
                )


def _is_filled_with_no_json(side: ColumnMapping) -> bool:
    """Return True for a JSON of MariaDB, which is a text, that is NOT NULL and has no default, and
    that another server makes JSON."""
    source, target = side.source, side.target
    text = source.type.name == "json" and source.charset is not None
    kept = target.charset is not None or target.type.name not in ("json", "jsonb")
    return text and not kept and not source.nullable and source.default is None


def _changed_values(difference: TableDifference, pair: ColumnPair) -> Iterator[str]:
    old, new = pair.old, pair.new
    where = f"{difference.old.id}.{old.name}"
    if old.generated is not None:
        return  # its values come of others
    rules = pair.before.source.generated, pair.after.source.generated
    names = {p.before.source.name: p.after.source.name for p in difference.pairs}
    if None not in rules and canonical(rules[0], names) != canonical(rules[1]):
        yield f"Column {where} is generated otherwise, and the target does not compute it."
    if rules[0] is None and rules[1] is not None and new.generated is None:
        yield f"Column {where} is generated now, and the target does not compute it."
    if not _holds(old.type, new.type):
        postgres = new.type.dialect is Dialect.POSTGRES
        what = describe_loss(old.type, new.type, postgres_source=postgres)
        lost = f"loses {what}" if what else "cannot hold every value"
        yield f"Column {where}: {_shown(old.type)} as {_shown(new.type)} {lost}."
    elif new.type.kind is not TypeKind.SET and _reordered(pair):
        yield f"The labels of column {where} stand in another order: so do those of its values."
    elif pair.before.source.type.dialect is Dialect.MYSQL:
        was, now = pair.before.source.type, pair.after.source.type
        if not _holds(was, now):
            yield (
                f"Column {where}: a session that is not strict makes values of {_shown(was)} fit "
                f"{_shown(now)} on the source."
            )


def _holds(old: NativeType, new: NativeType) -> bool:
    if old.kind is TypeKind.ENUM and new.kind is TypeKind.ENUM:
        return set(old.labels) <= set(new.labels)
    if old.kind is TypeKind.SET and new.kind is TypeKind.SET:
        return set(old.labels) <= set(new.labels)
    if old.kind is new.kind is TypeKind.ARRAY and old.element and new.element:
        return _holds(old.element, new.element)
    return old == new or can_hold(old, new)


def _reordered(pair: ColumnPair) -> bool:
    """Return whether a set's labels changed their order, in which the source gives its values."""
    old, new = pair.before.source.type, pair.after.source.type
    if old.kind is not TypeKind.SET or new.kind is not TypeKind.SET:
        return False
    return [label for label in new.labels if label in old.labels] != list(old.labels)


def _shown(native: NativeType) -> str:
    return f"{native.text} {native.labels}" if native.labels else native.text


def _findings(difference: TableDifference) -> Iterator[Finding]:
    new = difference.new
    for pair in difference.pairs:
        if pair.old.generated is None and _converted(pair):
            yield warning(
                "converted",
                f"{new.id}.{pair.new.name}",
                f"The target converts {_shown(pair.old.type)} to {_shown(pair.new.type)} by its "
                "own rules, whatever expression the source used.",
                "Verify the table afterwards.",
            )
    for name, what in _UNCARRIED.items():
        postgres = new.dialect is Dialect.POSTGRES
        created = name in ("partitioning", "exclusions", "options", "inherits") and postgres
        if getattr(difference.old, name) != getattr(new, name) and not created:
            yield warning("not-carried", new.id, f"{what}: the target's stays as it is.")
    if new.dialect is Dialect.POSTGRES:
        yield from EnumChanges(difference).findings()


def _converted(pair: ColumnPair) -> bool:
    old, new = pair.old.type, pair.new.type
    return not _holds(old, new) or (old.kind is not new.kind and old.name != new.name)


# What of a change is there already


def _objects(schema: TableSchema) -> frozenset[ObjectRef]:
    """Return a table's objects that a `DdlStep` may name."""
    return frozenset(
        (
            *(ObjectRef(ObjectKind.INDEX, index.name) for index in schema.indexes),
            *(ObjectRef(ObjectKind.CHECK, check.name) for check in schema.checks),
            *(ObjectRef(ObjectKind.FOREIGN_KEY, key.name) for key in schema.foreign_keys),
        )
    )
