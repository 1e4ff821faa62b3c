"""Check many transactions of one small statement at once, as a busy log is full of them.

Their events mean what they mean to `short_transaction`. A run ends before the first transaction
that is not exactly of its form, which is left to that function.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any, NamedTuple, cast
from zlib import crc32

import numpy as np

from streams_engine.adapters.mysql.binlog.events import (
    ARTIFICIAL,
    CHECKSUM,
    COPIED_BYTES,
    GTID,
    HEADER,
    MARIA_GTID,
    PARSERS,
    STANDALONE,
    Commit,
    Gtid,
    GtidBegin,
)
from streams_engine.adapters.mysql.binlog.packet_buffer import MAX_PACKET
from streams_engine.adapters.mysql.binlog.short_transaction import FORMS, PACKET, RESIDUE

__all__ = ["FEWEST", "ShortRun", "short_run"]

FEWEST = 8
"""Fewer transactions are parsed one by one in less time."""

_u4: Any = struct.Struct("<I").unpack_from
_BEGIN = np.frombuffer(b"\0BEGIN", np.uint8)


class _Form(NamedTuple):
    """The events of a transaction, by the type of the first."""

    allowed: np.ndarray
    """By event and type: whether it may have it."""
    shortest: np.ndarray
    """By event: its bytes without a checksum, at least."""
    query: int | None
    """Which event is BEGIN."""
    table: int
    """Which is the table map; the rows follow, and the end."""


def _form(first: int, shortest: tuple[int, ...], query: int | None) -> _Form:
    allowed = np.zeros((len(shortest), 256), bool)
    for place, kinds in enumerate(FORMS[first]):
        allowed[place, list(kinds if place else {first})] = True
    return _Form(allowed, np.array(shortest), query, len(shortest) - 3)


_FORMS: Mapping[int, _Form] = {
    GTID: _form(GTID, (44, HEADER + 1, 27, 30, HEADER + 1), 1),
    MARIA_GTID: _form(MARIA_GTID, (32, 27, 30, HEADER + 1), None),
}


class ShortRun(NamedTuple):
    """Transactions of one source that do not span packets, one after the other."""

    begin: np.ndarray
    """Where each event begins in the buffer, by transaction and event."""
    end: np.ndarray
    """Where it ends, without its checksum."""
    after: np.ndarray
    """Where the packet behind a transaction begins."""
    ends: np.ndarray
    """Where each event ends in the log: the lowest 32 bits."""
    table: int
    """Which event is the table map; the rows follow, and the end."""
    first: int
    """The number of the first one's GTID."""

    def bounds(self, buffer: Any, place: int) -> tuple[Gtid | GtidBegin, Commit]:
        """Return the GTID and the end of one transaction."""
        begin, end = self.begin[place].tolist(), self.end[place].tolist()
        gtid, commit = (
            cast(Any, PARSERS[buffer[begin[i] + 4]](buffer, begin[i], end[i], False))
            for i in (0, -1)
        )
        return gtid, commit

    def offsets(self, offset: int, count: int) -> tuple[int, int]:
        """Return where the last of the first ``count`` transactions begins in the log, and where
        it ends; the first begins at ``offset``."""
        ends = self.ends[:count].ravel().astype(np.int64)
        steps = np.diff(ends, prepend=offset) & 0xFFFFFFFF
        last = int(steps[-self.ends.shape[1] :].sum())
        whole = int(steps.sum())
        return offset + whole - last, offset + whole


def short_run(
    buffer: Any, at: int, fill: int, checksum: bool, *, most: int, until: int
) -> ShortRun | None:
    """Return the transactions from the packet at ``at``, a GTID's; None if they are too few.

    At most ``most``, of which the last begins before ``until``.
    """
    kind = buffer[at + 9]
    form = _FORMS[kind]
    size, width = CHECKSUM if checksum else 0, len(form.shortest)
    packets = _packets(buffer, at, fill, most * width)
    count = (len(packets) - 1) // width
    if count < FEWEST:
        return None
    bounds = np.array(packets[: count * width + 1], np.int64)
    data = np.frombuffer(buffer, np.uint8)
    packet = bounds[:-1].reshape(count, width)
    begin, end = packet + 5, bounds[1:].reshape(count, width) - size
    ends = _numbers(data, packet + 18, 4, "<u4")
    length = end - begin
    good = (
        form.allowed[np.arange(width), data[packet + 9]]
        & (data[packet + 4] == 0)
        & (data[packet + 22] & ARTIFICIAL == 0)
        & (ends != 0)
        & (length >= form.shortest)
        & (length < COPIED_BYTES)
    ).all(axis=1)
    good &= packet[:, 0] < until
    if form.query is not None:
        good &= (data[end[:, form.query, None] + np.arange(-6, 0)] == _BEGIN).all(axis=1)
    one_source = _mysql_source if kind == GTID else _maria_source
    whole, numbers = one_source(data, begin[:, 0], length[:, 0])
    good &= whole
    if checksum:
        good[_damaged(buffer, packets, _until_false(good) * width) // width :] = False
    count = _until_false(good)
    if count < FEWEST:
        return None
    return ShortRun(
        begin[:count],
        end[:count],
        bounds[width::width][:count],
        ends[:count],
        form.table,
        int(numbers[0]),
    )


def _packets(buffer: Any, at: int, fill: int, most: int) -> list[int]:
    """Return where packets begin that are whole, and where the last of them ends."""
    packets: list[int] = []
    add, last, length_at = packets.append, fill - PACKET, _u4
    for _ in range(most):
        if at > last:
            break
        add(at)
        at += 4 + (length_at(buffer, at)[0] & MAX_PACKET)
    if at <= fill:
        add(at)
    return packets


def _until_false(flags: np.ndarray) -> int:
    return len(flags) if flags.all() else int(flags.argmin())


def _damaged(buffer: Any, packets: list[int], events: int) -> int:
    """Return the first event whose checksum is wrong, or the number of events."""
    starts = [at + 5 for at in packets[:events]]
    with memoryview(buffer) as view:
        # No line of Python an event: a log has five a row.
        parts = map(view.__getitem__, map(slice, starts, packets[1 : events + 1]))
        checked = np.fromiter(map(crc32, parts), np.uint32, events)
    return _until_false(checked == RESIDUE)


def _numbers(data: np.ndarray, at: np.ndarray, size: int, kind: str) -> np.ndarray:
    """Return the little-endian numbers at these places."""
    raw = data[at[..., None] + np.arange(size)]
    numbers: np.ndarray = np.ascontiguousarray(raw).view(kind)[..., 0]
    return numbers


def _mysql_source(
    data: np.ndarray, begin: np.ndarray, length: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return which GTIDs go on from the first, of the same source, and their numbers."""
    # The places of an event that is too short are not looked at.
    begin = np.where(length >= 44, begin, begin[0])
    source = data[begin[:, None] + np.arange(20, 36)]
    numbers = _numbers(data, begin + 36, 8, "<i8")
    same = (source == source[0]).all(axis=1) & ((length > 68) == (length[0] > 68))
    return same & (numbers == numbers[0] + np.arange(len(numbers))), numbers


def _maria_source(
    data: np.ndarray, begin: np.ndarray, length: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    begin = np.where(length >= 32, begin, begin[0])
    server, domain = _numbers(data, begin + 5, 4, "<u4"), _numbers(data, begin + 27, 4, "<u4")
    same = (server == server[0]) & (domain == domain[0])
    same &= data[begin + 31] & STANDALONE == 0
    return same, _numbers(data, begin + HEADER, 8, "<u8")
