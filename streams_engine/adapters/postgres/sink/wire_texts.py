"""Values in binary form as the texts that the server prints."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg.adapt import Dumper, PyFormat
from psycopg.pq import Format

from streams_engine.schema.types.source_texts import WireValue

__all__ = ["wire_text"]


class _Typed:
    """Bytes that are sent as a value of a type."""

    def __init__(self, data: bytes, oid: int) -> None:
        self.data, self.oid = data, oid


class _TypedDumper(Dumper):
    """Sends the bytes unchanged."""

    format = Format.BINARY

    def get_key(self, obj: Any, format: PyFormat) -> Any:
        return (self.cls, obj.oid)

    def upgrade(self, obj: Any, format: PyFormat) -> Dumper:
        dumper = _TypedDumper(self.cls)
        dumper.oid = obj.oid
        return dumper

    def dump(self, obj: Any) -> bytes:
        data: bytes = obj.data
        return data


def wire_text(connection: psycopg.Connection, value: WireValue) -> str | None:
    """Return a value of a built-in type as text."""
    info = connection.adapters.types[value.type.removeprefix("_")]
    oid = info.array_oid if value.type.startswith("_") else info.oid
    with connection.cursor(row_factory=psycopg.rows.tuple_row) as cursor:
        cursor.adapters.register_dumper(_Typed, _TypedDumper)
        cursor.execute("SELECT %b::text", (_Typed(value.data, oid),))
        row: Any = cursor.fetchone()
    text: str | None = row[0]
    return text
