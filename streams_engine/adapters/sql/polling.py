"""Ask a server again and again for what it tells nobody of."""

from __future__ import annotations

import time
from collections.abc import Iterator

__all__ = ["attempts"]


def attempts(seconds: float, pause: float) -> Iterator[bool]:
    """Yield at once and then after each pause; True, once, when the time is over.

    Leave the loop where the answer is there.
    """
    deadline = time.monotonic() + seconds
    while not (last := time.monotonic() >= deadline):
        yield False
        time.sleep(pause)
    yield last
