"""Assembly of a stream from its documents: the only place where adapters and pipeline meet.

What only some streams need (the change log, verification, tunnels) is loaded by those.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from streams_engine.adapters.registry import (
    open_sink,
    open_source,
    open_source_canonical,
    open_target_canonical,
    patience_of,
)
from streams_engine.config.connection import Connection, ObjectConnection
from streams_engine.config.documents import Dask, SourceConnection
from streams_engine.config.secret import Resolver
from streams_engine.config.stream import StreamConfig, TypeOverride, shown
from streams_engine.contracts import ChangeWriter, Scope, Sink, Source, StatementListener
from streams_engine.errors import ConfigError, UnsupportedType
from streams_engine.model import Dialect, Finding, LogOptions, NativeType, Severity, TableId
from streams_engine.pipeline.checkpoint import CheckpointStore, checkpoint_storage
from streams_engine.pipeline.checkpoint_records import Records
from streams_engine.pipeline.context import Job, RunContext
from streams_engine.pipeline.control import Control
from streams_engine.pipeline.multi_source import SourceSpec
from streams_engine.pipeline.remote.copier import WorkerCluster
from streams_engine.pipeline.retry import Outage
from streams_engine.pipeline.snapshot.convert import ConvertPipeline
from streams_engine.schema.ddl.structure import Structure
from streams_engine.schema.mapping.routes import parse_type
from streams_engine.schema.mapping.tables import MappingOptions
from streams_engine.stats import Counters
from streams_engine.target_layout import scope_of, selections_of, target_schema

if TYPE_CHECKING:
    from streams_engine.pipeline.changes.cdc import CdcPipeline
    from streams_engine.query.entries import QueryEntry
    from streams_engine.query.source import QuerySource
    from streams_engine.verify.progress import ProgressStore
    from streams_engine.verify.report import VerifyReport
    from streams_engine.verify.verification import VerifySettings

__all__ = ["Assembly"]

WORKER_BYTES = 48 << 20
"""What one worker holds at most, of rows of usual size: blocks being read, decoded and encoded.
``memoryBudget`` bounds the workers by it."""


End = TypeVar("End", bound=Source | Sink)


@dataclass(frozen=True, slots=True)
class _SourcePart:
    """One source of a stream: a connection's tables and queries, or a statement over several."""

    alias: str
    prefix: str
    path: str
    reads: Connection | QuerySource
    document: SourceConnection


WATCH_SECONDS = 3
"""How often the source's log is looked at in a stream without progress reports."""


@dataclass(frozen=True, slots=True)
class Assembly:
    """One stream's parts, opened as its config asks for them; nothing is open in between."""

    config: StreamConfig
    resolvers: Mapping[str, Resolver]
    on_statement: StatementListener | None = None
    """Hears of each statement that is sent to source and target."""

    def refuse_unfit_queries(self) -> None:
        """Raise `ConfigError` or `QueryRefused` by path for statements that cannot run."""
        from streams_engine.query.entries import refuse_unfit

        refuse_unfit(self.config)

    @contextmanager
    def opened(self) -> Iterator[tuple[list[SourceSpec], Sink]]:
        """Open sources and target; every connection is closed at the end."""
        with ExitStack() as stack:
            config = self._reached(stack)
            sink = stack.enter_context(_held(self._sink(config), config.target))
            origins = [
                stack.enter_context(self._origin(part, sink.dialect))
                for part in self._parts(config)
            ]
            yield origins, sink

    def _reached(self, stack: ExitStack) -> StreamConfig:
        """Return the config with its connections made reachable (tunnels opened) until the stack
        closes."""
        if not any(getattr(end, "ssh", None) for end in (*self.config.sources, self.config.target)):
            return self.config
        from streams_engine.adapters.ssh import reachable

        ends = [
            stack.enter_context(reachable(connection, self.resolvers))
            for connection in (*self.config.sources, self.config.target)
        ]
        return replace(self.config, sources=tuple(ends[:-1]), target=ends[-1])

    @contextmanager
    def dry_run(self) -> Iterator[ConvertPipeline]:
        """Open both ends for a look that changes nothing."""
        with self.opened() as (sources, sink):
            yield self.convert(self.context(sources, sink, Control(), Counters()))

    def context(
        self, sources: list[SourceSpec], sink: Sink, control: Control, counters: Counters
    ) -> RunContext:
        """Return the context that all phases of a run share."""
        return RunContext(self.job(), sources, sink, control, counters, checkpoint_storage(sink))

    def convert(self, context: RunContext) -> ConvertPipeline:
        """Build the pipeline of a convert."""
        return ConvertPipeline(context)

    def cdc(self, context: RunContext) -> CdcPipeline:
        """Build the pipeline of a cdc."""
        from streams_engine.pipeline.changes.cdc import CdcPipeline, LogSettings
        from streams_engine.pipeline.changes.table_replication import operations_of

        document = self.config.document
        options = document.source.options
        chosen = {
            (part.alias, table.name): operations_of(table.operations)
            for part in self._parts(self.config)
            for table in part.document.tables
            if table.operations is not None
        }
        settings = LogSettings(
            initial_load=options.initial_load,
            operations={("", ""): operations_of(options.operations), **chosen},
            schema_changes=self.config.options.schema_changes,
            max_rows=document.limits.number_of_events,
            max_retained=self.config.options.max_retained_bytes,
            reconnect_timeout=self.config.options.reconnect_timeout,
            interval=min(filter(None, document.intervals), default=WATCH_SECONDS),
        )
        return CdcPipeline(context, settings)

    def outage(self, control: Control, counters: Counters) -> Outage:
        """Count the outages of a load, which is begun again once its servers are back."""
        timeout = self.config.options.reconnect_timeout
        return Outage(control, counters, timeout=timeout, stood=True)

    def catch_up(self, seconds: float) -> bool:
        """Wait for a stream that another process runs; return False after so many seconds."""
        from streams_engine.pipeline.changes.followed_elsewhere import FollowedElsewhere

        with self.dry_run() as convert:
            return FollowedElsewhere(convert.context, seconds).catch_up()

    def verify(
        self,
        settings: VerifySettings,
        on_progress: Callable[[TableId, int], None] | None = None,
        write: Callable[[str, Callable[[ChangeWriter], int]], int] | None = None,
        *,
        repair: bool = False,
        resume: bool = True,
        store: ProgressStore | None = None,
        elsewhere: float | None = None,
        structure: bool = False,
    ) -> VerifyReport:
        """Compare both ends, by texts that the servers render themselves.

        ``write`` has work done on the target by the log of a source that is followed. ``resume``:
        go on from what an interrupted one found equal, and is kept in ``store``, else beside the
        checkpoint.
        ``elsewhere``: another process follows the log; so many seconds it may take to catch up.
        ``structure``: compare keys, indexes and columns too, unless a load has yet to make them.
        """
        from streams_engine.pipeline.changes.followed_elsewhere import FollowedElsewhere
        from streams_engine.pipeline.repair import Repairs
        from streams_engine.pipeline.verify_progress import VerifyProgressStore
        from streams_engine.verify.progress import Progress
        from streams_engine.verify.verification import compare_structures, verify_mapped

        with self.dry_run() as convert, ExitStack() as stack:
            if elsewhere is not None:
                followed = FollowedElsewhere(convert.context, elsewhere)
                followed.demand_followed()
                settings = replace(settings, catch_up=followed.catch_up)
            mapped = convert.mapped()
            identity = f"{self.config.identity()} {self.config.fingerprint()}"
            settings = replace(
                settings, zero_dates=self.config.options.zero_dates, identity=identity
            )
            if store is None:
                checkpoint = CheckpointStore(convert.context.checkpoints, self.config.name)
                store = VerifyProgressStore(checkpoint)
            kept = Progress(store)
            kept.begin(resume=resume)
            pending = structure and _loads(convert.context)
            if structure and not pending:
                settings = replace(settings, structure=convert.context.job.structure)
            if repair:
                repairs = Repairs(convert.context, mapped, write)
                settings = replace(settings, repair=repairs)
            config = self._reached(stack)
            ends = {
                part.alias: stack.enter_context(self._canonical(part))
                for part in self._parts(config)
            }
            target = stack.enter_context(open_target_canonical(config, self.resolvers))
            report = verify_mapped(
                mapped,
                convert.context.sink,
                ends,
                target,
                settings,
                progress=on_progress,
                kept=kept,
            )
            if pending:
                return replace(report, structure=(STRUCTURE_PENDING,))
            if report.structure and settings.catch_up is not None and settings.catch_up():
                # A change of structure may have been on its way: what stays differs.
                again = compare_structures(convert.mapped(), convert.context.sink, settings)
                report = replace(report, structure=tuple(f for f in report.structure if f in again))
            return report

    def _log(self, document: SourceConnection) -> LogOptions | None:
        """Return how to read a source's change log; None for a convert."""
        options = self.config.document.source.options
        if not self.config.follows:
            return None
        from streams_engine.pipeline.changes.table_replication import operations_of

        default = operations_of(options.operations)
        chosen = [
            default if table.operations is None else operations_of(table.operations)
            for table in document.tables
        ]
        return LogOptions(
            self.config.name,
            options.replication_slot,
            options.publication_name,
            options.server_id or None,
            options.binlog_position,
            frozenset().union(*chosen) if chosen else default,
            {
                table.name: tuple(table.selection.selected_columns)
                for table in document.tables
                if table.selection.selected_columns
            },
            options.partial_publication,
        )

    def _parts(self, config: StreamConfig) -> list[_SourcePart]:
        """Return the parts that the stream reads: connections with tables or queries, and
        statements over several sources.

        ``config`` has connections that can be opened.
        """
        documents = config.document.source.connections
        joined = self._joined(config)
        several = len(documents) > 1
        parts = []
        for i, (connection, document) in enumerate(zip(config.sources, documents, strict=True)):
            if document.tables or document.queries or not joined:
                alias = (document.alias or "") if several else ""
                path = f"$.source.connections[{i}]"
                parts.append(_SourcePart(alias, alias, path, connection, document))
        for n, entry in enumerate(joined):
            alias = f"queries[{n}]" if parts or len(joined) > 1 else ""
            native = entry.native(config)
            if native is None:
                source = entry.source(self.config.options.zero_dates)
                parts.append(_SourcePart(alias, "", entry.path, source, SourceConnection()))
            else:
                i, asked = native
                parts.append(_SourcePart(alias, "", entry.path, config.sources[i], asked))
        return parts

    def _joined(self, config: StreamConfig) -> list[QueryEntry]:
        """Return the parsed statements over several sources; only these load the query part."""
        if not config.document.source.queries:
            return []
        from streams_engine.query.entries import entries

        return entries(config, self.resolvers)

    def _canonical(self, part: _SourcePart) -> Any:
        if isinstance(part.reads, Connection):
            return open_source_canonical(
                part.reads,
                part.document,
                self.resolvers,
                heartbeat=self.config.options.heartbeat_timeout,
            )
        from streams_engine.query.canonical import QueryCanonical

        return QueryCanonical(part.reads)

    @contextmanager
    def _origin(self, part: _SourcePart, dialect: Dialect | None) -> Iterator[SourceSpec]:
        reads, document, path = part.reads, part.document, part.path
        opened = (
            open_source(
                reads,
                document,
                self.resolvers,
                path,
                self._log(document),
                patience=patience_of(self.config.options),
                on_statement=self.on_statement,
            )
            if isinstance(reads, Connection)
            else reads
        )
        with _held(opened, reads) as source:
            yield SourceSpec(
                source,
                scope_of(document, reads) if isinstance(reads, Connection) else Scope(),
                self._mapping(part, dialect),
                part.alias,
                shown(reads, document) if isinstance(reads, Connection) else "the source",
                selections_of(document, path),
            )

    def _mapping(self, part: _SourcePart, dialect: Dialect | None) -> MappingOptions:
        options = self.config.options
        connection = part.reads if isinstance(part.reads, Connection) else None
        return MappingOptions(
            target_schema=target_schema(self.config, connection, part.document),
            overrides=() if dialect is None else _overrides(options.type_overrides, dialect),
            zero_dates=options.zero_dates,
            unsigned_keys=options.unsigned_keys,
            identifier_case=options.identifier_case,
            allow_lossy=options.allow_lossy,
            quarantine=options.on_error == "quarantine",
            prefix=f"{part.prefix}_" if part.prefix else "",
            mariadb=getattr(self.config.target, "kind", None) == "mariadb",
            followed=self.config.follows,
        )

    def _sink(self, config: StreamConfig) -> Sink:
        options = self.config.options
        first = self.config.document.source.connections[0]
        schema = target_schema(self.config, self.config.sources[0], first)
        return open_sink(
            config,
            self.resolvers,
            state_schema=options.state_schema,
            search_path=() if schema is None else (schema,),
            on_statement=self.on_statement,
        )

    def job(self) -> Job:
        """Return the settings of a convert as a `Job`, independent of documents."""
        config, options, db = self.config, self.config.options, self.config.db
        wanted = db.structure_options
        return Job(
            name=config.name,
            fingerprint=config.fingerprint(),
            settings=config.settings(),
            structure=Structure(
                wanted.tables, wanted.indexes, wanted.foreign_keys, wanted.check_constraints
            ),
            zero_dates=options.zero_dates,
            schema_policy=db.schema_policy,
            write_mode=config.write_mode,
            skip_data=db.skip_data,
            bundle=config.document.source.options.data_bundle_size,
            parallelism=self.slots(options.parallelism),
            chunk_rows=options.chunk_rows,
            quarantine=options.on_error == "quarantine",
            on_resume=options.on_resume,
            on_rewrite=options.on_rewrite,
            allow_empty=options.allow_empty,
            follows=self.config.follows,
            **self._workers(),
        )

    def slots(self, threads: int) -> int:
        """Return how many chunks a worker with so many threads may copy at once."""
        return max(1, min(threads, self.config.options.memory_budget // WORKER_BYTES))

    def _workers(self) -> dict[str, Any]:
        """Choose the workers that copy: own threads, the caller's, or a cluster's."""
        executor = self.config.options.executor
        if executor is None:
            return {}
        if isinstance(executor, Dask):
            executor = executor.dask
        elif not any(c.__module__.startswith("distributed.") for c in type(executor).__mro__):
            return {"executor": _threads(executor)}
        return {"cluster": self._cluster(executor)}

    def _cluster(self, executor: Any) -> WorkerCluster:
        try:
            from streams_engine.dask.cluster import DaskCluster
            from streams_engine.dask.sealed import carried
        except ImportError as error:
            raise ConfigError(
                f"$.options.executor: the package {error.name} is not installed.",
                path="$.options.executor",
                remedy="pip install 'streams-engine[cluster]'",
            ) from None
        options = self.config.options
        limit = options.parallelism if "parallelism" in options.model_fields_set else None
        return DaskCluster(executor, Assembly(carried(self.config, self.resolvers), {}), limit)


STRUCTURE_PENDING = Finding(
    Severity.INFO,
    "structure-pending",
    "target",
    "The structure was not compared: a load has yet to make keys and indexes.",
    "Verify again once the load has ended.",
)


def _loads(context: RunContext) -> bool:
    """Return True if a load of this stream has begun and not ended."""
    records = Records(context.checkpoints.load_state(context.job.name))
    return any(True for _ in records.load_keys())


def _held(end: End, reached: Connection | QuerySource) -> AbstractContextManager[End]:
    """Close the source or sink at the end of the block, unless it is the caller's own object."""
    return nullcontext(end) if isinstance(reached, ObjectConnection) else closing(end)


def _threads(executor: Any) -> Executor:
    """Return the caller's thread pool. Raises `ConfigError` if it is not one, or runs other
    processes."""
    path = "$.options.executor"
    if not isinstance(executor, Executor):
        raise ConfigError(
            f"{path}: expected a concurrent.futures.Executor, got a {type(executor).__name__}.",
            path=path,
            remedy="Give a ThreadPoolExecutor or a Dask client's executor, or leave it out.",
        )
    try:
        process = executor.submit(os.getpid).result()
    except RuntimeError:
        raise ConfigError(
            f"{path}: the executor is shut down.",
            path=path,
            remedy="Give an executor that is not shut down.",
        ) from None
    if process != os.getpid():
        raise ConfigError(
            f"{path}: its workers are other processes, but not a Dask cluster's.",
            path=path,
            remedy="Give a thread pool, or a Dask client's get_executor().",
        )
    return executor


def _overrides(
    documents: list[TypeOverride], dialect: Dialect
) -> tuple[tuple[str, NativeType], ...]:
    overrides = []
    for i, document in enumerate(documents):
        try:
            native = parse_type(dialect, str(document.type or document.to))
        except UnsupportedType as error:
            path = f"$.options.typeOverrides[{i}].{'type' if document.type else 'to'}"
            raise UnsupportedType(
                f"{path}: {error.message}", remedy=error.remedy, path=path
            ) from None
        overrides.append((str(document.column or document.from_), native))
    return tuple(overrides)
