"""The relations that a slot describes, compared with the tables that the stream follows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from streams_engine.adapters.postgres.replication.catalog_watch import TableLook
from streams_engine.adapters.postgres.replication.ddl_events import (
    AlteredTable,
    DroppedTable,
    parse_event,
)
from streams_engine.adapters.postgres.replication.partitions import leaf_change
from streams_engine.adapters.postgres.replication.pgoutput import WHAT, Relation, lsn_value
from streams_engine.adapters.postgres.replication.relations import (
    RelationChange,
    RelationReader,
    changed,
    identified,
)
from streams_engine.adapters.postgres.replication.row_decoder import DecodePlan, plan_for
from streams_engine.arrow.buffers import violation
from streams_engine.errors import SchemaChangeRefused
from streams_engine.model import SchemaChange, TableId, TableSchema, TableSubscription

__all__ = ["FollowedRelations"]


class FollowedRelations:
    """Determines what a Relation message changes, and how the rows after it are decoded.

    For one thread. Positions are LSNs as numbers.
    """

    def __init__(
        self, tracked: Sequence[TableSubscription], start: int, describer: RelationReader
    ) -> None:
        self._describer, self._start = describer, start
        self._tracked = {one.schema.id: one for one in tracked}
        self._relations: dict[int, Relation] = {}
        self._identities: dict[int, Relation] = {}
        """Relations that were compared with the identity columns of their tables."""
        self._plans: dict[int, DecodePlan | None] = {}
        self._gone: dict[TableId, int | None] = {}
        """The oids of tables that are gone: another table may take the name."""
        self._older: set[int] = set()
        """Relations as they were before their tables' snapshots, which include their rows."""
        self._leaves: set[int] = set()
        """Partitions whose first row was seen."""
        self._name()

    def _name(self) -> None:
        """Tell the describer under which names tables are followed."""
        schemas = self.schemas
        self._describer.names = {t.oid: t.id for t in schemas if t.oid is not None}

    def __contains__(self, oid: int) -> bool:
        return oid in self._relations

    @property
    def schemas(self) -> list[TableSchema]:
        """Return the tables that are followed."""
        return [one.schema for one in self._tracked.values()]

    def adopt(self, table: TableId, tracked: TableSubscription | None) -> None:
        """Decode a table with this subscription from here on; None stops decoding it."""
        self._tracked.pop(table, None)
        if tracked is not None:
            now = tracked.schema
            self._tracked[now.id] = tracked
            known = None if now.oid is None else self._relations.get(now.oid)
            if known is not None:  # rows of a partition may come without it, under the old name
                renamed = replace(known, schema=now.id.schema, name=now.id.name)
                self._relations[known.oid] = renamed
        self._plans.clear()
        self._name()

    def since(self, tracked: TableSubscription) -> int:
        """Return the position from which on a table's rows count."""
        own = lsn_value(tracked.since["lsn"]) if tracked.since is not None else 0
        return max(self._start, own)

    def stays(self, relation: Relation) -> bool:
        """Return whether a relation message repeats what is known.

        With REPLICA IDENTITY FULL it does not say whether the key still exists.
        """
        if self._relations.get(relation.oid) != relation or relation.oid not in self._plans:
            return False
        plan = self._plans[relation.oid]
        return plan is None or relation.identity != "f" or len(plan.identity) == len(plan.wanted)

    def describe(self, relation: Relation, seq: int, final: int) -> SchemaChange | None:
        """Use a new description of a relation from here on; return what changed if its table is
        followed.

        ``final``: where its transaction commits.
        """
        table, tracked = self._followed(relation)
        own = self._numbered(relation.oid)
        known = own or tracked or self._before(relation)
        is_known = known is not None and self._is_known(known, final)
        if known and is_known and self._differs(known, relation):
            # It is older than the table's view, and so are the rows that come with it.
            self._relations.pop(relation.oid, None)
            self._plans[relation.oid] = None
            self._older.add(relation.oid)
            return None
        self._older.discard(relation.oid)
        if own and own.early and is_known:
            tracked = own  # it is not described again before its next row
        elif tracked is None:
            old = self._before(relation)
            if old is not None:
                return self._renamed(old.schema, table, seq)
        elif self._has_moved(tracked, relation):
            if own is None:
                return self._displaced(tracked.schema, relation, seq)
            tracked = own  # its name follows once the log has been read
        elif tracked is not own:
            same = [o for o, r in self._relations.items() if names(r) == names(relation)]
            others = [o for o in same if self._numbered(o) in (None, tracked)]
            if {*others, tracked.schema.oid} - {relation.oid, None}:
                for oid in others:
                    del self._relations[oid]
                if exchanged := self.exchanged(tracked.schema, seq):
                    return exchanged
                # It was dropped, and another one made under its name.
                self._gone[table] = tracked.schema.oid
                return SchemaChange(tracked.schema, None, seq)
        if tracked is not None:
            now = changed(tracked.schema, relation, self._describer)
            if now is not None:
                return _schema_change(tracked.schema, now, seq)
        elif table in self._gone and self._gone[table] != relation.oid:
            del self._gone[table]
            created = self._describer.table(table)
            if created is not None:
                return SchemaChange(None, created, seq)
        if tracked is not None and not self._is_known(tracked, final):
            change = self._identified(tracked, relation, seq)
            if change is not None:
                return change
        self._relations[relation.oid] = relation
        self._plans[relation.oid] = None if tracked is None else self._planned(relation, tracked)
        return None

    def _has_moved(self, tracked: TableSubscription, relation: Relation) -> bool:
        """Return whether a relation has the name of a followed table that is there still: under
        another name by now, or it had another one meanwhile."""
        oid = tracked.schema.oid
        return oid not in (None, relation.oid) and self._describer.by_oid(oid or 0) is not None

    def _displaced(self, table: TableSchema, relation: Relation, seq: int) -> SchemaChange | None:
        """Return the change of a table whose name one got that is not followed; None if it gets
        that back, or the name of a followed one: that is known once the log has been read. The
        other one joins."""
        if exchanged := self.exchanged(table, seq):
            return exchanged
        there = None if table.oid is None else self._describer.by_oid(table.oid)
        if there is not None and there.id not in self._tracked:
            return self._renamed(table, there.id, seq)
        self._relations[relation.oid] = relation
        self._plans[relation.oid] = None
        return None

    def _renamed(self, old: TableSchema, name: TableId, seq: int) -> SchemaChange:
        """Return a rename, with what it means for a stream that has the old name alone."""
        instead = self.successor(old, seq)
        keys = tuple(
            replace(key, referenced=name) if key.referenced == old.id else key
            for key in old.foreign_keys
        )
        new = replace(old, id=name, foreign_keys=keys)
        return SchemaChange(old, new, seq, instead=instead)

    def successor(self, table: TableSchema, seq: int = 0) -> SchemaChange | None:
        """Return the change of a renamed table into the one that has its name now; None if none
        has it."""
        now = self._describer.table(table.id)
        if now is None or now.oid == table.oid:
            return None
        return self.exchanged(table, seq) or SchemaChange(table, now, seq, rewritten=True)

    def exchanged(self, table: TableSchema, seq: int = 0) -> SchemaChange | None:
        """Return the change of a table that has the name of another followed one now, while its own
        name is given again; None where that is not so.

        It is read again under its name: no message says when it was renamed. No row is lost.
        """
        there = None if table.oid is None else self._describer.by_oid(table.oid)
        if there is None or there.id == table.id or there.id not in self._tracked:
            return None
        now = self._describer.table(table.id)
        if now is None:
            return None
        return SchemaChange(table, now, seq, rewritten=True, exchanged=True)

    def leaf(
        self, relation: Relation, root: int, seq: int, final: int, xid: int
    ) -> SchemaChange | None:
        """Return the change of the table ``root`` that the first row of a partition shows."""
        owner = self._relations.get(root)
        tracked = None if owner is None else self._meant(owner)
        if tracked is None or self._is_known(tracked, final) or relation.oid in self._leaves:
            return None
        own = self._meant(relation)
        if own is not None:  # it was attached: the root takes its name on the target
            return SchemaChange(own.schema, None, seq, rewritten=True)
        self._leaves.add(relation.oid)
        return leaf_change(tracked.schema, relation.oid, xid, seq, self._describer)

    def told(self, content: bytes, seq: int, final: int) -> SchemaChange | None:
        """Return what the event trigger reported of a followed table that was loaded before."""
        event = parse_event(content)
        if event is None:
            return None
        if isinstance(event, DroppedTable):
            tracked = self._tracked.get(event.table)
        else:
            tracked = self._meant(event.relation)
        if tracked is None:
            return None
        if self._is_known(tracked, final):
            return self._renamed_early(tracked, event, seq)
        old = tracked.schema
        if isinstance(event, DroppedTable):
            self.forget(event.table)
            return SchemaChange(old, None, seq)
        table = self._followed(event.relation)[0]
        if table != old.id:
            return self._renamed(old, table, seq)
        change = changed(old, event.relation, self._describer, event.renamed)
        change = change or RelationChange(old, {})
        now = _with_nulls(change.schema, event.solid)
        if now == old:
            return None
        return _schema_change(old, replace(change, schema=now), seq)

    def _renamed_early(
        self, tracked: TableSubscription, event: AlteredTable | DroppedTable, seq: int
    ) -> SchemaChange | None:
        """Return the rename of a table that was read again before its place in the log: until then
        other tables may get the name that it has or had."""
        if isinstance(event, DroppedTable) or not tracked.early:
            return None
        table, named = self._followed(event.relation)
        own = event.relation.oid == tracked.schema.oid
        return self._renamed(tracked.schema, table, seq) if own and named is None else None

    def _numbered(self, oid: int) -> TableSubscription | None:
        """Return the subscription of the table that has this oid."""
        return next((t for t in self._tracked.values() if t.schema.oid == oid), None)

    def _meant(self, relation: Relation) -> TableSubscription | None:
        """Return the subscription of a relation's table, by oid if that is known: a table may have
        the former name of another one."""
        named = self._followed(relation)[1]
        if named is not None and named.schema.oid == relation.oid:
            return named
        if numbered := self._numbered(relation.oid):
            return numbered
        return named if named is not None and named.schema.oid is None else None

    def plan(self, oid: int) -> DecodePlan | None:
        """Return how rows of a relation are decoded; None if no subscription covers its table."""
        if oid in self._older:
            return None
        if oid not in self._plans:
            relation = self._relations.get(oid)
            if relation is None:
                raise violation(WHAT, "a row refers to a relation that was not described")
            # A root's new name is not described before rows of a partition that was described.
            tracked = self._meant(relation)
            self._plans[oid] = None if tracked is None else self._planned(relation, tracked)
        return self._plans[oid]

    def _planned(self, relation: Relation, tracked: TableSubscription) -> DecodePlan:
        return plan_for(relation, tracked, self._describer.json, self._describer.compute)

    def is_current(self, look: TableLook) -> bool:
        tracked = self._tracked.get(look.before.id)
        return tracked is not None and tracked.schema == look.before

    def forget(self, table: TableId) -> None:
        """Forget the relations under a dropped table's name, which another table may take."""
        for oid, relation in list(self._relations.items()):
            if names(relation) == (table.schema, table.name):
                del self._relations[oid]
        known = self._tracked.get(table)
        self._gone[table] = None if known is None else known.schema.oid

    def _is_known(self, tracked: TableSubscription, final: int) -> bool:
        """Return True if the table was loaded after a transaction that commits at ``final``."""
        return bool(final) and final < self.since(tracked)

    def _differs(self, tracked: TableSubscription, relation: Relation) -> bool:
        """Return True if the relation differs from the followed table."""
        schema = tracked.schema
        own = tracked.early and schema.oid == relation.oid
        if not own and (schema.id.schema, schema.id.name) != names(relation):
            return True
        if schema.oid not in (None, relation.oid):
            return True
        try:
            return changed(schema, relation, self._describer, frozenset()) is not None
        except SchemaChangeRefused:
            return True

    def _identified(
        self, tracked: TableSubscription, relation: Relation, seq: int
    ) -> SchemaChange | None:
        """Return a schema change if the replica identity changed, because it identifies the rows
        from here on."""
        if self._identities.get(relation.oid) == relation and relation.identity != "f":
            return None
        self._identities[relation.oid] = relation
        followed = identified(tracked, relation, self._describer)
        if followed is None:
            return None
        return SchemaChange(tracked.schema, followed[0], seq, identity=followed[1])

    def _before(self, relation: Relation) -> TableSubscription | None:
        """Return the subscription of a renamed relation, under its former name; it may have been
        renamed while nobody read the log."""
        known = self._relations.get(relation.oid)
        if known is not None and names(known) != names(relation):
            return self._meant(known)
        return self._numbered(relation.oid)

    def _followed(self, relation: Relation) -> tuple[TableId, TableSubscription | None]:
        table = TableId(relation.schema, relation.name)
        return table, self._tracked.get(table)


def _with_nulls(table: TableSchema, solid: frozenset[str]) -> TableSchema:
    """Return the table with only these columns NOT NULL, and without a key or an identity on any
    other column."""
    columns = tuple(
        c
        if c.generated is not None
        else replace(
            c, nullable=c.name not in solid, identity=c.identity if c.name in solid else None
        )
        for c in table.columns
    )
    key = table.primary_key
    if key is not None and not set(key.columns) <= solid:
        key = None
    return replace(table, columns=columns, primary_key=key)


def _schema_change(before: TableSchema, change: RelationChange, seq: int) -> SchemaChange:
    old_rows = change.old_rows
    return SchemaChange(
        before,
        change.schema,
        seq,
        change.renamed,
        backfill=old_rows.backfill,
        rewritten=old_rows.rewritten,
    )


def names(relation: Relation) -> tuple[str, str]:
    """Return the schema and the name of a relation."""
    return relation.schema, relation.name
