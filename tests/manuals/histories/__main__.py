"""``python -m tests.manuals.histories --route mysql9-pg18 --seed 7`` plays a history by hand.

``--script FILE`` replays one, ``--shrink`` makes one that fails as short as it can be, ``--show``
only writes it down.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import random
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from streams_engine.testing.servers import Server, running
from tests.manuals.histories.compose import GENERATED, compose
from tests.manuals.histories.play import play
from tests.manuals.histories.script import Step, parse, render
from tests.manuals.histories.shrink import alike, shrink
from tests.manuals.routes import ROUTES, Route
from tests.manuals.runner import Outcome


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.manuals.histories", description=__doc__)
    parser.add_argument("--route", choices=GENERATED, required=True)
    parser.add_argument("--seed", type=_seeds, default=range(1), help="N, or FIRST-LAST")
    parser.add_argument("--script", type=Path, help="a file with a history")
    parser.add_argument("--shrink", action="store_true")
    parser.add_argument("--show", action="store_true", help="write the history down, nothing else")
    parser.add_argument("--save", type=Path, help="a folder for histories that fail")
    asked = parser.parse_args()
    route = ROUTES[asked.route]
    if asked.script:
        histories = {asked.script.stem: parse(asked.script.read_text())}
    else:
        histories = {str(n): compose(route, random.Random(n)) for n in asked.seed}
    if asked.show:
        print("".join(map(render, histories.values())), end="")
        return
    if len(histories) == 1:
        logging.basicConfig(level=logging.WARNING)
    with contextlib.ExitStack() as stack:
        source, target = (stack.enter_context(running(n)) for n in (route.source, route.target))
        _play(source, target, route, histories, asked.shrink, asked.save)


def _play(
    source: Server,
    target: Server,
    route: Route,
    histories: Mapping[str, Sequence[Step]],
    shorter: bool,
    folder: Path | None,
) -> None:
    counts: Counter[str] = Counter()
    for name, history in histories.items():
        began = time.monotonic()
        outcome = play(source, target, route, history, print if len(histories) == 1 else None)
        counts[outcome.kind] += 1
        spent = time.monotonic() - began
        print(f"{route.name} {name}: {outcome} [{spent:.1f} s]", flush=True)
        if outcome.kind in ("equal", "remedied"):
            continue
        if shorter:
            fails = partial(_fails, source, target, route, outcome)
            history = shrink(history, fails, outcome.words)
            print(render(history), flush=True)
        if folder:
            folder.mkdir(parents=True, exist_ok=True)
            script = folder / f"{route.name}-{name}.sql"
            script.write_text(render(history))
    print(f"{route.name}: {len(histories)} histories", dict(counts), flush=True)


def _fails(
    source: Server, target: Server, route: Route, outcome: Outcome, history: Sequence[Step]
) -> bool:
    return alike(outcome, play(source, target, route, history))


def _seeds(text: str) -> range:
    first, _, last = text.partition("-")
    return range(int(first), int(last or first) + 1)


main()
