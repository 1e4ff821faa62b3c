"""The one place where a piece of work is tried again, and only for errors that ask for it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from streams_engine.errors import ConnectionFailed, StreamsError

__all__ = ["again"]

log = logging.getLogger("streams_engine.retrying")

ATTEMPTS = 5
T = TypeVar("T")


def again(work: Callable[[], T], what: str) -> T:
    """Run ``work``; where it raises a transient error (deadlock, serialization), run it again.

    At most five times, with growing random pauses. A lost connection is not tried again
    here: a reader cannot rejoin its view. ``work`` must be safe to repeat.
    """

    def transient(error: BaseException) -> bool:
        found = (
            isinstance(error, StreamsError)
            and error.retryable
            and not isinstance(error, ConnectionFailed)
        )
        if found:
            log.warning("trying again", extra={"what": what})
        return found

    retrying = Retrying(
        retry=retry_if_exception(transient),
        stop=stop_after_attempt(ATTEMPTS),
        wait=wait_random_exponential(multiplier=0.05, max=2),
        reraise=True,
    )
    return retrying(work)
