"""`AsyncStream`: the same stream for asyncio. A thin face: the work runs on threads."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from streams_engine.alerts import AlertCallback
from streams_engine.config.options import Mode, StreamOptions
from streams_engine.config.secret import References, Resolver
from streams_engine.config.tracebacks import without_locals
from streams_engine.errors import StreamsError
from streams_engine.events import Listener, Unsubscribe
from streams_engine.health import Health
from streams_engine.lifecycle import State
from streams_engine.stats import Stats
from streams_engine.stream import ALL, Moved, Progress, Stream

if TYPE_CHECKING:
    from streams_engine.config.connection import Place
    from streams_engine.contracts import Sink, Source
    from streams_engine.pipeline.snapshot.plan import Plan
    from streams_engine.stream import VerifyMode, VerifyProgress
    from streams_engine.verify.report import VerifyReport

__all__ = ["AsyncStream"]


class AsyncStream:
    """A `Stream` whose blocking calls are awaited, and whose progress is iterated.

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
        """Create a `Stream`. Raises `ConfigError`."""
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
        """Create a stream with `Stream.from_config`."""
        stream = cls.__new__(cls)
        stream._stream = Stream.from_config(
            config, connections, resolvers, references=references, ids=ids
        )
        return stream

    def __repr__(self) -> str:
        stream = getattr(self, "_stream", None)
        return "<AsyncStream, not made>" if stream is None else f"<Async{repr(stream)[1:]}"

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
        """Return how the stream does, as `Stream.health`."""
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
        """Register a callback with `Stream.on_alert`; it runs on the stream's thread, not in the
        event loop."""
        return self._stream.on_alert(
            callback, lag=lag, retained=retained, quarantined=quarantined, silent=silent
        )

    def on_progress(self, callback: Progress) -> Unsubscribe:
        """Register a callback with `Stream.on_progress`; it runs on the stream's thread, not in the
        event loop."""
        return self._stream.on_progress(callback)

    def on_state(self, callback: Moved) -> Unsubscribe:
        """Register a callback with `Stream.on_state`; it runs on the stream's thread, not in the
        event loop."""
        return self._stream.on_state(callback)

    def on_record(self, callback: Listener) -> Unsubscribe:
        """Register a callback with `Stream.on_record`; it runs on the stream's thread, not in the
        event loop."""
        return self._stream.on_record(callback)

    def start(self, *, fresh: bool = False) -> None:
        """Call `Stream.start`, which does not block."""
        self._stream.start(fresh=fresh)

    def pause(self) -> None:
        """Call `Stream.pause`, which does not block."""
        self._stream.pause()

    def resume(self) -> None:
        """Call `Stream.resume`, which does not block."""
        self._stream.resume()

    def stop(self, *, force: bool = False) -> None:
        """Call `Stream.stop`, which does not block."""
        self._stream.stop(force=force)

    async def plan(self) -> Plan:
        """Run `Stream.plan` in a thread."""
        return await asyncio.to_thread(self._stream.plan)

    async def run(self, *, fresh: bool = False) -> Stats:
        """Run the stream to its end, as `Stream.run`; cancelling the task first stops the stream
        cleanly."""
        self.start(fresh=fresh)
        try:
            await self.wait()
        except asyncio.CancelledError:
            await self._stop_quietly()
            raise
        await self._stop_quietly()
        if self.state is State.FAILED and self.error is not None:
            raise self.error
        return self.stats()

    async def wait(self, *states: State, timeout: float | None = None) -> State:
        """Run `Stream.wait` in a thread."""
        return await asyncio.to_thread(self._stream.wait, *states, timeout=timeout)

    async def catch_up(self, timeout: float | None = None) -> bool:
        """Run `Stream.catch_up` in a thread."""
        return await asyncio.to_thread(self._stream.catch_up, timeout)

    async def release(self) -> None:
        """Run `Stream.release` in a thread."""
        await asyncio.to_thread(self._stream.release)

    async def verify(
        self,
        tables: Sequence[str] | None = None,
        mode: VerifyMode = "full",
        sample: float | None = None,
        live: bool | None = None,
        repair: bool = False,
        resume: bool = True,
        *,
        on_progress: VerifyProgress | None = None,
    ) -> VerifyReport:
        """Run `Stream.verify` in a thread."""
        return await asyncio.to_thread(
            self._stream.verify,
            tables,
            mode,
            sample,
            live,
            repair,
            resume,
            on_progress=on_progress,
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
        await asyncio.to_thread(self._stream.__exit__, None, None, None)


def _hand_over(
    loop: asyncio.AbstractEventLoop, arrived: asyncio.Queue[Stats], stats: Stats
) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(arrived.put_nowait, stats)
