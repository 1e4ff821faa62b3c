"""PostgreSQL as a source with a change log: a publication, a slot, and the stream of messages."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import psycopg

from streams_engine.adapters.postgres.catalog.reader import read_catalog, unlogged_tables
from streams_engine.adapters.postgres.connection import PostgresConnect, translating
from streams_engine.adapters.postgres.early_login import EarlyLogin
from streams_engine.adapters.postgres.replication.pgoutput import lsn_value
from streams_engine.adapters.postgres.replication.publication import (
    AGAIN,
    Publication,
    PublicationWatch,
)
from streams_engine.adapters.postgres.replication.reader import PostgresChangeReader
from streams_engine.adapters.postgres.replication.readiness import findings_for, left_out
from streams_engine.adapters.postgres.replication.relations import RelationReader, name_of
from streams_engine.adapters.postgres.replication.slot_stream import SlotStream
from streams_engine.adapters.postgres.replication.slots import (
    Holder,
    Slots,
    default_name,
    demand_continuous,
    page_start,
)
from streams_engine.adapters.postgres.row_security import demand_all_rows
from streams_engine.adapters.postgres.snapshot.snapshot import PostgresSnapshot
from streams_engine.adapters.postgres.snapshot.source import PostgresSource, path
from streams_engine.adapters.sql.polling import attempts
from streams_engine.contracts import Lag, Scope, WaitCallback
from streams_engine.errors import (
    ConnectionFailed,
    LockTimeout,
    LogLost,
    SourceChanged,
    StreamsError,
    TargetConflict,
    require,
)
from streams_engine.model import (
    Catalog,
    Finding,
    LogOptions,
    Position,
    TableId,
    TableSchema,
    TableSubscription,
)
from streams_engine.schema.row_keys import is_key, without_computed

__all__ = ["PostgresChangeSource"]

ATTEMPTS = 3
"""How often a snapshot is taken again if a table's structure changed meanwhile."""

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
"""How long a commit that did not wait for the disk takes to get there (wal_writer_delay)."""

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
"""By table, a digest of what a reader relies on; without name lookups, which ignore snapshots."""

IDENTITIES = """
SELECT w.space, w.name, c.relreplident,
       ARRAY(SELECT a.attname FROM pg_catalog.pg_index i
             CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY k(num, place)
             JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.num
             WHERE i.indrelid = c.oid AND i.indisreplident AND k.place <= i.indnkeyatts
             ORDER BY k.place)
FROM unnest(%s::text[], %s::text[], %s::oid[]) w(space, name, oid)
JOIN pg_catalog.pg_class c ON c.oid = coalesce(w.oid, (
  SELECT t.oid FROM pg_catalog.pg_class t JOIN pg_catalog.pg_namespace n ON n.oid = t.relnamespace
  WHERE n.nspname = w.space AND t.relname = w.name))
"""
"""A table that is known by its oid may have another name by now."""


class PostgresChangeSource(PostgresSource):
    """A PostgreSQL database that is copied and then followed through logical replication."""

    logs_cascades = True
    """The changes that foreign keys make are logged like all others."""

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
        self._waiting: WaitCallback = lambda what: None
        self._made = False
        self._reader: PostgresChangeReader | None = None
        self._holder: Holder | None = None
        """Who read the slot when it was last found in use."""

    def structure_is_watched(self) -> bool:
        """Return True: the log contains only names and types of columns."""
        return True

    def watch_waits(self, waiting: WaitCallback) -> None:
        """Call this with what a slot waits for; an exception ends the wait."""
        self._waiting = waiting

    # Before

    def catalog(self, scope: Scope) -> Catalog:
        """Describe the tables in scope; from here on names of types are rendered as they are
        now."""
        self._path = path(scope)
        catalog = super().catalog(scope)
        if scope.tables is not None:
            return catalog
        left = {table.id for table in catalog.tables if table.unlogged}
        return replace(
            catalog,
            tables=tuple(
                table if left.isdisjoint(table.inherits) else replace(table, inherits=())
                for table in catalog.tables
                if table.id not in left
            ),
        )

    def readiness(self, scope: Scope) -> Sequence[Finding]:
        """Return what prevents following these tables, each with the statement that repairs it."""
        self._path = path(scope)
        with self._slots.asking() as connection, translating("checking the source"):
            tables = self._listed(connection, scope)
            left = set(super()._listed(connection, scope)) - set(tables)
            findings = findings_for(connection, self._slots, self._publication, tables)
            return [*findings, *map(left_out, sorted(left, key=str))]

    def _listed(self, connection: psycopg.Connection, scope: Scope) -> Sequence[TableId]:
        """Return the tables in scope; if all are streamed, without UNLOGGED ones."""
        tables = super()._listed(connection, scope)
        if scope.tables is not None:
            return tables
        with translating("listing the tables"):
            unlogged = unlogged_tables(connection)
        return [table for table in tables if table not in unlogged]

    def identities(self, tables: Sequence[TableSchema]) -> Mapping[TableId, tuple[str, ...]]:
        """Return the columns of each replica identity.

        With FULL these are the primary key's if the table has one that is not deferrable.
        """
        with self._slots.asking() as connection, translating("reading the replica identities"):
            asked = (*_names([t.id for t in tables]), [t.oid for t in tables])
            rows = connection.execute(IDENTITIES.encode(), asked)
            identities = {
                TableId(row[0], row[1]): (row[2], tuple(row[3])) for row in rows.fetchall()
            }
        return {
            table.id: _identity(table, *identities.get(table.id, ("d", ()))) for table in tables
        }

    def present_name(self, table: TableSchema) -> TableId | None:
        """Return the name that a table has now; None if it is gone, or its oid is unknown."""
        if table.oid is None:
            return None
        with self._slots.asking() as connection, translating("looking for a table"):
            return name_of(connection, table.oid)

    @contextlib.contextmanager
    def snapshot_at_position(
        self, scope: Scope, readers: int, *, resume: bool
    ) -> Iterator[PostgresSnapshot]:
        """Open a snapshot at a slot's consistent point, from which the log continues.

        If the stream's own slot is created now, it exports the snapshot; if it exists, a temporary
        slot does, and the own slot skips what it has before that point. Raises `LockTimeout` if
        open transactions or a lock block it.
        """
        self._path = path(scope)
        viewed = False
        with contextlib.ExitStack() as asked:
            connection = asked.enter_context(self._slots.asking())
            tables = self._listed(connection, scope)
            demand_all_rows(connection, tables, "source")
            slot = self._slots.read(connection)
            if slot is None and resume:
                raise LogLost(f"The slot {self._slots.slot} does not exist any more.", remedy=AGAIN)
            if slot is not None:
                self._slots.check_fence(slot)
                if self._reader is None:
                    self._slots.demand_free(connection)
            self._made = slot is None
            try:
                with contextlib.ExitStack() as stack:
                    temporary = slot is not None
                    view = self._view(
                        connection, scope, tables, readers, stack, temporary=temporary
                    )
                    asked.close()
                    viewed = True
                    yield view
            except BaseException:
                if not viewed:
                    self.drop_created()
                raise

    def drop_created(self) -> None:
        """Drop the slot created last, and the publication if it was created for it.

        A slot that nobody reads makes the server keep its WAL for ever.
        """
        if self._made:
            self._made = False
            with contextlib.suppress(StreamsError, psycopg.Error):
                self.release()

    def _view(
        self,
        connection: psycopg.Connection,
        scope: Scope,
        tables: Sequence[TableId],
        readers: int,
        stack: contextlib.ExitStack,
        *,
        temporary: bool,
    ) -> PostgresSnapshot:
        """Open a snapshot whose tables did not change their structure before they were locked.

        ``connection`` is another one than the snapshot's, and is asked for what holds now.
        If all tables are streamed, those that are created or dropped meanwhile are left out.
        """
        named = scope.tables is not None
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
                unchanged = self._unchanged(holder, connection, locked, named=named)
                if unchanged is not None:
                    with translating("reading the catalog"):
                        catalog = read_catalog(holder, scope, within=unchanged)
                    position = self._at(connection, lsn, state)
                    view = PostgresSnapshot(
                        self._connect, holder, catalog, readers, position=position
                    )
                    stack.push(attempt.pop_all())
                    maker.close()
                    stack.callback(self._leave, view)
                    return self.offered(view)
            if not temporary:
                self._slots.drop_slot()
        raise SourceChanged(
            "The structure of the tables changed while the snapshot was opened.",
            remedy="Start again when nobody alters them.",
        )

    def _leave(self, view: PostgresSnapshot) -> None:
        self._open.discard(view)
        view.close()

    def _unchanged(
        self,
        holder: psycopg.Connection,
        connection: psycopg.Connection,
        tables: Sequence[TableId],
        *,
        named: bool,
    ) -> list[TableId] | None:
        """Return the tables that are unchanged since the snapshot, under locks; None if one was
        altered.

        A table that is younger than the snapshot, or was created again, is left out unless tables
        are ``named``.
        """
        with translating("comparing the catalog with the snapshot"):
            then = _structure(holder, tables)
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
        """Return the end of the log, with a new slot, or the position of the existing slot."""
        with self._slots.asking() as connection:
            slot = self._slots.read(connection)
            self._made = slot is None
            try:
                made, _, state = self._publication.publish(tables, connection, named=True)
                if slot is None:
                    with contextlib.closing(self._connect.replication()) as maker:
                        lsn, _ = self._slots.create(maker, self._waiting)
                    return self._at(connection, lsn, state)
            except BaseException:
                self.drop_created()
                raise
            self._slots.check_fence(slot)
            self._slots.demand_free(connection)
            position = self._at(connection, str(slot.flushed), state)
        if made:
            raise TargetConflict(
                f"The slot {self._slots.slot} is older than its publication: its changes cannot "
                "be read.",
                remedy=f"SELECT pg_drop_replication_slot('{self._slots.slot}'); and start again.",
                slot=self._slots.slot,
            )
        return position

    # The log

    @contextlib.contextmanager
    def changes(
        self, tracked: Sequence[TableSubscription], after: Position
    ) -> Iterator[PostgresChangeReader]:
        """Read the log from a position. Raises `LogLost` if the server does not have it."""
        watch = PublicationWatch(self._publication, tracked, after)
        describer = RelationReader(self._connect, self._publication.name, self._path)
        try:
            stream = self._stream(describer, watch, after)
            # Nothing was altered up to now: positions from here on say so.
            after = {**after, "publication": dict(watch.state)}
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
            describer.close()

    def _stream(
        self, describer: RelationReader, watch: PublicationWatch, after: Position
    ) -> SlotStream:
        """Check that the slot continues at the position, and start streaming it. Its connection
        logs in meanwhile."""
        name = self._slots.slot
        with (
            EarlyLogin(lambda: self._connect.replication(gss=False)) as login,
            describer.asking() as connection,
        ):
            self._demand_free(connection)
            slot = self._slots.read(connection)
            if slot is None:
                raise LogLost(
                    f"The slot {name} does not exist any more: the server kept no WAL for the "
                    "stream.",
                    remedy=AGAIN,
                )
            self._slots.check_fence(slot)
            demand_continuous(slot, after, self._here(connection), name)
            watch.check(connection)
            begin, published = lsn_value(after["lsn"]), self._publication.name
            try:
                stream = SlotStream(
                    self._connect, login.take(), name, published, begin, self._patience
                )
            except LockTimeout:
                self._demand_free(connection)
                raise
        self._holder = None
        return stream

    def _demand_free(self, connection: psycopg.Connection) -> None:
        """Raise `LockTimeout` if another process reads the slot; it is final if that process is
        alive.

        A reader whose client was killed stays until the server notices, so this waits for it. A
        reader that continues to answer the server is another stream.
        """
        before, self._holder = self._holder, self._slots.awaited(connection)
        if self._holder is not None:
            raise self._slots.busy(self._holder, alive=self._holder.has_progressed(before))

    def _here(self, connection: psycopg.Connection) -> dict[str, Any]:
        with translating("reading the end of the WAL"):
            row = require(connection.execute(HERE.encode()).fetchone(), "the log's position")
        return {
            "system": row[0],
            "timeline": row[1],
            "lsn": row[2],
            "slot": self._slots.slot,
        }

    def _at(
        self, connection: psycopg.Connection, lsn: str, published: Mapping[str, Any]
    ) -> Position:
        """Return the position; ``published`` is the state of the publication before the slot was
        created."""
        here = self._here(connection)
        with translating(f"publication {self._publication.name}"):
            # Transactions that were open when it was made are over, but for an old slot.
            published = self._publication.later(connection, published)
        return {**here, "lsn": lsn, "publication": dict(published)}

    def end(self) -> Position:
        """Return the present end of the log.

        Only flushed WAL is sent. Commits that do not wait for it (synchronous_commit off) are
        flushed soon; other records may stay unflushed until the next commit, and do not count.
        """
        with self._slots.connect.ask() as connection:
            if (reader := self._reader) is not None:
                reader.demand_published(connection)
            with translating("reading the end of the WAL"):
                row = require(connection.execute(INSERTED.encode()).fetchone(), "the log's end")
            if reader is not None:
                reader.look_at_structure()
            here: Position = {}
            for _ in attempts(FLUSH_SECONDS, 0.01):
                here = self._here(connection)
                if lsn_value(here["lsn"]) >= lsn_value(page_start(row[0])):
                    break
            return {**here, "structure": page_start(row[0])}

    def is_read(self) -> bool:
        """Return True if the slot is active."""
        with self._slots.connect.ask() as connection:
            slot = self._slots.read(connection)
        return slot is not None and slot.active

    def at_or_after(self, position: Position, wanted: Position) -> bool:
        """Return True if ``position`` is at or after ``wanted``, with the structure of then."""
        return all(
            lsn_value(position.get(key, "0/0")) >= lsn_value(wanted[key])
            for key in ("lsn", "structure")
            if key in wanted
        )

    def lag(self, position: Position) -> Lag:
        """Return the bytes of log after the position, and those that the server retains for the
        slot."""
        with self._slots.connect.ask() as connection:
            here = self._here(connection)
            slot = self._slots.read(connection)
        end = lsn_value(here["lsn"])
        kept = None if slot is None or slot.kept is None else max(0, end - lsn_value(slot.kept))
        return Lag(max(0, end - lsn_value(position["lsn"])), kept, here)

    def release(self) -> Sequence[str]:
        """Drop the slot, and the publication if it was created for the stream; return what was
        there."""
        dropped = [f"replication slot {self._slots.slot}"] if self._slots.drop_slot() else []
        with self._slots.asking() as connection:
            if self._publication.drop(connection):
                dropped.append(f"publication {self._publication.name}")
        return dropped


def _structure(
    connection: psycopg.Connection, tables: Sequence[TableId]
) -> dict[TableId, tuple[Any, ...]]:
    """Return, for each existing table, its oid and the digest of `STRUCTURE`."""
    rows = connection.execute(STRUCTURE.encode(), _names(tables)).fetchall()
    return {TableId(row[0], row[1]): (row[2], row[3]) for row in rows}


def _names(tables: Sequence[TableId]) -> tuple[list[str], list[str]]:
    return [t.schema for t in tables], [t.name for t in tables]


def _identity(table: TableSchema, kind: str, index: tuple[str, ...]) -> tuple[str, ...]:
    if kind == "i" and is_key(table, index):
        return without_computed(table, index)
    everything = tuple(column.name for column in table.columns if column.generated is None)
    # Two rows may have the same deferrable key until the transaction ends.
    if table.primary_key is not None and not table.primary_key.deferrable:
        key = without_computed(table, table.primary_key.columns)
        # With FULL the log has all that a generated column is computed of.
        return key if kind != "f" or set(key) <= set(everything) else everything
    return (
        everything
        if kind == "f"
        else tuple(column.name for column in table.columns if column.generated is None)
    )
