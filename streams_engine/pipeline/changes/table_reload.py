"""Read a table again while its log is followed, because a schema change gave its rows values that
the log does not contain."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

import pyarrow as pa

from streams_engine.contracts import ChangeWriter, LogWriter, Snapshot, WaitingSource
from streams_engine.errors import NotFound, SchemaChangeRefused, require
from streams_engine.faults import reach
from streams_engine.model import (
    Chunk,
    Extract,
    Finding,
    Op,
    Position,
    RowObservations,
    SchemaChange,
    TableId,
    TableSchema,
    Truncation,
)
from streams_engine.pipeline.catalog_mapper import RowScan
from streams_engine.pipeline.changes.applier import SessionRestart
from streams_engine.pipeline.changes.followed_log import FollowedLog, refused
from streams_engine.pipeline.changes.followed_mapper import FollowedMapper
from streams_engine.pipeline.changes.subscriptions import change_source, logs_cascades
from streams_engine.pipeline.changes.table_replication import TableReplication
from streams_engine.pipeline.changes.target_structure import TargetStructure, renamed_between
from streams_engine.pipeline.multi_source import SourceSpec
from streams_engine.pipeline.snapshot.consistency import referential_actions
from streams_engine.pipeline.snapshot.start_waits import StartWaits
from streams_engine.schema.evolution.plan import evolve
from streams_engine.schema.mapping.tables import TableMapping, warning

__all__ = ["REWRITTEN", "Reloaded", "TableGone", "TableReload"]

REWRITTEN = "existing rows got values that the log does not contain."

Attached = Callable[
    [SchemaChange, TableSchema, TableMapping, TableMapping, Position], TableReplication
]
"""Lets a table be followed with a new structure, from a position on."""


class TableGone(Exception):
    """A table that should be read again no longer exists under its name."""

    def __init__(self, refused: SchemaChangeRefused) -> None:
        super().__init__(str(refused))
        self.refused = refused


@dataclass(frozen=True, slots=True)
class Reloaded:
    """A table that was read again, and the position from which its log counts."""

    change: SchemaChange
    followed: TableReplication
    position: Position


@dataclass
class TableReload:
    """Reads tables again whose rows got other values by a schema change."""

    log: FollowedLog
    mapper: FollowedMapper
    target: TargetStructure
    attached: Attached
    _reshaped: dict[TableId, tuple[str, ...]] = field(default_factory=dict)
    """What was executed for tables whose rows are still to be read: statements that change nothing
    could seem to be missing for ever."""
    _first: dict[TableId, SchemaChange] = field(default_factory=dict)
    """The changes of tables that the next session reads again first, as they are followed."""

    def due(self) -> list[SchemaChange]:
        """Return the changes with which a session begins: tables that have to be read again before
        anything is applied."""
        first, self._first = self._first, {}
        return list(first.values())

    def needed(
        self, change: SchemaChange, old: TableMapping | None, new: TableMapping | None
    ) -> bool:
        """Return whether DDL cannot give the existing rows the values that they have on the
        source."""
        if old is None or new is None:
            return False
        if change.rewritten or change.table in self.target.unfit:
            return True
        return bool(self.unknown(change, old, new))

    def unknown(self, change: SchemaChange, old: TableMapping, new: TableMapping) -> list[str]:
        """Return why existing rows may get other values than on the source."""
        steps = self.mapper.steps(change, old, new)
        return [why for step in steps for why in evolve(*step, self.log.job.structure).unknown]

    def run(self, change: SchemaChange, writer: ChangeWriter, applied: bool) -> Reloaded:
        """Give the target the table as it is in a new snapshot, with all its rows.

        From that snapshot on its log counts. The rows are part of the transaction that the next
        commit ends; if DDL commits implicitly, the table is empty until then. Raises `TableGone`.
        """
        if self.log.job.on_rewrite == "fail":
            raise refused(change, f"{REWRITTEN} They are not read again: onRewrite is fail")
        followed = self.log.applier.tables.get(self.log.stamped(change.table))
        if followed is not None and len(followed.operations) < len(Op):
            raise refused(
                change,
                f"{REWRITTEN} They cannot be read again, because the stream leaves operations of "
                "the table out: the target may have rows that the source does not",
            )
        if writer.foreign_keys_enforced:
            raise refused(
                change,
                f"{REWRITTEN} They cannot be read again, because foreign keys are enforced while "
                "changes are applied",
            )
        before = require(change.before, "the table that is loaded again")
        numbered = all(column.number is not None for column in before.columns)
        known = numbered or before.oid is not None
        keeps_log = isinstance(writer, LogWriter)
        if applied and known and self.target.transactional and not keeps_log:
            # A view waits for transactions that are open on its server, which may be this one's.
            self._first[change.table] = SchemaChange(
                before, before, 0, rewritten=True, exchanged=change.exchanged
            )
            writer.rollback()
            raise SessionRestart
        after = require(change.after, "the table that is loaded again")
        waits = StartWaits(
            self.log.applier.control, self.log.counters, self.log.origin.alias, after.id
        )
        with reloading(self.log.origin, after.id, waits) as view:
            self.log.counters.phase = "following"  # it waits no more
            renamed = _renamed(before, view.schema, change.renamed)
            change = replace(
                change, after=view.schema, renamed=renamed, backfill={}, rewritten=False
            )
            old = self.mapper.by_rules(before, self.mapper.booleans(change))
            new = self.mapper.by_rules(view.schema, self._as_seen(view))
            self.log.counters.found(self.mapper.findings_of(view.schema.id))
            named = self.mapper.named(change, old, new)
            old, new = named[0] or old, named[1] or new
            losses = evolve(old, new, change.renamed, self.log.job.structure).losses
            allowed = keeps_log or change.exchanged or self.log.origin.mapping.allow_lossy
            if losses and not allowed:
                raise refused(change, f"values would be lost. {' '.join(losses)}")
            emptied = Truncation((old.target.id,))
            if isinstance(writer, LogWriter):
                writer.append([emptied], None, None)
            elif self.target.transactional:
                writer.apply([emptied])
                plan = evolve(old, new, change.renamed, self.log.job.structure)
                self.target.execute(plan.statements, plan.alone, writer)
            else:
                self._reshape(change, old, new, writer, applied)
                writer.apply([Truncation((new.target.id,))])
            reach("reload: emptied")
            followed = self.attached(change, view.schema, old, new, view.position)
            batches = view.rows(followed.tracked.extract)
            rows = self.log.applier.insert_all(followed, batches, writer)
            reach("reload: rows applied")
        self.target.unfit.discard(change.table)
        self._reshaped.pop(change.table, None)
        self.log.counters.found([reloaded(followed.mapping.source.id, rows)])
        self.log.counters.found(self._unrepeated(before.id))
        return Reloaded(change, followed, view.position)

    def _reshape(
        self,
        change: SchemaChange,
        old: TableMapping,
        new: TableMapping,
        writer: ChangeWriter,
        applied: bool,
    ) -> None:
        """Empty a table and give it its new structure, on a target whose DDL commits implicitly."""
        statements = self.target.pending(old, new, change.renamed, writer, newest=True)
        texts = tuple(statement.sql for statement in statements)
        if not statements or self._reshaped.get(change.table) == texts:
            return
        self._reshaped[change.table] = texts
        emptied = [Truncation((old.target.id,))]
        added = {*self.target.added.get(str(old.source.id), ())}
        added |= {c.name for c in new.target.columns} - {c.name for c in old.target.columns}
        self.target.commit_intent(
            change,
            writer,
            applied=applied,
            lossy=False,
            renamed=renamed_between(old, new),
            emptied=emptied,
            columns=tuple(sorted(added)),
        )
        self.target.report([writer.execute(statements)])
        if applied:
            raise SessionRestart

    def _unrepeated(self, parent: TableId) -> Iterator[Finding]:
        """Yield a finding for each table in which deleted rows of one that was read again deleted
        or changed others without a trace in the log: the target did not see them go."""
        if logs_cascades(self.log.origin.source):
            return
        for table, followed in self.log.applier.tables.items():
            for key in followed.tracked.schema.foreign_keys:
                if any(referential_actions(key)) and bare(key.referenced) == bare(parent):
                    yield warning(
                        "cascade-not-repeated",
                        f"{table}.{key.name}",
                        f"{parent} was read again: where rows of it were deleted or got other keys "
                        "before that, the rows here that refer to them may be as they were.",
                        "Run verify(repair=True) once the stream has caught up.",
                    )

    def _as_seen(self, view: ReloadView) -> RowObservations:
        """Return what the rows of a reloaded table show, with what is known of other tables."""
        table = self.log.stamped(view.schema.id)
        found = view.observed(self.log.origin.alias)
        others = {
            (other, column.source.name)
            for other, followed in self.log.applier.tables.items()
            for column in followed.mapping.columns
            if other != table and column.target.type.name == "bool"
        }
        return RowObservations(found.booleans | others, found.zero_dates)


@dataclass(frozen=True, slots=True)
class ReloadView:
    """One table in a consistent snapshot at a position of its log."""

    schema: TableSchema
    position: Position
    _snapshot: Snapshot

    def observed(self, alias: str) -> RowObservations:
        """Scan the rows for what the mapping depends on."""
        if not isinstance(self._snapshot, RowScan):
            return RowObservations()
        seen = self._snapshot.observe(
            [self.schema], booleans=True, zero_dates=True, foreign_keys=False
        )
        return seen.stamped(alias)

    def rows(self, extract: Extract) -> Iterator[pa.RecordBatch]:
        """Yield all rows of the extract."""
        with contextlib.closing(self._snapshot.read(extract, Chunk(self.schema.id))) as batches:
            yield from batches


@contextlib.contextmanager
def reloading(origin: SourceSpec, table: TableId, waits: StartWaits) -> Iterator[ReloadView]:
    """Open a snapshot of one table, from whose position the log continues.

    Raises `TableGone`, and `StartInterrupted` if the run is to pause or to end while it waits.
    """
    scope = replace(origin.scope, tables=(f"{table.schema}.{table.name}",), queries=())
    source = change_source(origin)
    if isinstance(origin.source, WaitingSource):
        origin.source.watch_waits(waits)
    with contextlib.ExitStack() as stack:
        try:
            snapshot = stack.enter_context(source.snapshot_at_position(scope, 1, resume=True))
        except NotFound:
            raise _gone(table) from None
        schema = snapshot.catalog.table(replace(table, alias=""))
        if schema is None:
            raise _gone(table)
        yield ReloadView(schema, snapshot.position, snapshot)


def bare(table: TableId) -> TableId:
    """Return a name without the alias of its source."""
    return replace(table, alias="")


def reloaded(table: TableId, rows: int) -> Finding:
    """Return the finding for a table that was read again."""
    return warning(
        "table-reloaded",
        table,
        f"A schema change gave its rows values that the log does not contain: all {rows} rows were "
        "read again.",
        "Nothing has to be done.",
    )


def _renamed(before: TableSchema, now: TableSchema, told: Mapping[str, str]) -> dict[str, str]:
    """Return the old and new names of renamed columns: of those that the server still identifies
    by number, else as the log told them."""
    same = None in (before.oid, now.oid) or before.oid == now.oid  # else another has its name
    names = {column.number: column.name for column in now.columns} if same else {}
    names.pop(None, None)
    moved = {c.name: names[c.number] for c in before.columns if c.number in names}
    renamed = {was: name for was, name in moved.items() if was != name}
    return renamed | {was: name for was, name in told.items() if was not in moved}


def _gone(table: TableId) -> TableGone:
    refused = SchemaChangeRefused(
        f"{table} has to be read again after a schema change, but the table no longer exists under "
        "this name.",
        remedy="Let the target's table be dropped (allowLossy): if it was renamed, it joins under "
        "its new name. Or load again with start(fresh=True), or leave it out of the stream.",
        table=str(table),
    )
    return TableGone(refused)
