"""Every type, by snapshot and by the log: the two are equal, byte for byte."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from streams_engine.model import Column, TableSchema
from streams_engine.testing.servers import Server
from tests.support.mysql_log import Place, inserted
from tests.support.mysql_values import (
    grouped,
    natural,
    possible,
    session,
)


def same(log: pa.Table, view: pa.Table) -> list[str]:
    """The columns that differ, with both values."""
    assert log.schema.names == view.schema.names
    return [
        f"{name} ({b.type}): snapshot {b.to_pylist()!r}, log {a.to_pylist()!r}"
        for name in view.schema.names
        for a, b in [(log[name].combine_chunks(), view[name].combine_chunks())]
        if a.type != b.type or not _bits(a).equals(_bits(b))
    ]


def _bits(values: Any) -> Any:
    """Floats by their bits: 0.0 is not -0.0."""
    if not pa.types.is_floating(values.type):
        return values
    return values.view(pa.int32() if values.type.bit_width == 32 else pa.int64())


BYTES = {"binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob"}
GEOMETRIES = {"geometry", "point", "linestring", "polygon", "multipoint", "multilinestring",
              "multipolygon", "geometrycollection"}  # fmt: skip


def as_text(schema: TableSchema) -> Sequence[Column]:
    """The server's text of everything, as targets ask for that keep zero dates."""
    left = BYTES | GEOMETRIES
    return [c if c.type.name in left else replace(c, arrow=pa.string()) for c in schema.columns]


@pytest.mark.parametrize("reading", [natural, as_text])
def test_every_type_case_is_the_same_by_snapshot_and_by_the_log(
    mysql_server: Server, database: Any, shared_data: Path, reading: Any
) -> None:
    place = Place(mysql_server, database(mysql_server))
    lines = (shared_data / "type_cases.jsonl").read_text().splitlines()
    kinds = ("mysql", mysql_server.kind)
    tables = grouped(possible(place, [c for c in map(json.loads, lines) if c["db"] in kinds]))
    names = {c["id"]: str(c["id"]).replace("-", "_") for cs in tables.values() for c in cs}
    for name, cases in tables.items():
        columns = ", ".join(f"{names[c['id']]} {c['type']}" for c in cases)
        place.run(f"CREATE TABLE {name} (id INT PRIMARY KEY, {columns})", session=session(cases[0]))
    tracked, position = place.begin(reading)
    for name, cases in tables.items():
        values = ", ".join(str(c["literal_sql"]) for c in cases)
        place.run(f"INSERT INTO {name} VALUES (1, {values})", session=session(cases[0]))
    sets = place.sets(tracked, position)
    different = [
        line for one in tracked
        for line in same(inserted(sets, one.schema.id.name), place.snapshot(one))
    ]  # fmt: skip
    assert not different


DOCUMENTS = [
    '{"b": 1, "aa": 2, "a": [1.0, 1, -0.0, 1e30, 1e-7, 123456789012345680000]}',
    '[true, false, null, "", "\\u0001\\u001f\\t\\"\\\\/", "é😀", {"": {}}, []]',
    "18446744073709551615",
    "-9223372036854775808",
    '"plain"',
    "[0.1, 1.7976931348623157e308, 5e-324, 100000000000000000, 1e15, 1e14, 123456.789]",
]
OPAQUE = [
    "JSON_OBJECT('d', CAST(1.50 AS DECIMAL(10,3)), 'n', CAST(-12345678901234567890.5 AS "
    "DECIMAL(40,10)))",
    "JSON_ARRAY(CAST('2020-02-03' AS DATE), CAST('2020-02-03 04:05:06.789' AS DATETIME(6)), "
    "CAST('-12:34:56.7' AS TIME(1)))",
    "JSON_ARRAY(x'00ff', b'101', CAST('0' AS DECIMAL(5,0)), CAST('-0.001' AS DECIMAL(5,3)))",
    "JSON_ARRAY(REPEAT('x', 70000), 1, JSON_OBJECT('k', REPEAT('y', 300)))",
    "JSON_OBJECT('p', ST_GeomFromText('POINT(1 2)'), 't', TIMESTAMP('2020-01-01'))",
    "JSON_ARRAY(CAST(1.5 AS FLOAT), 3.0E0, CAST(7 AS UNSIGNED), YEAR('2020-01-01'))",
]


def test_case_081_json_is_the_servers_text(mysql9: Server, database: Any) -> None:
    place = Place(mysql9, database(mysql9))
    place.run("CREATE TABLE t (id INT PRIMARY KEY AUTO_INCREMENT, j JSON)")
    tracked, position = place.begin()
    place.run(
        *(f"INSERT INTO t (j) VALUES ({expression})" for expression in OPAQUE),
        *("INSERT INTO t (j) VALUES ('" + text.replace("\\", "\\\\") + "')" for text in DOCUMENTS),
        "INSERT INTO t (j) SELECT JSON_ARRAYAGG(JSON_OBJECT('n', id, 'j', j)) FROM t",
    )
    found = inserted(place.sets(tracked, position), "t")["j"].to_pylist()
    assert found == [row[0] for row in place.ask("SELECT CAST(j AS CHAR) FROM t ORDER BY id")]


def test_doubles_as_text_are_the_servers(mysql_server: Server, database: Any) -> None:
    place = Place(mysql_server, database(mysql_server))
    place.run("CREATE TABLE t (id INT PRIMARY KEY AUTO_INCREMENT, d DOUBLE, f FLOAT)")
    tracked, position = place.begin(as_text)
    numbers = random.Random(5)
    doubles = [
        numbers.choice((1, -1)) * numbers.choice((numbers.random(), 3, 10**16 + 1, 0.125))
        * 10.0 ** numbers.randrange(-25, 25)
        for _ in range(500)
    ]  # fmt: skip
    doubles += [1e15, 1e16, 1 / 3, 5e-324, 1.7976931348623157e308, 2.0**53 + 2]
    values = ", ".join(f"({d:.17e}, {min(abs(d), 3e38):.9e})" for d in doubles)
    place.run(f"INSERT INTO t (d, f) VALUES {values}")
    (one,) = tracked
    log = inserted(place.sets(tracked, position), "t")
    assert not same(log.sort_by("id"), place.snapshot(one).sort_by("id"))


def test_case_098_character_sets(mysql_server: Server, database: Any) -> None:
    place = Place(mysql_server, database(mysql_server))
    sets = {
        "latin1": "é€Œ", "gbk": "中文", "big5": "中文", "sjis": "日本", "utf16": "a😀",
        "utf32": "é😀", "ucs2": "éa", "cp1251": "Привет", "koi8r": "Привет", "greek": "αβγ",
        "utf8mb3": "é中", "ujis": "日本", "euckr": "한국", "latin2": "ąč", "hebrew": "שלום",
        "cp850": "é", "swe7": "å", "ascii": "a", "utf16le": "é😀", "gb2312": "中文",
        "tis620": "ไทย", "cp932": "日本~",
    }  # fmt: skip
    columns = ", ".join(f"c_{n} VARCHAR(20) CHARACTER SET {n}" for n in sets)
    place.run(f"CREATE TABLE t (id INT PRIMARY KEY, {columns}, e ENUM('é','中') CHARACTER SET gbk)")
    tracked, position = place.begin()
    place.run(
        f"INSERT INTO t VALUES (1, {', '.join(repr(v) for v in sets.values())}, '中')",
        f"INSERT INTO t VALUES (2, {', '.join('NULL' for _ in sets)}, 'é')",
    )
    (one,) = tracked
    assert not same(inserted(place.sets(tracked, position), "t"), place.snapshot(one))


def test_case_097_hidden_generated_and_invisible_columns(
    mysql_server: Server, database: Any
) -> None:
    place = Place(mysql_server, database(mysql_server))
    maria = mysql_server.kind == "mariadb"
    hidden = "i INT INVISIBLE DEFAULT 3" if maria else "i INT DEFAULT 3 INVISIBLE"
    extra = "" if maria else ", INDEX ((UPPER(n))), INDEX ((CAST(j->'$.a' AS UNSIGNED ARRAY)))"
    place.run(
        f"CREATE TABLE t (id INT PRIMARY KEY, n VARCHAR(9), j JSON, v INT AS (id + 1) VIRTUAL, "
        f"y YEAR, s INT UNSIGNED AS (id + 2) STORED, {hidden}{extra})"
    )
    tracked, position = place.begin()
    place.run("""INSERT INTO t (id, n, j, y) VALUES (1, 'a', '{"a": [1, 2]}', 2155)""")
    (one,) = tracked
    assert not same(inserted(place.sets(tracked, position), "t"), place.snapshot(one))


def test_case_100_types_of_mariadb(mariadb: Server, database: Any) -> None:
    place = Place(mariadb, database(mariadb))
    place.run(
        "CREATE TABLE t (id INT PRIMARY KEY, u UUID, a INET4, b INET6, v VARCHAR(300) COMPRESSED, "
        "x TEXT COMPRESSED, z BLOB COMPRESSED, g GEOMETRY, w VARCHAR(5) CHARACTER SET latin1)"
    )
    tracked, position = place.begin()
    place.run(
        "INSERT INTO t VALUES (1, '123e4567-e89b-12d3-a456-426655440000', '1.2.3.0', 'fe80::', "
        "REPEAT('x', 250), REPEAT('é', 1000), x'00', POINT(1, 2), 'é'), "
        "(2, 'f81d4fae-7dec-71d0-8765-00a0c91e6bf6', '0.0.0.0', '::', '', '', '', NULL, ''), "
        "(3, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)"
    )
    (one,) = tracked
    assert not same(inserted(place.sets(tracked, position), "t"), place.snapshot(one))
