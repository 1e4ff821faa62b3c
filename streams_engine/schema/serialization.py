"""Serialize a table's schema to a document, and back."""

from __future__ import annotations

import dataclasses
import functools
import types
import typing
from collections.abc import Mapping
from enum import Enum
from typing import Any

import pyarrow as pa

from streams_engine.model import Column, Dialect, NativeType, TableSchema
from streams_engine.schema.dialects import spec_of

__all__ = ["from_dict", "to_dict"]


def to_dict(schema: TableSchema) -> dict[str, Any]:
    """Return the schema as a JSON-able document, leaving out default values."""
    document: dict[str, Any] = _plain(schema)
    return document


def from_dict(document: Mapping[str, Any]) -> TableSchema:
    """Return the schema of a document made by `to_dict`."""
    schema: TableSchema = _built(TableSchema, document)
    return schema


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return {
            field.name: _plain(part)
            for field in dataclasses.fields(value)
            if not isinstance(part := getattr(value, field.name), pa.DataType)
            and part != field.default
        }
    if isinstance(value, tuple):
        return [_plain(part) for part in value]
    if isinstance(value, Dialect):
        return str(value)
    return value.value if isinstance(value, Enum) else value


def _built(kind: Any, value: Any) -> Any:
    """Convert a JSON value to the type of the annotation ``kind``."""
    if value is None:
        return None
    if typing.get_origin(kind) is types.UnionType:
        (kind,) = (part for part in typing.get_args(kind) if part is not types.NoneType)
    if typing.get_origin(kind) is tuple:
        parts = typing.get_args(kind)
        if parts[-1] is Ellipsis:
            return tuple(_built(parts[0], part) for part in value)
        return tuple(_built(part, item) for part, item in zip(parts, value, strict=True))
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        hints = _hints(kind)
        fields = {name: _built(hints[name], part) for name, part in value.items()}
        if kind is Column:
            native: NativeType = fields["type"]
            fields["arrow"] = spec_of(native.dialect).arrow_type(native)
        return kind(**fields)
    return kind(value) if isinstance(kind, type) and issubclass(kind, (Enum, Dialect)) else value


@functools.cache
def _hints(kind: type) -> Mapping[str, Any]:
    """Return the types of a class's fields: evaluating their names costs most of reading."""
    return typing.get_type_hints(kind)
