"""Foreign keys of existing tables that lead back to their own table: no order of loading satisfies
them. They are dropped before the rows and added again after them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace

from streams_engine.contracts import Statement
from streams_engine.model import Finding, ForeignKey, ObjectRef, Severity, TableId, TableSchema
from streams_engine.pipeline.checkpoint_records import DroppedKeyRecord
from streams_engine.schema.dialects import ddl_of

__all__ = ["cyclic_keys", "drops", "loading_order", "of_dropped_keys", "table_gone"]

LEFT_OUT = "left-out"


def cyclic_keys(tables: Sequence[TableSchema]) -> tuple[DroppedKeyRecord, ...]:
    """Return the foreign keys that are on a cycle of these tables, with what adds them again.

    A key that the target does not prove when it is added (NOT VALID, NOT ENFORCED, a period) is
    none of them: without a proof it would come back as another.
    """
    roots = _roots(tables)
    parents = {t.id: {roots.get(k.referenced) for k in t.every_foreign_key} for t in tables}
    found = []
    for table in tables:
        for bare, key in _own_keys(table):
            parent = roots.get(key.referenced)
            if parent is None or not _leads_to(parent, table.id, parents):
                continue
            alone = replace(bare, foreign_keys=(key,))
            added, *comments = ddl_of(table.dialect).foreign_keys(alone)
            if added.orphans is not None:
                comment = comments[0].sql if comments else None
                found.append(
                    DroppedKeyRecord(
                        bare.id, key.name, key.referenced, added.sql, added.orphans, comment
                    )
                )
    return tuple(found)


def _own_keys(table: TableSchema) -> Iterator[tuple[TableSchema, ForeignKey]]:
    """Yield the foreign keys of a table and of its partitions, each with whose own it is."""
    tree = table.partitioning
    bare = replace(table, partitioning=replace(tree, partitions=()) if tree else None)
    for key in table.foreign_keys:
        yield bare, key
    for part in tree.every() if tree else ():
        inner = part.partitioning
        own = replace(inner, partitions=()) if inner else None
        for key in part.foreign_keys:
            yield replace(table, id=part.id, partitioning=own, inherits=()), key


def _roots(tables: Iterable[TableSchema]) -> dict[TableId, TableId]:
    """Return the table that each table and partition is loaded with."""
    roots = {}
    for table in tables:
        roots[table.id] = table.id
        for part in table.partitioning.every() if table.partitioning else ():
            roots[part.id] = table.id
    return roots


def _leads_to(
    start: TableId, end: TableId, parents: Mapping[TableId, AbstractSet[TableId | None]]
) -> bool:
    """Return whether foreign keys lead from one table to another, or the two are the same."""
    seen = {start}
    left = [start]
    while left:
        table = left.pop()
        if table == end:
            return True
        for parent in parents.get(table, ()):
            if parent is not None and parent not in seen:
                seen.add(parent)
                left.append(parent)
    return False


def loading_order(
    tables: Sequence[TableSchema],
    kept: Collection[TableId],
    dropped: Sequence[DroppedKeyRecord],
) -> tuple[frozenset[TableId], ...]:
    """Order tables by the foreign keys that are there, parents before children; the tables of a
    cycle that stays together."""
    roots = _roots(tables)
    away = {(record.table, record.name) for record in dropped}
    left: dict[TableId, set[TableId]] = {}
    for table in tables:
        keys = _own_keys(table) if table.id in kept else ()
        found = {roots.get(k.referenced) for own, k in keys if (own.id, k.name) not in away}
        left[table.id] = {parent for parent in found if parent is not None} - {table.id}
    waves = []
    while left:
        free = frozenset(t for t, parents in left.items() if not parents & left.keys())
        waves.append(free or frozenset(left))
        left = {t: parents for t, parents in left.items() if t not in waves[-1]}
    return tuple(waves)


def drops(keys: Iterable[DroppedKeyRecord], tables: Sequence[TableSchema]) -> Iterator[Statement]:
    """Yield the statements that drop foreign keys; one that is refused leaves its key enforced."""
    ddl = ddl_of(tables[0].dialect) if tables else None
    for record in keys:
        if ddl is not None:
            yield ddl.drop_foreign_key(record.table, record.name)


def of_dropped_keys(
    findings: Iterable[Finding], dropped: Sequence[DroppedKeyRecord]
) -> Iterator[Finding]:
    """Yield the findings of the statements before the load, and one for each key that these drop,
    or may not drop."""
    refused: dict[str, Finding] = {}
    objects = {str(record.object) for record in dropped}
    for finding in findings:
        if finding.code == LEFT_OUT and finding.object in objects:
            refused[finding.object] = finding
        else:
            yield finding
    for label in sorted(objects):
        yield _enforced(refused[label]) if label in refused else _dropped(label)


def _dropped(label: str) -> Finding:
    return Finding(
        Severity.INFO,
        "foreign-key-dropped",
        label,
        "The foreign key leads back to its own table: it is dropped while rows are loaded, and "
        "added again, and proved, after them.",
        "If the load ends before that, start the stream again: the checkpoint has the key.",
    )


def _enforced(refusal: Finding) -> Finding:
    why = refusal.message.removeprefix(f"{refusal.object}: ")
    return Finding(
        Severity.WARNING,
        "foreign-key-enforced",
        refusal.object,
        "The foreign key leads back to its own table, and stays enforced while rows are loaded: "
        f"{why.rstrip('.')}. A row that comes before the one that it refers to is refused.",
        "Load as the owner of the table, or drop the foreign key for the time of the load.",
    )


def table_gone(label: ObjectRef, table: TableId, sql: str) -> Finding:
    """Return the finding for a foreign key that cannot come back without one of its tables."""
    return Finding(
        Severity.WARNING,
        LEFT_OUT,
        str(label),
        f"An earlier load dropped the foreign key for its time, and {table} is gone since.",
        f"Make the table, and add the foreign key: {sql};",
    )
