"""Dates that a target lacks are refused or set aside, and the quarantine shows them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from streams_engine import State
from streams_engine.testing.servers import Server
from tests.support.cdc import caught_up, cdc
from tests.support.databases import End, move

FAR = {
    "date": {
        "0044-03-15 BC": "0044-03-15 BC",
        "12000-01-01": "12000-01-01",
        "infinity": "infinity",
        "-infinity": "-infinity",
    },
    "timestamp": {
        "0044-03-15 01:02:03 BC": "0044-03-15 01:02:03.000000 BC",
        "294276-01-01": "294276-01-01 00:00:00.000000",
        "infinity": "infinity",
    },
    "timestamptz": {
        "0044-03-15 01:02:03Z BC": "0044-03-15 01:02:03.000000 BC",
        "12000-01-01Z": "12000-01-01 00:00:00.000000",
        "-infinity": "-infinity",
    },
}
"""By type of PostgreSQL: what MySQL has no date for, and how the quarantine shows it."""

ASIDE = "SELECT source_row FROM streams_engine_quarantine ORDER BY id"


def source_of(server: Server, database: Any, kind: str) -> End:
    end = End(server, database(server))
    end.run(f"CREATE TABLE era (id int PRIMARY KEY, d {kind})", "INSERT INTO era VALUES (0, NULL)")
    return end


def fill(source: End, kind: str) -> None:
    for number, value in enumerate(FAR[kind], 1):
        source.run(f"INSERT INTO era VALUES ({number}, '{value}')")


def aside(target: End) -> dict[int, str]:
    """What the quarantine shows, by the row's id."""
    rows = [json.loads(row[0]) for row in target.rows(ASIDE)]
    return {int(row["id"]): row["d"] for row in rows}


@pytest.mark.parametrize("kind", FAR)
def test_a_load_sets_them_aside(
    pg15: Server, mysql_server: Server, database: Any, kind: str
) -> None:
    source = source_of(pg15, database, kind)
    target = End(mysql_server, database(mysql_server))
    fill(source, kind)
    stats = move(source, target, on_error="quarantine")
    assert target.rows("SELECT id, d FROM era") == [(0, None)]
    assert stats.target.failed_counter == len(FAR[kind])
    assert aside(target) == dict(enumerate(FAR[kind].values(), 1))


@pytest.mark.parametrize("kind", FAR)
def test_a_log_sets_them_aside(
    pg15: Server, mysql_server: Server, database: Any, kind: str
) -> None:
    source = source_of(pg15, database, kind)
    target = End(mysql_server, database(mysql_server))
    with cdc(source, target, tables=["era"], on_error="quarantine") as stream:
        stream.start()
        caught_up(stream)
        fill(source, kind)
        caught_up(stream)
        assert stream.state is State.RUNNING
        assert target.rows("SELECT id, d FROM era") == [(0, None)]
        assert sorted(aside(target)) == list(range(1, len(FAR[kind]) + 1))
    stream.release()


@pytest.mark.parametrize("kind", FAR)
def test_files_hold_them_or_set_them_aside(
    pg15: Server, database: Any, tmp_path: Path, kind: str
) -> None:
    source = source_of(pg15, database, kind)
    fill(source, kind)
    stats = move(source, str(tmp_path), on_error="quarantine")
    moved = 1 + len(FAR[kind]) - stats.target.failed_counter
    assert stats.rows == moved
    texts = "".join(path.read_text() for path in tmp_path.rglob("quarantine/**/*.jsonl"))
    infinite = [value for value in FAR[kind] if "infinity" in value]
    assert stats.target.failed_counter >= len(infinite)
    assert all(f'"{value}"' in texts for value in infinite)


def test_a_key_that_is_a_zero_date(mysql_server: Server, database: Any) -> None:
    source = End(mysql_server, database(mysql_server))
    target = End(mysql_server, database(mysql_server))
    source.run(
        "SET sql_mode = ''",
        "CREATE TABLE era (d DATE PRIMARY KEY, v INT)",
        "INSERT INTO era VALUES ('0000-00-00', 1)",
    )
    move(source, target)
    assert target.rows("SELECT CAST(d AS CHAR), v FROM era") == [("0000-00-00", 1)]


@pytest.mark.parametrize("kind", ["DATE", "DATETIME(6)"])
def test_a_key_that_is_a_zero_date_is_set_aside(
    mysql_server: Server, pg18: Server, database: Any, kind: str
) -> None:
    source, target = End(mysql_server, database(mysql_server)), End(pg18, database(pg18))
    source.run(
        "SET sql_mode = ''",
        f"CREATE TABLE era (d {kind} PRIMARY KEY, v INT)",
        "INSERT INTO era VALUES ('0000-00-00', 1)",
    )
    stats = move(source, target, on_error="quarantine")
    assert stats.target.failed_counter == 1
    assert target.rows("SELECT count(*) FROM era") == [(0,)]
