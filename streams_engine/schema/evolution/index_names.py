"""Names of indexes where a schema has each name once: those that are there, and free ones. Pure.

A mapping names the indexes of all tables by rules. In a log tables come and change one by one, so
that a name by the rules may be another table's by now, and an index may have another name than
the rules would give it today.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import replace

from streams_engine.model import Dialect, Index, Partitioning, TableId, TableSchema
from streams_engine.schema.ddl.names import Namespace
from streams_engine.schema.mapping.tables import TableMapping

__all__ = ["every_index", "named_as_there", "named_beside"]


def named_as_there(
    old: TableMapping | None,
    new: TableMapping | None,
    there: TableSchema | None,
    others: Iterable[TableSchema],
) -> tuple[TableMapping | None, TableMapping | None]:
    """Return both mappings with the names that indexes have on the target, and names for new ones
    that no other table's index has.

    ``there``: the target's table; ``others``: all other tables of the target.
    """
    target = old or new
    if target is None or target.target.dialect is not Dialect.POSTGRES:
        return old, new
    names = _actual(old.target, there) if old is not None and there is not None else {}
    if new is None:
        return _renamed(old, names), None
    taken = Namespace()
    for table in others:
        if table.id.schema == new.target.id.schema:
            for name in (table.id.name, *(index.name for index in every_index(table))):
                taken.reserve(name)
    own = {index.name for index in every_index(new.target)}
    fresh = {
        name: taken.unique(name, f"{new.target.id.name}_{name}")
        for name in sorted(own - names.keys())
    }
    return _renamed(old, names), _renamed(new, {**fresh, **names})


def named_beside(
    name: TableId, mapping: TableMapping, tables: Iterable[TableSchema]
) -> TableMapping | None:
    """Return the mapping with another name for its index that has the name of a table; None where
    it has none. ``tables``: all tables of the target."""
    table = mapping.target
    one = table.dialect is Dialect.POSTGRES and table.id.schema == name.schema
    if not one or table.id == name or all(i.name != name.name for i in every_index(table)):
        return None
    taken = Namespace()
    taken.reserve(name.name)
    for other in tables:
        for used in (other.id.name, *(index.name for index in every_index(other))):
            taken.reserve(used)
    return _renamed(mapping, {name.name: taken.unique(f"{table.id.name}_{name.name}")})


def every_index(table: TableSchema) -> tuple[Index, ...]:
    """Return the primary key and the indexes of a table."""
    return (*((table.primary_key,) if table.primary_key else ()), *table.indexes)


def _actual(planned: TableSchema, there: TableSchema) -> Mapping[str, str]:
    """Return the names that planned indexes have on the target, by their planned names."""
    left = {index.name: index for index in every_index(there)}
    names: dict[str, str] = {}
    for index in every_index(planned):
        if index.name in left and _form(left[index.name]) == _form(index):
            names[index.name] = left.pop(index.name).name
    for index in every_index(planned):
        same = [one.name for one in left.values() if _form(one) == _form(index)]
        if index.name not in names and same:
            names[index.name] = left.pop(same[0]).name
    return names


def _form(index: Index) -> Hashable:
    """Return what tells an index apart, besides expressions, which servers write in other words."""
    parts = tuple((part.column, part.expression is None) for part in index.parts)
    return index.primary, index.unique, index.method, parts


def _renamed(mapping: TableMapping | None, names: Mapping[str, str]) -> TableMapping | None:
    if mapping is None:
        return None
    target, key = mapping.target, mapping.target.primary_key
    indexes = tuple(replace(i, name=names.get(i.name, i.name)) for i in target.indexes)
    key = key and replace(key, name=names.get(key.name, key.name))
    tree = target.partitioning and _inheriting(target.partitioning, names)
    target = replace(target, indexes=indexes, primary_key=key, partitioning=tree)
    return replace(mapping, target=target)


def _inheriting(tree: Partitioning, names: Mapping[str, str]) -> Partitioning:
    """Return the partitions with the new names of the whole table's indexes."""
    return replace(
        tree,
        partitions=tuple(
            replace(
                part,
                inherited=tuple((names.get(whole, whole), own) for whole, own in part.inherited),
                partitioning=part.partitioning and _inheriting(part.partitioning, names),
            )
            for part in tree.partitions
        ),
    )
