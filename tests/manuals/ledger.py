"""What is promised and does not hold yet: `open.toml`, written by ``python -m tests.manuals``.

A line is removed when it holds: the tests fail for an open promise that is kept, and for one
that is broken and not open.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path

from tests.manuals.runner import Outcome

__all__ = ["FILE", "Ledger"]

FILE = Path(__file__).with_name("open.toml")
HEAD = "# Promises of the catalogue that do not hold yet. See ledger.py; made by a command.\n"

SEVERITY = ("rows", "verify", "stuck", "ended", "equal", "remedied", "structure", "script")
"""The kinds of outcomes, the worst first. ``equal``: carried though it should be refused."""


class Ledger:
    """By entry, route and place: what came out instead of what is promised."""

    def __init__(self, lines: Mapping[str, Mapping[str, Mapping[str, str]]]) -> None:
        self.lines = {
            entry: {r: dict(p) for r, p in routes.items()} for entry, routes in lines.items()
        }

    @classmethod
    def load(cls) -> Ledger:
        return cls(tomllib.loads(FILE.read_text()) if FILE.exists() else {})

    def said(self, entry: str, route: str, place: str) -> str | None:
        """What came out, or None where the promise is said to hold."""
        return self.lines.get(entry, {}).get(route, {}).get(place)

    def ends(self, entry: str, route: str, place: str) -> bool:
        """Whether it is known to end the stream, so that it must be played alone."""
        return (self.said(entry, route, place) or "").startswith(("ended", "stuck"))

    def record(self, entry: str, route: str, place: str, outcome: Outcome | None) -> None:
        """Note what came out, or with None that the promise holds."""
        if outcome is not None:
            words = " ".join(str(outcome).split())
            self.lines.setdefault(entry, {}).setdefault(route, {})[place] = words[:300]
        elif self.said(entry, route, place) is not None:
            del self.lines[entry][route][place]

    def save(self, entries: Iterable[str], mine: str) -> None:
        """Write the lines of a route into the file, in the order of the catalogue."""
        others = Ledger.load().lines
        text = HEAD
        for entry in entries:
            routes = {r: p for r, p in others.get(entry, {}).items() if r != mine}
            routes |= {r: p for r, p in self.lines.get(entry, {}).items() if r == mine}
            for route, places in sorted(routes.items()):
                if places:
                    text += f"\n[{entry}.{route}]\n"
                    text += "".join(f"{p} = {json.dumps(places[p])}\n" for p in sorted(places))
        scratch = FILE.with_suffix(".new")
        scratch.write_text(text)
        scratch.replace(FILE)

    def worst(self, entry: str) -> int:
        """How severe the worst of an entry's lines is: an index of `SEVERITY`."""
        kinds = [w.split(" ")[0] for r in self.lines.get(entry, {}).values() for w in r.values()]
        return min((SEVERITY.index(kind) for kind in kinds), default=len(SEVERITY))
