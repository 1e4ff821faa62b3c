"""A sink that counts and drops: it isolates the source in benchmarks."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from streams_engine.config.connection import null_connection
from streams_engine.contracts import (
    Adapter,
    ApplyResult,
    CheckpointCallback,
    Fence,
    PreparedWrite,
    QuarantinedRow,
    Statement,
    WritePlan,
    WriteResult,
)
from streams_engine.model import Finding, NetChanges, TableId, Truncation

__all__ = ["ADAPTER", "NullSink"]


class NullSink:
    """Takes every Arrow type, keeps nothing; its checkpoint lives as long as the object."""

    dialect = None
    transactional_ddl = True

    def __init__(self) -> None:
        self._records: dict[str, dict[str, Mapping[str, Any]]] = {}
        self._lock = threading.Lock()

    def check(self) -> Sequence[Finding]:
        """Return no findings: there is nothing to check."""
        return ()

    def load_state(self, stream: str) -> Mapping[str, Mapping[str, Any]]:
        """Return the records stored so far."""
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
        self,
        stream: str,
        plan: WritePlan,
        rows: Iterator[pa.RecordBatch],
        make_checkpoint: CheckpointCallback,
    ) -> WriteResult:
        """Count the rows and their bytes."""
        count = size = 0
        for batch in rows:
            count += batch.num_rows
            size += batch.nbytes
        checkpoint = make_checkpoint()
        self.save_state(stream, {checkpoint.key: checkpoint.document})
        return WriteResult(count, len(checkpoint.quarantined), size)

    def prepare_write(
        self,
        stream: str,
        plan: WritePlan,
        rows: Iterator[pa.RecordBatch],
        make_checkpoint: CheckpointCallback,
        fence: Fence,
    ) -> PreparedWrite:
        """Count the rows and their bytes. Its records are its own process's: no fence holds it."""
        return PreparedWrite(self.write_rows(stream, plan, rows, make_checkpoint))

    def commit_write(
        self, stream: str, plan: WritePlan, prepared: PreparedWrite, fence: Fence
    ) -> None:
        """Do nothing: this sink stores nothing."""

    @contextlib.contextmanager
    def change_writer(self, stream: str, key: str) -> Iterator[NullWriter]:
        """Yield a writer that counts changes."""
        yield NullWriter(self, stream, key)

    def close(self) -> None:
        """Do nothing: no connection is open."""


class NullWriter:
    """Counts changes, and keeps the position."""

    findings: Sequence[Finding] = ()
    foreign_keys_enforced = False

    def __init__(self, sink: NullSink, stream: str, key: str) -> None:
        self._sink = sink
        self._stream = stream
        self._key = key
        self.document: Mapping[str, Any] | None = sink.load_state(stream).get(key)

    def apply(self, steps: Sequence[NetChanges | Truncation]) -> ApplyResult:
        """Count the rows."""
        rows: dict[TableId, int] = {}
        for step in steps:
            if isinstance(step, NetChanges):
                rows[step.table] = rows.get(step.table, 0) + step.rows
        return ApplyResult(rows, {})

    def execute(self, statements: Sequence[Statement]) -> Sequence[Finding]:
        """Return no findings: there is no structure."""
        return ()

    def commit(
        self,
        document: Mapping[str, Any],
        records: Mapping[str, Mapping[str, Any] | None] | None = None,
        quarantined: Sequence[QuarantinedRow] = (),
    ) -> None:
        """Keep the records."""
        self._sink.save_state(self._stream, {self._key: document, **(records or {})})
        self.document = document

    def rollback(self) -> None:
        """Do nothing: nothing was stored."""


ADAPTER = Adapter(("null",), None, null_connection, sink=lambda _: NullSink())
