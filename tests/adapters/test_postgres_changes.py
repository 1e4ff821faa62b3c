"""PostgreSQL's log, read from real servers; names are those of the hard cases."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pytest
from postgres_following import Followed

from streams_engine.protocols import Scope
from streams_engine.testing.servers import Server


@pytest.fixture
def followed(pg_server: Server, database: Any) -> Iterator[Followed]:
    found = Followed(pg_server, database(pg_server))
    yield found
    found.close()


def test_insert_update_delete(followed: Followed) -> None:
    followed.run("CREATE TABLE t (id int PRIMARY KEY, name text)")
    after = followed.start("t")
    followed.run(
        "INSERT INTO t VALUES (1, 'one'), (2, NULL)",
        "UPDATE t SET name = 'uno' WHERE id = 1",
        "DELETE FROM t WHERE id = 2",
    )
    with followed.reading(followed.tracked("t"), after) as reading:
        assert reading.rows("t") == [
            ("INSERT", None, {"id": "1", "name": "one"}),
            ("INSERT", None, {"id": "2", "name": None}),
            ("UPDATE", {"id": "1"}, {"id": "1", "name": "uno"}),
            ("DELETE", {"id": "2"}, None),
        ]


def test_resumes_at_any_commit(followed: Followed) -> None:
    followed.run("CREATE TABLE t (id int PRIMARY KEY)")
    after = followed.start("t")
    for number in range(5):
        followed.run(f"INSERT INTO t VALUES ({number})")
    with followed.reading(followed.tracked("t"), after) as reading:
        first = reading.reader.poll(10, rows=1)
        assert first.rows == 1 and first.transactions == 1
    with followed.reading(followed.tracked("t"), first.position) as reading:
        second = reading.reader.poll(10, rows=2)
        assert [r[2] for r in _rows(second)] == [{"id": "1"}, {"id": "2"}]
        reading.reader.acknowledge(second.position)
    with followed.reading(followed.tracked("t"), second.position) as reading:
        assert [r[2]["id"] for r in reading.rows("t")] == ["3", "4"]


def _rows(found: Any) -> Any:
    from postgres_following import rows_of

    return rows_of([found], "t")


def test_A9_insert_between_slot_and_read_comes_once(followed: Followed) -> None:
    followed.run("CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t VALUES (1)")
    open_one = followed.server.connect(followed.database)
    with followed.source.handover(Scope("public", ("t",)), 2, again=False) as view:
        open_one.execute("INSERT INTO t VALUES (2)")
        table = view.catalog.tables[0]
        tracked = followed.tracked("t")
        (chunk,) = view.chunks(table, 1000)
        loaded = pa.Table.from_batches(view.read(tracked[0].extract, chunk, 100))
        after = view.position
    open_one.close()
    assert loaded.column("id").to_pylist() == ["1"]
    with followed.reading(tracked, after) as reading:
        assert reading.rows("t") == [("INSERT", None, {"id": "2"})]


def test_a_table_that_joins_has_a_view_of_its_own(followed: Followed) -> None:
    followed.run("CREATE TABLE t (id int PRIMARY KEY)", "CREATE TABLE u (id int PRIMARY KEY)")
    with followed.source.handover(Scope("public", ("t",)), 1, again=False) as view:
        after = view.position
    followed.run("INSERT INTO t VALUES (1)", "INSERT INTO u VALUES (1)")
    with followed.source.handover(Scope("public", ("t", "u")), 1, again=True) as view:
        since = view.position
    followed.run("INSERT INTO u VALUES (2)", "INSERT INTO t VALUES (2)")
    tracked = [*followed.tracked("t"), *followed.tracked("u", since=since)]
    with followed.reading(tracked, after) as reading:
        assert [row[2] for row in reading.rows("t")] == [{"id": "1"}, {"id": "2"}]
        assert [row[2] for row in reading.rows("u")] == [{"id": "2"}]
