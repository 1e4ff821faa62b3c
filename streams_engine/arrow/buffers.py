"""Check the bytes that a server sent, and slice them into Arrow columns."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pyarrow as pa

from streams_engine.errors import ProtocolViolation

__all__ = [
    "PAD",
    "RAW",
    "cut_views",
    "demand_within",
    "grown",
    "slice_bytes",
    "strided",
    "violation",
    "well_formed",
]


RAW: tuple[type[Exception], ...] = (
    ArithmeticError,
    LookupError,
    MemoryError,
    ValueError,  # Unicode errors and most of Arrow's are ones
    struct.error,
    zlib.error,
    pa.ArrowException,
)
"""What Python, NumPy, Arrow and zlib raise over bytes that are not what they should be."""


def violation(what: str, fault: str) -> ProtocolViolation:
    """Return the error for bytes that no server of the protocol sends."""
    return ProtocolViolation(
        f"{what}: {fault}.",
        remedy=(
            "Check that host and port name a database server, and what is between it and "
            "this process (a proxy, a damaged link). Then start the stream again."
        ),
    )


@contextmanager
def well_formed(what: str, raw: tuple[type[Exception], ...] = RAW) -> Iterator[None]:
    """Turn decoding errors inside the block into `ProtocolViolation` about ``what``.

    The library's own errors pass unchanged. The original error is the cause; its text may contain
    values and is not part of the message.
    """
    try:
        yield
    except raw as error:
        raise violation(
            what, f"the server sent bytes that cannot be decoded ({type(error).__name__})"
        ) from error


def demand_within(place: np.ndarray, end: np.ndarray, what: str) -> None:
    """Raise `ProtocolViolation` if a place is after the end of its message.

    Places increase from field to field, so checking the last one is enough.
    """
    if (place > end).any():
        raise violation(what, "a field extends beyond its message")


PAD = 64
"""Bytes that a buffer must have after its data: a view of the last piece reads over its end."""

INLINE = 12
"""Bytes that a string view holds itself: length, then 12 bytes, or 4 and buffer and offset
(https://arrow.apache.org/docs/format/Columnar.html, "Variable-size Binary View Layout")."""

GROWTH = 16 << 20


def grown(buffer: bytearray, size: int | None = None) -> bytearray:
    """Return the buffer with room for more, up to ``size`` bytes: twice as much, but not more
    than `GROWTH` at once.

    It grows where it is, if nobody looks at it: a copy would hold a large row twice.
    """
    more = min(len(buffer), GROWTH)
    if size is not None:
        more = min(more, size - len(buffer))
    try:
        buffer += bytes(more)
    except BufferError:  # there is a view of it
        buffer = buffer + bytes(more)
    return buffer


def strided(buffer: Any, kind: str) -> np.ndarray:
    """Return a view of one value at every byte position."""
    width = np.dtype(kind).itemsize
    return np.ndarray((len(buffer) - width + 1,), kind, buffer, strides=(1,))


def slice_bytes(
    buffer: Any, start: np.ndarray, length: np.ndarray, valid: pa.Buffer | None = None
) -> pa.Array:
    """Return slices of the buffer as a binary column: views first, then one copy.

    Raises `ProtocolViolation` if a slice is not inside the buffer; the copy would otherwise read
    foreign memory.
    """
    rows = len(start)
    if rows and (start.min() < 0 or length.min() < 0 or (start + length).max() > len(buffer) - PAD):
        raise violation("cutting values", "a value extends beyond the received data")
    views = np.empty((rows, 4), "<u4")
    views[:, 1:] = strided(buffer, f"V{INLINE}")[start].view("<u4").reshape(rows, 3)
    return cut_views(buffer, views, start, length, valid, pa.binary())


def cut_views(
    buffer: Any,
    views: np.ndarray,
    start: np.ndarray,
    length: np.ndarray,
    valid: pa.Buffer | None,
    kind: pa.DataType,
) -> pa.Array:
    """Return slices that are known to be inside the buffer as a column of binary or string.

    ``views`` is overwritten: four words a slice, of which the last three are its first bytes,
    whatever follows a short one. Raises `pa.ArrowInvalid` for a string that is not UTF-8.
    """
    views[:, 0] = length
    if length.max(initial=0) > INLINE:
        long = length > INLINE
        np.copyto(views[:, 2], 0, where=long)
        np.copyto(views[:, 3], start, where=long, casting="unsafe")
    return pa.Array.from_buffers(
        pa.binary_view(), len(start), [valid, pa.py_buffer(views), pa.py_buffer(buffer)]
    ).cast(kind)
