"""Callbacks that raise, block, or call back into their stream end and hang nothing."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import streams_engine.engine.streams
import streams_engine.stream
from streams_engine import Engine, State, Stream
from streams_engine.errors import StateConflict, StreamsError
from tests.support.engine_shop import Shop

SECONDS = 120


class Abrupt(BaseException):
    """What derives from no `Exception`, as a panic of a library in Rust."""


RAISED = [ValueError("a mistake"), SystemExit(3), KeyboardInterrupt(), Abrupt("gone")]


@pytest.fixture
def stream(tmp_path: Path) -> Stream:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "orders.csv").write_text("id\n1\n2\n3\n")
    return Stream(str(tmp_path / "in"), str(tmp_path / "out"), name="copy", tables=["orders"])


def raising(error: BaseException) -> Callable[..., None]:
    def callback(*_: Any) -> None:
        raise error

    return callback


@pytest.mark.parametrize("error", RAISED, ids=lambda error: type(error).__name__)
def test_what_callbacks_raise_is_logged_and_ends_nothing(
    error: BaseException, stream: Stream, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[State] = []
    for subscribe in (stream.on_state, stream.on_progress, stream.on_record):
        subscribe(raising(error))
    stream.on_state(lambda _, new: seen.append(new))
    stats = stream.run()
    assert stats.state is State.FINISHED and stats.rows == 3
    assert seen == [State.RUNNING, State.FINISHED]
    logged = [r for r in caplog.records if r.message == "a callback raised"]
    assert logged and all(r.exc_info and r.exc_info[1] is error for r in logged)


def test_a_handler_of_logging_that_raises_ends_nothing(stream: Stream) -> None:
    class Broken(logging.Handler):
        def handle(self, record: logging.LogRecord) -> bool:
            raise ValueError("a mistake")

    handler, logger = Broken(), logging.getLogger("streams_engine")
    logger.addHandler(handler)
    try:
        stream.on_progress(raising(ValueError()))
        stream.start()
        assert stream.wait(timeout=SECONDS) is State.FINISHED
    finally:
        logger.removeHandler(handler)


def test_a_run_that_ends_of_something_else_than_an_error_fails(
    stream: Stream, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(type(stream._parts), "convert", raising(Abrupt()))
    stream.start()
    assert stream.wait(timeout=SECONDS) is State.FAILED
    assert stream.error is not None and stream.error.code == "INTERNAL_ERROR"
    assert "Abrupt" in stream.error.message


def test_a_run_without_a_thread_fails(stream: Stream, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threading.Thread, "start", raising(RuntimeError("can't start new thread")))
    stream.start()
    assert stream.wait(timeout=SECONDS) is State.FAILED
    assert stream.error is not None and "thread" in stream.error.message


@pytest.mark.parametrize("kind", ["on_state", "on_progress", "on_record"])
def test_a_callback_may_stop_its_stream(kind: str, stream: Stream) -> None:
    states: list[State] = []

    def callback(*_: Any) -> None:
        if not stream.state.final:
            stream.stop()
        states.append(stream.stats().state)

    getattr(stream, kind)(callback)
    with stream:
        stream.start()
        assert stream.wait(timeout=SECONDS).final
    assert states


def test_a_callback_on_the_streams_own_thread_does_not_wait_for_itself(stream: Stream) -> None:
    refused: list[StreamsError] = []

    def callback(record: Any) -> None:
        if threading.current_thread().name == "streams-engine-run":
            with pytest.raises(StateConflict) as caught:
                stream.wait(timeout=SECONDS)
            refused.append(caught.value)

    stream.on_record(callback)
    assert stream.run().state is State.FINISHED
    assert refused and refused[0].remedy


def test_no_lock_of_the_stream_is_held_while_a_callback_runs(stream: Stream) -> None:
    """Another thread gets through while the callback waits for it."""
    through: list[bool] = []

    def callback(*_: Any) -> None:
        done = threading.Event()

        def other() -> None:
            stream.stats()
            with suppress(StreamsError):
                stream.resume()
            done.set()

        thread = threading.Thread(target=other)
        thread.start()
        through.append(done.wait(SECONDS))
        thread.join()

    for subscribe in (stream.on_state, stream.on_progress, stream.on_record):
        subscribe(callback)
    assert stream.run().state is State.FINISHED
    assert len(through) > 5 and all(through)


@pytest.fixture
def blocking() -> Iterator[Callable[..., None]]:
    """A callback that does not return before the test is over."""
    over = threading.Event()
    yield lambda *_: over.wait(SECONDS) and None
    over.set()


def test_a_callback_that_does_not_return_holds_up_nobody_for_long(
    stream: Stream, blocking: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams_engine.stream, "CALLBACK_SECONDS", 0.2)
    stream.on_state(blocking)
    assert stream.run().state is State.FINISHED
    assert stream.wait(timeout=0.1) is State.FINISHED


def test_an_engine_whose_runs_callback_does_not_return_is_closed(
    shop: Shop, blocking: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams_engine.engine.streams, "RECORD_SECONDS", 0.2)
    shop.table("orders", 3000)
    config = shop.config("copy", "orders")
    run = shop.engine.streams.start(config)
    shop.engine.streams.open(run).on_state(blocking)
    shop.engine.streams.open(run).on_progress(blocking)
    assert shop.engine.streams.wait(run, timeout=SECONDS) is State.FINISHED
    shop.engine.close()
    with Engine(shop.folder / "engine.db") as again:
        assert again.streams.get(run)["status"] == "FINISHED"


def test_a_callback_may_wait_for_its_run_and_close_its_engine(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams_engine.engine.streams, "RECORD_SECONDS", 1e6)
    shop.table("orders", 3000)
    closed = threading.Event()
    run = shop.engine.streams.start(shop.config("copy", "orders"))

    def close(*_: Any) -> None:
        shop.engine.streams.wait(run)
        shop.engine.close()
        closed.set()

    shop.engine.streams.open(run).on_progress(close)
    assert closed.wait(SECONDS)
