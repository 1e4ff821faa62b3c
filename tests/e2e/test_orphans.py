"""Rows that refer to none: each foreign key that they break is named, all others are made."""

from __future__ import annotations

import re
from contextlib import closing
from typing import Any

import pytest

from streams_engine import State, Stream
from streams_engine.model import Finding, Severity
from streams_engine.stats import Stats
from streams_engine.testing.servers import Server
from tests.support.databases import End, move

SECONDS = 120

UNCHECKED = {
    "mysql": "SET foreign_key_checks = 0",
    "pg": "SET session_replication_role = replica",
}

TABLES = (
    "CREATE TABLE parent (id int PRIMARY KEY, a int NOT NULL, b int NOT NULL, UNIQUE (a, b))",
    "CREATE TABLE child (id int PRIMARY KEY, one int, two int, a int, b int, n int,"
    " CONSTRAINT broken_one FOREIGN KEY (one) REFERENCES parent (id),"
    " CONSTRAINT kept FOREIGN KEY (two) REFERENCES parent (id),"
    " CONSTRAINT broken_pair FOREIGN KEY (a, b) REFERENCES parent (a, b))",
    "CREATE TABLE other (id int PRIMARY KEY, up int, CONSTRAINT kept_too FOREIGN KEY (up)"
    " REFERENCES other (id))",
    "CREATE INDEX child_n ON child (n)",
    "INSERT INTO parent VALUES (1, 10, 20), (2, 11, 21)",
    "INSERT INTO other VALUES (1, NULL), (2, 1)",
    "INSERT INTO child VALUES (1, 1, 2, 10, 20, 0), (2, 77, 1, 10, NULL, 0),"
    " (3, NULL, NULL, 10, 21, 0), (4, 78, 1, NULL, NULL, 0), (5, 79, 2, 11, 20, 0)",
)


def _family(server: Server) -> str:
    return "mysql" if server.kind in ("mysql", "mariadb") else "pg"


def _orphaned(source: End) -> None:
    with closing(source.server.connect(source.database)) as connection:
        cursor = connection.cursor()
        for statement in (UNCHECKED[_family(source.server)], *TABLES):
            cursor.execute(statement)


def _foreign_keys(end: End) -> set[str]:
    if _family(end.server) == "pg":
        return {r[0] for r in end.rows("SELECT conname FROM pg_constraint WHERE contype = 'f'")}
    query = (
        "SELECT constraint_name FROM information_schema.table_constraints"
        f" WHERE constraint_type = 'FOREIGN KEY' AND table_schema = '{end.database}'"
    )
    return {row[0] for row in end.rows(query)}


def _found(stats: Stats) -> dict[str, Finding]:
    """The findings about orphans by name of the foreign key."""
    return {f.object.split()[1]: f for f in stats.findings if f.code == "orphans"}


def _demand_told(found: dict[str, Finding], target: End) -> None:
    """Each finding counts the rows, and holds a SELECT that gives them."""
    assert set(found) == {"broken_one", "broken_pair"}
    for name, wanted in (("broken_one", {2, 4, 5}), ("broken_pair", {3, 5})):
        finding = found[name]
        assert finding.severity is Severity.ERROR
        assert f"{len(wanted)} rows refer" in finding.message
        select = re.search(r"with: (SELECT .*?);", str(finding.remedy))
        assert select is not None
        assert {row[0] for row in target.rows(select[1])} == wanted


ROUTES = [
    ("mysql9", "pg18"), ("mariadb", "pg15"), ("mysql9", "mariadb"), ("mariadb", "mysql9"),
    ("pg18", "mysql9"), ("pg15", "mariadb"), ("pg15", "pg18"),
]  # fmt: skip


@pytest.mark.parametrize(("from_name", "to_name"), ROUTES)
def test_a_convert_names_each_broken_foreign_key_and_makes_the_rest(
    from_name: str, to_name: str, request: pytest.FixtureRequest, database: Any
) -> None:
    ends = [request.getfixturevalue(name) for name in (from_name, to_name)]
    source, target = (End(server, database(server)) for server in ends)
    _orphaned(source)
    stats = move(source, target)
    _demand_told(_found(stats), target)
    assert _foreign_keys(target) == {"kept", "kept_too"}
    assert target.rows("SELECT id FROM child ORDER BY id") == [(n,) for n in range(1, 6)]
    # The remedy's statement makes the key once the rows are repaired.
    target.run("DELETE FROM child WHERE id > 1")
    for finding in _found(stats).values():
        target.run(str(finding.remedy).split("add the foreign key: ")[1].rstrip(";"))
    assert _foreign_keys(target) == {"kept", "kept_too", "broken_one", "broken_pair"}


@pytest.mark.parametrize(("from_name", "to_name"), [("mysql9", "pg18"), ("pg18", "mariadb")])
def test_a_cdc_goes_on_without_the_broken_foreign_keys(
    from_name: str, to_name: str, request: pytest.FixtureRequest, database: Any
) -> None:
    ends = [request.getfixturevalue(name) for name in (from_name, to_name)]
    source, target = (End(server, database(server)) for server in ends)
    _orphaned(source)
    name = f"orphans {from_name}"
    with Stream(source.url, target.url, mode="cdc", name=name) as stream:
        stream.start()
        assert stream.catch_up(SECONDS), stream.error
        _demand_told(_found(stream.stats()), target)
        source.run("INSERT INTO child VALUES (6, 1, 1, 10, 20, 0)")
        assert stream.catch_up(SECONDS), stream.error
        assert target.rows("SELECT count(*) FROM child") == [(6,)]
        stream.stop()
        assert stream.wait(timeout=SECONDS) is State.STOPPED
        stream.release()
    assert _foreign_keys(target) == {"kept", "kept_too"}
