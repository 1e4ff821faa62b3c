"""Tell what tables that were on the target before lack: a load leaves their structure as it is."""

from __future__ import annotations

from streams_engine.model import Finding, Severity, TableSchema
from streams_engine.schema.comparison import missing_keys
from streams_engine.schema.ddl.structure import Structure

__all__ = ["lacking"]


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
