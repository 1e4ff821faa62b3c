"""GTID sets of both flavours: read, written, grown and compared.

MySQL: ``uuid[:tag]:1-5:7,...``
(https://dev.mysql.com/doc/refman/9.0/en/replication-gtids-concepts.html); MariaDB: the last
``domain-server-sequence`` of each domain.
"""

from __future__ import annotations

import struct
import uuid
from bisect import bisect_right

__all__ = ["MariadbGtids", "MysqlGtids", "gtid_set"]


class MysqlGtids:
    """A set of transactions by source (uuid, perhaps with a tag): intervals, ends included."""

    def __init__(self, text: str = "") -> None:
        self.sources: dict[str, list[list[int]]] = {}
        for part in filter(None, (word.strip() for word in text.split(","))):
            words = part.lower().split(":")
            source = str(uuid.UUID(words[0]))
            if len(words) < 2:
                raise ValueError(f"{source} has no transactions")
            for word in words[1:]:
                if word[:1].isdigit():
                    low, _, high = word.partition("-")
                    self._join(source, int(low), int(high or low))
                else:
                    source = f"{uuid.UUID(words[0])}:{word}"

    def _join(self, source: str, low: int, high: int) -> None:
        merged: list[list[int]] = []
        for piece in sorted([*self.sources.get(source, []), [low, high]]):
            if merged and piece[0] <= merged[-1][1] + 1:
                merged[-1][1] = max(merged[-1][1], piece[1])
            else:
                merged.append(list(piece))
        self.sources[source] = merged

    def add(self, source: str, number: int) -> None:
        """Add a transaction, which is mostly the next one."""
        intervals = self.sources.get(source)
        if intervals and intervals[-1][1] == number - 1:
            intervals[-1][1] = number
        else:
            self._join(source, number, number)

    def add_all(self, source: str, first: int, last: int) -> None:
        """Add transactions that came one after the other."""
        self.add(source, first)
        if last > first:
            self._join(source, first, last)

    def has(self, source: str, number: int) -> bool:
        """Return whether the set contains a transaction."""
        intervals = self.sources.get(source, [])
        at = bisect_right(intervals, number, key=lambda piece: piece[0]) - 1
        return at >= 0 and number <= intervals[at][1]

    def contains(self, other: MysqlGtids) -> bool:
        """Return whether the set contains every transaction of ``other``."""
        return all(
            any(low <= piece[0] and piece[1] <= high for low, high in self.sources.get(source, []))
            for source, pieces in other.sources.items()
            for piece in pieces
        )

    def __bool__(self) -> bool:
        return bool(self.sources)

    def __str__(self) -> str:
        return ",".join(
            source + "".join(f":{a}-{b}" if a != b else f":{a}" for a, b in pieces)
            for source, pieces in sorted(self.sources.items())
        )

    def encoded(self) -> bytes:
        """Encode the set for COM_BINLOG_DUMP_GTID; with tags in the format of 8.3 and newer."""
        tagged = any(":" in source for source in self.sources)
        count = len(self.sources)
        # The count's first and last byte say the format: 1 is the one with tags.
        encoded = (
            struct.pack("<Q", count << 8 | 1 | 1 << 56) if tagged else struct.pack("<Q", count)
        )
        for source, pieces in sorted(self.sources.items()):
            identifier, _, tag = source.partition(":")
            encoded += uuid.UUID(identifier).bytes
            if tagged:
                encoded += bytes([len(tag) << 1]) + tag.encode()
            encoded += struct.pack("<Q", len(pieces))
            for low, high in pieces:
                encoded += struct.pack("<QQ", low, high + 1)
        return encoded


class MariadbGtids:
    """The last transaction of each replication domain."""

    def __init__(self, text: str = "") -> None:
        self.domains: dict[int, tuple[int, int]] = {}
        for part in filter(None, (word.strip() for word in text.split(","))):
            domain, server, number = map(int, part.split("-"))
            self.domains[domain] = (server, number)

    def add(self, source: str, number: int) -> None:
        """Set the newest transaction of ``domain-server``."""
        domain, server = source.split("-")
        self.domains[int(domain)] = (int(server), number)

    def add_all(self, source: str, first: int, last: int) -> None:
        """Set the newest transaction of ``domain-server``, the last of several."""
        self.add(source, last)

    def has(self, source: str, number: int) -> bool:
        """Return whether a transaction is at or before its domain's last."""
        return self.domains.get(int(source.split("-")[0]), (0, -1))[1] >= number

    def contains(self, other: MariadbGtids) -> bool:
        """Return whether each of the other's domains has reached at least the same number here."""
        return all(
            self.domains.get(domain, (0, -1))[1] >= number
            for domain, (_, number) in other.domains.items()
        )

    def __bool__(self) -> bool:
        return bool(self.domains)

    def __str__(self) -> str:
        return ",".join(f"{d}-{s}-{n}" for d, (s, n) in sorted(self.domains.items()))


def gtid_set(text: str | None, *, mariadb: bool) -> MysqlGtids | MariadbGtids:
    """Parse a GTID set. Raises `ValueError` if the text is invalid."""
    return MariadbGtids(text or "") if mariadb else MysqlGtids(text or "")
