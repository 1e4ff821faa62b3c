"""The servers' own texts of the same value are equal in its form, and of another are not.

Values come over by hand: what MySQL prints is cast by PostgreSQL into the published target
type, so that no decoder or encoder of the engine takes part.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pymysql
import pytest

from streams_engine.adapters.mysql.canonical import MysqlCanonical
from streams_engine.adapters.mysql.catalog.types import native_type
from streams_engine.adapters.mysql.connection import MysqlConnect
from streams_engine.adapters.postgres.canonical import PostgresCanonical
from streams_engine.adapters.postgres.connection import PostgresConnect
from streams_engine.errors import StreamsError
from streams_engine.model import Column, Dialect, NativeType, TableId
from streams_engine.schema.mapping.mysql_to_postgres_types import rule_for
from streams_engine.schema.types.canonical import CanonicalType, canonical_type_of
from streams_engine.schema.types.mysql import arrow_type
from streams_engine.schema.types.postgres import postgres_type
from streams_engine.testing.servers import Server
from streams_engine.verify.pairs import PairColumn, VerifyPair
from streams_engine.verify.report import TableVerdict
from streams_engine.verify.verification import VerifySettings, verify_tables

Databases = Callable[[Server], str]
INTEGER = NativeType(Dialect.MYSQL, "int", "int")
PG_INTEGER = postgres_type("integer")

BY_HAND = {
    CanonicalType.BYTES: ("HEX(v)", "decode(%s, 'hex')"),
    CanonicalType.BITS: ("LPAD(BIN(v + 0), {width}, '0')", "%s"),
    CanonicalType.LABELS: ("v", "string_to_array(%s, ',')"),
    CanonicalType.INTEGER: ("v + 0", "%s"),
}
"""By the MySQL column's form: what is selected, and how PostgreSQL reads that text."""

ALTERED = {
    "bool": "NOT v",
    "bytea": "v || '\\xff'",
    "bit": "~v",
    "date": "v - 1",
    "inet": "set_masklen(v, 7)",
    "jsonb": "jsonb_build_array(v)",
    "time": "CASE WHEN v = '12:34:56' THEN time '12:34:57' ELSE '12:34:56' END",
    "timestamp": "v - interval '1 second'",
    "timestamptz": "v - interval '1 second'",
    "uuid": "gen_random_uuid()",
    "_text": "array_append(v, NULL)",
    "varchar": "CASE WHEN v = 'x' THEN 'y' ELSE 'x' END",
    "text": "v || ' '",
}
"""By the PostgreSQL type: another value. Numbers are taken one nearer to zero, or to one."""
NUMBER = "CASE WHEN v > 0 THEN v - v / 2 - 1 ELSE 1 - v / 2 END"


@dataclass
class Ends:
    """A database on each server, by raw connections and by `verify`'s own."""

    my: Any
    pg: psycopg.Connection
    my_database: str
    my_connect: MysqlConnect
    pg_connect: PostgresConnect

    def verify(self, *pairs: VerifyPair, zero_dates: str = "null") -> list[TableVerdict]:
        with MysqlCanonical(self.my_connect) as one, PostgresCanonical(self.pg_connect) as two:
            return list(verify_tables(pairs, one, two, VerifySettings(zero_dates)).tables)

    def run(self, mysql: str, postgres: str | None = None) -> None:
        with self.my.cursor() as cursor:
            cursor.execute(mysql)
        self.pg.execute(postgres or mysql)  # type: ignore[arg-type]

    def my_type(self, table: str, column: str) -> NativeType:
        with self.my.cursor() as cursor:
            cursor.execute(
                "SELECT DATA_TYPE, COLUMN_TYPE FROM information_schema.COLUMNS"
                " WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s AND COLUMN_NAME = %s",
                (self.my_database, table, column),
            )
            return native_type(*cursor.fetchone())

    def pair(self, table: str, columns: dict[str, str], key: tuple[str, ...] = ()) -> VerifyPair:
        """``columns``: PostgreSQL types by column."""
        return VerifyPair(
            TableId(self.my_database, table),
            TableId("public", table),
            key,
            tuple(
                PairColumn(name, name, self.my_type(table, name), postgres_type(text))
                for name, text in columns.items()
            ),
        )


def mysql_connect(server: Server, name: str) -> MysqlConnect:
    return MysqlConnect(
        server.kind, server.host, server.port, server.user, server.password, name,
        ssl_mode="disabled",
    )  # fmt: skip


def postgres_connect(server: Server, name: str) -> PostgresConnect:
    return PostgresConnect(server.host, server.port, server.user, server.password, name)


@pytest.fixture
def ends(mysql_server: Server, pg_server: Server, database: Databases) -> Iterator[Ends]:
    one, two = database(mysql_server), database(pg_server)
    with closing(mysql_server.connect(one)) as my, closing(pg_server.connect(two)) as pg:
        pg.execute("SET timezone = 'UTC'")
        with my.cursor() as cursor:
            cursor.execute("SET time_zone = '+00:00'")
        yield Ends(my, pg, one, mysql_connect(mysql_server, one), postgres_connect(pg_server, two))


@dataclass(frozen=True)
class Case:
    id: str
    pair: VerifyPair
    source: NativeType
    target: NativeType
    is_null: bool


def build(ends: Ends, case: dict[str, Any]) -> Case | None:
    """Put a case's value into both servers; None where one of them refuses it."""
    table = case["id"].replace("-", "_")
    with ends.my.cursor() as cursor:
        cursor.execute("SET sql_mode = %s", ("" if "sql_mode" in case else "STRICT_TRANS_TABLES",))
        try:
            cursor.execute(f"CREATE TABLE {table} (id int PRIMARY KEY, v {case['type']})")
            cursor.execute(f"INSERT INTO {table} (id, v) VALUES (1, {case['literal_sql']})")
        except pymysql.MySQLError:
            return None
        source = ends.my_type(table, "v")
        rule = rule_for(Column("v", source, arrow_type(source)), boolean=False)
        assert rule is not None, source
        text = rule.type_text(source)
        target = postgres_type("text" if text == "enum" else text)
        shown, cast = BY_HAND.get(canonical_type_of(source), ("v", "%s"))
        if source.name == "float":
            shown = "v + 0E0"
        cursor.execute(f"SELECT {shown.format(width=(source.args or (1,))[0])} FROM {table}")
        (value,) = cursor.fetchone()
    return _on_postgres(ends, Case(case["id"], ends_pair(ends, table, source, target), source,
                                   target, value is None), table, value, cast)  # fmt: skip


def ends_pair(ends: Ends, table: str, source: NativeType, target: NativeType) -> VerifyPair:
    return VerifyPair(
        TableId(ends.my_database, table),
        TableId("public", table),
        ("id",),
        (PairColumn("id", "id", INTEGER, PG_INTEGER), PairColumn("v", "v", source, target)),
    )


def _on_postgres(ends: Ends, case: Case, table: str, value: Any, cast: str) -> Case | None:
    ends.pg.execute(f"CREATE TABLE {table} (id int, v {case.target.text})")  # type: ignore[arg-type]
    text = None if value is None else str(value)
    if text is not None and case.source.name in {"date", "datetime", "timestamp"}:
        day = text[:10].split("-")
        if "0000" in day or "00" in day:
            text = None  # the policy zeroDates: null, by hand
    try:
        ends.pg.execute(
            f"INSERT INTO {table} SELECT 1, ({cast})::{case.target.text}",  # type: ignore[arg-type]
            (text,),
        )
    except psycopg.DataError:
        return None  # beyond 24 hours, say: the copy refuses such a row
    return Case(case.id, case.pair, case.source, case.target, text is None)


def test_every_type_case_is_equal_and_found_when_altered(ends: Ends, shared_data: Path) -> None:
    lines = (shared_data / "type_cases.jsonl").read_text().splitlines()
    cases = [case for case in map(json.loads, lines) if case["id"].startswith("m")]
    ends.my.decoders = {}  # the server's text, not the driver's datetimes
    built = [case for case in (build(ends, c) for c in cases) if case is not None]
    verdicts = ends.verify(*(case.pair for case in built))
    unequal = [
        f"{case.id} {case.source} -> {case.target}: {verdict}"
        for case, verdict in zip(built, verdicts, strict=True)
        if not verdict.equal
    ]
    assert unequal == []
    print(f"{len(built)} of {len(cases)} cases held")
    assert len(built) > 150

    for case in built:
        change = ALTERED.get(case.target.name, NUMBER) if not case.is_null else "NULL"
        ends.pg.execute(
            f"UPDATE {case.pair.target.name} SET v = {change}"  # type: ignore[arg-type]
        )
    altered = [case for case in built if not case.is_null]
    verdicts = ends.verify(*(case.pair for case in altered))
    missed = [
        f"{case.id} {case.source} -> {case.target}"
        for case, verdict in zip(altered, verdicts, strict=True)
        if verdict.equal or verdict.keys != ("1",)
    ]
    assert missed == []


def shop(ends: Ends, rows: int = 2000) -> VerifyPair:
    """The same odd rows on both ends, with a key that differs by case alone."""
    ends.run(
        'CREATE TABLE `odd ``"%{t` (a varchar(20) CHARACTER SET latin1 COLLATE latin1_bin,'
        ' n int, `w ``"%{x` mediumtext, b blob, PRIMARY KEY (a, n)) CHARACTER SET utf8mb4',
        'CREATE TABLE "odd `""%{t" (a varchar(20), n int, "w `""%{x" text, b bytea)',
    )
    texts = ["", "\\N", "a\tb\nc\\d\r", "ü😀", None, "x" * 70_000, "\\", "\x7f\x1f", "é"]
    held = [
        ("kK"[i % 2] + str(i // 2 % 50), i, texts[i % len(texts)], bytes([i % 256, 0, 92, 9]))
        for i in range(rows)
    ]
    with ends.my.cursor() as cursor:
        cursor.executemany('INSERT INTO `odd ``"%%{t` VALUES (%s, %s, %s, %s)', held)
    with ends.pg.cursor() as cursor:
        cursor.executemany('INSERT INTO "odd `""%%{t" VALUES (%s, %s, %s, %s)', held)
    columns = {"a": "varchar(20)", "n": "integer", 'w `"%{x': "text", "b": "bytea"}
    return ends.pair('odd `"%{t', columns, ("a", "n"))


def test_planted_faults_are_named(ends: Ends) -> None:
    pair = shop(ends)
    (verdict,) = ends.verify(pair)
    assert verdict.equal and verdict.source_rows == verdict.target_rows == 2000, verdict

    table = 'public."odd `""%%{t"'
    for statement in (
        f'UPDATE {table} SET "w `""%%{{x" = \'\\\\N\' WHERE n = 1',  # was the text \N
        f'UPDATE {table} SET "w `""%%{{x" = \'\' WHERE n = 4',  # was NULL
        f"UPDATE {table} SET b = b || '\\x00' WHERE n = 7",
        f"UPDATE {table} SET a = upper(a) WHERE n = 10",
        f"DELETE FROM {table} WHERE n = 13",
        f"INSERT INTO {table} VALUES ('new', 9999, NULL, NULL)",
    ):
        assert ends.pg.execute(statement, ()).rowcount == 1  # type: ignore[arg-type]
    (verdict,) = ends.verify(pair)
    assert dict(zip(verdict.keys, verdict.kinds, strict=True)) == {
        "K0, 1": "different",
        "k2, 4": "different",
        "K3, 7": "different",
        "k5, 10": "missing",
        "K5, 10": "extra",
        "K6, 13": "missing",
        "new, 9999": "extra",
    }
    assert (verdict.equal, verdict.differing) == (False, 7)


def test_duplicate_row_of_a_keyless_table(ends: Ends) -> None:
    ends.run("CREATE TABLE twins (v int, w varchar(5))")
    ends.run("INSERT INTO twins VALUES (1, 'a'), (1, 'a'), (NULL, NULL), (2, 'b')")
    pair = ends.pair("twins", {"v": "integer", "w": "varchar(5)"})
    assert ends.verify(pair)[0].equal
    ends.pg.execute("INSERT INTO twins VALUES (1, 'a')")
    (verdict,) = ends.verify(pair)
    assert (verdict.equal, verdict.differing, verdict.keys) == (False, 1, ())
    ends.pg.execute("DELETE FROM twins WHERE v = 2")  # the counts are the same again
    (verdict,) = ends.verify(pair)
    assert not verdict.equal and verdict.note == "rows on the target: 1 missing, 1 extra"


OVERRIDES = [
    ("bigint unsigned", "18446744073709551615", "numeric", "18446744073709551615"),
    ("bigint unsigned", "9223372036854775807", "bigint", "9223372036854775807"),
    ("tinyint(1)", "1", "boolean", "true"),
    ("tinyint(1)", "2", "smallint", "2"),
    ("bit(64)", "b'1" + "0" * 62 + "1'", "bit(64)", "B'1" + "0" * 62 + "1'"),
    ("bit(8)", "5", "smallint", "5"),
    ("decimal(65,30)", "-1.5", "numeric", "-1.5"),
    ("decimal(6,2) zerofill", "1.5", "numeric(6,2)", "1.5"),
    ("int(8) zerofill", "42", "text", "'00000042'"),
    ("date", "'2020-02-29'", "text", "'2020-02-29'"),
    ("date", "'2020-02-29'", "timestamp", "'2020-02-29'"),
    ("datetime(6)", "'2020-02-29 01:02:03.450000'", "text", "'2020-02-29 01:02:03.450000'"),
    ("time(3)", "'-838:59:59'", "interval", "'-838:59:59'"),
    ("time(6)", "'24:00:00'", "time(6)", "'24:00:00'"),
    ("double", "-1.7976931348623157e308", "double precision", "-1.7976931348623157e308"),
    ("float", "1.1754943508222875e-38", "real", "1.1754943508222875e-38"),
    ("binary(16)", "0x00112233445566778899aabbccddee00", "uuid",
     "'00112233-4455-6677-8899-aabbccddee00'"),
    ("set('a','b c')", "'a,b c'", "text[]", "ARRAY['a', 'b c']"),
    ("set('a')", "''", "text[]", "'{}'"),
    ("set('a','b')", "'a,b'", "text", "'a,b'"),
    ("json", "'{\"b\": [1.0, 1e20], \"a\": null}'", "jsonb",
     "'{\"a\": null, \"b\": [1, 100000000000000000000]}'"),
    ("char(5)", "'a  '", "char(5)", "'a'"),
    ("year", "0", "smallint", "0"),
]  # fmt: skip


def test_overridden_types(ends: Ends) -> None:
    pairs = []
    for number, (kind, value, text, written) in enumerate(OVERRIDES):
        table = f"o{number}"
        ends.run(f"CREATE TABLE {table} (v {kind})", f"CREATE TABLE {table} (v {text})")
        ends.run(f"INSERT INTO {table} VALUES ({value})",
                 f"INSERT INTO {table} VALUES ({written})")  # fmt: skip
        pairs.append(ends.pair(table, {"v": text}))
    verdicts = ends.verify(*pairs)
    assert [case for case, v in zip(OVERRIDES, verdicts, strict=True) if not v.equal] == []


def test_labels_are_no_joined_text(ends: Ends) -> None:
    ends.run("CREATE TABLE s (v set('a','b'))", "CREATE TABLE s (v text[])")
    ends.run("INSERT INTO s VALUES ('a,b')", "INSERT INTO s VALUES ('{a,b}')")
    pair = ends.pair("s", {"v": "text[]"})
    assert ends.verify(pair)[0].equal
    for wrong in ('{"a,b"}', "{a,b,NULL}", "{b,a}", "{{a,b}}", "{}", "{a}"):
        ends.pg.execute("UPDATE s SET v = %s", (wrong,))
        assert not ends.verify(pair)[0].equal, wrong


def test_zero_dates_follow_the_policy(ends: Ends) -> None:
    days = ["0000-00-00", "2020-00-15", "2020-01-00", "2021-02-31", "0000-01-15", "2020-02-29"]
    ends.run(
        "CREATE TABLE d (v date, t datetime(3), s timestamp NULL)",
        "CREATE TABLE d (v date, t timestamp(3), s timestamptz)",
    )
    with ends.my.cursor() as cursor:
        cursor.execute("SET sql_mode = 'ALLOW_INVALID_DATES'")
        for day in days:
            cursor.execute("INSERT INTO d VALUES (%s, %s, '0000-00-00')", (day, f"{day} 01:02:03"))
    ends.pg.execute("INSERT INTO d SELECT NULL, NULL, NULL FROM generate_series(1, 5)")
    ends.pg.execute("INSERT INTO d VALUES ('2020-02-29', '2020-02-29 01:02:03', NULL)")
    pair = ends.pair("d", {"v": "date", "t": "timestamp(3)", "s": "timestamptz"})
    assert ends.verify(pair)[0].equal
    assert ends.verify(pair, zero_dates="error")[0].differing == 6


@pytest.mark.parametrize("kind", ["mysql9", "mariadb"])
def test_values_that_are_computed_with_warnings_are_compared(
    request: pytest.FixtureRequest, pg18: Server, database: Databases, kind: str
) -> None:
    """A virtual column takes a text that is no number for 0, and the server warns of each row."""
    server: Server = request.getfixturevalue(kind)
    one, two = database(server), database(pg18)
    with closing(server.connect(one)) as my, closing(pg18.connect(two)) as pg:
        ends = Ends(my, pg, one, mysql_connect(server, one), postgres_connect(pg18, two))
        ends.run(
            "CREATE TABLE c (id int PRIMARY KEY AUTO_INCREMENT, a varchar(9), "
            "g int AS (CASE WHEN a > 0 THEN 1 ELSE 2 END))",
            "CREATE TABLE c (id int PRIMARY KEY, a varchar(9), g int)",
        )
        with my.cursor() as cursor:
            cursor.execute("SET sql_mode = ''")  # else it refuses such a row
            cursor.executemany("INSERT INTO c (a) VALUES (%s)", [("text",)] * 200)
        pg.execute("INSERT INTO c SELECT n, 'text', 2 FROM generate_series(1, 200) n")
        pair = ends.pair("c", {"id": "integer", "a": "varchar(9)", "g": "integer"}, ("id",))
        assert ends.verify(pair)[0].equal
        pg.execute("UPDATE c SET g = 1 WHERE id = 5")
        assert ends.verify(pair)[0].differing == 1


def test_both_ends_are_read_in_one_view(ends: Ends) -> None:
    pair = shop(ends, 100)
    with MysqlCanonical(ends.my_connect) as one, PostgresCanonical(ends.pg_connect) as two:
        assert verify_tables([pair], one, two).ok
        ends.run('DELETE FROM `odd ``"%{t`', 'DELETE FROM "odd `""%{t" WHERE n < 50')
        assert verify_tables([pair], one, two).ok


def test_missing_table_is_an_error_of_ours(ends: Ends) -> None:
    pair = VerifyPair(
        TableId(ends.my_database, "none"),
        TableId("public", "none"),
        (),
        (PairColumn("v", "v", INTEGER, PG_INTEGER),),
    )
    with pytest.raises(StreamsError):
        ends.verify(pair)


def test_postgres_prints_the_same_text_on_both_versions(
    pg15: Server, pg18: Server, database: Databases
) -> None:
    """Types that only PostgreSQL has, as their output functions print them, NULLs beside."""
    columns = {
        "n": ("numeric", "'1.50'"), "inf": ("numeric", "'Infinity'"), "f": ("real", "0.1"),
        "c": ("char(4)", "'ab'"), "i": ("inet", "'10.0.0.1'"), "x": ("text[]", "'{a,NULL}'"),
        "r": ("int4range", "'[1,5)'"), "m": ("money", "'12.34'"), "h": ("bytea", "'\\x5c6e'"),
        "j": ("json", "'{\"a\": 1.0}'"), "t": ("timestamptz", "'infinity'"),
        "v": ("interval", "'1 mon -3 days 04:05:06.7'"), "y": ("date", "'0044-03-15 BC'"),
    }  # fmt: skip
    connects = []
    for server in (pg15, pg18):
        name = database(server)
        connects.append(postgres_connect(server, name))
        with closing(server.connect(name)) as pg:
            pg.execute("CREATE TABLE p (" + ", ".join(f"{c} {t}" for c, (t, _) in columns.items())
                       + ")")  # fmt: skip
            pg.execute("INSERT INTO p VALUES (" + ", ".join(v for _, v in columns.values()) + ")")
            pg.execute("INSERT INTO p (n) VALUES (NULL)")
    table = TableId("public", "p")
    types = {c: NativeType(Dialect.POSTGRES, t, t) for c, (t, _) in columns.items()}
    pair = VerifyPair(table, table, (), tuple(PairColumn(c, c, t, t) for c, t in types.items()))
    with PostgresCanonical(connects[0]) as one, PostgresCanonical(connects[1]) as two:
        assert verify_tables([pair], one, two).ok
    with closing(pg18.connect(connects[1].database)) as pg:
        pg.execute("UPDATE p SET n = 1.5 WHERE n IS NOT NULL")  # its scale is another
    with PostgresCanonical(connects[0]) as one, PostgresCanonical(connects[1]) as two:
        assert not verify_tables([pair], one, two).ok
