"""Foreign keys of other tables that refer to a changed one: they follow its name, as on every
server, and on PostgreSQL they need a unique key of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from streams_engine.model import ForeignKey, TableId, TableSchema
from streams_engine.pipeline.changes.table_replication import TableReplication
from streams_engine.schema.mapping.tables import TableMapping

__all__ = ["follow_rename", "keys_in_need"]


def follow_rename(
    tables: Iterable[TableReplication], old: TableMapping, new: TableMapping
) -> list[TableReplication]:
    """Have the foreign keys of other tables refer to a table under its new name.

    Return the tables whose structure on the source is another one now.
    """
    changed = []
    for table in tables:
        schema = _referring(table.tracked.schema, old.source.id, new.source.id)
        table.mapping = replace(
            table.mapping,
            source=_referring(table.mapping.source, old.source.id, new.source.id),
            target=_referring(table.mapping.target, old.target.id, new.target.id),
        )
        if schema is not table.tracked.schema:
            table.tracked = replace(table.tracked, schema=schema)
            changed.append(table)
    return changed


def _referring(schema: TableSchema, was: TableId, now: TableId) -> TableSchema:
    """Return the table with its keys to a renamed one; the same object where it has none."""
    keys = tuple(
        replace(key, referenced=replace(now, alias=key.referenced.alias))
        if replace(key.referenced, alias="") == replace(was, alias="")
        else key
        for key in schema.foreign_keys
    )
    return schema if keys == schema.foreign_keys else replace(schema, foreign_keys=keys)


def keys_in_need(
    tables: Iterable[TableReplication],
    old: TableMapping,
    new: TableMapping,
    renamed: Mapping[str, str],
) -> Iterator[tuple[TableReplication, ForeignKey, ForeignKey | None]]:
    """Yield the target's foreign keys of other tables that need a unique key which a change drops
    or makes anew, with what they become: None where none of its columns is left."""
    names = {c.source.name: c.target.name for c in new.columns}
    now = {c.target.name: names.get(renamed.get(c.source.name, c.source.name)) for c in old.columns}
    for table in tables:
        for key in table.mapping.target.foreign_keys:
            if key.referenced != old.target.id:
                continue
            columns = tuple(now.get(name) or "" for name in key.referenced_columns)
            before = _unique(old.target, key.referenced_columns)
            after = _unique(new.target, columns)
            if before and before != after:
                moved = replace(key, referenced=new.target.id, referenced_columns=columns)
                yield table, key, moved if after else None


def _unique(table: TableSchema, columns: Iterable[str]) -> set[tuple[str, tuple[str, ...]]]:
    """Return the unique keys over exactly these columns."""
    wanted = set(columns)
    keys = [table.primary_key, *(index for index in table.indexes if index.unique)]
    return {
        (key.name, tuple(key.columns))
        for key in keys
        if key is not None and set(key.columns) == wanted and key.where is None
    }
