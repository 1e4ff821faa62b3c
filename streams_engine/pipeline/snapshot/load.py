"""Load a snapshot: open it, prepare the target, copy the rows, build what comes after them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial

import pyarrow as pa

from streams_engine.contracts import (
    Checkpoint,
    CheckpointCallback,
    LayoutSink,
    SharedSink,
    SharedSource,
    Snapshot,
    StructureSink,
    TrialSink,
    WaitingSource,
    WritePlan,
    WriteResult,
)
from streams_engine.errors import ConnectionFailed, StreamsError
from streams_engine.model import Catalog, Chunk, Finding, Severity, TableId
from streams_engine.pipeline.catalog_mapper import CatalogMapper
from streams_engine.pipeline.checkpoint import CheckpointStore
from streams_engine.pipeline.checkpoint_records import (
    MadeTableRecord,
    OwnTableRecord,
    Records,
    Updates,
    removed,
)
from streams_engine.pipeline.context import RunContext
from streams_engine.pipeline.multi_source import (
    CombinedSnapshot,
    SourceSpec,
    error_context,
    merged,
)
from streams_engine.pipeline.remote.copier import RemoteCopier, RemoteRun, WorkerPool
from streams_engine.pipeline.resume import ResumePlan
from streams_engine.pipeline.retry import retry
from streams_engine.pipeline.snapshot.chunk_copy import ChunkCopy, ChunkTask
from streams_engine.pipeline.snapshot.copier import Copier
from streams_engine.pipeline.snapshot.expression_trials import without_refused
from streams_engine.pipeline.snapshot.key_cycles import of_dropped_keys
from streams_engine.pipeline.snapshot.post_load import PostLoad, is_small
from streams_engine.pipeline.snapshot.preflight import TargetPreparation, prepare
from streams_engine.pipeline.snapshot.start_waits import StartWaits
from streams_engine.schema.mapping.tables import MappedCatalog, TableMapping, warning

__all__ = ["LoadPlan", "OpenSnapshot", "SnapshotLoad"]

NO_CLUSTER = Finding(
    Severity.WARNING,
    "no-cluster",
    "target",
    "The target cannot be written by several processes: this process copies everything.",
    "Leave options.executor out.",
)

OpenSnapshot = Callable[[SourceSpec, int], AbstractContextManager[Snapshot]]
"""(source, readers) -> its snapshot."""


@dataclass(frozen=True, slots=True)
class LoadPlan:
    """Tables to load, and work of an earlier run that is kept."""

    mapped: MappedCatalog
    resume: ResumePlan
    opening: Updates
    """Records to save in the same transaction as the initial DDL."""
    waiting: AbstractSet[tuple[TableId, str]] = frozenset()
    """Foreign keys (target table, name) that wait for a consistent point."""


class SnapshotLoad:
    """The phases of a load, in the order of the methods. Used by one thread.

    A convert and the beginning of a cdc run the same phases, with plans of their own.
    """

    def __init__(self, context: RunContext, store: CheckpointStore) -> None:
        self.context = context
        self.store = store
        self.job, self.sink = context.job, context.sink
        self.control, self.counters = context.control, context.counters
        self._copier: Copier | None = None

    # Open

    @contextmanager
    def opened(
        self, open_snapshot: OpenSnapshot | None = None
    ) -> Iterator[tuple[CombinedSnapshot, MappedCatalog]]:
        """Open the snapshots of all sources, and map their catalogs.

        ``open_snapshot``: opens one otherwise than by `Source.snapshot`. Raises
        `StartInterrupted` if the run is to pause or to end.
        """
        self.context.demand_uncut()
        readers = 1 if self.control.counts_rows else self.job.parallelism
        mapper = CatalogMapper.of(self.context)
        flavour = mapper.flavour()
        with ExitStack() as stack:
            parts, mapped = {}, []
            pool = self._worker_pool(stack)
            for source in self.context.sources:
                with error_context(source.alias):
                    if pool is not None and isinstance(source.source, SharedSource):
                        source.source.share(partial(pool.join, source.alias))
                    snapshot = self._entered(stack, source, open_snapshot, readers)
                parts[source.alias] = snapshot
                self.context.demand_uncut()
                self.context.report(snapshot.findings)
                mapped.append(mapper.map(source, snapshot.catalog, snapshot, flavour))
            self.context.demand_uncut()
            everything = merged(mapped)
            self.counters.leave_behind(everything.source.skipped)
            self.context.report(everything.findings)
            for table in sorted(everything.tables, key=_size, reverse=True):
                self.counters.expect(table.source.id, table.source.estimated_rows)
            yield CombinedSnapshot(parts, pool), everything

    def _entered(
        self,
        stack: ExitStack,
        source: SourceSpec,
        open_snapshot: OpenSnapshot | None,
        readers: int,
    ) -> Snapshot:
        if isinstance(source.source, WaitingSource):
            waits = StartWaits(self.control, self.counters, source.alias)
            source.source.watch_waits(waits)

        def attempt() -> Snapshot:
            opening = (
                open_snapshot(source, readers)
                if open_snapshot is not None
                else source.source.snapshot(source.scope, readers)
            )
            return stack.enter_context(opening)

        # Others that wait for one another can keep a lock from being had at first.
        return retry(attempt, "the consistent view")

    def _worker_pool(self, stack: ExitStack) -> WorkerPool | None:
        """Return the workers of the job's cluster, who join each snapshot while it is opened."""
        if self.job.cluster is None:
            return None
        if not isinstance(self.sink, SharedSink):
            self.counters.found([NO_CLUSTER])
            return None
        return stack.enter_context(self.job.cluster.open_pool(self.control))

    # Prepare

    def prepare(self, plan: LoadPlan) -> TargetPreparation:
        """Check the target and create, or empty, what the plan says; with its records.

        Raises `FencedOff` if another process has started the stream.
        """
        known = self.store.load()
        self.store.check_fence(known)
        self.counters.phase = "structure"
        if isinstance(self.sink, LayoutSink):
            self.sink.prepare(
                self.job.name,
                [m.target for m in plan.mapped.tables],
                write_mode=self.job.write_mode,
                keep=plan.resume.kept,
                reload={
                    m.target.id for m in plan.mapped.tables if m.source.id in plan.resume.reload
                },
            )
        if isinstance(self.sink, StructureSink):
            prepared = self._with_structure(self.sink, plan, known)
        else:
            prepared = self._without_structure(plan)
        self.counters.connected()
        return prepared

    def _without_structure(self, plan: LoadPlan) -> TargetPreparation:
        self.store.save(plan.opening)
        everything = frozenset(m.target.id for m in plan.mapped.tables)
        nothing = Catalog(plan.mapped.target.dialect)
        return TargetPreparation(
            plan.mapped.tables, (), frozenset(), {}, nothing, (everything,), nothing
        )

    def _with_structure(
        self, sink: StructureSink, plan: LoadPlan, known: Records
    ) -> TargetPreparation:
        preparing = partial(
            prepare,
            sink=sink,
            schema_policy=self.job.schema_policy,
            write_mode=self.job.write_mode,
            wanted=self.job.structure,
            resume=plan.resume,
            rows=not self.job.skip_data,
        )
        prepared = preparing(plan.mapped)
        if isinstance(sink, TrialSink):
            mapped, findings = without_refused(plan.mapped, prepared.new, sink, self.job.structure)
            if findings:
                self.context.report(findings)
                prepared = preparing(mapped)
        opening = {
            **plan.opening,
            **self._made(prepared, plan.resume),
            **_keys_away(prepared, known),
        }
        # One transaction: what is created or emptied is never without the record that says so.
        if self.context.durable:
            found = sink.execute(prepared.before, (self.job.name, opening))
        else:
            found = sink.execute(prepared.before)
            self.store.save(opening)
        self.context.report(list(of_dropped_keys(found, prepared.dropped)))
        self.counters.found(prepared.findings)
        return prepared

    def _made(self, prepared: TargetPreparation, resume: ResumePlan) -> Updates:
        """Return the records of the tables that a later start may empty or drop.

        Where a log is followed after the load, these are the tables that are made, with their
        source tables: the log may say that they are others by now.
        """
        if not self.job.follows:
            targets = [mapping.target.id for mapping in prepared.tables]
            own = [
                OwnTableRecord(t, taken=t not in prepared.created and not resume.made(t))
                for t in targets
            ]
            return {record.key: record.to_json() for record in own}
        made = [
            MadeTableRecord(mapping.source.id, mapping.target.id)
            for mapping in prepared.tables
            if mapping.target.id in prepared.created
        ]
        return {record.key: record.to_json() for record in made}

    # Copy

    def copy(
        self, snapshot: CombinedSnapshot, prepared: TargetPreparation, resume: ResumePlan
    ) -> None:
        """Copy the chunks that are not copied yet; none where the job skips data."""
        if self.job.skip_data:
            return
        workers = max(snapshot.readers, 0 if snapshot.pool is None else snapshot.pool.slots)
        copier = Copier(self.control, self.counters, 1 if self.control.counts_rows else workers)
        self._copier = copier
        self.counters.phase = "copying"
        tasks: list[ChunkTask] = []
        plans: dict[TableId, Sequence[Chunk]] = {}
        for mapping in sorted(prepared.tables, key=_size, reverse=True):
            table = mapping.source.id
            chunks = resume.chunks.get(table)
            if chunks is None:
                chunks = plans[table] = self._chunks(snapshot, mapping)
            load = self._write_plan(mapping, prepared, alone=len(chunks) == 1 and not resume.kept)
            remaining = resume.remaining(chunks)
            tasks += [
                ChunkTask(mapping, chunk, replace(load, chunk=chunk.number), record)
                for chunk, record in remaining
            ]
            if not remaining:
                self.counters.enter(table, "copied")
        job = self.job
        self.store.begin(job.fingerprint, snapshot.position, plans, job.settings)
        copy_chunk = self._chunk_copier(snapshot)
        with self._pool(copier.workers) as executor, self.control.inactive():
            for wave in prepared.waves:
                now = [task for task in tasks if task.mapping.target.id in wave]
                copier.copy(now, copy_chunk, executor)
        self._report_replaced(self.counters.take_replaced())

    def _chunk_copier(self, snapshot: CombinedSnapshot) -> Callable[[ChunkTask], bool]:
        """Return what copies a chunk: this thread, or the cluster's workers where they see its
        snapshot."""
        run, durable = self.store.run, self.context.durable

        def write(
            plan: WritePlan, rows: Iterator[pa.RecordBatch], make_checkpoint: CheckpointCallback
        ) -> WriteResult:
            made: list[Checkpoint] = []

            def checkpoint() -> Checkpoint:
                made.append(replace(make_checkpoint(), run=run))
                return made[-1]

            try:
                written = self.sink.write_rows(self.job.name, plan, rows, checkpoint)
                if not durable:
                    self.store.save({made[-1].key: made[-1].document})
                return written
            except ConnectionFailed:
                raise
            except StreamsError:
                self.store.check_fence()  # rows of another process can be in the way
                raise

        own = ChunkCopy(
            snapshot.read,
            write,
            self.control,
            self.counters,
            self.job.bundle,
            self.job.zero_dates,
            self.job.quarantine,
        )
        pool, sink = snapshot.pool, self.sink
        if pool is None or not isinstance(sink, SharedSink):
            return own.copy
        remote = RemoteCopier(
            RemoteRun(self.job.name, run, sink, self.counters), pool, self.control
        )

        def copy_chunk(task: ChunkTask) -> bool:
            held = pool.hold(task.mapping.source.id.alias)
            return remote.copy(task) if held else own.copy(task)

        return copy_chunk

    def _chunks(self, snapshot: CombinedSnapshot, mapping: TableMapping) -> list[Chunk]:
        """Cut a table; a query's result, and what is sorted or limited, comes whole."""
        ordered = mapping.selection is not None and mapping.selection.ordered
        if ordered or mapping.source.query is not None:
            return [Chunk(mapping.source.id)]
        return list(snapshot.chunks(mapping.source, self.job.chunk_rows))

    def _pool(self, workers: int) -> AbstractContextManager[Executor]:
        if self.job.executor is not None:
            return nullcontext(self.job.executor)
        return ThreadPoolExecutor(workers, thread_name_prefix="streams-engine-copy")

    def _write_plan(
        self, mapping: TableMapping, prepared: TargetPreparation, *, alone: bool
    ) -> WritePlan:
        target = mapping.target.id
        fresh = target in prepared.created and mapping.target.partitioning is None
        key = prepared.keys.get(target, ())
        return WritePlan(
            target,
            tuple(column.target for column in mapping.columns),
            key=key,
            upsert=bool(key),
            # FREEZE needs a table that was emptied, which is given new files.
            freeze=fresh
            and alone
            and not key
            and not mapping.target.inherits
            and not is_small(mapping.source),
            quarantine=self.job.quarantine,
            tuples=mapping.tuples,
            source=mapping.source.id,
            source_columns=tuple(column.source for column in mapping.columns),
        )

    # Finish

    def finish(self, prepared: TargetPreparation, plan: LoadPlan) -> None:
        """Build what is better built after the rows, for the tables that arrived.

        Raises `FencedOff` if another process has started the stream, and then the first error
        of a table that did not arrive.
        """
        known = self.store.load()
        self.store.check_fence(known)
        self.counters.phase = "indexing"
        failed = self._copier.failed if self._copier is not None else {}
        whole = [m for m in prepared.tables if m.source.id not in failed]
        if isinstance(self.sink, LayoutSink) and self._copier is not None:
            self.sink.finish(self.job.name, [m.target.id for m in whole])
        if isinstance(self.sink, StructureSink):
            lost = {m.target.id for m in prepared.tables} - {m.target.id for m in whole}
            post_load = PostLoad(self.sink, self.job.structure, self.control)
            # Of tables that are all new it is known what they have.
            made = None if plan.resume.ours else {s.object for s in prepared.before}
            self._add_dropped_keys(post_load, known, lost)
            with self._pool(self.job.parallelism) as executor:
                # The rows are there: what of the structure cannot be built does not end the run.
                self.counters.found(
                    post_load.build(prepared.catalog, lost, executor, plan.waiting, made)
                )
        for mapping in whole:
            self.counters.enter(mapping.source.id, "done")

    def _add_dropped_keys(
        self, post_load: PostLoad, known: Records, lost: AbstractSet[TableId]
    ) -> None:
        """Add the foreign keys that this load, or one before it, dropped; each is recorded until
        it is there, or told why it cannot be. Those of tables that did not arrive wait."""
        for keys, findings in post_load.dropped_keys(known.dropped_keys(), lost):
            self.counters.found(findings)
            self.store.save(removed(key.key for key in keys))

    def demand_copied(self) -> None:
        """Raise the first error of a table that did not arrive."""
        if self._copier is not None and self._copier.failed:
            raise next(iter(self._copier.failed.values()))

    def _report_replaced(self, replaced: Mapping[tuple[TableId, str], int]) -> None:
        self.counters.found(
            warning(
                "zero-dates",
                f"{table}.{column}",
                f"{count} zero or partial dates became NULL (zeroDates: null).",
                "To keep them, choose zeroDates text; to refuse such rows, zeroDates error.",
            )
            for (table, column), count in replaced.items()
        )


def _keys_away(prepared: TargetPreparation, known: Records) -> Updates:
    """Return the records of the foreign keys that are dropped; those of tables that are made
    anew go, for these get the keys that belong to them."""
    gone = [key.key for key in known.dropped_keys() if key.table in prepared.created]
    return {**removed(gone), **{key.key: key.to_json() for key in prepared.dropped}}


def _size(mapping: TableMapping) -> int:
    return mapping.source.bytes or mapping.source.estimated_rows or 0
