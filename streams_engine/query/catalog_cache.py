"""The tables of a connection: read once, kept for a while, asked many times."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass

from streams_engine.contracts import Scope
from streams_engine.errors import StreamsError
from streams_engine.model import TableId
from streams_engine.query.connections import Family, QueryConnections

__all__ = ["CachedCatalog", "CachedRelation", "CatalogCache"]

FRESH_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class CachedRelation:
    """A table or a view. ``columns``: name and type; None if they are not known (views)."""

    id: TableId
    columns: Mapping[str, str] | None

    def column(self, name: str) -> str | None:
        """Return the column's name as the table has it, ignoring case; or None."""
        wanted = name.lower()
        return next((c for c in self.columns or () if c.lower() == wanted), None)


@dataclass(frozen=True, slots=True)
class CachedCatalog:
    """The tables and views of one connection."""

    family: Family
    schema: str | None
    """The schema (MySQL: database) that bare names are of."""
    relations: tuple[CachedRelation, ...]
    by_name: Mapping[str, CachedRelation]
    """By ``schema.table`` in lower case, and by ``table`` where that is in the own schema."""

    def find(self, *names: str) -> CachedRelation | None:
        """Return a table by its name, or by schema and name; or None."""
        return self.by_name.get(".".join(names).lower())

    @property
    def schemas(self) -> tuple[str, ...]:
        """In which there are tables."""
        return tuple(sorted({r.id.schema for r in self.relations if r.id.schema}))


class CatalogCache:
    """Catalogs by connection. Thread-safe."""

    def __init__(self, places: QueryConnections) -> None:
        self._places = places
        self._lock = threading.Lock()
        self._kept: dict[str, tuple[float, CachedCatalog]] = {}

    def of(self, alias: str) -> CachedCatalog:
        """Return the tables of a connection; asks its server where they are older than five
        minutes.

        Raises `ConnectionFailed` and its kin, `NotFound`.
        """
        with self._lock:
            kept = self._kept.get(alias)
        if kept is not None and time.monotonic() - kept[0] < FRESH_SECONDS:
            return kept[1]
        catalog = self._read(alias)
        with self._lock:
            self._kept[alias] = (time.monotonic(), catalog)
        return catalog

    def forget(self, alias: str | None = None) -> None:
        """Ask again next time; None: of every connection."""
        with self._lock:
            if alias is None:
                self._kept.clear()
            else:
                self._kept.pop(alias, None)

    def _read(self, alias: str) -> CachedCatalog:
        family, schema = self._places.family(alias), self._places.schema(alias)
        own = schema or ("public" if family == "postgres" else "")
        with self._places.opened(alias) as source:
            # PostgreSQL: every schema, for a name may say another one.
            scope = Scope(None if family == "postgres" else schema)
            tables = source.catalog(scope).tables
        relations = [CachedRelation(t.id, {c.name: c.type.text for c in t.columns}) for t in tables]
        relations += [CachedRelation(view, None) for view in self._views(alias)]
        by_name: dict[str, CachedRelation] = {}
        for relation in relations:
            by_name[f"{relation.id.schema}.{relation.id.name}".lower()] = relation
            if relation.id.schema.lower() in ("", own.lower()):
                by_name[relation.id.name.lower()] = relation
        return CachedCatalog(family, own, tuple(relations), by_name)

    def _views(self, alias: str) -> tuple[TableId, ...]:
        try:
            with self._places.explored(alias) as explorer:
                return tuple(explorer.relations("view", None))
        except StreamsError:
            return ()
