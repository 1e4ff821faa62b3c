"""Write a set's changes to the target: as texts, in one round trip, or step by step.

Every way that is refused leaves nothing, and is followed by one that knows more: columns instead of
texts, the order of the log, and at last the set without its bad rows.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from streams_engine.contracts import (
    ApplyResult,
    ChangeWriter,
    LogWriter,
    SmallSetWriter,
    TextWriter,
)
from streams_engine.errors import RowRejected
from streams_engine.faults import reach
from streams_engine.model import (
    ChangeSet,
    Finding,
    NetChanges,
    Op,
    RowChanges,
    RowTexts,
    SchemaChange,
    Severity,
    TableId,
    TextRows,
    Truncation,
)
from streams_engine.pipeline.changes.netting import net
from streams_engine.pipeline.changes.pending_commit import PendingCommit
from streams_engine.pipeline.changes.spans import Spans, in_log_order
from streams_engine.pipeline.changes.table_replication import Relaxation, TableReplication
from streams_engine.stats import Counters

__all__ = ["SessionRestart", "SetWriter", "changes_structure"]

SMALL_ROWS = 48
"""The most changes of a set that a writer may apply in one round trip."""

FOREIGN_KEY, CONSTRAINT = "23503", "23"
"""https://www.postgresql.org/docs/current/errcodes-appendix.html"""


class SessionRestart(Exception):
    """Signal to begin a new session from the last durable position; not an error."""


def changes_structure(changes: ChangeSet) -> bool:
    """Return True if a set holds a schema change."""
    return any(isinstance(part, SchemaChange) for part in changes.parts)


def first_refused(spans: Spans, writer: ChangeWriter) -> int:
    """Return the ``seq`` of the first change that the target rejects, in the order of the log."""
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
            writer.rollback()
    return order[low]


def _fits_in_order(spans: Spans, error: RowRejected) -> bool:
    """Return whether what a constraint refused may fit in the order of the log: where foreign keys
    are enforced, that order violates nothing."""
    state = str(error.details.get("sqlstate"))
    return spans.foreign_keys_enforced and state.startswith(CONSTRAINT)


class SetWriter:
    """Writes the sets of one session, and knows what its next commit makes durable. Used by one
    thread."""

    def __init__(
        self,
        writer: ChangeWriter,
        tables: Mapping[TableId, TableReplication],
        alias: str,
        counters: Counters,
        look_again: Callable[[ChangeWriter, Collection[TableId]], None],
        relax: Callable[[TableReplication, tuple[str, ...], ChangeWriter], None],
    ) -> None:
        """``look_again`` is called before a refused row is judged, and may raise `SessionRestart`;
        ``relax`` makes columns of the target hold every value."""
        self.writer, self.tables, self.alias, self.counters = writer, tables, alias, counters
        self.pending = PendingCommit()
        # To ask each set what the writer can would cost as much as to decode it.
        self.log_writer = writer if isinstance(writer, LogWriter) else None
        self._small_sets = writer if isinstance(writer, SmallSetWriter) else None
        self._text_writer: TextWriter | None = None
        self._look_again, self._relax = look_again, relax

    def takes_texts(self) -> bool:
        """Return True if sets may come as texts, and take them so from here on."""
        if isinstance(self.writer, TextWriter) and not self.writer.foreign_keys_enforced:
            self._text_writer = self.writer
        return self._text_writer is not None

    def take(self, changes: ChangeSet) -> ChangeSet:
        """Apply a set's rows, or hold them for the commit, and return the set as it was read.

        Raises `RowRejected`, and `SessionRestart` if its transaction has to be read again.
        """
        texts = self._texts_of(changes)
        if texts is not None:
            self.pending.applied, self.pending.texts = True, (changes, texts)
        else:
            changes = changes.decoded()
            if not self._apply(changes):
                return changes
            self.pending.applied = True
        reach("apply: done")
        return changes

    def commit(self, document: Mapping[str, Any]) -> None:
        """Commit all that is pending, together with the document."""
        if not self._commit_held(document):
            pending = self.pending
            self.writer.commit(document, dict(pending.updates), tuple(pending.quarantined))

    def insert_all(self, table: TableReplication, rows: Iterable[pa.RecordBatch]) -> int:
        """Insert all rows of a table, which is empty, in the open transaction; return how many."""
        count = 0
        for batch in rows:
            inserts = table.tracked.inserts(batch)
            converted = table.converted(inserts, self.pending.quarantined)
            if converted is not None and self.log_writer is not None:
                self.log_writer.append([converted], None, None)
            elif converted is not None:
                self.writer.apply(net([converted], table.key))
            count += batch.num_rows
        self.pending.applied = True
        return count

    def _commit_held(self, document: Mapping[str, Any]) -> bool:
        """Apply the set that is held; return True if it is committed with that."""
        texts, self.pending.texts = self.pending.texts, None
        if texts is not None and self._text_writer is not None:
            applied = self._text_writer.apply_texts_and_commit(texts[1], document)
            if applied is not None:
                self._note_applied(applied)
                return True
            self.pending = PendingCommit()
            self.pending.applied = self._apply(texts[0].decoded())
        held, self.pending.held = self.pending.held, None
        if held is None:
            return False
        if self._small_sets is not None:
            applied = self._small_sets.apply_and_commit(held[1], document)
            if applied is not None:
                self._note_applied(applied)
                return True
        self.pending.applied = False  # nothing is, and a refused set can be undone
        self._apply_steps(*held)
        return False

    def _apply(self, changes: ChangeSet) -> bool:
        """Apply the set's changes to the target; return False if there were none."""
        try:
            spans = self._spans(changes)
        except Relaxation as needed:
            # The columns are ready before the transaction is read again: its rows fit then.
            self._relax(needed.followed, needed.columns, self.writer)
            raise SessionRestart from None
        if self.log_writer is not None:
            logged = spans.logged()
            # What a schema change appends is of the same set, which ends behind it.
            position = None if changes_structure(changes) else changes.position
            if logged or position is not None:
                applied = self.log_writer.append(logged, position, changes.committed_at)
                self.counters.sent(applied.bytes)
            return bool(logged)
        steps = spans.steps()
        if not steps:
            return False
        if self._small_sets is not None and self._is_small(changes):
            self.pending.held = spans, steps
        else:
            self._apply_steps(spans, steps)
        return True

    def _texts_of(self, changes: ChangeSet) -> list[RowTexts] | None:
        """Return the changes of a set that may be applied and committed as texts; None if it may
        not."""
        if self._text_writer is None or not changes.parts or not self._is_alone(changes):
            return None
        rows: list[RowTexts] = []
        for part in changes.parts:
            if not isinstance(part, TextRows):
                return None
            for change in part.changes:
                table = self.tables.get(self._with_alias(change.table))
                form = None if table is None else table.texts
                row = None if form is None else form.row(change)
                if row is None:
                    return None
                if row.columns or row.op is Op.DELETE:
                    rows.append(row)
        self._count_texts(changes)
        return rows

    def _count_texts(self, changes: ChangeSet) -> None:
        for part in changes.parts:
            if isinstance(part, TextRows):
                for change in part.changes:
                    self.pending.count_one(self._with_alias(change.table), change.op)

    def _is_alone(self, changes: ChangeSet) -> bool:
        """Return True if nothing else becomes durable with a set of whole transactions."""
        return self.pending.empty and changes.position is not None

    def _is_small(self, changes: ChangeSet) -> bool:
        """Return True for a set that may be applied and committed in one round trip: nothing else
        becomes durable with it."""
        parts = all(isinstance(part, RowChanges) for part in changes.parts)
        return self._is_alone(changes) and parts and changes.rows <= SMALL_ROWS

    def _apply_steps(self, spans: Spans, steps: Sequence[NetChanges | Truncation]) -> None:
        writer = self.writer
        try:
            applied = writer.apply(steps)
        except RowRejected as error:
            self._look_again(writer, spans.changed)
            if not self.pending.applied:
                writer.rollback()
                applied = self._persist(spans, error)
            elif _fits_in_order(spans, error):  # the writer has undone this part alone
                applied = writer.apply(spans.steps(singly=True))
            else:  # a part of its transaction is applied: it cannot be undone
                raise
        self._note_applied(applied)

    def _note_applied(self, applied: ApplyResult) -> None:
        self._note_unmatched(applied.unmatched)
        self.counters.sent(applied.bytes)

    def _persist(self, spans: Spans, error: RowRejected) -> ApplyResult:
        """Apply a rejected set again: in the order of the log if foreign keys are enforced, because
        that order violates none, and without the rejected rows if these may be quarantined."""
        writer = self.writer
        foreign_key = error.details.get("sqlstate") == FOREIGN_KEY
        if foreign_key or _fits_in_order(spans, error):
            try:
                return writer.apply(spans.steps(singly=True))
            except RowRejected as again:
                writer.rollback()
                error = again
        while any(table.quarantine for table in self.tables.values()):
            seq = first_refused(spans, writer)
            batch, row = spans.at(seq)
            table = self.tables[self._with_alias(batch.table)]
            refused = table.refused(batch, row, error)
            self.pending.reject(table.mapping.source.id, refused, int(batch.op[row]))
            spans = spans.without(seq)
            try:
                return writer.apply(spans.steps(singly=True))
            except RowRejected as again:
                writer.rollback()
                error = again
        raise error

    def _note_unmatched(self, unmatched: Mapping[TableId, int]) -> None:
        if not unmatched:
            return
        self.counters.diverged(sum(unmatched.values()))
        self.counters.found(
            Finding(
                Severity.WARNING,
                "diverged",
                str(table),
                "Updates or deletes matched no row on the target: something else changed it, or "
                "it differed from the source at the start.",
                "Run verify(), and load the table again.",
            )
            for table in unmatched
        )

    def _spans(self, changes: ChangeSet) -> Spans:
        batches = in_log_order([p for p in changes.parts if isinstance(p, RowChanges)])
        converted = [(batch, self._converted(batch)) for batch in batches]
        return Spans(self.tables, self.alias, changes, converted, self.writer.foreign_keys_enforced)

    def _converted(self, batch: RowChanges) -> RowChanges | None:
        table = self.tables[self._with_alias(batch.table)]
        before, known = len(self.pending.quarantined), len(table.replaced)
        converted = table.converted(batch, self.pending.quarantined)
        if len(table.replaced) > known:
            self._note_replaced(table)
        quarantined = len(self.pending.quarantined) - before
        self.pending.count(table.mapping.source.id, converted, quarantined)
        return converted

    def _note_replaced(self, table: TableReplication) -> None:
        self.counters.found(
            Finding(
                Severity.WARNING,
                "zero-dates",
                f"{table.mapping.source.id}.{column}",
                "Zero or partial dates in the log became NULL (zeroDates: null).",
                "To keep them, choose zeroDates text; to refuse such rows, zeroDates error.",
            )
            for column in table.replaced
        )

    def _with_alias(self, table: TableId) -> TableId:
        return TableId(table.schema, table.name, self.alias)
