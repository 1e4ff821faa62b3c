"""Compare the ends of a running stream again and again, beside it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from streams_engine.errors import InternalError, StreamsError
from streams_engine.verify.report import VerifyReport

__all__ = ["BackgroundVerification", "RoundInterruptedError"]

log = logging.getLogger("streams_engine.stream")

END_SECONDS = 5.0
"""How long the end of the stream waits for a round to notice it; a statement may take longer."""


class RoundInterruptedError(Exception):
    """Signal that a round ends before all is compared: its time is over, or the stream's."""


@dataclass
class BackgroundVerification:
    """One round every so many seconds, on a thread of its own, at lowest cost to the stream: what
    fails here is told, and the stream goes on."""

    every: float
    """Seconds from the end of a round to the next."""
    max_seconds: float
    """Of one round; 0: no limit."""
    ready: Callable[[], bool]
    """Whether the stream follows its log now; else the round is left out."""
    compare: Callable[[Callable[[], None]], VerifyReport]
    """Compares. It calls what it is given between two statements, and lets pass what that
    raises."""
    report: Callable[[VerifyReport | StreamsError | None, float], None]
    """Takes the outcome of a round, None where its time was over, and its seconds."""
    _ended: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def beside(self, name: str) -> Iterator[None]:
        """Run beside the block."""
        thread = threading.Thread(target=self._run, name=f"streams-engine-{name}", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._ended.set()
            thread.join(END_SECONDS)

    def _run(self) -> None:
        while not self._ended.wait(self.every):
            if not self.ready():
                continue
            begun = time.monotonic()
            outcome = self._round(begun)
            if self._ended.is_set():  # connections may be closed: it says nothing
                return
            self.report(outcome, time.monotonic() - begun)

    def _round(self, begun: float) -> VerifyReport | StreamsError | None:
        def between() -> None:
            over = self.max_seconds and time.monotonic() - begun > self.max_seconds
            if self._ended.is_set() or over:
                raise RoundInterruptedError

        try:
            return self.compare(between)
        except RoundInterruptedError:
            return None
        except StreamsError as error:
            return error
        except Exception as error:
            log.exception("internal error")
            return InternalError(f"A fault of streams_engine: {type(error).__name__}.")
