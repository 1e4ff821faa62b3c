"""What a large value costs in memory, and a transaction of many rows: measured in a process of its
own as the peak beyond what the imports take."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest

from streams_engine import Stream
from streams_engine.testing.servers import Server
from tests.support.databases import End
from tests.support.peak_memory import peak

SMALL, LARGE = 40, 60
"""MB of a value."""

TYPES = {
    "postgresql": {"text": "text", "bytes": "bytea", "json": "jsonb"},
    "mysql": {"text": "longtext", "bytes": "longblob", "json": "json"},
}
VALUES = {
    "postgresql": {
        "text": "repeat('ab''\tcd\\', {0} / 8)",
        "bytes": "decode(repeat('ab27005c', {0} / 4), 'hex')",
        "json": "jsonb_build_object('a', repeat('abcdefgh', {0} / 8))",
    },
    "mysql": {
        "text": "repeat('ab''\tcd\\\\', {0} / 8)",
        "bytes": "repeat(unhex('ab27005c'), {0} / 4)",
        "json": "json_object('a', repeat('abcdefgh', {0} / 8))",
    },
}
NAME = "large_values"


def value(kind: str, values: str, size: int) -> str:
    return VALUES[kind][values].format(size << 20)


def on_the_wire(kind: str, values: str, size: int) -> int:
    """PostgreSQL's log has bytes as hex digits."""
    return 2 * size if (kind, values) == ("postgresql", "bytes") else size


def kind_of(server: Server) -> str:
    return "postgresql" if server.kind == "postgresql" else "mysql"


@pytest.fixture
def ends(request: pytest.FixtureRequest, database: Any) -> Iterator[tuple[End, End]]:
    servers = [request.getfixturevalue(name) for name in request.param]
    source, target = (End(server, database(server)) for server in servers)
    yield source, target
    with contextlib.suppress(Exception):
        Stream(source.url, target.url, mode="cdc", name=NAME).release()


ROUTES = [
    pytest.param(route, id="-".join(route))
    for route in (("pg18", "pg15"), ("pg18", "mysql9"), ("mysql9", "pg18"), ("mysql9", "mysql9"))
]


def digest(end: End, values: str) -> str:
    """SHA-256 of the value, by its server."""
    plain = "v" if values == "bytes" else "convert_to(v, 'UTF8')"
    form = {"postgresql": f"encode(sha256({plain}), 'hex')", "mysql": "sha2(v, 256)"}
    return str(end.rows(f"SELECT {form[kind_of(end.server)]} FROM t")[0][0])


@pytest.mark.parametrize("ends", ROUTES, indirect=True)
@pytest.mark.parametrize("values", ["text", "bytes"])
def test_a_large_value_in_the_log_costs_less_than_four_of_it(
    ends: tuple[End, End], values: str
) -> None:
    source, target = ends
    kind = kind_of(source.server)
    source.run(f"CREATE TABLE t (id int PRIMARY KEY, v {TYPES[kind][values]})")
    cost = peak(
        {"source": source.url, "target": target.url, "mode": "cdc", "name": NAME},
        lambda: source.run(f"INSERT INTO t VALUES (1, {value(kind, values, SMALL)})"),
    )
    assert cost < 4 * on_the_wire(kind, values, SMALL) + 20
    assert digest(source, values) == digest(target, values)


@pytest.mark.parametrize("ends", ROUTES, indirect=True)
def test_a_large_value_in_the_load_costs_less_than_four_of_it(ends: tuple[End, End]) -> None:
    source, target = ends
    kind = kind_of(source.server)
    source.run(
        f"CREATE TABLE t (id int PRIMARY KEY, v {TYPES[kind]['bytes']})",
        f"INSERT INTO t VALUES (1, {value(kind, 'bytes', SMALL)})",
    )
    cost = peak({"source": source.url, "target": target.url, "mode": "convert"})
    assert cost < 4 * SMALL + 40
    assert digest(source, "bytes") == digest(target, "bytes")


@pytest.mark.soak
@pytest.mark.parametrize("ends", ROUTES, indirect=True)
@pytest.mark.parametrize("values", ["text", "bytes", "json"])
@pytest.mark.parametrize("change", ["insert", "update", "full", "delete"])
def test_changes_of_large_values_cost_what_the_documentation_says(
    ends: tuple[End, End], values: str, change: str
) -> None:
    """Update: of a small value. Full: of a large one, which the log has before and after."""
    source, target = ends
    kind = kind_of(source.server)
    source.run(f"CREATE TABLE t (id int PRIMARY KEY, v {TYPES[kind][values]})")
    if change == "full" and kind == "postgresql":
        source.run("ALTER TABLE t REPLICA IDENTITY FULL")
    if change != "insert":
        first = 1 if change == "update" else LARGE
        source.run(f"INSERT INTO t VALUES (1, {value(kind, values, first)})")
    made = value(kind, values, LARGE - 1)
    statement = {"insert": f"INSERT INTO t VALUES (1, {made})", "delete": "DELETE FROM t"}.get(
        change, f"UPDATE t SET v = {made}"
    )
    cost = peak(
        {"source": source.url, "target": target.url, "mode": "cdc", "name": NAME},
        lambda: source.run(statement),
    )
    images = 2 if change == "full" else 1
    assert cost < 4 * images * on_the_wire(kind, values, LARGE) + 100


@pytest.mark.soak
@pytest.mark.parametrize("ends", ROUTES, indirect=True)
def test_a_transaction_of_a_gigabyte_takes_no_more_than_a_small_one(ends: tuple[End, End]) -> None:
    source, target = ends
    source.run("CREATE TABLE t (id int PRIMARY KEY, v text)", "CREATE TABLE n (i int PRIMARY KEY)")
    if kind_of(source.server) == "postgresql":
        rows = "generate_series(1, 1100000) AS s(i)"
    else:
        source.run(
            "SET SESSION cte_max_recursion_depth = 2000",
            "INSERT INTO n WITH RECURSIVE s(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM s "
            "WHERE i < 1000) SELECT i FROM s",
        )
        rows = "(SELECT a.i + 1000 * b.i AS i FROM n a, n b) AS s"
    cost = peak(
        {"source": source.url, "target": target.url, "mode": "cdc", "name": NAME},
        lambda: source.run(f"INSERT INTO t SELECT i, repeat('x', 1000) FROM {rows}"),
    )
    assert cost < 160  # beside 140 of imports: less than 300
