"""Tables that are on the target already keep their structure; what they lack is told."""

from __future__ import annotations

from typing import Any

import pytest

from streams_engine import Stream
from streams_engine.errors import RowRejected, TargetConflict
from streams_engine.model import Finding
from tests.support.databases import End

PARENT = "CREATE TABLE parent (id int PRIMARY KEY, code int NOT NULL, CONSTRAINT one UNIQUE (code))"
CHILD = (
    "CREATE TABLE child (id int PRIMARY KEY, p int, day int,"
    " CONSTRAINT of_p FOREIGN KEY (p) REFERENCES parent (id))"
)


@pytest.fixture(params=["mysql9", "mariadb", "pg18"])
def ends(request: pytest.FixtureRequest, database: Any, pg18: Any) -> tuple[End, End]:
    """A shop, and an empty database of each server."""
    server = request.getfixturevalue(request.param)
    source, target = End(pg18, database(pg18)), End(server, database(server))
    source.run(
        PARENT,
        CHILD,
        "CREATE INDEX by_day ON child (day)",
        "INSERT INTO parent VALUES (1, 1)",
        "INSERT INTO child VALUES (1, 1, 1)",
    )
    return source, target


def told(source: End, target: End, **options: Any) -> list[Finding]:
    with Stream(source.url, target.url, **options) as stream:
        stats = stream.run()
    return [finding for finding in stats.findings if finding.code == "missing-on-target"]


def test_what_the_stream_made_itself_lacks_nothing(ends: tuple[End, End]) -> None:
    source, target = ends
    assert told(source, target) == []
    assert told(source, target, write_mode="truncate_and_load") == []


def test_what_somebody_else_made_may_lack_keys_and_indexes(ends: tuple[End, End]) -> None:
    source, target = ends
    target.run(
        "CREATE TABLE parent (id int NOT NULL, code int NOT NULL)",
        "CREATE TABLE child (id int PRIMARY KEY, p int, day int)",
    )
    child, parent = sorted(told(source, target), key=lambda finding: finding.object)
    assert child.object.endswith("child") and parent.object.endswith("parent")
    assert "foreign key (p) to" in child.message and "index (day)" in child.message
    assert "primary key (id)" in parent.message and "unique key (code)" in parent.message
    wanted = {"structure_options": {"tables": True, "indexes": False, "foreignKeys": False}}
    (only,) = told(source, target, write_mode="truncate_and_load", **wanted)
    assert only.object == parent.object and "unique" not in only.message


def test_a_fresh_start_takes_no_table_that_no_start_before_it_made(ends: tuple[End, End]) -> None:
    """After a failed run of one table, another is the stream's own only once it made that."""
    source, target = ends
    source.run("INSERT INTO parent VALUES (2, 100000)")
    options: dict[str, Any] = {
        "schema_policy": "fail_if_exists",
        "name": "weekend",
        "type_overrides": [{"column": "parent.code", "to": "smallint"}],
    }
    for fresh in (False, True):
        with Stream(source.url, target.url, tables=["parent"], **options) as stream:
            with pytest.raises(RowRejected):
                stream.run(fresh=fresh)
    target.run(
        "CREATE TABLE child (id int PRIMARY KEY, p int, day int)",
        "INSERT INTO child VALUES (7, NULL, NULL)",
    )
    source.run("DELETE FROM parent WHERE id = 2")
    with Stream(source.url, target.url, **options) as stream:
        with pytest.raises(TargetConflict, match=r"exist on the target: \S*child\. "):
            stream.run(fresh=True)
    assert target.rows("SELECT id FROM child") == [(7,)]
    target.run("DROP TABLE child")
    with Stream(source.url, target.url, **options) as stream:
        stream.run(fresh=True)
    assert target.rows("SELECT id FROM child") == [(1,)]
    assert target.rows("SELECT id FROM parent") == [(1,)]
