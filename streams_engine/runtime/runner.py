"""One convert from beginning to end: view, mapping, structure, rows, keys, counters."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

from streams_engine.errors import ConfigError
from streams_engine.model import Catalog, Finding, Severity, TableId, TableSchema
from streams_engine.protocols import Load, Scope, Sink, Snapshot, Source, Statement, StructureSink
from streams_engine.runtime.control import Control
from streams_engine.runtime.copying import ChunkTask, Copier
from streams_engine.runtime.planning import Plan, describe
from streams_engine.runtime.preflight import Preparation, prepare
from streams_engine.runtime.resuming import Continuation, Memory
from streams_engine.schema import postgres_ddl as ddl
from streams_engine.schema.mapping import MappedCatalog, MappingOptions, TableMapping, warning
from streams_engine.schema.routes import map_catalog
from streams_engine.stats import Counters

__all__ = ["Convert", "Job"]

log = logging.getLogger("streams_engine.runner")


@runtime_checkable
class BooleanScan(Protocol):
    """A source or view that can tell which TINYINT(1) columns hold only 0, 1 and NULL."""

    def boolean_columns(self, tables: Sequence[TableSchema]) -> frozenset[tuple[TableId, str]]:
        """The (table, column) pairs; reads the columns whole."""
        ...


@dataclass(frozen=True, slots=True)
class Job:
    """What a convert is to do, free of documents: the settings of one stream."""

    name: str
    scope: Scope
    fingerprint: str
    mapping: MappingOptions
    structure: ddl.Structure
    schema_policy: str = "create_missing_only"
    write_mode: str = "fail_if_not_empty"
    skip_data: bool = False
    bundle: int = 500
    parallelism: int = 4
    chunk_rows: int = 250_000
    quarantine: bool = False
    on_resume: str = "reload"


class Convert:
    """Runs one job between a source and a sink. Used by one thread."""

    def __init__(
        self, job: Job, source: Source, sink: Sink, control: Control, counters: Counters
    ) -> None:
        self.job = job
        self.source = source
        self.sink = sink
        self.control = control
        self.counters = counters

    def plan(self) -> Plan:
        """What `run` would do on an empty target; the target is not asked."""
        findings = list(self.source.check())
        catalog = self.source.catalog(self.job.scope)
        mapped = self._map(catalog, self.source)
        return describe(mapped, self.job.structure, findings)

    def mapped(self) -> MappedCatalog:
        """The mapping alone, for `verify`."""
        return self._map(self.source.catalog(self.job.scope), self.source)

    def run(self, *, fresh: bool) -> None:
        """Do it. Raises the error that the run failed of."""
        with self.control.working():
            self._found(self.source.check())
            readers = 1 if self.control.counts_rows else self.job.parallelism
            with self.source.snapshot(self.job.scope, readers) as snapshot:
                mapped = self._open(snapshot)
                self._found(self.sink.check())
                memory = Memory(self.sink, self.job.name)
                going_on = memory.recall(
                    self.job.fingerprint,
                    snapshot,
                    on_resume=self.job.on_resume,
                    write_mode=self.job.write_mode,
                    fresh=fresh,
                )
                self._found(going_on.findings)
                records = memory.opening(self.job.fingerprint, snapshot.position, going_on)
                prepared = self._structure(mapped, going_on, records)
                if not self.control.hold():
                    return
                copier = None
                if not self.job.skip_data:
                    copier = self._copier(snapshot)
                    self._copy(copier, snapshot, prepared, memory, going_on)
            if self.control.hold():
                self._finish(prepared, copier, going_on)
            if copier is not None and copier.failed:
                raise next(iter(copier.failed.values()))
            if self.control.hold():
                memory.forget()
                self.control.complete()
                self.counters.phase = "done"

    # Steps

    def _open(self, snapshot: Snapshot) -> MappedCatalog:
        self._found(snapshot.findings)
        mapped = self._map(snapshot.catalog, snapshot)
        self.counters.left_behind = snapshot.catalog.left_behind
        self._found(mapped.findings)
        for table in sorted(mapped.tables, key=_size, reverse=True):
            self.counters.expect(table.source.id, table.source.estimated_rows)
        return mapped

    def _map(self, catalog: Catalog, scanner: object) -> MappedCatalog:
        options = self.job.mapping
        if self.sink.dialect is not None and isinstance(scanner, BooleanScan):
            options = replace(options, booleans=scanner.boolean_columns(catalog.tables))
        return map_catalog(catalog, self.sink.dialect, options)

    def _structure(
        self,
        mapped: MappedCatalog,
        going_on: Continuation,
        records: Mapping[str, Mapping[str, Any] | None],
    ) -> Preparation:
        self.counters.phase = "structure"
        if not isinstance(self.sink, StructureSink):
            everything = frozenset(m.target.id for m in mapped.tables)
            nothing = Catalog(mapped.target.dialect)
            return Preparation(mapped.tables, (), frozenset(), {}, nothing, (everything,))
        prepared = prepare(
            mapped,
            self.sink,
            schema_policy=self.job.schema_policy,
            write_mode=self.job.write_mode,
            wanted=self.job.structure,
            going_on=going_on,
        )
        # One transaction: what is made or emptied is never without the record that says so.
        self._found(self.sink.execute(prepared.before, (self.job.name, records)))
        return prepared

    def _copier(self, snapshot: Snapshot) -> Copier:
        return Copier(
            self.job.name,
            snapshot,
            self.sink,
            self.control,
            self.counters,
            self.job.bundle,
            self.job.mapping.zero_dates,
            self.job.quarantine,
        )

    def _copy(
        self,
        copier: Copier,
        snapshot: Snapshot,
        prepared: Preparation,
        memory: Memory,
        going_on: Continuation,
    ) -> None:
        self.counters.phase = "copying"
        tasks: list[ChunkTask] = []
        plans: dict[TableId, Any] = {}
        for mapping in sorted(prepared.tables, key=_size, reverse=True):
            table = mapping.source.id
            chunks = going_on.chunks.get(table)
            if chunks is None:
                chunks = list(snapshot.chunks(mapping.source, self.job.chunk_rows))
                plans[table] = chunks
            load = self._load(mapping, prepared, alone=len(chunks) == 1 and not going_on.kept)
            remaining = going_on.remaining(table, chunks)
            tasks += [ChunkTask(mapping, chunk, load) for chunk in remaining]
            if not remaining:
                self.counters.enter(table, "copied")
        memory.begin(self.job.fingerprint, snapshot.position, plans)
        workers = 1 if self.control.counts_rows else snapshot.readers
        with self._pool(workers) as executor, self.control.resting():
            for wave in prepared.waves:
                copier.copy([t for t in tasks if t.mapping.target.id in wave], executor)
        self._report_replaced(copier.replaced)

    def _pool(self, workers: int) -> Executor:
        return ThreadPoolExecutor(workers, thread_name_prefix="streams-engine-copy")

    def _load(self, mapping: TableMapping, prepared: Preparation, *, alone: bool) -> Load:
        target = mapping.target.id
        fresh = target in prepared.created and mapping.target.partitioning is None
        key = prepared.keys.get(target, ())
        return Load(
            target,
            tuple(column.target for column in mapping.columns),
            key=key,
            upsert=bool(key),
            freeze=fresh and alone and not key and not mapping.target.inherits,
            quarantine=self.job.quarantine,
        )

    def _finish(self, prepared: Preparation, copier: Copier | None, going_on: Continuation) -> None:
        """Keys, indexes, counters, foreign keys: what is better made after the rows."""
        self.counters.phase = "indexing"
        failed = set(copier.failed) if copier else set()
        lost = {m.target.id for m in prepared.tables if m.source.id in failed}
        if not isinstance(self.sink, StructureSink):
            return
        present = self.sink.inspect([t.id for t in prepared.catalog.tables])
        for schema in prepared.catalog.tables:
            if schema.id in lost or not self.control.hold():
                continue
            done = going_on.made(present.table(schema.id))
            self._execute(
                s for s in ddl.indexes(schema, self.job.structure) if s.object not in done
            )
        self._execute(s for s in ddl.sequence_values(prepared.catalog) if s.table not in lost)
        if self.job.structure.foreign_keys:
            for schema in prepared.catalog.tables:
                touched = {schema.id, *(fk.referenced for fk in schema.foreign_keys)}
                if not touched & lost and self.control.hold():
                    done = going_on.made(present.table(schema.id))
                    self._execute(s for s in ddl.foreign_keys(schema) if s.object not in done)
        for mapping in prepared.tables:
            if mapping.source.id not in failed:
                self.counters.enter(mapping.source.id, "done")

    # Small things

    def _execute(self, statements: Any) -> None:
        wanted: list[Statement] = list(statements)
        if wanted and isinstance(self.sink, StructureSink):
            self._found(self.sink.execute(wanted))

    def _found(self, findings: Sequence[Finding]) -> None:
        self.counters.found(findings)
        for finding in findings:
            if finding.severity is Severity.ERROR:
                raise ConfigError(
                    f"{finding.object}: {finding.message}", path="$", remedy=finding.remedy
                )

    def _report_replaced(self, replaced: Mapping[tuple[TableId, str], int]) -> None:
        self.counters.found(
            warning(
                "zero-dates",
                f"{table}.{column}",
                f"{count} zero or partial dates became NULL (zeroDates: null).",
                "Choose zeroDates error, or text with a text type, to keep them.",
            )
            for (table, column), count in replaced.items()
        )


def _size(mapping: TableMapping) -> int:
    return mapping.source.bytes or mapping.source.estimated_rows or 0
