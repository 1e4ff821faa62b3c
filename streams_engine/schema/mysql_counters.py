"""AUTO_INCREMENT of a MySQL or MariaDB target after changes were applied to it.

InnoDB moves it with each row that is inserted, but not with a row that was inserted and deleted
again on the source, nor with an UPDATE of the column.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from streams_engine.model import Catalog, SequenceValue, TableId
from streams_engine.protocols import Statement
from streams_engine.schema.mysql_ddl import name_of

__all__ = ["advance"]


def advance(
    values: Iterable[tuple[SequenceValue, tuple[TableId, str]]], target: Catalog
) -> Iterator[Statement]:
    """Set AUTO_INCREMENT to what the source would give next; never back."""
    for at, (table_id, column_name) in values:
        table = target.table(table_id)
        if table is None or at.value is None or at.increment < 0 or at.cycle:
            continue
        following = at.value + at.increment if at.called else at.value
        for column in table.columns:
            if column.name == column_name and column.identity is not None:
                there = column.identity.next_value
                if following > (there or 1):
                    yield Statement(
                        f"ALTER TABLE {name_of(table_id)} AUTO_INCREMENT = {following}",
                        f"AUTO_INCREMENT of {table_id}",
                        table_id,
                        optional=True,
                    )
