"""The seams for processes that copy parts of one run: a shared view, and fenced writes.

Both are abilities of their own: a source or sink without them serves one process alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import pyarrow as pa

from streams_engine.contracts.sink import (
    CheckpointCallback,
    CheckpointStorage,
    WritePlan,
    WriteResult,
)
from streams_engine.contracts.snapshot import Snapshot

__all__ = [
    "Fence",
    "OfferCallback",
    "PreparedWrite",
    "SharedSink",
    "SharedSource",
    "SnapshotHandle",
]


@dataclass(frozen=True, slots=True)
class SnapshotHandle:
    """The data with which another process joins a snapshot. Pickles."""

    view: Any
    late: bool
    """It can be joined for as long as the view lives; else only while it is offered."""


OfferCallback = Callable[[SnapshotHandle], None]
"""Called by a source for each view that it opens; returns when all who were asked have joined."""


@runtime_checkable
class SharedSource(Protocol):
    """A source whose views other processes can read in."""

    def share(self, offer: OfferCallback) -> None:
        """Offer every snapshot that is opened from now on.

        If the server's snapshots cannot be shared, nothing is offered, and the snapshot's findings
        say why. The callback may run while writers are locked out.
        """
        ...

    def join(self, handle: SnapshotHandle, readers: int) -> AbstractContextManager[Snapshot]:
        """Join the snapshot of another process, on ``readers`` connections of this process.

        It outlives the process that opened it. Raises `SnapshotLost` if it is gone.
        """
        ...


@dataclass(frozen=True, slots=True)
class Fence:
    """Checkpoint records that must be unchanged for a write to count. Pickles.

    A worker that was given up may still run, and so may those of a killed run: what they write must
    not be added to what their successors write.
    """

    run: tuple[str, Mapping[str, Any]]
    """The key of the run's record, and the record: it names one start of the stream."""
    chunk: tuple[str, Mapping[str, Any] | None]
    """The key of the chunk's record, and the record that the writer goes on from."""


@dataclass(frozen=True, slots=True)
class PreparedWrite:
    """The result of one `SharedSink.prepare_write`. Pickles."""

    written: WriteResult
    pending: Any = None
    """What `SharedSink.commit_write` needs to make it durable; None: it is."""


@runtime_checkable
class SharedSink(CheckpointStorage, Protocol):
    """A sink that several processes write to at once, each chunk counting once."""

    def prepare_write(
        self,
        stream: str,
        plan: WritePlan,
        rows: Iterator[pa.RecordBatch],
        make_checkpoint: CheckpointCallback,
        fence: Fence,
    ) -> PreparedWrite:
        """Do the work of `Sink.write_rows`, perhaps except for the commit.

        Raises `FencedOff`, with nothing written, if the fence does not hold.
        """
        ...

    def commit_write(
        self, stream: str, plan: WritePlan, prepared: PreparedWrite, fence: Fence
    ) -> None:
        """Commit a prepared write; called in the one process that runs the stream.

        Raises `FencedOff` if the fence does not hold.
        """
        ...
