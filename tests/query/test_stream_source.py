"""Statements over several sources as what a stream reads: ``source.queries``."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from streams_engine import Engine, Stream
from streams_engine.errors import ConfigError, QueryRefused, StreamsError
from streams_engine.testing.servers import Server
from tests.support.databases import End
from tests.support.stream_control import SECONDS, big, held, records, sums

ACCOUNTS = [
    "CREATE TABLE accounts (id int PRIMARY KEY, name text, balance numeric(20,6), loose numeric,"
    " since timestamptz, code text)",
    "INSERT INTO accounts VALUES (1, 'Ann', 10.500000, 1.5, '2024-01-31 23:30:00+00', 'k1'),"
    " (2, 'Bob', 20, 123456789012345678901234567.125, NULL, NULL),"
    " (3, 'Cy', NULL, NULL, '2024-06-01 00:00:00.000001+02', 'x')",
]
ORDERS = [
    "CREATE TABLE orders (id bigint unsigned PRIMARY KEY, account_id int, total decimal(12,2),"
    " day date, code varchar(9), raw varbinary(4), f double)",
    "INSERT INTO orders VALUES (18446744073709551615, 1, 10.50, '2024-01-31', 'K1', X'00FF', 0.1),"
    " (2, 2, 20.00, NULL, '', NULL, -0.5), (3, 2, NULL, '0001-01-01', NULL, X'', 1e300),"
    " (4, NULL, 1.00, NULL, 'é', NULL, NULL)",
]
JOIN = (
    "SELECT a.name, b.id AS n, b.total, a.loose, a.since, b.day, b.raw, b.f"
    " FROM pg1.public.accounts a JOIN my1.{db}.orders b ON a.id = b.account_id"
)
ROWS = [
    (2, "Bob", Decimal("20.00"), "123456789012345678901234567.125", None, None),
    (3, "Bob", None, "123456789012345678901234567.125", "0001-01-01", ""),
    (18446744073709551615, "Ann", Decimal("10.50"), "1.500", "2024-01-31", "00ff"),
]


class Shop:
    """Accounts on PostgreSQL, orders on MySQL, and a folder."""

    def __init__(self, pg: End, my: End, folder: Path) -> None:
        self.pg, self.my, self.folder = pg, my, folder

    def document(
        self, target: End | str, *queries: tuple[str, str], own: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """A stream document of these statements; ``own``: further keys of a connection."""
        urls = {"pg1": self.pg.url, "my1": self.my.url, "lake": str(self.folder)}
        connections = [
            {"alias": alias, "connection": url, **(own or {}).get(alias, {})}
            for alias, url in urls.items()
        ]
        return {
            "mode": "convert",
            "source": {
                "connections": connections,
                "queries": [
                    {"name": name, "query": query.replace("{db}", self.my.database)}
                    for name, query in queries
                ],
                "options": {"dataBundleSize": 100},
            },
            "target": {"connection": target.url if isinstance(target, End) else target},
        }

    def stream(self, target: End | str, *queries: tuple[str, str], **more: Any) -> Stream:
        return Stream.from_config(self.document(target, *queries, **more))


@pytest.fixture
def shop(pg15: Server, mysql9: Server, database: Any, tmp_path: Path) -> Shop:
    pg, my = End(pg15, database(pg15)), End(mysql9, database(mysql9))
    pg.run(*ACCOUNTS)
    my.run(*ORDERS)
    folder = tmp_path / "lake"
    folder.mkdir()
    (folder / "names.csv").write_text("id,label\n1,first\n3,third\n")
    return Shop(pg, my, folder)


@pytest.fixture
def target(pg18: Server, database: Any) -> End:
    return End(pg18, database(pg18))


# Results


def test_into_postgres(shop: Shop, target: End) -> None:
    stream = shop.stream(target, ("totals", JOIN))
    plan = stream.plan()
    (table,) = plan.tables
    assert str(table.target) == "public.totals"
    assert {c.name: c.target_type for c in table.columns} == {
        "name": "text", "n": "numeric(20)", "total": "numeric(12, 2)",
        "loose": "numeric(30, 3)",
        "since": "timestamptz", "day": "date", "raw": "bytea", "f": "double precision",
    }  # fmt: skip
    assert target.rows("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == [(0,)]
    stats = stream.run()
    assert [(t.table, t.rows) for t in stats.tables] == [("totals", 3)]
    found = target.rows(
        "SELECT n, name, total, loose::text, to_char(day, 'YYYY-MM-DD'), encode(raw, 'hex')"
        " FROM totals ORDER BY n"
    )
    assert found == ROWS
    assert target.rows("SELECT since FROM totals WHERE n = 2") == [(None,)]
    report = stream.verify()
    assert report.ok and report.tables[0].source_rows == 3, report
    target.run("UPDATE totals SET f = 0.1000000001 WHERE name = 'Ann'")
    assert not stream.verify().ok


def test_into_mysql(shop: Shop, mysql9: Server, database: Any) -> None:
    target = End(mysql9, database(mysql9))
    stream = shop.stream(target, ("totals", JOIN))
    stream.run()
    found = target.rows(
        "SELECT n, name, total, CAST(loose AS CHAR), CAST(day AS CHAR), LOWER(HEX(raw))"
        " FROM totals ORDER BY n"
    )
    assert [(int(row[0]), *row[1:]) for row in found] == ROWS
    assert stream.verify().ok


def test_into_files(shop: Shop, tmp_path: Path) -> None:
    stream = shop.stream(str(tmp_path / "out"), ("totals", JOIN))
    stream.run()
    found = pq.read_table(next((tmp_path / "out").rglob("*.parquet"))).sort_by("n").to_pylist()
    assert [(int(r["n"]), r["name"], r["total"], str(r["loose"]), r["day"] and str(r["day"]),
             None if r["raw"] is None else r["raw"].hex()) for r in found] == ROWS  # fmt: skip
    assert stream.verify().ok


def test_decimals_are_keys_by_value(shop: Shop, target: End) -> None:
    query = "SELECT a.id, b.total FROM pg1.accounts a JOIN my1.{db}.orders b ON a.balance = b.total"
    shop.stream(target, ("q", query)).run()
    assert target.rows("SELECT id, total FROM q ORDER BY id") == [
        (1, Decimal("10.50")), (2, Decimal("20.00")),
    ]  # fmt: skip


def test_an_empty_result_is_a_table(shop: Shop, target: End) -> None:
    stream = shop.stream(target, ("none", JOIN + " WHERE a.name = 'nobody'"))
    assert stream.run().rows == 0
    assert target.rows("SELECT count(*) FROM none") == [(0,)]
    assert stream.verify().ok


def test_files_and_servers_together(shop: Shop, target: End) -> None:
    stream = shop.stream(
        target,
        ("labelled", "SELECT a.id, n.label FROM pg1.accounts a"
         " JOIN read_csv('lake://names.csv') n ON n.id = a.id"),
        ("labels", "SELECT label FROM lake.names WHERE id > 1"),
    )  # fmt: skip
    stream.run()
    assert target.rows("SELECT id, label FROM labelled ORDER BY id") == [(1, "first"), (3, "third")]
    assert target.rows("SELECT label FROM labels") == [("third",)]
    assert stream.verify().ok


def test_one_source_answers_alone(shop: Shop, target: End) -> None:
    """In its own SQL, and the table has no prefix."""
    stream = shop.stream(
        target,
        ("named", "SELECT name, since::date AS day FROM pg1.accounts ORDER BY id"),
        ("ored", "SELECT id, IFNULL(code, '-') AS code FROM my1.{db}.orders WHERE total > 1"),
        ("totals", JOIN),
    )
    assert stream.run().rows == 3 + 2 + 3
    assert target.rows("SELECT code FROM ored ORDER BY id") == [("",), ("K1",)]
    assert target.rows("SELECT count(*) FROM named") == [(3,)]
    assert stream.verify().ok


def test_beside_tables_of_the_connections(shop: Shop, target: End) -> None:
    stream = shop.stream(target, ("totals", JOIN), own={"my1": {"tables": [{"name": "orders"}]}})
    assert stream.run().rows == 4 + 3
    names = "SELECT tablename::text FROM pg_tables WHERE schemaname = 'public' ORDER BY 1"
    assert target.rows(names) == [("my1_orders",), ("totals",)]
    assert stream.verify().ok


def test_types_can_be_chosen(shop: Shop, target: End) -> None:
    document = shop.document(target, ("totals", JOIN))
    document["options"] = {"typeOverrides": [{"column": "totals.day", "type": "text"}]}
    stream = Stream.from_config(document)
    stream.run()
    assert target.rows("SELECT day FROM totals WHERE n > 3") == [("2024-01-31",)]
    assert stream.verify().ok


def test_the_schema_and_database_of_the_document(shop: Shop, target: End) -> None:
    shop.pg.run("CREATE SCHEMA other", "CREATE TABLE other.t (id int)",
                "INSERT INTO other.t VALUES (2)")  # fmt: skip
    query = "SELECT t.id, o.total FROM pg1.t t JOIN my1.orders o ON o.id = t.id"
    shop.stream(target, ("q", query), own={"pg1": {"schema": "other"}}).run()
    assert target.rows("SELECT id, total FROM q") == [(2, Decimal("20.00"))]


def test_findings_of_the_statement_are_in_the_plan(shop: Shop, target: End) -> None:
    query = "SELECT a.id FROM pg1.accounts a JOIN my1.{db}.orders b ON a.code = b.code"
    codes = [finding.code for finding in shop.stream(target, ("q", query)).plan().findings]
    assert "compared-by-bytes" in codes


def test_zero_dates_follow_the_policy(shop: Shop, target: End) -> None:
    shop.my.run("SET sql_mode = ''", "UPDATE orders SET day = '0000-00-00' WHERE id = 2")
    document = shop.document(target, ("totals", JOIN))
    Stream.from_config(document).run()
    assert target.rows("SELECT day FROM totals WHERE n = 2") == [(None,)]
    with pytest.raises(StreamsError) as caught:
        Stream.from_config(
            document | {"name": "strict", "options": {"zeroDates": "error"},
                        "target": {"connection": "null://"}}
        ).run()  # fmt: skip
    assert "day" in caught.value.message


def test_a_stored_config(shop: Shop, target: End) -> None:
    with Engine() as engine:
        ids = {}
        for alias, end in (("pg1", shop.pg), ("my1", shop.my), ("to", target)):
            server = end.server
            ids[alias] = engine.connections.create({
                "name": alias, "type": server.kind, "host": server.host, "port": server.port,
                "username": server.user, "password": server.password, "database": end.database,
            })["id"]  # fmt: skip
        config = engine.configs.create({
            "name": "joined", "mode": "convert",
            "source": {
                "connections": [{"alias": a, "connectionId": ids[a]} for a in ("pg1", "my1")],
                "queries": [{"name": "totals", "query": JOIN.replace("{db}", shop.my.database)}],
            },
            "target": {"id": ids["to"]},
        })  # fmt: skip
        run = engine.streams.start(config["id"])
        assert engine.streams.wait(run, timeout=SECONDS) == "FINISHED"
    assert target.rows("SELECT count(*) FROM totals") == [(3,)]


# Cut, and begun anew


def test_a_stopped_one_is_loaded_again(shop: Shop, target: End) -> None:
    big(shop.my, rows=20_000)
    big(shop.pg, "names", rows=20_000)
    query = ("q", "SELECT t.id, t.n, t.v, s.d FROM my1.{db}.t t JOIN pg1.names s ON s.id = t.id"
             " WHERE t.n < 900")  # fmt: skip
    first = shop.stream(target, query)
    with held(3000) as gate:
        first.start()
        gate.wait()
        first.stop()
        gate.open()
        assert first.wait(timeout=SECONDS) == "STOPPED"
    assert 0 < sums(target, "q")[0] < 18_000
    (run,) = records(target, "run")
    run = json.loads(run) if isinstance(run, str) else run
    assert run["position"]["system"] == "queries" and set(run["position"]["server"]) == {
        "my1", "pg1",
    }  # fmt: skip
    second = shop.stream(target, query)
    stats = second.run()
    assert "reloaded" in {finding.code for finding in stats.findings}
    shop.my.run("CREATE TABLE q AS SELECT * FROM t WHERE n < 900")
    assert sums(shop.my, "q") == sums(target, "q")


def test_a_forced_stop_leaves_nothing_running(shop: Shop, target: End) -> None:
    big(shop.my, rows=20_000)
    query = "SELECT t.id, a.name FROM my1.{db}.t t LEFT JOIN pg1.accounts a ON a.id = t.n"
    stream = shop.stream(target, ("q", query))
    with held(2000) as gate:
        stream.start()
        gate.wait()
        stream.stop(force=True)
        gate.open()
        assert stream.wait(timeout=SECONDS) == "STOPPED"
    assert shop.stream(target, ("q", query)).run().rows == 20_000


def test_a_limit_of_rows_is_exact(shop: Shop, target: End) -> None:
    big(shop.my, rows=2000)
    query = "SELECT t.id, a.name FROM my1.{db}.t t LEFT JOIN pg1.accounts a ON a.id = t.n"
    document = shop.document(target, ("q", query))
    stream = Stream.from_config(document | {"limits": {"numberOfEvents": 700}})
    stream.start()
    assert stream.wait(timeout=SECONDS) == "EVENT_LIMIT_REACHED"
    assert target.rows("SELECT count(*) FROM q") == [(700,)]


# What is refused

PATH = "$.source.queries[0].query"


@pytest.mark.parametrize(
    "query",
    [
        "SELECT 1 FROM nobody.public.t x JOIN my1.{db}.orders o ON o.id = x.id",
        "DELETE FROM my1.{db}.orders",
        "SELECT * FROM read_csv('/etc/passwd')",
    ],
)
def test_a_statement_is_refused_by_its_path(shop: Shop, query: str) -> None:
    with pytest.raises(QueryRefused) as caught:
        shop.stream("null://", ("q", query))
    assert caught.value.details["path"] == PATH and caught.value.message.startswith(PATH)
    assert caught.value.remedy


RUNS: Sequence[tuple[str, str, str]] = [
    ("SELECT a.nothing FROM pg1.accounts a JOIN my1.{db}.orders b ON a.id = b.id", "QUERY_REFUSED",
     "nothing"),
    ("SELECT 1 AS x FROM pg1.absent a JOIN my1.{db}.orders b ON a.id = b.id", "NOT_FOUND",
     "absent"),
    ("SELECT a.id, b.id FROM pg1.accounts a JOIN my1.{db}.orders b ON a.id = b.id",
     "QUERY_REFUSED", "'id'"),
    ("SELECT [a.id] AS list FROM pg1.accounts a JOIN my1.{db}.orders b ON a.id = b.id",
     "UNSUPPORTED_TYPE", "'list'"),
]  # fmt: skip


@pytest.mark.parametrize("query, code, name", RUNS)
def test_what_only_the_sources_can_refuse(
    shop: Shop, target: End, query: str, code: str, name: str
) -> None:
    with pytest.raises(StreamsError) as caught:
        shop.stream(target, ("q", query)).plan()
    assert caught.value.code == code and name in caught.value.message
    assert caught.value.details["path"] == PATH
    with pytest.raises(StreamsError):
        shop.stream(target, ("q", query)).run()
    assert target.rows("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == [(0,)]


def test_an_error_on_the_way_fails_the_stream(shop: Shop, target: End) -> None:
    query = "SELECT CAST(a.name AS INTEGER) AS n FROM pg1.accounts a JOIN my1.{db}.orders b ON true"
    with pytest.raises(StreamsError) as caught:
        shop.stream(target, ("q", query)).run()
    assert caught.value.code == "QUERY_FAILED" and caught.value.details["path"] == PATH
    assert "Ann" not in str(caught.value)


def test_a_cdc_refuses_them(shop: Shop) -> None:
    document = shop.document("null://", ("totals", JOIN)) | {"mode": "cdc"}
    with pytest.raises(ConfigError) as caught:
        Stream.from_config(document)
    assert caught.value.path == "$.source.queries"


def test_a_connection_without_an_alias_is_refused(shop: Shop) -> None:
    document = shop.document("null://", ("q", "SELECT id FROM accounts"))
    document["source"]["connections"] = [{"connection": shop.pg.url}]
    with pytest.raises(ConfigError) as caught:
        Stream.from_config(document)
    assert caught.value.path == "$.source.connections[0].alias"


def test_dates_as_texts_are_refused(shop: Shop) -> None:
    document = shop.document("null://", ("totals", JOIN))
    with pytest.raises(ConfigError) as caught:
        Stream.from_config(document | {"options": {"zeroDates": "text"}})
    assert caught.value.path == "$.options.zeroDates"


def test_without_the_extra(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "duckdb", None)
    with pytest.raises(ConfigError) as caught:
        shop.stream("null://", ("totals", JOIN)).plan()
    assert "pip install 'streams-engine[query]'" in str(caught.value)
    assert caught.value.details["path"] == PATH
