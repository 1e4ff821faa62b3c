"""Binlog events: their numbers, and what the small ones say.

https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_replication_binlog_event.html and
https://mariadb.com/kb/en/2-binlog-event-header/
"""

from __future__ import annotations

import struct
import uuid
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from streams_engine.adapters.mysql.tablemap import length_encoded
from streams_engine.changes import Op

__all__ = ["ROWS", "Query", "inflate", "parse_gtid", "parse_query", "payload", "tagged", "xid"]

HEADER = 19

QUERY, STOP, ROTATE, FORMAT, XID, TABLE_MAP = 2, 3, 4, 15, 16, 19
INCIDENT, HEARTBEAT, ROWS_QUERY, GTID, ANONYMOUS_GTID, PREVIOUS_GTIDS = 26, 27, 29, 33, 34, 35
XA_PREPARE, PARTIAL_UPDATE, PAYLOAD, HEARTBEAT_2, GTID_TAGGED = 38, 39, 40, 41, 42
BEGIN_LOAD, EXECUTE_LOAD, APPEND_BLOCK, DELETE_FILE = 17, 18, 9, 11
MARIA_ANNOTATE, MARIA_CHECKPOINT, MARIA_GTID, MARIA_GTID_LIST = 160, 161, 162, 163
MARIA_ENCRYPTION, MARIA_QUERY_COMPRESSED, MARIA_PARTIAL_ROW = 164, 165, 172

PASSED = (STOP, HEARTBEAT, HEARTBEAT_2, PREVIOUS_GTIDS, MARIA_CHECKPOINT, MARIA_GTID_LIST)
"""Events that say nothing but that the log goes on."""

ROWS: Mapping[int, tuple[Op, bool, bool]] = {
    23: (Op.INSERT, False, False), 24: (Op.UPDATE, False, False), 25: (Op.DELETE, False, False),
    30: (Op.INSERT, True, False), 31: (Op.UPDATE, True, False), 32: (Op.DELETE, True, False),
    166: (Op.INSERT, False, True), 167: (Op.UPDATE, False, True), 168: (Op.DELETE, False, True),
    169: (Op.INSERT, True, True), 170: (Op.UPDATE, True, True), 171: (Op.DELETE, True, True),
}  # fmt: skip
"""Row events: (what they do, whether they have the newer header, whether they are compressed)."""


@dataclass(frozen=True, slots=True)
class Query:
    """A QUERY event."""

    schema: str
    """The default database of the session."""
    text: str
    sql_mode: int = 0


ANSI_QUOTES, NO_BACKSLASH_ESCAPES = 0x4, 0x100000
CLIENT_CHARSETS = {
    5: "cp1252", 8: "cp1252", 15: "cp1252", 31: "cp1252", 47: "cp1252", 48: "cp1252", 28: "gbk",
    87: "gbk", 1: "big5", 84: "big5", 13: "shift_jis", 88: "shift_jis", 51: "cp1251", 7: "koi8-r",
}  # fmt: skip
"""Python's codec by collation of the session that sent the statement; all others are UTF-8."""

_STATUS_SIZES = {0: 4, 1: 8, 3: 4, 4: 6, 7: 2, 8: 2, 9: 8, 10: 4}


def parse_query(body: bytes, *, compressed: bool = False) -> Query:
    """The event's body, without header and checksum."""
    _, _, schema_size, _, status_size = struct.unpack_from("<IIBHH", body)
    status = body[13 : 13 + status_size]
    at = 13 + status_size
    schema = body[at : at + schema_size].decode()
    rest = body[at + schema_size + 1 :]
    mode, charset = _status(status)
    text = (inflate(rest) if compressed else rest).decode(
        CLIENT_CHARSETS.get(charset, "utf-8"), errors="replace"
    )
    return Query(schema, text, mode)


def _status(status: bytes) -> tuple[int, int]:
    """(sql_mode, collation of the client) from the session variables; unknown ones end it."""
    mode = charset = at = 0
    while at < len(status):
        code = status[at]
        at += 1
        if code == 1:
            mode = int.from_bytes(status[at : at + 8], "little")
        elif code == 4:
            charset = int.from_bytes(status[at : at + 2], "little")
        if code in _STATUS_SIZES:
            at += _STATUS_SIZES[code]
        elif code in (5, 6):
            at += 1 + status[at]
        elif code == 2:
            at += 2 + status[at]
        else:
            break
    return mode, charset


MOST_BYTES = 1 << 30
"""What max_allowed_packet, which bounds rows and statements, can be at most
(https://dev.mysql.com/doc/refman/9.0/en/server-system-variables.html#sysvar_max_allowed_packet)."""


def inflate(data: bytes, wbits: int = zlib.MAX_WBITS) -> bytes:
    """MariaDB's compression: 0x80 and the size of the length, the length big-endian, zlib.

    Raises `ValueError` where what comes out has another length: no more than that is made.
    """
    size = data[0] & 7
    length = int.from_bytes(data[1 : 1 + size], "big")
    if length > MOST_BYTES:
        raise ValueError("a length beyond what a server sends")
    found = zlib.decompressobj(wbits).decompress(data[1 + size :], length + 1)
    if len(found) != length:
        raise ValueError("compressed data of another length")
    return found


def parse_gtid(body: Any, at: int) -> tuple[str, int]:
    """(source, number) of a GTID event whose body begins at ``at``."""
    raw = bytes(body[at + 1 : at + 17])
    return str(uuid.UUID(bytes=raw)), struct.unpack_from("<q", body, at + 17)[0]


def _integer(data: bytes, at: int) -> tuple[int, int]:
    """The serialisation library's unsigned numbers: as many 1 bits as there are bytes to come."""
    first = data[at]
    more = 0
    while more < 8 and first >> more & 1:
        more += 1
    if more == 8:
        return int.from_bytes(data[at + 1 : at + 9], "little"), at + 9
    raw = int.from_bytes(data[at : at + 1 + more], "little")
    return raw >> (more + 1), at + 1 + more


def tagged(body: bytes) -> tuple[str, int]:
    """(source with its tag, number) of a GTID_TAGGED event."""
    at = 0
    for _ in range(3):  # version, size, last field that may not be ignored
        _, at = _integer(body, at)
    source, number, tag = b"", 0, ""
    while at < len(body):
        field, at = _integer(body, at)
        if field == 0:
            _, at = _integer(body, at)
        elif field == 1:
            values = []
            for _ in range(16):
                value, at = _integer(body, at)
                values.append(value)
            source = bytes(values)
        elif field == 2:
            zigzag, at = _integer(body, at)
            number = (zigzag >> 1) ^ -(zigzag & 1)
        elif field == 3:
            size, at = _integer(body, at)
            tag = body[at : at + size].decode()
            break
        else:
            break
    return str(uuid.UUID(bytes=source)) + (f":{tag}" if tag else ""), number


def xid(body: bytes) -> tuple[bool, str]:
    """(whether it commits at once, the transaction's name as XA COMMIT writes it)."""
    form, first, second = struct.unpack_from("<iii", body, 1)
    data = body[13 : 13 + first + second]
    return bool(body[0]), f"X'{data[:first].hex()}',X'{data[first:].hex()}',{form}"


def payload(body: bytes) -> bytes:
    """The events in a compressed transaction (TRANSACTION_PAYLOAD)."""
    at, size, kind, length = 0, 0, 0, 0
    while at < len(body):
        field, at = length_encoded(body, at)
        if field == 0:
            break
        width, at = length_encoded(body, at)
        value, _ = length_encoded(body, at)
        at += width
        if field == 1:
            size = value
        elif field == 2:
            kind = value
        elif field == 3:
            length = value
    data = body[at : at + size] if size else body[at:]
    if kind == 255:
        return bytes(data)
    if length > MOST_BYTES:
        raise ValueError("a length beyond what a server sends")
    try:
        return bytes(pa.Codec("zstd").decompress(data, length, asbytes=True))
    except OSError as error:  # Arrow's word for data that is not compressed so
        raise ValueError("no compressed data") from error
