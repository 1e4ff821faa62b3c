"""Python's and NumPy's values in and out of Arrow, by its buffers.

`pa.scalar`, `pa.array`, `Array.to_numpy`, and a compute function that is given a Python value, all
look whether that is an object of pandas, and import pandas first where it is installed: half a
second of processor, in the middle of a stream's first rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["filled", "from_numpy", "joined", "scalar", "texts", "to_numpy"]

NUMBERS: Mapping[pa.DataType, np.dtype] = {
    pa.from_numpy_dtype(name): np.dtype(name)
    for name in ("i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f4", "f8")
}
"""Types whose values NumPy reads as they lie in the buffer."""

TYPES: Mapping[np.dtype, pa.DataType] = {dtype: kind for kind, dtype in NUMBERS.items()}

OFFSETS: Mapping[pa.DataType, str] = {
    pa.string(): "i4",
    pa.binary(): "i4",
    pa.large_string(): "i8",
    pa.large_binary(): "i8",
}


def scalar(value: float | bytes | str | None, kind: pa.DataType) -> pa.Scalar:
    """Return a scalar of a number, a boolean, a text, bytes or NULL. Raises `OverflowError` where
    the type does not hold the number."""
    if value is None:
        return pa.nulls(1, kind)[0]
    if kind in NUMBERS:
        buffers = [None, pa.py_buffer(np.array([value], NUMBERS[kind]))]
    elif pa.types.is_boolean(kind):
        buffers = [None, pa.py_buffer(b"\1" if value else b"\0")]
    elif kind in OFFSETS and isinstance(value, bytes | str):
        data = value.encode() if isinstance(value, str) else value
        ends = np.array([0, len(data)], OFFSETS[kind])
        buffers = [None, pa.py_buffer(ends), pa.py_buffer(data)]
    else:
        return pa.scalar(value, kind)
    return pa.Array.from_buffers(kind, 1, buffers)[0]


def texts(values: Sequence[str]) -> pa.Array:
    """Return an array of texts."""
    encoded = [value.encode() for value in values]
    ends = np.cumsum([0, *map(len, encoded)], dtype="i4")
    data = pa.py_buffer(b"".join(encoded))
    return pa.Array.from_buffers(pa.string(), len(encoded), [None, pa.py_buffer(ends), data])


def filled(values: pa.Array, value: float | bytes | str) -> pa.Array:
    """Return the values with ``value`` in the place of NULL."""
    return pc.fill_null(values, scalar(value, values.type)) if values.null_count else values


def joined(parts: Sequence[pa.Array | bytes | str], between: bytes | str = "") -> pa.Array:
    """Join texts, or bytes, row by row; a row with a NULL is NULL."""
    kind = pa.string() if isinstance(between, str) else pa.binary()
    parts = [*parts, between]
    return pc.binary_join_element_wise(
        *(scalar(part, kind) if isinstance(part, bytes | str) else part for part in parts)
    )


def from_numpy(values: np.ndarray, nulls: np.ndarray | None = None) -> pa.Array:
    """Return NumPy's numbers, without a copy where they lie side by side, or booleans as Arrow's,
    and NULL where ``nulls`` is true. Raises `TypeError` for others."""
    if values.dtype == bool:
        kind, data = pa.bool_(), np.packbits(values, bitorder="little")
    elif values.dtype in TYPES:
        kind, data = TYPES[values.dtype], np.ascontiguousarray(values)
    else:
        raise TypeError(f"{values.dtype} are neither numbers nor booleans")
    valid = None if nulls is None else pa.py_buffer(np.packbits(~nulls, bitorder="little"))
    return pa.Array.from_buffers(kind, len(values), [valid, pa.py_buffer(data)])


def to_numpy(values: pa.Array) -> np.ndarray:
    """Return numbers or booleans as NumPy's, numbers without a copy; what stands in the place of
    NULL is not defined."""
    dtype = NUMBERS.get(values.type)
    data = values.buffers()[1] if len(values) else b""
    if dtype is not None:
        start = values.offset * dtype.itemsize
        return np.frombuffer(data, np.uint8)[start:][: len(values) * dtype.itemsize].view(dtype)
    if not pa.types.is_boolean(values.type):
        raise TypeError(f"{values.type} are neither numbers nor booleans")
    start = values.offset if len(values) else 0
    bits = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")
    return bits[start : start + len(values)].view(bool)
