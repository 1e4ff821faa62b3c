"""Check the target against schemaPolicy and writeMode before anything is created."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace

from streams_engine.contracts import Statement, StructureSink
from streams_engine.errors import NotFound, SchemaChangeRefused, TargetConflict
from streams_engine.model import Catalog, Finding, TableId, TableSchema, UserType
from streams_engine.pipeline.changes.table_replication import TableReplication
from streams_engine.pipeline.checkpoint_records import DroppedKeyRecord
from streams_engine.pipeline.resume import ResumePlan
from streams_engine.pipeline.snapshot.existing_tables import lacking
from streams_engine.pipeline.snapshot.key_cycles import cyclic_keys, drops, loading_order
from streams_engine.pipeline.snapshot.plan import adapt, creation_order
from streams_engine.schema.ddl.structure import Structure
from streams_engine.schema.dialects import ddl_of, spec_of
from streams_engine.schema.mapping.tables import MappedCatalog, TableMapping

__all__ = [
    "TargetPreparation",
    "demand_name",
    "prepare",
]


@dataclass(frozen=True, slots=True)
class TargetPreparation:
    """The work before the rows: statements, and each table's final mapping."""

    tables: tuple[TableMapping, ...]
    before: tuple[Statement, ...]
    created: frozenset[TableId]
    """Target tables that ``before`` creates. (One that it empties may be referred to by keys.)"""
    keys: Mapping[TableId, tuple[str, ...]]
    """The upsert key of each target table."""
    catalog: Catalog
    """The target's tables that ``before`` creates: those get indexes and keys afterwards."""
    waves: tuple[frozenset[TableId], ...]
    """Target tables to load one group after the other."""
    new: Catalog
    """The part of the target's catalog that ``before`` makes."""
    findings: tuple[Finding, ...] = ()
    """What tables lack that were there before."""
    dropped: tuple[DroppedKeyRecord, ...] = ()
    """The foreign keys that ``before`` drops, and that are added again after the rows."""


def prepare(
    mapped: MappedCatalog,
    sink: StructureSink,
    *,
    schema_policy: str,
    write_mode: str,
    wanted: Structure,
    resume: ResumePlan,
    rows: bool = True,
) -> TargetPreparation:
    """Decide per table what to create, reuse or drop. Raises `TargetConflict`, `NotFound`.

    Where ``resume`` says that an earlier run of the same stream left the tables, their
    presence and their rows are no conflict: they are kept, or emptied. ``rows``: rows are loaded,
    so that foreign keys which no order satisfies have to go for that time.
    """
    ddl = ddl_of(mapped.target.dialect)
    existing = sink.inspect([mapping.target.id for mapping in mapped.tables])
    present = {table.id: table for table in existing.tables}
    others = {table for table in present if not resume.owns(table)}
    if schema_policy == "fail_if_exists" and others:
        raise TargetConflict(
            f"These tables already exist on the target: {_names(others)}.",
            remedy="schemaPolicy is fail_if_exists: drop them, or choose another policy.",
            tables=sorted(map(str, others)),
        )
    if schema_policy == "validate_existing" or not wanted.tables:
        missing = [m.target.id for m in mapped.tables if m.target.id not in present]
        if missing:
            raise NotFound(
                f"These tables do not exist on the target: {_names(missing)}.",
                remedy="Create them, or use schemaPolicy create_missing_only.",
                tables=sorted(map(str, missing)),
            )
    dropping = schema_policy == "drop_and_recreate" and wanted.tables and not resume.ours
    kept = {} if dropping else present
    tables = _adapted(mapped.tables, kept, schema_policy)
    _check_rows(tables, others & kept.keys(), sink, write_mode)
    new = [m.target for m in tables if m.target.id not in kept]
    recreates = schema_policy != "drop_and_recreate"
    before: list[Statement] = []
    if resume.ours and new:
        before += spec_of(mapped.target.dialect).renew_types(_changed(mapped.target, existing))
    else:
        _demand_types(mapped.target, existing, dropping, recreates=recreates)
    made = _missing(mapped.target, new, existing, dropping)
    if dropping:
        before += ddl.drop(list(present), mapped.target, existing)
    before += ddl.objects(made)
    for schema in creation_order(made.tables):
        before += ddl.table(schema, wanted)
    keys = {m.target.id: _key(m, write_mode) for m in tables}
    for schema in made.tables if write_mode == "upsert" else ():
        before += ddl.key(schema, keys[schema.id])
    targets = [m.target for m in tables]
    there = [table for table in targets if table.id in kept]
    dropped = cyclic_keys(there) if rows else ()
    before += drops(dropped, there)
    before += ddl.empty(kept[table] for table in _truncated(tables, kept, write_mode, resume))
    return TargetPreparation(
        tables,
        tuple(before),
        frozenset(table.id for table in new),
        keys,
        # An earlier run may have been killed before it made all keys and indexes.
        _unfinished(mapped.target, tables, kept, resume) if resume.ours else made,
        loading_order(targets, kept.keys(), dropped),
        made,
        _lacking(mapped.tables, {t: kept[t] for t in others & kept.keys()}, wanted),
        dropped,
    )


def _unfinished(
    target: Catalog,
    tables: Sequence[TableMapping],
    kept: Mapping[TableId, TableSchema],
    resume: ResumePlan,
) -> Catalog:
    """Return the catalog without the tables whose structure is not the stream's: others made
    them."""
    theirs = {m.target.id for m in tables if m.target.id in kept and not resume.made(m.target.id)}
    return replace(target, tables=tuple(t for t in target.tables if t.id not in theirs))


def _lacking(
    mappings: Sequence[TableMapping], kept: Mapping[TableId, TableSchema], structure: Structure
) -> tuple[Finding, ...]:
    found = (
        lacking(m.target, kept[m.target.id], structure) for m in mappings if m.target.id in kept
    )
    return tuple(finding for finding in found if finding is not None)


def _adapted(
    mappings: Sequence[TableMapping], kept: Mapping[TableId, TableSchema], schema_policy: str
) -> tuple[TableMapping, ...]:
    """Adapt the mappings to the existing tables. Raises one `TargetConflict` for all."""
    adapted: list[TableMapping] = []
    conflicts: list[TargetConflict] = []
    recreates = schema_policy != "drop_and_recreate"
    for mapping in mappings:
        there = kept.get(mapping.target.id)
        try:
            adapted.append(adapt(mapping, there, recreates=recreates) if there else mapping)
        except TargetConflict as conflict:
            conflicts.append(conflict)
    if len(conflicts) > 1:
        tables = sorted(str(conflict.details["table"]) for conflict in conflicts)
        raise TargetConflict(
            " ".join(conflict.message for conflict in conflicts[:10])
            + (f" And {len(conflicts) - 10} more." if len(conflicts) > 10 else ""),
            remedy=conflicts[0].remedy,
            table=tables[0],
            tables=tables,
            faults=[fault for conflict in conflicts for fault in conflict.details["faults"]],
        )
    if conflicts:
        raise conflicts[0]
    return tuple(adapted)


def _truncated(
    tables: Sequence[TableMapping],
    kept: Mapping[TableId, TableSchema],
    write_mode: str,
    resume: ResumePlan,
) -> list[TableId]:
    """Return the existing tables whose rows are deleted before the load.

    One of a kept run whose chunks are not recorded has no rows of that run: it may have ended
    before it emptied the table, where the target commits each statement by itself.
    """
    there = [m for m in tables if m.target.id in kept]
    mine = write_mode not in {"append", "upsert"}
    if resume.kept:
        begun = resume.chunks.keys() - resume.reload
        there = [m for m in there if m.source.id not in begun]
    if write_mode == "truncate_and_load":
        return [m.target.id for m in there]
    return [m.target.id for m in there if mine and resume.owns(m.target.id)]


def _check_rows(
    tables: Sequence[TableMapping],
    others: AbstractSet[TableId],
    sink: StructureSink,
    write_mode: str,
) -> None:
    """Raise `TargetConflict` if a table that is there, and not the stream's own, has rows."""
    if write_mode != "fail_if_not_empty":
        return
    full = [m.target.id for m in tables if m.target.id in others and sink.has_rows(m.target.id)]
    if full:
        raise TargetConflict(
            f"These tables on the target contain rows: {_names(full)}.",
            remedy="writeMode is fail_if_not_empty: empty them, or use append, upsert or "
            "truncate_and_load.",
            tables=sorted(map(str, full)),
        )


def _key(mapping: TableMapping, write_mode: str) -> tuple[str, ...]:
    """Return the columns by which an upsert matches: the primary key, else a unique key of NOT NULL
    columns, preferably not deferrable."""
    if write_mode != "upsert":
        return ()
    target = mapping.target
    carried = {column.target.name for column in mapping.columns}
    solid = {column.name for column in target.columns if not column.nullable}
    keys = [key for key in (target.primary_key, *target.indexes) if key is not None]
    for index in sorted(keys, key=lambda key: key.deferrable):
        if not index.unique or index.where:
            continue
        plain = all(part.column is not None for part in index.parts)
        if (
            plain
            and set(index.columns) <= carried
            and (index.primary or set(index.columns) <= solid)
        ):
            return index.columns
    raise TargetConflict(
        f"The table {target.id} has neither a primary key nor a unique key without NULLs.",
        remedy="writeMode upsert needs such a key: add one, or use append or truncate_and_load.",
        table=str(target.id),
    )


def _changed(target: Catalog, existing: Catalog) -> list[UserType]:
    """Return the types that are there with another definition."""
    types = {t.id: t for t in existing.types}
    return [wanted for wanted in target.types if types.get(wanted.id, wanted) != wanted]


def _demand_types(target: Catalog, existing: Catalog, dropping: bool, *, recreates: bool) -> None:
    """Raise `TargetConflict` on another type of the same name."""
    types = {t.id: t for t in existing.types} if not dropping else {}
    for wanted in target.types:
        there = types.get(wanted.id)
        if there is not None and (there.kind, there.labels) != (wanted.kind, wanted.labels):
            raise TargetConflict(
                f"The type {wanted.id} exists on the target with another definition.",
                remedy="Rename or drop it"
                + (", or use schemaPolicy drop_and_recreate." if recreates else "."),
                type=str(wanted.id),
            )


def _missing(
    target: Catalog, new: Sequence[TableSchema], existing: Catalog, dropping: bool
) -> Catalog:
    """Return the objects that the target's catalog lacks."""
    types = {t.id for t in existing.types} if not dropping else set()
    sequences = {s.id for s in existing.sequences} if not dropping else set()
    return replace(
        target,
        tables=tuple(new),
        types=tuple(t for t in target.types if t.id not in types) if new else (),
        sequences=tuple(s for s in target.sequences if s.id not in sequences) if new else (),
        extensions=target.extensions if new else (),
        schemas=existing.schemas,
    )


def _names(tables: Collection[TableId]) -> str:
    names = sorted(map(str, tables))
    more = f" and {len(names) - 10} more" if len(names) > 10 else ""
    return ", ".join(names[:10]) + more


def demand_name(old: TableReplication | None, new: TableReplication | None) -> None:
    """Refuse to rename a table of a change log in files, because its earlier rows have the old
    name.

    Raises `SchemaChangeRefused`.
    """
    if old is None or new is None or old.mapping.target.id == new.mapping.target.id:
        return
    raise SchemaChangeRefused(
        f"{old.mapping.source.id} was renamed, and a change log in files keeps the old name.",
        remedy=(
            "Choose schemaChanges ignore to continue under the old name, or load again with "
            "start(fresh=True)."
        ),
        table=str(old.mapping.source.id),
    )
