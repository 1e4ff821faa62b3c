"""The tables that a cdc is told are those that it follows: at each start, and in the log."""

from __future__ import annotations

import json
from typing import Any

import pytest

from streams_engine import State, Stream
from streams_engine.testing.servers import Server
from tests.support.databases import End
from tests.support.kills import child

SECONDS = 60
ROUTES = [("mysql9", "pg18"), ("mariadb", "mysql9"), ("pg18", "mysql9"), ("pg18", "pg18")]


@pytest.fixture(params=ROUTES, ids=["-".join(route) for route in ROUTES])
def ends(request: pytest.FixtureRequest, database: Any) -> tuple[End, End]:
    """A source with three tables, and a target."""
    servers: list[Server] = [request.getfixturevalue(name) for name in request.param]
    source, target = (End(server, database(server)) for server in servers)
    for table in ("wanted", "other", "secret"):
        source.run(f"CREATE TABLE {table} (id int PRIMARY KEY)", f"INSERT INTO {table} VALUES (1)")
    return source, target


def tables(end: End) -> set[str]:
    """The tables that are there."""
    space = "current_schema()" if end.server.kind == "postgresql" else "database()"
    found = end.rows(
        f"SELECT table_name FROM information_schema.tables WHERE table_schema = {space}"
    )
    return {str(row[0]) for row in found if not str(row[0]).startswith("streams_engine")}


def ids(end: End, table: str) -> list[int]:
    """The keys of a table."""
    return [row[0] for row in end.rows(f"SELECT id FROM {table} ORDER BY id")]


def following(source: End, target: End, *names: str, **options: Any) -> Stream:
    """A stream of some tables that has caught up."""
    stream = Stream(source.url, target.url, mode="cdc", name="told", tables=[*names], **options)
    stream.start()
    assert stream.catch_up(SECONDS), stream.error
    return stream


def ended(stream: Stream) -> set[tuple[str, str]]:
    """What the stream told, once it is stopped."""
    stream.stop()
    assert stream.wait(timeout=SECONDS) is State.STOPPED
    return {(f.code, f.object.rpartition(".")[2]) for f in stream.stats().findings}


def test_a_table_of_another_name_is_not_made(ends: tuple[End, End]) -> None:
    source, target = ends
    stream = following(source, target, "wanted")
    source.run("CREATE TABLE news (id int PRIMARY KEY)", "INSERT INTO news VALUES (1)")
    source.run("ALTER TABLE secret ADD COLUMN x int", "INSERT INTO wanted VALUES (2)")
    assert stream.catch_up(SECONDS), stream.error
    ended(stream)
    assert tables(target) == {"wanted"}
    # The same where nobody reads meanwhile.
    source.run("CREATE TABLE late (id int PRIMARY KEY)", "INSERT INTO wanted VALUES (3)")
    stream = following(source, target, "wanted")
    ended(stream)
    assert tables(target) == {"wanted"} and ids(target, "wanted") == [1, 2, 3]
    stream.release()


def test_a_table_that_is_taken_out_is_followed_no_more(ends: tuple[End, End]) -> None:
    source, target = ends
    ended(following(source, target, "wanted", "other"))
    source.run("INSERT INTO other VALUES (2)", "INSERT INTO wanted VALUES (2)")
    stream = following(source, target, "wanted")
    source.run("INSERT INTO other VALUES (3)", "INSERT INTO wanted VALUES (3)")
    assert stream.catch_up(SECONDS), stream.error
    assert ("left-the-stream", "other") in ended(stream)
    assert ids(target, "wanted") == [1, 2, 3] and ids(target, "other") == [1]
    stream = following(source, target, "wanted")
    assert "left-the-stream" not in {code for code, _ in ended(stream)}
    stream.release()


def test_a_table_that_is_renamed_out_of_the_stream_leaves_it(ends: tuple[End, End]) -> None:
    source, target = ends
    stream = following(source, target, "wanted", "other")
    source.run("ALTER TABLE other RENAME TO another", "INSERT INTO another VALUES (2)")
    source.run("INSERT INTO wanted VALUES (2)")
    assert stream.catch_up(SECONDS), stream.error
    assert ("left-the-stream", "other") in ended(stream)
    assert tables(target) == {"wanted", "other"}
    assert ids(target, "wanted") == [1, 2] and ids(target, "other") == [1]
    stream = following(source, target, "wanted")
    ended(stream)
    stream.release()


@pytest.mark.parametrize("ends", ROUTES[:2], ids=["mysql9", "mariadb"], indirect=True)
def test_a_table_that_is_renamed_into_the_stream_is_loaded_then(
    ends: tuple[End, End],
) -> None:
    source, target = ends
    source.run("CREATE TABLE joins (id int PRIMARY KEY)")
    stream = following(source, target, "wanted", "joins", allow_lossy=True)
    source.run("DROP TABLE joins", "RENAME TABLE secret TO joins", "INSERT INTO joins VALUES (2)")
    assert stream.catch_up(SECONDS), stream.error
    assert ids(target, "joins") == [1, 2]
    source.run("INSERT INTO joins VALUES (3)")
    assert stream.catch_up(SECONDS), stream.error
    assert ids(target, "joins") == [1, 2, 3]
    ended(stream)
    stream.release()


CHILD = """
import os, signal, sys
import streams_engine.faults as faults
from streams_engine import Stream
point, document = sys.argv[1:3]

def reached(here):
    if here == point:
        print("killed", flush=True)
        os.kill(os.getpid(), signal.SIGKILL)

faults.install(reached)
try:
    Stream.from_config(document).run()
except Exception as error:
    print("failed", error, flush=True)
"""


@pytest.fixture
def two(mysql9: Server, pg18: Server, database: Any) -> tuple[End, End, End, dict[str, Any]]:
    """Two sources with a table of the same name, a target, and the document of their stream."""
    ends = [End(server, database(server)) for server in (mysql9, pg18, mysql9)]
    for end in ends[:2]:
        end.run("CREATE TABLE t (id int PRIMARY KEY, n int)", "INSERT INTO t VALUES (1, 1)")
    document = {
        "name": "two",
        "mode": "cdc",
        "source": {
            "connections": [
                {"alias": alias, "connection": end.url, "tables": [{"name": "t"}]}
                for alias, end in zip(("a", "b"), ends, strict=False)
            ]
        },
        "target": {"connection": ends[2].url},
    }
    return ends[0], ends[1], ends[2], document


def test_operations_are_those_of_the_own_source(two: tuple[End, End, End, dict[str, Any]]) -> None:
    one, other, target, document = two
    document["source"]["connections"][0]["tables"][0]["operations"] = ["insert"]
    with Stream.from_config(document) as stream:
        stream.start()
        assert stream.catch_up(SECONDS), stream.error
        for end in (one, other):
            end.run("UPDATE t SET n = 5 WHERE id = 1", "INSERT INTO t VALUES (2, 2)")
        assert stream.catch_up(SECONDS), stream.error
        assert target.rows("SELECT id, n FROM a_t ORDER BY id") == [(1, 1), (2, 2)]
        assert target.rows("SELECT id, n FROM b_t ORDER BY id") == [(1, 5), (2, 2)]
        stream.stop()
        stream.wait(timeout=SECONDS)
        stream.release()


@pytest.mark.parametrize("point", ["handover: structure made", "handover: keys built"])
def test_two_sources_without_a_load_begin_together(
    two: tuple[End, End, End, dict[str, Any]], point: str
) -> None:
    one, other, target, document = two
    document["source"]["options"] = {"initialLoad": False}
    with child(CHILD, point, json.dumps(document)) as process:
        assert process.told(SECONDS).strip() == "killed"
    with Stream.from_config(document) as stream:
        stream.start()
        assert stream.catch_up(SECONDS), stream.error
        for end in (one, other):
            end.run("INSERT INTO t VALUES (2, 2)")
        assert stream.catch_up(SECONDS), stream.error
        assert ids(target, "a_t") == ids(target, "b_t") == [2]
        stream.stop()
        stream.wait(timeout=SECONDS)
        stream.release()
