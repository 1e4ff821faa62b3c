"""The stats of a table that is followed count its inserts, updates and deletes."""

from __future__ import annotations

from typing import Any

import pytest

from streams_engine import Stream
from streams_engine.testing.servers import Server
from tests.support.databases import End

SECONDS = 60


@pytest.mark.parametrize(("source", "target"), [("mysql9", "pg18"), ("pg18", "mysql9")])
def test_changes_are_counted_by_kind(
    source: str, target: str, request: pytest.FixtureRequest, database: Any
) -> None:
    one: Server = request.getfixturevalue(source)
    two: Server = request.getfixturevalue(target)
    here, there = End(one, database(one)), End(two, database(two))
    here.run(
        "CREATE TABLE busy (id int PRIMARY KEY, n int)",
        "CREATE TABLE quiet (id int PRIMARY KEY)",
        "INSERT INTO busy VALUES (1, 1), (2, 2), (3, 3)",
    )
    with Stream(here.url, there.url, mode="cdc", name="counts") as stream:
        stream.start()
        assert stream.catch_up(SECONDS), stream.error
        assert {t.changed for t in stream.stats().tables} == {0}, "a load is no change"
        here.run(
            "INSERT INTO busy VALUES (4, 4), (5, 5)",
            "UPDATE busy SET n = n + 1 WHERE id > 1",
            "DELETE FROM busy WHERE id = 3",
        )
        assert stream.catch_up(SECONDS), stream.error
        tables = {t["name"].split(".")[-1]: t for t in stream.stats().to_dict()["tables"]}
    busy, quiet = tables["busy"], tables["quiet"]
    assert (busy["inserted"], busy["updated"], busy["deleted"]) == (2, 4, 1)
    assert (quiet["inserted"], quiet["updated"], quiet["deleted"]) == (0, 0, 0)
    assert busy["rows"] == 3 + 7
    stream.release()


def test_a_change_that_is_quarantined_is_not_counted(
    mysql9: Server, pg18: Server, database: Any
) -> None:
    here, there = End(mysql9, database(mysql9)), End(pg18, database(pg18))
    here.run("CREATE TABLE busy (id int PRIMARY KEY, n int)", "INSERT INTO busy VALUES (1, 1)")
    with Stream(
        here.url, there.url, mode="cdc", name="counts", on_error="quarantine", schema="public"
    ) as stream:
        stream.start()
        assert stream.catch_up(SECONDS), stream.error
        there.run("ALTER TABLE busy ADD CHECK (n < 100)")
        here.run(
            "INSERT INTO busy VALUES (2, 2), (3, 1000), (4, 4)",
            "UPDATE busy SET n = 5 WHERE id = 1",
        )
        assert stream.catch_up(SECONDS), stream.error
        [busy] = stream.stats().tables
    assert (busy.inserted, busy.rejected) == (2, 1), busy
    stream.release()
