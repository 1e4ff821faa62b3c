"""Do something when a run of this process comes to a named point."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from streams_engine import faults

__all__ = ["at_points", "once_at"]


@contextmanager
def at_points(reached: Callable[[str], None]) -> Iterator[None]:
    """Call this at every point of `faults.POINTS` for as long as the context."""
    faults.install(reached)
    try:
        yield
    finally:
        faults.install(None)


@contextmanager
def once_at(point: str, work: Callable[[], None]) -> Iterator[None]:
    """Do work when the point is reached for the first time."""
    left = [work]

    def reached(name: str) -> None:
        if name == point and left:
            left.pop()()

    with at_points(reached):
        yield
