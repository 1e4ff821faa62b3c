"""Where the packets of a buffer begin, without a loop over each of them.

A packet tells where the next one begins, so they can only be found one after the other. But
many places of the buffer can be followed at once, from where a packet seems to begin; whether
each then leads to exactly the next one proves all of them.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

__all__ = ["LEAST_ROWS", "MAX_PACKET", "leap"]

MAX_PACKET = 0xFFFFFF
"""A payload of exactly this length is continued in the next packet."""

CHECKED = 8
"""Steps between two looks whether all arrived."""

LEAST_ROWS = 1500
"""Of fewer rows a plain loop is faster."""


def leap(buffer: Any, position: int, fill: int) -> np.ndarray:
    """The headers of the rows from ``position`` on, as many as were found: perhaps none.

    Each is of a whole packet, neither continued nor the last of the result set, and the next
    one begins where it ends.
    """
    size = 4 + int.from_bytes(buffer[position : position + 3], "little")
    rows = (fill - position) // size
    if rows < LEAST_ROWS:
        return np.empty(0, np.int64)
    u8 = np.frombuffer(buffer, np.uint8)
    words = np.ndarray((len(buffer) - 3,), "<u4", buffer, strides=(1,))
    found = _follow(words, _guesses(u8, words, position, fill, size, rows), fill - 4)
    after = found + 4 + (words[found] & MAX_PACKET)
    good = (after <= fill) & (u8[found + 4] == 0) & (after < found + 4 + MAX_PACKET)
    good[1:] &= after[:-1] == found[1:]
    wrong = np.flatnonzero(~good)
    return found[: wrong[0]] if len(wrong) else found


def _guesses(
    u8: np.ndarray, words: np.ndarray, position: int, fill: int, size: int, rows: int
) -> np.ndarray:
    """Places spread over the buffer where a packet seems to begin; the first is ``position``.

    A row's payload begins with 0x00, and the headers' last byte counts the packets.
    """
    lanes = int(math.sqrt(8 * rows))
    edges = np.linspace(position, fill, lanes, endpoint=False, dtype=np.int64)[1:]
    at = edges[:, None] + np.arange(size + size // 2)
    at = at[at < fill - 4]
    at = at[u8[at + 4] == 0]
    head = at
    for step in (1, 2):
        head = head + 4 + (words[head] & MAX_PACKET)
        inside = head < fill - 4
        at, head = at[inside], head[inside]
        alike = (u8[head + 4] == 0) & (u8[head + 3] == u8[at + 3] + np.uint8(step))
        at, head = at[alike], head[alike]
    first = np.searchsorted(at, edges)
    return np.unique(np.append(position, at[first[first < len(at)]]))


def _follow(words: np.ndarray, begin: np.ndarray, edge: int) -> np.ndarray:
    """The headers met from each place on up to the next one, all in order."""
    ends = np.append(begin[1:], edge)
    met, now = [begin], begin
    for _ in range(len(begin)):
        for _ in range(CHECKED):
            length = words[now]
            length &= MAX_PACKET
            length += 4
            now = now + length
            np.minimum(now, ends, out=now)
            met.append(now)
        if (now == ends).all():
            break
    lanes = np.stack(met, axis=1)
    return lanes[lanes < ends[:, None]]
