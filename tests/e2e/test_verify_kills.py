"""A verification whose process is killed goes on, and what it repaired is repaired once."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from streams_engine import Stream
from streams_engine.testing.servers import Server
from streams_engine.verify import digests, progress
from tests.support.databases import End
from tests.support.fault_points import at_points
from tests.support.kills import child
from tests.support.workload import Workload, differences, make_tables

SECONDS = 180
ROWS = 4000
NAME = "verified"

CHILD = """
import os, signal, sys
import streams_engine.faults as faults
from streams_engine import Stream
from streams_engine.verify import digests, progress
source, target, mode, point, count = sys.argv[1:6]
digests.RANGE_ROWS, digests.LEAF_ROWS, progress.SAVE_SECONDS = 500, 100, 0
left = int(count)

def reached(here):
    global left
    if here.startswith(point):
        left -= 1
        if left < 0:
            print("killed at", here, flush=True)
            os.kill(os.getpid(), signal.SIGKILL)

faults.install(reached)
with Stream(source, target, mode=mode, name="verified", allow_lossy=True) as stream:
    if mode == "cdc":
        stream.start()
        assert stream.catch_up(120), stream.error
    print("verifying", flush=True)
    report = stream.verify(repair=True)
print("ok" if report.ok else f"not equal: {report}", flush=True)
"""

POINTS = ["verify: progress noted", "verify: repair written", "verify: repair committed"]


def verified(source: End, target: End, mode: str, point: str, count: int) -> str:
    """What a child that verifies and repairs says; it may be killed at a point."""
    with child(CHILD, source.url, target.url, mode, point, str(count)) as process:
        told = process.told(SECONDS).removeprefix("verifying\n")
    assert told.startswith(("ok", "killed")), told
    return told


DAMAGE = [
    "UPDATE t SET v = 'wrong' WHERE id IN (7, 1800)",
    "DELETE FROM t WHERE id = 1801",
    "INSERT INTO t VALUES (-5, 'extra')",
    "DELETE FROM bag WHERE x = 2",
]


def copied_and_damaged(source: End, target: End, rows: int) -> list[Any]:
    """Copy tables and damage the copy. Return what the target held before."""
    source.run(
        "CREATE TABLE t (id int PRIMARY KEY, v varchar(40))",
        *(
            "INSERT INTO t VALUES " + ", ".join(f"({n}, 'v{n}')" for n in range(at, at + 1000))
            for at in range(0, rows, 1000)
        ),
        "CREATE TABLE bag (x int, y varchar(9))",
        "INSERT INTO bag VALUES (1, 'a'), (1, 'a'), (2, NULL), (2, NULL)",
    )
    Stream(source.url, target.url, name=NAME, allow_lossy=True).run()
    before = shown(target)
    target.run(*DAMAGE)
    return before


@pytest.mark.parametrize(("source_name", "target_name"), [("mysql9", "pg18"), ("pg18", "mysql9")])
def test_cut_at_each_point_it_goes_on(
    source_name: str,
    target_name: str,
    request: pytest.FixtureRequest,
    database: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source, target = ends(source_name, target_name, request, database)
    before = copied_and_damaged(source, target, ROWS)
    monkeypatch.setattr(digests, "RANGE_ROWS", 500)
    monkeypatch.setattr(digests, "LEAF_ROWS", 100)
    monkeypatch.setattr(progress, "SAVE_SECONDS", 0)
    for count, point in enumerate([POINTS[0], *POINTS]):
        again = Stream(source.url, target.url, name=NAME, allow_lossy=True)
        with at_points(ends_at(point, 2 if count == 0 else 0)), pytest.raises(KilledError):
            again.verify(repair=True)
    report = Stream(source.url, target.url, name=NAME, allow_lossy=True).verify(repair=True)
    assert report.ok
    assert shown(target) == before == shown(source)
    assert tables(target) == {"t", "bag"}


ROUTES = [("mysql9", "pg18"), ("pg18", "mysql9"), ("pg18", "pg15")]


@pytest.mark.parametrize(
    ("source_name", "target_name", "rows", "seed", "growth"),
    [
        ("mysql9", "pg18", ROWS, 0, 3.0),
        *(
            pytest.param(*route, 40_000, seed, 1.15, marks=pytest.mark.soak)
            for route in ROUTES
            for seed in range(3)
        ),
    ],
)
def test_killed_at_any_time_until_it_ends(
    source_name: str,
    target_name: str,
    rows: int,
    seed: int,
    growth: float,
    request: pytest.FixtureRequest,
    database: Any,
    counted: Callable[[str], None],
) -> None:
    source, target = ends(source_name, target_name, request, database)
    before = copied_and_damaged(source, target, rows)
    chosen = random.Random(seed)
    longest, kills, told = 0.1, 0, ""
    while not told:
        with child(CHILD, source.url, target.url, "convert", "nowhere", "0") as process:
            assert process.out.readline() == "verifying\n"
            told = process.told(chosen.uniform(0, longest))
        kills += not told
        longest *= growth
    assert told == "ok\n"
    assert shown(target) == before == shown(source)
    assert tables(target) == {"t", "bag"}
    counted(f"seed {seed}, {source_name} to {target_name}: {kills} kills while repairing, equal")


class KilledError(BaseException):
    """What a test raises where a process might be killed."""


def ends_at(point: str, count: int) -> Callable[[str], None]:
    left = [count]

    def reached(here: str) -> None:
        left[0] -= here == point
        if left[0] < 0:
            raise KilledError

    return reached


def shown(end: End) -> list[Any]:
    return [sorted(map(repr, end.rows(f"SELECT * FROM {table}"))) for table in ("t", "bag")]


def tables(end: End) -> set[str]:
    """All that there are, those of a stream's records too."""
    own = "NOT IN ('pg_catalog', 'information_schema')"
    if end.server.kind != "postgresql":
        own = f"= '{end.database}'"
    query = f"SELECT table_name FROM information_schema.tables WHERE table_schema {own}"
    return {name for (name,) in end.rows(query)}


def ends(one: str, other: str, request: pytest.FixtureRequest, database: Any) -> tuple[End, End]:
    servers: list[Server] = [request.getfixturevalue(name) for name in (one, other)]
    return End(servers[0], database(servers[0])), End(servers[1], database(servers[1]))


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("source_name", "target_name"), ROUTES)
def test_killed_at_random_under_writes(
    source_name: str,
    target_name: str,
    seed: int,
    request: pytest.FixtureRequest,
    database: Any,
    counted: Callable[[str], None],
) -> None:
    source, target = ends(source_name, target_name, request, database)
    make_tables(source, 3000)
    chosen = random.Random(seed)
    fell = []
    options = {"mode": "cdc", "name": NAME, "allow_lossy": True}
    with Workload(source, seed, pause=0.01).running():
        assert verified(source, target, "cdc", "nowhere", 0).startswith("ok")
        for _ in range(2):
            keys = [key for (key,) in target.rows("SELECT id FROM keyed")]
            for key in chosen.sample(keys, 6):
                target.run(f"DELETE FROM keyed WHERE id = {key}")
            for _ in range(4):
                fell.append(verified(source, target, "cdc", "verify", chosen.randint(0, 12)))
            assert verified(source, target, "cdc", "nowhere", 0).startswith("ok")
    with Stream(source.url, target.url, **options) as stream:
        stream.start()
        assert stream.catch_up(SECONDS), stream.error
        assert stream.verify(repair=True).ok
        assert stream.catch_up(SECONDS), stream.error
    assert differences(source, target) == []
    Stream(source.url, target.url, **options).release()
    counted(f"seed {seed}, {source_name} to {target_name}: {len(fell)} kills, equal")
