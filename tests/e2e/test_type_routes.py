"""Every type case over every route but those to PostgreSQL, which `test_type_cases` has.

The value that arrives is the value that left, or the rules of `type_routes` demand that its row
is refused by name, or that a zero date is NULL and counted. Nothing else may be refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from streams_engine.testing.servers import Server
from tests.support.databases import End
from tests.support.type_cases import Case
from tests.support.type_routes import (
    FILE_AGREES,
    FORMATS,
    Arrival,
    Duty,
    Fact,
    MysqlSource,
    PostgresSource,
    Route,
    csv_agrees,
    csv_records,
    document,
    document_agrees,
    duty_mysql_to_file,
    duty_mysql_to_mysql,
    duty_postgres_to_file,
    duty_postgres_to_mysql,
    file_reading,
    fits_mysql_decimal,
    jsonl_agrees,
    mysql_agrees,
    mysql_cases,
    mysql_expression,
    mysql_printed,
    mysql_reading,
    mysql_texts,
    mysql_type,
    parquet_agrees,
    postgres_cases,
    summary,
    travel,
)

# The comparison itself


def told_apart(agrees: Callable[[Fact, Any], bool], fact: Fact, good: Any, bad: list[Any]) -> None:
    """A case's own value agrees, and no other one does."""
    assert agrees(fact, good), (fact, good)
    for other in (*bad, None):
        null = isinstance(good, pa.Scalar) and other is None
        assert not agrees(fact, pa.scalar(None, good.type) if null else other), (fact, other)


@pytest.mark.parametrize(
    ("family", "text", "good", "bad"),
    [
        ("integer", "00001", "1", ["2", "1.0", "", "x"]),
        ("boolean", "t", "true", ["false", "1"]),
        ("decimal", "1.50", "1.50", ["1.5", "1.51", "-1.50", "1.500", "x"]),
        ("digits", "NaN", "NaN", ["nan", "0"]),
        ("float32", "42.41999816894531", "42.42", ["42.43", "42.41999816894531", "42"]),
        ("float64", "-0", "-0", ["0", "0.0"]),
        ("float64", "Infinity", "Infinity", ["inf", "1e308"]),
        ("bytes", "00ff", "00FF", ["00fe", "\\x00ff", "AP8="]),
        ("date", "1999-12-31", "1999-12-31", ["1999-12-30", "1999-12-31T00:00:00"]),
        ("datetime", "1999-12-31 23:59:59.50", "1999-12-31T23:59:59.5",
         ["1999-12-31 23:59:59.5", "1999-12-31T23:59:59", "1999-12-31T23:59:59.5+00:00"]),
        ("instant", "2023-01-01 12:30:45+00", "2023-01-01T12:30:45+00:00",
         ["2023-01-01T12:30:45", "2023-01-01T12:30:45+01:00", "2023-01-01T12:30:46+00:00"]),
        ("datetime", "0001-12-31 23:59:59.999999 BC", "0000-12-31T23:59:59.999999",
         ["0001-12-31T23:59:59.999999"]),
        ("instant", "infinity", "infinity", ["9999-12-31T00:00:00+00:00"]),
        ("time", "24:00:00", "24:00:00", ["00:00:00"]),
        ("padded", "foo", "foo  ", ["fo", " foo"]),
        ("text", "", "", [" "]),
        ("array", "{1,NULL}", "{1,NULL}", ["[1,null]", "{1,null}"]),
    ],
)  # fmt: skip
def test_csv_values_are_told_apart(family: str, text: str, good: str, bad: list[str]) -> None:
    told_apart(csv_agrees, Fact(family, text), good, bad)
    assert csv_agrees(Fact(family, None), None)
    assert not csv_agrees(Fact(family, None), "")


@pytest.mark.parametrize(
    ("family", "text", "good", "bad"),
    [
        ("integer", "7", Decimal(7), [Decimal(8), "7", True, Decimal("7.0")]),
        ("integer", "18446744073709551615", "18446744073709551615", ["18446744073709551616"]),
        ("boolean", "f", False, [True, "false", Decimal(0)]),
        ("decimal", "1.50", Decimal("1.50"), [Decimal("1.5"), "1.5", "x"]),
        ("decimal", "1.50", "1.50", [Decimal("1.51")]),
        ("digits", "12345678901234567890.1", "12345678901234567890.1",
         [Decimal("12345678901234567890.1")]),
        ("float64", "NaN", "NaN", ["nan", Decimal(0)]),
        ("float64", "1e+308", Decimal("1E+308"), ["1e308", Decimal("1e307")]),
        ("bytes", "00ff", "AP8=", ["00ff", "AP4=", "AP8"]),
        ("json", '{"a": 1}', '{"a": 1}', [{"a": Decimal(1)}, '{"a":1}']),
        ("text", "a", "a", ["b", ["a"], "A"]),
    ],
)  # fmt: skip
def test_jsonl_values_are_told_apart(family: str, text: str, good: Any, bad: list[Any]) -> None:
    told_apart(jsonl_agrees, Fact(family, text), good, bad)
    assert jsonl_agrees(Fact(family, None), None)
    assert not jsonl_agrees(Fact(family, None), "")


def scalars(*made: tuple[Any, pa.DataType]) -> list[pa.Scalar]:
    return [pa.scalar(found, kind) for found, kind in made]


MICRO, UTC = pa.timestamp("us"), pa.timestamp("us", "UTC")


@pytest.mark.parametrize(
    ("family", "text", "good", "bad"),
    [
        ("integer", "18446744073709551615", (2**64 - 1, pa.uint64()),
         [(2**64 - 2, pa.uint64()), ("18446744073709551615", pa.string())]),
        ("boolean", "t", (True, pa.bool_()), [(False, pa.bool_()), (1, pa.int8())]),
        ("decimal", "1.50", (Decimal("1.50"), pa.decimal128(5, 2)),
         [(Decimal("1.5"), pa.decimal128(5, 1)), ("1.50", pa.string()), (1.5, pa.float64())]),
        ("digits", "1.50", ("1.50", pa.string()), [("1.5", pa.string())]),
        ("float32", "42.41999816894531", (42.42, pa.float32()),
         [(42.43, pa.float32()), (42.42, pa.float64())]),
        ("float64", "-0", (-0.0, pa.float64()), [(0.0, pa.float64())]),
        ("float64", "NaN", (float("nan"), pa.float64()), [(0.0, pa.float64())]),
        ("bytes", "00ff", (b"\0\xff", pa.binary()),
         [(b"\0", pa.binary()), ("00ff", pa.string())]),
        ("date", "1999-12-31", (10956, pa.date32()),
         [(10957, pa.date32()), ("1999-12-31", pa.string())]),
        ("date", "0001-12-31 BC", (-719163, pa.date32()), [(-719162, pa.date32())]),
        ("datetime", "1969-12-31 23:59:59.5", (-500_000, MICRO),
         [(-500_001, MICRO), (-500_000, UTC)]),
        ("instant", "21016-11-04 06:51:30.123456+00", (601060287090123456, UTC),
         [(601060287090123457, UTC), (601060287090123456, MICRO)]),
        ("time", "13:00:05.01234", (46805012340, pa.time64("us")),
         [(46805012341, pa.time64("us")), ("13:00:05.01234", pa.string())]),
        ("text", "24:00:00", ("24:00:00", pa.string()), [("00:00:00", pa.string())]),
    ],
)  # fmt: skip
def test_parquet_values_are_told_apart(
    family: str, text: str, good: tuple[Any, Any], bad: list[tuple[Any, Any]]
) -> None:
    (mine,) = scalars(good)
    told_apart(parquet_agrees, Fact(family, text), mine, scalars(*bad))
    assert parquet_agrees(Fact(family, None), pa.scalar(None, mine.type))
    assert not parquet_agrees(Fact(family, None), mine)


@pytest.mark.parametrize(
    ("fact", "good", "bad"),
    [
        (Fact("boolean", "true"), "1", ["0", "2"]),
        (Fact("decimal", "10.00"), "10.00", ["10.0", "10.01"]),
        (Fact("digits", "123.456"), "123.456" + "0" * 27, ["123.4560001"]),
        (Fact("float32", "123.456"), "123.45600128173828", ["123.457"]),
        (Fact("float64", "-123.456789012345"), "-123.456789012345", ["-123.456789012346"]),
        (Fact("bytes", "00ff"), "00FF", ["00FE", ""]),
        (Fact("instant", "2023-01-01 12:30:45+00"), "2023-01-01 12:30:45.000000",
         ["2023-01-01 13:30:45.000000", "0000-00-00 00:00:00"]),
        (Fact("datetime", "0001-01-01 00:00:00"), "0001-01-01 00:00:00.000000", ["x"]),
        (Fact("time", "24:00:00"), "24:00:00.000000", ["00:00:00.000000"]),
        (Fact("bits", "0010"), "10", ["11", "0", "10010"]),
        (Fact("array", "{1,NULL}", json="[1, null]"), "[1, null]", ["[1]", "[true, null]"]),
        (Fact("array", "{a}", json='["1"]'), '["1"]', ["[1]"]),
        (Fact("json", '{"a": 1.0, "b": [2]}'), '{"b": [2], "a": 1}', ['{"b": [2], "a": 1.1}']),
        (Fact("text", "(1234,5678)"), "(1234,5678)", ["(1234, 5678)"]),
    ],
)  # fmt: skip
def test_mysql_values_are_told_apart(fact: Fact, good: str, bad: list[str]) -> None:
    told_apart(mysql_agrees, fact, good, bad)


def test_documents_are_compared_with_every_digit() -> None:
    assert document("[1, 1.0]") == document("[1.00, 1e0]")
    assert document("1" * 40) != document("1" * 39 + "2")
    assert document("true") != document("1")
    assert document_agrees("18446744073709551616", "1.8446744073709552e19")
    assert not document_agrees("18446744073709551617", "1.8446744073709552e19")
    assert not document_agrees("0.12345678901234567891", "0.12345678901234568")


def test_csv_is_read_strictly() -> None:
    text = 'a,b,c\r\n,"",x\r\n"1,""2""\n",,\r\n'
    assert list(csv_records(text)) == [["a", "b", "c"], [None, "", "x"], ['1,"2"\n', None, None]]
    for broken in ('a"b,c\n', '"a"b\n', '"a', "a\rb\n"):
        with pytest.raises(ValueError):
            list(csv_records(broken))


def test_rules_of_refusal() -> None:
    assert fits_mysql_decimal("9" * 35 + "." + "9" * 30)
    assert not fits_mysql_decimal("1" + "0" * 35)
    assert not fits_mysql_decimal("0." + "0" * 30 + "1")
    assert fits_mysql_decimal("0.1" + "0" * 40)
    zero = Fact("date", "2015-00-21", zero_date=True)
    assert duty_mysql_to_file(zero) is Duty.NULL
    assert duty_mysql_to_file(Fact("date", "0000-00-00", False, zero_date=True)) is Duty.REFUSE
    assert duty_postgres_to_file(Fact("time", "24:00:00")) is Duty.REFUSE
    assert duty_postgres_to_file(Fact("text", "24:00:00")) is Duty.PAUSE
    assert duty_postgres_to_file(Fact("date", "infinity")) is Duty.REFUSE
    assert duty_postgres_to_file(Fact("instant", "infinity")) is Duty.REFUSE
    assert duty_postgres_to_file(Fact("decimal", "NaN")) is Duty.REFUSE
    assert duty_postgres_to_file(Fact("digits", "NaN")) is Duty.PAUSE
    assert duty_postgres_to_file(Fact("float64", "NaN")) is Duty.PAUSE


OPAQUE = ("BLOB", "BIT", "OPAQUE", "DATE", "TIME", "DATETIME", "DECIMAL")
"""What MySQL keeps in a JSON besides JSON's own kinds, and prints as a string."""

# The routes


def finished(route: Route, impossible: int, counted: Callable[[str], None]) -> None:
    outcome = travel(route)
    counted(summary(route, outcome))
    for name, wrong in outcome.wrong.items():
        print("  wrong:", name, wrong)
    assert not sorted(outcome.wrong)
    assert len(route.source.impossible) <= impossible, route.source.impossible


@pytest.mark.parametrize(
    ("source_name", "target_name"),
    [("mysql9", "mysql9"), ("mariadb", "mariadb"), ("mysql9", "mariadb"), ("mariadb", "mysql9")],
)
def test_mysql_to_mysql(
    source_name: str,
    target_name: str,
    request: pytest.FixtureRequest,
    database: Any,
    shared_data: Path,
    counted: Callable[[str], None],
) -> None:
    server: Server = request.getfixturevalue(source_name)
    sink: Server = request.getfixturevalue(target_name)
    source = MysqlSource.prepare(server, database, mysql_cases(shared_data, server))
    facts = source.facts
    own = server is sink

    def printed(end: End, tables: Any) -> dict[str, Any]:
        texts = mysql_printed(end, tables, facts)
        if own:  # as the server shows it by itself, FLOAT(m, d) and ZEROFILL too
            plain = mysql_texts(
                end,
                tables,
                lambda c: "NULL" if facts[c["id"]].family == "bytes" else "CAST({} AS CHAR)",
            )
            kinds = dict.fromkeys(texts)
            if sink.kind == "mysql":
                kinds = mysql_texts(
                    end,
                    tables,
                    lambda c: "JSON_TYPE({})" if facts[c["id"]].native == "json" else "NULL",
                )
            return {name: (texts[name], plain[name], kinds[name]) for name in texts}
        return {name: (text,) for name, text in texts.items()}

    read = mysql_reading(printed)
    before: dict[str, Arrival] = {}

    def agrees(case: Case, fact: Fact, arrival: Arrival) -> Any:
        # The tables of the source are there by now: the same expressions, at either end.
        if "all" not in before:
            before["all"] = read(source.end, source_tables(source))
        name = case["id"]
        mine, theirs = before["all"].found[name], arrival.found[name]
        if own and before["all"].types[name] != arrival.types[name]:
            return ("type", before["all"].types[name], arrival.types[name])
        if mine == theirs or (mine[0], theirs[0], fact.text) == ("-0", "0", "0"):
            return None
        if fact.native == "json" and None not in (mine[0], theirs[0]):
            numbers = ("INTEGER", "UNSIGNED INTEGER", "DOUBLE", "DECIMAL")
            kinds = own and mine[2] != theirs[2] and not {mine[2], theirs[2]} <= set(numbers)
            if kinds and (mine[2] in OPAQUE and theirs[2] == "STRING"):
                kinds = mine[0] != theirs[0]  # the text is equal; docs/types.md says so
            if document_agrees(mine[0], theirs[0]) and not kinds:
                return None
        return (mine, theirs)

    route = Route(
        f"{source_name} -> {target_name}",
        source,
        lambda: End(sink, database(sink)),
        read,
        lambda fact: duty_mysql_to_mysql(fact, server, sink),
        agrees,
    )
    finished(route, 4 if server.kind == "mariadb" else 0, counted)


def source_tables(source: MysqlSource) -> dict[str, list[Case]]:
    """The tables of the source as they are, a case counted once."""
    by_column = {case["id"].replace("-", "_"): case for case in source.wanted}
    found: dict[str, list[Case]] = {}
    for table, name in source.end.rows(
        "SELECT table_name, column_name FROM information_schema.columns "
        f"WHERE table_schema = '{source.end.database}' ORDER BY table_name, ordinal_position"
    ):
        if name in by_column:
            found.setdefault(table, []).append(by_column.pop(name))
    return found


@pytest.mark.parametrize(
    ("source_name", "target_name"),
    [("pg15", "mysql9"), ("pg18", "mariadb")],
)
def test_postgres_to_mysql(
    source_name: str,
    target_name: str,
    request: pytest.FixtureRequest,
    database: Any,
    shared_data: Path,
    counted: Callable[[str], None],
) -> None:
    server: Server = request.getfixturevalue(source_name)
    sink: Server = request.getfixturevalue(target_name)
    source = PostgresSource.prepare(server, database, postgres_cases(shared_data))

    def printed(end: End, tables: Any) -> dict[str, Any]:
        return mysql_texts(end, tables, lambda c: mysql_expression(source.facts[c["id"]], "{}"))

    def agrees(case: Case, fact: Fact, arrival: Arrival) -> Any:
        text, made = arrival.found[case["id"]], arrival.types[case["id"]]
        if not mysql_agrees(fact, text):
            return (fact.json or fact.text, text)
        return wrong_type(mysql_type(fact), made)

    route = Route(
        f"{source_name} -> {target_name}",
        source,
        lambda: End(sink, database(sink)),
        mysql_reading(printed),
        lambda fact: duty_postgres_to_mysql(fact, sink),
        agrees,
    )
    finished(route, 5 if source_name == "pg18" else 0, counted)


def wrong_type(wanted: str | None, made: str) -> Any:
    bare = made.partition(" ")[0] if not made.startswith("enum") else made
    return None if wanted is None or re.fullmatch(wanted, bare) else ("type", wanted, made)


def folders(path: Path, form: str) -> Iterator[str]:
    number = 0
    while True:
        number += 1
        yield f"file://{path}/{number}?format={form}"


def to_files(source: Any, form: str, name: str, path: Path, duty: Callable[[Fact], Duty]) -> Route:
    fresh = folders(path, form)

    def agrees(case: Case, fact: Fact, arrival: Arrival) -> Any:
        found = arrival.found[case["id"]]
        if FILE_AGREES[form](fact, found):
            return None
        return (fact.family, f"{found.type}: {found!r}" if form == "parquet" else found)

    return Route(f"{name} -> {form}", source, lambda: next(fresh), file_reading(form), duty, agrees)


@pytest.mark.parametrize("form", FORMATS)
def test_mysql_to_files(
    mysql_server: Server,
    form: str,
    database: Any,
    shared_data: Path,
    tmp_path: Path,
    counted: Callable[[str], None],
) -> None:
    source = MysqlSource.prepare(mysql_server, database, mysql_cases(shared_data, mysql_server))
    route = to_files(source, form, mysql_server.kind, tmp_path, duty_mysql_to_file)
    finished(route, 4 if mysql_server.kind == "mariadb" else 0, counted)


@pytest.mark.parametrize("form", FORMATS)
def test_postgres_to_files(
    pg_server: Server,
    form: str,
    database: Any,
    shared_data: Path,
    tmp_path: Path,
    counted: Callable[[str], None],
) -> None:
    source = PostgresSource.prepare(pg_server, database, postgres_cases(shared_data))
    route = to_files(
        source,
        form,
        pg_server.version.partition("(")[0].strip(),
        tmp_path,
        duty_postgres_to_file,
    )
    finished(route, 5 if "18" in pg_server.version else 0, counted)
