"""What differs is repaired, on a target at rest and while the stream runs."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from streams_engine import Stream
from streams_engine.errors import ConfigError, NotFound, StateConflict
from streams_engine.pipeline.changes.cdc import CdcPipeline
from streams_engine.testing.servers import Server
from tests.support.cdc import cdc, following, shown
from tests.support.databases import End

ROUTES = [
    ("mysql9", "pg18"),
    ("pg18", "mysql9"),
    ("pg18", "pg15"),
    ("mariadb", "mysql9"),
]
ROWS = 5000


@pytest.fixture(params=ROUTES, ids="-".join)
def ends(request: pytest.FixtureRequest, database: Any) -> tuple[End, End]:
    servers: list[Server] = [request.getfixturevalue(name) for name in request.param]
    source, target = (End(server, database(server)) for server in servers)
    return source, target


def numbers(end: End) -> str:
    """A SELECT of so many numbers."""
    if end.server.kind == "postgresql":
        return f"SELECT i FROM generate_series(1, {ROWS}) AS n(i)"
    tens = " UNION ALL ".join(f"SELECT {digit} d" for digit in range(10))
    digits = ", ".join(f"({tens}) d{place}" for place in range(4))
    return f"SELECT d0.d + 10 * d1.d + 100 * d2.d + 1000 * d3.d + 1 AS i FROM {digits}"


def moment(end: End) -> str:
    return "timestamp" if end.server.kind == "postgresql" else "datetime"


def filled(end: End) -> None:
    end.run(
        "CREATE TABLE t (id int PRIMARY KEY, name varchar(40), price decimal(10,2),"
        f" made {moment(end)} NULL)",
        f"INSERT INTO t SELECT i, concat('name ', i), i / 4.0, '2024-01-02 03:04:05'"
        f" FROM ({numbers(end)}) AS n WHERE i <= {ROWS}",
        "CREATE TABLE codes (code varchar(20) PRIMARY KEY, v int)",
        f"INSERT INTO codes SELECT concat('c', i), i FROM ({numbers(end)}) AS n WHERE i <= {ROWS}",
        "CREATE TABLE bag (x int, y varchar(9))",
        "INSERT INTO bag VALUES (1, 'a'), (1, 'a'), (2, NULL)",
    )


DAMAGE = [
    "UPDATE t SET name = 'other', price = 7 WHERE id = 4711",
    "DELETE FROM t WHERE id IN (1, 2500)",
    "INSERT INTO t VALUES (77777, 'extra', NULL, NULL)",
    "UPDATE codes SET v = -1 WHERE code = 'c17'",
    "DELETE FROM codes WHERE code = 'c18'",
]
KINDS = {
    "t": {"1": "missing", "2500": "missing", "4711": "different", "77777": "extra"},
    "codes": {"c17": "different", "c18": "missing"},
}


def stream(source: End, target: End) -> Stream:
    return Stream(source.url, target.url, tables=["t", "codes", "bag"])


def rows(end: End) -> list[Any]:
    tables = ("t", "codes", "bag")
    return [sorted(map(repr, end.rows(f"SELECT * FROM {name}"))) for name in tables]


def named(report: Any) -> dict[str, dict[str, str]]:
    return {
        table.table.rpartition(".")[2]: {d.shown: d.kind for d in table.differences}
        for table in report.tables
        if table.differences
    }


def test_what_differs_is_found_named_and_repaired(ends: tuple[End, End]) -> None:
    source, target = ends
    filled(source)
    stream(source, target).run()
    before = rows(target)
    report = stream(source, target).verify()
    assert report.ok and not report.to_sql()
    assert sum(table.bytes_read for table in report.tables if "bag" not in table.table) < 1 << 20
    target.run(*DAMAGE, "DELETE FROM bag WHERE x = 2")
    report = stream(source, target).verify()
    assert named(report) == KINDS
    changed = {d.shown: d.columns for t in report.tables for d in t.differences if d.columns}
    assert changed == {"4711": ("name", "price"), "c17": ("v",)}
    repaired = stream(source, target).verify(repair=True)
    assert repaired.ok and named(repaired) == KINDS
    counts = {table.table.rpartition(".")[2]: table.repaired for table in repaired.tables}
    assert counts == {"t": 4, "codes": 2, "bag": 3}
    assert rows(target) == before
    assert stream(source, target).verify().ok


def test_the_sql_of_a_report_repairs_too(ends: tuple[End, End]) -> None:
    source, target = ends
    filled(source)
    stream(source, target).run()
    before = rows(target)
    target.run(*DAMAGE)
    report = stream(source, target).verify()
    assert "other" not in repr(report) and "name 1" not in repr(report)
    statements = report.to_sql()
    assert len(statements) == 6
    target.run(*statements)
    assert rows(target) == before


def test_a_sample_and_chosen_tables_are_compared(ends: tuple[End, End]) -> None:
    source, target = ends
    filled(source)
    stream(source, target).run()
    report = stream(source, target).verify(tables=["codes"], sample=1.0)
    assert [table.table.rpartition(".")[2] for table in report.tables] == ["codes"]
    with pytest.raises(NotFound, match="nowhere"):
        stream(source, target).verify(tables=["nowhere"])
    for sample in (0.0, 1.5, True):
        with pytest.raises(ConfigError):
            stream(source, target).verify(sample=sample)


@contextmanager
def writing(source: End) -> Iterator[None]:
    """Change rows all the time, some of them again and again."""
    done = threading.Event()
    faults: list[Exception] = []

    def write() -> None:
        try:
            number = 0
            while not done.is_set():
                number += 1
                source.run(
                    f"UPDATE t SET v = 'v{number}' WHERE id IN (1, {number % 50 + 2})",
                    f"INSERT INTO t VALUES ({1000 + number}, 'new')",
                    f"DELETE FROM t WHERE id = {990 + number}",
                )
        except Exception as error:
            faults.append(error)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
    assert not faults


def test_a_running_stream_is_compared_and_repaired_under_writes(ends: tuple[End, End]) -> None:
    source, target = ends
    source.run(
        "CREATE TABLE t (id int PRIMARY KEY, v varchar(40))",
        "CREATE TABLE bag (x int, y varchar(9))",
        *(f"INSERT INTO t VALUES ({n}, 'v')" for n in range(1, 80)),
    )
    if source.server.kind == "postgresql":
        source.run("ALTER TABLE bag REPLICA IDENTITY FULL")
    with following(source, target) as running:
        with writing(source):
            assert running.verify().ok
            target.run("UPDATE t SET v = 'wrong' WHERE id = 60", "DELETE FROM t WHERE id = 61")
            report = running.verify()
            assert named(report) == {"t": {"60": "different", "61": "missing"}}
            repaired = running.verify(repair=True)
            assert repaired.ok and sum(table.repaired for table in repaired.tables) == 2
            assert running.verify().ok
        assert running.catch_up(120)
        assert shown(source) == shown(target)
    with pytest.raises(StateConflict, match="while the stream runs"):
        running.verify(repair=True)


def locked_alone(end: End) -> None:
    """Lock each table against everybody for a moment. Raises if another session has a lock."""
    for table in ("t", "bag"):
        if end.server.kind == "postgresql":
            lock = f"SET LOCAL lock_timeout = '2s'; LOCK TABLE {table}; COMMIT"
            end.run(f"BEGIN; {lock}")
        else:
            end.run("SET lock_wait_timeout = 2", f"LOCK TABLES {table} WRITE", "UNLOCK TABLES")


def test_nothing_is_locked_while_the_stream_is_waited_for(
    ends: tuple[End, End], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else DDL of the stream would wait for the comparison, and the comparison for the stream."""
    source, target = ends
    filled(source)
    if source.server.kind == "postgresql":
        source.run("ALTER TABLE bag REPLICA IDENTITY FULL")
    with following(source, target) as running:
        assert running.catch_up(120)
        target.run("DELETE FROM t WHERE id IN (1, 2500)", "INSERT INTO bag VALUES (9, 'extra')")
        waits = 0
        catch_up = CdcPipeline.catch_up

        def waiting(cdc: CdcPipeline, deadline: float | None) -> bool:
            nonlocal waits
            waits += 1
            for end in ends:
                locked_alone(end)
            return catch_up(cdc, deadline)

        monkeypatch.setattr(CdcPipeline, "catch_up", waiting)
        report = running.verify()
        assert waits > 5
        assert {str(t.table).rsplit(".")[-1] for t in report.tables if not t.equal} == {"t", "bag"}


def test_a_stream_of_another_process_is_compared_under_writes(
    mysql9: Server, pg18: Server, database: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = End(mysql9, database(mysql9)), End(pg18, database(pg18))
    source.run(
        "CREATE TABLE t (id int PRIMARY KEY, v varchar(40))",
        "CREATE TABLE bag (x int, y varchar(9))",
        *(f"INSERT INTO t VALUES ({n}, 'v')" for n in range(1, 80)),
    )
    elsewhere = cdc(source, target)  # as another process sees the stream
    with following(source, target), writing(source):
        assert elsewhere.verify(live=True).ok
        target.run("DELETE FROM t WHERE id = 62")
        assert named(elsewhere.verify(live=True)) == {"t": {"62": "missing"}}
    source.run("INSERT INTO t VALUES (-1, 'nobody follows')")
    monkeypatch.setattr("streams_engine.stream.CATCH_UP_SECONDS", 0.5)
    with pytest.raises(StateConflict, match="No process follows"):
        elsewhere.verify(live=True)
