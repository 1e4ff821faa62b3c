"""``python -m tests.manuals ENTRY --route mysql9-pg18 --place live`` plays an entry by hand.

``--all`` plays the whole catalogue on a route; ``--record`` writes down what does not hold, and
with ``--all`` how much does.
"""

from __future__ import annotations

import argparse
import contextlib
import fnmatch
import time
from collections import Counter
from collections.abc import Iterator

from streams_engine.testing.servers import Server, running
from tests.manuals.catalogue import ENTRIES
from tests.manuals.counts import Counts
from tests.manuals.coverage import PAGE, page
from tests.manuals.entries import Entry
from tests.manuals.ledger import Ledger
from tests.manuals.plays import GROUP, Play, play_all
from tests.manuals.routes import PLACES, ROUTES, Route
from tests.manuals.runner import Player, scripts_refused
from tests.support.memory_files import keep_in_memory

ROOM = 4 * 2**30
"""Bytes of memory that must be free for the two servers of a route."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.manuals", description=__doc__)
    parser.add_argument("entry", nargs="*", metavar="ENTRY", help="an id; * stands for anything")
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--coverage", action="store_true", help="write docs/coverage.md")
    parser.add_argument("--dry", action="store_true", help="run the scripts alone, on all servers")
    parser.add_argument("--record", action="store_true")
    parser.add_argument("--group", type=int, default=GROUP, help="entries that share a stream")
    parser.add_argument("--route", choices=sorted(ROUTES), action="append")
    parser.add_argument("--place", choices=[*PLACES, "refusal"], action="append")
    asked = parser.parse_args()
    chosen = [
        entry
        for entry in ENTRIES.values()
        if asked.all or any(fnmatch.fnmatch(entry.id, name) for name in asked.entry)
    ]
    if asked.coverage:
        PAGE.write_text(page())
        return
    keep_in_memory(ROOM)
    if asked.dry:
        return _dry(chosen)
    by_hand = len(chosen) == 1 and not asked.record
    for name in asked.route or ["mysql9-pg18"]:
        route = ROUTES[name]
        with _servers(route) as servers:
            player = Player(servers, route, print if by_hand else None)
            began = time.monotonic()
            ledger = Ledger.load()
            plays = []
            for play in play_all(
                player, chosen, asked.place or (*PLACES, "refusal"), ledger, asked.group
            ):
                plays.append(play)
                if asked.record:
                    ledger.record(
                        play.entry.id, name, play.place, None if play.holds else play.outcome
                    )
                    if len(plays) % 10 == 0:
                        ledger.save(ENTRIES, name)
                if by_hand or not play.holds:
                    _show(route, play)
            counts = Counter((p.place, p.outcome.kind) for p in plays)
            print(f"{name}: {len(plays)} plays in {player.count} streams, "
                  f"{time.monotonic() - began:.0f} s", dict(counts), flush=True)  # fmt: skip
        if asked.record:
            ledger.save(ENTRIES, name)
        if asked.record and asked.all:
            counted = Counts.load()
            counted.record(route, plays)
            counted.save()


def _dry(chosen: list[Entry]) -> None:
    """Run the scripts on every server that they are for, and show what it refuses."""
    for name in ("mysql9", "mariadb", "pg15", "pg18"):
        mine = [e for e in chosen if name in (e.servers or e.chapter.servers)]
        if mine:
            with running(name) as server:
                for entry_id, words in scripts_refused(server, name, mine).items():
                    print(f"{name} {entry_id}: {words}", flush=True)
                print(f"{name}: {len(mine)} scripts", flush=True)


def _show(route: Route, play: Play) -> None:
    holds = "as promised" if play.holds else f"PROMISED {play.verdict}"
    print(f"{route.name} {play.place} {play.entry.id}: {play.outcome} | {holds}", flush=True)


@contextlib.contextmanager
def _servers(route: Route) -> Iterator[dict[str, Server]]:
    with contextlib.ExitStack() as stack:
        names = {route.source, route.target} - {"files"}
        yield {name: stack.enter_context(running(name)) for name in names}


main()
