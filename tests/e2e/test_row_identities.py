"""What the rows of a table are known by in PostgreSQL's log, and a change of it in mid-stream."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from streams_engine import State
from streams_engine.errors import SchemaChangeRefused
from streams_engine.testing.servers import Server
from tests.support.cdc import OWN_SLOTS, caught_up, cdc, following
from tests.support.databases import End
from tests.support.stream_control import SECONDS

WITHOUT_KEY = (
    "CREATE TABLE {t} (id int, code int, fruit text)",
    "ALTER TABLE {t} REPLICA IDENTITY FULL",
    "INSERT INTO {t} VALUES (1, 10, 'Fig'), (2, 20, 'Kiwi'), (3, 30, 'Plum')",
)
WITH_KEY = (
    "CREATE TABLE {t} (id int PRIMARY KEY, code int NOT NULL, fruit text)",
    "CREATE UNIQUE INDEX by_code_{t} ON {t} (code)",
    "INSERT INTO {t} VALUES (1, 10, 'Fig'), (2, 20, 'Kiwi'), (3, 30, 'Plum')",
)
WORK = (
    "UPDATE {t} SET fruit = 'Pear' WHERE id = 1",
    "UPDATE {t} SET id = id + 10 WHERE id = 2",
    "UPDATE {t} SET code = code + 1 WHERE code = 10",
    "DELETE FROM {t} WHERE code = 30",
    "INSERT INTO {t} VALUES (30, 30, 'Plum')",
)
CHANGES = {
    "a key instead of everything": (
        WITHOUT_KEY,
        ("ALTER TABLE {t} ADD PRIMARY KEY (id)", "ALTER TABLE {t} REPLICA IDENTITY DEFAULT"),
        (),
    ),
    "an index instead of the key": (
        WITH_KEY,
        ("ALTER TABLE {t} REPLICA IDENTITY USING INDEX by_code_{t}",),
        (),
    ),
    "everything instead of the key": (WITH_KEY, ("ALTER TABLE {t} REPLICA IDENTITY FULL",), ()),
    "everything, and the key goes": (
        WITH_KEY,
        (
            "ALTER TABLE {t} REPLICA IDENTITY FULL",
            "ALTER TABLE {t} DROP CONSTRAINT {t}_pkey",
            "DROP INDEX by_code_{t}",
        ),
        (
            "INSERT INTO {t} VALUES (1, 11, 'Pear'), (1, 11, 'Pear'), (1, 11, 'Melon')",
            "UPDATE {t} SET fruit = 'Lime' WHERE ctid = (SELECT min(ctid) FROM {t} WHERE id = 1)",
            "DELETE FROM {t} WHERE ctid = (SELECT max(ctid) FROM {t} WHERE fruit = 'Pear')",
        ),
    ),
}


@pytest.fixture
def source(pg18: Server, database: Any) -> Iterator[End]:
    """An empty database; its slots go with it."""
    end = End(pg18, database(pg18))
    yield end
    end.run(f"SELECT pg_terminate_backend(active_pid, 5000) {OWN_SLOTS} AND active")
    end.run(f"SELECT pg_drop_replication_slot(slot_name) {OWN_SLOTS}")


@pytest.fixture(params=["pg18", "mysql9"])
def target(request: pytest.FixtureRequest, database: Any) -> End:
    """An empty target of either family."""
    server: Server = request.getfixturevalue(request.param)
    return End(server, database(server))


def rows(end: End, table: str = "t") -> list[tuple[Any, ...]]:
    return sorted(end.rows(f"SELECT id, code, fruit FROM {table}"), key=repr)


def run(end: End, *statements: str, table: str = "t") -> None:
    end.run(*(statement.format(t=table) for statement in statements))


@pytest.mark.parametrize("live", [True, False], ids=["live", "backlog"])
def test_a_replica_identity_that_changes(source: End, target: End, live: bool) -> None:
    tables = {f"t{number}": change for number, change in enumerate(CHANGES.values())}
    for table, (make, _, _) in tables.items():
        run(source, *make, table=table)

    def work() -> None:
        for table, (_, alter, more) in tables.items():
            run(source, *WORK[:1], *alter, *WORK, *more, table=table)

    with following(source, target, tables=list(tables)):
        if live:
            work()
    if not live:
        work()
    with following(source, target, tables=list(tables)) as stream:
        changes = stream.stats().changes
    for table, name in zip(tables, CHANGES, strict=True):
        assert rows(target, table) == rows(source, table), name
    assert changes is not None and changes.unmet == 0


def test_an_identity_that_the_catalog_knows_no_more_is_refused(
    pg18: Server, source: End, database: Any
) -> None:
    """By then nobody can tell whether its columns named one row."""
    target = End(pg18, database(pg18))
    run(source, *WITH_KEY)
    with following(source, target, tables=["t"]):
        pass
    run(source, "ALTER TABLE {t} REPLICA IDENTITY USING INDEX by_code_{t}", WORK[0])
    run(source, "ALTER TABLE {t} REPLICA IDENTITY DEFAULT", "DROP INDEX by_code_{t}")
    before = rows(target)
    with cdc(source, target, tables=["t"]) as stream:
        stream.start()
        assert stream.wait(timeout=SECONDS) is State.FAILED
        assert isinstance(stream.error, SchemaChangeRefused)
        assert "public.t" in str(stream.error) and "replica identity" in str(stream.error)
    assert rows(target) == before


@pytest.mark.parametrize("live", [True, False], ids=["live", "backlog"])
def test_updates_that_change_nothing(source: End, target: End, live: bool) -> None:
    """Of a table without a key: alone in their set, and beside others."""
    run(source, *WITHOUT_KEY)
    sets = (
        ("UPDATE t SET fruit = fruit",),
        ("BEGIN", "UPDATE t SET code = code WHERE id = 1", "INSERT INTO t VALUES (4, 4, NULL)",
         "UPDATE t SET fruit = fruit", "COMMIT"),
        ("UPDATE t SET fruit = 'Fig'", "UPDATE t SET fruit = 'Fig'"),
    )  # fmt: skip
    with following(source, target, tables=["t"]) as stream:
        for statements in sets if live else ():
            source.run(*statements)
            caught_up(stream)
            assert rows(target) == rows(source)
    for statements in () if live else sets:
        source.run(*statements)
    with following(source, target, tables=["t"]):
        pass
    assert rows(target) == rows(source)


def test_rows_of_a_table_without_columns(source: End, pg18: Server, database: Any) -> None:
    target = End(pg18, database(pg18))
    source.run(
        "CREATE TABLE t ()", "ALTER TABLE t REPLICA IDENTITY FULL", "INSERT INTO t DEFAULT VALUES"
    )
    count = "SELECT count(*) FROM t"
    with following(source, target, tables=["t"]) as stream:
        for statement in (
            "INSERT INTO t DEFAULT VALUES",
            "INSERT INTO t SELECT FROM generate_series(1, 3)",
            "DELETE FROM t WHERE ctid = (SELECT min(ctid) FROM t)",
            "DELETE FROM t",
            "INSERT INTO t DEFAULT VALUES",
        ):
            source.run(statement)
            caught_up(stream)
            assert target.rows(count) == source.rows(count)
