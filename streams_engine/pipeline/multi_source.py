"""Several sources as one: tables told apart by alias, snapshots side by side."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from streams_engine.contracts import RecordBatches, Scope, Snapshot, Source
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
from streams_engine.pipeline.remote.copier import WorkerPool
from streams_engine.schema.mapping.tables import MappedCatalog, MappingOptions, SelectedRows

__all__ = [
    "CombinedSnapshot",
    "SourceSpec",
    "demand_names",
    "demand_tables",
    "error_context",
    "merged",
    "with_alias",
]


@dataclass(frozen=True, slots=True)
class SourceSpec:
    """One source of a job: what to read from it, and how to map it.

    ``alias`` is empty if the job has no other source.
    """

    source: Source
    scope: Scope
    mapping: MappingOptions
    alias: str = ""
    place: str = "the source"
    """What errors call it, without secrets."""
    selections: Mapping[str, tuple[str, SelectedRows]] = field(default_factory=dict)
    """By table name as the user wrote it: the JSON path, and what is chosen."""

    def wants(self, table: TableId, known: Iterable[TableId] = ()) -> bool:
        """Return whether the table is one of those that the user named, or they named none and it
        is in their database.

        A server may fold the case of names: one that differs in case alone is meant where none of
        the ``known`` tables is written exactly so.
        """
        scope = self.scope
        if scope.tables is None:
            schemas = {scope.schema, *(other.schema for other in known)}
            return scope.schema is None or table.schema in schemas
        names = _names(table, scope)
        if names & set(scope.tables):
            return True
        exact = {name for other in known if other != table for name in _names(other, scope)}
        folded = {name.casefold() for name in names}
        return any(name.casefold() in folded and name not in exact for name in scope.tables)


def _names(table: TableId, scope: Scope) -> set[str]:
    """Return the names by which a scope may name a table."""
    full = f"{table.schema}.{table.name}"
    return {full, table.name} if scope.schema in (None, table.schema) else {full}


def with_alias(catalog: Catalog, alias: str) -> Catalog:
    """Return the catalog with the alias in every name by which its objects refer to each other."""
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
    """Merge the mappings of several sources onto one target."""
    _demand_distinct(parts)
    first = parts[0]
    if len(parts) == 1:
        return first
    targets = [part.target for part in parts]
    return MappedCatalog(
        replace(
            first.source,
            tables=tuple(t for part in parts for t in part.source.tables),
            skipped=tuple(x for part in parts for x in part.source.skipped),
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
    """Raise `TargetConflict` if two things would become one table."""
    seen: dict[TableId, str] = {}
    for mapping in (table for part in parts for table in part.tables):
        shown = _shown(mapping.source)
        if (other := seen.setdefault(mapping.target.id, shown)) != shown or other is not shown:
            raise TargetConflict(
                f"{other} and {shown} would both become {mapping.target.id} on the target.",
                remedy=(
                    "Give one of them another name: rename the query, or change a source's alias."
                ),
                table=str(mapping.target.id),
            )


def demand_names(catalog: Catalog) -> None:
    """Raise `TargetConflict` if a query has the name of a table, or of another query."""
    seen: set[TableId] = set()
    for table in catalog.tables:
        if table.id in seen:
            raise TargetConflict(
                f"The name of the query '{table.id.name}' is already that of a table or of "
                "another query.",
                remedy="Give it another name.",
                table=str(table.id),
            )
        seen.add(table.id)


def demand_tables(origin: SourceSpec, catalog: Catalog) -> None:
    """Raise `NotFound` if a source holds no table at all."""
    if catalog.tables:
        return
    others = len(catalog.skipped)
    hint = f" ({others} views, routines and the like are not moved)" if others else ""
    with error_context(origin.alias):
        raise NotFound(
            f"There are no tables in {origin.place}{hint}.",
            remedy=(
                "Check the name of the database, schema, folder or prefix, and that the "
                "account can see its tables. If it may be empty, set options.allowEmpty: "
                "true."
            ),
            place=origin.place,
        )


def _shown(table: TableSchema) -> str:
    what = f"the query {table.id.name}" if table.query else f"the table {table.id}"
    return f"{what} of {table.id.alias}" if table.id.alias else what


@contextmanager
def error_context(alias: str) -> Iterator[None]:
    """Add the source's alias to errors inside the block, if there are several sources."""
    try:
        yield
    except StreamsError as error:
        if alias and "source" not in error.details:
            error.message = f"source {alias}: {error.message}"
            error.details["source"] = alias
        raise


def _shared(parts: Iterable[Sequence[UserType]]) -> tuple[UserType, ...]:
    """Return each type once. Raises `TargetConflict` if sources define a name differently."""
    shared: dict[TableId, UserType] = {}
    for types in parts:
        for user in types:
            if shared.setdefault(user.id, user) != user:
                raise TargetConflict(
                    f"Two sources define the type {user.id} differently.",
                    remedy="Rename one of them, or move the sources into different schemas.",
                    type=str(user.id),
                )
    return tuple(shared.values())


class CombinedSnapshot:
    """The consistent views of all sources: each consistent in itself, none with another."""

    def __init__(self, parts: Mapping[str, Snapshot], pool: WorkerPool | None = None) -> None:
        self._parts = parts
        self.pool = pool
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
        """The findings of all snapshots."""
        return [finding for part in self._parts.values() for finding in part.findings]

    def part(self, alias: str) -> Snapshot:
        """Return the snapshot of one source."""
        return self._parts[alias]

    def chunks(self, table: TableSchema, rows: int) -> Sequence[Chunk]:
        """Cut a table into chunks; they carry its alias."""
        return self._parts[table.id.alias].chunks(table, rows)

    def read(self, extract: Extract, chunk: Chunk) -> RecordBatches:
        """Read a chunk from the snapshot of its source."""
        return self._parts[extract.table.alias].read(extract, chunk)
