"""What an end of `verify` offers whose server sums up digests of its rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from streams_engine.schema.types.canonical import CanonicalColumn, CanonicalRead, KeyRange

__all__ = [
    "BUCKETS",
    "ROW_END",
    "BlockDigests",
    "Digested",
    "OrderedBlocks",
    "RangedDigests",
    "RowDigests",
]

BUCKETS = 4096
"""Of digests by their lowest bits."""
ROW_END = ",;"
"""Between the texts of two rows of a block: the text of no number or moment holds a semicolon."""


@dataclass(frozen=True, slots=True)
class Digested:
    """Some rows of one end, summed up. Two ends with the same sums have the same rows, but for a
    chance of one in 2**64."""

    rows: int
    total: int
    """The sum of the rows' digests, modulo 2**64."""
    whole: bool = True
    """Every row has a digest; a server makes none of a text that is too long for it."""


@runtime_checkable
class RowDigests(Protocol):
    """An end that digests rows itself: no row goes over the network.

    The digest of a row is made of its values' texts, each of them such that equal texts mean equal
    values in the form in which `verify` compares the column. The reverse need not hold.
    """

    @property
    def digests(self) -> Sequence[str]:
        """The kinds of digest that the server can make, the cheapest first. One name means one
        function of the same texts on every server."""
        ...

    def can_digest(self, column: CanonicalColumn) -> bool:
        """Return whether a column has a text that the digest can be made of."""
        ...

    def digest(self, read: CanonicalRead, kind: str) -> Digested:
        """Return the sum over the rows of a read."""
        ...

    def buckets(self, read: CanonicalRead, kind: str) -> Mapping[int, Digested]:
        """Return the sums by bucket; without those of no row."""
        ...

    def renew(self) -> None:
        """See what is committed by now."""
        ...


@runtime_checkable
class RangedDigests(RowDigests, Protocol):
    """An end that finds rows by a range of their keys without reading the others."""

    def key_bounds(self, read: CanonicalRead, column: str) -> tuple[int, int] | None:
        """Return the least and the greatest value of a column of whole numbers; None: no rows."""
        ...

    def key_after(self, read: CanonicalRead, column: str, rows: int) -> int | None:
        """Return the value of a column of whole numbers that so many rows come before, in its
        order; None if there are not so many."""
        ...


@runtime_checkable
class BlockDigests(RowDigests, Protocol):
    """An end that hashes the texts of many rows at once: SHA-256 of them in the order of a key."""

    def block(self, read: CanonicalRead) -> Digested:
        """Return the hash of a range, which the read has, in the order of the range's column."""
        ...

    def count(self, read: CanonicalRead) -> int:
        """Return the rows of a read."""
        ...


@runtime_checkable
class OrderedBlocks(RowDigests, Protocol):
    """An end that is read from its beginning to its end, and may be sorted by a key."""

    def blocks(self, read: CanonicalRead, key: str) -> Iterator[tuple[KeyRange, Digested]]:
        """Yield blocks that hold all rows once, each sorted by a column of whole numbers. A block
        that is not, or cannot be read, is not ``whole``, and is the last."""
        ...
