"""The whole catalogue on a route: who plays together, who alone, and what was promised."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from tests.manuals.entries import CARRIED, Absent, Entry, Refused, Verdict
from tests.manuals.ledger import Ledger
from tests.manuals.routes import PLACES, Route
from tests.manuals.runner import Outcome, Player, judged

__all__ = ["GROUP", "Play", "options", "play_all", "promise"]

GROUP = 40
"""Entries that share a stream at most: each holds a session open."""
FEW = ("load", "live")
"""The places of what plays alone: refusals, and what is known to end the stream."""


@dataclass(frozen=True)
class Play:
    """An entry at a place of a route. ``refusal`` stands for the refusal itself, live."""

    entry: Entry
    place: str
    verdict: Verdict
    outcome: Outcome

    @property
    def holds(self) -> bool:
        return judged(self.outcome, self.verdict)


def play_all(
    player: Player,
    entries: Iterable[Entry],
    places: Sequence[str],
    ledger: Ledger,
    size: int = GROUP,
) -> Iterator[Play]:
    """Play entries at places; what is refused with options plays at each place with these.

    Small groups are quicker where many entries end their stream, and nobody knows which.
    """
    chosen = list(entries)
    ended: set[str] = set()

    def known(entry: Entry, place: str) -> bool:
        return ledger.ends(entry.id, player.route.name, place)

    for place in [place for place in places if place in PLACES]:
        groups: dict[str, list[Entry]] = {}
        alone: list[Entry] = []
        for entry in chosen:
            verdict = promise(entry, player.route, place)
            if isinstance(verdict, Absent):
                continue
            if isinstance(verdict, Refused) and not verdict.options:
                if place in FEW or verdict != promise(entry, player.route, "live"):
                    alone.append(entry)
            elif place not in FEW and known(entry, "live"):
                continue  # it is open there, which comes first
            elif known(entry, place) or entry.id in ended:
                alone.append(entry)
            else:
                # What is read again in PostgreSQL waits for transactions that are prepared.
                prepares = "PREPARE TRANSACTION" in entry.work
                key = repr((sorted(options(entry, verdict).items()), prepares))
                groups.setdefault(key, []).append(entry)
        for members in groups.values():
            for start in range(0, len(members), size):
                for play in _played(player, members[start : start + size], place):
                    yield play
                    if play.outcome.kind in ("ended", "stuck"):
                        ended.add(play.entry.id)
        for entry in alone:
            yield from _played(player, [entry], place)
    for entry in chosen if "refusal" in places else []:
        verdict = promise(entry, player.route, "refusal")
        if isinstance(verdict, Refused) and verdict.options:
            outcome = player.play([entry], "live", verdict, **entry.options)[entry.id]
            yield Play(entry, "refusal", verdict, outcome)


def promise(entry: Entry, route: Route, place: str) -> Verdict:
    """The verdict at a place."""
    return entry.verdict_on(
        route.source, route.target, bare=route.bare, load=place == "load", place=place
    )


def options(entry: Entry, verdict: Verdict) -> dict[str, object]:
    """The stream's options that an entry plays with."""
    return {**entry.options, **(verdict.options if isinstance(verdict, Refused) else {})}


def _played(player: Player, entries: list[Entry], place: str) -> Iterator[Play]:
    verdicts = {entry.id: promise(entry, player.route, place) for entry in entries}
    first = verdicts[entries[0].id]
    refused = first if isinstance(first, Refused) and not first.options else None
    outcomes = player.play(entries, place, refused, **options(entries[0], first))
    for entry in entries:
        verdict = verdicts[entry.id]
        # With the options of its remedy it is carried.
        remedied = isinstance(verdict, Refused) and bool(verdict.options)
        yield Play(entry, place, CARRIED if remedied else verdict, outcomes[entry.id])
