"""The tutorials and how-tos run as they are printed, against private servers."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from streams_engine import Engine
from streams_engine.testing.servers import Server
from tests.support.buckets import bucket_name
from tests.support.databases import End

DOCS = Path(__file__).parents[2] / "docs"
BLOCK = re.compile(
    r"^<!-- executed (?:beside servers|on (\w+)) -->\n```(\w+)\n(.*?)^```$", re.M | re.S
)


class Reader:
    """One who follows a page, block by block, in a folder of their own."""

    def __init__(self, source: End, target: End) -> None:
        self.ends = {"MySQL": source, "PostgreSQL": target}
        self.names: dict[str, Any] = {"__name__": "tutorial"}
        self.printed: list[str] = []

    def follow(self, page: str, **databases: str) -> None:
        """Run every block of a page that says that it is executed; ``databases``: others that are
        called so in its SQL than ``shop``, which is the end's own."""
        for place, language, text in BLOCK.findall((DOCS / page).read_text()):
            if language == "sql":
                for name, database in {"shop": self.ends[place].database, **databases}.items():
                    text = re.sub(rf"(ON |DATABASE ){name}\b", rf"\g<1>{database}", text)
                statements = (part.strip() for part in text.split(";\n"))
                self.ends[place].run(*(part.rstrip(";") for part in statements if part))
            elif language == "sh":
                self._shell(text)
            else:
                exec(compile(text, page, "exec"), self.names)

    def _shell(self, text: str) -> None:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(
            ["bash", "-ec", text], capture_output=True, text=True, timeout=120,
            env={**os.environ, "PATH": path, "COLUMNS": "100"},
        )  # fmt: skip
        assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
        self.printed.append(done.stdout)


@pytest.fixture
def reader(
    mysql9: Server, pg18: Server, database: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Reader:
    source, target = End(mysql9, database(mysql9)), End(pg18, database(pg18))
    monkeypatch.setenv("SOURCE", source.url)
    monkeypatch.setenv("TARGET", target.url)
    monkeypatch.chdir(tmp_path)
    return Reader(source, target)


def test_from_mysql_to_postgresql(reader: Reader) -> None:
    reader.follow("tutorials/mysql-to-postgresql.md")
    plan, ddl, _ = reader.printed
    for word in ("unsigned-key", "case-sensitive-key", "zero-dates-not-null", "revenue", "cents"):
        assert word in plan
    assert "uuid NOT NULL" in ddl and "citext" in ddl and "boolean" in ddl
    target = reader.ends["PostgreSQL"]
    assert target.rows("SELECT id, email, active FROM customer ORDER BY 1") == [
        (1, "ann@example.com", True),
        (2, "Bob@example.com", False),
        (3, "eve@example.com", True),
        (4, "first@example.com", True),
    ]
    assert target.rows("SELECT count(*) FROM pg_constraint WHERE contype = 'f'") == [(1,)]


def test_going_back_after_a_switch(reader: Reader) -> None:
    old, new = reader.ends["MySQL"], reader.ends["PostgreSQL"]
    old.run(
        "CREATE TABLE account (id bigint PRIMARY KEY AUTO_INCREMENT, name varchar(40) NOT NULL,"
        " balance decimal(10, 2) NOT NULL, at datetime(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6))",
        "INSERT INTO account (name, balance) VALUES ('Ann', 12.50), ('Bob', 0.10)",
    )
    reader.follow("howto/going-back.md")
    rows = "SELECT id, name, balance, at FROM account ORDER BY id"
    assert old.rows(rows) == new.rows(rows)
    assert [row[1] for row in old.rows(rows)] == ["Ann", "Bob", "Eve"]
    assert new.rows("SELECT count(*) FROM pg_replication_slots") == [(0,)]


def test_a_table_is_repaired_and_loaded_again(reader: Reader) -> None:
    old, new = reader.ends["MySQL"], reader.ends["PostgreSQL"]
    old.run(
        "CREATE TABLE customer (id int PRIMARY KEY)",
        "CREATE TABLE account (id int PRIMARY KEY, balance decimal(10, 2) NOT NULL)",
        "INSERT INTO customer VALUES (1), (2)",
        "INSERT INTO account VALUES (1, 12.50), (2, 0.10)",
    )
    reader.follow("howto/reload-a-table.md")
    rows = "SELECT id, balance FROM account ORDER BY id"
    assert old.rows(rows) == new.rows(rows)


def test_a_stream_is_watched(reader: Reader) -> None:
    reader.ends["MySQL"].run(
        "CREATE TABLE account (id int PRIMARY KEY)", "INSERT INTO account VALUES (1), (2)"
    )
    reader.follow("howto/monitoring.md")


ACCOUNTS = "CREATE TABLE account (id int PRIMARY KEY, balance decimal(10, 2) NOT NULL)"


def test_a_switch_without_downtime(reader: Reader) -> None:
    old, new = reader.ends["MySQL"], reader.ends["PostgreSQL"]
    old.run(ACCOUNTS, "INSERT INTO account VALUES (1, 12.50), (2, 0.10)")
    reader.follow("howto/zero-downtime.md")
    rows = "SELECT id, balance FROM account ORDER BY id"
    assert old.rows(rows) == new.rows(rows)
    assert str(old.rows(rows)[0][1]) == "13.50"
    assert new.rows("SELECT count(*) FROM pg_replication_slots") == [(0,)]


def test_rows_come_after(reader: Reader) -> None:
    old, new = reader.ends["MySQL"], reader.ends["PostgreSQL"]
    old.run(
        ACCOUNTS,
        "SET SESSION cte_max_recursion_depth = 5000",
        "INSERT INTO account WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n"
        " WHERE i < 5000) SELECT i, i / 2 FROM n",
        "CREATE TABLE history (id int PRIMARY KEY, note text)",
        "INSERT INTO history VALUES (1, 'old')",
    )
    reader.follow("howto/backfill.md")
    for rows in ("SELECT * FROM account ORDER BY id", "SELECT * FROM history"):
        assert old.rows(rows) == new.rows(rows)


def test_the_least_rights_are_enough(
    reader: Reader, database: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = reader.ends["MySQL"], reader.ends["PostgreSQL"]
    old.run(ACCOUNTS, "INSERT INTO account VALUES (1, 12.50), (2, 0.10)")
    copy = database(old.server)
    monkeypatch.setenv("COPY", old.server.url(copy))
    try:
        reader.follow("howto/least-rights.md", copy=copy)
    finally:
        old.run(*(f"DROP USER IF EXISTS {user}" for user in ("se_reader", "se_applier")))
        for (role,) in new.rows("SELECT rolname FROM pg_roles WHERE rolname LIKE 'se\\_%'"):
            new.run(f"DROP OWNED BY {role} CASCADE", f"DROP ROLE {role}")


def test_what_a_move_waits_for_is_found(reader: Reader, capsys: pytest.CaptureFixture[str]) -> None:
    reader.ends["MySQL"].run(ACCOUNTS, "INSERT INTO account VALUES (1, 12.50), (2, 0.10)")
    reader.follow("howto/find-the-bottleneck.md")
    said = capsys.readouterr().out
    assert "moved" in said and "8 readers" in said


BUCKET = bucket_name()
"""Of this file alone."""


@pytest.fixture
def lake(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A private S3 with an empty bucket, in the environment as the page names it."""
    moto = ThreadedMotoServer(port=0)
    moto.start()
    host, port = moto.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "the-key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "the-s3cret")
    monkeypatch.setenv(
        "LAKE", f"s3://{BUCKET}/shop?format=parquet&region=us-east-1&endpoint={endpoint}"
    )
    client = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1")
    client.create_bucket(Bucket=BUCKET)
    client.close()
    yield
    moto.stop()


def test_a_lake_in_s3(reader: Reader, lake: None, capsys: pytest.CaptureFixture[str]) -> None:
    reader.follow("tutorials/lake-in-s3.md")
    said = capsys.readouterr().out
    assert "6 rows," in said
    assert "'country': 'AT'" in said and "1000000012.51" in said
    assert "2 transactions in the lake" in said


def test_trouble_is_looked_into(reader: Reader, capsys: pytest.CaptureFixture[str]) -> None:
    old, new = reader.ends["MySQL"], reader.ends["PostgreSQL"]
    old.run(
        ACCOUNTS,
        "INSERT INTO account VALUES (1, 12.50), (2, 0.10)",
        "CREATE TABLE opening (id int PRIMARY KEY, open_for time NOT NULL)",
        "INSERT INTO opening VALUES (1, '10:00:00'), (2, '100:00:00')",
    )
    reader.follow("troubleshooting.md")
    said = capsys.readouterr().out
    assert "in step: True" in said and "account True 0" in said
    quarantined = new.rows("SELECT source_row->>'id' FROM streams_engine.quarantine")
    assert quarantined == [("2",)]


def test_what_is_checked_before_production(reader: Reader) -> None:
    old, new = reader.ends["MySQL"], reader.ends["PostgreSQL"]
    old.run(ACCOUNTS, "INSERT INTO account VALUES (1, 12.50), (2, 0.10)")
    reader.follow("howto/production-checklist.md")
    assert Path("ddl.sql").read_text().count("CREATE TABLE") == 1
    assert new.rows("SELECT count(*) FROM pg_replication_slots") == [(0,)]


def test_an_upgrade_loads_nothing_again(reader: Reader, capsys: pytest.CaptureFixture[str]) -> None:
    old, new = reader.ends["MySQL"], reader.ends["PostgreSQL"]
    old.run(ACCOUNTS, "INSERT INTO account VALUES (1, 12.50), (2, 0.10)")
    Engine("engine.db").close()
    reader.follow("howto/upgrade.md")
    assert "1 transactions since" in capsys.readouterr().out
    rows = "SELECT id, balance FROM account ORDER BY id"
    assert old.rows(rows) == new.rows(rows)
