"""A stream that failed is told to whoever waits for it, in both faces."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest

from streams_engine import Alert, AsyncStream, State, Stream
from streams_engine.errors import ConnectionFailed
from tests.support.memory_run import MemoryRun, ends, filled

SECONDS = 60


def failing() -> tuple[Any, Any, dict[str, Any]]:
    """The ends of a cdc that fails at its check."""

    def away(*_: object) -> Any:
        raise ConnectionFailed("The source is away.", retryable=False)

    source, sink, options = ends(filled(MemoryRun()), mode="cdc")
    source.check = away
    return source, sink, options


def sound() -> tuple[Any, Any, dict[str, Any]]:
    return ends(filled(MemoryRun()), mode="cdc")


def test_who_waits_for_a_failed_stream_gets_its_error() -> None:
    source, sink, options = failing()
    told: list[Alert] = []
    with Stream(source, sink, **options) as stream:
        stream.on_alert(told.append, lag=1, silent=1)
        stream.start()
        with pytest.raises(ConnectionFailed, match="is away"):
            stream.catch_up(SECONDS)
        with pytest.raises(ConnectionFailed, match="is away"):
            stream.wait_until(threading.Event())
        assert stream.wait(timeout=SECONDS) is State.FAILED
    assert [(alert.kind, alert.state) for alert in told] == [("failed", "alert")]
    assert "is away" in told[0].message


def test_who_awaits_a_failed_stream_gets_its_error() -> None:
    source, sink, options = failing()
    told: list[Alert] = []

    async def main() -> None:
        async def hear(alert: Alert) -> None:
            told.append(alert)

        async with AsyncStream(source, sink, **options) as stream:
            stream.on_alert(hear, lag=1)
            stream.start()
            with pytest.raises(ConnectionFailed, match="is away"):
                await stream.catch_up(SECONDS)
            with pytest.raises(ConnectionFailed, match="is away"):
                await stream.wait_until(asyncio.Event())

    asyncio.run(main())
    assert [alert.kind for alert in told] == ["failed"]


def test_a_wait_ends_with_the_event_or_with_the_stream() -> None:
    source, sink, options = sound()
    event = threading.Event()
    with Stream(source, sink, **options) as stream:
        stream.start()
        assert stream.catch_up(SECONDS)
        with pytest.raises(TimeoutError):
            stream.wait_until(event, timeout=0.01)
        threading.Timer(0.05, event.set).start()
        assert stream.wait_until(event, timeout=SECONDS) is State.RUNNING
        event.clear()
        threading.Timer(0.05, stream.stop).start()
        assert stream.wait_until(event, timeout=SECONDS) is State.STOPPED
        assert stream.catch_up(SECONDS) is False


def test_an_awaited_wait_ends_with_the_event_or_with_the_stream() -> None:
    async def main() -> None:
        source, sink, options = sound()
        loop, event = asyncio.get_running_loop(), asyncio.Event()
        async with AsyncStream(source, sink, **options) as stream:
            stream.start()
            assert await stream.catch_up(SECONDS)
            with pytest.raises(TimeoutError):
                await stream.wait_until(event, timeout=0.01)
            loop.call_later(0.05, event.set)
            assert await stream.wait_until(event, timeout=SECONDS) is State.RUNNING
            event.clear()
            loop.call_later(0.05, stream.stop)
            assert await stream.wait_until(event, timeout=SECONDS) is State.STOPPED

    asyncio.run(main())


def test_slow_callbacks_share_one_budget(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("streams_engine.aio.CALLBACK_SECONDS", 0.3)
    cancelled: list[bool] = []

    async def slow(*_: object) -> None:
        try:
            await asyncio.sleep(SECONDS)
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    async def main() -> float:
        source, sink, options = sound()
        async with AsyncStream(source, sink, **options) as stream:
            for _ in range(5):
                stream.on_state(slow)
            stream.start()
            await stream.wait(State.RUNNING)
            begun = time.monotonic()
        return time.monotonic() - begun

    assert asyncio.run(main()) < 5
    assert cancelled and "callbacks have not returned" in caplog.text


def test_the_lag_is_measured_before_a_catch_up_returns() -> None:
    source, sink, options = sound()
    with Stream(source, sink, reporting_interval=0, **options) as stream:
        stream.start()
        assert stream.catch_up(SECONDS)
        assert stream._cdc is not None
        stream._counters.behind(587408, None)
        assert stream.catch_up(SECONDS)
        changes = stream.stats().changes
        assert changes is not None and changes.lag_bytes == 0
