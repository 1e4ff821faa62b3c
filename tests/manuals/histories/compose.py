"""Composes a history: entries of the catalogue and moves of a model, with stops and kills between.

All chance comes from one `random.Random`, which may be hypothesis's.
"""

from __future__ import annotations

import copy
import random
import re
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from functools import cache

from streams_engine.faults import POINTS
from tests.manuals.catalogue import ENTRIES
from tests.manuals.entries import Carried, Entry, Refused
from tests.manuals.histories.model import Schema
from tests.manuals.histories.palette import is_open, kinds
from tests.manuals.histories.rows import ROWS, Move, interleaved
from tests.manuals.histories.script import MAIN, Step, parse, render
from tests.manuals.histories.shapes import PROMISED_BY, SHAPES, create
from tests.manuals.routes import Route

__all__ = ["GENERATED", "compose", "fitting", "refusing"]

GENERATED = ("mysql9-pg18", "mysql9-mysql9", "mariadb-pg18", "mariadb-mariadb", "pg18-pg18",
             "pg18-mysql9")  # fmt: skip
"""The routes that histories are made for."""
ENTRIES_EACH = 6
"""Entries of the catalogue in a history."""
MOVES = 32
"""Moves of the model in a history."""
REFUSED = 0.15
"""The share of histories with an entry that is refused."""
PAUSE = 0.1
"""How often something happens to the stream after a move."""
LOADING = tuple(point for point in POINTS if point.startswith(("load", "handover")))
FOLLOWING = ("log: opened", "log: fetched", "apply: done", "commit: before", "commit: after",
             "acknowledge: after", "ddl: begun", "ddl: executed", "ddl: recorded",
             "ddl: intent recorded", "reload: emptied", "reload: rows applied",
             "pending: begun", "handover: rows copied")  # fmt: skip
_OWN_SESSION = re.compile(
    r"\b(SET (?!DEFAULT|NOT|NULL|DATA)|XA|USE|PREPARE|TEMPORARY|LOCK|HANDLER|RESET|LISTEN)", re.I
)
_FOREIGN = re.compile(
    r"\bGLOBAL\b|PUBLICATION|\bXA\b|PREPARE TRANSACTION|FLUSH|\bUSE\b|SUBSCRIPTION|VACUUM FULL"
    r"|sql_log_bin|ALTER SYSTEM|ALTER DATABASE|EVENT TRIGGER|DISCARD",
    re.I,
)
"""What reaches beyond an entry's own tables, or stays open beyond its steps."""


@cache
def fitting(route: Route) -> tuple[Entry, ...]:
    """The entries that a history on a route may hold: carried there, and by themselves."""
    return tuple(entry for entry in _mine(route) if _carried(entry, route))


@cache
def refusing(route: Route) -> tuple[Entry, ...]:
    """The entries that end the stream on a route, with a remedy."""
    return tuple(
        entry
        for entry in _mine(route)
        if isinstance(verdict := _verdict(entry, route), Refused)
        and verdict.remedied
        and not verdict.options
        and verdict.code != "LOG_LOST"
    )


def _mine(route: Route) -> list[Entry]:
    return [
        entry
        for entry in ENTRIES.values()
        if route.source in (entry.servers or entry.chapter.servers)
        and not is_open(entry, route)
        and not _FOREIGN.search(" ".join((entry.work, entry.after, entry.before or "")))
        and set(entry.options) <= {"allow_lossy"}
        and entry.chapter.statement != "variables of the log"
        and _reads_back(entry)
    ]


def _verdict(entry: Entry, route: Route) -> object:
    return entry.verdict_on(route.source, route.target, bare=route.bare, load=False)


def _carried(entry: Entry, route: Route) -> bool:
    verdict = _verdict(entry, route)
    if entry.verdict_on(route.source, route.target, bare=route.bare, load=True) != Carried():
        return False
    return isinstance(verdict, Carried) or (
        isinstance(verdict, Refused) and set(verdict.options) == {"allow_lossy"}
    )


def _reads_back(entry: Entry) -> bool:
    """Whether its script survives being written down, and read from the middle of another one."""
    history = [Step(tuple(step)) for step in _script(entry)]
    around = [Step(("SELECT 'a'",)), *history, Step(("SELECT 'b'",)), Step(marker="stop")]
    return parse(render(around)) == around


def _script(entry: Entry) -> list[list[str]]:
    return [step for part in ("setup", "before", "work", "after") for step in entry.script(part)]


class _Composer:
    """One history in the making."""

    def __init__(self, route: Route, chance: random.Random) -> None:
        self.route, self.chance = route, chance
        self.schema = Schema(route, chance, kinds(route))
        self.shapes = tuple(one for one in SHAPES if _promised(one[0], route))
        self.history: list[Step] = []
        self.threads: list[deque[Step]] = []
        self.following = ""
        """How the stream runs: ``here``, in a process that is to ``crash``, or not at all."""
        self.restarts = 1 if chance.random() < 0.3 else 0

    def compose(self) -> list[Step]:
        for _ in range(5):
            self._steps(create(self.schema))
        self._entries()
        self._start(LOADING)
        moves = MOVES
        while moves or self.threads:
            if self.threads and self.chance.random() < 0.5:
                thread = self.chance.choice(self.threads)
                self.history.append(thread.popleft())
                self.threads = [one for one in self.threads if one]
            elif moves:
                self._move()
                moves -= 1
            if self.chance.random() < PAUSE:
                self._turn()
        return self.history

    def _entries(self) -> None:
        found = fitting(self.route)
        chosen = self.chance.sample(found, min(ENTRIES_EACH, len(found)))
        if refusing(self.route) and self.chance.random() < REFUSED:
            chosen[-1] = self.chance.choice(refusing(self.route))
        for entry in chosen:
            self.schema.others += 1 + any("T2" in part for part in (entry.setup or "", entry.work))
            session = entry.table if _OWN_SESSION.search(f"{entry.work} {entry.after}") else MAIN
            parts = ("setup", "before", "work", "after")
            script = {part: [Step(tuple(s), session) for s in entry.script(part)] for part in parts}
            rest = [step for part in parts[1:] for step in script[part]]
            if self.chance.random() < 0.7:
                self.history += script["setup"]
            else:
                rest = script["setup"] + rest
            if second := self._second(entry):
                renamed = replace(second, name=entry.table)
                object.__setattr__(renamed, "chapter", second.chapter)
                rest += [
                    Step(tuple(s), session) for p in ("work", "after") for s in renamed.script(p)
                ]
            self.threads.append(deque(rest))
        self.threads = [one for one in self.threads if one]

    def _second(self, entry: Entry) -> Entry | None:
        """Another entry of the same chapter for the same table, in a third of all cases."""
        if entry.setup is not None or not entry.chapter.setup or self.chance.random() > 0.35:
            return None
        others = [
            other
            for other in fitting(self.route)
            if other.chapter is entry.chapter and other.setup is None and other is not entry
            and not _OWN_SESSION.search(f"{other.work} {other.after}")
        ]  # fmt: skip
        return self.chance.choice(others) if others else None

    def _move(self) -> None:
        if self.chance.random() < 0.07:
            self.history += [Step((one,), name) for name, one in interleaved(self.schema)]
            return
        if self.chance.random() < 0.5:
            self._steps(self._drawn(ROWS))
        elif self.route.postgres and self.chance.random() < 0.3:
            self._in_a_transaction()
        else:
            self._steps(self._drawn(self.shapes))

    def _drawn(self, moves: tuple[tuple[Move, int], ...]) -> list[list[str]]:
        for _ in range(5):
            chosen: Callable[[Schema], list[list[str]]] = self.chance.choices(
                [move for move, _ in moves], [weight for _, weight in moves]
            )[0]
            if steps := chosen(self.schema):
                return steps
        return []

    def _in_a_transaction(self) -> None:
        """PostgreSQL: structure and rows together, perhaps rolled back."""
        back = self.chance.random() < 0.3
        before = copy.deepcopy((self.schema.tables, self.schema.enums)) if back else None
        steps = [*self._drawn(ROWS), *self._drawn(self.shapes), *self._drawn(ROWS)]
        flat = [one for step in steps for one in step if one not in ("BEGIN", "COMMIT", "ROLLBACK")]
        if before is not None:
            self.schema.tables, self.schema.enums = before
        elif any(one.startswith("ALTER TYPE") for one in flat):
            self._steps(steps)
            return
        self._steps([["BEGIN", *flat, "ROLLBACK" if back else "COMMIT"]])

    def _steps(self, steps: list[list[str]]) -> None:
        self.history += [Step(tuple(step)) for step in steps]

    # --- the stream

    def _mark(self, marker: str) -> None:
        self.history.append(Step(marker=marker))

    def _start(self, points: tuple[str, ...]) -> None:
        if self.chance.random() < 0.45:
            self._mark(f"crash at {self.chance.choice(points)}, {self.chance.randint(1, 3)}")
            self.following = "crash"
        else:
            self._mark("start")
            self.following = "here"

    def _turn(self) -> None:
        """Something happens to the stream, or to a server."""
        chance = self.chance.random()
        if chance < 0.25 and self.restarts:
            self.restarts -= 1
            self._mark(f"restart {self.chance.choice(('source', 'target'))}")
        elif self.following == "here":
            self._mark("catch up" if chance < 0.5 else "stop")
            if chance >= 0.5:
                self.following = ""
        elif self.following == "crash" and chance < 0.5:
            self._mark("kill")
            self.following = ""
        else:
            self._start(FOLLOWING)


def _promised(move: Move, route: Route) -> bool:
    prefix = "pg_" if route.postgres else "my_"
    names = [name for name in PROMISED_BY.get(move, ()) if name.startswith(prefix)]
    return not any(is_open(ENTRIES[name], route) for name in names)


def compose(route: Route, chance: random.Random) -> list[Step]:
    """Return a history for a route, made by chance."""
    return _Composer(route, chance).compose()
