"""A sink that counts and drops: it isolates the source in benchmarks."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from streams_engine.model import Finding
from streams_engine.protocols import Load, Mark, Written

__all__ = ["NullSink"]


class NullSink:
    """Takes every Arrow type, keeps nothing; its checkpoint lives as long as the object."""

    dialect = None

    def __init__(self) -> None:
        self._records: dict[str, dict[str, Mapping[str, Any]]] = {}
        self._lock = threading.Lock()

    def check(self) -> Sequence[Finding]:
        """Nothing can hinder it."""
        return ()

    def load_state(self, stream: str) -> Mapping[str, Mapping[str, Any]]:
        """The records put so far."""
        with self._lock:
            return dict(self._records.get(stream, {}))

    def save_state(self, stream: str, records: Mapping[str, Mapping[str, Any] | None]) -> None:
        """Put or remove records."""
        with self._lock:
            kept = self._records.setdefault(stream, {})
            for key, document in records.items():
                if document is None:
                    kept.pop(key, None)
                else:
                    kept[key] = document

    def forget(self, stream: str) -> None:
        """Drop the records."""
        with self._lock:
            self._records.pop(stream, None)

    def write_rows(
        self, stream: str, load: Load, rows: Iterator[pa.RecordBatch], mark: Mark
    ) -> Written:
        """Count the rows and their bytes."""
        count = size = 0
        for batch in rows:
            count += batch.num_rows
            size += batch.nbytes
        checkpoint = mark()
        self.save_state(stream, {checkpoint.key: checkpoint.document})
        return Written(count, len(checkpoint.rejected), size)

    def close(self) -> None:
        """Nothing is open."""
