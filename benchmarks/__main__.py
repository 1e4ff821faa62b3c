"""``python -m benchmarks``: ours and its peers, interleaved, on the same generated data.

The full form moves 1,000,000 mixed rows three times on every route, and 10,000,000 once; the
quick form (``--quick``) takes under 15 minutes. Private servers are started and stopped, peers
that are Debian packages are fetched and unpacked aside, Python peers come with the extra
``benchmarks``. Nothing else on the machine should be busy. Writes ``benchmarks/RESULTS.md``,
unless only a part was asked for: then a file only where ``--results`` names one.

With ``--cdc`` it follows logs instead, see ``python -m benchmarks --cdc --help``: the results of
both are in one document, and a run of one leaves those of the other.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from benchmarks.bench import Bench
from benchmarks.cdc.command import main as follow_logs
from benchmarks.data import SHAPES
from benchmarks.extras import EXTRAS, memory, small_tables
from benchmarks.jobs import Contender, Unavailable
from benchmarks.measuring import Failed, Measured
from benchmarks.report import Section, Setting, lines_of, terminal, write
from benchmarks.routes import ROUTES, Route
from benchmarks.starts import starts
from benchmarks.verification import verification

__all__ = ["main"]

FULL = {"rows": 1_000_000, "rounds": 3, "other_rounds": 3, "more": 10_000_000}
QUICK = {"rows": 200_000, "rounds": 3, "other_rounds": 2, "more": 1_000_000}


def compare(bench: Bench, route: Route, shape: str, rows: int, rounds: int) -> Section:
    """Run one route: every contender once a round, in turn, after a run that warms the servers."""
    runs: dict[str, list[Measured]] = {}
    failures: dict[str, str] = {}
    with suppress(Failed, Unavailable):
        bench.run(route.contenders[0], route.source, route.target, shape, rows)
    for number in range(rounds):
        for contender in _turned(route.contenders, number):
            if contender.name in failures:
                continue
            try:
                run = bench.run(contender, route.source, route.target, shape, rows)
            except (Failed, Unavailable) as error:
                failures[contender.name] = str(error)
                print(f"!!! {route.name}, {shape}: {contender.name}: {error}", flush=True)
            else:
                runs.setdefault(contender.name, []).append(run)
    title = route.title if shape == "mixed" else f"{route.title}: {shape}"
    return Section(title, lines_of(route, shape, rows, runs, failures))


def _turned(contenders: tuple[Contender, ...], number: int) -> tuple[Contender, ...]:
    first = number % len(contenders)
    return contenders[first:] + contenders[:first]


def _sections(bench: Bench, given: argparse.Namespace) -> Iterator[Section]:
    for name in given.routes:
        if name == "memory":
            yield memory(bench, given.rows, given.more)
        elif name == "small-tables":
            yield small_tables(bench, 1 if given.quick else given.rounds)
        elif name == "starts":
            yield from starts(bench, given.rounds)
        elif name == "verify":
            shapes = {s: max(int(given.rows * SHAPES[s].share), 1_000) for s in given.shapes}
            yield from verification(bench, shapes, given.rounds)
        else:
            route = _chosen(ROUTES[name], given.peers)
            for shape in (s for s in route.shapes if s in given.shapes):
                rows = max(int(given.rows * SHAPES[shape].share), 1_000)
                rounds = given.rounds if shape == "mixed" else min(given.rounds, given.other_rounds)
                yield compare(bench, route, shape, rows, rounds)


def _chosen(route: Route, peers: list[str] | None) -> Route:
    """The route with ours, and those peers whose names hold one of the words."""
    if peers is None:
        return route
    ours, *others = route.contenders
    kept = [c for c in others if any(word.lower() in c.name.lower() for word in peers)]
    return Route(
        route.name,
        route.title,
        route.source,
        route.target,
        (ours, *kept),
        route.figures,
        route.shapes,
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, allow_abbrev=False
    )
    names = (*ROUTES, *EXTRAS)

    def words(text: str) -> list[str]:
        return [word for word in text.split(",") if word]

    parser.add_argument("--cdc", action="store_true", help="change data capture instead")
    parser.add_argument("--quick", action="store_true", help="fewer rows and rounds")
    parser.add_argument("--rows", type=int, help="mixed rows; other shapes have a share of them")
    parser.add_argument("--more", type=int, help="rows of the second measurement of memory")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--other-rounds", type=int, help="at most, for shapes other than mixed")
    parser.add_argument("--routes", type=words, help=",".join(names))
    parser.add_argument("--peers", type=words, help="words that are in the names of peers")
    parser.add_argument("--shapes", type=words, help=",".join(SHAPES))
    parser.add_argument("--results", type=Path, help="the document to write")
    given = parser.parse_args()
    if given.routes is given.peers is given.shapes is given.results is None:
        given.results = Path(__file__).with_name("RESULTS.md")
    given.routes = given.routes or list(names)
    given.shapes = given.shapes or list(SHAPES)
    for key, value in (QUICK if given.quick else FULL).items():
        if getattr(given, key) is None:
            setattr(given, key, value)
    unknown = {*given.routes} - {*names} | {*given.shapes} - {*SHAPES}
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    return given


def _command() -> str:
    """How the run was called, without the place of the results."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--results")
    return " ".join(["python -m benchmarks", *parser.parse_known_args()[1]])


def main() -> int:
    """Run what was asked for, write the results after each route; 1 where ours failed."""
    if "--cdc" in sys.argv[1:]:
        return follow_logs()
    given = _arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that everything is cleared away
    setting = Setting(_command(), given.rows, given.rounds, given.other_rounds, os.getloadavg()[0])
    done: list[Section] = []
    with Bench() as bench:
        for section in _sections(bench, given):
            print(terminal(section), flush=True)
            done.append(section)
            if given.results:
                write(given.results, done, setting, bench.servers)
    missing = [(s.title, line) for s in done for line in s.lines if line.failed]
    for title, line in missing:
        print(f"!!! NOT MEASURED: {title}: {line.work}: {line.failed}", flush=True)
    return 1 if any(line.work.startswith("ours") for _, line in missing) else 0


if __name__ == "__main__":
    sys.exit(main())
