"""START_REPLICATION under way on a connection: bytes off the socket, cut into messages.

libpq makes an object of each message. Of a plain socket the bytes are read here instead, once libpq
has logged in; with TLS they are libpq's.
https://www.postgresql.org/docs/current/protocol-replication.html,
https://www.postgresql.org/docs/current/protocol-message-formats.html
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import struct
from array import array
from collections.abc import Callable
from typing import Protocol

import psycopg
from psycopg import pq

from streams_engine.adapters.postgres.replication.pgoutput import KEEP_ALIVE_BYTES, WHAT, Burst
from streams_engine.adapters.sql.watchdog import watch_of
from streams_engine.arrow.buffers import violation

__all__ = ["CopyBoth", "copy_both"]

RECEIVE_BYTES = 1 << 18
BURST_BYTES = 1 << 19
"""The most bytes of a burst of small messages: the first of them should not wait long."""
BURST = 4096
"""The most messages of a burst from libpq."""
MOST_BYTES = (1 << 30) - 1
"""The most that a server puts into one message (``MaxAllocSize``)."""

FRAME = struct.Struct(">cI")
HEAD = FRAME.size
"""Of a message: its letter, and its length without the letter."""
COPY_DATA, COPY_BOTH, COPY_DONE, ERROR, READY, COMPLETE = map(ord, "dWcEZC")
IGNORED = {ord(letter) for letter in "NSAKT"}
"""Notices, settings, notifications: what a server may say at any time."""
REPLY_AT = HEAD + KEEP_ALIVE_BYTES - 1
"""Where a keepalive says whether it wants an answer."""
KEEP_ALIVE_FRAME = HEAD + KEEP_ALIVE_BYTES


class CopyBoth(Protocol):
    """A replication stream. Used by one thread."""

    full: bool
    """More may have arrived than `receive` returned last, although the socket may not show it."""

    def fileno(self) -> int:
        """Return the socket to wait on."""

    def receive(self) -> Burst | None:
        """Return the whole messages that are there, None if there are none.

        Raises psycopg's error once the server ended the stream, after all messages before.
        """

    def send(self, payload: bytes) -> None:
        """Send one CopyData message as soon as the socket takes it."""

    def close(self) -> None:
        """Say that nothing more will be sent."""


def copy_both(connection: psycopg.Connection, command: str) -> CopyBoth:
    """Run START_REPLICATION on a connection without GSS encryption.

    Raises psycopg's error if the server refuses it.
    """
    kind = _LibpqStream if connection.pgconn.ssl_in_use else _SocketStream
    with watch_of(connection):
        return kind(connection, command)


class _SocketStream:
    """A plain socket, which libpq leaves to us from here on."""

    def __init__(self, connection: psycopg.Connection, command: str) -> None:
        self._socket = socket.socket(fileno=os.dup(connection.pgconn.socket))
        self._space = memoryview(bytearray(RECEIVE_BYTES))
        self._parts: list[bytes] = []
        """Received, and not yet a whole message."""
        self._size, self._needed = 0, HEAD
        self._unsent = b""
        self._error: psycopg.Error | None = None
        self._begun = self.full = False
        try:
            self._socket.setblocking(False)
            self._begin(command.encode())
        except BaseException:
            self._socket.close()
            raise

    def _begin(self, command: bytes) -> None:
        self._write(FRAME.pack(b"Q", len(command) + 5) + command + b"\0")
        answer = select.poll()
        answer.register(self._socket, select.POLLIN)
        while not self._begun:
            answer.poll()
            ended = not self._read()
            self._cut()
            if ended and not self._begun:
                raise self._error or psycopg.OperationalError("the connection was closed")

    def fileno(self) -> int:
        """Return the socket to wait on."""
        return self._socket.fileno()

    def receive(self) -> Burst | None:
        """Return the whole messages that are there."""
        self._write(b"")
        ended = not self._read()
        burst = self._cut()
        if burst is None and (ended or self._error is not None):
            raise self._error or psycopg.OperationalError("the connection was closed")
        return burst

    def send(self, payload: bytes) -> None:
        """Send one CopyData message as soon as the socket takes it."""
        self._write(FRAME.pack(b"d", len(payload) + 4) + payload)

    def close(self) -> None:
        """Send CopyDone, and let the socket go; libpq's own is the caller's to close."""
        with contextlib.suppress(OSError):
            self._write(FRAME.pack(b"c", 4))
        self._socket.close()

    def _write(self, frame: bytes) -> None:
        self._unsent += frame
        with contextlib.suppress(BlockingIOError):
            while self._unsent:
                try:
                    self._unsent = self._unsent[self._socket.send(self._unsent) :]
                except (BrokenPipeError, ConnectionResetError):
                    self._unsent = b""  # what was received before is still to be read

    def _read(self) -> bool:
        """Receive what is there; False at the end of the connection."""
        burst, self.full = 0, False
        with contextlib.suppress(BlockingIOError):
            while burst < BURST_BYTES or self._size < self._needed:
                try:
                    count = self._socket.recv_into(self._space)
                except OSError as error:
                    if isinstance(error, BlockingIOError):
                        raise
                    count = 0
                if not count:
                    return False
                self._parts.append(bytes(self._space[:count]))
                self._size += count
                burst += count
                self.full = count == RECEIVE_BYTES
                if not self.full:
                    break
        return True

    def _cut(self) -> Burst | None:
        """Cut what was received into messages; the beginning of the next one stays."""
        if self._size < self._needed:
            return None
        buffer = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        start, end = array("q"), array("q")
        at = asked = 0
        unpack, size = FRAME.unpack_from, self._size
        self._needed = HEAD
        while at + HEAD <= size:
            letter, length = unpack(buffer, at)
            after = at + 1 + length
            if length < 4:
                raise violation(WHAT, "a message is shorter than its own length")
            if length > MOST_BYTES:
                raise violation(WHAT, f"a message of {length} bytes is longer than a server sends")
            if after > size:
                self._needed = after - at
                break
            if letter == b"d" and self._begun:
                start.append(at + HEAD)
                end.append(after)
                if length == KEEP_ALIVE_FRAME - 1 and buffer[at + REPLY_AT]:
                    asked += 1
            elif self._hear(letter[0], buffer[at + HEAD : after]):
                at = after
                break  # what follows is for `receive`
            at = after
        self._parts = [buffer[at:]] if at < size else []
        self._size = size - at
        return Burst(buffer, start, end, asked) if len(start) else None

    def _hear(self, letter: int, content: bytes) -> bool:
        """Take note of a message that is no data; return True if the stream begins with it."""
        if letter == COPY_BOTH and not self._begun:
            self._begun = True
            return True
        if letter == ERROR:
            self._error = _error(content)
        elif letter in (COPY_DONE, COMPLETE, READY):
            self._error = self._error or psycopg.OperationalError("the server ended the stream")
            if letter == READY and not self._begun:
                raise self._error
        elif letter not in IGNORED:
            raise violation(WHAT, "a message is of a kind that no server sends here")
        return False


def _error(content: bytes) -> psycopg.Error:
    """Return psycopg's exception for an ErrorResponse: fields of a letter and a text each."""
    fields: dict[int, bytes | None] = {
        part[0]: part[1:] for part in content.split(b"\0") if len(part) > 1
    }
    state = (fields.get(pq.DiagnosticField.SQLSTATE) or b"").decode("ascii", "replace")
    try:
        kind: type[psycopg.Error] = psycopg.errors.lookup(state)
    except KeyError:
        kind = psycopg.DatabaseError
    text = (fields.get(pq.DiagnosticField.MESSAGE_PRIMARY) or b"").decode("utf-8", "replace")
    return kind(text, info=fields)


class _LibpqStream:
    """A connection whose bytes only libpq can read, which keeps some."""

    full = True

    def __init__(self, connection: psycopg.Connection, command: str) -> None:
        self._pgconn = connection.pgconn
        result = self._pgconn.exec_(command.encode())
        if result.status != pq.ExecStatus.COPY_BOTH:
            raise psycopg.errors.error_from_result(result)
        self._pgconn.nonblocking = 1

    def fileno(self) -> int:
        """Return the socket to wait on."""
        return self._pgconn.socket

    def receive(self) -> Burst | None:
        """Return the whole messages that are there."""
        self._pgconn.flush()
        self._pgconn.consume_input()
        get: Callable[[int], tuple[int, memoryview]] = self._pgconn.get_copy_data
        pieces: list[memoryview] = []
        start, end = array("q"), array("q")
        size = total = asked = 0
        for _ in range(BURST):
            size, data = get(1)
            if size <= 0:
                break
            pieces.append(data)
            start.append(total)
            total += size
            end.append(total)
            if size == KEEP_ALIVE_BYTES and data[KEEP_ALIVE_BYTES - 1]:
                asked += 1
            if total >= BURST_BYTES:
                break
        if pieces:
            return Burst(b"".join(pieces), start, end, asked)
        if size < 0:
            result = self._pgconn.get_result()
            failed = (pq.ExecStatus.FATAL_ERROR, pq.ExecStatus.NONFATAL_ERROR)
            if result is None or result.status not in failed:
                raise psycopg.OperationalError("the server ended the stream")
            raise psycopg.errors.error_from_result(result)
        return None

    def send(self, payload: bytes) -> None:
        """Send one CopyData message as soon as the socket takes it."""
        self._pgconn.put_copy_data(payload)
        self._pgconn.flush()

    def close(self) -> None:
        """Send CopyDone."""
        with contextlib.suppress(psycopg.Error):
            self._pgconn.put_copy_end()
            self._pgconn.flush()
