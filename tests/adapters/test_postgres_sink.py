"""The PostgreSQL sink against real servers: values, transactions, bad rows, broken connections."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import psycopg
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import sql

from streams_engine.adapters.postgres.connection import PostgresConnect, pipelined
from streams_engine.adapters.postgres.sink.sink import PostgresSink
from streams_engine.contracts import Checkpoint, Statement, WritePlan, WriteResult
from streams_engine.errors import (
    ConnectionFailed,
    NotFound,
    RowRejected,
    ServerError,
    StreamsError,
)
from streams_engine.model import (
    Column,
    Dialect,
    NativeType,
    ObjectKind,
    ObjectRef,
    TableId,
    TypeKind,
)
from streams_engine.testing.servers import Server
from tests.support.polling import until

STREAM = "test"


class Target:
    """A fresh database with a sink on it, and a plain connection that looks on."""

    def __init__(self, server: Server, database: str) -> None:
        self.server, self.database = server, database
        self.connect = PostgresConnect(
            server.host, server.port, server.user, server.password, database
        )
        self.sink = PostgresSink(self.connect)
        self.sql = server.connect(database)
        self.sql.execute("SET datestyle = 'ISO, YMD'")
        self.sql.execute("SET timezone = 'UTC'")

    def table(self, name: str, *columns: str) -> TableId:
        self.sql.execute(
            sql.SQL("CREATE TABLE {} ({})").format(
                sql.Identifier("public", name), sql.SQL(", ".join(columns))
            )
        )
        return TableId("public", name)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        return list(self.sql.execute(query).fetchall())

    def write(
        self, plan: WritePlan, *batches: pa.RecordBatch, key: str = "chunk", **document: Any
    ) -> WriteResult:
        checkpoint = Checkpoint(key, {"done": True, **document})
        return self.sink.write_rows(STREAM, plan, iter(batches), lambda: checkpoint)


@pytest.fixture
def target(pg_server: Server, database: Callable[[Server], str]) -> Iterator[Target]:
    made = Target(pg_server, database(pg_server))
    yield made
    made.sink.close()
    made.sql.close()


def native(name: str, *args: int, text: str | None = None) -> NativeType:
    kind = TypeKind.ARRAY if name.startswith("_") else TypeKind.BASE
    return NativeType(Dialect.POSTGRES, text or name, name, args, kind=kind)


def columns(**of: tuple[str, pa.DataType]) -> tuple[Column, ...]:
    return tuple(Column(name, native(kind), arrow) for name, (kind, arrow) in of.items())


def batch(table: tuple[Column, ...], *values: list[Any]) -> pa.RecordBatch:
    arrays = [pa.array(v, c.arrow) for v, c in zip(values, table, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, [c.name for c in table])


NUMBERS = columns(id=("int4", pa.int64()), note=("text", pa.string()))


def numbers(start: int, stop: int, **changed: Any) -> pa.RecordBatch:
    notes: list[Any] = [f"row {i}" for i in range(start, stop)]
    for place, note in changed.items():
        notes[int(place.removeprefix("at_")) - start] = note
    return batch(NUMBERS, list(range(start, stop)), notes)


# Values


def clock(value: timedelta) -> str:
    total, micro = divmod(value // timedelta(microseconds=1), 1_000_000)
    text = f"{total // 3600:02}:{total // 60 % 60:02}:{total % 60:02}"
    return text + (f".{micro:06}".rstrip("0") if micro else "")


def moment(value: datetime) -> str:
    fraction = f".{value.microsecond:06}".rstrip("0") if value.microsecond else ""
    return f"{value.year:04}-{value.month:02}-{value.day:02} {value:%H:%M:%S}{fraction}"


def literal(values: list[str | None]) -> str:
    """array_out by its manual: quoted where empty, NULL, or with special characters."""

    def one(value: str | None) -> str:
        if value is None:
            return "NULL"
        special = value == "" or value.upper() == "NULL" or set(value) & set('{},"\\ \t\n\r\v\f')
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"' if special else escaped

    return "{" + ",".join(map(one, values)) + "}"


TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=9)
SPANS = st.timedeltas(timedelta(0), timedelta(days=1))
BITS = st.integers(0, 2**13 - 1)
Case = tuple[str, str, pa.DataType, st.SearchStrategy[Any], Callable[[Any], str]]

CASES: list[Case] = [
    ("boolean", "bool", pa.bool_(), st.booleans(), lambda v: "true" if v else "false"),
    ("boolean", "bool", pa.int8(), st.integers(0, 1), lambda v: "true" if v else "false"),
    ("int", "int4", pa.bool_(), st.booleans(), lambda v: str(int(v))),
    ("bigint", "int8", pa.int64(), st.integers(-(2**63), 2**63 - 1), str),
    ("numeric", "numeric", pa.uint64(), st.integers(0, 2**64 - 1), str),
    ("numeric(76,30)", "numeric", pa.decimal256(76, 30),
     st.integers(1 - 10**76, 10**76 - 1).map(lambda v: Decimal(f"{v}E-30")), lambda v: f"{v:f}"),
    ("numeric(9,9)", "numeric", pa.decimal128(9, 9),
     st.integers(1 - 10**9, 10**9 - 1).map(lambda v: Decimal(f"{v}E-9")), lambda v: f"{v:f}"),
    ("real", "float4", pa.float32(), st.floats(width=32), repr),
    ("double precision", "float8", pa.float64(), st.floats(), repr),
    ("text", "text", pa.string(), TEXTS, str),
    ("bytea", "bytea", pa.binary(), st.binary(max_size=9), lambda v: "\\x" + v.hex()),
    ("uuid", "uuid", pa.string(), st.uuids().map(str), str),
    ("uuid", "uuid", pa.binary(16), st.uuids().map(lambda u: u.bytes),
     lambda v: f"{v[:4].hex()}-{v[4:6].hex()}-{v[6:8].hex()}-{v[8:10].hex()}-{v[10:].hex()}"),
    ("date", "date", pa.date32(), st.dates(), date.isoformat),
    ("timestamp", "timestamp", pa.timestamp("us"), st.datetimes(), moment),
    ("timestamptz", "timestamptz", pa.timestamp("us", "UTC"), st.datetimes(),
     lambda v: moment(v) + "+00"),
    ("time", "time", pa.duration("us"), SPANS, clock),
    ("interval", "interval", pa.duration("us"), SPANS, clock),
    ("bit(13)", "bit", pa.uint64(), BITS, lambda v: f"{v:013b}"),
    ("text[]", "_text", pa.list_(pa.string()), st.lists(st.none() | TEXTS, max_size=4), literal),
    ("int[]", "_int4", pa.list_(pa.int64()), st.lists(st.none() | st.integers(-9, 9), max_size=4),
     lambda v: literal([None if i is None else str(i) for i in v])),
    ("bytea[]", "_bytea", pa.list_(pa.binary()), st.lists(st.binary(max_size=3), max_size=3),
     lambda v: literal(["\\x" + b.hex() for b in v])),
]  # fmt: skip

FLOATS = {"float4", "float8"}


@pytest.mark.parametrize("form", ["binary", "text"])
@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c[0]} from {c[2]}")
def test_the_server_shows_what_was_meant(target: Target, case: Case, form: str) -> None:
    declared, name, arrow, strategy, shown = case
    args = (13,) if name == "bit" else ()
    extra = [Column("extra", native("inet"), pa.string())] if form == "text" else []
    table = target.table("t", "n int", f"v {declared}", "extra inet")
    of = (
        Column("n", native("int4"), pa.int64()),
        Column("v", native(name, *args), arrow),
        *extra,
    )

    @settings(
        max_examples=8,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )
    @given(st.lists(st.none() | strategy, min_size=1, max_size=40), st.integers(0, 2))
    def check(values: list[Any], skip: int) -> None:
        target.sql.execute("TRUNCATE t")
        whole = batch(of, list(range(len(values))), values, *([[None] * len(values)] * len(extra)))
        target.write(WritePlan(table, of), whole.slice(skip))
        found = [row[0] for row in target.rows("SELECT v::text FROM t ORDER BY n")]
        wanted = [None if v is None else shown(v) for v in values[skip:]]
        if name in FLOATS:
            found = [None if f is None else repr(float(f)) for f in found]
            if name == "float4":  # the server's shortest text is of single precision
                single = pa.array([None if f is None else float(f) for f in found], pa.float32())
                found = [None if f is None else repr(f) for f in single.to_pylist()]
        assert found == wanted

    check()


@pytest.mark.parametrize("form", ["binary", "text"])
def test_far_years(target: Target, form: str) -> None:
    table = target.table("t", "n int", "d date", "t timestamp", "extra inet")
    of = columns(
        n=("int4", pa.int64()),
        d=("date", pa.date32()),
        t=("timestamp", pa.timestamp("us")),
    )
    if form == "text":
        of += columns(extra=("inet", pa.string()))
    days = [-2_440_588, -719_163, 2_932_897, 2_145_042_905]  # the last: 5874897-12-31
    micro = [
        -210_866_803_200_000_000,
        -62_135_596_800_000_001,
        253_402_300_800_000_001,
        2**63 - 1,
    ]
    arrays = [
        pa.array(range(4)),
        pa.array(days, pa.int32()).view(pa.date32()),
        pa.array(micro, pa.int64()).view(pa.timestamp("us")),
    ]
    if form == "text":
        arrays.append(pa.nulls(4, pa.string()))
    target.write(WritePlan(table, of), pa.RecordBatch.from_arrays(arrays, [c.name for c in of]))
    assert target.rows("SELECT d::text, t::text FROM t ORDER BY n") == [
        ("4714-11-24 BC", "4714-11-24 00:00:00 BC"),
        ("0001-12-31 BC", "0001-12-31 23:59:59.999999 BC"),
        ("10000-01-01", "10000-01-01 00:00:00.000001"),
        ("5874897-12-31", "294247-01-10 04:00:54.775807"),
    ]


def test_empty_null_and_backslash_n(target: Target) -> None:
    table = target.table("t", "a text", "b inet")
    of = columns(a=("text", pa.string()), b=("inet", pa.string()))
    target.write(
        WritePlan(table, of),
        batch(of, ["", None, "\\N", "NULL", "\\.", "\t\n\r\\"], ["::1"] + [None] * 5),
    )
    assert [row[0] for row in target.rows("SELECT a FROM t")] == [
        "", None, "\\N", "NULL", "\\.", "\t\n\r\\",
    ]  # fmt: skip


@pytest.mark.parametrize("extra", ["text", "inet"], ids=["binary", "text"])
@pytest.mark.parametrize("quarantine", [False, True])
def test_a_nul_byte_is_a_bad_row_of_its_column(
    target: Target, extra: str, quarantine: bool
) -> None:
    table = target.table("t", '"the note" text', f"x {extra}")
    of = (
        Column("the note", native("text"), pa.string()),
        Column("x", native(extra), pa.string()),
    )
    load = WritePlan(table, of, quarantine=quarantine)
    rows = batch(of, ["fine", "secret\0value", None], [None] * 3)
    if quarantine:
        assert (
            target.write(load, rows).rows,
            target.rows("SELECT count(*) FROM t"),
        ) == (2, [(2,)])
        ((reason,),) = target.rows("SELECT reason FROM streams_engine.quarantine")
    else:
        with pytest.raises(RowRejected) as caught:
            target.write(load, rows)
        reason = str(caught.value)
    assert "the note" in reason
    assert "secret" not in reason


@pytest.mark.parametrize(
    "name",
    [
        'q"uote',
        "do.t",
        "per%cent%s",
        "\u00fcn\u00efc\u00f6de \u540d",
        "back\\slash",
        "select",
        "A",
        "x" * 63,
    ],
)
def test_names(target: Target, name: str) -> None:
    quoted = sql.Identifier(name).as_string(target.sql)
    table = target.table(name, f"{quoted} int PRIMARY KEY", "other int")
    of = (
        Column(name, native("int4"), pa.int64()),
        Column("other", native("int4"), pa.int64()),
    )
    target.write(WritePlan(table, of), batch(of, [1, 2], [1, 2]))
    target.write(WritePlan(table, of, (name,), upsert=True), batch(of, [2, 3], [20, 30]))
    assert target.rows(f"SELECT * FROM {quoted} ORDER BY 1") == [
        (1, 1),
        (2, 20),
        (3, 30),
    ]
    assert target.sink.has_rows(table)


def test_no_rows_and_no_columns(target: Target) -> None:
    table = target.table("t", "id int", "note text")
    assert target.write(WritePlan(table, NUMBERS)).rows == 0
    assert target.write(WritePlan(table, NUMBERS), numbers(0, 0)).rows == 0
    empty = target.table("e")
    bare = pa.RecordBatch.from_struct_array(pa.array([{}] * 3, pa.struct([])))
    assert target.write(WritePlan(empty, ()), bare).rows == 3
    assert target.rows("SELECT count(*) FROM e") == [(3,)]
    assert not target.sink.has_rows(table)


# Transactions


def test_rows_and_record_become_durable_together(target: Target) -> None:
    table = target.table("t", "id int PRIMARY KEY", "note text")
    target.write(WritePlan(table, NUMBERS), numbers(0, 10), rows=10)
    assert target.sink.load_state(STREAM) == {"chunk": {"done": True, "rows": 10}}
    with pytest.raises(RowRejected):
        target.write(WritePlan(table, NUMBERS), numbers(10, 20), numbers(5, 6), rows=20)
    assert target.rows("SELECT count(*) FROM t") == [(10,)]
    assert target.sink.load_state(STREAM) == {"chunk": {"done": True, "rows": 10}}


def test_a_first_write_that_fails_leaves_a_sink_that_works(target: Target) -> None:
    table = target.table("t", "id int PRIMARY KEY", "note text")
    with pytest.raises(RowRejected):
        target.write(WritePlan(table, NUMBERS), numbers(0, 5), numbers(0, 5))
    assert target.write(WritePlan(table, NUMBERS), numbers(0, 5)).rows == 5
    assert target.sink.load_state(STREAM)


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


def test_freeze_empties_first(target: Target) -> None:
    table = target.table("t", "id int", "note text")
    for _ in range(2):
        target.write(WritePlan(table, NUMBERS, freeze=True), numbers(0, 10))
    assert target.rows("SELECT count(*) FROM t") == [(10,)]


def test_the_same_chunk_twice_under_upsert_equals_once(target: Target) -> None:
    table = target.table("t", "id int PRIMARY KEY", "note text DEFAULT 'x'")
    load = WritePlan(table, NUMBERS, ("id",), upsert=True)
    for _ in range(2):
        assert target.write(load, numbers(0, 100)).rows == 100
    assert target.rows("SELECT count(*), min(note) FROM t") == [(100, "row 0")]


def test_upsert_last_one_wins_and_keys_alone_do_nothing(target: Target) -> None:
    table = target.table("t", "id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY", "note text")
    load = WritePlan(table, NUMBERS, ("id",), upsert=True)
    target.write(load, batch(NUMBERS, [1, 2, 1, 1], ["a", "b", "c", "d"]))
    assert target.rows("SELECT * FROM t ORDER BY id") == [(1, "d"), (2, "b")]
    target.write(WritePlan(table, NUMBERS[:1], ("id",), upsert=True), batch(NUMBERS[:1], [1, 3]))
    assert target.rows("SELECT * FROM t ORDER BY id") == [(1, "d"), (2, "b"), (3, None)]


def test_a_deferred_constraint_refuses_at_commit(target: Target) -> None:
    table = target.table("t", "id int UNIQUE DEFERRABLE INITIALLY DEFERRED", "note text")
    with pytest.raises(RowRejected) as caught:
        target.write(WritePlan(table, NUMBERS), batch(NUMBERS, [7, 7], ["a", "b"]))
    assert caught.value.details["sqlstate"] == "23505"
    assert "(7)" not in str(caught.value)
    assert target.rows("SELECT count(*) FROM t") == [(0,)]


# Bad rows


def test_one_bad_row_in_a_hundred_thousand(target: Target) -> None:
    table = target.table("t", "id int PRIMARY KEY", "note varchar(20)")
    rows = numbers(0, 100_000, at_70001="x" * 21)
    started = time.monotonic()
    written = target.write(WritePlan(table, NUMBERS, quarantine=True), rows)
    assert (written.rows, written.quarantined) == (99_999, 1)
    assert target.rows("SELECT count(*) FROM t WHERE id <> 70001") == [(99_999,)]
    assert target.rows("SELECT code, source_row FROM streams_engine.quarantine") == [
        ("22001", {"id": "70001", "note": "x" * 21})
    ]
    assert time.monotonic() - started < 20


@pytest.mark.parametrize("upsert", [False, True])
def test_bad_rows_of_every_sort_are_set_aside(target: Target, upsert: bool) -> None:
    target.table("parent", "id int PRIMARY KEY")
    target.sql.execute("INSERT INTO parent VALUES (1)")
    table = target.table(
        "t",
        "id int PRIMARY KEY",
        "note text CHECK (note <> 'bad') NOT NULL",
        "parent int REFERENCES parent",
    )
    of = columns(id=("int4", pa.int64()), note=("text", pa.string()), parent=("int4", pa.int64()))
    load = WritePlan(table, of, ("id",) if upsert else (), upsert=upsert, quarantine=True)
    rows = batch(
        of,
        [1, 2, 3, 4, 2**31, 6],
        ["a", "bad", None, "d", "e", "f"],
        [1, 1, 1, 2, 1, None],
    )
    written = target.write(load, rows)
    assert target.rows("SELECT id FROM t ORDER BY 1") == [(1,), (6,)]
    assert (written.rows, written.quarantined) == (2, 4)
    codes = target.rows("SELECT code FROM streams_engine.quarantine ORDER BY id")
    # First what no encoder takes, then what the server refuses row by row.
    assert [code for (code,) in codes] == ["RANGE", "23514", "23502", "23503"]


def test_other_errors_are_no_bad_rows(target: Target) -> None:
    gone = TableId("public", "gone")
    with pytest.raises(StreamsError) as caught:
        target.write(WritePlan(gone, NUMBERS, quarantine=True), numbers(0, 2))
    assert not isinstance(caught.value, RowRejected)
    assert caught.value.details["sqlstate"] == "42P01"


# Broken connections


def kill(target: Target) -> None:
    target.sql.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE application_name = 'streams_engine' AND datname = current_database()"
    )


@pytest.mark.parametrize("quarantine", [False, True])
def test_a_backend_killed_in_the_middle_leaves_nothing(target: Target, quarantine: bool) -> None:
    table = target.table("t", "id int", "note text")

    def rows() -> Iterator[pa.RecordBatch]:
        yield numbers(0, 70_000)
        kill(target)
        yield numbers(70_000, 200_000)

    load = WritePlan(table, NUMBERS, quarantine=quarantine)
    with pytest.raises(ConnectionFailed) as caught:
        target.sink.write_rows(STREAM, load, rows(), lambda: Checkpoint("c", {}))
    assert caught.value.retryable
    assert target.rows("SELECT count(*) FROM t") == [(0,)]
    assert target.write(load, numbers(0, 10)).rows == 10


def test_killed_before_the_commit(target: Target) -> None:
    table = target.table("t", "id int", "note text")

    def mark() -> Checkpoint:
        kill(target)
        return Checkpoint("c", {})

    with pytest.raises(ConnectionFailed):
        target.sink.write_rows(STREAM, WritePlan(table, NUMBERS), iter([numbers(0, 9)]), mark)
    assert target.rows("SELECT count(*) FROM t") == [(0,)]


@pytest.mark.parametrize("happened", [True, False])
def test_an_answer_to_the_commit_that_is_lost(
    target: Target, monkeypatch: pytest.MonkeyPatch, happened: bool
) -> None:
    table = target.table("t", "id int", "note text")
    # The table of the state is made, so that there is but one commit to lose.
    target.sink.save_state(STREAM, {"other": {}})
    commit = psycopg.Connection.commit

    def lost(connection: psycopg.Connection[Any]) -> None:
        monkeypatch.setattr(psycopg.Connection, "commit", commit)
        if happened:
            commit(connection)
        connection.pgconn.finish()
        raise psycopg.OperationalError("server closed the connection unexpectedly")

    def mark() -> Checkpoint:
        monkeypatch.setattr(psycopg.Connection, "commit", lost)
        return Checkpoint("c", {"a": 1})

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


def test_closing_abandons_a_write(target: Target) -> None:
    table = target.table("t", "id int", "note text")
    begun, go_on = threading.Event(), threading.Event()
    raised: list[BaseException] = []

    def rows() -> Iterator[pa.RecordBatch]:
        yield numbers(0, 70_000)
        begun.set()
        go_on.wait(20)

    def write() -> None:
        try:
            target.sink.write_rows(
                STREAM, WritePlan(table, NUMBERS), rows(), lambda: Checkpoint("c", {})
            )
        except StreamsError as error:
            raised.append(error)

    writer = threading.Thread(target=write)
    writer.start()
    assert begun.wait(20)
    target.sink.close()
    target.sink.close()
    go_on.set()
    writer.join(20)
    assert raised and not writer.is_alive()
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


def test_a_deadlock_may_be_tried_again(target: Target) -> None:
    table = target.table("t", "id int", "note text")
    target.sql.execute("SET deadlock_timeout = '100s'")  # so that the sink's is the victim
    target.sink.save_state(STREAM, {"c": {}})
    other = threading.Thread(target=lambda: target.sql.execute("LOCK TABLE t; COMMIT"))

    def mark() -> Checkpoint:
        """The rows are in, the lock of ``t`` is held; the record waits for its row."""
        other.start()
        with target.server.connect(target.database) as asking:
            waits = "SELECT 1 FROM pg_locks WHERE NOT granted AND relation = 't'::regclass"
            until(lambda: asking.execute(waits).fetchone())
        return Checkpoint("c", {})

    target.sql.execute("BEGIN; SELECT FROM streams_engine.state FOR UPDATE")
    with pytest.raises(ServerError) as caught:
        target.sink.write_rows(STREAM, WritePlan(table, NUMBERS), iter([numbers(0, 9)]), mark)
    other.join(20)
    assert (caught.value.details["sqlstate"], caught.value.retryable) == ("40P01", True)
    assert target.write(WritePlan(table, NUMBERS), numbers(0, 2)).rows == 2


# Structure


def test_statements_are_one_transaction(target: Target) -> None:
    findings = target.sink.execute(
        [
            Statement("CREATE TABLE public.made (id int)", ObjectRef(ObjectKind.TABLE, "made")),
            Statement(
                "COMMENT ON TABLE public.nowhere IS '100%'",
                ObjectRef(ObjectKind.COMMENT, "nowhere"),
                optional=True,
            ),
        ]
    )
    assert [(f.object, f.code) for f in findings] == [("comment on nowhere", "left-out")]
    with pytest.raises(ServerError) as caught:
        target.sink.execute(
            [
                Statement("CREATE TABLE public.lost (id int)", ObjectRef(ObjectKind.TABLE, "lost")),
                Statement("CREATE TABLE public.made (id int)", ObjectRef(ObjectKind.TABLE, "made")),
            ]
        )
    assert "table made" in str(caught.value)
    assert caught.value.details["sqlstate"] == "42P07"
    assert target.rows("SELECT to_regclass('public.made')::text, to_regclass('public.lost')") == [
        ("made", None)
    ]


def test_a_missing_database_is_made_if_wanted(pg_server: Server, database: Any) -> None:
    name = database.adopt(pg_server, f"missing.{pg_server.port} %s")
    connect = PostgresConnect(
        pg_server.host, pg_server.port, pg_server.user, pg_server.password, name
    )
    with (
        pytest.raises(NotFound, match="does not exist"),
        contextlib.closing(PostgresSink(connect)) as refused,
    ):
        refused.check()
    sink = PostgresSink(connect, create_database=True)
    try:
        assert [finding.code for finding in sink.check()] == ["database-created"]
        assert list(sink.check()) == []
        assert sink.load_state(STREAM) == {}
    finally:
        sink.close()


def statement(name: str, text: str, kind: ObjectKind = ObjectKind.TABLE) -> Statement:
    return Statement(text, ObjectRef(kind, name, TableId("public", name)))


def test_of_statements_sent_together_the_one_that_fails_is_named(target: Target) -> None:
    made = [statement(f"t{n}", f"CREATE TABLE public.t{n} (a int)") for n in range(300)]
    made[210] = statement("t210", "CREATE TABLE public.t210 (a nonsense)")
    with pytest.raises(StreamsError, match=r"t210"):
        target.sink.execute(made)
    found = target.sql.execute("SELECT count(*) FROM pg_tables WHERE tablename LIKE 't%'")
    assert found.fetchone() == (0,)
    made[210] = statement("t210", "CREATE TABLE public.t210 (a int)")
    target.sink.execute(made)
    found = target.sql.execute("SELECT count(*) FROM pg_tables WHERE tablename LIKE 't%'")
    assert found.fetchone() == (300,)


@pytest.mark.parametrize("bad", [0, 3, 1500, 1999])
def test_a_row_refused_amid_a_pipeline_is_one_error_and_no_warning(
    bad: int, target: Target, caplog: pytest.LogCaptureFixture
) -> None:
    target.sql.execute("CREATE TABLE t (a int PRIMARY KEY CHECK (a < 5000))")
    rows = [(5000 if number == bad else number,) for number in range(2000)]
    with psycopg.connect(target.server.url(target.database)) as connection:
        connection.execute("SAVEPOINT before")
        with (
            pytest.raises(psycopg.errors.CheckViolation),
            connection.cursor() as cursor,
            pipelined(connection),
        ):
            cursor.executemany("INSERT INTO t VALUES (%s)", rows)
        connection.execute("ROLLBACK TO SAVEPOINT before")
        with connection.cursor() as cursor:
            with pipelined(connection):
                cursor.executemany(
                    "INSERT INTO t VALUES (%s)", [row for row in rows if row[0] < 5000]
                )
            assert cursor.rowcount == 1999
    assert caplog.records == []


def test_a_pipeline_whose_connection_breaks_raises_what_broke_it(target: Target) -> None:
    with psycopg.connect(target.server.url(target.database)) as connection:
        pid = connection.info.backend_pid
        with pytest.raises(psycopg.OperationalError), pipelined(connection):
            connection.execute("SELECT 1")
            target.sql.execute("SELECT pg_terminate_backend(%s)", (pid,))
            until(lambda: not alive(target, pid))
            for _ in range(2000):
                connection.execute("SELECT repeat('x', 10000)").fetchone()


def alive(target: Target, pid: int) -> bool:
    found = target.sql.execute("SELECT count(*) FROM pg_stat_activity WHERE pid = %s", (pid,))
    return found.fetchone() != (0,)
