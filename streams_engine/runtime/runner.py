"""One convert from beginning to end: views, mapping, structure, rows, keys, counters."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol, runtime_checkable

from streams_engine.errors import ConfigError
from streams_engine.model import (
    Catalog,
    Chunk,
    Dialect,
    Finding,
    Observed,
    Severity,
    TableId,
    TableSchema,
)
from streams_engine.protocols import (
    LayoutSink,
    Load,
    Sink,
    Snapshot,
    StructureSink,
    TrialSink,
    WaitingSource,
)
from streams_engine.runtime.building import Builder
from streams_engine.runtime.carrying import Carrier, Cluster, Run, Seats
from streams_engine.runtime.control import Control
from streams_engine.runtime.copying import Copier
from streams_engine.runtime.fenced import plain
from streams_engine.runtime.followed import demand_logged
from streams_engine.runtime.joining import (
    JoinedView,
    Origin,
    demand_names,
    demand_tables,
    merged,
    stamped,
    told_apart,
)
from streams_engine.runtime.planning import Plan, describe
from streams_engine.runtime.portions import ChunkCopy, ChunkTask
from streams_engine.runtime.preflight import Preparation, prepare
from streams_engine.runtime.refusals import without_refused
from streams_engine.runtime.resuming import RUN, Continuation, Memory, may_remain
from streams_engine.runtime.retrying import again
from streams_engine.runtime.start_waits import Interrupted, StartWaits
from streams_engine.schema.mapping import Findings, MappedCatalog, TableMapping, warning
from streams_engine.schema.routes import map_catalog
from streams_engine.schema.selection import apply_selections
from streams_engine.schema.structure import Structure
from streams_engine.sharing import SharedSink, SharedSource
from streams_engine.stats import Counters

__all__ = ["Convert", "Job", "RowScan"]

log = logging.getLogger("streams_engine.runner")

ALONE = Finding(
    Severity.WARNING,
    "no-cluster",
    "target",
    "The target's adapter cannot be written to by several processes: this one copies everything.",
    "Leave options.executor out.",
)

Look = Callable[[Origin, int], AbstractContextManager[Snapshot]]
"""(origin, readers) -> its view."""


@runtime_checkable
class RowScan(Protocol):
    """A source or view whose rows tell of a mapping to PostgreSQL what the catalog does not."""

    def observe(
        self,
        tables: Sequence[TableSchema],
        *,
        booleans: bool,
        zero_dates: bool,
        foreign_keys: bool,
    ) -> Observed:
        """Scan the tables for what is asked of them."""
        ...


@runtime_checkable
class TupleSink(Protocol):
    """A sink that takes rows whole, as PostgreSQL's COPY BINARY has them."""

    takes_tuples: bool


@runtime_checkable
class Flavoured(Protocol):
    """A sink whose dialect has flavours: which one is seen only on the server."""

    def is_mariadb(self) -> bool:
        """True for MariaDB. Connects."""
        ...


@dataclass(frozen=True, slots=True)
class Job:
    """What a convert is to do, free of documents: the settings of one stream."""

    name: str
    fingerprint: str
    structure: Structure
    zero_dates: str = "null"
    schema_policy: str = "create_missing_only"
    write_mode: str = "fail_if_not_empty"
    skip_data: bool = False
    bundle: int = 500
    parallelism: int = 4
    chunk_rows: int = 250_000
    quarantine: bool = False
    on_resume: str = "reload"
    allow_empty: bool = False
    """A source without tables is meant."""
    follows: bool = False
    """The log is followed afterwards: what holds only for the rows of today is not used."""
    executor: Executor | None = None
    """The caller's pool of threads; None: one of our own for each run."""
    cluster: Cluster | None = None
    """Worker processes that copy chunks in place of this one."""


class Convert:
    """Runs one job between its sources and a sink. Used by one thread."""

    def __init__(
        self,
        job: Job,
        origins: Sequence[Origin],
        sink: Sink,
        control: Control,
        counters: Counters,
    ) -> None:
        self.job = job
        self.origins = origins
        self.sink = sink
        self.control = control
        self.counters = counters
        self.resumable = False
        """The copy can go on from its checkpoint, should it end now."""

    def plan(self) -> Plan:
        """What `run` would do on an empty target; the target is not asked."""
        findings = [finding for origin in self.origins for finding in self.checked(origin)]
        return describe(self.mapped(), self.job.structure, findings)

    def mapped(self) -> MappedCatalog:
        """The mapping alone, for `plan` and `verify`."""
        mapped = []
        for origin in self.origins:
            with told_apart(origin.alias):
                catalog = origin.source.catalog(origin.scope)
            mapped.append(self.map(origin, catalog, origin.source))
        return merged(mapped)

    @staticmethod
    def checked(origin: Origin) -> Sequence[Finding]:
        with told_apart(origin.alias):
            return origin.source.check()

    def run(self, *, fresh: bool) -> None:
        """Do it. Raises the error that the run failed of."""
        with self.control.working(), suppress(Interrupted):
            for origin in self.origins:
                self.found(self.checked(origin))
            with self.opened() as (view, mapped):
                self.found(self.sink.check())
                memory = Memory(self.sink, self.job.name)
                going_on = memory.recall(
                    self.job.fingerprint,
                    view.position,
                    on_resume=self.job.on_resume,
                    write_mode=self.job.write_mode,
                    fresh=fresh,
                )
                self.found(going_on.findings)
                if not going_on.kept:
                    self.counters.begin_again()
                if going_on.ours and not going_on.kept and self.job.write_mode == "upsert":
                    self.found([may_remain(m.target.id) for m in mapped.tables])
                records = memory.opening(self.job.fingerprint, view.position, going_on)
                prepared = self.structure(mapped, going_on, records)
                self.resumable = True
                self.counters.connected()
                if not self.control.hold():
                    return
                copier = None
                if not self.job.skip_data:
                    copier = self.copier(view)
                    self.copy(copier, view, prepared, memory, going_on)
            if self.control.hold():
                self.finish(prepared, copier, going_on)
            if copier is not None and copier.failed:
                raise next(iter(copier.failed.values()))
            if self.control.hold():
                memory.forget()
                self.control.complete()
                self.counters.phase = "done"

    # Steps

    @contextmanager
    def opened(self, look: Look | None = None) -> Iterator[tuple[JoinedView, MappedCatalog]]:
        """The views of all sources, and what was seen in them, mapped.

        ``look`` opens a view otherwise than by `Source.snapshot`.
        """
        readers = 1 if self.control.counts_rows else self.job.parallelism
        flavour = self.flavour()
        with ExitStack() as stack:
            parts, mapped = {}, []
            seats = self._seats(stack)
            for origin in self.origins:
                with told_apart(origin.alias):
                    if seats is not None and isinstance(origin.source, SharedSource):
                        origin.source.share(partial(seats.join, origin.alias))
                    snapshot = self._entered(stack, origin, look, readers)
                parts[origin.alias] = snapshot
                self.found(snapshot.findings)
                mapped.append(self.map(origin, snapshot.catalog, snapshot, flavour))
            everything = merged(mapped)
            self.counters.left_behind = everything.source.left_behind
            self.found(everything.findings)
            for table in sorted(everything.tables, key=_size, reverse=True):
                self.counters.expect(table.source.id, table.source.estimated_rows)
            yield JoinedView(parts, seats), everything

    def _entered(
        self, stack: ExitStack, origin: Origin, look: Look | None, readers: int
    ) -> Snapshot:
        """Open the view of a source. Raises `Interrupted` where the run must end meanwhile."""
        if isinstance(origin.source, WaitingSource):
            waits = StartWaits(self.control, self.counters, origin.alias)
            origin.source.watch_waits(waits)

        def attempt() -> Snapshot:
            opening = (
                look(origin, readers)
                if look is not None
                else origin.source.snapshot(origin.scope, readers)
            )
            return stack.enter_context(opening)

        while True:
            try:
                # Others that wait for one another can keep a lock from being had at first.
                return again(attempt, "the consistent view")
            except Interrupted:
                if not self.control.hold():
                    raise

    def _seats(self, stack: ExitStack) -> Seats | None:
        """The workers of the job's cluster, who join each view while it is opened."""
        if self.job.cluster is None:
            return None
        if not isinstance(self.sink, SharedSink):
            self.counters.found([ALONE])
            return None
        return stack.enter_context(self.job.cluster.seated(self.control))

    def flavour(self) -> bool | None:
        return self.sink.is_mariadb() if isinstance(self.sink, Flavoured) else None

    def map(
        self, origin: Origin, catalog: Catalog, scanner: object, flavour: bool | None = None
    ) -> MappedCatalog:
        """What is wanted of one source's catalog, as it will be on the target."""
        options = origin.mapping
        if flavour is not None:
            options = replace(options, mariadb=flavour)
        findings = Findings()
        whole = isinstance(self.sink, TupleSink) and self.sink.takes_tuples
        if not self.job.allow_empty:
            demand_tables(origin, catalog)
        demand_names(catalog)
        catalog, chosen = apply_selections(catalog, origin.selections, findings)
        tables = [table for table in catalog.tables if table.query is None]
        if self.sink.dialect is Dialect.POSTGRES and isinstance(scanner, RowScan):
            observed = scanner.observe(
                tables,
                booleans=True,
                zero_dates=options.zero_dates == "null",
                foreign_keys=self.job.structure.foreign_keys,
            )
            options = replace(options, observed=observed.stamped(origin.alias))
        mapped = map_catalog(stamped(catalog, origin.alias), self.sink.dialect, options)
        return replace(
            mapped,
            tables=tuple(
                replace(
                    m,
                    selection=chosen.get(replace(m.source.id, alias="")),
                    # A bad row that is set aside is shown, which takes a look inside.
                    tuples=m.tuples and whole and not self.job.quarantine,
                )
                for m in mapped.tables
            ),
            findings=(*findings.items, *mapped.findings),
        )

    def structure(
        self,
        mapped: MappedCatalog,
        going_on: Continuation,
        records: Mapping[str, Mapping[str, Any] | None],
    ) -> Preparation:
        self.counters.phase = "structure"
        if isinstance(self.sink, LayoutSink):
            self.sink.prepare(
                self.job.name,
                [m.target for m in mapped.tables],
                write_mode=self.job.write_mode,
                keep=going_on.kept,
            )
        if not isinstance(self.sink, StructureSink):
            for mapping in mapped.tables if self.job.follows else ():
                demand_logged(mapping)
            self.sink.save_state(self.job.name, records)
            everything = frozenset(m.target.id for m in mapped.tables)
            nothing = Catalog(mapped.target.dialect)
            return Preparation(mapped.tables, (), frozenset(), {}, nothing, (everything,))
        preparing = partial(
            prepare,
            sink=self.sink,
            schema_policy=self.job.schema_policy,
            write_mode=self.job.write_mode,
            wanted=self.job.structure,
            going_on=going_on,
        )
        prepared = preparing(mapped)
        if isinstance(self.sink, TrialSink):
            mapped, findings = without_refused(mapped, prepared.new, self.sink, self.job.structure)
            if findings:
                self.found(findings)
                prepared = preparing(mapped)
        for mapping in prepared.tables if self.job.follows else ():
            demand_logged(mapping)
        # One transaction: what is made or emptied is never without the record that says so.
        self.found(self.sink.execute(prepared.before, (self.job.name, records)))
        return prepared

    def copier(self, view: JoinedView) -> Copier:
        workers = max(view.readers, 0 if view.seats is None else view.seats.slots)
        return Copier(self.control, self.counters, 1 if self.control.counts_rows else workers)

    def copy(
        self,
        copier: Copier,
        view: JoinedView,
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
                chunks = self._chunks(view, mapping)
                plans[table] = chunks
            load = self._load(mapping, prepared, alone=len(chunks) == 1 and not going_on.kept)
            remaining = going_on.remaining(table, chunks)
            tasks += [
                ChunkTask(
                    mapping,
                    chunk,
                    replace(load, chunk=chunk.number),
                    going_on.record(table, chunk),
                )
                for chunk in remaining
            ]
            if not remaining:
                self.counters.enter(table, "copied")
        memory.begin(self.job.fingerprint, view.position, plans)
        carry = self._carry(view, memory.run)
        with self._pool(copier.workers) as executor, self.control.resting():
            for wave in prepared.waves:
                copier.copy([t for t in tasks if t.mapping.target.id in wave], carry, executor)
        self._report_replaced(self.counters.take_replaced())

    def _carry(self, view: JoinedView, record: Mapping[str, Any]) -> Callable[[ChunkTask], bool]:
        """What copies a chunk: this thread, or the cluster's workers where they see its view."""
        own = ChunkCopy(
            view.read,
            partial(self.sink.write_rows, self.job.name),
            self.control,
            self.counters,
            self.job.bundle,
            self.job.zero_dates,
            self.job.quarantine,
        )
        seats, sink = view.seats, self.sink
        if seats is None or not isinstance(sink, SharedSink):
            return own.copy
        run = Run(self.job.name, (RUN, plain(record)), sink, self.counters)
        carrier = Carrier(run, seats, self.control)

        def carry(task: ChunkTask) -> bool:
            held = seats.hold(task.mapping.source.id.alias)
            return carrier.carry(task) if held else own.copy(task)

        return carry

    def _chunks(self, view: JoinedView, mapping: TableMapping) -> list[Chunk]:
        """A query's result, and what is sorted or limited, comes whole."""
        ordered = mapping.selection is not None and mapping.selection.ordered
        if ordered or mapping.source.query is not None:
            return [Chunk(mapping.source.id)]
        return list(view.chunks(mapping.source, self.job.chunk_rows))

    def _pool(self, workers: int) -> AbstractContextManager[Executor]:
        if self.job.executor is not None:
            return nullcontext(self.job.executor)
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
            tuples=mapping.tuples,
        )

    def finish(
        self,
        prepared: Preparation,
        copier: Copier | None,
        going_on: Continuation,
        waiting: AbstractSet[tuple[TableId, str]] = frozenset(),
    ) -> None:
        """Make what is better made after the rows, for the tables that arrived; but not the
        foreign keys (target table, name) that are ``waiting`` for a consistent point."""
        self.counters.phase = "indexing"
        failed = set(copier.failed) if copier else set()
        whole = [m for m in prepared.tables if m.source.id not in failed]
        if isinstance(self.sink, LayoutSink) and copier is not None:
            self.sink.finish(self.job.name, [m.target.id for m in whole])
        if isinstance(self.sink, StructureSink):
            lost = {m.target.id for m in prepared.tables} - {m.target.id for m in whole}
            builder = Builder(self.sink, self.job.structure, self.control, going_on)
            with self._pool(self.job.parallelism) as executor:
                # The rows are there: what of the structure cannot be made does not end the run.
                self.counters.found(builder.build(prepared.catalog, lost, executor, waiting))
        for mapping in whole:
            self.counters.enter(mapping.source.id, "done")

    # Small things

    def found(self, findings: Sequence[Finding]) -> None:
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
