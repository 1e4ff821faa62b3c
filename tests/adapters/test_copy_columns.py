"""Rows off the socket are what ADBC reads of the same table under TLS; and bytes of other forms."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams_engine.adapters.postgres.connection import PostgresConnect
from streams_engine.adapters.postgres.snapshot import copy_columns
from streams_engine.adapters.postgres.snapshot.copy_messages import Messages, Tuples
from streams_engine.adapters.postgres.snapshot.snapshot import PostgresSnapshot
from streams_engine.adapters.postgres.snapshot.source import PostgresSource
from streams_engine.arrow.buffers import PAD
from streams_engine.contracts import Scope
from streams_engine.errors import (
    ConnectionFailed,
    PermissionDenied,
    ProtocolViolation,
    RowRejected,
    ServerError,
)
from streams_engine.model import Chunk, Column, Extract, TableSchema, TypeKind
from streams_engine.schema.types.postgres import WIRE
from streams_engine.testing.servers import Server, running
from tests.support.certificates import certificate, lend
from tests.support.databases import End

COLUMNS = {
    "i2": ("int2", ["-32768", "32767", "0"]),
    "i4": ("int4", ["-2147483648", "2147483647", "-1"]),
    "i8": ("int8", ["-9223372036854775808", "9223372036854775807", "1"]),
    "b": ("bool", ["true", "false"]),
    "f4": ("float4", ["'NaN'", "'-Infinity'", "1.5e-45", "-0.0", "3.4e38"]),
    "f8": ("float8", ["'NaN'", "'Infinity'", "5e-324", "-0.0", "0.1"]),
    "t": ("text", ["''", "'é€😀'", "repeat('long ', 5000)", "'NULL'", "E'\\n\\t\"'"]),
    "c": ("char(5)", ["'ab'", "''"]),
    "v": ("varchar(9)", ["'twelve by..'::varchar(9)", "' x '"]),
    "y": ("bytea", ["'\\x'", "'\\x00ff'", "decode(repeat('ab', 9999), 'hex')"]),
    "d": ("date", ["'infinity'", "'-infinity'", "'4713-01-01 BC'", "'5874897-12-31'",
                   "'1969-12-31'", "'2000-01-01'"]),
    "ts": ("timestamp", ["'infinity'", "'-infinity'", "'4713-01-01 00:00:00 BC'",
                         "'294276-12-31 23:59:59.999999'", "'1970-01-01 00:00:00.000001'"]),
    "tz": ("timestamptz", ["'infinity'", "'-infinity'", "'2024-02-29 23:30:00.5-05'",
                           "'294246-12-31 23:59:59+00'"]),
    "n": ("numeric", ["'NaN'", "1e100", "-0.00001"]),
    "j": ("jsonb", ["'{\"a\": [1, null]}'"]),
    "u": ("uuid", ["'00000000-0000-0000-0000-0000000000ff'"]),
    "a": ("int[]", ["'{1,NULL}'"]),
    "iv": ("interval", ["'1 mon -3 days 04:05:06.7'"]),
    "o": ("own", ["7"]),
    "m": ("mood", ["'ok'"]),
}  # fmt: skip


WAYS = {"socket": "disable", "ADBC": "require"}
"""How rows are read, by the TLS that is asked for."""
MANY = 30_000


@pytest.fixture(scope="module")
def server(pg15: Server) -> Iterator[Server]:
    """A PostgreSQL that speaks TLS if it is asked to."""
    with running("pg15") as server:
        pem, key = lend(server, *certificate())
        with closing(server.connect()) as connection:
            for name, value in {"ssl_cert_file": pem, "ssl_key_file": key, "ssl": "on"}.items():
                connection.execute(f"ALTER SYSTEM SET {name} = '{value}'")
            connection.execute("SELECT pg_reload_conf()")
        yield server


@pytest.fixture(scope="module")
def end(server: Server) -> End:
    end = End(server, server.create_database())
    columns = ", ".join(f"{name} {kind}" for name, (kind, _) in COLUMNS.items())
    end.run("CREATE DOMAIN own AS int8", "CREATE TYPE mood AS ENUM ('sad', 'ok')",
            f"CREATE TABLE t (k int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, {columns})",
            )  # fmt: skip
    for name, (_, values) in COLUMNS.items():
        for value in values:
            end.run(f"INSERT INTO t ({name}) VALUES ({value})")
    end.run("INSERT INTO t DEFAULT VALUES", "CREATE TABLE none (LIKE t)",
            "CREATE TABLE many AS SELECT i, CASE WHEN i % 7 > 0 THEN i % 2 = 0 END AS b,"
            " repeat('d', i % 40) AS t, CASE WHEN i % 3 > 0 THEN i * 1.37 END AS n,"
            " CASE WHEN i % 500 = 0 THEN repeat('long', 9000) END AS l,"
            " timestamp 'epoch' + i * interval '1 hour' AS ts"
            f" FROM generate_series(1, {MANY}) i",
            )  # fmt: skip
    return end


def connecting(end: End, way: str, user: str | None = None) -> PostgresConnect:
    server = end.server
    return PostgresConnect(
        server.host, server.port, user or server.user, server.password, end.database,
        ssl_mode=WAYS[way],
    )  # fmt: skip


def read(end: End, table: str, way: str, how: Any = lambda column: column) -> pa.Table:
    """Read a table twice in one view, with each column as ``how`` asks for it."""
    source = PostgresSource(connecting(end, way))
    with source.snapshot(Scope("public", (table,)), 1) as view:
        (found,) = view.catalog.tables
        first, again = (rows(view, found, list(map(how, found.columns))) for _ in range(2))
        assert (view._adbc is not None) == (way == "ADBC")
        assert shown(first) == shown(again)
        return first


def rows(view: PostgresSnapshot, table: TableSchema, columns: Sequence[Column]) -> pa.Table:
    extract = Extract(table.id, tuple(columns))
    batches = list(view.read(extract, Chunk(table.id)))
    for batch in batches:
        batch.validate(full=True)
    return pa.Table.from_batches(batches, extract.arrow_schema())


def shown(table: pa.Table) -> list[list[str]]:
    """Values by their bits: a NaN equals itself, and no moment is too early for Python."""
    kept = []
    for column in table.columns:
        kind = column.type
        if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
            wide = pa.int32() if pa.types.is_date(kind) else pa.int64()
            column = column.combine_chunks().view(wide)
        kept.append([str(value) for value in column.to_pylist()])
    return kept


def is_base(column: Column) -> bool:
    """Enums have no function that sends a value."""
    return column.type.kind is TypeKind.BASE


HOW = {
    "natural": lambda column: column,
    "wire": lambda column: replace(column, arrow=WIRE) if is_base(column) else column,
    "text": lambda column: replace(column, arrow=pa.string()),
    "json": lambda column: replace(column, arrow=pa.string(), as_json=True),
}


@pytest.mark.parametrize("how", HOW.values(), ids=HOW)
@pytest.mark.parametrize("table", ["t", "none", "many"])
def test_every_type_as_adbc_reads_it(end: End, table: str, how: Any) -> None:
    ours, theirs = (read(end, table, way, how) for way in WAYS)
    assert ours.schema == theirs.schema
    for name, one, other in zip(ours.column_names, shown(ours), shown(theirs), strict=True):
        assert one == other, name


def test_a_number_may_be_asked_for_as_another(end: End) -> None:
    def how(column: Column) -> Column:
        return replace(column, arrow=pa.int64()) if column.name == "i" else column

    ours, theirs = (read(end, "many", way, how) for way in WAYS)
    assert ours.schema.field("i").type == pa.int64()
    assert ours == theirs


def test_a_look_reads_the_same(end: End) -> None:
    source = PostgresSource(connecting(end, "ADBC"), looking=True)
    with source.snapshot(Scope("public", ("t",)), 1) as view:
        (found,) = view.catalog.tables
        view.warm()
        seen = rows(view, found, found.columns)
        assert view._adbc is None
    assert shown(seen) == shown(read(end, "t", "socket"))


def test_a_connection_reads_one_chunk_after_the_other(end: End) -> None:
    def sessions() -> set[int]:
        query = (
            "SELECT pid FROM pg_stat_activity"
            " WHERE application_name = 'streams_engine' AND datname = current_database()"
        )
        return {pid for (pid,) in end.rows(query)}

    source = PostgresSource(connecting(end, "socket"))
    with source.snapshot(Scope("public", ("many", "t")), 2) as view:
        holder = sessions()
        many, t = sorted(view.catalog.tables, key=lambda table: table.id.name)
        rows(view, many, many.columns)
        first = sessions() - holder
        rows(view, t, t.columns)
        assert len(first) == 1 and sessions() - holder == first
        reading = view.read(Extract(many.id, many.columns), Chunk(many.id))
        next(reading)
        rows(view, t, t.columns)
        list(reading)
        assert len(sessions() - holder) == 2


# Errors


@pytest.mark.parametrize("way", WAYS)
def test_an_error_among_the_rows(end: End, way: str) -> None:
    query = f"SELECT 1 / (i - {MANY}) AS q FROM many"
    scope = Scope("public", (), queries=(("q", query),))
    with PostgresSource(connecting(end, way)).snapshot(scope, 1) as view:
        (found,) = view.catalog.tables
        with pytest.raises(ServerError, match="22012"):
            list(view.read(Extract(found.id, found.columns, query=found.query), Chunk(found.id)))


@pytest.mark.parametrize("way", WAYS)
def test_a_privilege_that_goes_away(end: End, way: str) -> None:
    end.run("CREATE ROLE reader LOGIN PASSWORD 'p'", "GRANT SELECT ON t TO reader")
    try:
        connect = replace(connecting(end, way, "reader"), password="p")
        with PostgresSource(connect).snapshot(Scope("public", ("t",)), 1) as view:
            end.run("REVOKE SELECT ON t FROM reader")
            (found,) = view.catalog.tables
            with pytest.raises(PermissionDenied):
                rows(view, found, found.columns)
    finally:
        end.run("DROP OWNED BY reader", "DROP ROLE reader")


@pytest.mark.parametrize("way", WAYS)
def test_a_reader_that_is_cut(end: End, way: str) -> None:
    more_than_lies_between = "SELECT t, repeat('x', 1000) AS x FROM many"
    scope = Scope("public", (), queries=(("q", more_than_lies_between),))
    with PostgresSource(connecting(end, way)).snapshot(scope, 1) as view:
        (found,) = view.catalog.tables
        reading = view.read(Extract(found.id, found.columns, query=found.query), Chunk(found.id))
        next(reading)
        view.close()
        with pytest.raises(ConnectionFailed):
            list(reading)


# Bytes


class Wire:
    """A socket that gives what is given, in pieces of given sizes."""

    def __init__(self, data: bytes, sizes: Sequence[int]) -> None:
        self._data, self._sizes, self._turn = memoryview(data), sizes, 0

    def recv_into(self, into: memoryview) -> int:
        size = min(self._sizes[self._turn % len(self._sizes)], len(into), len(self._data))
        into[:size] = self._data[:size]
        self._data = self._data[size:]
        self._turn += 1
        return size


def message(kind: bytes, content: bytes = b"") -> bytes:
    return kind + struct.pack(">I", len(content) + 4) + content


def tuple_(values: Sequence[bytes | None]) -> bytes:
    fields = (
        struct.pack(">i", -1) if value is None else struct.pack(">i", len(value)) + value
        for value in values
    )
    return struct.pack(">h", len(values)) + b"".join(fields)


HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)


def answer(tuples: Sequence[bytes], between: bytes = b"") -> bytes:
    """What a server sends, with something else between the tuples."""
    parts = [HEADER + (tuples[0] if tuples else b""), *tuples[1:], b"\xff\xff"]
    if not tuples:
        parts = [HEADER + b"\xff\xff"]
    data = between.join(message(b"d", part) for part in parts)
    end = message(b"c") + message(b"C", b"COPY 1\0") + message(b"Z", b"T")
    return message(b"H", b"\1\0\0") + data + end


TRICKS = st.sampled_from([
    message(b"d", tuple_([b"x", None])), message(b"d", tuple_([b"", b""])) * 3,
    b"d\0\0\0\6\0\2", b"d\0\0\0\x0a\0\2", message(b"Z", b"T"), HEADER, b"d" * 30, b"",
])  # fmt: skip
VALUES = st.none() | st.binary(max_size=40) | st.lists(TRICKS, max_size=4).map(b"".join)
ROWS = st.lists(st.lists(VALUES, min_size=2, max_size=2), max_size=40)


@given(
    ROWS,
    st.lists(st.integers(1, 300), min_size=1, max_size=6),
    st.sampled_from([64, 700, 1 << 16]),
    st.sampled_from([b"", message(b"S", b"TimeZone\0d\0\0\0\6\0\2")]),
)
def test_values_that_look_like_messages(
    rows: list[list[bytes | None]], sizes: list[int], block: int, between: bytes
) -> None:
    wanted = pa.schema([("a", pa.binary()), ("b", pa.binary())])
    wire: Any = Wire(answer([tuple_(row) for row in rows], between), sizes)
    seen: list[list[bytes | None]] = []
    for tuples in Messages(wire, block).blocks():
        batch = copy_columns.columns_of(tuples, wanted.types, wanted)
        batch.validate(full=True)
        seen += [list(row.values()) for row in batch.to_pylist()]
    assert seen == rows


def block(tuple_: bytes) -> Tuples:
    buffer = bytearray(tuple_ + bytes(PAD))
    return Tuples(buffer, np.array([0], np.int64), np.array([len(tuple_)], np.int64))


def test_tuples_of_another_form_are_refused() -> None:
    wanted = pa.schema([("n", pa.int32())])
    for form in (
        b"\0\2\0\0\0\4\0\0\0\1", b"\0\1\0\0\0\2\0\1", b"\0\1\0\0\0\4\0\0\0\1\0",
        b"\0\1\xff\xff\xff\xfe", b"\0\1\x7f\xff\xff\xff\0\0\0\1",
    ):  # fmt: skip
        with pytest.raises(ProtocolViolation):
            copy_columns.columns_of(block(form), wanted.types, wanted)


def test_bytes_that_are_not_text_are_refused() -> None:
    for value in (b"\xff", b"a long one: \xc3("):
        with pytest.raises(RowRejected, match="Column a"):
            wanted = pa.schema([("a", pa.string())])
            copy_columns.columns_of(block(tuple_([value])), wanted.types, wanted)
