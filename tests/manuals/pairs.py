"""Two entries on one table, in either order, chosen by a seed."""

from __future__ import annotations

import random
from dataclasses import replace

from tests.manuals.catalogue import CHAPTERS
from tests.manuals.entries import RELOAD, Carried, Entry, Refused
from tests.manuals.ledger import Ledger
from tests.manuals.routes import Route

__all__ = ["chosen_pairs", "pair"]


def chosen_pairs(route: Route, ledger: Ledger, seed: int, count: int) -> list[Entry]:
    """Pairs of entries that begin with one table and whose own promises hold on the route."""
    chance = random.Random(f"{route.name} {seed}")
    groups = [
        [entry for entry in chapter.entries if _plays(entry, route, ledger)]
        for chapter in CHAPTERS
        if chapter.setup
    ]
    groups = [group for group in groups if len(group) > 1]
    found = []
    for number in range(count if groups else 0):
        group = chance.choices(groups, [len(g) for g in groups])[0]
        first, second = chance.sample(group, 2)
        told = [e for e in (first, second) if not _equal(e, route)]
        found.append(_compared(pair(first, second, f"p{number}"), not told))
    return found


def _compared(joined: Entry, compared: bool) -> Entry:
    """Return a pair whose structures are compared only where both promise equal ones."""
    changed = replace(joined, structure=joined.structure and compared)
    object.__setattr__(changed, "chapter", joined.chapter)
    return changed


def _equal(entry: Entry, route: Route) -> bool:
    """Whether the structures are promised to be equal: a finding may say what is not there."""
    verdict = entry.verdict_on(route.source, route.target, bare=route.bare, load=False)
    return not isinstance(verdict, Carried) or verdict in (Carried(), RELOAD)


def pair(first: Entry, second: Entry, name: str = "p0") -> Entry:
    """One after the other; what the server refuses of the second's rows is left out."""
    joined = replace(
        first,
        id=f"{first.id}+{second.id}",
        name=name,
        work=f"{first.work}; {first.after}; {second.work}",
        after=f"{second.after}; UPDATE T SET id = id + 1000 WHERE id = 3",
        options={**first.options, **second.options, "allow_lossy": True},
        structure=first.structure and second.structure,
        alone=first.alone or second.alone,
        verdict=Carried(),
        on={},
        tolerant=True,
    )
    object.__setattr__(joined, "chapter", first.chapter)
    return joined


def _plays(entry: Entry, route: Route, ledger: Ledger) -> bool:
    """Whether it stands on the chapter's table and is carried here, perhaps with an option."""
    verdict = entry.verdict_on(route.source, route.target, bare=route.bare, load=False)
    carried = isinstance(verdict, Carried) or (isinstance(verdict, Refused) and verdict.options)
    holds = not any(ledger.lines.get(entry.id, {}).get(route.name, {}).values())
    logged = not entry.id.startswith("my_format")  # the other one would be logged as a statement
    return bool(carried) and holds and logged and entry.setup is None
