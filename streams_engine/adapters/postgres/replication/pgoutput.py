"""Messages of pgoutput, many at once: where each begins, its type, and its contents.

https://www.postgresql.org/docs/current/protocol-logicalrep-message-formats.html. Nothing loops over
rows here: types, relations and transactions of a stretch of log are arrays.
"""

from __future__ import annotations

import itertools
import struct
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from streams_engine.arrow.buffers import PAD, demand_within, violation, well_formed

__all__ = [
    "BEGIN",
    "BOUNDARY",
    "CHANGED",
    "COMMIT",
    "DONE",
    "HEADER",
    "KEEP_ALIVE",
    "KEEP_ALIVE_BYTES",
    "ROW",
    "SPECIAL",
    "WHAT",
    "Burst",
    "Messages",
    "Relation",
    "RelationColumn",
    "Tuples",
    "big",
    "lsn_text",
    "lsn_value",
    "parse_begin",
    "parse_commit",
    "parse_message",
    "parse_relation",
    "parse_truncate",
    "walk",
]

WHAT = "the logical replication stream"


def _letters(text: str) -> np.ndarray:
    mask = np.zeros(256, bool)
    mask[[ord(letter) for letter in text]] = True
    return mask


ROW = _letters("IUD")
DONE = _letters("IUDT")
"""What a transaction did to tables."""
CHANGED = _letters("IUDTiudt")
"""What it did, undone or not: see `TransactionSpill.read`."""
SPECIAL = _letters("RrMcbPKp")
BOUNDARY = _letters("Cck")
BEGIN, COMMIT, KEEP_ALIVE = ord("B"), ord("C"), ord("k")

HEADER = 25
"""Of a message ``w``: the letter, start and end of its WAL, the server's clock."""

EPOCH_SECONDS = 946_684_800
"""2000-01-01, since 1970-01-01."""

DATA, KEEP_ALIVE = ord("w"), ord("k")
KEEP_ALIVE_BYTES = 18

LEAST = np.zeros(256, np.int64)
LEAST[[ord(letter) for letter in "IUDTBCk"]] = [5, 5, 5, 5, 20, 25, 17]
"""By letter: how many bytes the contents have at least, of what is read in columns."""


def lsn_value(text: str) -> int:
    """Convert an LSN text to a number."""
    high, low = text.split("/")
    return int(high, 16) << 32 | int(low, 16)


def lsn_text(value: int) -> str:
    """Format an LSN as the server writes it."""
    return f"{value >> 32:X}/{value & 0xFFFFFFFF:X}"


def big(buffer: bytes, kind: str) -> np.ndarray:
    """Return a view of the big-endian number that begins at each byte of the buffer."""
    dtype = np.dtype(kind).newbyteorder(">")
    return np.ndarray((len(buffer) - dtype.itemsize + 1,), dtype, buffer, strides=(1,))


@dataclass(frozen=True, slots=True)
class Burst:
    """Messages that came together: the payload of each CopyData is ``buffer[start:end]``."""

    buffer: bytes
    start: array[int]
    end: array[int]
    asked: int
    """How many of them are keepalives that request an answer."""


@dataclass(frozen=True, slots=True)
class Messages:
    """Messages that follow each other in one buffer, which ends with `PAD` bytes more."""

    buffer: bytes
    kind: np.ndarray
    """uint8[n]: the message's letter; ``k`` for a keep-alive."""
    body: np.ndarray
    """int64[n]: where its contents begin, behind letter and, in a stream, transaction."""
    end: np.ndarray
    """int64[n]: where it ends."""

    @classmethod
    def of(cls, buffer: bytes, start: np.ndarray, end: np.ndarray) -> Messages:
        """Return the payloads of CopyData at these places of a buffer with `PAD`."""
        letters = np.frombuffer(buffer, np.uint8)
        outer = letters[start]
        data = outer == DATA
        least = np.where(data, HEADER + 1, KEEP_ALIVE_BYTES)
        if (end - start < least).any() or not (data | (outer == KEEP_ALIVE)).all():
            raise violation(WHAT, "a message is neither WAL data nor a keepalive")
        kind = np.where(data, letters[start + HEADER], outer)
        body = start + np.where(data, HEADER + 1, 1)
        return cls(buffer, kind, body, end)

    @classmethod
    def received(cls, bursts: Sequence[Burst]) -> Messages:
        """Return the messages of bursts in one buffer."""
        if len(bursts) == 1:
            (one,) = bursts
            start, end = (np.frombuffer(places, np.int64) for places in (one.start, one.end))
            return cls.of(one.buffer + bytes(PAD), start, end)
        buffer = b"".join([*(burst.buffer for burst in bursts), bytes(PAD)])
        shifts = [0, *itertools.accumulate(len(burst.buffer) for burst in bursts)]
        start, end = (
            np.concatenate(
                [np.frombuffer(a, np.int64) + s for a, s in zip(places, shifts, strict=False)]
            )
            for places in ([b.start for b in bursts], [b.end for b in bursts])
        )
        return cls.of(buffer, start, end)

    @classmethod
    def joined(cls, several: Sequence[Messages]) -> Messages:
        """Join several batches of messages."""
        if len(several) == 1:
            return several[0]
        sizes = [len(m.buffer) - PAD for m in several]
        shifts = [0, *np.cumsum(sizes)[:-1].tolist()]
        return cls(
            b"".join([*(memoryview(m.buffer)[:-PAD] for m in several), bytes(PAD)]),
            np.concatenate([m.kind for m in several]),
            np.concatenate([m.body + s for m, s in zip(several, shifts, strict=True)]),
            np.concatenate([m.end + s for m, s in zip(several, shifts, strict=True)]),
        )

    @classmethod
    def made(cls, bodies: Iterable[tuple[str, bytes]]) -> Messages:
        """Create messages that no server sent, from (letter, contents)."""
        pieces = [bytes([DATA]) + bytes(24) + k.encode() + body for k, body in bodies]
        end = np.cumsum(np.fromiter(map(len, pieces), np.int64, len(pieces)))
        start = np.concatenate([np.zeros(1, np.int64), end[:-1]])[: len(end)]
        return cls.of(b"".join([*pieces, bytes(PAD)]), start, end)

    def __len__(self) -> int:
        return len(self.kind)

    def demand_whole(self) -> None:
        """Raise `ProtocolViolation` if a message is shorter than its kind."""
        if (self.end - self.body < LEAST[self.kind]).any():
            raise violation(WHAT, "a message is shorter than its format")

    def part(self, first: int, after: int) -> Messages:
        """Return the messages from ``first`` to before ``after``, in their own buffer."""
        if first == 0 and after == len(self):
            return self
        if first >= after:
            return NOTHING
        low = int(self.body[first])
        buffer = self.buffer[low : int(self.end[after - 1])] + bytes(PAD)
        cut = slice(first, after)
        return Messages(buffer, self.kind[cut], self.body[cut] - low, self.end[cut] - low)

    def content(self, index: int) -> bytes:
        """Return the contents of one message."""
        return self.buffer[int(self.body[index]) : int(self.end[index])]


NOTHING = Messages(bytes(PAD), np.zeros(0, np.uint8), np.zeros(0, np.int64), np.zeros(0, np.int64))


# Single messages


@dataclass(frozen=True, slots=True)
class RelationColumn:
    """A column as a Relation message has it."""

    name: str
    type: int
    modifier: int
    key: bool


@dataclass(frozen=True, slots=True)
class Relation:
    """A Relation message: how the rows that follow it are built."""

    oid: int
    schema: str
    name: str
    identity: str
    """``d``, ``n``, ``f`` or ``i``, as ``pg_class.relreplident``."""
    columns: tuple[RelationColumn, ...]


def _string(data: bytes, at: int) -> tuple[str, int]:
    end = data.index(0, at)
    return data[at:end].decode(), end + 1


def parse_relation(data: bytes) -> Relation:
    """Parse the contents of a message ``R``. Raises `ProtocolViolation`."""
    with well_formed("a Relation message of the log"):
        return _relation(data)


def _relation(data: bytes) -> Relation:
    (oid,) = struct.unpack_from(">I", data)
    schema, at = _string(data, 4)
    name, at = _string(data, at)
    identity, count = struct.unpack_from(">cH", data, at)
    at += 3
    columns = []
    for _ in range(count):
        key = bool(data[at] & 1)
        column, at = _string(data, at + 1)
        kind, modifier = struct.unpack_from(">Ii", data, at)
        at += 8
        columns.append(RelationColumn(column, kind, modifier, key))
    if len({column.name for column in columns}) != count:
        raise ValueError("two columns have the same name")
    return Relation(oid, schema or "pg_catalog", name, identity.decode(), tuple(columns))


def parse_truncate(data: bytes) -> tuple[tuple[int, ...], bool]:
    """Parse the contents of a message ``T``: relations, and whether their sequences restart."""
    with well_formed("a Truncate message of the log"):
        count, options = struct.unpack_from(">IB", data)
        return struct.unpack_from(f">{count}I", data, 5), bool(options & 2)


def parse_message(data: bytes) -> tuple[str, bytes]:
    """Parse the contents of a message ``M``: prefix and content."""
    with well_formed("a logical message of the log"):
        prefix, at = _string(data, 9)
        (length,) = struct.unpack_from(">I", data, at)
        return prefix, data[at + 4 : at + 4 + length]


def parse_begin(content: bytes) -> tuple[int, int]:
    """Return where a transaction commits, and its number, from its ``B``."""
    with well_formed("the begin of a transaction"):
        final, _, xid = struct.unpack_from(">QqI", content)
    return final, xid


def parse_commit(data: bytes) -> tuple[int, int, float]:
    """Parse the contents of a message ``C``: its LSN, the LSN after it, seconds since 1970."""
    with well_formed("a Commit message of the log"):
        _, at, end, clock = struct.unpack_from(">BQQq", data)
    return at, end, EPOCH_SECONDS + clock / 1e6


# Tuples

TEXT, NULL, KEPT = ord("t"), ord("n"), ord("u")
KINDS = np.isin(np.arange(256), [TEXT, NULL, KEPT])


@dataclass(frozen=True, slots=True)
class Tuples:
    """Many tuples of one relation: by column and row the kind, start and length of a value."""

    kind: list[np.ndarray]
    start: list[np.ndarray]
    length: list[np.ndarray]
    end: np.ndarray
    """Where each tuple ends."""


def walk(buffer: bytes, at: np.ndarray, end: np.ndarray, columns: int) -> Tuples:
    """Go over tuples that begin at ``at``, a column of all of them at a time.

    ``end``: of their messages. Raises `ProtocolViolation` if a value goes beyond it, has a
    form that was not asked for, or a tuple has another number of columns.
    """
    demand_within(at + 2, end, WHAT)
    letters, short, long = np.frombuffer(buffer, np.uint8), big(buffer, "u2"), big(buffer, "u4")
    counts = short[at]
    if not (counts == columns).all():
        raise violation(WHAT, f"a row has {int(counts.max())} columns, and its table has {columns}")
    kinds, starts, lengths = [], [], []
    at = at + 2
    for _ in range(columns):
        kind = letters[at]
        there = kind == TEXT
        if there.all():
            length = long[at + 1].astype(np.int64)
            start = at + 5
            at = start + length
        else:
            if not KINDS[kind].all():
                raise violation(WHAT, "a value has a format that was not requested")
            length = np.where(there, long[at + 1], 0).astype(np.int64)
            start = at + 5
            at = np.where(there, start + length, at + 1)
        demand_within(at, end, WHAT)
        kinds.append(kind)
        starts.append(start)
        lengths.append(length)
    return Tuples(kinds, starts, lengths, at)
