"""A table changes in the log: what that means for the target, and for what follows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from streams_engine.changes import SchemaChange
from streams_engine.errors import SchemaChangeRefused
from streams_engine.model import Catalog, Position, TableId, TableSchema
from streams_engine.protocols import ChangeWriter, Sink, StructureSink
from streams_engine.runtime.followed import Followed
from streams_engine.runtime.joining import Origin
from streams_engine.runtime.planning import adapt
from streams_engine.runtime.runner import Convert, Job
from streams_engine.schema.mapping import TableMapping
from streams_engine.stats import Counters

if TYPE_CHECKING:
    from streams_engine.runtime.following import Follower

__all__ = ["Evolution"]

Attach = Callable[
    [Origin, TableMapping, TableSchema, Position | None, Mapping[TableId, TableSchema]], Followed
]


@dataclass
class Evolution:
    """Carries schema changes of one source to the target, as ``schemaChanges`` says."""

    job: Job
    policy: str
    origin: Origin
    sink: Sink
    counters: Counters
    attach: Attach
    follower: Follower = field(init=False)

    def mapped(self, schemas: Sequence[TableSchema]) -> dict[TableId, TableMapping]:
        """Tables as they are in the log, mapped onto the target's as they are there."""
        convert = Convert(self.job, [self.origin], self.sink, None, self.counters)  # type: ignore[arg-type]
        bare = tuple(replace(s, id=replace(s.id, alias="")) for s in schemas)
        dialect = self.origin.source.dialect
        found = convert.map(self.origin, Catalog(dialect, bare), None, convert.flavour())
        tables = found.tables
        if isinstance(self.sink, StructureSink):
            there = self.sink.inspect([m.target.id for m in tables])
            present = {table.id: table for table in there.tables}
            tables = tuple(
                adapt(m, present[m.target.id]) if m.target.id in present else m for m in tables
            )
        return {mapping.source.id: mapping for mapping in tables}

    def __call__(
        self, change: SchemaChange, writer: ChangeWriter, pending: bool
    ) -> Followed | None:
        """Carry a change over. Raises `SchemaChangeRefused`."""
        raise SchemaChangeRefused(f"{change.table}: its structure changed.")
