"""Serialize a table's schema to a document, and back."""

from __future__ import annotations

import dataclasses
import functools
import types
import typing
from collections.abc import Callable, Mapping
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
    schema: TableSchema = _builder(TableSchema)(document)
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


Build = Callable[[Any], Any]


@functools.cache
def _builder(kind: Any) -> Build:
    """Return what converts a JSON value, not null, to the type of the annotation ``kind``."""
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if origin is types.UnionType:
        (part,) = (part for part in parts if part is not types.NoneType)
        return _builder(part)
    if origin is tuple and parts[-1] is Ellipsis:
        each = _builder(parts[0])
        return lambda value: tuple([each(part) for part in value])
    if origin is tuple:
        several = [_builder(part) for part in parts]
        return lambda value: tuple(b(v) for b, v in zip(several, value, strict=True))
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        return _DataclassBuilder(kind)
    return kind if isinstance(kind, type) and issubclass(kind, (Enum, Dialect)) else _same


def _same(value: Any) -> Any:
    return value


class _DataclassBuilder:
    """Builds objects of one dataclass.

    Its fields are looked at when the first one is built: some hold objects of their own class.
    """

    def __init__(self, kind: type) -> None:
        self._kind = kind

    @functools.cached_property
    def _fields(self) -> Mapping[str, Build]:
        hints = typing.get_type_hints(self._kind)
        return {name: _builder(hint) for name, hint in hints.items()}

    def __call__(self, document: Mapping[str, Any]) -> Any:
        fields = self._fields
        values: dict[str, Any] = {
            name: None if value is None else fields[name](value) for name, value in document.items()
        }
        if self._kind is Column:
            native: NativeType = values["type"]
            values["arrow"] = spec_of(native.dialect).arrow_type(native)
        return self._kind(**values)
