"""The contract of a snapshot: chunks of one consistent view, read in parallel."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import pyarrow as pa

from streams_engine.model import (
    Catalog,
    Chunk,
    Extract,
    Finding,
    Position,
    TableSchema,
)

__all__ = [
    "RecordBatches",
    "Snapshot",
]


class RecordBatches(Protocol):
    """Record batches that are read as they are asked for, as a generator yields them."""

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        """Return itself."""
        ...

    def __next__(self) -> pa.RecordBatch:
        """Read the next batch."""
        ...

    def close(self) -> None:
        """End the read, whether it was begun or not, and free its connection. Idempotent."""
        ...


class Snapshot(Protocol):
    """One consistent view of a source, alive until its context ends."""

    readers: int
    """How many `read` may go on at once; fewer than asked for where the view allows no more."""
    catalog: Catalog
    position: Position
    """The log position that this view equals."""
    findings: Sequence[Finding]
    """What is not as good as promised, as a view that is only consistent per table."""

    def chunks(self, table: TableSchema, rows: int) -> Sequence[Chunk]:
        """Cut a table into chunks of about ``rows`` rows; together they hold each row once."""
        ...

    def read(self, extract: Extract, chunk: Chunk) -> RecordBatches:
        """Yield the chunk as record batches of whatever size suits the source.

        A batch should hold some megabytes at most: the pipeline cuts larger ones and gathers
        smaller ones, so that no source has to. May be called from several threads at once (up to
        the snapshot's ``readers``), each call with a connection of its own into the same view.
        Raises `SnapshotLost` where the connection died.
        """
        ...
