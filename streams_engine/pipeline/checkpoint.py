"""The checkpoint of one stream, in its sink; in memory where the sink stores none."""

from __future__ import annotations

import json
import threading
from collections.abc import Collection, Mapping, Sequence
from uuid import uuid4

from streams_engine.contracts import CheckpointStorage, Sink
from streams_engine.errors import FencedOff
from streams_engine.model import Chunk, Position, TableId
from streams_engine.pipeline.checkpoint_records import (
    Document,
    OwnTableRecord,
    Records,
    RunRecord,
    TablePlanRecord,
    Updates,
    removed,
)
from streams_engine.pipeline.resume import ResumePlan, ResumeRequest, plan_resume

__all__ = ["CheckpointStore", "MemoryCheckpoints", "checkpoint_storage"]


class MemoryCheckpoints:
    """Records that live as long as one run: of a sink that stores none. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._records: dict[str, Document] = {}

    def load_state(self, stream: str) -> Mapping[str, Document]:
        """Return all records."""
        with self._lock:
            return dict(self._records)

    def save_state(self, stream: str, records: Mapping[str, Document | None]) -> None:
        """Put records, and remove those that are None."""
        with self._lock:
            for key, document in records.items():
                if document is None:
                    self._records.pop(key, None)
                else:
                    self._records[key] = json.loads(json.dumps(document))

    def forget(self, stream: str) -> None:
        """Remove every record."""
        with self._lock:
            self._records.clear()


def checkpoint_storage(sink: Sink) -> CheckpointStorage:
    """Return where the records of a run go: into its sink, or else into memory."""
    return sink if isinstance(sink, CheckpointStorage) else MemoryCheckpoints()


class CheckpointStore:
    """Reads and writes the records of one stream, for one start of it. Used by one thread."""

    def __init__(self, storage: CheckpointStorage, stream: str) -> None:
        self._storage = storage
        self._stream = stream
        self.start = uuid4().hex
        """Names this start of the stream: writes of an earlier one count no more."""
        self._run: RunRecord | None = None

    def load(self) -> Records:
        """Read all records."""
        return Records(self._storage.load_state(self._stream))

    def save(self, updates: Mapping[str, Document | None]) -> None:
        """Put and remove records in one transaction."""
        self._storage.save_state(self._stream, updates)

    def remove(self, keys: Collection[str]) -> None:
        """Remove records; with the last one goes what the sink keeps them in."""
        if self.load().documents.keys() <= set(keys):
            self.forget()
        else:
            self.save(removed(keys))

    def forget(self) -> None:
        """Remove the checkpoint: the run is finished."""
        self._storage.forget(self._stream)

    @property
    def run(self) -> tuple[str, Document]:
        """The key of the run's record, and its document: fences of its writes compare them."""
        run = self._run or RunRecord("", {}, self.start)
        document: Document = json.loads(json.dumps(run.to_json()))  # as the sink gives it back
        return run.key, document

    def take_over(self, known: Records | None = None) -> Records:
        """Take over the run from an earlier start, whose workers can write nothing from now on.

        Return the records including what those workers committed until then. ``known``: the
        records as they are; None: they are read.
        """
        records = self.load() if known is None else known
        run = records.documents.get("run")
        if run is None:
            return records
        self.save({"run": {**run, "start": self.start}})
        return self.load()

    def check_fence(self, records: Records | None = None) -> None:
        """Raise `FencedOff` if another process has started the stream since this run began.

        ``records``: all that there are; None: they are read.
        """
        run = (records or self.load()).run
        if run is not None and run.start != self.start:
            raise FencedOff(
                f"Another process has started the stream '{self._stream}' again; this process no "
                "longer writes.",
                remedy="Run a stream in one process at a time.",
            )

    def plan_resume(self, request: ResumeRequest) -> tuple[ResumePlan, Records]:
        """Decide which earlier work to keep, and take over the run. Raises what
        `resume.plan_resume` raises."""
        known = self.load()
        plan_resume(request, known)  # what does not fit is refused before it is taken over
        records = self.take_over(known)
        return plan_resume(request, records), records

    def discard(self, records: Records) -> None:
        """Give up all that was loaded: what is on the target is the stream's own no more.

        Called before tables are dropped, because a server may commit each DROP by itself: a
        run that ends amid them must not be resumed. Earlier starts stay fenced off.
        """
        run = RunRecord("", {}, self.start)
        gone = records.documents.keys() - {key.key for key in records.dropped_keys()}
        self.save({**removed(gone), run.key: run.to_json()})

    def opening(
        self,
        records: Records,
        fingerprint: str,
        position: Position,
        resume: ResumePlan,
        settings: Document | None = None,
    ) -> Updates:
        """Return the records to save in the same transaction as the initial DDL.

        Foreign keys that an earlier load dropped stay recorded, whatever else is given up.
        """
        if resume.kept:
            gone = set(records.chunk_keys(resume.reload))
        else:
            stay = {OwnTableRecord(t).key for t in resume.own or ()}
            stay |= {key.key for key in records.dropped_keys()}
            gone = records.documents.keys() - stay
        return {**removed(gone), **self._begun(fingerprint, position, settings)}

    def begin(
        self,
        fingerprint: str,
        position: Position,
        plans: Mapping[TableId, Sequence[Chunk]],
        settings: Document | None = None,
    ) -> None:
        """Record the run, and the chunks of the tables that begin now.

        Raises `FencedOff` if another process has started the stream.
        """
        known = self.load()  # what another start left, too
        self.check_fence(known)
        updates = removed(known.chunk_keys(plans)) | self._begun(fingerprint, position, settings)
        for table, chunks in plans.items():
            plan = TablePlanRecord(table, tuple(chunks))
            updates[plan.key] = plan.to_json()
        self.save(updates)

    def _begun(self, fingerprint: str, position: Position, settings: Document | None) -> Updates:
        self._run = RunRecord(fingerprint, position, self.start, settings=settings)
        return {self._run.key: self._run.to_json()}
