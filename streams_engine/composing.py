"""From documents to what runs: the one place where adapters and runtime meet."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from typing import Any

from streams_engine.adapters.registry import (
    open_sink,
    open_source,
    open_source_canonical,
    open_target_canonical,
)
from streams_engine.adapters.ssh import reachable
from streams_engine.changes import LogOptions
from streams_engine.config.connection import Connection
from streams_engine.config.documents import Dask, SourceConnection
from streams_engine.config.secret import Resolver
from streams_engine.config.stream import StreamConfig, TypeOverride
from streams_engine.errors import ConfigError, UnsupportedType
from streams_engine.model import Dialect, NativeType
from streams_engine.placing import file_format, scope_of, selections_of, shown, target_schema
from streams_engine.protocols import Scope, Sink
from streams_engine.queries.canonical import QueryCanonical
from streams_engine.queries.entries import entries, refuse_unfit
from streams_engine.queries.source import QuerySource
from streams_engine.runtime.capturing import Capture, LogSettings
from streams_engine.runtime.carrying import Cluster
from streams_engine.runtime.control import Control
from streams_engine.runtime.followed import operations_of
from streams_engine.runtime.joining import Origin
from streams_engine.runtime.runner import Convert, Job
from streams_engine.runtime.verifying import VerifyReport, verify_mapped
from streams_engine.schema.mapping import MappingOptions
from streams_engine.schema.routes import parse_type
from streams_engine.schema.structure import Structure
from streams_engine.stats import Counters

__all__ = ["Composition", "refuse_meaningless"]

WORKER_BYTES = 48 << 20
"""What one worker holds at most, of rows of usual size: blocks being read, decoded and encoded.
``memoryBudget`` bounds the workers by it."""


@dataclass(frozen=True, slots=True)
class _Part:
    """One source of a stream: a connection's tables and queries, or a statement over several."""

    alias: str
    prefix: str
    path: str
    reads: Connection | QuerySource
    document: SourceConnection


@dataclass(frozen=True, slots=True)
class Composition:
    """One stream's parts, opened as its config asks for them; nothing is open in between."""

    config: StreamConfig
    resolvers: Mapping[str, Resolver]

    @property
    def follows(self) -> bool:
        """It is a cdc."""
        return self.config.document.mode == "cdc"

    @contextmanager
    def opened(self) -> Iterator[tuple[list[Origin], Sink]]:
        """The ends, opened; every connection is released at the end."""
        with ExitStack() as stack:
            config = self._reached(stack)
            sink = stack.enter_context(closing(self._sink(config)))
            origins = [
                stack.enter_context(self._origin(part, sink.dialect))
                for part in self._parts(config)
            ]
            yield origins, sink

    def _reached(self, stack: ExitStack) -> StreamConfig:
        """The config with its connections as they can be dialled, for as long as the stack."""
        ends = [
            stack.enter_context(reachable(connection, self.resolvers))
            for connection in (*self.config.sources, self.config.target)
        ]
        return replace(self.config, sources=tuple(ends[:-1]), target=ends[-1])

    @contextmanager
    def convert(self, control: Control, counters: Counters) -> Iterator[Convert]:
        """What maps and loads, for a look that changes nothing."""
        with self.opened() as (origins, sink):
            yield self.load(origins, sink, control, counters)

    def load(
        self, origins: list[Origin], sink: Sink, control: Control, counters: Counters
    ) -> Convert:
        """What maps and loads."""
        return Convert(self.job(), origins, sink, control, counters)

    def capture(
        self, origins: list[Origin], sink: Sink, control: Control, counters: Counters
    ) -> Capture:
        """What loads and follows."""
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
        )
        return Capture(self.job(), settings, origins, sink, control, counters)

    def verify(self, on_progress: Callable[[Any, int], None] | None) -> VerifyReport:
        """Compare both ends, by texts that the servers render themselves."""
        with self.convert(Control(), Counters()) as convert, ExitStack() as stack:
            mapped = convert.mapped()
            config = self._reached(stack)
            ends = {
                part.alias: stack.enter_context(self._canonical(part))
                for part in self._parts(config)
            }
            target = stack.enter_context(open_target_canonical(config, self.resolvers))
            return verify_mapped(
                mapped,
                convert.sink,
                ends,
                target,
                zero_dates=self.config.options.zero_dates,
                progress=on_progress,
            )

    def _log(self, document: SourceConnection) -> LogOptions | None:
        """How a source's log is read, where it is."""
        options = self.config.document.source.options
        if not self.follows:
            return None
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

    def _parts(self, config: StreamConfig) -> list[_Part]:
        """What the stream reads: connections with tables or queries, and the statements over
        several of them. ``config``: its connections can be dialled."""
        documents = config.document.source.connections
        joined = entries(config, self.resolvers)
        several = len(documents) > 1
        parts = []
        for i, (connection, document) in enumerate(zip(config.sources, documents, strict=True)):
            if document.tables or document.queries or not joined:
                alias = (document.alias or "") if several else ""
                path = f"$.source.connections[{i}]"
                parts.append(_Part(alias, alias, path, connection, document))
        for n, entry in enumerate(joined):
            alias = f"queries[{n}]" if parts or len(joined) > 1 else ""
            native = entry.native(config)
            if native is None:
                source = entry.source(self.config.options.zero_dates)
                parts.append(_Part(alias, "", entry.path, source, SourceConnection()))
            else:
                i, asked = native
                parts.append(_Part(alias, "", entry.path, config.sources[i], asked))
        return parts

    def _canonical(self, part: _Part) -> Any:
        if isinstance(part.reads, QuerySource):
            return QueryCanonical(part.reads)
        return open_source_canonical(part.reads, part.document, self.resolvers)

    @contextmanager
    def _origin(self, part: _Part, dialect: Dialect | None) -> Iterator[Origin]:
        reads, document, path = part.reads, part.document, part.path
        with closing(
            reads
            if isinstance(reads, QuerySource)
            else open_source(
                reads,
                document,
                self.resolvers,
                path,
                self._log(document),
                heartbeat=self.config.options.heartbeat_timeout,
            )
        ) as source:
            yield Origin(
                source,
                Scope() if isinstance(reads, QuerySource) else scope_of(document, reads),
                self._mapping(part, dialect),
                part.alias,
                "the source" if isinstance(reads, QuerySource) else shown(reads, document),
                selections_of(document, path),
            )

    def _mapping(self, part: _Part, dialect: Dialect | None) -> MappingOptions:
        options = self.config.options
        connection = None if isinstance(part.reads, QuerySource) else part.reads
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
            file_format=file_format(self.config) if dialect is Dialect.FILES else None,
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
        )

    def job(self) -> Job:
        """What a convert is to do, free of documents."""
        config, options, db = self.config, self.config.options, self.config.db
        wanted = db.structure_options
        return Job(
            name=config.name,
            fingerprint=config.fingerprint(),
            structure=Structure(
                wanted.tables, wanted.indexes, wanted.foreign_keys, wanted.check_constraints
            ),
            zero_dates=options.zero_dates,
            schema_policy=db.schema_policy,
            write_mode=config.write_mode,
            skip_data=db.skip_data,
            bundle=config.document.source.options.data_bundle_size,
            parallelism=max(1, min(options.parallelism, options.memory_budget // WORKER_BYTES)),
            quarantine=options.on_error == "quarantine",
            on_resume=options.on_resume,
            allow_empty=options.allow_empty,
            follows=self.follows,
            **self._workers(),
        )

    def _workers(self) -> dict[str, Any]:
        """Who copies: threads of our own, the caller's, or the workers of a cluster."""
        executor = self.config.options.executor
        if executor is None:
            return {}
        if isinstance(executor, Dask):
            executor = executor.dask
        elif not any(c.__module__.startswith("distributed.") for c in type(executor).__mro__):
            return {"executor": _threads(executor)}
        return {"cluster": self._cluster(executor)}

    def _cluster(self, executor: Any) -> Cluster:
        try:
            from streams_engine.cluster.dask import DaskCluster
            from streams_engine.cluster.sealing import carried
        except ImportError as error:
            raise ConfigError(
                f"$.options.executor: the package {error.name} is not installed.",
                path="$.options.executor",
                remedy="pip install 'streams-engine[cluster]'",
            ) from None
        options = self.config.options
        limit = options.parallelism if "parallelism" in options.model_fields_set else None
        return DaskCluster(executor, carried(self.config, self.resolvers), limit)


def _threads(executor: Any) -> Executor:
    """The caller's pool. Raises `ConfigError` where it is none, or not one of this process."""
    path = "$.options.executor"
    if not isinstance(executor, Executor):
        raise ConfigError(
            f"{path}: it is a {type(executor).__name__}, no concurrent.futures.Executor.",
            path=path,
            remedy="Give a ThreadPoolExecutor, a Dask client's executor, or leave it out.",
        )
    try:
        process = executor.submit(os.getpid).result()
    except RuntimeError:
        raise ConfigError(
            f"{path}: it was shut down.", path=path, remedy="Give a pool that still works."
        ) from None
    if process != os.getpid():
        raise ConfigError(
            f"{path}: its workers are other processes, and those of no Dask cluster.",
            path=path,
            remedy="Give a pool of threads, or a Dask client's get_executor().",
        )
    return executor


def _overrides(
    documents: list[TypeOverride], dialect: Dialect
) -> tuple[tuple[str, NativeType], ...]:
    found = []
    for i, document in enumerate(documents):
        try:
            native = parse_type(dialect, str(document.type or document.to))
        except UnsupportedType as error:
            path = f"$.options.typeOverrides[{i}].{'type' if document.type else 'to'}"
            raise UnsupportedType(
                f"{path}: {error.message}", remedy=error.remedy, path=path
            ) from None
        found.append((str(document.column or document.from_), native))
    return tuple(found)


def refuse_meaningless(config: StreamConfig) -> None:
    """Say by path what the documents allow and these ends or a log have no meaning for; never
    ignore it."""
    kinds = {getattr(end, "kind", None) for end in config.sources}
    same = getattr(config.target, "kind", None) == "postgresql" and "postgresql" in kinds
    if config.options.identifier_case == "lower" and same:
        raise ConfigError(
            "$.options.identifierCase: between PostgreSQL servers names stay as they are, for "
            "defaults, checks and views of the application refer to them.",
            path="$.options.identifierCase",
            remedy="Leave it out.",
        )
    refuse_unfit(config)
    if config.document.mode != "cdc":
        return
    for i, connection in enumerate(config.document.source.connections):
        for j, table in enumerate(connection.tables):
            path = f"$.source.connections[{i}].tables[{j}]"
            chosen = table.selection
            unfit = {
                f"{path}.query": table.query is not None,
                f"{path}.selection.filters": bool(chosen.filters),
                f"{path}.selection.sorts": bool(chosen.sorts),
                f"{path}.selection.limit": chosen.limit is not None,
            }
            for where, present in unfit.items():
                if present:
                    raise ConfigError(
                        f"{where}: a cdc follows whole tables.",
                        path=where,
                        remedy="Leave it out, or use mode convert.",
                    )
