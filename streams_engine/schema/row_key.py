"""The columns by which a row of a table is named where both ends are compared."""

from __future__ import annotations

from streams_engine.model import TableSchema

__all__ = ["key_of"]


def key_of(table: TableSchema) -> tuple[str, ...]:
    """Return the columns of the primary key, else of a unique index over whole columns (which may
    contain NULLs)."""
    if table.primary_key is not None:
        return table.primary_key.columns
    for index in table.indexes:
        whole = all(part.column is not None and part.length is None for part in index.parts)
        if index.unique and index.where is None and whole:
            return index.columns
    return ()
