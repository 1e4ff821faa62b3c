"""Contract for exploring a server beyond what a stream needs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Protocol

from streams_engine.model import Extract, TableId, TableSchema

__all__ = ["Explorer", "RelationKind"]

RelationKind = Literal["table", "view"]


class Explorer(Protocol):
    """Explorer of one connection. Each call connects for itself; safe to use from many threads."""

    def ping(self) -> None:
        """Connect and log in. Raises `ConnectionFailed` and its kin."""
        ...

    def databases(self) -> Sequence[dict[str, Any]]:
        """Return ``{"name"}`` of each user database, with ``"schemas"`` if it has schemas."""
        ...

    def create_database(self, name: str) -> None:
        """Create a database. Raises `TargetConflict` if it exists, and `PermissionDenied`."""
        ...

    def create_schema(self, name: str) -> None:
        """Create a schema in the connection's database. Raises like `create_database`, and
        `ConfigError` if the server has no schemas."""
        ...

    def relations(self, kind: RelationKind, schema: str | None) -> Sequence[TableId]:
        """Return the tables or views of one schema (MySQL: database), or of all user schemas."""
        ...

    def ddl(self, table: TableSchema) -> str | None:
        """Return the statements that create the table; None if there are none."""
        ...

    def count(self, extract: Extract) -> int:
        """Return how many rows pass the extract's filters."""
        ...
