"""Contract for statements and rows of one connection, beside what a stream needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from streams_engine.model import TableSchema

__all__ = ["RowValues", "StatementResult", "StatementSession"]

RowValues = Mapping[str, Any]
"""Values by the names of their columns."""


@dataclass(frozen=True, slots=True)
class StatementResult:
    """What came of statements: the rows of the last one that gave any."""

    columns: tuple[str, ...]
    rows: list[list[Any]]
    affected: int
    """Rows inserted, updated and deleted, of all statements."""


class StatementSession(Protocol):
    """Statements on one connection. Each call connects for itself; safe to use from many threads.

    All methods raise `ConnectionFailed` and its kin; `QueryFailed` with the server's sentence for
    names and syntax, and errors without values for the rest.
    """

    dialect: str
    """That of sqlglot: mysql or postgres."""

    def execute(self, sql: str, *, several: bool, limit: int | None) -> StatementResult:
        """Run a statement; or ``several``, all or none of them where the server can take them
        back. Keep at most ``limit`` rows."""
        ...

    def columns(self, sql: str) -> list[dict[str, Any]]:
        """Return ``{"name", "type"}`` of the columns that a statement would give; run nothing."""
        ...

    def insert(self, table: TableSchema, rows: Sequence[RowValues]) -> list[RowValues]:
        """Insert rows in one transaction; return the primary key of each."""
        ...

    def update(self, table: TableSchema, key: RowValues, values: RowValues) -> None:
        """Update the one row of a key. Raises `NotFound` for none, `StateConflict` for several;
        both change nothing."""
        ...

    def delete(self, table: TableSchema, key: RowValues) -> None:
        """Delete the one row of a key. Raises as `update` does."""
        ...
