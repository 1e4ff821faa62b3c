"""`docs/coverage.md`, made from the catalogue: ``python -m tests.manuals --coverage``."""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.manuals.catalogue import CHAPTERS, ENTRIES
from tests.manuals.counts import KINDS, Counts
from tests.manuals.entries import Absent, Carried, Chapter, Entry, Refused, Verdict
from tests.manuals.grammar import GRAMMAR
from tests.manuals.ledger import Ledger
from tests.manuals.routes import ROUTES, Route

__all__ = ["PAGE", "page"]

PAGE = Path(__file__).parents[2] / "docs" / "coverage.md"
SEEDS = Path(__file__).parent / "histories" / "seeds.toml"
"""By route, which seeds of the generator were played and what came of them; written by hand.
`open_seeds`, where it is noted: what was seen of each open one."""
FAMILIES = {
    "mysql9": "MySQL 9",
    "mariadb": "MariaDB 10.11",
    "pg15": "PostgreSQL",
    "pg18": "PostgreSQL",
}
HEAD = """# Coverage of the servers' manuals

Which SQL statements does change capture carry? This page lists each clause of the MySQL, MariaDB
and PostgreSQL manuals that can change a table's structure or its rows, with an example and its
result. A test program (`tests/manuals`) runs every example on real servers while a stream
follows, then compares source and target by the texts that the servers print.

- **carried**: afterwards the target equals the source.
- **refused**: the stream ends with the named error before any row is wrong. If an option or a
  statement lets it pass, it is named in parentheses.
- **open**: a known fault on the named routes, not repaired yet.

A *route* is a source and a target: `mysql9-pg18` is MySQL 9 to PostgreSQL 18. Versions that are
not in a name were not run.

## Summary

"""
PLAYED = """
## The last full runs

Each route runs all examples at several moments, called places here:

- `load`: before the stream starts;
- `live`: while it follows the log;
- `backlog`: while it is stopped, to be read when it starts again;
- `between`: in a backlog, between row changes that are transactions of their own;
- `within`: in a backlog, together with row changes in one transaction.

What is refused or open in `live` is left out of the three backlogs. "Passes with an option" means
refused by default, and carried with the option that the error names. "Open then" counts what was
open in that run; "open now" counts what is still open. An example leaves the
[open cases](#open-cases) only when it is run again and holds. Days are recorded since
30 November 2026; for an older run the page does not know the day.

| route | place | day | examples | carried | carried with a finding | passes with an option | refused | open then | open now |
|---|---|---|--:|--:|--:|--:|--:|--:|--:|
"""  # noqa: E501
UNDATED = "before 30 November 2026"

HISTORIES = """
## Generated histories

A generator combines the examples into histories of twenty tables, with kills and restarts between
the statements (`tests/manuals/histories`). The seed decides what it generates, so a history can
be repeated: `python -m tests.manuals.histories --route mysql9-pg18 --seed 7`.

- *equal*: both sides held the same at the end.
- *after the remedy*: the same, after a documented refusal and its remedy.
- *later*: not equal at first; equal when it was run again by itself after repairs. Some of these
  depend on timing and may fail again.
- *open*: neither. See the [open cases](#open-cases).

| route | seeds | equal | after the remedy | later | open |
|---|---|--:|--:|--:|--:|
"""
OPEN = """
## Open cases

{clauses}

{histories}

Each history makes dozens of schema changes on twenty tables, and kills the process in between. In
an open one both sides differed at the end, or the stream ended with an error that no example
names. So [exactly once](explanations/exactly-once.md) has this known limit: after many schema
changes on many tables, interrupted by a crash, run `verify()`.
"""


def page() -> str:
    """The whole page."""
    ledger = Ledger.load()
    text = HEAD + _counts(ledger)
    for chapter in CHAPTERS:
        text += f"\n## {_servers(chapter)}: {chapter.statement}\n\n{chapter.section}.\n\n"
        text += "| clause | example | result | open |\n|---|---|---|---|\n"
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
    text = "| route | examples | carried | refused | open |\n|---|--:|--:|--:|--:|\n"
    for route in ROUTES.values():
        verdicts = [v for e in ENTRIES.values() if not isinstance(v := _verdict(e, route), Absent)]
        refused = sum(isinstance(v, Refused) for v in verdicts)
        still = sum(bool(ledger.lines.get(id, {}).get(route.name)) for id in ENTRIES)
        figures = (len(verdicts), len(verdicts) - refused, refused, still)
        text += f"| {route.name} | {' | '.join(map(str, figures))} |\n"
    share = promised["Refused"] / max(sum(promised.values()), 1)
    return (
        f"The catalogue has {len(ENTRIES):,} examples for {alternatives} clauses. {told} clauses"
        f" have no example; their line says why. {1 - share:.0%} of the results below are"
        f" *carried*, {share:.0%} are *refused* by design.\n\n{text}{_open(ledger)}"
        f"{_played(ledger)}{_histories()}"
    )


def _open(ledger: Ledger) -> str:
    """What is known not to hold: clauses, and histories of the generator."""
    lines = [
        f"- {', '.join(ENTRIES[id].clauses)}: {', '.join(routes)}"
        for id, found in ledger.lines.items()
        if id in ENTRIES and (routes := sorted(route for route, places in found.items() if places))
    ]
    clauses = "\n".join(["Clauses:", "", *lines]) if lines else "No single clause is open."
    seeds = _seeds()
    counted = sum(found["open"] for found in seeds.values())
    played = sum(sum(found[kind] for kind in COUNTED) for found in seeds.values())
    lines = [
        f"- {route}: {found['open']}" + _which(found.get("open_seeds", {}))
        for route, found in seeds.items()
        if found["open"]
    ]
    verb = "is" if counted == 1 else "are"
    head = f"Of {played} [generated histories](#generated-histories), {counted} {verb} open:"
    histories = "\n".join([head, "", *lines]) if lines else "No generated history is open."
    return OPEN.format(clauses=clauses, histories=histories)


def _which(seeds: Mapping[str, str]) -> str:
    """The seeds that were noted, each with what was seen."""
    return "".join(f"; seed {seed}: {seen}" for seed, seen in seeds.items())


def _played(ledger: Ledger) -> str:
    """What came of the plays of the whole catalogue."""
    text = PLAYED
    counts = Counts.load()
    for route, places in counts.lines.items():
        for place, counted in places.items():
            day = counts.days.get((route, place), UNDATED)
            figures = " | ".join(str(counted.get(kind, 0)) for kind in KINDS)
            now = sum(ledger.said(entry, route, place) is not None for entry in ENTRIES)
            text += f"| {route} | {place} | {day} | {sum(counted.values())} | {figures} | {now} |\n"
    return text


COUNTED = ("equal", "remedied", "again", "open")


def _seeds() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = tomllib.loads(SEEDS.read_text())
    return found


def _histories() -> str:
    """What came of the histories that were played."""
    text = HISTORIES
    for route, found in _seeds().items():
        text += f"| {route} | {' | '.join(str(found[kind]) for kind in ('seeds', *COUNTED))} |\n"
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
