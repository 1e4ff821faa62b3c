"""CASES A5, A7: random concurrent writes, while the stream's process is killed again and again:
at every named point of a run, and at random moments. At the end both ends are equal."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from streams_engine import State, Stream
from streams_engine.faults import POINTS
from streams_engine.testing.servers import Server
from tests.support.databases import End
from tests.support.kills import child
from tests.support.workload import Workload, differences, make_tables

SECONDS = 60

CHILD = """
import logging, os, signal, sys
import streams_engine.faults as faults
from streams_engine import Stream
source, target, name, point, count = sys.argv[1:6]
left = int(count)
logging.basicConfig(level=logging.ERROR)

def reached(here):
    global left
    if point in (here, "any"):
        left -= 1
        if left < 0:
            print("killed at", here, flush=True)
            os.kill(os.getpid(), signal.SIGKILL)

faults.install(reached)
options = {"parallelism": int(sys.argv[6])} if sys.argv[6:] else {}
stream = Stream(source, target, mode="cdc", name=name, allow_lossy=True, **options)
try:
    stream.run()
except Exception as error:
    print("failed", error, flush=True)
print("ended", stream.state, flush=True)
"""


def killed(
    source: End, target: End, name: str, point: str, count: int, *options: str
) -> str | None:
    """The point at which a child was killed; None where it did not come to it in time."""
    with child(CHILD, source.url, target.url, name, point, str(count), *options) as process:
        told = process.told(SECONDS)
    assert "failed" not in told, told
    places = [line for line in told.splitlines() if line.startswith("killed at ")]
    return places[0].removeprefix("killed at ") if places else None


def through_kills(
    source: End, target: End, seed: int, *, random_kills: int, rows: int, pause: float, most: int
) -> None:
    """One seed: every point once, then kills at any point; then the rows are compared.

    ``pause``: seconds between the writers' transactions; ``most``: how often a point is passed
    at most before the kill.
    """
    name = f"kills {seed}"
    chosen = random.Random(seed)
    make_tables(source, rows)
    fell = set()
    with Workload(source, seed, pause=pause).running() as workload:
        handover = [
            p for p in POINTS if p.startswith("handover") and p != "handover: position taken"
        ]
        following = [p for p in POINTS if p.split(":")[0] in ("log", "apply", "commit",
                                                              "acknowledge")]  # fmt: skip
        for point in (*handover, *chosen.sample(following, len(following))):
            count = 0 if point in handover or point == "log: opened" else chosen.randint(0, most)
            fell.add(killed(source, target, name, point, count))
        for number, point in enumerate(p for p in POINTS if p.startswith("ddl")):
            if target.server.kind == "postgresql" and point == "ddl: intent recorded":
                continue  # its DDL is part of the transaction: there is no intent
            source.run(f"ALTER TABLE keyed ADD COLUMN extra{number} int DEFAULT {number}")
            fell.add(killed(source, target, name, point, 0))
        for _ in range(random_kills):
            killed(source, target, name, "any", chosen.randint(0, 10 * most))
    unreached = {
        p for p in POINTS
        if p not in fell and not (p == "ddl: intent recorded" and None not in fell)
        # What waits only where a load was cut between two tables, and a start without a load.
        and not p.startswith(("pending", "load", "reload", "verify"))
        and p != "handover: position taken"
    }  # fmt: skip
    if target.server.kind == "postgresql":
        unreached.discard("ddl: intent recorded")
    assert not unreached, f"no kill fell at {sorted(unreached)}"
    assert workload.committed > 20
    with Stream(source.url, target.url, mode="cdc", name=name, allow_lossy=True) as stream:
        stream.start()
        assert stream.catch_up(SECONDS), stream.error
        assert stream.state is State.RUNNING
        changes = stream.stats().changes
    assert changes is not None and changes.unmet == 0
    assert differences(source, target) == []
    stream.release()


def through_kills_in_the_load(
    source: End, target: End, seed: int, *, rows: int, pause: float
) -> list[str]:
    """One seed: kills wherever they fall, the first of them in the load.

    Several sessions write the while, tables with foreign keys among them. Returns where the kills
    fell; the rows and the foreign keys are the same at the end.
    """
    name = f"load {seed}"
    chosen = random.Random(seed)
    make_tables(source, rows)
    fell: list[str] = []
    with Workload(source, seed, writers=3, pause=pause).running() as workload:
        for _ in range(KILLS):
            readers = chosen.choice(["1", "1", "3"])
            place = killed(source, target, name, "any", chosen.randint(2, 9), readers)
            assert place is not None, fell
            fell.append(place)
    assert workload.committed > 20
    with Stream(source.url, target.url, mode="cdc", name=name, allow_lossy=True) as stream:
        stream.start()
        assert stream.catch_up(SECONDS), stream.error
        assert stream.state is State.RUNNING
        changes = stream.stats().changes
    assert changes is not None and changes.unmet == 0, fell
    assert differences(source, target) == [], fell
    assert foreign_keys(target) == foreign_keys(source), fell
    stream.release()
    return fell


KILLS = 5


def foreign_keys(end: End) -> int:
    """How many there are."""
    space = "current_schema()" if end.server.kind == "postgresql" else "database()"
    [(count,)] = end.rows(
        "SELECT count(*) FROM information_schema.table_constraints WHERE constraint_type ="
        f" 'FOREIGN KEY' AND table_schema = {space}"
    )
    return int(count)


ROUTES = [
    (source, target)
    for source in ("mysql9", "mariadb", "pg15", "pg18")
    for target in ("pg18", "mysql9")
]
ALWAYS = [("mysql9", "pg18"), ("mariadb", "mysql9"), ("pg18", "pg18")]
"""In each ordinary run; all of them in a long one."""


def ends(source_name: str, target_name: str, request: pytest.FixtureRequest, database: Any) -> Any:
    one: Server = request.getfixturevalue(source_name)
    other: Server = request.getfixturevalue(target_name)
    return End(one, database(one)), End(other, database(other))


@pytest.mark.parametrize(("source_name", "target_name"), ALWAYS)
def test_a5_killed_at_every_point(
    source_name: str, target_name: str, request: pytest.FixtureRequest, database: Any
) -> None:
    source, target = ends(source_name, target_name, request, database)
    through_kills(source, target, 1, random_kills=2, rows=400, pause=0.02, most=2)


@pytest.mark.soak
@pytest.mark.parametrize(
    ("seed", "source_name", "target_name"),
    [(seed, *ROUTES[seed % len(ROUTES)]) for seed in range(10, 30)],
)
def test_long_seeds(
    source_name: str,
    target_name: str,
    seed: int,
    request: pytest.FixtureRequest,
    database: Any,
    counted: Callable[[str], None],
) -> None:
    source, target = ends(source_name, target_name, request, database)
    through_kills(source, target, seed, random_kills=25, rows=20_000, pause=0.002, most=6)
    counted(f"seed {seed}, {source_name} to {target_name}: equal")


LOADS = [(s, t) for s in ("mysql9", "mariadb", "pg18") for t in ("pg18", "mysql9")]
LOADS_ALWAYS = [("mysql9", "pg18"), ("pg18", "mysql9")]
SEEDS = 20


@pytest.mark.parametrize(("source_name", "target_name"), LOADS_ALWAYS)
def test_a5_killed_in_the_load(
    source_name: str, target_name: str, request: pytest.FixtureRequest, database: Any
) -> None:
    source, target = ends(source_name, target_name, request, database)
    through_kills_in_the_load(source, target, 1, rows=400, pause=0.02)


@pytest.mark.soak
@pytest.mark.parametrize(
    ("seed", "source_name", "target_name"),
    [(seed, *route) for seed in range(100, 100 + SEEDS) for route in LOADS],
)
def test_long_seeds_killed_in_the_load(
    source_name: str,
    target_name: str,
    seed: int,
    request: pytest.FixtureRequest,
    database: Any,
    counted: Callable[[str], None],
) -> None:
    source, target = ends(source_name, target_name, request, database)
    fell = through_kills_in_the_load(source, target, seed, rows=2000, pause=0.01)
    counted(f"seed {seed}, {source_name} to {target_name}: equal after {len(fell)} kills")
