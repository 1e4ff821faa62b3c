"""A table's schema as a document, and back: what a log's rows mean has to outlive the process.

Arrow types are left out: a catalog gives each native type its natural one, and so does this.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any

import pyarrow as pa

from streams_engine.model import Column, Dialect, NativeType, TableSchema
from streams_engine.schema import mysql, postgres

__all__ = ["from_document", "to_document"]

NATURAL: Mapping[Dialect, Callable[[NativeType], pa.DataType]] = {
    Dialect.MYSQL: mysql.arrow_type,
    Dialect.POSTGRES: postgres.arrow_type,
}


def to_document(schema: TableSchema) -> dict[str, Any]:
    """A JSON-able document; what has its default value is left out."""
    found: dict[str, Any] = _plain(schema)
    return found


def from_document(document: Mapping[str, Any]) -> TableSchema:
    """The schema that `to_document` was given."""
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
    return value.value if isinstance(value, Enum) else value


def _built(kind: Any, value: Any) -> Any:
    """``value`` as what the annotation ``kind`` asks for."""
    if value is None:
        return None
    if typing.get_origin(kind) is types.UnionType:
        (kind,) = (part for part in typing.get_args(kind) if part is not types.NoneType)
    if typing.get_origin(kind) is tuple:
        parts = typing.get_args(kind)
        if parts[-1] is Ellipsis:
            return tuple(_built(parts[0], part) for part in value)
        return tuple(_built(part, item) for part, item in zip(parts, value, strict=True))
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        fields = {name: _built(hints[name], part) for name, part in value.items()}
        if kind is Column:
            native: NativeType = fields["type"]
            fields["arrow"] = NATURAL[native.dialect](native)
        return kind(**fields)  # type: ignore[operator]
    return kind(value) if isinstance(kind, type) and issubclass(kind, Enum) else value
