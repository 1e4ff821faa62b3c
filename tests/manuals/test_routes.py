"""The catalogue on its routes: a selection in the ordinary run, all of it and pairs in the soak.

What is open (`open.toml`) must fail: when it holds, its line must go.
"""

from __future__ import annotations

import random
from collections.abc import Iterable

import pytest

from streams_engine.testing.servers import Server
from tests.manuals.catalogue import ENTRIES
from tests.manuals.entries import Carried, Entry
from tests.manuals.ledger import Ledger
from tests.manuals.pairs import chosen_pairs
from tests.manuals.plays import Play, options, play_all, promise
from tests.manuals.routes import PLACES, ROUTES, Route
from tests.manuals.runner import Player

QUICK = (
    ("mysql9-pg18", "live", "my_"),
    ("mysql9-pg18", "backlog", "my_"),
    ("mysql9-mysql9", "live", "my_"),
    ("mariadb-mariadb", "live", "ma_"),
    ("pg18-pg18", "live", "pg_"),
    ("pg18-mysql9", "live", "pg_"),
)
"""Route, place, and how the ids begin."""
SELECTED = 10
"""Entries that share one stream: it costs more than they do."""
SEEDS = range(3)
PAIRS = 40


def player(request: pytest.FixtureRequest, route: Route) -> Player:
    servers: dict[str, Server] = {
        name: request.getfixturevalue(name) for name in {route.source, route.target} - {"files"}
    }
    return Player(servers, route)


def wrong(plays: Iterable[Play], route: Route, ledger: Ledger) -> list[str]:
    """A line for each promise that is broken, and for each open one that is kept."""
    lines = []
    for play in plays:
        still = ledger.said(play.entry.id, route.name, play.place)
        where = f"python -m tests.manuals {play.entry.id} --route {route.name} --place {play.place}"
        if play.holds and still is not None:
            lines.append(f"{where}: holds, so its line in open.toml must go")
        if not play.holds and still is None:
            lines.append(f"{where}: {play.outcome}, but promised is {play.verdict}")
    return lines


@pytest.mark.parametrize(("name", "place", "begin"), QUICK)
@pytest.mark.server
def test_a_selection_of_the_catalogue_holds(
    request: pytest.FixtureRequest, name: str, place: str, begin: str
) -> None:
    route, ledger = ROUTES[name], Ledger.load()
    mine = [
        entry
        for entry in ENTRIES.values()
        if entry.id.startswith(begin)
        and isinstance(verdict := promise(entry, route, place), Carried)
        and not options(entry, verdict)
        and not any(ledger.lines.get(entry.id, {}).get(name, {}).values())
    ]
    entries: list[Entry] = random.Random(f"{name} {place}").sample(mine, min(SELECTED, len(mine)))
    assert wrong(play_all(player(request, route), entries, [place], ledger), route, ledger) == []


@pytest.mark.soak
@pytest.mark.parametrize("place", [*PLACES, "refusal"])
@pytest.mark.parametrize("name", ROUTES)
@pytest.mark.server
def test_the_whole_catalogue_holds(request: pytest.FixtureRequest, name: str, place: str) -> None:
    route, ledger = ROUTES[name], Ledger.load()
    plays = play_all(player(request, route), ENTRIES.values(), [place], ledger)
    assert wrong(plays, route, ledger) == []


@pytest.mark.soak
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", ROUTES)
@pytest.mark.server
def test_pairs_hold(request: pytest.FixtureRequest, name: str, seed: int) -> None:
    route, ledger = ROUTES[name], Ledger.load()
    entries = chosen_pairs(route, ledger, seed, PAIRS)
    plays = play_all(player(request, route), entries, ["live", "between"], ledger)
    assert wrong(plays, route, ledger) == []
