"""Handle schema changes of the log: their effect on the target and on the followed tables."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from streams_engine.contracts import ChangeWriter, LogWriter, StructureSink, TableWriter
from streams_engine.errors import SchemaChangeRefused, require
from streams_engine.faults import reach
from streams_engine.model import (
    Dialect,
    Finding,
    ForeignKey,
    Position,
    SchemaChange,
    TableId,
    TableSchema,
    Truncation,
)
from streams_engine.pipeline.changes.cascades import TargetKeys
from streams_engine.pipeline.changes.followed_log import FollowedLog, refused
from streams_engine.pipeline.changes.followed_mapper import FollowedMapper
from streams_engine.pipeline.changes.referring_tables import follow_rename
from streams_engine.pipeline.changes.table_reload import REWRITTEN, TableGone, TableReload
from streams_engine.pipeline.changes.table_replication import TableReplication
from streams_engine.pipeline.changes.target_structure import TargetStructure
from streams_engine.pipeline.checkpoint_records import DdlIntentRecord, TableRecord, removed
from streams_engine.pipeline.multi_source import SourceSpec
from streams_engine.schema.evolution.differences import canonical
from streams_engine.schema.mapping.tables import TableMapping, warning

__all__ = ["SchemaChangeHandler", "skipped_by_change"]

Attach = Callable[
    [
        SourceSpec,
        TableMapping,
        TableSchema,
        "tuple[str, ...] | None",
        Position | None,
        Mapping[TableId, TableSchema],
    ],
    TableReplication,
]

ReadUntil = tuple[Position, bool]
"""Up to where the rows of a table are known, and whether it was read before its place in the
log."""

DemandCascades = Callable[[SourceSpec, Mapping[TableId, TableReplication], TargetKeys], None]


@dataclass
class SchemaChangeHandler:
    """Carries schema changes of one source over to the target, as ``schemaChanges`` says."""

    log: FollowedLog
    policy: str
    attach: Attach
    demand_cascades: DemandCascades
    """Raises if the target does not repeat referential actions that the log lacks."""
    joins_new_tables: bool = True
    """New tables are loaded while the log is followed."""

    def __post_init__(self) -> None:
        self.mapper = FollowedMapper(self.log)
        self.target = TargetStructure(self.log, self.mapper)
        self._reload = TableReload(self.log, self.mapper, self.target, self._attached)

    def __call__(
        self, change: SchemaChange, writer: ChangeWriter, applied: bool
    ) -> TableReplication | None:
        """Apply a schema change. Return the table's new replication; None if it is no longer
        followed.

        ``applied``: rows of the same transaction are applied and not committed. Raises
        `SchemaChangeRefused`, and `SessionRestart` if the transaction has to be read again.
        """
        known = [table.mapping.source.id for table in self.log.applier.tables.values()]
        if change.after is not None and not self.log.origin.wants(change.after.id, known):
            change = change.instead or change
        if change.after is not None and not self.log.origin.wants(change.after.id, known):
            if change.before is None or self.log.origin.scope.tables is not None:
                self._leave(change)
                return None
            # It went to another database: of the one that is followed it is dropped.
            change = replace(change, after=None, renamed={}, rewritten=False)
        elif change.hindrance is not None:
            raise _unfollowable(change, change.hindrance)
        if change.before is None and change.filled:
            if self.joins_new_tables:
                return None  # it joins with its rows
            raise self._joins(change)
        policy = self._policy(change)
        if policy == "fail":
            raise refused(change, "schemaChanges is fail")
        flags = self.mapper.observed(change)
        old = None if change.before is None else self.mapper.by_rules(change.before, flags)
        new = None if change.after is None else self.mapper.by_rules(change.after, flags)
        old, new = self.mapper.named(change, old, new)
        found = self.mapper.findings_of(change.after, new) if change.after and new else []
        if policy == "apply" and isinstance(self.log.sink, StructureSink):
            self.log.counters.found(found)
            reach("ddl: begun")
            if why := self._reload.needed(change, old, new, writer, applied):
                return self._read_again(change, why, old, writer, applied)
            self.target.carry(change, old, new, writer, applied)
            reach("ddl: executed")
        elif policy == "apply" and isinstance(writer, TableWriter):
            if change.rewritten or _computes_anew(change):
                raise refused(change, REWRITTEN)
            reach("ddl: begun")
            self.target.alter(change, old, new, writer)
            reach("ddl: executed")
        elif policy == "apply" and isinstance(writer, LogWriter):
            return self._logged(change, old, new, writer, applied)
        elif old is not None and new is None and isinstance(writer, LogWriter):
            # Its name may be given to another table, which begins without rows.
            writer.append([Truncation((old.target.id,))], None, None)
        since = self._read_until(change)
        self._remember(change, since)
        if new is None or change.after is None:
            return None
        if old is not None and change.before is not None and change.before.id != change.after.id:
            self._follow_rename(change, old, new)
        if old is None and self.policy == "ignore":
            return None
        return self._attached(change, change.after, old, new, since)

    def _policy(self, change: SchemaChange) -> str:
        """Return what becomes of a change: a table of which the target has no rows, because an
        earlier run began to read it again, is read whatever the policy is by now."""
        return "apply" if self._reload.is_begun(change.table) else self.policy

    def _read_until(self, change: SchemaChange) -> ReadUntil | None:
        """Return up to where the rows of a table are known that was read, or read again, in a view
        which the log has not reached yet."""
        applier = self.log.applier
        followed = applier.tables.get(self.log.stamped(change.table))
        if change.before is None or followed is None or followed.tracked.since is None:
            return None
        if applier.source.at_or_after(applier.position, followed.tracked.since):
            return None
        return followed.tracked.since, followed.tracked.early

    def _follow_rename(self, change: SchemaChange, old: TableMapping, new: TableMapping) -> None:
        own = self.log.stamped(change.table)
        others = (table for name, table in self.log.applier.tables.items() if name != own)
        for table in follow_rename(others, old, new):
            name = table.mapping.source.id
            since = table.tracked.since or self.log.applier.position
            record = TableRecord(name, table.tracked.schema, since, early=table.tracked.early)
            self.log.applier.remember({record.key: record.to_json()})

    def emptied(self, tables: Iterable[tuple[TableSchema, bool]]) -> None:
        """Note that the target has no rows of these tables: a session begins by reading them, but
        those (True) that get another name, which the log tells."""
        self._reload.emptied(tables)

    def due(self) -> Iterator[SchemaChange]:
        """Yield the changes with which a session begins."""
        self.target.begin()
        return self._reload.due()

    def outdated(self, tables: Collection[TableId], writer: ChangeWriter) -> bool:
        """Return whether rows of these tables may be of a structure that nobody can tell any more;
        a session then begins by reading these again or dropping them, or is refused."""
        return self._reload.outdated(tables, writer)

    def _logged(
        self,
        change: SchemaChange,
        old: TableMapping | None,
        new: TableMapping | None,
        writer: LogWriter,
        applied: bool,
    ) -> TableReplication | None:
        """Apply a change to a target that keeps the log: what its rows cannot become, they are
        given again."""
        renamed = old is not None and new is not None and old.target.id != new.target.id
        if renamed and self.joins_new_tables:
            change, new = replace(change, after=None, renamed={}, rewritten=False), None
        if new is None or change.after is None:
            if old is not None:
                writer.drop(old.target.id)
            self._remember(change)
            return None
        if old is not None and (untold := self._untold(change, old, new, writer)):
            if self.log.job.on_rewrite == "reload" or change.rewritten:
                return self._read_again(change, REWRITTEN, old, writer, applied)
            if not self.log.origin.mapping.allow_lossy:
                raise refused(
                    change, f"{REWRITTEN} They are not read again: onRewrite is fail. {untold[0]}"
                )
            self.log.counters.found(warning("rows-as-given", change.table, why) for why in untold)
        since = self._read_until(change)
        self._remember(change, since)
        followed = self._attached(change, change.after, old, new, since)
        if old is None:
            writer.create(followed.mapping.target.id, followed.columns, followed.key)
        return followed

    def _untold(
        self, change: SchemaChange, old: TableMapping, new: TableMapping, writer: LogWriter
    ) -> list[str]:
        """Return why rows that the target already has, and cannot change, would differ from the
        source's."""
        untold = [*self._reload.unknown(change, old, new), *_implicit_values(change)]
        renamed = {was: now for was, now in change.renamed.items() if now}
        if renamed:
            names = ", ".join(f"{was} to {now}" for was, now in renamed.items())
            untold.append(f"Columns are renamed ({names}): rows of before keep the old names.")
        if filled := sorted(name for name, value in change.backfill.items() if value is not None):
            untold.append(f"Rows of before got values in new columns ({', '.join(filled)}).")
        kept = {change.renamed.get(c.source.name, c.source.name) for c in old.columns}
        added = {c.target.name for c in new.columns if c.source.name not in kept}
        if again := sorted(added & writer.column_names(old.target.id)):
            untold.append(
                f"Columns that were dropped are added again ({', '.join(again)}): rows of before "
                "have values there."
            )
        return [REWRITTEN, *untold] if change.rewritten else untold

    def _read_again(
        self,
        change: SchemaChange,
        why: str,
        old: TableMapping | None,
        writer: ChangeWriter,
        applied: bool,
    ) -> TableReplication | None:
        """Read the rows of the table again, and of those that have to be read with it; return None
        if the table is gone."""
        if self.target.is_dropped(change.table):
            self._drop_early(change, old, writer, applied)
            return None
        try:
            reloaded, *beside = self._reload.run(change, why, writer, applied)
        except TableGone as gone:
            self._give_up(change, gone, old, writer, applied)
            return None
        for one in (reloaded, *beside):
            self._remember(one.change, (one.position, one.followed.tracked.early))
        self.log.applier.tables |= {t.followed.mapping.source.id: t.followed for t in beside}
        return reloaded.followed

    def _give_up(
        self,
        change: SchemaChange,
        gone: TableGone,
        old: TableMapping | None,
        writer: ChangeWriter,
        applied: bool,
    ) -> None:
        """Drop a table that should be read again but is gone. Further on the log says so, or says
        that it was renamed: then it joins under its new name, with its rows."""
        keeps_log = isinstance(writer, LogWriter) and self.joins_new_tables
        if not (keeps_log or self.log.origin.mapping.allow_lossy):
            raise gone.refused
        self._drop_early(change, old, writer, applied)

    def _drop_early(
        self,
        change: SchemaChange,
        old: TableMapping | None,
        writer: ChangeWriter,
        applied: bool,
    ) -> None:
        """Drop the target's table, and follow it no longer."""
        dropped = replace(change, after=None, renamed={}, backfill={}, rewritten=False)
        if isinstance(writer, LogWriter):
            writer.drop(require(old, "the table that is gone").target.id)
        else:
            self.target.carry(dropped, old, None, writer, applied)
        self._remember(dropped)
        self.log.counters.found(
            [
                warning(
                    "dropped-early",
                    self.log.stamped(change.table),
                    "The table had to be read again, but no longer exists under this name: it was "
                    "dropped on the target. If it was renamed, it joins under its new name.",
                )
            ]
        )

    def _leave(self, change: SchemaChange) -> None:
        """Stop following a table that is not, or no longer, among those that the user named."""
        if change.before is None or change.after is None:
            return
        self.log.applier.remember(removed([TableRecord.key_of(self.log.stamped(change.before.id))]))
        self.log.counters.found(
            [skipped_by_change(self.log.stamped(change.before.id), f"is now {change.after.id}")]
        )

    @staticmethod
    def _joins(change: SchemaChange) -> SchemaChangeRefused:
        return SchemaChangeRefused(
            f"A table outside the stream was renamed to {change.table}, which is one of the "
            "stream's tables: its rows are not in the log.",
            remedy="Start the stream again: it then loads the table.",
            table=str(change.table),
        )

    def _remember(self, change: SchemaChange, since: ReadUntil | None = None) -> None:
        """Record the table's structure from here on, with the next commit of the position.

        ``since``: up to where the table's rows are known; None: up to the position.
        """
        named = change.before if change.after is None else change.after
        intended = {change.table, self.target.recorded(require(named, "a table that changed").id)}
        updates = removed(DdlIntentRecord.key_of(self.log.stamped(table)) for table in intended)
        if change.before is not None:
            updates |= removed([TableRecord.key_of(self.log.stamped(change.before.id))])
        if change.after is not None and not (change.before is None and self.policy == "ignore"):
            table = self.log.stamped(change.after.id)
            until, early = since or (self.log.applier.position, False)
            record = TableRecord(table, change.after, until, early=early)
            updates[record.key] = record.to_json()
        self.log.applier.remember(updates)

    def _attached(
        self,
        change: SchemaChange,
        schema: TableSchema,
        old: TableMapping | None,
        new: TableMapping,
        since: ReadUntil | None = None,
    ) -> TableReplication:
        followed = self.log.applier.tables.get(self.log.stamped(change.table))
        if old is not None and followed is not None:
            ignoring = self._policy(change) == "ignore"
            new = self.mapper.as_there(change, followed.mapping, old, new, ignoring)
        table = self.log.stamped(schema.id)
        self.log.counters.expect(table, None)
        self.log.counters.enter(table, "following")
        schemas = {t: f.tracked.schema for t, f in self.log.applier.tables.items()}
        identity = change.identity
        everything = {**schemas, table: schema}
        until, early = since or (None, False)
        attached = self.attach(self.log.origin, new, schema, identity, until, everything)
        attached.tracked = replace(attached.tracked, early=early)
        if change.before is not None and self.target.is_dropped(schema.id):
            attached.ignore()
        if not self.log.applier.pending.waiting:
            self._demand_cascades(change, attached)
        return attached

    def _demand_cascades(self, change: SchemaChange, changed: TableReplication) -> None:
        """Check the foreign keys again: they may refer to another table now, or to a renamed
        one."""
        tables = dict(self.log.applier.tables)
        tables.pop(self.log.stamped(change.table), None)
        tables[changed.mapping.source.id] = changed
        planned = changed.mapping.target.id

        def target_keys(mapping: TableMapping) -> Sequence[ForeignKey]:
            made = mapping.target.id != planned or self.log.job.structure.foreign_keys
            return mapping.target.foreign_keys if made else ()

        self.demand_cascades(self.log.origin, tables, target_keys)


def _unfollowable(change: SchemaChange, why: str) -> SchemaChangeRefused:
    table = change.after.id if change.after else change.table
    return SchemaChangeRefused(
        f"{table} cannot be followed: {why}",
        remedy="Leave the table out of the stream (tables), or drop it and start with fresh=True.",
        table=str(table),
    )


def _implicit_values(change: SchemaChange) -> Iterator[str]:
    """Yield the columns with which MySQL gave existing rows its type's own value."""
    if change.before is None or change.after is None or change.after.dialect is not Dialect.MYSQL:
        return
    known = {change.renamed.get(column.name, column.name) for column in change.before.columns}
    for column in change.after.columns:
        given = column.default or column.generated or column.identity
        if column.name not in known and not column.nullable and given is None:
            yield (
                f"Column {change.after.id}.{column.name} is NOT NULL without a default: existing "
                "rows got the value that the server chose."
            )


def _computes_anew(change: SchemaChange) -> bool:
    """Return True if a generated column was added, or an expression changed."""
    if change.before is None or change.after is None:
        return False
    names = {change.renamed.get(c.name, c.name): c.generated for c in change.before.columns}
    return any(
        column.generated is not None
        and canonical(names.get(column.name), change.renamed) != canonical(column.generated)
        for column in change.after.columns
    )


def skipped_by_change(table: TableId, why: str) -> Finding:
    """Return the finding that a table has left the stream."""
    return warning(
        "left-the-stream",
        table,
        f"The table {why}, and is no longer in the stream: the target keeps its rows.",
        "Drop the target's table. Or, to load it again, empty it and add it to the stream's "
        "tables.",
    )
