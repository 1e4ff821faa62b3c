"""Tell from the target's table how far a change of its structure has come. Pure."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import TypeVar

from streams_engine.model import Check, Column, Dialect, ForeignKey, Index, TableSchema
from streams_engine.schema.ddl.structure import Structure
from streams_engine.schema.evolution.differences import TableDifference, of, sides
from streams_engine.schema.mapping.tables import ColumnMapping, TableMapping

__all__ = ["as_found", "votes"]

ALL = Structure()

T = TypeVar("T", Index, Check, ForeignKey)


def as_found(
    old: TableMapping,
    new: TableMapping,
    there: TableSchema,
    renamed: Mapping[str, str],
    structure: Structure = ALL,
    added: Collection[str] = (),
) -> TableMapping | None:
    """Return the mapping of a table that stands between the two: some of several changes were
    made, each by DDL that commits by itself.

    ``added``: columns that an earlier attempt may have added. None if it is as before or as after,
    or if its columns cannot be told apart by their names.
    """
    difference = of(old, new, renamed, structure)
    before = {side.target.name: side for side in sides(old)}
    after = {side.target.name: side for side in sides(new)}
    left = {*added} - before.keys() - after.keys()
    if _whole(difference, there) and not left & {column.name for column in there.columns}:
        return None
    columns: list[ColumnMapping] = []
    for column in there.columns:
        was, now = before.get(column.name), after.get(column.name)
        if was and now and renamed.get(was.source.name, was.source.name) != now.source.name:
            return None
        known = [side for side in (was, now) if side is not None]
        if column.name in left:
            columns.append(ColumnMapping(column, column))
        elif known:  # else it is nobody's but the target's
            columns.append(_as_found(known, column))
    target = old.target
    table = replace(
        target,
        id=there.id,
        columns=tuple(side.target for side in columns),
        primary_key=_key((target.primary_key, new.target.primary_key), there.primary_key),
        indexes=_present(target.indexes, new.target.indexes, there.indexes),
        checks=_present(target.checks, new.target.checks, there.checks),
        foreign_keys=_present(target.foreign_keys, new.target.foreign_keys, there.foreign_keys),
        comment=there.comment,
    )
    source = replace(old.source, columns=tuple(side.source for side in columns))
    return replace(old, source=source, target=table, columns=tuple(columns), generated=())


def _as_found(known: list[ColumnMapping], column: Column) -> ColumnMapping:
    traits = dict(_traits(column))
    for side in known:
        if dict(_traits(side.target)) == traits:
            return side
    return replace(known[-1], target=column)


def _key(known: Iterable[Index | None], there: Index | None) -> Index | None:
    same = (key for key in known if key and there and key.columns == there.columns)
    return next(same, there)


def _present(old: tuple[T, ...], new: tuple[T, ...], there: tuple[T, ...]) -> tuple[T, ...]:
    """Return those of both that are there, by their names; the old ones where both are."""
    names = {one.name for one in there}
    known: dict[str, T] = {}
    for one in new + old:
        known[one.name] = one
    return tuple(known[name] for name in known if name in names)


def _whole(difference: TableDifference, there: TableSchema) -> bool:
    """Return whether all that differs is as before, or all as after."""
    shown = _shown(difference, there, optional=False)
    return all(is_ == was for was, _, is_ in shown) or all(is_ == now for _, now, is_ in shown)


def votes(difference: TableDifference, there: TableSchema, *, optional: bool = False) -> int:
    """Return a number above zero if the table resembles the new one more than the old, zero if both
    alike.

    Only features that differ between the two are compared, because servers print the rest in their
    own way. Features that are ``optional`` may never have been created; they count only if nothing
    else differs.
    """
    shown = _shown(difference, there, optional)
    return sum((is_ == now) - (is_ == was) for was, now, is_ in shown)


def _shown(
    difference: TableDifference, there: TableSchema, optional: bool
) -> list[tuple[Hashable, Hashable, Hashable]]:
    """Return what differs: as it was, as it is to be, and as it is there."""
    known = {c.name for c in (*difference.old.columns, *difference.new.columns)}
    old = _features(difference.old, known, optional)
    new = _features(difference.new, known, optional)
    present = _features(there, known, optional)
    pairs = ((old.get(name), new.get(name), present.get(name)) for name in {*old, *new})
    return [one for one in pairs if one[0] != one[1]]


def _features(schema: TableSchema, known: set[str], optional: bool) -> dict[str, Hashable]:
    """Return what a table shows whoever describes it: a mapping, or its own catalog."""
    names = [column.name for column in schema.columns if column.name in known]
    ordered = schema.dialect is Dialect.MYSQL
    features: dict[str, Hashable] = {
        "table": schema.id,
        "columns": tuple(names) if ordered else frozenset(names),
        "key": schema.primary_key and schema.primary_key.columns,
        "comment": schema.comment or None,
    }
    for index in schema.indexes:
        if optional or not index.optional:
            features[f"index {index.name}"] = index.columns
    if optional:
        features |= {f"check {check.name}": True for check in schema.checks}
        features |= {f"foreign key {key.name}": True for key in schema.foreign_keys}
    for column in schema.columns:
        features |= {f"{column.name}: {what}": value for what, value in _traits(column)}
    return features


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
