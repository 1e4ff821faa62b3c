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

from streams_engine._version import __version__
from streams_engine.contracts import SnapshotHandle
from streams_engine.dask import worker
from streams_engine.dask.sealed import new_key, seal, unseal
from streams_engine.errors import (
    ConfigError,
    ConnectionFailed,
    LockTimeout,
    ProcessLost,
    SnapshotLost,
    StreamsError,
)
from streams_engine.pipeline.control import Control, Directive
from streams_engine.pipeline.remote.copier import ChunkRequest
from streams_engine.pipeline.remote.fenced_copy import ChunkProgress
from streams_engine.pipeline.snapshot.chunk_copy import ChunkTask

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
    """The workers of a Dask cluster; see `pipeline.remote.copier.WorkerCluster`."""

    def __init__(self, executor: Any, assembly: worker.WorkerAssembly, limit: int | None) -> None:
        """Describe a cluster; does not connect.

        ``executor`` is `client.get_executor()`, a client, or a scheduler's address. ``assembly``
        contains all that a worker needs; ``limit`` is the highest number of chunks at once, None
        for as many as the workers have threads.
        """
        self._executor = executor
        self._assembly = assembly
        self._limit = limit

    @contextmanager
    def open_pool(self, control: Control) -> Iterator[DaskWorkerPool]:
        """Open sessions on all workers, and close them at the end.

        Raises `ConfigError` if a worker lacks the library, and the error that keeps a worker from
        opening source or target.
        """
        with self._client() as (client, options):
            pool = DaskWorkerPool(client, options, self._assembly, self._limit, control)
            try:
                pool.open()
                with pool.watching():
                    yield pool
            finally:
                pool.close()

    @contextmanager
    def _client(self) -> Iterator[tuple[Client, Mapping[str, Any]]]:
        """Yield a client and the options with which the caller submits tasks."""
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
    """Connect a new client and close it at the end. Raises `ConnectionFailed` if no scheduler
    answers."""
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
            remedy=(
                "Start a scheduler there, or name another address, such as tcp://scheduler:8786."
            ),
        ) from None
    with client:
        yield client


class DaskWorkerPool:
    """One run's seats; see `pipeline.remote.copier.WorkerPool`."""

    def __init__(
        self,
        client: Client,
        options: Mapping[str, Any],
        assembly: worker.WorkerAssembly,
        limit: int | None,
        control: Control,
    ) -> None:
        self._client = client
        self._options = dict(options)
        self._run = f"streams-engine-{uuid4().hex}"
        self._key = new_key()
        self._sealed = seal(self._key, assembly)
        self._limit = limit
        self._control = control
        self._handles: dict[str, SnapshotHandle] = {}
        self._seated: set[str] = set()
        self._seating = threading.Lock()
        self._arrivals: dict[str, queue.SimpleQueue[ChunkProgress | None]] = {}
        self._closed = threading.Event()
        self.slots = 0

    # Seats

    def open(self) -> None:
        """Open a session on every present worker."""
        try:
            self._client.subscribe_topic(self._run, self._heard)
        except Exception as error:
            raise _lost(error) from None
        end = time.monotonic() + ANSWER_SECONDS
        while not (there := self._wanted()) and time.monotonic() < end:
            self._closed.wait(0.5)
        if not there:
            raise self._none()
        threads = self._seat(there)
        slots = sum(threads.values())
        self.slots = slots if self._limit is None else min(slots, self._limit)

    def _wanted(self) -> set[str]:
        """Return the workers that the caller names (by address, name or host) and that have the
        requested resources."""
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
        """Return the error for a cluster without usable workers."""
        asked = [name for name in ("workers", "resources") if self._options.get(name)]
        if asked and self._alive():
            return ConfigError(
                f"{PATH}: no worker of the Dask cluster matches {' and '.join(asked)}.",
                path=PATH,
                remedy="Call get_executor with workers that exist.",
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
        answers = self._ask(worker.open_session, self._sealed, workers=workers)
        for alias, handle in self._handles.items():
            self._ask(worker.join_snapshot, seal(self._key, (alias, handle)), workers=workers)
        self._seated |= set(workers)
        return answers

    def join(self, alias: str, handle: SnapshotHandle) -> None:
        """Let every worker join a source's view; see `WorkerPool`."""
        sealed = seal(self._key, (alias, handle))
        self._ask(worker.join_snapshot, sealed, workers=self._seated, seconds=JOIN_SECONDS)
        self._handles[alias] = handle

    def hold(self, alias: str) -> bool:
        """Return True if the workers have joined that source's snapshot."""
        return alias in self._handles

    def close(self) -> None:
        """Close the session on every worker. Idempotent."""
        if self._closed.is_set():
            return
        self._closed.set()
        with contextlib.suppress(StreamsError):
            self._ask(worker.close_session, workers=None, seconds=LEAVE_SECONDS, strict=False)
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
                f"{PATH}: some workers did not answer within {seconds} seconds.",
                remedy="Check the workers, and that they can reach the databases.",
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
        """Tell the workers the run's directives, and that the run is alive, until the end of the
        block."""
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
                    self._ask(
                        worker.send_directive,
                        word,
                        workers=None,
                        seconds=BEAT_SECONDS,
                        strict=False,
                    )

    # Chunks

    def copy(
        self, task: ChunkTask, run: tuple[str, Mapping[str, Any]], rows: int | None
    ) -> Iterator[ChunkProgress]:
        """Copy a chunk on a worker, yielding its progress; see `WorkerPool`."""
        sealed = seal(self._key, ChunkRequest(task, run, rows))
        while isinstance(
            result := (yield from self._run_task(sealed, task)), worker.SessionMissing
        ):
            self._admit(result.address)
        yield unseal(self._key, result)

    def _run_task(self, sealed: bytes, task: ChunkTask) -> Generator[ChunkProgress, None, Any]:
        """Run one task on the cluster: yield its progress, and return its result."""
        name = uuid4().hex
        arrivals: queue.SimpleQueue[ChunkProgress | None] = queue.SimpleQueue()
        self._arrivals[name] = arrivals
        future = self._submit(name, sealed)
        try:
            future.add_done_callback(lambda _: arrivals.put(None))
            waited_for = yield from self._reports(arrivals)
            return _result(future, task) if waited_for else seal(self._key, ChunkProgress(name))
        finally:
            self._arrivals.pop(name, None)
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
        return all(handle.late for handle in self._handles.values())

    def _reports(
        self, arrivals: queue.SimpleQueue[ChunkProgress | None]
    ) -> Generator[ChunkProgress, None, bool]:
        """Yield progress until the task has ended; return False if it is not waited for any longer.

        Raises if no worker is left to end it. A task may have to wait for its turn on the cluster;
        meanwhile the run's directives apply here.
        """
        alone, begun, dropped = 0.0, False, 0.0
        while True:
            try:
                report = arrivals.get(timeout=1)
            except queue.Empty:
                alone = self._alone(alone)
                word = self._control.word
                dropped = dropped or (time.monotonic() if word is Directive.ABORT else 0.0)
                if dropped and time.monotonic() - dropped > DROP_SECONDS:
                    return False
                if not begun and word in (Directive.END, Directive.ABORT):
                    return False
                if not begun and word is Directive.PAUSE:
                    yield ChunkProgress("", holding=True)
                continue
            if report is None:
                return True
            begun = True
            yield report

    def _alone(self, since: float) -> float:
        """Return since when no worker could copy; 0 if one can."""
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
                remedy=(
                    "Start workers, and start the stream again: it resumes from its checkpoint."
                ),
            )
        return since

    def _admit(self, address: str) -> None:
        """Open a session on a worker that came later, or came back.

        Raises `SnapshotLost` if it cannot join the snapshot any more, and no other worker has.
        """
        with self._seating:
            if not self._late:  # another process at the address of the one that had joined
                self._seated.discard(address)
                if not self._seated:
                    raise _unjoined()
            elif address in self._alive():
                self._seat([address])

    def _alive(self) -> set[str]:
        """Return the addresses of the present workers."""
        return set(self._told("ncores", workers=None))

    def _told(self, what: str, **arguments: Any) -> Any:
        """Return the scheduler's answer. Raises `ConnectionFailed` if it is silent."""
        try:
            ask = getattr(self._client.scheduler, what)
            return self._client.sync(ask, callback_timeout=ANSWER_SECONDS, **arguments)
        except Exception as error:
            raise _lost(error) from None

    def _heard(self, event: tuple[Any, Any]) -> None:
        name, sealed = event[1]
        arrivals = self._arrivals.get(name)
        if arrivals is not None:
            arrivals.put(unseal(self._key, sealed))


def _result(future: Any, task: ChunkTask) -> Any:
    """Return the result of a request. Raises `ProcessLost` if several workers died of it."""
    try:
        return future.result(timeout=ANSWER_SECONDS)
    except KilledWorker:
        raise ProcessLost(
            f"{task.mapping.source.id}: several workers died while they copied the same chunk.",
            remedy="See their logs; give them more memory, or fewer threads.",
            table=str(task.mapping.source.id),
        ) from None
    except StreamsError:
        raise
    except Exception as error:
        # Of the task: by the scheduler, or by a worker that came later.
        if isinstance(error, ImportError) or "deserialization" in str(error):
            raise ConfigError(
                f"{PATH}: the Dask scheduler or a worker cannot unpickle the task.",
                path=PATH,
                remedy=(
                    "Install streams-engine[cluster] there, with the same versions as in "
                    "this process."
                ),
            ) from None
        raise _lost(error) from None


def _unjoined() -> SnapshotLost:
    return SnapshotLost(
        "All workers that had joined the source's snapshot are lost; no other worker can join it.",
        remedy="Start the stream again: it resumes from its checkpoint.",
    )


def _lost(error: BaseException) -> ConnectionFailed:
    return ConnectionFailed(
        f"The connection to the Dask cluster is lost ({type(error).__name__}).",
        remedy=(
            "Start the stream again when its scheduler answers: it resumes from its checkpoint."
        ),
    )


def _refusal(address: str, error: BaseException) -> StreamsError:
    """Return the error for a worker on which no session could be opened."""
    if isinstance(error, StreamsError):
        error.message = f"worker {address}: {error.message}"
        return error
    if isinstance(error, OSError):
        return ConnectionFailed(
            f"{PATH}: worker {address} does not answer.",
            remedy="Check whether it still runs, and start the stream again.",
        )
    return ConfigError(
        f"{PATH}: worker {address} cannot be used ({type(error).__name__}).",
        path=PATH,
        remedy="Install streams-engine[cluster] there, with the same versions as in this process.",
    )
