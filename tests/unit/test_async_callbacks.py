"""Callbacks that are ``async def``: awaited by an AsyncStream, refused by name by a Stream."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

from streams_engine import AsyncStream, Stream
from streams_engine.errors import ConfigError
from streams_engine.lifecycle import State


@pytest.fixture
def ends(tmp_path: Path) -> tuple[str, str]:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "t.csv").write_text("id\n1\n2\n")
    return str(tmp_path / "in"), str(tmp_path / "out")


async def told(*_: Any) -> None:
    """Nobody calls it."""


class Told:
    """Its call is async def."""

    async def __call__(self, *_: Any) -> None: ...


@pytest.mark.parametrize("callback", [told, Told()], ids=["function", "object"])
def test_a_stream_refuses_what_it_would_not_await(ends: tuple[str, str], callback: Any) -> None:
    stream = Stream(*ends)
    calls: list[Any] = [
        stream.on_progress,
        stream.on_state,
        stream.on_record,
        lambda given: stream.on_alert(given, lag=1),
        lambda given: stream.verify(on_progress=given),
    ]
    for call in calls:
        with pytest.raises(ConfigError, match="old is async def"):
            call(callback)


def test_an_async_stream_awaits_them_in_its_loop(ends: tuple[str, str]) -> None:
    states: list[State] = []
    threads: set[threading.Thread] = set()
    events: list[str] = []

    async def moved(old: State, new: State) -> None:
        await asyncio.sleep(0.01)
        states.append(new)
        threads.add(threading.current_thread())

    async def noted(event: Any) -> None:
        events.append(event.event)
        raise ValueError("it does no harm")

    async def main() -> None:
        async with AsyncStream(*ends) as stream:
            stream.on_state(moved)
            stream.on_record(noted)
            await stream.run()
            assert stream.stop() is State.FINISHED

    asyncio.run(main())
    assert states == [State.RUNNING, State.FINISHED]
    assert threads == {threading.current_thread()}
    assert "table" in events


def test_outside_a_loop_an_async_callback_is_refused(ends: tuple[str, str]) -> None:
    with pytest.raises(ConfigError, match="outside an event loop"):
        AsyncStream(*ends).on_state(told)


def test_a_keyword_that_is_misspelt_names_what_is_near(ends: tuple[str, str]) -> None:
    with pytest.raises(ConfigError, match="Did you mean 'parallelism'"):
        Stream(*ends, paralelism=3)  # type: ignore[call-arg]
