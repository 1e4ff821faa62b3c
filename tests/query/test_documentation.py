"""The examples of docs/queries.md, as they are written."""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from streams_engine import Engine
from streams_engine.errors import QueryRefused
from streams_engine.testing.servers import Server
from tests.support.databases import End, run

TEXT = (Path(__file__).parents[2] / "docs" / "queries.md").read_text()
EXAMPLES = re.findall(r"^```python\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
HEADINGS = [example.strip().splitlines()[0][:60] for example in EXAMPLES]


@pytest.fixture(scope="module")
def engine(
    mysql9: Server, pg18: Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Engine]:
    folder = tmp_path_factory.mktemp("lake")
    pq.write_table(pa.table({"code": ["de", "at"], "population": [84, 9]}),
                   folder / "countries.parquet")  # fmt: skip
    run(mysql9, None, "DROP DATABASE IF EXISTS sales", "CREATE DATABASE sales")
    run(
        mysql9, "sales",
        "CREATE TABLE orders (id bigint unsigned PRIMARY KEY, account_id int,"
        " total decimal(12,2), code varchar(9))",
        "INSERT INTO orders VALUES (18446744073709551615, 1, 10.50, 'K1'), (2, 2, 3, 'k2'),"
        " (3, 2, 20, NULL)",
    )  # fmt: skip
    crm = End(pg18, pg18.create_database())
    crm.run(
        "CREATE TABLE accounts (id int PRIMARY KEY, name text, country char(2), code text,"
        " since timestamptz)",
        "INSERT INTO accounts VALUES (1, 'Ann', 'de', 'k1', '2024-01-31T12:00:00Z'),"
        " (2, 'Bob', 'at', 'x', NULL)",
        "ANALYZE accounts",
    )
    with Engine() as engine:
        for name, server, database in (("my1", mysql9, "sales"), ("pg1", pg18, crm.database)):
            engine.connections.create({
                "name": name, "type": server.kind, "host": server.host, "port": server.port,
                "username": server.user, "password": server.password, "database": database,
            })  # fmt: skip
        engine.connections.create(
            {"name": "lake", "type": "files", "spec": {"files": {"basePath": str(folder)}}}
        )
        reports = tmp_path_factory.mktemp("reports")
        engine.connections.create(
            {"name": "reports", "type": "files", "spec": {"files": {"basePath": str(reports)}}}
        )
        yield engine
    run(mysql9, None, "DROP DATABASE sales")
    pg18.drop_database(crm.database)


@pytest.mark.parametrize("example", EXAMPLES, ids=HEADINGS)
def test_an_example(example: str, engine: Engine) -> None:
    names: dict[str, Any] = {"engine": engine, "Decimal": Decimal, "QueryRefused": QueryRefused}
    exec(compile(example, "docs/queries.md", "exec"), names)
