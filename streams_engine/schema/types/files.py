"""Arrow's own types as native types: of files, and of every place that keeps Arrow types."""

from __future__ import annotations

import re
from collections.abc import Mapping

import pyarrow as pa

from streams_engine.model import Dialect, NativeType

__all__ = ["arrow_of", "arrow_type", "family", "files_type"]

ARROW: Mapping[str, pa.DataType] = {
    str(arrow): arrow
    for arrow in (
        pa.bool_(),
        pa.int8(),
        pa.int16(),
        pa.int32(),
        pa.int64(),
        pa.uint8(),
        pa.uint16(),
        pa.uint32(),
        pa.uint64(),
        pa.float32(),
        pa.float64(),
        pa.string(),
        pa.binary(),
        pa.date32(),
        pa.time64("us"),
        pa.timestamp("us"),
        pa.timestamp("us", "UTC"),
        pa.duration("us"),
    )
}
"""The types that leave a source, by Arrow's own text; decimals apart."""

DECIMAL = re.compile(r"decimal(128|256)\((\d+), (-?\d+)\)")

FAMILIES = (
    ("bool", pa.types.is_boolean),
    ("int", pa.types.is_integer),
    ("float", pa.types.is_floating),
    ("decimal", pa.types.is_decimal),
    ("string", lambda t: pa.types.is_string(t) or pa.types.is_large_string(t)),
    ("binary", pa.types.is_binary),
    ("date", pa.types.is_date32),
    ("time", pa.types.is_time64),
    ("timestamp", pa.types.is_timestamp),
    ("duration", pa.types.is_duration),
)


def family(arrow: pa.DataType) -> str:
    """Return the family of an Arrow type, as a `NativeType.name`; '' for any other type."""
    return next((name for name, is_one in FAMILIES if is_one(arrow)), "")


def arrow_of(text: str) -> pa.DataType:
    """Return the Arrow type of a text made by ``str(type)``. Raises ValueError if it is not
    supported."""
    if text in ARROW:
        return ARROW[text]
    match = DECIMAL.fullmatch(text)
    if match is None:
        raise ValueError(f"not an Arrow type of this library: {text}")
    make = pa.decimal128 if match[1] == "128" else pa.decimal256
    return make(int(match[2]), int(match[3]))


def files_type(arrow: pa.DataType, name: str | None = None) -> NativeType:
    """Return the native type of a file column that declares none: Arrow's own."""
    args = (arrow.precision, arrow.scale) if pa.types.is_decimal(arrow) else ()
    unsigned = bool(pa.types.is_unsigned_integer(arrow))
    return NativeType(Dialect.FILES, str(arrow), name or family(arrow), args, unsigned)


def arrow_type(native: NativeType) -> pa.DataType:
    """Return the Arrow type of a native type made by `files_type`."""
    return arrow_of(native.text)
