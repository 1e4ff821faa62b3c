"""A binary log of integer tables, made byte by byte, and a reader of it without a server."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Sequence
from typing import Any

from streams_engine.adapters.mysql import binlog_events as e
from streams_engine.adapters.mysql.binlog import BUFFER_BYTES, Dump
from streams_engine.adapters.mysql.gtids import gtid_set
from streams_engine.adapters.mysql.statements import Statements
from streams_engine.adapters.mysql.transactions import MysqlChangeReader
from streams_engine.changes import Op, Tracked
from streams_engine.cutting import PAD

__all__ = ["Log", "reader"]

Values = Sequence[int | None]
TYPES = {Op.INSERT: 30, Op.UPDATE: 31, Op.DELETE: 32}
LONG = 3


class Log:
    """Events in the form in which a server sends them: each a packet, one after the other."""

    def __init__(self) -> None:
        self.packets = bytearray()
        self._pos = 4
        self._number = 0

    def _event(self, kind: int, body: bytes) -> None:
        size = 19 + len(body)
        self._pos += size
        header = struct.pack("<IBIIIH", 1_700_000_000, kind, 1, size, self._pos, 0)
        packet = b"\0" + header + body
        self.packets += struct.pack("<I", len(packet))[:3] + bytes([self._number & 255]) + packet
        self._number += 1

    def begin(self) -> None:
        self._event(e.ANONYMOUS_GTID, bytes(42))
        self._query("BEGIN")

    def commit(self) -> None:
        self._event(e.XID, bytes(8))

    def statement(self, text: str) -> None:
        """One that stands alone."""
        self._event(e.ANONYMOUS_GTID, bytes(42))
        self._query(text)

    def _query(self, text: str) -> None:
        self._event(e.QUERY, struct.pack("<IIBHH", 1, 0, 1, 0, 0) + b"s\0" + text.encode())

    def table_map(
        self, number: int, flags: int, name: str, columns: Sequence[str], nullable: Sequence[bool],
        *, named: bool,
    ) -> None:  # fmt: skip
        body = struct.pack("<Q", number)[:6] + struct.pack("<H", flags)
        body += b"\x01s\0" + bytes([len(name)]) + name.encode() + b"\0"
        body += bytes([len(columns)]) + bytes([LONG] * len(columns)) + b"\0"
        body += bytes([sum(may << i for i, may in enumerate(nullable))])
        if named:
            names = b"".join(bytes([len(c)]) + c.encode() for c in columns)
            body += bytes([4, len(names)]) + names
        self._event(e.TABLE_MAP, body)

    def rows(
        self, number: int, op: Op, images: Sequence[Values], present: Sequence[Sequence[int]],
        columns: int,
    ) -> None:  # fmt: skip
        """``images``: one a row, two for an update; ``present``: which columns each of them has."""
        body = struct.pack("<Q", number)[:6] + struct.pack("<HH", 1, 2) + bytes([columns])
        body += b"".join(bytes([sum(1 << i for i in there)]) for there in present)
        for place, image in enumerate(images):
            values = [image[i] for i in present[place % len(present)]]
            body += bytes([sum((v is None) << i for i, v in enumerate(values))])
            body += b"".join(struct.pack("<i", v) for v in values if v is not None)
        self._event(TYPES[op], body)


class _Given(Dump):
    """The bytes of a log, which come in pieces."""

    def __init__(self, log: Log, pieces: random.Random) -> None:
        self.what, self.mariadb = "reading a log in memory", False
        self.buffer, self.fill = bytearray(BUFFER_BYTES + PAD), 0
        self._left, self._pieces = memoryview(bytes(log.packets)), pieces

    def receive(self, timeout: float) -> int:
        size = min(len(self._left), self._pieces.choice((7, 60, 500, 1 << 20)))
        self.buffer[self.fill : self.fill + size] = self._left[:size]
        self._left = self._left[size:]
        self.fill += size
        return size

    @property
    def ended(self) -> bool:
        return not self._left


def reader(
    log: Log, pieces: random.Random
) -> tuple[Callable[[Sequence[Tracked]], Any], Callable[[], bool]]:
    """(what opens a reader of the log, what says that all of it was received)."""
    dump = _Given(log, pieces)

    def opened(tracked: Sequence[Tracked]) -> MysqlChangeReader:
        return MysqlChangeReader(
            dump,
            tracked,
            {"server": "1", "file": "binlog.000001", "pos": 4},
            server="1",
            gtids=gtid_set("", mariadb=False),
            statements=Statements(lambda table: None, mariadb=False, fold=False),
            translate=None,
            covered=lambda *_: False,
            replay=lambda *_: [],
        )

    return opened, lambda: dump.ended
