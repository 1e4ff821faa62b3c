"""Wrong values to plant: for each kind of fault an expression of the value that stands there.

What a server refuses, or prints as before, is no other value and is not planted.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import psycopg
import pymysql

from tests.support.databases import End
from tests.support.type_cases import PINNED, PRINTED, Case, column

__all__ = ["COPIES", "Fault", "copy_rows", "plant"]


@dataclass(frozen=True)
class Fault:
    """A kind of fault, and the SQL that makes it of ``v``."""

    kind: str
    expression: str


def faults(**expressions: str) -> tuple[Fault, ...]:
    return tuple(Fault(kind.replace("_", " "), text) for kind, text in expressions.items())


ALWAYS = faults(null="NULL")
PG_TEXT = faults(
    trailing_space="v || ' '",
    null_for_empty="CASE WHEN v::text = '' THEN NULL ELSE v END",
    empty_for_null="coalesce(v::text, '')",
    letter="overlay(v::text placing 'q' from 1 for 1)",
    case="CASE WHEN v::text <> upper(v::text) THEN upper(v::text) ELSE lower(v::text) END",
    last_character_lost="left(v::text, -1)",
)
PG_INTEGER = faults(digit="CASE WHEN v > 0 THEN v - 1 ELSE v + 1 END", sign="-v")
PG_FLOAT = faults(
    minus_zero="CASE WHEN v = 0 AND v::text = '0' THEN '-0' WHEN v = 0 THEN '0' ELSE v END",
    bit="CASE WHEN v = 'NaN' THEN 0 ELSE v * (1 + {ulp}) END",
    sign="-v",
)
PG_MOMENT = faults(
    microsecond="v - interval '1 microsecond'",
    second="v + interval '1 second'",
    day="v + interval '1 day'",
    infinity="CASE WHEN v = 'infinity' THEN '-infinity' ELSE 'infinity' END",
)
PG_BITS = faults(bit="set_bit(v, 0, 1 - get_bit(v, 0))", all_bits="~v")
PG_ARRAY = faults(
    order_of_items="(SELECT array_agg(u ORDER BY o DESC) FROM unnest(v) WITH ORDINALITY n(u, o))",
    item_more="array_append(v, NULL)",
    item_less="v[:cardinality(v) - 1]",
    empty="'{}'",
    bounds="('[7:7]={' || (v[array_lower(v, 1)])::text || '}')",
)
PG_JSON = faults(
    wrapped="json_build_array(v)",
    text_for_number="CASE WHEN json_typeof(v::json) = 'number' THEN to_json(v::text) END",
    null_inside="json_build_object('a', NULL)",
    order_of_items="(SELECT json_agg(u ORDER BY o DESC) FROM json_array_elements("
    "CASE WHEN json_typeof(v::json) = 'array' THEN v::json END) WITH ORDINALITY n(u, o))",
    json_null="'null'",
)
POSTGRES: Mapping[str, tuple[Fault, ...]] = {
    **dict.fromkeys(("int2", "int4", "int8", "oid"), PG_INTEGER),
    "numeric": faults(
        digit="CASE WHEN v = 'NaN' THEN 0 ELSE v + power(10::numeric, -scale(v)) END",
        sign="-v",
        nan="'NaN'",
    ),
    "money": faults(digit="v + '0.01'::money"),
    "float4": tuple(Fault(f.kind, f.expression.replace("{ulp}", "1.2e-7")) for f in PG_FLOAT),
    "float8": tuple(Fault(f.kind, f.expression.replace("{ulp}", "2.3e-16")) for f in PG_FLOAT),
    "bool": faults(bit="NOT v"),
    **dict.fromkeys(("text", "varchar", "bpchar", "citext", "name", "xml"), PG_TEXT),
    "bytea": faults(
        bit="set_bit(v, 0, 1 - get_bit(v, 0))",
        byte_more="v || '\\x00'",
        null_for_empty="CASE WHEN v = '' THEN NULL ELSE v END",
        empty_for_null="coalesce(v, '')",
    ),
    **dict.fromkeys(("bit", "varbit"), PG_BITS),
    "date": faults(day="v + 1", year="v - interval '1 year'", infinity="'infinity'"),
    **dict.fromkeys(("timestamp", "timestamptz"), PG_MOMENT),
    "time": faults(
        microsecond="v - interval '1 microsecond'",
        second="v + interval '1 second'",
        midnight="CASE WHEN v = '00:00' THEN '24:00'::time WHEN v = '24:00' THEN '00:00' END",
    ),
    "timetz": faults(microsecond="v - interval '1 microsecond'", zone="v AT TIME ZONE '+07'"),
    "interval": faults(
        microsecond="v - interval '1 microsecond'",
        month_of_30_days="make_interval(days => (30 * extract(month FROM v)"
        " + 360 * extract(year FROM v) + extract(day FROM v))::int)"
        " + make_interval(secs => extract(epoch FROM v - date_trunc('day', v)))",
        day_of_24_hours="v + interval '24 hours' - interval '1 day'",
    ),
    "json": PG_JSON,
    "jsonb": PG_JSON,
    "uuid": faults(
        digit="overlay(v::text placing CASE right(v::text, 1) WHEN '0' THEN '1' ELSE '0' END"
        " from 36 for 1)"
    ),
    "inet": faults(bit="v + 1", mask="set_masklen(v, 7)"),
    "cidr": faults(mask="set_masklen(v, 7)"),
    "point": faults(digit="v + point(1, 0)"),
}
"""By PostgreSQL's type; of other types arrays, enums and the rest have the following."""
POSTGRES_KINDS: Mapping[str, tuple[Fault, ...]] = {
    "A": PG_ARRAY,
    "E": faults(
        label="(SELECT e.u FROM unnest(enum_range(v)) e(u) WHERE e.u <> v LIMIT 1)",
    ),
    "R": faults(empty="'empty'", bounds="replace(v::text, ')', ']')"),
}

MY_TEXT = faults(
    trailing_space="CONCAT(v, ' ')",
    null_for_empty="IF(v = '', NULL, v)",
    empty_for_null="COALESCE(v, '')",
    letter="INSERT(v, 1, 1, 'q')",
    case="IF(BINARY v <> BINARY UPPER(v), UPPER(v), LOWER(v))",
    last_character_lost="LEFT(v, CHAR_LENGTH(v) - 1)",
)
MY_INTEGER = faults(digit="IF(v > 0, v - 1, v + 1)", sign="-v")
MY_BYTES = faults(
    bit="CONCAT(CHAR(ASCII(v) ^ 1), SUBSTRING(v, 2))",
    byte_more="CONCAT(v, CHAR(0))",
    null_for_empty="IF(LENGTH(v) = 0, NULL, v)",
    empty_for_null="COALESCE(v, '')",
)
MY_MOMENT = faults(
    microsecond="v - INTERVAL 1 MICROSECOND", second="v + INTERVAL 1 SECOND",
    day="v + INTERVAL 1 DAY",
)  # fmt: skip
MY_JSON = faults(
    wrapped="CONCAT('[', v, ']')",
    text_for_number="IF(JSON_TYPE(v) IN ('INTEGER', 'DOUBLE', 'DECIMAL', 'UNSIGNED INTEGER'),"
    " JSON_QUOTE(CAST(v AS CHAR)), NULL)",
    null_inside="JSON_OBJECT('a', NULL)",
    item_less="JSON_REMOVE(v, '$[0]')",
    letter_case="IF(BINARY v <> BINARY UPPER(v), UPPER(v), LOWER(v))",
    json_null="'null'",
)
MYSQL: Mapping[str, tuple[Fault, ...]] = {
    **dict.fromkeys(("tinyint", "smallint", "mediumint", "int", "bigint", "year"), MY_INTEGER),
    "decimal": faults(digit="v + {unit}", sign="-v"),
    "float": faults(
        minus_zero="IF(CAST(v AS CHAR) = '-0', 0, IF(v = 0, -0e0, v))",
        bit="v * (1 + 1.2e-7)",
        sign="-v",
    ),
    "double": faults(
        minus_zero="IF(CAST(v AS CHAR) = '-0', 0, IF(v = 0, -0e0, v))",
        bit="v * (1 + 2.3e-16)",
        sign="-v",
    ),
    "bit": faults(bit="v ^ 1"),
    **dict.fromkeys(("char", "varchar", "tinytext", "text", "mediumtext", "longtext"), MY_TEXT),
    **dict.fromkeys(
        ("binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob"), MY_BYTES
    ),
    "date": faults(day="v + INTERVAL 1 DAY", year="v - INTERVAL 1 YEAR", zero="'0000-00-00'"),
    **dict.fromkeys(("datetime", "timestamp"), MY_MOMENT),
    "time": faults(
        microsecond="SUBTIME(v, '00:00:00.000001')",
        second="ADDTIME(v, '00:00:01')",
        sign="SUBTIME('00:00:00', v)",
    ),
    "enum": faults(label="IF(v + 0 = 1, 2, 1)", error_value="''"),
    "set": faults(label="v + 0 ^ 1", empty="''"),
    "json": MY_JSON,
    "uuid": faults(digit="CONCAT(LEFT(v, 35), IF(RIGHT(v, 1) = '0', '1', '0'))"),
    "inet4": faults(bit="'10.1.2.3'"),
    "inet6": faults(bit="'::7'"),
    "geometry": faults(point="ST_GeomFromText('POINT(7 9)')"),
    "point": faults(point="ST_GeomFromText('POINT(7 9)')"),
}
"""By MySQL's type."""


COPIES = 90
"""Rows of a table, one for each fault that is planted; a verdict names 100 at most."""


def copy_rows(end: End, tables: Mapping[str, list[Case]]) -> None:
    """Give every table `COPIES` rows like its first one."""
    mode = ["SET SESSION sql_mode = 'ALLOW_INVALID_DATES'"]
    mode = [] if end.server.kind == "postgresql" else mode
    for name, members in tables.items():
        columns = ", ".join(map(column, members))
        numbers = (
            f"WITH RECURSIVE n AS (SELECT 2 AS i UNION ALL SELECT i + 1 FROM n WHERE i < {COPIES})"
        )
        chosen = f"{numbers} SELECT n.i, {columns} FROM {name}, n WHERE id = 1"
        mode = (
            []
            if end.server.kind == "postgresql"
            else ["SET SESSION sql_mode = 'ALLOW_INVALID_DATES'"]
        )
        end.run(*mode, f"INSERT INTO {name} (id, {columns}) {chosen}")


def plant(end: End, tables: Mapping[str, list[Case]]) -> dict[str, dict[str, tuple[str, str]]]:
    """Plant each fault in a row of its own: {table: {key: (column, kind of fault)}}."""
    with closing(end.server.connect(end.database)) as connection:
        cursor = connection.cursor()
        postgres = end.server.kind == "postgresql"
        for statement in PINNED.split(";") if postgres else SESSION:
            cursor.execute(statement)
        known = _types(cursor, end)
        return {
            name: _planted(cursor, name, [known[name, column(case)] for case in members])
            for name, members in tables.items()
        }


SESSION = ("SET time_zone = '+00:00'", "SET SESSION sql_mode = 'STRICT_TRANS_TABLES'")


@dataclass(frozen=True)
class _Column:
    name: str
    faults: tuple[Fault, ...]
    shown: str
    """The expression that prints a value."""


def _planted(cursor: Any, table: str, columns: list[_Column]) -> dict[str, tuple[str, str]]:
    done: dict[str, tuple[str, str]] = {}
    key = 1
    for one in columns:
        for fault in (*ALWAYS, *one.faults):
            shown = f"SELECT {one.shown.replace('{}', one.name)} FROM {table} WHERE id = {key}"
            value = re.sub(r"\bv\b", one.name, fault.expression)
            cursor.execute(shown)
            before = cursor.fetchone()
            try:
                cursor.execute(f"UPDATE {table} SET {one.name} = {value} WHERE id = {key}")
            except (psycopg.Error, pymysql.MySQLError):
                continue
            cursor.execute(shown)
            if cursor.fetchone() != before:
                done[str(key)] = (one.name, fault.kind)
                key += 1
    assert key <= COPIES, table
    return done


def _unit(scale: int | None) -> str:
    return f"0.{'0' * (scale - 1)}1" if scale else "1"


def _types(cursor: Any, end: End) -> dict[tuple[str, str], _Column]:
    if end.server.kind == "postgresql":
        cursor.execute(
            "SELECT c.relname, a.attname, t.typname, t.typtype, t.typcategory FROM pg_attribute a"
            " JOIN pg_class c ON c.oid = a.attrelid JOIN pg_type d ON d.oid = a.atttypid"
            " JOIN pg_type t ON t.oid = coalesce(nullif(d.typbasetype, 0), d.oid)"
            " WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND a.attnum > 0"
        )
        return {
            (table, name): _Column(
                name,
                POSTGRES.get(type_, POSTGRES_KINDS.get("E" if kind == "e" else category, ())),
                "{}::text",
            )
            for table, name, type_, kind, category in cursor.fetchall()
        }
    cursor.execute(
        "SELECT table_name, column_name, data_type, numeric_scale FROM information_schema.columns"
        f" WHERE table_schema = '{end.database}'"
    )
    described = cursor.fetchall()
    documents: set[tuple[str, str]] = set()
    if end.server.kind == "mariadb":  # there JSON is a text with a check
        cursor.execute(
            "SELECT table_name, constraint_name FROM information_schema.check_constraints WHERE"
            f" constraint_schema = '{end.database}' AND check_clause LIKE 'json_valid(%'"
        )
        documents = set(cursor.fetchall())
    return {
        (table, name): _Column(
            name,
            tuple(
                Fault(fault.kind, fault.expression.replace("{unit}", _unit(scale)))
                for fault in MYSQL.get("json" if (table, name) in documents else type_, ())
            ),
            "JSON_NORMALIZE({})"
            if (table, name) in documents
            else PRINTED.get(type_, "CAST(v AS CHAR)").replace("v", "{}", 1),
        )
        for table, name, type_, scale in described
    }
