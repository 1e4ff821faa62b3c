"""Help over several sources and over files: names, meanings, arguments, origins."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from streams_engine import Engine
from streams_engine.errors import ConfigError, NotFound
from streams_engine.model import TableId
from streams_engine.query.catalog_cache import (
    CachedCatalog,
    CachedRelation,
    FederatedCatalog,
    no_file,
)
from streams_engine.query.completion import completed

MOST_SECONDS = 0.05


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """Two folders: `shop` with two tables, `lake` with a Parquet file."""
    folder = tmp_path_factory.mktemp("editor")
    for name in ("shop", "lake"):
        (folder / name).mkdir()
    (folder / "shop/orders.csv").write_text("id,account_id,total\n1,1,2.50\n")
    (folder / "shop/accounts.csv").write_text("id,name\n1,Ann\n")
    pq.write_table(
        pa.table({"code": ["de"], "population": [84]}), folder / "lake/countries.parquet"
    )
    with Engine(folder / "engine.db") as opened:
        for name in ("shop", "lake"):
            spec = {"files": {"basePath": str(folder / name)}}
            opened.connections.create({"name": name, "type": "files", "spec": spec})
        yield opened


def at(sql: str) -> tuple[str, int]:
    """A statement without its bar, and where the bar was."""
    return sql.replace("|", ""), sql.index("|")


def complete(engine: Engine, sql: str, connection: Any = None) -> dict[str, str]:
    items = engine.sql.complete(*at(sql), connection)
    return {str(item["text"]): str(item["kind"]) for item in items}


FILE = "read_parquet('lake://countries.parquet')"


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT * FROM sh|", {"shop": "connection"}),
        ("SELECT * FROM shop.|", {"orders": "table", "accounts": "table",
                                  "read_parquet": "function", "read_csv": "function",
                                  "read_json": "function"}),
        ("SELECT * FROM shop.orders o JOIN lak|", {"lake": "connection"}),
        ("SELECT o.| FROM shop.orders o",
         {"id": "column", "account_id": "column", "total": "column"}),
        ("SELECT acc| FROM shop.orders", {"account_id": "column"}),
        (f"SELECT c.| FROM {FILE} AS c", {"code": "column", "population": "column"}),
        (f"SELECT pop| FROM {FILE}", {"population": "column"}),
        (f"SELECT o.id FROM shop.orders o JOIN {FILE} c ON c.c|", {"code": "column"}),
        ("WITH big AS (SELECT id AS n FROM shop.orders) SELECT b.| FROM big b", {"n": "column"}),
        ("WITH big AS (SELECT id AS n FROM shop.orders) SELECT * FROM bi|", {"big": "cte"}),
        ("SELECT s.| FROM (SELECT id AS n FROM shop.orders) s", {"n": "column"}),
        ("SELECT * FROM read_parquet('lake://|", {}),
    ],
)  # fmt: skip
def test_completion_over_several_sources(
    engine: Engine, sql: str, expected: dict[str, str]
) -> None:
    assert complete(engine, sql) == expected


def test_aliases_may_be_other_than_names(engine: Engine) -> None:
    assert complete(engine, "SELECT * FROM |", {"a": "shop"})["a"] == "connection"
    assert complete(engine, "SELECT x.na| FROM a.accounts x", {"a": "shop"}) == {"name": "column"}


@pytest.mark.parametrize(
    ("sql", "message", "suggestion", "about"),
    [
        ("SELECT totl FROM shop.orders", "There is no column 'totl' in orders.", "total", "totl"),
        (f"SELECT c.popul FROM {FILE} c", "There is no column 'popul' in "
         "lake://countries.parquet.", "population", "popul"),
        ("SELECT 1 FROM shp.orders", "There is no connection 'shp'.", "shop", "shp"),
        ("SELECT 1 FROM shop.order", "There is no table 'order'.", "orders", "order"),
        ("SELECT 1 FROM shop", "'shop' is a connection: name a table of it.", None, "shop"),
        ("SELECT s.m FROM (SELECT id AS n FROM shop.orders) s",
         "There is no column 'm' in this subquery.", None, "m"),
    ],
)  # fmt: skip
def test_what_is_wrong_over_several_sources(
    engine: Engine, sql: str, message: str, suggestion: str | None, about: str
) -> None:
    (fault,) = engine.sql.diagnose(sql)
    assert (fault["message"], fault["suggestion"]) == (message, suggestion)
    assert sql[fault["start"] : fault["end"]] == about
    assert (fault["line"], fault["column"]) == (1, sql.index(about) + 1)


def test_a_file_that_is_not_there_is_named(engine: Engine) -> None:
    (fault,) = engine.sql.diagnose("SELECT 1 FROM read_parquet('lake://none.parquet')")
    assert "none.parquet" in fault["message"]
    (outside,) = engine.sql.diagnose("SELECT 1 FROM read_csv('/etc/passwd')")
    assert "folder of a connection" in outside["message"]


@pytest.mark.parametrize(
    "sql",
    [
        f"SELECT o.id, c.population FROM shop.orders o JOIN {FILE} c ON c.code = 'de'",
        "WITH big AS (SELECT id AS n FROM shop.orders) SELECT b.n FROM big b",
        "SELECT s.n FROM (SELECT id AS n FROM shop.orders) s",
        "WITH RECURSIVE t(a) AS (SELECT 1 UNION ALL SELECT a + 1 FROM t) SELECT a FROM t",
    ],
)
def test_what_is_right_over_several_sources(engine: Engine, sql: str) -> None:
    assert engine.sql.diagnose(sql) == []


@pytest.mark.parametrize(
    ("sql", "kind", "text"),
    [
        ("SELECT o.to|tal FROM shop.orders o", "column", "orders.total: decimal128(3, 2)"),
        ("SELECT tot|al FROM shop.orders", "column", "orders.total: decimal128(3, 2)"),
        ("SELECT |o.id FROM shop.orders o", "table", "table orders\n  id int64"),
        ("SELECT 1 FROM shop.ord|ers o", "table", "table orders\n  id int64"),
        (f"SELECT c.cod|e FROM {FILE} c", "column", "lake://countries.parquet.code: string"),
        ("SELECT coal|esce(id) FROM shop.orders", "function", "coalesce(value, ...)"),
        ("WITH big AS (SELECT 1 AS n) SELECT b|.n FROM big b", "alias", "big(n)"),
        ("SELECT nothing|x FROM shop.orders", None, None),
        ("SEL|ECT 1", None, None),
    ],
)  # fmt: skip
def test_hover_says_what_a_name_is(
    engine: Engine, sql: str, kind: str | None, text: str | None
) -> None:
    what = engine.sql.hover(*at(sql))
    if kind is None:
        assert what is None
        return
    assert what is not None and text is not None
    assert what["kind"] == kind and what["text"].startswith(text)
    assert at(sql)[0][what["start"] : what["end"]].strip()


@pytest.mark.parametrize(
    ("sql", "label", "active"),
    [
        ("SELECT substring(name, |", "substring(text, start, length)", 1),
        ("SELECT round(abs(id), |) FROM shop.orders", "round(number, digits)", 1),
        ("SELECT round(abs(|id), 2) FROM shop.orders", "abs(number)", 0),
        ("SELECT round(id, 2)| FROM shop.orders", None, 0),
        ("SELECT (|1", None, 0),
    ],
)
def test_signature_says_what_a_function_takes(
    engine: Engine, sql: str, label: str | None, active: int
) -> None:
    told = engine.sql.signature(*at(sql))
    assert told is None if label is None else told is not None
    if told is not None:
        assert (told["label"], told["active"]) == (label, active)


def test_definition_leads_to_an_alias_and_to_a_table(engine: Engine) -> None:
    sql, offset = at("SELECT |o.id FROM shop.orders o")
    alias = engine.sql.definition(sql, offset)
    assert alias is not None and sql[alias["start"] : alias["end"]] == "o"
    assert alias["start"] == sql.rindex("o")
    sql, offset = at("WITH big AS (SELECT 1 AS n) SELECT 1 FROM bi|g")
    cte = engine.sql.definition(sql, offset)
    assert cte is not None and (cte["start"], cte["end"]) == (5, 8)
    column = engine.sql.definition(*at("SELECT tot|al FROM shop.orders"))
    assert column is not None
    assert (column["table"], column["start"]) == ("orders", None)
    assert engine.sql.definition(*at("SELECT sum|(total) FROM shop.orders")) is None


def test_what_is_asked_wrongly_is_refused(engine: Engine) -> None:
    help_ = engine.sql
    for ask in (help_.complete, help_.hover, help_.signature, help_.definition):
        with pytest.raises(ConfigError, match="within the text"):
            ask("SELECT 1", 99)
        if ask is not help_.signature:
            with pytest.raises(NotFound):
                ask("SELECT 1", 3, "no such connection")


def test_500_tables_of_two_sources_take_no_time() -> None:
    """With everything known, as while somebody types."""
    tables = [
        CachedRelation(TableId("", f"table_{n}"), {f"column_{n}_{i}": "int64" for i in range(20)})
        for n in range(500)
    ]
    catalog = CachedCatalog("files", "", tuple(tables), {str(one.id): one for one in tables})
    known = FederatedCatalog(("a", "b"), lambda _: catalog, no_file)
    for sql in ("SELECT * FROM a.|", "SELECT t.col| FROM a.table_7 t JOIN b.table_8 u ON true"):
        text, offset = at(sql)
        times = []
        for _ in range(7):
            begun = time.perf_counter()
            assert completed(text, offset, "duckdb", known)
            times.append(time.perf_counter() - begun)
        assert min(times) < MOST_SECONDS
