"""Rows as COPY BINARY has them, handed on without a look inside.

A server sends each tuple as one CopyData message, the first behind the header, and the
trailer as a message of its own (https://www.postgresql.org/docs/current/sql-copy.html,
"Binary Format"; copyto.c). The messages are taken off the socket in large reads; finding
them is the only loop over rows. libpq, which connected and has nothing in flight, does not
notice (https://www.postgresql.org/docs/current/protocol-message-formats.html). Under TLS
only libpq can read: then message by message.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Generator, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import psycopg
import pyarrow as pa
from psycopg import errors, generators
from psycopg.pq import ExecStatus
from psycopg.waiting import Ready, Wait

from streams_engine.adapters.postgres.connection import tell_statement
from streams_engine.adapters.sql.watchdog import watch_of
from streams_engine.arrow.buffers import PAD, grown, slice_bytes, violation, well_formed

__all__ = ["encode", "read"]

WHAT = "COPY TO STDOUT (FORMAT binary)"

SIGNATURE = b"PGCOPY\n\xff\r\n\0"
HEAD = 19
"""Signature, flags and the length of the extension that follows."""

TRAILER = 2
"""Bytes of the end: a field count of -1. No tuple is so short: a row of ours has columns."""

COPY_DATA, ERROR, READY = (ord(letter) for letter in "dEZ")
KNOWN = frozenset(b"dEZHcCNSA")
"""What else may come: CopyOutResponse, CopyDone, CommandComplete, and at any time a notice, a
parameter's status, a notification
(https://www.postgresql.org/docs/current/protocol-flow.html, "COPY Operations")."""

FOREVER = 86_400.0 * 20
"""Seconds; a socket with a timeout stays one that does not block, as libpq needs it. What
ends a read from a server that is gone is the watchdog."""

_length: Any = struct.Struct(">I").unpack_from


def read(connection: psycopg.Connection, query: str, size: int) -> Iterator[pa.RecordBatch]:
    """Yield the tuples of a query in batches of about ``size`` bytes. Raises psycopg's errors.

    The connection must not use GSS encryption, which libpq does not report.
    """
    copy = f"COPY ({query}) TO STDOUT (FORMAT binary)".encode()
    tell_statement(connection, copy)
    if connection.pgconn.ssl_in_use:
        return _by_libpq(connection, copy, size)
    return _off_the_socket(connection, copy, size)


def encode(batch: pa.RecordBatch) -> memoryview:
    """Return the tuples of a batch one after another, without a copy."""
    tuples = batch.column(0)
    offsets = np.frombuffer(tuples.buffers()[1], np.int32)
    first, last = offsets[tuples.offset], offsets[tuples.offset + len(tuples)]
    return memoryview(tuples.buffers()[2])[first:last]


# Off the socket


def _off_the_socket(
    connection: psycopg.Connection, copy: bytes, size: int
) -> Iterator[pa.RecordBatch]:
    with socket.socket(fileno=os.dup(connection.pgconn.socket)) as sock:
        sock.settimeout(FOREVER)
        try:
            sock.sendall(b"Q" + struct.pack(">I", len(copy) + 5) + copy + b"\0")
            yield from _Messages(sock, size, watch_of(connection)).batches()
        except OSError as error:
            raise psycopg.OperationalError(type(error).__name__) from None


class _Messages:
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
        self._header = HEAD
        self._failure: psycopg.Error | None = None

    def batches(self) -> Iterator[pa.RecordBatch]:
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
            if fill < self._size // 2 and not _whole(buffer, fill):
                continue
            starts: list[int] = []
            position, done = self._walk(buffer, fill, starts)
            if not position:  # a message that is larger than what came
                continue
            tuples = self._cut(buffer, np.array(starts, np.int64)) if starts else None
            rest = buffer[position:fill]
            if len(buffer) - PAD > self._size:
                buffer = bytearray(len(rest) + self._size + PAD)
            buffer[: len(rest)] = rest
            fill = len(rest)
            if tuples:
                batch = [pa.RecordBatch.from_arrays([tuples], ["tuple"])]
                del tuples
                yield batch.pop()  # kept by nobody here while the next ones come
        if self._failure is not None:
            raise self._failure

    def _walk(self, buffer: bytearray, fill: int, starts: list[int]) -> tuple[int, bool]:
        """Find whole messages. Returns where the first incomplete one begins, and whether the
        answer is at its end."""
        position, edge = 0, fill - 4
        add = starts.append
        while position < edge:
            after = position + 1 + _length(buffer, position + 1)[0]
            if after > fill:
                if buffer[position] not in KNOWN:
                    raise violation(WHAT, "a message has an unexpected type")
                break
            if after < position + 5:
                raise violation(WHAT, "a message is shorter than its header")
            kind = buffer[position]
            if kind == COPY_DATA:
                add(position + 5)
            elif kind == ERROR:
                self._failure = _error(bytes(buffer[position + 5 : after]))
            elif kind == READY:
                return after, True
            elif kind not in KNOWN:
                raise violation(WHAT, "a message has an unexpected type")
            position = after
        return position, False

    def _cut(self, buffer: bytearray, starts: np.ndarray) -> pa.Array:
        sizes = np.ndarray((len(buffer) - 3,), ">i4", buffer, strides=(1,))
        lengths = sizes[starts - 4].astype(np.int64) - 4
        if self._header:
            header = _header(bytes(buffer[starts[0] : starts[0] + lengths[0]]))
            starts[0] += header
            lengths[0] -= header
            self._header = 0
        whole = lengths > TRAILER
        return slice_bytes(buffer, starts[whole], lengths[whole])


def _header(message: bytes) -> int:
    """Return how many bytes of the first message are the header."""
    header = HEAD + (_length(message, HEAD - 4)[0] if len(message) >= HEAD else 0)
    if len(message) < header or not message.startswith(SIGNATURE):
        raise violation(WHAT, "it does not begin with the header of the binary format")
    return int(header)


def _whole(buffer: bytearray, fill: int) -> bool:
    """Return whether the received bytes end an answer: ReadyForQuery is the last six bytes."""
    return fill >= 6 and buffer[fill - 6 : fill - 1] == b"Z\0\0\0\5"


def _error(fields: bytes) -> psycopg.Error:
    """Return the server's error by its SQLSTATE, without its text, which may contain values."""
    with well_formed("an error message"):
        state = next((f[1:].decode() for f in fields.split(b"\0") if f[:1] == b"C"), "")
    try:
        return errors.lookup(state)()
    except KeyError:
        return psycopg.DatabaseError(state)


# By libpq


def _by_libpq(connection: psycopg.Connection, copy: bytes, size: int) -> Iterator[pa.RecordBatch]:
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
            yield pa.RecordBatch.from_arrays([pa.array(map(bytes, parts), pa.binary())], ["tuple"])
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
