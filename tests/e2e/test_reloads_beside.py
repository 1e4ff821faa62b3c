"""Tables that cascading foreign keys connect are read again in one view, because the log lacks what
these do: also where one has another name by then, or the first attempt was cut."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from streams_engine import State, Stream
from streams_engine.errors import ServerError
from streams_engine.testing.servers import Server
from tests.support.cdc import caught_up, failure
from tests.support.databases import End
from tests.support.fault_points import at_points
from tests.support.stream_control import SECONDS

TABLES = (
    "CREATE TABLE p (id int PRIMARY KEY, a int)",
    "CREATE TABLE c (id int PRIMARY KEY, p int, CONSTRAINT of_p FOREIGN KEY (p) REFERENCES p (id)"
    " ON DELETE CASCADE)",
    "INSERT INTO p VALUES (1, 1), (2, 2), (3, 3)",
    "INSERT INTO c VALUES (10, 1), (11, 2), (12, 3)",
)
REWRITES = "ALTER TABLE {} ADD COLUMN u char(36) DEFAULT (uuid())"


@pytest.fixture
def source(mariadb: Server, database: Any) -> End:
    end = End(mariadb, database(mariadb))
    end.run(*TABLES)
    return end


@pytest.fixture(params=["mariadb", "pg18"])
def target(request: pytest.FixtureRequest, database: Any) -> End:
    server: Server = request.getfixturevalue(request.param)
    return End(server, database(server))


def cdc(source: End, target: End, **options: Any) -> Stream:
    return Stream(source.url, target.url, mode="cdc", name="beside", **options)


def followed(source: End, target: End) -> None:
    """A stream has followed, and stands."""
    with cdc(source, target) as stream:
        stream.start()
        caught_up(stream)


def failing_at(point: str, count: int) -> Callable[[str], None]:
    left = [None] * count

    def reached(name: str) -> None:
        if name == point and left:
            left.pop()
            if not left:
                raise ServerError("cut", server_code="0", retryable=False)

    return reached


def equal(source: End, target: End, *tables: str) -> None:
    for table in tables:
        query = f"SELECT * FROM {table} ORDER BY id"
        assert target.rows(query) == source.rows(query), table


@pytest.mark.parametrize("rewritten", ["p", "c"])
@pytest.mark.parametrize("gone", ["p", "c"])
@pytest.mark.parametrize("cut", [("ddl: intent recorded", 2), ("reload: rows applied", 1)])
def test_what_was_emptied_is_read_again(
    source: End, mariadb: Server, database: Any, rewritten: str, gone: str, cut: tuple[str, int]
) -> None:
    """One of the two has another name at the second attempt."""
    target = End(mariadb, database(mariadb))
    followed(source, target)
    other = {"p": "c", "c": "p"}[rewritten]
    source.run(REWRITES.format(rewritten), f"ALTER TABLE {other} ADD COLUMN x int")
    with at_points(failing_at(*cut)), cdc(source, target, allow_lossy=True) as stream:
        stream.start()
        assert stream.wait(timeout=SECONDS) is State.FAILED
    source.run(f"RENAME TABLE {gone} TO d")
    with cdc(source, target, allow_lossy=True) as stream:
        stream.start()
        caught_up(stream)
        equal(source, target, "d", *({"p", "c"} - {gone}))


@pytest.mark.parametrize("point", ["reload: emptied", "reload: rows applied"])
def test_rows_that_did_not_fit_are_read_again_by_another_process(
    mysql9: Server, database: Any, point: str
) -> None:
    """Only the process that met them knew that they did not fit."""
    source, target = End(mysql9, database(mysql9)), End(mysql9, database(mysql9))
    source.run("CREATE TABLE c (id int PRIMARY KEY, v int)", "INSERT INTO c VALUES (1, 1), (2, 2)")
    followed(source, target)
    target.run("UPDATE c SET v = 1")
    source.run("ALTER TABLE c ADD UNIQUE (v)")
    with at_points(failing_at(point, 1)), cdc(source, target) as stream:
        stream.start()
        assert stream.wait(timeout=SECONDS) is State.FAILED
    with cdc(source, target) as stream:
        stream.start()
        caught_up(stream)
        equal(source, target, "c")


def test_a_key_that_came_after_a_change_for_which_a_table_is_read_again(
    mariadb: Server, target: End, database: Any
) -> None:
    """Rows of the other table that went before the key came take none with them."""
    source = End(mariadb, database(mariadb))
    source.run(
        TABLES[0],
        "CREATE TABLE c (id int PRIMARY KEY, p int, KEY (p))",
        "INSERT INTO p VALUES (1, 1), (2, 2)",
        "INSERT INTO c VALUES (10, 1), (11, 2)",
    )
    followed(source, target)
    source.run(
        REWRITES.format("c"),
        "DELETE FROM p WHERE id = 1",
        "INSERT INTO p VALUES (1, 5)",
        "ALTER TABLE c ADD CONSTRAINT of_p FOREIGN KEY (p) REFERENCES p (id) ON DELETE CASCADE",
    )
    with cdc(source, target) as stream:
        stream.start()
        caught_up(stream)
        equal(source, target, "p", "c")


GONE = {
    "renamed": ("RENAME TABLE c TO d", ["p", "d"]),
    "dropped": ("DROP TABLE c", ["p"]),
}


@pytest.mark.parametrize("gone", GONE)
def test_a_table_that_is_gone_when_one_beside_it_is_read_again(
    source: End, target: End, gone: str
) -> None:
    """It cannot be read in the same view, so that wrong rows have to be accepted."""
    followed(source, target)
    statement, tables = GONE[gone]
    source.run(
        "DELETE FROM p WHERE id = 1",
        REWRITES.format("p"),
        "DELETE FROM p WHERE id = 2",
        statement,
        "INSERT INTO p (id, a) VALUES (4, 4)",
    )
    with cdc(source, target) as stream:
        stream.start()
        error = failure(stream)
        assert error.code == "SCHEMA_CHANGE_REFUSED"
        assert ".c, which no longer exists under this name" in error.message
        assert error.remedy
    with cdc(source, target, allow_lossy=True) as stream:
        stream.start()
        caught_up(stream)
        [told] = [f for f in stream.stats().findings if f.code == "cascade-not-repeated"]
        assert told.object.endswith(".c") and told.severity == "warning"
        equal(source, target, "p")
        if gone == "renamed":
            assert {row[0] for row in target.rows("SELECT id FROM d")} == {11, 12}
            assert not stream.verify().ok
            stream.verify(repair=True)
        equal(source, target, *tables)
        assert stream.verify().ok


def test_a_refused_reload_is_remedied_by_a_fresh_start(source: End, target: End) -> None:
    followed(source, target)
    source.run(REWRITES.format("p"), "RENAME TABLE c TO d", "DELETE FROM p WHERE id = 2")
    with cdc(source, target) as stream:
        stream.start()
        assert "fresh" in str(failure(stream).remedy)
    target.run("DROP TABLE c")
    with cdc(source, target, schema_policy="drop_and_recreate") as stream:
        stream.start(fresh=True)
        caught_up(stream)
        equal(source, target, "p", "d")
