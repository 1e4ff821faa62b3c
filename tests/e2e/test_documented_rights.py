"""The rights that docs/cdc.md grants are enough: for a cdc's source, and for its target."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from streams_engine import Stream
from streams_engine.testing.servers import Server
from tests.support.databases import End, run

PAGE = (Path(__file__).parents[2] / "docs" / "cdc.md").read_text()
PASSWORD = "pw-1234-X"
SECONDS = 120
ROWS = (
    "CREATE TABLE orders (id INT PRIMARY KEY, total DECIMAL(10, 2))",
    "CREATE TABLE items (id INT PRIMARY KEY, of_order INT,"
    " CONSTRAINT of_order FOREIGN KEY (of_order) REFERENCES orders (id))",
    "CREATE INDEX by_order ON items (of_order)",
    "INSERT INTO orders VALUES (1, 2.5), (2, 3.5)",
    "INSERT INTO items VALUES (10, 1), (20, 2)",
)
CHANGES = ("INSERT INTO orders VALUES (3, 4.5)", "UPDATE items SET of_order = 3 WHERE id = 10")


def section(heading: str) -> str:
    return PAGE.split(f"### {heading}\n", 1)[1].split("\n### ", 1)[0]


def statements(heading: str) -> list[str]:
    """Of the section's first block of SQL, without remarks."""
    found = re.search(r"```sql\n(.*?)```", section(heading), re.S)
    assert found is not None
    plain = re.sub(r"--.*", "", found[1])
    return [statement.strip() for statement in plain.split(";") if statement.strip()]


def rights_on(server: str, place: str) -> str:
    """What the table of targets says an account needs there."""
    found = re.search(rf"^\| {server} \| (.*) \|$", section("A target"), re.M)
    assert found is not None
    return re.search(rf"{place}: `([^`]+)`", found[1])[1]  # type: ignore[index]


@pytest.fixture(params=["mysql9", "mariadb", "pg18"])
def source(request: pytest.FixtureRequest, database: Any) -> Iterator[tuple[End, str]]:
    """A source, and the URL of an account that has what the page grants."""
    server: Server = request.getfixturevalue(request.param)
    end, who = End(server, database(server)), f"documented_{request.param}"
    end.run(*ROWS)
    heading = {"mysql9": "MySQL", "mariadb": "MariaDB", "pg18": "PostgreSQL"}[request.param]
    for text in statements(heading):
        text = text.replace("'...'", f"'{PASSWORD}'").replace("public.orders", "public.{table}")
        text = re.sub(r"\bstreams\b", who, text)
        text = text.replace("shop.*", f"{end.database}.*")
        text = text.replace("DATABASE shop", f'DATABASE "{end.database}"')
        tables = ("orders", "items") if "{table}" in text else ("",)
        end.run(*(text.format(table=table) for table in tables))
    yield end, f"{server.kind}://{who}:{PASSWORD}@{server.host}:{server.port}/{end.database}"
    removed(end, who)


def removed(end: End, who: str) -> None:
    if end.server.kind == "postgresql":
        with suppress(Exception):
            end.run(f"DROP OWNED BY {who} CASCADE")
        end.run(f"DROP ROLE IF EXISTS {who}")
    else:
        end.run(f"DROP USER IF EXISTS {who}@'%'")


@pytest.fixture(params=["mysql9", "mariadb", "pg18"])
def target(request: pytest.FixtureRequest, database: Any) -> Iterator[tuple[End, str]]:
    """A target, and the URL of an account that has what the page asks for."""
    server: Server = request.getfixturevalue(request.param)
    end, who = End(server, database(server)), f"target_{request.param}"
    if server.kind == "postgresql":
        run(server, None, f"CREATE ROLE {who} LOGIN PASSWORD '{PASSWORD}'")
        end.run(
            f'GRANT CREATE ON DATABASE "{end.database}" TO {who}',
            f"GRANT USAGE, CREATE ON SCHEMA public TO {who}",
        )
    else:
        run(
            server,
            None,
            f"CREATE USER {who}@'%' IDENTIFIED BY '{PASSWORD}'",
            f"GRANT {rights_on('MySQL', 'on the database')} ON {end.database}.* TO {who}@'%'",
        )
    yield end, f"{server.kind}://{who}:{PASSWORD}@{server.host}:{server.port}/{end.database}"
    removed(end, who)


def test_they_are_enough(source: tuple[End, str], target: tuple[End, str]) -> None:
    (end, url), (_, into) = source, target
    schema = {"schema": "public"} if into.startswith("postgresql") else {}
    with Stream(url, into, mode="cdc", name=f"rights {end.database}", **schema) as stream:
        stream.start()
        assert stream.catch_up(SECONDS), stream.error
        end.run(*CHANGES)
        assert stream.catch_up(SECONDS), stream.error
        assert stream.verify().ok
    stream.release()


@pytest.mark.parametrize("source", ["mysql9", "mariadb"], indirect=True)
def test_locks_on_tables_do_on_managed_servers(
    source: tuple[End, str], pg18: Server, database: Any
) -> None:
    """Where nobody has the global read lock."""
    end, url = source
    who = f"documented_{end.server.flavour_name}"
    end.run(f"REVOKE RELOAD ON *.* FROM {who}@'%'",
            f"GRANT LOCK TABLES ON {end.database}.* TO {who}@'%'")  # fmt: skip
    into = pg18.url(database(pg18))
    with Stream(url, into, mode="cdc", name=f"managed {end.database}") as stream:
        stream.start()
        assert stream.catch_up(SECONDS), stream.error
        end.run(*CHANGES)
        assert stream.catch_up(SECONDS), stream.error
        assert stream.verify().ok
    stream.release()
