"""A history as a script that one can read: SQL, and markers for what happens to the stream.

``-- start`` starts the stream in this process and ``-- stop`` ends it; ``-- catch up`` waits for
it. ``-- crash at POINT, N`` starts it in a process of its own, which dies when it comes to that
fault point for the N-th time; ``-- kill`` ends that process now. ``-- restart source`` and
``-- restart target`` kill a server and start it again. ``-- session NAME`` says which session
runs what follows.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from tests.manuals.entries import steps

__all__ = ["MAIN", "Step", "parse", "render"]

MAIN = "1"
"""The session of whatever names no other."""
_MARKER = re.compile(
    r"-- (start|stop|kill|catch up|restart source|restart target|crash at [^\n]+)\s*$"
)
_SESSION = re.compile(r"-- session (\w+)\s*$")


@dataclass(frozen=True)
class Step:
    """A marker, or statements of a session that belong together."""

    statements: tuple[str, ...] = ()
    session: str = MAIN
    marker: str = ""

    @property
    def crash(self) -> tuple[str, int] | None:
        """The fault point at which the stream's process dies, and at which time it comes there."""
        if not self.marker.startswith("crash at "):
            return None
        point, _, count = self.marker.removeprefix("crash at ").rpartition(", ")
        return point, int(count)


def render(history: Iterable[Step]) -> str:
    """Write a history down."""
    lines, session = [], MAIN
    for step in history:
        if step.marker:
            lines.append(f"-- {step.marker}")
            continue
        if step.session != session:
            session = step.session
            lines.append(f"-- session {session}")
        lines += [f"{statement};" for statement in step.statements]
    return "\n".join(lines) + "\n"


def parse(text: str) -> list[Step]:
    """Read what `render` wrote, or somebody by hand."""
    history: list[Step] = []
    session, segment = MAIN, ""

    def close() -> None:
        nonlocal segment
        history.extend(Step(tuple(step), session) for step in steps(segment))
        segment = ""

    for line in text.splitlines(keepends=True):
        if found := _MARKER.match(line):
            close()
            history.append(Step(marker=found[1]))
        elif found := _SESSION.match(line):
            close()
            session = found[1]
        else:
            segment += line
    close()
    return history
