"""``python -m benchmarks --cdc``: how fast a log is followed, beside peers on the same log.

The full form takes under 15 minutes, the quick one (``--quick``) under 5; where time runs short
slow peers and further rounds are left out. Writes its half of ``benchmarks/RESULTS.md``, unless
only a part was asked for: then a file only where ``--results`` names one.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from pathlib import Path

from benchmarks.bench import Bench
from benchmarks.cdc.parts import PARTS, Given, run_part
from benchmarks.cdc.report import Part, terminal, write

__all__ = ["main"]

FULL = {
    "bulk": 300_000,
    "one": 50_000,
    "wide": 60_000,
    "behind": 300_000,
    "behind_one": 30_000,
    "memory": 5_000_000,
    "seconds": 10,
    "rounds": 3,
}
QUICK = {
    "bulk": 100_000,
    "one": 15_000,
    "wide": 20_000,
    "behind": 100_000,
    "behind_one": 10_000,
    "memory": 1_000_000,
    "seconds": 5,
    "rounds": 1,
}
SPENT_ON_ROUNDS = 480
"""Seconds after which only first rounds are begun."""
SLOW_UNTIL = {True: 200, False: 600}
"""Seconds after which slow peers are left out, in the quick form and in the full one."""
QUICK_PARTS_LEFT_OUT = ("mariadb-one", "mariadb-wide")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks --cdc", description=__doc__, allow_abbrev=False
    )

    def words(text: str) -> list[str]:
        return [word for word in text.split(",") if word]

    parser.add_argument("--cdc", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--quick", action="store_true", help="fewer rows and one round")
    for key, value in FULL.items():
        option = "--" + key.replace("_", "-")
        parser.add_argument(option, type=int, help=f"{value:,} (quick: {QUICK[key]:,})")
    parser.add_argument("--parts", type=words, help=",".join(PARTS))
    parser.add_argument("--peers", type=words, help="words that are in the names of peers")
    parser.add_argument("--results", type=Path, help="the document to write")
    given = parser.parse_args()
    if given.parts is given.peers is given.results is None:
        given.results = Path(__file__).parents[1] / "RESULTS.md"
    left_out = QUICK_PARTS_LEFT_OUT if given.quick else ()
    given.parts = given.parts or [name for name in PARTS if name not in left_out]
    if unknown := {*given.parts} - {*PARTS}:
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    for key, value in (QUICK if given.quick else FULL).items():
        if getattr(given, key) is None:
            setattr(given, key, value)
    return given


def _command() -> str:
    """How the run was called, without the place of the results."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--results")
    return " ".join(["python -m benchmarks", *parser.parse_known_args()[1]])


def main() -> int:
    """Run what was asked for, write the results after each part; 1 where ours failed."""
    asked = _arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that everything is cleared away
    begun, load = time.monotonic(), os.getloadavg()[0]
    amounts = {key: getattr(asked, key) for key in FULL}
    given = Given(**amounts, peers=asked.peers, until=begun + SPENT_ON_ROUNDS)
    given.slow_until = begun + SLOW_UNTIL[asked.quick]
    print(
        f"budget: {5 if asked.quick else 15} minutes on a machine that does nothing else; no second"
        f" round after {SPENT_ON_ROUNDS} s, no slow peers after {SLOW_UNTIL[asked.quick]} s",
        flush=True,
    )
    done: list[Part] = []
    with Bench() as bench:
        for name in asked.parts:
            part = run_part(bench, given, name)
            done.append(part)
            minutes = (time.monotonic() - begun) / 60
            print(f"{terminal(part)}\n  ({minutes:.1f} minutes so far)", flush=True)
            if asked.results:
                write(asked.results, done, _command(), load, minutes, bench.servers)
    failed = [(p, row) for p in done for row in p.rows if row.failed]
    for part, row in failed:
        print(f"!!! NOT MEASURED: {part.title}: {row.work}: {row.failed}", flush=True)
    return 1 if any(row.work.startswith("ours") for _, row in failed) else 0
