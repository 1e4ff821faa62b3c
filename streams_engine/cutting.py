"""Many pieces of one buffer as an Arrow column, without a loop over them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from streams_engine.bounds import violation

__all__ = ["PAD", "cut"]

PAD = 64
"""Bytes that a buffer must have after its data: a view of the last piece reads over its end."""

INLINE = 12
"""Bytes that a string view holds itself: length, then 12 bytes, or 4 and buffer and offset
(https://arrow.apache.org/docs/format/Columnar.html, "Variable-size Binary View Layout")."""

PREFIX = np.array([(1 << 8 * n) - 1 for n in range(5)], np.uint32)
REST = np.array([(1 << 8 * max(0, n - 4)) - 1 for n in range(INLINE + 1)], np.uint64)
"""By the length of a piece: which bits of its first four bytes, and of the eight after them,
are its own."""


def cut(
    buffer: Any, start: np.ndarray, length: np.ndarray, valid: pa.Buffer | None = None
) -> pa.Array:
    """The pieces as a binary column of their own: views into the buffer, then one copy.

    Raises `ProtocolViolation` where a piece is not inside of the buffer: the copy would read
    memory that is somebody else's.
    """
    rows = len(start)
    if rows and (start.min() < 0 or length.min() < 0 or (start + length).max() > len(buffer) - PAD):
        raise violation("cutting values", "a value is longer than what was received")
    words, twice = (
        np.ndarray((len(buffer) - kind.itemsize + 1,), kind, buffer, strides=(1,))
        for kind in (np.dtype("<u4"), np.dtype("<u8"))
    )
    views = np.empty((rows, 4), "<u4")
    views[:, 0] = length
    views[:, 1] = words[start] & PREFIX.take(length, mode="clip")
    inline = twice[start + 4] & REST.take(length, mode="clip")
    views.view("<u8")[:, 1] = np.where(length <= INLINE, inline, start.astype(np.uint64) << 32)
    return pa.Array.from_buffers(
        pa.binary_view(), rows, [valid, pa.py_buffer(views), pa.py_buffer(buffer)]
    ).cast(pa.binary())
