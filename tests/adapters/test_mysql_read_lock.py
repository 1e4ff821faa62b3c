"""A view's read lock is proved to have been held until the last reader had begun."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any
from unittest.mock import patch

import pymysql
import pytest

from streams_engine.adapters.mysql.snapshot import source as module
from streams_engine.contracts import Scope
from streams_engine.errors import ConnectionFailed, StreamsError
from streams_engine.testing.servers import Server
from tests.support.mysql_log import Place

LOCKERS = "_global_lock", "_table_locks"


@pytest.fixture
def place(mysql_server: Server, database: Any) -> Place:
    """A database with a table without a key, in which a row that came twice would show."""
    found = Place(mysql_server, database(mysql_server))
    found.run("CREATE TABLE bag (x INT)", "INSERT INTO bag VALUES (1), (1)")
    return found


def kill(place: Place, number: int) -> None:
    """End a session, and see that it is gone."""
    with closing(place.server.connect(place.database)) as connection:
        cursor = connection.cursor()
        cursor.execute(f"KILL {number}")
        while True:
            cursor.execute(
                f"SELECT count(*) FROM information_schema.processlist WHERE id = {number}"
            )
            if not cursor.fetchone()[0]:
                return


@contextmanager
def breaking(place: Place, where: str, *, globally: bool) -> Iterator[None]:
    """The session that holds the lock ends just before ``where`` is called, and a row comes."""
    killed: list[int] = []
    held: list[Any] = []

    def noted(name: str) -> Callable[..., Any]:
        original = getattr(module, name)

        def taken(locker: Any, *rest: Any) -> Any:
            if name == "_global_lock" and not globally:
                return "the test wants locks on the tables"
            held.append(locker)
            return original(locker, *rest)

        return taken

    original = getattr(module, where)

    def broken(*arguments: Any, **more: Any) -> Any:
        if held and not killed:
            killed.append(held[-1].thread_id())
            kill(place, killed[0])
            place.run("INSERT INTO bag VALUES (2)")
        return original(*arguments, **more)

    with patch.multiple(module, **{name: noted(name) for name in LOCKERS}, **{where: broken}):
        yield
    assert killed, f"{where} was never called under the lock"


@pytest.mark.parametrize("globally", [True, False], ids=["global lock", "locks on tables"])
@pytest.mark.parametrize("where", ["_lock", "_position", "_begin_all", "_lock_alike"])
def test_a_view_whose_lock_broke_is_none(place: Place, where: str, globally: bool) -> None:
    with (
        breaking(place, where, globally=globally),
        pytest.raises(ConnectionFailed) as caught,
        place.source.snapshot_at_position(Scope(place.database), 2, resume=False),
    ):
        pass
    assert caught.value.retryable
    assert "lock" in caught.value.message or "position" in caught.value.message, caught.value


@pytest.mark.parametrize("number", [1105, 2013])
def test_an_error_on_the_way_to_a_position_is_none_of_no_position(
    place: Place, number: int
) -> None:
    """Only a statement or variable that a server does not know, or a right that lacks, is."""

    class Cursor:
        def __enter__(self) -> Any:
            return self

        def __exit__(self, *_: Any) -> None:
            pass

        def execute(self, query: str) -> None:
            raise pymysql.OperationalError(number, "broken")

    class Connection:
        def cursor(self) -> Any:
            return Cursor()

    with pytest.raises(StreamsError):
        module._row(Connection(), "SELECT @@server_uuid")


def test_the_server_s_own_errors_at_the_lock_are_findings_and_others_are_errors(
    place: Place,
) -> None:
    with closing(place.connect.open()) as connection:
        connection._force_close()
        with pytest.raises(ConnectionFailed):
            module._global_lock(connection)
