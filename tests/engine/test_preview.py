"""What an Engine sees of real servers: databases, structure, readiness, rows."""

from __future__ import annotations

import datetime
import os
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from streams_engine import Engine
from streams_engine.errors import ConfigError, NotFound, RowRejected, TargetConflict
from streams_engine.testing.servers import Server
from tests.support.databases import End
from tests.support.engine_documents import (
    document,
)

MYSQL_TABLES = (
    "CREATE TABLE customers (id int PRIMARY KEY, name varchar(50) NOT NULL, UNIQUE KEY n (name))",
    "CREATE TABLE orders (id bigint unsigned PRIMARY KEY, customer int, total decimal(20,6),"
    " at datetime(6), KEY c (customer),"
    " CONSTRAINT f FOREIGN KEY (customer) REFERENCES customers (id) ON DELETE CASCADE)",
    "INSERT INTO customers VALUES (1, 'Ann'), (2, 'Bob')",
    "INSERT INTO orders VALUES (18446744073709551615, 1, 12345678901234.567891,"
    " '2024-02-29 12:00:00.000001'), (2, 2, NULL, NULL), (3, 1, -0.5, NULL)",
    "CREATE VIEW big AS SELECT id, total FROM orders WHERE total > 1",
)
POSTGRES_TABLES = (
    "CREATE SCHEMA sales",
    "CREATE TABLE customers (id int PRIMARY KEY, name varchar(50) NOT NULL UNIQUE)",
    "CREATE TABLE sales.orders (id numeric(20) PRIMARY KEY, customer int"
    " CONSTRAINT f REFERENCES customers (id) ON DELETE CASCADE, total numeric(20,6), at timestamp)",
    "CREATE INDEX c ON sales.orders (customer)",
    "INSERT INTO customers VALUES (1, 'Ann'), (2, 'Bob')",
    "INSERT INTO sales.orders VALUES (18446744073709551615, 1, 12345678901234.567891,"
    " '2024-02-29 12:00:00.000001'), (2, 2, NULL, NULL), (3, 1, -0.5, 'infinity')",
    "CREATE VIEW sales.big AS SELECT id, total FROM sales.orders WHERE total > 1",
)


class Seen:
    """A database, and its connection in an Engine."""

    def __init__(self, engine: Engine, end: End, orders: str, big: str) -> None:
        self.engine, self.end, self.orders, self.big = engine, end, orders, big
        self.id = engine.connections.create(document(end))["id"]


@pytest.fixture(params=["mysql9", "mariadb", "pg15", "pg18"])
def seen(request: pytest.FixtureRequest, database: Any) -> Iterator[Seen]:
    server: Server = request.getfixturevalue(request.param)
    end = End(server, database(server))
    postgres = server.kind == "postgresql"
    end.run(*(POSTGRES_TABLES if postgres else MYSQL_TABLES))
    with Engine() as engine:
        orders, big = ("sales.orders", "sales.big") if postgres else ("orders", "big")
        yield Seen(engine, end, orders, big)


def test_a_ping_says_what_is_wrong(seen: Seen) -> None:
    engine = seen.engine
    assert engine.connections.ping(seen.id) == {"ping": "ok"}
    assert engine.connections.ping(document(seen.end)) == {"ping": "ok"}
    wrong = engine.connections.ping(document(seen.end, password="no such password"))
    assert wrong["ping"] == "failed"
    assert wrong["code"] == "AUTHENTICATION_FAILED"
    assert "no such password" not in str(wrong)
    closed = engine.connections.ping(document(seen.end, port=1))
    assert (closed["ping"], closed["code"]) == ("failed", "CONNECTION_FAILED")


def test_databases_are_listed_and_made(seen: Seen, database: Any) -> None:
    engine = seen.engine
    found = {one["name"]: one for one in engine.connections.databases(seen.id)}
    postgres = seen.end.server.kind == "postgresql"
    mine = found[seen.end.database]
    assert mine == (
        {"name": seen.end.database, "schemas": ["public", "sales"]}
        if postgres
        else {"name": seen.end.database}
    )
    assert not {"information_schema", "mysql", "sys", "template0"} & found.keys()
    name = database.adopt(seen.end.server, f"{seen.end.database}_made")
    assert engine.connections.create_database(seen.id, name) == {"name": name}
    assert name in [one["name"] for one in engine.connections.databases(seen.id)]
    with pytest.raises(TargetConflict, match="already"):
        engine.connections.create_database(seen.id, name)
    if postgres:
        assert engine.connections.create_schema(seen.id, 'odd "name"', name)
        schemas = {d["name"]: d["schemas"] for d in engine.connections.databases(seen.id)}
        assert schemas[name] == ['odd "name"', "public"]
        with pytest.raises(TargetConflict):
            engine.connections.create_schema(seen.id, 'odd "name"', name)
    else:
        with pytest.raises(ConfigError, match="no schemas"):
            engine.connections.create_schema(seen.id, "s")


def test_tables_and_views_are_listed(seen: Seen) -> None:
    connections = seen.engine.connections
    assert connections.tables(seen.id) == ["customers", seen.orders]
    assert connections.views(seen.id) == [seen.big]
    if seen.end.server.kind == "postgresql":
        assert connections.tables(seen.id, schema="sales") == ["orders"]


def test_a_table_is_described(seen: Seen) -> None:
    found = seen.engine.connections.describe(seen.id, seen.orders)
    assert [c["name"] for c in found["columns"]] == ["id", "customer", "total", "at"]
    assert found["primaryKey"]["columns"] == ["id"]
    assert {"name": "c", "columns": ["customer"], "unique": False, "method": "btree",
            "where": None} in found["indexes"]  # fmt: skip
    (foreign,) = found["foreignKeys"]
    assert (foreign["name"], foreign["columns"], foreign["referencedColumns"]) == (
        "f", ["customer"], ["id"],
    )  # fmt: skip
    assert foreign["onDelete"] == "CASCADE"
    assert "CREATE TABLE" in found["ddl"] and "CASCADE" in found["ddl"]
    with pytest.raises(NotFound, match="no table 'order'"):
        seen.engine.connections.describe(seen.id, "order")


def test_the_ddl_makes_the_table_again(seen: Seen) -> None:
    described = seen.engine.connections.describe(seen.id, seen.orders)
    seen.end.run(f"DROP TABLE {seen.orders} CASCADE")
    seen.end.run(*[s for s in described["ddl"].split(";\n") if s.strip()])
    again = seen.engine.connections.describe(seen.id, seen.orders)
    for one in (described, again):
        one.pop("estimatedRows")
        one.pop("bytes")
    assert again == described


def test_readiness_names_what_hinders(seen: Seen) -> None:
    seen.end.run("CREATE TABLE bare (a int)")
    findings = seen.engine.connections.readiness(seen.id, ["bare"])
    assert all(set(f) == {"severity", "code", "object", "message", "remedy"} for f in findings)
    if seen.end.server.kind == "postgresql":
        (error,) = [f for f in findings if f["severity"] == "error"]
        assert "ALTER TABLE" in error["remedy"]


def test_rows_come_as_exact_arrow(seen: Seen) -> None:
    engine = seen.engine
    columns = ["id", "total"]
    page = engine.data(seen.id, seen.orders, columns=columns, sort=[{"column": "total"}],
                       filters=[{"column": "total", "operator": "IS NOT NULL"}])  # fmt: skip
    table = page["items"]
    assert (page["total"], page["limit"], page["offset"]) == (2, 100, 0)
    assert table.schema.names == columns
    rows = [(Decimal(str(row["id"])), row["total"]) for row in table.to_pylist()]
    assert rows == [
        (Decimal(3), Decimal("-0.500000")),
        (Decimal(18446744073709551615), Decimal("12345678901234.567891")),
    ]
    assert engine.count(seen.id, seen.orders) == 3
    assert engine.count(seen.id, seen.orders, filters=[{"column": "customer", "value": 1}]) == 2


def test_rows_come_in_pages(seen: Seen) -> None:
    pages = [
        seen.engine.data(
            seen.id, seen.orders, columns=["id"], limit=limit, offset=offset,
            sort=[{"column": "id", "direction": "desc"}],
        )["items"].num_rows
        for limit, offset in ((2, 0), (2, 2), (2, 3), (None, 1), (0, 0))
    ]  # fmt: skip
    assert pages == [2, 1, 0, 2, 0]


def test_a_page_says_how_many_rows_there_are_on_all_pages(seen: Seen) -> None:
    total = seen.engine.count(seen.id, seen.orders)
    for limit, offset in ((2, 0), (2, 2), (2, 9), (None, 1), (0, 0), (100, 0)):
        page = seen.engine.data(seen.id, seen.orders, columns=["id"], limit=limit, offset=offset)
        assert (page["total"], page["limit"], page["offset"]) == (total, limit, offset)
    assert seen.engine.data(seen.id, seen.orders, limit=1, total=False)["total"] is None
    few = [{"column": "id", "operator": "<=", "value": 2}]
    assert seen.engine.data(seen.id, seen.orders, filters=few, limit=1)["total"] == 1


def test_a_view_is_read_too(seen: Seen) -> None:
    table = seen.engine.data(seen.id, seen.big, filters=[{"column": "id", "operator": ">",
                                                          "value": 0}])["items"]  # fmt: skip
    assert [Decimal(str(v)) for v in table["total"].to_pylist()] == [
        Decimal("12345678901234.567891")
    ]
    assert seen.engine.count(seen.id, seen.big) == 1


def test_a_look_at_what_is_not_there(seen: Seen) -> None:
    engine = seen.engine
    with pytest.raises(NotFound, match="no table 'nothing'"):
        engine.data(seen.id, "nothing")
    with pytest.raises(ConfigError, match=r"\$\.selectedColumns\[0\]: .* no column 'x'"):
        engine.data(seen.id, seen.orders, columns=["x"])
    with pytest.raises(ConfigError, match=r"\$\.filters\[0\]\.operator"):
        engine.data(seen.id, seen.orders, filters=[{"column": "id", "operator": "~"}])
    with pytest.raises(ConfigError, match=r"\$\.offset"):
        engine.data(seen.id, seen.orders, offset=-1)


def test_a_value_that_arrow_cannot_hold_is_refused_or_read_as_text(
    pg18: Server, database: Any
) -> None:
    end = End(pg18, database(pg18))
    end.run(*POSTGRES_TABLES)
    with Engine() as engine:
        made = engine.connections.create(document(end))["id"]
        with pytest.raises(RowRejected, match=r"Column sales\.orders\.at"):
            engine.data(made, "sales.orders")
        shown = engine.data(made, "sales.orders", columns=["at"], texts=["at"])["items"]
        assert "infinity" in shown["at"].to_pylist()
        kept = engine.data(made, "sales.orders", columns=["at"], limit=1,
                           filters=[{"column": "customer", "value": 1}],
                           sort=[{"column": "at"}])["items"]  # fmt: skip
        assert kept["at"].to_pylist() == [datetime.datetime(2024, 2, 29, 12, 0, 0, 1)]


def test_files_are_looked_at_in_the_same_form(tmp_path: Path) -> None:
    (tmp_path / "orders.csv").write_text("id,total\n1,2.5\n2,\n3,7\n")
    with Engine() as engine:
        made = engine.connections.create(
            {"name": "f", "type": "files", "spec": {"files": {"basePath": str(tmp_path)}}}
        )["id"]
        assert engine.connections.ping(made) == {"ping": "ok"}
        assert engine.connections.databases(made) == []
        assert engine.connections.tables(made) == ["orders"]
        assert engine.connections.views(made) == []
        assert engine.connections.describe(made, "orders")["ddl"] is None
        assert engine.count(made, "orders", filters=[{"column": "id", "operator": ">",
                                                      "value": 1}]) == 2  # fmt: skip
        page = engine.data(made, "orders", columns=["total"], limit=1, offset=1)
        assert (page["total"], page["limit"], page["offset"]) == (3, 1, 1)
        assert page["items"]["total"].to_pylist() == [None]
        with pytest.raises(ConfigError, match="no log"):
            engine.connections.readiness(made)
        gone = {"name": "g", "type": "files", "spec": {"files": {"basePath": "/no/such"}}}
        assert engine.connections.ping(gone)["ping"] == "failed"


def test_secrets_are_resolved_at_use(
    mysql9: Server, database: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    end = End(mysql9, database(mysql9))
    monkeypatch.setenv("SE_TEST_PASSWORD", str(mysql9.password))
    asked: list[str] = []

    def vault(path: str) -> str:
        asked.append(path)
        return os.environ["SE_TEST_PASSWORD"]

    with Engine(resolvers={"vault": vault}, references={"env"}) as engine:
        for password in ("env:SE_TEST_PASSWORD", "vault:db/shop"):
            made = engine.connections.create(document(end, name=password, password=password))
            assert made["password"] == password
            assert engine.connections.ping(made["id"]) == {"ping": "ok"}
        assert asked == ["db/shop"]
        missing = engine.connections.ping(document(end, password="env:SE_TEST_NOTHING"))
        assert missing["ping"] == "failed" and "SE_TEST_NOTHING" in missing["error"]
