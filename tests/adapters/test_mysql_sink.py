"""The MySQL sink against real servers: values, transactions, bad rows, broken connections."""

from __future__ import annotations

import contextlib
import json
import re
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from ipaddress import ip_address
from typing import Any

import pyarrow as pa
import pymysql
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from streams_engine.adapters.mysql.connection import MysqlConnect
from streams_engine.adapters.mysql.sink.bulk_load import MysqlBulkLoad
from streams_engine.adapters.mysql.sink.checkpoint_table import STATE_TABLES
from streams_engine.adapters.mysql.sink.sink import MysqlSink
from streams_engine.adapters.sql.watchdog import Abort
from streams_engine.contracts import Checkpoint, Statement, WritePlan, WriteResult
from streams_engine.errors import (
    ConnectionFailed,
    NotFound,
    RowRejected,
    ServerError,
    StreamsError,
    TargetConflict,
)
from streams_engine.model import (
    Column,
    ObjectKind,
    ObjectRef,
    TableId,
)
from streams_engine.schema.types.mysql import mysql_type
from streams_engine.testing.servers import Server
from tests.support.polling import until

STREAM = "test"
WAYS = ["load", "insert"]


class Target:
    """A fresh database with a sink on it, and a plain connection that looks on."""

    def __init__(self, server: Server, database: str, whole: bool = False) -> None:
        self.server = server
        self.database = database
        self.maria = server.kind == "mariadb"
        self.connect = MysqlConnect(
            server.kind,
            server.host,
            server.port,
            server.user,
            server.password,
            None if whole else database,
        )
        self.sink = MysqlSink(self.connect)
        self.connection = server.connect(database)
        self.run("SET time_zone = '+00:00'", "SET sql_mode = 'ALLOW_INVALID_DATES'")

    def by(self, way: str, packet: int = 4 << 20) -> None:
        """Rows go by LOAD DATA, or by INSERT as where the server allows nothing else."""
        self.sink = MysqlSink(self.connect, local_infile=way != "insert", packet=packet)

    def run(self, *statements: str) -> None:
        with self.connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)

    def table(self, name: str, *columns: str, tail: str = "") -> TableId:
        quoted = name.replace("`", "``")
        self.run(f"CREATE TABLE `{quoted}` ({', '.join(columns)}) {tail}")
        return TableId(self.database, name)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with self.connection.cursor() as cursor:
            cursor.execute(query)
            return list(cursor.fetchall())

    def quarantine_rows(self) -> list[tuple[Any, ...]]:
        """(code, reason, row) of each row of the quarantine."""
        return self.rows(f"SELECT code, reason, source_row FROM {STATE_TABLES[1]} ORDER BY id")

    def write(
        self, plan: WritePlan, *batches: pa.RecordBatch, key: str = "chunk", **document: Any
    ) -> WriteResult:
        checkpoint = Checkpoint(key, {"done": True, **document})
        return self.sink.write_rows(STREAM, plan, iter(batches), lambda: checkpoint)

    def close(self) -> None:
        self.sink.close()
        self.connection.close()


@pytest.fixture
def target(mysql_server: Server, database: Callable[[Server], str]) -> Iterator[Target]:
    made = Target(mysql_server, database(mysql_server))
    yield made
    made.close()


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest, target: Target) -> str:
    """Both ways to load rows."""
    target.by(request.param)
    return str(request.param)


def column(
    name: str, kind: str, arrow: pa.DataType, charset: str | None = None, nullable: bool = True
) -> Column:
    return Column(name, mysql_type(kind), arrow, charset=charset, nullable=nullable)


def columns(**of: tuple[str, pa.DataType]) -> tuple[Column, ...]:
    return tuple(column(name, kind, arrow) for name, (kind, arrow) in of.items())


def batch(table: tuple[Column, ...], *values: list[Any]) -> pa.RecordBatch:
    arrays = [pa.array(v, c.arrow) for v, c in zip(values, table, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, [c.name for c in table])


NUMBERS = columns(id=("int", pa.int64()), note=("longtext", pa.string()))


def numbers(start: int, stop: int, **changed: Any) -> pa.RecordBatch:
    notes: list[Any] = [f"row {i}" for i in range(start, stop)]
    for place, note in changed.items():
        notes[int(place.removeprefix("at_")) - start] = note
    return batch(NUMBERS, list(range(start, stop)), notes)


# Values


def clock(value: timedelta) -> str:
    sign = "-" if value < timedelta(0) else ""
    total, micro = divmod(abs(value) // timedelta(microseconds=1), 1_000_000)
    return f"{sign}{total // 3600:02}:{total // 60 % 60:02}:{total % 60:02}.{micro:06}"


def moment(value: datetime) -> str:
    return f"{value.year:04}-{value:%m-%d %H:%M:%S}.{value.microsecond:06}"


def hexed(value: bytes) -> str:
    return value.hex().upper()


def utf8(value: str) -> str:
    return hexed(value.encode())


def labels(chosen: list[str]) -> str:
    return ",".join(label for label in LABELS if label in chosen)


NASTY = ["\t", "\n", "\r", "\\", "\0", "'", '"', "`", "\\N", "N", "%", "%s", ",", ";", "\x1a",
         "\U0001f600", "é", "\\0", "\\'", "ÿ"]  # fmt: skip
TEXTS = st.lists(st.sampled_from(NASTY) | st.characters(exclude_categories=["Cs"]), max_size=6).map(
    "".join
)
LATIN = st.text(st.sampled_from("aé€ÿ\t\n\\'\x7f"), max_size=9)
LABELS = ["a", "it's", "back\\slash", "tab\t", "", 'quo"te', "\u00fcmlaut", "\\N", "new\nline"]
FLOATS = st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from(
    [-0.0, 5e-324, 2.2250738585072014e-308, 1.7976931348623157e308, -1.7976931348623157e308, 1e22]
)
SINGLES = st.floats(width=32, allow_nan=False, allow_infinity=False) | st.sampled_from(
    [-0.0, 1.401298464324817e-45, 3.4028234663852886e38, -3.4028234663852886e38]
)
SPANS = st.timedeltas(
    -timedelta(hours=838, minutes=59, seconds=59), timedelta(hours=838, minutes=59, seconds=59)
)


def ints(bits: int, signed: bool) -> st.SearchStrategy[int]:
    low = -(2 ** (bits - 1)) if signed else 0
    return st.integers(low, low + 2**bits - 1)


def point(x: float, y: float) -> bytes:
    return struct.pack("<IBIdd", 0, 1, 1, x, y)


Case = tuple[str, str, pa.DataType, st.SearchStrategy[Any], str, Callable[[Any], Any]]
"""(declaration, type, arrow, values, how the server is asked, what it must show)"""

ENUM = "enum({})".format(", ".join("'" + t.replace("\\", "\\\\").replace("'", "''") + "'"
                                   for t in LABELS))  # fmt: skip

CASES: list[Case] = [
    *(
        (f"{name}{tail}", f"{name}{tail}", arrow, ints(bits, not tail), "v", lambda v: v)
        for name, bits, signed, unsigned in [
            ("tinyint", 8, pa.int8(), pa.uint8()),
            ("smallint", 16, pa.int16(), pa.uint16()),
            ("mediumint", 24, pa.int32(), pa.uint32()),
            ("int", 32, pa.int32(), pa.uint32()),
            ("bigint", 64, pa.int64(), pa.uint64()),
        ]
        for tail, arrow in [("", signed), (" unsigned", unsigned)]
    ),
    ("tinyint(1)", "tinyint(1)", pa.bool_(), st.booleans(), "v", int),
    ("double", "double", pa.float64(), FLOATS, "v", lambda v: v),
    ("float", "float", pa.float32(), SINGLES, "v * 1e0", lambda v: v),
    ("decimal(65,30)", "decimal(65,30)", pa.decimal256(65, 30),
     st.integers(1 - 10**65, 10**65 - 1).map(lambda v: Decimal(f"{v}E-30")), "v", lambda v: v),
    ("decimal(9,9)", "decimal(9,9)", pa.decimal128(9, 9),
     st.integers(1 - 10**9, 10**9 - 1).map(lambda v: Decimal(f"{v}E-9")), "v", lambda v: v),
    ("decimal(40,2)", "decimal(40,2)", pa.string(),
     st.integers(0, 10**38 - 1).map(lambda v: f"{v}.25"), "CAST(v AS CHAR)", str),
    ("longtext", "longtext", pa.string(), TEXTS, "HEX(v)", utf8),
    ("varchar(40)", "varchar(40)", pa.string(), TEXTS, "HEX(v)", utf8),
    ("varchar(40) CHARACTER SET latin1", "varchar(40)", pa.string(), LATIN,
     "HEX(CONVERT(v USING utf8mb4))", utf8),
    ("text CHARACTER SET utf16", "text", pa.string(), TEXTS, "HEX(CONVERT(v USING utf8mb4))",
     utf8),
    ("longblob", "longblob", pa.binary(), st.binary(max_size=9), "HEX(v)", hexed),
    ("varbinary(300)", "varbinary(300)", pa.binary(), st.just(bytes(range(256))), "HEX(v)", hexed),
    ("binary(9)", "binary(9)", pa.binary(), st.binary(max_size=9), "HEX(v)",
     lambda v: hexed(v.ljust(9, b"\0"))),
    ("date", "date", pa.date32(), st.dates(), "CAST(v AS CHAR)", date.isoformat),
    ("datetime(6)", "datetime(6)", pa.timestamp("us"), st.datetimes(), "CAST(v AS CHAR)", moment),
    ("datetime(6)", "datetime(6)", pa.string(), st.sampled_from(["0000-00-00 00:00:00.000000",
     "2020-02-31 01:02:03.000004"]), "CAST(v AS CHAR)", str),
    ("timestamp(6) NULL", "timestamp(6)", pa.timestamp("us", "UTC"),
     st.datetimes(datetime(1970, 1, 1, 0, 0, 1), datetime(2038, 1, 19, 3, 14, 7)),
     "CAST(v AS CHAR)", moment),
    ("time(6)", "time(6)", pa.duration("us"), SPANS, "CAST(v AS CHAR)", clock),
    ("time(6)", "time(6)", pa.time64("us"), st.times(), "CAST(v AS CHAR)",
     lambda v: v.isoformat("microseconds")),
    ("year", "year", pa.int16(), st.just(0) | st.integers(1901, 2155), "v", lambda v: v),
    *((f"bit({n})", f"bit({n})", pa.uint64(), ints(n, False), "CAST(v AS UNSIGNED)", lambda v: v)
      for n in (1, 8, 9, 63, 64)),
    ("bit(13)", "bit(13)", pa.string(), ints(13, False).map(lambda v: f"{v:013b}"),
     "CAST(v AS UNSIGNED)", lambda v: int(v, 2)),
    (ENUM, ENUM, pa.string(), st.sampled_from(LABELS), "HEX(v)", utf8),
    (f"{ENUM} CHARACTER SET latin1", ENUM, pa.string(), st.sampled_from(LABELS),
     "HEX(CONVERT(v USING utf8mb4))", utf8),
    ("json", "json", pa.string(), st.sampled_from(
        ['{"a": "x\\ty\\\\\U0001f600"}', "[1, 2.5, null]", '"\\u0000"', "true"]),
     "CAST(v AS CHAR)", str),
    ("point", "point", pa.binary(), st.builds(point, FLOATS, FLOATS), "HEX(v)", hexed),
]  # fmt: skip

SETS = [label for label in LABELS if label]
SET = ENUM.replace("enum", "set").replace("'', ", "")
CASES.append((SET, SET, pa.string(), st.lists(st.sampled_from(SETS)).map(labels), "HEX(v)", utf8))
MARIA: list[Case] = [
    ("uuid", "uuid", pa.string(), st.uuids(version=4).map(str), "CAST(v AS CHAR)", str),
    ("inet6", "inet6", pa.string(), st.ip_addresses(v=6).map(str), "HEX(v)",
     lambda v: hexed(ip_address(v).packed)),
    ("inet4", "inet4", pa.string(), st.ip_addresses(v=4).map(str), "CAST(v AS CHAR)", str),
]  # fmt: skip
"""Types of MariaDB alone."""


def charset_of(declared: str) -> str | None:
    return declared.rpartition("CHARACTER SET ")[2] if "CHARACTER SET" in declared else None


def test_the_server_shows_what_was_meant(target: Target, way: str) -> None:
    cases = CASES + (MARIA if target.maria else [])
    declared = [f"v{i} {case[0]}" for i, case in enumerate(cases)]
    table = target.table("t", "n int", *declared)
    of = (
        column("n", "int", pa.int64()),
        *(column(f"v{i}", c[1], c[2], charset_of(c[0])) for i, c in enumerate(cases)),
    )
    asked = ", ".join(re.sub(r"\bv\b", f"v{i}", case[4]) for i, case in enumerate(cases))

    @settings(
        max_examples=8,
        phases=[Phase.generate],
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )
    @given(
        st.lists(st.tuples(*(st.none() | case[3] for case in cases)), min_size=1, max_size=12),
        st.integers(0, 2),
    )
    def check(rows: list[tuple[Any, ...]], skip: int) -> None:
        target.run("DELETE FROM t")
        whole = batch(of, list(range(len(rows))), *map(list, zip(*rows, strict=True)))
        target.write(WritePlan(table, of), whole.slice(skip))
        found = list(zip(*target.rows(f"SELECT {asked} FROM t ORDER BY n"), strict=True))
        for place, (case, values) in enumerate(
            zip(cases, zip(*rows[skip:], strict=False), strict=False)
        ):
            wanted = [None if v is None else case[5](v) for v in values]
            assert (case[0], list(map(signed, found[place]))) == (
                case[0],
                [unsigned(shown) if target.maria else shown for shown in map(signed, wanted)],
            )

    check()


def signed(value: Any) -> Any:
    """-0.0 apart from 0.0."""
    return repr(value) if isinstance(value, float) else value


def unsigned(value: Any) -> Any:
    """MariaDB makes 0 of -0 wherever it comes from; the plan says so."""
    return "0.0" if value == "-0.0" else value


def test_empty_null_and_backslash_n(target: Target, way: str) -> None:
    table = target.table("t", "id int", "note text")
    texts = ["", None, "\\N", "NULL", "\\.", "\t\n\r\\", "\\", "'", "\0"]
    target.write(WritePlan(table, NUMBERS), batch(NUMBERS, list(range(len(texts))), texts))
    assert [row[0] for row in target.rows("SELECT note FROM t ORDER BY id")] == texts


@pytest.mark.parametrize(
    "name",
    ["q`uote", "do.t", "per%cent%s", "\u00fcn\u00efc\u00f6de \u540d", "back\\slash", "select", "A",
     "it's", 'dou"ble', "x" * 64],
)  # fmt: skip
def test_names(target: Target, way: str, name: str) -> None:
    quoted = "`" + name.replace("`", "``") + "`"
    table = target.table(name, f"{quoted} int PRIMARY KEY", "other int NOT NULL")
    of = (column(name, "int", pa.int64()), column("other", "int", pa.int64()))
    target.write(WritePlan(table, of), batch(of, [1, 2], [1, 2]))
    target.write(WritePlan(table, of, (name,), upsert=True), batch(of, [2, 3], [20, 30]))
    assert target.rows(f"SELECT * FROM {quoted} ORDER BY 1") == [
        (1, 1), (2, 20), (3, 30),
    ]  # fmt: skip
    assert target.sink.has_rows(table)
    with pytest.raises(RowRejected) as caught:
        target.write(WritePlan(table, of), batch(of, [2**40], [2]))
    assert caught.value.details["column"] == name


def test_no_rows_and_no_columns(target: Target, way: str) -> None:
    table = target.table("t", "id int", "note text")
    assert target.write(WritePlan(table, NUMBERS)).rows == 0
    assert target.write(WritePlan(table, NUMBERS), numbers(0, 0)).rows == 0
    for more in ({"quarantine": True}, {"upsert": True, "key": ("id",)}):
        assert target.write(WritePlan(table, NUMBERS, **more), numbers(0, 0)).rows == 0
    double = (column("d", "double", pa.float64()),)
    into = target.table("d", "d double")
    none, one = batch(double, []), batch(double, [1.5])
    assert target.write(WritePlan(into, double), none, one, none).rows == 1
    assert not target.sink.has_rows(table)
    empty = target.table("e", "x int DEFAULT 7")
    bare = pa.RecordBatch.from_struct_array(pa.array([{}] * 3, pa.struct([])))
    assert target.write(WritePlan(empty, ()), bare).rows == 3
    assert target.rows("SELECT x FROM e") == [(7,)] * 3


def test_zero_stays_zero_in_an_auto_increment(target: Target, way: str) -> None:
    table = target.table("t", "id int AUTO_INCREMENT PRIMARY KEY", "note text")
    target.write(WritePlan(table, NUMBERS), numbers(-1, 3))
    assert target.rows("SELECT id FROM t ORDER BY id") == [(-1,), (0,), (1,), (2,)]


@pytest.mark.parametrize("upsert", [False, True])
def test_small_packets(target: Target, upsert: bool) -> None:
    target.by("insert", packet=4096)
    table = target.table("t", "id int PRIMARY KEY", "note longtext")
    load = WritePlan(table, NUMBERS, ("id",) if upsert else (), upsert=upsert)
    assert target.write(load, numbers(0, 2000)).rows == 2000
    with pytest.raises(RowRejected) as caught:
        target.write(load, numbers(2000, 3000, at_2500="secret" * 1000))
    assert "max_allowed_packet" in str(caught.value) and "secret" not in str(caught.value)
    assert target.rows("SELECT count(*) FROM t") == [(2000,)]
    written = target.write(
        WritePlan(table, NUMBERS, load.key, upsert=upsert, quarantine=True),
        numbers(2000, 3000, at_2500="x" * 5000, at_2777="x" * 5000),
    )
    assert (written.rows, written.quarantined) == (998, 2)
    assert target.rows("SELECT count(*) FROM t WHERE id NOT IN (2500, 2777)") == [(2998,)]


# Transactions


def test_rows_and_record_become_durable_together(target: Target, way: str) -> None:
    table = target.table("t", "id int PRIMARY KEY", "note text")
    target.write(WritePlan(table, NUMBERS), numbers(0, 10), rows=10)
    assert target.sink.load_state(STREAM) == {"chunk": {"done": True, "rows": 10}}
    with pytest.raises(RowRejected):
        target.write(WritePlan(table, NUMBERS), numbers(10, 20), numbers(5, 6), rows=20)
    assert target.rows("SELECT count(*) FROM t") == [(10,)]
    assert target.sink.load_state(STREAM) == {"chunk": {"done": True, "rows": 10}}


def test_the_source_fails_in_the_middle(target: Target) -> None:
    table = target.table("t", "id int", "note text")

    def broken() -> Iterator[pa.RecordBatch]:
        yield numbers(0, 70_000)
        raise RuntimeError("the source is gone")

    with pytest.raises(RuntimeError, match="the source is gone"):
        target.sink.write_rows(
            STREAM, WritePlan(table, NUMBERS), broken(), lambda: Checkpoint("c", {})
        )
    assert target.rows("SELECT count(*) FROM t") == [(0,)]
    assert target.write(WritePlan(table, NUMBERS), numbers(0, 5)).rows == 5


# Upsert


def test_the_same_chunk_twice_under_upsert_equals_once(target: Target, way: str) -> None:
    table = target.table("t", "id int PRIMARY KEY", "note varchar(20) DEFAULT 'x'")
    load = WritePlan(table, NUMBERS, ("id",), upsert=True)
    for _ in range(2):
        assert target.write(load, numbers(0, 100)).rows == 100
    assert target.rows("SELECT count(*), min(note) FROM t") == [(100, "row 0")]


def test_upsert_last_one_wins_and_keys_alone_do_nothing(target: Target, way: str) -> None:
    table = target.table("t", "id int AUTO_INCREMENT PRIMARY KEY", "note text", "mine int")
    load = WritePlan(table, NUMBERS, ("id",), upsert=True)
    target.run("INSERT INTO t VALUES (2, 'old', 7)")
    target.write(
        load,
        batch(NUMBERS, [1, 2, 1, 0], ["a", "b", "c", "z"]),
        batch(NUMBERS, [1, 0], ["d", None]),
    )
    assert target.rows("SELECT * FROM t ORDER BY id") == [
        (0, None, None), (1, "d", None), (2, "b", 7),
    ]  # fmt: skip
    target.write(WritePlan(table, NUMBERS[:1], ("id",), upsert=True), batch(NUMBERS[:1], [1, 3]))
    assert target.rows("SELECT id, note FROM t ORDER BY id") == [
        (0, None), (1, "d"), (2, "b"), (3, None),
    ]  # fmt: skip


def test_upsert_of_a_composite_key_without_case(target: Target, way: str) -> None:
    collation = "utf8mb4_general_ci"
    table = target.table(
        "t",
        f"a varchar(9) COLLATE {collation}",
        "b datetime(6)",
        "v int",
        "PRIMARY KEY (a, b)",
    )
    of = columns(
        a=("varchar(9)", pa.string()), b=("datetime(6)", pa.timestamp("us")), v=("int", pa.int64())
    )
    load = WritePlan(table, of, ("a", "b"), upsert=True)
    one, two = datetime(2020, 1, 1), datetime(2020, 1, 1, 0, 0, 0, 1)
    target.write(load, batch(of, ["x", "X", "x"], [one, one, two], [1, 2, 3]))
    target.write(load, batch(of, ["X", "y"], [two, two], [4, 5]))
    assert target.rows("SELECT a, v FROM t ORDER BY v") == [("X", 2), ("X", 4), ("y", 5)]


def test_upsert_destroys_no_row_that_another_key_names(target: Target, way: str) -> None:
    table = target.table("t", "id int PRIMARY KEY", "note varchar(20) UNIQUE")
    target.run("INSERT INTO t VALUES (1, 'one'), (2, 'two')")
    load = WritePlan(table, NUMBERS, ("id",), upsert=True)
    for rows in (batch(NUMBERS, [3], ["two"]), batch(NUMBERS, [1], ["two"])):
        with pytest.raises(RowRejected) as caught:
            target.write(load, rows)
        assert "note" in caught.value.details["constraint"]
        assert "two" not in str(caught.value)
        assert target.rows("SELECT * FROM t ORDER BY id") == [(1, "one"), (2, "two")]


def test_upsert_names_the_right_bad_row(target: Target, way: str) -> None:
    """What the merge refuses is numbered by its own rows, not by those of the block."""
    table = target.table(
        "t", "id int PRIMARY KEY", "note varchar(20)", "g tinyint AS (id * 10) STORED"
    )
    target.run("INSERT INTO t (id) VALUES (1), (2), (3), (4), (5)")
    load = WritePlan(table, NUMBERS, ("id",), upsert=True, quarantine=True)
    written = target.write(load, numbers(1, 20))
    assert (written.rows, written.quarantined) == (12, 7)
    assert target.rows("SELECT id FROM t WHERE note IS NOT NULL ORDER BY 1") == [
        (i,) for i in range(1, 13)
    ]


def test_a_whole_server_as_target(mysql_server: Server, database: Any) -> None:
    """No database of its own: the state lies in one that vanishes, unless others use it."""
    database.adopt(mysql_server, "streams_engine")
    target = Target(mysql_server, database(mysql_server), whole=True)
    table = target.table("t", "id int PRIMARY KEY", "note text")
    load = WritePlan(table, NUMBERS, ("id",), upsert=True)
    for mine in (False, True):
        assert target.write(load, numbers(0, 5)).rows == 5
        if mine:
            target.run("CREATE VIEW streams_engine.mine AS SELECT 1 AS one")
        target.sink.forget(STREAM)
        there = target.rows("SHOW DATABASES LIKE 'streams\\_engine'")
        assert len(there) == mine
    assert target.rows("SELECT one FROM streams_engine.mine") == [(1,)]
    target.close()


# Bad rows


def test_one_bad_row_in_a_hundred_thousand(target: Target, way: str) -> None:
    table = target.table("t", "id int PRIMARY KEY", "note varchar(20)")
    rows = numbers(0, 100_000, at_70001="x" * 21)
    started = time.monotonic()
    written = target.write(WritePlan(table, NUMBERS, quarantine=True), rows)
    assert (written.rows, written.quarantined) == (99_999, 1)
    assert target.rows("SELECT count(*) FROM t WHERE id <> 70001") == [(99_999,)]
    ((code, reason, row),) = target.quarantine_rows()
    assert code in ("1406", "1265") and "note" in reason
    assert json.loads(row) == {"id": "70001", "note": "x" * 21}
    assert time.monotonic() - started < 20


def test_many_bad_rows_stay_fast(target: Target, way: str) -> None:
    table = target.table("t", "id int PRIMARY KEY", "note varchar(20)", "CHECK (id % 100 <> 7)")
    started = time.monotonic()
    bad = {f"at_{i}": "x" * 21 for i in range(0, 20_000, 50)}
    written = target.write(WritePlan(table, NUMBERS, quarantine=True), numbers(0, 20_000, **bad))
    assert written.quarantined == 400 + 200
    assert target.rows("SELECT count(*) FROM t WHERE id % 50 AND id % 100 <> 7") == [(19_400,)]
    assert time.monotonic() - started < 20


FK = "FOREIGN KEY of_parent (v) REFERENCES parent (id)"
BAD: list[tuple[str, str, str, pa.DataType, Any, str | None, str | None]] = [
    ("varchar(3)", "", "varchar(3)", pa.string(), "secret", "v", None),
    ("varbinary(3)", "", "varbinary(3)", pa.binary(), b"secret", "v", None),
    ("tinyint", "", "int", pa.int64(), 77777, "v", None),
    ("int unsigned", "", "int", pa.int64(), -77777, "v", None),
    ("decimal(5,1)", "", "decimal(5,2)", pa.decimal128(5, 2), Decimal("1.77"), "v", None),
    ("decimal(3,0)", "", "decimal(5,2)", pa.decimal128(5, 0), Decimal("77777"), "v", None),
    ("date", "", "date", pa.string(), "2020-77-77", "v", None),
    ("datetime", "", "datetime", pa.string(), "secret", "v", None),
    ("int", "", "int", pa.string(), "secret", "v", None),
    ("int", "", "int", pa.string(), "secret' at row 77 for column 'x' at row 99", "v", None),
    ("time", "", "time", pa.string(), "839:00:00", "v", None),
    ("year", "", "year", pa.int16(), 1777, "v", None),
    ("bit(3)", "", "bit(4)", pa.uint64(), 15, "v", None),
    ("enum('a', 'b')", "", "enum('a','b')", pa.string(), "secret", "v", None),
    ("set('a', 'b')", "", "set('a','b')", pa.string(), "a,secret", "v", None),
    ("varchar(9) CHARACTER SET latin1", "", "varchar(9)", pa.string(), "se\u540dcret", "v", None),
    ("int NOT NULL", "", "int", pa.int64(), None, "v", None),
    ("varchar(60)", "UNIQUE KEY one (v)", "varchar(60)", pa.string(), "key 'secret'", None, "one"),
    ("int", f"CONSTRAINT of_parent {FK}", "int", pa.int64(), 77777, None, "of_parent"),
    ("int", "CONSTRAINT `lo w` CHECK (v < 9)", "int", pa.int64(), 77777, None, "lo w"),
    ("json", "", "json", pa.string(), "{secret", None, None),
    ("point", "", "point", pa.binary(), b"secret", None, None),
]  # fmt: skip
EASY = {
    pa.string(): "1", pa.binary(): b"1", pa.int64(): 1, pa.uint64(): 1, pa.int16(): 2000,
    pa.decimal128(5, 2): Decimal("1.10"), pa.decimal128(5, 0): Decimal(1),
}  # fmt: skip


@pytest.mark.parametrize("bad", BAD, ids=lambda b: f"{b[0]} {b[1]} {str(b[4])[:12]}")
def test_warnings_are_errors(target: Target, way: str, bad: Any) -> None:
    declared, tail, kind, arrow, value, where, constraint = bad
    target.table("parent", "id int PRIMARY KEY")
    target.run("INSERT INTO parent VALUES (1)")
    table = target.table("t", "id int PRIMARY KEY", f"v {declared}", *([tail] if tail else []))
    charset = charset_of(declared)
    of = (column("id", "int", pa.int64()), column("v", kind, arrow, charset))
    good = {"date": "2020-01-01", "datetime": "2020-01-01", "time": "01:00:00", "enum": "a",
            "set": "a", "json": "1", "point": point(1, 2)}.get(
        of[1].type.name, EASY[arrow])  # fmt: skip
    unique = constraint == "one"
    rows = batch(of, [1, 2, 3], [value if unique else good, None if unique else good, value])
    if "NOT NULL" in declared:
        rows = batch(of, [1, 2, 3], [good, good, None])
    with pytest.raises(RowRejected) as caught:
        target.write(WritePlan(table, of), rows)
    told = f"{caught.value} {caught.value.to_dict()}"
    assert "secret" not in told and "77777" not in told and str(table) in caught.value.message
    if where:
        assert caught.value.details["column"] == where and where in caught.value.message
    if constraint:
        assert constraint in caught.value.details["constraint"]
        assert constraint in caught.value.message
    assert target.rows("SELECT count(*) FROM t") == [(0,)]
    for upsert in (False, True):
        target.run("DELETE FROM t")
        load = WritePlan(table, of, ("id",) if upsert else (), upsert=upsert, quarantine=True)
        written = target.write(load, rows)
        assert (written.rows, written.quarantined) == (2, 1)
        assert target.rows("SELECT id FROM t ORDER BY id") == [(1,), (2,)]
    for code, reason, row in target.quarantine_rows():
        assert code and "secret" not in reason
        assert json.loads(row)["id"] == "3"


def test_a_bad_row_behind_a_cut_of_the_statement(target: Target) -> None:
    """The server counts rows by statement; the row set aside is the bad one nevertheless."""
    target.by("insert", packet=1000)
    table = target.table("t", "id int PRIMARY KEY", "note varchar(20)")
    rows = numbers(0, 300, at_200="x" * 21, at_211="x" * 21)
    written = target.write(WritePlan(table, NUMBERS, quarantine=True), rows)
    assert written.quarantined == 2
    assert [json.loads(r[2])["id"] for r in target.quarantine_rows()] == ["200", "211"]


def test_other_errors_are_no_bad_rows(target: Target, way: str) -> None:
    gone = TableId(target.database, "gone")
    with pytest.raises(StreamsError) as caught:
        target.write(WritePlan(gone, NUMBERS, quarantine=True), numbers(0, 2))
    assert not isinstance(caught.value, RowRejected)
    assert caught.value.details["errno"] == 1146


# Broken connections


def kill(target: Target) -> None:
    for (session,) in target.rows(
        "SELECT id FROM information_schema.processlist WHERE id <> CONNECTION_ID()"
        f" AND db = '{target.database}'"
    ):
        target.run(f"KILL {session}")


@pytest.mark.parametrize("quarantine", [False, True])
def test_a_session_killed_in_the_middle_leaves_nothing(
    target: Target, way: str, quarantine: bool
) -> None:
    table = target.table("t", "id int", "note text")

    def rows() -> Iterator[pa.RecordBatch]:
        yield numbers(0, 70_000)
        kill(target)
        yield numbers(70_000, 140_000)

    load = WritePlan(table, NUMBERS, quarantine=quarantine)
    with pytest.raises(ConnectionFailed) as caught:
        target.sink.write_rows(STREAM, load, rows(), lambda: Checkpoint("c", {}))
    assert caught.value.retryable
    assert target.rows("SELECT count(*) FROM t") == [(0,)]
    assert target.write(load, numbers(0, 10)).rows == 10


def test_an_idle_session_that_was_killed_is_no_error(target: Target) -> None:
    table = target.table("t", "id int", "note text")
    target.write(WritePlan(table, NUMBERS), numbers(0, 10))
    kill(target)
    assert target.write(WritePlan(table, NUMBERS), numbers(10, 20)).rows == 10
    kill(target)
    assert target.sink.load_state(STREAM)


def test_killed_before_the_commit(target: Target) -> None:
    table = target.table("t", "id int", "note text")

    def mark() -> Checkpoint:
        kill(target)
        return Checkpoint("c", {})

    with pytest.raises(ConnectionFailed):
        target.sink.write_rows(STREAM, WritePlan(table, NUMBERS), iter([numbers(0, 9)]), mark)
    assert target.rows("SELECT count(*) FROM t") == [(0,)]


@pytest.mark.parametrize("document", [{}, {"a": 1}])
@pytest.mark.parametrize("happened", [True, False])
def test_an_answer_to_the_commit_that_is_lost(
    target: Target, monkeypatch: pytest.MonkeyPatch, happened: bool, document: dict[str, Any]
) -> None:
    table = target.table("t", "id int", "note text")
    commit = pymysql.connections.Connection.commit

    def lost(connection: Any) -> None:
        monkeypatch.setattr(pymysql.connections.Connection, "commit", commit)
        if happened:
            commit(connection)
        connection._force_close()
        raise pymysql.OperationalError(2013, "Lost connection to MySQL server during query")

    def mark() -> Checkpoint:
        monkeypatch.setattr(pymysql.connections.Connection, "commit", lost)
        return Checkpoint("c", document)

    def write() -> WriteResult:
        return target.sink.write_rows(
            STREAM, WritePlan(table, NUMBERS), iter([numbers(0, 9)]), mark
        )

    if happened:
        assert write().rows == 9
    else:
        with pytest.raises(ConnectionFailed):
            write()
    assert target.rows("SELECT count(*) FROM t") == [(9 if happened else 0,)]


def test_the_outcome_is_waited_for(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server does not know yet that the client is gone: its transaction still holds the row."""
    table = target.table("t", "id int", "note text")
    held: list[Any] = []

    def lost(connection: Any) -> None:
        monkeypatch.undo()
        held.append(connection)
        threading.Timer(1, pymysql.connections.Connection.commit, [connection]).start()
        raise pymysql.OperationalError(2013, "Lost connection to MySQL server during query")

    def mark() -> Checkpoint:
        monkeypatch.setattr(pymysql.connections.Connection, "commit", lost)
        return Checkpoint("c", {"a": 1})

    written = target.sink.write_rows(STREAM, WritePlan(table, NUMBERS), iter([numbers(0, 9)]), mark)
    assert held and written.rows == 9
    assert target.rows("SELECT count(*) FROM t") == [(9,)]


def test_closing_abandons_a_write(target: Target) -> None:
    """Even one that hangs at the server."""
    table = target.table("t", "id int", "note text")
    target.sink.save_state(STREAM, {"other": {"a": 1}})
    raised: list[BaseException] = []

    def write() -> None:
        try:
            target.write(WritePlan(table, NUMBERS), numbers(0, 1000))
        except StreamsError as error:
            raised.append(error)

    target.run("LOCK TABLES t WRITE")
    writer = threading.Thread(target=write)
    writer.start()
    waiting = "SELECT 1 FROM information_schema.processlist WHERE state LIKE 'Waiting for table%'"
    until(lambda: target.rows(waiting))
    target.sink.close()
    target.sink.close()
    writer.join(5)
    assert raised and not writer.is_alive()
    target.run("UNLOCK TABLES")
    assert target.rows("SELECT count(*) FROM t") == [(0,)]
    with pytest.raises(ConnectionFailed):
        target.sink.has_rows(table)


def test_closing_between_two_statements_still_abandons(target: Target) -> None:
    table = target.table("t", "id int", "note text")

    def mark() -> Checkpoint:
        target.sink.close()
        return Checkpoint("c", {})

    with pytest.raises(StreamsError):
        target.sink.write_rows(STREAM, WritePlan(table, NUMBERS), iter([numbers(0, 9)]), mark)
    assert target.rows("SELECT count(*) FROM t") == [(0,)]


@pytest.mark.parametrize("upsert", [False, True])
def test_many_writers_at_once(target: Target, upsert: bool) -> None:
    """One may be the victim of a deadlock: then it may be tried again, and nothing stayed."""
    table = target.table("t", "id int PRIMARY KEY", "note varchar(20)")
    load = WritePlan(table, NUMBERS, ("id",) if upsert else (), upsert=upsert)
    unexpected: list[BaseException] = []

    def write(place: int) -> None:
        for part in range(4):
            while True:
                try:
                    start = place * 1000 + part * 250
                    target.write(load, numbers(start, start + 250), key=f"{place}.{part}")
                    break
                except StreamsError as error:
                    if not error.retryable:
                        unexpected.append(error)
                        return

    writers = [threading.Thread(target=write, args=[n]) for n in range(6)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert not unexpected
    assert target.rows("SELECT count(*) FROM t") == [(6000,)]
    assert len(target.sink.load_state(STREAM)) == 24


class Rogue:
    """A server that answers LOAD DATA with a request for a file of its own choice."""

    def __init__(self, *names: bytes) -> None:
        self.names = list(names)
        self.sent: list[bytes] = []
        self.closed = False

    def _execute_command(self, command: int, sql: str) -> None:
        pass

    def _read_packet(self) -> Any:
        data = b"\xfb" + self.names.pop(0) if self.names else b"\0\0\0\2\0\0\0"
        return pymysql.protocol.MysqlPacket(data, "utf8mb4")

    def write_packet(self, payload: bytes) -> None:
        self.sent.append(bytes(payload))

    def _force_close(self) -> None:
        self.closed = True


@pytest.mark.parametrize("names", [(b"/etc/passwd",), (b"streams_engine", b"/etc/passwd")])
def test_a_rogue_server_gets_no_file(names: tuple[bytes, ...]) -> None:
    rogue = Rogue(*names)
    load = WritePlan(TableId("db", "t"), NUMBERS)
    loader = MysqlBulkLoad(rogue, load, local_infile=True, packet=1 << 20)
    with pytest.raises(ConnectionFailed):
        loader.run(iter([numbers(0, 2)]))
    assert rogue.closed
    assert rogue.sent == ([b"0\trow 0\n1\trow 1\n", b""] if len(names) > 1 else [])


# State


def test_records(target: Target) -> None:
    sink = target.sink
    assert sink.load_state(STREAM) == {}
    sink.forget(STREAM)
    sink.save_state(STREAM, {"a": {"x": "\U0001f600 \\ ' %s"}, "b": {}, "c": {"y": 1}})
    sink.save_state("other", {"a": {"z": 1}})
    sink.save_state(STREAM, {"c": None, "none": None})
    assert sink.load_state(STREAM) == {"a": {"x": "\U0001f600 \\ ' %s"}, "b": {}}
    sink.forget(STREAM)
    assert sink.load_state(STREAM) == {}
    assert sink.load_state("other") == {"a": {"z": 1}}
    sink.forget("other")
    assert target.rows("SHOW TABLES") == []
    sink.save_state("x" * 999, {"a": {"z": 1}})
    assert sink.load_state("x" * 999) == {"a": {"z": 1}}


def test_another_process_removed_the_state(target: Target) -> None:
    """Its tables go when the last stream ends; a sink that made them makes them anew."""
    other = MysqlSink(replace(target.connect, abort=Abort()))
    other.save_state("other", {"a": {"z": 1}})
    target.sink.save_state(STREAM, {"a": {"z": 1}})
    target.sink.forget(STREAM)
    other.forget("other")
    other.close()
    target.sink.save_state(STREAM, {"a": {"z": 1}})
    assert target.sink.load_state(STREAM) == {"a": {"z": 1}}


def test_the_quarantine_stays_while_it_has_rows(target: Target) -> None:
    table = target.table("t", "id int PRIMARY KEY", "note varchar(3)")
    target.write(WritePlan(table, NUMBERS, quarantine=True), numbers(0, 1))
    target.sink.forget(STREAM)
    assert len(target.quarantine_rows()) == 1
    target.run(f"DELETE FROM {STATE_TABLES[1]}")
    target.sink.forget(STREAM)
    assert target.rows("SHOW TABLES") == [("t",)]


# Structure


def test_what_drops_comes_first_then_the_state(target: Target) -> None:
    old = target.table("old", "id int")
    where = f"`{target.database}`"
    records = {"run": {"x": 1}}
    made = Statement(f"CREATE TABLE {where}.made (id int)", ObjectRef(ObjectKind.TABLE, "made"))
    dropped = Statement(
        f"DROP TABLE {where}.old",
        ObjectRef(ObjectKind.TABLE, table=old),
        old,
        truncates=(old,),
        cleanup=True,
    )
    wrong = Statement("CREATE NONSENSE", ObjectRef(ObjectKind.TABLE, "wrong"))
    with pytest.raises(ServerError) as caught:
        target.sink.execute([made, wrong, dropped], (STREAM, records))
    assert "table wrong" in str(caught.value)
    assert target.sink.load_state(STREAM) == records
    assert target.rows("SHOW TABLES LIKE 'old'") == []
    note = Statement("CREATE NONSENSE", ObjectRef(ObjectKind.INDEX, "i"), optional=True)
    assert [(f.object, f.code) for f in target.sink.execute([note])] == [("index i", "left-out")]


def test_nothing_is_emptied_under_others(target: Target, database: Any) -> None:
    parent = target.table("Parent", "id int PRIMARY KEY", "note text")
    child = target.table("child", "id int", "FOREIGN KEY (id) REFERENCES Parent (id)")
    target.run("INSERT INTO Parent VALUES (1, 'x')", "INSERT INTO child VALUES (1)")
    twin = target.table("parent", "id int PRIMARY KEY")
    empties = [
        Statement(
            f"TRUNCATE TABLE `{t.schema}`.`{t.name}`",
            ObjectRef(ObjectKind.TABLE, table=t),
            t,
            truncates=(t,),
        )
        for t in (parent, child, twin)
    ]
    with pytest.raises(TargetConflict, match="child refers to"):
        target.sink.execute(empties[:1])
    assert target.rows("SELECT count(*) FROM child") == [(1,)]
    target.sink.execute(empties[2:])
    target.sink.execute(empties[:2])
    assert target.rows("SELECT count(*) FROM Parent") == [(0,)]
    with pytest.raises(RowRejected):  # the checks are on again
        target.write(WritePlan(child, NUMBERS[:1]), batch(NUMBERS[:1], [5]))


def test_a_missing_database_is_made_if_wanted(mysql_server: Server, database: Any) -> None:
    name = database.adopt(mysql_server, f"missing.{mysql_server.port} %s")
    connect = MysqlConnect(
        mysql_server.kind, mysql_server.host, mysql_server.port, mysql_server.user,
        mysql_server.password, name,
    )  # fmt: skip
    with (
        pytest.raises(NotFound, match="does not exist"),
        contextlib.closing(MysqlSink(connect)) as refused,
    ):
        refused.check()
    sink = MysqlSink(connect, create_database=True)
    try:
        assert [finding.code for finding in sink.check()] == ["database-created"]
        assert list(sink.check()) == []
        assert sink.load_state(STREAM) == {}
    finally:
        sink.close()


@pytest.fixture
def no_local_infile(mysql_server: Server) -> Iterator[None]:
    """The server as it comes: LOAD DATA LOCAL is not allowed."""
    with mysql_server.connect() as connection, connection.cursor() as cursor:
        cursor.execute("SET GLOBAL local_infile = 0")
    yield
    with mysql_server.connect() as connection, connection.cursor() as cursor:
        cursor.execute("SET GLOBAL local_infile = 1")


@pytest.mark.usefixtures("no_local_infile")
def test_without_local_infile_rows_go_by_insert(target: Target) -> None:
    table = target.table("t", "id int", "note text")
    assert [f.code for f in target.sink.check()] == ["no-local-infile"]
    assert target.write(WritePlan(table, NUMBERS), numbers(0, 10)).rows == 10
    assert target.rows("SELECT count(*) FROM t") == [(10,)]
