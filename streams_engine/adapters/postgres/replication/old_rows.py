"""Determine what existing rows hold after a schema change, which the log does not say.

The value of a column that was added with a constant default stands in the catalog (`attmissingval`)
until the table is rewritten; a rewritten table has another file. See
https://www.postgresql.org/docs/current/catalog-pg-attribute.html.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import psycopg

from streams_engine.model import Column, Dialect, Expression, TableSchema

__all__ = ["OldRows", "is_rewritten", "old_rows"]

MISSING = """
SELECT a.attname, a.atthasmissing,
       pg_catalog.array_to_string(a.attmissingval::text::text[], ',')
FROM pg_catalog.pg_attribute a
WHERE a.attrelid = ANY(%s::pg_catalog.oid[]) AND a.attnum > 0 AND NOT a.attisdropped
  AND a.attname = ANY(%s)
"""
"""The array has one element; joining it works for types whose arrays are not separated by commas
(box) too."""


@dataclass(frozen=True, slots=True)
class OldRows:
    """What the existing rows of a table hold after a schema change."""

    backfill: Mapping[str, Expression | None] = field(default_factory=dict)
    """The value of each new column in them; None: NULL."""
    rewritten: bool = False
    """They may have other values than before, which only the table itself shows."""


def old_rows(
    connection: psycopg.Connection,
    before: TableSchema,
    now: TableSchema,
    added: Sequence[Column],
    retyped: Sequence[str],
) -> OldRows:
    """Return what existing rows hold after a schema change, from the present catalog.

    ``now``: the table as the catalog describes it. If the checkpoint of an older version does not
    record how the table was stored, it counts as rewritten, unless a new column has no default.
    """
    if not now.storage:
        return OldRows()
    files = dict(before.storage)
    same = bool(files) and all(files.get(oid, file) == file for oid, file in now.storage)
    if retyped and not same:
        return OldRows(rewritten=True)
    there = {column.name for column in now.columns}
    plain = [column for column in added if column.generated is None]
    if any(column.name not in there for column in plain):
        return OldRows(rewritten=True)  # renamed or dropped since
    backfill: dict[str, Expression | None] = {}
    # Rows of partitions that came since are logged.
    oids = [oid for oid, _ in now.storage if not files or oid in files]
    found = _missing(connection, oids, [column.name for column in plain])
    for column in plain:
        values = found[column.name]
        held = values == {None} and not same and (bool(files) or column.default is not None)
        if len(values) > 1 or held:
            return OldRows(rewritten=True)
        (value,) = values or {None}
        backfill[column.name] = None if value is None else _literal(value, column)
    return OldRows(backfill)


def is_rewritten(before: TableSchema, now: TableSchema) -> bool:
    """Return True if a table was rewritten and a column was altered: ``ALTER TYPE ... USING`` may
    give each row another value, even if the type stays.

    VACUUM FULL, CLUSTER and TRUNCATE alter no column; SET DEFAULT and the like rewrite no file. One
    of each together counts as such a change too: then the table is read again needlessly. For
    partitions only the files count.
    """
    if now.partitioning is not None or not before.storage or before.storage == now.storage:
        return False
    known = {c.number: c for c in before.columns if c.number is not None and c.generated is None}
    return any(
        column.generated is None
        and column.number in known
        and known[column.number].written != column.written
        for column in now.columns
    )


def _missing(
    connection: psycopg.Connection, oids: Sequence[int], names: Sequence[str]
) -> Mapping[str, set[str | None]]:
    """Return, by column, the values that hold for rows which do not contain the column; None stands
    for NULL, or for rows that contain it."""
    found: dict[str, set[str | None]] = {name: set() for name in names}
    if names:
        for name, missing, value in connection.execute(MISSING, (oids, list(names))).fetchall():
            found[name].add(value if missing else None)
    return found


def _literal(value: str, column: Column) -> Expression:
    if column.type.name == "bool":
        return Expression("true" if value == "t" else "false", Dialect.POSTGRES)
    quoted = value.replace("'", "''")
    return Expression(f"'{quoted}'::{column.type.text}", Dialect.POSTGRES)
