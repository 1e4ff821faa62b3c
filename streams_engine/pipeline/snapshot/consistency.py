"""Snapshots of a stream's tables, and what must wait until all tables have reached the newest one.

A table that was loaded at a snapshot skips the log up to it. Two tables of one snapshot are
therefore consistent with each other at every position; tables of different snapshots from the newer
one on. The first position at or after the snapshots of all tables is the consistent point.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet

from streams_engine.model import Catalog, ForeignKey, Position, TableId, TableSchema
from streams_engine.schema.mapping.tables import TableMapping

__all__ = ["connected", "crossing", "in_one_view", "referential_actions"]

Edge = tuple[TableId, TableId]
Key = tuple[TableId, str]
"""A foreign key: its table, and its name."""

ACTIONS = {"CASCADE", "SET NULL", "SET DEFAULT"}


def referential_actions(key: ForeignKey) -> tuple[bool, bool]:
    """Return whether the foreign key changes rows when the referenced row goes, or moves."""
    return key.on_delete in ACTIONS, key.on_update in ACTIONS


def crossing(tables: Sequence[TableMapping], views: Mapping[TableId, Position]) -> frozenset[Key]:
    """Return the target's foreign keys that refer to a table of another view.

    ``views``: by source table.
    """
    by_target = {m.target.id: views.get(m.source.id) for m in tables}
    return frozenset(
        (owner, key.name)
        for m in tables
        for owner, key in _foreign_keys(m.target)
        if by_target[m.target.id] != by_target.get(key.referenced, by_target[m.target.id])
    )


def _foreign_keys(table: TableSchema) -> Iterator[tuple[TableId, ForeignKey]]:
    """Yield (the table or partition, its own foreign key)."""
    for key in table.foreign_keys:
        yield table.id, key
    for part in table.partitioning.every() if table.partitioning else ():
        for key in part.foreign_keys:
            yield part.id, key


def connected(edges: Iterable[Edge], tables: AbstractSet[TableId]) -> frozenset[TableId]:
    """Return the tables, and all that edges in either direction lead to from them."""
    near: dict[TableId, set[TableId]] = {}
    for one, other in edges:
        near.setdefault(one, set()).add(other)
        near.setdefault(other, set()).add(one)
    connected, left = set(tables), list(tables)
    while left:
        new = near.get(left.pop(), set()) - connected
        connected |= new
        left += new
    return frozenset(connected)


def in_one_view(
    tables: Sequence[TableMapping],
    loading: AbstractSet[TableId],
    unlogged: AbstractSet[str],
    there: Catalog | None,
) -> frozenset[TableId]:
    """Return the source tables that have to be loaded in one view with those that are loading.

    These are the tables that foreign keys connect where the log does not carry what the keys do
    (the sources whose aliases are ``unlogged``): a row that a key removed between two views would
    stay. And those that foreign keys on the target connect: ``there`` is what the target has, and
    a row cannot be loaded before the row that it refers to.
    """
    edges: list[Edge] = [
        (m.source.id, key.referenced)
        for m in tables
        if m.source.id.alias in unlogged
        for key in m.source.every_foreign_key
        if any(referential_actions(key))
    ]
    if there is not None:
        sources = {m.target.id: m.source.id for m in tables}
        edges += [
            (sources[table.id], sources[key.referenced])
            for table in there.tables
            for key in table.every_foreign_key
            if key.referenced in sources
        ]
    return connected(edges, loading) & {m.source.id for m in tables}
