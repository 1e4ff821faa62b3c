"""The log of one source: what the parts that handle schema changes share."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from streams_engine.contracts import Sink
from streams_engine.errors import SchemaChangeRefused
from streams_engine.model import SchemaChange, TableId
from streams_engine.pipeline.context import Job
from streams_engine.pipeline.multi_source import SourceSpec
from streams_engine.stats import Counters

if TYPE_CHECKING:
    from streams_engine.pipeline.changes.applier import ChangeApplier

__all__ = ["FollowedLog", "refused"]


@dataclass
class FollowedLog:
    """The log of one source, and its applier."""

    job: Job
    origin: SourceSpec
    sink: Sink
    counters: Counters
    applier: ChangeApplier = field(init=False)

    def stamped(self, table: TableId) -> TableId:
        """Return a table's name with the alias of its source."""
        return replace(table, alias=self.origin.alias)


def refused(change: SchemaChange, why: str) -> SchemaChangeRefused:
    """Return the error for a schema change that the stream does not apply."""
    shown = f" ({change.statement})" if change.statement else ""
    return SchemaChangeRefused(
        f"The structure of {change.table} changed{shown}, and the stream does not apply that "
        f"change: {why.rstrip('.')}.",
        remedy=(
            "Allow it (options.schemaChanges apply, and allowLossy for what loses "
            "values), or make the change on the target by hand and choose schemaChanges "
            "ignore."
        ),
        table=str(change.table),
    )
