"""What a value must be after a move, for every route of the type cases, and how to read it there.

Nothing here is shared with the engine. A `Fact` is what the source's server prints of a case and
the family that its type belongs to; a `Duty` is what the published rules demand of it on a route;
`mysql_agrees`, `csv_agrees`, `jsonl_agrees` and `parquet_agrees` compare it with what came.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import struct
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from decimal import Context, Decimal, InvalidOperation
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pymysql

from streams_engine.errors import StreamsError
from streams_engine.stats import Stats
from streams_engine.testing.servers import Server
from tests.support.databases import End, move
from tests.support.type_cases import (
    PINNED,
    PRINTED,
    Case,
    Held,
    cases,
    column,
    definition,
    fill,
    grouped,
    held_values,
    is_zero_date,
    prepare_postgres,
    probe,
)

FORMATS = ("parquet", "csv", "jsonl")
WIDE = Context(prec=400, Emax=9999, Emin=-9999)
"""Wide enough that nothing which a server prints is rounded by the comparison itself."""

RUNS = 80
"""So many runs at most to find the cases that stop a route, each alone."""


class Duty(Enum):
    """What the rules demand of a case on a route."""

    PAUSE = "hold"
    NULL = "null"
    STATED = "stated"
    """Zero for minus zero, as the plan says of the column."""
    REFUSE = "refuse"
    EITHER = "either"


TOGETHER = (Duty.PAUSE, Duty.NULL, Duty.STATED)


@dataclass(frozen=True)
class Fact:
    """What the source's server prints of a case."""

    family: str
    text: str | None
    """Bytes as hex of lower case, BIT of MySQL as a decimal integer, all else as printed."""
    nullable: bool = True
    native: str = ""
    json: str | None = None
    """An array: what the source's server makes of it as JSON."""
    """JSON on MySQL: what kind of value the server holds."""
    zero_date: bool = False


def extra(prefix: str, database: str, *lines: tuple[str, str], setup: str = "") -> list[Case]:
    """Cases that the shared file lacks, in its form."""
    made = {"setup_sql": setup} if setup else {}
    return [
        {"id": f"{prefix}-{i:04}", "db": database, "type": kind, "literal_sql": sql, **made}
        for i, (kind, sql) in enumerate(lines, 1)
    ]


EXTRA = [
    *extra(
        "xp",
        "postgres",
        ("numeric", "'NaN'"),
        ("numeric(10,2)", "'NaN'"),
        ("numeric", "1e40"),
        ("numeric", "1e-31"),
        ("numeric", "1e-30"),
        ("numeric", f"-{'9' * 35}.{'9' * 30}"),
        ("numeric", "repeat('7', 1000)::numeric"),
        ("numeric(65,30)", f"-{'9' * 35}.{'9' * 30}"),
        ("bit(64)", "B'" + "1" * 64 + "'"),
        ("bit(65)", "B'" + "01" * 32 + "1'"),
        ("varbit", "B''"),
        ("float8", "'-0'"),
        ("float8", "5e-324"),
        ("float8", "1.7976931348623157e308"),
        ("float8", "'-Infinity'"),
        ("float4", "'NaN'"),
        ("float4", "1e-45"),
        ("float4", "3.4028235e38"),
        ("float4", "16777217"),
        ("jsonb", "'123456789012345678901234567890'"),
        ("jsonb", "'{\"a\": 0.12345678901234567890123}'"),
        ("json", "'[1e400]'"),
        ("json", "'9223372036854775807'"),
        ("json", "'-9223372036854775809'"),
        ("jsonb", "'null'"),
        ("jsonb", "'\"\"'"),
        ("date", "'5874897-12-31'"),
        ("date", "'4713-01-01 BC'"),
        ("date", "'-infinity'"),
        ("date", "'0001-01-01'"),
        ("date", "'9999-12-31'"),
        ("timestamp", "'-infinity'"),
        ("timestamp", "'294276-12-31 23:59:59.999999'"),
        ("timestamp", "'4713-01-01 00:00:00 BC'"),
        ("timestamp", "'9999-12-31 23:59:59.999999'"),
        ("timestamptz", "'9999-12-31 23:59:59.999999-01'"),
        ("time", "'00:00:00.000001'"),
        ("timetz", "'24:00:00+15:59'"),
        ("interval", "'-1 year 2 days -00:00:00.000001'"),
        ("text", "''"),
        ("text", "'NULL'"),
        ("text", "'\\N'"),
        ("text", "E'a\\r\\n,\"b\"\\t\\\\.'"),
        ("text", "'\U0001f680'"),
        ("text", "' a '"),
        ("varchar(3)", "''"),
        ("bytea", "''"),
        ("bytea", "'\\x00ff0a0d22'"),
        ("text[]", "ARRAY['NULL', NULL, '', 'a\"b\\c']"),
        ("int[]", "'[0:2]={1,2,3}'"),
        ("numeric[]", "'{NaN,1.50}'"),
        ("numeric[]", "'{123456789012345678901234567890}'"),
        ("float8[]", "'{Infinity,-0.5}'"),
        ("date[]", "'{infinity,2020-02-29}'"),
        ('"char"', "'x'"),
        ("name", "'abc'"),
        ("regclass", "'pg_class'"),
    ),
    *extra(
        "xe",
        "postgres",
        ("oddenum", "''"),
        ("oddenum", "'a,b'"),
        ("oddenum", "'it''s'"),
        setup="CREATE TYPE oddenum AS ENUM ('', 'a,b', 'it''s')",
    ),
    *extra(
        "xd",
        "postgres",
        ("price", "9.90"),
        setup="CREATE DOMAIN price AS numeric(8,2) CHECK (VALUE > 0)",
    ),
    *extra(
        "xm",
        "mysql",
        ("json", "'123456789012345678901234567890'"),
        ("json", "'0.12345678901234567890123'"),
        ("json", "'null'"),
        ("json", "'-9223372036854775808'"),
        ("decimal(65,30)", f"-{'9' * 35}.{'9' * 30}"),
        ("double", "-0e0"),
        ("double", "1.7976931348623157e308"),
        ("double", "5e-324"),
        ("float", "3.40282e38"),
        ("float", "16777217"),
        ("text", "''"),
        ("text", "'NULL'"),
        ("text", "'\\\\N'"),
        ("text", "'a\\r\\n,\"b\"\\t\\\\.'"),
        ("varchar(9)", "'a\\0b'"),
        ("varchar(9)", "_utf8mb4 x'F09F9A80'"),
        ("varchar(9)", "' a '"),
        ("blob", "''"),
        ("varbinary(9)", "x'00ff0a0d22'"),
        ("time(6)", "'838:59:59.000000'"),
        ("time(6)", "'24:00:00.000001'"),
        ("year", "1901"),
        ("timestamp(6)", "'2038-01-19 03:14:07.999999'"),
        ("datetime(6)", "'9999-12-31 23:59:59.999999'"),
        ("date", "'9999-12-31'"),
        ("tinyint(1)", "-128"),
        ("bigint unsigned", "18446744073709551615"),
        ("enum('','a,b','it''s')", "'it''s'"),
        ("set('a b','c')", "'a b,c'"),
    ),
]
"""Edges that the shared file lacks."""


# Numbers, moments and documents


def exact(text: str) -> tuple[int, tuple[int, ...], Any] | None:
    """Sign, every digit and scale; None where it is no number."""
    try:
        found = Decimal(text)
    except InvalidOperation:
        return None
    return found.as_tuple() if found.is_finite() else (int(found.is_signed()), (), str(found))


def value(number: Decimal) -> str:
    return str(number.normalize(WIDE)) if number else "0"


def bits(family: str, text: str) -> bytes | None:
    """The bits of a float; None where it is no number or none that this width holds."""
    try:
        number = float(text)
        return struct.pack(">f" if family == "float32" else ">d", number)
    except (ValueError, OverflowError):
        return None


def digits(text: str) -> str:
    return re.sub(r"[eE].*|[-+.]", "", text).strip("0")


def shortest(family: str, text: str) -> str:
    """The fewest significant digits that give this float again."""
    width = np.float32 if family == "float32" else np.float64
    return digits(np.format_float_scientific(width(float(text)), unique=True))


CIVIL = re.compile(
    r"([+-]?\d{4,7})-(\d\d)-(\d\d)(?:([T ])(\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?)?"
    r"(\+\d\d(?::\d\d)?|Z)?( BC)?"
)
Civil = tuple[int, ...]


@dataclass(frozen=True)
class Moment:
    civil: Civil
    separator: str | None
    offset: str | None


def moment(text: str) -> Moment | None:
    """A date or timestamp, the year counted so that 1 BC is 0; None where it is none."""
    found = CIVIL.fullmatch(text)
    if found is None:
        return None
    year, month, day, separator, hour, minute, second, fraction, offset, before = found.groups()
    counted = 1 - int(year) if before else int(year)
    clock = tuple(int(part or 0) for part in (hour, minute, second))
    nanoseconds = int((fraction or "").ljust(9, "0"))
    return Moment((counted, int(month), int(day), *clock, nanoseconds), separator, offset)


def civil_of(days: int, nanoseconds: int = 0) -> Civil:
    """The proleptic Gregorian date so many days after 1970-01-01, and the time of day."""
    shifted = days + 719468
    era, of_era = divmod(shifted, 146097)
    year_of_era = (of_era - of_era // 1460 + of_era // 36524 - of_era // 146096) // 365
    of_year = of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    shifted_month = (5 * of_year + 2) // 153
    day = of_year - (153 * shifted_month + 2) // 5 + 1
    month = shifted_month + 3 if shifted_month < 10 else shifted_month - 9
    year = year_of_era + era * 400 + (month <= 2)
    seconds, rest = divmod(nanoseconds, 10**9)
    return (year, month, day, seconds // 3600, seconds // 60 % 60, seconds % 60, rest)


PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}


def civil_of_timestamp(count: int, unit: str) -> Civil:
    nanoseconds = count * (10**9 // PER_SECOND[unit])
    return civil_of(*divmod(nanoseconds, 86400 * 10**9))


def clock(text: str) -> str:
    """A time of day without the zeros that end its fraction."""
    return text.rstrip("0").rstrip(".") if "." in text else text


def clock_of(count: int, unit: str) -> str:
    seconds, rest = divmod(count * (10**9 // PER_SECOND[unit]), 10**9)
    shown = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    return clock(f"{shown}.{rest:09}")


def document(text: str, number: Callable[[Decimal], str] = value) -> Any:
    """JSON whose numbers compare by ``number``; a number stays apart from a text or a boolean."""

    def marked(found: Any) -> Any:
        if isinstance(found, dict):
            return {key: marked(item) for key, item in found.items()}
        if isinstance(found, list):
            return [marked(item) for item in found]
        return ("number", number(found)) if isinstance(found, Decimal) else found

    return marked(json.loads(text, parse_float=Decimal, parse_int=Decimal))


def as_double(number: Decimal) -> str:
    """All digits of the double nearest to a number."""
    return value(Decimal(float(number)))


def fits_double(text: str) -> bool:
    """Whether a reader of doubles shows this decimal again."""
    return Decimal(repr(float(text))) == Decimal(text)


SPECIAL = ("NaN", "Infinity", "-Infinity")
ENDLESS = ("infinity", "-infinity")


def text_agrees(fact: Fact, text: str) -> bool:
    """A value as text in a file, but for NULL and bytes."""
    mine = fact.text
    assert mine is not None
    match fact.family:
        case "integer":
            return re.fullmatch(r"-?\d+", text) is not None and int(text) == int(mine)
        case "boolean":
            return text == ("true" if mine in ("true", "t") else "false")
        case "decimal" | "digits":
            return text == mine if mine in SPECIAL else exact(text) == exact(mine)
        case "float32" | "float64":
            if mine in SPECIAL:
                return text == mine
            same = bits(fact.family, text) == bits(fact.family, mine)
            return same and digits(text) == shortest(fact.family, mine)
        case "date" | "datetime" | "instant":
            if mine in ENDLESS:
                return text == mine
            source, target = moment(mine), moment(text)
            if source is None or target is None or source.civil != target.civil:
                return False
            if fact.family == "date":
                return target.separator is None and target.offset is None
            wanted = "+00:00" if fact.family == "instant" else None
            return target.separator == "T" and target.offset == wanted
        case "time":
            return clock(text) == clock(mine)
        case "padded":
            return text.rstrip(" ") == mine.rstrip(" ")
    return text == mine


def csv_agrees(fact: Fact, text: str | None) -> bool:
    if fact.text is None or text is None:
        return fact.text is text
    if fact.family == "bytes":
        return re.fullmatch(r"([0-9a-fA-F]{2})*", text) is not None and text.lower() == fact.text
    return text_agrees(fact, text)


def jsonl_agrees(fact: Fact, found: Any) -> bool:
    """``found`` comes from `read_jsonl`: every number is a Decimal."""
    mine = fact.text
    if mine is None or found is None:
        return mine is found
    if isinstance(found, bool):
        return fact.family == "boolean" and found == (mine in ("true", "t"))
    if isinstance(found, Decimal):
        if fact.family == "integer":
            return text_agrees(fact, str(found))
        if fact.family in ("decimal", "digits"):
            return mine not in SPECIAL and exact(str(found)) == exact(mine) and fits_double(mine)
        return fact.family in ("float32", "float64") and text_agrees(fact, str(found))
    if not isinstance(found, str) or fact.family == "boolean":
        return False
    if fact.family in ("float32", "float64"):
        return mine in SPECIAL and found == mine
    if fact.family == "integer":  # a text only where a reader of doubles would round it
        return abs(int(mine)) > 2**53 and text_agrees(fact, found)
    if fact.family == "bytes":
        try:
            return base64.b64decode(found, validate=True).hex() == mine
        except binascii.Error:
            return False
    return text_agrees(fact, found)


def parquet_agrees(fact: Fact, scalar: pa.Scalar) -> bool:
    mine, kind = fact.text, scalar.type
    if mine is None or not scalar.is_valid:
        return mine is None and not scalar.is_valid
    match fact.family:
        case "integer":
            whole = pa.types.is_integer(kind) or (pa.types.is_decimal(kind) and kind.scale == 0)
            return bool(whole) and int(scalar.as_py()) == int(mine)
        case "boolean":
            return pa.types.is_boolean(kind) and scalar.as_py() == (mine in ("true", "t"))
        case "decimal":
            return pa.types.is_decimal(kind) and exact(str(scalar.as_py())) == exact(mine)
        case "float32" | "float64":
            wanted = pa.float32() if fact.family == "float32" else pa.float64()
            if kind != wanted:
                return False
            if mine == "NaN":
                return bool(np.isnan(scalar.as_py()))
            return bits(fact.family, repr(scalar.as_py())) == bits(fact.family, mine)
        case "bytes":
            binary = pa.types.is_binary(kind) or pa.types.is_large_binary(kind)
            binary |= pa.types.is_fixed_size_binary(kind)
            return bool(binary) and scalar.as_py().hex() == mine
        case "date":
            source = moment(mine)
            if source is None or not pa.types.is_date32(kind):
                return False
            return civil_of(scalar.value) == source.civil
        case "datetime" | "instant":
            source = moment(mine)
            if source is None or not pa.types.is_timestamp(kind):
                return False
            if kind.tz not in (("UTC", "+00:00") if fact.family == "instant" else (None,)):
                return False
            return civil_of_timestamp(scalar.value, kind.unit) == source.civil
        case "time":
            return pa.types.is_time64(kind) and clock_of(scalar.value, kind.unit) == clock(mine)
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        return False
    return text_agrees(
        replace(fact, family="padded" if fact.family == "padded" else "text"), scalar.as_py()
    )


FILE_AGREES: Mapping[str, Callable[[Fact, Any], bool]] = {
    "parquet": parquet_agrees,
    "csv": csv_agrees,
    "jsonl": jsonl_agrees,
}


def document_agrees(mine: str, theirs: str) -> bool:
    try:
        target = document(theirs)
    except ValueError:
        return False
    return document(mine) == target or document(mine) == document(theirs, as_double)


def mysql_agrees(fact: Fact, text: str | None) -> bool:
    """A value of PostgreSQL, with what MySQL prints of it by `mysql_expression`."""
    mine = fact.text
    if mine is None or text is None:
        return mine is text
    match fact.family:
        case "boolean":
            return text == ("1" if mine in ("true", "t") else "0")
        case "bytes":
            return text.lower() == mine
        case "decimal":
            return exact(text) == exact(mine)
        case "digits":
            theirs = exact(text)
            return theirs is not None and value(Decimal(text)) == value(Decimal(mine))
        case "float32" | "float64":
            return bits(fact.family, text) == bits(fact.family, mine)
        case "date" | "datetime" | "instant":
            source, target = moment(mine), moment(text)
            if source is None or target is None or target.offset is not None:
                return False
            return source.civil == target.civil
        case "time":
            return clock(text) == clock(mine)
        case "bits":
            return re.fullmatch("[01]+", text) is not None and text.zfill(len(mine)) == mine
        case "array":
            assert fact.json is not None
            return document_agrees(fact.json, text)
        case "json":
            return document_agrees(mine, text)
        case "padded":
            return text.rstrip(" ") == mine.rstrip(" ")
    return text == mine


MYSQL_TYPES: Mapping[str, str] = {
    "boolean": r"tinyint\(1\)",
    "digits": r"decimal\(65,30\)",
    "bytes": "longblob",
    "datetime": r"datetime(\([0-6]\))?",
    "instant": r"datetime(\([0-6]\))?",
    "time": r"time(\([0-6]\))?",
    "date": "date",
    "float32": "float",
    "float64": "double",
    "array": "json|longtext",
    "json": "json|longtext",
}
"""By the family: what the published rules make of a column on MySQL (JSON is LONGTEXT there)."""


def mysql_type(fact: Fact) -> str | None:
    """The published type of a column on MySQL, as a pattern."""
    if fact.family == "decimal":
        precision, _, scale = fact.native.removeprefix("numeric(")[:-1].partition(",")
        return rf"decimal\({precision},{scale or 0}\)"
    if fact.family == "bits":
        return re.escape(fact.native)
    if fact.family == "integer":
        widths = {"smallint": "smallint", "integer": "int", "bigint": "bigint"}
        return widths[fact.native] + r"(\(\d+\))?"
    if fact.native.startswith("enum "):
        return "enum.*"
    if fact.native in ("text", "uuid"):
        return {"text": "longtext", "uuid": r"char\(36\)"}[fact.native]
    return MYSQL_TYPES.get(fact.family)


def mysql_expression(fact: Fact, name: str) -> str:
    match fact.family:
        case "bytes":
            return f"HEX({name})"
        case "bits":
            return f"CONV(HEX({name}), 16, 2)"
        case "float32" | "float64":
            return f"CAST(CAST({name} AS DOUBLE) AS CHAR)"
    return f"CAST({name} AS CHAR)"


# What the rules demand


def json_duty(server: Server, text: str) -> Duty:
    """Asks the target's server what it would keep of a JSON text."""
    with closing(server.connect()) as connection, connection.cursor() as cursor:
        try:
            if server.kind == "mariadb":
                cursor.execute("SELECT IF(JSON_VALID(%s), %s, NULL)", (text, text))
            else:
                cursor.execute("SELECT CAST(CAST(%s AS JSON) AS CHAR)", (text,))
            (kept,) = cursor.fetchone()
        except pymysql.MySQLError:
            return Duty.REFUSE
    if kept is None:
        return Duty.REFUSE
    if document(text) == document(kept):
        return Duty.PAUSE
    # Shown with other digits, and still the very same double: nobody can tell.
    return Duty.EITHER if document_agrees(text, kept) else Duty.REFUSE


def float_duty(server: Server, fact: Fact) -> Duty:
    """Asks the target's server whether it holds these bits: MariaDB makes 0 of -0."""
    assert fact.text is not None
    width = np.float32 if fact.family == "float32" else np.float64
    shown = repr(float(width(float(fact.text))))  # every digit: FLOAT's largest is rounded upwards
    kind, name = "FLOAT" if fact.family == "float32" else "DOUBLE", server.create_database()
    with closing(server.connect(name)) as connection, connection.cursor() as cursor:
        try:
            cursor.execute(f"CREATE TABLE probe (v {kind})")
            cursor.execute("INSERT INTO probe VALUES (%s)", (shown,))
            cursor.execute("SELECT CAST(CAST(v AS DOUBLE) AS CHAR) FROM probe")
            if mysql_agrees(fact, kept := cursor.fetchone()[0]):
                return Duty.PAUSE
            zeros = float(fact.text) == float(kept) == 0 and server.kind == "mariadb"
            return Duty.STATED if zeros else Duty.REFUSE
        except pymysql.MySQLError:
            return Duty.REFUSE
        finally:
            server.drop_database(name)


def duty_mysql_to_mysql(fact: Fact, source: Server, target: Server) -> Duty:
    if fact.native == "enum" and fact.text == "":
        return Duty.EITHER
    if fact.native == "json" and fact.text is not None and source.kind != target.kind:
        return json_duty(target, fact.text)
    if fact.family in ("float32", "float64") and fact.text is not None:
        return float_duty(target, fact)
    return Duty.PAUSE


def duty_mysql_to_postgres(fact: Fact) -> Duty:
    """A TIME that is no time of a day, the error value of an ENUM and NUL in a text are refused."""
    if fact.family == "text" and "\0" in (fact.text or ""):
        return Duty.REFUSE
    if fact.text is None or fact.native not in ("time", "enum"):
        return Duty.NULL if fact.zero_date else Duty.PAUSE
    if fact.native == "enum":
        return Duty.PAUSE if fact.text else Duty.REFUSE
    hours = int(fact.text.split(":")[0])
    late = hours >= 24 and fact.text.rstrip("0").rstrip(".:") not in ("24", "24:00:00")
    return Duty.REFUSE if fact.text.startswith("-") or late else Duty.PAUSE


def fits_mysql_decimal(text: str) -> bool:
    """Whether decimal(65,30) holds it: 35 digits before the point and 30 after."""
    _, numerals, exponent = Decimal(text).normalize(WIDE).as_tuple()
    assert isinstance(exponent, int)
    return -exponent <= 30 and len(numerals) + exponent <= 35


def duty_postgres_to_mysql(fact: Fact, target: Server) -> Duty:
    mine = fact.text
    if mine is None:
        return Duty.PAUSE
    impossible = False
    match fact.family:
        case "decimal":
            impossible = mine in SPECIAL
        case "float32" | "float64":
            return Duty.REFUSE if mine in SPECIAL else float_duty(target, fact)
        case "digits":
            impossible = mine in SPECIAL or not fits_mysql_decimal(mine)
        case "date" | "datetime" | "instant":
            found = moment(mine)
            impossible = found is None or not 1 <= found.civil[0] <= 9999
        case "json":
            return json_duty(target, mine)
        case "array":
            assert fact.json is not None
            return json_duty(target, fact.json)
    return Duty.REFUSE if impossible else Duty.PAUSE


def duty_mysql_to_file(fact: Fact) -> Duty:
    if not fact.zero_date:
        return Duty.PAUSE
    return Duty.NULL if fact.nullable else Duty.REFUSE


def past_arrow(text: str | None) -> bool:
    """Whether 64 bits of microseconds since 1970 end before this moment: PostgreSQL's don't."""
    found = moment(text or "")
    return found is not None and found.civil > civil_of_timestamp(2**63 - 1, "us")


def duty_postgres_to_file(fact: Fact) -> Duty:
    """One for all formats: their columns have the types that the manifest names."""
    impossible = False
    match fact.family:
        case "decimal":
            impossible = fact.text in SPECIAL
        case "time":
            impossible = (fact.text or "").startswith("24:")
        case "date":
            impossible = fact.text in ENDLESS
        case "datetime" | "instant":
            impossible = fact.text in ENDLESS or past_arrow(fact.text)
    return Duty.REFUSE if impossible else Duty.PAUSE


# The sources


BYTES = ("binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob", "geometry", "point")
MYSQL_FAMILIES = {
    **dict.fromkeys(("tinyint", "smallint", "mediumint", "int", "bigint", "year"), "integer"),
    **dict.fromkeys(BYTES, "bytes"),
    "bit": "integer",
    "decimal": "decimal",
    "float": "float32",
    "double": "float64",
    "date": "date",
    "datetime": "datetime",
    "timestamp": "instant",
}
POSTGRES_FAMILIES = {
    **dict.fromkeys(("int2", "int4", "int8"), "integer"),
    "bool": "boolean",
    "float4": "float32",
    "float8": "float64",
    "bytea": "bytes",
    "bpchar": "padded",
    "date": "date",
    "timestamp": "datetime",
    "timestamptz": "instant",
    "time": "time",
    "json": "json",
    "jsonb": "json",
}


def mysql_fact(held: Held) -> Fact:
    family, text = MYSQL_FAMILIES.get(held.type, "text"), held.text
    if text is not None and family == "bytes":
        text = text.lower()
    if text is not None and held.type == "bit":
        text = str(int(text, 2))
    return Fact(family, text, held.nullable, held.type, zero_date=is_zero_date(held))


@dataclass
class MysqlSource:
    """A database of the cases that this server takes, and what it prints of them."""

    end: End
    impossible: dict[str, str]
    wanted: list[Case]
    facts: dict[str, Fact]

    @classmethod
    def prepare(cls, server: Server, database: Any, wanted: list[Case]) -> MysqlSource:
        end, probing = End(server, database(server)), End(server, database(server))
        impossible = probe(server, end.database, wanted)
        taken = [case for case in wanted if case["id"] not in impossible]
        tables = grouped(taken)
        fill(server, probing.database, tables)
        facts = {name: mysql_fact(held) for name, held in held_values(probing, tables).items()}
        return cls(end, impossible, taken, facts)

    def fill(self, tables: Mapping[str, list[Case]]) -> None:
        fill(self.end.server, self.end.database, tables)


def mysql_texts(
    end: End, tables: Mapping[str, list[Case]], expression: Callable[[Case], str]
) -> dict[str, str | None]:
    """What MySQL prints of each case; ``{}`` in the expression is the column."""
    found: dict[str, str | None] = {}
    with closing(end.server.connect(end.database)) as connection, connection.cursor() as cursor:
        cursor.execute("SET time_zone = '+00:00'")
        for name, members in tables.items():
            shown = ", ".join(expression(case).format(column(case)) for case in members)
            cursor.execute(f"SELECT {shown} FROM {name}")
            (row,) = cursor.fetchall()
            found |= zip((case["id"] for case in members), row, strict=True)
    return found


def mysql_printed(end: End, tables: Mapping[str, list[Case]], facts: Mapping[str, Fact]) -> Any:
    """By the same expression, chosen by the source's type, at either end."""
    return mysql_texts(
        end,
        tables,
        lambda case: PRINTED.get(facts[case["id"]].native, "CAST(v AS CHAR)").replace("v", "{}", 1),
    )


DESCRIBED = """
WITH RECURSIVE base AS (
    SELECT a.attname, a.atttypid AS type, a.atttypmod AS modifier, NOT a.attnotnull AS nullable
    FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND a.attnum > 0
    UNION ALL
    SELECT attname, t.typbasetype, t.typtypmod, nullable AND NOT t.typnotnull
    FROM base JOIN pg_type t ON t.oid = base.type WHERE t.typtype = 'd'
)
SELECT attname, t.typname, t.typtype, t.typcategory, format_type(type, modifier), nullable
FROM base JOIN pg_type t ON t.oid = base.type WHERE t.typtype <> 'd'
"""


@dataclass
class PostgresSource:
    """A database of the cases that this server takes, and what it prints of them."""

    end: End
    impossible: dict[str, str]
    wanted: list[Case]
    facts: dict[str, Fact]

    @classmethod
    def prepare(cls, server: Server, database: Any, wanted: list[Case]) -> PostgresSource:
        end = End(server, database(server))
        impossible = prepare_postgres(end, wanted)
        taken = [case for case in wanted if case["id"] not in impossible]
        source = cls(end, impossible, taken, {})
        tables = {f"probing_{name}": members for name, members in grouped(taken).items()}
        source.fill(tables)
        source.facts = postgres_facts(end, tables)
        end.run(*(f"DROP TABLE {name}" for name in tables))
        return source

    def fill(self, tables: Mapping[str, list[Case]]) -> None:
        statements = [s for name, members in tables.items() for s in definition(name, members)]
        self.end.run(*PINNED.split(";"), *statements)


def postgres_facts(end: End, tables: Mapping[str, list[Case]]) -> dict[str, Fact]:
    described = {row[0]: row[1:] for row in end.rows(DESCRIBED)}
    found = {}
    with closing(end.server.connect(end.database)) as connection:
        connection.execute(PINNED)
        for name, members in tables.items():
            for case in members:
                kind, typtype, category, native, nullable = described[column(case)]
                array = category == "A"
                as_json = f"to_jsonb({column(case)})::text" if array else "NULL"
                # The cast of an inet appends /32, which SELECT does not print.
                shown = "abbrev({})" if kind == "inet" else "{}::text"
                query = f"SELECT {shown.format(column(case))}, {as_json} FROM {name}"
                text, document_of = connection.execute(query).fetchone()
                family = POSTGRES_FAMILIES.get(kind, "text")
                if array:
                    family = "array"
                elif kind == "numeric":
                    family = "digits" if native == "numeric" else "decimal"
                elif kind == "bit" and int(native[4:-1]) <= 64:
                    family = "bits"
                if family == "bytes" and text is not None:
                    text = text.removeprefix("\\x")
                native = f"enum {native}" if typtype == "e" else native
                found[case["id"]] = Fact(family, text, nullable, native, document_of)
    return found


# The targets


@dataclass
class Arrival:
    """What came of the cases of some tables."""

    found: dict[str, Any] = field(default_factory=dict)
    types: dict[str, str] = field(default_factory=dict)
    stopped: dict[str, StreamsError | str] = field(default_factory=dict)
    """By the case: the error that moving it alone, or naming it, ended with."""
    stats: list[Stats] = field(default_factory=list)

    def add(self, other: Arrival) -> None:
        self.found |= other.found
        self.types |= other.types
        self.stopped |= other.stopped
        self.stats += other.stats


Reading = Callable[[End | str, Mapping[str, list[Case]]], Arrival]


def mysql_reading(printed: Callable[[End, Mapping[str, list[Case]]], Any]) -> Reading:
    """Reads what came into a database of MySQL, and the types that were made there."""

    def read(target: End | str, tables: Mapping[str, list[Case]]) -> Arrival:
        assert isinstance(target, End)
        types = dict(
            target.rows(
                "SELECT column_name, CONCAT_WS(' ', column_type, character_set_name) "
                "FROM information_schema.columns "
                f"WHERE table_schema = '{target.database}' AND column_name <> 'id'"
            )
        )
        return Arrival(
            printed(target, tables),
            {c["id"]: types[column(c)] for members in tables.values() for c in members},
        )

    return read


def file_reading(form: str) -> Reading:
    """Reads what came into a folder, by readers that are not the engine's."""

    def read(target: End | str, tables: Mapping[str, list[Case]]) -> Arrival:
        folder = Path(str(target).removeprefix("file://").partition("?")[0])
        arrival = Arrival()
        for name, members in tables.items():
            inside = folder / name
            assert json.loads((inside / "_manifest.json").read_text()), "no manifest"
            parts = sorted(inside.glob(f"part-*.{form}"))
            assert all(re.fullmatch(r"part-\d+-\d+\.\w+", part.name) for part in parts), parts
            rows = [row for part in parts for row in READERS[form](part)]
            assert len(rows) == 1, f"{name}: {len(rows)} rows"
            arrival.found |= {case["id"]: rows[0][column(case)] for case in members}
        return arrival

    return read


def read_parquet(path: Path) -> Iterator[dict[str, pa.Scalar]]:
    table = pq.ParquetFile(path).read()
    for index in range(table.num_rows):
        yield {name: table.column(name)[index] for name in table.column_names}


def read_jsonl(path: Path) -> Iterator[dict[str, Any]]:
    def refuse(word: str) -> None:
        raise ValueError(f"{word} is no JSON")

    for line in path.read_bytes().decode("utf-8").split("\n"):
        if line:
            yield json.loads(line, parse_float=Decimal, parse_int=Decimal, parse_constant=refuse)


def csv_records(text: str) -> Iterator[list[str | None]]:
    """Records of CSV, NULL being the empty field without quotes. Strict: raises ValueError."""
    position, record = 0, list[str | None]()
    while position < len(text):
        if text[position] == '"':
            parts = []
            while True:
                end = text.index('"', position + 1)
                parts.append(text[position + 1 : end])
                position = end + 1
                if text[position : position + 1] != '"':
                    break
            record.append('"'.join(parts))
        else:
            found = re.compile(r'[^,"\r\n]*').match(text, position)
            assert found is not None
            record.append(found[0] or None)
            position = found.end()
        if text.startswith(",", position):
            position += 1
            if position == len(text):
                raise ValueError("the last record has no end")
            if text[position] in "\r\n":
                record.append(None)
        if text.startswith(("\r\n", "\n"), position):
            position += 2 if text[position] == "\r" else 1
            yield record
            record = []
        elif position == len(text):
            yield record
            record = []
        elif text[position - 1] != ",":
            raise ValueError(f"a quote or carriage return at {position} stands wrong")
    if record:
        raise ValueError("the last record has no end")


def read_csv(path: Path) -> Iterator[dict[str, str | None]]:
    names, *rows = csv_records(path.read_bytes().decode("utf-8"))
    for row in rows:
        yield {str(name): text for name, text in zip(names, row, strict=True)}


READERS: Mapping[str, Callable[[Path], Iterator[dict[str, Any]]]] = {
    "parquet": read_parquet,
    "csv": read_csv,
    "jsonl": read_jsonl,
}


# A route


@dataclass
class Route:
    """A source, fresh targets, and the rules between them."""

    name: str
    source: MysqlSource | PostgresSource
    fresh: Callable[[], End | str]
    read: Reading
    duty: Callable[[Fact], Duty]
    agrees: Callable[[Case, Fact, Arrival], Any]
    """None where a case arrived as it must, else what is wrong."""
    runs: int = 0


@dataclass
class Outcome:
    held: int
    nulled: list[str]
    stated: list[str]
    refused: list[str]
    wrong: dict[str, Any]


UNREADABLE = (
    *(OSError, AssertionError, KeyError, ValueError, TypeError),
    *(pa.ArrowException, pymysql.MySQLError),
)


def arrive(route: Route, tables: dict[str, list[Case]]) -> Arrival:
    """Move tables; where that fails, find the cases that it fails of and move all others."""
    arrival = Arrival()
    while tables:
        if route.runs >= RUNS:
            ids = [case["id"] for members in tables.values() for case in members]
            arrival.stopped |= dict.fromkeys(ids, "not tried: too many runs failed before")
            return arrival
        route.runs += 1
        target = route.fresh()
        try:
            stats = move(route.source.end, target, tables=list(tables))
            came = route.read(target, tables)
            came.stats.append(stats)
            arrival.add(came)
            return arrival
        except StreamsError as error:
            if error.code == "INVALID_CONFIG":
                raise
            failure: StreamsError | str = error
        except UNREADABLE as error:
            failure = f"the target cannot be read: {error!r}"[:300]
        members = [case for cases in tables.values() for case in cases]
        named = []
        if isinstance(failure, StreamsError):
            named = [c for c in members if re.search(rf"\b{column(c)}\b", str(failure))]
        if len(members) == 1 or len(named) == 1:
            (guilty,) = named if named else members
            arrival.stopped[guilty["id"]] = failure
            rest = {n: [c for c in cs if c is not guilty] for n, cs in tables.items()}
            tables = again(route, {n: cs for n, cs in rest.items() if cs}, tables)
            continue
        # Nobody is named: by halves.
        for half in halves(tables):
            arrival.add(arrive(route, again(route, half, tables)))
        return arrival
    return arrival


def again(
    route: Route, wanted: dict[str, list[Case]], there: Mapping[str, list[Case]]
) -> dict[str, list[Case]]:
    """Tables of those cases: what is there already as it is, the rest under new names."""
    result = {}
    for name, members in wanted.items():
        if there.get(name) == members:
            result[name] = members
            continue
        new = f"s{members[0]['id'].replace('-', '_')}_{len(members)}"
        route.source.end.run(f"DROP TABLE IF EXISTS {new}")
        route.source.fill({new: members})
        result[new] = members
    return result


def halves(tables: Mapping[str, list[Case]]) -> Iterator[dict[str, list[Case]]]:
    if len(tables) > 1:
        names = list(tables)
        for part in (names[: len(names) // 2], names[len(names) // 2 :]):
            yield {name: tables[name] for name in part}
    else:
        ((name, members),) = tables.items()
        yield {f"{name}a": members[: len(members) // 2]}
        yield {f"{name}b": members[len(members) // 2 :]}


def properly_refused(error: StreamsError | str, table: str, case: Case) -> bool:
    if isinstance(error, str) or error.code != "ROW_REJECTED":
        return False
    return re.search(rf"\b{table}\b", str(error)) is not None and column(case) in str(error)


def told(error: StreamsError | str) -> Any:
    return error if isinstance(error, str) else (error.code, str(error)[:300])


def travel(route: Route) -> Outcome:
    """Every case over a route, with what is wrong about any of them."""
    source = route.source
    duties = {case["id"]: route.duty(source.facts[case["id"]]) for case in source.wanted}
    together = [c for c in source.wanted if duties[c["id"]] in TOGETHER]
    alone = {
        f"r{i}": [case] for i, case in enumerate(c for c in source.wanted if c not in together)
    }
    tables = grouped(together)
    source.fill({**tables, **alone})
    arrival = arrive(route, tables)
    outcome = Outcome(0, [], [], [], {})
    for name, (case,) in alone.items():
        target = route.fresh()
        try:
            stats = move(source.end, target, tables=[name])
        except StreamsError as error:
            if properly_refused(error, name, case):
                outcome.refused.append(case["id"])
            else:
                outcome.wrong[case["id"]] = (case["type"], "not refused by name", told(error))
            continue
        if duties[case["id"]] is Duty.REFUSE:
            outcome.wrong[case["id"]] = (case["type"], source.facts[case["id"]].text, "not refused")
            continue
        try:
            came = route.read(target, {name: [case]})
        except UNREADABLE as error:
            outcome.wrong[case["id"]] = (case["type"], "the target cannot be read", repr(error))
            continue
        came.stats.append(stats)
        arrival.add(came)
    for name, failure in arrival.stopped.items():
        outcome.wrong[name] = (source.facts[name].native, source.facts[name].text, told(failure))
    for case in source.wanted:
        name = case["id"]
        if name in outcome.wrong or name in outcome.refused:
            continue
        fact = source.facts[name]
        if duties[name] is Duty.NULL:
            outcome.nulled.append(column(case))
            fact = replace(fact, text=None)
        if duties[name] is Duty.STATED:
            outcome.stated.append(name)
            fact = replace(fact, text="0")
        wrong = route.agrees(case, fact, arrival)
        if wrong is None:
            outcome.held += 1
        else:
            outcome.wrong[name] = (case["type"], source.facts[name].text, wrong)
    counted = [
        finding.object.split(".")[-1]
        for stats in arrival.stats
        for finding in stats.findings
        if finding.code == "zero-dates"
    ]
    if sorted(counted) != sorted(outcome.nulled):
        outcome.wrong["zero-dates"] = ("counted", sorted(counted), sorted(outcome.nulled))
    return outcome


def summary(route: Route, outcome: Outcome) -> str:
    source = route.source
    return (
        f"{route.name}: {outcome.held} held of {len(source.wanted)}, {len(outcome.nulled)} of "
        f"them NULL by zeroDates, {len(outcome.stated)} zero for minus zero as the plan states, "
        f"{len(outcome.refused)} refused by name: {outcome.refused}; "
        f"{len(source.impossible)} this server does not take: {sorted(source.impossible)}"
    )


def mysql_cases(shared_data: Path, server: Server) -> list[Case]:
    kinds = ("mysql", "mariadb") if server.kind == "mariadb" else ("mysql",)
    return cases(shared_data, *kinds) + [case for case in EXTRA if case["db"] == "mysql"]


def postgres_cases(shared_data: Path) -> list[Case]:
    return cases(shared_data, "postgres") + [case for case in EXTRA if case["db"] == "postgres"]
