"""The tables of connections: read once, kept for a while, asked many times."""

from __future__ import annotations

import difflib
import heapq
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from sqlglot import exp

from streams_engine.contracts import Scope
from streams_engine.errors import StreamsError
from streams_engine.model import TableId, TableSchema
from streams_engine.query.connections import Family, QueryConnections
from streams_engine.query.source_names import READERS, NamedSource, named_file
from streams_engine.query.tables import described

__all__ = [
    "CachedCatalog",
    "CachedRelation",
    "CatalogCache",
    "FederatedCatalog",
    "Item",
    "KnownNames",
    "closest",
]

FRESH_SECONDS = 300.0


LIKELY = 20
"""Names that are looked at closely."""

Item = dict[str, str | None]
"""What may be written: ``{text, kind, detail}``."""
FileReader = Callable[[str, str], "CachedRelation"]
"""Describes a file by the function that reads it and its path. Raises `QueryRefused` and what
reading raises."""


@dataclass(frozen=True, slots=True)
class CachedRelation:
    """A table, a view or a file. ``columns``: name and type; None if they are not known (views)."""

    id: TableId
    columns: Mapping[str, str] | None
    connection: str | None = None
    """Whose it is."""

    def column(self, name: str) -> str | None:
        """Return the column's name as the table has it, ignoring case; or None."""
        wanted = name.lower()
        return next((c for c in self.columns or () if c.lower() == wanted), None)


class KnownNames(Protocol):
    """The names that a statement may use."""

    def find(self, *names: str) -> CachedRelation | None:
        """Return a table by its names, or None."""
        ...

    def file(self, function: str, path: str) -> CachedRelation:
        """Return a file. Raises `QueryRefused` and what reading raises."""
        ...

    def beginnings(self) -> Iterator[Item]:
        """Yield what may follow FROM."""
        ...

    def below(self, qualifiers: Sequence[str]) -> Iterator[Item]:
        """Yield what may follow names and a point, in a FROM."""
        ...

    def missing(self, names: Sequence[str]) -> tuple[int, str, str | None]:
        """Return which of the names of a table is wrong, a message, and what is near."""
        ...


def no_file(function: str, path: str) -> CachedRelation:
    """Refuse to read a file: a server's own SQL has none."""
    raise StreamsError(f"{function} reads no file here.")


@dataclass(frozen=True, slots=True)
class CachedCatalog:
    """The tables and views of one connection."""

    family: Family
    schema: str | None
    """The schema (MySQL: database) that bare names are of."""
    relations: tuple[CachedRelation, ...]
    by_name: Mapping[str, CachedRelation]
    """By ``schema.table`` in lower case, and by ``table`` where that is in the own schema."""
    reader: FileReader = no_file

    def find(self, *names: str) -> CachedRelation | None:
        """Return a table by its name, or by schema and name; or None."""
        return self.by_name.get(".".join(names[-2:]).lower())

    def file(self, function: str, path: str) -> CachedRelation:
        """Return a file of the connection."""
        return self.reader(function, path)

    @property
    def schemas(self) -> tuple[str, ...]:
        """In which there are tables."""
        return tuple(sorted({r.id.schema for r in self.relations if r.id.schema}))

    def beginnings(self) -> Iterator[Item]:
        """Yield tables, views and schemas."""
        for relation in self.relations:
            own = relation.id.schema in ("", self.schema)
            text = relation.id.name if own else str(relation.id)
            yield {"text": text, "kind": kind_of(relation), "detail": relation.id.schema or None}
        for schema in self.schemas:
            yield {"text": schema, "kind": "schema", "detail": None}
        if self.family == "files":
            yield from readers()

    def below(self, qualifiers: Sequence[str]) -> Iterator[Item]:
        """Yield the tables of a schema."""
        for other in self.relations:
            if other.id.schema.lower() == qualifiers[-1].lower():
                yield {"text": other.id.name, "kind": kind_of(other), "detail": other.id.schema}

    def missing(self, names: Sequence[str]) -> tuple[int, str, str | None]:
        """Return that there is no such table, and the one that is near."""
        named = list(names[-2:])
        dotted = [name for name in self.by_name if name.count(".") == len(named) - 1]
        near = closest(".".join(named).lower(), dotted)
        suggestion = None
        if near is not None:
            relation = self.by_name[near]
            suggestion = str(relation.id) if len(named) > 1 else relation.id.name
        return len(names) - 1, f"There is no table '{'.'.join(named)}'.", suggestion


def kind_of(relation: CachedRelation) -> str:
    """Return table, or view where the columns are not known."""
    return "table" if relation.columns is not None else "view"


def readers() -> Iterator[Item]:
    """Yield the functions that read a file."""
    for name in ("read_parquet", "read_csv", "read_json"):
        yield {"text": name, "kind": "function", "detail": f"{name}('alias://path')"}


class FederatedCatalog:
    """The tables of several connections: ``alias.schema.table`` and ``alias.table``.

    A connection is asked when a statement names it.
    """

    def __init__(
        self, aliases: Collection[str], catalog: Callable[[str], CachedCatalog], reader: FileReader
    ) -> None:
        self._aliases = {alias.lower(): alias for alias in aliases}
        self._catalog = catalog
        self._reader = reader

    def _of(self, alias: str) -> CachedCatalog | None:
        known = self._aliases.get(alias.lower())
        return None if known is None else self._catalog(known)

    def find(self, *names: str) -> CachedRelation | None:
        """Return a table by alias and name, or by alias, schema and name; or None."""
        catalog = self._of(names[0]) if 2 <= len(names) <= 3 else None
        return None if catalog is None else catalog.find(*names[1:])

    def file(self, function: str, path: str) -> CachedRelation:
        """Return a file of one of the connections."""
        return self._reader(function, path)

    def beginnings(self) -> Iterator[Item]:
        """Yield the connections, and the functions that read files."""
        for alias in sorted(self._aliases.values()):
            yield {"text": alias, "kind": "connection", "detail": None}
        yield from readers()

    def below(self, qualifiers: Sequence[str]) -> Iterator[Item]:
        """Yield the tables of a connection's own schema and its schemas, or those of a schema."""
        catalog = self._of(qualifiers[0])
        if catalog is not None and len(qualifiers) == 1:
            yield from catalog.beginnings()
        elif catalog is not None:
            yield from catalog.below(qualifiers[1:])

    def missing(self, names: Sequence[str]) -> tuple[int, str, str | None]:
        """Return which name is wrong: the connection, or the table."""
        catalog = self._of(names[0])
        if catalog is None:
            near = closest(names[0].lower(), self._aliases)
            message = f"There is no connection '{names[0]}'."
            return 0, message, None if near is None else self._aliases[near]
        if len(names) == 1:
            return 0, f"'{names[0]}' is a connection: name a table of it.", None
        place, message, suggestion = catalog.missing(names[1:])
        return place + 1, message, suggestion


def closest(word: str, names: Collection[str]) -> str | None:
    """Return the name that most resembles a word. (difflib alone would take too long over
    thousands.)"""
    pairs = _pairs(word)
    likely = heapq.nlargest(LIKELY, names, key=lambda name: len(pairs & _pairs(name)))
    matches = difflib.get_close_matches(word, likely, n=1, cutoff=0.5)
    return matches[0] if matches else None


def _pairs(word: str) -> set[str]:
    """Return all pairs of neighbouring letters."""
    return {word[i : i + 2] for i in range(len(word) - 1)}


class CatalogCache:
    """Catalogs by connection, and files by their path. Thread-safe."""

    def __init__(self, places: QueryConnections) -> None:
        self._places = places
        self._lock = threading.Lock()
        self._kept: dict[str, tuple[float, CachedCatalog]] = {}
        self._files: dict[tuple[str, NamedSource], tuple[float, CachedRelation]] = {}

    def federated(self, connections: Mapping[str, str]) -> FederatedCatalog:
        """Return the tables of several connections, by alias."""
        parsed = self._places.parsed
        places = replace(
            self._places,
            names=tuple(connections),
            parsed=lambda alias: parsed(connections[alias]),
        )

        def reader(function: str, path: str) -> CachedRelation:
            return self._file(places, function, path)

        return FederatedCatalog(
            tuple(connections), lambda alias: self.of(connections[alias]), reader
        )

    def table(self, relation: CachedRelation) -> tuple[TableSchema, str | None] | None:
        """Return the structure of a table, and the statements that create it; None of a view or a
        file of no connection."""
        if relation.connection is None or relation.columns is None:
            return None
        with self._places.opened(relation.connection) as source:
            named = source.catalog(Scope(relation.id.schema or None, (str(relation.id),))).tables[
                -1
            ]
        with self._places.explored(relation.connection) as explorer:
            return named, explorer.ddl(named)

    def _file(self, places: QueryConnections, function: str, path: str) -> CachedRelation:
        """Return a file's columns; the file is looked at once in five minutes."""
        named = named_file(exp.Literal.string(path), READERS[function.upper()], places, function)
        key = (repr(places.parsed(named.alias).identity()), named)
        with self._lock:
            kept = self._files.get(key)
        if kept is not None and time.monotonic() - kept[0] < FRESH_SECONDS:
            return kept[1]
        table = described(places, [named])[named]
        columns = {column.name: column.type.text for column in table.columns}
        relation = CachedRelation(TableId("", str(named)), columns)
        with self._lock:
            self._files[key] = (time.monotonic(), relation)
        return relation

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
            self._files.clear()
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
        relations = [
            CachedRelation(t.id, {c.name: c.type.text for c in t.columns}, alias) for t in tables
        ]
        relations += [CachedRelation(view, None, alias) for view in self._views(alias)]
        by_name: dict[str, CachedRelation] = {}
        for relation in relations:
            by_name[f"{relation.id.schema}.{relation.id.name}".lower()] = relation
            if relation.id.schema.lower() in ("", own.lower()):
                by_name[relation.id.name.lower()] = relation
        reader = self.federated({alias: alias}).file
        return CachedCatalog(family, own, tuple(relations), by_name, reader)

    def _views(self, alias: str) -> tuple[TableId, ...]:
        try:
            with self._places.explored(alias) as explorer:
                return tuple(explorer.relations("view", None))
        except StreamsError:
            return ()
