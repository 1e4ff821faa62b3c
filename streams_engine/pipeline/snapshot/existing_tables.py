"""Tables that were on the target before: what they lack is told, and whether one may join."""

from __future__ import annotations

from collections.abc import Iterable

from streams_engine.contracts import StructureSink
from streams_engine.errors import TargetConflict
from streams_engine.model import Finding, Severity, TableSchema
from streams_engine.schema.comparison import missing_keys
from streams_engine.schema.ddl.structure import Structure

__all__ = ["demand_room", "lacking"]


def lacking(wanted: TableSchema, there: TableSchema, structure: Structure) -> Finding | None:
    """Return the finding that a table lacks keys or indexes that it would have if it were created;
    None if it has them all. Names do not count."""
    missing = list(missing_keys(wanted, there, structure))
    if not missing or not structure.tables:
        return None
    return Finding(
        Severity.WARNING,
        "missing-on-target",
        str(there.id),
        f"The table was there before, and its structure is left as it is. It lacks: "
        f"{'; '.join(missing)}.",
        "Make them by hand (plan --sql shows the statements), or load with schemaPolicy "
        "drop_and_recreate.",
    )


def demand_room(sink: StructureSink, there: Iterable[TableSchema]) -> None:
    """Raise `TargetConflict` if a table under whose name one joins a stream that runs has rows:
    they are not the stream's, and it could not tell them from its own."""
    for table in there:
        if sink.has_rows(table.id):
            raise TargetConflict(
                f"{table.id} joins the stream, but the target's table has rows.",
                remedy="Empty it, or leave the table out.",
                table=str(table.id),
            )
