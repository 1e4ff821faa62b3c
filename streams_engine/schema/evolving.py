"""A change of a source table's structure, carried to the target: what runs, and what is lost.

Pure: both sides of the change are mappings (`routes.map_catalog` with the same options), and what
differs between them is said in the target's DDL. A table's statements are of two natures. On
PostgreSQL all are one transaction, but for the first `Evolution.alone`. On MySQL and MariaDB,
whose DDL commits by itself, one ALTER TABLE does everything that one can do; after a kill
`pending` tells from the table that is found what is left.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass, replace

from streams_engine.errors import TargetConflict
from streams_engine.model import (
    Catalog,
    Column,
    Dialect,
    Finding,
    NativeType,
    TableSchema,
    TypeKind,
)
from streams_engine.protocols import Statement
from streams_engine.schema import evolving_mysql, evolving_postgres
from streams_engine.schema.ddl import ddl_of
from streams_engine.schema.differences import Difference, Pair, of, sides, trimmed
from streams_engine.schema.evolving_types import Types, enum_types, guarded, sequence_of, sequences
from streams_engine.schema.fitting import holds
from streams_engine.schema.loss import loss
from streams_engine.schema.mapping import TableMapping, warning
from streams_engine.schema.planned import Plan
from streams_engine.schema.postgres_names import with_extensions
from streams_engine.schema.structure import Structure

__all__ = ["Evolution", "create", "drop", "evolve", "pending"]

ALL = Structure()

_PLANS: Mapping[Dialect, Callable[[Difference], Plan]] = {
    Dialect.MYSQL: evolving_mysql.plan,
    Dialect.POSTGRES: evolving_postgres.plan,
}

_UNSTEADY = re.compile(
    r"current_|localtime|now\(|sysdate|clock_|statement_t|transaction_t|nextval|uuid|rand", re.I
)
"""Defaults that are another value whenever they are asked."""

_UNCARRIED: Mapping[str, str] = {
    "exclusions": "Its exclusion constraints changed",
    "partitioning": "Its partitions changed",
    "inherits": "What it inherits from changed",
    "options": "Its storage options changed",
    "unlogged": "It became another kind of table (LOGGED or UNLOGGED)",
}
"""What of a table has no statement here."""


@dataclass(frozen=True, slots=True)
class Evolution:
    """What carries a change to the target."""

    statements: tuple[Statement, ...]
    """In an order that works."""
    losses: tuple[str, ...] = ()
    """What would be lost, a sentence each."""
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
) -> Evolution:
    """What leads from the target of ``old`` to that of ``new``.

    ``renamed`` leads from old to new names of the source's columns. A column that keeps its name
    and changes its type is one column; where it was dropped and another made under its name,
    ``renamed`` leads from it to a name that is no column of ``new`` (as the empty one).
    ``structure``: what of the structure the stream carries at all.
    """
    difference = of(old, new, renamed, structure)
    plan = _plan(difference)
    return Evolution(
        plan.statements,
        tuple(_losses(difference)),
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
    """Which statements of `evolve` are still to run, by the table that is on the target.

    ``there`` is what is found under the new name, or else under the old one. Raises
    `TargetConflict` where the table looks the same before and after the one statement that
    may not be repeated (two columns of one type that swap names in place).
    """
    difference = of(evolution_from, wanted, renamed or {}, structure)
    plan = _plan(difference)
    votes = _votes(difference, there)
    votes = votes or _votes(difference, there, optional=True)
    if plan.main and votes == 0 and not plan.repeatable:
        raise TargetConflict(
            f"Whether the change of {there.id} is done cannot be seen from the table.",
            remedy="Compare the table with the source's, or load it again.",
            table=str(there.id),
        )
    here = _objects(there)
    if plan.main and votes <= 0:
        before = tuple(step.statement for step in plan.before if step.object in here)
        return (*before, *plan.main, *(step.statement for step in plan.after))
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
    """A new table with all that it needs: types and sequences, keys, indexes, foreign keys.

    ``catalog``, the target's side of the mapping, gives types that a column alone does not tell
    (domains, composites), and names in ``schemas`` what exists and needs no right to be made.
    Nothing fails because the schema, a type or a sequence is there.
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
        types=catalog.types if catalog is not None else enum_types(schema.columns),
        sequences=called,
        extensions=catalog.extensions if catalog is not None else (),
        schemas=catalog.schemas if catalog is not None else frozenset(),
    )
    if schema.dialect is Dialect.POSTGRES:
        needed = with_extensions(needed)
    values = replace(needed, types=(), sequences=called)
    return (
        *(
            guarded(s, "duplicate_object", "duplicate_table")
            if s.object.startswith(("type ", "sequence "))
            else s
            for s in ddl.objects(needed)
        ),
        *(
            _spoken(s, "CREATE TABLE ", "CREATE TABLE IF NOT EXISTS ")
            for s in ddl.table(schema, structure)
        ),
        *ddl.indexes(schema, structure),
        *(ddl.foreign_keys(schema) if structure.foreign_keys else ()),
        *ddl.sequence_values(values),
    )


def drop(mapping: TableMapping) -> tuple[Statement, ...]:
    """Away with the table, and with the enums and sequences that only its columns had."""
    schema = mapping.target
    own = mapping.source.dialect is not Dialect.POSTGRES
    types = enum_types(schema.columns) if own else ()
    counters = sequences(schema.id, sides(mapping)) if own else ()
    catalog = Catalog(schema.dialect, (schema,), types=types, sequences=counters)
    statements = ddl_of(schema.dialect).drop((schema.id,), catalog, catalog)
    heads = {f"DROP {kind} ": f"DROP {kind} IF EXISTS " for kind in ("TABLE", "TYPE")}
    found = []
    for statement in statements:
        for head, spoken in heads.items():
            statement = _spoken(statement, head, spoken)
        found.append(statement)
    return tuple(found)


def _spoken(statement: Statement, head: str, instead: str) -> Statement:
    """The statement with another beginning, where it begins so and does not have that one."""
    if not statement.sql.startswith(head) or statement.sql.startswith(instead):
        return statement
    return replace(statement, sql=instead + statement.sql.removeprefix(head))


def _plan(difference: Difference) -> Plan:
    """The dialect's statements; files have none, each part of theirs says what it holds."""
    planner = _PLANS.get(difference.new.dialect)
    return planner(difference) if planner else Plan()


# What would be lost


def _losses(difference: Difference) -> Iterator[str]:
    table = difference.old.id
    for side in difference.dropped:
        yield f"Column {table}.{side.target.name} is dropped with its values."
    for pair in difference.pairs:
        yield from _lost_values(difference, pair)
    for side in difference.added:
        column = side.target
        where = f"{difference.new.id}.{column.name}"
        if column.identity is not None or (sequence_of(column) and side.source.identity):
            yield f"Column {where} numbers its rows: the rows that are there get other numbers."
        elif side.source.default is not None and _UNSTEADY.search(side.source.default.sql):
            yield (
                f"Column {where} has a default ({side.source.default.sql}) that is another value "
                "whenever it is asked: the rows that are there do not get the source's."
            )
        elif side.source.default is not None and column.default is None and not column.generated:
            default = side.source.default.sql
            if default.strip().upper() != "NULL":
                yield (
                    f"Column {where} has a default ({default}) that the target lacks: "
                    "the rows that are there do not get its value."
                )


def _lost_values(difference: Difference, pair: Pair) -> Iterator[str]:
    old, new = pair.old, pair.new
    where = f"{difference.old.id}.{old.name}"
    if old.generated is not None:
        return  # its values come of others
    if not _holds(old.type, new.type):
        postgres = new.type.dialect is Dialect.POSTGRES
        what = loss(old.type, new.type, postgres_source=postgres)
        lost = f"loses {what}" if what else "does not hold every value"
        yield f"Column {where}: {_shown(old.type)} as {_shown(new.type)} {lost}."
    proven = difference.new.primary_key is not None and new.name in (
        difference.new.primary_key.columns  # the source's rows have a value each, or it had failed
    )
    filled = new.default or new.identity or new.generated
    if old.nullable and not new.nullable and not (filled or proven):
        yield f"Column {where} becomes NOT NULL and has no default: rows with NULL cannot stay."


def _holds(old: NativeType, new: NativeType) -> bool:
    if old.kind is TypeKind.ENUM and new.kind is TypeKind.ENUM:
        return set(old.labels) <= set(new.labels)
    if old.kind is TypeKind.SET and new.kind is TypeKind.SET:
        return set(old.labels) <= set(new.labels)
    return old == new or holds(old, new)


def _shown(native: NativeType) -> str:
    return f"{native.text} {native.labels}" if native.labels else native.text


def _findings(difference: Difference) -> Iterator[Finding]:
    new = difference.new
    for pair in difference.pairs:
        if pair.old.generated is None and _converted(pair):
            yield warning(
                "converted",
                f"{new.id}.{pair.new.name}",
                f"The target makes {_shown(pair.new.type)} of {_shown(pair.old.type)} by its own "
                "rules, whatever the source was told.",
                "Verify the table afterwards.",
            )
    for name, what in _UNCARRIED.items():
        if getattr(difference.old, name) != getattr(new, name):
            yield warning("not-carried", new.id, f"{what}: the target's stays as it is.")
    if new.dialect is Dialect.POSTGRES:
        yield from Types(difference).findings()


def _converted(pair: Pair) -> bool:
    old, new = pair.old.type, pair.new.type
    return not _holds(old, new) or (old.kind is not new.kind and old.name != new.name)


# What of a change is there already


def _votes(difference: Difference, there: TableSchema, *, optional: bool = False) -> int:
    """Above zero: the table is more like the new one than like the old one; zero: like both.

    Only what differs between the two is asked, for servers spell much in their own way. What is
    ``optional`` may never have come about, and has a say where nothing else differs.
    """
    known = {c.name for c in (*difference.old.columns, *difference.new.columns)}
    old, new = (
        _features(difference.old, known, optional),
        _features(difference.new, known, optional),
    )
    found = _features(there, known, optional)
    votes = 0
    for feature in {*old, *new}:
        before, after = old.get(feature), new.get(feature)
        if before != after:
            value = found.get(feature)
            votes += (value == after) - (value == before)
    return votes


def _features(schema: TableSchema, known: set[str], optional: bool) -> dict[str, Hashable]:
    """What can be told of a table whoever describes it: a mapping, or its own catalog."""
    names = [column.name for column in schema.columns if column.name in known]
    ordered = schema.dialect is Dialect.MYSQL
    found: dict[str, Hashable] = {
        "table": schema.id,
        "columns": tuple(names) if ordered else frozenset(names),
        "key": schema.primary_key and schema.primary_key.columns,
    }
    for index in schema.indexes:
        if optional or not index.optional:
            found[f"index {index.name}"] = index.columns
    if optional:
        found |= {f"check {check.name}": True for check in schema.checks}
        found |= {f"foreign key {key.name}": True for key in schema.foreign_keys}
    for column in schema.columns:
        found |= {f"{column.name}: {what}": value for what, value in _traits(column)}
    return found


def _traits(column: Column) -> Iterator[tuple[str, Hashable]]:
    native = column.type
    integer = native.name.endswith("int") or native.name in ("int2", "int4", "int8")
    yield "type", (native.name, native.unsigned, () if integer else native.args, native.labels)
    yield "nullable", column.nullable
    yield "identity", column.identity is not None
    yield "generated", column.generated is not None
    yield "default", column.default is not None
    yield "collation", column.collation
    yield "comment", column.comment or None


def _objects(schema: TableSchema) -> frozenset[str]:
    """The objects of a table that a `Step` may be about."""
    indexes = [f"index {index.name}" for index in schema.indexes]
    checks = [f"check {check.name}" for check in schema.checks]
    return frozenset((*indexes, *checks, *(f"foreign key {k.name}" for k in schema.foreign_keys)))
