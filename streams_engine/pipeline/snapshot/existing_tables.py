"""Tell what tables that were on the target before lack: a load leaves their structure as it is."""

from __future__ import annotations

from collections.abc import Iterator

from streams_engine.model import Finding, Index, Severity, TableSchema
from streams_engine.schema.ddl.structure import Structure

__all__ = ["lacking"]


def lacking(wanted: TableSchema, there: TableSchema, structure: Structure) -> Finding | None:
    """Return the finding that a table lacks keys or indexes that it would have if it were created;
    None if it has them all. Names do not count."""
    missing = [*_keys(wanted, there, structure), *_foreign_keys(wanted, there, structure)]
    if not missing or not structure.tables:
        return None
    return Finding(
        Severity.WARNING,
        "missing-on-target",
        str(there.id),
        f"The table was there before, and its structure is left as it is. It lacks: "
        f"{'; '.join(missing)}.",
        "Make them by hand (plan shows the statements), or load with schemaPolicy "
        "drop_and_recreate.",
    )


def _keys(wanted: TableSchema, there: TableSchema, structure: Structure) -> Iterator[str]:
    present = [key for key in (there.primary_key, *there.indexes) if key is not None]
    primary = wanted.primary_key
    if primary is not None and not _has(there.primary_key, primary):
        yield f"primary key {_columns(primary)}"
    for index in wanted.indexes if structure.indexes else ():
        if not _is_plain(index):
            continue
        if index.unique and not any(key.unique and _has(key, index) for key in present):
            yield f"unique key {_columns(index)}"
        if not index.unique and not any(_begins(key, index) for key in present):
            yield f"index {_columns(index)}"


def _foreign_keys(wanted: TableSchema, there: TableSchema, structure: Structure) -> Iterator[str]:
    present = {(key.columns, key.referenced, key.referenced_columns) for key in there.foreign_keys}
    for key in wanted.foreign_keys if structure.foreign_keys else ():
        if (key.columns, key.referenced, key.referenced_columns) not in present:
            yield f"foreign key ({', '.join(key.columns)}) to {key.referenced}"


def _is_plain(index: Index) -> bool:
    """Return whether an index is one of whole columns, of all rows: others are compared by nobody
    here."""
    whole = all(part.column is not None and part.length is None for part in index.parts)
    return whole and index.where is None and index.method == "btree"


def _has(key: Index | None, wanted: Index) -> bool:
    return key is not None and {p.column for p in key.parts} == {p.column for p in wanted.parts}


def _begins(key: Index, wanted: Index) -> bool:
    """Return whether an index serves where the wanted one would."""
    columns = [part.column for part in wanted.parts]
    return [part.column for part in key.parts[: len(columns)]] == columns


def _columns(index: Index) -> str:
    return f"({', '.join(part.column or '' for part in index.parts)})"
