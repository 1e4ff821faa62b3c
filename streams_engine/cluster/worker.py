"""What a worker of the cluster does: it takes a seat in a run, joins its views, copies chunks.

The functions are called by name from the process that runs the stream. A seat is given up when
it says so, or when nothing was heard of it for a while: a killed run leaves no session open.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from streams_engine import __version__
from streams_engine.cluster.allocating import keeping_memory
from streams_engine.cluster.sealing import seal, unseal
from streams_engine.composing import WORKER_BYTES, Composition
from streams_engine.config.stream import StreamConfig
from streams_engine.errors import ConfigError
from streams_engine.lifecycle import State
from streams_engine.runtime.carrying import Flight
from streams_engine.runtime.control import Control, Word
from streams_engine.runtime.fenced import Attempt, FencedCopy, Report
from streams_engine.runtime.joining import JoinedView, Origin
from streams_engine.sharing import SharedSink, SharedSource, Ticket

__all__ = ["Unseated", "copy_chunk", "join", "leave", "say", "sit", "take_key"]

LEASE_SECONDS = 60
"""A seat ends when nothing was heard of its run for so long."""
WAIT_SECONDS = 0.2
"""So often a copy that waits for its turn looks whether it is to pause or to end."""


@dataclass(frozen=True, slots=True)
class Unseated:
    """A chunk came to a worker that has no seat in its run."""

    address: str


class _Seat:
    """One run's place in this process: its ends opened, its views joined."""

    def __init__(self, place: _Place, key: bytes) -> None:
        self.key = key
        self.expired = False
        self._place = place
        self._ends = ExitStack()
        self._origins: dict[str, Origin] = {}
        self._views: dict[str, Any] = {}
        self._controls: set[Control] = set()
        self._word = Word.GO
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._heard = time.monotonic()

    def open(self, config: StreamConfig, threads: int) -> int:
        """Open both ends. Returns how many chunks may be copied here at once."""
        self._ends.enter_context(keeping_memory())
        composition = Composition(config, {})
        self._job = composition.job()
        self.slots = max(1, min(threads, config.options.memory_budget // WORKER_BYTES))
        self._room = threading.Semaphore(self.slots)
        origins, self._sink = self._ends.enter_context(composition.opened())
        if not isinstance(self._sink, SharedSink):
            raise _not_shared("$.target", "target")
        self._shared = self._sink
        self._origins = {origin.alias: origin for origin in origins}
        threading.Thread(target=self._expire, name="streams-engine-lease", daemon=True).start()
        return self.slots

    def join(self, alias: str, ticket: Ticket) -> None:
        """Join a source's view. Idempotent."""
        if alias in self._views:
            return
        source = self._origins[alias].source
        if not isinstance(source, SharedSource):
            raise _not_shared("$.source", "source")
        self._views[alias] = self._ends.enter_context(source.join(ticket, self.slots))
        if self._closed.is_set():  # meanwhile: nobody else would end this view
            self._ends.close()

    def obey(self, word: Word) -> None:
        """Do what the run's control says, and stay seated."""
        with self._lock:
            self._heard, self._word = time.monotonic(), word
            controls = list(self._controls)
        for control in controls:
            control.obey(word)
        if word is Word.DROP:
            self.close()

    def copy(self, flight: Flight, tell: Callable[[Report], None]) -> Report:
        """Copy a chunk. Never raises: the report says why."""
        control = Control(max_rows=flight.rows or 0)
        control.move(State.RUNNING)
        attempt = Attempt(uuid4().hex, tell)
        control.listen(lambda _, state: attempt.hold(state is State.PAUSED))
        copying = FencedCopy(
            self._job.name,
            flight.run,
            self._shared,
            self._sink.load_state,
            JoinedView(self._views).read,
            self._job.bundle,
            self._job.zero_dates,
            self._job.quarantine,
        )
        with control.working():
            with self._lock:
                self._controls.add(control)
                control.obey(self._word)
            try:
                tell(attempt.note())  # it has begun
                with self._admitted(control):
                    return copying.copy(flight.task, control, attempt)
            finally:
                with self._lock:
                    self._controls.discard(control)

    @contextmanager
    def _admitted(self, control: Control) -> Iterator[None]:
        """One of the places in here; a copy that waits for one can pause and end."""
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
                _seats.pop(self._place, None)
                self.obey(Word.DROP)

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
_seats: dict[_Place, _Seat] = {}


async def take_key(run: str, key: bytes, dask_worker: Any = None) -> str:
    """Keep a run's key for what comes. Returns this library's version."""
    _keys[run, dask_worker.address] = key
    return __version__


async def sit(run: str, sealed: bytes, dask_worker: Any = None) -> int:
    """Take a seat, or keep it. Returns how many chunks may be copied here at once."""
    place = (run, dask_worker.address)
    if place in _seats:
        return _seats[place].slots
    seat = _Seat(place, _keys[place])
    config = unseal(seat.key, sealed)
    slots = await asyncio.to_thread(seat.open, config, dask_worker.state.nthreads)
    _seats[place] = seat
    return slots


async def join(run: str, sealed: bytes, dask_worker: Any = None) -> None:
    """Join a view of the run."""
    seat = _seats[run, dask_worker.address]
    alias, ticket = unseal(seat.key, sealed)
    await asyncio.to_thread(seat.join, alias, ticket)


async def say(run: str, word: str, dask_worker: Any = None) -> None:
    """Obey, where there is a seat."""
    seat = _seats.get((run, dask_worker.address))
    if seat is not None:
        await asyncio.to_thread(seat.obey, Word(word))


async def leave(run: str, dask_worker: Any = None) -> None:
    """Give the seat up."""
    place = (run, dask_worker.address)
    _keys.pop(place, None)
    seat = _seats.pop(place, None)
    if seat is not None:
        await asyncio.to_thread(seat.close)


def copy_chunk(run: str, name: str, sealed: bytes) -> bytes | Unseated:
    """Copy a chunk. Returns the last report, sealed."""
    from distributed import get_worker

    worker = get_worker()
    seat = _seats.get((run, worker.address))
    if seat is None:
        return Unseated(worker.address)
    flight = unseal(seat.key, sealed)

    def tell(report: Report) -> None:
        worker.log_event(run, (name, seal(seat.key, report)))

    report = seat.copy(flight, tell)
    # What ended it then is no fault of the chunk.
    return Unseated(worker.address) if seat.expired else seal(seat.key, report)


def _not_shared(path: str, end: str) -> ConfigError:
    return ConfigError(
        f"{path}: this {end} cannot be used by several processes at once.",
        path=path,
        remedy="Run the stream in one process.",
    )
