"""The target under test of the suite for sinks, and how its tests write to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pytest

from streams_engine.contracts import (
    Checkpoint,
    CheckpointCallback,
    CheckpointStorage,
    Sink,
    WritePlan,
    WriteResult,
)
from streams_engine.model import Column, NativeType, TableId
from streams_engine.testing.sample_rows import FAMILIES, counted

__all__ = [
    "STREAM",
    "BadRow",
    "BrokenTarget",
    "Rows",
    "SinkPlace",
    "batch",
    "column",
    "expect",
    "marking",
    "numbered",
    "numbers",
    "renumbered",
    "rows_now",
    "stored",
    "write",
]

STREAM = "conformance"
Rows = list[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that the target refuses, and rows of the same table that it takes."""

    label: str
    table: TableId
    """A table that is there and empty."""
    columns: tuple[Column, ...]
    good: pa.RecordBatch
    """At least two rows, none of which hinders another one."""
    bad: pa.RecordBatch
    """One row; one of its texts holds `sample_rows.SECRET`. Its first column is a number that
    none of the good rows has."""
    alone: bool = True
    """False if it is refused only after the good rows, as one that repeats their key."""


class SinkPlace:
    """The target under test: fresh and empty for each test."""

    types: Mapping[str, NativeType]
    """The families of `sample_rows.FAMILIES` that the target keeps exactly, and the type of a
    column that holds each. ``int64`` and ``text`` have to be among them."""
    keeps_rows: bool = True
    """False if nothing can be read back (a sink that drops its rows)."""
    upserts: bool = False
    """True if a load may match on a key."""

    def open(self) -> Sink:
        """Open another sink on the same target. The place closes what the test leaves open."""
        raise NotImplementedError

    def create(self, name: str, columns: Sequence[Column], key: Sequence[str] = ()) -> TableId:
        """Make an empty table, where the target needs one before it is written to."""
        raise NotImplementedError

    def rows(self, table: TableId, columns: Sequence[Column]) -> Rows:
        """Return the rows that everybody sees now, read without the sink; empty if the table does
        not exist.

        Called from several threads.
        """
        raise NotImplementedError

    def bad_rows(self) -> Sequence[BadRow]:
        """Return rows that the target rejects, one for each kind of reason."""
        return ()

    def quarantine_rows(self, stream: str) -> int | None:
        """Return how many rejected rows of a stream everybody sees now; None if that cannot be
        known."""
        return None


class BrokenTarget(Exception):
    """The error that the rows of these tests fail with."""


# Writing


def column(place: SinkPlace, name: str, family: str) -> Column:
    """Return a column of the target that stores a family."""
    return Column(name, place.types[family], FAMILIES[family].arrow)


def numbered(place: SinkPlace) -> tuple[Column, ...]:
    """Return the columns ``n`` and ``text``."""
    return column(place, "n", "int64"), column(place, "text", "text")


def batch(columns: Sequence[Column], rows: Sequence[Mapping[str, Any]]) -> pa.RecordBatch:
    """Return rows as a batch in the Arrow types of their columns."""
    arrays = [pa.array([row[c.name] for row in rows], c.arrow) for c in columns]
    return pa.RecordBatch.from_arrays(arrays, [c.name for c in columns])


def numbers(plan: WritePlan, low: int, high: int) -> pa.RecordBatch:
    """Return the rows ``low`` to ``high`` of a table of numbers."""
    n = pa.array(range(low, high), pa.int64())
    text = pa.array([f"row {number}" for number in range(low, high)], pa.string())
    return pa.RecordBatch.from_arrays([n, text], [c.name for c in plan.columns])


def renumbered(plan: WritePlan, chunk: int) -> WritePlan:
    """Return the same plan for another chunk."""
    return WritePlan(plan.table, plan.columns, chunk=chunk)


def marking(key: str, **document: Any) -> CheckpointCallback:
    """Return a checkpoint callback that gives one record."""
    return lambda: Checkpoint(key, document or {"done": True})


def stored(sink: Sink) -> CheckpointStorage:
    """Return the sink's storage of records; skips what is left of the test where it has none."""
    if not isinstance(sink, CheckpointStorage):
        pytest.skip("this sink stores no checkpoint")
    return sink


def write(
    sink: Sink,
    plan: WritePlan,
    batches: Sequence[pa.RecordBatch],
    key: str = "chunk",
    **document: Any,
) -> WriteResult:
    """Write some batches with one record."""
    return sink.write_rows(STREAM, plan, iter(batches), marking(key, **document))


def rows_now(place: SinkPlace, plan: WritePlan) -> Rows:
    """Return the present rows; empty if the target keeps none."""
    return place.rows(plan.table, plan.columns) if place.keeps_rows else []


def expect(place: SinkPlace, plan: WritePlan, wanted: range) -> None:
    """Assert that the table contains each of these numbers once."""
    if not place.keeps_rows:
        return
    columns = {"n": "int64", "text": "text"}
    read = counted(place.rows(plan.table, plan.columns), columns)
    meant = counted(({"n": n, "text": f"row {n}"} for n in wanted), columns)
    lost, more = meant - read, read - meant
    assert not lost and not more, (
        f"{sum(read.values())} rows instead of {len(wanted)}: {sum(lost.values())} lost "
        f"(such as {sorted(lost)[:3]}), {sum(more.values())} too many (such as {sorted(more)[:3]})"
    )
