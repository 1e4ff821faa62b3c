"""`docs/coverage.md`, made from the catalogue: ``python -m tests.manuals --coverage``."""

from __future__ import annotations

import tomllib
from collections import Counter
from pathlib import Path

from tests.manuals.catalogue import CHAPTERS, ENTRIES
from tests.manuals.counts import KINDS, Counts
from tests.manuals.entries import Absent, Carried, Chapter, Entry, Refused, Verdict
from tests.manuals.grammar import GRAMMAR
from tests.manuals.ledger import Ledger
from tests.manuals.routes import ROUTES, Route

__all__ = ["PAGE", "page"]

PAGE = Path(__file__).parents[2] / "docs" / "coverage.md"
SEEDS = Path(__file__).parent / "histories" / "seeds.toml"
"""By route, which seeds of the generator were played and what came of them; written by hand."""
FAMILIES = {
    "mysql9": "MySQL 9",
    "mariadb": "MariaDB 10.11",
    "pg15": "PostgreSQL",
    "pg18": "PostgreSQL",
}
HEAD = """# Coverage of the manuals

What happens to each clause of a server's manual that can change a table's shape or its rows,
while a stream follows. Made from the tests' catalogue (`tests/manuals`), which plays each line
before a load, live, and in a backlog, and compares both ends by the servers' own texts.

- **carried**: the target equals the source.
- **refused**: the stream ends with this code before a row is wrong. The remedy stands beside it.
- **open**: the promise does not hold yet on these routes. What came out instead stands in
  `tests/manuals/open.toml`.

"""
PLAYED = """
What came of the whole catalogue when it was last played at a place of a route. `load`: all of it
before the stream began; `live`: while it follows; `backlog`: while it was stopped; `between`: so
too, among changes of rows in a transaction each; `within`: so too, all in one transaction. *By
option* is refused too, and carried with the option that the refusal names. What is refused live
is not played in the three backlogs, nor what is open live. What was open then and is not below
was repaired after that play.

| route | place | day | plays | carried | with a finding | by option | refused | open | refused % |
|---|---|---|---|---|---|---|---|---|---|
"""


HISTORIES = """
Histories of twenty tables that a generator makes from the catalogue, by seed, with kills and
restarts between (`tests/manuals/histories`). *Equal*: both ends held the same. *Remedied*: so too,
after a refusal that is promised and its remedy. *Again*: neither at first, and one of both when it
was played again on its own after repairs; some depend on moments, and may come back. *Open*: the
rest.

| route | seeds | equal | remedied | again | open |
|---|---|---|---|---|---|
"""


def page() -> str:
    """The whole page."""
    ledger = Ledger.load()
    text = HEAD + _counts(ledger)
    for chapter in CHAPTERS:
        text += f"\n## {_servers(chapter)}: {chapter.statement}\n\n{chapter.section}.\n\n"
        text += "| clause | example | promised | open |\n|---|---|---|---|\n"
        text += "".join(_line(entry, ledger) for entry in chapter.entries)
    return text


def _counts(ledger: Ledger) -> str:
    promised = Counter(
        type(verdict).__name__
        for entry in ENTRIES.values()
        for route in _routes(entry)
        if not isinstance(verdict := _verdict(entry, route), Absent)
    )
    alternatives = sum(len(names) for names in GRAMMAR.values())
    played = {
        (entry.chapter.statement, clause)
        for entry in ENTRIES.values()
        for clause in entry.clauses
        if entry.work or entry.after
    }
    told = sum((statement, name) not in played for (_, statement), names in GRAMMAR.items()
               for name in names)  # fmt: skip
    text = "| route | clauses | carried | refused | open |\n|---|---|---|---|---|\n"
    for route in ROUTES.values():
        verdicts = [v for e in ENTRIES.values() if not isinstance(v := _verdict(e, route), Absent)]
        refused = sum(isinstance(v, Refused) for v in verdicts)
        still = sum(bool(ledger.lines.get(id, {}).get(route.name)) for id in ENTRIES)
        figures = (len(verdicts), len(verdicts) - refused, refused, still)
        text += f"| {route.name} | {' | '.join(map(str, figures))} |\n"
    share = promised["Refused"] / max(sum(promised.values()), 1)
    return (
        f"{len(ENTRIES)} entries for the {alternatives} alternatives of the grammars; for {told} of"
        f" these nothing is played, and the entry says why. {share:.0%} of what is promised is a"
        f" refusal.\n\n{text}{_played()}"
    )


def _played() -> str:
    """What came of the plays of the whole catalogue."""
    text = PLAYED
    counts = Counts.load()
    for route, places in counts.lines.items():
        for place, counted in places.items():
            day = counts.days.get((route, place), "earlier")
            figures = " | ".join(str(counted.get(kind, 0)) for kind in KINDS)
            share = (counted.get("refused", 0) + counted.get("option", 0)) / sum(counted.values())
            text += f"| {route} | {place} | {day} | {sum(counted.values())} | {figures} "
            text += f"| {share:.0%} |\n"
    return text + _histories()


def _histories() -> str:
    """What came of the histories that were played."""
    text = HISTORIES
    for route, found in tomllib.loads(SEEDS.read_text()).items():
        kinds = ("seeds", "equal", "remedied", "again", "open")
        text += f"| {route} | {' | '.join(str(found[kind]) for kind in kinds)} |\n"
    return text


def _line(entry: Entry, ledger: Ledger) -> str:
    example = " ".join(" ".join(step) for step in entry.named(entry.work)) or entry.id
    example = example.replace(entry.table, "t").replace("|", "\\|").replace("`", "'")
    example = " ".join(example.split())
    example = example if len(example) <= 160 else example[:157] + "..."
    still = ", ".join(sorted(route for route, p in ledger.lines.get(entry.id, {}).items() if p))
    clauses = ", ".join(entry.clauses).replace("|", "\\|")
    return f"| {clauses} | `{example}` | {_promises(entry)} | {still} |\n"


def _promises(entry: Entry) -> str:
    """One text where all routes are alike, else a text for each kind of them."""
    told: dict[str, list[str]] = {}
    for route in _routes(entry):
        told.setdefault(_text(_verdict(entry, route)), []).append(route.name)
    told.pop("", None)
    if len(told) == 1:
        return next(iter(told))
    return "; ".join(f"{', '.join(routes)}: {text}" for text, routes in told.items())


def _text(verdict: Verdict) -> str:
    match verdict:
        case Carried(finding=None):
            return "carried"
        case Carried(finding=finding):
            return f"carried, with the finding `{finding}`"
        case Absent(why=why):
            return f"not played: {why}" if why else ""
    remedies = [f"`{name}: {value}`" for name, value in verdict.options.items()]
    remedies += ["a statement on the target"] if verdict.target else []
    remedies += ["a statement on the source"] if verdict.source else []
    remedies += ["load again"] if verdict.fresh else []
    return f"refused `{verdict.code}`" + (f" ({', '.join(remedies)})" if remedies else "")


def _routes(entry: Entry) -> list[Route]:
    return [r for r in ROUTES.values() if r.source in (entry.servers or entry.chapter.servers)]


def _verdict(entry: Entry, route: Route) -> Verdict:
    return entry.verdict_on(route.source, route.target, bare=route.bare, load=False)


def _servers(chapter: Chapter) -> str:
    return ", ".join(dict.fromkeys(FAMILIES[name] for name in chapter.servers))
