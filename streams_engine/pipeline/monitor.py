"""Periodic checks of servers during a run, each in its own thread, so that an unanswered one delays
nothing."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Generic, TypeVar

from streams_engine.errors import StreamsError
from streams_engine.events import notify

__all__ = ["Question", "checked", "monitored"]

log = logging.getLogger("streams_engine.monitor")

END_SECONDS = 1.0
"""How long the end of a run waits for looks that are under way."""

T = TypeVar("T")


@contextmanager
def monitored(checks: Mapping[str, Callable[[], None]], seconds: float) -> Iterator[None]:
    """Call each check every ``seconds``, in a thread of its name, until the block ends.

    A `StreamsError` is ignored, because the next check may succeed; anything else is logged. A
    check that does not return is left alone.
    """
    over = threading.Event()

    def watch(check: Callable[[], None]) -> None:
        while not over.wait(seconds):
            checked(check)

    threads = [
        threading.Thread(target=watch, args=(check,), name=f"streams-engine-{name}", daemon=True)
        for name, check in checks.items()
    ]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        deadline = time.monotonic() + END_SECONDS
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))


def checked(check: Callable[[], None]) -> None:
    """Call a check once; nothing that it raises harms who calls."""
    notify("", _attempt, check)


def _attempt(check: Callable[[], None]) -> None:
    try:
        check()
    except StreamsError as error:
        log.debug("a check of the source failed: %s", error.code)


class Question(Generic[T]):
    """Question to a server, asked in its own thread, which may be abandoned."""

    def __init__(self, ask: Callable[[], T]) -> None:
        self._ask = ask
        self._answered = threading.Event()
        self._answer: T | None = None
        self._error: BaseException | None = None
        threading.Thread(target=self._run, name="streams-engine-question", daemon=True).start()

    def _run(self) -> None:
        try:
            self._answer = self._ask()
        except BaseException as error:
            self._error = error
        finally:
            self._answered.set()

    def answer(self, seconds: float) -> T | None:
        """Return the answer; None after ``seconds`` without one. Raises what the question
        raised."""
        if not self._answered.wait(seconds):
            return None
        if self._error is not None:
            raise self._error
        return self._answer
