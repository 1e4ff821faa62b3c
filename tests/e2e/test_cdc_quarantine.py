"""CASE D108: a change that fits no target value, or that the target refuses, is set aside by
itself where that is asked for; all others go through."""

from __future__ import annotations

from typing import Any

import pytest

from streams_engine import State, Stream
from streams_engine.errors import RowRejected
from streams_engine.testing.servers import Server
from tests.support.databases import End

SECONDS = 120


@pytest.mark.parametrize("rows", [3, 200])
@pytest.mark.parametrize(
    ("source_name", "target_name"), [("mysql9", "pg18"), ("pg18", "mysql9"), ("pg18", "pg15")]
)
def test_d108_refused_changes_are_set_aside_one_by_one(
    source_name: str, target_name: str, rows: int, request: pytest.FixtureRequest, database: Any
) -> None:
    one: Server = request.getfixturevalue(source_name)
    other: Server = request.getfixturevalue(target_name)
    source, target = End(one, database(one)), End(other, database(other))
    source.run("CREATE TABLE t (id int PRIMARY KEY, v varchar(20))", "INSERT INTO t VALUES (0, '')")
    options = {"mode": "cdc", "name": f"aside {source_name} {rows}", "on_error": "quarantine"}
    with Stream(source.url, target.url, **options) as stream:
        stream.start()
        assert stream.catch_up(SECONDS), stream.error
        target.run("ALTER TABLE t ADD CONSTRAINT small CHECK (id < 1000)")
        stream.pause()
        stream.wait(State.PAUSED, timeout=SECONDS)
        good = ", ".join(f"({i}, 'v{i}')" for i in range(1, rows + 1))
        source.run(
            f"INSERT INTO t VALUES {good}",
            "INSERT INTO t VALUES (5000, 'too large'), (2000, 'too')",
            "UPDATE t SET v = 'last' WHERE id = 1",
            "DELETE FROM t WHERE id = 2",
        )
        stream.resume()
        assert stream.catch_up(SECONDS), stream.error
        assert stream.state is State.RUNNING
        stats = stream.stats()
    assert stats.target.failed_counter == 2
    found = target.rows("SELECT id, v FROM t ORDER BY id")
    assert found == [(0, ""), (1, "last"), *((i, f"v{i}") for i in range(3, rows + 1))]
    aside = target.rows(
        "SELECT reason, source_row FROM streams_engine.quarantine ORDER BY id"
        if other.kind == "postgresql"
        else "SELECT reason, source_row FROM streams_engine_quarantine ORDER BY id"
    )
    assert ["5000" in str(row[1]) for row in aside] == [True, False]
    assert all(str(row[0]).startswith("INSERT") for row in aside)
    stream.release()


def test_d108_without_quarantine_the_stream_fails_and_names_the_rule(
    mysql9: Server, pg18: Server, database: Any
) -> None:
    source, target = End(mysql9, database(mysql9)), End(pg18, database(pg18))
    source.run("CREATE TABLE t (id int PRIMARY KEY)")
    stream = Stream(source.url, target.url, mode="cdc", name="strict")
    stream.start()
    assert stream.catch_up(SECONDS), stream.error
    target.run("ALTER TABLE t ADD CONSTRAINT small CHECK (id < 1000)")
    source.run("INSERT INTO t VALUES (1)", "INSERT INTO t VALUES (5000)")
    assert stream.wait(timeout=SECONDS) is State.FAILED
    assert isinstance(stream.error, RowRejected)
    assert "small" in str(stream.error) and "5000" not in str(stream.error)
    stream.release()
