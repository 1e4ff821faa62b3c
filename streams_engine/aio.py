"""`AsyncStream`: the same stream for asyncio. A thin face: the work runs on threads."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

from streams_engine.config.secret import References, Resolver
from streams_engine.config.tracebacks import without_locals
from streams_engine.errors import StreamsError
from streams_engine.journal import Listener
from streams_engine.lifecycle import State
from streams_engine.runtime.planning import Plan
from streams_engine.runtime.verifying import VerifyReport
from streams_engine.stats import Stats
from streams_engine.stream import ALL, Stream

__all__ = ["AsyncStream"]


class AsyncStream:
    """A `Stream` whose blocking calls are awaited, and whose progress is iterated.

    ``async for stats in stream`` yields a `Stats` at every reporting interval and ends with
    the stream.
    """

    @without_locals
    def __init__(self, source: Any, target: Any, **options: Any) -> None:
        """As `Stream`. Raises `ConfigError`."""
        self._stream = Stream(source, target, **options)

    @classmethod
    @without_locals
    def from_config(
        cls,
        config: Mapping[str, Any] | str | Path,
        connections: Mapping[str, Any] | None = None,
        resolvers: Mapping[str, Resolver] | None = None,
        *,
        references: References = ALL,
    ) -> AsyncStream:
        """As `Stream.from_config`."""
        found = cls.__new__(cls)
        found._stream = Stream.from_config(config, connections, resolvers, references=references)
        return found

    def __repr__(self) -> str:
        stream = getattr(self, "_stream", None)
        return "<AsyncStream, not made>" if stream is None else f"<Async{repr(stream)[1:]}"

    @property
    def name(self) -> str:
        """The name under which its checkpoint is kept."""
        return self._stream.name

    @property
    def state(self) -> State:
        """Where it is in its life."""
        return self._stream.state

    @property
    def error(self) -> StreamsError | None:
        """What a FAILED stream failed of."""
        return self._stream.error

    def stats(self) -> Stats:
        """A frozen copy of the counters."""
        return self._stream.stats()

    def on_progress(self, callback: Callable[[Stats], None]) -> None:
        """As `Stream.on_progress`; called on the stream's thread, not in the event loop."""
        self._stream.on_progress(callback)

    def on_state(self, callback: Callable[[State, State], None]) -> None:
        """As `Stream.on_state`; called on the stream's thread, not in the event loop."""
        self._stream.on_state(callback)

    def on_record(self, callback: Listener) -> None:
        """As `Stream.on_record`; called on the stream's thread, not in the event loop."""
        self._stream.on_record(callback)

    def start(self, *, fresh: bool = False) -> None:
        """As `Stream.start`; does not block."""
        self._stream.start(fresh=fresh)

    def pause(self) -> None:
        """As `Stream.pause`; does not block."""
        self._stream.pause()

    def resume(self) -> None:
        """As `Stream.resume`; does not block."""
        self._stream.resume()

    def stop(self, *, force: bool = False) -> None:
        """As `Stream.stop`; does not block."""
        self._stream.stop(force=force)

    async def plan(self) -> Plan:
        """As `Stream.plan`."""
        return await asyncio.to_thread(self._stream.plan)

    async def run(self, *, fresh: bool = False) -> Stats:
        """As `Stream.run`; a cancelled task stops the stream cleanly first."""
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
        """As `Stream.wait`."""
        return await asyncio.to_thread(self._stream.wait, *states, timeout=timeout)

    async def catch_up(self, timeout: float | None = None) -> bool:
        """As `Stream.catch_up`."""
        return await asyncio.to_thread(self._stream.catch_up, timeout)

    async def release(self) -> None:
        """As `Stream.release`."""
        await asyncio.to_thread(self._stream.release)

    async def verify(self, on_progress: Callable[[Any, int], None] | None = None) -> VerifyReport:
        """As `Stream.verify`."""
        return await asyncio.to_thread(self._stream.verify, on_progress)

    def __aiter__(self) -> AsyncIterator[Stats]:
        return self._progress()

    async def _progress(self) -> AsyncIterator[Stats]:
        loop = asyncio.get_running_loop()
        arrived: asyncio.Queue[Stats] = asyncio.Queue()
        self.on_progress(lambda stats: _hand_over(loop, arrived, stats))
        if self.state.final:
            yield self.stats()
            return
        while True:
            stats = await arrived.get()
            yield stats
            if stats.state.final:
                return

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
