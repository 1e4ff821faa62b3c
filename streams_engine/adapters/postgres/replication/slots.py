"""Create, inspect and drop replication slots."""

from __future__ import annotations

import contextlib
import hashlib
import queue
import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import psycopg

from streams_engine.adapters.postgres.connection import PostgresConnect, translating
from streams_engine.adapters.postgres.replication.pgoutput import lsn_text, lsn_value
from streams_engine.adapters.postgres.replication.publication import AGAIN
from streams_engine.adapters.sql.polling import attempts
from streams_engine.arrow.buffers import violation
from streams_engine.contracts import WaitCallback
from streams_engine.errors import (
    ConfigError,
    LockTimeout,
    LogLost,
    NotFound,
    StreamsError,
    TargetConflict,
)
from streams_engine.model import Position

__all__ = [
    "ACTIVE_SECONDS",
    "Holder",
    "Slot",
    "Slots",
    "default_name",
    "demand_continuous",
    "page_start",
]

LONGEST = 63
DROP_SECONDS = 10.0
PAGE, PAGE_HEADER = 8192, 24
LEAST_SEGMENT, SEGMENT_HEADER = 1 << 20, 40
"""Of the log, in bytes: XLOG_BLCKSZ, xlog_internal.h, initdb --wal-segsize."""

WAITING_SECONDS = 300.0
"""How long a new slot waits for transactions that are open."""

ACTIVE_SECONDS = 2.0
"""How long to wait for an earlier reader of the slot to end."""

NOTICE_SECONDS = 0.5
"""Seconds between two calls of the caller's callback, which may end the wait."""

ASKING_SECONDS = 1.0
"""Seconds between two questions to the server what it waits for."""

SLOT = """
SELECT plugin, slot_type, database, active, active_pid, wal_status,
       confirmed_flush_lsn::text, restart_lsn::text, temporary, {two_phase}, {reason},
       database = pg_catalog.current_database()
FROM pg_catalog.pg_replication_slots WHERE slot_name = %s
"""


HOLDER = """
SELECT s.active_pid, a.application_name, a.client_addr::text, a.backend_start::text,
       r.reply_time::text
FROM pg_catalog.pg_replication_slots s
LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = s.active_pid
LEFT JOIN pg_catalog.pg_stat_replication r ON r.pid = s.active_pid
WHERE s.slot_name = %s AND s.active
"""
"""What the account may not see is NULL."""

WAITS_FOR = """
SELECT h.pid, coalesce(p.database, a.datname), coalesce(p.owner, a.usename), p.gid, a.state
FROM pg_catalog.pg_locks w
LEFT JOIN pg_catalog.pg_locks h ON h.locktype = w.locktype
     AND h.transactionid = w.transactionid AND h.granted
LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = h.pid
LEFT JOIN pg_catalog.pg_prepared_xacts p ON p.transaction = w.transactionid
WHERE w.pid = %s AND NOT w.granted AND w.locktype = 'transactionid'
"""
"""The owner of the transaction for which a server process waits."""


def default_name(stream: str) -> str:
    """Return ``se_`` and the stream's name in the characters of a slot name, with a digest if it
    had to be changed."""
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
    """Where the server would begin by itself; None: the slot is not ready."""
    kept: str | None
    temporary: bool
    two_phase: bool
    reason: str | None
    here: bool | None
    """It belongs to the database of this connection."""


@dataclass(frozen=True, slots=True)
class Holder:
    """Process that reads a slot, as far as the account can see it."""

    pid: int
    application: str | None
    client: str | None
    since: str | None
    replied: str | None
    """When the client last reported its progress; a client that is gone reports nothing."""

    def described(self) -> str:
        known = [
            f"server process {self.pid}",
            self.application and f"application {self.application}",
            self.client and f"from {self.client}",
            self.since and f"since {self.since}",
        ]
        return ", ".join(text for text in known if text)

    def has_progressed(self, before: Holder | None) -> bool:
        """Return whether the client has answered the server since an earlier look."""
        same = before is not None and before.pid == self.pid
        return same and before is not None and self.replied != before.replied


@dataclass(frozen=True, slots=True)
class Slots:
    """The slot of one stream."""

    connect: PostgresConnect
    slot: str

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z0-9_]{1,63}", self.slot):
            raise ConfigError(
                "A slot name has 1 to 63 characters of a-z, 0-9 and _.",
                path="$.source.options.replicationSlot",
            )

    @contextlib.contextmanager
    def asking(self) -> Iterator[psycopg.Connection]:
        """Open a plain connection."""
        with contextlib.closing(self.connect.open(autocommit=True)) as connection:
            yield connection

    # Looking

    def read(self, connection: psycopg.Connection) -> Slot | None:
        """Return the slot's state; None if it does not exist."""
        version = connection.info.server_version
        query = SLOT.format(
            two_phase="two_phase" if version >= 140000 else "false",
            reason="invalidation_reason" if version >= 170000 else "NULL",
        )
        with translating(f"reading the state of slot {self.slot}"):
            row = connection.execute(query.encode(), (self.slot,)).fetchone()
        return None if row is None else Slot(*row)

    def check_fence(self, slot: Slot) -> None:
        """Raise `TargetConflict` if a slot cannot serve this stream, `LogLost` if it is
        invalidated."""
        wrong = None
        if slot.plugin != "pgoutput" or slot.kind != "logical":
            wrong = f"belongs to the plugin {slot.plugin or 'physical replication'}, not pgoutput"
        elif not slot.here:
            wrong = f"belongs to the database {slot.database}"
        elif slot.two_phase:
            wrong = "was created with two_phase, which would lose prepared transactions"
        elif slot.temporary:
            wrong = "is a temporary slot of another session"
        if wrong is not None:
            raise TargetConflict(
                f"The slot {self.slot} {wrong}.",
                remedy="Name another one (options.replicationSlot), or drop it: SELECT "
                f"pg_drop_replication_slot('{self.slot}');",
                slot=self.slot,
            )
        if slot.wal_status == "lost" or slot.reason or slot.flushed is None:
            raise LogLost(
                f"The slot {self.slot} is lost: the server removed WAL that it still needs "
                f"({slot.reason or 'wal_status is lost'}).",
                remedy=f"{AGAIN} Raise max_slot_wal_keep_size (and idle_replication_slot_timeout).",
                slot=self.slot,
            )

    def demand_free(self, connection: psycopg.Connection) -> None:
        """Raise `LockTimeout` if another process keeps reading the slot."""
        holder = self.awaited(connection)
        if holder is not None:
            raise self.busy(holder)

    def awaited(self, connection: psycopg.Connection) -> Holder | None:
        """Wait for an earlier reader of the slot to end; return the process that still reads it, or
        None."""
        holder = None
        # The server notices the end of the reader before us a bit later.
        for _ in attempts(ACTIVE_SECONDS, 0.05):
            holder = self.holder(connection)
            if holder is None:
                break
        return holder

    def holder(self, connection: psycopg.Connection) -> Holder | None:
        """Return the process that reads the slot, or None."""
        with translating(f"finding the reader of slot {self.slot}"):
            row = connection.execute(HOLDER.encode(), (self.slot,)).fetchone()
        return None if row is None else Holder(*row)

    def busy(self, holder: Holder, *, alive: bool = False) -> LockTimeout:
        """Return the error for a slot that another process reads; ``alive``: its client still
        answers."""
        return LockTimeout(
            f"The slot {self.slot} is active: {holder.described()} reads it.",
            remedy=(
                "If that is this stream in another process, stop one of the two. If its "
                f"process is gone, run SELECT pg_terminate_backend({holder.pid}); and start "
                "again. Another stream needs its own name or replicationSlot."
            ),
            retryable=not alive,
            slot=self.slot,
            pid=holder.pid,
        )

    # Slots

    def create(
        self,
        connection: psycopg.Connection,
        waiting: WaitCallback,
        *,
        temporary: str | None = None,
    ) -> tuple[str, str]:
        """Create a slot over a replication connection; return its consistent point and the
        snapshot's name.

        The snapshot lives until the connection's next command. The server waits for all open
        transactions of every database; ``waiting`` is called with these, and an exception ends the
        wait. Raises `LockTimeout` if they stay open.
        """
        slot, kind = (temporary, "TEMPORARY ") if temporary else (self.slot, "")
        command = f'CREATE_REPLICATION_SLOT "{slot}" {kind}LOGICAL pgoutput EXPORT_SNAPSHOT'
        try:
            row = self._waited(connection, command, slot, waiting)
        except psycopg.errors.ConfigurationLimitExceeded:
            raise NotFound(
                "The source has no free replication slot.",
                remedy="Raise max_replication_slots, or drop slots that nobody reads.",
            ) from None
        except psycopg.Error as error:
            with translating(f"creating slot {slot}"):
                raise error
        return row[1], row[2]

    def _waited(
        self, connection: psycopg.Connection, command: str, slot: str, waiting: WaitCallback
    ) -> tuple[Any, ...]:
        """Return the row of a command, however long it takes; it is cancelled when the stream
        stops."""
        if connection.info.server_version >= 140000:
            # A process that was killed must not leave a slot to a server that waits on.
            connection.execute("SET client_connection_check_interval = 1000")
        process = connection.info.backend_pid
        answer = _answer(lambda: connection.execute(command.encode()).fetchone())
        begun, asked, what = time.monotonic(), 0.0, ""
        while True:
            with contextlib.suppress(queue.Empty):
                result = answer.get(timeout=NOTICE_SECONDS)
                break
            now = time.monotonic()
            try:
                if now - asked > ASKING_SECONDS:
                    asked, what = now, self._waits(process, slot)
                if now - begun > WAITING_SECONDS:
                    raise LockTimeout(
                        f"The server did not create the slot {slot} within {WAITING_SECONDS:.0f} "
                        f"seconds. {what}",
                        remedy="End the open transactions, and start again.",
                        retryable=False,
                    )
                waiting(what)
            except BaseException:
                self._cancel(connection, answer)
                raise
        if isinstance(result, BaseException):
            if connection.broken:
                self._end_process(process)
            raise result
        if result is None:
            raise violation("creating the replication slot", "the answer has no row")
        return tuple(result)

    @staticmethod
    def _cancel(connection: psycopg.Connection, answer: queue.SimpleQueue[Any]) -> None:
        """End a command; the server drops the slot that it was about to make."""
        with contextlib.suppress(psycopg.Error):
            connection.cancel_safe(timeout=DROP_SECONDS)
        with contextlib.suppress(queue.Empty):
            answer.get(timeout=DROP_SECONDS)

    def _end_process(self, process: int) -> None:
        """End a server process that still creates a slot although its connection was cut: during
        this wait it does not check its client."""
        with contextlib.suppress(StreamsError, psycopg.Error), self.asking() as connection:
            connection.execute("SELECT pg_catalog.pg_terminate_backend(%s)", (process,))

    def _waits(self, process: int, slot: str) -> str:
        """Return what the server process that creates a slot waits for, and what ends the wait."""
        with self.asking() as connection, translating(f"finding what slot {slot} waits for"):
            rows = connection.execute(WAITS_FOR.encode(), (process,)).fetchall()
        whose = "; ".join(f"{_transaction(*row)} ({_ending(row[0], row[3])})" for row in rows)
        return (
            f"The slot {slot} waits for open transactions on the source: "
            f"{whose or 'see pg_stat_activity and pg_prepared_xacts'}."
        )

    def drop_slot(self) -> bool:
        """Drop the slot if it belongs to pgoutput; return whether it was there."""
        with self.asking() as connection:
            slot = self.read(connection)
            mine = slot is not None and slot.plugin == "pgoutput"
            if mine:
                self._drop_slot(connection)
        return mine

    def _drop_slot(self, connection: psycopg.Connection) -> None:
        with translating(f"dropping slot {self.slot}"):
            for last in attempts(DROP_SECONDS, 0.05):
                try:
                    connection.execute(
                        "SELECT pg_catalog.pg_drop_replication_slot(%s)", (self.slot,)
                    )
                except psycopg.errors.UndefinedObject:
                    return
                except psycopg.errors.ObjectInUse:
                    if last:
                        raise LockTimeout(
                            f"Another process is reading the slot {self.slot}.",
                            remedy="End that process first.",
                        ) from None
                else:
                    return


def _answer(work: Callable[[], Any]) -> queue.SimpleQueue[Any]:
    """Do work on a thread of its own; return a queue that receives its result or its error."""
    answer: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def run() -> None:
        try:
            answer.put(work())
        except BaseException as error:
            answer.put(error)

    threading.Thread(target=run, name="streams-engine-slot", daemon=True).start()
    return answer


def _transaction(
    process: int | None, database: str | None, role: str | None, prepared: str | None, state: Any
) -> str:
    whose = f"of {role or 'a role'} in the database {database or '(unknown)'}"
    if prepared is not None:
        return f"the prepared transaction '{prepared}' {whose}"
    return f"server process {process or '(unknown)'} {whose}" + (f", {state}" if state else "")


def _ending(process: int | None, prepared: str | None) -> str:
    if prepared is not None:
        quoted = prepared.replace("'", "''")
        return f"COMMIT PREPARED '{quoted}', or ROLLBACK PREPARED '{quoted}', in that database"
    return f"commit it, or SELECT pg_terminate_backend({process or 'its process'})"


def demand_continuous(slot: Slot, after: Position, server: Position, slot_name: str) -> None:
    """Raise `LogLost` if the slot cannot continue from ``after``."""
    if str(after.get("system")) != str(server["system"]):
        raise LogLost(
            f"The position belongs to server {after.get('system')}, and this is server "
            f"{server['system']}: another server, or one that was initialized again.",
            remedy=AGAIN,
        )
    if int(after.get("timeline") or 0) > int(server["timeline"]):
        raise LogLost(
            f"The position belongs to timeline {after['timeline']}, and the server is on "
            f"timeline {server['timeline']}: it was restored from a backup.",
            remedy=AGAIN,
        )
    if lsn_value(after["lsn"]) > lsn_value(server["lsn"]):
        raise LogLost(
            "The position is after the end of the server's WAL: the server was restored from a "
            "backup.",
            remedy=AGAIN,
        )
    if lsn_value(str(slot.flushed)) > lsn_value(after["lsn"]):
        raise LogLost(
            f"The slot {slot_name} is at {slot.flushed}, after the stream's position "
            f"{after['lsn']}: it was created again, or somebody else read from it.",
            remedy=AGAIN,
        )


def page_start(lsn: str) -> str:
    """Return where the record before an insert position ends.

    On a page without other records an insert position is after the page's header: 24 bytes, 40 on
    the first page of a segment (XLogBytePosToRecPtr). A record that continues on the page may also
    end soon after the header, and must not be confused with it.
    """
    value = lsn_value(lsn)
    into = value % LEAST_SEGMENT
    empty = into % PAGE == PAGE_HEADER or into == SEGMENT_HEADER
    return lsn_text(value - into % PAGE if empty else value)
