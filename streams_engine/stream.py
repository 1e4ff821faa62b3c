"""`Stream`: the façade, its threads and its callbacks."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

from streams_engine.composing import Composition, refuse_meaningless
from streams_engine.config.secret import BUILT_IN, References, Resolver, allowed
from streams_engine.config.stream import StreamConfig, from_urls, parse_config
from streams_engine.config.tracebacks import without_locals
from streams_engine.errors import ConnectionFailed, InternalError, StateConflict, StreamsError
from streams_engine.journal import Journal, Listener
from streams_engine.lifecycle import State
from streams_engine.placing import shown
from streams_engine.protocols import Sink, Source
from streams_engine.runtime.capturing import Capture
from streams_engine.runtime.control import Control
from streams_engine.runtime.outage import Outage
from streams_engine.runtime.planning import Plan
from streams_engine.runtime.runner import Convert
from streams_engine.runtime.verifying import VerifyReport
from streams_engine.stats import Counters, Stats

__all__ = ["Stream"]

log = logging.getLogger("streams_engine.stream")

ALL = frozenset(BUILT_IN)

Progress = Callable[[Stats], None]
Moved = Callable[[State, State], None]


class Stream:
    """One move of data from a source to a target, with its states, counters and checkpoint.

    Built from two URLs (or connection documents), or by `from_config`. Thread-safe. Only
    `run`, `wait`, `plan` and `verify` block. Callbacks run on a thread of the stream; their
    exceptions are logged and harm nothing. No signal handler is set and no logging
    configured.
    """

    @without_locals
    def __init__(
        self,
        source: Any,
        target: Any,
        *,
        mode: str = "convert",
        tables: Sequence[str] | str | None = None,
        resolvers: Mapping[str, Resolver] | None = None,
        references: References = ALL,
        **options: Any,
    ) -> None:
        """Raises `ConfigError` naming what is wrong. Connects to nothing yet.

        ``tables``: their names, or the one name; None: all of them. ``options`` are the keys of
        the stream document in snake_case: ``write_mode``,
        ``schema_policy``, ``data_bundle_size``, ``limits``, ``type_overrides``, ...
        """
        config = from_urls(source, target, mode=mode, tables=tables, options=options)
        self._set_up(config, allowed(resolvers, references))

    @classmethod
    @without_locals
    def from_config(
        cls,
        config: Mapping[str, Any] | str | Path,
        connections: Mapping[str, Any] | None = None,
        resolvers: Mapping[str, Resolver] | None = None,
        *,
        references: References = ALL,
        ids: tuple[str, str] | None = None,
    ) -> Stream:
        """A stream from a document (of either generation), a JSON text or a JSON file.

        ``connections`` maps ids or names to connection documents or URLs. ``references``: which of
        the schemes ``env`` and ``file`` are resolved; ``"none"`` for a document that somebody else
        wrote, for it would read any variable and file of this machine. ``ids`` are the
        config's and the stream's own in the stats document, else they are made up. Raises
        `ConfigError` with the JSON path of each fault.
        """
        stream = cls.__new__(cls)
        stream._set_up(parse_config(config, connections), allowed(resolvers, references), ids)
        return stream

    def _set_up(
        self,
        config: StreamConfig,
        resolvers: Mapping[str, Resolver] | None,
        ids: tuple[str, str] | None = None,
    ) -> None:
        refuse_meaningless(config)
        self._config = config
        # A digest of the document, which does not change: asked for with every look at the stats.
        self._name = config.name
        self._config_id, self._stream_id = ids or (
            f"config_{config.identity()[:27]}",
            f"stream_{uuid4().hex}",
        )
        self._parts = Composition(config, resolvers or {})
        limits = config.document.limits
        rows = 0 if self._parts.follows else limits.number_of_events
        self._control = Control(max_rows=rows, max_seconds=limits.elapsed_time)
        self._journal = Journal(self._name)
        self._counters = Counters(journal=self._journal)
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
        self._control.listen(self._moved)

    # What it is

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

    def on_record(self, callback: Listener) -> None:
        """Call with a `Record` of each thing that happens, on the thread that it happens on."""
        self._journal.listen(callback)

    # What it does

    def plan(self) -> Plan:
        """What a run would do: tables, types, DDL, warnings, what is left behind.

        Asks the source only; the target is not touched.
        """
        with self._parts.convert(Control(), Counters()) as convert:
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
            for text in self._config.warnings:
                self._journal.note(logging.WARNING, "document", text)
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
        if not self._parts.follows:
            raise StateConflict("Only a cdc has something to catch up with.")
        if self.state is State.READY:
            raise StateConflict("The stream was not started.", remedy="start() it first.")
        while (capture := self._capture) is None:
            if self.state.final or (deadline is not None and time.monotonic() > deadline):
                return False
            self._opening.wait(0.1)
        return capture.catch_up(deadline)

    def release(self) -> None:
        """Of a cdc: drop the slot and publication that it made, and forget its checkpoint.

        Raises `StateConflict` while it runs.
        """
        if not self._parts.follows:
            raise StateConflict("Only a cdc holds something on its source.")
        if self.state in (State.RUNNING, State.PAUSED):
            raise StateConflict(
                "The stream is running.", remedy="stop() it first.", current=str(self.state)
            )
        with self._parts.opened() as (origins, sink):
            self._parts.capture(origins, sink, self._control, self._counters).release()

    def verify(self, on_progress: Callable[[Any, int], None] | None = None) -> VerifyReport:
        """Compare source and target row by row, by text that the servers render themselves."""
        return self._parts.verify(on_progress)

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
        config = getattr(self, "_config", None)
        if config is None or not hasattr(self, "_control"):
            return "<Stream, not made>"
        sources = config.document.source.connections
        ends = [shown(end, own) for end, own in zip(config.sources, sources, strict=True)]
        way = f"{', '.join(ends)} -> {config.target.show()}"
        return f"<Stream {self.name}: {config.document.mode}, {way}, {self.state}>"

    # The run's own thread

    def _main(self, fresh: bool) -> None:
        try:
            with self._parts.opened() as (origins, sink):
                self._ends += [*(origin.source for origin in origins), sink]
                if self._parts.follows:
                    self._capture = self._parts.capture(
                        origins, sink, self._control, self._counters
                    )
                    self._opening.set()
                    self._outlive(self._capture, fresh)
                else:
                    load = self._parts.load(origins, sink, self._control, self._counters)
                    self._outlive(load, fresh)
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

    def _outlive(self, run: Capture | Convert, fresh: bool) -> None:
        """Run to the end. A load that a server's absence ended goes on from its checkpoint once
        the server is back, as a new process would. Raises what is final."""
        timeout = self._config.options.reconnect_timeout
        outage = Outage(self._control, self._counters, timeout=timeout, stood=True)
        while True:
            begun = self._counters.rows
            try:
                return run.run(fresh=fresh)
            except ConnectionFailed as error:
                # Workers of a cluster that are lost are nothing that comes back by itself.
                if not run.resumable or run.job.cluster is not None:
                    raise
                if self._counters.rows != begun:
                    outage.progressed()
                with self._control.working():
                    self._control.recover()
                    outage.wait(error)
                    if not self._control.hold():
                        return None
                fresh = False

    def _fail(self, error: StreamsError) -> None:
        if self._control.forced.is_set():
            self._end(State.STOPPED)
            return
        self._error = error
        self._journal.note(logging.ERROR, "failed", error.message, code=error.code)
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
            old, new = move
            self._journal.note(logging.INFO, "state", f"{old} -> {new}", state=str(new))
            self._deliver(self._on_state, old, new)
        self._deliver(self._on_progress, self.stats())

    def _deliver(self, callbacks: list[Any], *arguments: Any) -> None:
        for callback in list(callbacks):
            try:
                callback(*arguments)
            except Exception:
                log.exception("a callback raised", extra={"stream": self.name})
