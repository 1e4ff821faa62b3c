"""Sample databases moved, and what differs afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest

from tests.support import canonical_rows, samples, structure
from tests.support.canonical_rows import End
from tests.support.samples import Server


def move(source: End, target: End) -> None:
    """The engine's one part in these tests."""
    from streams_engine import Stream

    urls = (end.server.url(end.database) for end in (source, target))
    Stream(*urls, mode="convert").run()


@contextmanager
def moved(source: Server, target: Server, fill: Callable[[Server], str]) -> Iterator[list[End]]:
    """A filled source and its copy on the target; both are dropped afterwards."""
    with ExitStack() as stack:
        there = fill(source)
        stack.callback(samples.drop, source, there)
        here = samples.create(target, "moved")
        stack.callback(samples.drop, target, here)
        ends = [End(source, there), End(target, here)]
        move(*ends)
        yield ends


def server(request: pytest.FixtureRequest, name: str) -> Server:
    """One of the session's servers; its fixture skips where it cannot be had."""
    found: Server = request.getfixturevalue(name)
    return found


def differences(source: End, target: End) -> list[str]:
    """Every difference between the two ends: rows and structure."""
    return canonical_rows.compare_rows(source, target) + structure.compare(source, target)
