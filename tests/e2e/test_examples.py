"""The examples run as they are written."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from streams_engine.testing.servers import Server
from tests.support.databases import End

EXAMPLES = Path(__file__).parents[2] / "examples"
SHOP = (
    "CREATE TABLE customers (id int PRIMARY KEY, name varchar(50))",
    "INSERT INTO customers VALUES (1, 'Ann'), (2, 'Bob')",
)


@pytest.fixture
def ends(mysql9: Server, pg18: Server, database: Any) -> tuple[End, End]:
    source, target = End(mysql9, database(mysql9)), End(pg18, database(pg18))
    source.run(*SHOP)
    return source, target


def command(name: str, *arguments: object) -> list[str]:
    return [sys.executable, "-W", "error", str(EXAMPLES / name), *map(str, arguments)]


def ran(name: str, *arguments: object) -> str:
    done = subprocess.run(command(name, *arguments), capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    return done.stdout


def document(end: End) -> dict[str, Any]:
    server = end.server
    return {
        "name": server.kind, "type": server.kind, "host": server.host, "port": server.port,
        "username": server.user, "password": server.password, "database": end.database,
    }  # fmt: skip


def test_a_script(ends: tuple[End, End]) -> None:
    source, target = ends
    told = ran("migrate.py", source.url, target.url)
    assert "2 rows in 1 tables" in told
    assert told.endswith("equal\n") and "NOT" not in told
    assert target.rows("SELECT * FROM customers ORDER BY id") == [(1, "Ann"), (2, "Bob")]


def test_a_scheduled_job(ends: tuple[End, End], tmp_path: Path) -> None:
    for name, end in zip(("source", "target"), ends, strict=True):
        (tmp_path / f"{name}.json").write_text(json.dumps(document(end)))
    files = [tmp_path / name for name in ("jobs.db", "source.json", "target.json")]
    assert ran("nightly.py", *files).count("FINISHED 2 rows") == 1
    ends[0].run("INSERT INTO customers VALUES (3, 'Eve')")
    told = ran("nightly.py", *files).splitlines()
    assert [line.split()[1:3] for line in told] == [["FINISHED", "3"], ["FINISHED", "2"]]


def test_a_cut_over(ends: tuple[End, End]) -> None:
    source, target = ends
    told = ran("cut_over.py", source.url, target.url)
    assert told.splitlines()[-1] == "switched"
    assert target.rows("SELECT count(*) FROM customers") == [(2,)]


def test_a_service(ends: tuple[End, End], tmp_path: Path) -> None:
    source, target = ends
    arguments = (tmp_path / "engine.db", json.dumps(document(source)), json.dumps(document(target)))
    for rows in (2, 3):
        with subprocess.Popen(
            command("service.py", *arguments), stdout=subprocess.PIPE, text=True
        ) as service:
            assert service.stdout is not None
            assert "'status': 'RUNNING'" in service.stdout.readline()
            assert target.rows("SELECT count(*) FROM customers") == [(rows,)]
            service.send_signal(signal.SIGTERM)
            assert service.communicate(timeout=60)[0] == "stopped\n"
        assert service.returncode == 0
        source.run("INSERT INTO customers VALUES (3, 'Eve')") if rows == 2 else None
