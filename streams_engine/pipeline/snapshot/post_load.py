"""Create what is better made after the rows: keys, indexes, sequences, foreign keys."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import Executor
from dataclasses import dataclass

from streams_engine.contracts import Statement, StructureSink
from streams_engine.model import (
    Catalog,
    Finding,
    ObjectKind,
    ObjectRef,
    TableId,
    TableSchema,
)
from streams_engine.pipeline.control import Control
from streams_engine.pipeline.resume import ResumePlan
from streams_engine.schema.ddl.structure import Structure
from streams_engine.schema.dialects import ddl_of

__all__ = ["PostLoad", "is_small"]

SMALL_BYTES = 1 << 20


def is_small(table: TableSchema) -> bool:
    """Return True if copying the table takes less time than commits and new files around it."""
    return table.bytes is not None and table.bytes < SMALL_BYTES


@dataclass
class PostLoad:
    """Builds what is missing of a target's structure. Raises the sink's errors."""

    sink: StructureSink
    structure: Structure
    control: Control
    resume: ResumePlan

    def build(
        self,
        catalog: Catalog,
        lost: set[TableId],
        executor: Executor,
        waiting: AbstractSet[tuple[TableId, str]] = frozenset(),
    ) -> list[Finding]:
        """Create indexes, keys and sequence values, except for lost tables and foreign keys that
        are ``waiting`` for a consistent point.

        Ends early if the run must end.
        """
        ddl = ddl_of(catalog.dialect)
        present = self.sink.inspect([table.id for table in catalog.tables])
        whole = [table for table in catalog.tables if table.id not in lost]
        missing: list[list[Statement]] = []
        small: list[list[Statement]] = []
        for table in whole:
            done = self.resume.made(present.table(table.id))
            statements = ddl.indexes(table, self.structure)
            to_do = [s for s in statements if s.object not in done]
            together = is_small(table) and getattr(self.sink, "transactional_ddl", False)
            (small if together else missing).append(to_do)
        findings = self._all([[s] for some in missing for s in some if s.concurrent], executor)
        rest = [[s for s in some if not s.concurrent] for some in missing]
        findings += self._all([*rest, *small], executor)
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
        kinds = (ObjectKind.CONSTRAINT, ObjectKind.COMMENT)
        later = {ObjectRef(kind, name, table) for table, name in waiting for kind in kinds}
        for table in catalog.tables if self.structure.foreign_keys else ():
            if {table.id, *(key.referenced for key in table.every_foreign_key)} & lost:
                continue
            done = self.resume.made(present.table(table.id)) | later
            findings += self._execute([s for s in ddl.foreign_keys(table) if s.object not in done])
        return findings

    def _all(self, units: Iterable[Sequence[Statement]], executor: Executor) -> list[Finding]:
        """Run each unit separately, on any worker. All are tried; then the first error is
        raised."""
        futures = [executor.submit(self._work, unit) for unit in units if unit]
        with self.control.inactive():
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
