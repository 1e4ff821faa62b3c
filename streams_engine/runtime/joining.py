"""Several sources as one: their tables told apart by alias, their views side by side."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import pyarrow as pa

from streams_engine.errors import NotFound, StreamsError, TargetConflict
from streams_engine.model import (
    Catalog,
    Chunk,
    Extract,
    Finding,
    Position,
    TableId,
    TableSchema,
    UserType,
)
from streams_engine.protocols import Scope, Snapshot, Source
from streams_engine.runtime.carrying import Seats
from streams_engine.schema.mapping import MappedCatalog, MappingOptions, Selected

__all__ = [
    "JoinedView",
    "Origin",
    "demand_names",
    "demand_tables",
    "merged",
    "stamped",
    "told_apart",
]


@dataclass(frozen=True, slots=True)
class Origin:
    """One source of a job: what is read of it, and how it is mapped.

    ``alias`` is empty where the job has no other source.
    """

    source: Source
    scope: Scope
    mapping: MappingOptions
    alias: str = ""
    place: str = "the source"
    """What errors call it, without secrets."""
    selections: Mapping[str, tuple[str, Selected]] = field(default_factory=dict)
    """By table name as the user wrote it: the JSON path, and what is chosen."""

    def wants(self, table: TableId, known: Iterable[TableId] = ()) -> bool:
        """Return whether the table is one of those that the user named, or they named none.

        A server may fold the case of names: one that differs in case alone is meant where none of
        the ``known`` tables is written exactly so.
        """
        scope = self.scope
        if scope.tables is None:
            return True
        names = _names(table, scope)
        if names & set(scope.tables):
            return True
        exact = {name for other in known if other != table for name in _names(other, scope)}
        folded = {name.casefold() for name in names}
        return any(name.casefold() in folded and name not in exact for name in scope.tables)


def _names(table: TableId, scope: Scope) -> set[str]:
    """The names by which a scope may mean a table."""
    full = f"{table.schema}.{table.name}"
    return {full, table.name} if scope.schema in (None, table.schema) else {full}


def stamped(catalog: Catalog, alias: str) -> Catalog:
    """The catalog with the alias in every name by which its objects find each other."""
    if not alias:
        return catalog

    def of(table_id: TableId) -> TableId:
        return replace(table_id, alias=alias)

    return replace(
        catalog,
        tables=tuple(
            replace(
                table,
                id=of(table.id),
                inherits=tuple(map(of, table.inherits)),
                foreign_keys=tuple(
                    replace(fk, referenced=of(fk.referenced)) for fk in table.foreign_keys
                ),
            )
            for table in catalog.tables
        ),
        sequences=tuple(
            replace(s, owner=s.owner and (of(s.owner[0]), s.owner[1])) for s in catalog.sequences
        ),
    )


def merged(parts: Sequence[MappedCatalog]) -> MappedCatalog:
    """The mappings of several sources onto one target."""
    _demand_distinct(parts)
    first = parts[0]
    if len(parts) == 1:
        return first
    targets = [part.target for part in parts]
    return MappedCatalog(
        replace(
            first.source,
            tables=tuple(t for part in parts for t in part.source.tables),
            left_behind=tuple(x for part in parts for x in part.source.left_behind),
        ),
        replace(
            first.target,
            tables=tuple(t for target in targets for t in target.tables),
            types=_shared(target.types for target in targets),
            sequences=tuple(s for target in targets for s in target.sequences),
            extensions=tuple(dict.fromkeys(e for target in targets for e in target.extensions)),
        ),
        tuple(table for part in parts for table in part.tables),
        tuple(finding for part in parts for finding in part.findings),
    )


def _demand_distinct(parts: Sequence[MappedCatalog]) -> None:
    """Raise `TargetConflict` where two things would become one table."""
    seen: dict[TableId, str] = {}
    for mapping in (table for part in parts for table in part.tables):
        shown = _shown(mapping.source)
        if (other := seen.setdefault(mapping.target.id, shown)) != shown or other is not shown:
            raise TargetConflict(
                f"{other} and {shown} would both become {mapping.target.id} on the target.",
                remedy="Give one of them another name: a query's name, or a source's alias.",
                table=str(mapping.target.id),
            )


def demand_names(catalog: Catalog) -> None:
    """Raise `TargetConflict` where a query has the name of a table, or of another query."""
    seen: set[TableId] = set()
    for table in catalog.tables:
        if table.id in seen:
            raise TargetConflict(
                f"The query '{table.id.name}' has the name of a table, or of another query.",
                remedy="Give it a name of its own.",
                table=str(table.id),
            )
        seen.add(table.id)


def demand_tables(origin: Origin, catalog: Catalog) -> None:
    """Raise `NotFound` where a source holds no table at all."""
    if catalog.tables:
        return
    others = len(catalog.left_behind)
    beside = f" ({others} views, routines and the like are not moved)" if others else ""
    with told_apart(origin.alias):
        raise NotFound(
            f"There are no tables in {origin.place}{beside}.",
            remedy="Check the name of the database, schema, folder or prefix, and that the account "
            "may see its tables; options.allowEmpty: true says that it is meant to be empty.",
            place=origin.place,
        )


def _shown(table: TableSchema) -> str:
    what = f"the query {table.id.name}" if table.query else f"the table {table.id}"
    return f"{what} of {table.id.alias}" if table.id.alias else what


@contextmanager
def told_apart(alias: str) -> Iterator[None]:
    """Errors of one of several sources say which."""
    try:
        yield
    except StreamsError as error:
        if alias and "source" not in error.details:
            error.message = f"source {alias}: {error.message}"
            error.details["source"] = alias
        raise


def _shared(parts: Iterable[Sequence[UserType]]) -> tuple[UserType, ...]:
    """Each type once. Raises `TargetConflict` where sources mean different things by a name."""
    found: dict[TableId, UserType] = {}
    for types in parts:
        for user in types:
            if found.setdefault(user.id, user) != user:
                raise TargetConflict(
                    f"Two sources have a type {user.id}, each with its own definition.",
                    remedy="Rename one of them, or move the sources into schemas of their own.",
                    type=str(user.id),
                )
    return tuple(found.values())


class JoinedView:
    """The consistent views of all sources: each consistent in itself, none with another."""

    def __init__(self, parts: Mapping[str, Snapshot], seats: Seats | None = None) -> None:
        self._parts = parts
        self.seats = seats
        """Workers of a cluster who read in these views too."""

    @property
    def readers(self) -> int:
        """As many as the one that allows fewest."""
        return min(part.readers for part in self._parts.values())

    @property
    def position(self) -> Position:
        """The one source's position, or each one's under its alias."""
        if len(self._parts) == 1:
            return next(iter(self._parts.values())).position
        return {"sources": {alias: dict(part.position) for alias, part in self._parts.items()}}

    @property
    def findings(self) -> Sequence[Finding]:
        """What any of the views is not as good as promised in."""
        return [finding for part in self._parts.values() for finding in part.findings]

    def part(self, alias: str) -> Snapshot:
        """The view of one source."""
        return self._parts[alias]

    def chunks(self, table: TableSchema, rows: int) -> Sequence[Chunk]:
        """Cut a table into chunks; they carry its alias."""
        return self._parts[table.id.alias].chunks(table, rows)

    def read(self, extract: Extract, chunk: Chunk, rows: int) -> Iterator[pa.RecordBatch]:
        """Read a chunk from the view that it is of."""
        return self._parts[extract.table.alias].read(extract, chunk, rows)
