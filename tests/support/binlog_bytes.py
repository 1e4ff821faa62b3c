"""A binary log of integer tables, made byte by byte, and a reader of it without a server."""

from __future__ import annotations

import random
import struct
import uuid
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from streams_engine.adapters.mysql.binlog import events as e
from streams_engine.adapters.mysql.binlog.assembler import TransactionAssembler
from streams_engine.adapters.mysql.binlog.dump import BinlogDump
from streams_engine.adapters.mysql.binlog.gtid import gtid_set
from streams_engine.adapters.mysql.binlog.packet_buffer import PacketBuffer
from streams_engine.adapters.mysql.binlog.reader import ROWS_BUDGET, BinlogReader
from streams_engine.adapters.mysql.binlog.statements import StatementJudge
from streams_engine.adapters.mysql.binlog.table_id_map import Covered, TableIdMap
from streams_engine.arrow.buffers import PAD
from streams_engine.model import ChangeSet, Op, TableSubscription

__all__ = ["Log", "assembler", "reader"]

Values = Sequence[int | None]
TYPES = {Op.INSERT: 30, Op.UPDATE: 31, Op.DELETE: 32}
LONG = 3
FILE = "binlog.000001"
SECOND = 1_700_000_000
SOURCE = uuid.UUID(int=7)


class Log:
    """Events in the form in which a server sends them: each a packet, one after the other."""

    def __init__(self, *, checksum: bool = False) -> None:
        self.packets = bytearray()
        self.places: dict[int, int] = {4: 0}
        """Where in ``packets`` the event begins that is at a position of the log."""
        self._checksum = checksum
        self._number = 0
        self._pos = 4
        if checksum:
            self.format(artificial=True)

    def _event(self, kind: int, body: bytes, flags: int = 0) -> None:
        size = 19 + len(body) + 4 * self._checksum
        if not flags:
            self._pos += size
        event = struct.pack("<IBIIIH", SECOND, kind, 1, size, self._pos, flags) + body
        if self._checksum:
            event += struct.pack("<I", zlib.crc32(event))
        packet = b"\0" + event
        self.packets += struct.pack("<I", len(packet))[:3] + bytes([self._number & 255]) + packet
        self.places[self._pos] = len(self.packets)
        self._number += 1

    def events(self) -> list[tuple[e.Event, int]]:
        """(event, its position), of those that a reader takes; their rows lie in `buffer`."""
        buffer, found = self.buffer, []
        for pos, at in self.places.items():
            if at < len(self.packets):
                size = int.from_bytes(self.packets[at : at + 3], "little")
                event = e.parse(buffer, at + 5, at + 4 + size, self._checksum)
                if event is not None:
                    found.append((event, pos))
        return found

    @property
    def buffer(self) -> bytearray:
        """The packets, as a reader's buffer holds them."""
        return self.packets + bytes(PAD)

    @property
    def content(self) -> bytes:
        """The events without their packets, as a payload holds them."""
        ends = [*list(self.places.values())[1:], len(self.packets)]
        pieces = zip(self.places.values(), ends, strict=True)
        return b"".join(bytes(self.packets[at + 5 : end]) for at, end in pieces)

    def first(self, size: int) -> Log:
        """The log whose end, after so many bytes of packets, is lost."""
        rest = Log(checksum=self._checksum)
        rest.packets, rest.places = self.packets[:size], self.places
        return rest

    def since(self, pos: int) -> Log:
        """The log as a server sends it from a position on: first how its events are written."""
        rest = Log(checksum=self._checksum)
        rest.packets += self.packets[self.places[pos] :]
        return rest

    def format(self, *, started: bool = False, artificial: bool = False) -> None:
        head = struct.pack("<H50sIB", 4, b"9.0", SECOND if started else 0, 19)
        checksums = bytes([1]) if self._checksum else bytes(5)
        self._event(e.FORMAT, head + bytes(40) + checksums, e.ARTIFICIAL * artificial)

    def rotate(self, file: str, position: int = 4) -> None:
        self._event(e.ROTATE, struct.pack("<Q", position) + file.encode())

    def passed(self) -> None:
        self._event(e.PREVIOUS_GTIDS, bytes(8))

    def gtid(self, number: int, micros: int = SECOND * 1_000_000) -> None:
        body = b"\1" + SOURCE.bytes + struct.pack("<q", number) + bytes(17)
        self._event(e.GTID, body + struct.pack("<Q", micros)[:7] + bytes(5))

    def maria_gtid(self, number: int, *, standalone: bool) -> None:
        self._event(e.MARIA_GTID, struct.pack("<QIB", number, 0, int(standalone)) + bytes(6))

    def anonymous(self) -> None:
        self._event(e.ANONYMOUS_GTID, bytes(42))

    def begin(self) -> None:
        self.anonymous()
        self.query("BEGIN")

    def commit(self) -> None:
        self._event(e.XID, bytes(8))

    def xa_prepare(self, name: bytes, *, one_phase: bool = False) -> None:
        head = struct.pack("<Biii", one_phase, 1, len(name), 0)
        self._event(e.XA_PREPARE, head + name)

    def payload(self, inner: Log, *, compressed: bool = True) -> None:
        """A compressed transaction, of events that have no checksums."""
        plain = inner.content
        data = bytes(pa.Codec("zstd").compress(plain)) if compressed else plain
        fields = b""
        for field, value in ((1, len(data)), (2, 0 if compressed else 255), (3, len(plain))):
            fields += bytes([field, 9, 0xFE]) + struct.pack("<Q", value)
        self._event(e.PAYLOAD, fields + b"\0" + data)

    def incident(self) -> None:
        self._event(e.INCIDENT, bytes(4))

    def partial_update(self, number: int) -> None:
        self._event(e.PARTIAL_UPDATE, struct.pack("<Q", number)[:6] + bytes(4))

    def execute_load(self) -> None:
        self._event(e.EXECUTE_LOAD, bytes(30))

    def statement(self, text: str) -> None:
        """One that stands alone."""
        self.anonymous()
        self.query(text)

    def query(self, text: str) -> None:
        self._event(e.QUERY, struct.pack("<IIBHH", 1, 0, 1, 0, 0) + b"s\0" + text.encode())

    def table_map(
        self, number: int, flags: int, name: str, columns: Sequence[str], nullable: Sequence[bool],
        *, named: bool, schema: str = "s",
    ) -> None:  # fmt: skip
        body = struct.pack("<Q", number)[:6] + struct.pack("<H", flags)
        for text in (schema, name):
            body += bytes([len(text)]) + text.encode() + b"\0"
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


class _Given(BinlogDump):
    """The bytes of a log, which come in pieces."""

    woken = False

    def __init__(self, log: Log, pieces: random.Random) -> None:
        self.what, self.mariadb = "reading a log in memory", False
        self.packets = PacketBuffer()
        self._left, self._pieces = memoryview(bytes(log.packets)), pieces

    def receive(self, timeout: float) -> int:
        packets = self.packets
        size = min(len(self._left), self._pieces.choice((7, 60, 500, 1 << 20)))
        packets.data[packets.fill : packets.fill + size] = self._left[:size]
        self._left = self._left[size:]
        packets.fill += size
        return size

    def wake(self) -> None:
        """Do nothing: nobody waits."""

    @property
    def ended(self) -> bool:
        return not self._left


class Utf8:
    """Character sets of a server that has no other."""

    def __call__(self, collation: int | None, charset: str | None, values: pa.Array) -> pa.Array:
        return values.cast(pa.string())

    def one_by_one(self, collation: int | None, charset: str | None) -> Callable[[bytes], bytes]:
        return lambda value: value.decode().encode()


def assembler(
    tracked: Sequence[TableSubscription],
    *,
    gtids: str = "",
    prepared: Mapping[str, Any] | None = None,
    mariadb: bool = False,
    replay: bool = False,
    covered: Covered = lambda since, begin, gtid: False,
) -> TransactionAssembler:
    """What a reader of these tables assembles with; the catalog has no other table."""
    statements = StatementJudge(lambda table: None, mariadb=mariadb, fold=False)
    tables = TableIdMap(
        tracked,
        statements,
        mariadb=mariadb,
        translate=Utf8(),
        covered=covered,
    )
    return TransactionAssembler(
        "reading a log in memory",
        tables,
        statements,
        gtid_set(gtids, mariadb=mariadb),
        prepared,
        mariadb=mariadb,
        replay=replay,
    )


def reader(
    log: Log,
    pieces: random.Random,
    rows_budget: int = ROWS_BUDGET,
    *,
    after: Mapping[str, Any] | None = None,
    replay: bool = False,
    mariadb: bool = False,
) -> tuple[Callable[[Sequence[TableSubscription]], Any], Callable[[], bool]]:
    """(what opens a reader of the log, what says that all of it was received)."""
    start = after or {"server": "1", "file": FILE, "pos": 4}
    dump = _Given(log.since(start["pos"]), pieces)

    def replayed(name: str, begin: Any, tracked: Mapping[Any, TableSubscription]) -> Any:
        opened, _ = reader(log, pieces, rows_budget, after=begin, replay=True)
        source, sets = opened(list(tracked.values())), list[ChangeSet]()
        while not source.replayed:
            sets.append(source.poll(0))
        return sets

    def opened(tracked: Sequence[TableSubscription]) -> BinlogReader:
        return BinlogReader(
            dump,
            assembler(
                tracked,
                gtids=start.get("gtid") or "",
                prepared=start.get("prepared"),
                replay=replay,
                mariadb=mariadb,
            ),
            start,
            server="1",
            replay=replayed,
            rows_budget=rows_budget,
        )

    return opened, lambda: dump.ended
