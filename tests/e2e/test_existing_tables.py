"""Tables that are on the target already keep their structure; what they lack is told."""

from __future__ import annotations

from typing import Any

import pytest

from streams_engine import Stream
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
