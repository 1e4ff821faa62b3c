"""Structure and rows that change in one transaction, on a target whose DDL commits."""

from __future__ import annotations

from typing import Any

import pytest

from streams_engine import Stream
from streams_engine.adapters.postgres.replication.ddl_events import TRIGGERS
from streams_engine.testing.servers import Server
from tests.support.databases import End
from tests.support.kills import child

SECONDS = 120
NAME = "renames"

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
            print("killed at", here, flush=True)
            os.kill(os.getpid(), signal.SIGKILL)

faults.install(reached)
Stream(source, target, mode="cdc", name=name, allow_lossy=True).run()
"""


def test_it_arrives_whole_through_kills(pg18: Server, mysql9: Server, database: Any) -> None:
    """Killed before the rename, and after it, when its rows are read again."""
    source, target = End(pg18, database(pg18)), End(mysql9, database(mysql9))
    source.run("CREATE TABLE item (id int PRIMARY KEY, n int)", "INSERT INTO item VALUES (1, 1)")
    with Stream(source.url, target.url, mode="cdc", name=NAME) as stream:
        stream.start()
        assert stream.catch_up(SECONDS), stream.error
    with source.server.connect(source.database) as connection, connection.transaction():
        connection.execute("UPDATE item SET n = 2")
        connection.execute("INSERT INTO item VALUES (2, 2)")
        connection.execute("ALTER TABLE item RENAME TO thing")
        connection.execute("UPDATE thing SET n = 3 WHERE id = 2")
    for point, count in (("ddl: intent recorded", "0"), ("log: opened", "1")):
        with child(CHILD, source.url, target.url, NAME, point, count) as process:
            assert f"killed at {point}" in process.told(SECONDS)
    with Stream(source.url, target.url, mode="cdc", name=NAME) as stream:
        stream.start()
        assert stream.catch_up(SECONDS), stream.error
    assert target.rows("SELECT id, n FROM thing ORDER BY id") == [(1, 2), (2, 3)]
    stream.release()


SHOP = (
    "CREATE TABLE item (id int PRIMARY KEY, n int, old int)",
    "CREATE TABLE gone (id int PRIMARY KEY, n int)",
    "INSERT INTO item VALUES (1, 1, 1)",
    "INSERT INTO gone VALUES (1, 1)",
)
DROPPED = ("INSERT INTO gone VALUES (2, 2)", "DROP TABLE gone")
ANOTHER = ("CREATE TABLE gone (id int PRIMARY KEY, n int)", "INSERT INTO gone VALUES (1, 2)")
LOST: dict[str, tuple[str, ...]] = {
    "table": ("UPDATE item SET n = 2", *DROPPED, "INSERT INTO item VALUES (2, 2, 2)"),
    "table and its name": (
        *DROPPED,
        "CREATE TABLE gone (id int PRIMARY KEY, t text)",
        "INSERT INTO gone VALUES (3, 'c')",
    ),
    "table and its name twice": (*DROPPED, *ANOTHER, "DROP TABLE gone", *ANOTHER),
    "table that was changed": (
        "INSERT INTO gone VALUES (3, 3)",
        "ALTER TABLE gone ADD more int",
        "INSERT INTO gone VALUES (4, 4, 4)",
        "ALTER TABLE gone RENAME TO went",
        "UPDATE went SET n = 5",
        "DROP TABLE went",
    ),
    "column": (
        "UPDATE item SET old = 7",
        "ALTER TABLE item DROP old",
        "INSERT INTO item VALUES (2, 2)",
    ),
    "column and its name": (
        "UPDATE item SET old = 7",
        "ALTER TABLE item DROP old, ADD more int",
        "ALTER TABLE item ADD old int DEFAULT 5",
    ),
    "name of a column": (
        "UPDATE item SET old = 7",
        "ALTER TABLE item RENAME old TO newer",
        "INSERT INTO item VALUES (2, 2, 2)",
    ),
    "key": (
        "UPDATE item SET n = 7",
        "ALTER TABLE item DROP id, ADD PRIMARY KEY (n)",
        "INSERT INTO item VALUES (2, 2)",
    ),
}
"""What a transaction drops or renames behind rows."""

CARRIED = ("ddl: intent recorded", "ddl: executed", "commit: before")
POINTS = {
    "table": CARRIED,
    "table and its name": CARRIED,
    "table and its name twice": CARRIED,
    "table that was changed": ("ddl: intent recorded", "commit: before"),
}
READ_AGAIN = ("ddl: intent recorded", "reload: emptied", "reload: rows applied")


@pytest.mark.parametrize("told", [True, False], ids=["told", "seen"])
@pytest.mark.parametrize("what", LOST)
def test_what_goes_in_a_transaction_with_rows(
    pg18: Server, mysql9: Server, database: Any, what: str, told: bool
) -> None:
    """Killed when the intent is recorded, when it is executed, and before the rows are there."""
    source, target = End(pg18, database(pg18)), End(mysql9, database(mysql9))
    source.run(*[TRIGGERS] * told, *SHOP)
    options: dict[str, Any] = {"mode": "cdc", "name": NAME, "allow_lossy": True}
    with Stream(source.url, target.url, **options) as stream:
        stream.start()
        assert stream.catch_up(SECONDS), stream.error
    with source.server.connect(source.database) as connection, connection.transaction():
        for statement in LOST[what]:
            connection.execute(statement)
    for point in POINTS.get(what, READ_AGAIN):
        with child(CHILD, source.url, target.url, NAME, point, "0") as process:
            assert f"killed at {point}" in process.told(SECONDS)
    with Stream(source.url, target.url, **options) as stream:
        stream.start()
        assert stream.catch_up(SECONDS), stream.error
        assert stream.verify().ok
    names = "SELECT table_name FROM information_schema.tables WHERE table_schema = "
    there = {name for (name,) in target.rows(f"{names}'{target.database}'")}
    for (table,) in source.rows(f"{names}'public'"):
        order = f"SELECT * FROM {table} ORDER BY 1"
        assert target.rows(order) == source.rows(order)
        there.remove(table)
    assert not [name for name in there if not name.startswith("streams_engine")]
    stream.release()
