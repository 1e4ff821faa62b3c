"""What the suite for sinks knows of one target, and how its tests write to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from streams_engine.model import Column, NativeType, TableId
from streams_engine.protocols import Checkpoint, Load, Mark, Sink, Written
from streams_engine.testing.sample_rows import FAMILIES, counted

__all__ = [
    "STREAM",
    "BadRow",
    "Broken",
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
    """False where it is refused only after the good rows, as one that repeats their key."""


class SinkPlace:
    """What the suite has to know of one target: fresh and empty for each test."""

    types: Mapping[str, NativeType]
    """The families of `sample_rows.FAMILIES` that the target keeps exactly, and the type of a
    column that holds each. ``int64`` and ``text`` have to be among them."""
    keeps_rows: bool = True
    """False where nothing can be read back (a sink that drops its rows)."""
    upserts: bool = False
    """True where a load may match on a key."""

    def open(self) -> Sink:
        """Another sink on the same target. The place closes what the test leaves open."""
        raise NotImplementedError

    def create(self, name: str, columns: Sequence[Column], key: Sequence[str] = ()) -> TableId:
        """Make an empty table, where the target needs one before it is written to."""
        raise NotImplementedError

    def rows(self, table: TableId, columns: Sequence[Column]) -> Rows:
        """The rows that anybody sees now, read without the sink. Called from several threads;
        no rows where there is no table."""
        raise NotImplementedError

    def bad_rows(self) -> Sequence[BadRow]:
        """Rows that the target refuses, one for each kind of reason."""
        return ()

    def set_aside(self, stream: str) -> int | None:
        """How many rejected rows of a stream anybody sees now; None where nobody can tell."""
        return None


class Broken(Exception):
    """What the rows fail with in these tests."""


# Writing


def column(place: SinkPlace, name: str, family: str) -> Column:
    """A column of the target that takes a family."""
    return Column(name, place.types[family], FAMILIES[family].arrow)


def numbered(place: SinkPlace) -> tuple[Column, ...]:
    """The columns ``n`` and ``text``."""
    return column(place, "n", "int64"), column(place, "text", "text")


def batch(columns: Sequence[Column], rows: Sequence[Mapping[str, Any]]) -> pa.RecordBatch:
    """Rows in the Arrow types of their columns."""
    arrays = [pa.array([row[c.name] for row in rows], c.arrow) for c in columns]
    return pa.RecordBatch.from_arrays(arrays, [c.name for c in columns])


def numbers(load: Load, low: int, high: int) -> pa.RecordBatch:
    """The rows ``low`` to ``high`` of a table of numbers."""
    n = pa.array(range(low, high), pa.int64())
    text = pa.array([f"row {number}" for number in range(low, high)], pa.string())
    return pa.RecordBatch.from_arrays([n, text], [c.name for c in load.columns])


def renumbered(load: Load, chunk: int) -> Load:
    """The same load of another chunk."""
    return Load(load.table, load.columns, chunk=chunk)


def marking(key: str, **document: Any) -> Mark:
    """A mark that gives one record."""
    return lambda: Checkpoint(key, document or {"done": True})


def write(
    sink: Sink,
    load: Load,
    batches: Sequence[pa.RecordBatch],
    key: str = "chunk",
    **document: Any,
) -> Written:
    """Write some batches with one record."""
    return sink.write_rows(STREAM, load, iter(batches), marking(key, **document))


def rows_now(place: SinkPlace, load: Load) -> Rows:
    """The rows that are there; none where nothing is kept."""
    return place.rows(load.table, load.columns) if place.keeps_rows else []


def expect(place: SinkPlace, load: Load, wanted: range) -> None:
    """AssertionError where the table does not hold each of these numbers once."""
    if not place.keeps_rows:
        return
    columns = {"n": "int64", "text": "text"}
    read = counted(place.rows(load.table, load.columns), columns)
    meant = counted(({"n": n, "text": f"row {n}"} for n in wanted), columns)
    lost, more = meant - read, read - meant
    assert not lost and not more, (
        f"{sum(read.values())} rows instead of {len(wanted)}: {sum(lost.values())} lost "
        f"(such as {sorted(lost)[:3]}), {sum(more.values())} too many (such as {sorted(more)[:3]})"
    )
