"""MySQL's and MariaDB's types in Arrow, as every reader of theirs yields them."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

from streams_engine.model import NativeType

__all__ = ["INVALID_DATE", "INVALID_TIMESTAMP", "arrow_type"]

INVALID_DATE = -(1 << 31)
INVALID_TIMESTAMP = -(1 << 63)
"""A zero or partial date (0000-00-00, 2020-00-15), which Arrow cannot hold, arrives as the
minimum of the storage: what becomes of it is the policy's to say (``zeroDates``)."""

INTEGERS: Mapping[str, tuple[pa.DataType, pa.DataType]] = {
    "tinyint": (pa.int8(), pa.uint8()),
    "smallint": (pa.int16(), pa.uint16()),
    "mediumint": (pa.int32(), pa.uint32()),
    "int": (pa.int32(), pa.uint32()),
    "bigint": (pa.int64(), pa.uint64()),
}

OTHERS: Mapping[str, pa.DataType] = {
    "float": pa.float32(),
    "double": pa.float64(),
    "bit": pa.uint64(),
    "year": pa.int16(),
    "date": pa.date32(),
    "datetime": pa.timestamp("us"),
    "timestamp": pa.timestamp("us", "UTC"),
    "time": pa.duration("us"),
    **dict.fromkeys(
        ("char", "varchar", "tinytext", "text", "mediumtext", "longtext", "enum", "set", "json",
         "uuid", "inet4", "inet6"),
        pa.string(),
    ),
}  # fmt: skip
"""Everything that is named nowhere here is bytes: BINARY, BLOB, GEOMETRY, VECTOR."""


def arrow_type(native: NativeType) -> pa.DataType:
    """The Arrow type of a column. DECIMAL is exact in all its 65 digits."""
    if native.name in INTEGERS:
        return INTEGERS[native.name][native.unsigned]
    if native.name == "decimal":
        precision, scale = native.args if len(native.args) == 2 else (*native.args, 0)
        return (
            pa.decimal128(precision, scale) if precision <= 38 else pa.decimal256(precision, scale)
        )
    return OTHERS.get(native.name, pa.binary())
