"""Apply one source's log: poll, have each set written, and commit it with the position."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from typing import TypeVar

import pyarrow as pa

from streams_engine.contracts import (
    ChangeReader,
    ChangeSink,
    ChangeSource,
    ChangeWriter,
    FencedWriter,
    TextReader,
    WakingReader,
)
from streams_engine.errors import LogLost, StreamsError, require
from streams_engine.faults import reach
from streams_engine.model import (
    ChangeSet,
    ForeignKey,
    Position,
    SchemaChange,
    TableId,
    TableSchema,
)
from streams_engine.pipeline.changes.pending_commit import PendingCommit
from streams_engine.pipeline.changes.read_ahead import ReadAhead
from streams_engine.pipeline.changes.set_writer import (
    SessionRestart,
    SetWriter,
    changes_structure,
)
from streams_engine.pipeline.changes.subscriptions import logs_cascades
from streams_engine.pipeline.changes.table_replication import TableReplication
from streams_engine.pipeline.changes.writer_tasks import WriterTasks
from streams_engine.pipeline.checkpoint_records import Documents, Updates
from streams_engine.pipeline.control import Control
from streams_engine.pipeline.monitor import Question
from streams_engine.pipeline.retry import Outage
from streams_engine.pipeline.snapshot.preflight import demand_name
from streams_engine.pipeline.snapshot.start_waits import StartInterrupted
from streams_engine.stats import Counters

__all__ = ["ChangeApplier", "PendingDdl", "SessionRestart"]

T = TypeVar("T")

POLL_SECONDS = 0.1
"""How long a poll of a reader waits that cannot be woken, and so how late an idle stream notices a
pause or a stop."""

IDLE_POLL_SECONDS = 2.0
"""How long a poll waits of one that can."""

IDLE_COMMIT_SECONDS = 10.0
"""How often a position that advanced without changes is recorded, unless somebody waits for it."""

AHEAD_BYTES = 1 << 18
"""A set of so many bytes is applied while the next one is read."""

RELEASED_BYTES = 64 << 20
"""After this many bytes of log, memory that Arrow keeps is returned to the system."""

LOOK_SECONDS = 1.0
"""The least time between two sessions that begin for a refused row: many rows may be bad."""

TEXT_ROWS = 24
"""The most changes that are read as texts."""

GATHER_SECONDS = 5.0
"""How long sets are gathered for one commit of a writer that stores the log itself."""


def _foreign_keys(table: TableSchema | None) -> Sequence[ForeignKey]:
    return () if table is None else table.foreign_keys


Evolve = Callable[[SchemaChange, ChangeWriter, bool], TableReplication | None]
"""(change, writer, something is applied and not committed) -> how the table goes on; raises
`SessionRestart` if the transaction has to be read again."""


@dataclass
class PendingDdl:
    """DDL that waits for the consistent point, recorded until then."""

    key: str
    """The key of the record that says that the DDL is pending."""
    make: Callable[[], bool]
    """Create what is missing; return False if the run must end first."""
    waiting: bool = False


@dataclass
class ChangeApplier:
    """Applies one source's changes to the target. `run` is for one thread; the rest for any."""

    stream: str
    key: str
    """Of the record that holds the position."""
    alias: str
    source: ChangeSource
    sink: ChangeSink
    control: Control
    counters: Counters
    records: Callable[[ChangeWriter | None], Documents]
    """The records of this log alone, whoever wrote them last, read by the writer if there is
    one."""
    recorded: Callable[[Documents], dict[TableId, TableReplication]]
    """The tables as the records have them at the durable position."""
    evolve: Evolve
    patience: float = 0.0
    """Seconds that an outage may last; 0: any time."""
    pending: PendingDdl = field(default_factory=lambda: PendingDdl("pending", lambda: True))
    relax: Callable[[TableReplication, tuple[str, ...], ChangeWriter], None] = lambda *_: None
    """Make columns of the target hold every value, durably; for tables that are `relaxable`."""
    poll_seconds: float | None = None
    """How long a poll waits; None: as long as its reader allows."""
    due: Callable[[], Iterable[SchemaChange]] = list
    """Returns the schema changes with which a session begins."""
    outdated: Callable[[Collection[TableId], ChangeWriter], bool] = lambda *_: False
    """Returns whether rows of these tables may be of a structure that nobody can tell any more:
    ``due`` then reads them again, or drops those that are gone."""
    leave: threading.Event = field(default_factory=threading.Event)
    """End the session at the next commit: tables join."""
    opened: bool = False
    """The log is read, or was: ``tables`` are all that are followed."""
    over: bool = False
    """It follows the log no more: the run ended, or tables join and another one goes on."""
    tables: dict[TableId, TableReplication] = field(default_factory=dict)
    position: Position = field(default_factory=dict)
    read_position: Position = field(default_factory=dict)
    """``position``, or after it what was read since without changes."""
    tasks: WriterTasks | None = None
    looks_first: bool = False
    """A session that begins looks at the structure of the tables before it reads."""
    _sets: SetWriter = field(init=False)
    """How the session writes."""
    _waking: WakingReader | None = None
    _fenced: FencedWriter | None = None
    """The session's writer, where it is one: to ask each set would cost as much as to decode it."""
    _refused_at: Position | None = None
    _looked_at: float = float("-inf")
    _outage: Outage = field(init=False)
    _moved: threading.Condition = field(default_factory=threading.Condition)
    _awaited: int = 0
    _idle_since: float = 0.0
    _owned_since: float = 0.0
    """When it was last seen that no other process had taken the stream over."""
    _unreleased: int = 0
    """Bytes of the log since memory was given back."""
    _keys_changed: bool = False
    """Foreign keys changed in the log that change rows without a trace there."""

    def __post_init__(self) -> None:
        self._outage = Outage(self.control, self.counters, self.alias, self.patience)

    def run(self) -> None:
        """Follow the log until the control ends the run. Raises the error that ends the stream.

        A lost connection, on either side, is opened again from the last durable position, for as
        long as outages are allowed. Whether a commit without an answer happened is read from the
        record that it would have written.
        """
        try:
            while self.control.hold():
                try:
                    self._session()
                    return
                except (SessionRestart, StartInterrupted):
                    continue  # a pause, or the end, of a snapshot that waits is seen by `hold`
                except StreamsError as error:
                    self._outage.wait(error)
        finally:
            with self._moved:
                self.over = True
                self._moved.notify_all()

    def _session(self) -> None:
        """Open the log, take over the stream, and follow the log.

        The log is opened first: a process that cannot open it, because another one reads the slot,
        leaves that one undisturbed.
        """
        self._keys_changed = False
        records = self.records(None)
        self.tables = self.recorded(records)
        self._stand(records.get(self.key, {}).get("position", self.position))
        self.counters.reopened(self.alias)
        tracked = [table.tracked for table in self.tables.values()]
        with ExitStack() as stack:
            try:
                reader = stack.enter_context(self.source.changes(tracked, self.position))
            except LogLost:
                # Who has followed until now may have gone further, and let go of the log.
                if self.records(None) != records:
                    raise SessionRestart from None
                raise
            writer = stack.enter_context(self.sink.change_writer(self.stream, self.key))
            # Only now it is known what a session that broke, or was fenced off, made durable.
            if self.records(writer) != records:
                raise SessionRestart
            self._sets = SetWriter(
                writer, self.tables, self.alias, self.counters, self._look_again, self.relax
            )
            if isinstance(reader, TextReader) and any(t.texts for t in self.tables.values()):
                reader.give_texts(TEXT_ROWS if self._sets.takes_texts() else 0)
            self._fenced = writer if isinstance(writer, FencedWriter) else None
            self.counters.found(writer.findings)
            self._outage.over()
            with self._moved:
                self.opened = True
                self._moved.notify_all()
            reach("log: opened")
            self.counters.phase = "following"
            self._idle_since = self._owned_since = time.monotonic()
            self._make_pending(writer)
            self._waking = reader if isinstance(reader, WakingReader) else None
            stack.enter_context(self.control.waking(self.wake))
            for change in self.due():
                self._take(ChangeSet((change,), self.position), writer, reader)
            ahead = stack.enter_context(closing(ReadAhead(reader)))
            while self._commit.applied or (self.control.hold() and not self.leave.is_set()):
                changes = ahead.poll(self._wait_seconds(), self.control.rows_left())
                if changes is None and self._due():
                    changes = self._commit.passed
                if changes is not None:
                    if self._reads_ahead(changes):
                        ahead.begin(self._wait_seconds())
                    self._take(changes, writer, reader)
                    self._free(changes.bytes)
                    changes = None  # the next set comes before this name has another value
                else:
                    self._demand_ours()
                self._do_tasks(writer)
                if self._commit.gathered is not None and not self._commit.within and self._ripe():
                    self._make_durable(self._commit.gathered, writer, reader)

    def wake(self) -> None:
        """Have the log's thread look at what is asked of it. Thread-safe."""
        reader = self._waking
        if reader is not None:
            reader.wake()

    def _wait_seconds(self) -> float:
        """Return how long a poll may wait."""
        if self.poll_seconds is not None:
            return self.poll_seconds
        if self._waking is None or self._commit.gathered is not None:
            return POLL_SECONDS
        if self.tasks is not None and self.tasks.waiting:
            return 0.0
        return max(0.0, min(IDLE_POLL_SECONDS, self.control.seconds_left))

    def _reads_ahead(self, changes: ChangeSet) -> bool:
        """Return True if the next set may be read while this one is applied: it is worth a thread,
        and nothing that is read depends on what becomes of this one."""
        adopts = changes_structure(changes)
        return changes.bytes >= AHEAD_BYTES and not (adopts or self.control.counts_rows)

    def _do_tasks(self, writer: ChangeWriter) -> None:
        """Run the tasks of other threads on the target, between two transactions."""
        if self.tasks is not None and not self._commit.applied and not self._commit.within:
            position = writer.document or {"position": dict(self.position)}
            self.tasks.do(writer, lambda: writer.commit(position))

    def _demand_ours(self) -> None:
        """Check now and then that an idle stream still belongs to this process.

        Raises `FencedOff`, as a commit would at the next change.
        """
        if self._commit.applied or self._fenced is None:
            return
        if time.monotonic() - self._owned_since > IDLE_COMMIT_SECONDS:
            self._fenced.check_fence()
            self._owned_since = time.monotonic()

    def _free(self, size: int) -> None:
        """Return free memory to the system after each `RELEASED_BYTES` of log."""
        self._unreleased += size
        if self._unreleased >= RELEASED_BYTES:
            self._unreleased = 0
            pa.default_memory_pool().release_unused()

    # One set

    def _take(self, changes: ChangeSet, writer: ChangeWriter, reader: ChangeReader) -> None:
        self._commit.passed = None
        self.counters.read(changes.rows, changes.bytes)
        if changes.parts:
            self.counters.taken(changes.committed_at, self.alias)
        reach("log: fetched")
        changes = self._sets.take(changes)
        for part in changes.parts:
            if isinstance(part, SchemaChange):
                self._adopt(part, writer, reader)
                if changes.position is None and getattr(self.sink, "transactional_ddl", False):
                    self._commit.applied = True  # its statements wait for the commit
                reach("ddl: recorded")
        if self._sets.log_writer is not None and changes_structure(changes):
            self._sets.log_writer.append((), changes.position, changes.committed_at)
        self._commit.within = changes.position is None
        if self._commit.within:
            return
        if self._commit.empty and not self._due():
            self._commit.passed = changes
            self.read_position = require(changes.position, "the position of a whole set")
            self.counters.passed(self.alias, self.has_read)
            return
        if self._sets.log_writer is not None:
            # The session commits it, at once or when more has come.
            self._commit.gather(changes)
        else:
            self._make_durable(changes, writer, reader)

    def _look_again(self, writer: ChangeWriter, tables: Collection[TableId]) -> None:
        """Raise `SessionRestart` when a row is refused for the first time at this position: a new
        session reads the source's structure first, which may allow such rows by now.

        If it is refused again, the source may have dropped its table or altered its types since,
        and nobody can tell what allowed the row: the next session begins with that table.
        """
        if not self.looks_first:
            return
        if self._refused_at == self.position:
            kept = any(self.tables[table].quarantine for table in tables)
            again = not kept and self.outdated(tables, writer)
        else:
            again = time.monotonic() - self._looked_at > LOOK_SECONDS
            if again:
                self._refused_at, self._looked_at = self.position, time.monotonic()
        if again:
            writer.rollback()
            raise SessionRestart

    def _ripe(self) -> bool:
        """Return True if the gathered changes are to be committed now: there are enough, they have
        waited long enough, or something depends on them."""
        waited = time.monotonic() - self._commit.gathering_since >= GATHER_SECONDS
        due = bool(self._awaited or self._commit.updates or self._commit.quarantined)
        ending = self.control.cut() or self.control.counts_rows or self.leave.is_set()
        return (
            waited
            or due
            or ending
            or (self._sets.log_writer is not None and self._sets.log_writer.full)
        )

    def _due(self) -> bool:
        """Return True if a position without changes has to be recorded."""
        awaited = bool(self._awaited) or self.pending.waiting
        return awaited or time.monotonic() - self._idle_since > IDLE_COMMIT_SECONDS

    def _make_durable(self, changes: ChangeSet, writer: ChangeWriter, reader: ChangeReader) -> None:
        position = require(changes.position, "the position of a set that ends a transaction")
        document = {"position": dict(position)}
        reach("commit: before")
        self._sets.commit(document)
        reach("commit: after")
        total = 0
        for table, counts in self._commit.counts.items():
            *changed, quarantined = counts
            self.counters.changed(table, *changed)
            self.counters.wrote(table, sum(changed), quarantined, 0)
            total += sum(changed)
        self.control.count(total)
        self._sets.pending = PendingCommit()
        self._idle_since = self._owned_since = time.monotonic()
        self._outage.progressed()
        self._stand(position)
        self.counters.committed(
            changes.transactions, changes.committed_at, self.alias, self.has_read
        )
        reader.acknowledge(position)
        reach("acknowledge: after")
        self._make_pending(writer)
        if self._keys_changed:
            raise SessionRestart  # a parent's changes act on other tables than before

    @property
    def consistent(self) -> bool:
        """True once each table has reached at least the newest snapshot of all."""
        views = [t.tracked.since for t in self.tables.values() if t.tracked.since is not None]
        return all(self.source.at_or_after(self.position, view) for view in views)

    def _make_pending(self, writer: ChangeWriter) -> None:
        """Create what waits for the consistent point, once that is reached."""
        if not self.pending.waiting or not self.consistent:
            return
        reach("pending: begun")
        if not self.pending.make():
            return
        reach("pending: executed")
        writer.execute(())  # the target's tables are others than the writer knows
        document = writer.document or {"position": dict(self.position)}
        writer.commit(document, {self.pending.key: None})
        self._outage.progressed()
        reach("pending: recorded")
        with self._moved:
            self.pending.waiting = False
            self._moved.notify_all()
        if any(any(table.cascades) for table in self.tables.values()):
            raise SessionRestart  # whether the target does what the log does not carry is looked at

    def _adopt(self, change: SchemaChange, writer: ChangeWriter, reader: ChangeReader) -> None:
        known = {name: table.tracked for name, table in self.tables.items()}
        followed = self.evolve(change, writer, self._commit.applied)
        if self._sets.log_writer is not None:
            demand_name(self.tables.get(self._with_alias(change.table)), followed)
        name = self._with_alias(change.table)
        old = self.tables.pop(name, None)
        if followed is not None:
            self.tables[followed.mapping.source.id] = followed
        if old is not None and (followed is None or followed.mapping.source.id != name):
            reader.adopt(self._own(change.table), None)
        if followed is not None:
            reader.adopt(self._own(followed.mapping.source.id), followed.tracked)
        for other, was in known.items():
            table = self.tables.get(other)
            if table is not None and table is not followed and table.tracked is not was:
                # It refers to a renamed table, or was read again with this one.
                reader.adopt(self._own(other), table.tracked)
        if not logs_cascades(self.source):
            both = known.keys() & self.tables.keys()
            pairs = [(known[t].schema, self.tables[t].tracked.schema) for t in both]
            self._keys_changed |= any(
                _foreign_keys(one) != _foreign_keys(two)
                for one, two in ((change.before, change.after), *pairs)
            )

    @property
    def _commit(self) -> PendingCommit:
        return self._sets.pending

    def insert_all(self, table: TableReplication, rows: Iterable[pa.RecordBatch]) -> int:
        """Insert all rows of a table, which is empty, in the open transaction; return how many."""
        return self._sets.insert_all(table, rows)

    def remember(self, updates: Updates) -> None:
        """Make checkpoint records durable with the next commit."""
        self._commit.updates.update(updates)

    @staticmethod
    def _own(table: TableId) -> TableId:
        return TableId(table.schema, table.name)

    def _with_alias(self, table: TableId) -> TableId:
        return TableId(table.schema, table.name, self.alias)

    # Who waits

    def _stand(self, position: Position) -> None:
        with self._moved:
            self.position = self.read_position = position
            self._moved.notify_all()

    def has_read(self, end: Position) -> bool:
        """Return True if all up to a position is durable, or holds no changes of the stream."""
        return self.source.at_or_after(self.read_position, end)

    def catch_up(self, deadline: float | None) -> bool:
        """Return True once all that was committed on the source before the call is durable on the
        target."""
        wanted = self.ask(self.source.end, deadline)
        if wanted is None:
            return False
        with self._moved:
            self._awaited += 1
            self.wake()  # a position without changes is recorded for who waits
            try:
                while not self._passed(wanted):
                    left = self._left(deadline, 1.0)
                    if left <= 0:
                        return False
                    self._moved.wait(left)
                return True
            finally:
                self._awaited -= 1

    def _passed(self, wanted: Position) -> bool:
        """Return True once the log is open, so that all that is followed is known, and all up to
        a position is durable."""
        reached = self.opened and self.source.at_or_after(self.position, wanted)
        return reached and not self.pending.waiting

    def ask(self, call: Callable[[], T], deadline: float | None) -> T | None:
        """Call a source and return its answer; None if it does not answer in time.

        A source that is away is asked again. Raises errors that are final, except while the run
        ends.
        """
        question: Question[T] | None = None
        while (left := self._left(deadline, 0.2)) > 0:
            question = question or Question(call)
            try:
                answer = question.answer(left)
            except StreamsError as error:
                # A run that ends cuts its own connections: its state says more than that.
                if not (error.retryable or self.control.ending):
                    raise
                question = None
                with self._moved:
                    self._moved.wait(left)
            else:
                if answer is not None:
                    return answer
        return None

    def _left(self, deadline: float | None, most: float) -> float:
        """Return the seconds for the next step of a wait, at most ``most``; 0 once the run is
        over, or this one's part of it."""
        if self.control.state.final or self.over:
            return 0.0
        return most if deadline is None else min(most, deadline - time.monotonic())
