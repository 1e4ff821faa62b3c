"""What ``drop_and_recreate`` makes has the plan's types, whatever earlier runs left behind."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest

from streams_engine import State, Stream
from streams_engine.errors import StreamsError
from streams_engine.testing.servers import Server
from tests.support.databases import End
from tests.support.fault_points import once_at
from tests.support.outages import SECONDS

NEW = {"pg18": ("interval", "bigint"), "mysql9": ("time(6)", "bigint")}
COLUMNS = {
    "pg18": "SELECT format_type(atttypid, atttypmod) FROM pg_attribute"
    " WHERE attrelid = 'purchase'::regclass AND attname IN ('dur', 'n') ORDER BY attname",
    "mysql9": "SELECT column_type FROM information_schema.columns WHERE table_schema = DATABASE()"
    " AND table_name = 'purchase' AND column_name IN ('dur', 'n') ORDER BY column_name",
}


@pytest.fixture(params=["pg18", "mysql9"])
def ends(request: pytest.FixtureRequest, mysql9: Server, database: Any) -> tuple[End, End]:
    source, target = (
        End(server, database(server)) for server in (mysql9, request.getfixturevalue(request.param))
    )
    source.run(
        "CREATE TABLE customer (id INT PRIMARY KEY, name VARCHAR(20))",
        "CREATE TABLE purchase (id INT PRIMARY KEY, dur TIME, n INT)",
        "INSERT INTO customer VALUES (1, 'a'), (2, 'b')",
        "INSERT INTO purchase VALUES (1, '10:00:00', 1), (2, '838:59:59', 2)",
    )
    return source, target


def stream(ends: tuple[End, End], *, overridden: bool, **options: Any) -> Stream:
    source, target = ends
    kind = "pg18" if target.server.kind == "postgresql" else "mysql9"
    types = [
        {"column": f"purchase.{name}", "type": wanted}
        for name, wanted in zip(("dur", "n"), NEW[kind], strict=True)
    ]
    given = {"type_overrides": types} if overridden else {}
    return Stream(source.url, target.url, name="recreated", **given, **options)


def fail(s: Stream, **options: Any) -> None:
    """Run a load that fails after its structure was made; its checkpoint stays."""

    def cut() -> None:
        raise StreamsError("cut")

    with once_at("load: structure made", cut), pytest.raises(StreamsError):
        s.run(**options)


def planned(ends: tuple[End, End]) -> bool:
    _, target = ends
    kind = "pg18" if target.server.kind == "postgresql" else "mysql9"
    found = tuple(t for (t,) in target.rows(COLUMNS[kind]))
    return found == NEW[kind] and target.rows("SELECT count(*) FROM purchase") == [(2,)]


@contextmanager
def locked(target: End) -> Iterator[Any]:
    """An uncommitted INSERT of a session that lives until the block ends."""
    with closing(target.server.connect(target.database)) as connection:
        with connection.cursor() as cursor:
            cursor.execute("BEGIN")
            cursor.execute("INSERT INTO purchase (id) VALUES (77)")
        yield connection


def test_a_fresh_load_over_a_failed_one_has_the_planned_types(ends: tuple[End, End]) -> None:
    fail(stream(ends, overridden=False))
    stream(ends, overridden=True, schema_policy="drop_and_recreate").run(fresh=True)
    assert planned(ends)


def test_a_lock_that_was_waited_for_in_vain_leaves_no_old_types(ends: tuple[End, End]) -> None:
    """The first attempt meets its lock time-out; the next one, without ``fresh``, drops too."""
    fail(stream(ends, overridden=False))
    anew = {"overridden": True, "schema_policy": "drop_and_recreate", "lock_timeout": 1}
    with locked(ends[1]) as holder:
        s = stream(ends, **anew)
        with pytest.raises(StreamsError) as refused:
            s.run(fresh=True)
        assert refused.value.code == "LOCK_TIMEOUT"
        holder.rollback()
    stream(ends, **anew).run()
    assert planned(ends)


def test_a_lock_that_goes_away_in_time_is_waited_for(ends: tuple[End, End]) -> None:
    fail(stream(ends, overridden=False))
    with locked(ends[1]) as holder:
        s = stream(ends, overridden=True, schema_policy="drop_and_recreate")
        threading.Timer(2, holder.rollback).start()
        s.start(fresh=True)
        assert s.wait(timeout=SECONDS) is State.FINISHED
    assert planned(ends)
