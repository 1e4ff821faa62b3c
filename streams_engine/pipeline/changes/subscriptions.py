"""Subscriptions of a stream's tables: identity columns, starting position and referential
actions."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from streams_engine.contracts import (
    ChangeSink,
    ChangeSource,
    CheckpointStorage,
    LayoutSink,
    RowIdentitySource,
    StructureSink,
)
from streams_engine.errors import ConfigError
from streams_engine.model import (
    Catalog,
    ForeignKey,
    Op,
    Position,
    TableId,
    TableSchema,
)
from streams_engine.pipeline.changes.cascades import TargetKeys, unrepeated
from streams_engine.pipeline.changes.table_replication import (
    TableReplication,
    follow,
)
from streams_engine.pipeline.context import RunContext
from streams_engine.pipeline.multi_source import SourceSpec
from streams_engine.pipeline.snapshot.consistency import referential_actions
from streams_engine.schema.mapping.tables import MappedCatalog, TableMapping

__all__ = ["Subscriptions", "change_sink", "change_source", "identities", "logs_cascades"]


def change_source(source: SourceSpec) -> ChangeSource:
    """Return the source as a `ChangeSource`. Raises `ConfigError` if it has no change log."""
    inner: Any = source.source
    if not hasattr(inner, "changes"):
        raise ConfigError(
            "$.mode: this source has no change log.",
            path="$.mode",
            remedy="Use mode convert, or a source in MySQL, MariaDB or PostgreSQL.",
        )
    log: ChangeSource = inner
    return log


def logs_cascades(source: object) -> bool:
    """Return False if rows that foreign keys delete or change leave no trace in the log."""
    return bool(getattr(source, "logs_cascades", True))


def identities(source: object, tables: Sequence[TableSchema]) -> Mapping[TableId, tuple[str, ...]]:
    """Return the columns by which the log identifies a row of each table."""
    if isinstance(source, RowIdentitySource):
        return source.identities(tables)
    return {
        t.id: t.primary_key.columns if t.primary_key else tuple(c.name for c in t.columns)
        for t in tables
    }


def change_sink(sink: Any) -> ChangeSink:
    """Return a sink as one that changes can be applied to. Raises `ConfigError`."""
    if not isinstance(sink, ChangeSink):
        raise ConfigError(
            "$.target: this target cannot apply changes.",
            path="$.target",
            remedy="Use a target in MySQL, MariaDB or PostgreSQL.",
        )
    if not isinstance(sink, CheckpointStorage):
        raise ConfigError(
            "$.target: this target stores no checkpoint, which following a log needs.",
            path="$.target",
            remedy="Use mode convert, or a target that stores checkpoints.",
        )
    return sink


@dataclass(frozen=True, slots=True)
class Subscriptions:
    """Subscribes tables to their logs, by the settings of a run."""

    context: RunContext
    schema_changes: str = "apply"
    """The stream's ``schemaChanges``."""
    operations: Mapping[tuple[str, str], frozenset[Op]] = field(default_factory=dict)
    """By source alias and table name as the user wrote it; two empty texts: every other table."""

    def attach(
        self,
        source: SourceSpec,
        mapping: TableMapping,
        schema: TableSchema,
        identity: tuple[str, ...] | None,
        since: Position | None,
        schemas: Mapping[TableId, TableSchema],
    ) -> TableReplication:
        """Return how a table is followed from a position on.

        ``identity`` None: the source is asked. ``schemas``: of all tables of the source.
        """
        bare = replace(schema, id=replace(schema.id, alias=""))
        if identity is None:
            identity = identities(source.source, [bare])[bare.id]
        keys = [
            key
            for other in (() if logs_cascades(source.source) else schemas.values())
            for key in other.foreign_keys
            if replace(key.referenced, alias="") == bare.id
        ]
        acts = [referential_actions(key) for key in keys]
        cascades = any(deletes for deletes, _ in acts), any(updates for _, updates in acts)
        watched = {c for key in keys for c in key.referenced_columns} if any(cascades) else set()
        return follow(
            mapping,
            bare,
            identity,
            tuple(sorted(watched - set(identity))),
            since,
            zero_dates=self.context.job.zero_dates,
            quarantine=self.context.job.quarantine,
            operations=self._operations_of(source.alias, bare.id),
            cascades=cascades,
            relaxes=self.schema_changes == "apply",
        )

    def _operations_of(self, alias: str, table: TableId) -> frozenset[Op]:
        for key in ((alias, table.name), (alias, str(table)), ("", "")):
            if key in self.operations:
                return self.operations[key]
        return frozenset(Op)

    def demand_cascades(
        self,
        source: SourceSpec,
        tables: Mapping[TableId, TableReplication],
        target_keys: TargetKeys,
    ) -> None:
        """Raise `ConfigError` if the target does not perform referential actions that the log
        lacks."""
        schemas = {table: followed.tracked.schema for table, followed in tables.items()}
        mappings = {table: followed.mapping for table, followed in tables.items()}
        self._demand_cascades(source, mappings, schemas, target_keys)

    def demand_cascades_at_start(
        self, source: SourceSpec, catalog: Catalog, mapped: MappedCatalog
    ) -> None:
        """Do the same before anything is created: tables that exist already are not judged."""
        mine = {m.source.id: m for m in mapped.tables if m.source.id.alias == source.alias}
        sink = self.context.sink
        creates_keys = self.context.job.structure.foreign_keys

        @functools.cache
        def there() -> frozenset[TableId]:
            if not isinstance(sink, StructureSink):
                return frozenset()
            present = sink.inspect([mapping.target.id for mapping in mine.values()])
            return frozenset(table.id for table in present.tables)

        def target_keys(mapping: TableMapping) -> Sequence[ForeignKey] | None:
            if mapping.target.id in there():
                return None
            return mapping.target.foreign_keys if creates_keys else ()

        schemas = {
            table: schema
            for table in mine
            if (schema := catalog.table(replace(table, alias=""))) is not None
        }
        mappings = {table: mapping for table, mapping in mine.items() if table in schemas}
        self._demand_cascades(source, mappings, schemas, target_keys)

    def _demand_cascades(
        self,
        source: SourceSpec,
        mappings: Mapping[TableId, TableMapping],
        schemas: Mapping[TableId, TableSchema],
        target_keys: TargetKeys,
    ) -> None:
        sink = self.context.sink
        keeps_rows = isinstance(sink, StructureSink | LayoutSink)
        if logs_cascades(source.source) or not keeps_rows:
            return
        accepted = source.mapping.allow_lossy
        self.context.report(unrepeated(mappings, schemas, target_keys, accepted=accepted))
