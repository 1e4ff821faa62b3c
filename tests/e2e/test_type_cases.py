"""Every type case of the shared file, moved: what the target prints is what the source prints.

A column a case, twenty to a table, one run a route. The comparison is written here
and shares nothing with the engine. Values that PostgreSQL cannot hold follow the documented
policy: a zero date is NULL and counted, also in a column that was NOT NULL; a TIME outside a day
and the error value of an ENUM are refused by name. Nothing else may change.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pymysql

from streams_engine.errors import StreamsError
from streams_engine.testing.servers import Server

from .moving import End, move

Case = dict[str, Any]

PINNED = """SET timezone = 'UTC'; SET datestyle = 'ISO, YMD'; SET intervalstyle = 'postgres';
SET extra_float_digits = 1; SET bytea_output = 'hex'; SET lc_monetary = 'C'"""


WIDTH = 20
"""Cases in one table: a row of MySQL holds 64 kB."""


def cases(path: Path, *databases: str) -> list[Case]:
    lines = (path / "type_cases.jsonl").read_text().splitlines()
    return [case for case in map(json.loads, lines) if case["db"] in databases]


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


def single(text: str) -> bytes:
    return struct.pack(">f", float(text))


def double(text: str) -> bytes:
    return struct.pack(">d", float(text))


def moment(text: str) -> str:
    """Trailing zeros of the fraction away, and the +00 that PostgreSQL prints for an instant."""
    text = text.removesuffix("+00")
    return text.rstrip("0").rstrip(".") if "." in text else text


def document(text: str) -> Any:
    """JSON with exact numbers; a boolean stays apart from a number."""
    found = json.loads(text, parse_float=Decimal, parse_int=Decimal)
    return json.loads(json.dumps(found, default=lambda number: {"#": str(number.normalize())}))


def bits(source: str, target: str) -> bool:
    if target in ("true", "false"):
        return int(source, 2) == (target == "true")
    return source.zfill(len(target)) == target


def number(source: str, target: str) -> bool:
    if target in ("true", "false"):
        return int(source) == (target == "true")
    return Decimal(source) == Decimal(target)


def labels(source: str, target: str) -> bool:
    return (source.split(",") if source else []) == json.loads(target)


def same_by(key: Callable[[str], Any]) -> Callable[[str, str], bool]:
    return lambda source, target: key(source) == key(target)


SAME: Mapping[str, Callable[[str, str], bool]] = {
    **dict.fromkeys(("tinyint", "smallint", "mediumint", "int", "bigint", "year"), number),
    "decimal": lambda source, target: Decimal(source).as_tuple() == Decimal(target).as_tuple(),
    "float": same_by(single),
    "double": same_by(double),
    "bit": bits,
    "set": labels,
    "json": same_by(document),
    **dict.fromkeys(("date", "datetime", "timestamp", "time"), same_by(moment)),
    **{name: same_by(str.lower) for name, how in PRINTED.items() if how == "HEX(v)"},
}
"""By MySQL's type; every other one must be printed alike."""

ZERO = re.compile(r"^\d{4}-(00-\d\d|\d\d-00)|^0000")


def agrees(held: Held, target: str | None) -> bool:
    if held.text is None or target is None:
        return held.text is target
    return SAME.get(held.type, lambda source, printed: source == printed)(held.text, target)


def is_zero_date(held: Held) -> bool:
    moments = held.type in ("date", "datetime", "timestamp")
    return moments and held.text is not None and ZERO.match(held.text) is not None


def must_be_refused(held: Held) -> bool:
    """What PostgreSQL's type cannot hold, and what does not become NULL."""
    if held.text is None:
        return False
    if held.type == "time":
        hours = int(held.text.split(":")[0])
        return held.text.startswith("-") or (hours >= 24 and moment(held.text) != "24:00:00")
    if held.type == "enum":
        return held.text == ""
    return False


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


def target_text(held: Held, name: str) -> str:
    if held.type in ("binary", "varbinary", "geometry", "point") or "blob" in held.type:
        return f"encode({name}, 'hex')"
    if held.type == "set":
        return f"array_to_json({name})::text"
    return f"host({name})" if held.type.startswith("inet") else f"{name}::text"


def printed(end: End, tables: Mapping[str, Mapping[str, str]]) -> dict[str, str | None]:
    """What PostgreSQL prints: {column: text} for {table: {column: expression}}."""
    found: dict[str, str | None] = {}
    with closing(end.server.connect(end.database)) as connection:
        connection.execute(PINNED)
        for name, columns in tables.items():
            query = f"SELECT {', '.join(columns.values())} FROM public.{name}"
            row = connection.execute(query).fetchone()
            assert row is not None, f"{name} is empty"
            found.update(zip(columns, row, strict=True))
    return found


def test_mysql_to_postgres(
    mysql_server: Server,
    pg18: Server,
    database: Any,
    shared_data: Path,
    counted: Callable[[str], None],
) -> None:
    wanted = cases(shared_data, "mysql", *(["mariadb"] if mysql_server.kind == "mariadb" else []))
    source = End(mysql_server, database(mysql_server))
    target = End(pg18, database(pg18))
    impossible = probe(mysql_server, source.database, wanted)
    wanted = [case for case in wanted if case["id"] not in impossible]
    probing = End(mysql_server, database(mysql_server))
    everything = grouped(wanted)
    fill(mysql_server, probing.database, everything)
    held = held_values(probing, everything)
    refused = [case for case in wanted if must_be_refused(held[case["id"]])]
    moved = grouped([case for case in wanted if case not in refused])
    alone = {f"r{i}": [case] for i, case in enumerate(refused)}
    fill(mysql_server, source.database, {**moved, **alone})

    stats = move(source, target, tables=list(moved))

    found = printed(
        target,
        {
            name: {column(c): target_text(held[c["id"]], column(c)) for c in members}
            for name, members in moved.items()
        },
    )
    wrong: dict[str, Any] = {}
    nulled: list[str] = []
    for case in (case for members in moved.values() for case in members):
        mine, theirs = held[case["id"]], found[column(case)]
        nulled += [column(case)] * is_zero_date(mine)
        if not (theirs is None if is_zero_date(mine) else agrees(mine, theirs)):
            wrong[case["id"]] = (case["type"], mine, theirs)
    wrong |= refusals(source, target, alone)
    counted(
        f"{mysql_server.kind} -> PostgreSQL: {len(wanted) - len(wrong)} of {len(wanted)} held, "
        f"{len(nulled)} of them zero dates as NULL, {len(refused)} refused; "
        f"{len(impossible)} this server does not take: {sorted(impossible)}"
    )
    assert not wrong
    assert len(impossible) <= 4, impossible
    counted = [f.object.split(".")[-1] for f in stats.findings if f.code == "zero-dates"]
    assert sorted(counted) == sorted(nulled)


def refusals(source: End, target: End, alone: Mapping[str, list[Case]]) -> dict[str, Any]:
    """Those of the tables that are not refused by name, one row each."""
    wrong: dict[str, Any] = {}
    for name, (case,) in alone.items():
        try:
            move(source, target, tables=[name])
            wrong[case["id"]] = (case["type"], "was not refused")
        except StreamsError as error:
            where = str(error)
            if error.code != "ROW_REJECTED" or name not in where or column(case) not in where:
                wrong[case["id"]] = (case["type"], error.code, where)
    return wrong


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


def test_postgres_to_postgres(
    pg_server: Server,
    pg18: Server,
    database: Any,
    shared_data: Path,
    counted: Callable[[str], None],
) -> None:
    wanted = cases(shared_data, "postgres")
    source = End(pg_server, database(pg_server))
    target = End(pg18, database(pg18))
    impossible = prepare_postgres(source, wanted)
    # A server built without libxml, or without an extension, cannot be the target of such a value.
    impossible |= prepare_postgres(End(pg18, database(pg18)), wanted)
    wanted = [case for case in wanted if case["id"] not in impossible]
    tables = grouped(wanted)
    with closing(source.server.connect(source.database)) as connection:
        connection.execute(PINNED)
        for name, members in tables.items():
            for statement in definition(name, members):
                connection.execute(statement)

    move(source, target, tables=list(tables))

    shown = {
        name: {column(c): f"{column(c)}::text" for c in members} for name, members in tables.items()
    }
    before, after = printed(source, shown), printed(target, shown)
    wrong = {
        case["id"]: (case["type"], before[column(case)], after[column(case)])
        for case in wanted
        if before[column(case)] != after[column(case)]
    }
    counted(
        f"{pg_server.version} -> {pg18.version}: {len(wanted) - len(wrong)} of "
        f"{len(wanted)} held; {len(impossible)} not on both servers: {sorted(impossible)}"
    )
    assert not wrong
    assert len(impossible) <= 8, impossible
