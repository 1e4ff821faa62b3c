"""Following one source's log: poll, convert, compact, apply, commit with the position, and
only then acknowledge to the source."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from streams_engine.changes import (
    ChangeBatch,
    ChangeSet,
    SchemaChange,
)
from streams_engine.errors import RowRejected, StreamsError
from streams_engine.faults import reach
from streams_engine.model import Finding, Position, Severity, TableId
from streams_engine.protocols import (
    Applied,
    ChangeReader,
    ChangeSink,
    ChangeSource,
    ChangeWriter,
    LogWriter,
    Rejected,
)
from streams_engine.required import required
from streams_engine.runtime.compaction import Changes
from streams_engine.runtime.control import Control
from streams_engine.runtime.followed import Followed, Relax
from streams_engine.runtime.keeping import demand_name
from streams_engine.runtime.outage import Outage
from streams_engine.runtime.row_order import in_log_order
from streams_engine.runtime.spanning import Spans
from streams_engine.stats import Counters

__all__ = ["Follower", "Pending", "Restart"]

POLL_SECONDS = 0.5
"""How long a poll waits: a pause or a stop of an idle stream is seen as late as that."""

IDLE_COMMIT_SECONDS = 10.0
"""A position that moved without changes is written down this often, or when somebody waits."""

GATHER_SECONDS = 5.0
"""A writer that keeps the log itself is given so much time to gather sets for one commit."""

FOREIGN_KEY, CONSTRAINT = "23503", "23"
"""https://www.postgresql.org/docs/current/errcodes-appendix.html"""


class Restart(Exception):
    """The session has to begin anew from the last durable position: nothing is wrong."""


Evolve = Callable[[SchemaChange, ChangeWriter, bool], Followed | None]
"""(change, writer, something is applied and not committed) -> how the table goes on; raises
`Restart` where the transaction has to be read again."""


@dataclass
class Pending:
    """What is to be made on the target at the consistent point, and is recorded until then."""

    key: str
    """Of the record that says that it is to be made."""
    make: Callable[[], bool]
    """Make what is missing of it. False where the run must end before all is there."""
    waiting: bool = False


def first_refused(spans: Spans, writer: ChangeWriter) -> int:
    """The first change that the target refuses, in the order of the log."""
    order = spans.order
    low, high = 0, len(order) - 1
    while low < high:
        middle = (low + high) // 2
        try:
            writer.apply(spans.before(order[middle] + 1).steps(singly=True))
            low = middle + 1
        except RowRejected:
            high = middle
        finally:
            writer.abandon()
    return order[low]


@dataclass
class Follower:
    """Applies one source's changes to the target. `run` is for one thread; the rest for any."""

    stream: str
    key: str
    """Of the record that holds the position."""
    alias: str
    source: ChangeSource
    sink: ChangeSink
    control: Control
    counters: Counters
    recorded: Callable[[], dict[TableId, Followed]]
    """The tables as the records have them at the durable position."""
    evolve: Evolve
    patience: float = 0.0
    """Seconds that an outage may last; 0: any time."""
    pending: Pending = field(default_factory=lambda: Pending("pending", lambda: True))
    relax: Callable[[Followed, tuple[str, ...], ChangeWriter], None] = lambda *_: None
    """Make columns of the target hold every value, durably; for tables that are `relaxable`."""
    tables: dict[TableId, Followed] = field(default_factory=dict)
    position: Position = field(default_factory=dict)
    _moved: threading.Condition = field(default_factory=threading.Condition)
    _awaited: int = 0
    _applied: bool = False
    _gathered: ChangeSet | None = None
    """What a commit would make durable that waits for more: transactions, time and position."""
    _gathering_since: float = 0.0
    _passed: ChangeSet | None = None
    """The last position without changes, while it is too soon to write it down: a reader gives
    none twice."""
    _within: bool = False
    """A transaction goes on in the next set."""
    _records: dict[str, Mapping[str, Any] | None] = field(default_factory=dict)
    _rejected: list[Rejected] = field(default_factory=list)
    _counts: dict[TableId, list[int]] = field(default_factory=dict)
    _idle_since: float = 0.0
    _keys_changed: bool = False
    """Foreign keys changed in the log that change rows without a trace there."""

    def run(self) -> None:
        """Follow until the control says to end. Raises the error that the stream fails of.

        A lost connection, on either side, is opened again from the last durable position, for as
        long as the outage may last; what became of a commit without an answer is read from the
        record that it would have written.
        """
        outage = Outage(self.control, self.counters, self.alias, self.patience)
        while self.control.hold():
            begun = self.position
            try:
                self._session(outage)
                return
            except Restart:
                continue
            except StreamsError as error:
                if self.position != begun:
                    outage.progressed()
                outage.wait(error)

    def _session(self, outage: Outage) -> None:
        self._forget()
        self._keys_changed = False
        with self.sink.follow(self.stream, self.key) as writer:
            # Only now it is known what a session that broke made durable, structure too.
            self.tables = self.recorded()
            self.counters.found(writer.findings)
            document = writer.document or {}
            self._stand(document.get("position", self.position))
            tracked = [table.tracked for table in self.tables.values()]
            with self.source.changes(tracked, self.position) as reader:
                outage.over()
                reach("log: opened")
                self.counters.phase = "following"
                self._idle_since = time.monotonic()
                self._make_pending(writer)
                while self._applied or self.control.hold():
                    changes = reader.poll(POLL_SECONDS, self.control.rows_left())
                    if changes is None and self._due():
                        changes = self._passed
                    if changes is not None:
                        self._take(changes, writer, reader)
                    if self._gathered is not None and not self._within and self._ripe(writer):
                        self._commit(self._gathered, writer, reader)

    def _forget(self) -> None:
        self._applied = False
        self._gathered = self._passed = None
        self._within = False
        self._records.clear()
        self._rejected.clear()
        self._counts.clear()

    # One set

    def _take(self, changes: ChangeSet, writer: ChangeWriter, reader: ChangeReader) -> None:
        self._passed = None
        self.counters.read(changes.rows, changes.bytes)
        reach("log: fetched")
        if self._apply(changes, writer):
            self._applied = True
            reach("apply: done")
        for part in changes.parts:
            if isinstance(part, SchemaChange):
                self._adopt(part, writer, reader)
                reach("ddl: recorded")
        self._within = changes.position is None
        if self._within:
            return
        idle = not (self._records or self._rejected or self._applied)
        if idle and not self._due():
            self._passed = changes
            return
        if isinstance(writer, LogWriter):
            # The session commits it, at once or when more has come.
            self._gather(changes)
        else:
            self._commit(changes, writer, reader)

    def _apply(self, changes: ChangeSet, writer: ChangeWriter) -> bool:
        """Give the set's changes to the target; False where there were none."""
        try:
            spans = self._spans(changes, writer)
        except Relax as needed:
            # The columns are ready before the transaction is read again: its rows fit then.
            self.relax(needed.followed, needed.columns, writer)
            raise Restart from None
        if isinstance(writer, LogWriter):
            logged = spans.logged()
            if logged or changes.position is not None:
                applied = writer.append(logged, changes.position, changes.committed_at)
                self.counters.sent(applied.bytes)
            return bool(logged)
        steps = spans.steps()
        if not steps:
            return False
        try:
            applied = writer.apply(steps)
        except RowRejected as error:
            if self._applied:  # a part of its transaction is applied already: it cannot be undone
                raise
            writer.abandon()
            applied = self._persist(spans, writer, error)
        self._note_unmet(applied.unmet)
        self.counters.sent(applied.bytes)
        return True

    def _persist(self, spans: Spans, writer: ChangeWriter, error: RowRejected) -> Applied:
        """Apply a set that was refused: in the order of the log where foreign keys act, which
        breaks none, and without the rows that are at fault where those may be set aside."""
        state = str(error.details.get("sqlstate"))
        if state == FOREIGN_KEY or (spans.act and state.startswith(CONSTRAINT)):
            try:
                return writer.apply(spans.steps(singly=True))
            except RowRejected as again:
                writer.abandon()
                error = again
        while any(table.quarantine for table in self.tables.values()):
            seq = first_refused(spans, writer)
            batch, row = spans.at(seq)
            table = self.tables[self._with_alias(batch.table)]
            self._rejected.append(table.refused(batch, row, error))
            counts = self._counts[table.mapping.source.id]
            counts[0], counts[1] = counts[0] - 1, counts[1] + 1
            spans = spans.without(seq)
            try:
                return writer.apply(spans.steps(singly=True))
            except RowRejected as again:
                writer.abandon()
                error = again
        raise error

    def _gather(self, changes: ChangeSet) -> None:
        before = self._gathered
        if before is None:
            self._gathering_since = time.monotonic()
            self._gathered = replace(changes, parts=())
            return
        self._gathered = replace(
            changes,
            parts=(),
            transactions=before.transactions + changes.transactions,
            committed_at=changes.committed_at or before.committed_at,
        )

    def _ripe(self, writer: ChangeWriter) -> bool:
        """True where what is gathered is to be committed now: there is enough of it, it waited
        long enough, or something depends on it."""
        waited = time.monotonic() - self._gathering_since >= GATHER_SECONDS
        due = bool(self._awaited or self._records or self._rejected)
        ending = self.control.cut() or self.control.counts_rows
        return waited or due or ending or (isinstance(writer, LogWriter) and writer.full)

    def _due(self) -> bool:
        """True where a position without changes has to be written down."""
        awaited = bool(self._awaited) or self.pending.waiting
        return awaited or time.monotonic() - self._idle_since > IDLE_COMMIT_SECONDS

    def _commit(self, changes: ChangeSet, writer: ChangeWriter, reader: ChangeReader) -> None:
        position = required(changes.position, "the position of a set that ends a transaction")
        document = {"position": dict(position)}
        reach("commit: before")
        writer.commit(document, dict(self._records), tuple(self._rejected))
        reach("commit: after")
        total = 0
        for table, (rows, rejected) in self._counts.items():
            self.counters.wrote(table, rows, rejected, 0)
            total += rows
        self.control.count(total)
        self.counters.committed(changes.transactions, changes.committed_at)
        self._forget()
        self._idle_since = time.monotonic()
        self._stand(position)
        reader.acknowledge(position)
        reach("acknowledge: after")
        self._make_pending(writer)
        if self._keys_changed:
            raise Restart  # a parent's changes act on other tables than before

    @property
    def consistent(self) -> bool:
        """True once each table has come to at least the newest view of all."""
        views = [t.tracked.since for t in self.tables.values() if t.tracked.since is not None]
        return all(self.source.reached(self.position, view) for view in views)

    def _make_pending(self, writer: ChangeWriter) -> None:
        """Make what waits for the consistent point, once that is reached."""
        if not self.pending.waiting or not self.consistent:
            return
        reach("pending: begun")
        if not self.pending.make():
            return
        reach("pending: executed")
        writer.execute(())  # the target's tables are others than the writer knows
        document = writer.document or {"position": dict(self.position)}
        writer.commit(document, {self.pending.key: None})
        reach("pending: recorded")
        with self._moved:
            self.pending.waiting = False
            self._moved.notify_all()
        if any(any(table.cascades) for table in self.tables.values()):
            raise Restart  # whether the target does what the log does not carry is looked at

    def _adopt(self, change: SchemaChange, writer: ChangeWriter, reader: ChangeReader) -> None:
        followed = self.evolve(change, writer, self._applied)
        before, after = (
            () if table is None else table.foreign_keys for table in (change.before, change.after)
        )
        self._keys_changed |= before != after and not self.source.logs_cascades
        if isinstance(writer, LogWriter):
            demand_name(self.tables.get(self._with_alias(change.table)), followed)
        name = self._with_alias(change.table)
        old = self.tables.pop(name, None)
        if followed is not None:
            self.tables[followed.mapping.source.id] = followed
        if old is not None and (followed is None or followed.mapping.source.id != name):
            reader.adopt(self._own(change.table), None)
        if followed is not None:
            reader.adopt(self._own(followed.mapping.source.id), followed.tracked)

    def remember(self, records: Mapping[str, Mapping[str, Any] | None]) -> None:
        """Records that are to be durable with the next commit."""
        self._records.update(records)

    @staticmethod
    def _own(table: TableId) -> TableId:
        return TableId(table.schema, table.name)

    def _note_unmet(self, unmet: Mapping[TableId, int]) -> None:
        if not unmet:
            return
        self.counters.diverged(sum(unmet.values()))
        self.counters.found(
            Finding(
                Severity.WARNING,
                "diverged",
                str(table),
                "Updates or deletes met no row on the target: it was changed by somebody else, "
                "or was not equal to the source at the start.",
                "Run verify(), and load the table again.",
            )
            for table in unmet
        )

    # From log to target

    def _spans(self, changes: ChangeSet, writer: ChangeWriter) -> Spans:
        batches = in_log_order([p for p in changes.parts if isinstance(p, ChangeBatch)])
        converted = [(batch, self._converted(batch)) for batch in batches]
        return Spans(self.tables, self.alias, changes, converted, writer.foreign_keys_act)

    def _converted(self, batch: ChangeBatch) -> tuple[Changes, np.ndarray] | None:
        table = self.tables[self._with_alias(batch.table)]
        before, known = len(self._rejected), len(table.replaced)
        found = table.changes(batch, self._rejected)
        if len(table.replaced) > known:
            self._note_replaced(table)
        counts = self._counts.setdefault(table.mapping.source.id, [0, 0])
        counts[0] += 0 if found is None else len(found[0].op)
        counts[1] += len(self._rejected) - before
        return found

    def _note_replaced(self, table: Followed) -> None:
        self.counters.found(
            Finding(
                Severity.WARNING,
                "zero-dates",
                f"{table.mapping.source.id}.{column}",
                "Zero or partial dates in the log became NULL (zeroDates: null).",
                "Choose zeroDates error, or text with a text type, to keep them.",
            )
            for column in table.replaced
        )

    def _with_alias(self, table: TableId) -> TableId:
        return TableId(table.schema, table.name, self.alias)

    # Who waits

    def _stand(self, position: Position) -> None:
        with self._moved:
            self.position = position
            self._moved.notify_all()

    def catch_up(self, deadline: float | None) -> bool:
        """True once all that was committed on the source before the call is durable here."""
        wanted = self.source.end()
        with self._moved:
            self._awaited += 1
            try:
                while self.pending.waiting or not self.source.reached(self.position, wanted):
                    left = 1.0 if deadline is None else deadline - time.monotonic()
                    if left <= 0 or self.control.state.final:
                        return False
                    self._moved.wait(min(left, 1.0))
                return True
            finally:
                self._awaited -= 1
