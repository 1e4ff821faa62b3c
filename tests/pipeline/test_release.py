"""A release waits for the end of a stream that was asked to stop, in both faces."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from streams_engine import AsyncStream, State, Stream
from streams_engine.adapters.memory import MemorySource
from streams_engine.adapters.memory.source import MemoryReader
from streams_engine.errors import StateConflict
from streams_engine.model import ChangeSet, Position, TableSubscription
from tests.support.memory_run import MemoryRun, ends, filled

SECONDS = 60


class HeldSource(MemorySource):
    """A source whose log, once it is held, gives nothing and ends no poll until it is let go."""

    held, polling, let_go = threading.Event(), threading.Event(), threading.Event()

    @contextmanager
    def changes(
        self, tracked: Sequence[TableSubscription], after: Position
    ) -> Iterator[MemoryReader]:
        with super().changes(tracked, after) as reader:
            poll = reader.poll

            def polled(timeout: float, rows: int | None = None) -> ChangeSet | None:
                if self.held.is_set():
                    self.polling.set()
                    assert self.let_go.wait(SECONDS)
                return poll(timeout, rows)

            reader.poll = polled  # type: ignore[method-assign]
            yield reader


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> tuple[HeldSource, Any, dict[str, Any]]:
    """The ends of a cdc whose source is let go by whoever waits for the end."""
    run = filled(MemoryRun())
    _, sink, options = ends(run, mode="cdc")
    source = HeldSource(run.source)
    source.held, source.polling, source.let_go = (threading.Event() for _ in range(3))
    wait = Stream.wait

    def waited(stream: Stream, *states: State, timeout: float | None = None) -> State:
        source.let_go.set()
        return wait(stream, *states, timeout=timeout)

    monkeypatch.setattr(Stream, "wait", waited)
    return source, sink, options


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("paused", [False, True])
def test_a_release_after_a_stop(
    held: tuple[HeldSource, Any, dict[str, Any]], force: bool, paused: bool
) -> None:
    source, sink, options = held
    stream = Stream(source, sink, **options)
    stream.start()
    assert stream.catch_up(SECONDS)
    if paused:
        stream.pause()
        stream.wait(State.PAUSED, timeout=SECONDS)
        source.let_go.clear()
    source.held.set()
    if not paused:
        assert source.polling.wait(SECONDS)
    with pytest.raises(StateConflict, match="is running"):
        stream.release()
    stream.stop(force=force)
    assert stream.release() == (f"checkpoint of {stream.name} on the target",)
    assert stream.state is State.STOPPED


@pytest.mark.parametrize("force", [False, True])
def test_an_awaited_release_after_a_stop(
    held: tuple[HeldSource, Any, dict[str, Any]], force: bool
) -> None:
    source, sink, options = held

    async def main() -> tuple[str, ...]:
        stream = AsyncStream(source, sink, **options)
        stream.start()
        assert await stream.catch_up(SECONDS)
        source.held.set()
        assert await asyncio.to_thread(source.polling.wait, SECONDS)
        with pytest.raises(StateConflict, match="is running"):
            await stream.release()
        stream.stop(force=force)
        return await stream.release()

    assert asyncio.run(main())
