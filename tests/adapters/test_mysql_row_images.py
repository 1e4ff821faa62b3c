"""Inserted rows whose images lack the columns that took their defaults (binlog_row_image)."""

from __future__ import annotations

from typing import Any

import pytest

from streams_engine.contracts import Scope
from streams_engine.errors import SchemaChangeRefused
from streams_engine.model import SchemaChange, Severity
from streams_engine.testing.servers import Server
from tests.support.mysql_log import Place, applied

MINIMAL = ["SET SESSION binlog_row_image = 'MINIMAL'"]


@pytest.fixture
def place(mysql_server: Server, database: Any) -> Place:
    """A database that is followed, on each server of the family."""
    return Place(mysql_server, database(mysql_server))


def held(place: Place, *statements: str, table: str = "t") -> list[tuple[Any, ...]]:
    """The table's rows as the log makes them, which must be those that the server has."""
    tracked, position = place.begin()
    place.run(*statements, session=MINIMAL)
    found = applied(place.sets(tracked, position))[table]
    kept = sorted((tuple(row.values()) for row in found), key=repr)
    there = place.ask(f"SELECT {', '.join(found[0])} FROM {table}")
    assert kept == sorted(there, key=repr)
    return kept


def test_columns_that_took_constant_defaults_have_them(place: Place) -> None:
    place.run(
        "CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY, a INT DEFAULT 5, b BIGINT DEFAULT -7,"
        " c VARCHAR(20) DEFAULT 'it''s \\\\ \"ä\"', d DECIMAL(9, 3) DEFAULT 1.5, e INT,"
        " f ENUM('x', 'y') NOT NULL DEFAULT 'y', g TEXT, h TINYINT UNSIGNED NOT NULL DEFAULT '200',"
        " i DATETIME DEFAULT CURRENT_TIMESTAMP, j CHAR(40) DEFAULT (UUID()), k YEAR DEFAULT 1999,"
        " l SET('p', 'q') DEFAULT 'p,q', m VARCHAR(5) DEFAULT '')"
    )
    # Of MariaDB an update might be a REPLACE, and is refused.
    updates = () if place.server.kind == "mariadb" else ("UPDATE t SET e = 3 WHERE id = 2",)
    found = held(
        place,
        "INSERT INTO t () VALUES ()",
        "INSERT INTO t () VALUES (), ()",
        "INSERT INTO t (a, g) VALUES (1, 'g'), (NULL, NULL)",
        *updates,
        "INSERT INTO t (b, e) VALUES (DEFAULT, 9)",
        "DELETE FROM t WHERE id = 3",
    )
    assert len(found) == 5
    assert found[0][1:4] == (5, -7, 'it\'s \\ "ä"')


def test_a_row_of_nothing_but_defaults_without_a_key(place: Place) -> None:
    """MySQL logs it without a single byte."""
    place.run("CREATE TABLE t (a INT DEFAULT 5, b VARCHAR(3))")
    rows = held(place, "INSERT INTO t () VALUES ()", "INSERT INTO t (b) VALUES ('x')",
                "INSERT INTO t () VALUES ()", "DELETE FROM t WHERE b = 'x'")  # fmt: skip
    assert rows == [(5, None), (5, None)]


def test_a_default_counts_as_it_is_at_its_place_in_the_log(place: Place) -> None:
    place.run("CREATE TABLE t (id INT PRIMARY KEY, a INT DEFAULT 5)")
    tracked, position = place.begin()
    for number, alter in enumerate(
        ("a SET DEFAULT 6", "COLUMN a SET DEFAULT NULL", "a SET DEFAULT 7")
    ):
        place.run(f"INSERT INTO t (id) VALUES ({number})", session=MINIMAL)
        place.run(f"ALTER TABLE t ALTER {alter}")
    place.run("INSERT INTO t (id) VALUES (3)", session=MINIMAL)
    found = []
    with place.source.changes(tracked, position) as reader:
        for one in place.until(reader, place.source.end()):
            found.append(one)
            for part in one.parts:
                if isinstance(part, SchemaChange):
                    assert part.after is not None
                    reader.adopt(part.table, place.tracked(part.after))
    kept = [(row["id"], row["a"]) for row in applied(found)["t"]]
    assert kept == place.ask("SELECT * FROM t ORDER BY id") == [(0, 5), (1, 6), (2, None), (3, 7)]


def test_a_default_whose_value_is_not_known_is_refused(place: Place) -> None:
    place.run("CREATE TABLE t (id INT PRIMARY KEY, a DOUBLE DEFAULT 0.1)")
    tracked, position = place.begin()
    place.run("INSERT INTO t (id) VALUES (1)", session=MINIMAL)
    with pytest.raises(SchemaChangeRefused, match=r"\.t.* column a ") as caught:
        place.sets(tracked, position)
    assert "binlog_row_image = 'FULL'" in str(caught.value.remedy)


def test_mariadb_s_replace_is_not_in_partial_images(mariadb: Server, database: Any) -> None:
    """Its log has an update that leaves alone what fell back to a default: refused before."""
    place = Place(mariadb, database(mariadb))
    place.run("CREATE TABLE t (id INT PRIMARY KEY, a INT DEFAULT 5)")
    place.run("SET GLOBAL binlog_row_image = 'MINIMAL'")
    try:
        found = {f.code: f for f in place.source.readiness(Scope(place.database))}
    finally:
        place.run("SET GLOBAL binlog_row_image = 'FULL'")
    assert found["replace-not-logged"].severity is Severity.ERROR
    assert "binlog_row_image" in str(found["replace-not-logged"].remedy)
