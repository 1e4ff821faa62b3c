"""A sink that counts and drops: it isolates the source in benchmarks."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from streams_engine.changes import Emptied, NetChanges
from streams_engine.model import Finding, TableId
from streams_engine.protocols import Applied, Load, Mark, Rejected, Statement, Written
from streams_engine.sharing import Fence, Staged

__all__ = ["NullSink"]


class NullSink:
    """Takes every Arrow type, keeps nothing; its checkpoint lives as long as the object."""

    dialect = None
    transactional_ddl = True

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

    def stage(
        self, stream: str, load: Load, rows: Iterator[pa.RecordBatch], mark: Mark, fence: Fence
    ) -> Staged:
        """Count the rows and their bytes. Its records are its own process's: no fence holds it."""
        return Staged(self.write_rows(stream, load, rows, mark))

    def settle(self, stream: str, load: Load, staged: Staged, fence: Fence) -> None:
        """Nothing is ever durable."""

    @contextlib.contextmanager
    def follow(self, stream: str, key: str) -> Iterator[NullWriter]:
        """A writer that counts changes."""
        yield NullWriter(self, stream, key)

    def close(self) -> None:
        """Nothing is open."""


class NullWriter:
    """Counts changes, and keeps the position."""

    findings: Sequence[Finding] = ()
    foreign_keys_act = False

    def __init__(self, sink: NullSink, stream: str, key: str) -> None:
        self._sink = sink
        self._stream = stream
        self._key = key
        self.document: Mapping[str, Any] | None = sink.load_state(stream).get(key)

    def apply(self, steps: Sequence[NetChanges | Emptied]) -> Applied:
        """Count the rows."""
        rows: dict[TableId, int] = {}
        for step in steps:
            if isinstance(step, NetChanges):
                rows[step.table] = rows.get(step.table, 0) + step.rows
        return Applied(rows, {})

    def execute(self, statements: Sequence[Statement]) -> Sequence[Finding]:
        """There is nothing that could have a structure."""
        return ()

    def commit(
        self,
        document: Mapping[str, Any],
        records: Mapping[str, Mapping[str, Any] | None] | None = None,
        rejected: Sequence[Rejected] = (),
    ) -> None:
        """Keep the records."""
        self._sink.save_state(self._stream, {self._key: document, **(records or {})})
        self.document = document

    def abandon(self) -> None:
        """Nothing was kept."""
