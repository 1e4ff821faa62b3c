"""`engine.streams`: runs of stream configs, started, steered and looked at.

A stream runs in the process that started it. Every process that has the file open sees it, and
may pause, resume and stop it: its own process hears of that within a quarter of a second.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from streams_engine.engine.configs import Configs, references
from streams_engine.engine.dialling import Dialler, plain
from streams_engine.engine.ids import new_id
from streams_engine.engine.owning import Owner
from streams_engine.engine.runs import Runs
from streams_engine.engine.store import Store
from streams_engine.errors import StateConflict, StreamsError
from streams_engine.lifecycle import State, check_move
from streams_engine.runtime.planning import Plan
from streams_engine.runtime.verifying import VerifyReport
from streams_engine.stats import Stats
from streams_engine.stream import Stream
from streams_engine.telemetry import instrument

__all__ = ["Streams"]

Document = dict[str, Any]
Documents = list[Document]

log = logging.getLogger("streams_engine.engine")

HEARD_SECONDS = 0.25
"""How often a process looks for what others ask of its runs, and others for what became of them."""

KEPT = 100
"""Of this process's runs that have ended, so many may still be opened."""

COMMANDS: Mapping[str, tuple[State, Callable[[Stream], None]]] = {
    "pause": (State.PAUSED, lambda stream: stream.pause()),
    "resume": (State.RUNNING, lambda stream: stream.resume()),
    "stop": (State.STOPPED, lambda stream: stream.stop()),
    "force": (State.STOPPED, lambda stream: stream.stop(force=True)),
}
"""By name: where it leads, and how it is done."""


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
        store: Store,
        configs: Configs,
        dialler: Dialler,
        *,
        allow_concurrent: bool,
        telemetry: bool,
    ) -> None:
        self._shared = store.path is not None
        self._configs = configs
        self._dialler = dialler
        self._allow_concurrent = allow_concurrent
        self._telemetry = telemetry
        self._owner = Owner(store.path)
        self._runs = Runs(store, self._owner.token)
        self._live: dict[str, _Live] = {}
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._listener: threading.Thread | None = None
        self._runs.settle()

    # What it does

    def start(self, config: str, *, fresh: bool = False) -> str:
        """Begin a run of a stream config in this process; the stream's id.

        It goes on from the checkpoint of an earlier run that was stopped, failed or was killed;
        ``fresh`` forgets it. Raises `StateConflict` where a run of the config is under way, or
        another stream is paused, and `ConfigError` as `Stream.from_config`.
        """
        stream = self._built(config)
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

    def _built(self, config: str) -> Stream:
        stored = self._configs.get(config)
        document = plain(stored)
        known = self._dialler.known(references(document))
        ids = (stored["id"], new_id("stream"))
        return Stream.from_config(document, known, self._dialler.resolvers, ids=ids)

    def plan(self, config: str) -> Plan:
        """What a run of a config would do; the target is not touched. As `Stream.plan`."""
        return self._built(config).plan()

    def verify(self, config: str) -> VerifyReport:
        """Compare a config's source and target row by row. As `Stream.verify`."""
        return self._built(config).verify()

    def release(self, config: str) -> None:
        """Of a cdc: drop what it keeps on its source, and forget its checkpoint.

        Raises `StateConflict` while a run of it is under way, and for a convert.
        """
        self._runs.demand_idle(self._configs.get(config)["id"])
        self._built(config).release()

    def pause(self, stream: str) -> None:
        """Hold after the bundle in hand is committed. Raises `StateConflict`."""
        self._command(stream, "pause")

    def resume(self, stream: str) -> None:
        """Go on from PAUSED. Raises `StateConflict`."""
        self._command(stream, "resume")

    def stop(self, stream: str, *, force: bool = False) -> None:
        """End after the bundle in hand is committed; ``force`` abandons it. It cannot be
        resumed; the next start of its config goes on where it stood. Raises `StateConflict`."""
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
        """Block until one of ``states`` or a final state is reached, and written down.

        Raises `TimeoutError`.
        """
        live = self._live.get(stream)
        if live is not None:
            reached = live.stream.wait(*states, timeout=timeout)
            if reached.final:
                live.recorded.wait()
            else:
                self._written(live, reached)
            return reached
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            seen = State(self._runs.row(stream)["status"])
            if seen.final or seen in states:
                return seen
            if deadline is not None and time.monotonic() > deadline:
                raise TimeoutError(f"Still {seen} after {timeout} seconds.")
            self._closing.wait(HEARD_SECONDS)

    def open(self, stream: str) -> Stream:
        """The `Stream` itself, of a run that this process began: for `catch_up`, `verify` and
        callbacks. Raises `StateConflict` for another process's, `NotFound`."""
        live = self._live.get(stream)
        if live is None:
            self._runs.row(stream)
            raise StateConflict(
                f"The stream {stream} is not of this process.",
                remedy="Ask the process that started it, or start its config here.",
            )
        return live.stream

    # What is seen

    def stats(self, stream: str) -> Document:
        """The stats document; of another process's run as it was at its last report."""
        live = self._live.get(stream)
        if live is not None:
            return live.stream.stats().to_dict()
        return self._runs.stats(stream)

    def get(self, stream: str) -> Document:
        """One run: id, configID, name, status, times (RFC 3339), rows, quarantined, bytes, error.

        Raises `NotFound`.
        """
        return self._fresh(self._runs.document(stream))

    def list(self) -> Documents:
        """All runs of all configs, the newest first."""
        return [self._fresh(document) for document in self._runs.documents()]

    def history(self, config: str) -> Documents:
        """The runs of a config, the newest first. Raises `NotFound`."""
        found = self._configs.get(config)["id"]
        return [self._fresh(document) for document in self._runs.documents(found)]

    def _fresh(self, document: Document) -> Document:
        """With what this process knows better than the file."""
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
        limit: int | None = None,
    ) -> Documents:
        """What happened in a run, in order: time, level, event, message, table, details.

        ``level``: this one and those above it (INFO, WARNING, ERROR); ``limit``: only the last
        ones.
        """
        self._runs.row(stream)
        return [record for _, record in self._runs.records(stream, 0, level, table, limit)]

    def follow_logs(
        self, stream: str, *, level: str | None = None, table: str | None = None
    ) -> Iterator[Document]:
        """The same as it happens, until the run has ended and all is given."""
        seen = 0
        while True:
            ended = self._runs.row(stream)["ended"] is not None
            for number, record in self._runs.records(stream, seen, level, table, None):
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

    def _progressed(self, live: _Live, stats: Stats) -> None:
        try:
            self._runs.progressed(stats)
        finally:
            if stats.state.final:
                live.recorded.set()

    def _listen(self) -> None:
        """Hear what other processes ask of this one's runs."""
        with self._lock:
            if self._shared and self._listener is None:
                self._listener = threading.Thread(
                    target=self._hear, name="streams-engine-listen", daemon=True
                )
                self._listener.start()

    def _hear(self) -> None:
        while not self._closing.wait(HEARD_SECONDS):
            try:
                for run, command in self._runs.commands():
                    live = self._live.get(run)
                    if live is not None:
                        with contextlib.suppress(StateConflict):  # it ended meanwhile
                            COMMANDS[command][1](live.stream)
            except StreamsError:
                log.exception("commands of other processes could not be read")

    def close(self) -> None:
        """Stop this process's runs, and wait for their ends. Idempotent."""
        for live in list(self._live.values()):
            with contextlib.suppress(StateConflict):
                live.stream.stop()
        for live in list(self._live.values()):
            live.stream.wait()
            live.recorded.wait()
        self._closing.set()
        if self._listener is not None:
            self._listener.join()
        self._owner.release()
