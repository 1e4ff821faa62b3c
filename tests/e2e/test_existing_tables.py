"""Tables that are there already: files into them, copies back into them, and the log into them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from streams_engine import State, Stream
from streams_engine.errors import RowRejected
from streams_engine.testing.servers import Server
from tests.support.databases import End

SECONDS = 30

CSV = (
    "id,code,price,qty,active,day,at,note,kind,uid\n"
    "1,007,1.50,3,true,2024-02-03,2024-02-03 10:11:12,hello,x,"
    "0b8f2d6e-3c1a-4e52-9d6b-1c2d3e4f5a6b\n"
    '2,8,2,4,false,2024-02-04,2024-02-03T10:11:12,"",y,\n'
    "3,9,0.25,,,,,,,\n"
)
ORDERS = {
    "pg": (
        "CREATE TYPE kinds AS ENUM ('x', 'y')",
        "CREATE TABLE orders (id serial PRIMARY KEY, code varchar(10), price numeric(10,2) NOT"
        " NULL, qty smallint, active boolean, day date, at timestamptz, note varchar(50), kind"
        " kinds, uid uuid, made timestamp DEFAULT now())",
    ),
    "mysql": (
        "CREATE TABLE orders (id int unsigned AUTO_INCREMENT PRIMARY KEY, code varchar(10), price"
        " decimal(10,2) NOT NULL, qty smallint, active tinyint(1), day date, at timestamp NULL,"
        " note varchar(50), kind enum('x','y'), uid char(36), made timestamp DEFAULT now())",
    ),
}


def _family(server: Server) -> str:
    return "pg" if server.kind == "postgresql" else "mysql"


@pytest.mark.parametrize("to_name", ["pg18", "mysql9", "mariadb"])
def test_a_csv_loads_into_a_table_of_ordinary_types(
    to_name: str, request: pytest.FixtureRequest, database: Any, tmp_path: Path
) -> None:
    server: Server = request.getfixturevalue(to_name)
    target = End(server, database(server))
    target.run(*ORDERS[_family(server)])
    file = tmp_path / "orders.csv"
    file.write_text(CSV)
    with Stream(str(tmp_path), target.url) as stream:
        stream.run()
        assert stream.verify().ok
    found = target.rows("SELECT code, price, qty, active, note, kind FROM orders ORDER BY id")
    assert [tuple(map(str, row)) for row in found] == [
        ("007", "1.50", "3", str(found[0][3]), "hello", "x"),
        ("8", "2.00", "4", str(found[1][3]), "", "y"),
        ("9", "0.25", "None", "None", "None", "None"),
    ]
    assert [bool(row[3]) for row in found[:2]] == [True, False]

    file.write_text("id,code,price,qty\n1,a,1.505,3\n2,a,1.5,99999\n3,toolongtext!,1,1\n4,ok,1,1\n")
    with Stream(
        str(tmp_path), target.url, on_error="quarantine", write_mode="truncate_and_load"
    ) as stream:
        assert stream.run().target.failed_counter == 3
    assert target.rows("SELECT id, code FROM orders") == [(4, "ok")]
    with (
        Stream(str(tmp_path), target.url, write_mode="truncate_and_load") as stream,
        pytest.raises(RowRejected, match="column code: it is longer than the column"),
    ):
        stream.run()


SHOP = {
    "mysql": (
        "CREATE TABLE place (id int unsigned AUTO_INCREMENT PRIMARY KEY, name varchar(20) NOT NULL,"
        " flag tinyint(1) NOT NULL DEFAULT 1, small tinyint unsigned, big bigint unsigned,"
        " price decimal(8,3), rate double, at datetime(3), stamp timestamp(6) NULL, day date,"
        " clock time, made year, note text, body mediumblob, code binary(4), doc json,"
        " kind enum('a','b'), tags set('x','y','z'), bits bit(9), flat char(5))",
        "CREATE TABLE item (id int PRIMARY KEY, place int unsigned, FOREIGN KEY (place)"
        " REFERENCES place (id))",
        "INSERT INTO place VALUES (1, 'one', 1, 255, 18446744073709551615, 1.500, 0.1,"
        " '2024-02-03 10:11:12.125', '2024-02-03 10:11:12.000001', '2024-02-03', '10:11:12', 2024,"
        " 'text', X'00FF', X'01020300', '{\"a\": [1, 2.5]}', 'b', 'x,z', b'101010101', 'ab'),"
        " (2, 'two', 0, 0, 0, -0.001, -1e300, '1000-01-01', NULL, '9999-12-31', '00:00:00', 1901,"
        " '', '', X'00000000', '[]', 'a', '', 0, ''),"
        " (3, 'three', 1, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,"
        " NULL, NULL, NULL, NULL, NULL)",
        "INSERT INTO item VALUES (1, 1), (2, NULL)",
    ),
    "pg": (
        "CREATE TYPE mood AS ENUM ('a', 'b')",
        "CREATE TABLE place (id serial PRIMARY KEY, name varchar(20) NOT NULL, flag boolean NOT"
        " NULL, small smallint, big bigint, price numeric(8,3), rate float8, one"
        " real, at timestamp(3), stamp timestamptz, day date, clock time, note text, body bytea,"
        " doc jsonb, kind mood, tags text[], bits bit(9), flat char(5), uid uuid, ip inet,"
        " span interval)",
        "CREATE TABLE item (id int PRIMARY KEY, place int REFERENCES place (id))",
        "INSERT INTO place VALUES (1, 'one', true, 32767, 9223372036854775807, 1.500, 0.1,"
        " 0.5, '2024-02-03 10:11:12.125', '2024-02-03 10:11:12.000001+00', '2024-02-03',"
        " '10:11:12.5', 'text', '\\x00ff', '{\"a\": [1, 2.5]}', 'b', '{x,z}', B'101010101', 'ab',"
        " '0b8f2d6e-3c1a-4e52-9d6b-1c2d3e4f5a6b', '10.0.0.1', '1 day 02:03:04'),"
        " (2, 'two', false, -1, -1, -0.001, -1e300, -2, '1000-01-01', NULL, '9999-12-31',"
        " '00:00:00', '', '', '[]', 'a', '{}', B'000000000', '', NULL, '::1', '-1 mon'),"
        " (3, 'three', true, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,"
        " NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)",
        "INSERT INTO item VALUES (1, 1), (2, NULL)",
    ),
}


@pytest.mark.parametrize(
    ("from_name", "to_name"),
    [("mysql9", "pg18"), ("mariadb", "pg15"), ("pg18", "mysql9"), ("pg15", "mariadb")],
)
def test_a_copy_goes_back_into_the_tables_that_it_came_from(
    from_name: str, to_name: str, request: pytest.FixtureRequest, database: Any
) -> None:
    servers: list[Server] = [request.getfixturevalue(name) for name in (from_name, to_name)]
    source, target = (End(server, database(server)) for server in servers)
    source.run(*SHOP[_family(servers[0])])
    text = "CAST(t AS CHAR)" if _family(servers[0]) == "mysql" else "t::text"
    columns = "*" if "CHAR" in text else "place::text"
    before = source.rows(f"SELECT {columns} FROM place ORDER BY id")
    with Stream(source.url, target.url) as stream:
        stream.run()
        assert stream.verify().ok
    again = {"write_mode": "truncate_and_load", "schema_policy": "validate_existing"}
    with Stream(target.url, source.url, **again) as stream:
        stream.run()
        assert stream.verify().ok
    assert source.rows(f"SELECT {columns} FROM place ORDER BY id") == before
    with Stream(source.url, target.url, **again) as stream:
        stream.run()
        assert stream.verify().ok


LOGGED = {
    "mysql": "CREATE TABLE t (id int PRIMARY KEY, v varchar(100), n int, at datetime(6))",
    "pg": "CREATE TABLE t (id int PRIMARY KEY, v varchar(100), n int, at timestamp)",
}
NARROW = {
    "mysql": "CREATE TABLE t (id bigint PRIMARY KEY, v varchar(5), n tinyint, at datetime)",
    "pg": "CREATE TABLE t (id bigint PRIMARY KEY, v varchar(5), n smallint, at timestamptz(0))",
}


@pytest.mark.parametrize(
    ("from_name", "to_name"),
    [("mysql9", "pg18"), ("pg18", "mariadb"), ("pg15", "pg18"), ("mariadb", "mysql9")],
)
def test_the_log_checks_each_value_too(
    from_name: str, to_name: str, request: pytest.FixtureRequest, database: Any
) -> None:
    servers: list[Server] = [request.getfixturevalue(name) for name in (from_name, to_name)]
    source, target = (End(server, database(server)) for server in servers)
    source.run(LOGGED[_family(servers[0])], "INSERT INTO t VALUES (1, 'abc', 7, '2024-02-03')")
    target.run(NARROW[_family(servers[1])])
    name = f"narrow {from_name} {to_name}"
    options: dict[str, Any] = {"mode": "cdc", "name": name}
    with Stream(source.url, target.url, **options) as stream:
        stream.start()
        assert stream.catch_up(SECONDS), stream.error
        source.run(
            "INSERT INTO t VALUES (2, 'éèêëé', 100, '2024-02-03 10:11:12'), (3, '', NULL, NULL)",
            "UPDATE t SET v = 'zz', n = 5 WHERE id = 1",
            "DELETE FROM t WHERE id = 3",
        )
        assert stream.catch_up(SECONDS), stream.error
        assert target.rows("SELECT id, v, n FROM t ORDER BY id") == [
            (1, "zz", 5),
            (2, "éèêëé", 100),
        ]
        assert stream.verify().ok
        source.run("UPDATE t SET at = '2024-02-03 10:11:12.5' WHERE id = 1")
        assert stream.wait(timeout=SECONDS) is State.FAILED
        assert "column at" in str(stream.error)
        assert "more fractional digits" in str(stream.error) or "finer than" in str(stream.error)
    with Stream(source.url, target.url, on_error="quarantine", **options) as stream:
        stream.start()
        assert stream.catch_up(SECONDS), stream.error
        source.run("UPDATE t SET v = 'longer' WHERE id = 2", "UPDATE t SET n = 1 WHERE id = 2")
        assert stream.catch_up(SECONDS), stream.error
        stream.stop()
        stream.wait(timeout=SECONDS)
        stream.release()
    assert target.rows("SELECT v FROM t ORDER BY id") == [("zz",), ("éèêëé",)]
