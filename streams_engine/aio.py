"""`AsyncStream`: the same stream for asyncio. A thin face: the work runs on threads."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, Unpack, cast

from streams_engine.alerts import Alert
from streams_engine.config.options import Mode, StreamOptions
from streams_engine.config.secret import References, Resolver
from streams_engine.config.tracebacks import without_locals
from streams_engine.display import html_block
from streams_engine.errors import ConfigError, StreamsError
from streams_engine.events import Event, Unsubscribe, is_awaited
from streams_engine.health import Health
from streams_engine.lifecycle import State
from streams_engine.stats import Stats
from streams_engine.stream import ALL, CALLBACK_SECONDS, Stream
from streams_engine.waits import awaited

if TYPE_CHECKING:
    from streams_engine.config.connection import Place
    from streams_engine.contracts import Sink, Source
    from streams_engine.model import TableId
    from streams_engine.pipeline.snapshot.plan import Plan
    from streams_engine.stream import VerifyMode
    from streams_engine.verify.report import VerifyReport

__all__ = ["AsyncStream"]

log = logging.getLogger("streams_engine.stream")

Told: TypeAlias = "Awaitable[None] | None"
"""What a callback returns: one that is ``async def`` is awaited."""
AlertCallback = Callable[[Alert], Told]
Progress = Callable[[Stats], Told]
Moved = Callable[[State, State], Told]
Listener = Callable[[Event], Told]
VerifyProgress: TypeAlias = "Callable[[TableId, int], Told]"


class AwaitedCallbacks:
    """The callbacks of a stream that are ``async def``: awaited in the event loop in which they
    were given, one after another. Their exceptions are logged and do no harm."""

    def __init__(self) -> None:
        self._order = asyncio.Lock()
        self._pending: set[Future[None]] = set()

    def plain(self, callback: Callable[..., Told]) -> Callable[..., None]:
        """Return a callback for the stream's threads, which do not wait for it. Raises
        `ConfigError` for ``async def`` outside an event loop."""
        if not is_awaited(callback):
            return cast(Callable[..., None], callback)
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            raise ConfigError(
                "A callback that is async def was given outside an event loop.",
                remedy="Give it inside the coroutine that runs the stream, or a plain function.",
            ) from None
        return partial(self._schedule, loop, callback)

    def _schedule(self, loop: asyncio.AbstractEventLoop, callback: Any, *given: Any) -> None:
        if loop.is_closed():
            return
        future = asyncio.run_coroutine_threadsafe(self._call(callback, given), loop)
        self._pending.add(future)
        future.add_done_callback(self._pending.discard)

    async def _call(self, callback: Any, given: tuple[Any, ...]) -> None:
        async with self._order:  # which serves those who wait in their order
            try:
                await callback(*given)
            except Exception:
                log.exception("A callback failed.")

    async def delivered(self, seconds: float) -> None:
        """Wait until the callbacks that are due have returned, at most so many seconds for all;
        cancel the rest."""
        waiting = [asyncio.wrap_future(future) for future in list(self._pending)]
        if not waiting:
            return
        _, late = await asyncio.wait(waiting, timeout=max(0.0, seconds))
        for one in late:
            one.cancel()
        if late:
            log.warning(
                "%d callbacks have not returned within %.0f s: cancelled.",
                len(late),
                CALLBACK_SECONDS,
            )


class AsyncStream:
    """A `Stream` whose blocking calls are awaited, and whose progress is iterated.

    Takes what `Stream` takes, connects to nothing yet, and raises `ConfigError` like it.
    ``async for stats in stream`` yields a `Stats` at every reporting interval and ends with
    the stream.
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
        self._callbacks = AwaitedCallbacks()
        self._stream = Stream(
            source,
            target,
            mode=mode,
            tables=tables,
            resolvers=resolvers,
            references=references,
            **options,
        )

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
    ) -> AsyncStream:
        """Create a stream from a document (of either generation), a JSON text or a JSON file."""
        stream = cls.__new__(cls)
        stream._callbacks = AwaitedCallbacks()
        stream._stream = Stream.from_config(
            config, connections, resolvers, references=references, ids=ids
        )
        return stream

    def __repr__(self) -> str:
        stream = getattr(self, "_stream", None)
        return "<AsyncStream, not made>" if stream is None else f"<Async{repr(stream)[1:]}"

    def _repr_html_(self) -> str:
        return html_block(repr(self), self.stats()._repr_html_())

    @property
    def name(self) -> str:
        """The name under which its checkpoint is stored."""
        return self._stream.name

    @property
    def follows(self) -> bool:
        """True for a cdc, which follows the log of its sources."""
        return self._stream.follows

    @property
    def state(self) -> State:
        """Present state of the stream."""
        return self._stream.state

    @property
    def error(self) -> StreamsError | None:
        """The error of a FAILED stream."""
        return self._stream.error

    def stats(self) -> Stats:
        """Return a frozen copy of the counters."""
        return self._stream.stats()

    def health(self) -> Health:
        """Return the health: ok, degraded (it waits for a server, is paused, was stopped, or rows
        are missing on the target) or failed."""
        return self._stream.health()

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
        ``failed``. With ``async def`` it is awaited in this event loop."""
        return self._stream.on_alert(
            self._callbacks.plain(callback),
            lag=lag,
            retained=retained,
            quarantined=quarantined,
            silent=silent,
        )

    def on_progress(self, callback: Progress) -> Unsubscribe:
        """Call ``callback`` with a `Stats` at every reporting interval and at the end. One that is
        ``async def`` is awaited in this event loop, another is called on the stream's thread."""
        return self._stream.on_progress(self._callbacks.plain(callback))

    def on_state(self, callback: Moved) -> Unsubscribe:
        """Call ``callback`` with (old, new) at every change of the state. One that is ``async
        def`` is awaited in this event loop."""
        return self._stream.on_state(self._callbacks.plain(callback))

    def on_record(self, callback: Listener) -> Unsubscribe:
        """Call ``callback`` with every `Event`, on the thread on which it happens. One that is
        ``async def`` is awaited in this event loop."""
        return self._stream.on_record(self._callbacks.plain(callback))

    def start(self, *, fresh: bool = False) -> None:
        """Start in the background; ``fresh`` discards the checkpoint of an earlier run."""
        self._stream.start(fresh=fresh)

    def pause(self) -> None:
        """Pause once the bundle in progress is committed; `wait(State.PAUSED)` waits for that."""
        self._stream.pause()

    def resume(self) -> None:
        """Continue from PAUSED."""
        self._stream.resume()

    def stop(self, *, force: bool = False) -> State:
        """Stop once the bundle in progress is committed; ``force`` abandons the bundle.
        Return the state; a stream that has ended stays as it is."""
        return self._stream.stop(force=force)

    async def plan(self) -> Plan:
        """Plan a run: tables, types, DDL, warnings, skipped objects."""
        return await asyncio.to_thread(self._stream.plan)

    async def run(self, *, fresh: bool = False) -> Stats:
        """Start, wait for the end, and return the final stats. Cancelling the task first stops the
        stream cleanly."""
        self.start(fresh=fresh)
        try:
            await self.wait()
        except asyncio.CancelledError:
            await self._stop_quietly()
            raise
        await self._stop_quietly()
        self._stream._raise_failure()
        return self.stats()

    async def wait(self, *states: State, timeout: float | None = None) -> State:
        """Wait until one of ``states`` or a final state is reached, and return it. FAILED is
        returned like any other; `error` has the reason. Raises `TimeoutError`."""
        return await awaited(self._stream.wait, *states, timeout=timeout)

    async def wait_until(self, event: asyncio.Event, timeout: float | None = None) -> State:
        """Wait until ``event`` is set or the stream ends; return the state. Raises the error of a
        FAILED stream, and `TimeoutError` after ``timeout`` seconds."""
        both = [asyncio.ensure_future(one) for one in (event.wait(), self.wait())]
        try:
            done, _ = await asyncio.wait(both, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in both:
                one.cancel()
        for one in done:
            one.result()
        if not done:
            raise TimeoutError(f"Still {self.state} after {timeout} seconds.")
        self._stream._raise_failure()
        return self.state

    async def catch_up(self, timeout: float | None = None, *, elsewhere: bool = False) -> bool:
        """Wait until everything committed on the source before the call is durable on the target;
        only for cdc. ``elsewhere``: another process runs the stream. Return False if that takes
        longer than ``timeout`` seconds, or the stream is stopped. Raises the error of a FAILED
        stream."""
        return await awaited(partial(self._stream.catch_up, timeout, elsewhere=elsewhere))

    async def release(self) -> tuple[str, ...]:
        """Drop the slot and publication that a cdc created, and its checkpoint; return a
        description of what was dropped. Waits for the end of a stream that was asked to stop."""
        if self._stream.is_stopping:
            await self.wait()
        return await asyncio.to_thread(self._stream.release)

    async def verify(
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

        ``tables``: names, or one name; None: all. ``mode`` "sample" compares a share of the rows,
        ``sample`` of them (0.01 unless said). ``live``: rows are written meanwhile; None: if a cdc
        runs here. ``repair`` writes the differing rows of the target again. ``resume``: go on from
        a verification that was interrupted. ``structure``: compare keys, indexes and columns too.
        ``on_progress`` is called with a table's `TableId` and the rows compared so far; it may be
        ``async def``. Raises as `Stream.verify`.
        """
        return await awaited(
            self._stream.verify,
            tables,
            mode,
            sample,
            live,
            repair,
            resume,
            structure=structure,
            on_progress=None if on_progress is None else self._callbacks.plain(on_progress),
        )

    def __aiter__(self) -> AsyncIterator[Stats]:
        return self._progress()

    async def _progress(self) -> AsyncIterator[Stats]:
        loop = asyncio.get_running_loop()
        arrived: asyncio.Queue[Stats] = asyncio.Queue()
        unsubscribe = self.on_progress(lambda stats: _hand_over(loop, arrived, stats))
        try:
            if self.state.final:
                yield self.stats()
                return
            while True:
                stats = await arrived.get()
                yield stats
                if stats.state.final:
                    return
        finally:
            unsubscribe()

    async def __aenter__(self) -> AsyncStream:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stop_quietly()

    async def _stop_quietly(self) -> None:
        await awaited(self._stream._end_quietly)
        begun = time.monotonic()
        await awaited(self._stream._join_reporter)
        await self._callbacks.delivered(CALLBACK_SECONDS - (time.monotonic() - begun))


def _hand_over(
    loop: asyncio.AbstractEventLoop, arrived: asyncio.Queue[Stats], stats: Stats
) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(arrived.put_nowait, stats)
