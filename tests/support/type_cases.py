"""The type cases: values, how they are put into a table, and what the server prints of them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pymysql

from streams_engine.testing.servers import Server
from tests.support.databases import End

Case = dict[str, Any]

PINNED = """SET timezone = 'UTC'; SET datestyle = 'ISO, YMD'; SET intervalstyle = 'postgres';
SET extra_float_digits = 1; SET bytea_output = 'hex'; SET lc_monetary = 'C'"""


WIDTH = 20
"""Cases in one table: a row of MySQL holds 64 kB."""


def column(case: Case) -> str:
    return str(case["id"]).replace("-", "_")


# MySQL and MariaDB


@dataclass
class Held:
    """What the source holds of a case: type, how its server prints it, and whether NULL may be."""

    type: str
    text: str | None
    nullable: bool


PRINTED = {
    "bit": "CONV(HEX(v), 16, 2)",
    "float": "CAST(CAST(v AS DOUBLE) AS CHAR)",
    **dict.fromkeys(
        ("binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob", "geometry", "point"),
        "HEX(v)",
    ),
}

ZERO = re.compile(r"^\d{4}-(00-\d\d|\d\d-00)|^0000")


def is_zero_date(held: Held) -> bool:
    moments = held.type in ("date", "datetime", "timestamp")
    return moments and held.text is not None and ZERO.match(held.text) is not None


def probe(server: Server, database: str, wanted: list[Case]) -> dict[str, str]:
    """The cases that this server has no such type or value for."""
    impossible = {}
    with closing(server.connect(database)) as connection, connection.cursor() as cursor:
        cursor.execute("SET time_zone = '+00:00'")
        for case in wanted:
            cursor.execute("SET SESSION sql_mode = DEFAULT")
            if "sql_mode" in case:
                cursor.execute("SET SESSION sql_mode = %s", (mode(case),))
            cursor.execute("DROP TEMPORARY TABLE IF EXISTS probe")
            try:
                cursor.execute(f"CREATE TEMPORARY TABLE probe (v {case['type']})")
                cursor.execute(f"INSERT INTO probe VALUES ({case['literal_sql']})")
            except pymysql.MySQLError as error:
                impossible[case["id"]] = str(error)
    return impossible


def mode(case: Case) -> str:
    return "ALLOW_INVALID_DATES" if "ALLOW_INVALID" in case.get("sql_mode", "") else ""


def grouped(wanted: list[Case], width: int = WIDTH) -> dict[str, list[Case]]:
    """Tables of a few cases each, a column a case; those of one sql_mode together."""
    tables: dict[str, list[Case]] = {}
    kinds: dict[str | None, list[Case]] = {}
    for case in wanted:
        kinds.setdefault(mode(case) if "sql_mode" in case else None, []).append(case)
    for of_kind in kinds.values():
        for start in range(0, len(of_kind), width):
            tables[f"t{len(tables)}"] = of_kind[start : start + width]
    return tables


def definition(name: str, members: list[Case]) -> tuple[str, str]:
    columns = ", ".join(f"{column(case)} {case['type']}" for case in members)
    values = ", ".join(case["literal_sql"] for case in members)
    return (
        f"CREATE TABLE {name} (id INT PRIMARY KEY, {columns})",
        f"INSERT INTO {name} VALUES (1, {values})",
    )


def fill(server: Server, database: str, tables: Mapping[str, list[Case]]) -> None:
    with closing(server.connect(database)) as connection, connection.cursor() as cursor:
        cursor.execute("SET time_zone = '+00:00'")
        for name, members in tables.items():
            cursor.execute("SET SESSION sql_mode = DEFAULT")
            if "sql_mode" in members[0]:
                cursor.execute("SET SESSION sql_mode = %s", (mode(members[0]),))
            for statement in definition(name, members):
                cursor.execute(statement)


def held_values(source: End, tables: Mapping[str, list[Case]]) -> dict[str, Held]:
    described = source.rows(
        "SELECT column_name, data_type, is_nullable FROM information_schema.columns "
        f"WHERE table_schema = '{source.database}'"
    )
    types = {name: (kind, nullable == "YES") for name, kind, nullable in described}
    found = {}
    with closing(source.server.connect(source.database)) as connection:
        cursor = connection.cursor()
        cursor.execute("SET time_zone = '+00:00'")
        for name, members in tables.items():
            shown = [
                PRINTED.get(types[column(c)][0], "CAST(v AS CHAR)").replace("v", column(c), 1)
                for c in members
            ]
            cursor.execute(f"SELECT {', '.join(shown)} FROM {name}")
            for case, text in zip(members, cursor.fetchone(), strict=True):
                kind, nullable = types[column(case)]
                # MariaDB's JSON is LONGTEXT with a check
                kind = "json" if case["type"].startswith("json") else kind
                found[case["id"]] = Held(kind, text, nullable)
    return found


# PostgreSQL


def prepare_postgres(end: End, wanted: list[Case]) -> dict[str, str]:
    """Make types and extensions. Returns the cases that this server has no such type for."""
    impossible: dict[str, str] = {}
    broken: dict[str, str] = {}
    with closing(end.server.connect(end.database)) as connection:
        connection.execute(PINNED)
        for setup in sorted({case.get("setup_sql", "CREATE EXTENSION citext") for case in wanted}):
            try:
                connection.execute(setup)
            except psycopg.Error as error:
                broken[setup] = str(error)
        for case in wanted:
            try:
                connection.execute(f"CREATE TEMPORARY TABLE probe (v {case['type']})")
                connection.execute(f"INSERT INTO probe VALUES ({case['literal_sql']})")
            except psycopg.Error as error:
                impossible[case["id"]] = broken.get(case.get("setup_sql", ""), str(error))
            connection.execute("DROP TABLE IF EXISTS probe")
    return impossible


def cases(path: Path, *databases: str) -> list[Case]:
    lines = (path / "type_cases.jsonl").read_text().splitlines()
    return [case for case in map(json.loads, lines) if case["db"] in databases]
