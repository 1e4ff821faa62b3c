"""Run one cdc: load, hand over to the log, and follow it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial

from streams_engine.contracts import (
    CatalogSource,
    ChangeSource,
    ChangeWriter,
    Lag,
    LagSource,
    ReadinessSource,
    SlotSource,
    StateWriter,
    StructureSink,
    WaitingSource,
)
from streams_engine.errors import (
    ConnectionFailed,
    InternalError,
    LogLost,
    NotFound,
    StreamsError,
    require,
)
from streams_engine.model import (
    Catalog,
    Finding,
    Op,
    Position,
    Severity,
    TableId,
    TableSchema,
)
from streams_engine.pipeline.catalog_mapper import CatalogMapper, RowScan, observes_rows
from streams_engine.pipeline.changes.applier import ChangeApplier, PendingDdl
from streams_engine.pipeline.changes.followed_log import FollowedLog
from streams_engine.pipeline.changes.initial_load import InitialLoad, StartAtEnd, has_begun
from streams_engine.pipeline.changes.new_tables import NewTables
from streams_engine.pipeline.changes.schema_change import SchemaChangeHandler, skipped_by_change
from streams_engine.pipeline.changes.sequences import FollowedOrigin, TargetSequences
from streams_engine.pipeline.changes.subscriptions import (
    Subscriptions,
    change_sink,
    change_source,
)
from streams_engine.pipeline.changes.subscriptions import (
    identities as identities_of,
)
from streams_engine.pipeline.changes.table_replication import TableReplication
from streams_engine.pipeline.changes.writer_tasks import WriterTasks
from streams_engine.pipeline.checkpoint import CheckpointStore
from streams_engine.pipeline.checkpoint_records import (
    DdlIntentRecord,
    Documents,
    LogRecord,
    PendingDdlRecord,
    Records,
    RunRecord,
    TablePlanRecord,
    TableRecord,
    removed,
)
from streams_engine.pipeline.context import RunContext
from streams_engine.pipeline.monitor import checked, monitored
from streams_engine.pipeline.multi_source import SourceSpec, error_context
from streams_engine.pipeline.resume import (
    BY_NUMBER,
    Change,
    changed_settings,
    mismatch,
    moved_unproven,
    positions_by_source,
    server_of,
)
from streams_engine.pipeline.retry import Outage
from streams_engine.pipeline.snapshot.post_load import PostLoad
from streams_engine.pipeline.snapshot.start_waits import StartInterrupted, StartWaits

__all__ = ["CdcPipeline", "LogSettings"]

log = logging.getLogger("streams_engine.stream")

IN_THE_LOG = {"replica-identity", "replica-identity-generated", "unlogged"}
"""Findings that are errors of tables that are not followed yet: the log of one that is followed
contains what the server still lets an application do."""


@dataclass(frozen=True, slots=True)
class LogSettings:
    """The settings of a cdc beyond those of a load."""

    initial_load: bool = True
    operations: Mapping[tuple[str, str], frozenset[Op]] | None = None
    """By source alias and table name as the user wrote it; two empty texts: every other table."""
    schema_changes: str = "apply"
    max_rows: int = 0
    max_retained: int = 0
    reconnect_timeout: float = 0.0
    interval: float = 3.0
    """Seconds between two measurements of the lag."""


class CdcPipeline:
    """Runs one cdc. `run` is for one thread, `catch_up` for any."""

    def __init__(self, context: RunContext, settings: LogSettings) -> None:
        self.context = context.for_log()
        self.settings = settings
        self.job, self.sink = context.job, context.sink
        self.control, self.counters = context.control, context.counters
        self.counters.look_seconds = settings.interval
        self._store = CheckpointStore(context.checkpoints, context.job.name)
        self._subscriptions = Subscriptions(
            self.context, settings.schema_changes, settings.operations or {}
        )
        self._appliers: list[ChangeApplier] = []
        self._lags: dict[str, Lag] = {}
        """The last measurement, by the alias of the source."""
        self._lags_lock = threading.Lock()
        self._ready = threading.Event()
        self._excess: StreamsError | None = None
        self._sequences = TargetSequences(context.sink, context.counters)
        self._new_tables = NewTables(self.context)
        self._joining: frozenset[TableId] = frozenset()
        """New tables that were found: they join if they are still new once the log has been read up
        to that moment."""
        self._asked: frozenset[TableId] = frozenset()
        """The tables that the last join should have loaded."""
        self._joins_after: dict[str, Position] = {}
        """The end of each source's log when they were found, by alias."""
        self._tasks = {
            source.alias: WriterTasks(lambda: self.control.state) for source in context.sources
        }
        self._finding = threading.Lock()
        self._leave = threading.Event()
        """Asks the appliers to end their sessions, because tables join."""
        self._load: InitialLoad | None = None
        """The last load that took over the run; None: there was none."""
        self.resumable = False
        """True while a load runs that could resume from its checkpoint."""

    def run(self, *, fresh: bool) -> None:
        """Load what is not loaded yet, then follow the log. Raises the error that ends the run."""
        self.counters.follow()
        with self.control.working(), suppress(StartInterrupted):
            self._check(fresh=fresh)
            if fresh:
                self.release()
            records = self._store.load()
            self._demand_same_stream(records)
            self._forget_tables_that_left(records)
            self._begin()
            if not self.control.hold():
                return
            self._follow()
            if self._excess is not None:
                raise self._excess
            if not self.control.forced.is_set():
                self._settle_sequences()

    def release(self) -> tuple[str, ...]:
        """Drop what was created on the sources for the stream, and its checkpoint; return a
        description of what was dropped."""
        dropped: list[str] = []
        for source in self.context.sources:
            with error_context(source.alias):
                if isinstance(source.source, SlotSource):
                    of = f" of the source {source.alias}" if source.alias else ""
                    dropped += (f"{what}{of}" for what in source.source.release())
        if self._store.load().documents:
            dropped.append(f"checkpoint of {self.context.job.name} on the target")
        self._store.forget()
        return tuple(dropped)

    def catch_up(self, deadline: float | None) -> bool:
        """Return True once all that was committed on the sources before the call is durable on the
        target."""
        there = None if self._joins_new_tables else frozenset[TableId]()
        while self._await_ready(deadline):
            appliers = self._appliers
            if there is None:
                there = appliers[0].ask(self._new_tables.there, deadline)
            if there is not None and all(a.catch_up(deadline) for a in appliers):
                look = partial(self._find_new_tables, there)
                joining = appliers[0].ask(look, deadline) if there else False
                if joining is False:
                    return True
                if joining:
                    there = frozenset()  # what joins is loaded as it is after the call
                    continue
            if not any(applier.over for applier in appliers):
                return False
        return False

    def measure(self) -> None:
        """Measure the lag now rather than at the next interval, where the sources answer."""
        deadline = time.monotonic() + self.settings.interval
        for applier in self._appliers:
            applier.ask(partial(self._measured, applier), deadline)

    def _measured(self, applier: ChangeApplier) -> bool:
        checked(partial(self._measure_lag, applier))
        return True

    def write(self, alias: str, work: Callable[[ChangeWriter], int]) -> int:
        """Run work on the target between two transactions of a source's log; see
        `WriterTasks.run`."""
        return self._tasks[alias].run(work)

    def _await_ready(self, deadline: float | None) -> bool:
        """Wait until the logs are followed; return False if the deadline or the end of the run
        comes first."""
        while not self._ready.is_set():
            left = 0.2 if deadline is None else deadline - time.monotonic()
            if left <= 0 or self.control.state.final:
                return False
            self._ready.wait(min(left, 0.2))
        return True

    # Check

    def _check(self, *, fresh: bool) -> None:
        for source in self.context.sources:
            self.context.report(self.context.check_source(source))
            with error_context(source.alias):
                change_source(source)
                if isinstance(source.source, ReadinessSource):
                    self.context.report(self._readiness(source, source.source, fresh=fresh))
        self.context.report(self.sink.check())

    def _readiness(
        self, source: SourceSpec, log: ReadinessSource, *, fresh: bool
    ) -> Sequence[Finding]:
        """Return what prevents following the tables. A stream that resumes checks only the tables
        that it follows: others join later, or are left out with a finding. What became of those
        that it follows is in their log, and prevents nothing."""
        findings = log.readiness(source.scope)
        if fresh or not self._joins_new_tables or not any(map(_is_error, findings)):
            return findings
        records = self._store.load()
        if not has_begun(records, self.context.sources):
            return findings
        known = {record.table for record in records.tables()}
        scope = self._new_tables.narrowed(source, known).scope
        new = {*(source.scope.tables or ())} - {n for t in known for n in (t.name, str(t))}
        return [_of_followed(finding, new) for finding in log.readiness(scope)]

    def _demand_same_stream(self, records: Records) -> None:
        """Raise `CheckpointMismatch` if the checkpoint is of another configuration or server.

        Servers may have another address than before; what is then recorded is compared next time.
        """
        run, job = records.run, self.job
        if run is None or run.discarded:
            return
        changed = changed_settings(run, job.fingerprint, job.settings)
        if run.fingerprint != job.fingerprint and not changed:
            changed = self._other_servers(run, records)
        if changed:
            raise mismatch(job.name, changed)
        if run.fingerprint != job.fingerprint or run.settings is None:
            now = replace(run, fingerprint=job.fingerprint, settings=job.settings)
            self._store.save({now.key: now.to_json()})

    def _other_servers(self, run: RunRecord, records: Records) -> dict[str, Change]:
        """Return the sources that are another server than the one whose log was followed, unless
        its transactions, named by GTIDs, are known to this one."""
        changed: dict[str, Change] = {}
        for source in self.context.sources:
            log_record = records.log(source.alias)
            begun = positions_by_source(run.position).get(source.alias)
            then = begun if log_record is None else log_record.position
            if not then:
                continue
            name = f"source {source.alias}" if source.alias else "source"
            with error_context(source.alias):
                followed = change_source(source)
                now = followed.end()
                moved = moved_unproven(run, self.job.settings, now)
                if moved is not None:
                    changed[name] = moved
                elif not _goes_on(followed, then, now):
                    changed[name] = {"before": server_of(then), "after": server_of(now)}
        return changed

    def _forget_tables_that_left(self, records: Records) -> None:
        """Remove the records of tables that are no longer in the stream."""
        sources = {source.alias: source for source in self.context.sources}
        known = [record.table for record in records.tables()]
        gone = [
            table
            for table in known
            if table.alias not in sources or not sources[table.alias].wants(table, known)
        ]
        if not gone:
            return
        kinds = (TableRecord.key_of, TablePlanRecord.key_of, DdlIntentRecord.key_of)
        keys = {kind(table) for kind in kinds for table in gone} & records.documents.keys()
        self._store.save(removed([*keys, *records.chunk_keys(gone)]))
        self.counters.found(
            skipped_by_change(table, "was taken out of the stream's tables") for table in gone
        )

    # Begin

    def _begin(self) -> None:
        """Load the tables, or start at the end of the log.

        If that fails before a position is recorded, nothing is left on the sources. Raises
        `StartInterrupted` if the run must end meanwhile.
        """
        for source in self.context.sources:
            if isinstance(source.source, WaitingSource):
                source.source.watch_waits(StartWaits(self.control, self.counters, source.alias))
        try:
            # What was made for a snapshot that a pause gives up is made anew after it.
            self.context.restart_after_pause(self._load_or_stand, self._withdraw)
        except BaseException:
            self._withdraw()
            raise

    def _load_or_stand(self) -> None:
        if self.settings.initial_load:
            # Tables that came while nobody read join once the log was read up to now, for the log
            # may say where they come from.
            joins = self._leave.is_set() or not self._joins_new_tables
            load = InitialLoad(self._in_scope(), self._subscriptions, joins=joins)
            try:
                load.run()
            finally:
                self.resumable |= load.resumable
                self._load = load if load.took_over else self._load
        elif not has_begun(self._store.load(), self.context.sources):
            StartAtEnd(self.context, self._subscriptions).run()

    def _withdraw(self) -> None:
        """Drop what was created on the sources, because no position is recorded yet."""
        with suppress(StreamsError):
            if not has_begun(self._store.load(), self.context.sources):
                for source in self.context.sources:
                    if isinstance(source.source, SlotSource):
                        source.source.drop_created()

    # Follow

    def _follow(self) -> None:
        """Follow all logs until the control says to end. Raises the first error of a log."""
        self.control.limit_rows(self.settings.max_rows)
        while True:
            self._leave.clear()
            self._appliers = [self._applier(source) for source in self.context.sources]
            self.resumable = False
            self._ready.set()
            with monitored(self._looks(), self.settings.interval):
                try:
                    if len(self._appliers) == 1:
                        self._appliers[0].run()
                    else:
                        self._follow_side_by_side()
                finally:
                    self._ready.clear()  # who waits goes on with those that follow next
            if not self._leave.is_set() or not self.control.hold():
                return
            self._join()

    # Tables that join

    @property
    def _joins_new_tables(self) -> bool:
        return self.settings.initial_load and self.settings.schema_changes == "apply"

    def _find_new_tables(self, there: AbstractSet[TableId] = frozenset()) -> bool:
        """Look for new tables, and let those join that were found before and are still new although
        the log has been read up to that moment. Return True if tables join.

        ``there``: tables that existed before the position up to which all logs have been read.
        """
        with self._finding:
            return self._leave.is_set() or self._find(there)

    def _find(self, there: AbstractSet[TableId]) -> bool:
        if not all(applier.opened for applier in self._appliers):
            return False
        known = {table for applier in self._appliers for table in list(applier.tables)}
        found = self._new_tables.find(known)
        passed = all(
            applier.alias in self._joins_after
            and applier.source.at_or_after(applier.position, self._joins_after[applier.alias])
            for applier in self._appliers
        )
        if found & (there | self._joining if passed else there):
            self._joining = frozenset()
            self._ready.clear()
            self._leave.set()
            for applier in self._appliers:
                applier.wake()
            return True
        if found != self._joining or not self._joins_after:
            self._joins_after = {a.alias: a.source.end() for a in self._appliers} if found else {}
            self._joining = found
        return False

    def _in_scope(self) -> RunContext:
        """Return the run's context with the tables that join, and without those that cannot be
        followed."""
        if not self._leave.is_set():
            return self.context
        known = {record.table for record in self._store.load().tables()}
        self._asked = self._new_tables.find(known)
        joining = known | self._asked
        sources = [self._new_tables.narrowed(source, joining) for source in self.context.sources]
        return replace(self.context, sources=sources)

    def _join(self) -> None:
        """Load the tables that join, waiting for a server that is away. If one of them is dropped
        meanwhile, the others join at the next look."""
        outage = Outage(self.control, self.counters, "", self.settings.reconnect_timeout)
        while self.control.hold():
            try:
                self._begin()
            except NotFound:
                outage.over()
                return
            except StreamsError as error:
                outage.wait(error)
            else:
                break
        outage.over()
        known = {record.table for record in self._store.load().tables()}
        # Others that are new by now came too late for this load, and join at the next look.
        self._new_tables.give_up(self._asked & self._new_tables.find(known))

    def _follow_side_by_side(self) -> None:
        """Follow each source in its own thread; the first error ends all of them."""
        errors: list[StreamsError] = []

        def work(applier: ChangeApplier) -> None:
            with self.control.working():
                try:
                    with error_context(applier.alias):
                        applier.run()
                except StreamsError as error:
                    errors.append(error)
                except BaseException as error:
                    log.exception("internal error", extra={"stream": self.job.name})
                    errors.append(InternalError(f"A fault: {type(error).__name__}."))
                finally:
                    if errors:
                        self.control.abort()

        threads = [
            threading.Thread(
                target=work, args=(a,), name=f"streams-engine-log-{a.alias}", daemon=True
            )
            for a in self._appliers
        ]
        with self.control.inactive():
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        if errors:
            raise errors[0]

    def _applier(self, source: SourceSpec) -> ChangeApplier:
        followed = FollowedLog(self.job, source, self.sink, self.counters)
        handler = SchemaChangeHandler(
            followed,
            self.settings.schema_changes,
            self._subscriptions.attach,
            self._subscriptions.demand_cascades,
            self._joins_new_tables,
        )
        records = self._store.load()
        position = require(records.log(source.alias), "the position of a log").position
        followed.applier = ChangeApplier(
            self.job.name,
            LogRecord.key_of(source.alias),
            source.alias,
            change_source(source),
            change_sink(self.sink),
            self.control,
            self.counters,
            partial(self._documents_of, source.alias),
            lambda documents: self._recorded(source, handler, Records(documents)),
            handler,
            self.settings.reconnect_timeout,
            PendingDdl(
                PendingDdlRecord.key_of(source.alias),
                lambda: self._create_foreign_keys(source, followed.applier),
                records.has_pending_ddl(source.alias),
            ),
            handler.target.relax,
            due=handler.due,
            outdated=handler.outdated,
            leave=self._leave,
            tasks=self._tasks[source.alias],
            looks_first=isinstance(source.source, CatalogSource),
            position=position,
        )
        self._tasks[source.alias].wake = followed.applier.wake
        return followed.applier

    def _create_foreign_keys(self, source: SourceSpec, applier: ChangeApplier) -> bool:
        """Create the missing foreign keys between the tables, as the log describes them.

        Return False if the run must end, so that some may still be missing.
        """
        schemas = tuple(table.tracked.schema for table in applier.tables.values())
        catalog = Catalog(source.source.dialect, schemas)
        mapper = CatalogMapper.of(self.context)
        mapped = mapper.map(self._scanned(source, schemas), catalog, None, mapper.flavour())
        if isinstance(self.sink, StructureSink):
            post_load = PostLoad(self.sink, self.job.structure, self.control)
            self.counters.found(post_load.foreign_keys(mapped.target))
        return self.control.hold()

    def _scanned(self, source: SourceSpec, schemas: Sequence[TableSchema]) -> SourceSpec:
        """Return the source with a scan of its rows, which decides whether foreign keys hold."""
        scan = source.source
        if not observes_rows(self.sink) or not isinstance(scan, RowScan):
            return source
        observed = scan.observe(
            schemas, booleans=False, zero_dates=False, times=False, foreign_keys=True
        )
        options = replace(source.mapping, observed=observed.stamped(source.alias))
        return replace(source, mapping=options)

    def _documents_of(self, alias: str, writer: ChangeWriter | None) -> Documents:
        """Return the records of one source's log, without the epoch of the writer, which reads them
        where it can: its session is open.

        Raises `FencedOff` if another process has begun a load since this one did.
        """
        if isinstance(writer, StateWriter):
            records = Records(writer.load_state())
        else:
            records = self._store.load()
        if self._load is not None:
            self._load.store.check_fence(records)
        mine = [record.table for record in records.tables() if record.table.alias == alias]
        keys = {
            LogRecord.key_of(alias),
            PendingDdlRecord.key_of(alias),
            *(TableRecord.key_of(table) for table in mine),
            *(DdlIntentRecord.key_of(table) for table in mine),
        }
        return {
            key: {name: value for name, value in document.items() if name != "epoch"}
            for key, document in records.documents.items()
            if key in keys
        }

    def _recorded(
        self, source: SourceSpec, handler: SchemaChangeHandler, records: Records
    ) -> dict[TableId, TableReplication]:
        """Return the tables of a source, as the records describe them at the log's position."""
        mine = {record.table: record for record in records.tables()}
        schemas = {table: record.schema for table, record in mine.items()}
        intended = records.intended()
        ahead = frozenset(table for table in schemas if str(table) in intended)
        bare = [replace(s, id=replace(s.id, alias="")) for s in schemas.values()]
        identities = identities_of(source.source, bare)
        tables = {}
        handler.target.renames = records.renames()
        handler.target.added = records.columns_added()
        handler.target.dropped = records.dropped()
        gone = frozenset(table for table in schemas if str(table) in handler.target.dropped)
        for table, mapping in handler.mapper.onto_target(
            list(schemas.values()), ahead, handler.target.renames, gone
        ).items():
            identity = identities[replace(table, alias="")]
            moved = tuple(column.source.name for column in mapping.columns)
            if table in ahead and not set(identity) <= set(moved):
                identity = moved  # its key changes on the target, and no row comes before that
            since = mine[table].since
            followed = self._subscriptions.attach(
                source, mapping, schemas[table], identity, since, schemas
            )
            followed.tracked = replace(followed.tracked, early=mine[table].early)
            if table in gone:
                followed.ignore()
            tables[table] = followed
            self.counters.expect(table, None)
            self.counters.enter(table, "following")
        emptied = records.emptied()
        handler.emptied(
            (schemas[table], emptied[str(table)]) for table in tables if str(table) in emptied
        )
        if not handler.log.applier.pending.waiting:  # judged once its foreign keys are created
            self._subscriptions.demand_cascades(
                source, tables, lambda mapping: mapping.target.foreign_keys
            )
        return tables

    # Look at servers beside the run

    def _looks(self) -> dict[str, Callable[[], None]]:
        """Return the periodic checks, by the name of their thread."""
        looks: dict[str, Callable[[], None]] = {
            f"lag-{applier.alias}".rstrip("-"): partial(self._measure_lag, applier)
            for applier in self._appliers
        }
        if self._joins_new_tables:
            looks["new-tables"] = self._look_for_new_tables
        looks["sequences"] = lambda: self._sequences.advance(self._followed_sources())
        return looks

    def _look_for_new_tables(self) -> None:
        if not self.control.state.final:
            self._find_new_tables()

    def _measure_lag(self, applier: ChangeApplier) -> None:
        """Measure how far the durable position lags behind, and how much log its source retains.

        A stream for which sources retain more than maxRetainedBytes fails.
        """
        source = applier.source
        if not isinstance(source, LagSource):
            return
        at = time.monotonic()
        lag = source.lag(applier.position)
        if self.control.state.final:
            return
        with self._lags_lock:
            self._lags[applier.alias] = lag
            lags = list(self._lags.values())
        kept = [lag.retained for lag in lags if lag.retained is not None]
        self.counters.looked(applier.alias, at, lag.bytes, lag.end, applier.has_read)
        self.counters.behind(sum(lag.bytes for lag in lags), sum(kept) if kept else None)
        most = self.settings.max_retained
        if most and sum(kept) > most:
            self._excess = LogLost(
                f"The source retains {sum(kept)} bytes of log for the stream '{self.job.name}', "
                f"and maxRetainedBytes is {most}.",
                remedy=(
                    "Find what delays the target. Or call release() to let the server remove "
                    "the log, and load again."
                ),
            )
            self.control.abort()

    def _settle_sequences(self) -> None:
        """Set the target's sequences a last time; a server that is away does not prevent the
        stop."""
        try:
            if self.counters.waits_for_a_server:
                raise ConnectionFailed("a server is away.")
            self._sequences.finish(self._followed_sources())
        except StreamsError as error:
            if not error.retryable:
                raise
            message = f"Sequences and AUTO_INCREMENT were not set at the end: {error.message}"
            remedy = (
                "Start and stop the stream once more before applications insert rows into "
                "the target."
            )
            self.counters.found(
                [Finding(Severity.WARNING, "sequences-not-set", "target", message, remedy)]
            )

    def _followed_sources(self) -> list[FollowedOrigin]:
        return [
            (source, list(applier.tables.values()))
            for source, applier in zip(self.context.sources, self._appliers, strict=True)
        ]


def _goes_on(source: ChangeSource, then: Position, now: Position) -> bool:
    """Return True if a log whose end is ``now`` is the one that was followed, or a replica's that
    knows by GTIDs all that was read of it."""
    before, after = server_of(then), server_of(now)
    if before == after:
        return True
    kinds = {BY_NUMBER in server for server in (before, after) if server is not None}
    return bool(len(kinds) == 1 and then.get("gtid") and source.at_or_after(now, then))


def _of_followed(finding: Finding, new: AbstractSet[str]) -> Finding:
    """Return a warning for an error of `IN_THE_LOG`, unless it is about one of the ``new`` tables
    that the user named since."""
    named = {finding.object, finding.object.rpartition(".")[2]} & new
    if named or finding.code not in IN_THE_LOG or not _is_error(finding):
        return finding
    return replace(finding, severity=Severity.WARNING)


def _is_error(finding: Finding) -> bool:
    return finding.severity is Severity.ERROR
