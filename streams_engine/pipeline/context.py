"""Context that all phases of a run share: settings, sources, sink, control and counters."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from typing import Any

from streams_engine.contracts import (
    CheckpointStorage,
    QuarantineSink,
    Sink,
)
from streams_engine.errors import ConfigError
from streams_engine.model import Finding, Severity
from streams_engine.pipeline.control import Control
from streams_engine.pipeline.multi_source import SourceSpec, error_context
from streams_engine.pipeline.remote.copier import WorkerCluster
from streams_engine.pipeline.snapshot.start_waits import StartInterrupted
from streams_engine.schema.ddl.structure import Structure
from streams_engine.stats import Counters
from streams_engine.units import plural

__all__ = ["Job", "RunContext"]


@dataclass(frozen=True, slots=True)
class Job:
    """The settings of a run, free of documents."""

    name: str
    fingerprint: str
    structure: Structure
    settings: Mapping[str, Any] = field(default_factory=dict)
    """What the fingerprint is of, by part, without addresses of servers."""
    zero_dates: str = "null"
    schema_policy: str = "create_missing_only"
    write_mode: str = "fail_if_not_empty"
    skip_data: bool = False
    bundle: int = 500
    parallelism: int = 4
    chunk_rows: int = 250_000
    quarantine: bool = False
    on_resume: str = "reload"
    on_rewrite: str = "reload"
    """``reload`` or ``fail``: what a change of structure does that rewrites rows."""
    allow_empty: bool = False
    """A source without tables is meant."""
    follows: bool = False
    """The log is followed afterwards: what holds only for the rows of today is not used."""
    executor: Executor | None = None
    """The caller's pool of threads; None: one of our own for each run."""
    cluster: WorkerCluster | None = None
    """Worker processes that copy chunks in place of this one."""


@dataclass(frozen=True, slots=True)
class RunContext:
    """One run of a stream. Its parts are thread-safe as they say."""

    job: Job
    sources: Sequence[SourceSpec]
    sink: Sink
    control: Control
    counters: Counters
    checkpoints: CheckpointStorage
    """Where the records of the run go: the sink, where it stores them."""

    @property
    def durable(self) -> bool:
        """True if the target stores the checkpoint together with the rows."""
        return isinstance(self.sink, CheckpointStorage)

    def for_log(self) -> RunContext:
        """Return the same context for following the log after the load."""
        return replace(self, job=replace(self.job, follows=True))

    def with_write_mode(self, write_mode: str) -> RunContext:
        """Return the same run with another write mode."""
        return replace(self, job=replace(self.job, write_mode=write_mode))

    def report(self, findings: Iterable[Finding]) -> None:
        """Count and publish findings. Raises `ConfigError` for the first that is an error."""
        reported = list(findings)
        self.counters.found(reported)
        for finding in reported:
            if finding.severity is Severity.ERROR:
                raise ConfigError(
                    f"{finding.object}: {finding.message}", path="$", remedy=finding.remedy
                )

    def report_quarantined(self) -> None:
        """Say how many rows were quarantined, and where they are."""
        sink, name = self.sink, self.job.name
        place = sink.quarantine_place(name) if isinstance(sink, QuarantineSink) else None
        where = f": see {place}" if place else ""
        self.counters.found(
            Finding(
                Severity.WARNING,
                "quarantined",
                str(table),
                f"{plural(count, 'row')} of the source went into the quarantine and "
                f"{'is' if count == 1 else 'are'} missing on the target{where}.",
                "Read the reasons there, correct the rows or the types, and load again.",
            )
            for table, count in self.counters.quarantined().items()
        )

    def check_source(self, source: SourceSpec) -> Sequence[Finding]:
        """Connect to a source and return what prevents a snapshot."""
        with error_context(source.alias):
            return source.source.check()

    def restart_after_pause(
        self, work: Callable[[], None], give_up: Callable[[], None] | None = None
    ) -> None:
        """Do work that a pause ends, and do it again after the pause.

        ``give_up`` is called before the stream holds. Raises `StartInterrupted` if the run
        ends.
        """
        while True:
            try:
                return work()
            except StartInterrupted:
                if give_up is not None:
                    give_up()
                if not self.control.hold():
                    raise

    def demand_uncut(self) -> None:
        """Raise `StartInterrupted` if the run is to pause or to end.

        Call it where nothing is read yet: a snapshot, its locks and its transactions are not
        kept through a pause that needs none of them.
        """
        if self.control.cut():
            raise StartInterrupted
