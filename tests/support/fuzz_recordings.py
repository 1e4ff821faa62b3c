"""What real servers send, recorded: the bytes, and what is needed to decode them again."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from typing import Any

import pyarrow as pa

from streams_engine.adapters.mysql.binlog.source import MysqlChangeSource
from streams_engine.adapters.mysql.catalog.reader import read_catalog
from streams_engine.adapters.mysql.connection import MysqlConnect
from streams_engine.adapters.mysql.snapshot.result_set import stream
from streams_engine.adapters.mysql.snapshot.select import select
from streams_engine.adapters.postgres.connection import PostgresConnect
from streams_engine.adapters.postgres.replication.source import PostgresChangeSource
from streams_engine.contracts import Scope
from streams_engine.model import Chunk, Extract, LogOptions, TableId, TableSubscription
from streams_engine.testing.servers import Server

__all__ = ["binlog", "copy", "pgoutput", "result_set"]

SECONDS = 20

MYSQL_TABLE = """CREATE TABLE t (id bigint PRIMARY KEY, small tinyint, wide decimal(40, 10),
  f double, d date, m datetime(6), h time(3), s timestamp NULL, name varchar(300), long_text text,
  raw blob, bits bit(20), kind enum('a', 'b'), several set('x', 'y'), doc json, fixed char(9))"""
MYSQL_ROWS = """INSERT INTO t VALUES
  (1, -5, 12345.678, 1.5, '2024-02-29', '2024-02-29 12:13:14.123456', '-12:13:14.5',
   '2024-01-01 00:00:00', 'name', REPEAT('long', 100), x'00ff00', b'1010', 'a', 'x,y',
   '{"a": [1, 2.5, "x", null, true], "b": {"c": -7}}', 'fixed'),
  (2, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
  (3, 127, -1.5, -0.0, '0001-01-01', '9999-12-31 23:59:59', '838:59:59', NULL, '', '', '', b'0',
   'b', '', '[]', ''),
  (4, 0, 0, 1e300, '1970-01-01', '1970-01-01', '00:00:00', '2038-01-01 00:00:00',
   REPEAT('n', 299), REPEAT('t', 3000), REPEAT('b', 300), b'1', 'a', 'x', '"text"', 'ninechars')"""
MYSQL_WRITES = (
    "UPDATE t SET name = 'other', doc = '{\"k\": 1}' WHERE id < 3",
    "INSERT INTO t (id, name) SELECT id + 100, name FROM t",
    "DELETE FROM t WHERE id > 102",
    "ALTER TABLE t ADD COLUMN more int DEFAULT 7",
    "INSERT INTO t (id, more) VALUES (50, 5)",
)

POSTGRES_TABLE = """CREATE TABLE t (id bigint PRIMARY KEY, flag boolean, small smallint, n int,
  f real, g double precision, d date, m timestamp, z timestamptz, name text, raw bytea,
  amount numeric(20, 5), doc jsonb, list int[])"""
POSTGRES_ROWS = r"""INSERT INTO t VALUES
  (1, true, -5, 7, 1.5, 2.5, '2024-02-29', '2024-02-29 12:13:14.123456', '2024-01-01 00:00:00+02',
   'name', '\x00ff00', 123.45, '{"a": [1, 2]}', '{1,2,NULL}'),
  (2, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
  (3, false, 5, -7, 'NaN', '-Infinity', '0001-01-01 BC', 'infinity', '-infinity', '', '', 0, '1',
   '{}'),
  (4, true, 0, 0, 0, 0, '2000-01-01', '2000-01-01', '2000-01-01', repeat('x', 3000),
   decode(repeat('ab', 500), 'hex'), -1, '"text"', '{{1},{2}}')"""
POSTGRES_WRITES = (
    "UPDATE t SET name = 'other' WHERE id < 3",
    "INSERT INTO t (id, name) SELECT id + 100, name FROM t",
    "UPDATE t SET id = 200 WHERE id = 101",
    "DELETE FROM t WHERE id > 102",
    "TRUNCATE t",
    "INSERT INTO t (id) VALUES (9)",
)


class Natives:
    """What a describer says of the types of relations, kept."""

    def __init__(self, ask: Any) -> None:
        self._ask = ask
        self.told: dict[int, Any] = {}

    def __call__(self, relation: Any) -> Any:
        found = self._ask(relation)
        self.told |= zip((column.type for column in relation.columns), found, strict=True)
        return found


class Tap:
    """A socket whose received bytes are kept."""

    def __init__(self, sock: Any) -> None:
        self._sock = sock
        self.seen = bytearray()

    def recv(self, size: int) -> bytes:
        found: bytes = self._sock.recv(size)
        self.seen += found
        return found

    def recv_into(self, view: Any) -> int:
        size: int = self._sock.recv_into(view)
        self.seen += view[:size]
        return size

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)


def _mysql(server: Server, database: str) -> MysqlConnect:
    return MysqlConnect(
        server.kind, server.host, server.port, server.user, server.password, database
    )


def _run(server: Server, database: str, *statements: str) -> None:
    with contextlib.closing(server.connect(database)) as connection:
        cursor = connection.cursor()
        for statement in statements:
            cursor.execute(statement)
        cursor.close()


def result_set(server: Server, database: str) -> dict[str, Any]:
    """All that answers a prepared SELECT of some hundred rows."""
    _run(server, database, MYSQL_TABLE, MYSQL_ROWS)
    for step in (10, 100, 1000):
        columns = (
            "small, wide, f, d, m, h, s, name, long_text, raw, bits, kind, several, doc, fixed"
        )
        _run(
            server,
            database,
            f"INSERT INTO t (id, {columns}) SELECT id * {step} + 5, {columns} FROM t",
        )
    with contextlib.closing(_mysql(server, database).open()) as connection:
        table = read_catalog(connection, Scope(database, ("t",))).tables[0]
        extract = Extract(table.id, table.columns)
        query = select(extract, Chunk(table.id, 0))
        connection._sock = tap = Tap(connection._sock)
        for _ in stream(connection, query, extract.arrow_schema(), "t"):
            pass
    return {"kind": "result set", "schema": extract.arrow_schema(), "data": bytes(tap.seen)}


def copy(server: Server, database: str) -> dict[str, Any]:
    """All that answers COPY ... TO STDOUT (FORMAT binary)."""
    _run(server, database, POSTGRES_TABLE, POSTGRES_ROWS)
    columns = {
        "id": pa.int64(), "flag": pa.bool_(), "small": pa.int16(), "n": pa.int32(),
        "f": pa.float32(), "g": pa.float64(), "d": pa.date32(), "m": pa.timestamp("us"),
        "z": pa.timestamp("us", "UTC"), "name": pa.string(), "raw": pa.binary(),
    }  # fmt: skip
    command = f"COPY (SELECT {', '.join(columns)} FROM t) TO STDOUT (FORMAT binary)".encode()
    seen = bytearray()
    with contextlib.closing(server.connect(database)) as connection:
        sock = socket.socket(fileno=os.dup(connection.pgconn.socket))
        with sock:
            sock.settimeout(SECONDS)
            sock.sendall(b"Q" + struct.pack(">I", len(command) + 5) + command + b"\0")
            while seen[-6:-1] != b"Z\0\0\0\5":
                seen += sock.recv(1 << 16)
    return {"kind": "copy", "schema": pa.schema(list(columns.items())), "data": bytes(seen)}


def pgoutput(server: Server, database: str) -> dict[str, Any]:
    """The messages of a slot, of some transactions."""
    _run(server, database, POSTGRES_TABLE)
    connect = PostgresConnect(server.host, server.port, server.user, server.password, database)
    source = PostgresChangeSource(connect, LogOptions(stream=database))
    try:
        catalog = source.catalog(Scope("public", ("t",)))
        identities = source.identities(catalog.tables)
        tracked = [
            TableSubscription(table, Extract(table.id, table.columns), identities[table.id])
            for table in catalog.tables
        ]
        after = source.start([TableId("public", "t")])
        _run(server, database, POSTGRES_ROWS, *POSTGRES_WRITES)
        wanted = source.end()
        pieces: list[bytes] = []
        with source.changes(tracked, after) as reader:
            reader._describer.types = natives = Natives(reader._describer.types)
            take = reader._stream.take

            def noted(timeout: float) -> Any:
                bursts = take(timeout)
                pieces.extend(
                    burst.buffer[low:high]
                    for burst in bursts
                    for low, high in zip(burst.start, burst.end, strict=True)
                )
                return bursts

            reader._stream.take = noted
            _until(source, reader, wanted)
    finally:
        source.release()
    return {
        "kind": "pgoutput",
        "tracked": tracked,
        "after": after,
        "natives": natives.told,
        "data": pieces,
    }


def binlog(server: Server, database: str) -> dict[str, Any]:
    """The packets of a binary log, of some transactions."""
    _run(server, database, MYSQL_TABLE)
    source = MysqlChangeSource(_mysql(server, database), LogOptions("fuzz"))
    catalog = source.catalog(Scope(database, ("t",)))
    identities = source.identities(catalog.tables)
    tracked = [
        TableSubscription(table, Extract(table.id, table.columns), identities[table.id])
        for table in catalog.tables
    ]
    after = source.end()
    _run(server, database, MYSQL_ROWS, *MYSQL_WRITES)
    wanted = source.end()
    with source.changes(tracked, after) as reader:
        log = reader._reader._dump
        log._sock = tap = Tap(log._sock)
        _until(source, reader, wanted)
    packets, at, data = [], 0, bytes(tap.seen)
    while at + 4 <= len(data):
        size = int.from_bytes(data[at : at + 3], "little")
        packets.append(data[at + 4 : at + 4 + size])
        at += 4 + size
    return {
        "kind": "binlog",
        "mariadb": server.kind == "mariadb",
        "tracked": tracked,
        "after": dict(after),
        "data": packets,
    }


def _until(source: Any, reader: Any, wanted: Any) -> None:
    """Poll up to a position; what changes the structure is taken as it comes."""
    while True:
        found = reader.poll(SECONDS)
        assert found is not None, "the log's end did not come in time"
        if found.position is not None and source.at_or_after(found.position, wanted):
            return
