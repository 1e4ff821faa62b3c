"""What a statement in the log does to the tables that are followed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from streams_engine.adapters.mysql.binlog_events import Query
from streams_engine.adapters.mysql.tablemap import TableMap
from streams_engine.changes import SchemaChange, Tracked
from streams_engine.model import TableId, TableSchema

__all__ = ["Effect", "Statements"]

Lookup = Callable[[TableId], "TableSchema | None"]


@dataclass(frozen=True, slots=True)
class Effect:
    """The tables that a statement empties, or how it changes them."""

    emptied: tuple[TableId, ...] = ()
    changes: tuple[SchemaChange, ...] = ()


class Statements:
    """Judges statements for one reader. Keeps the tables' structures as the log changes them."""

    def __init__(self, lookup: Lookup, *, mariadb: bool, fold: bool) -> None:
        self._lookup = lookup
        self._mariadb = mariadb
        self._fold = fold
        self._tracked: Mapping[TableId, Tracked] = {}

    def follow(self, tracked: Mapping[TableId, Tracked]) -> None:
        """These tables matter from now on."""
        self._tracked = tracked

    def find(self, tracked: Mapping[TableId, Tracked], schema: str, name: str) -> Tracked | None:
        """The followed table that a table map names."""
        return tracked.get(TableId(schema, name))

    def confirm(self, table: TableMap) -> None:
        """A table map of a followed table came."""

    def effect(self, query: Query) -> Effect:
        """What a statement that stands alone does to the followed tables."""
        return Effect()

    def refuse_rows(self, query: Query) -> None:
        """Raise where a statement writes rows of a followed table without row images."""
        _: Any = query
