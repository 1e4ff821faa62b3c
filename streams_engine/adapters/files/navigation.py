"""What the files of a connection hold: tables, their sizes, and what their columns hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from streams_engine.adapters.files.source import FilesSource
from streams_engine.contracts import ObjectKind, Scope
from streams_engine.model import Chunk, Column, Extract, TableSchema

__all__ = ["FilesNavigator"]


class FilesNavigator:
    """A look at the tables among files."""

    def __init__(self, source: FilesSource) -> None:
        self._source = source

    def objects(self, kind: ObjectKind, schema: str | None) -> list[dict[str, Any]]:
        """Return an empty list: files have none."""
        return []

    def sizes(self, schema: str | None) -> list[dict[str, Any]]:
        """Return the bytes of each table's files; rows only as a manifest tells."""
        sizes = [
            {
                "name": table.name,
                "schema": None,
                "rows": table.manifest["rows"] if table.manifest else None,
                "bytes": sum(file.info.size for file in table.files),
                "dataBytes": sum(file.info.size for file in table.files),
                "indexBytes": 0,
            }
            for table in self._source.discovered()
        ]
        return sorted(sizes, key=lambda one: (-one["bytes"], one["name"]))

    def overview(self, schema: str | None) -> dict[str, Any]:
        """Return how many tables there are, and their bytes."""
        sizes = self.sizes(None)
        nothing = dict.fromkeys(("schemas", "views", "sequences", "triggers", "routines"), 0)
        total = sum(one["bytes"] for one in sizes)
        return {"type": "files", "version": None, "database": None, "encoding": None,
                "bytes": total, "tables": len(sizes), **nothing}  # fmt: skip

    def summary(self, table: TableSchema, columns: Sequence[Column]) -> list[dict[str, Any]]:
        """Read the columns once; the distinct values of each are held."""
        gathered = {column.name: _Values() for column in columns}
        rows = 0
        with self._source.snapshot(Scope(tables=(table.id.name,)), 1) as view:
            for batch in view.read(Extract(table.id, tuple(columns)), Chunk(table.id)):
                rows += batch.num_rows
                for name, values in zip(batch.schema.names, batch.columns, strict=True):
                    gathered[name].add(values)
        return [
            {"name": column.name, "type": column.type.text, "rows": rows}
            | gathered[column.name].to_dict()
            for column in columns
        ]


@dataclass
class _Values:
    """What is known of a column's values."""

    nulls: int = 0
    distinct: pa.Array | None = None
    comparable: bool = True
    ends: list[Any] = field(default_factory=list)

    def add(self, values: pa.Array) -> None:
        """Take another block of values."""
        self.nulls += values.null_count
        if not self.comparable:
            return
        try:
            present = pc.unique(values.drop_null())
            parts = [present] if self.distinct is None else [self.distinct, present]
            self.distinct = pc.unique(pa.concat_arrays(parts))
            self.ends += [end for end in pc.min_max(present).as_py().values() if end is not None]
            self.ends = [min(self.ends), max(self.ends)] if self.ends else []
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, TypeError):
            self.comparable, self.distinct, self.ends = False, None, []

    def to_dict(self) -> dict[str, Any]:
        """Return the counts and the ends; None where values do not compare."""
        least, most = self.ends or (None, None)
        count = len(self.distinct) if self.distinct is not None else 0
        return {"nulls": self.nulls, "distinct": count if self.comparable else None,
                "min": least, "max": most}  # fmt: skip
