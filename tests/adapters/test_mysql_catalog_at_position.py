"""What a view says of its tables is what they are at its position, whatever changes meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from streams_engine.adapters.mysql.snapshot import source as module
from streams_engine.adapters.mysql.snapshot.source import MysqlSource
from streams_engine.contracts import Scope
from streams_engine.testing.servers import Server
from tests.support.mysql_log import Place


@pytest.fixture
def place(mysql_server: Server, database: Any) -> Place:
    """A database with a table."""
    found = Place(mysql_server, database(mysql_server))
    found.run("CREATE TABLE t (id int PRIMARY KEY)")
    return found


def first(patch: pytest.MonkeyPatch, name: str, act: Callable[[], None]) -> None:
    """Do something once, just before a step of the start."""
    original = getattr(module, name)
    done: list[bool] = []

    def step(*given: Any, **named: Any) -> Any:
        if not done:
            done.append(True)
            act()
        return original(*given, **named)

    patch.setattr(module, name, step)


@pytest.fixture
def without_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    """No lock on the server, nor on the tables, is to be had."""
    monkeypatch.setattr(module, "_global_lock", lambda _: "the test wants none")
    monkeypatch.setattr(module, "_table_locks", lambda *_: False)


@pytest.mark.usefixtures("without_locks")
def test_a_column_that_comes_between_the_names_and_the_locks_is_seen(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    first(monkeypatch, "_lock", lambda: place.run("ALTER TABLE t ADD COLUMN more int"))
    with MysqlSource(place.connect).snapshot(Scope(), 1) as view:
        [table] = view.catalog.tables
        assert [column.name for column in table.columns] == ["id", "more"]
        assert "file" in view.position


@pytest.mark.usefixtures("without_locks")
def test_a_table_that_comes_before_the_position_is_in_the_view(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    first(monkeypatch, "_position", lambda: place.run("CREATE TABLE late (id int PRIMARY KEY)"))
    with MysqlSource(place.connect).snapshot(Scope(), 1) as view:
        assert {table.id.name for table in view.catalog.tables} == {"t", "late"}
