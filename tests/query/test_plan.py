"""Plans of statements, without any server: what is pushed down, and what must not be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pytest

from streams_engine.config.connection import parse_connection
from streams_engine.errors import QueryRefused
from streams_engine.model import Column, Dialect, Filter, Index, IndexPart, TableId, TableSchema
from streams_engine.query.connections import QueryConnections
from streams_engine.query.plan import QueryPlan, planned
from streams_engine.query.source_names import NamedSource
from streams_engine.query.statement import ParsedStatement, read_statement
from streams_engine.schema.types.mysql import arrow_type as mysql_arrow
from streams_engine.schema.types.mysql import mysql_type
from streams_engine.schema.types.postgres import arrow_type as postgres_arrow
from streams_engine.schema.types.postgres import postgres_type

CONNECTIONS = {
    "pg1": "postgresql://me@db1/crm",
    "my1": "mysql://me@db2/sales",
    "lake": "/data/lake",
    "s3": "s3://bucket/pre?region=x",
}
MYSQL = {
    "orders": "id bigint unsigned, account_id int, total decimal(12,2), at datetime,"
    " name varchar(9), day date, price double, kind enum('a','b'), stamp timestamp",
    "items": "id int, order_id bigint, amount int",
}
POSTGRES = {
    "accounts": "id integer, name text, active boolean, since timestamptz, balance numeric(14,4),"
    " born date, country char(2), tag uuid, loose numeric",
    "regions": "code text, name text, id bigint",
}


def schema(dialect: Dialect, name: str, columns: str) -> TableSchema:
    found = []
    for text in (
        columns.replace("'a','b'", "'a';'b'")
        .replace("12,2", "12;2")
        .replace("14,4", "14;4")
        .split(",")
    ):
        title, kind = text.replace(";", ",").strip().split(" ", 1)
        mysql = dialect is Dialect.MYSQL
        native = mysql_type(kind) if mysql else postgres_type(kind)
        arrow = mysql_arrow(native) if mysql else postgres_arrow(native)
        textual = mysql and pa.types.is_string(arrow)
        found.append(Column(title, native, arrow, nullable=title != "id",
                            collation="utf8mb4_0900_ai_ci" if textual else None))  # fmt: skip
    key = Index("PRIMARY", (IndexPart("id"),), primary=True)
    place = "sales" if dialect is Dialect.MYSQL else "public"
    return TableSchema(TableId(place, name), dialect, tuple(found), key, estimated_rows=1000)


def places(*names: str) -> QueryConnections:
    chosen = {name: parse_connection(CONNECTIONS[name]) for name in names or CONNECTIONS}
    return QueryConnections(tuple(chosen), chosen.__getitem__, {})


def describe(wanted: Sequence[NamedSource]) -> Mapping[NamedSource, TableSchema]:
    def one(named: NamedSource) -> TableSchema:
        if named.path is not None:
            columns = (
                Column("id", _file("int64"), pa.int64()),
                Column("note", _file("string"), pa.string()),
            )
            return TableSchema(TableId("", "file"), Dialect.FILES, columns)
        if named.alias == "my1":
            return schema(Dialect.MYSQL, named.name, MYSQL[named.name])
        return schema(Dialect.POSTGRES, named.name, POSTGRES[named.name])

    return {named: one(named) for named in wanted}


def _file(name: str) -> Any:
    from streams_engine.model import NativeType

    return NativeType(Dialect.FILES, name, name)


@dataclass
class Seen:
    plan: QueryPlan

    def of(self, table: str) -> Any:
        (found,) = [ask for ask in self.plan.asks.values() if ask.named.name == table]
        return found

    def filters(self, table: str) -> list[tuple[str, str, Any]]:
        return [(f.column, f.operator, f.value) for f in self.of(table).filters]

    def columns(self, table: str) -> list[str]:
        return [column.name for column in self.of(table).wanted()]

    def narrowings(self) -> set[tuple[str, str]]:
        asks = self.plan.asks
        return {
            (f"{asks[n.by].named.name}.{n.by_column}", f"{asks[n.view].named.name}.{n.column}")
            for n in self.plan.narrowings
        }


def plan(sql: str, limit: int | None = None) -> Seen:
    statement = read_statement(sql, places())
    assert statement.native is None
    return Seen(planned(statement, describe, limit))


JOIN = "FROM pg1.public.accounts a JOIN my1.sales.orders b ON a.id = b.account_id"


def test_the_example_of_the_api() -> None:
    seen = plan(f"SELECT a.name, b.total {JOIN}")
    assert seen.columns("accounts") == ["id", "name"]
    assert seen.columns("orders") == ["account_id", "total"]
    assert seen.narrowings() == {
        ("accounts.id", "orders.account_id"), ("orders.account_id", "accounts.id"),
    }  # fmt: skip
    assert seen.plan.names == ("name", "total")


@pytest.mark.parametrize(
    ("where", "table", "filters"),
    [
        ("b.total > 5", "orders", [("total", ">", 5)]),
        ("5 < b.total", "orders", [("total", ">", 5)]),
        ("b.total > 5.5", "orders", [("total", ">=", "5.5")]),
        ("b.total <> 5.5", "orders", []),
        ("a.balance > 5.5", "accounts", [("balance", ">", "5.5")]),
        ("b.account_id IN (1, 2)", "orders", [("account_id", "IN", [1, 2])]),
        ("b.account_id NOT IN (1, 2)", "orders", [("account_id", "NOT IN", [1, 2])]),
        ("b.account_id IN (1, NULL)", "orders", []),
        ("b.account_id BETWEEN -1 AND 2", "orders", [("account_id", "BETWEEN", [-1, 2])]),
        ("(b.account_id = 1 AND b.name = 'x')", "orders",
         [("account_id", "=", 1), ("name", "=", "x")]),
        ("b.name = 'x'", "orders", [("name", "=", "x")]),
        ("b.name < 'x'", "orders", []),
        ("b.name <> 'x'", "orders", []),
        ("b.name LIKE 'x%'", "orders", [("name", "LIKE", "x%")]),
        ("b.name LIKE 'x\\%'", "orders", []),
        ("b.name ILIKE 'x%'", "orders", []),
        ("a.country LIKE 'x%'", "accounts", []),
        ("b.kind = 'a'", "orders", [("kind", "=", "a")]),
        ("a.tag = 'a'", "accounts", []),
        ("b.price > 1.5", "orders", [("price", ">=", "1.5")]),
        ("b.price > 1e3", "orders", []),
        ("a.active = true", "accounts", [("active", "=", True)]),
        ("b.day >= '2024-01-31'", "orders", [("day", ">=", "2024-01-31")]),
        ("b.day >= DATE '2024-01-31'", "orders", [("day", ">=", "2024-01-31")]),
        ("b.day >= '2024-01-31 10:00:00'", "orders", []),
        ("b.day >= '2024-02-31'", "orders", []),
        ("b.at >= '2024-01-31'", "orders", [("at", ">=", "2024-01-31 00:00:00")]),
        ("b.at >= TIMESTAMPTZ '2024-01-31 00:00:00+02'", "orders", []),
        ("a.since >= TIMESTAMPTZ '2024-01-31 00:00:00+02'", "accounts",
         [("since", ">=", "2024-01-30 22:00:00")]),
        ("b.stamp < '2024-01-31 00:00:00.5'", "orders", []),
        ("a.since < '2024-01-31 00:00:00.5'", "accounts",
         [("since", "<", "2024-01-31 00:00:00.500000")]),
        ("b.total IS NULL", "orders", [("total", "IS NULL", None)]),
        ("b.at IS NULL", "orders", []),
        ("b.at IS NOT NULL", "orders", [("at", "IS NOT NULL", None)]),
        ("b.total + 1 > 5", "orders", []),
        ("b.total > 5 OR a.id = 1", "orders", []),
        ("NOT b.total > 5", "orders", []),
        ("b.total > a.id", "orders", []),
        ("abs(b.total) > 5", "orders", []),
    ],
)  # fmt: skip
def test_what_a_source_can_narrow_down_itself(
    where: str, table: str, filters: list[tuple[str, str, Any]]
) -> None:
    found = plan(f"SELECT a.name {JOIN} WHERE {where}").filters(table)
    assert [(c, o, str(v) if not isinstance(v, (int, list, type(None), bool)) else v)
            for c, o, v in found] == filters  # fmt: skip


def outer(side: str, on: str = "", where: str = "") -> Seen:
    return plan(
        f"SELECT 1 FROM pg1.public.accounts a {side} JOIN my1.sales.orders b"
        f" ON a.id = b.account_id {on} {where}"
    )


@pytest.mark.parametrize(
    ("side", "on", "accounts", "orders"),
    [
        ("INNER", "AND a.id > 1 AND b.total > 2", 1, 1),
        ("LEFT", "AND a.id > 1 AND b.total > 2", 0, 1),
        ("RIGHT", "AND a.id > 1 AND b.total > 2", 0, 0),
        ("FULL", "AND a.id > 1 AND b.total > 2", 0, 0),
        ("SEMI", "AND a.id > 1 AND b.total > 2", 1, 1),
        ("ANTI", "AND a.id > 1 AND b.total > 2", 0, 1),
    ],
)
def test_conditions_of_a_join(side: str, on: str, accounts: int, orders: int) -> None:
    seen = outer(side, on)
    assert (len(seen.filters("accounts")), len(seen.filters("orders"))) == (accounts, orders)


@pytest.mark.parametrize(
    ("side", "orders_null", "accounts_null"),
    [("INNER", 1, 1), ("LEFT", 0, 1), ("RIGHT", 1, 0), ("FULL", 0, 0)],
)
def test_null_is_asked_for_only_where_no_join_makes_it(
    side: str, orders_null: int, accounts_null: int
) -> None:
    seen = outer(side, where="WHERE b.total IS NULL AND a.name IS NULL")
    assert len(seen.filters("orders")) == orders_null
    assert len(seen.filters("accounts")) == accounts_null
    both = outer(side, where="WHERE b.total > 1 AND a.id > 1")
    assert len(both.filters("orders")) == len(both.filters("accounts")) == 1


@pytest.mark.parametrize(
    ("side", "expected"),
    [
        ("INNER", {"orders", "accounts"}),
        ("LEFT", {"orders"}),
        ("RIGHT", {"accounts"}),
        ("FULL", set()),
        ("SEMI", {"orders", "accounts"}),
        ("ANTI", {"orders"}),
    ],
)
def test_whose_keys_may_narrow_whom(side: str, expected: set[str]) -> None:
    assert {rows.split(".")[0] for _, rows in outer(side).narrowings()} == expected


def test_an_odd_join_hands_nothing_on() -> None:
    seen = plan(
        "SELECT 1 FROM pg1.public.accounts a ASOF JOIN my1.sales.orders b"
        " ON a.id = b.account_id AND a.since >= b.stamp WHERE b.total > 1 AND a.id = 2"
    )
    assert seen.filters("orders") == seen.filters("accounts") == []
    assert seen.narrowings() == set()


def test_conditions_go_through_a_cte_that_is_used_once() -> None:
    once = plan(
        "WITH o AS (SELECT account_id, total AS t FROM my1.sales.orders)"
        " SELECT a.name, o.t FROM o JOIN pg1.public.accounts a ON a.id = o.account_id"
        " WHERE o.t > 7"
    )
    assert once.filters("orders") == [("total", ">", 7)]
    twice = plan(
        "WITH o AS (SELECT account_id, total AS t FROM my1.sales.orders)"
        " SELECT 1 FROM o JOIN o p ON o.t = p.t JOIN pg1.public.accounts a"
        " ON a.id = o.account_id WHERE o.t > 7"
    )
    assert twice.filters("orders") == []
    assert "MATERIALIZED" in twice.plan.sql
    gathered = plan(
        "SELECT 1 FROM (SELECT account_id, sum(total) AS t FROM my1.sales.orders"
        " WHERE total > 1 GROUP BY 1) o JOIN pg1.public.accounts a ON a.id = o.account_id"
        " WHERE o.t > 7 AND o.account_id > 3"
    )
    assert gathered.filters("orders") == [("total", ">", 1)]


def test_keys_of_a_subquery() -> None:
    seen = plan(
        "SELECT total FROM my1.sales.orders WHERE account_id IN"
        " (SELECT id FROM pg1.public.accounts WHERE name = 'x')"
    )
    assert seen.narrowings() == {("accounts.id", "orders.account_id")}
    other = plan(
        "SELECT total FROM my1.sales.orders WHERE account_id NOT IN"
        " (SELECT id FROM pg1.public.accounts WHERE name = 'x')"
    )
    assert other.narrowings() == set()


def test_columns_where_stars_are() -> None:
    seen = plan(f"SELECT b.* {JOIN}")
    assert len(seen.columns("orders")) == 9
    assert seen.columns("accounts") == ["id"]
    assert len(plan(f"SELECT * {JOIN}").columns("accounts")) == 9
    assert plan(f"SELECT count(*) {JOIN}").columns("accounts") == ["id"]
    cross = plan("SELECT count(*) FROM pg1.public.accounts, my1.sales.items")
    assert cross.columns("accounts") == ["id"] and cross.columns("items") == ["id"]
    using = plan("SELECT id, amount FROM pg1.public.accounts JOIN my1.sales.items USING (id)")
    assert using.columns("accounts") == ["id"]
    assert using.plan.names == ("id", "amount")


def test_a_limit_goes_to_a_source_that_keeps_exactly_its_rows() -> None:
    union = " UNION ALL SELECT 1 FROM pg1.public.regions"

    def limit(inner: str) -> int | None:
        found: int | None = plan(f"SELECT * FROM ({inner}) x{union}").of("orders").limit
        return found

    assert limit("SELECT id FROM my1.sales.orders LIMIT 5 OFFSET 2") == 7
    assert limit("SELECT id FROM my1.sales.orders WHERE account_id > 2 LIMIT 5") == 5
    assert limit("SELECT id FROM my1.sales.orders ORDER BY id LIMIT 5") == 5
    assert limit("SELECT id FROM my1.sales.orders ORDER BY total LIMIT 5") is None  # NULLs
    assert limit("SELECT id FROM my1.sales.orders ORDER BY name LIMIT 5") is None
    assert limit("SELECT id FROM my1.sales.orders WHERE name = 'x' LIMIT 5") is None
    assert limit("SELECT id FROM my1.sales.orders WHERE total > 1.5 LIMIT 5") is None
    assert limit("SELECT DISTINCT id FROM my1.sales.orders LIMIT 5") is None
    assert limit("SELECT count(*) AS id FROM my1.sales.orders LIMIT 5") is None
    assert plan(f"SELECT 1 {JOIN} LIMIT 5").of("orders").limit is None


def test_the_row_limit_of_the_caller() -> None:
    assert plan(f"SELECT 1 {JOIN}", 10).plan.sql.endswith("LIMIT 10")
    assert plan(f"SELECT 1 {JOIN} LIMIT 3", 10).plan.sql.endswith("LIMIT 3")


def test_names_of_the_result_are_as_written() -> None:
    seen = plan(f'SELECT a.Name AS FullName, b.TOTAL, 1 AS "x Y", b.id, a.id {JOIN}')
    assert seen.plan.names == ("FullName", "TOTAL", "x Y", "id", "id")
    assert plan(f"SELECT count(*), max(b.total) AS M, 1 + 1 {JOIN}").plan.names == (
        "count", "M", "_col_2",
    )  # fmt: skip


def test_the_same_table_twice_is_asked_twice() -> None:
    found = plan(
        "SELECT 1 FROM my1.sales.orders a JOIN my1.sales.orders b ON a.id = b.account_id"
        " JOIN pg1.public.accounts c ON c.id = a.id WHERE a.total > 1"
    ).plan.asks
    assert [len(ask.filters) for ask in found.values()] == [1, 0, 0]


def test_columns_by_full_names() -> None:
    seen = plan(
        "SELECT pg1.public.accounts.name, orders.total FROM pg1.public.accounts"
        " JOIN my1.sales.orders ON public.accounts.id = orders.account_id"
    )
    assert seen.columns("accounts") == ["id", "name"]


def test_files_are_found_in_their_folders() -> None:
    def path(written: str) -> str:
        (named,) = [
            n for _, n in read_statement(
                f"SELECT 1 FROM {written} f JOIN pg1.public.accounts a ON a.id = f.id", places()
            ).tables if n.path is not None
        ]  # fmt: skip
        return str(named)

    assert path("read_parquet('lake://in/x.parquet')") == "lake://in/x.parquet"
    assert path("read_csv('/data/lake/in/x.csv')") == "lake://in/x.csv"
    assert path("read_json('x.jsonl')") == "lake://x.jsonl"
    assert path("read_csv('s3://bucket/pre/in/x.csv')") == "s3://bucket/in/x.csv"


@pytest.mark.parametrize(
    "written",
    [
        "read_csv('/etc/passwd')", "read_csv('/data/lake/../secret')", "read_csv('lake2://x')",
        "read_csv('s3://other/pre/x.csv')", "read_csv('s3://bucket/prefix/x.csv')",
        "read_csv('s3://bucket/other/x.csv')", "read_csv(['a', 'b'])", "read_csv('pg1://x')",
        "read_text('/etc/passwd')", "read_blob('x')", "glob('*')", "'/etc/passwd'",
        "duckdb_settings()", "pragma_version()", "information_schema.tables", "duckdb_secrets()",
        "query('SELECT 1')", "query_table('t')", "parquet_metadata('x')", "sniff_csv('x')",
        "postgres_scan('x', 'y', 'z')", "no_such_table", "nowhere.public.t",
    ],
)  # fmt: skip
def test_what_reads_elsewhere_is_refused(written: str) -> None:
    with pytest.raises(QueryRefused):
        plan(f"SELECT 1 FROM {written}, {JOIN.removeprefix('FROM ')}")


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM my1.sales.orders", "INSERT INTO my1.sales.orders VALUES (1)",
        "UPDATE my1.sales.orders SET id = 1", "DROP TABLE my1.sales.orders", "SELECT 1; SELECT 2",
        "COPY my1.sales.orders TO '/tmp/x'", "ATTACH 'x'", "PRAGMA x", "SET x = 1",
        "INSTALL httpfs",
        "LOAD httpfs", "CREATE TABLE t AS SELECT 1", "CALL x()", "EXPLAIN SELECT 1", "",
        "WITH x AS (DELETE FROM my1.sales.orders RETURNING *) SELECT * FROM x",
        f"SELECT getenv('HOME') {JOIN}", f"SELECT current_setting('x') {JOIN}",
        f"SELECT (SELECT content FROM read_text('/etc/passwd')) {JOIN}",
        f"SELECT 1 {JOIN} FOR UPDATE", f"SELECT 1 INTO x {JOIN}", f"SELECT $1 {JOIN}",
        f"SELECT nextval('x') {JOIN}", f"SELECT write_log('x') {JOIN}",
        "SELECT * FROM (SHOW TABLES)", "SELECT * FROM (DESCRIBE my1.sales.orders)",
        "SUMMARIZE my1.sales.orders", "VACUUM", "EXPORT DATABASE 'x'", "not even SQL",
    ],
)  # fmt: skip
def test_anything_but_a_select_is_refused(sql: str, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(QueryRefused) as caught:
        plan(sql)
    assert caught.value.code == "QUERY_REFUSED"
    assert not caplog.text


def test_a_refusal_says_where() -> None:
    with pytest.raises(QueryRefused) as caught:
        plan("SELECT 1\nFROM nowhere.x.y JOIN my1.sales.orders ON true")
    assert "nowhere" in caught.value.message
    with pytest.raises(QueryRefused) as caught:
        plan("SELECT 1\nFROM my1.sales.orders JOIN bare ON true")
    assert (caught.value.details["line"], caught.value.details["column"]) == (2, 28)


@pytest.mark.parametrize(
    "condition", ["a.name = b.account_id", "a.tag = b.id", "b.at = a.name", "a.name > b.total"]
)
def test_a_text_is_not_compared_with_a_number_in_silence(condition: str) -> None:
    with pytest.raises(QueryRefused, match="A text is compared"):
        plan(f"SELECT 1 FROM pg1.public.accounts a JOIN my1.sales.orders b ON {condition}")
    left, right = condition.replace(">", "=").split(" = ")
    plan(
        f"SELECT 1 FROM pg1.public.accounts a JOIN my1.sales.orders b"
        f" ON CAST({left} AS VARCHAR) = CAST({right} AS VARCHAR)"
    )


def test_a_column_that_is_not_there() -> None:
    with pytest.raises(QueryRefused, match="nothing"):
        plan(f"SELECT a.nothing {JOIN}")
    with pytest.raises(QueryRefused, match="in none of the tables, or in several"):
        plan(f"SELECT id {JOIN}")


def test_collations_are_told_of() -> None:
    seen = plan("SELECT 1 FROM pg1.public.accounts a JOIN my1.sales.orders b ON a.name = b.name")
    (finding,) = seen.plan.findings
    assert finding.code == "compared-by-bytes" and finding.object == "my1.sales.orders.name"
    assert not plan(f"SELECT b.name {JOIN}").plan.findings


def native(sql: str, *names: str) -> ParsedStatement:
    found = read_statement(sql, places(*names))
    assert found.native is not None
    return found


def test_one_source_answers_in_its_own_sql() -> None:
    one = native('SELECT o.`id` FROM my1.sales.`orders` o WHERE o.name = "x" # why')
    assert one.text == 'SELECT o.`id` FROM sales.`orders` o WHERE o.name = "x"'
    two = native("SELECT pg1.public.accounts.id::text FROM pg1.public.accounts, PG1.regions")
    assert two.text == "SELECT public.accounts.id::text FROM public.accounts, regions"
    assert native('SELECT * FROM "pg1"."public"."Odd"').text == 'SELECT * FROM "public"."Odd"'
    alone = native("SELECT id FROM orders", "my1")
    assert alone.text == "SELECT id FROM orders"
    assert native("SELECT id FROM my1.sales.orders", "my1").text == "SELECT id FROM sales.orders"


def test_a_recursion_reads_its_tables_again() -> None:
    seen = plan(
        "WITH RECURSIVE t AS (SELECT id FROM pg1.public.accounts WHERE id = 1 UNION ALL"
        " SELECT o.account_id FROM t JOIN my1.sales.orders o ON o.id = t.id) SELECT * FROM t"
    )
    assert len(seen.plan.again) == 2


def test_a_filter_is_given_once() -> None:
    seen = plan(f"SELECT 1 {JOIN} WHERE b.total > 5 AND b.total > 5")
    assert seen.of("orders").filters == [Filter("total", ">", 5)]
