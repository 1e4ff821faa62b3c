"""Parse a transaction of one small statement at once, the most common of all.

Its events mean what they mean to `parse` and the assembler; what is not exactly this form is left
to them.
"""

from __future__ import annotations

import struct
from typing import Any, NamedTuple
from zlib import crc32

from streams_engine.adapters.mysql.binlog.events import (
    ARTIFICIAL,
    CHECKSUM,
    COPIED_BYTES,
    GTID,
    HEADER,
    MARIA_GTID,
    PARSERS,
    QUERY,
    ROWS,
    TABLE_MAP,
    XID,
    Commit,
    Gtid,
    GtidBegin,
    Rows,
    TableMapEvent,
)
from streams_engine.adapters.mysql.binlog.packet_buffer import MAX_PACKET

__all__ = ["BEGINS", "FORMS", "PACKET", "RESIDUE", "ShortTransaction", "short_transaction"]

BEGINS = frozenset({GTID, MARIA_GTID})
"""Types of the events that such a transaction begins with."""
TABLE = (frozenset({TABLE_MAP}), frozenset(ROWS), frozenset({XID}))
FORMS = {GTID: (BEGINS, frozenset({QUERY}), *TABLE), MARIA_GTID: (BEGINS, *TABLE)}
"""Types of its events, by the first; MariaDB's GTID is a BEGIN too."""
RESIDUE = 0x2144DF1C
"""CRC32 of bytes that end with their own CRC32, which are in order then
(https://www.zlib.net/crc_v3.txt, chapter 10)."""

PACKET = 24
"""Bytes of a packet's header and the part of its event's header that is read here."""

_packet: Any = struct.Struct("<IB4xB8xIH").unpack_from


class ShortTransaction(NamedTuple):
    """The events of a transaction that does not span packets."""

    gtid: Gtid | GtidBegin
    table: TableMapEvent
    rows: Rows
    commit: Commit
    after: int
    """Where the next packet begins in the buffer."""
    ends: list[int]
    """Where each event ends in the log: the lowest 32 bits."""


def short_transaction(buffer: Any, at: int, fill: int, checksum: bool) -> ShortTransaction | None:
    """Return the transaction that begins with the packet at ``at``, a GTID's; None if it is not
    wholly there, has another form, or a fault that its events are to be refused for."""
    size = CHECKSUM if checksum else 0
    events, ends = [], []
    for kinds in FORMS[buffer[at + 9]]:
        if fill - at < PACKET:
            return None
        word, status, kind, following, flags = _packet(buffer, at)
        length = word & MAX_PACKET
        start, end = at + 5, at + 4 + length - size
        at += 4 + length
        if (
            at > fill
            or status
            or kind not in kinds
            or not following
            or flags & ARTIFICIAL
            or not HEADER < end - start < COPIED_BYTES
            or (size and crc32(buffer[start:at]) != RESIDUE)
        ):
            return None
        if kind == QUERY:
            if buffer[end - 6 : end] != b"\0BEGIN":
                return None
        else:
            events.append(PARSERS[kind](buffer, start, end, checksum))
        ends.append(following)
    gtid, table, rows, commit = events
    if gtid.__class__ is Gtid and len(ends) < 5:
        return None  # of MariaDB: a statement of its own
    return tuple.__new__(ShortTransaction, (gtid, table, rows, commit, at, ends))
