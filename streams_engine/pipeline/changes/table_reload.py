"""Read a table again while its log is followed, because a schema change gave its rows values that
the log does not contain."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import pyarrow as pa

from streams_engine.contracts import (
    ChangeWriter,
    ListingSource,
    LogWriter,
    NamingSource,
    Snapshot,
    WaitingSource,
)
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
from streams_engine.pipeline.changes.followed_log import FollowedLog, refused
from streams_engine.pipeline.changes.followed_mapper import FollowedMapper
from streams_engine.pipeline.changes.set_writer import SessionRestart
from streams_engine.pipeline.changes.subscriptions import change_source, logs_cascades
from streams_engine.pipeline.changes.table_replication import TableReplication
from streams_engine.pipeline.changes.target_structure import (
    RELOAD,
    TargetStructure,
    renamed_between,
)
from streams_engine.pipeline.multi_source import SourceSpec
from streams_engine.pipeline.snapshot.consistency import connected, referential_actions
from streams_engine.pipeline.snapshot.start_waits import StartWaits
from streams_engine.schema.evolution.plan import evolve
from streams_engine.schema.evolution.references import as_followed
from streams_engine.schema.mapping.tables import TableMapping, warning

__all__ = ["REWRITTEN", "Reloaded", "TableGone", "TableReload"]

REWRITTEN = "existing rows got values that the log does not contain."
LATE = (
    "its transaction also changes rows that have the columns of before, and MySQL cannot roll DDL "
    "back."
)

Attached = Callable[
    [SchemaChange, TableSchema, TableMapping, TableMapping, tuple[Position, bool]], TableReplication
]
"""Lets a table be followed with a new structure, from a position on. True: the table may have
another name on the source by now."""


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
    _emptied: set[TableId] = field(default_factory=set)
    """The tables of which the target has no rows."""
    _read: set[TableId] = field(default_factory=set)
    """The tables that the session has read again."""

    def emptied(self, tables: Iterable[tuple[TableSchema, bool]]) -> None:
        """Note that the target has no rows of these tables, because an earlier attempt to read them
        again was cut: the next session reads them first, but those (True) that get another name.
        Otherwise a table that was emptied for another's sake would never be read again once that
        has another name."""
        found = list(tables)
        self._emptied = {table.id for table, _ in found}
        self._first |= {
            table.id: SchemaChange(table, table, 0, rewritten=True)
            for table, renamed in found
            if not renamed
        }

    def is_begun(self, table: TableId) -> bool:
        """Return whether an earlier attempt to read a table again was cut, and left it empty."""
        return table in self._emptied

    def due(self) -> Iterator[SchemaChange]:
        """Yield the changes with which a session begins: tables that have to be read again before
        anything is applied. What was read beside another one is not due any more."""
        first, self._first = self._first, {}
        self._read.clear()
        for table, change in first.items():
            if table not in self._read:
                yield change

    def outdated(self, tables: Collection[TableId], writer: ChangeWriter) -> bool:
        """Return whether rows of these tables may be of a structure that nobody can tell any more:
        the source lacks a table under its name, or a type may have had other labels. The next
        session then tries to read these again first."""
        known = [self.log.applier.tables[name] for name in tables]
        found = {
            table.tracked.schema.id: SchemaChange(
                table.tracked.schema, table.tracked.schema, 0, rewritten=True
            )
            for table in known
            if not _is_there(self.log.origin, table.tracked.schema)
            or self._may_be_relabelled(table, writer)
        }
        self._first |= found
        return bool(found)

    def _may_be_relabelled(self, table: TableReplication, writer: ChangeWriter) -> bool:
        """Return whether a table has types that may have changed without a trace, and may be read
        again: not twice at one position."""
        applier, since = self.log.applier, table.tracked.since
        is_read = since is not None and not applier.source.at_or_after(applier.position, since)
        if not table.tracked.schema.types or is_read or writer.foreign_keys_enforced:
            return False
        return self.log.job.on_rewrite != "fail" and len(table.operations) == len(Op)

    def needed(
        self,
        change: SchemaChange,
        old: TableMapping | None,
        new: TableMapping | None,
        writer: ChangeWriter,
        applied: bool,
    ) -> str:
        """Return why DDL cannot give the existing rows the values that they have on the source;
        empty: it can."""
        if old is None or new is None:
            return ""
        if change.rewritten or change.table in self.target.unfit:
            return REWRITTEN
        if applied and self.target.is_late(change, old, new, writer):
            return LATE
        return REWRITTEN if self.unknown(change, old, new) else ""

    def unknown(self, change: SchemaChange, old: TableMapping, new: TableMapping) -> list[str]:
        """Return why existing rows may get other values than on the source."""
        steps = self.mapper.steps(change, old, new)
        return [why for step in steps for why in evolve(*step, self.log.job.structure).unknown]

    def run(
        self, change: SchemaChange, why: str, writer: ChangeWriter, applied: bool
    ) -> list[Reloaded]:
        """Give the target the table as it is in a new snapshot, with all its rows; so too the
        tables that have to be read in the same one. Return the table first.

        From that snapshot on their log counts. The rows are part of the transaction that the next
        commit ends; if DDL commits implicitly, the tables are empty until then. Raises `TableGone`.
        """
        self._demand(change, why, writer)
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
        with self._opened(change, keeps_log) as view:
            beside = [self._unchanged(table) for table in view.others]
            for other in beside:
                self._demand(other, why, writer)
            plans = [self._planned(change, view, keeps_log)]
            plans += [self._planned(one, view, keeps_log, beside=True) for one in beside]
            self._empty(plans, writer, applied)
            reach("reload: emptied")
            done = [self._filled(plan, view, writer) for plan in plans]
            reach("reload: rows applied")
        return done

    def _demand(self, change: SchemaChange, why: str, writer: ChangeWriter) -> None:
        """Raise `SchemaChangeRefused` if a table must not, or cannot, be read again."""
        if self.log.job.on_rewrite == "fail":
            raise refused(change, f"{why} They are not read again: onRewrite is fail")
        followed = self.log.applier.tables.get(self.log.stamped(change.table))
        if followed is not None and len(followed.operations) < len(Op):
            raise refused(
                change,
                f"{why} They cannot be read again, because the stream leaves operations of "
                "the table out: the target may have rows that the source does not",
            )
        if writer.foreign_keys_enforced:
            raise refused(
                change,
                f"{why} They cannot be read again, because foreign keys are enforced while "
                "changes are applied",
            )

    # What is read in one view

    @contextlib.contextmanager
    def _opened(self, change: SchemaChange, keeps_log: bool) -> Iterator[ReloadView]:
        """Open a snapshot of a table, and of those that foreign keys connect it to whose work the
        log does not hold: of one that was read alone, rows that went with rows of another before
        the view would stay, and rows that came after these went would go."""
        after = require(change.after, "the table that is loaded again")
        beside: frozenset[TableId] = frozenset()
        gone: frozenset[TableId] = frozenset()
        together = not keeps_log and not logs_cascades(self.log.origin.source)
        if together:
            beside = self._beside(change, ())
        waits = StartWaits(
            self.log.applier.control, self.log.counters, self.log.origin.alias, after.id
        )
        while True:
            there = self._existing(beside)
            gone |= beside - there
            others = sorted(there, key=str)
            present = self._present(change)
            with contextlib.ExitStack() as stack:
                try:
                    view = stack.enter_context(
                        reloading(self.log.origin, present, after, others, waits)
                    )
                except TableGone:
                    if self._present(change) == present:
                        raise
                    continue  # it got another name before the view was opened
                self.log.counters.phase = "following"  # it waits no more
                if view.is_another:  # it got another name before the view was opened
                    continue
                more = self._beside(change, view.schemas.values()) if together else beside
                if more <= there | gone:
                    self._tell_gone(change, gone)
                    yield view
                    return
            beside = more

    def _present(self, change: SchemaChange) -> TableSchema:
        """Return the table that a change reads again, under the name that it has on the source by
        now: it is not the one that got its name, unless their rows are exchanged or the change is
        that the other one is followed instead."""
        before, after = change.before, require(change.after, "the table that is loaded again")
        source = self.log.origin.source
        if before is None or change.exchanged or not isinstance(source, NamingSource):
            return replace(after, oid=None)
        meant = before if after.oid in (None, before.oid) else after
        name = source.present_name(meant)
        return replace(after, oid=None) if name is None else replace(meant, id=name)

    def _beside(self, change: SchemaChange, seen: Iterable[TableSchema]) -> frozenset[TableId]:
        """Return the followed tables that foreign keys connect a table to. ``seen``: tables as
        they are in a view, which may have more."""
        own = {table.id for table in (change.before, change.after) if table is not None}
        known = {bare(name): t.tracked.schema for name, t in self.log.applier.tables.items()}
        edges = [
            (bare(table.id), bare(key.referenced))
            for table in (*known.values(), *seen)
            for key in table.every_foreign_key
            if any(referential_actions(key))
        ]
        return (connected(edges, own) - own) & known.keys()

    def _existing(self, tables: frozenset[TableId]) -> frozenset[TableId]:
        source = self.log.origin.source
        if not tables or not isinstance(source, ListingSource):
            return tables
        scope = replace(self.log.origin.scope, tables=None, queries=())
        return tables & {bare(table) for table in source.tables(scope)}

    def _tell_gone(self, change: SchemaChange, gone: Iterable[TableId]) -> None:
        """Tell of tables that should be read in the same view but have another name by now, or
        none. Raises `SchemaChangeRefused` unless wrong rows are accepted."""
        names = ", ".join(sorted(map(str, gone)))
        if names and not self.log.origin.mapping.allow_lossy:
            failure = refused(
                change,
                f"{REWRITTEN} They cannot be read again, because foreign keys connect them to "
                f"{names}, which no longer exists under this name, and the log lacks what these do",
            )
            failure.remedy = (
                f"{RELOAD} Or accept wrong rows (options.allowLossy), and run verify(repair=True) "
                "once the stream has caught up."
            )
            raise failure
        for table in gone:
            self.log.counters.found(
                [
                    warning(
                        "cascade-not-repeated",
                        table,
                        f"{change.table} was read again, and this table has another name by now, "
                        "or was dropped: where rows of one were deleted or got other keys before "
                        "that, rows of the other that refer to them may be as they were.",
                        "Run verify(repair=True) once the stream has caught up.",
                    )
                ]
            )

    def _unchanged(self, table: TableId) -> SchemaChange:
        """Return the change of a table that is read again because of another one."""
        schema = self.log.applier.tables[self.log.stamped(table)].tracked.schema
        return SchemaChange(schema, schema, 0, rewritten=True)

    # Its structure and its rows

    def _planned(
        self, change: SchemaChange, view: ReloadView, keeps_log: bool, *, beside: bool = False
    ) -> _Plan:
        before = require(change.before, "the table that is loaded again")
        schema = view.schemas[bare(require(change.after, "the table that is loaded again").id)]
        if not change.exchanged:
            schema = as_followed(schema, self._names(schema))
        renamed = _renamed(before, schema, change.renamed)
        change = replace(change, after=schema, renamed=renamed, backfill={}, rewritten=False)
        old = self.mapper.by_rules(before, self.mapper.observed(change))
        new = self.mapper.by_rules(schema, self._as_seen(view, schema))
        named = self.mapper.named(change, old, new)
        old, new = named[0] or old, named[1] or new
        self.log.counters.found(self.mapper.findings_of(schema, new))
        losses = evolve(old, new, change.renamed, self.log.job.structure).losses
        kept = not (keeps_log or change.exchanged or change.table in self._emptied)
        if losses and kept and not self.log.origin.mapping.allow_lossy:
            raise refused(change, f"values would be lost. {' '.join(losses)}")
        return _Plan(change, old, new, schema, beside)

    def _names(self, schema: TableSchema) -> dict[int, TableId]:
        """Return the names under which the tables are followed, by oid, and that of one."""
        known = (table.tracked.schema for table in self.log.applier.tables.values())
        return {oid: bare(t.id) for t in (*known, schema) if (oid := t.oid) is not None}

    def _empty(self, plans: Sequence[_Plan], writer: ChangeWriter, applied: bool) -> None:
        """Empty the tables and give them their new structure."""
        emptied = Truncation(tuple(plan.old.target.id for plan in plans))
        if isinstance(writer, LogWriter):
            writer.append([emptied], None, None)
        elif self.target.transactional:
            writer.apply([emptied])
            for plan in plans:
                steps = evolve(plan.old, plan.new, plan.change.renamed, self.log.job.structure)
                apart, together = self.target.around_parents(plan.old, plan.new)
                first, then = steps.statements[: steps.alone], steps.statements[steps.alone :]
                statements = (*first, *apart, *then, *together)
                self.target.execute(statements, steps.alone, writer)
        else:
            for plan in plans:
                self._reshape(plan.change, plan.old, plan.new, writer, applied)
            writer.apply([Truncation(tuple(plan.new.target.id for plan in plans))])

    def _filled(self, plan: _Plan, view: ReloadView, writer: ChangeWriter) -> Reloaded:
        """Let a table be followed as it is in the view, with its rows."""
        since = view.position, view.is_early and not plan.beside
        followed = self.attached(plan.change, plan.schema, plan.old, plan.new, since)
        batches = view.rows(plan.schema.id, followed.tracked.extract)
        rows = self.log.applier.insert_all(followed, batches)
        self.target.unfit.discard(plan.change.table)
        self._reshaped.pop(plan.change.table, None)
        self._emptied.discard(plan.change.table)
        self._read.add(plan.change.table)
        self.log.counters.found([reloaded(followed.mapping.source.id, rows, plan.beside)])
        return Reloaded(plan.change, followed, view.position)

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
            renamed=renamed_between(old, new),
            emptied=emptied,
            columns=tuple(sorted(added)),
        )
        self.target.report([writer.execute(statements)])
        if applied:
            raise SessionRestart

    def _as_seen(self, view: ReloadView, schema: TableSchema) -> RowObservations:
        """Return what the rows of a reloaded table show, with what is known of other tables."""
        table = self.log.stamped(schema.id)
        found = view.observed(schema, self.log.origin.alias)
        others = {
            (other, column.source.name)
            for other, followed in self.log.applier.tables.items()
            for column in followed.mapping.columns
            if other != table and column.target.type.name == "bool"
        }
        return replace(found, booleans=found.booleans | others)


@dataclass(frozen=True, slots=True)
class _Plan:
    """What becomes of a table that is read again."""

    change: SchemaChange
    old: TableMapping
    new: TableMapping
    schema: TableSchema
    """The source's own, in the view."""
    beside: bool
    """It is read again because of another table."""


@dataclass(frozen=True, slots=True)
class ReloadView:
    """Tables in a consistent snapshot at a position of their log."""

    schemas: Mapping[TableId, TableSchema]
    """By the names under which they are followed; the table that is read again comes first."""
    position: Position
    _snapshot: Snapshot
    _there: TableSchema
    """The table that is read again, as the source has it."""
    is_early: bool
    """It is known by its oid, and read whatever its name is by now."""
    is_another: bool = False
    """Under its name another table was found."""

    @property
    def others(self) -> list[TableId]:
        """Return the tables besides the one that is read again."""
        return list(self.schemas)[1:]

    def observed(self, schema: TableSchema, alias: str) -> RowObservations:
        """Scan the rows of a table for what the mapping depends on."""
        if not isinstance(self._snapshot, RowScan):
            return RowObservations()
        seen = self._snapshot.observe(
            [schema], booleans=True, zero_dates=True, times=True, foreign_keys=False
        )
        return seen.stamped(alias)

    def rows(self, table: TableId, extract: Extract) -> Iterator[pa.RecordBatch]:
        """Yield all rows of a table's extract."""
        there = self._there.id if bare(table) == next(iter(self.schemas)) else bare(table)
        extract = replace(extract, table=there)
        with contextlib.closing(self._snapshot.read(extract, Chunk(there))) as batches:
            yield from batches


@contextlib.contextmanager
def reloading(
    origin: SourceSpec,
    present: TableSchema,
    followed: TableSchema,
    others: Sequence[TableId],
    waits: StartWaits,
) -> Iterator[ReloadView]:
    """Open a snapshot of tables, from whose position the log continues.

    ``present``: the table that is read again, under its name on the source; ``followed``: as the
    stream knows it. Raises `TableGone` if it is gone, and `StartInterrupted` if the run is to
    pause or to end while it waits.
    """
    tables = (bare(present.id), *others)
    names = tuple(f"{table.schema}.{table.name}" for table in tables)
    scope = replace(origin.scope, tables=names, queries=())
    source = change_source(origin)
    if isinstance(origin.source, WaitingSource):
        origin.source.watch_waits(waits)
    with contextlib.ExitStack() as stack:
        try:
            snapshot = stack.enter_context(source.snapshot_at_position(scope, 1, resume=True))
        except NotFound:
            raise _gone(followed.id) from None
        there = snapshot.catalog.table(tables[0])
        if there is None:
            raise _gone(followed.id)
        own = bare(followed.id)
        beside = {bare(table): snapshot.catalog.table(bare(table)) for table in others}
        # What else is followed is not in this view, as the tables that it inherits from.
        parents = tuple(map(bare, followed.inherits))
        notes = followed.source_notes
        schemas = {own: replace(there, id=own, inherits=parents, source_notes=notes)}
        schemas |= {name: schema for name, schema in beside.items() if schema is not None}
        early = present.oid is not None
        another = early and there.oid != present.oid
        yield ReloadView(schemas, snapshot.position, snapshot, there, early, another)


def _is_there(origin: SourceSpec, table: TableSchema) -> bool:
    """Return whether the source has a table now, and no other one under its name."""
    scope = replace(origin.scope, tables=(f"{table.id.schema}.{table.id.name}",), queries=())
    try:
        found = change_source(origin).catalog(scope).table(replace(table.id, alias=""))
    except NotFound:
        return False
    return found is not None and (None in (found.oid, table.oid) or found.oid == table.oid)


def bare(table: TableId) -> TableId:
    """Return a name without the alias of its source."""
    return replace(table, alias="")


def reloaded(table: TableId, rows: int, beside: bool) -> Finding:
    """Return the finding for a table that was read again, or was so because of another one."""
    why = (
        "A schema change gave its rows values that the log does not contain, or came in one "
        "transaction with changes of rows"
    )
    if beside:
        why = (
            "Foreign keys connect it to a table that was read again, and the log lacks what they do"
        )
    return warning(
        "table-reloaded",
        table,
        f"{why}: all {rows} rows were read again.",
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
