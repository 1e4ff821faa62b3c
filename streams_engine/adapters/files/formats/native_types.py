"""Types as documents: a column's native type and its Arrow type, for files that keep them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from streams_engine.model import Dialect, NativeType, TableId, TypeKind

__all__ = ["type_from_dict", "type_to_dict"]


def type_to_dict(native: NativeType) -> dict[str, Any]:
    """Return a native type as a JSON-able document, leaving out what is not set."""
    document: dict[str, Any] = {
        "dialect": str(native.dialect),
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
        document["element"] = type_to_dict(native.element)
    if native.user is not None:
        document["user"] = [native.user.schema, native.user.name]
    if native.extension is not None:
        document["extension"] = native.extension
    return document


def type_from_dict(document: Mapping[str, Any]) -> NativeType:
    """Return the native type of a document. Raises KeyError, TypeError or ValueError if it is
    invalid."""
    element, user = document.get("element"), document.get("user")
    return NativeType(
        Dialect(document["dialect"]),
        str(document["text"]),
        str(document["name"]),
        tuple(int(arg) for arg in document.get("args", ())),
        bool(document.get("unsigned", False)),
        TypeKind(document.get("kind", "base")),
        tuple(str(label) for label in document.get("labels", ())),
        None if element is None else type_from_dict(element),
        None if user is None else TableId(str(user[0]), str(user[1])),
        document.get("extension"),
    )
