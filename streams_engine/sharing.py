"""The seams for processes that copy parts of one run: a shared view, and fenced writes.

Both are abilities of their own: a source or sink without them serves one process alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import pyarrow as pa

from streams_engine.protocols import Load, Mark, Snapshot, Written

__all__ = ["Fence", "Offer", "SharedSink", "SharedSource", "Staged", "Ticket"]


@dataclass(frozen=True, slots=True)
class Ticket:
    """What another process needs to join a view. Pickles."""

    view: Any
    late: bool
    """It can be joined for as long as the view lives; else only while it is offered."""


Offer = Callable[[Ticket], None]
"""Called by a source for each view that it opens; returns when all who were asked have joined."""


@runtime_checkable
class SharedSource(Protocol):
    """A source whose views other processes can read in."""

    def share(self, offer: Offer) -> None:
        """From now on each view that is opened is offered.

        Where the server allows none to be shared, nothing is offered, and the view's findings
        say why. May be called while writers wait for the offer to end.
        """
        ...

    def join(self, ticket: Ticket, readers: int) -> AbstractContextManager[Snapshot]:
        """The view of another process, on ``readers`` connections of this one's own.

        Raises `SnapshotLost` where it is gone. It outlives the process that opened it.
        """
        ...


@dataclass(frozen=True, slots=True)
class Fence:
    """What must still stand in the checkpoint for a write to count. Pickles.

    A worker that was given up may still be at work, and so may those of a run that was killed:
    what they write must not be in the target beside what their successors write.
    """

    run: tuple[str, Mapping[str, Any]]
    """The key of the run's record, and the record: it names one start of the stream."""
    chunk: tuple[str, Mapping[str, Any] | None]
    """The key of the chunk's record, and the record that the writer goes on from."""


@dataclass(frozen=True, slots=True)
class Staged:
    """What one `SharedSink.stage` has done. Pickles."""

    written: Written
    pending: Any = None
    """What `SharedSink.settle` needs to make it durable; None: it is."""


@runtime_checkable
class SharedSink(Protocol):
    """A sink that several processes write to at once, each chunk counting once."""

    def stage(
        self, stream: str, load: Load, rows: Iterator[pa.RecordBatch], mark: Mark, fence: Fence
    ) -> Staged:
        """What `Sink.write_rows` does, or all of it but for the commit.

        Raises `FencedOff`, with nothing written, where the fence does not hold.
        """
        ...

    def settle(self, stream: str, load: Load, staged: Staged, fence: Fence) -> None:
        """Make durable what is pending; called in the one process that runs the stream.

        Raises `FencedOff` where the fence does not hold.
        """
        ...
