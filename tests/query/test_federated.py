"""Queries over several sources give the rows that one PostgreSQL with all tables gives."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support.spread import Spread

ACCOUNTS = (
    "id integer PRIMARY KEY, name text, country char(3), since timestamptz, day date,"
    " balance numeric(20,6), loose numeric, code varchar(20)"
)
ACCOUNT_ROWS = [
    "(1, 'Ann', 'de', '2024-01-31 23:30:00+00', '2024-01-31', 10.500000, 1.50, 'k1')",
    "(2, 'Bob', 'at', '2024-06-01 00:00:00+02', '2024-06-01', 20, 100000, 'K1')",
    "(3, 'Cy', 'de', NULL, NULL, NULL, NULL, NULL)",
    "(4, 'Dé', 'fr', '2024-12-31 23:59:59.999999+00', '2024-12-31', -0.000001, -7.25, 'k2 ')",
    "(5, 'ann', NULL, '1999-01-01 00:00:00+00', '1999-01-01', 99999999999999.999999, 0, '')",
]
MYSQL_ORDERS = (
    "id bigint unsigned PRIMARY KEY, account_id int, total decimal(12,2), placed timestamp(6) NULL,"
    " made datetime NULL, code varchar(20), day date, price double"
)
PG_ORDERS = (
    "id numeric(20) PRIMARY KEY, account_id int, total numeric(12,2), placed timestamptz,"
    " made timestamp, code varchar(20), day date, price float8"
)
ORDER_ROWS = [
    "(18446744073709551615, 1, 10.50, '2024-01-31 23:30:00', '2024-01-31 10:00:00', 'K1',"
    " '2024-01-31', 0.1)",
    "(2, 1, 1.50, '2024-05-31 22:00:00', NULL, 'k1', '2024-06-01', 1.5)",
    "(3, 2, 20.00, NULL, '2024-02-29 00:00:00', 'k2', NULL, NULL)",
    "(4, 3, NULL, '2024-12-31 23:59:59.999999', NULL, NULL, '2024-12-31', -1)",
    "(5, NULL, 100000.00, NULL, NULL, 'k3', '1999-01-01', 1e300)",
    "(6, 9, -7.25, NULL, NULL, '', NULL, 0)",
]
ITEMS = "id integer PRIMARY KEY, order_id bigint, amount int, parent int"
ITEM_ROWS = [f"({n}, {2 + n % 5}, {n * 3 % 7}, {'NULL' if n % 4 == 0 else n // 2})"
             for n in range(1, 25)]  # fmt: skip
RATES = "country varchar(3), rate decimal(8,5)"
RATE_ROWS = ["('de', 1.19000)", "('at', 1.20000)", "('DE', 9)", "(NULL, 5)"]


@pytest.fixture(scope="module")
def filled(shop: Spread) -> Spread:
    put(shop, "pg1", "accounts", ACCOUNTS, ACCOUNTS, ACCOUNT_ROWS)
    put(shop, "my1", "orders", MYSQL_ORDERS, PG_ORDERS, ORDER_ROWS)
    put(shop, "my2", "items", ITEMS, ITEMS, ITEM_ROWS)
    put(shop, "pg2", "rates", RATES, RATES, RATE_ROWS)
    countries = pa.table(
        {"code": ["de", "fr", None], "population": pa.array([84, 68, 1], pa.int64())}
    )
    pq.write_table(countries, shop.folder / "countries.parquet")
    (shop.folder / "regions.csv").write_text("code,region\nde,centre\nfr,west\nat,centre\n")
    shop.one.run(
        "CREATE TABLE lake_countries (code text, population int8)",
        "INSERT INTO lake_countries VALUES ('de', 84), ('fr', 68), (NULL, 1)",
        "CREATE TABLE lake_regions (code text, region text)",
        "INSERT INTO lake_regions VALUES ('de', 'centre'), ('fr', 'west'), ('at', 'centre')",
    )
    return shop


def put(shop: Spread, alias: str, table: str, columns: str, in_one: str, rows: list[str]) -> None:
    """A table in its own place, and in the one database."""
    end = shop.ends[alias]
    utc = (
        ["SET time_zone = '+00:00'"]
        if end.server.kind != "postgresql"
        else ["SET TimeZone = 'UTC'"]
    )
    end.run(*utc, f"CREATE TABLE {table} ({columns})",
            f"INSERT INTO {table} VALUES {', '.join(rows)}")  # fmt: skip
    shop.one.run("SET TimeZone = 'UTC'", f"CREATE TABLE {alias}_{table} ({in_one})",
                 f"INSERT INTO {alias}_{table} VALUES {', '.join(rows)}")  # fmt: skip


CASES = {
    "the example": "SELECT a.name, b.total FROM {pg1.accounts} a JOIN {my1.orders} b"
    " ON a.id = b.account_id",
    "decimals of other scales as keys": "SELECT a.name, b.id FROM {pg1.accounts} a"
    " JOIN {my1.orders} b ON a.balance = b.total",
    "a numeric without precision as key": "SELECT a.name, b.id, a.loose FROM {pg1.accounts} a"
    " JOIN {my1.orders} b ON a.loose = b.total",
    "texts by their bytes": "SELECT a.name, b.id FROM {pg1.accounts} a JOIN {my1.orders} b"
    " ON a.code = b.code WHERE b.code <> 'k3'",
    "texts without case": "SELECT a.name, b.id FROM {pg1.accounts} a JOIN {my1.orders} b"
    " ON lower(a.code) = lower(b.code)",
    "padded texts": "SELECT a.name, r.rate FROM {pg1.accounts} a JOIN {pg2.rates} r"
    " ON a.country = r.country",
    "NULL is equal to nothing": "SELECT a.name, b.id FROM {pg1.accounts} a FULL JOIN {my1.orders} b"
    " ON a.id = b.account_id AND a.name IS NOT NULL",
    "NULL is not distinct from NULL": "SELECT a.id, b.id AS other FROM {pg1.accounts} a"
    " JOIN {my1.orders} b ON a.code IS NOT DISTINCT FROM b.code",
    "instants": "SELECT a.name, b.id, a.since, b.placed FROM {pg1.accounts} a JOIN {my1.orders} b"
    " ON a.since = b.placed WHERE b.placed >= TIMESTAMPTZ '2024-06-01 00:00:00+02'",
    "dates": "SELECT a.name, b.id FROM {pg1.accounts} a JOIN {my1.orders} b ON a.day = b.day"
    " WHERE a.day > '2000-01-01' AND b.day <= DATE '2024-12-31'",
    "common table expressions": "WITH big AS (SELECT account_id, sum(total) AS t FROM {my1.orders}"
    " GROUP BY account_id), named AS (SELECT id, name FROM {pg1.accounts} WHERE id < 5)"
    " SELECT n.name, b.t FROM big b JOIN named n ON n.id = b.account_id WHERE b.t > 1",
    "a CTE twice": "WITH o AS (SELECT account_id, total FROM {my1.orders}) SELECT x.total, y.total"
    " AS other, a.name FROM o x JOIN o y ON x.account_id = y.account_id"
    " JOIN {pg1.accounts} a ON a.id = x.account_id WHERE x.total > 5",
    "three sources": "SELECT a.name, sum(i.amount) AS n FROM {pg1.accounts} a JOIN {my1.orders} b"
    " ON b.account_id = a.id JOIN {my2.items} i ON i.order_id = b.id GROUP BY a.name",
    "four sources and a file": "SELECT a.name, r.rate, c.population, i.amount"
    " FROM {pg1.accounts} a JOIN {pg2.rates} r ON r.country = a.country"
    " JOIN {lake.countries} c ON c.code = a.country LEFT JOIN {my1.orders} b ON b.account_id = a.id"
    " LEFT JOIN {my2.items} i ON i.order_id = b.id WHERE a.id < 9",
    "a CSV file": "SELECT a.name, r.region FROM {pg1.accounts} a LEFT JOIN {lake.regions} r"
    " ON r.code = a.country",
    "a subquery": "SELECT b.id FROM {my1.orders} b WHERE b.account_id IN (SELECT a.id FROM"
    " {pg1.accounts} a WHERE a.country = 'de')",
    "none of a subquery": "SELECT b.id FROM {my1.orders} b WHERE b.account_id NOT IN (SELECT a.id"
    " FROM {pg1.accounts} a WHERE a.country = 'de')",
    "a correlated subquery": "SELECT a.name, (SELECT max(b.total) FROM {my1.orders} b"
    " WHERE b.account_id = a.id) AS most FROM {pg1.accounts} a",
    "what has none": "SELECT a.name FROM {pg1.accounts} a WHERE NOT EXISTS (SELECT 1 FROM"
    " {my1.orders} b WHERE b.account_id = a.id AND b.total > 5)",
    "aggregates": "SELECT a.country || '' AS c, count(*) AS n, count(b.total) AS m,"
    " min(b.total) AS low, max(b.placed) AS last, sum(b.total) AS t"
    " FROM {pg1.accounts} a LEFT JOIN {my1.orders} b"
    " ON b.account_id = a.id GROUP BY a.country HAVING count(*) > 1",
    "a self join across sources": "SELECT x.id, y.id AS other, a.name FROM {my2.items} x"
    " JOIN {my2.items} y ON y.parent = x.id JOIN {pg1.accounts} a ON a.id = x.amount",
    "a LEFT JOIN with a pushed filter": "SELECT a.name, b.total FROM {pg1.accounts} a"
    " LEFT JOIN {my1.orders} b ON b.account_id = a.id AND b.total > 5 AND b.price < 1",
    "a LEFT JOIN with a filter on its result": "SELECT a.name, b.total FROM {pg1.accounts} a"
    " LEFT JOIN {my1.orders} b ON b.account_id = a.id WHERE b.total >= 1.50",
    "an anti join": "SELECT a.name FROM {pg1.accounts} a LEFT JOIN {my1.orders} b"
    " ON b.account_id = a.id WHERE b.id IS NULL",
    "a RIGHT JOIN": "SELECT a.name, b.id FROM {pg1.accounts} a RIGHT JOIN {my1.orders} b"
    " ON b.account_id = a.id AND a.id = 1",
    "unsigned numbers of 64 bits": "SELECT b.id, a.name FROM {my1.orders} b JOIN {pg1.accounts} a"
    " ON a.id = b.account_id WHERE b.id > 9223372036854775807",
    "a union": "SELECT name AS x FROM {pg1.accounts} UNION SELECT code FROM {my1.orders}",
    "an intersection": "SELECT id FROM {pg1.accounts} INTERSECT"
    " SELECT account_id FROM {my1.orders}",
    "windows": "SELECT a.name, b.total, rank() OVER (PARTITION BY a.id ORDER BY b.total) AS r"
    " FROM {pg1.accounts} a JOIN {my1.orders} b ON a.id = b.account_id",
    "a recursion": "WITH RECURSIVE t AS (SELECT id, parent FROM {my2.items} WHERE id = 24 UNION ALL"
    " SELECT i.id, i.parent FROM t JOIN {my2.items} i ON i.id = t.parent)"
    " SELECT t.id, a.name FROM t LEFT JOIN {pg1.accounts} a ON a.id = t.id",
    "the first rows": "SELECT a.name, x.total FROM (SELECT account_id, total FROM {my1.orders}"
    " ORDER BY id LIMIT 3) x JOIN {pg1.accounts} a ON a.id = x.account_id",
    "division of integers": "SELECT i.id / 5 AS q, i.amount % 2 AS r, a.id FROM {my2.items} i"
    " JOIN {pg1.accounts} a ON a.id = i.id",
    "USING": "SELECT id, amount, name FROM {my2.items} JOIN {pg1.accounts} USING (id)",
}


@pytest.mark.parametrize("case", CASES)
def test_the_rows_of_one_database(filled: Spread, case: str) -> None:
    sql = CASES[case]
    federated = sql.replace("{lake.countries}", "read_parquet('lake://countries.parquet')").replace(
        "{lake.regions}", "read_csv('lake://regions.csv')"
    )
    assert filled.rows(federated) == filled.expected(sql)


def test_a_table_that_files_make(filled: Spread) -> None:
    sql = CASES["a CSV file"]
    assert filled.rows(sql.replace("{lake.regions}", "lake.regions")) == filled.expected(sql)


def test_files_alone(filled: Spread) -> None:
    sql = (
        "SELECT r.region, sum(c.population) AS n FROM {lake.regions} r LEFT JOIN {lake.countries} c"
        " ON c.code = r.code GROUP BY r.region"
    )
    federated = sql.replace("{lake.countries}", "read_parquet('countries.parquet')").replace(
        "{lake.regions}", f"read_csv('{filled.folder}/regions.csv')"
    )
    assert filled.rows(federated) == filled.expected(sql)


def test_an_order_across_sources(filled: Spread) -> None:
    sql = (
        "SELECT a.name, b.total FROM {pg1.accounts} a LEFT JOIN {my1.orders} b"
        " ON b.account_id = a.id ORDER BY b.total DESC, a.id"
    )
    with filled.query(sql) as result:
        found = result.table()["total"].to_pylist()
    assert found[:3] == [None] * 3  # NULLs first, as in PostgreSQL
    with filled.query(f"{sql} LIMIT 4") as result:
        assert result.table()["total"].to_pylist() == found[:4]
    with filled.query(sql, limit=4) as result:
        assert result.table()["total"].to_pylist() == found[:4]
    union = "SELECT id FROM {pg1.accounts} UNION ALL SELECT account_id FROM {my1.orders} ORDER BY 1"
    with filled.query(union, limit=3) as result:
        assert result.table()["id"].to_pylist() == [1, 1, 1]
