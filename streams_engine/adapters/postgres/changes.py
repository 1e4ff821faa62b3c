"""PostgreSQL as a source whose log can be followed: a publication, a slot, and what is sent."""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import psycopg

from streams_engine.adapters.postgres.catalog import read_catalog, unlogged_tables
from streams_engine.adapters.postgres.connect import PostgresConnect, translating
from streams_engine.adapters.postgres.pgoutput import lsn_value
from streams_engine.adapters.postgres.publication import AGAIN, Publication, PublicationWatch
from streams_engine.adapters.postgres.readiness import findings_for, left_out
from streams_engine.adapters.postgres.reading import PostgresChangeReader
from streams_engine.adapters.postgres.relations import Describer, is_key
from streams_engine.adapters.postgres.replication import Stream
from streams_engine.adapters.postgres.row_security import demand_all_rows
from streams_engine.adapters.postgres.slots import (
    Slots,
    default_name,
    demand_continuous,
    page_start,
)
from streams_engine.adapters.postgres.snapshot import PostgresSnapshot
from streams_engine.adapters.postgres.source import PostgresSource, path
from streams_engine.changes import LogOptions, Tracked
from streams_engine.errors import (
    ConnectionFailed,
    LogLost,
    SourceChanged,
    StreamsError,
    TargetConflict,
)
from streams_engine.model import Catalog, Finding, Position, TableId, TableSchema
from streams_engine.protocols import Lag, Scope, Waiting
from streams_engine.required import required

__all__ = ["PostgresChangeSource"]

ATTEMPTS = 3
"""How often a view is taken again where a table's structure changed meanwhile."""

LONGEST_SILENCE = 1800.0
"""Seconds that a server may be silent at most, however long it needs to decode."""

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
WITH RECURSIVE wanted(space, name, root, oid) AS (
  SELECT w.space, w.name, c.oid, c.oid FROM unnest(%s::text[], %s::text[]) w(space, name)
  JOIN pg_catalog.pg_namespace n ON n.nspname = w.space
  JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = w.name
  UNION SELECT wanted.space, wanted.name, wanted.root, i.inhrelid
  FROM pg_catalog.pg_inherits i JOIN wanted ON wanted.oid = i.inhparent
  JOIN pg_catalog.pg_class p ON p.oid = i.inhparent AND p.relkind = 'p'
)
SELECT wanted.space, wanted.name, wanted.root,
       md5(string_agg(concat_ws(',', c.oid, c.relfilenode, a.attnum, a.attname, a.atttypid,
                                a.atttypmod, a.attisdropped, a.attnotnull), ' '
                      ORDER BY c.oid, a.attnum))
FROM wanted JOIN pg_catalog.pg_class c ON c.oid = wanted.oid
LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
GROUP BY 1, 2, 3
"""
"""By table, a digest of what a reader relies on; asked without name lookups, which see no
snapshot."""

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
        self._slots = Slots(connect, options.slot or own)
        self._publication = Publication(
            options.publication or own,
            self._slots.slot,
            options.operations,
            options.columns,
            options.partial_publication,
        )
        self._path: tuple[str, ...] = ()
        self._patience = 0.0
        self._waiting: Waiting = lambda what: None
        self._made = False
        self._reader: PostgresChangeReader | None = None

    def watch_waits(self, waiting: Waiting) -> None:
        """Tell this what a slot waits for; what it raises ends the wait."""
        self._waiting = waiting

    # Before

    def catalog(self, scope: Scope) -> Catalog:
        """Describe the tables in scope; names of types are rendered as then from here on."""
        self._path = path(scope)
        found = super().catalog(scope)
        if scope.tables is not None:
            return found
        left = {table.id for table in found.tables if table.unlogged}
        return replace(
            found,
            tables=tuple(
                table if left.isdisjoint(table.inherits) else replace(table, inherits=())
                for table in found.tables
                if table.id not in left
            ),
        )

    def readiness(self, scope: Scope) -> Sequence[Finding]:
        """What hinders following these tables, each with the statement that repairs it."""
        self._path = path(scope)
        tables = self._wanted(scope)
        with self._slots.asking() as connection, translating("checking the source"):
            left = set(super()._wanted(scope)) - set(tables)
            found = findings_for(connection, self._slots, self._publication, tables)
            return [*found, *map(left_out, sorted(left, key=str))]

    def _wanted(self, scope: Scope) -> Sequence[TableId]:
        """The tables in scope; where all are followed, without those that no log holds."""
        tables = super()._wanted(scope)
        if scope.tables is not None:
            return tables
        with self._slots.asking() as connection, translating("listing the tables"):
            unlogged = unlogged_tables(connection)
        return [table for table in tables if table not in unlogged]

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
            slot = self._slots.look(connection)
            if slot is None and again:
                raise LogLost(f"The slot {self._slots.slot} is gone.", remedy=AGAIN)
            if slot is not None:
                self._slots.demand_ours(slot)
                self._slots.demand_free(slot)
        viewed = False
        self._made = slot is None
        try:
            with contextlib.ExitStack() as stack:
                view = self._view(scope, tables, readers, stack, temporary=slot is not None)
                viewed = True
                yield view
        except BaseException:
            if not viewed:
                self.withdraw()
            raise

    def withdraw(self) -> None:
        """Drop the slot that was made last, and the publication where it was made for it: a slot
        that nobody reads makes the server keep its log for ever."""
        if self._made:
            self._made = False
            with contextlib.suppress(StreamsError, psycopg.Error):
                self.release()

    def _view(
        self,
        scope: Scope,
        tables: Sequence[TableId],
        readers: int,
        stack: contextlib.ExitStack,
        *,
        temporary: bool,
    ) -> PostgresSnapshot:
        """A view whose tables have not changed their structure until they were locked.

        Where all tables are followed, those that come and go meanwhile are left out.
        """
        named = scope.tables is not None
        with self._slots.asking() as connection:
            _, tables, state = self._publication.publish(tables, connection, named=named)
        for _ in range(ATTEMPTS):
            name = f"se_view_{secrets.token_hex(8)}" if temporary else None
            with contextlib.ExitStack() as attempt:
                maker = attempt.enter_context(contextlib.closing(self._connect.replication()))
                lsn, snapshot = self._slots.create(maker, self._waiting, temporary=name)
                holder = attempt.enter_context(
                    contextlib.closing(self._connect.open(search_path=path(scope)))
                )
                with translating("opening the snapshot"):
                    holder.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
                    holder.execute(f"SET TRANSACTION SNAPSHOT '{snapshot}'".encode())
                locked = self._lock(holder, tables, named=named)
                unchanged = self._unchanged(holder, locked, named=named)
                if unchanged is not None:
                    with translating("reading the catalog"):
                        catalog = read_catalog(holder, scope, within=unchanged)
                    view = PostgresSnapshot(
                        self._connect, holder, catalog, readers, position=self._at(lsn, state)
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

    def _unchanged(
        self, holder: psycopg.Connection, tables: Sequence[TableId], *, named: bool
    ) -> list[TableId] | None:
        """The tables that the view shows as they are now, under locks; None where one is altered.

        One that is younger than the view, or made anew, is none of its tables where it is not
        ``named``.
        """
        with translating("comparing the catalog with the view"):
            then = _structure(holder, tables)
            with self._slots.asking() as connection:
                now = _structure(connection, tables)
        same = [table for table in tables if then.get(table) == now.get(table) is not None]
        others = [table for table in tables if table not in same]
        altered = [
            table
            for table in others
            if named or (table in then and table in now and then[table][0] == now[table][0])
        ]
        return None if altered else same

    def start(self, tables: Sequence[TableId]) -> Position:
        """The end of the log, by a new slot, or where a slot that is there stands."""
        with self._slots.asking() as connection:
            slot = self._slots.look(connection)
            self._made = slot is None
            try:
                made, _, state = self._publication.publish(tables, connection, named=True)
                if slot is None:
                    with contextlib.closing(self._connect.replication()) as maker:
                        lsn, _ = self._slots.create(maker, self._waiting)
                    return self._at(lsn, state)
            except BaseException:
                self.withdraw()
                raise
        self._slots.demand_ours(slot)
        self._slots.demand_free(slot)
        if made:
            raise TargetConflict(
                f"The slot {self._slots.slot} is older than its publication: what it holds "
                "cannot be read.",
                remedy=f"SELECT pg_drop_replication_slot('{self._slots.slot}'); and start again.",
                slot=self._slots.slot,
            )
        return self._at(str(slot.flushed), state)

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
            watch = PublicationWatch(self._publication, tracked, after)
            watch.check(connection)
        begin = lsn_value(after["lsn"])
        stream = Stream(
            self._connect, slots.slot, self._publication.name, begin, version, self._patience
        )
        describer = Describer(self._connect, self._publication.name, self._path)
        try:
            with contextlib.closing(
                PostgresChangeReader(stream, tracked, after, describer, watch)
            ) as reader:
                self._reader = reader
                yield reader
        except ConnectionFailed as error:
            # A server that decodes a large transaction can be silent for longer than we wait, and
            # begins anew when it is asked anew: the next session is given more time.
            self._patience = min(2 * error.details.get("silence", 0.0), LONGEST_SILENCE)
            raise
        finally:
            self._reader = None

    def _here(self, connection: psycopg.Connection) -> dict[str, Any]:
        with translating("asking for the end of the log"):
            row = required(connection.execute(HERE.encode()).fetchone(), "the log's position")
        return {
            "system": row[0],
            "timeline": row[1],
            "lsn": row[2],
            "slot": self._slots.slot,
        }

    def _at(self, lsn: str, published: Mapping[str, Any]) -> Position:
        """``published``: the state of the publication before the slot was made."""
        with self._slots.asking() as connection:
            here = self._here(connection)
            with translating(f"publication {self._publication.name}"):
                # Transactions that were open when it was made are over, but for an old slot.
                published = self._publication.later(connection, published)
            return {**here, "lsn": lsn, "publication": dict(published)}

    def end(self) -> Position:
        """The end of the log now.

        Only what is on disk is sent. Commits that do not wait for it (synchronous_commit off)
        are soon; other records may stay unwritten until somebody commits, and count for nothing.
        """
        deadline = time.monotonic() + FLUSH_SECONDS
        with self._slots.asking() as connection:
            if (reader := self._reader) is not None:
                reader.demand_published(connection)
            with translating("asking for the end of the log"):
                row = required(connection.execute(INSERTED.encode()).fetchone(), "the log's end")
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
        self._slots.drop_slot()
        with self._slots.asking() as connection:
            self._publication.drop(connection)


def _structure(
    connection: psycopg.Connection, tables: Sequence[TableId]
) -> dict[TableId, tuple[Any, ...]]:
    """By table that is there: its oid, and the digest of `STRUCTURE`."""
    rows = connection.execute(STRUCTURE.encode(), _names(tables)).fetchall()
    return {TableId(row[0], row[1]): (row[2], row[3]) for row in rows}


def _names(tables: Sequence[TableId]) -> tuple[list[str], list[str]]:
    return [t.schema for t in tables], [t.name for t in tables]


def _identity(table: TableSchema, kind: str, index: tuple[str, ...]) -> tuple[str, ...]:
    if kind == "i" and is_key(table, index):
        return index
    # Two rows may have the same deferrable key until the transaction ends.
    if table.primary_key is not None and not table.primary_key.deferrable:
        return table.primary_key.columns
    return tuple(column.name for column in table.columns if column.generated is None)
