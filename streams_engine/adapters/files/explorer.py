"""Explorer of files: the tables among them, and the number of rows that pass a filter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from streams_engine.adapters.files.source import FilesSource
from streams_engine.contracts import RelationKind, Scope
from streams_engine.errors import ConfigError
from streams_engine.model import Chunk, Extract, TableId, TableSchema

__all__ = ["FilesExplorer"]


class FilesExplorer:
    """Explorer of a folder or a bucket."""

    def __init__(self, source: FilesSource) -> None:
        self._source = source

    def ping(self) -> None:
        """List the files. Raises `NotFound` if the folder does not exist."""
        self._source.check()

    def databases(self) -> Sequence[dict[str, Any]]:
        """Return an empty list: files have no databases."""
        return []

    def create_database(self, name: str) -> None:
        """Raise `ConfigError`: files have no databases."""
        raise ConfigError("Files have no databases.", remedy="Create a folder instead.")

    def create_schema(self, name: str) -> None:
        """Raise `ConfigError`: files have no schemas."""
        raise ConfigError("Files have no schemas.", remedy="Create a folder instead.")

    def relations(self, kind: RelationKind, schema: str | None) -> Sequence[TableId]:
        """Return a table for each file or folder of files; there are no views."""
        if kind == "view":
            return []
        return [table.id for table in self._source.catalog(Scope()).tables]

    def ddl(self, table: TableSchema) -> str | None:
        """Return None: no statement creates a file."""
        return None

    def count(self, extract: Extract) -> int:
        """Count the rows that pass the filters, reading only the columns that these name."""
        counted = replace(extract, columns=(), sorts=(), limit=None)
        with self._source.snapshot(Scope(tables=(extract.table.name,)), 1) as view:
            rows = view.read(counted, Chunk(extract.table))
            return sum(batch.num_rows for batch in rows)
