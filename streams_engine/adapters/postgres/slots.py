"""Slots and publications: made, looked at, and dropped."""

from __future__ import annotations

import contextlib
import hashlib
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from streams_engine.adapters.postgres.connect import PostgresConnect, translating
from streams_engine.adapters.postgres.pgoutput import lsn_text, lsn_value
from streams_engine.adapters.postgres.selecting import name
from streams_engine.errors import ConfigError, LockTimeout, LogLost, NotFound, TargetConflict
from streams_engine.model import Position, TableId

__all__ = ["Slot", "Slots", "default_name", "demand_continuous", "page_start"]

LONGEST = 63
AGAIN = "Load the tables again (start with fresh=True)."
DROP_SECONDS = 10.0
PAGE, PAGE_HEADER = 8192, 24
LEAST_SEGMENT, SEGMENT_HEADER = 1 << 20, 40
"""Of the log, in bytes: XLOG_BLCKSZ, xlog_internal.h, initdb --wal-segsize."""
MARK = "made by streams_engine"
"""The comment of a publication that is ours to drop."""

SLOT = """
SELECT plugin, slot_type, database, active, active_pid, wal_status,
       confirmed_flush_lsn::text, restart_lsn::text, temporary, {two_phase}, {reason},
       database = pg_catalog.current_database()
FROM pg_catalog.pg_replication_slots WHERE slot_name = %s
"""

PUBLISHED = """
SELECT n.nspname, c.relname FROM pg_catalog.pg_publication_rel r
JOIN pg_catalog.pg_publication p ON p.oid = r.prpubid
JOIN pg_catalog.pg_class c ON c.oid = r.prrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE p.pubname = %s
"""

PUBLISHED_ANYHOW = """
SELECT schemaname, tablename FROM pg_catalog.pg_publication_tables WHERE pubname = %s
"""

PUBLICATION = """
SELECT puballtables, pubinsert AND pubupdate AND pubdelete AND pubtruncate, pubviaroot,
       pg_catalog.obj_description(oid, 'pg_publication')
FROM pg_catalog.pg_publication WHERE pubname = %s
"""


def default_name(stream: str) -> str:
    """``se_`` and the stream's name in a slot's letters; a digest where that is not it."""
    plain = re.sub(r"[^a-z0-9_]", "_", stream.lower())
    if plain == stream and len(plain) + 3 <= LONGEST:
        return f"se_{plain}"
    digest = hashlib.sha256(stream.encode()).hexdigest()[:10]
    return f"se_{plain[: LONGEST - 14]}_{digest}"


@dataclass(frozen=True, slots=True)
class Slot:
    """A slot as the server has it."""

    plugin: str | None
    kind: str
    database: str | None
    active: bool
    pid: int | None
    wal_status: str | None
    flushed: str | None
    """From where the server would begin by itself; None: it is not ready."""
    kept: str | None
    temporary: bool
    two_phase: bool
    reason: str | None
    here: bool | None
    """It is of the database that we are connected to."""


@dataclass(frozen=True, slots=True)
class Slots:
    """The slot and the publication of one stream."""

    connect: PostgresConnect
    slot: str
    publication: str

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z0-9_]{1,63}", self.slot):
            raise ConfigError(
                "A slot's name has 1 to 63 of the characters a-z, 0-9 and _.",
                path="$.source.options.replicationSlot",
            )

    @contextlib.contextmanager
    def asking(self) -> Iterator[psycopg.Connection]:
        """A plain connection."""
        with contextlib.closing(self.connect.open(autocommit=True)) as connection:
            yield connection

    # Looking

    def look(self, connection: psycopg.Connection) -> Slot | None:
        """The slot as it is; None where there is none."""
        version = connection.info.server_version
        query = SLOT.format(
            two_phase="two_phase" if version >= 140000 else "false",
            reason="invalidation_reason" if version >= 170000 else "NULL",
        )
        with translating(f"looking at slot {self.slot}"):
            row = connection.execute(query.encode(), (self.slot,)).fetchone()
        return None if row is None else Slot(*row)

    def demand_ours(self, slot: Slot) -> None:
        """Raises `TargetConflict` where a slot cannot serve this stream, `LogLost` where it is
        of no use any more."""
        wrong = None
        if slot.plugin != "pgoutput" or slot.kind != "logical":
            wrong = f"is not one of pgoutput's but of {slot.plugin or 'physical replication'}"
        elif not slot.here:
            wrong = f"is of the database {slot.database}"
        elif slot.two_phase:
            wrong = "was made with two_phase, by which prepared transactions are lost"
        elif slot.temporary:
            wrong = "is another session's temporary one"
        if wrong is not None:
            raise TargetConflict(
                f"The slot {self.slot} {wrong}.",
                remedy="Name another one (options.replicationSlot), or drop it: SELECT "
                f"pg_drop_replication_slot('{self.slot}');",
                slot=self.slot,
            )
        if slot.wal_status == "lost" or slot.reason or slot.flushed is None:
            raise LogLost(
                f"The slot {self.slot} is lost: the server removed the log that it was to read "
                f"({slot.reason or 'wal_status is lost'}).",
                remedy=f"{AGAIN} Raise max_slot_wal_keep_size (and idle_replication_slot_timeout).",
                slot=self.slot,
            )

    def demand_free(self, slot: Slot) -> None:
        """Raises `LockTimeout` where somebody else reads it."""
        if slot.active:
            raise LockTimeout(
                f"The slot {self.slot} is being read by another process (server process "
                f"{slot.pid}).",
                remedy="End it, or give this stream a name, or a replicationSlot, of its own.",
                slot=self.slot,
            )

    # The publication

    def publish(self, tables: Sequence[TableId]) -> bool:
        """See that the publication is there and has the tables. True where it was made now."""
        with self.asking() as connection, translating(f"publication {self.publication}"):
            row = connection.execute(PUBLICATION.encode(), (self.publication,)).fetchone()
            if row is None:
                listed = sql.SQL(", ").join(map(name, tables))
                connection.execute(
                    sql.SQL(
                        "CREATE PUBLICATION {} {}{} WITH (publish_via_partition_root = true)"
                    ).format(
                        sql.Identifier(self.publication),
                        sql.SQL("FOR TABLE " if tables else ""),
                        listed,
                    )
                )
                self._mark(connection)
                return True
            self._demand_whole(row)
            missing = [t for t in tables if t not in self.published(connection)]
            for table in missing:
                connection.execute(
                    sql.SQL("ALTER PUBLICATION {} ADD TABLE {}").format(
                        sql.Identifier(self.publication), name(table)
                    )
                )
            return False

    def _mark(self, connection: psycopg.Connection) -> None:
        connection.execute(
            sql.SQL("COMMENT ON PUBLICATION {} IS {}").format(
                sql.Identifier(self.publication), sql.Literal(f"{MARK}, slot {self.slot}")
            )
        )

    def _demand_whole(self, row: Any) -> None:
        what = None
        if not row[1]:
            what = "publish = 'insert, update, delete, truncate'"
        elif not row[2]:
            what = "publish_via_partition_root = true"
        if what is not None:
            raise TargetConflict(
                f"The publication {self.publication} does not publish all that is needed.",
                remedy=f'ALTER PUBLICATION "{self.publication}" SET ({what});',
            )

    def published(self, connection: psycopg.Connection) -> set[TableId]:
        """The tables that the publication has, by root."""
        rows = connection.execute(PUBLISHED_ANYHOW.encode(), (self.publication,)).fetchall()
        return {TableId(*row) for row in rows}

    def demand_published(self, connection: psycopg.Connection, tables: Sequence[TableId]) -> None:
        """Raises `LogLost` where the publication, or a table in it that exists, is gone."""
        with translating(f"publication {self.publication}"):
            row = connection.execute(PUBLICATION.encode(), (self.publication,)).fetchone()
            if row is None:
                raise LogLost(
                    f"The publication {self.publication} is gone: its slot cannot be read.",
                    remedy=AGAIN,
                )
            there = self.published(connection)
            for table in tables:
                if table in there:
                    continue
                full = f"{sql.Identifier(table.schema, table.name).as_string(connection)}"
                found = connection.execute("SELECT to_regclass(%s)", (full,)).fetchone()
                if found is not None and found[0] is not None:
                    raise LogLost(
                        f"The publication {self.publication} does not have the table {table}: "
                        "its changes since are not in the log.",
                        remedy=AGAIN,
                    )

    # Slots

    def create(self, connection: psycopg.Connection, *, temporary: str | None = None) -> Any:
        """Make a slot over a replication connection: (consistent point, snapshot's name).

        The snapshot lives until the connection's next command. It waits for all transactions
        that are open; raises `LockTimeout` where they stay so.
        """
        slot, kind = (temporary, "TEMPORARY ") if temporary else (self.slot, "")
        try:
            row = connection.execute(
                f'CREATE_REPLICATION_SLOT "{slot}" {kind}LOGICAL pgoutput EXPORT_SNAPSHOT'.encode()
            ).fetchone()
        except psycopg.errors.LockNotAvailable:
            raise LockTimeout(
                f"The slot {slot} cannot be made: transactions that write are open on the source.",
                remedy="End them (pg_stat_activity), then start again.",
            ) from None
        except psycopg.errors.ConfigurationLimitExceeded:
            raise NotFound(
                "The source has no replication slot left.",
                remedy="Raise max_replication_slots, or drop slots that nobody reads.",
            ) from None
        except psycopg.Error as error:
            with translating(f"making slot {slot}"):
                raise error
        assert row is not None
        return row[1], row[2]

    def drop(self) -> None:
        """Drop what is ours: the slot, then the publication where we made it."""
        with self.asking() as connection:
            slot = self.look(connection)
            if slot is not None and slot.plugin == "pgoutput":
                self._drop_slot(connection)
            with translating(f"publication {self.publication}"):
                row = connection.execute(PUBLICATION.encode(), (self.publication,)).fetchone()
                if row is not None and str(row[3] or "").startswith(MARK):
                    connection.execute(
                        sql.SQL("DROP PUBLICATION {}").format(sql.Identifier(self.publication))
                    )

    def drop_slot(self) -> None:
        """Drop the slot alone."""
        with self.asking() as connection:
            self._drop_slot(connection)

    def _drop_slot(self, connection: psycopg.Connection) -> None:
        deadline = time.monotonic() + DROP_SECONDS
        with translating(f"dropping slot {self.slot}"):
            while True:
                try:
                    connection.execute(
                        "SELECT pg_catalog.pg_drop_replication_slot(%s)", (self.slot,)
                    )
                except psycopg.errors.UndefinedObject:
                    return
                except psycopg.errors.ObjectInUse:
                    if time.monotonic() > deadline:
                        raise LockTimeout(
                            f"The slot {self.slot} is being read by another process.",
                            remedy="End that one first.",
                        ) from None
                    time.sleep(0.05)
                else:
                    return


def demand_continuous(slot: Slot, after: Position, server: Position, slot_name: str) -> None:
    """Raises `LogLost` where the log does not go on from ``after`` here."""
    if str(after.get("system")) != str(server["system"]):
        raise LogLost(
            f"The position is of the server {after.get('system')}, and this is "
            f"{server['system']}: another one, or one made anew.",
            remedy=AGAIN,
        )
    if int(after.get("timeline") or 0) > int(server["timeline"]):
        raise LogLost(
            f"The position is of timeline {after['timeline']}, and the server is on "
            f"{server['timeline']}: it was restored from a backup.",
            remedy=AGAIN,
        )
    if lsn_value(after["lsn"]) > lsn_value(server["lsn"]):
        raise LogLost(
            "The position lies behind the end of the server's log: it was restored from a backup.",
            remedy=AGAIN,
        )
    if lsn_value(str(slot.flushed)) > lsn_value(after["lsn"]):
        raise LogLost(
            f"The slot {slot_name} stands at {slot.flushed}, after {after['lsn']} where reading is "
            "to go on: it was made anew, or somebody else read from it.",
            remedy=AGAIN,
        )


def page_start(lsn: str) -> str:
    """Where the record before an insert position ended.

    On a page that has nothing else yet an insert position lies after the page's header: 24 bytes,
    40 on the first page of a segment (XLogBytePosToRecPtr). A record that continues on the page
    may also end soon after the header, and is not to be taken for one.
    """
    value = lsn_value(lsn)
    into = value % LEAST_SEGMENT
    empty = into % PAGE == PAGE_HEADER or into == SEGMENT_HEADER
    return lsn_text(value - into % PAGE if empty else value)
