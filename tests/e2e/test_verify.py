"""`verify` on every route: it passes what is equal, and a fault planted in a decoder fails it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from streams_engine import Stream
from streams_engine.adapters.files import source as files_source
from streams_engine.adapters.mysql.snapshot import block_decoder
from streams_engine.adapters.postgres.snapshot import copy_columns
from streams_engine.testing.servers import Server
from streams_engine.verify.report import TableVerdict
from tests.support.databases import End

MYSQL = [
    "CREATE TABLE t (id INT PRIMARY KEY, price DECIMAL(12,4), f FLOAT, d DOUBLE, name VARCHAR(50),"
    " raw VARBINARY(20), at DATETIME(6), seen TIMESTAMP(3) NULL, day DATE, span TIME(6), bits"
    " BIT(9), doc JSON, kind ENUM('a','b''c'), tags SET('x','y'), big BIGINT UNSIGNED)",
    "INSERT INTO t VALUES (1, 1.5, 0.1, -0.0, 'ä \\'\"', X'00FF', '2020-01-02 03:04:05.678901',"
    " '2021-01-01 00:00:00.5', '2000-02-29', '-838:59:59', b'101', '{\"a\": [1, 2.50]}', 'b''c',"
    " 'x,y', 18446744073709551615), (2, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,"
    " NULL, NULL, NULL, NULL, NULL), (3, -0.0001, 3e38, 1e-300, '', '', '9999-12-31 23:59:59',"
    " NULL, '0001-01-01', '00:00:00', b'0', 'null', 'a', '', 0)",
]
POSTGRES = [
    "CREATE TYPE mood AS ENUM ('a', 'b c')",
    "CREATE TABLE t (id int PRIMARY KEY, price numeric(12,4), any_number numeric, f real,"
    " d float8, name text, fixed char(5), raw bytea, at timestamp, seen timestamptz, day date,"
    " clock time, doc jsonb, kind mood, tags text[], u uuid, yes boolean, i interval, ip inet)",
    "INSERT INTO t VALUES (1, 1.5, 123456789.000100, 0.1, '-0', 'ä ''\"', 'ab', '\\x00ff',"
    " '2020-01-02 03:04:05.678901', '2021-01-01 00:00:00.5+02', '2000-02-29', '23:59:59.5',"
    " '{\"a\": [1, 2.5]}', 'b c', '{x,NULL,\"y,z\"}', gen_random_uuid(), true, '1 day',"
    " '10.0.0.1'), (2)",
    "INSERT INTO t (id, name, raw, tags, yes) VALUES (3, '', '', '{}', false)",
]
POSTGRES[2] = POSTGRES[2].replace(", (2)", "")
POSTGRES.append("INSERT INTO t (id) VALUES (2)")


def stream(source: str, target: str, **options: Any) -> Stream:
    return Stream(source, target, tables=["t"], **options)


def moved(source: str, target: str, **options: Any) -> TableVerdict:
    """The verdict on table t after a copy."""
    made = stream(source, target, **options)
    made.run()
    (verdict,) = stream(source, target, **options).verify().tables
    return verdict


def filled(server: Server, database: Any) -> End:
    end = End(server, database(server))
    end.run(*(POSTGRES if server.kind == "postgresql" else MYSQL))
    return end


ENDS = ["mysql9", "mariadb", "pg18", "parquet", "csv", "jsonl"]


@pytest.mark.parametrize("target", ENDS)
@pytest.mark.parametrize("source", ["mysql9", "mariadb", "pg18"])
def test_a_copy_is_found_equal_and_one_changed_value_is_not(
    request: pytest.FixtureRequest, database: Any, tmp_path: Path, source: str, target: str
) -> None:
    origin = filled(request.getfixturevalue(source), database)
    if target == "mariadb":  # which knows no negative zero; the plan says so
        origin.run("UPDATE t SET d = 0 WHERE id = 1")
    if target in ("mysql9", "mariadb", "pg18"):
        server = request.getfixturevalue(target)
        copy = End(server, database(server))
        # A TIME beyond a day fits no time of PostgreSQL's.
        options = {"type_overrides": [{"column": "t.span", "to": "interval"}]}
        options = options if target == "pg18" and source != "pg18" else {}
        assert moved(origin.url, copy.url, **options).equal
        copy.run("UPDATE t SET name = 'other' WHERE id = 2", "DELETE FROM t WHERE id = 3")
        verdict = stream(origin.url, copy.url, **options).verify().tables[0]
    else:
        url = f"file://{tmp_path}?format={target}"
        assert moved(origin.url, url).equal
        origin.run("UPDATE t SET name = 'other' WHERE id = 2")
        origin.run("INSERT INTO t (id) VALUES (9)")
        verdict = stream(origin.url, url).verify().tables[0]
    assert not verdict.equal
    assert verdict.keys[0] == "2" and verdict.kinds[0] == "different"
    assert verdict.differing == 2


def off_by_one(decode: Any) -> Any:
    def faulty(*arguments: Any) -> Any:
        array, place = decode(*arguments)
        first = pa.scalar(None, array.type)
        return pa.concat_arrays([pa.array([first], array.type), array.slice(1)]), place

    return faulty


def test_a_fault_in_the_decoder_of_mysql_is_found(
    mysql9: Server, pg18: Server, database: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    origin = filled(mysql9, database)
    for code, decoder in list(block_decoder.DECODERS.items()):
        if decoder is block_decoder.DECODERS[block_decoder.FIELD_TYPE.NEWDECIMAL]:
            monkeypatch.setitem(block_decoder.DECODERS, code, off_by_one(decoder))  # type: ignore[arg-type]
    copy = End(pg18, database(pg18))
    options = {"type_overrides": [{"column": "t.span", "to": "interval"}]}
    verdict = moved(origin.url, copy.url, **options)
    assert not verdict.equal and verdict.keys == ("1",) and verdict.kinds == ("different",)


def test_a_fault_in_the_reader_of_postgres_is_found(
    pg18: Server, mysql9: Server, database: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    origin = filled(pg18, database)
    decoded = copy_columns.columns_of

    def faulty(*arguments: Any) -> pa.RecordBatch:
        return decoded(*arguments).slice(1)

    monkeypatch.setattr(copy_columns, "columns_of", faulty)
    copy = End(mysql9, database(mysql9))
    verdict = moved(origin.url, copy.url)
    assert (verdict.equal, verdict.source_rows, verdict.target_rows) == (False, 3, 2)
    assert verdict.kinds == ("missing",)


@pytest.mark.parametrize("form", ["parquet", "csv", "jsonl"])
def test_a_fault_in_the_reader_of_files_is_found(
    pg18: Server, database: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    origin = filled(pg18, database)
    url = f"file://{tmp_path}?format={form}"
    stream(origin.url, url).run()
    projected = files_source._projected

    def faulty(block: pa.RecordBatch, extract: Any) -> pa.RecordBatch:
        found = projected(block, extract)
        place = found.schema.names.index("name")
        shouted = pa.compute.utf8_upper(found.column(place))
        return found.set_column(place, found.schema.field(place), shouted)

    monkeypatch.setattr(files_source, "_projected", faulty)
    copy = End(pg18, database(pg18))
    verdict = moved(url, copy.url)
    assert not verdict.equal and verdict.keys == ("1",)


def test_selected_rows_columns_and_queries_are_compared_as_selected(
    mysql9: Server, pg18: Server, database: Any
) -> None:
    origin, copy = filled(mysql9, database), End(pg18, database(pg18))
    config = {
        "mode": "convert",
        "source": {
            "connections": [
                {
                    "connection": origin.url,
                    "tables": [
                        {
                            "name": "t",
                            "selection": {
                                "selectedColumns": ["id", "price"],
                                "filters": [{"column": "id", "operator": ">", "value": 1}],
                            },
                        }
                    ],
                    "queries": [{"name": "q", "query": "SELECT id, big FROM t WHERE id < 3"}],
                }
            ]
        },
        "target": {"connection": copy.url},
    }
    Stream.from_config(config).run()
    assert Stream.from_config(config).verify().ok
    copy.run("UPDATE q SET big = 1 WHERE id = 1", "DELETE FROM t WHERE id = 3")
    report = {t.table.split(".")[-1]: t for t in Stream.from_config(config).verify().tables}
    assert report["t"].keys == ("3",) and report["t"].kinds == ("missing",)
    assert report["q"].differing == 1


def test_a_limit_is_compared_as_a_part(mysql9: Server, pg18: Server, database: Any) -> None:
    origin, copy = filled(mysql9, database), End(pg18, database(pg18))
    config = {
        "mode": "convert",
        "source": {
            "connections": [
                {
                    "connection": origin.url,
                    "tables": [
                        {
                            "name": "t",
                            "selection": {"selectedColumns": ["id", "name"], "limit": 2},
                        }
                    ],
                }
            ]
        },
        "target": {"connection": copy.url},
    }
    Stream.from_config(config).run()
    assert Stream.from_config(config).verify().ok
    copy.run("UPDATE t SET name = 'x' WHERE id = (SELECT min(id) FROM t)")
    assert not Stream.from_config(config).verify().ok


@pytest.mark.parametrize(("source", "target"), [("mysql9", "pg18"), ("pg18", "mysql9")])
def test_a_table_of_many_columns_is_compared(
    request: pytest.FixtureRequest, database: Any, source: str, target: str
) -> None:
    """PostgreSQL's functions take 100 arguments."""
    servers: list[Server] = [request.getfixturevalue(name) for name in (source, target)]
    origin, copy = (End(server, database(server)) for server in servers)
    columns = ", ".join(f"c{n} varchar(5)" for n in range(240))
    origin.run(
        f"CREATE TABLE t (id int PRIMARY KEY, {columns})",
        "INSERT INTO t (id) VALUES (1)",
        "INSERT INTO t (id, c7, c150, c239) VALUES (2, 'a', '', 'b')",
    )
    verdict = moved(origin.url, copy.url)
    assert verdict.equal and verdict.note is None
    copy.run("UPDATE t SET c120 = '' WHERE id = 1", "UPDATE t SET c239 = 'b ' WHERE id = 2")
    (verdict,) = stream(origin.url, copy.url).verify().tables
    found = {difference.shown: difference.columns for difference in verdict.differences}
    assert found == {"1": ("c120",), "2": ("c239",)}
