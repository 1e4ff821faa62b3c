"""Slots: made, looked at, and dropped."""

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

from streams_engine.adapters.postgres.connect import PostgresConnect, translating
from streams_engine.adapters.postgres.pgoutput import lsn_text, lsn_value
from streams_engine.adapters.postgres.publication import AGAIN
from streams_engine.bounds import violation
from streams_engine.errors import ConfigError, LockTimeout, LogLost, NotFound, TargetConflict
from streams_engine.model import Position
from streams_engine.protocols import Waiting

__all__ = ["Slot", "Slots", "default_name", "demand_continuous", "page_start"]

LONGEST = 63
DROP_SECONDS = 10.0
PAGE, PAGE_HEADER = 8192, 24
LEAST_SEGMENT, SEGMENT_HEADER = 1 << 20, 40
"""Of the log, in bytes: XLOG_BLCKSZ, xlog_internal.h, initdb --wal-segsize."""

WAITING_SECONDS = 300.0
"""How long a new slot waits for transactions that are open."""

NOTICE_SECONDS = 0.5
"""How often the caller is told, who may end the wait."""

ASKING_SECONDS = 1.0
"""How often the server is asked what it waits for."""

SLOT = """
SELECT plugin, slot_type, database, active, active_pid, wal_status,
       confirmed_flush_lsn::text, restart_lsn::text, temporary, {two_phase}, {reason},
       database = pg_catalog.current_database()
FROM pg_catalog.pg_replication_slots WHERE slot_name = %s
"""


WAITS_FOR = """
SELECT h.pid, coalesce(p.database, a.datname), coalesce(p.owner, a.usename), p.gid, a.state
FROM pg_catalog.pg_locks w
LEFT JOIN pg_catalog.pg_locks h ON h.locktype = w.locktype
     AND h.transactionid = w.transactionid AND h.granted
LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = h.pid
LEFT JOIN pg_catalog.pg_prepared_xacts p ON p.transaction = w.transactionid
WHERE w.pid = %s AND NOT w.granted AND w.locktype = 'transactionid'
"""
"""Whose transaction a server process waits for."""


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
    """The slot of one stream."""

    connect: PostgresConnect
    slot: str

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

    # Slots

    def create(
        self,
        connection: psycopg.Connection,
        waiting: Waiting,
        *,
        temporary: str | None = None,
    ) -> tuple[str, str]:
        """Make a slot over a replication connection: (consistent point, snapshot's name).

        The snapshot lives until the connection's next command. The server waits for all
        transactions that are open, of every database; ``waiting`` is told which, and what it
        raises ends the wait. Raises `LockTimeout` where they stay open.
        """
        slot, kind = (temporary, "TEMPORARY ") if temporary else (self.slot, "")
        command = f'CREATE_REPLICATION_SLOT "{slot}" {kind}LOGICAL pgoutput EXPORT_SNAPSHOT'
        try:
            row = self._waited(connection, command, slot, waiting)
        except psycopg.errors.ConfigurationLimitExceeded:
            raise NotFound(
                "The source has no replication slot left.",
                remedy="Raise max_replication_slots, or drop slots that nobody reads.",
            ) from None
        except psycopg.Error as error:
            with translating(f"making slot {slot}"):
                raise error
        return row[1], row[2]

    def _waited(
        self, connection: psycopg.Connection, command: str, slot: str, waiting: Waiting
    ) -> tuple[Any, ...]:
        """The row that a command gives, however long it takes; it is cancelled where nobody
        wants it any more."""
        if connection.info.server_version >= 140000:
            # A process that was killed must not leave a slot to a server that waits on.
            connection.execute("SET client_connection_check_interval = 1000")
        answer = _answer(lambda: connection.execute(command.encode()).fetchone())
        begun, asked, what = time.monotonic(), 0.0, ""
        while True:
            with contextlib.suppress(queue.Empty):
                found = answer.get(timeout=NOTICE_SECONDS)
                break
            now = time.monotonic()
            try:
                if now - asked > ASKING_SECONDS:
                    asked, what = now, self._waits(connection.info.backend_pid, slot)
                if now - begun > WAITING_SECONDS:
                    raise LockTimeout(
                        f"No slot {slot} within {WAITING_SECONDS:.0f} seconds. {what}",
                        remedy="End what is open, and start again.",
                        retryable=False,
                    )
                waiting(what)
            except BaseException:
                self._cancel(connection, answer)
                raise
        if isinstance(found, BaseException):
            raise found
        if found is None:
            raise violation("making the replication slot", "the answer has no row")
        return tuple(found)

    @staticmethod
    def _cancel(connection: psycopg.Connection, answer: queue.SimpleQueue[Any]) -> None:
        """End a command; the server drops the slot that it was about to make."""
        with contextlib.suppress(psycopg.Error):
            connection.cancel_safe(timeout=DROP_SECONDS)
        with contextlib.suppress(queue.Empty):
            answer.get(timeout=DROP_SECONDS)

    def _waits(self, process: int, slot: str) -> str:
        """What a server process that makes a slot waits for, and what ends it."""
        with self.asking() as connection, translating(f"asking what slot {slot} waits for"):
            rows = connection.execute(WAITS_FOR.encode(), (process,)).fetchall()
        whose = "; ".join(f"{_transaction(*row)} ({_ending(row[0], row[3])})" for row in rows)
        return (
            f"The slot {slot} waits for transactions that are open on the source: "
            f"{whose or 'see pg_stat_activity and pg_prepared_xacts'}."
        )

    def drop_slot(self) -> None:
        """Drop the slot where it is one of pgoutput's."""
        with self.asking() as connection:
            slot = self.look(connection)
            if slot is not None and slot.plugin == "pgoutput":
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


def _answer(work: Callable[[], Any]) -> queue.SimpleQueue[Any]:
    """Do work on a thread of its own; its result, or its error, comes by the queue."""
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
