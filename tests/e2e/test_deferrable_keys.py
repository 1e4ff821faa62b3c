"""Keys that PostgreSQL checks late (DEFERRABLE): for a moment two rows may have the same one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from streams_engine import State, Stream
from streams_engine.testing.servers import Server
from tests.support.cdc import OWN_SLOTS, caught_up, following
from tests.support.databases import End
from tests.support.stream_control import SECONDS

SEAT = [
    "CREATE TABLE seat (id int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED, v varchar(10))",
    "INSERT INTO seat VALUES (1, 'a'), (2, 'b'), (3, 'c')",
]
ROWS = "SELECT id, v FROM seat ORDER BY id"


@pytest.fixture
def source(pg15: Server, database: Any) -> Iterator[End]:
    end = End(pg15, database(pg15))
    end.run(*SEAT)
    yield end
    end.run(f"SELECT pg_terminate_backend(active_pid, 5000) {OWN_SLOTS} AND active")
    end.run(f"SELECT pg_drop_replication_slot(slot_name) {OWN_SLOTS}")


@pytest.fixture(params=["pg18", "mysql9"])
def target(request: pytest.FixtureRequest, database: Any) -> End:
    server: Server = request.getfixturevalue(request.param)
    return End(server, database(server))


def together(end: End, *statements: str) -> None:
    """All in one transaction."""
    with closing(end.server.connect(end.database)) as connection, connection.transaction():
        for statement in statements:
            connection.execute(statement)


def refusal(source: End, target: End) -> str:
    """What a start says; the application's own statements go on, and nothing is left."""
    with Stream(source.url, target.url, mode="cdc", name="seats") as stream:
        stream.start()
        assert stream.wait(timeout=SECONDS) is State.FAILED
    assert source.rows("SELECT pubname FROM pg_publication") == []
    source.run("UPDATE seat SET v = 'x' WHERE id = 1", "DELETE FROM seat WHERE id = 2")
    assert stream.error is not None
    return str(stream.error)


def test_a_deferrable_key_alone_is_refused_before_the_table_is_published(
    source: End, target: End
) -> None:
    said = refusal(source, target)
    assert "public.seat" in said and "deferrable" in said
    assert 'ALTER TABLE "public"."seat" REPLICA IDENTITY FULL;' in said


def test_another_key_is_proposed_as_identity(source: End, target: End) -> None:
    source.run(
        "ALTER TABLE seat ADD COLUMN code int GENERATED ALWAYS AS IDENTITY",
        "CREATE UNIQUE INDEX seat_code ON seat (code)",
    )
    assert "REPLICA IDENTITY USING INDEX" in refusal(source, target)


def test_a_partition_with_a_deferrable_key_is_refused(source: End, target: End) -> None:
    source.run(
        "ALTER TABLE seat REPLICA IDENTITY FULL",
        "CREATE TABLE hall (id int PRIMARY KEY DEFERRABLE) PARTITION BY LIST (id)",
        "CREATE TABLE hall_1 PARTITION OF hall FOR VALUES IN (1)",
    )
    assert "public.hall_1" in refusal(source, target)


WORK = {
    "a shift": ["UPDATE seat SET id = id + 1"],
    "a shift and an insert": [
        "UPDATE seat SET id = id + 1",
        "UPDATE seat SET v = 'x' WHERE id = 4",
        "INSERT INTO seat VALUES (1, 'new')",
    ],
    "an insert before the delete": [
        "INSERT INTO seat VALUES (1, 'new')",
        "DELETE FROM seat WHERE v = 'a'",
    ],
    "an exchange": ["UPDATE seat SET id = 3 - id WHERE id < 3"],
    "a row that leaves and comes back": [
        "INSERT INTO seat VALUES (1, 'new')",
        "DELETE FROM seat WHERE v = 'new'",
    ],
}


@pytest.mark.parametrize("what", WORK)
@pytest.mark.parametrize("when", ["live", "backlog"])
def test_rows_that_share_a_key_for_a_moment(source: End, target: End, what: str, when: str) -> None:
    source.run("ALTER TABLE seat REPLICA IDENTITY FULL")
    options = {"name": "seats", "tables": ["seat"]}
    with following(source, target, **options) as stream:
        if when == "live":
            together(source, *WORK[what])
            caught_up(stream)
    if when == "backlog":
        together(source, *WORK[what])
        with following(source, target, **options) as stream:
            caught_up(stream)
    assert target.rows(ROWS) == source.rows(ROWS)
    assert stream.stats().changes.unmet == 0


def test_an_upsert_into_a_deferrable_key(source: End, pg18: Server, database: Any) -> None:
    """ON CONFLICT takes no deferrable constraint: rows are matched on it all the same."""
    target = End(pg18, database(pg18))
    Stream(source.url, target.url).run()
    together(source, "UPDATE seat SET id = id + 1", "UPDATE seat SET v = 'x' WHERE id = 2")
    Stream(source.url, target.url, write_mode="upsert").run()
    assert target.rows(ROWS) == [(1, "a"), *source.rows(ROWS)]
