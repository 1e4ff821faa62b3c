"""Watch the source's catalog for changes of tables that no message of the log describes.

A Relation message contains the names and types of columns, and comes with the next row. Defaults,
NOT NULL, keys, indexes, foreign keys, checks, generated columns, labels of enums, renamed and
dropped tables that nobody writes to: only the catalog has these, as they are now. What it shows is
applied once the log has been read up to the moment at which the catalog was read, because from
there on it holds in the log too.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from streams_engine.adapters.postgres.connection import translating
from streams_engine.adapters.postgres.replication.old_rows import OldRows, is_rewritten
from streams_engine.adapters.postgres.replication.partitions import (
    more_parts,
    new_ones_differ,
    rows_came_or_went,
    stored_elsewhere,
    with_new_parts,
)
from streams_engine.adapters.postgres.replication.pgoutput import lsn_value
from streams_engine.adapters.postgres.replication.relations import (
    RelationReader,
    demand_told,
    same,
)
from streams_engine.adapters.postgres.replication.slots import page_start
from streams_engine.adapters.postgres.replication.type_changes import (
    is_shown_anew,
    more_labels,
    wider_types,
)
from streams_engine.errors import SchemaChangeRefused, require
from streams_engine.model import (
    Check,
    Column,
    ForeignKey,
    Index,
    SchemaChange,
    TableId,
    TableSchema,
)
from streams_engine.schema.evolution.differences import canonical
from streams_engine.schema.evolution.references import as_followed

__all__ = ["CatalogWatch", "TableLook", "structure_change"]

T = TypeVar("T", Check, ForeignKey, Index)

WATCH_SECONDS = 5.0
"""Seconds between two checks whether the catalog's description of the tables changed."""

DIGESTS = """
WITH RECURSIVE watched(oid) AS (SELECT unnest(%s::pg_catalog.oid[])),
kinds(root, oid) AS (
  SELECT DISTINCT a.atttypid, a.atttypid FROM watched
  JOIN pg_catalog.pg_attribute a ON a.attrelid = watched.oid
  WHERE a.attnum > 0 AND NOT a.attisdropped AND a.atttypid >= 16384
  UNION SELECT kinds.root, x.oid FROM kinds
  JOIN pg_catalog.pg_type t ON t.oid = kinds.oid
  CROSS JOIN LATERAL (
    SELECT t.typelem UNION SELECT t.typbasetype
    UNION SELECT a.atttypid FROM pg_catalog.pg_attribute a
          WHERE a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped
  ) x(oid) WHERE x.oid >= 16384
),
made(root, digest) AS (
  SELECT kinds.root, md5(string_agg(concat_ws(',', t.oid, t.xmin,
    (SELECT string_agg(concat_ws(':', e.oid, e.xmin), ',' ORDER BY e.oid)
     FROM pg_catalog.pg_enum e WHERE e.enumtypid = t.oid),
    (SELECT string_agg(concat_ws(':', k.oid, k.xmin), ',' ORDER BY k.oid)
     FROM pg_catalog.pg_constraint k WHERE k.contypid = t.oid),
    (SELECT string_agg(concat_ws(':', a.attnum, a.xmin), ',' ORDER BY a.attnum)
     FROM pg_catalog.pg_attribute a WHERE a.attrelid = t.typrelid)), ' ' ORDER BY t.oid))
  FROM kinds JOIN pg_catalog.pg_type t ON t.oid = kinds.oid GROUP BY kinds.root
)
SELECT w.oid::int8, n.nspname, c.relname, coalesce(c.relispartition, false),
  md5(concat_ws(';', c.xmin, n.xmin,
  (SELECT string_agg(concat_ws(',', a.attnum, a.xmin, d.xmin, t.oid, made.digest,
                     (SELECT string_agg(concat_ws(':', q.oid, q.xmin), ' ' ORDER BY q.oid)
                      FROM pg_catalog.pg_depend y JOIN pg_catalog.pg_class q ON q.oid = y.refobjid
                      WHERE y.classid = 'pg_attrdef'::regclass AND y.objid = d.oid
                      AND y.refclassid = 'pg_class'::regclass AND q.relkind = 'S')), ' '
                     ORDER BY a.attnum)
   FROM pg_catalog.pg_attribute a
   JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
   LEFT JOIN made ON made.root = t.oid
   LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
   WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
  (SELECT string_agg(concat_ws(',', k.oid, k.xmin), ' ' ORDER BY k.oid)
   FROM pg_catalog.pg_constraint k WHERE k.conrelid = c.oid),
  (SELECT string_agg(concat_ws(',', i.indexrelid, i.xmin, x.xmin), ' ' ORDER BY i.indexrelid)
   FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid
   WHERE i.indrelid = c.oid),
  (SELECT string_agg(concat_ws(',', p.relid, r.relfilenode, r.xmin, h.xmin,
    (SELECT string_agg(concat_ws(':', a.attnum, a.xmin, d.xmin), '/' ORDER BY a.attnum)
     FROM pg_catalog.pg_attribute a
     LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
     WHERE a.attrelid = p.relid AND a.attnum > 0),
    (SELECT string_agg(concat_ws(':', k.oid, k.xmin), '/' ORDER BY k.oid)
     FROM pg_catalog.pg_constraint k WHERE k.conrelid = p.relid),
    (SELECT string_agg(concat_ws(':', i.indexrelid, i.xmin, x.xmin), '/' ORDER BY i.indexrelid)
     FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid
     WHERE i.indrelid = p.relid)), ' ' ORDER BY p.relid)
   FROM pg_catalog.pg_partition_tree(c.oid) p
   JOIN pg_catalog.pg_class r ON r.oid = p.relid
   LEFT JOIN pg_catalog.pg_inherits h ON h.inhrelid = p.relid
   WHERE c.relkind = 'p'),
  (SELECT string_agg(h.inhparent::text, ' ' ORDER BY h.inhseqno)
   FROM pg_catalog.pg_inherits h WHERE h.inhrelid = c.oid))),
  ARRAY(SELECT h.inhparent::int8 FROM pg_catalog.pg_inherits h
        WHERE h.inhrelid = c.oid ORDER BY h.inhseqno)
FROM watched w
LEFT JOIN pg_catalog.pg_class c ON c.oid = w.oid
LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
"""
"""By table: a digest of the transactions that last wrote its rows in the catalog, those of its
user-defined types (oids from 16384 on), and those of the sequences that its defaults call; and the
oids of what it inherits from."""

LOG_END = """
SELECT CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_replay_lsn()
            ELSE pg_catalog.pg_current_wal_insert_lsn() END::text
"""


@dataclass(frozen=True, slots=True)
class TableLook:
    """A table as the catalog described it at one moment."""

    before: TableSchema
    """As it is followed."""
    table: TableSchema | None
    """None: it is gone."""
    lsn: int
    """The end of the log at that moment: from there on the table is so in the log. 0: its rows are
    read again at once, in a view that is younger than all that the log holds."""
    seen: TableSchema | None = None
    """The table under its name of then, where ``table`` has the followed one."""
    attached: bool = False
    """It is gone because it became a partition: its rows are now those of the root."""
    revalued: bool = False
    """Its rows have other values than before, or are printed differently."""
    wider: TableSchema | None = None
    """The followed table, changed only so that it accepts more rows: with new labels of enums,
    partitions and columns that allow NULL, without dropped checks, unique and foreign keys. It may
    be applied before its place in the log."""


class CatalogWatch:
    """Reads the catalog's description of the followed tables. Used by one thread."""

    def __init__(self, describer: RelationReader) -> None:
        self._describer = describer
        self._digests: dict[int, str | None] = {}
        self._waiting: dict[int, TableLook] = {}
        self._settled: dict[int, tuple[TableSchema, TableSchema]] = {}
        """By oid: the table as it is followed, and as it was when its rows were last known to be
        the same."""
        self.due_at = 0.0
        self._looked = 0
        self.applied = 0
        """The end of the log at the last look from which nothing waits any more."""

    def hurry(self) -> None:
        """Make the next look due at once."""
        self.due_at = 0.0

    @property
    def due(self) -> bool:
        """Return whether it is time to look."""
        return time.monotonic() >= self.due_at

    def look(self, tables: Sequence[TableSchema]) -> None:
        """Read from the catalog what changed of the tables since the last look."""
        self.due_at = time.monotonic() + WATCH_SECONDS  # who hurries meanwhile wants another one
        by_oid: dict[int, list[TableSchema]] = {}
        for table in tables:
            if table.oid is not None:
                by_oid.setdefault(table.oid, []).append(table)
        known: dict[int, TableSchema] = {}
        names: dict[int, TableId] = {}
        with self._describer.asking() as connection:
            with translating("watching the catalog"):
                rows = connection.execute(DIGESTS.encode(), (list(by_oid),)).fetchall()
            changed: dict[int, TableId | None] = {}
            attached: set[int] = set()
            parents: dict[int, list[int]] = {}
            for oid, schema, name, is_partition, digest, above in rows:
                parents[oid] = above
                if is_partition:
                    attached.add(oid)
                there = None if schema is None else TableId(schema, name)
                # Of two that exchanged their names one may be read again already.
                stale = [table for table in by_oid[oid] if table.id != there]
                known[oid] = (stale or by_oid[oid])[0]
                names[oid] = there if there and len(stale) < len(by_oid[oid]) else known[oid].id
                shared = len(by_oid[oid]) > 1
                if self._digests.get(oid, "") != digest or oid in self._waiting or shared:
                    changed[oid] = there
                self._digests[oid] = digest if there else None
            named = [table for table in changed.values() if table]
            now = self._describer.tables(named) if named else {}
            with translating("watching the catalog"):
                row = require(connection.execute(LOG_END.encode()).fetchone(), "the log's end")
            end = lsn_value(page_start(row[0]))
            for oid, name in changed.items():
                if oid in attached and known[oid].partitioning is None:
                    # Its root is read again in a younger view than the log's, and takes its name.
                    self._waiting[oid] = TableLook(known[oid], None, 0, attached=True)
                    continue
                found = None if name is None else now.get(name)
                followed = None if found is None else as_followed(found, names, parents[oid])
                self._note(known[oid], followed, name, end)
                if found is not None and followed is not None and _lacks_keys(followed, found):
                    self._digests.pop(oid, None)  # until the tables that they refer to are followed
            self._looked = end
        for oid in self._waiting.keys() - known.keys():
            del self._waiting[oid]
        if not self._waiting:
            self.applied = self._looked

    def _note(
        self, before: TableSchema, now: TableSchema | None, named: TableId | None, end: int
    ) -> None:
        """Record how a table changed. ``named``: its name when the digest was read."""
        oid = require(before.oid, "the table's oid")
        if named is not None and (now is None or now.oid != oid):
            self._digests.pop(oid)  # it went, or got another name, while it was looked at
            return
        if now is not None:
            _demand_logged(now)
            now = as_known(before, now)
        revalued = now is not None and self._is_revalued(before, now)
        differs = now != before or (now is not None and bool(_made_anew(before, now)))
        if now is not None and not (differs or revalued or stored_elsewhere(before, now)):
            self._settled[oid] = (before, now)
            self._waiting.pop(oid, None)
            return
        waiting = self._waiting.get(oid)
        if waiting is None or (waiting.before, waiting.seen) != (before, now):
            wider = None if now is None else _wider(before, now, self._describer)
            table = now
            if now and (revalued or rows_came_or_went(before, now, self._describer)):
                # Other tables may have its name between here and there.
                end, table = 0, replace(now, id=before.id)
            self._waiting[oid] = TableLook(before, table, end, now, wider=wider, revalued=revalued)

    def _is_revalued(self, before: TableSchema, now: TableSchema) -> bool:
        """Return whether existing rows have other values, or are printed differently."""
        known, settled = self._settled.get(require(before.oid, "the table's oid"), (before, before))
        return is_rewritten(settled if known is before else before, now) or is_shown_anew(
            before, now
        )

    def wider(self) -> TableLook | None:
        """Return a look at a table that accepts more rows now, or None. The table is looked at
        again."""
        for oid, look in self._waiting.items():
            if look.wider is not None:
                del self._waiting[oid]
                self._digests.pop(oid, None)
                self.hurry()
                return look
        return None

    def ripe(self, lsn: int, is_current: Callable[[TableLook], bool]) -> TableLook | None:
        """Return a look whose moment the log, read up to ``lsn``, has reached, or None.

        ``is_current``: whether the table is still followed as it was at the look. If the log told
        another structure since, the table is looked at again.
        """
        for oid, look in self._in_order():
            if lsn >= look.lsn:
                if not is_current(look):
                    self.hurry()
                    continue
                del self._waiting[oid]
                if look.table is not None and not look.lsn:  # its name has yet to follow
                    self._digests.pop(oid, None)
                    self.hurry()
                elif not self._waiting:
                    self.applied = self._looked
                return look
        return None

    def _in_order(self) -> list[tuple[int, TableLook]]:
        """Return what waits: tables that are gone first, as another one may have their name, and
        those last that get the name of one that waits too."""
        held = {look.before.id for look in self._waiting.values()}

        def place(item: tuple[int, TableLook]) -> int:
            before, now = item[1].before, item[1].table
            return 0 if now is None else 1 + (now.id != before.id and now.id in held)

        return sorted(self._waiting.items(), key=place)


def _made_anew(before: TableSchema, now: TableSchema) -> list[str]:
    """Return the columns that were dropped, with others of their names there now, as their numbers
    show: existing rows hold what the new ones came with."""
    there = {column.name: column.number for column in now.columns}
    return [
        column.name
        for column in before.columns
        if None not in (column.number, there.get(column.name))
        and column.number not in there.values()
    ]


def _lacks_keys(one: TableSchema, other: TableSchema) -> bool:
    return len(one.every_foreign_key) < len(other.every_foreign_key)


def _demand_logged(table: TableSchema) -> None:
    """Raise `SchemaChangeRefused` if the table has an unlogged partition."""
    for part in table.partitioning.every() if table.partitioning else ():
        if part.unlogged:
            raise SchemaChangeRefused(
                f"The partition {part.id} of {table.id} is UNLOGGED: its changes are not in the "
                "WAL.",
                remedy=f"ALTER TABLE {part.id} SET LOGGED; and load the table again (start with "
                "fresh=True).",
                table=str(table.id),
            )


def as_known(before: TableSchema, now: TableSchema) -> TableSchema:
    """Return the catalog's table with its columns' types as they are read from the log, and without
    what is not followed: the values of sequences, estimates."""
    old = {column.name: column for column in before.columns}

    def column(new: Column) -> Column:
        known = old.get(new.name)
        if known is None:
            return new
        if same(known.type, new.type) and known.type.labels == new.type.labels:
            new = replace(new, type=known.type, arrow=known.arrow)
        if known.identity is not None and new.identity is not None:
            identity = replace(new.identity, next_value=known.identity.next_value)
            new = replace(new, identity=identity)
        return new

    # The checkpoint of an older version does not know types.
    unknown = not before.types and any(column.type.user for column in before.columns)
    return replace(
        now,
        columns=tuple(map(column, now.columns)),
        types=before.types if unknown else now.types,
        unlogged=before.unlogged,
        estimated_rows=before.estimated_rows,
        bytes=before.bytes,
        source_notes=before.source_notes,
    )


def structure_change(look: TableLook, describer: RelationReader) -> SchemaChange:
    """Return the schema change that a look shows. Columns are identified by their numbers if these
    are known. Raises `SchemaChangeRefused` if a column may have been renamed or replaced."""
    before, now = look.before, look.table
    if now is None:
        return SchemaChange(before, None, 0, rewritten=look.attached)
    by_number = {column.number: column for column in now.columns if column.number is not None}
    renamed: dict[str, str] = {}
    for column in before.columns:
        there = by_number.get(column.number) if column.number is not None else None
        if there is not None and there.name != column.name:
            renamed[column.name] = there.name
    anew = _made_anew(before, now)
    renamed |= dict.fromkeys(anew, "")
    known = {renamed.get(c.name, c.name): c for c in before.columns}
    demand_told(before, now)
    added = [c.name for c in now.columns if c.name not in known]
    retyped = [
        c.name for c in now.columns if c.name in known and not same(known[c.name].type, c.type)
    ]
    rows = describer.old_rows(before, now, added, retyped) if added or retyped else OldRows()
    replaced = bool(anew) or look.revalued or rows_came_or_went(before, now, describer)
    return SchemaChange(
        before,
        now,
        0,
        renamed,
        backfill=rows.backfill,
        rewritten=rows.rewritten or replaced,
    )


def _kept(before: tuple[T, ...], now: tuple[T, ...], same: Callable[[T, T], bool]) -> tuple[T, ...]:
    """Return those that are there still and not others of their names."""
    there = {one.name: one for one in now}
    return tuple(o for o in before if o.name in there and same(o, there[o.name]))


def _as_wide(index: Index, now: Index, names: Mapping[str, str]) -> bool:
    """Return whether an index refuses no row that the one of its name now takes."""
    columns = tuple(names.get(name, name) for name in index.columns)
    return not index.unique or (now.unique and (columns, index.where) == (now.columns, now.where))


def _wider(before: TableSchema, now: TableSchema, describer: RelationReader) -> TableSchema | None:
    """Return the table so that it accepts all rows that it accepted before and those of now; None
    if these are no more."""
    there = {column.name: column for column in now.columns}
    columns = []
    for column in before.columns:
        new = there.get(column.name)
        if new is not None and more_labels(column.type, new.type):
            column = replace(column, type=new.type)
        if new is not None and new.nullable and now.primary_key == before.primary_key:
            unproved = column.unproved if new.unproved else None
            column = replace(column, nullable=True, unproved=unproved, identity=new.identity)
        columns.append(column)
    numbers = {column.number: column.name for column in now.columns if column.number is not None}
    names = {c.name: numbers.get(c.number or 0, c.name) for c in before.columns}
    tree = before.partitioning
    more = tree and now.partitioning and more_parts(tree, now.partitioning)
    if more and not new_ones_differ(before, now, describer):
        tree = with_new_parts(before.partitioning, now.partitioning)
    wider = replace(
        before,
        columns=tuple(columns),
        indexes=_kept(before.indexes, now.indexes, lambda one, other: _as_wide(one, other, names)),
        checks=_kept(
            before.checks,
            now.checks,
            lambda one, other: canonical(one.expression, names) == canonical(other.expression),
        ),
        foreign_keys=_kept(
            before.foreign_keys,
            now.foreign_keys,
            lambda one, other: (
                (*(names.get(name, name) for name in one.columns),) == other.columns
                and (one.referenced, one.referenced_columns)
                == (other.referenced, other.referenced_columns)
            ),
        ),
        partitioning=tree,
        types=wider_types(before.types, now.types),
        extensions=now.extensions,
    )
    return None if wider == before else wider
