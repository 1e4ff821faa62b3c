"""The columns that identify a table's rows: to compare both ends, or at any moment of a log."""

from __future__ import annotations

from collections.abc import Collection

from streams_engine.model import Index, TableSchema

__all__ = ["is_key", "key_of", "without_computed"]


def key_of(table: TableSchema) -> tuple[str, ...]:
    """Return the columns by which rows of both ends are compared: those of the primary key, else of
    a unique index over whole columns (which may contain NULLs)."""
    if table.primary_key is not None:
        return table.primary_key.columns
    for index in table.indexes:
        whole = all(part.column is not None and part.length is None for part in index.parts)
        if index.unique and index.where is None and whole:
            return index.columns
    return ()


def is_key(table: TableSchema, names: Collection[str]) -> bool:
    """Return True if at most one row has these values at any moment, also within a transaction.

    A column of a key that is generated from its other columns does not count.
    """
    solid = {column.name for column in table.columns if not column.nullable}

    def fits(index: Index | None) -> bool:
        return (
            index is not None
            and index.unique
            and not index.deferrable
            and index.where is None
            and all(part.column is not None and part.length is None for part in index.parts)
            and set(names) in (set(index.columns), set(without_computed(table, index.columns)))
            and (index.primary or set(names) <= solid)
        )

    return any(fits(index) for index in (table.primary_key, *table.indexes))


def without_computed(table: TableSchema, names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the columns without those that are generated only from others of them.

    This compares texts, and may keep one too many.
    """
    by_name = {column.name: column for column in table.columns}
    plain = {name for name in names if by_name[name].generated is None}
    others = [name for name in by_name if name not in plain]

    def computed(name: str) -> bool:
        rule = by_name[name].generated
        return rule is not None and not any(other in rule.sql for other in others)

    return tuple(name for name in names if not computed(name))
