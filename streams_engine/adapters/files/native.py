"""Types as documents: a column's native type and its Arrow type, for files that keep them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from streams_engine.model import Dialect, NativeType, TableId, TypeKind

__all__ = ["arrow_of", "family", "files_type", "from_document", "to_document"]

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
    """The family of an Arrow type, in the words of `NativeType.name`; '' for any other type."""
    return next((name for name, is_one in FAMILIES if is_one(arrow)), "")


def arrow_of(text: str) -> pa.DataType:
    """The Arrow type of a text that ``str(type)`` gave. ValueError where it is none of ours."""
    if text in ARROW:
        return ARROW[text]
    found = DECIMAL.fullmatch(text)
    if found is None:
        raise ValueError(f"no Arrow type of this library: {text}")
    make = pa.decimal128 if found[1] == "128" else pa.decimal256
    return make(int(found[2]), int(found[3]))


def files_type(arrow: pa.DataType, name: str | None = None) -> NativeType:
    """The native type of a column that declares none: Arrow's own."""
    args = (arrow.precision, arrow.scale) if pa.types.is_decimal(arrow) else ()
    unsigned = bool(pa.types.is_unsigned_integer(arrow))
    return NativeType(Dialect.FILES, str(arrow), name or family(arrow), args, unsigned)


def to_document(native: NativeType) -> dict[str, Any]:
    """A native type as a JSON-able document; what is not set is left out."""
    document: dict[str, Any] = {
        "dialect": native.dialect.value,
        "text": native.text,
        "name": native.name,
    }
    if native.args:
        document["args"] = list(native.args)
    if native.unsigned:
        document["unsigned"] = True
    if native.kind is not TypeKind.BASE:
        document["kind"] = native.kind.value
    if native.labels:
        document["labels"] = list(native.labels)
    if native.element is not None:
        document["element"] = to_document(native.element)
    if native.user is not None:
        document["user"] = [native.user.schema, native.user.name]
    if native.extension is not None:
        document["extension"] = native.extension
    return document


def from_document(document: Mapping[str, Any]) -> NativeType:
    """The native type of a document. KeyError, TypeError or ValueError where it is none."""
    element, user = document.get("element"), document.get("user")
    return NativeType(
        Dialect(document["dialect"]),
        str(document["text"]),
        str(document["name"]),
        tuple(int(arg) for arg in document.get("args", ())),
        bool(document.get("unsigned", False)),
        TypeKind(document.get("kind", "base")),
        tuple(str(label) for label in document.get("labels", ())),
        None if element is None else from_document(element),
        None if user is None else TableId(str(user[0]), str(user[1])),
        document.get("extension"),
    )
