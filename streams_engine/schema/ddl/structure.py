"""The structure to create, and what the DDL module of every dialect offers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from streams_engine.contracts import Statement
from streams_engine.model import Catalog, TableId, TableSchema

__all__ = ["Ddl", "Structure"]


@dataclass(frozen=True, slots=True)
class Structure:
    """The wanted parts of the structure (``structureOptions``)."""

    tables: bool = True
    indexes: bool = True
    foreign_keys: bool = True
    checks: bool = True


class Ddl(Protocol):
    """The statements of one dialect, such as the modules `mysql` and `postgres` beside this one."""

    def objects(self, catalog: Catalog) -> Iterator[Statement]:
        """Yield schemas, extensions, types and sequences, in an order in which they can be
        created."""
        ...

    def table(self, schema: TableSchema, wanted: Structure) -> Iterator[Statement]:
        """Yield the table itself, with what it needs while rows are loaded."""
        ...

    def indexes(self, schema: TableSchema, wanted: Structure) -> Iterator[Statement]:
        """Yield the keys, indexes, checks and comments that are better created after the rows."""
        ...

    def key(self, schema: TableSchema, columns: tuple[str, ...]) -> Iterator[Statement]:
        """Yield the unique key on these columns, which an upsert matches rows by."""
        ...

    def sequence_values(self, catalog: Catalog) -> Iterator[Statement]:
        """Yield statements that set every sequence or AUTO_INCREMENT to the source's next value."""
        ...

    def foreign_keys(self, schema: TableSchema) -> Iterator[Statement]:
        """Yield the foreign keys of a table; each is validated when it is added."""
        ...

    def drop_foreign_key(self, table: TableId, name: str) -> Statement:
        """Return the statement that drops a foreign key, which may be refused."""
        ...

    def drop(
        self, tables: Sequence[TableId], wanted: Catalog, existing: Catalog
    ) -> Iterator[Statement]:
        """Drop tables, then those of the wanted types and sequences that exist."""
        ...

    def empty(self, tables: Iterable[TableSchema]) -> Iterator[Statement]:
        """Remove every row of the tables."""
        ...
