"""Every type of a source into every type that a table may have already, on real servers.

What arrives is compared by the servers' own texts: each row is there with its value, or is set
aside. No value is rounded, cut or guessed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

import pytest

from streams_engine import Stream
from streams_engine.errors import TargetConflict
from streams_engine.testing.servers import Server
from tests.support.databases import End

TEXTS = (
    "abc", "ab  ", "", "12", "-7", "007", "1.5", "1.255", "99999999999", "1e3", "NaN", "now",
    "today", "infinity", "2024-02-03", "2024-02-30", "2024-02-03 10:11:12",
    "2024-02-03 10:11:12.5", "2024-02-03T10:11:12Z", "10:11:12", "10:11:12.25", "true", "no", "0",
    "1", "éèêëé", '{"a": 1}', '{"a": 1, "a": 2}', "[1, 2]",
    "0B8F2D6E-3C1A-4E52-9D6B-1C2D3E4F5A6B", "127.0.0.1", "1 day", "0101", "x", " 12",
)  # fmt: skip
MOMENTS = (
    "2024-02-03 10:11:12.500000", "2024-02-03 10:11:12", "2024-02-03 00:00:00",
    "1970-01-01 00:00:01", "2037-01-01 00:00:00", "1800-01-01 00:00:00.000001",
)  # fmt: skip
NUMBERS = ("0", "1", "-1", "2", "127", "128", "300", "40000", "2147483647", "1999")

MYSQL: Mapping[str, Sequence[str]] = {
    "tinyint(1)": ("0", "1", "5", "-3"),
    "int": NUMBERS,
    "bigint unsigned": (*NUMBERS[:2], "18446744073709551615", "9007199254740993"),
    "decimal(30,6)": ("1.5", "0.000001", "12345678901234.5", "99", "0.1", "-0.25"),
    "double": ("0.1", "1e20", "1.5", "3", "16777217", "-0.25"),
    "float": ("0.5", "3", "-0.25"),
    "varchar(60)": TEXTS,
    "char(10)": ("abc", "", "12", "true", "2024-02-03"),
    "longtext": TEXTS,
    "date": ("2024-02-03", "1800-01-01", "2037-01-01"),
    "datetime(6)": MOMENTS,
    "timestamp(6)": MOMENTS[:5],
    "time(6)": ("10:11:12.5", "10:11:12", "00:00:00", "-01:00:00", "30:00:00"),
    "binary(3)": ("abc", "a", ""),
    "varbinary(20)": ("abc", "a", "", "0123456789abcdef"),
    "json": ('{"a": 1}', "[1, 2]", "3"),
    "enum('x','y','12')": ("x", "12"),
    "set('x','y')": ("x", "x,y", ""),
    "year": ("0", "1999", "2155"),
}
POSTGRES: Mapping[str, Sequence[str]] = {
    "boolean": ("true", "false"),
    "smallint": NUMBERS[:7],
    "integer": NUMBERS,
    "bigint": (*NUMBERS, "9007199254740993"),
    "numeric": ("1.5", "0.000001", "12345678901234.5", "99", "0.1", "NaN", "1e30", "-0.25"),
    "numeric(12,4)": ("1.5", "0.0001", "99", "0.1"),
    "double precision": ("0.1", "1e20", "1.5", "3", "16777217", "NaN", "Infinity"),
    "real": ("0.5", "3", "-0.25"),
    "text": TEXTS,
    "varchar(60)": TEXTS,
    "char(10)": ("abc", "", "12", "true", "2024-02-03"),
    "date": ("2024-02-03", "1800-01-01", "2037-01-01", "infinity"),
    "timestamp": (*MOMENTS, "infinity"),
    "timestamptz": (*MOMENTS, "infinity"),
    "time": ("10:11:12.5", "10:11:12", "00:00:00"),
    "bytea": ("abc", "a", "", "0123456789abcdef"),
    "jsonb": ('{"a": 1}', "[1, 2]", "3"),
    "uuid": ("0b8f2d6e-3c1a-4e52-9d6b-1c2d3e4f5a6b",),
    "inet": ("127.0.0.1", "10.0.0.0/8"),
    "interval": ("1 day", "10:11:12"),
    "text[]": ("{x}", "{x,y}", "{}", '{"a,b"}'),
}
INTO_POSTGRES = (
    "boolean", "smallint", "integer", "bigint", "numeric", "numeric(10,2)", "numeric(3,0)",
    "real", "double precision", "text", "varchar(3)", "varchar(40)", "char(5)", "date",
    "timestamp", "timestamp(0)", "timestamptz", "timestamptz(1)", "time", "time(0)", "uuid",
    "json", "jsonb", "inet", "bytea", "bit(8)", "interval", "text[]",
)  # fmt: skip
INTO_MYSQL = (
    "tinyint(1)", "tinyint unsigned", "smallint", "int", "int unsigned", "bigint",
    "bigint unsigned", "decimal(10,2)", "decimal(3,0)", "float", "double", "varchar(3)",
    "varchar(40)", "char(5)", "tinytext", "text", "longtext", "date", "datetime", "datetime(6)",
    "timestamp NULL", "timestamp(1) NULL", "time", "time(6)", "year", "json", "binary(3)",
    "varbinary(5)", "longblob", "bit(8)", "enum('x','y','12')", "set('x','y')",
)  # fmt: skip


def _shown(value: Any) -> Any:
    """One form of the texts that mean one value."""
    if value is None:
        return None
    if isinstance(value, bytes | memoryview):
        return bytes(value).hex()
    text = str(value).removesuffix("/32")
    if text.lower() in ("true", "false"):
        return str(int(text.lower() == "true"))
    text = re.sub(r"(?:\+00(?::00)?|Z)$", "", text).replace("T", " ", 1)
    if re.match(r"\d{4}-\d\d-\d\d", text):
        text = re.sub(r"\.?0*$", "", text) if "." in text else text
        return text.removesuffix(" 00:00:00")
    try:
        return str(Decimal(text).normalize())
    except InvalidOperation:
        pass
    if re.match(r"-?\d+:\d\d:\d\d", text):
        return re.sub(r"\.?0*$", "", text) if "." in text else text
    if text[:1] == "[" and '"' in text:
        return ",".join(json.loads(text))
    if text[:1] in "{[":
        try:
            return str(json.loads(text)) if text != "[]" else ""
        except ValueError:
            return text
    return text.lower().replace("-", "") if re.match(r"^[0-9a-fA-F]{8}-", text) else text


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


class _Tables:
    """One source table a type, and one target table of each type for it."""

    def __init__(self, source: End, target: End, types: Mapping[str, Sequence[str]]) -> None:
        self.source, self.target, self.types = source, target, types
        self.wrong: list[tuple[Any, ...]] = []
        for place, (native, values) in enumerate(types.items()):
            rows = ", ".join(f"({i}, {_quoted(v)})" for i, v in enumerate(values))
            source.run(f"CREATE TABLE s{place} (id int PRIMARY KEY, v {native})")
            source.run(f"INSERT INTO s{place} VALUES {rows}, (99, NULL)")

    def into(self, native: str) -> dict[str, str | None]:
        """Load all into columns of one type. Returns by source type the refusal, or None."""
        told: dict[str, str | None] = {}
        for place, name in enumerate(self.types):
            self.target.run(f"DROP TABLE IF EXISTS s{place}")
            self.target.run(f"CREATE TABLE s{place} (id int PRIMARY KEY, v {native})")
            told[name] = None
        left = dict(enumerate(self.types))
        while left:
            wanted = [f"s{place}" for place in left]
            stream = Stream(
                self.source.url, self.target.url, tables=wanted, on_error="quarantine", name="fits"
            )
            try:
                stream.run(fresh=True)
            except TargetConflict as error:
                for table in error.details.get("tables", [error.details["table"]]):
                    told[left.pop(int(table.rpartition("s")[2]))] = str(error)
                continue
            for place, name in left.items():
                self.compare(place, name, native)
            break
        return told

    def compare(self, place: int, name: str, native: str) -> None:
        wanted = dict(self.source.rows(f"SELECT id, {self.text(self.source, name)} FROM s{place}"))
        column = self.text(self.target, native)
        found = dict(self.target.rows(f"SELECT id, {column} FROM s{place}"))
        for key, value in found.items():
            blank = name.startswith("char") and isinstance(value, str)
            if _shown(value.rstrip() if blank else value) != _shown(wanted[key]):
                self.wrong.append((name, native, wanted[key], value))
        if found.get(99, "missing") is not None:
            self.wrong.append((name, native, "NULL", found.get(99, "missing")))

    @staticmethod
    def text(end: End, native: str) -> str:
        """A column as the server's own text; bytes as they are."""
        base = re.split("[( ]", native)[0]
        if base in ("bytea", "binary", "varbinary", "longblob"):
            return "v"
        if end.server.kind == "postgresql":
            ending = {"date": "YYYY-MM-DD", "timestamp": "YYYY-MM-DD HH24:MI:SS.US"}
            shape = ending.get(base.removesuffix("tz"))
            zone = " AT TIME ZONE 'UTC'" if base == "timestamptz" else ""
            if base == "bit":
                return "v::int::text"
            if shape:
                return f"CASE WHEN isfinite(v) THEN to_char(v{zone}, '{shape}') ELSE v::text END"
            return "to_json(v)::text" if base == "text[]" else "v::text"
        if base == "bit":
            return "v + 0"
        if base == "timestamp":
            return "CAST(CONVERT_TZ(v, @@session.time_zone, '+00:00') AS CHAR)"
        if base == "float":
            return "CAST(v * 1E0 AS CHAR)"
        return "CAST(v AS CHAR)"


# (from, to): what must be possible, beside what the types hold anyway.
DEMANDED = {
    ("varchar(60)", "varchar(3)"), ("longtext", "varchar(40)"), ("longtext", "text"),
    ("varchar(60)", "integer"), ("text", "int"), ("varchar(60)", "timestamp"), ("text", "datetime"),
    ("timestamp", "datetime"), ("timestamptz", "timestamp NULL"), ("datetime(6)", "timestamptz"),
    ("timestamp(6)", "timestamp"), ("int", "smallint"), ("bigint", "int"), ("int", "numeric(10,2)"),
    ("tinyint(1)", "boolean"), ("boolean", "tinyint(1)"), ("uuid", "varchar(40)"),
    ("varchar(60)", "uuid"), ("text", "enum('x','y','12')"), ("text[]", "set('x','y')"),
    ("bytea", "binary(3)"), ("smallint", "year"), ("numeric", "decimal(10,2)"),
    ("jsonb", "longtext"), ("longtext", "jsonb"), ("date", "timestamp"), ("time", "time"),
}  # fmt: skip

ROUTES: Mapping[tuple[str, str], tuple[Mapping[str, Sequence[str]], Sequence[str]]] = {
    ("mysql9", "pg18"): (MYSQL, INTO_POSTGRES[::2]),
    ("mariadb", "pg15"): (MYSQL, INTO_POSTGRES[1::2]),
    ("pg18", "mysql9"): (POSTGRES, INTO_MYSQL[::2]),
    ("pg15", "mariadb"): (POSTGRES, INTO_MYSQL[1::2]),
    ("pg15", "pg18"): (POSTGRES, INTO_POSTGRES[2::6]),
    ("mysql9", "mariadb"): (MYSQL, INTO_MYSQL[3::6]),
}
"""Flavours differ little: each shows its half of the types."""


@pytest.mark.parametrize(("from_name", "to_name"), ROUTES)
def test_each_value_is_there_exactly_or_is_set_aside(
    from_name: str, to_name: str, request: pytest.FixtureRequest, database: Any
) -> None:
    servers: list[Server] = [request.getfixturevalue(name) for name in (from_name, to_name)]
    types, wanted = ROUTES[from_name, to_name]
    tables = _Tables(*(End(server, database(server)) for server in servers), types)
    told = {(name, native): why for native in wanted for name, why in tables.into(native).items()}
    assert not tables.wrong, "\n".join(map(str, tables.wrong))
    known = DEMANDED & told.keys()
    assert {pair: told[pair] for pair in known if told[pair] is not None} == {}
