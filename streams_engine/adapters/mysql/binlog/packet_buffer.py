"""Hold the packets that a server sent, until the events in them were taken.

https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_basic_packets.html
"""

from __future__ import annotations

import struct
from typing import Any

from streams_engine.arrow.buffers import PAD, grown

__all__ = ["BUFFER_BYTES", "MAX_PACKET", "PacketBuffer"]

BUFFER_BYTES = 16 << 20
"""How many bytes of the log one change set is made of at most, unless one event is larger."""

MAX_PACKET = 0xFFFFFF
"""The length of a packet that the next one continues; a mask of a packet's length too."""

_u4: Any = struct.Struct("<I").unpack_from


class PacketBuffer:
    """Bytes as they came, packets with their heads; ``data`` has `PAD` bytes after its room."""

    def __init__(self) -> None:
        self.data = bytearray(BUFFER_BYTES + PAD)
        self.fill = 0
        """How many bytes there are."""
        self._joined: dict[int, tuple[int, int]] = {}
        """By offset of an event's first packet: (its end, the next packet)."""

    @property
    def room(self) -> int:
        """Number of bytes that still fit."""
        return len(self.data) - PAD - self.fill

    def drop(self, until: int) -> None:
        """Forget the bytes before ``until``; the rest moves to the front."""
        rest = self.data[until : self.fill]
        if len(self.data) - PAD > BUFFER_BYTES and len(rest) < BUFFER_BYTES // 2:
            self.data = bytearray(BUFFER_BYTES + PAD)  # it had grown for one event
        self.data[: len(rest)] = rest
        self.fill = len(rest)
        self._joined = {at - until: (end - until, after - until)
                        for at, (end, after) in self._joined.items() if at >= until}  # fmt: skip

    def reserve(self, at: int, length: int) -> None:
        """Make room for the packet at ``at``, which is not whole yet; nothing moves.

        Where others continue it, its event says how long it is. A length is a claim: memory grows
        with what comes, not with what is announced.
        """
        size = length + 4
        if length == MAX_PACKET and self.fill >= at + 18:
            event = int(_u4(self.data, at + 14)[0])
            size = event + (event // MAX_PACKET + 2) * 4 + 1
        if at == 0 and size > len(self.data) - PAD:
            self.data = grown(self.data, size + (1 << 20) + PAD)

    def join(self, at: int) -> tuple[int, int]:
        """Make an event of several packets contiguous, and return (its end, the next packet).

        Both are behind the `fill` while a packet is not whole.
        """
        if at in self._joined:
            return self._joined[at]
        packets, place, length = list[tuple[int, int]](), at, MAX_PACKET
        while length == MAX_PACKET:
            there = place + 4 <= self.fill
            length = int(_u4(self.data, place)[0]) & MAX_PACKET if there else MAX_PACKET
            if place + 4 + length > self.fill:
                return self.fill + 1, self.fill + 1
            packets.append((place + 4, length))
            place += 4 + length
        end = packets[0][0] + packets[0][1]
        for start, length in packets[1:]:
            self.data[end : end + length] = self.data[start : start + length]
            end += length
        # The event may be read twice, and its packets are no more.
        self._joined[at] = end, place
        return end, place
