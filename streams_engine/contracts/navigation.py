"""Contract for looking around a connection: objects beside tables, sizes, summaries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Protocol

from streams_engine.model import Column, TableSchema

__all__ = ["Navigator", "ObjectKind"]

ObjectKind = Literal["sequence", "trigger", "routine"]


class Navigator(Protocol):
    """A look at what a connection holds. Each call connects for itself; safe to use from many
    threads."""

    def objects(self, kind: ObjectKind, schema: str | None) -> list[dict[str, Any]]:
        """Return the objects of one schema (MySQL: database), or of all user schemas, each with
        ``name`` and ``schema``."""
        ...

    def sizes(self, schema: str | None) -> list[dict[str, Any]]:
        """Return ``{"name", "schema", "rows", "bytes", "dataBytes", "indexBytes"}`` of each table;
        ``rows`` is an estimate."""
        ...

    def overview(self, schema: str | None) -> dict[str, Any]:
        """Return the server's type and version, and how much there is of what."""
        ...

    def summary(self, table: TableSchema, columns: Sequence[Column]) -> list[dict[str, Any]]:
        """Return ``{"name", "type", "rows", "nulls", "distinct", "min", "max"}`` of each column;
        ``min`` and ``max`` are None where the type has no order."""
        ...
