"""Rows as COPY BINARY has them, handed on without a look inside."""

from __future__ import annotations

from collections.abc import Generator, Iterator

import numpy as np
import psycopg
import pyarrow as pa

from streams_engine.adapters.postgres.snapshot.copy_messages import Tuples, tuples_of
from streams_engine.arrow.buffers import slice_bytes

__all__ = ["batches_of", "encode", "read"]


def read(
    connection: psycopg.Connection, query: str, size: int
) -> Generator[pa.RecordBatch, None, None]:
    """Yield the tuples of a query in batches of about ``size`` bytes. Raises psycopg's errors."""
    return batches_of(tuples_of(connection, query, size))


def batches_of(blocks: Iterator[Tuples]) -> Generator[pa.RecordBatch, None, None]:
    """Yield the tuples of each block as one binary column."""
    for tuples in blocks:
        column = slice_bytes(tuples.buffer, tuples.start, tuples.end - tuples.start)
        batch = [pa.RecordBatch.from_arrays([column], ["tuple"])]
        del tuples, column
        yield batch.pop()  # kept by nobody here while the next ones come


def encode(batch: pa.RecordBatch) -> memoryview:
    """Return the tuples of a batch one after another, without a copy."""
    tuples = batch.column(0)
    offsets = np.frombuffer(tuples.buffers()[1], np.int32)
    first, last = offsets[tuples.offset], offsets[tuples.offset + len(tuples)]
    return memoryview(tuples.buffers()[2])[first:last]
