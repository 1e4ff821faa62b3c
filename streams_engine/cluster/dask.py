"""A Dask cluster as the place where chunks are copied.

All that passes between this process and the workers goes through the scheduler, which both reach;
a worker needs ways to the databases, none to this process.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Collection, Generator, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

from distributed import Client, KilledWorker
from distributed.cfexecutor import ClientExecutor

from streams_engine import __version__
from streams_engine.cluster import worker
from streams_engine.cluster.sealing import new_key, seal, unseal
from streams_engine.config.stream import StreamConfig
from streams_engine.errors import (
    ConfigError,
    ConnectionFailed,
    LockTimeout,
    ProcessLost,
    SnapshotLost,
    StreamsError,
)
from streams_engine.runtime.carrying import Flight
from streams_engine.runtime.control import Control, Word
from streams_engine.runtime.fenced import Report
from streams_engine.runtime.portions import ChunkTask
from streams_engine.sharing import Ticket

__all__ = ["DaskCluster"]

PATH = "$.options.executor"
JOIN_SECONDS = 5
"""Writers on the source may be waiting meanwhile."""
ANSWER_SECONDS = 60
BEAT_SECONDS = 5
"""So often the workers hear that the run is alive; see `worker.LEASE_SECONDS`."""
LEAVE_SECONDS = 10
"""A worker that gives its seat up later ends the view all the same."""
DROP_SECONDS = 10
"""So long a forced stop waits for a worker to give its chunk up."""
WORKERLESS_SECONDS = 60
"""So long a cluster may be without workers: a nanny starts a killed one again."""


class DaskCluster:
    """The workers of a Dask cluster; see `runtime.carrying.Cluster`."""

    def __init__(self, executor: Any, config: StreamConfig, limit: int | None) -> None:
        """``executor``: `client.get_executor()`, a client, or a scheduler's address.

        ``config`` is complete in itself; ``limit``: the most chunks at once, None: as the
        workers have threads.
        """
        self._executor = executor
        self._config = config
        self._limit = limit

    @contextmanager
    def seated(self, control: Control) -> Iterator[DaskSeats]:
        """Seats on all workers. Raises `ConfigError` where one lacks the library, and what
        keeps a worker from opening both ends."""
        with self._client() as (client, options):
            seats = DaskSeats(client, options, self._config, self._limit, control)
            try:
                seats.open()
                with seats.watching():
                    yield seats
            finally:
                seats.close()

    @contextmanager
    def _client(self) -> Iterator[tuple[Client, Mapping[str, Any]]]:
        """A client, and how the caller wants tasks to be submitted."""
        executor = self._executor
        if isinstance(executor, ClientExecutor):
            yield executor._client, executor._kwargs
        elif isinstance(executor, Client):
            yield executor, {}
        else:
            with _connected(executor) as client:
                yield client, {}


@contextmanager
def _connected(address: str) -> Iterator[Client]:
    """A client of its own. Raises `ConnectionFailed` where no scheduler answers."""
    made: list[Client] = []

    class Ours(Client):
        """Known before it is connected: a client that failed to is to be closed all the same."""

        def start(self, **options: Any) -> None:
            made.append(self)
            super().start(**options)

    try:
        client = Ours(address, set_as_default=False)
    except Exception as error:  # a server of another kind gives errors of every kind
        for half in made:
            with contextlib.suppress(Exception):
                half.close(timeout=1)
        raise ConnectionFailed(
            f"{PATH}.dask: no Dask scheduler answers at {address} ({type(error).__name__}).",
            remedy="Start one there, or name another address, as tcp://scheduler:8786.",
        ) from None
    with client:
        yield client


class DaskSeats:
    """One run's seats; see `runtime.carrying.Seats`."""

    def __init__(
        self,
        client: Client,
        options: Mapping[str, Any],
        config: StreamConfig,
        limit: int | None,
        control: Control,
    ) -> None:
        self._client = client
        self._options = dict(options)
        self._run = f"streams-engine-{uuid4().hex}"
        self._key = new_key()
        self._config = seal(self._key, config)
        self._limit = limit
        self._control = control
        self._tickets: dict[str, Ticket] = {}
        self._seated: set[str] = set()
        self._seating = threading.Lock()
        self._flights: dict[str, queue.SimpleQueue[Report | None]] = {}
        self._closed = threading.Event()
        self.slots = 0

    # Seats

    def open(self) -> None:
        """Seat every worker that is there."""
        try:
            self._client.subscribe_topic(self._run, self._heard)
        except Exception as error:
            raise _lost(error) from None
        end = time.monotonic() + ANSWER_SECONDS
        while not (there := self._wanted()) and time.monotonic() < end:
            self._closed.wait(0.5)
        if not there:
            raise self._none()
        found = self._seat(there)
        slots = sum(found.values())
        self.slots = slots if self._limit is None else min(slots, self._limit)

    def _wanted(self) -> set[str]:
        """The workers that are there, of those that the caller names (by address, name or host)
        and that have what he asks of them."""
        wanted = self._options.get("workers")
        several = [wanted] if isinstance(wanted, str | int) else wanted
        needed: Mapping[str, float] = self._options.get("resources") or {}
        return {
            address
            for address, about in self._told("identity")["workers"].items()
            if (several is None or {address, about["name"], about["host"]} & set(several))
            and all(about["resources"].get(name, 0) >= much for name, much in needed.items())
        }

    def _none(self) -> StreamsError:
        """Why nobody has a seat."""
        asked = [name for name in ("workers", "resources") if self._options.get(name)]
        if asked and self._alive():
            return ConfigError(
                f"{PATH}: no worker of the Dask cluster is one of those asked for by "
                f"{' and '.join(asked)}.",
                path=PATH,
                remedy="Ask get_executor for workers that are there.",
            )
        return ConnectionFailed(
            f"{PATH}: the Dask cluster has no workers.", remedy="Start some: dask worker."
        )

    def _seat(self, workers: Collection[str]) -> Mapping[str, int]:
        """Give workers a seat, and what was joined by the others."""
        versions = self._ask(worker.take_key, self._key, workers=workers)
        for address, version in versions.items():
            if version != __version__:
                raise ConfigError(
                    f"{PATH}: worker {address} has streams-engine {version}, this process "
                    f"{__version__}.",
                    path=PATH,
                    remedy="Install the same version on all workers.",
                )
        found = self._ask(worker.sit, self._config, workers=workers)
        for alias, ticket in self._tickets.items():
            self._ask(worker.join, seal(self._key, (alias, ticket)), workers=workers)
        self._seated |= set(workers)
        return found

    def join(self, alias: str, ticket: Ticket) -> None:
        """Let every worker join a source's view; see `Seats`."""
        sealed = seal(self._key, (alias, ticket))
        self._ask(worker.join, sealed, workers=self._seated, seconds=JOIN_SECONDS)
        self._tickets[alias] = ticket

    def hold(self, alias: str) -> bool:
        """True where the workers have joined that source's view."""
        return alias in self._tickets

    def close(self) -> None:
        """Every worker gives its seat up. Idempotent."""
        if self._closed.is_set():
            return
        self._closed.set()
        with contextlib.suppress(StreamsError):
            self._ask(worker.leave, workers=None, seconds=LEAVE_SECONDS, strict=False)
        with contextlib.suppress(Exception):
            self._client.unsubscribe_topic(self._run)

    def _ask(
        self,
        what: Callable[..., Any],
        *arguments: Any,
        workers: Collection[str] | None,
        seconds: float = ANSWER_SECONDS,
        strict: bool = True,
    ) -> Mapping[str, Any]:
        """Call a function on workers, outside of their tasks. ``strict``: all must answer."""
        try:
            answers: Mapping[str, Any] = self._client.run(
                what,
                self._run,
                *arguments,
                workers=None if workers is None else list(workers),
                on_error="return",
                callback_timeout=seconds,
            )
        except TimeoutError:
            if not strict:
                return {}
            raise LockTimeout(
                f"{PATH}: not every worker answered within {seconds} seconds.",
                remedy="Look at the workers, and at their ways to the databases.",
                retryable=False,  # writers wait while the workers join a view
            ) from None
        except Exception as error:
            raise _lost(error) from None
        for address, answer in answers.items() if strict else ():
            if isinstance(answer, BaseException):
                raise _refusal(address, answer)
        return answers

    # What the run's control says

    @contextmanager
    def watching(self) -> Iterator[None]:
        """The workers hear what they are to do, and that the run is alive."""
        watch = threading.Thread(
            target=self._watch, name="streams-engine-cluster-watch", daemon=True
        )
        watch.start()
        try:
            yield
        finally:
            self.close()
            watch.join()

    def _watch(self) -> None:
        said, at = self._control.word, time.monotonic()
        while not self._closed.is_set():
            word = self._control.watch(said, 0.2)
            if word is not said or time.monotonic() - at > BEAT_SECONDS:
                said, at = word, time.monotonic()
                with contextlib.suppress(StreamsError):
                    self._ask(worker.say, word, workers=None, seconds=BEAT_SECONDS, strict=False)

    # Chunks

    def copy(
        self, task: ChunkTask, run: tuple[str, Mapping[str, Any]], rows: int | None
    ) -> Iterator[Report]:
        """Have a chunk copied; see `Seats`."""
        sealed = seal(self._key, Flight(task, run, rows))
        while isinstance(result := (yield from self._fly(sealed, task)), worker.Unseated):
            self._admit(result.address)
        yield unseal(self._key, result)

    def _fly(self, sealed: bytes, task: ChunkTask) -> Generator[Report, None, Any]:
        """One task of the cluster: its reports, and what it returned."""
        name = uuid4().hex
        landed: queue.SimpleQueue[Report | None] = queue.SimpleQueue()
        self._flights[name] = landed
        future = self._submit(name, sealed)
        try:
            future.add_done_callback(lambda _: landed.put(None))
            landed_there = yield from self._reports(landed)
            return _result(future, task) if landed_there else seal(self._key, Report(name))
        finally:
            self._flights.pop(name, None)
            future.release()

    def _submit(self, name: str, sealed: bytes) -> Any:
        options = {**self._options, "pure": False}
        if not self._late:
            options |= {"workers": list(self._seated), "allow_other_workers": False}
        try:
            return self._client.submit(
                worker.copy_chunk, self._run, name, sealed, key=f"{self._run}-{name}", **options
            )
        except (OSError, RuntimeError, ValueError) as error:
            raise _lost(error) from None

    @property
    def _late(self) -> bool:
        """Workers that come now can still join every view."""
        return all(ticket.late for ticket in self._tickets.values())

    def _reports(self, landed: queue.SimpleQueue[Report | None]) -> Generator[Report, None, bool]:
        """Reports until the flight has ended. False where it is not waited for any longer.

        Raises where nobody is left to end it. While the cluster is busy with others a flight
        waits for its turn there: it obeys the run's control here.
        """
        alone, begun, dropped = 0.0, False, 0.0
        while True:
            try:
                report = landed.get(timeout=1)
            except queue.Empty:
                alone = self._alone(alone)
                word = self._control.word
                dropped = dropped or (time.monotonic() if word is Word.DROP else 0.0)
                if dropped and time.monotonic() - dropped > DROP_SECONDS:
                    return False
                if not begun and word in (Word.END, Word.DROP):
                    return False
                if not begun and word is Word.HOLD:
                    yield Report("", holding=True)
                continue
            if report is None:
                return True
            begun = True
            yield report

    def _alone(self, since: float) -> float:
        """Since when no worker is there who could copy; 0 where one is."""
        if self._client.status != "running":
            raise _lost(OSError())
        alive = self._alive()
        if not self._late and not alive & self._seated:
            raise _unjoined()
        if alive:
            return 0.0
        since = since or time.monotonic()
        if time.monotonic() - since > WORKERLESS_SECONDS:
            raise ConnectionFailed(
                f"The Dask cluster has had no worker for {WORKERLESS_SECONDS} seconds.",
                remedy="Start workers, and the stream again: it continues from its checkpoint.",
            )
        return since

    def _admit(self, address: str) -> None:
        """Seat a worker that came later, or came back.

        Raises `SnapshotLost` where it cannot join any more, and no other worker has.
        """
        with self._seating:
            if not self._late:  # another process at the address of the one that had joined
                self._seated.discard(address)
                if not self._seated:
                    raise _unjoined()
            elif address in self._alive():
                self._seat([address])

    def _alive(self) -> set[str]:
        """The workers' addresses."""
        return set(self._told("ncores", workers=None))

    def _told(self, what: str, **arguments: Any) -> Any:
        """What the scheduler says. Raises `ConnectionFailed` where it is silent."""
        try:
            ask = getattr(self._client.scheduler, what)
            return self._client.sync(ask, callback_timeout=ANSWER_SECONDS, **arguments)
        except Exception as error:
            raise _lost(error) from None

    def _heard(self, event: tuple[Any, Any]) -> None:
        name, sealed = event[1]
        flight = self._flights.get(name)
        if flight is not None:
            flight.put(unseal(self._key, sealed))


def _result(future: Any, task: ChunkTask) -> Any:
    """What a flight brought. Raises `ProcessLost` where several workers died of it."""
    try:
        return future.result(timeout=ANSWER_SECONDS)
    except KilledWorker:
        raise ProcessLost(
            f"{task.mapping.source.id}: several workers died while they copied the same chunk.",
            remedy="Look into their logs; give them more memory, or fewer threads.",
            table=str(task.mapping.source.id),
        ) from None
    except StreamsError:
        raise
    except Exception as error:
        # Of the task: by the scheduler, or by a worker that came later.
        if isinstance(error, ImportError) or "deserialization" in str(error):
            raise ConfigError(
                f"{PATH}: the Dask scheduler, or a worker, cannot read what is submitted.",
                path=PATH,
                remedy="Install streams-engine[cluster] there, with the versions of this process.",
            ) from None
        raise _lost(error) from None


def _unjoined() -> SnapshotLost:
    return SnapshotLost(
        "Every worker that had joined the source's view is lost, and nobody can join it any more.",
        remedy="Start the stream again: it continues from its checkpoint.",
    )


def _lost(error: BaseException) -> ConnectionFailed:
    return ConnectionFailed(
        f"The Dask cluster is lost ({type(error).__name__}).",
        remedy="Start the stream again when its scheduler answers: it continues from its "
        "checkpoint.",
    )


def _refusal(address: str, error: BaseException) -> StreamsError:
    """Why a worker has no seat."""
    if isinstance(error, StreamsError):
        error.message = f"worker {address}: {error.message}"
        return error
    if isinstance(error, OSError):
        return ConnectionFailed(
            f"{PATH}: worker {address} does not answer.",
            remedy="Look whether it is there still, and start the stream again.",
        )
    return ConfigError(
        f"{PATH}: worker {address} cannot take part ({type(error).__name__}).",
        path=PATH,
        remedy="Install streams-engine[cluster] there, with the versions of this process.",
    )
