"""The source under test of the suite for sources, and how its tests read it."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

import pytest

from streams_engine.contracts import RecordBatches, Scope, Snapshot, Source
from streams_engine.model import Chunk, Extract, TableId, TableSchema
from streams_engine.testing.sample_rows import SampleTable, canonical, counted

__all__ = [
    "READERS",
    "Rows",
    "SourcePlace",
    "closed",
    "found",
    "listed",
    "remade",
    "rest",
    "rows_of",
    "same",
    "scoped",
    "whole",
]

Rows = list[Mapping[str, Any]]

READERS = 2


class SourcePlace:
    """The source under test. Subclass it, or set its attributes."""

    source: Source
    """A source that holds the tables of `sample_rows.TABLES`, and maybe others."""
    scope: Scope = Scope()
    """Where those tables are: ``schema`` is used, ``tables`` is set by the suite."""
    has_keys: bool = True
    """False if the source knows no primary keys."""
    query: str | None = None
    """A SELECT of the source's own with the columns ``id`` and ``kind`` of the people whose
    ``id`` is below 100; None if it answers no queries."""

    def open(self) -> Source:
        """Open another source on the same data; the test closes it."""
        raise NotImplementedError

    def inserted(self, table: SampleTable) -> AbstractContextManager[None]:
        """Insert and commit the row ``table.more``, and delete it after the block.

        Skips the test if the source cannot be written to.
        """
        pytest.skip("nothing can be inserted into this source")


# Reading


def scoped(place: SourcePlace, *names: str) -> Scope:
    """Return the place's scope with only these tables."""
    return replace(place.scope, tables=names)


def found(view: Snapshot, name: str) -> TableSchema:
    """Return the table of that name in a snapshot's catalog."""
    (table,) = [table for table in view.catalog.tables if table.id.name == name]
    return table


def whole(table: TableSchema) -> Extract:
    """Return an extract of all columns of a table."""
    return Extract(table.id, table.columns, query=table.query)


def rows_of(view: Snapshot, extract: Extract, *chunks: Chunk) -> Rows:
    """Read the rows of some chunks, as Python values."""
    return [
        row for chunk in chunks for batch in view.read(extract, chunk) for row in batch.to_pylist()
    ]


def closed(batches: RecordBatches) -> None:
    """Close a read before its end."""
    batches.close()


def listed(rows: Sequence[Mapping[str, Any]], sample: SampleTable) -> list[tuple[Any, ...]]:
    """Return rows in order, in comparable form."""
    return [tuple(canonical(f, row[name]) for name, f in sample.columns.items()) for row in rows]


def same(
    read: Sequence[Mapping[str, Any]],
    wanted: Sequence[Mapping[str, Any]],
    sample: SampleTable,
    names: Sequence[str] | None = None,
) -> None:
    """Assert that both are the same rows, each as often."""
    columns = {name: sample.columns[name] for name in names or sample.columns}
    got, meant = counted(read, columns), counted(wanted, columns)
    lost, more = meant - got, got - meant
    assert not lost and not more, (
        f"{sample.name}: {len(read)} rows instead of {len(wanted)}; lost {_some(lost)}, "
        f"not expected {_some(more)}"
    )


def _some(rows: Mapping[tuple[Any, ...], int]) -> str:
    shown = [repr(row)[:300] for row in itertools.islice(rows, 2)]
    return f"{sum(rows.values())} (such as {'; '.join(shown)})" if shown else "none"


def rest(chunk: Chunk, read: Sequence[Mapping[str, Any]]) -> Chunk | None:
    """Return the rest of a chunk, as a run goes on with it; None if nothing can tell."""
    if chunk.ordered:
        return replace(chunk, skip=len(read))
    if not chunk.key or not read:
        return chunk if not read else None
    values = (read[-1][name] for name in chunk.key)
    return replace(chunk, low=tuple(v if isinstance(v, int) else str(v) for v in values))


def remade(document: Mapping[str, Any]) -> Chunk:
    """Create a chunk from its JSON."""

    def bound(value: Any) -> tuple[Any, ...] | None:
        return None if value is None else tuple(value)

    relation = document["relation"]
    return Chunk(
        **{
            **document,
            "table": TableId(**document["table"]),
            "relation": None if relation is None else TableId(**relation),
            "key": tuple(document["key"]),
            "low": bound(document["low"]),
            "high": bound(document["high"]),
        }
    )
