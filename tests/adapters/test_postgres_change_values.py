"""Values of the log beside what the server itself prints, and what its send functions give."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pytest

from streams_engine.contracts import Scope
from streams_engine.model import RowChanges
from streams_engine.schema.types.postgres import WIRE
from streams_engine.testing.servers import Server
from tests.support.postgres_log import Followed

VALUES: dict[str, list[str]] = {
    "bool": ["true", "false"],
    "int2": ["-32768", "32767"],
    "int4": ["-2147483648", "0"],
    "int8": ["-9223372036854775808", "9223372036854775807"],
    "float4": ["'NaN'", "'-Infinity'", "1.1754944e-38", "3.4028235e38", "'-0'", "0.1"],
    "float8": ["'NaN'", "'Infinity'", "5e-324", "1.7976931348623157e308", "'-0'", "0.1"],
    "numeric": ["'NaN'", "'Infinity'", "1e-400", "repeat('9', 1000)::numeric", "-0.00"],
    "numeric(5,2)": ["-999.99", "0"],
    "numeric(2,-3)": ["99000"],
    "text": ["''", "'NULL'", r"'\N'", "'a' || chr(9) || chr(10)", "'日本 🎉'", "repeat('x', 9000)"],
    "varchar(20)": ["'  both  '"],
    "char(5)": ["'ab'"],
    '"char"': ["'x'"],
    "name": ["'n'"],
    "bytea": ["''", r"'\x00ff5c27'", "decode(repeat('ab', 5000), 'hex')"],
    "date": ["'infinity'", "'-infinity'", "'4713-01-01 BC'", "'5874897-12-31'", "'1969-12-31'",
             "'1582-10-10'", "'0001-01-01'", "'0001-12-31 BC'", "'9999-12-31'", "'10000-01-01'"],
    "timestamp": ["'infinity'", "'-infinity'", "'4713-01-01 00:00:00 BC'", "'2020-02-29 1:2:3.5'",
                  "'294276-12-31 23:59:59.999999'", "'1969-12-31 23:59:59.999999'",
                  "'294246-12-31 23:59:59.999999'", "'0044-03-15 12:00:00.000001 BC'"],
    "timestamptz": ["'infinity'", "'-infinity'", "'2021-03-04 05:06:07.123456+03'",
                    "'0044-03-15 12:00:00 BC'", "'12345-01-01 00:00:00.1+00'"],
    "time": ["'00:00:00'", "'24:00:00'", "'23:59:59.999999'", "'01:02:03.5'"],
    "timetz": ["'24:00:00+14'", "'01:02:03.5-03:30'"],
    "interval": ["'1 year 2 mons -3 days 04:05:06.7'", "'-178000000 years'"],
    "uuid": ["'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'"],
    "json": ["'{\"b\": 1,  \"a\": null}'"],
    "jsonb": ["'{\"b\": 1e400, \"a\": [null, \"\\u00e9\"]}'", "'null'"],
    "inet": ["'10.0.0.1'", "'10.0.0.1/8'", "'::1'"],
    "cidr": ["'10.0.0.0/8'"],
    "macaddr8": ["'08:00:2b:01:02:03:04:05'"],
    "money": ["-92233720368547758.08"],
    "bit(3)": ["B'101'"],
    "varbit": ["B''", "B'1011'"],
    "int4range": ["'[1,5)'", "'empty'"],
    "point": ["'(1.5,-2)'"],
    "tsvector": ["'a:1 b:2A'"],
    "mood": ["'ok'", "'it''s, so'"],
    "positive": ["5"],
    "pair": ["ROW(1, 'a,\"b')"],
}  # fmt: skip

ARRAYS: dict[str, list[str]] = {
    "int4[]": ["'{}'", "'{1,NULL,-3}'", "'{{1,2},{3,4}}'", "'[2:3]={5,6}'"],
    "float8[]": ["'{1e20,1e-7,NaN,Infinity,-0,0.1,1.5e300}'"],
    "numeric[]": ["'{1.50,NaN,-0.00,1e-10}'"],
    "bool[]": ["'{t,f,NULL}'"],
    "text[]": [
        "ARRAY['', 'NULL', NULL, 'a,b', 'c\"d', 'e\\f', '{x}', ' g ', 'h i', E'j\\n\\x01k']",
        "ARRAY['日本']",
        "ARRAY[['a'],['b']]",
    ],
    "date[]": ["'{2020-01-01,infinity,\"0044-03-15 BC\"}'"],
    "timestamp[]": ["'{2020-01-01 01:02:03.5,-infinity,\"0044-03-15 00:00:00 BC\"}'"],
    "timestamptz[]": ["'{2020-01-01 01:02:03.5+00,infinity,\"0044-03-15 00:00:00+00 BC\"}'"],
    "jsonb[]": ['ARRAY[\'{"a": [1, "x\\"y"]}\', \'null\']::jsonb[]'],
    "bytea[]": [r"ARRAY['\x00ff'::bytea]"],
    "uuid[]": ["'{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}'"],
    "mood[]": ["ARRAY['ok', 'it''s, so']::mood[]"],
    "int4range[]": ["'{\"[1,5)\",empty}'"],
    "interval[]": ["'{\"1 day 02:00:00\"}'"],
    "box[]": ["'{(1,1),(0,0);(3,3),(2,2)}'"],
    "json[]": ['ARRAY[\'{"b":1,"a":2}\']::json[]'],
    "pair[]": ["ARRAY[ROW(1, 'a,\"b')]::pair[]"],
    "inet[]": ["'{10.0.0.1,10.0.0.1/8}'"],
}

TYPES = (
    "CREATE TYPE mood AS ENUM ('ok', 'it''s, so')",
    "CREATE DOMAIN positive AS int CHECK (VALUE > 0)",
    "CREATE TYPE pair AS (a int, b text)",
)


@pytest.fixture
def followed(pg_server: Server, database: Any) -> Iterator[Followed]:
    found = Followed(pg_server, database(pg_server))
    found.run("SET timezone = 'UTC'", "SET datestyle = 'ISO, YMD'", *TYPES)
    yield found
    found.close()


def _table(followed: Followed, values: dict[str, list[str]]) -> tuple[dict[str, str], Any]:
    """One row per value; every other column NULL. Returns type -> column, and the position."""
    names = {kind: f"c{i}" for i, kind in enumerate(values)}
    columns = ", ".join(f"{names[kind]} {kind}" for kind in values)
    followed.run(f"CREATE TABLE t (id serial PRIMARY KEY, {columns})")
    after = followed.start("t")
    for kind, texts in values.items():
        for text in texts:
            followed.run(f"INSERT INTO t ({names[kind]}) VALUES ({text})")
    return names, after


def _columns(followed: Followed, after: Any, wanted: dict[str, dict[str, Any]]) -> pa.Table:
    with followed.reading(followed.tracked("t", wanted=wanted), after) as reading:
        sets = reading.caught_up()
    parts = [p.after for s in sets for p in s.parts if isinstance(p, RowChanges)]
    return pa.Table.from_batches(parts)


def _asked(followed: Followed, expression: str) -> list[Any]:
    return [row[0] for row in followed.sql.execute(f"SELECT {expression} FROM t ORDER BY id")]


def test_texts_are_what_the_server_prints(followed: Followed) -> None:
    """B57, B58, B59, B60, B61."""
    names, after = _table(followed, VALUES)
    found = _columns(followed, after, {})
    for kind, name in names.items():
        shown = {"char(5)": "::bpchar", "inet": "", '"char"': "::text"}.get(kind, "::text")
        expression = f"abbrev({name})" if kind == "inet" else f"{name}{shown}"
        if kind == "char(5)":
            expression = f"format('%s', {name})"
            expression = f"CASE WHEN {name} IS NOT NULL THEN {expression} END"
        assert found.column(name).to_pylist() == _asked(followed, expression), kind


SENDS = {"date": "date_send", "timestamp": "timestamp_send", "timestamptz": "timestamptz_send",
         "time": "time_send"}  # fmt: skip


def test_wire_forms_are_those_of_the_send_functions(followed: Followed) -> None:
    names, after = _table(followed, {kind: VALUES[kind] for kind in SENDS})
    found = _columns(followed, after, {names[kind]: {"arrow": WIRE} for kind in SENDS})
    for kind, name in names.items():
        assert found.column(name).to_pylist() == _asked(followed, f"{SENDS[kind]}({name})"), kind


def test_natural_types_equal_those_of_a_snapshot(followed: Followed) -> None:
    kinds = ["bool", "int2", "int4", "int8", "float4", "float8", "bytea", "date", "timestamp",
             "timestamptz", "positive"]  # fmt: skip
    _, after = _table(followed, {kind: VALUES[kind] for kind in kinds})
    natural = {c.name: {} for c in followed.tracked("t")[0].schema.columns}
    tracked = followed.tracked("t", wanted=natural)
    found = _columns(followed, after, natural)
    with followed.source.snapshot(Scope("public", ("t",)), 1) as view:
        (chunk,) = view.chunks(tracked[0].schema, 1000)
        loaded = pa.Table.from_batches(view.read(tracked[0].extract, chunk))
    assert found.schema.types == loaded.schema.types
    for name in natural:
        one, other = (_bits(t.column(name).combine_chunks()) for t in (found, loaded))
        assert one == other, name


def _bits(array: pa.Array) -> list[Any]:
    kinds = {pa.float32(): pa.int32(), pa.float64(): pa.int64(), pa.date32(): pa.int32()}
    if pa.types.is_timestamp(array.type):
        return list(array.view(pa.int64()).to_pylist())
    return list((array.view(kinds[array.type]) if array.type in kinds else array).to_pylist())


def test_arrays_are_the_json_of_the_server(followed: Followed) -> None:
    names, after = _table(followed, ARRAYS)
    wanted = {name: {"arrow": pa.string(), "as_json": True} for name in names.values()}
    found = _columns(followed, after, {**wanted, "id": {"arrow": pa.string()}})
    for kind, name in names.items():
        assert found.column(name).to_pylist() == _asked(followed, f"to_jsonb({name})::text"), kind
