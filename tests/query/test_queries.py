"""How queries run: what is asked, limits, timeouts seen on the servers, refusals, results."""

from __future__ import annotations

import contextlib
import datetime
import json
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from streams_engine import Engine
from streams_engine.errors import (
    ConfigError,
    ConnectionFailed,
    NotFound,
    QueryFailed,
    QueryRefused,
    QueryStopped,
    QueryTimeout,
    RowRejected,
    StreamsError,
)
from tests.support.polling import until
from tests.support.spread import Spread

ROWS = 20_000
SECONDS = 30
JOIN = "{pg1.accounts} a JOIN {my1.orders} b ON b.account_id = a.id"


@pytest.fixture(scope="module")
def big(shop: Spread) -> Spread:
    """A thousand accounts, and twenty orders of each."""
    shop.ends["pg1"].run(
        "CREATE TABLE accounts (id int PRIMARY KEY, name text, segment int, loose numeric)",
        f"INSERT INTO accounts SELECT i, 'name ' || i, i % 100, i / 4.0"
        f" FROM generate_series(1, {ROWS // 20}) i",
        "ANALYZE accounts",
        "CREATE VIEW few AS SELECT id, name FROM accounts WHERE id < 10",
        "CREATE TABLE odd (id int, at timestamp, n numeric)",
        "INSERT INTO odd VALUES (1, 'infinity', 1), (2, NULL, 'NaN')",
    )
    shop.ends["my1"].run(
        "SET SESSION cte_max_recursion_depth = 100000",
        "CREATE TABLE orders (id int PRIMARY KEY, account_id int, total decimal(40,2), day date)",
        f"INSERT INTO orders WITH RECURSIVE s(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM s"
        f" WHERE i < {ROWS}) SELECT i, 1 + i % {ROWS // 20}, i / 100, '2024-01-01' FROM s",
        "ANALYZE TABLE orders",
        "SET SESSION sql_mode = ''",
        "CREATE TABLE zero (id int, day date, at datetime)",
        "INSERT INTO zero VALUES (1, '0000-00-00', '2024-02-30 00:00:00'),"
        " (2, '2024-01-31', '2024-01-31 10:00:00')",
    )
    return shop


def asked(result: Any) -> dict[str, int]:
    return {one["source"].split(".")[-1]: one["rows"] for one in result.asked}


def test_keys_of_the_small_side_narrow_the_other_down(big: Spread) -> None:
    with big.query(f"SELECT a.name, b.total FROM {JOIN} WHERE a.segment = 7") as result:
        table = result.table()
    assert asked(result) == {"accounts": 10, "orders": 200}
    assert table.num_rows == 200
    assert " IN (" in result.asked[1]["sql"]
    assert [one["connection"] for one in result.asked] == ["pg1", "my1"]


def test_filters_and_columns_are_the_sources_own_work(big: Spread) -> None:
    sql = f"SELECT a.name FROM {JOIN} WHERE b.id <= 100 AND a.segment < 50"
    explained = big.queries.explain(big.filled(sql))
    accounts, orders = explained["sources"]
    assert accounts["columns"] == ["id", "name", "segment"]
    assert orders["columns"] == ["id", "account_id"]
    assert accounts["sql"].endswith('FROM ONLY "public"."accounts" AS q WHERE "segment" < 50')
    assert orders["sql"].endswith("AS q WHERE `id` <= 100")
    assert orders["narrowedBy"][0]["keysOf"].endswith("accounts.id")
    assert "source_0" in explained["statement"]
    with big.query(sql) as result:
        assert result.table().num_rows == 50
    assert asked(result) == {"accounts": 500, "orders": 50}


def test_no_keys_where_they_would_be_too_many(big: Spread) -> None:
    sql = "SELECT count(*) AS n FROM {my1.orders} x JOIN {my1.orders} y ON x.id = y.id"
    with big.query(f"{sql} JOIN {{pg1.accounts}} a ON a.id = x.account_id") as result:
        assert result.table().to_pylist() == [{"n": ROWS}]
    assert not any(
        one["sql"].count(" IN (") for one in result.asked if "x" in one["source"].split(".")[-1]
    )


def test_a_limit_is_asked_of_the_source(big: Spread) -> None:
    sql = (
        "SELECT x.id, a.name FROM (SELECT id, account_id FROM {my1.orders} WHERE id > 5"
        " ORDER BY id LIMIT 3) x LEFT JOIN {pg1.accounts} a ON a.id = x.account_id"
    )
    with big.query(sql) as result:
        assert sorted(result.table()["id"].to_pylist()) == [6, 7, 8]
    assert asked(result)["orders"] == 3


def test_one_source_answers_alone(big: Spread) -> None:
    place = big.name("my1", "orders")
    with big.query(f"SELECT `id`, total + 1 AS t FROM {place} o ORDER BY o.id DESC LIMIT 2") as one:
        assert one.table().to_pylist() == [
            {"id": 20000, "t": Decimal("201.00")}, {"id": 19999, "t": Decimal("200.99")},
        ]  # fmt: skip
    assert one.asked[0]["sql"].startswith("SELECT `id`, total + 1 AS t FROM t")
    assert one.asked[0]["rows"] == 2
    with big.query("SELECT string_agg(name, ',' ORDER BY id) AS names FROM pg1.few") as other:
        assert other.table()["names"][0].as_py().startswith("name 1,name 2")
    with pytest.raises(QueryRefused, match="have the name 'id'"):
        big.query("SELECT a.id, a.id FROM {pg1.accounts} a")


@pytest.mark.parametrize("table", [("my1", "orders"), ("pg1", "accounts")])
def test_a_column_that_does_not_exist_is_refused_with_its_name(
    big: Spread, table: tuple[str, str]
) -> None:
    with pytest.raises(QueryRefused, match="nope") as caught:
        big.query(f"SELECT nope FROM {big.name(*table)}")
    assert caught.value.code == "QUERY_REFUSED"


@pytest.mark.parametrize("alias", ["my1", "my2", "pg1"])
def test_the_order_of_one_source_stays(big: Spread, alias: str) -> None:
    big.ends[alias].run("CREATE TABLE sorted (id int)", "INSERT INTO sorted VALUES (2), (3), (1)")
    name = big.name(alias, "sorted")
    with big.queries.query(f"SELECT id FROM {name} ORDER BY id DESC") as result:
        assert result.table()["id"].to_pylist() == [3, 2, 1]
    with big.queries.query(f"SELECT id FROM {name} ORDER BY id DESC", limit=2) as result:
        assert result.table()["id"].to_pylist() == [3, 2]
        assert result.status == "truncated"


def test_no_source_at_all(big: Spread) -> None:
    with big.query("SELECT 1 AS one, 7 / 2 AS half") as result:
        assert result.to_dict()["rows"] == [[1, 3]]
    assert result.asked == []


def test_views_are_sources_too(big: Spread) -> None:
    with big.query(
        "SELECT f.name, count(*) AS n FROM {pg1.few} f JOIN {my1.orders} b ON b.account_id = f.id"
        " WHERE f.id > 7 GROUP BY f.name ORDER BY f.name"
    ) as result:
        assert result.table().to_pylist() == [{"name": f"name {n}", "n": 20} for n in (8, 9)]
    assert asked(result) == {"few": 2, "orders": 40}


def test_zero_dates_are_null_as_in_a_snapshot(big: Spread) -> None:
    with big.query(
        "SELECT z.id, z.day, z.at FROM {my1.zero} z JOIN {pg1.accounts} a ON a.id = z.id"
        " WHERE z.day IS NULL OR z.day > '2000-01-01' ORDER BY z.id"
    ) as result:
        assert result.table().to_pylist() == [
            {"id": 1, "day": None, "at": None},
            {"id": 2, "day": datetime.date(2024, 1, 31),
             "at": datetime.datetime(2024, 1, 31, 10)},
        ]  # fmt: skip
    with big.query(
        "SELECT z.id FROM {my1.zero} z JOIN {pg1.accounts} a ON a.id = z.id WHERE z.day IS NULL"
    ) as result:
        assert result.table()["id"].to_pylist() == [1]


def test_values_that_no_arrow_type_holds_are_refused_by_name(big: Spread) -> None:
    for column, error in (("at", RowRejected), ("n", RowRejected)):
        sql = f"SELECT o.{column} FROM {{pg1.odd}} o JOIN {{my1.orders}} b ON b.id = o.id"
        with pytest.raises(error) as caught, big.query(sql) as result:
            result.table()
        assert f"odd.{column}" in caught.value.message
        assert "infinity" not in str(caught.value) and "NaN" not in str(caught.value)


def test_the_row_limit(big: Spread) -> None:
    sql = f"SELECT b.id FROM {JOIN}"
    with big.query(sql, limit=10) as result:
        found = result.to_dict()
    assert (found["count"], found["status"]) == (10, "truncated")
    with big.query(f"{sql} WHERE b.id <= 10", limit=10) as result:
        found = result.to_dict()
    assert (found["count"], found["status"]) == (10, "complete")
    with big.query(sql, limit=0) as result:
        assert result.table().num_rows == 0
    for wrong in ({"limit": -1}, {"timeout": 0}):
        with pytest.raises(ConfigError):
            big.query(sql, **wrong)


def test_a_result_as_a_document(big: Spread) -> None:
    with big.query(
        "SELECT a.id, a.name, b.total, b.day, TIMESTAMPTZ '2024-01-31 10:00:00+02' AS at,"
        " 9007199254740993 AS large, 1.5::double AS d, NULL AS nothing, true AS yes,"
        " 'ab'::blob AS bytes FROM {pg1.accounts} a JOIN {my1.orders} b ON a.id = b.id"
        " WHERE a.id = 4"
    ) as result:
        found = json.loads(json.dumps(result.to_dict()))
    assert found.pop("duration") > 0
    assert found == {
        "columns": ["id", "name", "total", "day", "at", "large", "d", "nothing", "yes", "bytes"],
        "rows": [[4, "name 4", "0.04", "2024-01-01", "2024-01-31T08:00:00+00:00",
                  "9007199254740993", 1.5, None, True, "YWI="]],
        "count": 1,
        "status": "complete",
    }  # fmt: skip


def test_rows_as_they_come(big: Spread) -> None:
    with big.query(f"SELECT b.id FROM {JOIN}") as result:
        reader = result.reader()
        assert isinstance(reader, pa.RecordBatchReader)
        assert result.status == "open"
        assert sum(batch.num_rows for batch in reader) == ROWS
        assert result.status == "complete"
        with pytest.raises(QueryStopped, match="have been read"):
            result.reader()


def test_nothing_stays_open_after_a_close(big: Spread) -> None:
    for sql in (f"SELECT b.id FROM {JOIN}", "SELECT * FROM {my1.orders}"):
        result = big.query(sql)
        next(iter(result.reader()))
        result.close()
        result.close()
    assert running(big) == []


def test_a_failure_in_the_middle_is_told_and_frees_everything(big: Spread) -> None:
    with pytest.raises(QueryFailed) as caught:
        big.query(f"SELECT CAST(a.name AS date) AS x FROM {JOIN}").table()
    assert "name 1" not in str(caught.value)
    with pytest.raises(NotFound):
        big.query("SELECT 1 FROM {pg1.accounts} a JOIN {my1.nothing} b ON a.id = b.id")
    assert running(big) == []


SLOW = {
    "MySQL": "SELECT sleep(100) AS s FROM {my1.orders} LIMIT 1",
    "PostgreSQL": "SELECT pg_sleep(100)::text AS s FROM {pg1.accounts} LIMIT 1",
}


def running(big: Spread) -> list[str]:
    """Statements that are at work on the servers, other than this one."""
    found = []
    for alias in ("pg1", "my1"):
        end = big.ends[alias]
        if end.server.kind == "postgresql":
            query = ("SELECT query FROM pg_stat_activity WHERE application_name = 'streams_engine'"
                     " AND state <> 'idle' AND datname = current_database()")  # fmt: skip
        else:
            query = ("SELECT info FROM information_schema.processlist WHERE info IS NOT NULL"
                     f" AND db = '{end.database}' AND id <> connection_id()")  # fmt: skip
        found += [str(row[0]) for row in end.rows(query)]
    return found


@pytest.mark.parametrize("kind", SLOW)
def test_a_timeout_ends_the_statement_on_its_server(big: Spread, kind: str) -> None:
    begun = time.monotonic()
    with pytest.raises(QueryTimeout) as caught:
        big.query(SLOW[kind], timeout=1.5).table()
    assert time.monotonic() - begun < SECONDS
    assert caught.value.code == "QUERY_TIMEOUT"
    until(lambda: not any("sleep" in text for text in running(big)))


@pytest.mark.parametrize("kind", SLOW)
def test_cancelling_ends_the_statement_on_its_server(big: Spread, kind: str) -> None:
    result = big.query(SLOW[kind])
    raised: list[StreamsError] = []

    def read() -> None:
        try:
            result.table()
        except StreamsError as error:
            raised.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    until(lambda: any("sleep" in text for text in running(big)))
    result.cancel()
    reader.join(SECONDS)
    assert [type(error) for error in raised] == [QueryStopped]
    until(lambda: not any("sleep" in text for text in running(big)))
    assert result.status == "failed"


def test_a_timeout_ends_a_join(big: Spread) -> None:
    """Every order with every order: DuckDB would be at it for minutes."""
    sql = (
        "SELECT count(*) AS n FROM {my1.orders} a, {my1.orders} b, {pg1.accounts} c"
        " WHERE sqrt(a.id * b.id + c.id) > 1e9"
    )
    begun = time.monotonic()
    with pytest.raises(QueryTimeout):
        big.query(sql, timeout=2).table()
    assert time.monotonic() - begun < SECONDS
    until(lambda: running(big) == [])


def test_a_server_that_is_away(big: Spread) -> None:
    from streams_engine.config.connection import parse_connection
    from streams_engine.query import Queries, QueryConnections

    gone = parse_connection("mysql://root:s3cret@127.0.0.1:1/x")
    known = {"pg1": big.places.parsed("pg1"), "my1": gone}
    queries = Queries(QueryConnections(tuple(known), known.__getitem__, {}))
    with pytest.raises(ConnectionFailed) as caught:
        queries.query(big.filled(f"SELECT 1 AS x FROM {JOIN}"))
    assert "s3cret" not in str(caught.value.to_dict())


@contextlib.contextmanager
def engine_of(big: Spread) -> Iterator[Engine]:
    with Engine() as engine:
        for alias in ("pg1", "my1"):
            server, name = big.ends[alias].server, big.ends[alias].database
            engine.connections.create({
                "name": f"{alias} stored", "type": server.kind, "host": server.host,
                "port": server.port, "username": server.user, "password": server.password,
                "database": name,
            })  # fmt: skip
        yield engine


def test_an_engine_queries_its_connections(big: Spread) -> None:
    aliases = {"pg1": "pg1 stored", "my1": "my1 stored"}
    sql = big.filled(f"SELECT count(*) AS n FROM {JOIN}")
    with engine_of(big) as engine:
        assert engine.query(sql, aliases).table()["n"].to_pylist() == [ROWS]
        assert len(engine.explain(sql, aliases)["sources"]) == 2
        quoted = sql.replace("pg1.", '"pg1 stored".').replace("my1.", '"my1 stored".')
        assert engine.query(quoted).table()["n"].to_pylist() == [ROWS]
        with pytest.raises(QueryRefused, match="not a connection of this query"):
            engine.query(sql)
        with pytest.raises(NotFound):
            engine.query(sql, {"pg1": "nowhere", "my1": "my1 stored"})
        bare = "SELECT count(*) AS n FROM accounts"
        with closing(engine.query(bare, {"pg1": "pg1 stored"})) as alone:
            assert alone.table()["n"].to_pylist() == [ROWS // 20]
