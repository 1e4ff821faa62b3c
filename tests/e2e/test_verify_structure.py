"""`verify` compares the structure: nothing after a move, and each thing that is taken away."""

from __future__ import annotations

from typing import Any

import pytest

from streams_engine import Stream
from streams_engine.cli.app import run
from streams_engine.testing.servers import Server
from tests.support.databases import End
from tests.support.generated_mysql import fill_mysql
from tests.support.generated_postgres import fill_postgres, has_extension
from tests.support.sample_moves import moved, server

SHOP = {
    "postgresql": (
        "CREATE TABLE p (id int PRIMARY KEY, code int NOT NULL UNIQUE)",
        "CREATE TABLE c (id serial PRIMARY KEY, p int REFERENCES p (id),"
        " day int NOT NULL DEFAULT 5, name varchar(40), CHECK (day > 0))",
        "CREATE INDEX by_name ON c (name, day)",
    ),
    "mysql": (
        "CREATE TABLE p (id int PRIMARY KEY, code int NOT NULL UNIQUE)",
        "CREATE TABLE c (id int AUTO_INCREMENT PRIMARY KEY, p int, day int NOT NULL DEFAULT 5,"
        " name varchar(40), CHECK (day > 0), FOREIGN KEY (p) REFERENCES p (id),"
        " KEY by_name (name, day), KEY short (name(5)))",
    ),
}
ROWS = ("INSERT INTO p VALUES (1, 1)", "INSERT INTO c (p, name) VALUES (1, 'a'), (1, 'b')")


@pytest.mark.parametrize(
    ("source", "target"),
    [("mysql9", "pg18"), ("pg18", "pg18"), ("mysql9", "mysql9"), ("mariadb", "pg15")],)  # fmt: skip
def test_a_generated_shop_has_the_same_structure(
    source: str, target: str, request: pytest.FixtureRequest
) -> None:
    ends = server(request, source), server(request, target)
    servers = [end for end in ends if end.kind == "postgresql"]
    gist = len(servers) == 2 and all(has_extension(end, "btree_gist") for end in servers)
    postgres = ends[0].kind == "postgresql"
    fill = (lambda to: fill_postgres(to, btree_gist=gist)) if postgres else fill_mysql
    with moved(*ends, fill) as (there, here):
        urls = (end.server.url(end.database) for end in (there, here))
        report = Stream(*urls).verify()
        assert [str(finding) for finding in report.structure] == [] and report.same_structure


@pytest.mark.parametrize(("source", "target"), [("mysql9", "pg18"), ("pg18", "mysql9")])
def test_what_is_taken_away_is_told(
    source: str, target: str, request: pytest.FixtureRequest, database: Any, capsys: Any
) -> None:
    here: Server = request.getfixturevalue(source)
    there: Server = request.getfixturevalue(target)
    one, two = End(here, database(here)), End(there, database(there))
    one.run(*SHOP[here.kind], *ROWS)
    stream = Stream(one.url, two.url)
    stream.run()
    assert Stream(one.url, two.url).verify().structure == ()
    assert run(["verify", one.url, two.url]) == 0
    postgres = there.kind == "postgresql"
    (check,) = two.rows(
        "SELECT constraint_name FROM information_schema.check_constraints"
        " WHERE check_clause LIKE '%day%0%'"
    )
    two.run(
        "DROP INDEX by_name" if postgres else "DROP INDEX by_name ON c",
        f"ALTER TABLE c DROP CONSTRAINT {check[0]}",
        "ALTER TABLE c ALTER day DROP NOT NULL" if postgres else "ALTER TABLE c MODIFY day int",
        "ALTER TABLE c ALTER day SET DEFAULT 6",
    )
    report = Stream(one.url, two.url).verify()
    assert report.ok and not report.same_structure
    told = "\n".join(map(str, report.structure))
    for words in ("index (name, day)", "check", "It allows NULL", "Its default is 6"):
        assert words in told, told
    assert len(report.structure) == 4, told
    assert run(["verify", one.url, two.url]) == 5
    assert "4 differences of structure" in capsys.readouterr().out
    assert run(["verify", one.url, two.url, "--no-structure"]) == 0


def test_a_running_cdc_has_the_same_structure(mysql9: Server, pg18: Server, database: Any) -> None:
    one, two = End(mysql9, database(mysql9)), End(pg18, database(pg18))
    one.run(*SHOP["mysql"], *ROWS)
    with Stream(one.url, two.url, mode="cdc", name="structure") as stream:
        stream.start()
        assert stream.catch_up(120), stream.error
        assert stream.verify().structure == ()
        one.run("ALTER TABLE c ADD KEY by_day (day)")
        assert stream.verify().structure == ()
        two.run("DROP INDEX by_day")
        (told,) = stream.verify().structure
        assert "index (day)" in told.message
    stream.release()
