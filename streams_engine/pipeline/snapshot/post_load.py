"""Create what is better made after the rows: keys, indexes, sequences, foreign keys."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import Executor
from dataclasses import dataclass

from streams_engine.contracts import Statement, StructureSink
from streams_engine.errors import ConnectionFailed, StreamsError
from streams_engine.model import (
    Catalog,
    Finding,
    ObjectKind,
    ObjectRef,
    TableId,
    TableSchema,
)
from streams_engine.pipeline.checkpoint_records import DroppedKeyRecord
from streams_engine.pipeline.control import Control
from streams_engine.pipeline.resume import made_objects
from streams_engine.pipeline.snapshot.key_cycles import table_gone
from streams_engine.schema.ddl.structure import Structure
from streams_engine.schema.dialects import ddl_of

__all__ = ["PostLoad", "is_small"]

SMALL_BYTES = 1 << 20
TOGETHER = 25
"""How many small tables get their keys and indexes in one transaction, which locks all of them."""


def is_small(table: TableSchema) -> bool:
    """Return True if copying the table takes less time than commits and new files around it."""
    return table.bytes is not None and table.bytes < SMALL_BYTES


@dataclass(frozen=True)
class _Present:
    """What of a structure is there: made by this run alone, or seen in the catalog."""

    made: AbstractSet[ObjectRef] | None
    catalog: Catalog | None

    def of(self, table: TableId) -> AbstractSet[ObjectRef]:
        """Return the objects of a table that need not be made."""
        if self.catalog is None:
            return self.made or frozenset()
        return made_objects(self.catalog.table(table))


@dataclass
class PostLoad:
    """Builds what is missing of a target's structure. Raises the sink's errors."""

    sink: StructureSink
    structure: Structure
    control: Control

    def build(
        self,
        catalog: Catalog,
        lost: set[TableId],
        executor: Executor,
        waiting: AbstractSet[tuple[TableId, str]] = frozenset(),
        made: AbstractSet[ObjectRef] | None = None,
    ) -> list[Finding]:
        """Create indexes, keys and sequence values, except for lost tables and foreign keys that
        are ``waiting`` for a consistent point.

        ``made``: what tables have that this run created; None: the target is asked. Ends early
        if the run must end.
        """
        ddl = ddl_of(catalog.dialect)
        present = _Present(made, None if made is not None else self._inspected(catalog))
        whole = [table for table in catalog.tables if table.id not in lost]
        missing: list[list[Statement]] = []
        small: list[list[Statement]] = []
        for table in whole:
            done = present.of(table.id)
            statements = ddl.indexes(table, self.structure)
            to_do = [s for s in statements if s.object not in done]
            together = is_small(table) and getattr(self.sink, "transactional_ddl", False)
            (small if together else missing).append(to_do)
        findings = self._all([[s] for some in missing for s in some if s.concurrent], executor)
        rest = [[s for s in some if not s.concurrent] for some in missing]
        findings += self._together([some for some in small if some], executor)
        findings += self._all(rest, executor)
        counters = [s for s in ddl.sequence_values(catalog) if s.table not in lost]
        findings += self._execute(counters)
        return findings + self._foreign_keys(catalog, present, lost, waiting)

    def foreign_keys(self, catalog: Catalog) -> list[Finding]:
        """Make the foreign keys that are missing; ends early where the run must end."""
        present = _Present(None, self._inspected(catalog))
        return self._foreign_keys(catalog, present, frozenset(), frozenset())

    def dropped_keys(
        self, keys: Sequence[DroppedKeyRecord], lost: AbstractSet[TableId]
    ) -> Iterator[tuple[Sequence[DroppedKeyRecord], Sequence[Finding]]]:
        """Add foreign keys again, except for those of lost tables; yield what is settled, with
        what is to be told of it. Ends early where the run must end."""
        due = [key for key in keys if not {key.table, key.referenced} & lost]
        if not due:
            return
        catalog = self.sink.inspect(sorted({t for k in due for t in (k.table, k.referenced)}))
        known = {table.id: made_objects(table) for table in catalog.tables}
        for key in due:
            gone = next((t for t in (key.table, key.referenced) if t not in known), None)
            if gone is not None:
                yield [key], [table_gone(key.object, gone, key.sql)]
            elif key.object in known[key.table]:
                yield [key], []
            elif self.control.hold():
                yield [key], list(self.sink.execute(key.statements))

    def _inspected(self, catalog: Catalog) -> Catalog:
        return self.sink.inspect([table.id for table in catalog.tables])

    def _foreign_keys(
        self,
        catalog: Catalog,
        present: _Present,
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
            done = present.of(table.id) | later
            findings += self._execute([s for s in ddl.foreign_keys(table) if s.object not in done])
        return findings

    def _together(self, tables: Sequence[Sequence[Statement]], executor: Executor) -> list[Finding]:
        """Run the statements of many tables in one transaction. Where one is refused, each table
        has a transaction of its own, so that the others get what is theirs."""
        groups = [tables[at : at + TOGETHER] for at in range(0, len(tables), TOGETHER)]
        futures = [
            executor.submit(self._work, [s for some in group for s in some]) for group in groups
        ]
        findings: list[Finding] = []
        refused: list[Sequence[Statement]] = []
        with self.control.inactive():
            errors = [future.exception() for future in futures]
        for group, future, error in zip(groups, futures, errors, strict=True):
            if error is None:
                findings += future.result()
            elif isinstance(error, StreamsError) and not isinstance(error, ConnectionFailed):
                refused += group
            else:
                raise error
        return findings + self._all(refused, executor)

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
