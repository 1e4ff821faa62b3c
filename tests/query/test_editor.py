"""Help with SQL: what is wrong, what may follow, layout, other dialects."""

from __future__ import annotations

import time
from typing import Any

import pytest

from streams_engine import Engine
from streams_engine.errors import ConfigError, QueryRefused
from streams_engine.model import TableId
from streams_engine.query.catalog_cache import CachedCatalog, CachedRelation
from streams_engine.query.completion import completed
from streams_engine.query.diagnostics import diagnosed
from streams_engine.testing.servers import Server

TABLES = {
    "public.orders": {"id": "integer", "account_id": "integer", "total": "numeric(12,2)"},
    "public.accounts": {"id": "integer", "name": "text", "created_at": "timestamptz"},
    "audit.entries": {"id": "integer", "entry": "text"},
    "public.revenue": None,
}
MOST_SECONDS = 0.05


def known(tables: dict[str, Any] = TABLES) -> CachedCatalog:
    relations = tuple(
        CachedRelation(TableId(*name.split(".")), cols) for name, cols in tables.items()
    )
    by_name = {str(r.id): r for r in relations}
    by_name |= {r.id.name: r for r in relations if r.id.schema == "public"}
    return CachedCatalog("postgres", "public", relations, by_name)


KNOWN = known()


def diagnose(sql: str) -> list[tuple[str, str | None, str]]:
    """Message, suggestion, and the text that each diagnosis is about."""
    return [
        (one["message"], one["suggestion"], sql[one["start"] : one["end"]])
        for one in diagnosed(sql, "postgres", KNOWN)
    ]


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT o.id, a.name FROM orders o JOIN public.accounts AS a ON a.id = o.account_id",
        "SELECT anything FROM revenue", "SELECT r.x, o.id FROM revenue r, orders o",
        "WITH big AS (SELECT id AS n FROM orders) SELECT n FROM big",
        "SELECT id, (SELECT max(name) FROM accounts a WHERE a.id = o.account_id) FROM orders o",
        "SELECT total AS t FROM orders ORDER BY t", "SELECT count(*) FROM audit.entries;",
        "SELECT * FROM generate_series(1, 3) AS s", "SELECT 1",
    ],
)  # fmt: skip
def test_what_is_right(sql: str) -> None:
    assert diagnose(sql) == []


@pytest.mark.parametrize(
    ("sql", "message", "suggestion", "about"),
    [
        ("SELECT id FROM order", "There is no table 'order'.", "orders", "order"),
        ("SELECT id FROM acounts", "There is no table 'acounts'.", "accounts", "acounts"),
        ("SELECT id FROM audit.entry", "There is no table 'audit.entry'.", "audit.entries",
         "entry"),
        ("SELECT nam FROM accounts", "There is no column 'nam' in accounts.", "name", "nam"),
        ("SELECT a.nam FROM accounts a", "There is no column 'nam' in accounts.", "name", "nam"),
        ("SELECT o.id FROM orders x", "There is no table 'o' in this query.", None, "o"),
        ("SELECT tota FROM orders, accounts", "There is no column 'tota'.", "total", "tota"),
        ("SELCT id FROM orders", "A query begins with SELECT or WITH.", "SELECT", "SELCT"),
        ("DELETE FROM orders", "A query begins with SELECT or WITH.", "SELECT", "DELETE"),
        ("SELECT 'open", "A text or a quoted name is not closed.", None, ""),
        ("", "The text contains no statement.", None, ""),
        ("SELECT 1; SELECT 2", "Expected one statement.", None, " SELECT 2"),
    ],
)  # fmt: skip
def test_what_is_wrong(sql: str, message: str, suggestion: str | None, about: str) -> None:
    assert diagnose(sql) == [(message, suggestion, about)]


def test_a_fault_has_a_place() -> None:
    sql = "SELECT id\nFROM orders\nWHERE totl > 1\n  AND nme = 'x'"
    first, second = diagnosed(sql, "postgres", KNOWN)
    assert (first["line"], first["column"], first["suggestion"]) == (3, 7, "total")
    assert (second["line"], second["column"]) == (4, 7)
    (broken,) = diagnosed("SELECT id FROM orders WHERE (id = 1", "postgres", KNOWN)
    assert broken["line"] == 1 and broken["message"]
    (misspelt,) = diagnosed("SELECT id FROM orders o WHRE id = 1", "postgres", KNOWN)
    assert misspelt["suggestion"] == "WHERE"


def complete(sql: str) -> dict[str, str]:
    """Text and kind of what may stand at the bar."""
    offset = sql.index("|")
    items = completed(sql.replace("|", ""), offset, "postgres", KNOWN)
    return {str(item["text"]): str(item["kind"]) for item in items}


def test_tables_follow_from_and_join() -> None:
    assert complete("SELECT * FROM |") == {
        "orders": "table", "accounts": "table", "audit.entries": "table", "revenue": "view",
        "public": "schema", "audit": "schema",
    }  # fmt: skip
    assert complete("SELECT * FROM orders o JOIN ac|") == {"accounts": "table"}
    assert complete("SELECT * FROM orders, ac|") == {"accounts": "table"}
    assert complete("SELECT * FROM audit.|") == {"entries": "table"}


def test_columns_follow_their_table() -> None:
    assert complete("SELECT o.| FROM orders o") == dict.fromkeys(
        TABLES["public.orders"] or {}, "column"
    )
    assert complete("SELECT * FROM orders o JOIN accounts a ON a.n|") == {"name": "column"}
    assert complete("SELECT accounts.cr| FROM accounts") == {"created_at": "column"}
    assert complete("SELECT x.| FROM orders o") == {}


def test_columns_functions_and_keywords_elsewhere() -> None:
    found = complete("SELECT to| FROM orders")
    assert found == {"total": "column", "to_char": "function", "to_date": "function"}
    assert complete("SELECT * FROM orders o WHERE acc|") == {"account_id": "column"}
    assert complete("SELECT * FROM orders WHERE id = 1 GRO|") == {"GROUP": "keyword"}
    assert complete("SELECT * FROM orders WHERE note = 'to|") == {}


def test_tables_of_other_subqueries_are_out_of_sight() -> None:
    sql = "SELECT na| FROM orders o WHERE o.id IN (SELECT id FROM accounts)"
    assert "name" not in complete(sql)
    inner = "SELECT 1 FROM orders o WHERE o.id IN (SELECT na| FROM accounts)"
    assert complete(inner)["name"] == "column"
    assert "total" in complete("SELECT 1 FROM orders o WHERE EXISTS (SELECT tot| FROM accounts)")


def test_a_schema_of_500_tables_takes_no_time() -> None:
    large = known({
        f"public.table_{n}": {f"column_{n}_{i}": "integer" for i in range(20)} for n in range(500)
    })  # fmt: skip
    sql = "SELECT a.column_7_1, b.colum_8_2 FROM table_7 a JOIN tabel_8 b ON a.column_7_2 = b.x"
    for work in (
        lambda: diagnosed(sql, "postgres", large),
        lambda: completed(sql, 9, "postgres", large),
        lambda: completed("SELECT * FROM ", 14, "postgres", large),
    ):
        work()
        times = []
        for _ in range(5):
            begun = time.perf_counter()
            assert work()
            times.append(time.perf_counter() - begun)
        assert min(times) < MOST_SECONDS


def test_layout_and_other_dialects() -> None:
    with Engine() as engine:
        assert engine.sql.format("select a, b from t where x=1 -- why") == (
            "SELECT\n  a,\n  b\nFROM t\nWHERE\n  x = 1 /* why */"
        )
        found = engine.sql.transpile(
            "SELECT `a`, IFNULL(b, 0) FROM t LIMIT 5, 10", "mysql", "postgres"
        )
        assert found == 'SELECT "a", COALESCE(b, 0) FROM t LIMIT 10 OFFSET 5'
        with pytest.raises(QueryRefused) as caught:
            engine.sql.format("SELECT FROM WHERE (")
        assert caught.value.details["line"] == 1
        for other in ("CREATE USER x IDENTIFIED BY 'secret'", "", "nothing at all"):
            with pytest.raises(QueryRefused):
                engine.sql.format(other)
        with pytest.raises(ConfigError, match="expected one of"):
            engine.sql.format("SELECT 1", "oracle")


def test_an_engine_knows_its_tables(mysql9: Server, database: Any) -> None:
    name = database(mysql9)
    with mysql9.connect(name) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE orders (id int, total decimal(12,2))")
        cursor.execute("CREATE VIEW large AS SELECT * FROM orders WHERE total > 9")
    with Engine() as engine:
        engine.connections.create({
            "name": "shop", "type": "mysql", "host": mysql9.host, "port": mysql9.port,
            "username": mysql9.user, "password": mysql9.password, "database": name,
        })  # fmt: skip
        assert engine.sql.diagnose("SELECT `id` FROM orders JOIN large", "shop") == []
        (fault,) = engine.sql.diagnose("SELECT totl FROM orders", "shop")
        assert fault["suggestion"] == "total"
        items = engine.sql.complete("SELECT * FROM ", 14, "shop")
        assert {"orders", "large"} <= {item["text"] for item in items}
        with mysql9.connect(name) as connection, connection.cursor() as cursor:
            cursor.execute("CREATE TABLE later (id int)")
        assert engine.sql.diagnose("SELECT id FROM later", "shop") != []
        engine.sql.refresh("shop")
        assert engine.sql.diagnose("SELECT id FROM later", "shop") == []
        (table, alias) = engine.sql.diagnose("SELECT 1 FROM shop.order JOIN a.b.c ON true")
        assert (table["suggestion"], alias["message"]) == ("orders", "There is no connection 'a'.")
        assert engine.sql.definition("SELECT id FROM orders", 8, "shop")["ddl"].startswith("CREATE")
        with pytest.raises(ConfigError):
            engine.sql.complete("SELECT", 7, "shop")
