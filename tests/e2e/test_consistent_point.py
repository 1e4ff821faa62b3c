"""CASE A32: foreign keys are made at a consistent point, where every table has come to at least
the newest view of all, and never before."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from streams_engine import State, Stream
from streams_engine.faults import install
from streams_engine.testing.servers import Server
from tests.support.databases import End
from tests.support.kills import child

SECONDS = 60
ROUTES = [(s, t) for s in ("mysql9", "mariadb", "pg18") for t in ("pg18", "mysql9")]
ACTION = "ON DELETE CASCADE ON UPDATE CASCADE"

CHILD = """
import os, signal, sys
import streams_engine.faults as faults
from streams_engine import Stream
source, target, name, point, count = sys.argv[1:6]
left = int(count)

def reached(here):
    global left
    if here == point:
        left -= 1
        if left < 0:
            print("killed", flush=True)
            os.kill(os.getpid(), signal.SIGKILL)

faults.install(reached)
stream = Stream(source, target, mode="cdc", name=name, parallelism=1)
try:
    stream.run()
except Exception as error:
    print("failed", error, flush=True)
print("ended", stream.state, flush=True)
"""


@pytest.fixture(params=ROUTES, ids=["-".join(route) for route in ROUTES])
def ends(request: pytest.FixtureRequest, database: Any) -> tuple[End, End]:
    """A source and a target of each route."""
    servers: list[Server] = [request.getfixturevalue(name) for name in request.param]
    one, other = (End(server, database(server)) for server in servers)
    return one, other


def family(end: End, larger: str, action: str = ACTION) -> None:
    """A parent and a child; the ``larger`` one is copied first."""
    key = f"FOREIGN KEY (p) REFERENCES parent (id) {action}"
    end.run(
        "CREATE TABLE parent (id int PRIMARY KEY, t varchar(200))",
        f"CREATE TABLE child (id int PRIMARY KEY, p int, t varchar(200), CONSTRAINT of_p {key})",
    )
    for table, columns in (("parent", "({i}, '{t}')"), ("child", "({i}, {p}, '{t}')")):
        many = 2000 if table == larger else 50
        rows = (columns.format(i=i, p=i % 50, t="x" * 100) for i in range(many))
        end.run(f"INSERT INTO {table} VALUES {', '.join(rows)}")
        end.run(f"ANALYZE {'' if end.server.kind == 'postgresql' else 'TABLE '}{table}")


LATER = (
    "INSERT INTO parent VALUES (9001, 'new'), (9002, 'new')",
    "INSERT INTO child VALUES (9001, 9001, 'new'), (9002, 9001, 'new')",
    "UPDATE child SET p = 9002 WHERE id = 7",
    "DELETE FROM child WHERE p = 5",
    "DELETE FROM parent WHERE id = 5",
    # What the foreign key itself does.
    "DELETE FROM parent WHERE id = 6",
    "UPDATE parent SET id = 9003 WHERE id = 8",
)


def interrupt(point: str, count: int, stream: Stream) -> None:
    """Stop a stream when it has passed a point so often."""
    left = count

    def hook(here: str) -> None:
        nonlocal left
        if here == point:
            left -= 1
            if not left:
                stream.stop()

    install(hook)
    try:
        stream.run()
    finally:
        install(None)
    assert stream.state is State.STOPPED and not left


def keys(end: End) -> list[str]:
    """The foreign keys that are there."""
    space = "current_schema()" if end.server.kind == "postgresql" else "database()"
    return [
        str(row[0])
        for row in end.rows(
            "SELECT constraint_name FROM information_schema.table_constraints WHERE"
            f" constraint_type = 'FOREIGN KEY' AND table_schema = {space} ORDER BY 1"
        )
    ]


def unlike(source: End, target: End, *tables: str) -> list[str]:
    """The tables whose rows are not the same."""
    found = []
    for table in tables or ("parent", "child"):
        one, other = (set(end.rows(f"SELECT * FROM {table}")) for end in (source, target))
        if one != other:
            found.append(f"{table}: {sorted(one - other)[:5]} {sorted(other - one)[:5]}")
    return found


@contextmanager
def following(source: End, target: End, name: str, **options: Any) -> Iterator[Stream]:
    """A stream that has caught up; released at the end."""
    with Stream(source.url, target.url, mode="cdc", name=name, **options) as stream:
        stream.start()
        assert stream.catch_up(SECONDS), stream.error
        yield stream
        changes = stream.stats().changes
        assert changes is not None and changes.unmet == 0
        stream.stop()
        stream.wait(timeout=SECONDS)
        stream.release()


@pytest.mark.parametrize("larger", ["parent", "child"])
def test_a32_a_load_that_was_stopped_between_parent_and_child(
    ends: tuple[End, End], larger: str
) -> None:
    source, target = ends
    family(source, larger)
    name = f"between {larger}"
    first = Stream(source.url, target.url, mode="cdc", name=name, parallelism=1)
    interrupt("handover: chunk copied", 1, first)
    source.run(*LATER)
    with following(source, target, name) as stream:
        assert unlike(source, target) == []
        assert keys(target) == ["of_p"]
        source.run("DELETE FROM parent WHERE id = 9", "INSERT INTO parent VALUES (9, 'again')")
        assert stream.catch_up(SECONDS), stream.error
        assert unlike(source, target) == []


POINTS = ("handover: chunk copied", "pending: begun", "pending: executed", "pending: recorded")


def test_a32_killed_in_the_load_and_wherever_foreign_keys_are_made(ends: tuple[End, End]) -> None:
    source, target = ends
    family(source, "parent")
    fell = []
    logged = source.server.kind != "mariadb"  # else both are loaded again in one view
    for point in POINTS if logged else POINTS[:1]:
        with child(CHILD, source.url, target.url, "killed", point, "0") as process:
            told = process.told(SECONDS)
        assert "failed" not in told, told
        fell += [point] if "killed" in told else []
        if point == POINTS[0]:
            source.run(*LATER)
    with following(source, target, "killed"):
        assert unlike(source, target) == []
        assert keys(target) == ["of_p"]
    assert fell == list(POINTS if logged else POINTS[:1])


@contextmanager
def writing(end: End) -> Iterator[None]:
    """Another application of the server, which writes all the time."""
    end.run("CREATE TABLE noise (id int)")
    over = threading.Event()

    def write() -> None:
        while not over.is_set():
            end.run("INSERT INTO noise VALUES (1)")

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def test_a32_catch_up_waits_for_foreign_keys_while_others_write(
    ends: tuple[End, End], database: Any
) -> None:
    other = End(ends[0].server, database(ends[0].server))
    with writing(other):
        child_that_was_made_while_nobody_read(*ends)


def test_a32_a_child_that_was_made_while_nobody_read(ends: tuple[End, End]) -> None:
    child_that_was_made_while_nobody_read(*ends)


def child_that_was_made_while_nobody_read(source: End, target: End) -> None:
    """The backlog holds a parent's row, the child table, and the child's row."""
    source.run(
        "CREATE TABLE parent (id int PRIMARY KEY, t varchar(200))",
        "INSERT INTO parent VALUES (1, 'a')",
    )
    with Stream(source.url, target.url, mode="cdc", name="made") as stream:
        stream.start()
        assert stream.catch_up(SECONDS), stream.error
    source.run(
        "INSERT INTO parent VALUES (2, 'b')",
        "CREATE TABLE child (id int PRIMARY KEY, p int, t varchar(200), CONSTRAINT of_p FOREIGN KEY"
        f" (p) REFERENCES parent (id) {ACTION})",
        "INSERT INTO child VALUES (1, 2, 'c'), (2, 1, 'c')",
        "DELETE FROM parent WHERE id = 1",
    )
    with following(source, target, "made") as stream:
        assert unlike(source, target) == []
        assert keys(target) == ["of_p"]
        source.run("DELETE FROM parent WHERE id = 2")
        assert stream.catch_up(SECONDS), stream.error
        assert unlike(source, target) == []


@pytest.mark.parametrize("joins", ["parent", "child"])
def test_a32_a_table_that_joins_while_rows_of_the_other_wait(
    ends: tuple[End, End], joins: str
) -> None:
    source, target = ends
    family(source, "child")
    other = {"parent": "child", "child": "parent"}[joins]
    # MariaDB's log has nothing of what becomes of a child whose parent is not followed.
    options = {"mode": "cdc", "name": "joins", "allow_lossy": source.server.kind == "mariadb"}
    with Stream(source.url, target.url, tables=[other], **options) as stream:
        stream.start()
        assert stream.catch_up(SECONDS), stream.error
    source.run(*LATER)
    again = {"tables": ["parent", "child"], "allow_lossy": options["allow_lossy"]}
    with following(source, target, "joins", **again) as stream:
        assert unlike(source, target) == []
        assert keys(target) == ["of_p"]
        source.run("DELETE FROM parent WHERE id = 9")
        assert stream.catch_up(SECONDS), stream.error
        assert unlike(source, target) == []


CHANGED = {
    "emptied": ("TRUNCATE TABLE child", "INSERT INTO child VALUES (1, 1, 'b')"),
    "indexed": ("CREATE INDEX by_t ON child (t)", "INSERT INTO child VALUES (7002, 1, 'b')"),
}
"""What empties a table or changes its structure, and a row after it."""
UNLIKE = {
    "widened": "ALTER TABLE child ADD COLUMN more int",
    "renamed": "ALTER TABLE child RENAME COLUMN t TO other",
}
"""What gives a table another structure than the target's."""


@pytest.mark.parametrize("what", CHANGED)
def test_structure_that_changed_before_a_table_was_loaded(ends: tuple[End, End], what: str) -> None:
    """Its rows and its structure know what the log then tells: nothing is done twice."""
    source, target = ends
    family(source, "parent")
    first = Stream(source.url, target.url, mode="cdc", name=what, parallelism=1)
    interrupt("handover: chunk copied", 1, first)
    source.run("INSERT INTO child VALUES (7001, 1, 'a')", "DELETE FROM child WHERE id = 2")
    source.run(*CHANGED[what])
    source.run("INSERT INTO parent VALUES (7001, 'b')")
    with following(source, target, what) as stream:
        assert unlike(source, target) == []
        assert keys(target) == ["of_p"]
        source.run("UPDATE child SET p = 7001 WHERE id = 1")
        assert stream.catch_up(SECONDS), stream.error
        assert unlike(source, target) == []


@pytest.mark.parametrize("what", UNLIKE)
def test_a_table_whose_columns_changed_before_it_was_loaded_is_made_anew(
    ends: tuple[End, End], what: str
) -> None:
    """The target's table is of the first start, and nothing was written to it."""
    source, target = ends
    family(source, "parent")
    first = Stream(source.url, target.url, mode="cdc", name=what, parallelism=1)
    interrupt("handover: chunk copied", 1, first)
    source.run(UNLIKE[what])
    with following(source, target, what):
        assert unlike(source, target) == []


@pytest.mark.parametrize("ends", [ROUTES[0], ROUTES[2]], ids=["mysql9", "mariadb"], indirect=True)
def test_a32_a_cascade_goes_on_while_another_foreign_key_of_its_table_waits(
    ends: tuple[End, End],
) -> None:
    source, target = ends
    source.run(
        "CREATE TABLE lookup (id int PRIMARY KEY, t varchar(200))",
        "CREATE TABLE parent (id int PRIMARY KEY)",
        "CREATE TABLE child (id int PRIMARY KEY, p int, l int, CONSTRAINT acts FOREIGN KEY (p)"
        " REFERENCES parent (id) ON DELETE CASCADE, CONSTRAINT rests FOREIGN KEY (l) REFERENCES"
        " lookup (id))",
        "INSERT INTO lookup VALUES " + ", ".join(f"({i}, '{'x' * 100}')" for i in range(2000)),
        "ANALYZE TABLE lookup",
        "INSERT INTO parent VALUES (1), (2), (3)",
        "INSERT INTO child VALUES (1, 1, 1), (2, 2, 2), (3, 3, 3)",
    )
    first = Stream(source.url, target.url, mode="cdc", name="two keys", parallelism=1)
    interrupt("handover: chunk copied", 1, first)
    source.run(
        "INSERT INTO lookup VALUES (9000, 'new')",
        "INSERT INTO child VALUES (4, 3, 9000)",
        "DELETE FROM parent WHERE id = 1",
    )
    with following(source, target, "two keys") as stream:
        source.run("DELETE FROM parent WHERE id = 3")
        assert stream.catch_up(SECONDS), stream.error
        assert unlike(source, target, "lookup", "parent", "child") == []
        assert keys(target) == ["acts", "rests"]
