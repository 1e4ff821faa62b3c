"""Wait for what a server does and tells nobody of. Where there is an event, use it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

__all__ = ["came", "holds_for", "pass_time", "until"]

SECONDS = 60.0
PAUSE = 0.02


def came(condition: Callable[[], object], seconds: float, *, pause: float = PAUSE) -> bool:
    """Ask until the answer is true; False where it is not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        pass_time(pause)
    return True


def until(
    condition: Callable[[], object], seconds: float = SECONDS, *, pause: float = PAUSE
) -> None:
    """Ask until the answer is true, which must be in time."""
    assert came(condition, seconds, pause=pause), f"waited {seconds} seconds in vain"


def holds_for(condition: Callable[[], object], seconds: float) -> None:
    """Ask for so long whether it is still so: for what must not happen meanwhile."""
    assert not came(lambda: not condition(), seconds), "it did not last"


def pass_time(seconds: float) -> None:
    """Let time pass, where nothing else can be waited for: an outage of a given length."""
    threading.Event().wait(seconds)
