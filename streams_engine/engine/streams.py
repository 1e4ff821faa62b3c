"""`engine.streams`: starting, controlling and inspecting runs of stream configs.

A stream runs in the process that started it. Every process that has the file open sees it, and may
pause, resume and stop it; the stream's process receives that within a quarter of a second.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from streams_engine.display import documents_html
from streams_engine.engine.configs import Configs, references
from streams_engine.engine.ids import new_id
from streams_engine.engine.lists import Conditions, Page, list_request
from streams_engine.engine.monitoring import Monitoring
from streams_engine.engine.process_lock import ProcessLock
from streams_engine.engine.resolver import ConnectionResolver, plain
from streams_engine.engine.runs import Runs
from streams_engine.engine.store import EngineStore, demand_confirmed
from streams_engine.errors import StateConflict, StreamsError
from streams_engine.events import notify
from streams_engine.health import health_of
from streams_engine.lifecycle import State, check_move
from streams_engine.pipeline.snapshot.plan import Plan
from streams_engine.stats import Stats
from streams_engine.stream import Stream, VerifyMode, VerifyProgress
from streams_engine.telemetry import instrument
from streams_engine.verify.report import VerifyReport

__all__ = ["Streams"]

Document = dict[str, Any]

HEARD_SECONDS = 0.25
"""How often a process looks for what others ask of its runs, and others for what became of them."""

RECORD_SECONDS = 10.0
"""How long the end of a run may take to be written down by the thread that tells of it."""

KEPT = 100
"""Of this process's runs that have ended, so many may still be opened."""

RUN_KEYS = ("id", "configID", "name", "status", "started", "ended", "rows", "quarantined",
            "bytes", "error")  # fmt: skip
"""What runs are filtered and sorted by."""

COMMANDS: Mapping[str, tuple[State, Callable[[Stream], object]]] = {
    "pause": (State.PAUSED, lambda stream: stream.pause()),
    "resume": (State.RUNNING, lambda stream: stream.resume()),
    "stop": (State.STOPPED, lambda stream: stream.stop()),
    "force": (State.STOPPED, lambda stream: stream.stop(force=True)),
}
"""By name: where it leads, and how it is done."""

CATCH_UP = "catch-up"
ANSWER_SECONDS = 5.0
"""How much longer than its own timeout an answer of another process may take."""


@dataclass
class _Live:
    """A run of this process."""

    stream: Stream
    status: State = State.READY
    """The last one that is written down."""
    written: threading.Condition = field(default_factory=threading.Condition)
    recorded: threading.Event = field(default_factory=threading.Event)
    """Its end is written down."""


class Streams:
    """Streams by id. Thread-safe; only `wait` and `follow_logs` block for long."""

    def __init__(
        self,
        store: EngineStore,
        configs: Configs,
        resolver: ConnectionResolver,
        runs: Runs,
        owner: ProcessLock,
        *,
        allow_concurrent: bool,
        telemetry: bool,
    ) -> None:
        self._shared = store.path is not None
        self._configs = configs
        self._dialler = resolver
        self._allow_concurrent = allow_concurrent
        self._telemetry = telemetry
        self._owner = owner
        self._runs = runs
        self._live: dict[str, _Live] = {}
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._listener: threading.Thread | None = None
        self._runs.end_dead_runs()
        self._runs.prune_logs()
        self.monitoring = Monitoring(runs, self.stats)

    # What it does

    def start(self, config: str, *, fresh: bool = False) -> str:
        """Begin a run of a stream config in this process, and return the stream's id.

        The run resumes from the checkpoint of an earlier run that was stopped, failed or was
        killed; ``fresh`` discards that. Raises `StateConflict` if a run of the config has not ended
        or another stream is paused, and `ConfigError` like `Stream.from_config`.
        """
        ready = self._runs.ready(self._configs.get(config)["id"])
        stream = self._built(config, ready)
        run, live = stream.stats().stream_id, _Live(stream)
        if self._telemetry:
            instrument(stream)
        self._owner.claim()
        self._runs.begin(stream.stats(), allow_concurrent=self._allow_concurrent)
        with self._lock:
            for old in [key for key, one in self._live.items() if one.recorded.is_set()][:-KEPT]:
                del self._live[old]
            self._live[run] = live
        stream.on_state(lambda _, new: self._moved(run, live, new))
        stream.on_progress(lambda stats: self._progressed(live, stats))
        stream.on_record(lambda record: self._runs.noted(run, record))
        self._listen()
        stream.start(fresh=fresh)
        return run

    def _built(self, config: str, stream: str | None = None) -> Stream:
        stored = self._configs.get(config)
        document = plain(stored)
        known = self._dialler.known(references(document))
        ids = (stored["id"], stream or new_id("stream"))
        return Stream.from_config(document, known, self._dialler.resolvers, ids=ids)

    def plan(self, config: str) -> Plan:
        """Plan a run of a config; the target is not touched. As `Stream.plan`."""
        return self._built(config).plan()

    def verify(
        self,
        config: str,
        tables: Sequence[str] | None = None,
        mode: VerifyMode = "full",
        sample: float | None = None,
        live: bool | None = None,
        repair: bool = False,
        resume: bool = True,
        *,
        structure: bool = True,
        on_progress: VerifyProgress | None = None,
    ) -> VerifyReport:
        """Compare a config's source and target row by row. As `Stream.verify`, of a stream that
        runs in this process too."""
        return self._to_verify(config).verify(
            tables,
            mode,
            sample,
            live,
            repair,
            resume,
            structure=structure,
            on_progress=on_progress,
        )

    def _to_verify(self, config: str) -> Stream:
        """Return the stream that runs a config in this process; where none does, one that is
        built."""
        wanted = self._configs.get(config)["id"]
        with self._lock:
            running = [live.stream for live in self._live.values() if not live.stream.state.final]
        known = (stream for stream in running if stream.stats().config_id == wanted)
        return next(known, None) or self._built(config)

    def release(self, config: str) -> tuple[str, ...]:
        """Drop what a cdc created on its source, and its checkpoint; return what was there, in
        words.

        Waits for the end of a run that was asked to stop. Raises `StateConflict` during any other
        run, and for a convert.
        """
        wanted = self._configs.get(config)["id"]
        for run in self._runs.not_ended(wanted):
            live = self._live.get(run)
            if live is None:
                ends = self._runs.asked_to_stop(run)
            else:  # one that has ended may not be recorded yet
                ends = live.stream.is_stopping or live.stream.state.final
            if ends:
                self.wait(run)
        self._runs.demand_idle(wanted)
        return self._built(config).release()

    def pause(self, stream: str) -> None:
        """Pause once the bundle in progress is committed. Raises `StateConflict`."""
        self._command(stream, "pause")

    def resume(self, stream: str) -> None:
        """Continue from PAUSED. Raises `StateConflict`."""
        self._command(stream, "resume")

    def stop(self, stream: str, *, force: bool = False) -> None:
        """Stop after the current bundle is committed; ``force`` abandons it. Do nothing to a run
        that has ended.

        The run cannot be resumed, but the next start of its config continues from its checkpoint.
        """
        if State(self._runs.row(stream)["status"]).final:
            return
        self._command(stream, "force" if force else "stop")

    def _command(self, stream: str, command: str) -> None:
        live = self._live.get(stream)
        wanted, perform = COMMANDS[command]
        if live is not None and not live.recorded.is_set():
            perform(live.stream)
            return
        check_move(State(self._runs.row(stream)["status"]), wanted)
        self._runs.ask(stream, command)

    def wait(self, stream: str, *states: State, timeout: float | None = None) -> State:
        """Block until one of ``states`` or a final state is reached and recorded.

        Raises `TimeoutError`.
        """
        live = self._live.get(stream)
        deadline = None if timeout is None else time.monotonic() + timeout
        if live is not None:
            reached = live.stream.wait(*states, timeout=timeout)
            if reached.final:
                self._recorded(live, deadline)
            else:
                self._written(live, reached)
            return reached
        while True:
            seen = State(self._runs.row(stream)["status"])
            if seen.final or seen in states:
                return seen
            if deadline is not None and time.monotonic() > deadline:
                raise TimeoutError(f"Still {seen} after {timeout} seconds.")
            self._closing.wait(HEARD_SECONDS)

    def catch_up(self, stream: str, timeout: float | None = None) -> bool:
        """Wait until all that is committed on the source of a cdc is durable on the target.

        As `Stream.catch_up`; the process that runs the stream does it where that is another one.
        Return False if it takes longer than ``timeout`` seconds or the run is stopped. Raises the
        error of a FAILED run of this process, `StateConflict` for a run that ended before, for
        another process's that FAILED, and for a convert, and `NotFound`.
        """
        live = self._live.get(stream)
        if live is not None:
            return live.stream.catch_up(timeout)
        number = self._runs.ask(self._running(stream), CATCH_UP, timeout)
        deadline = None if timeout is None else time.monotonic() + timeout + ANSWER_SECONDS
        while (answer := self._runs.answered(number)) is None:
            if (row := self._runs.row(stream))["ended"] is not None:
                if row["status"] == State.FAILED:
                    self._running(stream)
                return False
            if deadline is not None and time.monotonic() > deadline:
                return False
            self._closing.wait(HEARD_SECONDS)
        if "error" in answer:
            raise StateConflict(answer["error"], remedy=answer["remedy"])
        return bool(answer["caughtUp"])

    def _running(self, stream: str) -> str:
        """Return the id of a run that has not ended. Raises `StateConflict`."""
        row = self._runs.row(stream)
        if row["ended"] is not None:
            raise StateConflict(f"The stream {stream} has ended: {row['status']}.")
        return stream

    def open(self, stream: str) -> Stream:
        """Return the `Stream` of a run that this process started, for `catch_up`, `verify` and
        callbacks.

        Raises `StateConflict` for a run of another process, and `NotFound`.
        """
        live = self._live.get(stream)
        if live is None:
            self._runs.row(stream)
            raise StateConflict(
                f"The stream {stream} runs in another process.",
                remedy="Call the process that started it, or start its config here.",
            )
        return live.stream

    # What is seen

    def stats(self, stream: str) -> Document:
        """Return the stats document; for a run of another process, that of its last report."""
        live = self._live.get(stream)
        if live is not None:
            return live.stream.stats().to_dict()
        return self._runs.stats(stream)

    def health(self, stream: str) -> Document:
        """Return how a stream does: ``{"status", "lagSeconds", "retainedBytes", "unmatched",
        "quarantined", "since", "findings"}``; for a run of another process, by its last report."""
        return health_of(self.stats(stream)).to_dict()

    def get(self, stream: str) -> Document:
        """Return one run: id, configID, name, status, times (RFC 3339), rows, quarantined, bytes,
        error."""
        return self._fresh(self._runs.document(stream))

    def list(
        self,
        *,
        limit: int | None = None,
        offset: int = 0,
        filters: Conditions = (),
        sort: Conditions = (),
    ) -> Page:
        """Return the runs of all configs: ``{"items", "total", "limit", "offset"}``, by default
        newest first.

        ``filters`` and ``sort`` are those of `Engine.data`, over the keys of a run's document.
        Raises `ConfigError` by path.
        """
        return list_request(limit, offset, filters, sort).page(self.all(), RUN_KEYS)

    def all(self) -> Iterator[Document]:
        """Iterate over the runs of all configs, newest first."""
        return map(self._fresh, self._runs.documents())

    def _repr_html_(self) -> str:
        return documents_html("streams", ("name", "status", "started", "ended", "id"), self.all())

    def history(
        self,
        config: str,
        *,
        limit: int | None = None,
        offset: int = 0,
        filters: Conditions = (),
        sort: Conditions = (),
    ) -> Page:
        """Return the runs of a config, as `list` does. Raises `NotFound`."""
        config_id = self._configs.get(config)["id"]
        documents = map(self._fresh, self._runs.documents(config_id))
        return list_request(limit, offset, filters, sort).page(documents, RUN_KEYS)

    def delete_all(self, *, confirm: bool = False) -> int:
        """Delete the history: all runs with their logs; return how many. Checkpoints stay.

        Raises `ConfigError` without ``confirm=True``, and `StateConflict` while a run has not
        ended.
        """
        demand_confirmed(confirm, "delete_all removes the history of every stream config.")
        deleted = self._runs.delete_all()
        with self._lock:
            for old in [key for key, one in self._live.items() if one.recorded.is_set()]:
                del self._live[old]
        return deleted

    def delete_all_logs(self, *, confirm: bool = False) -> int:
        """Delete the log records of all runs; return how many. Raises `ConfigError` without
        ``confirm=True``.

        The newest record of a run that has not ended stays, and `follow_logs` goes on.
        """
        demand_confirmed(confirm, "delete_all_logs removes the log records of every run.")
        return self._runs.delete_logs()

    def _fresh(self, document: Document) -> Document:
        """Update a stored document with the present stats if the run is in this process."""
        live = self._live.get(document["id"])
        if live is None or live.recorded.is_set():
            return document
        stats = live.stream.stats()
        return document | {
            "status": str(stats.state),
            "rows": stats.target.counter,
            "quarantined": stats.target.failed_counter,
            "bytes": stats.target.sum_data_size,
        }

    def logs(
        self,
        stream: str,
        *,
        level: str | None = None,
        table: str | None = None,
        category: str | None = None,
        limit: int | None = None,
        offset: int = 0,
        filters: Conditions = (),
        sort: Conditions = (),
    ) -> Page:
        """Return the events of a run, by default in their order: ``{"items", "total", "limit",
        "offset"}``, each with time, level, category, stream, event, message, table, details.

        ``level``: this one and those above it (INFO, WARNING, ERROR). ``filters`` and ``sort`` are
        those of `Engine.data`, over the keys of a record; the newest come first with
        ``sort=[{"column": "time", "direction": "desc"}]``. Raises `ConfigError` by path.
        """
        self._runs.row(stream)
        return self.monitoring.logs(
            level, table, category, limit, offset, filters, sort, stream=stream
        )

    def follow_logs(
        self,
        stream: str,
        *,
        level: str | None = None,
        table: str | None = None,
        category: str | None = None,
    ) -> Iterator[Document]:
        """Yield log records as they are written, until the run has ended."""
        seen = 0
        while True:
            ended = self._runs.row(stream)["ended"] is not None
            for number, record in self._runs.records(stream, seen, level, table, category):
                yield record
                seen = number
            if ended:
                return
            live = self._live.get(stream)
            (self._closing if live is None else live.recorded).wait(HEARD_SECONDS)

    # The process's own part

    def _moved(self, run: str, live: _Live, new: State) -> None:
        if not new.final:  # the last report is written with it
            self._runs.moved(run, new)
        with live.written:
            live.status = new
            live.written.notify_all()

    def _written(self, live: _Live, state: State) -> None:
        """Wait until a state that was reached is seen by others too, unless it is over."""
        with live.written:
            live.written.wait_for(
                lambda: live.status is state or live.stream.state is not state, HEARD_SECONDS
            )

    def _recorded(self, live: _Live, deadline: float | None) -> None:
        """Wait until the end of a run is written down. Where a callback holds that up, or this is
        called by one, write it down here."""
        patience = RECORD_SECONDS
        if deadline is not None:
            patience = max(0.0, min(patience, deadline - time.monotonic()))
        if live.stream.is_reporting or not live.recorded.wait(patience):
            self._progressed(live, live.stream.stats())

    def _progressed(self, live: _Live, stats: Stats) -> None:
        try:
            self._runs.progressed(stats)
        finally:
            if stats.state.final:
                live.recorded.set()

    def _listen(self) -> None:
        """Start the thread that receives commands of other processes for this process's runs."""
        with self._lock:
            if self._shared and self._listener is None:
                self._listener = threading.Thread(
                    target=self._hear, name="streams-engine-listen", daemon=True
                )
                self._listener.start()

    def _hear(self) -> None:
        while not self._closing.wait(HEARD_SECONDS):
            notify("", self._obey)

    def _obey(self) -> None:
        """Execute the commands that other processes sent since the last call."""
        for number, run, command, seconds in self._runs.requests():
            live = self._live.get(run)
            if live is None:
                continue
            if command == CATCH_UP:
                work = partial(notify, "", self._caught_up, number, live.stream, seconds)
                threading.Thread(target=work, name="streams-engine-answer", daemon=True).start()
                continue
            with contextlib.suppress(StateConflict):  # it ended meanwhile
                COMMANDS[command][1](live.stream)
                self._runs.answer(number, {})

    def _caught_up(self, number: int, stream: Stream, seconds: float | None) -> None:
        """Answer a request that takes as long as the log is."""
        try:
            answer: Document = {"caughtUp": stream.catch_up(seconds)}
        except StreamsError as error:
            answer = {"error": error.message, "remedy": error.remedy}
        with contextlib.suppress(StateConflict):  # the engine was closed meanwhile
            self._runs.answer(number, answer)

    def close(self) -> None:
        """Stop this process's runs, and wait for their ends. Idempotent."""
        for live in list(self._live.values()):
            with contextlib.suppress(StateConflict):
                live.stream.stop()
        for live in list(self._live.values()):
            live.stream.wait()
            self._recorded(live, None)
        self._closing.set()
        if self._listener is not None:
            self._listener.join()
        self._owner.release()
