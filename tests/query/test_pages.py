"""Queries in pages: filters, sort, limit and offset of a result, natively and over sources."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from streams_engine import Engine
from streams_engine.errors import ConfigError, QueryRefused
from tests.support.databases import End
from tests.support.engine_documents import document

ROWS = (
    (1, "a_1", 1.5), (2, "b%2", 2.5), (3, "it's", None), (4, None, 4.5), (5, "A_5", 5.5),
)  # fmt: skip


@pytest.fixture(scope="module", params=["mysql9", "pg18", "files"])
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """An engine with one connection `db` that has the table `t`."""
    with Engine() as engine:
        if request.param == "files":
            folder = tmp_path_factory.mktemp("pages")
            lines = (
                ",".join(("id", "name", "n"))
                + "\n"
                + "".join(
                    f"{number},{'' if name is None else name},{'' if n is None else n}\n"
                    for number, name, n in ROWS
                )
            )
            Path(folder / "t.csv").write_text(lines)
            engine.connections.create(
                {"name": "db", "type": "files", "spec": {"files": {"basePath": str(folder)}}}
            )
            yield engine, "SELECT id, name, n FROM db.t"
            return
        server = request.getfixturevalue(request.param)
        database = server.create_database()
        end = End(server, database)
        end.run("CREATE TABLE t (id int PRIMARY KEY, name varchar(9), n double precision)")
        for number, name, n in ROWS:
            quoted = "NULL" if name is None else "'" + name.replace("'", "''") + "'"
            end.run(f"INSERT INTO t VALUES ({number}, {quoted}, {'NULL' if n is None else n})")
        engine.connections.create(document(end, name="db"))
        table = f"db.{database}.t" if server.kind == "mysql" else "db.public.t"
        yield engine, f"SELECT id, name, n FROM {table}"
        server.drop_database(database)


CASES: list[tuple[dict[str, Any], list[int], int]] = [
    ({}, [1, 2, 3, 4, 5], 5),
    ({"limit": 2}, [1, 2], 5),
    ({"limit": 2, "offset": 3}, [4, 5], 5),
    ({"limit": 2, "offset": 9}, [], 5),
    ({"limit": 0}, [], 5),
    ({"offset": 4}, [5], 5),
    ({"filters": [{"column": "n", "operator": ">", "value": 2}], "limit": 2}, [2, 4], 3),
    ({"filters": [{"column": "name", "value": "it's"}]}, [3], 1),
    ({"filters": [{"column": "name", "operator": "IS NULL"}]}, [4], 1),
    ({"filters": [{"column": "name", "operator": "IN", "value": ["b%2", "it's"]}]}, [2, 3], 2),
    ({"filters": [{"column": "id", "operator": "BETWEEN", "value": [2, 3]}]}, [2, 3], 2),
    ({"filters": [{"column": "name", "operator": "CONTAINS", "value": "%"}]}, [2], 1),
    ({"filters": [{"column": "name", "operator": "ENDS_WITH", "value": "_1"}]}, [1], 1),
    ({"filters": [{"column": "name", "operator": "STARTS_WITH", "value": "b"}]}, [2], 1),
    ({"filters": [{"column": "name", "operator": "LIKE", "value": "_\\%2"}]}, [2], 1),
    ({"filters": [{"column": "id", "operator": "NOT IN", "value": [1, 5]}]}, [2, 3, 4], 3),
    ({"filters": [{"column": "id", "operator": "!=", "value": 1}], "limit": 1, "offset": 1},
     [3], 4),
]  # fmt: skip


def test_a_query_is_filtered_sorted_and_cut(place: Any) -> None:
    engine, sql = place
    for asked, ids, total in CASES:
        with engine.query(sql, sort=[{"column": "id"}], **asked) as result:
            page = result.page()
        assert page["items"]["id"].to_pylist() == ids, asked
        assert (page["total"], page["limit"], page["offset"]) == (
            total, asked.get("limit"), asked.get("offset", 0),
        ), asked  # fmt: skip
    with engine.query(sql, sort=[{"column": "id", "direction": "desc"}], limit=1) as result:
        assert result.page(total=False) == {
            "items": result.table(), "total": None, "limit": 1, "offset": 0,
        }  # fmt: skip
        assert result.table()["id"].to_pylist() == [5]
        assert result.to_dict()["status"] == "truncated"


def test_a_statement_that_ends_in_a_remark_is_narrowed_too(place: Any) -> None:
    engine, sql = place
    text = f"{sql} WHERE id > 1 ORDER BY id DESC; -- the end"
    with engine.query(text, filters=[{"column": "id", "operator": "<", "value": 3}]) as result:
        assert result.page()["items"]["id"].to_pylist() == [2]


def test_what_is_wrong_is_refused(place: Any) -> None:
    engine, sql = place
    wrong: list[tuple[dict[str, Any], type[Exception], str]] = [
        ({"limit": -1}, ConfigError, r"\$\.limit"),
        ({"offset": -1}, ConfigError, r"\$\.offset"),
        ({"offset": "1"}, ConfigError, r"\$\.offset"),
        ({"filters": [{"column": "id", "operator": "~"}]}, ConfigError, r"\$\.filters\[0\]"),
        ({"sort": "id"}, ConfigError, r"\$\.sorts"),
        ({"filters": [{"column": "x; DROP TABLE t", "value": 1}]}, Exception, "."),
    ]
    for asked, kind, told in wrong:
        with pytest.raises(kind, match=told), engine.query(sql, **asked) as result:
            result.table()
    with pytest.raises(QueryRefused):
        engine.query("DROP TABLE t", filters=[{"column": "id", "value": 1}])
    with engine.query(sql, limit=1) as result:
        assert result.page()["total"] == len(ROWS), "nothing was dropped"
