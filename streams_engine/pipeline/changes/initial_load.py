"""Begin a cdc: load its tables at a position of the log, or start at the end of the log."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any

from streams_engine.contracts import ListingSource, SlotSource, Snapshot, StructureSink
from streams_engine.errors import SourceChanged
from streams_engine.faults import reach
from streams_engine.model import Catalog, Position, TableId, TableSchema
from streams_engine.pipeline.catalog_mapper import CatalogMapper
from streams_engine.pipeline.changes.subscriptions import (
    Subscriptions,
    change_sink,
    change_source,
    logs_cascades,
)
from streams_engine.pipeline.checkpoint import CheckpointStore
from streams_engine.pipeline.checkpoint_records import (
    LogRecord,
    PendingDdlRecord,
    Records,
    RunRecord,
    TableRecord,
    Updates,
    removed,
)
from streams_engine.pipeline.context import RunContext
from streams_engine.pipeline.multi_source import (
    CombinedSnapshot,
    SourceSpec,
    demand_tables,
    error_context,
    merged,
    with_alias,
)
from streams_engine.pipeline.resume import ResumePlan, may_remain
from streams_engine.pipeline.snapshot.consistency import crossing, in_one_view
from streams_engine.pipeline.snapshot.existing_tables import demand_room
from streams_engine.pipeline.snapshot.load import LoadPlan, SnapshotLoad
from streams_engine.schema.dialects import ddl_of
from streams_engine.schema.mapping.tables import MappedCatalog, TableMapping, warning

__all__ = ["InitialLoad", "StartAtEnd", "has_begun"]

LOOKS = 3
"""How often the catalog and the end of the log are read until they belong together."""


def has_begun(records: Records, sources: Iterable[SourceSpec]) -> bool:
    """Return True if the position of every source's log is recorded."""
    return all(records.log(source.alias) is not None for source in sources)


def _loading(mapped: MappedCatalog, done: AbstractSet[TableId]) -> MappedCatalog:
    """Return the part of the mapping that is loaded.

    A finished table is as the log describes it, which may differ from how it is now: of its
    structure only the foreign keys to tables that are loaded remain. Its sequences exist already.
    """
    tables = tuple(m for m in mapped.tables if m.source.id not in done)
    new = {m.target.id for m in tables}
    bare = tuple(
        replace(
            m.target,
            primary_key=None,
            indexes=(),
            checks=(),
            exclusions=(),
            foreign_keys=tuple(key for key in m.target.foreign_keys if key.referenced in new),
        )
        for m in mapped.tables
        if m.source.id in done
    )
    there = (*(m.target for m in tables), *(t for t in bare if t.foreign_keys))
    old = {table.id for table in bare}
    sequences = tuple(
        s for s in mapped.target.sequences if s.owner is None or s.owner[0] not in old
    )
    target = replace(mapped.target, tables=there, sequences=sequences)
    return replace(mapped, tables=tables, target=target)


def _own_objects(wanted: Catalog, dropped: Catalog) -> Catalog:
    """Return the types and sequences that tables which are dropped have alone."""
    ids = {table.id for table in dropped.tables}
    others = {user for t in wanted.tables if t.id not in ids for user in _users(t)}
    own = {user for table in dropped.tables for user in _users(table)} - others
    return replace(
        wanted,
        types=tuple(user for user in wanted.types if user.id in own),
        sequences=tuple(s for s in wanted.sequences if s.owner and s.owner[0] in ids),
    )


def _users(table: TableSchema) -> Iterator[TableId]:
    """Yield the user's types that a table's columns are directly made of."""
    for column in table.columns:
        for native in (column.type, column.type.element):
            if native is not None and native.user is not None:
                yield native.user


class InitialLoad:
    """Loads the tables that are not loaded yet: at first all, later those that are new or that an
    earlier run did not finish. For one attempt at it."""

    def __init__(
        self, context: RunContext, subscriptions: Subscriptions, *, joins: bool = True
    ) -> None:
        self.context = context
        self.subscriptions = subscriptions
        self._joins = joins
        """Whether tables that are not followed yet are loaded too, once the log was begun."""
        self.store = CheckpointStore(context.checkpoints, context.job.name)
        self.took_over = False
        """The run is this process's: another one that starts it fences this one off."""
        self.resumable = False
        """It can go on from its checkpoint, should it end now."""

    def run(self) -> None:
        """Load what is left. Raises `StartInterrupted` if the run should pause or end."""
        records = self.store.load()
        begun = has_begun(records, self.context.sources)
        if begun and self._all_loaded(records):
            return

        def open_snapshot(source: SourceSpec, readers: int) -> AbstractContextManager[Snapshot]:
            log = change_source(source)
            return log.snapshot_at_position(source.scope, readers, resume=begun)

        if not begun and not self.context.job.allow_empty:
            self._demand_tables()
        opening = SnapshotLoad(self.context, self.store)
        control = self.context.control
        with opening.opened(open_snapshot) as (snapshot, mapped):
            reach("handover: view opened")
            self.context.demand_uncut()
            load, plan = self._planned(snapshot, mapped, records, begun)
            self._drop_outdated(mapped, records, plan.resume)
            prepared = load.prepare(plan)
            self.resumable = True
            reach("handover: structure made")
            self.context.demand_uncut()
            load.copy(snapshot, prepared, plan.resume)
            reach("handover: rows copied")
            if not control.hold():
                return
        views = _views(records, plan.opening)
        wanted = self._with_foreign_keys(mapped)
        load.finish(prepared, replace(plan, waiting=crossing(wanted, views)))
        reach("handover: keys built")
        load.demand_copied()
        if control.hold():
            self.store.check_fence()
            self._record_end(
                {
                    source.alias
                    for source in self.context.sources
                    if crossing([m for m in wanted if m.source.id.alias == source.alias], views)
                }
            )
            reach("handover: load recorded")

    def _planned(
        self, snapshot: CombinedSnapshot, mapped: MappedCatalog, records: Records, begun: bool
    ) -> tuple[SnapshotLoad, LoadPlan]:
        """Decide which tables to load and how, and take over the run."""
        for source in self.context.sources:
            catalog = snapshot.part(source.alias).catalog
            self.subscriptions.demand_cascades_at_start(source, catalog, mapped)
        done = frozenset(record.table for record in records.tables() if record.loaded)
        if begun:
            done |= _finished(mapped, records)
            done = self._in_older_views(mapped, done, records)
        write_mode = self._write_mode(records, mapped, begun)
        if begun and write_mode == "upsert":
            cut = {record.table for record in records.tables()} - done
            self.context.counters.found(may_remain(table) for table in sorted(cut, key=str))
        taken = self.store.take_over()
        self.took_over = True
        if begun:
            self._fence_logs()
        resume = _resume(mapped, done, begun)
        if begun:
            self._demand_room(mapped, records)
        job = self.context.job
        opening = self.store.opening(
            taken, job.fingerprint, snapshot.position, resume, job.settings
        )
        opening |= self._subscribed(snapshot, mapped, done, begun, write_mode)
        load = SnapshotLoad(self.context.with_write_mode(write_mode), self.store)
        loaded = done & {record.table for record in records.tables() if record.loaded}
        return load, LoadPlan(_loading(mapped, loaded), resume, opening)

    def _drop_outdated(self, mapped: MappedCatalog, records: Records, resume: ResumePlan) -> None:
        """Drop the tables that an unfinished load created, if the source's tables have changed or
        are gone: they are created and read anew, and none of their changes come from the log.

        One whose rows are complete stays until the log changes it, unless it is gone: under the
        name that it may have now it is loaded, with indexes of the same names.
        """
        sink = self.context.sink
        if not isinstance(sink, StructureSink):
            return
        now = {m.source.id: m.source for m in mapped.tables}
        then = {r.table: r.schema for r in records.tables() if not r.loaded}
        outdated = [
            made
            for made in records.made()
            if made.table in then
            and (made.table not in now or made.table not in resume.chunks)
            and not _alike(then[made.table], now.get(made.table))
        ]
        if not outdated:
            return
        existing = sink.inspect([made.target for made in outdated])
        there = [table.id for table in existing.tables]
        if there:
            ddl = ddl_of(mapped.target.dialect)
            own = _own_objects(mapped.target, existing)
            self.context.report(sink.execute(tuple(ddl.drop(there, own, existing))))
        gone = [made.table for made in outdated if made.table not in now]
        self.store.save(removed([TableRecord.key_of(table) for table in gone]))

    def _fence_logs(self) -> None:
        """Take the logs over from a process that follows them, before its tables are emptied."""
        sink = change_sink(self.context.sink)
        for source in self.context.sources:
            with sink.change_writer(self.context.job.name, LogRecord.key_of(source.alias)):
                pass

    def _demand_tables(self) -> None:
        """Raise `NotFound` for an empty source before anything is created on it."""
        for source in self.context.sources:
            if source.scope.tables is None:
                with error_context(source.alias):
                    origin = source.source
                    if isinstance(origin, ListingSource) and origin.tables(source.scope):
                        continue
                    catalog = origin.catalog(source.scope)
                demand_tables(source, catalog)

    def _with_foreign_keys(self, mapped: MappedCatalog) -> tuple[TableMapping, ...]:
        return mapped.tables if self.context.job.structure.foreign_keys else ()

    def _in_older_views(
        self, mapped: MappedCatalog, done: frozenset[TableId], records: Records
    ) -> frozenset[TableId]:
        """Return the tables whose rows may stay as they were loaded from earlier snapshots."""
        sink = self.context.sink
        unlogged = {s.alias for s in self.context.sources if not logs_cascades(s.source)}
        there = None
        if isinstance(sink, StructureSink):
            there = sink.inspect([m.target.id for m in mapped.tables])
        loading = frozenset(m.source.id for m in mapped.tables) - done
        again = in_one_view(mapped.tables, loading, unlogged, there) - loading
        loaded = {record.table for record in records.tables() if record.loaded}
        self.context.counters.found(
            warning(
                "loaded-again",
                table,
                "The table is loaded again, in one snapshot with the tables that its foreign "
                "keys connect it to.",
            )
            for table in sorted(again & loaded, key=str)
        )
        return done - again

    def _all_loaded(self, records: Records) -> bool:
        """Return True if no table is left to load, including those that joined since."""
        tables = records.tables()
        if not all(record.loaded for record in tables):
            return False
        if not self._joins:
            return True
        known = {record.table for record in tables}
        for source in self.context.sources:
            wanted = source.scope.tables
            mine = [table for table in known if table.alias == source.alias]
            names = {n for t in mine for n in (t.name, f"{t.schema}.{t.name}")}
            if wanted is not None:
                if any(name not in names for name in wanted):
                    return False
                continue
            with error_context(source.alias):
                catalog = with_alias(source.source.catalog(source.scope), source.alias)
            if any(table.id not in known for table in catalog.tables):
                return False
        return True

    def _write_mode(self, records: Records, mapped: MappedCatalog, begun: bool) -> str:
        """Return the plain write mode if the target's tables are new or empty, else upsert."""
        if begun:
            modes = {record.load for record in records.tables()}
            return "upsert" if "upsert" in modes else "fail_if_not_empty"
        sink = self.context.sink
        anew = self.context.job.schema_policy == "drop_and_recreate"
        if anew or not isinstance(sink, StructureSink):
            return "fail_if_not_empty"
        there = sink.inspect([m.target.id for m in mapped.tables])
        full = any(sink.has_rows(table.id) for table in there.tables)
        return "upsert" if full else "fail_if_not_empty"

    def _demand_room(self, mapped: MappedCatalog, records: Records) -> None:
        """Raise `TargetConflict` if a table that joins finds rows that are not the stream's."""
        known = {record.table for record in records.tables()}
        joining = [m for m in mapped.tables if m.source.id not in known]
        sink = self.context.sink
        if not joining or not isinstance(sink, StructureSink):
            return
        demand_room(sink, sink.inspect([m.target.id for m in joining]).tables)

    def _subscribed(
        self,
        snapshot: CombinedSnapshot,
        mapped: MappedCatalog,
        done: frozenset[TableId],
        begun: bool,
        write_mode: str,
    ) -> Updates:
        """Return the records of each log's position, and of the position from which each table's
        changes count."""
        updates: Updates = {}
        if not begun:
            for source in self.context.sources:
                log = LogRecord(source.alias, snapshot.part(source.alias).position)
                updates[log.key] = log.to_json()
        for mapping in mapped.tables:
            table = mapping.source.id
            if table in done:
                continue
            part = snapshot.part(table.alias)
            schema = part.catalog.table(replace(table, alias=""))
            if schema is None:
                raise SourceChanged(
                    f"{table} is not in the snapshot that its rows were read from.",
                    remedy="Start again when nobody alters the tables.",
                    table=str(table),
                )
            record = TableRecord(table, schema, part.position, write_mode, loaded=False)
            updates[record.key] = record.to_json()
        return updates

    def _record_end(self, waiting: AbstractSet[str]) -> None:
        """Record that all rows are loaded, and remove the records of the load.

        ``waiting``: the sources whose foreign keys are created at the consistent point.
        """
        records = self.store.load()
        updates = removed(records.load_keys())
        for record in records.tables():
            updates[record.key] = replace(record, loaded=True).to_json()
        for alias in waiting:
            pending = PendingDdlRecord(alias)
            updates[pending.key] = pending.to_json()
        self.store.save(updates)


@dataclass(frozen=True, slots=True)
class StartAtEnd:
    """Begins a cdc without a load: creates the structure, and starts at the end of each log."""

    context: RunContext
    subscriptions: Subscriptions

    def run(self) -> None:
        """Begin. Raises `SourceChanged` if somebody alters the tables again and again."""
        context = self.context
        mapper = CatalogMapper.of(context)
        updates: Updates = {}
        mapped: list[MappedCatalog] = []
        for source in context.sources:
            with error_context(source.alias):
                catalog, position = self._catalog_at_end(source)
                mapped.append(mapper.map(source, catalog, source.source, mapper.flavour()))
            log = LogRecord(source.alias, position)
            updates[log.key] = log.to_json()
            self.subscriptions.demand_cascades_at_start(source, catalog, merged(mapped))
            for schema in catalog.tables:
                table = replace(schema.id, alias=source.alias)
                record = TableRecord(table, schema, position)
                updates[record.key] = record.to_json()
                context.counters.expect(table, None)
        # Where the log begins is recorded last: a run that is killed before creates the rest of
        # the structure of all sources, and begins anew.
        store = CheckpointStore(context.checkpoints, context.job.name)
        run = store.take_over().run
        resume = ResumePlan(ours=run is not None and not run.discarded)
        load = SnapshotLoad(context.with_write_mode("append"), store)
        job = context.job
        run = RunRecord(job.fingerprint, {}, store.start, settings=job.settings)
        plan = LoadPlan(merged(mapped), resume, {run.key: run.to_json()})
        prepared = load.prepare(plan)
        reach("handover: structure made")
        load.finish(prepared, plan)
        reach("handover: keys built")
        if context.control.hold():
            store.save(updates)

    def _catalog_at_end(self, source: SourceSpec) -> tuple[Catalog, Position]:
        """Return the tables, and an end of the log at which they have this structure."""
        catalog = source.source.catalog(source.scope)
        for _ in range(LOOKS):
            position = change_source(source).start([table.id for table in catalog.tables])
            reach("handover: position taken")
            now = source.source.catalog(source.scope)
            if _structure(now) == _structure(catalog):
                return catalog, position
            catalog = now
            if isinstance(source.source, SlotSource):
                source.source.drop_created()
        raise SourceChanged(
            "The structure of the tables changed while the position of the log was read.",
            remedy="Start again when nobody alters them.",
        )


def _resume(mapped: MappedCatalog, done: frozenset[TableId], begun: bool) -> ResumePlan:
    """Keep the finished tables; the others are emptied and loaded again."""
    if not begun:
        return ResumePlan()
    left = frozenset(m.source.id for m in mapped.tables) - done
    return ResumePlan(True, True, {table: () for table in done}, reload=left)


def _alike(then: TableSchema, now: TableSchema | None) -> bool:
    """Return whether a target table that was created for one also fits the other."""

    def part(table: TableSchema) -> tuple[Any, ...]:
        columns = [
            (c.name, c.type, c.nullable, c.default, c.generated, c.collation) for c in table.columns
        ]
        unique = {(index.parts, index.where) for index in table.indexes if index.unique}
        # MySQL's keys take short texts only: a column in one gets another type.
        references = {key.columns for key in table.foreign_keys}
        return columns, table.primary_key, unique, references, table.partitioning

    return now is not None and part(then) == part(now)


def _finished(mapped: MappedCatalog, records: Records) -> frozenset[TableId]:
    """Return the tables whose rows an unfinished load has copied, but those that have another
    structure now: their indexes and keys are not made yet."""
    now = {m.source.id: m.source for m in mapped.tables}
    then = {record.table: record.schema for record in records.tables()}
    altered = {t for t in now.keys() & then.keys() if not _alike(then[t], now[t])}
    return records.finished_tables() - altered


def _views(records: Records, opening: Updates) -> Mapping[TableId, Position]:
    """Return by table the position of the snapshot that its rows are of."""
    kept = {key: document for key, document in opening.items() if document is not None}
    now = Records({**records.documents, **kept})
    return {record.table: record.since for record in now.tables()}


def _structure(catalog: Catalog) -> list[tuple[Any, ...]]:
    """Return the part of the tables' structure that decides how rows are read and created."""

    def part(table: TableSchema) -> tuple[Any, ...]:
        keys = (table.primary_key, table.indexes, table.foreign_keys, table.checks)
        return (table.id, table.oid, table.columns, *keys)

    return sorted(
        (part(table) for table in catalog.tables), key=lambda described: str(described[0])
    )
