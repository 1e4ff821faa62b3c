"""`verify` on every type case that a route carries: equal is said equal, one wrong value is found.

Each fault stands in a row of its own, so that nothing else can be what was found.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from streams_engine import Stream
from streams_engine.testing.servers import Server
from tests.support.databases import End, move
from tests.support.planted import copy_rows, plant
from tests.support.type_cases import grouped, prepare_postgres
from tests.support.type_routes import (
    FORMATS,
    Duty,
    Fact,
    MysqlSource,
    PostgresSource,
    duty_mysql_to_file,
    duty_mysql_to_mysql,
    duty_mysql_to_postgres,
    duty_postgres_to_file,
    duty_postgres_to_mysql,
    mysql_cases,
    postgres_cases,
)

ROUTES = [
    ("mysql9", "pg18"),
    ("pg18", "mysql9"),
    ("mysql9", "mysql9"),
    ("mysql9", "mariadb"),
    ("mariadb", "mysql9"),
    ("mariadb", "mariadb"),
    ("mariadb", "pg18"),
    ("pg15", "pg18"),
    ("pg18", "pg18"),
    ("pg15", "mysql9"),
    ("pg18", "mariadb"),
    *((source, form) for source in ("mysql9", "mariadb", "pg18") for form in FORMATS),
]
WIDTH = 10
"""Cases in a table."""
SELECTED = 40
"""Cases of a route in the ordinary run."""


@pytest.mark.parametrize(
    ("source_name", "target_name", "most"),
    [
        *(pytest.param(*route, SELECTED, id="-".join(route)) for route in ROUTES[:2]),
        *(
            pytest.param(*route, None, id=f"all-{'-'.join(route)}", marks=pytest.mark.soak)
            for route in ROUTES
        ),
    ],
)
def test_type_cases_are_equal_and_each_planted_fault_is_found(
    source_name: str,
    target_name: str,
    most: int | None,
    request: pytest.FixtureRequest,
    database: Any,
    shared_data: Path,
    tmp_path: Path,
    counted: Callable[[str], None],
) -> None:
    server: Server = request.getfixturevalue(source_name)
    target = None
    if target_name not in FORMATS:
        sink: Server = request.getfixturevalue(target_name)
        target = End(sink, database(sink))
    source = prepared(server, target, database, shared_data)
    duty = duty_of(source, target)
    duties = {case["id"]: duty(source.facts[case["id"]]) for case in source.wanted}
    # Zero for minus zero is another value: the plan states it, verify says so.
    carried = [c for c in source.wanted if duties[c["id"]] in (Duty.PAUSE, Duty.NULL)]
    if most is not None:
        carried = random.Random(source_name).sample(carried, most)
    tables = grouped(carried, WIDTH)
    source.fill(tables)
    copy_rows(source.end, tables)
    url = target.url if target else f"file://{tmp_path}?format={target_name}"
    move(source.end, url, tables=list(tables))
    stream = Stream(source.end.url, url, tables=list(tables))

    unequal = [(v.table, v.note, v.differences[:3]) for v in stream.verify().tables if not v.equal]
    assert unequal == []

    # On the source one zero date for another is no fault: both are NULL by the policy.
    planted = plant(
        target or source.end,
        tables
        if target
        else {
            name: [case for case in members if duties[case["id"]] is not Duty.NULL]
            for name, members in tables.items()
        },
    )
    faults = Counter(kind for rows in planted.values() for _, kind in rows.values())
    wrong = []
    for verdict in stream.verify().tables:
        rows = planted[verdict.table.rpartition(".")[2]]
        found = {d.shown: d.columns for d in verdict.differences}
        for key, (name, kind) in rows.items():
            if found.pop(key, None) != (name,):
                faults.subtract([kind])
                wrong.append((verdict.table, name, kind))
        wrong += [(verdict.table, key, "never planted") for key in found]
    counted(
        f"verify {source_name} -> {target_name}: {len(carried)} of {len(source.wanted)} cases "
        f"carried and equal; of {sum(map(len, planted.values()))} planted faults found: "
        + ", ".join(f"{kind} {count}" for kind, count in sorted(faults.items()))
    )
    assert wrong == []


def prepared(
    server: Server, target: End | None, database: Any, shared_data: Path
) -> MysqlSource | PostgresSource:
    if server.kind != "postgresql":
        return MysqlSource.prepare(server, database, mysql_cases(shared_data, server))
    wanted = postgres_cases(shared_data)
    if target is not None and target.server.kind == "postgresql":
        absent = prepare_postgres(End(target.server, database(target.server)), wanted)
        wanted = [case for case in wanted if case["id"] not in absent]
    return PostgresSource.prepare(server, database, wanted)


def duty_of(source: MysqlSource | PostgresSource, target: End | None) -> Callable[[Fact], Duty]:
    mysql = isinstance(source, MysqlSource)
    if target is None:
        return duty_mysql_to_file if mysql else duty_postgres_to_file
    server = target.server
    if server.kind == "postgresql":
        return duty_mysql_to_postgres if mysql else lambda fact: Duty.PAUSE
    if mysql:
        return lambda fact: duty_mysql_to_mysql(fact, source.end.server, server)
    return lambda fact: duty_postgres_to_mysql(fact, server)
