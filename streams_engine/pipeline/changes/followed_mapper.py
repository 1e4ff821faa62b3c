"""Map the tables of a log, as they are at a position, onto the target."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace

from streams_engine.contracts import ListingSource, StructureSink
from streams_engine.errors import SchemaChangeRefused
from streams_engine.model import (
    Catalog,
    Column,
    Finding,
    ForeignKey,
    RowObservations,
    SchemaChange,
    Severity,
    TableId,
    TableSchema,
)
from streams_engine.pipeline.catalog_mapper import CatalogMapper
from streams_engine.pipeline.changes.followed_log import FollowedLog
from streams_engine.pipeline.changes.table_replication import TableReplication
from streams_engine.pipeline.checkpoint_records import TableRename
from streams_engine.pipeline.snapshot.plan import adapt
from streams_engine.schema.evolution.counters import counted_as_there
from streams_engine.schema.evolution.index_names import every_index, named_as_there
from streams_engine.schema.mapping.tables import ColumnMapping, TableMapping, warning
from streams_engine.schema.types.compatibility import can_hold, fit
from streams_engine.schema.types.relaxation import fits_boolean

__all__ = ["FollowedMapper", "Step"]

NOTHING_OBSERVED = RowObservations()

Step = tuple[TableMapping, TableMapping, Mapping[str, str]]
"""From one structure to another, and the columns that were renamed."""


@dataclass
class FollowedMapper:
    """Maps tables by what the stream follows and by what exists on the target."""

    log: FollowedLog
    wide: set[tuple[TableId, str]] = field(default_factory=set)
    """Columns of tables that come with rows, which do not fit what a new column usually is."""
    _findings: Sequence[Finding] = ()
    """Of the last mapping."""

    def onto_target(
        self,
        schemas: Sequence[TableSchema],
        intended: AbstractSet[TableId],
        renames: Mapping[str, TableRename],
        gone: AbstractSet[TableId] = frozenset(),
    ) -> dict[TableId, TableMapping]:
        """Map tables as the log describes them onto the target's existing tables.

        For tables with an ``intended`` change the target may be ahead of the log; those of
        ``renames``, by label, may have their new name there, and those that are ``gone`` may be
        dropped there, and others have their names.
        """
        mappings = self._map(schemas)
        if not isinstance(self.log.sink, StructureSink):
            return mappings
        names = [*(m.target.id for m in mappings.values()), *(new for _, new in renames.values())]
        present = {table.id: table for table in self.log.sink.inspect(names).tables}
        for table, mapping in mappings.items():
            if table in gone:
                continue
            was, now = renames.get(str(table), (mapping.target.id, mapping.target.id))
            if was not in present and now in present:
                mapping = replace(mapping, target=replace(mapping.target, id=now))
            target = present.get(mapping.target.id)
            if target is not None:
                if table in intended:
                    mapping = _common(mapping, target)
                    target = _filled(target, mapping)
                mappings[table] = adapt(mapping, target, recreates=False)
        return mappings

    def by_rules(self, schema: TableSchema, observed: RowObservations) -> TableMapping:
        """Return the table's mapping by the rules alone, whatever the target contains.

        The other tables are mapped too: foreign keys refer to them, and names must differ. Raises
        `SchemaChangeRefused` for one that the target cannot have.
        """
        schemas = {t: f.tracked.schema for t, f in self.log.applier.tables.items()}
        table = self.log.stamped(schema.id)
        mapping = self._map([*{**schemas, table: schema}.values()], observed).get(table)
        if mapping is None:
            raise SchemaChangeRefused(
                f"{schema.id} cannot be created on the target as it is now (no columns left?).",
                remedy="Leave the table out of the stream (tables), or give it a column and load "
                "it again (start with fresh=True).",
                table=str(schema.id),
            )
        return mapping

    def findings_of(self, schema: TableSchema, mapping: TableMapping) -> list[Finding]:
        """Return the findings of the last mapping about a table: what was changed or left out.

        A foreign key whose table is about to join is not left out: it is created with that table.
        Nor is a default in whose stead the target numbers the rows, as `named` knows.
        """
        label = str(self.log.stamped(schema.id))
        numbered = {
            f"{label}.{column.source.name}"
            for column in mapping.columns
            if column.target.identity is not None
        }
        keys = {f"{label}.{k.name}": self.log.stamped(k.referenced) for k in schema.foreign_keys}
        found = [
            finding
            for finding in self._findings
            if f"{finding.object}.".startswith(f"{label}.")
            and not (finding.code == "default" and finding.object in numbered)
        ]
        told = {keys[f.object] for f in found if f.code == "foreign-key" and f.object in keys}
        expected = self._expected(told)
        return [
            _waits(f, keys[f.object])
            if f.code == "foreign-key" and keys.get(f.object) in expected
            else f
            for f in found
        ]

    def _expected(self, parents: AbstractSet[TableId]) -> frozenset[TableId]:
        """Return those of the tables that are not followed yet, and are about to join."""
        known = [followed.mapping.source.id for followed in self.log.applier.tables.values()]
        origin = self.log.origin
        wanted = frozenset(t for t in parents if t not in known and origin.wants(t, known))
        if not wanted or not isinstance(origin.source, ListingSource):
            return frozenset()
        # One that was dropped does not join.
        there = origin.source.tables(replace(origin.scope, tables=None, queries=()))
        return wanted & {self.log.stamped(table) for table in there}

    def named(
        self, change: SchemaChange, old: TableMapping | None, new: TableMapping | None
    ) -> tuple[TableMapping | None, TableMapping | None]:
        """Return both mappings of a changed table with the names that its indexes have there, and
        the column that the target numbers."""
        there = {t: f.mapping.target for t, f in self.log.applier.tables.items()}
        own = there.pop(self.log.stamped(change.table), None)
        old, new = counted_as_there(old, new, own, change.renamed)
        named = named_as_there(old, new, own if old is not None else None, there.values())
        if change.exchanged:
            self.log.counters.found(_other_names(new, named[1]))
        return named

    def observed(self, change: SchemaChange) -> RowObservations:
        """Return the TINYINT(1) columns that are booleans on the target, and the TIME columns that
        are intervals, before and after a change.

        A new one is a boolean, because existing rows contain its default, unless it is `wide`.
        """
        flags = {
            (table, column.source.name)
            for table, followed in self.log.applier.tables.items()
            for column in followed.mapping.columns
            if column.target.type.name == "bool"
        }
        spans = {
            (table, column.source.name)
            for table, followed in self.log.applier.tables.items()
            for column in followed.mapping.columns
            if column.source.type.name == "time" and column.target.type.name == "interval"
        }
        if change.after is None:
            return RowObservations(frozenset(flags), long_times=dict.fromkeys(spans, 0))
        before = set() if change.before is None else {c.name for c in change.before.columns}
        old, new = self.log.stamped(change.table), self.log.stamped(change.after.id)
        was = {now: then for then, now in change.renamed.items()}
        for column in change.after.columns:
            name = was.get(column.name, column.name)
            if (old, name) in flags or (name not in before and fits_boolean(column)):
                flags.add((new, column.name))
            if (old, name) in spans:
                spans.add((new, column.name))
        wide = dict.fromkeys(self.wide, 1)
        long_times = {**dict.fromkeys(spans, 0), **wide}
        return RowObservations(frozenset(flags - self.wide), wide, long_times=long_times)

    def awaiting(
        self, change: SchemaChange, new: TableMapping
    ) -> list[tuple[TableReplication, tuple[ForeignKey, ...]]]:
        """Return the tables, with their foreign keys, that refer to a table which did not exist
        when they were created."""
        if change.after is None:
            return []
        schemas = {t: f.tracked.schema for t, f in self.log.applier.tables.items()}
        table = self.log.stamped(change.after.id)
        mapped = self._map([*{**schemas, table: change.after}.values()], self.observed(change))
        found = []
        for other, followed in self.log.applier.tables.items():
            there = {key.name for key in followed.mapping.target.foreign_keys}
            planned = mapped[other].target.foreign_keys if other in mapped else ()
            keys = tuple(
                key for key in planned if key.referenced == new.target.id and key.name not in there
            )
            if keys and other != table:
                found.append((followed, keys))
        return found

    def steps(self, change: SchemaChange, old: TableMapping, new: TableMapping) -> list[Step]:
        """Return the steps (from, to, renamed columns) of a change.

        If existing rows get another value in a new column than its default, the column is added
        with that value, and gets its default in a second step.
        """
        if change.after is None or not change.backfill:
            return [(old, new, change.renamed)]
        filled = replace(
            change.after,
            columns=tuple(
                replace(c, default=change.backfill[c.name]) if c.name in change.backfill else c
                for c in change.after.columns
            ),
        )
        between = self.by_rules(filled, self.observed(change))
        indexes, key = new.target.indexes, new.target.primary_key
        target = replace(between.target, indexes=indexes, primary_key=key)
        between = replace(between, target=target)
        if between.target == new.target:
            return [(old, new, change.renamed)]
        return [(old, between, change.renamed), (between, new, {})]

    def as_there(
        self,
        change: SchemaChange,
        there: TableMapping,
        old: TableMapping,
        new: TableMapping,
        ignoring: bool,
    ) -> TableMapping:
        """Map onto the columns that the target really has.

        An unchanged column keeps its type on the target, which may differ from the one that the
        mapping would choose. If changes are ignored, the table keeps its name and columns.
        """
        before = {now: was for was, now in change.renamed.items()}
        present = {c.source.name: c for c in there.columns}
        planned = {c.source.name: c.target.type for c in old.columns}
        read = {c.source.name: c.source for c in (*old.columns, *old.generated)}
        columns = []
        # What the target would compute, and has as a plain column, is carried as before.
        computed = {c.source.name for c in old.generated}
        plain = [
            c
            for c in new.generated
            if (was := before.get(c.source.name, c.source.name)) in present
            and (ignoring or was in computed)
        ]
        planned |= {c.source.name: c.target.type for c in old.generated}
        for column in new.carrying(plain):
            was = before.get(column.source.name, column.source.name)
            known = present.get(was)
            if known is None:
                columns += [] if ignoring else [column]
            elif ignoring or planned.get(was) == column.target.type:
                name = known.target.name if ignoring else column.target.name
                columns.append(_kept(known, read.get(was), column, name))
            else:
                columns.append(column)
        target = there.target if ignoring else new.target
        return replace(new, columns=tuple(columns), target=target)

    def _map(
        self,
        schemas: Sequence[TableSchema],
        observed: RowObservations = NOTHING_OBSERVED,
    ) -> dict[TableId, TableMapping]:
        options = replace(self.log.origin.mapping, observed=observed)
        origin = replace(self.log.origin, mapping=options)
        mapper = CatalogMapper(self.log.job, self.log.sink)
        bare = tuple(replace(s, id=replace(s.id, alias="")) for s in schemas)
        catalog = Catalog(self.log.origin.source.dialect, bare)
        catalogs = mapper.map(origin, catalog, None, mapper.flavour())
        self._findings = catalogs.findings
        return {mapping.source.id: mapping for mapping in catalogs.tables}


def _waits(finding: Finding, parent: TableId) -> Finding:
    """Return the finding about a foreign key to a table that joins later."""
    message = f"It refers to {parent}, which is not followed yet: it is created with that table."
    return Finding(Severity.INFO, "foreign-key-waits", finding.object, message)


def _kept(known: ColumnMapping, was: Column | None, now: ColumnMapping, name: str) -> ColumnMapping:
    """Return the mapping of a column that does not change on the target.

    ``was``: the mapping of the source's column before. Its type may have changed to another one
    that the same target type holds; it is read as it is now.
    """
    target = replace(known.target, name=name)
    if was is None or (was.type, was.arrow) == (now.source.type, now.source.arrow):
        return replace(known, source=replace(known.source, name=now.source.name), target=target)
    return fit(now, target) or now


def _filled(there: TableSchema, mapping: TableMapping) -> TableSchema:
    """Return a table that is ahead of the log as if it took rows without the columns that a
    mapping lacks: it is altered, or read again, before rows come."""
    names = {c.target.name for c in mapping.columns}
    columns = tuple(c if c.name in names else replace(c, nullable=True) for c in there.columns)
    return replace(there, columns=columns)


def _common(mapping: TableMapping, there: TableSchema) -> TableMapping:
    """Return the mapping without the columns that the target lacks (not yet, or no longer), or
    whose type there does not hold their values: such a table is read again."""
    types = {column.name: column.type for column in there.columns}
    names = types.keys()
    columns = tuple(
        c
        for c in mapping.columns
        if c.target.name in names
        and (c.target.type == types[c.target.name] or can_hold(c.target.type, types[c.target.name]))
    )
    computed = tuple(c for c in mapping.generated if c.target.name in names)
    return replace(mapping, columns=columns, generated=computed)


def _other_names(wanted: TableMapping | None, named: TableMapping | None) -> Iterator[Finding]:
    """Yield a finding for each index of a table that gets another name than on the source."""
    if wanted is None or named is None:
        return
    for one, other in zip(every_index(wanted.target), every_index(named.target), strict=True):
        if one.name != other.name:
            yield warning(
                "index-name",
                named.target.id,
                f"Its index {one.name} is named {other.name} on the target: the name was taken.",
                "Rename it, if its name matters to you.",
            )
