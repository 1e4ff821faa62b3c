"""What is known of a connection's tables: read once, kept for a while, asked many times."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass

from streams_engine.errors import StreamsError
from streams_engine.model import TableId
from streams_engine.protocols import Scope
from streams_engine.queries.places import Family, Places

__all__ = ["Knowledge", "Known", "Relation"]

FRESH_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Relation:
    """A table or a view. ``columns``: name and type; None where they are not known (views)."""

    id: TableId
    columns: Mapping[str, str] | None

    def column(self, name: str) -> str | None:
        """A column's own name, whatever the case."""
        wanted = name.lower()
        return next((c for c in self.columns or () if c.lower() == wanted), None)


@dataclass(frozen=True, slots=True)
class Known:
    """The tables and views of one connection."""

    family: Family
    schema: str | None
    """The schema (MySQL: database) that bare names are of."""
    relations: tuple[Relation, ...]
    by_name: Mapping[str, Relation]
    """By ``schema.table`` in lower case, and by ``table`` where that is in the own schema."""

    def find(self, *names: str) -> Relation | None:
        """A table by its name, or by schema and name."""
        return self.by_name.get(".".join(names).lower())

    @property
    def schemas(self) -> tuple[str, ...]:
        """In which there are tables."""
        return tuple(sorted({r.id.schema for r in self.relations if r.id.schema}))


class Knowledge:
    """Catalogs by connection. Thread-safe."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self._lock = threading.Lock()
        self._kept: dict[str, tuple[float, Known]] = {}

    def of(self, alias: str) -> Known:
        """What is known of a connection; asks its server where that is older than five minutes.

        Raises `ConnectionFailed` and its kin, `NotFound`.
        """
        with self._lock:
            kept = self._kept.get(alias)
        if kept is not None and time.monotonic() - kept[0] < FRESH_SECONDS:
            return kept[1]
        found = self._read(alias)
        with self._lock:
            self._kept[alias] = (time.monotonic(), found)
        return found

    def forget(self, alias: str | None = None) -> None:
        """Ask again next time; None: of every connection."""
        with self._lock:
            if alias is None:
                self._kept.clear()
            else:
                self._kept.pop(alias, None)

    def _read(self, alias: str) -> Known:
        family, schema = self._places.family(alias), self._places.schema(alias)
        own = schema or ("public" if family == "postgres" else "")
        with self._places.opened(alias) as source:
            # PostgreSQL: every schema, for a name may say another one.
            scope = Scope(None if family == "postgres" else schema)
            tables = source.catalog(scope).tables
        relations = [Relation(t.id, {c.name: c.type.text for c in t.columns}) for t in tables]
        relations += [Relation(view, None) for view in self._views(alias)]
        by_name: dict[str, Relation] = {}
        for relation in relations:
            by_name[f"{relation.id.schema}.{relation.id.name}".lower()] = relation
            if relation.id.schema.lower() in ("", own.lower()):
                by_name[relation.id.name.lower()] = relation
        return Known(family, own, tuple(relations), by_name)

    def _views(self, alias: str) -> tuple[TableId, ...]:
        try:
            with self._places.explored(alias) as explorer:
                return tuple(explorer.relations("view", None))
        except StreamsError:
            return ()
