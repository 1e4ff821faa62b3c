"""What of a structure is wanted, and what every dialect's DDL module can say."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from streams_engine.model import Catalog, TableId, TableSchema
from streams_engine.protocols import Statement

__all__ = ["Ddl", "Structure"]


@dataclass(frozen=True, slots=True)
class Structure:
    """What of the structure is wanted (``structureOptions``)."""

    tables: bool = True
    indexes: bool = True
    foreign_keys: bool = True
    checks: bool = True


class Ddl(Protocol):
    """The statements of one dialect. The modules ``postgres_ddl`` and ``mysql_ddl`` are such."""

    def objects(self, catalog: Catalog) -> Iterator[Statement]:
        """Schemas, extensions, types and sequences, in an order in which they can be made."""
        ...

    def table(self, schema: TableSchema, wanted: Structure) -> Iterator[Statement]:
        """The table itself, with what it needs while rows are loaded."""
        ...

    def indexes(self, schema: TableSchema, wanted: Structure) -> Iterator[Statement]:
        """Keys, indexes, late checks and comments: what is better made after the rows."""
        ...

    def key(self, schema: TableSchema, columns: tuple[str, ...]) -> Iterator[Statement]:
        """The unique key on these columns alone, for rows that are to be matched on it."""
        ...

    def sequence_values(self, catalog: Catalog) -> Iterator[Statement]:
        """Every counter set to go on where the source would."""
        ...

    def foreign_keys(self, schema: TableSchema) -> Iterator[Statement]:
        """The foreign keys of a table, validated as they are added."""
        ...

    def drop(
        self, tables: Sequence[TableId], wanted: Catalog, existing: Catalog
    ) -> Iterator[Statement]:
        """Drop tables, then those of the wanted types and sequences that exist."""
        ...

    def empty(self, tables: Iterable[TableSchema]) -> Iterator[Statement]:
        """Remove every row of the tables."""
        ...
