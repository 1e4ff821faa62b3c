"""Run one convert: load a snapshot, and forget its checkpoint at the end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial

from streams_engine.contracts import DatabaseSink
from streams_engine.errors import StreamsError
from streams_engine.faults import reach
from streams_engine.model import Finding, Severity
from streams_engine.pipeline.catalog_mapper import CatalogMapper
from streams_engine.pipeline.checkpoint import CheckpointStore
from streams_engine.pipeline.context import RunContext
from streams_engine.pipeline.multi_source import CombinedSnapshot
from streams_engine.pipeline.resume import ResumeRequest, may_remain
from streams_engine.pipeline.snapshot.load import LoadPlan, SnapshotLoad
from streams_engine.pipeline.snapshot.plan import Plan, describe
from streams_engine.pipeline.snapshot.start_waits import StartInterrupted
from streams_engine.schema.mapping.tables import MappedCatalog

__all__ = ["ConvertPipeline"]


NO_CHECKPOINT = Finding(
    Severity.WARNING,
    "no-checkpoint",
    "the target",
    "The target stores no checkpoint: a load that ends early cannot be resumed.",
    "After such an end, empty the target's tables and start again.",
)


class ConvertPipeline:
    """Runs one convert between its sources and a sink. Used by one thread."""

    def __init__(self, context: RunContext) -> None:
        self.context = context
        self.resumable = False
        """True once the load could resume from its checkpoint."""

    def plan(self) -> Plan:
        """Plan a `run` on an empty target, of which is only asked whether its database exists."""
        findings = [
            finding
            for source in self.context.sources
            for finding in self.context.check_source(source)
        ]
        mapped = self.mapped()
        return describe(mapped, self.context.job.structure, [*self._of_target(), *findings])

    def _of_target(self) -> Iterator[Finding]:
        """Yield what is to be said of the target's database."""
        sink = self.context.sink
        if not isinstance(sink, DatabaseSink):
            return
        try:
            missing = sink.missing_database()
        except StreamsError as error:
            told = f"A run would fail: {error.message}"
            yield Finding(Severity.ERROR, "target-not-reached", "target", told, error.remedy)
            return
        if missing is not None:
            yield missing

    def mapped(self) -> MappedCatalog:
        """Map the present catalogs of the sources, for `plan` and `verify`."""
        return CatalogMapper.of(self.context).map_sources(self.context.sources)

    def run(self, *, fresh: bool) -> None:
        """Run to the end. Raises the error that the run failed of."""
        context = self.context
        with context.control.working(), suppress(StartInterrupted):
            for source in context.sources:
                context.report(context.check_source(source))
            context.restart_after_pause(partial(self._run, fresh=fresh))

    def _run(self, *, fresh: bool) -> None:
        context, control = self.context, self.context.control
        store = CheckpointStore(context.checkpoints, context.job.name)
        load = SnapshotLoad(context, store)
        with load.opened() as (snapshot, mapped):
            context.report(context.sink.check())
            if not context.durable:
                context.report([NO_CHECKPOINT])
            plan = self._plan(store, snapshot, mapped, fresh=fresh)
            prepared = load.prepare(plan)
            self.resumable = context.durable
            reach("load: structure made")
            context.demand_uncut()
            load.copy(snapshot, prepared, plan.resume)
        if control.hold():
            load.finish(prepared, plan)
        load.demand_copied()
        if control.hold():
            store.check_fence()
            store.forget()
            control.complete()
            context.counters.phase = "done"

    def _plan(
        self,
        store: CheckpointStore,
        snapshot: CombinedSnapshot,
        mapped: MappedCatalog,
        *,
        fresh: bool,
    ) -> LoadPlan:
        job, counters = self.context.job, self.context.counters
        request = ResumeRequest(
            job.name,
            job.fingerprint,
            snapshot.position,
            job.on_resume,
            job.write_mode,
            fresh,
            job.settings,
        )
        resume, records = store.plan_resume(request)
        self.context.report(resume.findings)
        if not resume.kept:
            counters.begin_again()
            if resume.ours and job.schema_policy == "drop_and_recreate" and job.structure.tables:
                # Tables of an earlier run may have other types than the plan, like any others.
                store.discard(records)
                resume = replace(resume, ours=False)
        if resume.ours and not resume.kept and job.write_mode == "upsert":
            self.context.report(may_remain(m.target.id) for m in mapped.tables)
        opening = store.opening(records, job.fingerprint, snapshot.position, resume, job.settings)
        return LoadPlan(mapped, resume, opening)
