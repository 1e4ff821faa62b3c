"""One cdc from beginning to end: the initial load, the handover to the log, and following it.

Records in the target beside those of the load: ``log`` (or ``log:<alias>``) holds the position
that is durable, ``followed:<table>`` the table's schema as the log has it there, from which
position on its changes count, and whether its rows are loaded. ``pending`` (or
``pending:<alias>``) says that foreign keys are to be made at the consistent point.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import asdict, dataclass, replace
from typing import Any

from streams_engine.changes import Op
from streams_engine.errors import (
    CheckpointMismatch,
    ConfigError,
    ConnectionFailed,
    InternalError,
    LogLost,
    SourceChanged,
    StreamsError,
    TargetConflict,
)
from streams_engine.faults import reach
from streams_engine.model import (
    Catalog,
    Dialect,
    Finding,
    ForeignKey,
    Position,
    Severity,
    TableId,
    TableSchema,
)
from streams_engine.protocols import (
    ChangeSink,
    ChangeSource,
    Sink,
    SlotSource,
    Snapshot,
    StructureSink,
    WaitingSource,
)
from streams_engine.runtime.building import Builder
from streams_engine.runtime.cascades import TargetKeys, unrepeated
from streams_engine.runtime.consistency import acting, crossing, in_one_view
from streams_engine.runtime.control import Control
from streams_engine.runtime.evolution import Evolution, left
from streams_engine.runtime.followed import Followed, demand_logged, follow
from streams_engine.runtime.following import Follower, Pending
from streams_engine.runtime.joining import (
    JoinedView,
    Origin,
    demand_tables,
    merged,
    stamped,
    told_apart,
)
from streams_engine.runtime.resuming import (
    RUN,
    Continuation,
    Memory,
    finished_tables,
    is_chunk_of,
    may_remain,
)
from streams_engine.runtime.runner import Convert, Job, RowScan
from streams_engine.runtime.sequences import FollowedOrigin, TargetSequences
from streams_engine.runtime.start_waits import Interrupted, StartWaits
from streams_engine.schema.mapping import MappedCatalog, TableMapping, warning
from streams_engine.schema.recording import from_document, to_document
from streams_engine.stats import Counters

__all__ = ["Capture", "LogSettings"]

LOOKS = 3
"""How often the catalog and the end of the log are looked at until they belong together."""


@dataclass(frozen=True, slots=True)
class LogSettings:
    """What is asked of a cdc beyond what a load is asked."""

    initial_load: bool = True
    operations: Mapping[tuple[str, str], frozenset[Op]] | None = None
    """By source alias and table name as the user wrote it; two empty ones: every other table."""
    schema_changes: str = "apply"
    max_rows: int = 0
    max_retained: int = 0
    reconnect_timeout: float = 0.0


class Capture:
    """Runs one cdc. `run` is for one thread, `catch_up` for any."""

    def __init__(
        self,
        job: Job,
        settings: LogSettings,
        origins: Sequence[Origin],
        sink: Sink,
        control: Control,
        counters: Counters,
    ) -> None:
        self.job = job
        self.settings = settings
        self.origins = origins
        self.sink = sink
        self.control = control
        self.counters = counters
        self._followers: list[Follower] = []
        self._ready = threading.Event()
        self._excess: StreamsError | None = None
        self._sequences = TargetSequences(sink, counters)
        self.resumable = False
        """The load can go on from its checkpoint, should it end now."""

    def run(self, *, fresh: bool) -> None:
        """Load what is not loaded yet, then follow. Raises the error that the run failed of."""
        self.counters.follow()
        with self.control.working(), suppress(Interrupted):
            convert = self._convert("upsert")
            for origin in self.origins:
                convert.found(convert.checked(origin))
                with told_apart(origin.alias):
                    convert.found(_log_of(origin).readiness(origin.scope))
            convert.found(self.sink.check())
            if fresh:
                self.release()
            records = self.sink.load_state(self.job.name)
            self._check(records)
            records = self._without_those_that_left(records)
            self._begin(records)
            if not self.control.hold():
                return
            self.control.limit_rows(self.settings.max_rows)
            self._followers = [self._follower(origin) for origin in self.origins]
            self.resumable = False
            self._ready.set()
            self._follow()
            if self._excess is not None:
                raise self._excess
            if not self.control.forced.is_set():
                self._settle_sequences()

    def _settle_sequences(self) -> None:
        """Set the target's counters for a last time; a server that is away keeps nobody from
        stopping."""
        try:
            self._sequences.settle(self._followed_origins())
        except ConnectionFailed as error:
            message = f"Counters were not set at the end: {error.message}"
            remedy = "Start and stop the stream once more before the target numbers rows itself."
            self.counters.found(
                [Finding(Severity.WARNING, "sequences-not-set", "target", message, remedy)]
            )

    def _begin(self, records: Mapping[str, Mapping[str, Any]]) -> None:
        """Load, or stand at the end of the log. Where that fails before a position is recorded,
        nothing is left on the sources. Raises `Interrupted` where the run must end meanwhile."""
        for origin in self.origins:
            if isinstance(origin.source, WaitingSource):
                origin.source.watch_waits(StartWaits(self.control, self.counters, origin.alias))
        try:
            if self.settings.initial_load:
                self._load(records)
            elif not self._begun(records):
                self._begin_uninterrupted()
        except BaseException:
            with suppress(StreamsError):
                self._withdraw()
            raise

    def _begin_uninterrupted(self) -> None:
        """A pause ends a wait, and the next attempt comes after it."""
        while True:
            try:
                return self._begin_at_end()
            except Interrupted:
                if not self.control.hold():
                    raise

    def _withdraw(self) -> None:
        if not self._begun(self.sink.load_state(self.job.name)):
            for origin in self.origins:
                if isinstance(origin.source, SlotSource):
                    origin.source.withdraw()

    def release(self) -> None:
        """Drop what was made on the sources for the stream, and forget its checkpoint."""
        for origin in self.origins:
            with told_apart(origin.alias):
                _log_of(origin).release()
        self.sink.forget(self.job.name)

    def catch_up(self, deadline: float | None) -> bool:
        """True once all that was committed on the sources before the call is durable here."""
        while not self._ready.is_set():
            left = 0.2 if deadline is None else deadline - time.monotonic()
            if left <= 0 or self.control.state.final:
                return False
            self._ready.wait(min(left, 0.2))
        return all(follower.catch_up(deadline) for follower in self._followers)

    # The checkpoint

    def _check(self, records: Mapping[str, Mapping[str, Any]]) -> None:
        run = records.get(RUN)
        if run is not None and run["fingerprint"] != self.job.fingerprint:
            raise CheckpointMismatch(
                f"The checkpoint of stream '{self.job.name}' does not fit: the stream's "
                "configuration (types, or where it goes) changed since.",
                remedy="Restore what changed, or forget the checkpoint with start(fresh=True).",
                changed=["the stream's configuration"],
            )

    def _without_those_that_left(
        self, records: Mapping[str, Mapping[str, Any]]
    ) -> Mapping[str, Mapping[str, Any]]:
        """Drop the records of tables that are not among the stream's tables any more."""
        origins = {origin.alias: origin for origin in self.origins}
        known = [table for table, _ in _followed(records)]
        gone = [
            table
            for table in known
            if table.alias not in origins or not origins[table.alias].wants(table, known)
        ]
        if not gone:
            return records
        keys = {
            key
            for key in records
            if key in {f"{kind}:{table}" for kind in ("followed", "table", "ddl") for table in gone}
            or is_chunk_of(key, gone)
        }
        self.sink.save_state(self.job.name, dict.fromkeys(keys))
        self.counters.found(left(table, "was taken out of the stream's tables") for table in gone)
        return {key: record for key, record in records.items() if key not in keys}

    def _begun(self, records: Mapping[str, Any]) -> bool:
        return all("position" in records.get(_log_key(o.alias), {}) for o in self.origins)

    # The initial load

    def _load(self, records: Mapping[str, Mapping[str, Any]]) -> None:
        """Load the tables that are not loaded yet: at first all, later those that are new or
        that an earlier run did not finish."""
        begun = self._begun(records)
        if begun and self._all_loaded(records):
            return

        def look(origin: Origin, readers: int) -> AbstractContextManager[Snapshot]:
            return _log_of(origin).handover(origin.scope, readers, again=begun)

        if not begun and not self.job.allow_empty:
            self._demand_tables()

        with ExitStack() as stack:
            view, mapped = stack.enter_context(self._convert("upsert").opened(look))
            reach("handover: view opened")
            for origin in self.origins:
                self._demand_cascades_at_start(origin, view.part(origin.alias).catalog, mapped)
            done = finished_tables(records) if begun else frozenset()
            done |= {table for table, record in _followed(records) if record["loaded"]}
            if begun:
                done = self._in_older_views(mapped, done, records)
            convert = self._convert(self._write_mode(records, mapped, begun))
            if begun and convert.job.write_mode == "upsert":
                cut = {table for table, _ in _followed(records)} - done
                self.counters.found(may_remain(table) for table in sorted(cut, key=str))
            memory = Memory(self.sink, self.job.name)
            memory.known()
            memory.claim()
            going_on = self._continuation(mapped, done, begun)
            if begun:
                self._demand_room(mapped, records)
            opening = dict(memory.opening(self.job.fingerprint, view.position, going_on))
            opening |= self._opening(view, mapped, done, begun, convert.job.write_mode)
            prepared = convert.structure(mapped, going_on, opening)
            self.resumable = True
            self.counters.connected()
            reach("handover: structure made")
            if not self.control.hold():
                return
            copier = None
            if not self.job.skip_data:
                copier = convert.copier(view)
                convert.copy(copier, view, prepared, memory, going_on)
            reach("handover: rows copied")
            if not self.control.hold():
                return
        views = {
            table: record["since"] for table, record in _followed({**records, **_kept(opening)})
        }
        wanted = mapped.tables if self.job.structure.foreign_keys else ()
        waiting = crossing(wanted, views)
        convert.finish(prepared, copier, going_on, waiting)
        reach("handover: keys built")
        if copier is not None and copier.failed:
            raise next(iter(copier.failed.values()))
        if self.control.hold():
            self._finish_load(
                {
                    origin.alias
                    for origin in self.origins
                    if crossing([m for m in wanted if m.source.id.alias == origin.alias], views)
                }
            )
            reach("handover: load recorded")

    def _demand_tables(self) -> None:
        """Raise `NotFound` for an empty source before anything is made on it."""
        for origin in self.origins:
            if origin.scope.tables is None:
                with told_apart(origin.alias):
                    catalog = origin.source.catalog(origin.scope)
                demand_tables(origin, catalog)

    def _in_older_views(
        self,
        mapped: MappedCatalog,
        done: frozenset[TableId],
        records: Mapping[str, Mapping[str, Any]],
    ) -> frozenset[TableId]:
        """Return the tables whose rows can stay as they were loaded in views that are gone."""
        unlogged = {o.alias for o in self.origins if not _log_of(o).logs_cascades}
        there = None
        if isinstance(self.sink, StructureSink):
            there = self.sink.inspect([m.target.id for m in mapped.tables])
        loading = frozenset(m.source.id for m in mapped.tables) - done
        again = in_one_view(mapped.tables, loading, unlogged, there) - loading
        loaded = {table for table, record in _followed(records) if record["loaded"]}
        self.counters.found(
            warning(
                "loaded-again",
                table,
                "It is loaded again, in one view with tables that foreign keys connect it to.",
            )
            for table in sorted(again & loaded, key=str)
        )
        return done - again

    def _all_loaded(self, records: Mapping[str, Mapping[str, Any]]) -> bool:
        """True where nothing is left to load, nor a table that joined since."""
        known = {table for table, _ in _followed(records)}
        if not all(record["loaded"] for _, record in _followed(records)):
            return False
        for origin in self.origins:
            wanted = origin.scope.tables
            names = {n for t in known if t.alias == origin.alias for n in (t.name, _bare(t))}
            if wanted is not None:
                if any(name not in names for name in wanted):
                    return False
                continue
            with told_apart(origin.alias):
                found = stamped(origin.source.catalog(origin.scope), origin.alias)
            if any(table.id not in known for table in found.tables):
                return False
        return True

    def _write_mode(
        self, records: Mapping[str, Mapping[str, Any]], mapped: MappedCatalog, begun: bool
    ) -> str:
        """Plain loading where the target's tables are new or empty; else rows are merged in."""
        if begun:
            modes = {str(record["load"]) for _, record in _followed(records)}
            return "upsert" if "upsert" in modes else "fail_if_not_empty"
        if not isinstance(self.sink, StructureSink):
            return "fail_if_not_empty"
        there = self.sink.inspect([m.target.id for m in mapped.tables])
        full = any(self.sink.has_rows(table.id) for table in there.tables)
        return "upsert" if full else "fail_if_not_empty"

    def _demand_room(self, mapped: MappedCatalog, records: Mapping[str, Mapping[str, Any]]) -> None:
        """A table that joins must not take the place of rows that are not the stream's."""
        known = {table for table, _ in _followed(records)}
        joining = [m for m in mapped.tables if m.source.id not in known]
        if not joining or not isinstance(self.sink, StructureSink):
            return
        there = self.sink.inspect([m.target.id for m in joining])
        for table in there.tables:
            if self.sink.has_rows(table.id):
                raise TargetConflict(
                    f"{table.id} joins the stream, and there are rows in it on the target.",
                    remedy="Empty it, or leave the table out.",
                    table=str(table.id),
                )

    @staticmethod
    def _continuation(mapped: MappedCatalog, done: frozenset[TableId], begun: bool) -> Continuation:
        if not begun:
            return Continuation()
        left = frozenset(m.source.id for m in mapped.tables) - done
        return Continuation(True, True, {table: () for table in done}, {}, left)

    def _opening(
        self,
        view: JoinedView,
        mapped: MappedCatalog,
        done: frozenset[TableId],
        begun: bool,
        write_mode: str,
    ) -> dict[str, Mapping[str, Any] | None]:
        """From where each log goes on, and from where each table's changes count."""
        found: dict[str, Mapping[str, Any] | None] = {}
        if not begun:
            for origin in self.origins:
                position = dict(view.part(origin.alias).position)
                found[_log_key(origin.alias)] = {"position": position}
        for mapping in mapped.tables:
            table = mapping.source.id
            if table not in done:
                part = view.part(table.alias)
                schema = part.catalog.table(replace(table, alias=""))
                if schema is None:
                    raise SourceChanged(
                        f"{table} is not in the view that its rows were read from.",
                        remedy="Start again when nobody alters the tables.",
                        table=str(table),
                    )
                found[_table_key(table)] = _record(table, schema, part.position, write_mode)
        return found

    def _finish_load(self, waiting: AbstractSet[str]) -> None:
        """Record that all rows are there: what was written down for the load goes.

        ``waiting``: the sources whose foreign keys are to be made at the consistent point.
        """
        records = self.sink.load_state(self.job.name)
        changed: dict[str, Mapping[str, Any] | None] = {
            key: None for key in records if key.startswith(("chunk:", "table:"))
        }
        for table, record in _followed(records):
            changed[_table_key(table)] = {**record, "loaded": True}
        changed |= {_pending_key(alias): {"foreignKeys": True} for alias in waiting}
        self.sink.save_state(self.job.name, changed)

    # Without a load

    def _begin_at_end(self) -> None:
        """Make the structure where it is missing, and start at the end of each log."""
        records: dict[str, Mapping[str, Any] | None] = {}
        convert = self._convert("upsert" if isinstance(self.sink, StructureSink) else "append")
        found: list[MappedCatalog] = []
        for origin in self.origins:
            with told_apart(origin.alias):
                catalog, position = self._catalog_at_end(origin)
                found.append(convert.map(origin, catalog, origin.source, convert.flavour()))
            records[_log_key(origin.alias)] = {"position": dict(position)}
            self._demand_cascades_at_start(origin, catalog, merged(found))
            for table in catalog.tables:
                stamp = replace(table.id, alias=origin.alias)
                records[_table_key(stamp)] = _record(stamp, table, position, None)
                self.counters.expect(stamp, None)
        # Where the log begins is recorded last: a run that is killed before makes the rest of the
        # structure of all sources, and begins anew.
        run = {"fingerprint": self.job.fingerprint, "position": {}}
        structure = self._convert("append")
        going_on = Continuation(ours=RUN in self.sink.load_state(self.job.name))
        prepared = structure.structure(merged(found), going_on, {RUN: run})
        reach("handover: structure made")
        structure.finish(prepared, None, going_on)
        reach("handover: keys built")
        if self.control.hold():
            self.sink.save_state(self.job.name, records)

    def _catalog_at_end(self, origin: Origin) -> tuple[Catalog, Position]:
        """Return the tables, and an end of the log at which they are so.

        Raises `SourceChanged` where somebody alters them again and again.
        """
        catalog = origin.source.catalog(origin.scope)
        for _ in range(LOOKS):
            position = _log_of(origin).start([table.id for table in catalog.tables])
            reach("handover: position taken")
            now = origin.source.catalog(origin.scope)
            if _structure(now) == _structure(catalog):
                return catalog, position
            catalog = now
            if isinstance(origin.source, SlotSource):
                origin.source.withdraw()
        raise SourceChanged(
            "The structure of the tables changed while the position of the log was taken.",
            remedy="Start again when nobody alters them.",
        )

    # Following

    def _follower(self, origin: Origin) -> Follower:
        evolution = Evolution(
            self.job,
            self.settings.schema_changes,
            origin,
            self.sink,
            self.counters,
            self.attach,
            self.demand_cascades,
        )
        key = _log_key(origin.alias)
        records = self.sink.load_state(self.job.name)
        evolution.follower = Follower(
            self.job.name,
            key,
            origin.alias,
            _log_of(origin),
            _changing(self.sink),
            self.control,
            self.counters,
            lambda: self._recorded(origin, evolution),
            evolution,
            self.settings.reconnect_timeout,
            Pending(
                _pending_key(origin.alias),
                lambda: self._make_foreign_keys(origin, evolution.follower),
                _pending_key(origin.alias) in records,
            ),
            evolution.relax,
            position=records[key]["position"],
        )
        return evolution.follower

    def _make_foreign_keys(self, origin: Origin, follower: Follower) -> bool:
        """Make the foreign keys that are missing between the tables as the log has them.

        Return False where the run must end, and some may be missing still.
        """
        convert = self._convert("upsert")
        schemas = tuple(table.tracked.schema for table in follower.tables.values())
        catalog = Catalog(origin.source.dialect, schemas)
        mapped = convert.map(self._looked_at(origin, schemas), catalog, None, convert.flavour())
        if isinstance(self.sink, StructureSink):
            builder = Builder(self.sink, self.job.structure, self.control, Continuation())
            self.counters.found(builder.foreign_keys(mapped.target))
        return self.control.hold()

    def _looked_at(self, origin: Origin, schemas: Sequence[TableSchema]) -> Origin:
        """The origin with what its rows show of foreign keys, which decides whether they hold."""
        source = origin.source
        if self.sink.dialect is not Dialect.POSTGRES or not isinstance(source, RowScan):
            return origin
        observed = source.observe(schemas, booleans=False, zero_dates=False, foreign_keys=True)
        options = replace(origin.mapping, observed=observed.stamped(origin.alias))
        return replace(origin, mapping=options)

    def _recorded(self, origin: Origin, evolution: Evolution) -> dict[TableId, Followed]:
        """The tables of a source as the records say that the log has them."""
        records = self.sink.load_state(self.job.name)
        mine = {t: r for t, r in _followed(records) if t.alias == origin.alias}
        schemas = {table: from_document(record["schema"]) for table, record in mine.items()}
        intended = {record["table"] for key, record in records.items() if key.startswith("ddl:")}
        ahead = frozenset(t for t in schemas if str(t) in intended)
        bare = [replace(s, id=replace(s.id, alias="")) for s in schemas.values()]
        identities = _log_of(origin).identities(bare)
        tables = {}
        for table, mapping in evolution.mapped(list(schemas.values()), ahead).items():
            identity = identities[replace(table, alias="")]
            since = mine[table]["since"]
            tables[table] = self._attached(
                origin, mapping, schemas[table], identity, since, schemas
            )
            self.counters.expect(table, None)
            self.counters.enter(table, "following")
        if not evolution.follower.pending.waiting:  # looked at once its foreign keys are made
            self.demand_cascades(origin, tables, lambda mapping: mapping.target.foreign_keys)
        return tables

    def demand_cascades(
        self, origin: Origin, tables: Mapping[TableId, Followed], target_keys: TargetKeys
    ) -> None:
        """Raise `ConfigError` where the target does not do again what the log does not carry."""
        schemas = {table: followed.tracked.schema for table, followed in tables.items()}
        mappings = {table: followed.mapping for table, followed in tables.items()}
        self._demand_cascades(origin, mappings, schemas, target_keys)

    def _demand_cascades_at_start(
        self, origin: Origin, catalog: Catalog, mapped: MappedCatalog
    ) -> None:
        """The same before anything is made: of tables that are there already nothing is known."""
        mine = {m.source.id: m for m in mapped.tables if m.source.id.alias == origin.alias}
        there: frozenset[TableId] = frozenset()
        if isinstance(self.sink, StructureSink):
            found = self.sink.inspect([mapping.target.id for mapping in mine.values()])
            there = frozenset(table.id for table in found.tables)
        made = self.job.structure.foreign_keys

        def target_keys(mapping: TableMapping) -> Sequence[ForeignKey] | None:
            if mapping.target.id in there:
                return None
            return mapping.target.foreign_keys if made else ()

        schemas = {
            table: schema
            for table in mine
            if (schema := catalog.table(replace(table, alias=""))) is not None
        }
        self._demand_cascades(
            origin, {t: m for t, m in mine.items() if t in schemas}, schemas, target_keys
        )

    def _demand_cascades(
        self,
        origin: Origin,
        mappings: Mapping[TableId, TableMapping],
        schemas: Mapping[TableId, TableSchema],
        target_keys: TargetKeys,
    ) -> None:
        keeps_rows = isinstance(self.sink, StructureSink) or self.sink.dialect is Dialect.FILES
        if _log_of(origin).logs_cascades or not keeps_rows:
            return
        accepted = origin.mapping.allow_lossy
        self._convert("upsert").found(
            list(unrepeated(mappings, schemas, target_keys, accepted=accepted))
        )

    def attach(
        self,
        origin: Origin,
        mapping: TableMapping,
        schema: TableSchema,
        identity: tuple[str, ...] | None,
        since: Position | None,
        schemas: Mapping[TableId, TableSchema],
    ) -> Followed:
        """How a table is followed, from a position on. ``identity`` None: the source is asked."""
        if identity is None:
            bare = replace(schema, id=replace(schema.id, alias=""))
            identity = _log_of(origin).identities([bare])[bare.id]
        return self._attached(origin, mapping, schema, identity, since, schemas)

    def _attached(
        self,
        origin: Origin,
        mapping: TableMapping,
        schema: TableSchema,
        identity: tuple[str, ...],
        since: Position | None,
        schemas: Mapping[TableId, TableSchema],
    ) -> Followed:
        bare = replace(schema.id, alias="")
        demand_logged(mapping)
        keys = [
            key
            for other in (() if _log_of(origin).logs_cascades else schemas.values())
            for key in other.foreign_keys
            if replace(key.referenced, alias="") == bare
        ]
        acts = [acting(key) for key in keys]
        cascades = any(deletes for deletes, _ in acts), any(updates for _, updates in acts)
        watched = {c for key in keys for c in key.referenced_columns} if any(cascades) else set()
        return follow(
            mapping,
            replace(schema, id=bare),
            identity,
            tuple(sorted(watched - set(identity))),
            since,
            zero_dates=self.job.zero_dates,
            quarantine=self.job.quarantine,
            operations=self._operations(origin.alias, bare),
            cascades=cascades,
            relaxes=self.settings.schema_changes == "apply",
        )

    def _operations(self, alias: str, table: TableId) -> frozenset[Op]:
        chosen = self.settings.operations or {}
        for key in ((alias, table.name), (alias, str(table)), ("", "")):
            if key in chosen:
                return chosen[key]
        return frozenset(Op)

    def _follow(self) -> None:
        """Each source in a thread of its own; the first that fails ends them all."""
        if len(self._followers) == 1:
            self._followers[0].run()
            return
        errors: list[StreamsError] = []

        def work(follower: Follower) -> None:
            with self.control.working():
                try:
                    with told_apart(follower.alias):
                        follower.run()
                except StreamsError as error:
                    errors.append(error)
                except Exception as error:
                    errors.append(InternalError(f"A fault: {type(error).__name__}."))
                finally:
                    if errors:
                        self.control.abort()

        threads = [
            threading.Thread(target=work, args=(f,), name=f"streams-engine-log-{f.alias}")
            for f in self._followers
        ]
        with self.control.resting():
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        if errors:
            raise errors[0]

    def measure(self) -> None:
        """Look how far the durable positions are behind, and what the sources keep for them.

        A stream that makes a source keep more than it may is ended, loudly.
        """
        if not self._followers:
            return
        with suppress(StreamsError):  # tried again soon, and what fails at the end is reported
            self._sequences.advance(self._followed_origins())
        lags = []
        with suppress(StreamsError):
            lags = [f.source.lag(f.position) for f in self._followers]
        if not lags:
            return
        kept = [lag.retained for lag in lags if lag.retained is not None]
        self.counters.behind(sum(lag.bytes for lag in lags), sum(kept) if kept else None)
        most = self.settings.max_retained
        if most and sum(kept) > most:
            self._excess = LogLost(
                f"The source keeps {sum(kept)} bytes of log for the stream '{self.job.name}', and "
                f"maxRetainedBytes is {most}.",
                remedy="Find what holds the target up; or call release() to let the log go, and "
                "load again.",
            )
            self.control.abort()

    # Small things

    def _followed_origins(self) -> list[FollowedOrigin]:
        return [
            (origin, list(follower.tables.values()))
            for origin, follower in zip(self.origins, self._followers, strict=True)
        ]

    def _convert(self, write_mode: str) -> Convert:
        job = replace(self.job, write_mode=write_mode, follows=True)
        return Convert(job, self.origins, self.sink, self.control, self.counters)


def _followed(
    records: Mapping[str, Mapping[str, Any]],
) -> list[tuple[TableId, Mapping[str, Any]]]:
    return [
        (TableId(**record["table"]), record)
        for key, record in records.items()
        if key.startswith("followed:")
    ]


def _record(
    table: TableId, schema: TableSchema, since: Position, load: str | None
) -> Mapping[str, Any]:
    """``load``: the write mode by which its rows are being loaded; None: there is no load."""
    return {
        "table": asdict(table),
        "schema": to_document(replace(schema, id=table)),
        "since": dict(since),
        "loaded": load is None,
        "load": load,
    }


def _log_key(alias: str) -> str:
    return f"log:{alias}" if alias else "log"


def _table_key(table: TableId) -> str:
    return f"followed:{table}"


def _structure(catalog: Catalog) -> list[tuple[Any, ...]]:
    """What of the tables decides how their rows are read, and what is made of them."""
    return sorted(
        (
            (t.id, t.oid, t.columns, t.primary_key, t.indexes, t.foreign_keys, t.checks)
            for t in catalog.tables
        ),
        key=lambda table: str(table[0]),
    )


def _pending_key(alias: str) -> str:
    return f"pending:{alias}" if alias else "pending"


def _kept(records: Mapping[str, Mapping[str, Any] | None]) -> dict[str, Mapping[str, Any]]:
    return {key: record for key, record in records.items() if record is not None}


def _bare(table: TableId) -> str:
    return f"{table.schema}.{table.name}"


def _log_of(origin: Origin) -> ChangeSource:
    source: Any = origin.source
    if not hasattr(source, "changes"):
        raise ConfigError(
            "$.mode: this source has no log that could be followed.",
            path="$.mode",
            remedy="Use mode convert, or a source in MySQL, MariaDB or PostgreSQL.",
        )
    found: ChangeSource = source
    return found


def _changing(sink: Any) -> ChangeSink:
    if not isinstance(sink, ChangeSink):
        raise ConfigError(
            "$.target: changes cannot be applied to this target.",
            path="$.target",
            remedy="Use a target in MySQL, MariaDB or PostgreSQL.",
        )
    return sink
