"""Check the bytes of a server before they are used: lengths, kinds and counts are its claims.

A decoder that trusts a length reads beyond its message: memory of somebody else becomes a value,
or the process dies. Decoders check their places in columns with `demand_within`, and run inside
of `well_formed`, which makes one clear error of whatever else the bytes are not.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pyarrow as pa

from streams_engine.errors import ProtocolViolation

__all__ = ["RAW", "demand_within", "violation", "well_formed"]

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
        remedy="Check that host and port name a database server, and what stands between it and "
        "this process (a proxy, a damaged link); start the stream again.",
    )


@contextmanager
def well_formed(what: str, raw: tuple[type[Exception], ...] = RAW) -> Iterator[None]:
    """Turn raw errors of decoding inside the block into `ProtocolViolation`, about ``what``.

    Errors of the library pass as they are. The raw error is the cause; its text, which can hold
    values, is not part of the message.
    """
    try:
        yield
    except raw as error:
        raise violation(
            what, f"the server sent bytes that cannot be decoded ({type(error).__name__})"
        ) from error


def demand_within(place: np.ndarray, end: np.ndarray, what: str) -> None:
    """Raise `ProtocolViolation` where a place is behind the end of its message.

    Places only grow from field to field: one that is within proves all before it.
    """
    if (place > end).any():
        raise violation(what, "a field is longer than its message")
