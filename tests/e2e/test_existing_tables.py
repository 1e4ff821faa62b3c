"""Tables that are on the target already keep their structure; what they lack is told."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
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
        stream = Stream(source.url, target.url, tables=["parent"], **options)
        with stream, pytest.raises(RowRejected):
            stream.run(fresh=fresh)
    target.run(
        "CREATE TABLE child (id int PRIMARY KEY, p int, day int)",
        "INSERT INTO child VALUES (7, NULL, NULL)",
    )
    source.run("DELETE FROM parent WHERE id = 2")
    stream = Stream(source.url, target.url, **options)
    with stream, pytest.raises(TargetConflict, match=r"exist on the target: \S*child\. "):
        stream.run(fresh=True)
    assert target.rows("SELECT id FROM child") == [(7,)]
    target.run("DROP TABLE child")
    with Stream(source.url, target.url, **options) as stream:
        stream.run(fresh=True)
    assert target.rows("SELECT id FROM child") == [(1,)]
    assert target.rows("SELECT id FROM parent") == [(1,)]


LATE = "CREATE TABLE late (id int PRIMARY KEY, code int NOT NULL, CONSTRAINT once UNIQUE (code))"
ROWS = r"late joins the stream, but .* has rows"
TYPES = r"late .* is another .* id is (character varying|varchar)"
KEY = r"late .* the primary key is missing"


@pytest.mark.parametrize("live", [True, False], ids=["live", "backlog"])
@pytest.mark.parametrize("target_name", ["mysql9", "mariadb", "pg18"])
@pytest.mark.parametrize("source_name", ["mysql9", "mariadb", "pg18"])
def test_a_table_that_joins_where_somebody_elses_is(
    source_name: str, target_name: str, live: bool, request: pytest.FixtureRequest, database: Any
) -> None:
    """One with rows, or with other types, is told; an empty one that fits is taken."""
    servers = [request.getfixturevalue(name) for name in (source_name, target_name)]
    source, target = (End(server, database(server)) for server in servers)
    source.run("CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t VALUES (1)")

    @contextmanager
    def follow() -> Iterator[Stream]:
        with Stream(source.url, target.url, mode="cdc", name="late") as stream:
            stream.start()
            yield stream

    with follow() as stream:
        assert stream.catch_up(120), stream.error
        if live:
            target.run(LATE, "INSERT INTO late VALUES (7, 7)")
            source.run(LATE, "INSERT INTO late VALUES (1, 1)")
            with pytest.raises(TargetConflict, match=ROWS):
                stream.catch_up(120)
    if not live:
        target.run(LATE, "INSERT INTO late VALUES (7, 7)")
        source.run(LATE, "INSERT INTO late VALUES (1, 1)")
        with follow() as stream, pytest.raises(TargetConflict, match=ROWS):
            stream.catch_up(120)
    assert target.rows("SELECT id FROM late") == [(7,)]
    if source_name != "pg18":  # its tables join by a load, which converts their values
        target.run("DROP TABLE late", LATE.replace("id int", "id varchar(40)"))
        with follow() as stream, pytest.raises(TargetConflict, match=TYPES):
            stream.catch_up(120)
        target.run("DROP TABLE late", LATE.replace("id int PRIMARY KEY", "id int NOT NULL"))
        with follow() as stream, pytest.raises(TargetConflict, match=KEY):
            stream.catch_up(120)
    target.run("DROP TABLE late", LATE)
    with follow() as stream:
        assert stream.catch_up(120), stream.error
        assert target.rows("SELECT id FROM late") == [(1,)]
        source.run("INSERT INTO late VALUES (2, 2)")
        assert stream.catch_up(120), stream.error
        assert len(target.rows("SELECT id FROM late")) == 2
        stream.stop()
        stream.wait(timeout=120)
        stream.release()


@pytest.mark.parametrize("target_name", ["mysql9", "pg18"])
@pytest.mark.parametrize("source_name", ["mysql9", "mariadb", "pg18"])
def test_a_table_that_is_made_anew_takes_the_place_of_its_own(
    source_name: str, target_name: str, request: pytest.FixtureRequest, database: Any
) -> None:
    """The one that goes may be dropped in the same transaction, in which its rows are still seen
    by others."""
    servers = [request.getfixturevalue(name) for name in (source_name, target_name)]
    source, target = (End(server, database(server)) for server in servers)
    source.run("CREATE TABLE late (id int PRIMARY KEY)", "INSERT INTO late VALUES (1)")
    anew = {
        "mariadb": [LATE.replace("CREATE", "CREATE OR REPLACE")],
        "mysql9": ["DROP TABLE late", LATE],
        "pg18": ["BEGIN", "DROP TABLE late", LATE],
    }[source_name]
    commit = ["COMMIT"] if source_name == "pg18" else []
    options: dict[str, Any] = {"allow_lossy": True, "lock_timeout": 3}
    with Stream(source.url, target.url, mode="cdc", name="anew", **options) as stream:
        stream.start()
        assert stream.catch_up(120), stream.error
        source.run(*anew, "INSERT INTO late VALUES (2, 2)", *commit)
        assert stream.catch_up(120), stream.error
        assert target.rows("SELECT * FROM late") == [(2, 2)]
        source.run("DROP TABLE late", LATE, "INSERT INTO late VALUES (3, 3)")
        assert stream.catch_up(120), stream.error
        assert target.rows("SELECT * FROM late") == [(3, 3)]
        stream.stop()
        stream.wait(timeout=120)
        stream.release()
