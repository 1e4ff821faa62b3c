"""Carry schema changes of the log over to the target's tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from streams_engine.contracts import ChangeWriter, Statement, TableWriter
from streams_engine.errors import RowRejected, StreamsError, TargetConflict, require
from streams_engine.faults import reach
from streams_engine.model import (
    Dialect,
    Finding,
    ForeignKey,
    ObjectKind,
    Position,
    SchemaChange,
    TableId,
    Truncation,
)
from streams_engine.pipeline.changes.followed_log import FollowedLog, refused
from streams_engine.pipeline.changes.followed_mapper import FollowedMapper
from streams_engine.pipeline.changes.referring_tables import keys_in_need
from streams_engine.pipeline.changes.set_writer import SessionRestart
from streams_engine.pipeline.changes.table_replication import TableReplication
from streams_engine.pipeline.checkpoint_records import DdlIntentRecord, TableRename
from streams_engine.pipeline.resume import made_objects
from streams_engine.pipeline.snapshot.existing_tables import demand_room
from streams_engine.pipeline.snapshot.plan import demand_alike
from streams_engine.schema.ddl import postgres
from streams_engine.schema.ddl.structure import Structure
from streams_engine.schema.dialects import ddl_of
from streams_engine.schema.evolution.found import as_found
from streams_engine.schema.evolution.index_names import named_beside
from streams_engine.schema.evolution.plan import create, drop, evolve, pending
from streams_engine.schema.mapping.tables import TableMapping, warning
from streams_engine.schema.types.relaxation import relax

__all__ = ["RELOAD", "TargetStructure", "renamed_between", "without_new_keys"]


RELOAD = (
    "Load again with start(fresh=True) and schemaPolicy drop_and_recreate. Tables that the source "
    "has dropped stay on the target: drop them there."
)


@dataclass
class _Restarts:
    """What was executed at one durable position before the log was read from there again.

    A key that is made anew under its name does not show whether it was: it would be made in each
    session, and end it. The same statements may be due several times (a key that is added, dropped
    and added again), so that they are counted.
    """

    position: Position | None = None
    executed: Counter[tuple[str, ...]] = field(default_factory=Counter)
    """By statements, how often they were executed since the position was durable."""
    met: Counter[tuple[str, ...]] = field(default_factory=Counter)
    """How often they were due in this session."""

    def begin(self) -> None:
        """Note that the log is read from the durable position again."""
        self.met.clear()

    def seen(self, position: Position, statements: Sequence[Statement]) -> bool:
        """Return whether statements that are due were executed since the position was durable."""
        self.passed(position)
        texts = _texts(statements)
        self.met[texts] += 1
        return self.met[texts] <= self.executed[texts]

    def passed(self, position: Position) -> bool:
        """Return whether the durable position is another one than when it was last looked at."""
        if position == self.position:
            return False
        self.position = dict(position)
        self.executed.clear()
        self.met.clear()
        return True

    def add(self, statements: Sequence[Statement]) -> None:
        """Note what was executed."""
        self.executed[_texts(statements)] += 1


def _texts(statements: Sequence[Statement]) -> tuple[str, ...]:
    return tuple(statement.sql for statement in statements)


@dataclass
class TargetStructure:
    """Changes the structure of the target's tables: exactly once, even if the process is killed."""

    log: FollowedLog
    mapper: FollowedMapper
    unfit: set[TableId] = field(default_factory=set)
    """Tables whose rows on the target did not fit a change: the change is read again, and reloads
    them."""
    renames: dict[str, TableRename] = field(default_factory=dict)
    """The target's names of tables whose rename began and is not recorded as done, by label."""
    added: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The target's columns that tables got whose reload began and is not recorded as done."""
    dropped: set[str] = field(default_factory=set)
    """The labels of tables whose drop began and is not recorded as done: the target may lack
    them."""
    _passed: set[str] = field(default_factory=set)
    """Those whose drop the log told in this session: their names may be others' by now."""
    _names: dict[TableId, TableId] = field(default_factory=dict)
    """By the names of tables that were renamed since the durable position: those in its records."""
    _restarts: _Restarts = field(default_factory=lambda: _Restarts())
    _vacated: set[TableId] = field(default_factory=set)
    """The target's names that tables of the stream had and left in this session. While that is not
    committed, others still see the table, and would wait for it."""

    def begin(self) -> None:
        """Note that a session begins: the log is read from its durable position."""
        self._restarts.begin()
        self._vacated.clear()
        self._passed.clear()
        self._names.clear()
        self._restarts.passed(self.log.applier.position)

    @property
    def transactional(self) -> bool:
        """Whether the target's DDL is part of its transaction."""
        return bool(getattr(self.log.sink, "transactional_ddl", False))

    def recorded(self, table: TableId) -> TableId:
        """Return the name of a followed table in the records of the durable position."""
        name = self.log.stamped(table)
        return self._names.get(name, name)

    def is_dropped(self, table: TableId) -> bool:
        """Return whether the target dropped a followed table ahead of the log."""
        return str(self.recorded(table)) in self.dropped - self._passed

    def is_late(
        self, change: SchemaChange, old: TableMapping, new: TableMapping, writer: ChangeWriter
    ) -> bool:
        """Return whether a change that is not executed yet drops or renames columns, on a target
        whose DDL commits by itself: rows of before, read again, would not find them there."""
        if self.transactional or self.is_dropped(change.table):
            return False
        loses = bool(change.renamed) or _dropped(old, new)
        return loses and bool(self.pending(old, new, change.renamed, writer))

    def carry(
        self,
        change: SchemaChange,
        old: TableMapping | None,
        new: TableMapping | None,
        writer: ChangeWriter,
        applied: bool,
    ) -> None:
        """Execute the statements that turn the old structure into the new one.

        ``applied``: rows of the same transaction are applied already. Raises `SchemaChangeRefused`,
        and `SessionRestart` if the transaction has to be read again.
        """
        if not self.transactional:
            self._forget_passed()
            if old is not None and new is not None and self._is_gone(change, old, new):
                return
        if old is not None and new is not None:
            plans = [
                evolve(before, after, renamed, self.log.job.structure)
                for before, after, renamed in self.mapper.steps(change, old, new)
            ]
            losses = tuple(loss for plan in plans for loss in plan.losses)
            alone = sum(plan.alone for plan in plans)
            statements = (
                *(s for plan in plans for s in plan.statements[: plan.alone]),
                *(s for plan in plans for s in plan.statements[plan.alone :]),
            )
            if self.log.applier.pending.waiting:
                statements = without_new_keys(old, new, statements)
            self.log.counters.found(finding for plan in plans for finding in plan.findings)
        elif new is not None:
            wanted = self._structure(writer)
            awaited = self._referring(change, new) if wanted.foreign_keys else ()
            statements, losses, alone = (*self._created(new, wanted), *awaited), (), 0
        else:
            gone = require(old, "the table that a schema change is about")
            lost = f"The table {gone.target.id} is dropped with its rows."
            losses = () if change.rewritten else (lost,)
            statements, alone = (*self._unreferenced(gone), *drop(gone)), 0
        if losses and not self.log.origin.mapping.allow_lossy:
            raise refused(change, f"it would lose values. {' '.join(losses)}")
        if self.transactional:
            if old is not None and (new is None or new.target.id != old.target.id):
                self._vacated.add(old.target.id)
            moved = self._evicted(old, new) if new is not None else ()
            freed, held = self._around_keys(change, old, new)
            apart, together = self.around_parents(old, new)
            before, after = (*moved, *apart, *freed), (*held, *together)
            statements = (*statements[:alone], *before, *statements[alone:], *after)
            with self._fitting(change):
                self.execute(statements, alone, writer)
            return
        self._carry_committed(change, old, new, statements, writer, applied)

    def alter(
        self,
        change: SchemaChange,
        old: TableMapping | None,
        new: TableMapping | None,
        writer: TableWriter,
    ) -> None:
        """Have a target that creates its own tables change one."""
        kept = {} if new is None else {c.source.name: c.target.name for c in new.columns}
        was = {now: then for then, now in change.renamed.items()}
        names = {} if old is None else {c.source.name: c.target.name for c in old.columns}
        # Under the name of one that was dropped, another one is new.
        origins = {n: was.get(n, "" if n in change.renamed else n) for n in kept}
        pairs = {names.pop(origins[name], None): target for name, target in kept.items()}
        if old is not None and (names or new is None) and not self.log.origin.mapping.allow_lossy:
            gone = f"columns {', '.join(names.values())} of" if new is not None else "rows of"
            raise refused(change, f"it would drop the {gone} {old.target.id}.")
        writer.alter(
            None if old is None else old.target,
            None if new is None else new.target,
            {then: now for then, now in pairs.items() if then is not None and then != now},
        )

    def commit_intent(
        self,
        change: SchemaChange,
        writer: ChangeWriter,
        *,
        applied: bool,
        renamed: TableRename | None = None,
        emptied: Sequence[Truncation] = (),
        columns: tuple[str, ...] = (),
    ) -> None:
        """Record that a table's structure is about to change, at the position before the change."""
        if renamed is not None:
            self._note_rename(change, renamed, applied)
        if applied:
            writer.rollback()
        if emptied:
            writer.apply(emptied)
        document = writer.document or {"position": dict(self.log.applier.position)}
        table = self.recorded(change.table)
        gone = str(table) in self.dropped
        intent = DdlIntentRecord(table, renamed, columns, bool(emptied), gone)
        writer.commit(document, {intent.key: intent.to_json()})
        reach("ddl: intent recorded")

    def _forget_passed(self) -> None:
        """Forget renames before the durable position: no row of before them is read again."""
        if self._restarts.passed(self.log.applier.position):
            self.renames.clear()
            self.dropped.clear()
            self._passed.clear()
            self._names.clear()

    def _is_gone(self, change: SchemaChange, old: TableMapping, new: TableMapping) -> bool:
        """Note the name of a followed table; return whether the target dropped it already, so that
        nothing before that matters."""
        table, known = self.recorded(change.table), self.is_dropped(change.table)
        if old.source.id != new.source.id:
            self._names.pop(old.source.id, None)
            self._names[new.source.id] = table
        return known

    def _note_rename(self, change: SchemaChange, names: TableRename, applied: bool) -> None:
        """Raise `SchemaChangeRefused` if rows of the transaction could not be told apart when they
        are read again: a name is given twice in it."""
        self._forget_passed()
        label = str(self.log.stamped(change.table))
        others = [other for other in self.renames.values() if other != names]
        if applied and any({*names} & {*other} for other in others):
            failure = refused(
                change,
                "its transaction changes rows and renames several tables, with a name that is "
                "given twice, and MySQL cannot roll DDL back",
            )
            failure.remedy = (
                f"Drop these tables on the target. {RELOAD} Next time rename tables in a "
                "transaction of its own."
            )
            raise failure
        self.renames[label] = names

    def pending(
        self,
        old: TableMapping,
        new: TableMapping,
        renamed: Mapping[str, str],
        writer: ChangeWriter,
        *,
        newest: bool = False,
    ) -> Sequence[Statement]:
        """Return the statements that are still missing on the target, compared with its present
        table.

        ``newest``: no change of the table was made there that is later than this one, but perhaps
        some of those that it is made of, or those of an earlier attempt at it.
        """
        sink: Any = self.log.sink
        there = sink.inspect([old.target.id, new.target.id])
        present = there.table(new.target.id) or there.table(old.target.id)
        if present is None:
            return create(new, self._structure(writer))
        structure = self.log.job.structure
        left = self.added.get(str(old.source.id), ()) if newest else ()
        halfway = as_found(old, new, present, renamed, structure, left) if newest else None
        if halfway is not None:
            statements = evolve(halfway, new, renamed, structure).statements
        else:
            statements = pending(old, new, present, renamed, structure)
        if self.log.applier.pending.waiting:
            statements = without_new_keys(old, new, statements)
        return (*self._freed(old, new, statements), *statements)

    def _freed(
        self, old: TableMapping, new: TableMapping, statements: Sequence[Statement]
    ) -> Iterator[Statement]:
        """Yield the statements that drop other tables' foreign keys whose names a table's new ones
        get: tables that swap names swap their keys, and one of them comes first."""
        made = {statement.object for statement in statements}
        ddl = ddl_of(new.target.dialect)
        names = {
            key.name
            for key in new.target.foreign_keys
            for statement in ddl.foreign_keys(replace(new.target, foreign_keys=(key,)))
            if statement.object in made
        }
        for table in self.log.applier.tables.values() if names else ():
            mapping = table.mapping
            if mapping.target.id not in (old.target.id, new.target.id):
                yield from self._without_keys(mapping, names)

    def _without_keys(
        self, mapping: TableMapping, names: AbstractSet[str]
    ) -> tuple[Statement, ...]:
        """Return the statements that drop those of a table's foreign keys that are there."""
        known = mapping.target.foreign_keys
        if not any(key.name in names for key in known):
            return ()
        sink: Any = self.log.sink
        there = sink.inspect([mapping.target.id]).tables
        present = {key.name for table in there for key in table.foreign_keys} & names
        kept = tuple(key for key in known if key.name not in present)
        without = replace(mapping, target=replace(mapping.target, foreign_keys=kept))
        return evolve(mapping, without, {}, self.log.job.structure).statements

    def relax(
        self, followed: TableReplication, columns: tuple[str, ...], writer: ChangeWriter
    ) -> None:
        """Alter columns so that they hold the log's values, and commit at the position before
        these. A table that the same transaction makes is made with such columns.

        After a kill in between, columns can hold more than they need to; nothing else has changed.
        """
        statements, findings = relax(followed.mapping, columns)
        writer.rollback()
        sink: Any = self.log.sink
        if not sink.inspect([followed.mapping.target.id]).tables:
            self.mapper.wide |= {(followed.mapping.source.id, column) for column in columns}
            return
        reach("ddl: begun")
        try:
            self.report([writer.execute(statements)])
        except StreamsError as error:
            if error.retryable:
                raise
            raise TargetConflict(
                f"{findings[0].object}: the log contains a value that the column cannot hold, "
                f"and the column could not be widened: {error.message}",
                remedy=(
                    "Drop what depends on the column (a view, a check), or run this by hand, "
                    "and start again: "
                    f"{'; '.join(statement.sql for statement in statements)};"
                ),
                table=str(followed.mapping.target.id),
            ) from None
        reach("ddl: executed")
        writer.commit(writer.document or {"position": dict(self.log.applier.position)})
        reach("ddl: recorded")
        self.log.counters.found(findings)

    def execute(self, statements: Sequence[Statement], alone: int, writer: ChangeWriter) -> None:
        """Execute statements in the transaction of the change, but the first ``alone`` of them,
        which must not be in one, outside of it."""
        sink: Any = self.log.sink
        self.report(sink.execute([statement]) for statement in statements[:alone])
        self.report([writer.execute(statements[alone:])])

    def report(self, several: Iterable[Sequence[Finding]]) -> None:
        """Report the findings of several statements."""
        for findings in several:
            self.log.counters.found(findings)

    def _carry_committed(
        self,
        change: SchemaChange,
        old: TableMapping | None,
        new: TableMapping | None,
        statements: Sequence[Statement],
        writer: ChangeWriter,
        applied: bool,
    ) -> None:
        """Carry a change over by DDL that commits implicitly: record the intent first, and after a
        kill execute what is still missing."""
        if old is None or new is None:
            self._make_or_drop(change, old, statements, writer, applied)
            return
        executed = False
        for before, after, renamed in self.mapper.steps(change, old, new):
            try:
                statements = self.pending(before, after, renamed, writer)
            except TargetConflict as conflict:
                if not _same_columns(change):
                    raise
                text = f"Its keys or indexes changed: {conflict.message}"
                self.log.counters.found([warning("not-carried", after.target.id, text)])
                continue
            if not statements or self._restarts.seen(self.log.applier.position, statements):
                continue
            if not executed:
                names = renamed_between(old, new)
                self.commit_intent(change, writer, applied=applied, renamed=names)
            executed = True
            with self._fitting(change):
                self.report([writer.execute(statements)])
            self._restarts.add(statements)
        if executed and applied:
            raise SessionRestart

    def _make_or_drop(
        self,
        change: SchemaChange,
        old: TableMapping | None,
        statements: Sequence[Statement],
        writer: ChangeWriter,
        applied: bool,
    ) -> None:
        """Create a table, or drop one, by DDL that commits implicitly. Rows of the same transaction
        are read again after that; those of a table that is dropped do not matter then."""
        due = statements if old is None else drop(old)
        statements = self._left(statements, dropping=old is not None)
        if old is not None:
            sink: Any = self.log.sink
            if not sink.inspect([old.target.id]).tables:
                statements = tuple(s for s in statements if s not in due)
            self._note_drop(change, applied)
        if not statements or self._restarts.seen(self.log.applier.position, due):
            return
        self.commit_intent(change, writer, applied=applied)
        with self._fitting(change):
            self.report([writer.execute(statements)])
        self._restarts.add(due)
        if applied:
            raise SessionRestart

    def _note_drop(self, change: SchemaChange, applied: bool) -> None:
        """Raise `SchemaChangeRefused` if rows of the transaction could not be told apart when they
        are read again: it drops several tables of one name."""
        label = str(self.recorded(change.table))
        if applied and label in self._passed:
            failure = refused(
                change,
                "its transaction changes rows and drops several tables of this name, and MySQL "
                "cannot roll DDL back",
            )
            failure.remedy = (
                f"Drop the table on the target. {RELOAD} Next time drop them in transactions of "
                "their own."
            )
            raise failure
        self.dropped.add(label)
        self._passed.add(label)

    def _unreferenced(self, gone: TableMapping) -> Iterator[Statement]:
        """Yield the statements that drop the target's foreign keys to a table: on the source they
        were gone before it was dropped."""
        for table in self.log.applier.tables.values():
            mapping = table.mapping
            if mapping.target.id == gone.target.id:
                continue
            kept = tuple(k for k in mapping.target.foreign_keys if k.referenced != gone.target.id)
            if len(kept) < len(mapping.target.foreign_keys):
                without = replace(mapping, target=replace(mapping.target, foreign_keys=kept))
                yield from evolve(mapping, without, {}, self.log.job.structure).statements

    def around_parents(
        self, old: TableMapping | None, new: TableMapping | None
    ) -> tuple[tuple[Statement, ...], tuple[Statement, ...]]:
        """Return the statements before and after a change that take a table of PostgreSQL out of
        its inheritance and back. The target's change must not reach tables that inherit from this
        one: each has its own change in the log, and may have been detached on the source."""
        if old is None or old.target.dialect is not Dialect.POSTGRES:
            return (), ()
        own = old.target.id
        others = [t.mapping.target for t in self.log.applier.tables.values()]
        children = [t for t in others if own in t.inherits and t.id != own]
        parents = new.target.inherits if new is not None else ()
        if not (children or parents or old.target.inherits):
            return (), ()
        links = [(new.target.id, parents)] if new is not None and parents else []
        for child in children:
            now = [new.target.id if one == own and new is not None else one
                   for one in child.inherits if one != own or new is not None]  # fmt: skip
            links += [(child.id, tuple(now))] if now else []
        return (postgres.unlinked(own),), tuple(postgres.linked(*link) for link in links)

    def _around_keys(
        self, change: SchemaChange, old: TableMapping | None, new: TableMapping | None
    ) -> tuple[list[Statement], list[Statement]]:
        """Return the statements before and after a change that drop the foreign keys which need a
        unique key of the table that goes, and make them again if it has another one."""
        freed: list[Statement] = []
        held: list[Statement] = []
        if old is None or new is None:
            return freed, held
        own = self.log.stamped(change.table)
        others = [table for name, table in self.log.applier.tables.items() if name != own]
        for table, key, after in list(keys_in_need(others, old, new, change.renamed)):
            mapping = table.mapping
            kept = tuple(other for other in mapping.target.foreign_keys if other != key)
            without = replace(mapping, target=replace(mapping.target, foreign_keys=kept))
            freed += evolve(mapping, without, {}, self.log.job.structure).statements
            if after is None:
                table.mapping = without
                self.log.counters.found([_needless(mapping, key, old)])
                continue
            unproved = replace(mapping.target, foreign_keys=(replace(after, validated=False),))
            held += ddl_of(mapping.target.dialect).foreign_keys(unproved)
            self.log.counters.found([_unproved(mapping.target.id, after)])
        return freed, held

    def _evicted(self, old: TableMapping | None, new: TableMapping) -> tuple[Statement, ...]:
        """Return the statements that rename other tables' indexes that have the name that a table
        gets: on the source indexes have names of their own."""
        if old is not None and old.target.id == new.target.id:
            return ()
        statements: list[Statement] = []
        tables = [f.mapping.target for f in self.log.applier.tables.values()]
        for followed in self.log.applier.tables.values():
            free = named_beside(new.target.id, followed.mapping, tables)
            if free is not None:
                plan = evolve(followed.mapping, free, {}, self.log.job.structure)
                statements += plan.statements
                followed.mapping = free
        return tuple(statements)

    def _created(self, new: TableMapping, structure: Structure) -> tuple[Statement, ...]:
        """Return the statements that create a table, or that make what an empty one of its name
        lacks. Raises `TargetConflict` if there is one with rows, with columns whose types hold
        other values, or with another primary key: it is somebody else's."""
        statements = create(new, structure)
        own = {t.mapping.target.id for t in self.log.applier.tables.values()} | self._vacated
        if new.target.id in own:
            return statements  # the stream's own goes out of its way first
        sink: Any = self.log.sink
        there = sink.inspect([new.target.id]).table(new.target.id)
        if there is None:
            return statements
        demand_room(sink, [there])
        demand_alike(new, there)
        made = made_objects(there)
        return tuple(s for s in statements if s.object not in made)

    def _referring(self, change: SchemaChange, new: TableMapping) -> tuple[Statement, ...]:
        """Return the statements for foreign keys that refer to a new table from older ones."""
        statements: list[Statement] = []
        for followed, keys in self.mapper.awaiting(change, new):
            target = followed.mapping.target
            # Rows may have come before those that they refer to.
            unproved = tuple(replace(key, validated=False) for key in keys)
            ddl = ddl_of(target.dialect)
            statements += ddl.foreign_keys(replace(target, foreign_keys=unproved))
            known = replace(target, foreign_keys=(*target.foreign_keys, *keys))
            followed.mapping = replace(followed.mapping, target=known)
            if target.dialect is Dialect.POSTGRES:
                self.log.counters.found(_unproved(target.id, key) for key in keys)
        return tuple(statements)

    def _left(self, statements: Sequence[Statement], dropping: bool) -> tuple[Statement, ...]:
        """Return the statements without those whose foreign key is there already, or gone: DDL that
        commits implicitly may have been executed before a kill."""
        kinds = (ObjectKind.CONSTRAINT, ObjectKind.FOREIGN_KEY)
        tables = {s.object.table for s in statements if s.object.kind in kinds and s.object.table}
        sink: Any = self.log.sink
        present = sink.inspect(sorted(tables, key=str)).tables if tables else ()
        there = {(table.id, key.name) for table in present for key in table.foreign_keys}
        return tuple(
            s
            for s in statements
            if s.object.kind not in kinds or ((s.object.table, s.object.name) in there) == dropping
        )

    def _structure(self, writer: ChangeWriter) -> Structure:
        """Return the structure options of a new table. If foreign keys are enforced, its own wait
        for the consistent point."""
        wanted, wait = self.log.job.structure, self.log.applier.pending.waiting
        return (
            replace(wanted, foreign_keys=False) if wait and writer.foreign_keys_enforced else wanted
        )

    @contextmanager
    def _fitting(self, change: SchemaChange) -> Iterator[None]:
        """Raise `SessionRestart` if the target's rows do not fit a new structure: the change is
        read again, and the table loaded again, because its rows fit on the source. If that has been
        done already, raise `SchemaChangeRefused`."""
        try:
            yield
        except RowRejected as error:
            if change.table not in self.unfit and change.before and change.after:
                self.unfit.add(change.table)
                raise SessionRestart from None
            failure = refused(change, f"rows of the target violate it: {error.message.rstrip('.')}")
            failure.remedy = (
                "Make the change on the target by hand in a form that its rows satisfy (such as "
                "a new column without NOT NULL, if the source filled it with zero dates), and "
                "start again."
            )
            raise failure from None


def renamed_between(old: TableMapping, new: TableMapping) -> TableRename | None:
    """Return the target's names of a table that is renamed there; None if it is not."""
    names = old.target.id, new.target.id
    return names if names[0] != names[1] else None


def without_new_keys(
    old: TableMapping, new: TableMapping, statements: Sequence[Statement]
) -> tuple[Statement, ...]:
    """Return the statements without those that create a foreign key which the old table does not
    have."""
    before = {key.name for key in old.target.foreign_keys}
    added = [key for key in new.target.foreign_keys if key.name not in before]
    ddl = ddl_of(new.target.dialect)
    made = {s.object for s in ddl.foreign_keys(replace(new.target, foreign_keys=tuple(added)))}
    return tuple(statement for statement in statements if statement.object not in made)


def _needless(mapping: TableMapping, key: ForeignKey, parent: TableMapping) -> Finding:
    return warning(
        "foreign-key",
        f"{mapping.source.id}.{key.name}",
        f"The foreign key refers to columns of {parent.source.id} that are not a unique key any "
        "more, which PostgreSQL does not allow: it is left out.",
    )


def _unproved(table: TableId, key: ForeignKey) -> Finding:
    return warning(
        "not-validated",
        table,
        f"Its foreign key {key.name} came before the table or key that it refers to, and is NOT "
        "VALID.",
        "Once the stream has caught up, run ALTER TABLE ... VALIDATE CONSTRAINT on the target.",
    )


def _same_columns(change: SchemaChange) -> bool:
    """Return True if only keys, indexes and the like differ, which no row depends on."""
    before, after = change.before, change.after
    return before is not None and after is not None and before.columns == after.columns


def _dropped(old: TableMapping, new: TableMapping) -> bool:
    kept = {c.source.name for c in new.columns}
    return any(c.source.name not in kept for c in old.columns)
