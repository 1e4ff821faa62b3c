"""Parse binlog events: bytes in, immutable objects out. No I/O, no state.

https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_replication_binlog_event.html and
https://mariadb.com/kb/en/2-binlog-event-header/
"""

from __future__ import annotations

import struct
import uuid
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple
from zlib import crc32

from streams_engine.adapters.mysql.binlog.compression import inflate
from streams_engine.adapters.mysql.binlog.table_map import length_encoded
from streams_engine.model import Op

__all__ = [
    "Begin",
    "ChecksumError",
    "Commit",
    "Event",
    "ExecuteLoad",
    "Format",
    "Gtid",
    "GtidBegin",
    "Incident",
    "MalformedEventError",
    "PartialUpdate",
    "Passed",
    "Payload",
    "Query",
    "Rollback",
    "RollbackToSavepoint",
    "Rotate",
    "RowImages",
    "Rows",
    "Savepoint",
    "ServerStart",
    "TableMapEvent",
    "XaCommit",
    "XaEnd",
    "XaPrepare",
    "XaRollback",
    "XaStart",
    "parse",
    "row_images",
    "tagged",
]

HEADER = 19
CHECKSUM = 4
"""Bytes of the CRC32 at the end of each event, with binlog_checksum = CRC32."""

QUERY, STOP, ROTATE, FORMAT, XID, TABLE_MAP = 2, 3, 4, 15, 16, 19
INCIDENT, HEARTBEAT, GTID, ANONYMOUS_GTID, PREVIOUS_GTIDS = 26, 27, 33, 34, 35
XA_PREPARE, PARTIAL_UPDATE, PAYLOAD, HEARTBEAT_2, GTID_TAGGED = 38, 39, 40, 41, 42
EXECUTE_LOAD = 18
MARIA_CHECKPOINT, MARIA_GTID, MARIA_GTID_LIST = 161, 162, 163
MARIA_QUERY_COMPRESSED, MARIA_PARTIAL_ROW = 165, 172

ROWS: Mapping[int, tuple[Op, bool, bool]] = {
    23: (Op.INSERT, False, False), 24: (Op.UPDATE, False, False), 25: (Op.DELETE, False, False),
    30: (Op.INSERT, True, False), 31: (Op.UPDATE, True, False), 32: (Op.DELETE, True, False),
    166: (Op.INSERT, False, True), 167: (Op.UPDATE, False, True), 168: (Op.DELETE, False, True),
    169: (Op.INSERT, True, True), 170: (Op.UPDATE, True, True), 171: (Op.DELETE, True, True),
}  # fmt: skip
"""Row events: (operation, whether the header is that of version 2, whether they are compressed)."""

ARTIFICIAL = 0x20
"""Header flag: the server made the event for this connection; it is not in the file."""
COMMIT_MICROS = (1 << 55) - 1
"""Bits of immediate_commit_timestamp in a GTID event; the next says whether another follows."""
NO_FOREIGN_KEY_CHECKS = 0x02
"""Flag of a ROWS event: the session had foreign_key_checks = 0."""
STANDALONE = 0x01
"""Flag of MariaDB's GTID event: one statement follows, and no COMMIT."""

COPIED_BYTES = 1 << 12
"""Copying fewer bytes takes less time than viewing them."""

REAL_AS_FLOAT, PIPES_AS_CONCAT, ANSI_QUOTES, ORACLE = 0x1, 0x2, 0x4, 0x200
NO_BACKSLASH_ESCAPES = 0x100000
CLIENT_CHARSETS = {
    5: "cp1252", 8: "cp1252", 15: "cp1252", 31: "cp1252", 47: "cp1252", 48: "cp1252", 28: "gbk",
    87: "gbk", 1: "big5", 84: "big5", 13: "shift_jis", 88: "shift_jis", 51: "cp1251", 7: "koi8-r",
}  # fmt: skip
"""Python's codec by collation of the session that sent the statement; all others are UTF-8."""

_u4: Any = struct.Struct("<I").unpack_from
_u8: Any = struct.Struct("<Q").unpack_from
_gtid_plain: Any = struct.Struct("<16sq").unpack_from
_gtid_timed: Any = struct.Struct("<16sq17xQ").unpack_from
_table_id: Any = struct.Struct("6s").unpack_from
_rows_head: Any = struct.Struct("<HH").unpack_from
_query_head: Any = struct.Struct("<IIBHH").unpack_from
_maria_gtid: Any = struct.Struct("<QIB").unpack_from


class MalformedEventError(ValueError):
    """Bytes that are no event; the text names the fault and holds no values."""


class ChecksumError(MalformedEventError):
    """An event whose CRC32 is another one."""


# Events. Named tuples: as immutable as frozen dataclasses, and built in a quarter of the time.


class Passed(NamedTuple):
    """The log advanced: STOP, HEARTBEAT, PREVIOUS_GTIDS, checkpoints and lists of GTIDs."""


class Format(NamedTuple):
    """FORMAT_DESCRIPTION: how the events after it are written."""

    checksum: bool


class ServerStart(NamedTuple):
    """A FORMAT_DESCRIPTION of a server that has just started: no transaction before it is open."""

    checksum: bool


class Rotate(NamedTuple):
    """The log continues in another file."""

    file: str
    position: int


class Gtid(NamedTuple):
    """A transaction or a statement of its own follows."""

    source: str
    """MySQL: UUID, perhaps with a tag; MariaDB: domain-server; empty: an anonymous one."""
    number: int
    committed_at: int | None
    """Microseconds since 1970; None if the event does not say."""


class GtidBegin(NamedTuple):
    """MariaDB: a GTID that begins a transaction; no BEGIN follows."""

    source: str
    number: int
    committed_at: int


class Begin(NamedTuple):
    """BEGIN."""


class TableMapEvent(NamedTuple):
    """A table id, for the rows of one transaction; ``body`` is for `parse_table_map`."""

    table_id: bytes
    body: bytes
    content: bytes
    """The body after table id and flags: it says how rows are decoded. The server changes those two
    at any time (FLUSH TABLES; foreign keys since MySQL 9.6)."""


class Rows(NamedTuple):
    """Rows of one table. Refers to the buffer; `row_images` parses what follows the table id."""

    table_id: bytes
    buffer: Any
    start: int
    end: int


class RowImages(NamedTuple):
    """Where the images of a `Rows` event are. Refers to the buffer; it copies none."""

    op: Op
    unchecked: bool
    """The session had switched foreign keys off."""
    compressed: bool
    columns: int
    bitmaps: bytes
    """Which columns the images have: one bitmap, two of an UPDATE."""
    start: int
    """Offset in the buffer of the first image."""
    end: int


class PartialUpdate(NamedTuple):
    """An UPDATE that logs only the changed parts of JSON values."""

    table_id: bytes


class Commit(NamedTuple):
    """XID, COMMIT, or XA COMMIT ... ONE PHASE."""

    written_at: int | None
    """The header's time, in microseconds since 1970; None of a statement."""


class Rollback(NamedTuple):
    """ROLLBACK: the transaction wrote to tables without transactions too."""


class RollbackToSavepoint(NamedTuple):
    """ROLLBACK TO."""


class Savepoint(NamedTuple):
    """SAVEPOINT or RELEASE."""


class XaStart(NamedTuple):
    """XA START."""


class XaEnd(NamedTuple):
    """XA END: rows of the branch no longer follow."""


class XaPrepare(NamedTuple):
    """XA PREPARE; ``name`` as XA COMMIT writes it."""

    name: str


class XaCommit(NamedTuple):
    """XA COMMIT of a prepared transaction."""

    name: str


class XaRollback(NamedTuple):
    """XA ROLLBACK of a prepared transaction."""

    name: str


class Query(NamedTuple):
    """A statement: DDL mostly."""

    schema: str
    """The default database of the session."""
    text: str
    sql_mode: int = 0
    time_zone: str = ""
    """The session's time zone, if a value of the statement depends on it."""
    codec: str = "utf-8"
    """Python's name of the character set that it was sent in."""


class ExecuteLoad(NamedTuple):
    """LOAD DATA, logged as a statement."""


class Payload(NamedTuple):
    """TRANSACTION_PAYLOAD: the events of one transaction, compressed."""

    body: bytes


class Incident(NamedTuple):
    """The log lacks events, or holds one of a form that is not known here."""


Event = (
    Passed | Format | ServerStart | Rotate | Gtid | GtidBegin | Begin | TableMapEvent | Rows
    | PartialUpdate | Commit | Rollback | RollbackToSavepoint | Savepoint | XaStart | XaEnd
    | XaPrepare | XaCommit | XaRollback | Query | ExecuteLoad | Payload | Incident
)  # fmt: skip

PASSED, BEGIN, INCIDENT_EVENT = Passed(), Begin(), Incident()
STATEMENT_COMMIT = Commit(None)


def parse(buffer: Any, start: int, end: int, checksum: bool = False) -> Event | None:
    """Parse the event at ``start`` of a buffer; None if its type matters to nobody.

    Lengths are checked before use. Raises `MalformedEventError`, and `ChecksumError` if the event
    ends with a checksum (``checksum``) that is wrong.
    """
    if end - start < (HEADER + CHECKSUM if checksum else HEADER):
        raise MalformedEventError("an event is shorter than its header")
    parser = PARSERS.get(buffer[start + 4])
    if parser is None:
        return None
    if checksum:
        end -= CHECKSUM
        small = end - start < COPIED_BYTES
        if crc32((buffer if small else memoryview(buffer))[start:end]) != _u4(buffer, end)[0]:
            raise ChecksumError("the checksum of an event is wrong")
    return parser(buffer, start, end, checksum)


def _short() -> MalformedEventError:
    return MalformedEventError("an event is shorter than its type demands")


# Where the log stands


def _passed(buffer: Any, start: int, end: int, checksum: bool) -> Event:
    return PASSED


def _format(buffer: Any, start: int, end: int, checksum: bool) -> Event:
    # It always ends with the algorithm and a checksum, whether or not other events have one. The
    # first comes before we know.
    if end - start < (77 if checksum else 81):
        raise _short()
    kind = buffer[end - 1 if checksum else end - 5] == 1
    created = _u4(buffer, start + 71)[0]
    if created and not buffer[start + 17] & ARTIFICIAL:
        return ServerStart(kind)
    return Format(kind)


def _rotate(buffer: Any, start: int, end: int, checksum: bool) -> Event:
    if end - start < 27:
        raise _short()
    name = bytes(buffer[start + 27 : end])
    if not checksum and len(name) > CHECKSUM:
        # The server makes one up before we know whether events have checksums.
        body = bytes(buffer[start : end - CHECKSUM])
        if crc32(body) == int.from_bytes(name[-CHECKSUM:], "little"):
            name = name[:-CHECKSUM]
    return Rotate(name.decode(), _u8(buffer, start + 19)[0])


# GTIDs


@lru_cache(maxsize=1024)
def _uuid(raw: bytes) -> str:
    return str(uuid.UUID(bytes=raw))


def _gtid(buffer: Any, start: int, end: int, checksum: bool) -> Gtid:
    size = end - start
    if size < 44:
        raise _short()
    if size > 68:
        source, number, micros = _gtid_timed(buffer, start + 20)
        return tuple.__new__(Gtid, (_uuid(source), number, micros & COMMIT_MICROS))
    source, number = _gtid_plain(buffer, start + 20)
    return Gtid(_uuid(source), number, None)


def _anonymous_gtid(buffer: Any, start: int, end: int, checksum: bool) -> Event:
    return _gtid(buffer, start, end, checksum)._replace(source="", number=0)


def _gtid_tagged(buffer: Any, start: int, end: int, checksum: bool) -> Event:
    source, number = tagged(bytes(buffer[start + HEADER : end]))
    return Gtid(source, number, _u4(buffer, start)[0] * 1_000_000)


def _maria_gtid_event(buffer: Any, start: int, end: int, checksum: bool) -> Event:
    if end - start < 32:
        raise _short()
    number, domain, flags = _maria_gtid(buffer, start + HEADER)
    source, time = f"{domain}-{_u4(buffer, start + 5)[0]}", _u4(buffer, start)[0] * 1_000_000
    if flags & STANDALONE:
        return Gtid(source, number, time)
    return GtidBegin(source, number, time)


def _integer(data: bytes, at: int) -> tuple[int, int]:
    """Decode an unsigned number of the serialization library; return it, and where the next field
    begins.

    Leading 1 bits count the bytes that follow.
    """
    first = data[at]
    more = 0
    while more < 8 and first >> more & 1:
        more += 1
    if more == 8:
        return int.from_bytes(data[at + 1 : at + 9], "little"), at + 9
    raw = int.from_bytes(data[at : at + 1 + more], "little")
    return raw >> (more + 1), at + 1 + more


def tagged(body: bytes) -> tuple[str, int]:
    """Return (source with its tag, number) of a GTID_TAGGED event's body."""
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
    return _uuid(source) + (f":{tag}" if tag else ""), number


# Rows


def _table_map(buffer: Any, start: int, end: int, checksum: bool) -> Event:
    if end - start < 27:
        raise _short()
    return _table_map_of(bytes(buffer[start + HEADER : end]))


@lru_cache(maxsize=256)
def _table_map_of(body: bytes) -> TableMapEvent:
    return TableMapEvent(body[:6], body, body[8:])


def _rows(buffer: Any, start: int, end: int, checksum: bool) -> Event:
    if end - start < 30:
        raise _short()
    (table_id,) = _table_id(buffer, start + HEADER)
    # What `Rows(...)` does, in half of the time.
    return tuple.__new__(Rows, (table_id, buffer, start, end))


def row_images(event: Rows) -> RowImages:
    """Parse the head of a ROWS event. Raises `MalformedEventError`."""
    _, buffer, start, end = event
    op, extended, compressed = ROWS[buffer[start + 4]]
    flags, extra = _rows_head(buffer, start + 25)
    at = start + 27 + extra if extended else start + 27
    if at >= end:
        raise _short()
    columns = buffer[at]
    if columns < 0xFB:
        at += 1
    else:
        columns, at = length_encoded(buffer, at)
    images = at + (columns + 7 >> 3) * (2 if op == 1 else 1)
    if images > end:
        raise _short()
    # An insert is one whatever the session switched off.
    unchecked = op != 0 and flags & NO_FOREIGN_KEY_CHECKS != 0
    bitmaps = bytes(buffer[at:images])
    return tuple.__new__(RowImages, (op, unchecked, compressed, columns, bitmaps, images, end))


def _partial_update(buffer: Any, start: int, end: int, checksum: bool) -> Event:
    if end - start < 25:
        raise _short()
    return PartialUpdate(bytes(buffer[start + 19 : start + 25]))


# Statements and transactions


def _xid(buffer: Any, start: int, end: int, checksum: bool) -> Event:
    return _commit(_u4(buffer, start)[0])


@lru_cache(maxsize=16)
def _commit(seconds: int) -> Commit:
    return Commit(seconds * 1_000_000)


def _xa_prepare(buffer: Any, start: int, end: int, checksum: bool) -> Event:
    if end - start < 32:
        raise _short()
    one_phase = buffer[start + HEADER]
    form, first, second = struct.unpack_from("<iii", buffer, start + HEADER + 1)
    if end - start < 32 + first + second:
        raise _short()
    if one_phase:
        return STATEMENT_COMMIT
    at = start + HEADER + 13
    data = bytes(buffer[at : at + first + second])
    return XaPrepare(f"X'{data[:first].hex()}',X'{data[first:].hex()}',{form}")


def _query(buffer: Any, start: int, end: int, checksum: bool) -> Event:
    if buffer[end - 5 : end] == b"BEGIN" and buffer[end - 6] == 0:
        return BEGIN
    compressed = buffer[start + 4] == MARIA_QUERY_COMPRESSED
    return classify(_statement(bytes(buffer[start + HEADER : end]), compressed=compressed))


def classify(query: Query) -> Event:
    """Return what a statement means to the transaction that it stands in."""
    words = [*query.text[:40].upper().split(None, 2), "", ""]
    if words[0] == "XA":
        name = "".join(query.text.split(None, 2)[2:]).strip()
        if words[1] in ("START", "BEGIN"):
            return XaStart()
        if words[1] in ("COMMIT", "ROLLBACK"):
            return XaCommit(name) if words[1] == "COMMIT" else XaRollback(name)
        return XaEnd()
    if words[0] == "ROLLBACK":
        return RollbackToSavepoint() if words[1] in ("TO", "WORK") else Rollback()
    return WORDS.get(words[0], query)


WORDS: Mapping[str, Event] = {
    "BEGIN": BEGIN, "COMMIT": STATEMENT_COMMIT, "SAVEPOINT": Savepoint(), "RELEASE": Savepoint(),
}  # fmt: skip

_STATUS_SIZES = {0: 4, 1: 8, 3: 4, 4: 6, 7: 2, 8: 2, 9: 8, 10: 4}


def _statement(body: bytes, *, compressed: bool) -> Query:
    """Return the statement in a QUERY event's body."""
    if len(body) < 13:
        raise MalformedEventError("a statement is shorter than its header")
    _, _, schema_size, _, status_size = _query_head(body)
    at = 13 + status_size
    if at + schema_size + 1 > len(body):
        raise MalformedEventError("a statement extends beyond its event")
    schema = body[at : at + schema_size].decode()
    rest = body[at + schema_size + 1 :]
    mode, charset, time_zone = _session_variables(body[13:at])
    codec = CLIENT_CHARSETS.get(charset, "utf-8")
    text = (inflate(rest) if compressed else rest).decode(codec, errors="replace")
    return Query(schema, text, mode, time_zone, codec)


def _session_variables(status: bytes) -> tuple[int, int, str]:
    """Return sql_mode, the client's collation and the time zone; an unknown variable ends the
    search."""
    mode = charset = at = 0
    time_zone = ""
    while at < len(status):
        code = status[at]
        at += 1
        if code == 1:
            mode = int.from_bytes(status[at : at + 8], "little")
        elif code == 4:
            charset = int.from_bytes(status[at : at + 2], "little")
        elif code == 5:
            time_zone = status[at + 1 : at + 1 + status[at]].decode(errors="replace")
        if code in _STATUS_SIZES:
            at += _STATUS_SIZES[code]
        elif code in (5, 6):
            at += 1 + status[at]
        elif code == 2:
            at += 2 + status[at]
        else:
            break
    return mode, charset, time_zone


def _execute_load(buffer: Any, start: int, end: int, checksum: bool) -> Event:
    return ExecuteLoad()


def _payload(buffer: Any, start: int, end: int, checksum: bool) -> Event:
    return Payload(bytes(buffer[start + HEADER : end]))


def _incident(buffer: Any, start: int, end: int, checksum: bool) -> Event:
    return INCIDENT_EVENT


Parser = Callable[[Any, int, int, bool], Event]
"""(buffer, start of the header, end without the checksum, whether there is one)."""

PARSERS: Mapping[int, Parser] = {
    **dict.fromkeys(ROWS, _rows),
    **dict.fromkeys(
        (STOP, HEARTBEAT, HEARTBEAT_2, PREVIOUS_GTIDS, MARIA_CHECKPOINT, MARIA_GTID_LIST), _passed
    ),
    FORMAT: _format,
    ROTATE: _rotate,
    GTID: _gtid,
    ANONYMOUS_GTID: _anonymous_gtid,
    GTID_TAGGED: _gtid_tagged,
    MARIA_GTID: _maria_gtid_event,
    TABLE_MAP: _table_map,
    PARTIAL_UPDATE: _partial_update,
    QUERY: _query,
    MARIA_QUERY_COMPRESSED: _query,
    XID: _xid,
    XA_PREPARE: _xa_prepare,
    EXECUTE_LOAD: _execute_load,
    PAYLOAD: _payload,
    INCIDENT: _incident,
    MARIA_PARTIAL_ROW: _incident,
}
"""By type code; events of other types are left out."""
