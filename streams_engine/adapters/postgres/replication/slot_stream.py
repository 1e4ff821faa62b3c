"""One slot's stream: received on a thread of its own, so that the server never waits for us."""

from __future__ import annotations

import contextlib
import os
import select
import struct
import threading
import time
from collections import deque
from enum import Enum, auto

import psycopg

from streams_engine.adapters.postgres.connection import PostgresConnect, translate
from streams_engine.adapters.postgres.replication.copy_both import CopyBoth, copy_both
from streams_engine.adapters.postgres.replication.pgoutput import (
    COMMIT,
    EPOCH_SECONDS,
    HEADER,
    KEEP_ALIVE_BYTES,
    Burst,
    lsn_text,
)
from streams_engine.adapters.postgres.replication.slots import ACTIVE_SECONDS
from streams_engine.adapters.sql.polling import attempts
from streams_engine.errors import ConnectionFailed, LockTimeout, LogLost, StreamsError, require

__all__ = ["News", "Received", "SlotStream", "literal"]

QUEUED_BYTES = 8 << 20
"""Bytes that may wait to be decoded; beyond that, nothing more is read from the socket."""

LARGE_BYTES = 16 << 20
"""While a burst with a message of this size is processed, nothing more is read: the message is in
memory three times before it is decoded."""

STATUS_SECONDS = 5.0
ACKNOWLEDGE_SECONDS = 0.1
"""The least time between two status updates that nobody asked for: commits go together."""
STATUS = struct.Struct(">cQQQqB")
LSN = struct.Struct(">Q")
COMMIT_BYTES = HEADER + 26
"""Of a Commit message: its letter, flags, three numbers of 8 bytes."""
END_AT = HEADER + 10
INSIDE = frozenset(b"BIUDRYO")
"""The letters of messages that a commit must follow."""
FEW, FEW_BYTES = 8, 1 << 13
"""More or larger ones of them are worth waking up for: they can be decoded already."""
SHUTDOWN_REQUESTS = 8
SHUTDOWN_SECONDS = 0.5
"""A server that shuts down keeps asking for answers: this many within this time."""


def literal(text: str) -> str:
    """Quote a text for a replication command."""
    return "'" + text.replace("'", "''") + "'"


class News(Enum):
    """What a burst is worth to the thread that waits for it."""

    NONE = auto()
    """A keepalive up to an LSN that is known."""
    PART = auto()
    """The beginning of a transaction, which more must follow."""
    WHOLE = auto()


class Received:
    """Judges bursts by what came before. The server sends each message as soon as it is decoded,
    and a keepalive after each transaction that is not acknowledged yet: a small transaction may
    arrive in four pieces, of which one is worth a thread's waking up."""

    def __init__(self) -> None:
        self._end = 0
        """The LSN up to which a commit, and keepalives right after it, said that all was sent; 0:
        something else came last."""

    def judge(self, burst: Burst) -> News:
        """Take note of a burst, and judge it."""
        count = len(burst.start)
        known = self._end if count == 1 else self._committed(burst, count - 2)
        end = self._kept_alive(burst, count - 1)
        if end is None:
            self._end = self._committed(burst, count - 1)
            inside = count <= FEW and all(self._is_inside(burst, i) for i in range(count))
            return News.PART if inside else News.WHOLE
        self._end = max(known, end) if known else 0
        return News.NONE if count == 1 and end <= known else News.WHOLE

    @staticmethod
    def _kept_alive(burst: Burst, index: int) -> int | None:
        """Return the LSN of a keepalive; None for another message."""
        start = burst.start[index]
        if burst.end[index] - start != KEEP_ALIVE_BYTES:
            return None
        return int(LSN.unpack_from(burst.buffer, start + 1)[0])

    @staticmethod
    def _committed(burst: Burst, index: int) -> int:
        """Return the LSN after a commit; 0 for another message."""
        start = burst.start[index]
        size = burst.end[index] - start
        if size != COMMIT_BYTES or burst.buffer[start + HEADER] != COMMIT:
            return 0
        return int(LSN.unpack_from(burst.buffer, start + END_AT)[0])

    @staticmethod
    def _is_inside(burst: Burst, index: int) -> bool:
        start, end = burst.start[index], burst.end[index]
        return HEADER < end - start < FEW_BYTES and burst.buffer[start + HEADER] in INSIDE


class SlotStream:
    """START_REPLICATION under way. `take` is for one thread, `acknowledge` for any."""

    def __init__(
        self,
        connect: PostgresConnect,
        connection: psycopg.Connection,
        slot: str,
        publication: str,
        after: int,
        patience: float = 0.0,
    ) -> None:
        """Start streaming a slot on a replication connection without GSS, which is closed with the
        stream, or if it cannot be started. ``patience``: accepted seconds of silence, if more than
        usual."""
        self._connect, self._slot = connect, slot
        self._queue: deque[Burst] = deque()
        self._bytes = 0
        self._large = False
        """The reader is processing something large."""
        self._there = threading.Condition()
        self._error: StreamsError | None = None
        self.woken = False
        """Nobody waits in `take`, until the reader has taken note."""
        self._closing = False
        self._acknowledged = after
        self._answered_at = 0.0
        self._received = Received()
        self._asked: deque[float] = deque(maxlen=SHUTDOWN_REQUESTS)
        self._patience = max(connect.heartbeat, patience)
        self._heard = time.monotonic()
        self._connection = connection
        try:
            self._status_seconds = self._interval()
            self._copy = self._begin(publication, after)
        except BaseException:
            self._connection.close()
            raise
        self._wake, self._waker = os.pipe()
        os.set_blocking(self._waker, False)
        os.set_blocking(self._wake, False)
        self._thread = threading.Thread(
            target=self._run, name="streams-engine-replication", daemon=True
        )
        self._thread.start()

    # Beginning

    def _interval(self) -> float:
        """Return how often to send a status update, well within wal_sender_timeout."""
        row = self._connection.execute("SHOW wal_sender_timeout").fetchone()
        text = str(row[0]) if row else "60s"
        units = {"ms": 0.001, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
        number = text.rstrip("abcdefghijklmnopqrstuvwxyz")
        seconds = float(number) * units.get(text[len(number) :], 0.001)
        often = min(STATUS_SECONDS, self._connect.heartbeat / 4)
        return min(often, seconds / 4) if seconds else often

    def _begin(self, publication: str, after: int) -> CopyBoth:
        name = '"' + publication.replace('"', '""') + '"'
        options = {"proto_version": "1", "publication_names": name}
        if self._connection.info.server_version >= 140000:
            options |= {"proto_version": "2", "streaming": "on", "messages": "true"}
        listed = ", ".join(f"{key} {literal(value)}" for key, value in options.items())
        command = f'START_REPLICATION SLOT "{self._slot}" LOGICAL {lsn_text(after)} ({listed})'
        # The server notices the end of the reader before us a bit later.
        begun: CopyBoth | None = None
        for last in attempts(ACTIVE_SECONDS, 0.05):
            try:
                begun = copy_both(self._connection, command)
                break
            except psycopg.Error as error:
                refusal = _refusal(error, self._slot)
                if last or not isinstance(refusal, LockTimeout):
                    raise refusal from error
        return require(begun, "the replication stream that was begun")

    # For the reader

    def take(self, timeout: float) -> list[Burst]:
        """Return all waiting messages, in bursts; empty after ``timeout`` seconds, or once woken.

        Raises the error that ended the stream, once all messages before it are taken.
        """
        with self._there:
            inactive, self._large = self._large, False
        if inactive:
            self._poke()
        with self._there:
            if not self._queue and self._error is None and timeout > 0 and not self.woken:
                self._there.wait(timeout)
            bursts = list(self._queue)
            full = self._bytes >= QUEUED_BYTES
            self._large = any(len(burst.buffer) >= LARGE_BYTES for burst in bursts)
            self._queue.clear()
            self._bytes = 0
            if not bursts and self._error is not None:
                raise self._error
        if full:
            self._poke()
        return bursts

    def wake(self) -> None:
        """Let nobody wait in `take` from here on. Thread-safe."""
        with self._there:
            self.woken = True
            self._there.notify()

    def acknowledge(self, lsn: int) -> None:
        """Allow the server to remove WAL before this LSN."""
        if lsn > self._acknowledged and not self._closing:
            self._acknowledged = lsn
            # Soon after an update the thread looks by itself whether there is more to report.
            if time.monotonic() - self._answered_at >= ACKNOWLEDGE_SECONDS:
                self._poke()

    def close(self) -> None:
        """End the stream. Idempotent."""
        if self._closing:
            return
        self._poke(closing=True)
        self._thread.join()
        os.close(self._wake)
        os.close(self._waker)

    def _poke(self, *, closing: bool = False) -> None:
        # Under the lock: once the pipe is closed its number may be another file's.
        with self._there:
            if not self._closing:
                self._closing = closing
                with contextlib.suppress(BlockingIOError):
                    os.write(self._waker, b".")

    # The thread

    def _run(self) -> None:
        try:
            self._receive()
        except psycopg.Error as error:
            self._end(_refusal(error, self._slot), error)
        except StreamsError as error:
            self._end(error)
        except Exception as error:
            self._end(ConnectionFailed(f"Reading slot {self._slot}: {type(error).__name__}."))
        finally:
            self._say_goodbye()

    def _end(self, error: StreamsError, cause: Exception | None = None) -> None:
        error.__cause__ = cause
        with self._there:
            self._error = error
            self._there.notify()

    def _say_goodbye(self) -> None:
        """Send the last status update, and close the connection."""
        with contextlib.suppress(Exception):
            self._answer()
        self._copy.close()
        with contextlib.suppress(Exception):
            self._connection.close()

    def _receive(self) -> None:
        socket = self._copy.fileno()
        poll = select.poll()
        poll.register(self._wake, select.POLLIN)
        told = self._acknowledged
        reading = False
        while not self._closing:
            now = time.monotonic()
            news = told != self._acknowledged
            if now - self._answered_at >= (ACKNOWLEDGE_SECONDS if news else self._status_seconds):
                told, self._answered_at = self._acknowledged, now
                self._answer(ask=now - self._heard > self._patience / 3)
            wanted = self._bytes < QUEUED_BYTES and not self._large
            if not wanted:
                self._heard = now  # nothing is read: nothing can be heard
            elif self._gather():
                self._heard = now
                if self._copy.full:
                    continue
            if now - self._heard > self._patience:
                raise ConnectionFailed(
                    f"Reading slot {self._slot}: the server sent nothing for "
                    f"{self._patience:.0f} seconds.",
                    silence=self._patience,
                )
            if wanted != reading:
                poll.register(socket, select.POLLIN) if wanted else poll.unregister(socket)
                reading = wanted
            calm = now - self._answered_at >= ACKNOWLEDGE_SECONDS
            pause = self._status_seconds if calm else ACKNOWLEDGE_SECONDS
            for descriptor, _ in poll.poll(pause * 1000):
                if descriptor != socket:
                    with contextlib.suppress(BlockingIOError):
                        os.read(self._wake, 4096)

    def _gather(self) -> bool:
        """Hand over the messages that are there. False if there was none."""
        burst = self._copy.receive()
        if burst is None:
            return False
        for _ in range(burst.asked):
            self._asked_for()
        news = self._received.judge(burst)
        if news is News.NONE:
            return True
        with self._there:
            self._queue.append(burst)
            self._bytes += len(burst.buffer)
            if news is News.WHOLE or len(self._queue) > FEW:
                self._there.notify()
        return True

    def _asked_for(self) -> None:
        """Answer a keepalive that requests a reply at once."""
        self._answer()
        now = time.monotonic()
        self._asked.append(now)
        if len(self._asked) == SHUTDOWN_REQUESTS and now - self._asked[0] < SHUTDOWN_SECONDS:
            self._asked.clear()
            # It waits for all it has sent to be durable on our side, which may never be. What
            # is not is sent again after the restart.
            if self._connect.is_shutting_down():
                raise ConnectionFailed(f"Reading slot {self._slot}: the server is shutting down.")

    def _answer(self, *, ask: bool = False) -> None:
        """Say how far we are; ``ask`` for an answer at once."""
        at, clock = self._acknowledged, int((time.time() - EPOCH_SECONDS) * 1e6)
        self._copy.send(STATUS.pack(b"r", at, at, at, clock, int(ask)))


def _refusal(error: psycopg.Error, slot: str) -> StreamsError:
    """Translate the server's error about a slot; one without a state is the connection's."""
    state = error.sqlstate or ""
    if state == "55006":
        return LockTimeout(
            f"Another process is reading the slot {slot}.",
            remedy=(
                "End that process (pg_replication_slots.active_pid), or give this stream its "
                "own name and slot."
            ),
            slot=slot,
        )
    if state in ("55000", "42704"):
        return LogLost(
            f"The slot {slot} cannot be read: {error.diag.message_primary}.",
            remedy="Load the tables again (start with fresh=True).",
            slot=slot,
        )
    if state[:2] in ("57", "08", ""):
        return ConnectionFailed(f"Reading slot {slot}: the server closed the connection.")
    return translate(error, f"reading slot {slot}")
