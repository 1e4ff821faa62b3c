"""What is better made after the rows: keys, indexes, counters, foreign keys.

Indexes that may be built beside one another come first, on all workers, of all tables at
once; then each table's other statements in one go; foreign keys last, one after the other,
for each looks at two tables.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import Executor
from dataclasses import dataclass

from streams_engine.model import Catalog, Finding, TableId
from streams_engine.protocols import Statement, StructureSink
from streams_engine.runtime.control import Control
from streams_engine.runtime.resuming import Continuation
from streams_engine.schema.ddl import ddl_of
from streams_engine.schema.structure import Structure

__all__ = ["Builder"]


@dataclass
class Builder:
    """Builds what is missing of a target's structure. Raises the sink's errors."""

    sink: StructureSink
    structure: Structure
    control: Control
    going_on: Continuation

    def build(
        self,
        catalog: Catalog,
        lost: set[TableId],
        executor: Executor,
        waiting: AbstractSet[tuple[TableId, str]] = frozenset(),
    ) -> list[Finding]:
        """All of it but for the tables that were lost, and the foreign keys (table, name) that
        are ``waiting`` for a consistent point; ends early where the run must end."""
        ddl = ddl_of(catalog.dialect)
        present = self.sink.inspect([table.id for table in catalog.tables])
        whole = [table for table in catalog.tables if table.id not in lost]
        missing = []
        for table in whole:
            done = self.going_on.made(present.table(table.id))
            statements = ddl.indexes(table, self.structure)
            missing.append([s for s in statements if s.object not in done])
        findings = self._all([[s] for some in missing for s in some if s.beside], executor)
        findings += self._all([[s for s in some if not s.beside] for some in missing], executor)
        counters = [s for s in ddl.sequence_values(catalog) if s.table not in lost]
        findings += self._execute(counters)
        return findings + self._foreign_keys(catalog, present, lost, waiting)

    def foreign_keys(self, catalog: Catalog) -> list[Finding]:
        """Make the foreign keys that are missing; ends early where the run must end."""
        present = self.sink.inspect([table.id for table in catalog.tables])
        return self._foreign_keys(catalog, present, frozenset(), frozenset())

    def _foreign_keys(
        self,
        catalog: Catalog,
        present: Catalog,
        lost: AbstractSet[TableId],
        waiting: AbstractSet[tuple[TableId, str]],
    ) -> list[Finding]:
        ddl = ddl_of(catalog.dialect)
        findings: list[Finding] = []
        kinds = ("constraint", "comment on")
        later = {f"{kind} {name} of {table}" for table, name in waiting for kind in kinds}
        for table in catalog.tables if self.structure.foreign_keys else ():
            if {table.id, *(key.referenced for key in table.every_foreign_key)} & lost:
                continue
            done = self.going_on.made(present.table(table.id)) | later
            findings += self._execute([s for s in ddl.foreign_keys(table) if s.object not in done])
        return findings

    def _all(self, units: Iterable[Sequence[Statement]], executor: Executor) -> list[Finding]:
        """Each unit by itself, on any worker. All are tried; then the first error is raised."""
        futures = [executor.submit(self._work, unit) for unit in units if unit]
        with self.control.resting():
            errors = [future.exception() for future in futures]
        for error in errors:
            if error is not None:
                raise error
        return [finding for future in futures for finding in future.result()]

    def _work(self, statements: Sequence[Statement]) -> list[Finding]:
        with self.control.working():
            return self._execute(statements)

    def _execute(self, statements: Sequence[Statement]) -> list[Finding]:
        if not statements or not self.control.hold():
            return []
        return list(self.sink.execute(statements))
