"""The messages that answer COPY TO STDOUT, in blocks: what came, and where its tuples are.

A server sends each tuple as one CopyData message, the first behind the header, and the trailer as a
message of its own (https://www.postgresql.org/docs/current/sql-copy.html, "Binary Format";
copyto.c). The messages are taken off the socket in large reads, and found many at once. libpq,
which connected and has nothing in flight, does not notice
(https://www.postgresql.org/docs/current/protocol-message-formats.html). Under TLS only libpq can
read: then message by message.
"""

from __future__ import annotations

import os
import socket
import struct
from array import array
from collections.abc import Generator, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np
import psycopg
from psycopg import errors, generators
from psycopg.pq import ExecStatus
from psycopg.waiting import Ready, Wait

from streams_engine.adapters.postgres.connection import tell_statement
from streams_engine.adapters.sql.watchdog import watch_of
from streams_engine.arrow.buffers import PAD, grown, strided, violation, well_formed

__all__ = ["WHAT", "Tuples", "server_error", "tuples_of"]

WHAT = "COPY TO STDOUT (FORMAT binary)"

SIGNATURE = b"PGCOPY\n\xff\r\n\0"
HEADER = 19
"""Signature, flags and the length of the extension that follows."""
TRAILER = 2
"""Bytes of the end: a field count of -1. No tuple is so short: a row of ours has columns."""

FRAME = struct.Struct(">cI")
HEAD = FRAME.size
"""Of a message: its letter, and its length without the letter."""
COPY_DATA, ERROR, READY = (ord(letter) for letter in "dEZ")
KNOWN = frozenset(b"dEZHcCNSA")
"""What else may come: CopyOutResponse, CopyDone, CommandComplete, and at any time a notice, a
parameter's status, a notification
(https://www.postgresql.org/docs/current/protocol-flow.html, "COPY Operations")."""
END = b"Z\0\0\0\5"
"""How ReadyForQuery begins, the last message of an answer."""
DENIED = "42501"
TAIL = 1024
"""Bytes at the end of what came in which it is looked for: a notice may come behind it."""

SHORT = 1024
"""Bytes of a message up to which looking for many at once is faster than going from one to the
next."""
PEELED = 8
"""How often places that only look like messages are dropped."""

FOREVER = 86_400.0 * 20
"""Seconds; a socket with a timeout stays one that does not block, as libpq needs it. What
ends a read from a server that is gone is the watchdog."""

_length: Any = struct.Struct(">I").unpack_from


@dataclass(frozen=True, slots=True)
class Tuples:
    """Whole tuples in a buffer that is overwritten when the next ones are asked for."""

    buffer: bytearray
    """`PAD` bytes longer than what came."""
    start: np.ndarray
    end: np.ndarray
    """Of each tuple, the place of its number of fields, and where it ends."""


def tuples_of(connection: psycopg.Connection, query: str, size: int) -> Iterator[Tuples]:
    """Yield the tuples of a query in blocks of about ``size`` bytes. Raises psycopg's errors.

    The connection must not use GSS encryption, which libpq does not report.
    """
    copy = f"COPY ({query}) TO STDOUT (FORMAT binary)".encode()
    tell_statement(connection, copy)
    if connection.pgconn.ssl_in_use:
        return by_libpq(connection, copy, size)
    return off_the_socket(connection, copy, size)


# Off the socket


def off_the_socket(connection: psycopg.Connection, copy: bytes, size: int) -> Iterator[Tuples]:
    """Run a COPY, and read its answer past libpq."""
    with socket.socket(fileno=os.dup(connection.pgconn.socket)) as sock:
        sock.settimeout(FOREVER)
        try:
            sock.sendall(FRAME.pack(b"Q", len(copy) + 5) + copy + b"\0")
            yield from Messages(sock, size, watch_of(connection)).blocks()
        except OSError as error:
            raise psycopg.OperationalError(type(error).__name__) from None


class Messages:
    """The messages that answer a COPY TO STDOUT."""

    def __init__(
        self,
        sock: socket.socket,
        size: int,
        watch: AbstractContextManager[None] | None = None,
    ) -> None:
        self._sock = sock
        self._watch = nullcontext() if watch is None else watch
        self._size = size
        self._begun = False
        """Whether the header is behind us."""
        self._failure: psycopg.Error | None = None

    def blocks(self) -> Iterator[Tuples]:
        """Yield whole tuples until the server is ready for the next query."""
        buffer = bytearray(self._size + PAD)
        fill, done = 0, False
        while not done:
            if fill == len(buffer) - PAD:  # one message is larger than the buffer
                buffer = grown(buffer)
            with memoryview(buffer) as view, self._watch:
                received = self._sock.recv_into(view[fill : len(buffer) - PAD])
            if not received:
                raise OSError("the server closed the connection")
            fill += received
            if (
                fill < self._size - self._size // 8
                and buffer.rfind(END, max(0, fill - TAIL), fill) < 0
            ):
                continue
            starts, position, done = self._walk(buffer, fill)
            if not position:  # a message that is larger than what came
                continue
            found = _cut(buffer, starts)
            if len(found.start):
                yield found
            del found
            rest = buffer[position:fill]
            if len(buffer) - PAD > self._size:
                buffer = bytearray(len(rest) + self._size + PAD)
            buffer[: len(rest)] = rest
            fill = len(rest)
        if self._failure is not None:
            raise self._failure

    def _walk(self, buffer: bytearray, fill: int) -> tuple[array[int], int, bool]:
        """Return where the contents of CopyData are, where the first incomplete message begins, and
        whether the answer is at its end."""
        starts = array("q")
        position, done = 0, False
        if not self._begun:
            position, done = self._step(buffer, position, fill, starts)
        if self._begun and not done:
            heads = _leap(buffer, position, fill)
            if len(heads):
                starts.frombytes((heads + HEAD).tobytes())
                position = int(heads[-1])
                position += 1 + _length(buffer, position + 1)[0]
            position, done = self._step(buffer, position, fill, starts)
        return starts, position, done

    def _step(
        self, buffer: bytearray, position: int, fill: int, starts: array[int]
    ) -> tuple[int, bool]:
        """Go from message to message, up to the first tuple if nothing had begun. Returns where it
        stopped, and whether the answer is at its end."""
        edge = fill - HEAD + 1
        add = starts.append
        begun = self._begun
        while position < edge:
            after = position + 1 + _length(buffer, position + 1)[0]
            if after > fill:
                if buffer[position] not in KNOWN:
                    raise violation(WHAT, "a message has an unexpected type")
                break
            if after < position + HEAD:
                raise violation(WHAT, "a message is shorter than its header")
            kind = buffer[position]
            if kind == COPY_DATA:
                if not begun:
                    self._begun = True
                    return _beheaded(buffer, position, after), False
                add(position + HEAD)
            elif kind == ERROR:
                self._failure = _error(bytes(buffer[position + HEAD : after]))
            elif kind == READY:
                return after, True
            elif kind not in KNOWN:
                raise violation(WHAT, "a message has an unexpected type")
            position = after
        return position, False


def _beheaded(buffer: bytearray, position: int, after: int) -> int:
    """Make a message of what follows the header in its message; return where it begins."""
    position += _header(bytes(buffer[position + HEAD : after]))
    buffer[position : position + HEAD] = FRAME.pack(b"d", after - position - 1)
    return position


def _header(message: bytes) -> int:
    """Return how many bytes of the first message are the header."""
    header = HEADER + (_length(message, HEADER - 4)[0] if len(message) >= HEADER else 0)
    if len(message) < header or not message.startswith(SIGNATURE):
        raise violation(WHAT, "it does not begin with the header of the binary format")
    return int(header)


def _leap(buffer: bytearray, position: int, fill: int) -> np.ndarray:
    """Return where CopyData messages begin, from ``position`` on: whole ones, each at the end of
    the one before, as many as were found, perhaps none.

    Places that look like a message of a tuple with as many fields as the first one are nearly
    always one. Others are inside a message, so that none but others lead to them.
    """
    nothing = np.empty(0, np.int64)
    if position + HEAD + 2 > fill or buffer[position] != COPY_DATA:
        return nothing
    if _length(buffer, position + 1)[0] > SHORT:
        return nothing
    u8, lengths = np.frombuffer(buffer, np.uint8), strided(buffer, ">u4")
    high, low = buffer[position + HEAD : position + HEAD + 2]
    at = np.flatnonzero(u8[position : fill - HEAD - 1] == COPY_DATA)
    at += position
    at = at[(u8[at + (HEAD + 1)] == low) & (u8[at + HEAD] == high)]
    after = lengths[at + 1] + (at + 1)
    whole = (after <= fill) & (after > at + HEAD)
    at, after = at[whole], after[whole]
    if not len(at) or at[0] != position:  # the first one has not come whole
        return nothing
    for _ in range(PEELED):
        if (at[1:] == after[:-1]).all():
            break
        ends = np.zeros(fill + 1, bool)
        ends[after] = ends[position] = True
        led_to = ends[at]
        at, after = at[led_to], after[led_to]
    wrong = np.flatnonzero(at[1:] != after[:-1])
    found: np.ndarray = at[: wrong[0] + 1] if len(wrong) else at
    return found


def _cut(buffer: bytearray, starts: array[int]) -> Tuples:
    start = np.frombuffer(starts, np.int64)
    end = start + (strided(buffer, ">u4")[start - 4].astype(np.int64) - 4)
    whole = end - start > TRAILER
    return Tuples(buffer, start, end) if whole.all() else Tuples(buffer, start[whole], end[whole])


def _error(content: bytes) -> psycopg.Error:
    """Return the server's error; its text, which may contain values, only where a privilege is
    missing."""
    with well_formed("an error message"):
        fields = {part[:1]: part[1:].decode() for part in content.split(b"\0") if part}
    state = fields.get(b"C", "")
    return server_error(state, fields.get(b"M", "") if state == DENIED else "")


def server_error(state: str, text: str) -> psycopg.Error:
    """Return psycopg's error for an SQLSTATE."""
    try:
        error = errors.lookup(state)(text)
    except KeyError:
        error = psycopg.DatabaseError(text)
    error.sqlstate = state
    return error


# By libpq


def by_libpq(connection: psycopg.Connection, copy: bytes, size: int) -> Iterator[Tuples]:
    """Run a COPY, and let libpq read each message."""
    pgconn = connection.pgconn
    pgconn.send_query(copy)
    _demand(connection, connection.wait(generators.execute(pgconn)), ExecStatus.COPY_OUT)
    begun = ended = False
    while not ended:
        parts, ended = connection.wait(_portion(pgconn, size))
        if parts and not begun:
            first = bytes(parts[0])
            parts[0] = first[_header(first) :]
            begun = True
        if parts and len(parts[-1]) <= TRAILER:
            parts.pop()
        if parts:
            buffer = bytearray().join((*parts, bytes(PAD)))
            end = np.fromiter(accumulate(map(len, parts)), np.int64, len(parts))
            yield Tuples(buffer, np.concatenate(([0], end[:-1])), end)
    _demand(connection, connection.wait(generators.fetch_many(pgconn)), ExecStatus.COMMAND_OK)


def _portion(pgconn: Any, size: int) -> Generator[Any, Any, tuple[list[Any], bool]]:
    """Read messages up to a size; return them, and whether they are the last."""
    parts: list[Any] = []
    held = 0
    while held < size:
        length, data = pgconn.get_copy_data(1)
        if length > 0:
            parts.append(data)
            held += length
        elif length == 0:
            while (yield Wait.R) == Ready.NONE:
                pass
            pgconn.consume_input()
        else:
            return parts, True
    return parts, False


def _demand(connection: psycopg.Connection, results: list[Any], status: ExecStatus) -> None:
    for result in results:
        if result.status != status:
            raise errors.error_from_result(result, encoding=connection.info.encoding)
