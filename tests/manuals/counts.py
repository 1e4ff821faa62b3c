"""How many promises held when the whole catalogue was played: `counts.toml`, made by a command."""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import date
from pathlib import Path
from typing import Any

from tests.manuals.entries import Carried, Refused
from tests.manuals.plays import Play, promise
from tests.manuals.routes import PLACES, ROUTES, Route

__all__ = ["KINDS", "Counts"]

FILE = Path(__file__).with_name("counts.toml")
HEAD = "# What came of the whole catalogue, by route and place. See counts.py; made by a command.\n"
KINDS = ("carried", "finding", "option", "refused", "open")
"""``finding``: carried with the promised finding; ``option``: refused, and carried with the
option that the refusal names; ``refused``: ended with the promised code."""


class Counts:
    """By route and place: how many plays came out as each of `KINDS`, and when."""

    def __init__(self, lines: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> None:
        self.days = {
            (route, place): counted["day"]
            for route, places in lines.items()
            for place, counted in places.items()
            if "day" in counted
        }
        """The day of a play; those of before 30 November 2026 have none."""
        self.lines: dict[str, dict[str, dict[str, int]]] = {
            route: {
                place: {kind: counted[kind] for kind in KINDS if kind in counted}
                for place, counted in places.items()
            }
            for route, places in lines.items()
        }

    @classmethod
    def load(cls) -> Counts:
        return cls(tomllib.loads(FILE.read_text()) if FILE.exists() else {})

    def record(self, route: Route, plays: Iterable[Play]) -> None:
        """Note what came of the whole catalogue at the places that were played."""
        found: dict[str, Counter[str]] = {}
        for play in plays:
            found.setdefault(play.place, Counter())[_kind(play, route)] += 1
        self.lines.setdefault(route.name, {}).update(found)
        self.days |= {(route.name, place): date.today() for place in found}

    def save(self) -> None:
        """Write the file, in the order of routes and places."""
        text = HEAD
        for route in ROUTES:
            for place in PLACES:
                if counted := self.lines.get(route, {}).get(place):
                    day = self.days.get((route, place))
                    text += f"\n[{route}.{place}]\n" + (f"day = {day}\n" if day else "")
                    text += "".join(f"{k} = {counted[k]}\n" for k in KINDS if counted.get(k))
        FILE.write_text(text)


def _kind(play: Play, route: Route) -> str:
    if not play.holds:
        return "open"
    promised = promise(play.entry, route, play.place)
    match promised:
        case Refused():
            return "option" if promised.options else "refused"
        case Carried(finding=str()):
            return "finding"
    return "carried"
