"""A look at files: which tables they are, and how many rows of one pass a filter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from streams_engine.adapters.files.source import FilesSource
from streams_engine.errors import ConfigError
from streams_engine.exploring import Relation
from streams_engine.model import Chunk, Extract, TableId, TableSchema
from streams_engine.protocols import Scope

__all__ = ["FilesExplorer"]

BLOCK_ROWS = 65_536


class FilesExplorer:
    """A folder or a bucket, looked at."""

    def __init__(self, source: FilesSource) -> None:
        self._source = source

    def ping(self) -> None:
        """List what is there. Raises `NotFound` where a folder is not."""
        self._source.check()

    def databases(self) -> Sequence[dict[str, Any]]:
        """None: files have no databases."""
        return []

    def create_database(self, name: str) -> None:
        """Raises `ConfigError`."""
        raise ConfigError("Files have no databases.", remedy="Make a folder.")

    def create_schema(self, name: str) -> None:
        """Raises `ConfigError`."""
        raise ConfigError("Files have no schemas.", remedy="Make a folder.")

    def relations(self, kind: Relation, schema: str | None) -> Sequence[TableId]:
        """A table for each file or folder of files; there are no views."""
        if kind == "view":
            return []
        return [table.id for table in self._source.catalog(Scope()).tables]

    def ddl(self, table: TableSchema) -> str | None:
        """None: no statement makes a file."""
        return None

    def count(self, extract: Extract) -> int:
        """Rows that pass the filters, by reading the columns that those ask for."""
        counted = replace(extract, columns=(), sorts=(), limit=None)
        with self._source.snapshot(Scope(tables=(extract.table.name,)), 1) as view:
            rows = view.read(counted, Chunk(extract.table), BLOCK_ROWS)
            return sum(batch.num_rows for batch in rows)
