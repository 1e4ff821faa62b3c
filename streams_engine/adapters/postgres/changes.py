"""PostgreSQL as a source whose log can be followed: a publication, a slot, and what is sent."""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import psycopg

from streams_engine.adapters.postgres.catalog import read_catalog
from streams_engine.adapters.postgres.connect import PostgresConnect, translating
from streams_engine.adapters.postgres.pgoutput import lsn_value
from streams_engine.adapters.postgres.readiness import findings_for
from streams_engine.adapters.postgres.reading import PostgresChangeReader
from streams_engine.adapters.postgres.relations import Describer, is_key
from streams_engine.adapters.postgres.replication import Stream
from streams_engine.adapters.postgres.row_security import demand_all_rows
from streams_engine.adapters.postgres.slots import (
    AGAIN,
    Slots,
    default_name,
    demand_continuous,
    page_start,
)
from streams_engine.adapters.postgres.snapshot import PostgresSnapshot
from streams_engine.adapters.postgres.source import PostgresSource, path
from streams_engine.changes import LogOptions, Tracked
from streams_engine.errors import LogLost, SourceChanged, TargetConflict
from streams_engine.model import Catalog, Finding, Position, TableId, TableSchema
from streams_engine.protocols import Lag, Scope

__all__ = ["PostgresChangeSource"]

ATTEMPTS = 3
"""How often a view is taken again where a table's structure changed meanwhile."""

WAITING_MS = "60000"
"""How long a new slot waits for transactions that are open."""

HERE = """
SELECT (SELECT system_identifier FROM pg_catalog.pg_control_system())::text,
       (SELECT timeline_id FROM pg_catalog.pg_control_checkpoint()),
       (CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_replay_lsn()
             ELSE pg_catalog.pg_current_wal_flush_lsn() END)::text
"""

INSERTED = """
SELECT CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_replay_lsn()
            ELSE pg_catalog.pg_current_wal_insert_lsn() END::text
"""

FLUSH_SECONDS = 1.0
"""How long a commit that did not wait for the disk takes to be there (wal_writer_delay)."""

STRUCTURE = """
WITH RECURSIVE wanted(oid) AS (
  SELECT c.oid FROM unnest(%s::text[], %s::text[]) w(space, name)
  JOIN pg_catalog.pg_namespace n ON n.nspname = w.space
  JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = w.name
  UNION SELECT i.inhrelid FROM pg_catalog.pg_inherits i JOIN wanted ON wanted.oid = i.inhparent
)
SELECT md5(string_agg(concat_ws(',', c.oid, c.relfilenode, a.attnum, a.attname, a.atttypid,
                                a.atttypmod, a.attisdropped, a.attnotnull), ' '
                      ORDER BY c.oid, a.attnum))
FROM wanted JOIN pg_catalog.pg_class c ON c.oid = wanted.oid
LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
"""
"""A digest of what a reader relies on; asked without name lookups, which see no snapshot."""

IDENTITIES = """
SELECT n.nspname, c.relname, c.relreplident,
       ARRAY(SELECT a.attname FROM pg_catalog.pg_index i
             CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY k(num, place)
             JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.num
             WHERE i.indrelid = c.oid AND i.indisreplident AND k.place <= i.indnkeyatts
             ORDER BY k.place)
FROM unnest(%s::text[], %s::text[]) w(space, name)
JOIN pg_catalog.pg_namespace n ON n.nspname = w.space
JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = w.name
"""


class PostgresChangeSource(PostgresSource):
    """A PostgreSQL database that is copied and then followed through logical replication."""

    logs_cascades = True
    """What foreign keys do is logged like every other change."""

    def __init__(self, connect: PostgresConnect, options: LogOptions) -> None:
        super().__init__(connect)
        own = default_name(options.stream)
        self._slots = Slots(connect, options.slot or own, options.publication or own)
        self._path: tuple[str, ...] = ()

    # Before

    def catalog(self, scope: Scope) -> Catalog:
        """Describe the tables in scope; names of types are rendered as then from here on."""
        self._path = path(scope)
        return super().catalog(scope)

    def readiness(self, scope: Scope) -> Sequence[Finding]:
        """What hinders following these tables, each with the statement that repairs it."""
        self._path = path(scope)
        tables = self._wanted(scope)
        with self._slots.asking() as connection, translating("checking the source"):
            return findings_for(connection, self._slots, tables)

    def identities(self, tables: Sequence[TableSchema]) -> Mapping[TableId, tuple[str, ...]]:
        """The columns of the replica identity; with FULL the primary key where there is one that
        holds at each moment."""
        with self._slots.asking() as connection, translating("reading the replica identities"):
            rows = connection.execute(IDENTITIES.encode(), _names([t.id for t in tables]))
            found = {TableId(row[0], row[1]): (row[2], tuple(row[3])) for row in rows.fetchall()}
        return {table.id: _identity(table, *found.get(table.id, ("d", ()))) for table in tables}

    @contextlib.contextmanager
    def handover(self, scope: Scope, readers: int, *, again: bool) -> Iterator[PostgresSnapshot]:
        """A view at a slot's consistent point: the log goes on from it.

        The stream's own slot gives it where it is made now; where it is there, a temporary one
        does, and what the own slot has before that point is passed over. Raises `LockTimeout`
        where open transactions, or a lock, keep it waiting.
        """
        self._path = path(scope)
        tables = self._wanted(scope)
        with self._slots.asking() as connection:
            demand_all_rows(connection, tables, "source")
        self._slots.publish(tables)
        with self._slots.asking() as connection:
            slot = self._slots.look(connection)
            if slot is None and again:
                raise LogLost(f"The slot {self._slots.slot} is gone.", remedy=AGAIN)
            if slot is not None:
                self._slots.demand_ours(slot)
                self._slots.demand_free(slot)
        made = slot is None
        try:
            with contextlib.ExitStack() as stack:
                view = self._view(scope, tables, readers, stack, temporary=not made)
                made = False
                yield view
        except BaseException:
            if made:  # a slot that nobody reads makes the server keep its log for ever
                with contextlib.suppress(Exception):
                    self._slots.drop()
            raise

    def _view(
        self,
        scope: Scope,
        tables: Sequence[TableId],
        readers: int,
        stack: contextlib.ExitStack,
        *,
        temporary: bool,
    ) -> PostgresSnapshot:
        """A view whose tables have not changed their structure until they were locked."""
        for _ in range(ATTEMPTS):
            name = f"se_view_{secrets.token_hex(8)}" if temporary else None
            with contextlib.ExitStack() as attempt:
                maker = attempt.enter_context(
                    contextlib.closing(self._connect.replication(lock_timeout=WAITING_MS))
                )
                lsn, snapshot = self._slots.create(maker, temporary=name)
                holder = attempt.enter_context(
                    contextlib.closing(self._connect.open(search_path=path(scope)))
                )
                with translating("opening the snapshot"):
                    holder.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
                    holder.execute(f"SET TRANSACTION SNAPSHOT '{snapshot}'".encode())
                self._lock(holder, tables)
                if self._unchanged(holder, tables):
                    with translating("reading the catalog"):
                        catalog = read_catalog(holder, scope)
                    view = PostgresSnapshot(
                        self._connect, holder, catalog, readers, position=self._at(lsn)
                    )
                    stack.push(attempt.pop_all())
                    maker.close()
                    stack.callback(self._leave, view)
                    return self.offered(view)
            if not temporary:
                self._slots.drop_slot()
        raise SourceChanged(
            "The structure of the tables changed while their view was opened.",
            remedy="Start again when nobody alters them.",
        )

    def _leave(self, view: PostgresSnapshot) -> None:
        self._open.discard(view)
        view.close()

    def _unchanged(self, holder: psycopg.Connection, tables: Sequence[TableId]) -> bool:
        """Whether the view shows the tables as they are now, under locks."""
        with translating("comparing the catalog with the view"):
            then = holder.execute(STRUCTURE.encode(), _names(tables)).fetchone()
            with self._slots.asking() as connection:
                now = connection.execute(STRUCTURE.encode(), _names(tables)).fetchone()
        return then == now

    def start(self, tables: Sequence[TableId]) -> Position:
        """The end of the log, by a new slot, or where a slot that is there stands."""
        with self._slots.asking() as connection:
            slot = self._slots.look(connection)
        made = self._slots.publish(tables)
        if slot is None:
            with contextlib.closing(self._connect.replication(lock_timeout=WAITING_MS)) as maker:
                lsn, _ = self._slots.create(maker)
            return self._at(lsn)
        self._slots.demand_ours(slot)
        self._slots.demand_free(slot)
        if made:
            raise TargetConflict(
                f"The slot {self._slots.slot} is older than its publication: what it holds "
                "cannot be read.",
                remedy=f"SELECT pg_drop_replication_slot('{self._slots.slot}'); and start again.",
                slot=self._slots.slot,
            )
        return self._at(str(slot.flushed))

    # The log

    @contextlib.contextmanager
    def changes(
        self, tracked: Sequence[Tracked], after: Position
    ) -> Iterator[PostgresChangeReader]:
        """Read the log from a position. Raises `LogLost` where the server does not have it."""
        slots = self._slots
        with slots.asking() as connection:
            version = connection.info.server_version
            slot = slots.look(connection)
            if slot is None:
                raise LogLost(
                    f"The slot {slots.slot} is gone: the server kept no log for the stream.",
                    remedy=AGAIN,
                )
            slots.demand_ours(slot)
            demand_continuous(slot, after, self._here(connection), slots.slot)
            slots.demand_published(connection, [one.schema.id for one in tracked])
        begin = lsn_value(after["lsn"])
        stream = Stream(self._connect, slots.slot, slots.publication, begin, version)
        describer = Describer(self._connect, slots.publication, self._path)
        with contextlib.closing(PostgresChangeReader(stream, tracked, after, describer)) as reader:
            yield reader

    def _here(self, connection: psycopg.Connection) -> dict[str, Any]:
        with translating("asking for the end of the log"):
            row = connection.execute(HERE.encode()).fetchone()
        assert row is not None
        return {
            "system": row[0],
            "timeline": row[1],
            "lsn": row[2],
            "slot": self._slots.slot,
        }

    def _at(self, lsn: str) -> Position:
        with self._slots.asking() as connection:
            return {**self._here(connection), "lsn": lsn}

    def end(self) -> Position:
        """The end of the log now.

        Only what is on disk is sent. Commits that do not wait for it (synchronous_commit off)
        are soon; other records may stay unwritten until somebody commits, and count for nothing.
        """
        deadline = time.monotonic() + FLUSH_SECONDS
        with self._slots.asking() as connection:
            with translating("asking for the end of the log"):
                row = connection.execute(INSERTED.encode()).fetchone()
            assert row is not None
            while True:
                here = self._here(connection)
                late = time.monotonic() > deadline
                if late or lsn_value(here["lsn"]) >= lsn_value(page_start(row[0])):
                    return here
                time.sleep(0.01)

    def reached(self, position: Position, wanted: Position) -> bool:
        """True where ``position`` is at or after ``wanted``."""
        return lsn_value(position["lsn"]) >= lsn_value(wanted["lsn"])

    def lag(self, position: Position) -> Lag:
        """Bytes of log behind the position, and what the slot makes the server keep."""
        with self._slots.asking() as connection:
            end = lsn_value(self._here(connection)["lsn"])
            slot = self._slots.look(connection)
        kept = None if slot is None or slot.kept is None else max(0, end - lsn_value(slot.kept))
        return Lag(max(0, end - lsn_value(position["lsn"])), kept)

    def release(self) -> None:
        """Drop the slot, and the publication where it was made for the stream."""
        self._slots.drop()


def _names(tables: Sequence[TableId]) -> tuple[list[str], list[str]]:
    return [t.schema for t in tables], [t.name for t in tables]


def _identity(table: TableSchema, kind: str, index: tuple[str, ...]) -> tuple[str, ...]:
    if kind == "i" and is_key(table, index):
        return index
    # Two rows may have the same deferrable key until the transaction ends.
    if table.primary_key is not None and not table.primary_key.deferrable:
        return table.primary_key.columns
    return tuple(column.name for column in table.columns if column.generated is None)
