"""`Stream`: the façade, its threads and its callbacks."""

from __future__ import annotations

import logging
import math
import queue
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from datetime import UTC, datetime
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, Unpack
from uuid import uuid4

from streams_engine.alerts import AlertCallback, Watch, watch
from streams_engine.config.connection import Place, S3Connection
from streams_engine.config.keywords import as_list
from streams_engine.config.options import Mode, StreamOptions
from streams_engine.config.secret import References, Resolver, allowed
from streams_engine.config.stream import (
    StreamConfig,
    from_urls,
    parse_config,
    refuse_meaningless,
    shown,
)
from streams_engine.config.tracebacks import without_locals
from streams_engine.display import html_block
from streams_engine.errors import ConfigError, InternalError, StateConflict, StreamsError
from streams_engine.events import (
    Event,
    EventLog,
    Listener,
    Unsubscribe,
    notify,
    refuse_awaited,
    subscribe,
)
from streams_engine.health import Health, health_of
from streams_engine.lifecycle import State
from streams_engine.notebook import UPDATE_SECONDS, LiveDisplay, live_display
from streams_engine.pipeline.control import Control
from streams_engine.stats import Counters, Stats

if TYPE_CHECKING:
    from streams_engine.assembly import Assembly
    from streams_engine.contracts import Sink, Source
    from streams_engine.model import TableId
    from streams_engine.pipeline.changes.cdc import CdcPipeline
    from streams_engine.pipeline.multi_source import SourceSpec
    from streams_engine.pipeline.snapshot.convert import ConvertPipeline
    from streams_engine.pipeline.snapshot.plan import Plan
    from streams_engine.verify.report import VerifyReport

__all__ = ["Stream"]

log = logging.getLogger("streams_engine.stream")

AWAKE: Literal["awake"] = "awake"
"""Wakes the thread of the callbacks, which then looks at the clock anew."""

ALL: References = frozenset({"env", "file"})

CALLBACK_SECONDS = 30.0
"""How long a callback that does not return holds up the end of `run` and of a ``with`` block."""

Progress = Callable[[Stats], None]
Moved = Callable[[State, State], None]
VerifyMode: TypeAlias = Literal["full", "sample"]
SAMPLE = 0.01
"""The share of rows that a sample is made of, unless another is said."""
ALERT_SECONDS = 1.0
"""How often the facts are compared with the thresholds of alerts."""
EVENT_SECONDS = 0.1
"""How often `Stream.wait_until` looks at its event."""
CATCH_UP_SECONDS = 60.0
"""How long a verification of a running stream waits for the target, at each read."""
VerifyProgress: TypeAlias = "Callable[[TableId, int], None]"


class Stream:
    """A transfer from a source to a target, with its states, counters and checkpoint.

    Built from two URLs (or connection documents), or by `from_config`. Thread-safe. Only `run`,
    `wait`, `wait_until`, `catch_up`, `plan`, `verify` and `release` block. Callbacks run on a
    thread of the stream; their exceptions are logged and ignored. No signal handler is set and no
    logging configured.
    """

    @without_locals
    def __init__(
        self,
        source: Place | Source,
        target: Place | Sink,
        *,
        mode: Mode = "convert",
        tables: Sequence[str] | str | None = None,
        resolvers: Mapping[str, Resolver] | None = None,
        references: References = ALL,
        **options: Unpack[StreamOptions],
    ) -> None:
        """Create a stream; connects to nothing yet. Raises `ConfigError`.

        Each end is a URL, a connection document, or SQLAlchemy's URL or Engine. A source may also
        be a mapping of names to tables in memory: pyarrow, pandas, polars, DuckDB relations,
        readers and generators of record batches, or functions that return one; do not change them
        meanwhile. ``tables`` is a list of names, or one name; None for all. ``options`` are the
        keys of the stream document in snake_case: see `StreamOptions`.
        """
        config = from_urls(source, target, mode=mode, tables=tables, options=options)
        self._set_up(config, allowed(resolvers, references))

    @classmethod
    @without_locals
    def from_config(
        cls,
        config: Mapping[str, Any] | str | Path,
        connections: Mapping[str, Place] | None = None,
        resolvers: Mapping[str, Resolver] | None = None,
        *,
        references: References = ALL,
        ids: tuple[str, str] | None = None,
    ) -> Stream:
        """Create a stream from a document (of either generation), a JSON text or a JSON file.

        ``connections`` maps ids or names to connection documents or URLs. ``references`` says which
        of the schemes ``env`` and ``file`` are resolved; use ``"none"`` for a document that
        somebody else wrote, because it could read any variable and file of this machine. ``ids``
        are the ids of config and stream in the stats document; they are generated if missing.
        Raises `ConfigError` with the JSON path of each fault.
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
        self._resolvers = resolvers or {}
        if config.document.source.queries:
            self._parts.refuse_unfit_queries()
        # A digest of the document, which does not change: asked for with every look at the stats.
        self._name = config.name
        self._config_id, self._stream_id = ids or (
            f"config_{config.identity()[:27]}",
            f"stream_{uuid4().hex}",
        )
        limits = config.document.limits
        rows = 0 if config.follows else limits.number_of_events
        self._control = Control(max_rows=rows, max_seconds=limits.elapsed_time)
        self._journal = EventLog(self._name)
        self._counters = Counters(journal=self._journal)
        self._cdc: CdcPipeline | None = None
        self._error: StreamsError | None = None
        self._thread: threading.Thread | None = None
        self._reporter: threading.Thread | None = None
        self._starting = threading.Lock()
        self._opening = threading.Event()
        self._ends: list[Source | Sink] = []
        self._on_progress: list[Progress] = []
        self._display: LiveDisplay | None = None
        self._on_state: list[Moved] = []
        self._watches: list[Watch] = []
        self._reported: datetime | None = None
        self._moves: queue.SimpleQueue[tuple[State, State] | Literal["awake"] | None] = (
            queue.SimpleQueue()
        )
        self._control.listen(self._moved)
        if isinstance(config.target, S3Connection):
            self._journal.listen(self._tell_stored)

    @cached_property
    def _parts(self) -> Assembly:
        """The pipeline and the adapters, which load when a stream first needs them."""
        from streams_engine.assembly import Assembly
        from streams_engine.sql_capture import SqlCapture

        level = self._config.options.sql_capture
        told = None if level == "off" else SqlCapture(self._journal, level)
        return Assembly(self._config, self._resolvers, told)

    # What it is

    @property
    def name(self) -> str:
        """The name under which its checkpoint is stored."""
        return self._name

    @property
    def follows(self) -> bool:
        """True for a cdc, which follows the log of its sources."""
        return self._config.follows

    @property
    def state(self) -> State:
        """Present state of the stream."""
        return self._control.state

    @property
    def error(self) -> StreamsError | None:
        """The error of a FAILED stream."""
        return self._error

    def stats(self) -> Stats:
        """Return a frozen copy of the counters."""
        return self._counters.freeze(
            name=self.name,
            config_id=self._config_id,
            stream_id=self._stream_id,
            state=self.state,
            intervals=self._config.document.intervals,
            error=None if self._error is None else self._error.to_dict(),
            reported=self._reported,
        )

    def health(self) -> Health:
        """Return the health: ok, degraded (it waits for a server, is paused, was stopped, or rows
        are missing on the target) or failed."""
        return health_of(self.stats().to_dict())

    def on_alert(
        self,
        callback: AlertCallback,
        *,
        lag: float | None = None,
        retained: float | None = None,
        quarantined: float | None = None,
        silent: float | None = None,
    ) -> Unsubscribe:
        """Call ``callback`` with one `Alert` when a threshold is crossed, and one when the value
        is back below it: seconds of lag, bytes of log that the source retains, rows in the
        quarantine, seconds without any activity. A stream that fails gives one more, of the kind
        ``failed``, and no other from then on.

        Raises `ConfigError` without any threshold.
        """
        thresholds = {"lag": lag, "retained": retained, "quarantined": quarantined,
                      "silent": silent}  # fmt: skip
        made = watch(callback, thresholds)  # type: ignore[arg-type]
        self._watches.append(made)
        self._moves.put(AWAKE)
        return partial(_remove, self._watches, made)

    def on_progress(self, callback: Progress) -> Unsubscribe:
        """Call ``callback`` with a `Stats` at every reporting interval and at the end.

        Return a function that ends the subscription, as `on_state` and `on_record` do.
        """
        return subscribe(self._on_progress, callback)

    def on_state(self, callback: Moved) -> Unsubscribe:
        """Call ``callback`` with (old, new) at every change of the state."""
        return subscribe(self._on_state, callback)

    def on_record(self, callback: Listener) -> Unsubscribe:
        """Call ``callback`` with every `Event`, on the thread on which it happens."""
        return self._journal.listen(callback)

    # What it does

    def plan(self) -> Plan:
        """Plan a run: tables, types, DDL, warnings, skipped objects.

        Reads only the source; the target is not touched.
        """
        with self._parts.dry_run() as convert:
            return convert.plan()

    def run(self, *, fresh: bool = False) -> Stats:
        """Start, wait for the end, and return the final stats.

        Raises the error of a FAILED stream. Ctrl-C first stops the stream cleanly.
        """
        self.start(fresh=fresh)
        try:
            self._wait_shown()
        except KeyboardInterrupt:
            with suppress(StreamsError):
                self.stop()
            self.wait()
            raise
        finally:
            self._join()
            self._join_reporter()
        self._raise_failure()
        return self.stats()

    def _wait_shown(self) -> None:
        """Wait for the end; in a notebook the display is updated meanwhile."""
        while self._display is not None and not self.state.final:
            with suppress(TimeoutError):
                self.wait(timeout=UPDATE_SECONDS)
            self._display.update(self.stats())
        self.wait()

    def start(self, *, fresh: bool = False) -> None:
        """Start in the background; ``fresh`` discards the checkpoint of an earlier run.

        Raises `StateConflict` unless the stream is READY: a stream runs once.
        """
        with self._starting:
            self._control.start()
            self._display = live_display(self.stats())
            if self._display is not None:
                self.on_progress(self._display.update)
            for text in self._config.warnings:
                self._journal.note(logging.WARNING, "document", text)
            self._thread, self._reporter = (
                threading.Thread(target=work, name=f"streams-engine-{name}", daemon=True)
                for name, work in (("run", partial(self._main, fresh)), ("report", self._report))
            )
            try:
                self._reporter.start()
                self._thread.start()
            except RuntimeError:  # who waits for a thread that never began waits for ever
                self._thread = None
                self._reporter = self._reporter if self._reporter.ident else None
                self._fail(
                    InternalError(
                        "No thread could be started.",
                        remedy="Raise the limit of threads (ulimit -u), or run fewer streams.",
                    )
                )

    def pause(self) -> None:
        """Pause once the bundle in progress is committed; `wait(State.PAUSED)` waits for that."""
        self._control.request_pause()

    def resume(self) -> None:
        """Continue from PAUSED."""
        self._control.resume()

    def stop(self, *, force: bool = False) -> State:
        """Stop once the bundle in progress is committed; ``force`` abandons the bundle.

        Both leave a checkpoint from which the same stream, built again, resumes. Return the state:
        of a stream that has ended its final one, and nothing is done.
        """
        self._control.request_stop(force=force)
        if force:
            for end in list(self._ends):
                notify(self.name, end.close)
        return self.state

    def wait(self, *states: State, timeout: float | None = None) -> State:
        """Block until one of ``states`` or a final state is reached, and return it.

        FAILED is returned like any other; `error` has the reason. Raises `TimeoutError`, and
        `StateConflict` on the thread that would have to reach that state.
        """
        self._demand_another_thread()
        _let_ctrl_c_interrupt()
        reached = self._control.wait(frozenset(states), timeout)
        if reached.final:
            self._join()
        return reached

    def wait_until(self, event: threading.Event, timeout: float | None = None) -> State:
        """Block until ``event`` is set or the stream ends; return the state.

        Raises the error of a FAILED stream, and `TimeoutError` after ``timeout`` seconds.
        """
        deadline = math.inf if timeout is None else time.monotonic() + timeout
        while not event.is_set():
            left = deadline - time.monotonic()
            try:
                self.wait(timeout=max(0.0, min(left, EVENT_SECONDS)))
                break
            except TimeoutError:
                if left <= 0:
                    raise
        self._raise_failure()
        return self.state

    def _raise_failure(self) -> None:
        if self.state is State.FAILED and self._error is not None:
            raise self._error

    def catch_up(self, timeout: float | None = None, *, elsewhere: bool = False) -> bool:
        """Wait until everything committed on the source before the call is durable on the target;
        only for cdc.

        ``elsewhere``: another process runs the stream. Return False if that takes longer than
        ``timeout`` seconds, or the stream is stopped. Raises the error of a FAILED stream, and
        `StateConflict` for a convert, and where nobody runs the stream.
        """
        if elsewhere and self._config.follows:
            return self._parts.catch_up(math.inf if timeout is None else timeout)
        if self._catch_up(timeout):
            if self._cdc is not None:
                self._cdc.measure()
            return True
        self._raise_failure()
        return False

    def _catch_up(self, timeout: float | None) -> bool:
        deadline = None if timeout is None else time.monotonic() + timeout
        self._demand_another_thread()
        if not self._config.follows:
            raise StateConflict("Only a cdc can catch up.")
        if self.state is State.READY:
            raise StateConflict("The stream was not started.", remedy="start() it first.")
        while (cdc := self._cdc) is None:
            if self.state.final or (deadline is not None and time.monotonic() > deadline):
                return False
            self._opening.wait(0.1)
        return cdc.catch_up(deadline)

    def release(self) -> tuple[str, ...]:
        """Drop the slot and publication that a cdc created, and its checkpoint; return a
        description of what was dropped.

        Waits for the end of a stream that was asked to stop. Raises `StateConflict` while it runs,
        and for a convert.
        """
        if not self._config.follows:
            raise StateConflict("Only a cdc keeps something on its source.")
        if self.is_stopping:
            self.wait()
        if self.state in (State.RUNNING, State.PAUSED):
            raise StateConflict(
                "The stream is running.", remedy="stop() it first.", current=str(self.state)
            )
        with self._parts.opened() as (sources, sink):
            context = self._parts.context(sources, sink, self._control, self._counters)
            return self._parts.cdc(context).release()

    def verify(
        self,
        tables: Sequence[str] | str | None = None,
        mode: VerifyMode = "full",
        sample: float | None = None,
        live: bool | None = None,
        repair: bool = False,
        resume: bool = True,
        *,
        structure: bool = True,
        on_progress: VerifyProgress | None = None,
    ) -> VerifyReport:
        """Compare source and target, by texts that the servers render and sum up themselves.

        ``tables``: names, or one name, with or without their schema; None: all. ``mode`` "sample"
        compares a share of the rows, ``sample`` of them (0.01 unless said). ``live``: rows are
        written meanwhile, and one counts as different once it has not changed and differs after the
        target caught up; None: if a cdc runs here; True also where another process runs it.
        ``repair`` writes the differing rows of the target again, as the source has them; of a cdc
        only while it runs, in its own transactions. ``resume``: go on from what a verification of
        the same configuration and structure found equal, at most 24 hours ago, before it was
        interrupted; False: begin anew. ``structure``: compare keys, indexes and columns too, and
        tell in the report what differs from what the stream would create. ``on_progress`` is called
        with a table's `TableId` and the rows compared so far.

        Raises `ConfigError` for a sample that is no share, `NotFound` for other tables than the
        stream's, and `StateConflict` for a repair that cannot be done now.
        """
        from streams_engine.verify.verification import VerifySettings

        refuse_awaited(on_progress)
        share = _share(mode, sample)
        follows = self._config.follows and self.state is State.RUNNING
        if repair and self._config.follows and not follows:
            raise StateConflict(
                "The target of a cdc is repaired while the stream runs.",
                remedy="start() it, wait for catch_up(), and verify(repair=True) then.",
                current=str(self.state),
            )
        if live and not self._config.follows:
            raise StateConflict("Only a cdc is compared live.", current=str(self.state))
        settings = VerifySettings(
            tables=None if tables is None else frozenset(as_list(tables)),
            sample=share,
            catch_up=partial(self._catch_up, CATCH_UP_SECONDS)
            if follows and live is not False
            else None,
        )
        write = self._cdc.write if follows and self._cdc is not None else None
        return self._parts.verify(
            settings,
            on_progress,
            write,
            repair=repair,
            resume=resume,
            structure=structure,
            elsewhere=CATCH_UP_SECONDS if live and not follows else None,
        )

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self._end_quietly()
        self._join_reporter()

    def _end_quietly(self) -> None:
        if not self.state.final and self.state is not State.READY:
            with suppress(StreamsError):
                self.stop()
            self.wait()
        self._join()

    def __repr__(self) -> str:
        config = getattr(self, "_config", None)
        if config is None or not hasattr(self, "_control"):
            return "<Stream, not made>"
        sources = config.document.source.connections
        ends = [shown(end, own) for end, own in zip(config.sources, sources, strict=True)]
        way = f"{', '.join(ends)} -> {config.target.show()}"
        waits = self._counters.connection.describe()
        told = ", ".join(filter(None, (config.document.mode, way, str(self.state), waits)))
        return f"<Stream {self.name}: {told}>"

    def _repr_html_(self) -> str:
        return html_block(repr(self), self.stats()._repr_html_())

    # The run's own thread

    def _main(self, fresh: bool) -> None:
        try:
            with self._parts.opened() as (sources, sink):
                self._ends += [*(source.source for source in sources), sink]
                try:
                    self._work(sources, sink, fresh)
                finally:  # whoever asks a server beside the run learns why connections close
                    self._control.abort()
            self._end(self._control.end_state())
        except StreamsError as error:
            self._fail(error)
        except BaseException as error:  # a thread that ends in silence leaves all who wait for it
            notify(self.name, log.exception, "internal error", extra={"stream": self.name})
            self._fail(
                InternalError(
                    f"A fault of streams_engine: {type(error).__name__}.",
                    remedy="Please report it with the log of streams_engine.stream.",
                )
            )
        finally:
            self._ends.clear()

    def _work(self, sources: list[SourceSpec], sink: Sink, fresh: bool) -> None:
        context = self._parts.context(sources, sink, self._control, self._counters)
        try:
            if self._config.follows:
                self._cdc = self._parts.cdc(context)
                self._opening.set()
                with self._verification_beside():
                    self._outlive(self._cdc, fresh)
            else:
                self._outlive(self._parts.convert(context), fresh)
        finally:
            context.report_quarantined()

    def _verification_beside(self) -> AbstractContextManager[None]:
        """Compare source and target while the block runs, if the options want that."""
        wanted = self._parts.config.options.verification
        if wanted is None:
            return nullcontext()
        from streams_engine.background import verification_beside

        catch_up = partial(self._catch_up, CATCH_UP_SECONDS)
        return verification_beside(wanted, self._parts, self._control, self._counters, catch_up)

    def _outlive(self, run: CdcPipeline | ConvertPipeline, fresh: bool) -> None:
        """Run to the end. A load that a server's absence, or a lock of others, ended goes on from
        its checkpoint once that is over, as a new process would. Raises what is final."""
        outage = self._parts.outage(self._control, self._counters)
        while True:
            begun = self._counters.rows
            try:
                return run.run(fresh=fresh)
            except StreamsError as error:
                # Workers of a cluster that are lost are nothing that comes back by itself.
                if not run.resumable or run.context.job.cluster is not None:
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

    def _demand_another_thread(self) -> None:
        if self._thread is threading.current_thread():
            raise StateConflict(
                "A callback called a method that waits for the callback's own thread.",
                remedy="Call stop() or pause() without waiting there, and wait in another thread.",
            )

    def _join(self) -> None:
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def _join_reporter(self) -> None:
        """Wait for the last callback to return, for at most CALLBACK_SECONDS."""
        reporter = self._reporter
        if reporter is None or self.is_reporting:
            return
        reporter.join(CALLBACK_SECONDS)
        if reporter.is_alive():
            log.warning(
                "A callback has not returned for %.0f s: not waiting for it any longer.",
                CALLBACK_SECONDS,
                extra={"stream": self.name},
            )

    @property
    def is_reporting(self) -> bool:
        """True on the thread that calls the callbacks of `on_state` and `on_progress`."""
        return self._reporter is threading.current_thread()

    @property
    def is_stopping(self) -> bool:
        """True from a request to stop until the stream has ended."""
        return self._control.stopping

    def _moved(self, old: State, new: State) -> None:
        """Start or stop the clock at the transition itself, so that a pause does not count."""
        if new is State.RUNNING:
            self._counters.clock_on()
        else:
            self._counters.clock_off()
        self._moves.put((old, new))

    def _report(self) -> None:
        """Deliver moves as they come, and progress at every interval; whatever is raised."""
        intervals = sorted({interval for interval in self._config.document.intervals if interval})
        begun = time.monotonic()
        due = dict.fromkeys(intervals, 1)
        while True:
            ahead = min((begun + each * times for each, times in due.items()), default=None)
            try:
                waits = [] if ahead is None else [max(0.0, ahead - time.monotonic())]
                waits += [ALERT_SECONDS] if self._watches else []
                move = self._moves.get(timeout=min(waits, default=None))
            except queue.Empty:
                notify(self.name, self._tell_alerts)
                if ahead is not None and time.monotonic() >= ahead:
                    notify(self.name, self._tell_progress)
                    passed = time.monotonic() - begun
                    due = {each: int(passed // each) + 1 for each in due}
                continue
            if move is None:
                break
            if move != AWAKE:
                notify(self.name, self._tell_move, *move)
        notify(self.name, self._tell_alerts)
        notify(self.name, self._tell_progress)

    def _tell_alerts(self) -> None:
        if not self._watches:
            return
        failed = self._error.message if self._error and self.state is State.FAILED else None
        health = self.health()
        running = self.state is State.RUNNING
        facts: dict[Any, float | None] = {
            "lag": health.lag_seconds,
            "retained": health.retained_bytes,
            "quarantined": health.quarantined,
            "silent": self._counters.silent_seconds if running else 0.0,
        }
        for one in list(self._watches):
            for alert in one.look(self.name, facts, failed):
                level = logging.WARNING if alert.state == "alert" else logging.INFO
                told = alert.to_dict() | {"alert": alert.state}
                details = {key: told[key] for key in ("kind", "alert", "value", "threshold")}
                self._journal.note(level, "alert", alert.message, **details)
                notify(self.name, one.callback, alert)

    def _note_stats(self, level: int) -> None:
        stats = self.stats()
        size = stats.target.sum_data_size
        told = f"{stats.rows:,} rows, {size:,} bytes in {stats.seconds:.1f} s"
        self._journal.note(level, "stats", told, rows=stats.rows, bytes=size)

    def _tell_stored(self, event: Event) -> None:
        """Tell where the rows of a loaded table are in a bucket."""
        if event.event != "table" or event.details.get("phase") != "copied":
            return
        size = sum(t.bytes for t in self.stats().tables if t.table == event.table)
        s3 = self._config.document.target.spec.s3
        place = self._config.target.show(s3.upload.bucket if s3 else None)  # type: ignore[call-arg]
        rows = event.details["rows"]
        told = f"stored {rows:,} rows, {size:,} bytes in {place}"
        self._journal.note(logging.INFO, "stored", told, table=event.table, rows=rows, bytes=size)

    def _tell_move(self, old: State, new: State) -> None:
        if new.final:
            self._note_stats(logging.INFO)
        self._journal.note(logging.INFO, "state", f"{old} -> {new}", state=str(new))
        for callback in list(self._on_state):
            notify(self.name, callback, old, new)

    def _tell_progress(self) -> None:
        self._reported = datetime.now(UTC)
        stats = self.stats()
        if not stats.state.final:  # the final ones are told before the final state
            self._note_stats(logging.DEBUG)
        for callback in list(self._on_progress):
            notify(self.name, callback, stats)


def _remove(watches: list[Watch], one: Watch) -> None:
    """Remove a watch; do nothing if it is not there."""
    with suppress(ValueError):
        watches.remove(one)


def _share(mode: str, sample: float | None) -> float | None:
    """Return the share of rows to compare; None: all. Raises `ConfigError`."""
    if mode not in ("full", "sample"):
        raise ConfigError(f"mode: {mode!r} is none of full, sample.", path="mode")
    if sample is None:
        return SAMPLE if mode == "sample" else None
    if isinstance(sample, bool) or not isinstance(sample, int | float) or not 0 < sample <= 1:
        raise ConfigError("sample: a share of the rows is above 0 and at most 1.", path="sample")
    return float(sample)


def _let_ctrl_c_interrupt() -> None:
    """Undo what a library may have asked for (polars does): that a wait goes on after SIGINT, so
    that Python does not see it before the wait ends."""
    if hasattr(signal, "siginterrupt") and callable(signal.getsignal(signal.SIGINT)):
        signal.siginterrupt(signal.SIGINT, True)
