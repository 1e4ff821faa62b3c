"""A look at PostgreSQL's rows reads them otherwise than a copy does, and gives the same."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from streams_engine.adapters.postgres.connection import PostgresConnect
from streams_engine.adapters.postgres.snapshot import copy_columns
from streams_engine.adapters.postgres.snapshot.source import PostgresSource
from streams_engine.contracts import Scope
from streams_engine.errors import ProtocolViolation
from streams_engine.model import Chunk, Extract
from streams_engine.testing.servers import Server
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


@pytest.fixture
def end(pg15: Server, database: Any) -> End:
    end = End(pg15, database(pg15))
    columns = ", ".join(f"{name} {kind}" for name, (kind, _) in COLUMNS.items())
    end.run("CREATE DOMAIN own AS int8", "CREATE TYPE mood AS ENUM ('sad', 'ok')",
            f"CREATE TABLE t (k int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, {columns})",
            )  # fmt: skip
    for name, (_, values) in COLUMNS.items():
        for value in values:
            end.run(f"INSERT INTO t ({name}) VALUES ({value})")
    end.run("INSERT INTO t DEFAULT VALUES", "CREATE TABLE none (LIKE t)")
    return end


def read(end: End, table: str, *, looking: bool) -> pa.Table:
    server = end.server
    connect = PostgresConnect(server.host, server.port, server.user, server.password, end.database)
    source = PostgresSource(connect, looking=looking)
    with source.snapshot(Scope("public", (table,)), 1) as view:
        (found,) = view.catalog.tables
        extract = Extract(found.id, found.columns)
        if looking:
            assert copy_columns.readable(found.columns)
            view.warm()
        batches = list(view.read(extract, Chunk(found.id)))
        again = list(view.read(extract, Chunk(found.id)))
        if looking:
            assert view._template is None, "ADBC was not asked"
        first = pa.Table.from_batches(batches, extract.arrow_schema())
        assert shown(first) == shown(pa.Table.from_batches(again, extract.arrow_schema()))
        return first


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


def test_every_type_as_a_copy_reads_it(end: End) -> None:
    quick, copied = read(end, "t", looking=True), read(end, "t", looking=False)
    assert quick.schema == copied.schema
    for name, one, other in zip(quick.column_names, shown(quick), shown(copied), strict=True):
        assert one == other, name
    quick.validate(full=True)


def test_no_rows(end: End) -> None:
    assert read(end, "none", looking=True).num_rows == 0


def test_tuples_of_another_form_are_refused() -> None:
    wanted = pa.schema([("n", pa.int32())])
    for tuple_ in (b"\0\2\0\0\0\4\0\0\0\1", b"\0\1\0\0\0\2\0\1", b"\0\1\0\0\0\4\0\0\0\1\0"):
        batch = pa.RecordBatch.from_arrays([pa.array([tuple_], pa.binary())], ["tuple"])
        with pytest.raises(ProtocolViolation):
            copy_columns.columns_of(batch, wanted)
