"""The worker's side of a cluster run: open a session, join the snapshots, copy chunks.

The functions are called by name from the process that runs the stream. A seat is given up when
it says so, or when nothing was heard of it for a while: a killed run leaves no session open.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import uuid4

from streams_engine._version import __version__
from streams_engine.contracts import SharedSink, SharedSource, Sink, SnapshotHandle
from streams_engine.dask.memory import keeping_memory
from streams_engine.dask.sealed import seal, unseal
from streams_engine.errors import ConfigError
from streams_engine.lifecycle import State
from streams_engine.pipeline.context import Job
from streams_engine.pipeline.control import Control, Directive
from streams_engine.pipeline.multi_source import CombinedSnapshot, SourceSpec
from streams_engine.pipeline.remote.copier import ChunkRequest
from streams_engine.pipeline.remote.fenced_copy import ChunkAttempt, ChunkProgress, FencedCopy

__all__ = [
    "SessionMissing",
    "WorkerAssembly",
    "close_session",
    "copy_chunk",
    "join_snapshot",
    "open_session",
    "send_directive",
    "take_key",
]

LEASE_SECONDS = 60
"""A seat ends when nothing was heard of its run for so long."""
WAIT_SECONDS = 0.2
"""So often a copy that waits for its turn looks whether it is to pause or to end."""


class WorkerAssembly(Protocol):
    """Builds a stream's parts in a worker. Pickles."""

    def job(self) -> Job:
        """Return the settings of the stream."""
        ...

    def opened(self) -> AbstractContextManager[tuple[list[SourceSpec], Sink]]:
        """Open both ends; every connection is released at the end."""
        ...

    def slots(self, threads: int) -> int:
        """Return how many chunks a worker with so many threads may copy at once."""
        ...


@dataclass(frozen=True, slots=True)
class SessionMissing:
    """A chunk came to a worker that has no seat in its run."""

    address: str


class _WorkerSession:
    """One run's place in this process: its ends opened, its views joined."""

    def __init__(self, place: _Place, key: bytes) -> None:
        self.key = key
        self.expired = False
        self._place = place
        self._ends = ExitStack()
        self._origins: dict[str, SourceSpec] = {}
        self._views: dict[str, Any] = {}
        self._controls: set[Control] = set()
        self._word = Directive.RUN
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._heard = time.monotonic()

    def open(self, assembly: WorkerAssembly, threads: int) -> int:
        """Open both ends. Returns how many chunks may be copied here at once."""
        self._ends.enter_context(keeping_memory())
        self._job = assembly.job()
        self.slots = assembly.slots(threads)
        self._room = threading.Semaphore(self.slots)
        origins, self._sink = self._ends.enter_context(assembly.opened())
        if not isinstance(self._sink, SharedSink):
            raise _not_shared("$.target", "target")
        self._shared = self._sink
        self._origins = {origin.alias: origin for origin in origins}
        threading.Thread(target=self._expire, name="streams-engine-lease", daemon=True).start()
        return self.slots

    def join(self, alias: str, handle: SnapshotHandle) -> None:
        """Join a source's view. Idempotent."""
        if alias in self._views:
            return
        source = self._origins[alias].source
        if not isinstance(source, SharedSource):
            raise _not_shared("$.source", "source")
        self._views[alias] = self._ends.enter_context(source.join(handle, self.slots))
        if self._closed.is_set():  # meanwhile: nobody else would end this view
            self._ends.close()

    def apply_directive(self, word: Directive) -> None:
        """Do what the run's control says, and stay seated."""
        with self._lock:
            self._heard, self._word = time.monotonic(), word
            controls = list(self._controls)
        for control in controls:
            control.apply_directive(word)
        if word is Directive.ABORT:
            self.close()

    def copy(self, flight: ChunkRequest, tell: Callable[[ChunkProgress], None]) -> ChunkProgress:
        """Copy a chunk. Never raises: the report says why."""
        control = Control(max_rows=flight.rows or 0)
        control.move(State.RUNNING)
        attempt = ChunkAttempt(uuid4().hex, tell)
        control.listen(lambda _, state: attempt.hold(state is State.PAUSED))
        copying = FencedCopy(
            self._job.name,
            flight.run,
            self._shared,
            self._shared.load_state,
            CombinedSnapshot(self._views).read,
            self._job.bundle,
            self._job.zero_dates,
            self._job.quarantine,
        )
        with control.working():
            with self._lock:
                self._controls.add(control)
                control.apply_directive(self._word)
            try:
                tell(attempt.note())  # it has begun
                with self._admitted(control):
                    return copying.copy(flight.task, control, attempt)
            finally:
                with self._lock:
                    self._controls.discard(control)

    @contextmanager
    def _admitted(self, control: Control) -> Iterator[None]:
        """Wait for a free place among the worker's copies; a waiting copy can pause and stop."""
        admitted = False
        while not admitted and control.hold():
            admitted = self._room.acquire(timeout=WAIT_SECONDS)
        try:
            yield
        finally:
            if admitted:
                self._room.release()

    def _expire(self) -> None:
        while not self._closed.wait(1):
            if time.monotonic() - self._heard > LEASE_SECONDS:
                self.expired = True
                _keys.pop(self._place, None)
                _sessions.pop(self._place, None)
                self.apply_directive(Directive.ABORT)

    def close(self) -> None:
        """Give the seat up; a chunk that is under way is abandoned. Idempotent."""
        if self._closed.is_set():
            return
        self._closed.set()
        with contextlib.suppress(Exception):
            self._sink.close()
        self._ends.close()


_Place = tuple[str, str]
"""A run, and a worker's address: several workers may live in one process."""

_keys: dict[_Place, bytes] = {}
_sessions: dict[_Place, _WorkerSession] = {}


async def take_key(run: str, key: bytes, dask_worker: Any = None) -> str:
    """Keep a run's key for what comes. Returns this library's version."""
    _keys[run, dask_worker.address] = key
    return __version__


async def open_session(run: str, sealed: bytes, dask_worker: Any = None) -> int:
    """Take a seat, or keep it. Returns how many chunks may be copied here at once."""
    place = (run, dask_worker.address)
    if place in _sessions:
        return _sessions[place].slots
    session = _WorkerSession(place, _keys[place])
    assembly = unseal(session.key, sealed)
    slots = await asyncio.to_thread(session.open, assembly, dask_worker.state.nthreads)
    _sessions[place] = session
    return slots


async def join_snapshot(run: str, sealed: bytes, dask_worker: Any = None) -> None:
    """Join a view of the run."""
    session = _sessions[run, dask_worker.address]
    alias, handle = unseal(session.key, sealed)
    await asyncio.to_thread(session.join, alias, handle)


async def send_directive(run: str, word: str, dask_worker: Any = None) -> None:
    """Obey, where there is a seat."""
    session = _sessions.get((run, dask_worker.address))
    if session is not None:
        await asyncio.to_thread(session.apply_directive, Directive(word))


async def close_session(run: str, dask_worker: Any = None) -> None:
    """Give the seat up."""
    place = (run, dask_worker.address)
    _keys.pop(place, None)
    session = _sessions.pop(place, None)
    if session is not None:
        await asyncio.to_thread(session.close)


def copy_chunk(run: str, name: str, sealed: bytes) -> bytes | SessionMissing:
    """Copy a chunk. Returns the last report, sealed."""
    from distributed import get_worker

    worker = get_worker()
    session = _sessions.get((run, worker.address))
    if session is None:
        return SessionMissing(worker.address)
    flight = unseal(session.key, sealed)

    def tell(report: ChunkProgress) -> None:
        worker.log_event(run, (name, seal(session.key, report)))

    report = session.copy(flight, tell)
    # What ended it then is no fault of the chunk.
    return SessionMissing(worker.address) if session.expired else seal(session.key, report)


def _not_shared(path: str, end: str) -> ConfigError:
    return ConfigError(
        f"{path}: this {end} cannot be used by several processes at once.",
        path=path,
        remedy="Run the stream in one process.",
    )
