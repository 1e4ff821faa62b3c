"""Foreign keys of other tables that refer to a renamed one: they follow it, as on every server."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from streams_engine.model import TableId, TableSchema
from streams_engine.pipeline.changes.table_replication import TableReplication
from streams_engine.schema.mapping.tables import TableMapping

__all__ = ["follow_rename"]


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
