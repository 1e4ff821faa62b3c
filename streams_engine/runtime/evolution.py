"""A table changes in the log: what that means for the target, and for what follows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from streams_engine.changes import SchemaChange
from streams_engine.errors import RowRejected, SchemaChangeRefused, StreamsError, TargetConflict
from streams_engine.faults import reach
from streams_engine.model import (
    Catalog,
    Finding,
    ForeignKey,
    Observed,
    Position,
    TableId,
    TableSchema,
)
from streams_engine.protocols import ChangeWriter, Sink, Statement, StructureSink
from streams_engine.required import required
from streams_engine.runtime.cascades import TargetKeys
from streams_engine.runtime.control import Control
from streams_engine.runtime.followed import Followed
from streams_engine.runtime.following import Restart
from streams_engine.runtime.joining import Origin
from streams_engine.runtime.planning import adapt
from streams_engine.runtime.runner import Convert, Job
from streams_engine.schema.ddl import ddl_of
from streams_engine.schema.evolving import create, drop, evolve, pending
from streams_engine.schema.mapping import TableMapping, warning
from streams_engine.schema.recording import to_document
from streams_engine.schema.relaxation import fits_boolean, relax
from streams_engine.schema.structure import Structure
from streams_engine.stats import Counters

if TYPE_CHECKING:
    from streams_engine.runtime.following import Follower

__all__ = ["Evolution", "left"]

Attach = Callable[
    [
        Origin,
        TableMapping,
        TableSchema,
        "tuple[str, ...] | None",
        Position | None,
        Mapping[TableId, TableSchema],
    ],
    Followed,
]

DemandCascades = Callable[[Origin, Mapping[TableId, Followed], TargetKeys], None]


@dataclass
class Evolution:
    """Carries schema changes of one source to the target, as ``schemaChanges`` says."""

    job: Job
    policy: str
    origin: Origin
    sink: Sink
    counters: Counters
    attach: Attach
    demand_cascades: DemandCascades
    """Raises where the target does not do again what the log does not carry."""
    follower: Follower = field(init=False)

    def mapped(
        self, schemas: Sequence[TableSchema], intended: AbstractSet[TableId]
    ) -> dict[TableId, TableMapping]:
        """Tables as they are in the log, mapped onto the target's as they are there.

        Of those that are ``intended`` to change the target may be ahead of the log.
        """
        found = self._map(schemas)
        if not isinstance(self.sink, StructureSink):
            return found
        there = self.sink.inspect([m.target.id for m in found.values()])
        present = {table.id: table for table in there.tables}
        for table, mapping in found.items():
            target = present.get(mapping.target.id)
            if target is not None:
                ahead = table in intended
                found[table] = adapt(
                    _common(mapping, target) if ahead else mapping, target, recreates=False
                )
        return found

    def _map(
        self,
        schemas: Sequence[TableSchema],
        booleans: AbstractSet[tuple[TableId, str]] = frozenset(),
    ) -> dict[TableId, TableMapping]:
        options = replace(self.origin.mapping, observed=Observed(frozenset(booleans)))
        origin = replace(self.origin, mapping=options)
        convert = Convert(self.job, [origin], self.sink, Control(), Counters())
        bare = tuple(replace(s, id=replace(s.id, alias="")) for s in schemas)
        catalog = Catalog(self.origin.source.dialect, bare)
        found = convert.map(origin, catalog, None, convert.flavour())
        return {mapping.source.id: mapping for mapping in found.tables}

    def __call__(
        self, change: SchemaChange, writer: ChangeWriter, applied: bool
    ) -> Followed | None:
        """Carry a change over, and say how the table goes on; None: it does not.

        ``applied``: rows of the same transaction are applied and not committed. Raises
        `SchemaChangeRefused`, and `Restart` where the transaction has to be read again.
        """
        known = [table.mapping.source.id for table in self.follower.tables.values()]
        if change.after is not None and not self.origin.wants(change.after.id, known):
            self._leave(change)
            return None
        if change.before is None and change.filled and self.origin.scope.tables is not None:
            raise self._joins(change)
        if self.policy == "fail":
            raise self._refused(change, "schemaChanges is fail")
        flags = self._flags(change)
        old = None if change.before is None else self._plain(change.before, flags)
        new = None if change.after is None else self._plain(change.after, flags)
        if self.policy == "apply" and isinstance(self.sink, StructureSink):
            reach("ddl: begun")
            self._carry(change, old, new, writer, applied)
            reach("ddl: executed")
        self._remember(change)
        if new is None or change.after is None:
            return None
        if old is None and self.policy == "ignore":
            return None
        return self._attached(change, change.after, old, new)

    def _leave(self, change: SchemaChange) -> None:
        """A table that is not among those that the user named is not followed, or no more."""
        if change.before is None or change.after is None:
            return
        self.follower.remember({f"followed:{self._stamped(change.before.id)}": None})
        self.counters.found([left(self._stamped(change.before.id), f"is now {change.after.id}")])

    @staticmethod
    def _joins(change: SchemaChange) -> SchemaChangeRefused:
        return SchemaChangeRefused(
            f"A table that is not followed was renamed to {change.table}, which is one of the "
            "stream's tables: its rows are not in the log.",
            remedy="Start the stream again: it loads the table then.",
            table=str(change.table),
        )

    # Onto the target

    def _carry(
        self,
        change: SchemaChange,
        old: TableMapping | None,
        new: TableMapping | None,
        writer: ChangeWriter,
        applied: bool,
    ) -> None:
        if old is not None and new is not None:
            evolution = evolve(old, new, change.renamed, self.job.structure)
            losses = evolution.losses
            statements, alone = evolution.statements, evolution.alone
            if self.follower.pending.waiting:
                statements = without_new_keys(old, new, statements)
            self.counters.found(evolution.findings)
        elif new is not None:
            statements, losses, alone = create(new, self._structure(writer)), (), 0
        else:
            gone = required(old, "the table that a schema change is about")
            losses = (f"The table {gone.target.id} is dropped with its rows.",)
            statements, alone = drop(gone), 0
        if losses and not self.origin.mapping.allow_lossy:
            raise self._refused(change, f"values would be lost. {' '.join(losses)}")
        if self._transactional:
            with self._fitting(change):
                self._found(self.sink.execute([s]) for s in statements[:alone])  # type: ignore[attr-defined]
                self._found([writer.execute(statements[alone:])])
            return
        self._carry_committed(change, old, new, statements, writer, applied)

    def _carry_committed(
        self,
        change: SchemaChange,
        old: TableMapping | None,
        new: TableMapping | None,
        statements: Sequence[Statement],
        writer: ChangeWriter,
        applied: bool,
    ) -> None:
        """DDL that commits by itself: the intent first, and after a kill what is still to do."""
        if old is not None and new is not None:
            statements = self._pending(old, new, change, writer)
        if not statements:
            return
        if applied:
            lossy = change.renamed or old is None or new is None or _dropped(old, new)
            if lossy:
                raise self._refused(
                    change, "it is in one transaction with changes of rows, and MySQL's DDL is not"
                )
            writer.abandon()
        document = writer.document or {"position": dict(self.follower.position)}
        table = self._stamped(change.table)
        writer.commit(document, {_intent(table): {"table": str(table)}})
        reach("ddl: intent recorded")
        with self._fitting(change):
            self._found([writer.execute(statements)])
        if applied:
            raise Restart

    def _pending(
        self, old: TableMapping, new: TableMapping, change: SchemaChange, writer: ChangeWriter
    ) -> Sequence[Statement]:
        sink: Any = self.sink
        there = sink.inspect([old.target.id, new.target.id])
        found = there.table(new.target.id) or there.table(old.target.id)
        if found is None:
            return create(new, self._structure(writer))
        statements = pending(old, new, found, change.renamed, self.job.structure)
        if self.follower.pending.waiting:
            statements = without_new_keys(old, new, statements)
        return statements

    def _structure(self, writer: ChangeWriter) -> Structure:
        """What a new table gets: where foreign keys act, its own wait for the consistent point."""
        wanted, wait = self.job.structure, self.follower.pending.waiting
        return replace(wanted, foreign_keys=False) if wait and writer.foreign_keys_act else wanted

    @property
    def _transactional(self) -> bool:
        return bool(getattr(self.sink, "transactional_ddl", False))

    def _found(self, several: Iterable[Sequence[Finding]]) -> None:
        for findings in several:
            self.counters.found(findings)

    def relax(self, followed: Followed, columns: tuple[str, ...], writer: ChangeWriter) -> None:
        """Make columns hold what the log brings: committed at the position before it.

        A kill in between leaves columns that hold more than they need to, and nothing else.
        """
        statements, findings = relax(followed.mapping, columns)
        writer.abandon()
        reach("ddl: begun")
        try:
            self._found([writer.execute(statements)])
        except StreamsError as error:
            if error.retryable:
                raise
            raise TargetConflict(
                f"{findings[0].object}: the log holds a value that the column does not, and it "
                f"cannot be made to: {error.message}",
                remedy=f"Drop what depends on the column (a view, a check), or run it by hand, and "
                f"start again: {'; '.join(statement.sql for statement in statements)};",
                table=str(followed.mapping.target.id),
            ) from None
        reach("ddl: executed")
        writer.commit(writer.document or {"position": dict(self.follower.position)})
        reach("ddl: recorded")
        self.counters.found(findings)

    # What follows

    def _flags(self, change: SchemaChange) -> frozenset[tuple[TableId, str]]:
        """The TINYINT(1) columns that are booleans on the target, before and after a change.

        A new one is a boolean: the rows that are there hold its default.
        """
        found = {
            (table, column.source.name)
            for table, followed in self.follower.tables.items()
            for column in followed.mapping.columns
            if column.target.type.name == "bool"
        }
        if change.after is None:
            return frozenset(found)
        before = set() if change.before is None else {c.name for c in change.before.columns}
        old, new = self._stamped(change.table), self._stamped(change.after.id)
        was = {now: then for then, now in change.renamed.items()}
        for column in change.after.columns:
            name = was.get(column.name, column.name)
            if (old, name) in found or (name not in before and fits_boolean(column)):
                found.add((new, column.name))
        return frozenset(found)

    def _plain(self, schema: TableSchema, flags: AbstractSet[tuple[TableId, str]]) -> TableMapping:
        """The table's mapping by the rules alone, whatever is on the target.

        The other tables are mapped beside it: foreign keys lead to them, and names must differ.
        """
        schemas = {t: f.tracked.schema for t, f in self.follower.tables.items()}
        table = self._stamped(schema.id)
        return self._map([*{**schemas, table: schema}.values()], flags)[table]

    def _remember(self, change: SchemaChange) -> None:
        """What the log's rows mean from here on becomes durable with its position."""
        records: dict[str, Mapping[str, Any] | None] = {_intent(self._stamped(change.table)): None}
        if change.before is not None:
            records[f"followed:{self._stamped(change.before.id)}"] = None
        if change.after is not None and not (change.before is None and self.policy == "ignore"):
            table = self._stamped(change.after.id)
            records[f"followed:{table}"] = {
                "table": asdict(table),
                "schema": to_document(replace(change.after, id=table)),
                "since": dict(self.follower.position),
                "loaded": True,
                "load": None,
            }
        self.follower.remember(records)

    def _stamped(self, table: TableId) -> TableId:
        return replace(table, alias=self.origin.alias)

    def _attached(
        self,
        change: SchemaChange,
        schema: TableSchema,
        old: TableMapping | None,
        new: TableMapping,
    ) -> Followed:
        followed = self.follower.tables.get(self._stamped(change.table))
        if old is not None and followed is not None:
            new = self._as_there(change, followed.mapping, old, new)
        table = self._stamped(schema.id)
        self.counters.expect(table, None)
        self.counters.enter(table, "following")
        schemas = {t: f.tracked.schema for t, f in self.follower.tables.items()}
        identity = change.identity
        found = self.attach(self.origin, new, schema, identity, None, {**schemas, table: schema})
        if not self.follower.pending.waiting:
            self._demand_cascades(change, found)
        return found

    def _demand_cascades(self, change: SchemaChange, changed: Followed) -> None:
        """Foreign keys may lead elsewhere now, or to a table that has another name."""
        tables = dict(self.follower.tables)
        tables.pop(self._stamped(change.table), None)
        tables[changed.mapping.source.id] = changed
        planned = changed.mapping.target.id

        def target_keys(mapping: TableMapping) -> Sequence[ForeignKey]:
            made = mapping.target.id != planned or self.job.structure.foreign_keys
            return mapping.target.foreign_keys if made else ()

        self.demand_cascades(self.origin, tables, target_keys)

    def _as_there(
        self, change: SchemaChange, there: TableMapping, old: TableMapping, new: TableMapping
    ) -> TableMapping:
        """The new mapping onto the columns that the target really has.

        A column that did not change keeps the type that was found on the target, which is not
        always the one that the mapping would have chosen; where changes are ignored, the table
        keeps its name and columns.
        """
        ignoring = self.policy == "ignore"
        before = {now: was for was, now in change.renamed.items()}
        found = {c.source.name: c for c in there.columns}
        planned = {c.source.name: c.target.type for c in old.columns}
        columns = []
        # What the target would compute, and has as a plain column, is carried as before.
        plain = [c for c in new.generated if before.get(c.source.name, c.source.name) in found]
        planned |= {c.source.name: c.target.type for c in old.generated}
        for column in new.carrying(plain):
            was = before.get(column.source.name, column.source.name)
            known = found.get(was)
            if known is None:
                columns += [] if ignoring else [column]
            elif ignoring or planned.get(was) == column.target.type:
                name = known.target.name if ignoring else column.target.name
                source = replace(known.source, name=column.source.name)
                columns.append(
                    replace(known, source=source, target=replace(known.target, name=name))
                )
            else:
                columns.append(column)
        target = there.target if ignoring else new.target
        return replace(new, columns=tuple(columns), target=target)

    @contextmanager
    def _fitting(self, change: SchemaChange) -> Iterator[None]:
        """Raise `SchemaChangeRefused` where the target's rows do not fit a new structure: no row
        is wrong on the source."""
        try:
            yield
        except RowRejected as error:
            refused = self._refused(
                change, f"rows of the target do not fit it: {error.message.rstrip('.')}"
            )
            refused.remedy = (
                "Make the change on the target by hand in a form that its rows fit (a new column "
                "without NOT NULL, where the source filled it with zero dates), and start again."
            )
            raise refused from None

    def _refused(self, change: SchemaChange, why: str) -> SchemaChangeRefused:
        shown = f" ({change.statement})" if change.statement else ""
        return SchemaChangeRefused(
            f"The structure of {change.table} changed{shown}, and that is not carried over: "
            f"{why.rstrip('.')}.",
            remedy="Allow it (options.schemaChanges apply, and allowLossy for what loses values), "
            "or make the change on the target by hand and choose schemaChanges ignore.",
            table=str(change.table),
        )


def without_new_keys(
    old: TableMapping, new: TableMapping, statements: Sequence[Statement]
) -> tuple[Statement, ...]:
    """Leave out the statements that make a foreign key which the old table does not have."""
    before = {key.name for key in old.target.foreign_keys}
    added = [key for key in new.target.foreign_keys if key.name not in before]
    ddl = ddl_of(new.target.dialect)
    made = {s.object for s in ddl.foreign_keys(replace(new.target, foreign_keys=tuple(added)))}
    return tuple(statement for statement in statements if statement.object not in made)


def left(table: TableId, why: str) -> Finding:
    """Say that a table is not followed any more."""
    return warning(
        "left-the-stream",
        table,
        f"It {why}, and is not followed any more: the target keeps the rows that it has.",
        "Drop the target's table, or name the table in the stream's tables again and empty it.",
    )


def _common(mapping: TableMapping, there: TableSchema) -> TableMapping:
    """The mapping without the columns that the target does not have (any more, or yet)."""
    names = {column.name for column in there.columns}
    columns = tuple(c for c in mapping.columns if c.target.name in names)
    computed = tuple(c for c in mapping.generated if c.target.name in names)
    return replace(mapping, columns=columns, generated=computed)


def _dropped(old: TableMapping, new: TableMapping) -> bool:
    kept = {c.source.name for c in new.columns}
    return any(c.source.name not in kept for c in old.columns)


def _intent(table: TableId) -> str:
    return f"ddl:{table}"
