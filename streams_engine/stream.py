"""`Stream`: the façade, and the one place where documents, adapters and runtime meet."""

from __future__ import annotations

import logging
import os
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

from streams_engine.adapters.registry import (
    open_sink,
    open_source,
    open_source_canonical,
    open_target_canonical,
)
from streams_engine.changes import LogOptions
from streams_engine.config.connection import Connection
from streams_engine.config.documents import SourceConnection
from streams_engine.config.secret import Resolver
from streams_engine.config.stream import StreamConfig, TypeOverride, from_urls, parse_config
from streams_engine.errors import (
    ConfigError,
    InternalError,
    StateConflict,
    StreamsError,
    UnsupportedType,
)
from streams_engine.lifecycle import State
from streams_engine.model import Dialect, NativeType
from streams_engine.placing import file_format, scope_of, selections_of, target_schema
from streams_engine.protocols import Sink, Source
from streams_engine.runtime.capturing import Capture, LogSettings
from streams_engine.runtime.control import Control
from streams_engine.runtime.followed import operations_of
from streams_engine.runtime.joining import Origin
from streams_engine.runtime.planning import Plan
from streams_engine.runtime.runner import Convert, Job
from streams_engine.runtime.verifying import VerifyReport, verify_mapped
from streams_engine.schema.mapping import MappingOptions
from streams_engine.schema.routes import parse_type
from streams_engine.schema.structure import Structure
from streams_engine.stats import Counters, Stats

__all__ = ["Stream"]

log = logging.getLogger("streams_engine.stream")

WORKER_BYTES = 48 << 20
"""What one worker holds at most, of rows of usual size: blocks being read, decoded and encoded.
``memoryBudget`` bounds the workers by it."""

Progress = Callable[[Stats], None]
Moved = Callable[[State, State], None]


class Stream:
    """One move of data from a source to a target, with its states, counters and checkpoint.

    Built from two URLs (or connection documents), or by `from_config`. Thread-safe. Only
    `run`, `wait`, `plan` and `verify` block. Callbacks run on a thread of the stream; their
    exceptions are logged and harm nothing. No signal handler is set and no logging
    configured.
    """

    def __init__(
        self,
        source: Any,
        target: Any,
        *,
        mode: str = "convert",
        tables: list[str] | None = None,
        resolvers: Mapping[str, Resolver] | None = None,
        **options: Any,
    ) -> None:
        """Raises `ConfigError` naming what is wrong. Connects to nothing yet.

        ``options`` are the keys of the stream document in snake_case: ``write_mode``,
        ``schema_policy``, ``data_bundle_size``, ``limits``, ``type_overrides``, ...
        """
        config = from_urls(source, target, mode=mode, tables=tables, options=options)
        self._set_up(config, resolvers)

    @classmethod
    def from_config(
        cls,
        config: Mapping[str, Any] | str | Path,
        connections: Mapping[str, Any] | None = None,
        resolvers: Mapping[str, Resolver] | None = None,
    ) -> Stream:
        """A stream from a document (of either generation), a JSON text or a JSON file.

        ``connections`` maps ids or names to connection documents or URLs. Raises
        `ConfigError` with the JSON path of each fault.
        """
        stream = cls.__new__(cls)
        stream._set_up(parse_config(config, connections), resolvers)
        return stream

    def _set_up(self, config: StreamConfig, resolvers: Mapping[str, Resolver] | None) -> None:
        _refuse_meaningless(config)
        self._config = config
        # Digests of the document, which does not change: asked for with every look at the stats.
        self._name, self._config_id = config.name, f"config_{config.identity()[:27]}"
        self._resolvers = resolvers or {}
        limits = config.document.limits
        rows = 0 if self._follows else limits.number_of_events
        self._control = Control(max_rows=rows, max_seconds=limits.elapsed_time)
        self._counters = Counters()
        self._capture: Capture | None = None
        self._error: StreamsError | None = None
        self._thread: threading.Thread | None = None
        self._reporter: threading.Thread | None = None
        self._starting = threading.Lock()
        self._opening = threading.Event()
        self._ends: list[Source | Sink] = []
        self._on_progress: list[Progress] = []
        self._on_state: list[Moved] = []
        self._moves: queue.SimpleQueue[tuple[State, State] | None] = queue.SimpleQueue()
        self._stream_id = f"stream_{uuid4().hex}"
        self._control.listen(self._moved)
        for text in config.warnings:
            log.warning(text, extra={"stream": config.name})

    # What it is

    @property
    def _follows(self) -> bool:
        return self._config.document.mode == "cdc"

    @property
    def name(self) -> str:
        """The name under which its checkpoint is kept."""
        return self._name

    @property
    def state(self) -> State:
        """Where it is in its life."""
        return self._control.state

    @property
    def error(self) -> StreamsError | None:
        """What a FAILED stream failed of."""
        return self._error

    def stats(self) -> Stats:
        """A frozen copy of the counters."""
        return self._counters.freeze(
            name=self.name,
            config_id=self._config_id,
            stream_id=self._stream_id,
            state=self.state,
            reporting_interval=self._config.document.reporting_interval,
            error=None if self._error is None else self._error.to_dict(),
        )

    def on_progress(self, callback: Progress) -> None:
        """Call with a `Stats` at every reporting interval and at the end."""
        self._on_progress.append(callback)

    def on_state(self, callback: Moved) -> None:
        """Call with (old, new) at every move between states."""
        self._on_state.append(callback)

    # What it does

    def plan(self) -> Plan:
        """What a run would do: tables, types, DDL, warnings, what is left behind.

        Asks the source only; the target is not touched.
        """
        with self._convert(Control(), Counters()) as convert:
            return convert.plan()

    def run(self, *, fresh: bool = False) -> Stats:
        """Start, wait for the end, and give the final stats.

        Raises the stream's error where it FAILED. Ctrl-C stops it cleanly first.
        """
        self.start(fresh=fresh)
        try:
            self.wait()
        except KeyboardInterrupt:
            with suppress(StreamsError):
                self.stop()
            self.wait()
            raise
        finally:
            self._join()
            self._join_reporter()
        if self.state is State.FAILED and self._error is not None:
            raise self._error
        return self.stats()

    def start(self, *, fresh: bool = False) -> None:
        """Begin in the background; ``fresh`` forgets the checkpoint of an earlier run.

        Raises `StateConflict` unless the stream is READY: a stream runs once.
        """
        with self._starting:
            self._control.move(State.RUNNING)
            self._thread = threading.Thread(
                target=self._main, args=(fresh,), name="streams-engine-run", daemon=True
            )
            self._reporter = threading.Thread(
                target=self._report, name="streams-engine-report", daemon=True
            )
            self._reporter.start()
            self._thread.start()

    def pause(self) -> None:
        """Hold after the bundle in hand is committed; `wait(State.PAUSED)` sees it come to hold."""
        self._control.request_pause()

    def resume(self) -> None:
        """Go on from PAUSED, where it stood."""
        self._control.resume()

    def stop(self, *, force: bool = False) -> None:
        """End after the bundle in hand is committed; ``force`` abandons it without a trace.

        Both leave a checkpoint from which the same stream, built again, continues.
        """
        self._control.request_stop(force=force)
        if force:
            for end in list(self._ends):
                end.close()

    def wait(self, *states: State, timeout: float | None = None) -> State:
        """Block until one of ``states`` or a final state is reached. Raises `TimeoutError`."""
        reached = self._control.wait(frozenset(states), timeout)
        if reached.final:
            self._join()
        return reached

    def catch_up(self, timeout: float | None = None) -> bool:
        """Of a cdc: wait until all that was committed on the source before the call is durable
        on the target.

        False where that was not reached within ``timeout`` seconds, or the stream ended. Raises
        `StateConflict` for a convert.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        if not self._follows:
            raise StateConflict("Only a cdc has something to catch up with.")
        while (capture := self._capture) is None:
            if self.state.final or (deadline is not None and time.monotonic() > deadline):
                return False
            self._opening.wait(0.1)
        return capture.catch_up(deadline)

    def release(self) -> None:
        """Of a cdc: drop the slot and publication that it made, and forget its checkpoint.

        Raises `StateConflict` while it runs.
        """
        if not self._follows:
            raise StateConflict("Only a cdc holds something on its source.")
        if self.state in (State.RUNNING, State.PAUSED):
            raise StateConflict(
                "The stream is running.", remedy="stop() it first.", current=str(self.state)
            )
        with self._parts() as (origins, sink):
            self._captured(origins, sink).release()

    def verify(self, on_progress: Callable[[Any, int], None] | None = None) -> VerifyReport:
        """Compare source and target row by row, by text that the servers render themselves."""
        with self._convert(Control(), Counters()) as convert:
            mapped = convert.mapped()
            connections = self._config.document.source.connections
            with ExitStack() as stack:
                ends = {
                    origin.alias: stack.enter_context(
                        open_source_canonical(connection, document, self._resolvers)
                    )
                    for origin, connection, document in zip(
                        convert.origins, self._config.sources, connections, strict=True
                    )
                }
                target = stack.enter_context(open_target_canonical(self._config, self._resolvers))
                return verify_mapped(
                    mapped,
                    convert.sink,
                    ends,
                    target,
                    zero_dates=self._config.options.zero_dates,
                    progress=on_progress,
                )

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        if not self.state.final and self.state is not State.READY:
            with suppress(StreamsError):
                self.stop()
            self.wait()
        self._join()
        self._join_reporter()

    def __repr__(self) -> str:
        return f"<Stream {self.name} {self.state}>"

    # The run's own thread

    def _main(self, fresh: bool) -> None:
        try:
            with self._parts() as (origins, sink):
                self._ends += [*(origin.source for origin in origins), sink]
                if self._follows:
                    self._capture = self._captured(origins, sink)
                    self._opening.set()
                    self._capture.run(fresh=fresh)
                else:
                    job = self._as_job()
                    Convert(job, origins, sink, self._control, self._counters).run(fresh=fresh)
            self._end(self._control.end_state())
        except StreamsError as error:
            self._fail(error)
        except Exception as error:
            log.exception("internal error", extra={"stream": self.name})
            self._fail(
                InternalError(
                    f"A fault of streams_engine: {type(error).__name__}.",
                    remedy="Please report it with the log of streams_engine.stream.",
                )
            )
        finally:
            self._ends.clear()

    def _fail(self, error: StreamsError) -> None:
        if self._control.forced.is_set():
            self._end(State.STOPPED)
            return
        self._error = error
        log.error("stream failed", extra={"stream": self.name, "code": error.code})
        self._end(State.FAILED)

    def _end(self, state: State) -> None:
        self._control.move(state)
        self._moves.put(None)

    def _join(self) -> None:
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def _join_reporter(self) -> None:
        """Until the last callback returned."""
        reporter = self._reporter
        if reporter is not None and reporter is not threading.current_thread():
            reporter.join()

    def _moved(self, old: State, new: State) -> None:
        """At the move itself, so that a paused stream's clock stands still at once."""
        if new is State.RUNNING:
            self._counters.clock_on()
        else:
            self._counters.clock_off()
        self._moves.put((old, new))

    def _report(self) -> None:
        """Deliver moves as they come, and progress at every interval."""
        interval = self._config.document.reporting_interval
        while True:
            try:
                move = self._moves.get(timeout=interval)
            except queue.Empty:
                if self._capture is not None:
                    self._capture.measure()
                self._deliver(self._on_progress, self.stats())
                continue
            if move is None:
                break
            self._deliver(self._on_state, *move)
        self._deliver(self._on_progress, self.stats())

    def _deliver(self, callbacks: list[Any], *arguments: Any) -> None:
        for callback in list(callbacks):
            try:
                callback(*arguments)
            except Exception:
                log.exception("a callback raised", extra={"stream": self.name})

    # Composition

    @contextmanager
    def _parts(self) -> Iterator[tuple[list[Origin], Sink]]:
        """The ends, opened; every connection is released at the end."""
        with ExitStack() as stack:
            sink = stack.enter_context(closing(self._sink()))
            origins = [
                stack.enter_context(self._origin(i, sink.dialect))
                for i in range(len(self._config.sources))
            ]
            yield origins, sink

    @contextmanager
    def _convert(self, control: Control, counters: Counters) -> Iterator[Convert]:
        """What maps and loads, for a look that changes nothing."""
        with self._parts() as (origins, sink):
            yield Convert(self._as_job(), origins, sink, control, counters)

    def _captured(self, origins: list[Origin], sink: Sink) -> Capture:
        """What loads and follows."""
        document = self._config.document
        options = document.source.options
        chosen = {
            table.name: operations_of(table.operations)
            for connection in document.source.connections
            for table in connection.tables
            if table.operations is not None
        }
        settings = LogSettings(
            initial_load=options.initial_load,
            operations={"": operations_of(options.operations), **chosen},
            schema_changes=self._config.options.schema_changes,
            max_rows=document.limits.number_of_events,
            max_retained=self._config.options.max_retained_bytes,
        )
        return Capture(self._as_job(), settings, origins, sink, self._control, self._counters)

    def _log(self) -> LogOptions | None:
        """How the sources' logs are read, where they are."""
        options = self._config.document.source.options
        if not self._follows:
            return None
        return LogOptions(
            self.name,
            options.replication_slot,
            options.publication_name,
            options.server_id or None,
            options.binlog_position,
        )

    @contextmanager
    def _origin(self, number: int, dialect: Dialect | None) -> Iterator[Origin]:
        document = self._config.document.source.connections[number]
        connection = self._config.sources[number]
        alias = document.alias or "" if len(self._config.sources) > 1 else ""
        with closing(
            open_source(
                connection,
                document,
                self._resolvers,
                f"$.source.connections[{number}]",
                self._log(),
            )
        ) as source:
            yield Origin(
                source,
                scope_of(document, connection),
                self._mapping(connection, document, dialect, alias),
                alias,
                selections_of(document, f"$.source.connections[{number}]"),
            )

    def _mapping(
        self,
        connection: Connection,
        document: SourceConnection,
        dialect: Dialect | None,
        alias: str,
    ) -> MappingOptions:
        options = self._config.options
        return MappingOptions(
            target_schema=target_schema(self._config, connection, document),
            overrides=() if dialect is None else _overrides(options.type_overrides, dialect),
            zero_dates=options.zero_dates,
            identifier_case=options.identifier_case,
            allow_lossy=options.allow_lossy,
            prefix=f"{alias}_" if alias else "",
            mariadb=getattr(self._config.target, "kind", None) == "mariadb",
            file_format=file_format(self._config) if dialect is Dialect.FILES else None,
        )

    def _sink(self) -> Sink:
        options = self._config.options
        first = self._config.document.source.connections[0]
        schema = target_schema(self._config, self._config.sources[0], first)
        return open_sink(
            self._config,
            self._resolvers,
            state_schema=options.state_schema,
            search_path=() if schema is None else (schema,),
        )

    def _as_job(self) -> Job:
        config, options, db = self._config, self._config.options, self._config.db
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
            follows=self._follows,
            executor=_threads(options.executor),
        )


def _threads(executor: Any) -> Executor | None:
    """The caller's pool. Raises `ConfigError` where it is none, or not one of this process."""
    if executor is None:
        return None
    path = "$.options.executor"
    if not isinstance(executor, Executor):
        raise ConfigError(
            f"{path}: it is a {type(executor).__name__}, no concurrent.futures.Executor.",
            path=path,
            remedy="Give a ThreadPoolExecutor, or leave it out.",
        )
    if executor.submit(os.getpid).result() != os.getpid():
        raise ConfigError(
            f"{path}: its workers are other processes, which this version cannot use.",
            path=path,
            remedy="Give a pool of threads.",
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


def _refuse_meaningless(config: StreamConfig) -> None:
    """Say by path what the documents allow and a log has no meaning for; never ignore it."""
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
