"""What a worker of the cluster does: it takes a seat in a run, joins its views, copies chunks.

The functions are called by name from the process that runs the stream. A seat is given up when
it says so, or when nothing was heard of it for a while: a killed run leaves no session open.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from streams_engine import __version__
from streams_engine.cluster.sealing import seal, unseal
from streams_engine.composing import WORKER_BYTES, Composition
from streams_engine.config.stream import StreamConfig
from streams_engine.lifecycle import State
from streams_engine.runtime.carrying import Flight
from streams_engine.runtime.control import Control, Word
from streams_engine.runtime.fenced import Attempt, FencedCopy, Report
from streams_engine.runtime.joining import JoinedView, Origin
from streams_engine.sharing import SharedSource, Ticket

__all__ = ["Unseated", "copy_chunk", "join", "leave", "say", "sit", "take_key"]

LEASE_SECONDS = 60
"""A seat ends when nothing was heard of its run for so long."""


@dataclass(frozen=True, slots=True)
class Unseated:
    """A chunk came to a worker that has no seat in its run."""

    address: str


class _Seat:
    """One run's place in this process: its ends opened, its views joined."""

    def __init__(self, key: bytes) -> None:
        self.key = key
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
        composition = Composition(config, {})
        self._job = composition.job()
        self.slots = max(1, min(threads, config.options.memory_budget // WORKER_BYTES))
        self._room = threading.Semaphore(self.slots)
        origins, self._sink = self._ends.enter_context(composition.opened())
        self._origins = {origin.alias: origin for origin in origins}
        threading.Thread(target=self._expire, name="streams-engine-lease", daemon=True).start()
        return self.slots

    def join(self, alias: str, ticket: Ticket) -> None:
        """Join a source's view."""
        source = self._origins[alias].source
        assert isinstance(source, SharedSource)
        self._views[alias] = self._ends.enter_context(source.join(ticket, self.slots))

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
            self._sink,  # type: ignore[arg-type]
            self._sink.load_state,
            JoinedView(self._views).read,
            self._job.bundle,
            self._job.zero_dates,
            self._job.quarantine,
        )
        with self._room, control.working():
            with self._lock:
                self._controls.add(control)
                control.obey(self._word)
            try:
                return copying.copy(flight.task, control, attempt)
            finally:
                with self._lock:
                    self._controls.discard(control)

    def _expire(self) -> None:
        while not self._closed.wait(1):
            if time.monotonic() - self._heard > LEASE_SECONDS:
                self.obey(Word.DROP)

    def close(self) -> None:
        """Give the seat up; a chunk that is under way is abandoned. Idempotent."""
        if self._closed.is_set():
            return
        self._closed.set()
        with contextlib.suppress(Exception):
            self._sink.close()
        self._ends.close()


_keys: dict[str, bytes] = {}
_seats: dict[str, _Seat] = {}


async def take_key(run: str, key: bytes) -> str:
    """Keep a run's key for what comes. Returns this library's version."""
    _keys[run] = key
    return __version__


async def sit(run: str, sealed: bytes, dask_worker: Any = None) -> int:
    """Take a seat. Returns how many chunks may be copied here at once."""
    seat = _Seat(_keys[run])
    config = unseal(seat.key, sealed)
    slots = await asyncio.to_thread(seat.open, config, dask_worker.state.nthreads)
    _seats[run] = seat
    return slots


async def join(run: str, sealed: bytes) -> None:
    """Join a view of the run."""
    seat = _seats[run]
    alias, ticket = unseal(seat.key, sealed)
    await asyncio.to_thread(seat.join, alias, ticket)


async def say(run: str, word: str) -> None:
    """Obey, where there is a seat."""
    seat = _seats.get(run)
    if seat is not None:
        await asyncio.to_thread(seat.obey, Word(word))


async def leave(run: str) -> None:
    """Give the seat up."""
    _keys.pop(run, None)
    seat = _seats.pop(run, None)
    if seat is not None:
        await asyncio.to_thread(seat.close)


def copy_chunk(run: str, name: str, sealed: bytes) -> bytes | Unseated:
    """Copy a chunk. Returns the last report, sealed."""
    from distributed import get_worker

    worker = get_worker()
    seat = _seats.get(run)
    if seat is None:
        return Unseated(worker.address)
    flight = unseal(seat.key, sealed)

    def tell(report: Report) -> None:
        worker.log_event(run, (name, seal(seat.key, report)))

    return seal(seat.key, seat.copy(flight, tell))
