"""The progress of a stream's verification, beside its checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from streams_engine.model import VerificationProgress
from streams_engine.pipeline.checkpoint import CheckpointStore
from streams_engine.pipeline.checkpoint_records import VerifyRecord

__all__ = ["VerifyProgressStore"]


@dataclass(frozen=True, slots=True)
class VerifyProgressStore:
    """Keeps progress among the stream's records: whatever makes the stream begin anew drops it."""

    store: CheckpointStore

    def load(self) -> Sequence[VerificationProgress]:
        """Return what was kept of every table."""
        return self.store.load().verified()

    def save(self, tables: Sequence[VerificationProgress]) -> None:
        """Keep the progress of some tables, durably."""
        self.store.save({VerifyRecord(one).key: VerifyRecord(one).to_json() for one in tables})

    def forget(self) -> None:
        """Remove all that is kept."""
        self.store.remove(self.store.load().verify_keys())
