"""Each call of a `Stream`, an `AsyncStream` and an `Engine` in each state: one table for all."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from streams_engine import AsyncStream, Engine, State, Stream
from streams_engine.errors import StateConflict

ENDED = [state for state in State if state.final]
CALLS = ["start", "run", "pause", "resume", "stop", "stop by force", "catch_up", "release"]

CONFLICT = "conflict"
STOPS = {state: State.STOPPED if state is State.READY else state for state in State}
TABLE: dict[str, dict[State, Any]] = {
    "start": {State.READY: State.RUNNING},
    "run": {State.READY: State.FINISHED},
    "pause": {State.RUNNING: State.RUNNING},
    "resume": {State.PAUSED: State.RUNNING},
    "stop": STOPS,
    "stop by force": STOPS,
    "catch_up": {state: state for state in State if state is not State.READY},
    "release": {state: state for state in State if state not in (State.RUNNING, State.PAUSED)},
}  # fmt: skip
"""By call and state: the state right after the call. What is not here is a `StateConflict`.

What is requested of a RUNNING stream comes to pass at its next boundary, which here never comes.
"""

ENDS = ("mysql://root@127.0.0.1:1/a", "postgresql://me@127.0.0.1:1/b")


@pytest.fixture
def released(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """A run without threads of its own, and a release without servers."""
    done: list[bool] = []

    class Nothing:
        def release(self) -> None:
            done.append(True)

    class Opened:
        def __enter__(self) -> tuple[list[Any], None]:
            return [], None

        def __exit__(self, *_: object) -> None:
            pass

    monkeypatch.setattr(Stream, "_main", lambda *_: None)
    monkeypatch.setattr(Stream, "_report", lambda _: None)
    monkeypatch.setattr("streams_engine.assembly.Assembly.opened", lambda _: Opened())
    monkeypatch.setattr("streams_engine.assembly.Assembly.cdc", lambda *_: Nothing())
    return done


def brought(stream: Stream, state: State) -> None:
    """Bring a stream into a state."""
    control = stream._control
    if state is State.READY:
        return
    if state is State.STOPPED:
        stream.stop()
        return
    control.start()
    if state is not State.RUNNING:
        control.move(state)


def called(stream: Stream, call: str) -> None:
    if call == "run":
        stream._control.listen(lambda _, new: finished(stream) if new is State.RUNNING else None)
    if call == "stop by force":
        stream.stop(force=True)
    elif call == "catch_up":
        begun = time.monotonic()
        assert stream.catch_up(0.2) is False
        assert time.monotonic() - begun < 10
    else:
        getattr(stream, call)()


def finished(stream: Stream) -> None:
    stream._control.move(State.FINISHED)


def checked(stream: Stream, call: str, state: State, perform: Callable[[], None]) -> None:
    wanted = TABLE[call].get(state)
    if wanted is not None:
        perform()
        assert stream.state is wanted
        return
    forced = stream._control.forced.is_set()
    with pytest.raises(StateConflict) as caught:
        perform()
    assert caught.value.code == "STATE_CONFLICT" and caught.value.remedy
    assert stream.state is state
    assert stream._control.forced.is_set() is forced
    assert stream._thread is None


@pytest.mark.parametrize(("call", "state"), list(itertools.product(CALLS, State)))
def test_a_call_of_a_stream(call: str, state: State, released: list[bool]) -> None:
    stream = Stream(*ENDS, mode="cdc")
    brought(stream, state)
    checked(stream, call, state, lambda: called(stream, call))
    assert len(released) == (call == "release" and state in TABLE["release"])


@pytest.mark.parametrize(("call", "state"), list(itertools.product(CALLS, State)))
def test_a_call_of_an_async_stream(call: str, state: State, released: list[bool]) -> None:
    one = AsyncStream(*ENDS, mode="cdc")
    stream = one._stream
    brought(stream, state)
    if call == "run":
        stream._control.listen(lambda _, new: finished(stream) if new is State.RUNNING else None)

    async def perform() -> None:
        if call == "stop by force":
            one.stop(force=True)
        elif call in ("start", "pause", "resume", "stop"):
            getattr(one, call)()
        elif call == "catch_up":
            assert await one.catch_up(0.2) is False
        else:
            await getattr(one, call)()

    checked(stream, call, state, lambda: asyncio.run(perform()))


def test_a_second_start_says_that_it_was_started(released: list[bool]) -> None:
    stream = Stream(*ENDS, mode="cdc")
    stream.start()
    with pytest.raises(StateConflict, match="started already") as caught:
        stream.start()
    assert "RUNNING" not in str(caught.value.remedy)


@pytest.mark.parametrize("call", ["catch_up", "release"])
@pytest.mark.parametrize("state", State)
def test_a_convert_has_no_log(call: str, state: State) -> None:
    stream = Stream("in", "out")
    brought(stream, state)
    with pytest.raises(StateConflict, match="Only a cdc"):
        getattr(stream, call)()


# An Engine, whose runs begin with their start


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[tuple[Engine, str, Path]]:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "t.csv").write_text("id\n" + "".join(f"{n}\n" for n in range(3000)))
    with Engine(tmp_path / "engine.db") as made:
        ends = [
            made.connections.create(
                {"name": name, "type": "files",
                 "spec": {"files": {"basePath": str(tmp_path / name)}}}
            )["id"]
            for name in ("in", "out")
        ]  # fmt: skip
        config = made.configs.create(
            {"name": "copy", "mode": "convert",
             "source": {"connections": [{"connectionId": ends[0], "tables": [{"name": "t"}]}]},
             "target": {"id": ends[1], "spec": {"files": {"fileFormat": "csv"}}}}
        )  # fmt: skip
        yield made, str(config["id"]), tmp_path


def paused(engine: Engine, config: str) -> str:
    run = engine.streams.start(config)
    engine.streams.pause(run)
    assert engine.streams.wait(run, State.PAUSED, timeout=30) is State.PAUSED
    return run


def test_the_calls_of_an_engine_while_a_run_is_paused(engine: tuple[Engine, str, Path]) -> None:
    made, config, _ = engine
    run = paused(made, config)
    for call in (
        lambda: made.streams.pause(run),
        lambda: made.streams.start(config),
        lambda: made.streams.release(config),
    ):
        with pytest.raises(StateConflict):
            call()
        assert made.streams.get(run)["status"] == "PAUSED"
    made.streams.resume(run)
    assert made.streams.wait(run, timeout=30) is State.FINISHED


@pytest.mark.parametrize("state", [State.FINISHED, State.STOPPED, State.FAILED])
def test_the_calls_of_an_engine_on_a_run_that_has_ended(
    engine: tuple[Engine, str, Path], state: State
) -> None:
    made, config, folder = engine
    if state is State.FAILED:
        (folder / "in" / "t.csv").unlink()
        run = made.streams.start(config)
    else:
        run = paused(made, config)
        made.streams.resume(run) if state is State.FINISHED else made.streams.stop(run)
    assert made.streams.wait(run, timeout=30) is state
    for call in (
        lambda: made.streams.pause(run),
        lambda: made.streams.resume(run),
    ):
        with pytest.raises(StateConflict, match="Build the stream anew"):
            call()
        assert made.streams.get(run)["status"] == state
    for force in (False, True):
        made.streams.stop(run, force=force)
        assert made.streams.get(run)["status"] == state
