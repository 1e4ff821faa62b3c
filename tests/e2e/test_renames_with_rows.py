"""A renamed table in one transaction with changes of its rows, on a target whose DDL commits."""

from __future__ import annotations

from typing import Any

from streams_engine import Stream
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
Stream(source, target, mode="cdc", name=name).run()
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
