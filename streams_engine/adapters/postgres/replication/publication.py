"""A stream's publication: created, checked for what it leaves out, and watched while it is read.

No message of the log shows what a publication leaves out (rows, columns, operations, tables), so
nothing downstream could notice. Therefore it is checked at each start, and while the log is read.
An alteration that was reverted is noticed too: ALTER PUBLICATION writes new rows of pg_publication
and pg_publication_rel, and each row shows by which transaction.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg import sql

from streams_engine.adapters.postgres.connection import translating
from streams_engine.adapters.postgres.snapshot.select import name
from streams_engine.errors import LogLost, NotFound, TargetConflict, require
from streams_engine.model import Finding, Op, Position, Severity, TableId, TableSubscription

__all__ = ["AGAIN", "Publication", "PublicationWatch"]

AGAIN = "Load the tables again (start with fresh=True)."
MARK = "made by streams_engine"
"""The comment of a publication that is ours to drop."""

WATCH_SECONDS = 2.0
"""How often a reader asks whether its publication was altered."""

KINDS = ("insert", "update", "delete", "truncate")

LOOK = """
SELECT puballtables, ARRAY[pubinsert, pubupdate, pubdelete, pubtruncate], pubviaroot,
       pg_catalog.obj_description(oid, 'pg_publication')
FROM pg_catalog.pg_publication WHERE pubname = %s
"""

PUBLISHED = """
SELECT schemaname, tablename FROM pg_catalog.pg_publication_tables WHERE pubname = %s
"""

LEFT_OUT = """
SELECT n.nspname, c.relname, pg_catalog.pg_get_expr(r.prqual, r.prrelid),
       ARRAY(SELECT a.attname::text FROM pg_catalog.pg_attribute a
             WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
             AND a.attgenerated = '' AND a.attnum <> ALL (r.prattrs::int2[]) ORDER BY a.attnum)
FROM pg_catalog.pg_publication p
JOIN pg_catalog.pg_publication_rel r ON r.prpubid = p.oid
JOIN pg_catalog.pg_class c ON c.oid = r.prrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE p.pubname = %s AND NOT p.puballtables AND NOT EXISTS (
  SELECT FROM pg_catalog.pg_publication_namespace s
  WHERE s.pnpubid = p.oid AND s.pnnspid = c.relnamespace)
"""
"""What a publication leaves out of its tables, since PostgreSQL 15, all in one view: the functions
behind pg_publication_tables lack a column already that is dropped at this moment."""

OIDS = """
SELECT n.nspname, c.relname, CASE WHEN c.relispartition THEN 0 ELSE c.oid::int8 END
FROM unnest(%s::text[], %s::text[]) w(space, name)
JOIN pg_catalog.pg_namespace n ON n.nspname = w.space
JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = w.name
"""

GENERATED = "SELECT pubgencols FROM pg_catalog.pg_publication WHERE pubname = %s"

GENERATED_KEYS = """
WITH RECURSIVE wanted(oid) AS (
  SELECT c.oid FROM unnest(%s::text[], %s::text[]) w(space, name)
  JOIN pg_catalog.pg_namespace n ON n.nspname = w.space
  JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = w.name
  UNION SELECT i.inhrelid FROM pg_catalog.pg_inherits i
  JOIN wanted ON wanted.oid = i.inhparent
  JOIN pg_catalog.pg_class p ON p.oid = i.inhparent AND p.relkind = 'p'
)
SELECT EXISTS (
  SELECT FROM wanted JOIN pg_catalog.pg_class c ON c.oid = wanted.oid
  JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attgenerated = 's'
       AND NOT a.attisdropped
  LEFT JOIN pg_catalog.pg_index i ON i.indrelid = c.oid
       AND CASE c.relreplident WHEN 'i' THEN i.indisreplident ELSE i.indisprimary END
  WHERE c.relreplident = 'f'
     OR (c.relreplident IN ('d', 'i') AND a.attnum = ANY (i.indkey::int2[])))
"""
"""Whether a replica identity contains a stored generated column."""

PARTITIONED = """
SELECT n.nspname, c.relname FROM unnest(%s::text[], %s::text[]) w(space, name)
JOIN pg_catalog.pg_namespace n ON n.nspname = w.space
JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = w.name
WHERE c.relkind = 'p'
"""

THERE = """
SELECT n.nspname, c.relname FROM unnest(%s::text[], %s::text[]) w(space, name)
JOIN pg_catalog.pg_namespace n ON n.nspname = w.space
JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = w.name
WHERE c.relkind IN ('r', 'p')
"""

MEMBERS = """
SELECT 'r' AS kind, r.oid, r.prrelid AS of, r.xmin::text::bigint AS xid
FROM pg_catalog.pg_publication_rel r WHERE r.prpubid = p.oid
"""
SCHEMA_MEMBERS = """
UNION ALL SELECT 'n', s.oid, s.pnnspid, s.xmin::text::bigint
FROM pg_catalog.pg_publication_namespace s WHERE s.pnpubid = p.oid
"""

STATE = """
SELECT pg_catalog.pg_snapshot_xmin(pg_catalog.pg_current_snapshot())::text::bigint,
       pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())::text::bigint,
       pg_catalog.md5(concat_ws(' ', p.oid, p.xmin, m.count, m.sum))
FROM pg_catalog.pg_publication p CROSS JOIN LATERAL (
  SELECT count(*), sum(oid::bigint + xid) FROM ({members}) x) m
WHERE p.pubname = %s
"""
"""The oldest open transaction, the next one, and a digest that every alteration changes."""

WRITTEN = """
SELECT 'p', p.oid, p.xmin::text::bigint, p.puballtables FROM pg_catalog.pg_publication p
WHERE p.pubname = %(name)s
UNION ALL SELECT m.kind, m.of, m.xid, NULL FROM pg_catalog.pg_publication p
CROSS JOIN LATERAL ({members}) m WHERE p.pubname = %(name)s
"""
"""Which transactions wrote the publication and its members: (kind, member, transaction)."""

SCHEMA_OF = """
SELECT c.oid, c.relnamespace FROM pg_catalog.pg_class c WHERE c.oid = ANY(%s::pg_catalog.oid[])
"""


@dataclass(frozen=True, slots=True)
class Publication:
    """The publication of one stream, by its name."""

    name: str
    slot: str
    operations: frozenset[Op] = frozenset(Op)
    """The kinds of change that are applied to any table."""
    columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """By table name as the user wrote it, the columns that are selected."""
    partial: bool = False
    """The user accepts what it leaves out."""

    # Making

    def publish(
        self, tables: Sequence[TableId], connection: psycopg.Connection, *, named: bool
    ) -> tuple[bool, list[TableId], dict[str, Any]]:
        """Create the publication, or check that it contains the tables.

        Return whether it was created now, the tables that exist, and its state for the position.
        Raises `NotFound` if a ``named`` table does not exist; others may vanish meanwhile. Raises
        `TargetConflict` if it leaves something out.
        """
        with translating(f"publication {self.name}"):
            made = self._read(connection) is None
            there = list(tables)
            while True:
                try:
                    if made:
                        self._create(connection, there)
                    else:
                        self._add(connection, there)
                    break
                except psycopg.errors.UndefinedTable:
                    remaining = self.remaining(connection, there)
                    _demand_all(there if named else remaining, remaining)
                    there = remaining
            state = self.state(connection)
            for finding in self.findings(connection, there):
                raise TargetConflict(finding.message, remedy=finding.remedy, publication=self.name)
        return made, there, state

    def _create(self, connection: psycopg.Connection, tables: Sequence[TableId]) -> None:
        """Create the publication of the tables.

        With ONLY, because child tables (INHERITS) are separate tables, and some cannot be
        published.
        """
        options = "publish_via_partition_root = true"
        if self._keys_are_generated(connection, tables):
            options += ", publish_generated_columns = stored"
        listed = sql.SQL(", ").join(sql.SQL("ONLY {}").format(name(table)) for table in tables)
        with connection.transaction():
            connection.execute(
                sql.SQL("CREATE PUBLICATION {}{} WITH ({})").format(
                    sql.Identifier(self.name),
                    sql.SQL(" FOR TABLE {}").format(listed) if tables else sql.SQL(""),
                    sql.SQL(options),
                )
            )
            connection.execute(
                sql.SQL("COMMENT ON PUBLICATION {} IS {}").format(
                    sql.Identifier(self.name), sql.Literal(f"{MARK}, slot {self.slot}")
                )
            )

    def _keys_are_generated(
        self, connection: psycopg.Connection, tables: Sequence[TableId]
    ) -> bool:
        """Return whether replica identities contain stored generated columns: from PostgreSQL 18 on
        the server refuses UPDATE and DELETE of such a table, unless these are published."""
        if connection.info.server_version < 180000:
            return False
        row = connection.execute(GENERATED_KEYS.encode(), _names(tables)).fetchone()
        return row is not None and bool(row[0])

    def _add(self, connection: psycopg.Connection, tables: Sequence[TableId]) -> None:
        published = self.published(connection)
        for table in tables:
            if table not in published:
                connection.execute(
                    sql.SQL("ALTER PUBLICATION {} ADD TABLE ONLY {}").format(
                        sql.Identifier(self.name), name(table)
                    )
                )

    def remaining(self, connection: psycopg.Connection, tables: Sequence[TableId]) -> list[TableId]:
        """Return those of the tables that still exist."""
        rows = connection.execute(THERE.encode(), _names(tables)).fetchall()
        there = {TableId(*row) for row in rows}
        return [table for table in tables if table in there]

    def drop(self, connection: psycopg.Connection) -> bool:
        """Drop the publication if it was created for the stream; return whether it was there."""
        with translating(f"publication {self.name}"):
            row = self._read(connection)
            mine = row is not None and str(row[3] or "").startswith(MARK)
            if mine:
                connection.execute(sql.SQL("DROP PUBLICATION {}").format(sql.Identifier(self.name)))
        return mine

    # Looking

    def _read(self, connection: psycopg.Connection) -> Any:
        return connection.execute(LOOK.encode(), (self.name,)).fetchone()

    def exists(self, connection: psycopg.Connection) -> bool:
        """Return whether the publication exists."""
        return self._read(connection) is not None

    def published(self, connection: psycopg.Connection) -> set[TableId]:
        """Return the published tables; partitioned ones by their root."""
        rows = connection.execute(PUBLISHED.encode(), (self.name,)).fetchall()
        return {TableId(*row) for row in rows}

    def generated(self, connection: psycopg.Connection) -> bool:
        """Return whether the publication includes stored generated columns, as PostgreSQL 18 can. A
        publication that does not exist yet will, if keys need it."""
        if connection.info.server_version < 180000:
            return False
        row = connection.execute(GENERATED.encode(), (self.name,)).fetchone()
        return row is None or row[0] == "s"

    def findings(
        self, connection: psycopg.Connection, tables: Sequence[TableId]
    ) -> Iterator[Finding]:
        """Return what the publication leaves out of these tables, each with the statement that
        repairs it.

        Empty if there is no publication yet, or the user accepts that.
        """
        row = self._read(connection)
        if row is None:
            return
        everything, kinds, by_root, _ = row
        yield from self._roots(connection, tables, by_root)
        if everything:
            yield from self._excepted(connection, tables)
        if self.partial:
            return
        yield from self._operations(dict(zip(KINDS, kinds, strict=True)))
        if connection.info.server_version >= 150000:
            yield from self._parts(connection, tables)

    def _error(self, code: str, place: object, message: str, remedy: str) -> Finding:
        return Finding(Severity.ERROR, code, str(place), message, remedy)

    @property
    def _quoted(self) -> str:
        return sql.Identifier(self.name).as_string(None)

    def _roots(
        self, connection: psycopg.Connection, tables: Sequence[TableId], by_root: bool
    ) -> Iterator[Finding]:
        """Check that changes of partitions are published under their root."""
        if by_root:
            return
        rows = connection.execute(PARTITIONED.encode(), _names(tables)).fetchall()
        for table in (TableId(*row) for row in rows):
            yield self._error(
                "publication-root",
                table,
                f"The publication {self.name} publishes the changes of this partitioned table "
                "under its partitions (publish_via_partition_root is off).",
                f"ALTER PUBLICATION {self._quoted} SET (publish_via_partition_root = true);",
            )

    def _excepted(
        self, connection: psycopg.Connection, tables: Sequence[TableId]
    ) -> Iterator[Finding]:
        """Check that a publication FOR ALL TABLES includes each table: unlogged and excepted ones
        are missing."""
        published = self.published(connection)
        partitioned = {
            TableId(*row)
            for row in connection.execute(PARTITIONED.encode(), _names(tables)).fetchall()
        }
        for table in tables:
            if table not in published and table not in partitioned:
                yield self._error(
                    "publication-table",
                    table,
                    f"The publication {self.name} is FOR ALL TABLES and does not publish this "
                    "table.",
                    "Publish the table, or leave it out of the stream.",
                )

    def _operations(self, publishes: Mapping[str, bool]) -> Iterator[Finding]:
        wanted = {op.name.lower() for op in self.operations}
        if "delete" in wanted:
            wanted.add("truncate")
        missing = [kind for kind in KINDS if kind in wanted and not publishes[kind]]
        if missing:
            whole = ", ".join(kind for kind in KINDS if publishes[kind] or kind in wanted)
            yield self._error(
                "publication-operations",
                self.name,
                f"The publication {self.name} does not publish {' and '.join(missing)}: the "
                "target would miss such changes.",
                f"ALTER PUBLICATION {self._quoted} SET (publish = '{whole}'); or exclude them "
                "with source.options.operations.",
            )

    def _parts(
        self, connection: psycopg.Connection, tables: Sequence[TableId]
    ) -> Iterator[Finding]:
        """Check row filters and column lists."""
        rows = connection.execute(LEFT_OUT.encode(), (self.name,)).fetchall()
        left_out = {TableId(row[0], row[1]): (row[2], row[3]) for row in rows}
        for table in tables:
            condition, columns = left_out.get(table, (None, ()))
            full = name(table).as_string(None)
            repair = (
                f"BEGIN; ALTER PUBLICATION {self._quoted} DROP TABLE {full}; ALTER PUBLICATION "
                f"{self._quoted} ADD TABLE ONLY {full}; COMMIT; or say that it is meant, by "
                "source.options.partialPublication: true."
            )
            if condition is not None:
                yield self._error(
                    "publication-rows",
                    table,
                    f"The publication {self.name} filters the table's rows (WHERE): the target "
                    "would miss their changes.",
                    repair,
                )
            wanted = self._selected(table)
            missing = [c for c in columns if wanted is None or c in wanted]
            if missing:
                yield self._error(
                    "publication-columns",
                    table,
                    f"The publication {self.name} leaves out columns of the table: "
                    f"{', '.join(missing)}. The target would miss their values.",
                    f"{repair.removesuffix('.')}, or do not select them.",
                )

    def _selected(self, table: TableId) -> tuple[str, ...] | None:
        return self.columns.get(f"{table.schema}.{table.name}") or self.columns.get(table.name)

    # Its state, for positions

    def members(self, connection: psycopg.Connection) -> str:
        """Return the query for the publication's members in the server's version."""
        newer = connection.info.server_version >= 150000
        return MEMBERS + (SCHEMA_MEMBERS if newer else "")

    def state(self, connection: psycopg.Connection) -> dict[str, Any]:
        """Return its present state, for a position: see `PublicationWatch`. Raises `LogLost`
        without it."""
        query = STATE.replace("{members}", self.members(connection))
        row = connection.execute(query.encode(), (self.name,)).fetchone()
        if row is None:
            raise LogLost(
                f"The publication {self.name} does not exist any more: its slot cannot be read.",
                remedy=AGAIN,
                publication=self.name,
            )
        return {"xid": row[0], "next": row[1], "digest": row[2]}

    def later(
        self, connection: psycopg.Connection, earlier: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        """Return the present state if the publication was altered since an earlier state, else the
        earlier one."""
        now = self.state(connection)
        return now if now["digest"] == earlier["digest"] else earlier


class PublicationWatch:
    """Checks that a publication was not altered since a position. For one thread at a time.

    Positions carry its state (``publication``): a digest, and the oldest transaction that was open
    then. If the digest differs, the transactions of the changed rows show what was altered since;
    adding a table for another stream does no harm.
    """

    def __init__(
        self, publication: Publication, tracked: Sequence[TableSubscription], after: Position
    ) -> None:
        self._publication = publication
        self._tracked = {one.schema.id: one for one in tracked}
        self._known: Mapping[str, Any] | None = after.get("publication")
        """The state at the position, or at the last check."""
        self._first = True
        self.due_at = 0.0

    def adopt(self, table: TableId, tracked: TableSubscription | None) -> None:
        """Watch a table with this subscription from here on; None stops watching it."""
        self._tracked.pop(table, None)
        if tracked is not None:
            self._tracked[tracked.schema.id] = tracked

    def hurry(self) -> None:
        """Make the next check due at once."""
        self.due_at = 0.0

    @property
    def due(self) -> bool:
        """Whether it is time to check."""
        return time.monotonic() >= self.due_at

    @property
    def state(self) -> Mapping[str, Any]:
        """Return the state at the last check."""
        return require(self._known, "a publication that was checked")

    def check(self, connection: psycopg.Connection) -> Mapping[str, Any]:
        """Check the publication. Return the state for positions from here on; raise `LogLost` if
        changes may be missing from the log."""
        publication = self._publication
        with translating(f"publication {publication.name}"):
            state = publication.state(connection)
            if self._first or state["digest"] != self._digest:
                self._demand_published(connection)
            if state["digest"] != self._digest and not publication.partial:
                self._demand_unaltered(connection, state["next"])
        self._first = False
        self._known = state
        self.due_at = time.monotonic() + WATCH_SECONDS
        return state

    @property
    def _digest(self) -> str | None:
        return None if self._known is None else str(self._known["digest"])

    def _demand_published(self, connection: psycopg.Connection) -> None:
        """Raise `LogLost` if a table that is followed is not published as a whole."""
        publication = self._publication
        published = publication.published(connection)
        missing = [table for table in self._tracked if table not in published]
        for table in publication.remaining(connection, self._same(connection, missing)):
            raise LogLost(
                f"The publication {publication.name} does not contain the table {table}: the "
                "table was removed from it, or dropped and created again. Its changes since "
                "then are not in the log.",
                remedy=f"{AGAIN} If the table comes and goes, leave it out of the stream.",
                table=str(table),
            )
        present = [table for table in self._tracked if table in published]
        for finding in publication.findings(connection, present):
            raise LogLost(
                f"The publication {publication.name} was altered. {finding.message}",
                remedy=f"{finding.remedy} Then load the tables again (start with fresh=True).",
                publication=publication.name,
            )

    def _same(self, connection: psycopg.Connection, tables: Sequence[TableId]) -> list[TableId]:
        """Return the tables whose name no other table has taken: dropped ones are reported by the
        catalog watch."""
        rows = connection.execute(OIDS.encode(), _names(tables)).fetchall()
        now = {TableId(schema, name): oid for schema, name, oid in rows}
        known = {table: self._tracked[table].schema.oid for table in tables}
        return [table for table in tables if now.get(table) in (None, known[table])]

    def _demand_unaltered(self, connection: psycopg.Connection, following: int) -> None:
        """Raise `LogLost` if the publication was altered after the position.

        ``following`` is the next transaction id, which extends ids from 32 to 64 bits.
        """
        publication, known = self._publication, self._known
        if known is None:  # a position of before the state was kept
            return
        query = WRITTEN.replace("{members}", publication.members(connection))
        rows = connection.execute(query.encode(), {"name": publication.name}).fetchall()
        written = {
            (kind, of): following - (following - xid) % (1 << 32) for kind, of, xid, _ in rows
        }
        since = int(known["xid"])
        if any(kind == "p" and xid >= since for (kind, _), xid in written.items()):
            raise self._altered("")
        oids = [t.schema.oid for t in self._tracked.values() if t.schema.oid is not None]
        spaces: dict[int, int] = dict(connection.execute(SCHEMA_OF.encode(), (oids,)).fetchall())
        for tracked in self._tracked.values():
            oid = tracked.schema.oid
            if oid is None:
                continue
            xid = written.get(("r", oid), written.get(("n", spaces.get(oid))))
            loaded = (tracked.since or {}).get("publication")
            begun = max(since, int(loaded["xid"]) if loaded else 0)
            if xid is not None and xid >= begun:
                raise self._altered(f" (or the table {tracked.schema.id})")

    def _altered(self, what: str) -> LogLost:
        return LogLost(
            f"The publication {self._publication.name} was altered{what} after the position at "
            "which the stream stopped: changes may be missing from the log.",
            remedy=(
                f"{AGAIN} If nothing was left out meanwhile, continue with "
                "source.options.partialPublication: true."
            ),
            publication=self._publication.name,
        )


def _names(tables: Sequence[TableId]) -> tuple[list[str], list[str]]:
    return [t.schema for t in tables], [t.name for t in tables]


def _demand_all(wanted: Sequence[TableId], there: Sequence[TableId]) -> None:
    missing = [str(table) for table in wanted if table not in there]
    if missing:
        raise NotFound(
            f"The tables {', '.join(missing)} were dropped while the stream started.",
            remedy="Start again. If the tables are gone, remove them from the configuration.",
            tables=missing,
        )
