"""The seam through which a server is looked at: what is there, beside what a stream needs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Protocol

from streams_engine.model import Extract, TableId, TableSchema

__all__ = ["Explorer", "Relation"]

Relation = Literal["table", "view"]


class Explorer(Protocol):
    """A look at one connection. Each call connects for itself; safe to use from many threads."""

    def ping(self) -> None:
        """Connect and log in. Raises `ConnectionFailed` and its kin."""
        ...

    def databases(self) -> Sequence[dict[str, Any]]:
        """``{"name"}`` of each user database, with ``"schemas"`` where it has such."""
        ...

    def create_database(self, name: str) -> None:
        """Raises `TargetConflict` where it is there, `PermissionDenied`."""
        ...

    def create_schema(self, name: str) -> None:
        """In the connection's database. Raises as `create_database`, and `ConfigError` where
        there are no schemas."""
        ...

    def relations(self, kind: Relation, schema: str | None) -> Sequence[TableId]:
        """Tables or views: of one schema (MySQL: database), or of all user schemas."""
        ...

    def ddl(self, table: TableSchema) -> str | None:
        """The statements that make the table; None where there are none."""
        ...

    def count(self, extract: Extract) -> int:
        """How many rows pass the extract's filters."""
        ...
