"""Columns that hold the rows of the load and not those of the log: they are made to, in order."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest

from streams_engine import State, Stream
from streams_engine.errors import RowRejected, TargetConflict
from streams_engine.testing.servers import Server
from tests.support.databases import End, move
from tests.support.kills import child

SECONDS = 120

TABLE = (
    "CREATE TABLE item (id int PRIMARY KEY, live tinyint(1) NOT NULL DEFAULT 1, odd tinyint(1),"
    " zero tinyint(1) DEFAULT 0, number tinyint(4), day date NOT NULL, due datetime NOT NULL"
    " DEFAULT CURRENT_TIMESTAMP, KEY by_live (live, id), UNIQUE KEY by_odd (odd, id))"
)
ROWS = (
    "INSERT INTO item VALUES (1, 1, 0, NULL, 7, '2021-01-01', '2021-01-01'),"
    " (2, 0, NULL, 1, 8, '2021-01-02', '2021-01-01')"
)
NAME = "relaxation"


def _types(end: End) -> dict[str, str]:
    query = (
        "SELECT column_name, data_type || CASE is_nullable WHEN 'YES' THEN '' ELSE ' not null' END"
        " || coalesce(' ' || column_default, '') FROM information_schema.columns"
        " WHERE table_schema = 'public' AND table_name = 'item' ORDER BY ordinal_position"
    )
    return dict(end.rows(query))


NARROW = {
    "id": "integer not null",
    "live": "boolean not null true",
    "odd": "boolean",
    "zero": "boolean false",
    "number": "smallint",
    "day": "date not null",
    "due": "timestamp without time zone not null CURRENT_TIMESTAMP",
}
WIDE = {
    **NARROW,
    "live": "smallint not null 1",
    "odd": "smallint",
    "day": "date",
}


def _sql(source: End, *statements: str) -> None:
    with closing(source.server.connect(source.database)) as connection:
        cursor = connection.cursor()
        cursor.execute("SET sql_mode = ''")
        for statement in statements:
            cursor.execute(statement)


def _made(server: Server, pg18: Server, database: Any) -> tuple[End, End]:
    source, target = End(server, database(server)), End(pg18, database(pg18))
    _sql(source, TABLE, ROWS)
    return source, target


@contextmanager
def _following(source: End, target: End, **options: Any) -> Iterator[Stream]:
    with Stream(source.url, target.url, mode="cdc", name=NAME, **options) as stream:
        stream.start()
        try:
            yield stream
        finally:
            if not stream.state.final:
                stream.stop()
                stream.wait(timeout=SECONDS)


def _release(source: End, target: End) -> None:
    with Stream(source.url, target.url, mode="cdc", name=NAME) as stream:
        stream.release()


def _codes(stream: Stream) -> set[tuple[str, str]]:
    return {
        (f.code, f.object.rsplit(".", 1)[1])
        for f in stream.stats().findings
        if f.code in ("boolean-widened", "zero-dates-not-null")
    }


CHANGES = (
    "INSERT INTO item VALUES (3, 1, 1, 1, 1, '2021-01-03', '2021-01-01')",
    "UPDATE item SET live = 0 WHERE id = 1",
    "INSERT INTO item VALUES (4, 2, 0, 0, 1, '2021-01-03', '2021-01-01')",
    "UPDATE item SET odd = -3 WHERE id = 3",
    "UPDATE item SET live = 1 WHERE id = 4",
    "UPDATE item SET day = '0000-00-00' WHERE id = 2",
    "INSERT INTO item (id, day) VALUES (5, '2021-00-00')",
    "DELETE FROM item WHERE id = 1",
)


def test_a_cdc_loads_the_same_types_as_a_convert_and_goes_on_over_its_tables(
    mysql_server: Server, pg18: Server, database: Any
) -> None:
    source, target = _made(mysql_server, pg18, database)
    move(source, target)
    assert _types(target) == NARROW
    with _following(source, target) as stream:
        assert stream.catch_up(SECONDS), stream.error
        assert _types(target) == NARROW
        assert _codes(stream) == set()
        target.run("DROP TABLE item")
    _release(source, target)
    with _following(source, target) as stream:
        assert stream.catch_up(SECONDS), stream.error
        assert _types(target) == NARROW
    _release(source, target)


@pytest.mark.parametrize("stopped", [False, True], ids=["live", "backlog"])
def test_the_log_widens_the_column_in_order(
    stopped: bool, mysql_server: Server, pg18: Server, database: Any
) -> None:
    source, target = _made(mysql_server, pg18, database)
    with _following(source, target) as stream:
        assert stream.catch_up(SECONDS), stream.error
        if not stopped:
            _sql(source, *CHANGES[:2])
            assert stream.catch_up(SECONDS), stream.error
            assert _types(target) == NARROW
            _sql(source, *CHANGES[2:])
            assert stream.catch_up(SECONDS), stream.error
            assert _codes(stream) == {
                ("boolean-widened", "live"), ("boolean-widened", "odd"),
                ("zero-dates-not-null", "day"),
            }  # fmt: skip
    if stopped:
        _sql(source, *CHANGES)
        with _following(source, target) as stream:
            assert stream.catch_up(SECONDS), stream.error
            assert len(_codes(stream)) == 3
    assert _types(target) == WIDE
    _equal(source, target)
    indexes = {r[0] for r in target.rows("SELECT indexname FROM pg_indexes WHERE tablename='item'")}
    assert {"by_live", "by_odd", "item_pkey"} <= indexes
    target.run("INSERT INTO item (id, day) VALUES (99, '2021-01-01')")
    assert target.rows("SELECT live, zero FROM item WHERE id = 99") == [(1, False)]
    _release(source, target)


def _equal(source: End, target: End) -> None:
    columns = "id, live, odd, zero, number, IF(MONTH(day) = 0, NULL, day) day"
    mine = source.rows(f"SELECT {columns} FROM item ORDER BY id")
    theirs = target.rows("SELECT id, live, odd, zero::int, number, day FROM item ORDER BY id")
    whole = [row for row in mine if row[0] != 5]  # whose date is partial
    assert [row for row in theirs if row[0] != 5] == whole
    assert [row[-1] for row in theirs if row[0] == 5] == [None]
    with Stream(source.url, target.url, mode="cdc", name=NAME) as stream:
        assert stream.verify().ok


CHILD = """
import os, signal, sys
import streams_engine.faults as faults
from streams_engine import Stream
source, target, name, point = sys.argv[1:5]

def reached(here):
    if here == point:
        print("killed", flush=True)
        os.kill(os.getpid(), signal.SIGKILL)

faults.install(reached)
Stream(source, target, mode="cdc", name=name).run()
"""


@pytest.mark.parametrize("point", ["ddl: begun", "ddl: executed", "ddl: recorded"])
def test_a_kill_while_a_column_is_widened_changes_nothing(
    point: str, mysql_server: Server, pg18: Server, database: Any
) -> None:
    source, target = _made(mysql_server, pg18, database)
    with _following(source, target) as stream:
        assert stream.catch_up(SECONDS), stream.error
    _sql(source, *CHANGES)
    with child(CHILD, source.url, target.url, NAME, point) as process:
        assert "killed" in process.told(SECONDS)
    with _following(source, target) as stream:
        assert stream.catch_up(SECONDS), stream.error
    assert _types(target) == WIDE
    _equal(source, target)
    _release(source, target)


def test_changes_of_structure_meet_the_booleans_that_are_there(
    mysql_server: Server, pg18: Server, database: Any
) -> None:
    source, target = _made(mysql_server, pg18, database)
    with _following(source, target, allow_lossy=True) as stream:
        assert stream.catch_up(SECONDS), stream.error
        _sql(
            source,
            "ALTER TABLE item ADD COLUMN fresh tinyint(1) NOT NULL DEFAULT 1,"
            " ADD COLUMN many tinyint(1) NOT NULL DEFAULT 3",
            "ALTER TABLE item CHANGE odd strange tinyint(1)",
            "INSERT INTO item (id, strange, day) VALUES (10, 1, '2021-01-01')",
            "UPDATE item SET strange = 9 WHERE id = 10",
            "UPDATE item SET fresh = 2, zero = 2 WHERE id = 10",
            "ALTER TABLE item MODIFY live int NOT NULL DEFAULT 1",
            "UPDATE item SET live = 100000 WHERE id = 10",
            "CREATE TABLE other (id int PRIMARY KEY, flag tinyint(1) NOT NULL DEFAULT 0)",
            "INSERT INTO other VALUES (1, 1), (2, 0)",
        )
        assert stream.catch_up(SECONDS), stream.error
        types = _types(target)
        assert types["live"] == "integer not null 1"
        assert types["strange"] == "smallint"
        assert types["fresh"] == "smallint not null 1"
        assert types["zero"] == "smallint 0"
        assert types["many"] == "smallint not null 3"
        found = target.rows("SELECT live, strange, fresh, zero, many FROM item WHERE id = 10")
        assert found == [(100000, 9, 2, 2, 3)]
        assert target.rows("SELECT flag FROM other ORDER BY id") == [(True,), (False,)]
        _sql(source, "UPDATE other SET flag = 7 WHERE id = 1")
        assert stream.catch_up(SECONDS), stream.error
        assert target.rows("SELECT flag FROM other ORDER BY id") == [(7,), (0,)]
    _release(source, target)


def test_where_the_structure_must_stay_the_row_is_refused_by_name(
    mysql_server: Server, pg18: Server, database: Any
) -> None:
    source, target = _made(mysql_server, pg18, database)
    with _following(source, target, schema_changes="ignore") as stream:
        assert stream.catch_up(SECONDS), stream.error
        _sql(source, "UPDATE item SET live = 2 WHERE id = 1")
        assert stream.wait(timeout=SECONDS) is State.FAILED
        assert isinstance(stream.error, RowRejected)
        assert "column live" in str(stream.error)
    assert _types(target) == NARROW
    _release(source, target)


def test_a_view_over_the_column_is_named_with_the_statement(
    mysql_server: Server, pg18: Server, database: Any
) -> None:
    source, target = _made(mysql_server, pg18, database)
    with _following(source, target) as stream:
        assert stream.catch_up(SECONDS), stream.error
        target.run("CREATE VIEW looking AS SELECT live FROM item")
        _sql(source, "UPDATE item SET live = 2 WHERE id = 1")
        assert stream.wait(timeout=SECONDS) is State.FAILED
        assert isinstance(stream.error, TargetConflict)
        assert "item.live" in str(stream.error)
        assert "TYPE smallint USING" in str(stream.error.remedy)
    target.run("DROP VIEW looking")
    with _following(source, target) as stream:
        assert stream.catch_up(SECONDS), stream.error
    assert target.rows("SELECT live FROM item ORDER BY id") == [(2,), (0,)]
    _release(source, target)
