"""Result sets of the binary protocol, decoded column by column off the socket.

PyMySQL connects, authenticates and reads the column definitions; the rows are taken from
the socket in large reads. What finds the packets is the only loop over rows. The protocol:
https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_binary_resultset.html
"""

from __future__ import annotations

import contextlib
import struct
from array import array
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
from pymysql import err
from pymysql.protocol import FieldDescriptorPacket

from streams_engine.adapters.mysql.connect import DRIVER_RAW
from streams_engine.adapters.mysql.decoding import Block, decode
from streams_engine.adapters.mysql.packets import LEAST_ROWS, MAX_PACKET, leap
from streams_engine.bounds import violation, well_formed
from streams_engine.cutting import PAD
from streams_engine.errors import ProtocolViolation, RowRejected

__all__ = ["described", "stream"]

COM_STMT_PREPARE = 0x16
COM_STMT_EXECUTE = 0x17
COM_STMT_CLOSE = 0x19

BLOCK_BYTES = 2 << 20
"""How much is gathered before it is decoded; one row larger than that makes the block grow."""

_length: Any = struct.Struct("<I").unpack_from


def stream(
    connection: Any,
    query: str,
    schema: pa.Schema,
    what: str,
    interrupt: Callable[[], None] = lambda: None,
) -> Iterator[pa.RecordBatch]:
    """Run a query and yield its rows as blocks in exactly ``schema``.

    Raises PyMySQL's errors, also those that arrive in the middle of the rows, and
    `RowRejected` naming table (``what``) and column for bytes that are no text. Where it is
    closed before its end, the rest of the rows is read and dropped: ``interrupt`` may have
    the query killed before (KILL QUERY), then that is no more than what was under way.
    """
    buffered = connection._rfile
    ahead = connection._rfile = _Reader(connection._sock)
    try:
        statement = _prepare(connection, query)
        try:
            types = _execute(connection, statement, schema)
            packets = _blocks(connection._sock, ahead)
            try:
                for buffer, starts, ends in packets:
                    yield decode(Block(buffer, starts, ends, len(types)), types, schema, what)
            except (GeneratorExit, RowRejected):
                interrupt()
                _drop(packets)
                raise
        except ProtocolViolation:
            connection._force_close()  # nobody knows where its next packet begins
            raise
        except BaseException:
            with contextlib.suppress(err.MySQLError, OSError):  # a lost connection has none
                _close(connection, statement)
            raise
        _close(connection, statement)
    finally:
        connection._rfile = buffered
        connection._next_seq_id = 0


def _close(connection: Any, statement: int) -> None:
    connection._execute_command(COM_STMT_CLOSE, struct.pack("<I", statement))


def _drop(packets: Iterator[Any]) -> None:
    """Read a result set to its end, which may be the error that it was killed with."""
    with contextlib.suppress(err.MySQLError):
        for _ in packets:
            pass


class _Reader:
    """What PyMySQL reads packets with, for a while: one that gives back what it read ahead."""

    SIZE = 1 << 16

    def __init__(self, sock: Any) -> None:
        self._sock = sock
        self._held = b""

    def read(self, size: int) -> bytes:
        """``size`` bytes, fewer where the connection ended."""
        while len(self._held) < size and (more := self._sock.recv(self.SIZE)):
            self._held += more
        found, self._held = self._held[:size], self._held[size:]
        return found

    def take(self) -> bytes:
        """All that was read ahead; it is the caller's from now on."""
        held, self._held = self._held, b""
        return held

    def close(self) -> None:
        """PyMySQL closes what it reads with; the socket is closed on its own."""


def described(connection: Any, query: str) -> list[FieldDescriptorPacket]:
    """The columns of a query's result, without running it.

    LIMIT 0 would run a derived table that has one row at most. Raises PyMySQL's errors.
    """
    connection._execute_command(COM_STMT_PREPARE, query)
    statement, columns, parameters = _head(connection)
    for _ in range(parameters + 1 if parameters else 0):
        connection._read_packet()
    fields = [connection._read_packet(FieldDescriptorPacket) for _ in range(columns)]
    if columns:
        connection._read_packet()  # EOF
    _close(connection, statement)
    connection._next_seq_id = 0
    return fields


def _prepare(connection: Any, query: str) -> int:
    connection._execute_command(COM_STMT_PREPARE, query)
    statement, columns, parameters = _head(connection)
    for count in (parameters, columns):
        for _ in range(count + 1 if count else 0):  # definitions, then EOF
            connection._read_packet()
    return statement


def _head(connection: Any) -> tuple[int, int, int]:
    """(statement, number of columns, number of parameters) of what was prepared."""
    with well_formed("a prepared statement", DRIVER_RAW):
        head = connection._read_packet().get_all_data()
        statement, columns, parameters = struct.unpack_from("<IHH", head, 1)
    return statement, columns, parameters


def _execute(connection: Any, statement: int, schema: pa.Schema) -> list[int]:
    """Start the execution. Returns the columns' type codes."""
    # statement, no cursor, one iteration, no parameters
    connection._execute_command(COM_STMT_EXECUTE, struct.pack("<IBI", statement, 0, 1))
    with well_formed("a result set", DRIVER_RAW):
        count = connection._read_packet().read_length_encoded_integer()
    if count != len(schema):
        raise err.InternalError(0, f"{count} columns came, {len(schema)} were asked for")
    types = [connection._read_packet(FieldDescriptorPacket).type_code for _ in range(count)]
    connection._read_packet()  # EOF
    return types


Rows = tuple[bytearray, "array[int]", np.ndarray]
"""(buffer, starts of the rows' payloads in it, their ends)."""


def _blocks(sock: Any, reader: _Reader) -> Iterator[Rows]:
    """The rows, block by block, until the EOF packet.

    The buffer is written over as soon as the next block is asked for: decoding copies.
    """
    ahead = reader.take()
    buffer = bytearray(max(BLOCK_BYTES, len(ahead)) + PAD)
    buffer[: len(ahead)] = ahead
    fill, position = len(ahead), 0
    starts = array("q")
    joined: dict[int, int] = {}
    while True:
        position, last = _walk(buffer, position, fill, starts, joined)
        if last is not None:
            if starts:
                yield buffer, starts, _ends(buffer, starts, joined)
            _end(last)
            return
        room = len(buffer) - PAD - fill
        if room < BLOCK_BYTES // 8 and starts:
            yield buffer, starts, _ends(buffer, starts, joined)
            joined.clear()
            rest = buffer[position:fill]
            if len(buffer) - PAD > BLOCK_BYTES:  # it grew for one row
                buffer = bytearray(max(BLOCK_BYTES, len(rest) * 2) + PAD)
            buffer[: len(rest)] = rest
            fill, position, starts = len(rest), 0, array("q")
            continue
        if not room:  # one row is larger than the block
            buffer = buffer + bytearray(len(buffer))
            room = len(buffer) - PAD - fill
        with memoryview(buffer) as view:
            received = sock.recv_into(view[fill : fill + room])
        if not received:
            raise err.OperationalError(2013, "Lost connection during query")
        fill += received


def _ends(buffer: bytearray, starts: array[int], joined: dict[int, int]) -> np.ndarray:
    """Where the payloads end: by the headers before them, by ``joined`` where there are several."""
    first = np.frombuffer(starts, np.int64)
    heads = np.ndarray((len(buffer) - 3,), "<u4", buffer, strides=(1,))
    ends = first + (heads[first - 4] & MAX_PACKET)
    for payload, end in joined.items():
        ends[np.searchsorted(first, payload)] = end
    return ends


def _walk(
    buffer: bytearray, position: int, fill: int, starts: array[int], joined: dict[int, int]
) -> tuple[int, bytes | None]:
    """Find whole packets. Returns where the first incomplete one begins, and the last packet
    of the result set (EOF or ERR) where it is there. Payloads of several packets are made one,
    whose end is noted in ``joined``."""
    found = LEAST_ROWS
    while found >= LEAST_ROWS:  # else they are few, or their places were guessed badly
        heads = leap(buffer, position, fill)
        found = len(heads)
        if found:
            starts.frombytes((heads + 4).tobytes())
            position = int(heads[-1])
            position += 4 + (_length(buffer, position)[0] & MAX_PACKET)
    # What is left, row by row: names are local, and nothing is done twice.
    add, length_at, most = starts.append, _length, MAX_PACKET
    edge = fill - 4
    while position <= edge:
        length = length_at(buffer, position)[0] & most
        payload = position + 4
        after = payload + length
        if after > fill:
            break
        if not length:
            raise violation("a result set", "a packet is empty")
        if buffer[payload]:  # a row begins with 0x00
            return after, bytes(buffer[payload:after])
        if length == most:
            whole = _joined(buffer, position, fill)
            if whole is None:
                break
            joined[payload], after = whole
        add(payload)
        position = after
    return position, None


def _joined(buffer: bytearray, position: int, fill: int) -> tuple[int, int] | None:
    """Make the payload of a continued packet contiguous. Returns (its end, the next packet),
    None if it is incomplete."""
    headers: list[tuple[int, int]] = []
    at = position
    while True:
        if at + 4 > fill:
            return None
        length = int(_length(buffer, at)[0]) & MAX_PACKET
        if at + 4 + length > fill:
            return None
        headers.append((at, length))
        at += 4 + length
        if length < MAX_PACKET:
            break
    to = position + 4 + headers[0][1]
    for start, length in headers[1:]:
        buffer[to : to + length] = buffer[start + 4 : start + 4 + length]
        to += length
    return to, at


def _end(packet: bytes) -> None:
    """Raise the server's error where the result set ended with one.

    https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_basic_eof_packet.html: an EOF
    packet has fewer than nine bytes.
    """
    if packet[0] == 0xFF:
        with well_formed("an error packet"):
            err.raise_mysql_exception(packet)
    if packet[0] != 0xFE or len(packet) >= 9:
        raise violation("a result set", "a packet is neither a row nor its end")
