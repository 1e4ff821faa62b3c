"""Numbers that MySQL gives rows by itself, for a PostgreSQL column that a sequence numbers. Pure.

A log knows no sequences, so that a mapping of it cannot tell a default that becomes AUTO_INCREMENT
from one that is left out: the target's table can.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from streams_engine.model import Column, Dialect, Identity, TableSchema
from streams_engine.schema.mapping.tables import TableMapping

__all__ = ["counted_as_there"]


def counted_as_there(
    old: TableMapping | None,
    new: TableMapping | None,
    there: TableSchema | None,
    renamed: Mapping[str, str],
) -> tuple[TableMapping | None, TableMapping | None]:
    """Return both mappings with the AUTO_INCREMENT that the target's table has, for as long as the
    source's column takes its numbers from a sequence."""
    if old is None or there is None or there.dialect is not Dialect.MYSQL:
        return old, new
    identities = {column.name: column.identity for column in there.columns}
    counters = {
        column.source.name: identity
        for column in old.columns
        if _is_counted(column.source) and (identity := identities.get(column.target.name))
    }
    now = {renamed.get(name, name): identity for name, identity in counters.items()}
    return _counting(old, counters), new and _counting(new, now)


def _is_counted(source: Column) -> bool:
    return source.default is not None and "nextval" in source.default.sql


def _counting(mapping: TableMapping, counters: Mapping[str, Identity]) -> TableMapping:
    names = {
        column.target.name: counters[column.source.name]
        for column in mapping.columns
        if column.source.name in counters and _is_counted(column.source)
    }

    def counting(column: Column) -> Column:
        identity = names.get(column.name)
        return column if identity is None else replace(column, identity=identity, nullable=False)

    if not names:
        return mapping
    columns = tuple(replace(c, target=counting(c.target)) for c in mapping.columns)
    target = replace(mapping.target, columns=tuple(map(counting, mapping.target.columns)))
    return replace(mapping, columns=columns, target=target)
