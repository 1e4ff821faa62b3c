"""A row numbered 0 in an AUTO_INCREMENT column keeps its number, however it is loaded."""

from __future__ import annotations

from typing import Any

import pytest

from streams_engine.testing.servers import Server
from tests.support.cdc import caught_up, cdc
from tests.support.databases import End, move

BESIDE = {
    "enum": ("ENUM('x', 'y')", "'x'"),
    "set": ("SET('x', 'y')", "'x,y'"),
    "json": ("JSON", "'{\"x\": 1}'"),
    "latin1": ("VARCHAR(9) CHARACTER SET latin1", "'é'"),
}
"""Columns that LOAD DATA fills by SET, each with a value."""

ROWS = "SELECT id, v FROM t ORDER BY id"


def source_with_zero(server: Server, database: Any, beside: str) -> End:
    """A table whose rows have the numbers -1, 0 and 1."""
    kind, value = BESIDE[beside]
    end = End(server, database(server))
    end.run(
        f"CREATE TABLE t (v INT, e {kind}, id INT AUTO_INCREMENT PRIMARY KEY)",
        "SET sql_mode = CONCAT(@@sql_mode, ',NO_AUTO_VALUE_ON_ZERO')",
        f"INSERT INTO t (id, v, e) VALUES (-1, 5, {value}), (0, 10, {value}), (1, 11, {value})",
    )
    return end


@pytest.mark.parametrize("beside", BESIDE)
def test_each_kind_of_column_beside_it(mysql_server: Server, database: Any, beside: str) -> None:
    source = source_with_zero(mysql_server, database, beside)
    target = End(mysql_server, database(mysql_server))
    move(source, target)
    assert target.rows(ROWS) == [(-1, 5), (0, 10), (1, 11)]


@pytest.mark.parametrize("mode", ["append", "truncate_and_load", "fail_if_not_empty", "upsert"])
def test_each_write_mode_into_a_table_of_the_users(
    mysql_server: Server, database: Any, mode: str
) -> None:
    source = source_with_zero(mysql_server, database, "json")
    target = End(mysql_server, database(mysql_server))
    target.run("CREATE TABLE t (id BIGINT AUTO_INCREMENT, v INT, e JSON, PRIMARY KEY (id))")
    source.run("DELETE FROM t WHERE id = -1")
    move(source, target, write_mode=mode)
    assert target.rows(ROWS) == [(0, 10), (1, 11)]


def test_changes_of_row_zero_find_it_after_the_load_of_a_cdc(
    mysql_server: Server, database: Any
) -> None:
    source = source_with_zero(mysql_server, database, "json")
    target = End(mysql_server, database(mysql_server))
    with cdc(source, target, tables=["t"]) as stream:
        stream.start()
        caught_up(stream)
        source.run(
            "UPDATE t SET v = 20 WHERE id = 0",
            "DELETE FROM t WHERE id = 1",
            "INSERT INTO t (v) VALUES (9)",
        )
        caught_up(stream)
        assert target.rows(ROWS) == source.rows(ROWS)
        assert stream.stats().changes.unmet == 0


def test_row_zero_comes_by_the_log(mysql_server: Server, database: Any) -> None:
    source = source_with_zero(mysql_server, database, "json")
    target = End(mysql_server, database(mysql_server))
    source.run("DELETE FROM t")
    with cdc(source, target, tables=["t"]) as stream:
        stream.start()
        caught_up(stream)
        source.run(
            "SET sql_mode = CONCAT(@@sql_mode, ',NO_AUTO_VALUE_ON_ZERO')",
            "INSERT INTO t (id, v) VALUES (0, 1)",
        )
        source.run("UPDATE t SET id = 7 WHERE id = 0", "UPDATE t SET id = 0 WHERE id = 7")
        caught_up(stream)
        assert target.rows(ROWS) == [(0, 1)]
