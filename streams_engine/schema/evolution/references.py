"""Foreign keys of a table that the catalog describes as it is today, while other tables are
followed under the names that they had earlier in the log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from streams_engine.model import ForeignKey, Partitioning, TableId, TableSchema

__all__ = ["as_followed"]


def as_followed(
    table: TableSchema, names: Mapping[int, TableId], parents: Sequence[int] | None = None
) -> TableSchema:
    """Return the table with foreign keys that refer to others by the names under which these are
    followed, by oid, and inheriting from those names if ``parents`` are all followed.

    A key to a table that is not followed is left out while another one is followed under its name.
    """
    if parents is not None:
        known = tuple(names[oid] for oid in parents if oid in names)
        table = replace(table, inherits=known if len(known) == len(parents) else ())
    if not table.every_foreign_key:
        return table
    return replace(
        table,
        foreign_keys=_keys(table.foreign_keys, names),
        partitioning=table.partitioning and _parts(table.partitioning, names),
    )


def _parts(tree: Partitioning, names: Mapping[int, TableId]) -> Partitioning:
    parts = tuple(
        replace(
            part,
            foreign_keys=_keys(part.foreign_keys, names),
            partitioning=part.partitioning and _parts(part.partitioning, names),
        )
        for part in tree.partitions
    )
    return replace(tree, partitions=parts)


def _keys(keys: tuple[ForeignKey, ...], names: Mapping[int, TableId]) -> tuple[ForeignKey, ...]:
    known: list[ForeignKey] = []
    for key in keys:
        oid = key.referenced_oid
        if oid is not None and oid in names:
            known.append(replace(key, referenced=names[oid]))
        elif oid is None or key.referenced not in names.values():
            known.append(key)
    return tuple(known)
