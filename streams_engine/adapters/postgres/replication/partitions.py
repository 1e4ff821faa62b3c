"""Determine what becomes of the rows of partitions that are attached, detached or truncated.

A partitioned table is logged as one: its rows carry its own name, and no message says what is done
to a partition as a whole. The catalog shows it, as it is now, but nothing of a partition that came
and went between two looks. A Relation message, however, names each partition before its first row:
from there on it is known, and later changes are noticed.
"""

from __future__ import annotations

from dataclasses import replace

from streams_engine.adapters.postgres.replication.relations import RelationReader
from streams_engine.model import Partition, Partitioning, SchemaChange, TableSchema

__all__ = [
    "leaf_change",
    "more_parts",
    "new_ones_differ",
    "rows_came_or_went",
    "stored_elsewhere",
    "with_new_parts",
]

TRANSACTIONS = 1 << 32
"""Transaction numbers begin again after this many."""


def leaf_change(
    before: TableSchema, leaf: int, xid: int, seq: int, describer: RelationReader
) -> SchemaChange | None:
    """Return the change of a table that the first row of a partition shows; None if the partition
    is known.

    ``leaf``: the partition's oid; ``xid``: the row's transaction. A partition that is created and
    truncated in one transaction keeps its file, and one that is gone shows nothing: then the table
    is read again.
    """
    if not _knows_storage(before) or any(oid == leaf for oid, _ in before.storage):
        return None
    root = None if before.oid is None else describer.by_oid(before.oid)
    if root is None:  # the log tells that it is gone
        return None
    made = dict(root.links).get(leaf)
    alone = made is not None and (made - xid) % TRANSACTIONS >= TRANSACTIONS // 2
    if not alone or (leaf, leaf) not in root.storage or rows_came_or_went(before, root, describer):
        return SchemaChange(before, before, seq, rewritten=True)
    after = replace(
        before,
        partitioning=with_new_parts(before.partitioning, root.partitioning),
        storage=tuple(sorted((*before.storage, (leaf, leaf)))),
        links=tuple(sorted({**dict(before.links), leaf: made or 0}.items())),
    )
    return SchemaChange(before, after, seq)


def stored_elsewhere(before: TableSchema, now: TableSchema) -> bool:
    """Return whether partitions came, went, were detached meanwhile, or were rewritten."""
    if now.partitioning is None or not _knows_storage(before):
        return False
    return before.storage != now.storage or bool(before.links and before.links != now.links)


def _knows_storage(table: TableSchema) -> bool:
    """Return whether the files of a table's partitions are recorded; older versions recorded none.
    Before its first partition a table has no file."""
    parts = table.partitioning.every() if table.partitioning else ()
    empty = table.partitioning is not None and all(part.partitioning for part in parts)
    return bool(table.storage) or empty


def rows_came_or_went(before: TableSchema, now: TableSchema, describer: RelationReader) -> bool:
    """Return whether partitions brought or took away rows that no message contains."""
    old_tree, new_tree = before.partitioning, now.partitioning
    if old_tree is not None and (new_tree is None or not more_parts(old_tree, new_tree)):
        return True  # a partition is another one by its name, or its bounds
    if not stored_elsewhere(before, now):
        return False
    files, links = dict(now.storage), dict(now.links)
    if any(files.get(oid) != file for oid, file in before.storage):
        return True
    if any(links.get(oid) != made for oid, made in before.links):
        return True
    return new_ones_differ(before, now, describer)


def new_ones_differ(before: TableSchema, now: TableSchema, describer: RelationReader) -> bool:
    """Return whether new partitions brought rows, or were truncated or rewritten since they were
    created: then their file no longer has their own number."""
    known = {oid for oid, _ in before.storage}
    new = [(oid, file) for oid, file in now.storage if oid not in known]
    return any(oid != file for oid, file in new) or describer.brought_rows([oid for oid, _ in new])


def with_new_parts(old: Partitioning | None, new: Partitioning | None) -> Partitioning | None:
    """Return the old tree with the new partitions, which have nothing of their own yet: their
    indexes and checks may be of columns that come later."""
    if new is None:
        return None
    known = {part.id: part for part in old.partitions} if old is not None else {}
    parts = []
    for part in new.partitions:
        was = known.get(part.id, Partition(part.id, part.bound, unlogged=part.unlogged))
        inner = with_new_parts(was.partitioning, part.partitioning)
        parts.append(replace(was, partitioning=inner))
    return replace(new if old is None else old, partitions=tuple(parts))


def more_parts(old: Partitioning, new: Partitioning) -> bool:
    """Return whether all partitions still exist unchanged, perhaps with others."""
    there = {part.id: part for part in new.partitions}
    for part in old.partitions:
        now = there.get(part.id)
        if now is None or now.bound != part.bound:
            return False
        if (part.partitioning is None) != (now.partitioning is None):
            return False
        inner = (part.partitioning, now.partitioning)
        if inner[0] and inner[1] and not more_parts(inner[0], inner[1]):
            return False
    return old.key == new.key
