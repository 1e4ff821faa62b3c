"""Counters of a run, and the frozen `Stats` that a caller sees."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from streams_engine.display import html_block, html_table
from streams_engine.errors import ConnectionFailed, StreamsError
from streams_engine.events import EventLog
from streams_engine.lag import LogLag
from streams_engine.lifecycle import State
from streams_engine.model import Finding, Severity, SkippedObject, TableId, findings_html
from streams_engine.units import duration, plural, size

__all__ = [
    "ChangeStats",
    "ConnectionStats",
    "Counters",
    "NodeStats",
    "Stats",
    "TableStats",
    "VerificationStats",
]


LEVELS = {
    Severity.INFO: logging.INFO,
    Severity.WARNING: logging.WARNING,
    Severity.ERROR: logging.ERROR,
}
"""Of the log, for a finding's severity."""


@dataclass(frozen=True, slots=True)
class TableStats:
    """Progress of one table. ``phase``: waiting, copying, copied, indexing, done."""

    table: str
    rows: int = 0
    rejected: int = 0
    bytes: int = 0
    estimated_rows: int | None = None
    phase: str = "waiting"
    seconds: float = 0.0
    inserted: int = 0
    """Rows that the log inserted; those that it updated and deleted are below. All are durable."""
    updated: int = 0
    deleted: int = 0

    @property
    def changed(self) -> int:
        """Row changes of the log."""
        return self.inserted + self.updated + self.deleted


@dataclass(frozen=True, slots=True)
class NodeStats:
    """One end of the stream, in the terms of the stats document; sizes in bytes."""

    type: str
    counter: int = 0
    failed_counter: int = 0
    sum_data_size: int = 0
    prev_data_size: int = 0


@dataclass(frozen=True, slots=True)
class ChangeStats:
    """Progress of applying a change log."""

    transactions: int = 0
    """Transactions of the source that are durable on the target."""
    unmet: int = 0
    """Updates and deletes whose row was not on the target."""
    reconnects: int = 0
    """How often a session was opened again, because its connection was lost or it could not
    continue; each outage counts once, however many attempts it took."""
    lag_bytes: int | None = None
    """Bytes of log after the durable position; None before the first measurement."""
    lag_seconds: float | None = None
    """The age of the oldest commit of the source that is, or may be, not on the target; 0 while
    they are in step. Right after a commit on the target, the lag of that one. None before the
    first measurement, and once the stream has ended: nobody looks any more."""
    retained_bytes: int | None = None
    """Bytes of log that the source retains for this stream; None if it retains none."""

    def to_dict(self) -> dict[str, Any]:
        """Return this part of the stats document."""
        return {
            "transactions": self.transactions,
            "unmet": self.unmet,
            "reconnects": self.reconnects,
            "lagBytes": self.lag_bytes,
            "lagSeconds": None if self.lag_seconds is None else round(self.lag_seconds, 3),
            "retainedBytes": self.retained_bytes,
        }


@dataclass(frozen=True, slots=True)
class ConnectionStats:
    """Whether the stream is connected, or since when and why it waits."""

    state: str = "connected"
    """connected, or waiting."""
    since: datetime | None = None
    """When the connection was lost, or the lock first not acquired."""
    reason: str | None = None
    """The message of the last attempt's error."""
    code: str | None = None
    """The code of the last attempt's error."""
    attempts: int = 0

    def describe(self) -> str:
        """Return since when and why it waits, in a few words; empty if it does not."""
        if self.state != "waiting" or self.since is None:
            return ""
        seconds = (datetime.now(UTC) - self.since).total_seconds()
        return f"waiting for {seconds:.0f} s: {self.code}: {self.reason}"

    def to_dict(self) -> dict[str, Any]:
        """Return this part of the stats document."""
        return {
            "state": self.state,
            "since": rfc3339(self.since),
            "reason": self.reason,
            "code": self.code,
            "attempts": self.attempts,
        }


@dataclass(frozen=True, slots=True)
class VerificationStats:
    """The last background comparison of a cdc (`options.verification`)."""

    at: datetime
    """When it ended."""
    ok: bool | None
    """Whether every row that was compared is equal; None: not known, for it failed or was cut."""
    tables: int = 0
    """Tables that were compared."""
    different: tuple[str, ...] = ()
    """The names of those that differ."""
    unknown: tuple[str, ...] = ()
    """The names of those whose rows did not stand still."""
    differing: int = 0
    """Rows that differ, of all tables."""
    seconds: float = 0.0
    error: str | None = None
    """The code of the error that ended it."""

    def to_dict(self) -> dict[str, Any]:
        """Return this part of the stats document."""
        return {
            "at": rfc3339(self.at),
            "ok": self.ok,
            "tables": self.tables,
            "different": list(self.different),
            "unknown": list(self.unknown),
            "differing": self.differing,
            "seconds": round(self.seconds, 3),
            "error": self.error,
        }


@dataclass(frozen=True, slots=True)
class Stats:
    """The counters and findings of a run at one moment."""

    name: str
    config_id: str
    stream_id: str
    state: State
    phase: str
    """checking, waiting, structure, copying, indexing, following or done."""
    source: NodeStats
    target: NodeStats
    tables: tuple[TableStats, ...] = ()
    started: datetime | None = None
    duration_ns: int = 0
    """Nanoseconds of running; paused time does not count."""
    reporting_interval: int = 3
    """Seconds between two reports of the source, and of the target if that has no other."""
    target_interval: int | None = None
    """Seconds between two reports of the target, if they differ from the source's."""
    findings: tuple[Finding, ...] = ()
    left_behind: tuple[SkippedObject, ...] = ()
    error: dict[str, Any] | None = None
    changes: ChangeStats | None = None
    """Only of a cdc; None for a convert."""
    connection: ConnectionStats = ConnectionStats()
    verification: VerificationStats | None = None
    """Of a cdc with `options.verification`, once one has ended."""
    reported: datetime | None = None
    """When progress was last reported."""

    def to_prometheus(self) -> str:
        """Return the stats in Prometheus' text format.

        Raises `ConfigError` if prometheus-client (extra ``metrics``) is not installed.
        """
        from streams_engine.metrics import exposition

        since = self.reported or self.started
        silent = 0.0 if since is None else (datetime.now(UTC) - since).total_seconds()
        return exposition([(self.to_dict(), silent)])

    @property
    def rows(self) -> int:
        """Rows that are durable on the target."""
        return self.target.counter

    @property
    def seconds(self) -> float:
        """Seconds of running."""
        return self.duration_ns / 1e9

    @property
    def errors(self) -> tuple[Finding, ...]:
        """The findings of severity error. A run may be FINISHED with some: then something of the
        source is not on the target, such as a foreign key that rows violate."""
        return tuple(f for f in self.findings if f.severity is Severity.ERROR)

    def __str__(self) -> str:
        done = f"{self.rows:,} rows, {size(self.target.sum_data_size)}"
        told = f" with {plural(len(self.errors), 'error')}" if self.errors else ""
        if self.target.failed_counter:
            done += f", {self.target.failed_counter:,} quarantined"
        text = f"{self.name}: {self.state}{told}, {done} in {duration(self.seconds)}"
        if self.changes is None:
            return text
        lag = self.changes.lag_seconds
        followed = plural(self.changes.transactions, "transaction")
        return f"{text}; {followed}" + ("" if lag is None else f", lag {duration(lag)}")

    def _repr_html_(self) -> str:
        rows = [
            (t.table, t.phase, t.rows, t.rejected, size(t.bytes), duration(t.seconds))
            for t in self.tables
        ]
        headers = ("table", "phase", "rows", "quarantined", "size", "time")
        return html_block(str(self), findings_html(self.findings), html_table(headers, rows))

    def to_dict(self) -> dict[str, Any]:
        """Return the stats document (sizes in bytes, duration in nanoseconds, rate in bytes per
        second)."""
        return {
            "configID": self.config_id,
            "streamID": self.stream_id,
            "name": self.name,
            "status": str(self.state),
            "phase": self.phase,
            "nodes": [
                self._node(self.source, self.reporting_interval),
                self._node(
                    self.target,
                    self.reporting_interval
                    if self.target_interval is None
                    else self.target_interval,
                ),
            ],
            "tables": [
                {
                    "name": t.table,
                    "rows": t.rows,
                    "failed": t.rejected,
                    "bytes": t.bytes,
                    "estimatedRows": t.estimated_rows,
                    "phase": t.phase,
                    "seconds": round(t.seconds, 3),
                    "inserted": t.inserted,
                    "updated": t.updated,
                    "deleted": t.deleted,
                }
                for t in self.tables
            ],
            "findings": [
                {
                    "severity": str(f.severity),
                    "code": f.code,
                    "object": f.object,
                    "message": f.message,
                    "remedy": f.remedy,
                }
                for f in self.findings
            ],
            "leftBehind": [{"kind": x.kind, "name": x.name} for x in self.left_behind],
            "error": self.error,
            "connection": self.connection.to_dict(),
            "verification": None if self.verification is None else self.verification.to_dict(),
            **({} if self.changes is None else {"changes": self.changes.to_dict()}),
        }

    def _node(self, node: NodeStats, interval: int) -> dict[str, Any]:
        return {
            "id": f"node{node.type}_{self.stream_id.removeprefix('stream_')}",
            "type": node.type,
            "stat": {
                "failedCounter": node.failed_counter,
                "counter": node.counter,
                "prevDataSize": node.prev_data_size,
                "sumDataSize": node.sum_data_size,
                "reportingInterval": interval,
                "start": rfc3339(self.started),
                "duration": self.duration_ns,
                "avgRate": int(node.sum_data_size / self.seconds) if self.duration_ns else 0,
                "status": str(self.state),
            },
        }


def rfc3339(moment: datetime | None) -> str | None:
    """Format a time as in the stats document: RFC 3339 in UTC with nine fractional digits."""
    return None if moment is None else moment.strftime("%Y-%m-%dT%H:%M:%S.%f000Z")


WAITS: Mapping[str, str] = {"LOCK_TIMEOUT": "A lock of another session"}
"""By error code: what is waited for, if it is not a server."""


PHASES: Mapping[str, str] = {
    "checking": "checking both ends",
    "waiting": "waiting for other sessions' locks",
    "structure": "creating the structure",
    "copying": "copying rows",
    "indexing": "creating indexes and keys",
    "following": "following the log",
    "done": "done",
}
"""What a phase of a run is called in its log."""

TABLE_PHASES: Mapping[str, str] = {
    "copied": "copied {rows:,} rows in {seconds:.1f} s",
    "indexing": "creating indexes and keys",
    "done": "done: {rows:,} rows in {seconds:.1f} s",
}
"""What a phase of a table is called in the log of its run."""


def _worth_saying(before: int, more: int) -> bool:
    """Return True at the first occurrence, and whenever the count has doubled, to keep the log
    short."""
    return (before + more).bit_length() > before.bit_length()


@dataclass(slots=True)
class Counters:
    """The live counters of one run. Every method takes the one lock; cheap at bundle rate."""

    journal: EventLog = field(default_factory=EventLog)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _tables: dict[TableId, TableStats] = field(default_factory=dict)
    _begun: dict[TableId, float] = field(default_factory=dict)
    _source: NodeStats = NodeStats("source")
    _target: NodeStats = NodeStats("target")
    _findings: dict[Finding, None] = field(default_factory=dict)
    _changes: ChangeStats | None = None
    _lags: dict[str, LogLag] = field(default_factory=dict)
    """By the alias of a source."""
    look_seconds: float = 3.0
    """Seconds between two looks at the end of a log."""
    _outages: dict[str, ConnectionStats] = field(default_factory=dict)
    """By the alias of a source, while it or the target is waited for."""
    _replaced: dict[tuple[TableId, str], int] = field(default_factory=dict)
    _phase: str = "checking"
    _left_behind: tuple[SkippedObject, ...] = ()
    _verification: VerificationStats | None = None
    started: datetime | None = None
    _ran: int = 0
    _since: int | None = None
    _alive: float = field(default_factory=time.monotonic)
    """When anything was last read, written or heard."""

    @property
    def silent_seconds(self) -> float:
        """Seconds since anything was read, written, or heard from a source."""
        return time.monotonic() - self._alive

    @property
    def phase(self) -> str:
        """Phase of the run."""
        return self._phase

    @phase.setter
    def phase(self, phase: str) -> None:
        with self._lock:
            known, self._phase = self._phase, phase
        if phase != known:
            self.journal.note(logging.INFO, "phase", PHASES.get(phase, phase), phase=phase)

    def leave_behind(self, objects: tuple[SkippedObject, ...]) -> None:
        """Record the objects of the source that are not moved."""
        with self._lock:
            self._left_behind = objects

    def verified(self, verification: VerificationStats) -> None:
        """Record the last comparison beside the stream, and tell of it."""
        with self._lock:
            self._verification = verification
        doubtful = (*verification.different, *verification.unknown)
        self.journal.note(
            logging.INFO if verification.ok else logging.WARNING,
            "verification",
            f"Not equal, or not known to be: {', '.join(doubtful)}." if doubtful
            else "Source and target are equal." if verification.ok
            else f"The comparison failed ({verification.error})." if verification.error
            else "The comparison was cut, for its time was over.",
            **verification.to_dict(),
        )  # fmt: skip

    def clock_on(self) -> None:
        """Start the clock: the stream runs."""
        with self._lock:
            if self.started is None:
                self.started = datetime.now(UTC)
            if self._since is None:
                self._since = time.monotonic_ns()

    def clock_off(self) -> None:
        """Stop the clock: the stream is paused or has ended."""
        with self._lock:
            if self._since is not None:
                self._ran += time.monotonic_ns() - self._since
                self._since = None

    def _duration(self) -> int:
        """Return the nanoseconds of running so far. Call it under the lock."""
        since = self._since
        return self._ran + (0 if since is None else time.monotonic_ns() - since)

    def expect(self, table: TableId, estimated_rows: int | None) -> None:
        """Register a table that will be copied or followed."""
        with self._lock:
            self._tables.setdefault(table, TableStats(str(table), estimated_rows=estimated_rows))

    @property
    def rows(self) -> int:
        """Rows that are durable on the target."""
        with self._lock:
            return self._target.counter

    def begin_again(self) -> None:
        """Reset the counters of every table, because all are loaded again."""
        with self._lock:
            self._source = NodeStats("source")
            self._target = NodeStats("target")
            self._tables = {
                table: TableStats(seen.table, estimated_rows=seen.estimated_rows)
                for table, seen in self._tables.items()
            }

    def enter(self, table: TableId, phase: str) -> None:
        """Record that a table has entered ``phase``."""
        with self._lock:
            now = time.monotonic()
            begun = self._begun.setdefault(table, now)
            seen = self._tables[table]
            self._tables[table] = replace(seen, phase=phase, seconds=now - begun)
        if phase != seen.phase:
            told = TABLE_PHASES.get(phase, "{phase}").format(
                phase=phase, rows=seen.rows, seconds=now - begun
            )
            facts = {"phase": phase, "rows": seen.rows, "seconds": round(now - begun, 3)}
            self.journal.note(logging.INFO, "table", told, table=table, **facts)

    def read(self, rows: int, size: int) -> None:
        """Count a bundle that was read from the source."""
        with self._lock:
            self._alive = time.monotonic()
            s = self._source
            self._source = replace(
                s,
                counter=s.counter + rows,
                prev_data_size=size,
                sum_data_size=s.sum_data_size + size,
            )

    def wrote(self, table: TableId, rows: int, rejected: int, size: int) -> None:
        """Count rows that became durable on the target, and ``rejected`` ones that were
        quarantined."""
        with self._lock:
            self._alive = time.monotonic()
            t = self._target
            self._target = replace(
                t,
                counter=t.counter + rows,
                failed_counter=t.failed_counter + rejected,
                prev_data_size=size,
                sum_data_size=t.sum_data_size + size,
            )
            seen = self._tables[table]
            self._tables[table] = replace(
                seen,
                rows=seen.rows + rows,
                rejected=seen.rejected + rejected,
                bytes=seen.bytes + size,
                seconds=time.monotonic() - self._begun.get(table, time.monotonic()),
            )
        if _worth_saying(seen.rejected, rejected):
            self.journal.note(
                logging.WARNING,
                "quarantined",
                f"{seen.rejected + rejected:,} rows were quarantined",
                table=table,
                rows=seen.rejected + rejected,
            )

    def quarantined(self) -> dict[TableId, int]:
        """Return how many rows of each table were quarantined, where there are any."""
        with self._lock:
            return {table: seen.rejected for table, seen in self._tables.items() if seen.rejected}

    def replaced(self, table: TableId, column: str, count: int) -> None:
        """Count zero dates of a column that became NULL."""
        with self._lock:
            self._replaced[table, column] = self._replaced.get((table, column), 0) + count

    def take_replaced(self) -> dict[tuple[TableId, str], int]:
        """Return, by table and column, how many zero dates became NULL since the last call."""
        with self._lock:
            taken, self._replaced = self._replaced, {}
        return taken

    # A log that is followed

    def changed(self, table: TableId, inserted: int, updated: int, deleted: int) -> None:
        """Count row changes of a table that became durable; `wrote` counts them as rows."""
        with self._lock:
            seen = self._tables[table]
            self._tables[table] = replace(
                seen,
                inserted=seen.inserted + inserted,
                updated=seen.updated + updated,
                deleted=seen.deleted + deleted,
            )

    def follow(self) -> None:
        """Add the counters of a change log."""
        with self._lock:
            self._changes = self._changes or ChangeStats()

    def _add(self, values: Mapping[str, Any], **more: int) -> None:
        """Set ``values`` and add ``more`` in one: several sources count at once."""
        with self._lock:
            self._alive = time.monotonic()
            seen = self._changes or ChangeStats()
            sums = {name: getattr(seen, name) + count for name, count in more.items()}
            self._changes = replace(seen, **values, **sums)

    def taken(self, committed_at: float | None, alias: str = "") -> None:
        """Record that changes were read, which are to be applied: they lag from now on."""
        with self._lock:
            self._lag(alias).read(committed_at)

    def committed(
        self,
        transactions: int,
        committed_at: float | None,
        alias: str = "",
        reached: Callable[[Mapping[str, Any]], bool] | None = None,
    ) -> None:
        """Count transactions that became durable, and with them all that was taken; the last was
        committed on the source at ``committed_at``. ``reached`` tells whether a position was."""
        with self._lock:
            self._lag(alias).committed(committed_at, reached)
        self._add({}, transactions=transactions)

    def passed(self, alias: str, reached: Callable[[Mapping[str, Any]], bool]) -> None:
        """Record that all that was taken is durable, or needs not to be."""
        with self._lock:
            self._lag(alias).passed(reached)

    def reopened(self, alias: str) -> None:
        """Record that a log is opened, maybe on another server."""
        with self._lock:
            self._lag(alias).reopened()

    def _lag(self, alias: str) -> LogLag:
        """Return the lag of a source. Call it under the lock."""
        return self._lags.setdefault(alias, LogLag())

    def _lag_seconds(self) -> float | None:
        """Return the largest lag, at least as long as an outage lasts. Call it under the lock."""
        now = datetime.now(UTC)
        lags = [lag.seconds(self.look_seconds) for lag in self._lags.values()]
        lags += [
            (now - outage.since).total_seconds()
            for outage in self._outages.values()
            if outage.since is not None
        ]
        return max((max(0.0, lag) for lag in lags if lag is not None), default=None)

    def diverged(self, rows: int) -> None:
        """Count updates and deletes that matched no row."""
        self._add({}, unmet=rows)

    @property
    def waits_for_a_server(self) -> bool:
        """True while a connection is lost."""
        with self._lock:
            codes = {outage.code for outage in self._outages.values() if outage.state == "waiting"}
        return ConnectionFailed.code in codes

    def reconnecting(self, alias: str, error: StreamsError, seconds: float) -> None:
        """Record that a server or lock has been unavailable for ``seconds``, and that the stream
        tries again."""
        since = datetime.now(UTC) - timedelta(seconds=seconds)
        with self._lock:
            known = self._outages.get(alias)
            attempts = 1 if known is None else known.attempts + 1
            self._outages[alias] = ConnectionStats(
                "waiting", known.since if known else since, error.message, error.code, attempts
            )
        self.journal.note(
            logging.WARNING,
            "reconnecting",
            f"{WAITS.get(error.code, 'A server')} delays the stream: {error.message}",
            code=error.code,
            attempts=attempts,
        )

    @property
    def connection(self) -> ConnectionStats:
        """The state of the connections, and what is waited for."""
        with self._lock:
            return next(iter(self._outages.values()), ConnectionStats())

    def connected(self, alias: str = "") -> None:
        """Record that a session is connected, and report the end of a wait."""
        with self._lock:
            known = self._outages.pop(alias, None)
            if known is not None and self._changes is not None:
                self._changes = replace(self._changes, reconnects=self._changes.reconnects + 1)
        if known is not None and known.since is not None:
            seconds = (datetime.now(UTC) - known.since).total_seconds()
            what = f"The wait is over after {seconds:.1f} s."
            self.journal.note(logging.INFO, "reconnected", what, code=known.code)

    def behind(self, lag: int, retained: int | None) -> None:
        """Record the bytes of log that are unread, and those that the sources retain."""
        self._add({"lag_bytes": lag, "retained_bytes": retained})

    def looked(
        self,
        alias: str,
        at: float,
        lag: int,
        end: Mapping[str, Any] | None,
        reached: Callable[[Mapping[str, Any]], bool],
    ) -> None:
        """Record a look at the end of a log, which began ``at`` by the monotonic clock: bytes after
        the durable position, the end, and whether what was read has reached a position."""
        with self._lock:
            seen = self._lag(alias)
            seen.looked(at, lag > 0, end)
            seen.reached(reached)

    def sent(self, size: int) -> None:
        """Count bytes that were sent to the target."""
        with self._lock:
            t = self._target
            self._target = replace(t, prev_data_size=size, sum_data_size=t.sum_data_size + size)

    def found(self, findings: Iterable[Finding]) -> None:
        """Keep findings for the report, each once."""
        with self._lock:
            new = dict.fromkeys(f for f in findings if f not in self._findings)
            self._findings.update(new)
        for finding in new:
            self.journal.note(
                LEVELS[finding.severity],
                finding.code,
                finding.message,
                table=finding.object,
                remedy=finding.remedy,
                severity=str(finding.severity),
            )

    def freeze(
        self,
        *,
        name: str,
        config_id: str,
        stream_id: str,
        state: State,
        intervals: tuple[int, int],
        error: dict[str, Any] | None,
        reported: datetime | None = None,
    ) -> Stats:
        """Return a frozen copy of all counters."""
        with self._lock:
            changes = self._changes
            if changes is not None:
                changes = replace(changes, lag_seconds=None if state.final else self._lag_seconds())
            return Stats(
                name=name,
                config_id=config_id,
                stream_id=stream_id,
                state=state,
                phase=self._phase,
                source=self._source,
                target=self._target,
                tables=tuple(self._tables.values()),
                started=self.started,
                duration_ns=self._duration(),
                reporting_interval=intervals[0],
                target_interval=None if intervals[0] == intervals[1] else intervals[1],
                findings=tuple(self._findings),
                left_behind=self._left_behind,
                error=error,
                changes=changes,
                connection=next(iter(self._outages.values()), ConnectionStats()),
                verification=self._verification,
                reported=reported,
            )
