"""What the suite for sources knows of one source, and how its tests read it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest

from streams_engine.model import Chunk, Extract, TableId, TableSchema
from streams_engine.protocols import Scope, Snapshot, Source
from streams_engine.testing.sample_rows import SampleTable, canonical, counted

__all__ = [
    "BUNDLE",
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
BUNDLE = 97
"""Rows of a batch: a number that divides nothing."""


class SourcePlace:
    """What the suite has to know of one source. Subclass it, or set its attributes."""

    source: Source
    """A source that holds the tables of `sample_rows.TABLES`, and maybe others."""
    scope: Scope = Scope()
    """Where those tables are: ``schema`` is used, ``tables`` is set by the suite."""
    has_keys: bool = True
    """False where the source knows no primary keys."""
    query: str | None = None
    """A SELECT of the source's own with the columns ``id`` and ``kind`` of the people whose
    ``id`` is below 100; None where it answers no queries."""

    def open(self) -> Source:
        """Another source on the same data, which the test closes."""
        raise NotImplementedError

    def inserted(self, table: SampleTable) -> AbstractContextManager[None]:
        """The row ``table.more`` is there, committed, within the context and gone after it.

        Skips the test where the source cannot be written to.
        """
        pytest.skip("nothing can be inserted into this source")


# Reading


def scoped(place: SourcePlace, *names: str) -> Scope:
    """The place's scope with these tables alone."""
    return replace(place.scope, tables=names)


def found(view: Snapshot, name: str) -> TableSchema:
    """The table of that name in a view's catalog."""
    (table,) = [table for table in view.catalog.tables if table.id.name == name]
    return table


def whole(table: TableSchema) -> Extract:
    """All columns of a table."""
    return Extract(table.id, table.columns, query=table.query)


def rows_of(view: Snapshot, extract: Extract, *chunks: Chunk, rows: int = BUNDLE) -> Rows:
    """The rows of some chunks, as Python's values."""
    return [
        row
        for chunk in chunks
        for batch in view.read(extract, chunk, rows)
        for row in batch.to_pylist()
    ]


def closed(batches: Iterator[pa.RecordBatch]) -> None:
    """Close a generator before its end."""
    batches.close()  # type: ignore[attr-defined]


def listed(rows: Sequence[Mapping[str, Any]], sample: SampleTable) -> list[tuple[Any, ...]]:
    """Rows in their order, comparable."""
    return [tuple(canonical(f, row[name]) for name, f in sample.columns.items()) for row in rows]


def same(
    read: Sequence[Mapping[str, Any]],
    wanted: Sequence[Mapping[str, Any]],
    sample: SampleTable,
    names: Sequence[str] | None = None,
) -> None:
    """AssertionError where these are not the same rows, each as often."""
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
    """What is left of a chunk, as a run goes on with it; None where nothing can tell."""
    if chunk.ordered:
        return replace(chunk, skip=len(read))
    if not chunk.key or not read:
        return chunk if not read else None
    values = (read[-1][name] for name in chunk.key)
    return replace(chunk, low=tuple(v if isinstance(v, int) else str(v) for v in values))


def remade(document: Mapping[str, Any]) -> Chunk:
    """A chunk of its JSON."""

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
