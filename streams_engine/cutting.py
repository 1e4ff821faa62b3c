"""Many pieces of one buffer as an Arrow column, without a loop over them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

__all__ = ["PAD", "cut"]

PAD = 64
"""Bytes that a buffer must have after its data: a view of the last piece reads over its end."""

INLINE = 12
"""Bytes that a string view holds itself: length, then 12 bytes, or 4 and buffer and offset
(https://arrow.apache.org/docs/format/Columnar.html, "Variable-size Binary View Layout")."""

MASKS = np.array([0, 0xFF, 0xFFFF, 0xFFFFFF, 0xFFFFFFFF], np.uint32)
VIEW = [("length", "<i4"), ("a", "<u4"), ("b", "<u4"), ("c", "<u4")]


def cut(
    buffer: Any, start: np.ndarray, length: np.ndarray, valid: pa.Buffer | None = None
) -> pa.Array:
    """The pieces as a binary column of their own: views into the buffer, then one copy."""
    views = np.zeros(len(start), dtype=VIEW)
    words = np.ndarray((len(buffer) - 3,), dtype="<u4", buffer=buffer, strides=(1,))
    short = length <= INLINE
    views["length"] = length
    views["a"] = words[start] & MASKS[np.minimum(length, 4)]
    views["b"] = np.where(short, words[start + 4] & MASKS[np.clip(length - 4, 0, 4)], 0)
    views["c"] = np.where(short, words[start + 8] & MASKS[np.clip(length - 8, 0, 4)], start)
    return pa.Array.from_buffers(
        pa.binary_view(), len(start), [valid, pa.py_buffer(views), pa.py_buffer(buffer)]
    ).cast(pa.binary())
