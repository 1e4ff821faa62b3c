"""Find the tables that a stream should follow and does not follow yet."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from streams_engine.contracts import ListingSource, ReadinessSource, Scope
from streams_engine.errors import NotFound
from streams_engine.model import Finding, Severity, TableId
from streams_engine.pipeline.context import RunContext
from streams_engine.pipeline.multi_source import SourceSpec, error_context
from streams_engine.schema.mapping.tables import warning

__all__ = ["NewTables"]


@dataclass
class NewTables:
    """Compares the sources' tables with those that are followed. For one thread at a time."""

    context: RunContext
    _refused: dict[TableId, str] = field(default_factory=dict)
    """Tables that cannot be followed, and what was reported of each; they are looked at again."""
    _given_up: set[TableId] = field(default_factory=set)

    def there(self) -> frozenset[TableId]:
        """Return the tables in scope that the sources have now. Raises the sources' errors."""
        return frozenset(
            TableId(name.schema, name.name, source.alias)
            for source in self.context.sources
            if isinstance(source.source, ListingSource)
            for name in self._listed(source.source, source.scope, source.scope.tables or ())
        )

    def find(self, known: Collection[TableId]) -> frozenset[TableId]:
        """Return the tables in scope that are not among the ``known``, with their alias.

        A table that cannot be followed is left out, with a finding. Raises the sources' errors.
        """
        found: set[TableId] = set()
        for source in self.context.sources:
            with error_context(source.alias):
                found |= self._of(source, [t for t in known if t.alias == source.alias])
        return frozenset(found)

    def narrowed(self, source: SourceSpec, tables: Collection[TableId]) -> SourceSpec:
        """Return a source whose scope was all its tables with only these in scope."""
        if source.scope.tables is not None or not isinstance(source.source, ListingSource):
            return source
        with error_context(source.alias):
            there = source.source.tables(source.scope)
        chosen = [t for t in there if replace(t, alias=source.alias) in tables]
        names = tuple(f"{t.schema}.{t.name}" if t.schema else t.name for t in chosen)
        return replace(source, scope=replace(source.scope, tables=names))

    def give_up(self, tables: Collection[TableId]) -> None:
        """Stop looking for tables that should have joined and did not."""
        self._given_up |= set(tables)

    def _of(self, source: SourceSpec, known: Collection[TableId]) -> set[TableId]:
        if not isinstance(source.source, ListingSource):
            return set()
        wanted = source.scope.tables
        names = {n for t in known for n in (t.name, f"{t.schema}.{t.name}")}
        missing = [name for name in wanted or () if name not in names]
        if wanted is not None and not missing:
            return set()
        there = self._listed(source.source, source.scope, missing)
        new = {
            table
            for name in there
            if (table := TableId(name.schema, name.name, source.alias)) not in known
            and source.wants(table, known)
        }
        new -= self._given_up
        still = self._still_refused(source, [table for table in new if table in self._refused])
        return {table for table in new - still if self._can_join(source, table)}

    def _still_refused(self, source: SourceSpec, refused: Sequence[TableId]) -> set[TableId]:
        """Return those of the tables that still cannot be followed; all are asked for at once."""
        log = source.source
        if not refused or not isinstance(log, ReadinessSource):
            return set()
        names = tuple(f"{table.schema}.{table.name}" for table in refused)
        try:
            findings = log.readiness(replace(source.scope, tables=names, queries=()))
        except NotFound:  # one of them went: each is asked for by itself
            return set()
        hindered = {f.object for f in findings if f.severity is Severity.ERROR}
        return {t for t, name in zip(refused, names, strict=True) if name in hindered}

    @staticmethod
    def _listed(source: ListingSource, scope: Scope, missing: Sequence[str]) -> list[TableId]:
        """Return the tables in scope; of tables that the user named, those missing ones that exist
        now."""
        if not missing:
            return list(source.tables(scope))
        there: list[TableId] = []
        for name in missing:
            with suppress(NotFound):
                there += source.tables(replace(scope, tables=(name,)))
        return there

    def _can_join(self, source: SourceSpec, table: TableId) -> bool:
        """Return whether a table can be followed; report what prevents it."""
        scope = _only(source, table)
        log = source.source
        try:
            findings = log.readiness(scope) if isinstance(log, ReadinessSource) else ()
        except NotFound:  # it went while it was looked at
            return False
        for finding in findings:
            if finding.severity is Severity.ERROR and finding.object.endswith(table.name):
                self._report(table, finding)
                return False
        self._refused.pop(table, None)
        return True

    def _report(self, table: TableId, finding: Finding) -> None:
        """Report once why a table is left out, and how it joins."""
        if self._refused.get(table) != finding.message:
            self._refused[table] = finding.message
            text = f"It is new on the source, and is not followed: {finding.message}"
            remedy = f"{finding.remedy} Then it joins within seconds."
            self.context.counters.found([warning("not-joined", table, text, remedy)])


def _only(source: SourceSpec, table: TableId) -> Scope:
    return replace(source.scope, tables=(f"{table.schema}.{table.name}",), queries=())
