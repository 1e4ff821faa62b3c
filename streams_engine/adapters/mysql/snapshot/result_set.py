"""Result sets of the binary protocol, decoded column by column off the socket."""

from __future__ import annotations

import contextlib
import math
import struct
from array import array
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import pyarrow as pa
from pymysql import err
from pymysql.protocol import FieldDescriptorPacket

from streams_engine.adapters.mysql.connection import DRIVER_RAW
from streams_engine.adapters.mysql.snapshot.block_decoder import Block, decode
from streams_engine.adapters.sql.watchdog import UNANSWERED, watch_of
from streams_engine.arrow.buffers import PAD, grown, violation, well_formed
from streams_engine.errors import ProtocolViolation, RowRejected

__all__ = [
    "LEAST_ROWS",
    "MAX_PACKET",
    "described",
    "leap",
    "stream",
]


MAX_PACKET = 0xFFFFFF
"""A payload of exactly this length is continued in the next packet."""

CHECKED = 8
"""Steps between two looks whether all arrived."""

LEAST_ROWS = 1500
"""Of fewer rows a plain loop is faster."""


def leap(buffer: Any, position: int, fill: int) -> np.ndarray:
    """Return the headers of the rows from ``position`` on, as many as were found: perhaps none.

    Each belongs to a whole packet, neither continued nor the last of the result set, and the next
    one begins at its end.
    """
    size = 4 + int.from_bytes(buffer[position : position + 3], "little")
    rows = (fill - position) // size
    if rows < LEAST_ROWS:
        return np.empty(0, np.int64)
    u8 = np.frombuffer(buffer, np.uint8)
    words = np.ndarray((len(buffer) - 3,), "<u4", buffer, strides=(1,))
    headers = _follow(words, _guesses(u8, words, position, fill, size, rows), fill - 4)
    after = headers + 4 + (words[headers] & MAX_PACKET)
    good = (after <= fill) & (u8[headers + 4] == 0) & (after < headers + 4 + MAX_PACKET)
    good[1:] &= after[:-1] == headers[1:]
    wrong = np.flatnonzero(~good)
    return headers[: wrong[0]] if len(wrong) else headers


def _guesses(
    u8: np.ndarray, words: np.ndarray, position: int, fill: int, size: int, rows: int
) -> np.ndarray:
    """Return places spread over the buffer where a packet seems to begin; the first is
    ``position``.

    A row's payload begins with 0x00, and the last byte of a header counts the packets.
    """
    lanes = int(math.sqrt(8 * rows))
    edges = np.linspace(position, fill, lanes, endpoint=False, dtype=np.int64)[1:]
    at = edges[:, None] + np.arange(size + size // 2)
    at = at[at < fill - 4]
    at = at[u8[at + 4] == 0]
    head = at
    for step in (1, 2):
        head = head + 4 + (words[head] & MAX_PACKET)
        inside = head < fill - 4
        at, head = at[inside], head[inside]
        alike = (u8[head + 4] == 0) & (u8[head + 3] == u8[at + 3] + np.uint8(step))
        at, head = at[alike], head[alike]
    first = np.searchsorted(at, edges)
    places = np.sort(np.append(position, at[first[first < len(at)]]))
    return places[np.diff(places, prepend=-1) > 0]


def _follow(words: np.ndarray, begin: np.ndarray, edge: int) -> np.ndarray:
    """Return the headers from each place up to the next one, all in order."""
    ends = np.append(begin[1:], edge)
    met, now = [begin], begin
    for _ in range(len(begin)):
        for _ in range(CHECKED):
            length = words[now]
            length &= MAX_PACKET
            length += 4
            now = now + length
            np.minimum(now, ends, out=now)
            met.append(now)
        if (now == ends).all():
            break
    lanes = np.stack(met, axis=1)
    return lanes[lanes < ends[:, None]]


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

    Raises PyMySQL's errors, also those that arrive in the middle of the rows, and `RowRejected`
    naming table (``what``) and column for bytes that are not text. If the generator is closed
    early, the remaining rows are read and dropped; ``interrupt`` may have the query killed first
    (KILL QUERY), which leaves only rows already sent.
    """
    buffered = connection._rfile
    watch = watch_of(connection)
    ahead = connection._rfile = _Reader(connection._sock)
    try:
        statement = _prepare(connection, query)
        try:
            types = _execute(connection, statement, schema)
            packets = _blocks(connection._sock, ahead, watch)
            try:
                for rows in packets:
                    batch = [decode(Block(*rows, len(types)), types, schema, what)]
                    del rows
                    yield batch.pop()  # kept by nobody here while the next rows come
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
    """Buffered reader for PyMySQL's packets that can return what it read ahead."""

    SIZE = 1 << 16

    def __init__(self, sock: Any) -> None:
        self._sock = sock
        self._held = b""

    def read(self, size: int) -> bytes:
        """Return ``size`` bytes, fewer if the connection ended."""
        while len(self._held) < size and (more := self._sock.recv(self.SIZE)):
            self._held += more
        taken, self._held = self._held[:size], self._held[size:]
        return taken

    def take(self) -> bytes:
        """Return all bytes read ahead, and forget them."""
        held, self._held = self._held, b""
        return held

    def close(self) -> None:
        """Do nothing: PyMySQL closes its reader, but the socket is closed elsewhere."""


def described(connection: Any, query: str) -> list[FieldDescriptorPacket]:
    """Return the columns of a query's result without running it.

    (LIMIT 0 would run a derived table of at most one row.) Raises PyMySQL's errors.
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
    """Return statement id, number of columns and number of parameters of a prepared statement."""
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
        raise err.InternalError(0, f"the result has {count} columns, expected {len(schema)}")
    types = [connection._read_packet(FieldDescriptorPacket).type_code for _ in range(count)]
    connection._read_packet()  # EOF
    return types


Rows = tuple[bytearray, "array[int]", np.ndarray]
"""(buffer, starts of the rows' payloads in it, their ends)."""


def _blocks(sock: Any, reader: _Reader, watch: AbstractContextManager[None]) -> Iterator[Rows]:
    """Yield the rows, block by block, until the EOF packet.

    The buffer is overwritten when the next block is requested, so decoding must copy.
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
                given = [(buffer, starts, _ends(buffer, starts, joined))]
                del buffer
                yield given.pop()
            _end(last)
            return
        room = len(buffer) - PAD - fill
        if room < BLOCK_BYTES // 8 and starts:
            given = [(buffer, starts, _ends(buffer, starts, joined))]
            joined.clear()
            rest = buffer[position:fill]
            if len(buffer) - PAD > BLOCK_BYTES:  # it grew for one row
                buffer = bytearray(max(BLOCK_BYTES, len(rest) * 2) + PAD)
            yield given.pop()
            buffer[: len(rest)] = rest
            fill, position, starts = len(rest), 0, array("q")
            continue
        if not room:  # one row is larger than the block
            buffer = grown(buffer)
            room = len(buffer) - PAD - fill
        with memoryview(buffer) as view, watch:
            received = sock.recv_into(view[fill : fill + room])
        if not received:
            dead = getattr(watch, "dead", False)
            raise err.OperationalError(2013, UNANSWERED if dead else "Lost connection during query")
        fill += received


def _ends(buffer: bytearray, starts: array[int], joined: dict[int, int]) -> np.ndarray:
    """Return where the payloads end: by the headers before them, or by ``joined`` if there are
    several."""
    first = np.frombuffer(starts, np.int64)
    heads = np.ndarray((len(buffer) - 3,), "<u4", buffer, strides=(1,))
    ends = first + (heads[first - 4] & MAX_PACKET)
    for payload, end in joined.items():
        ends[np.searchsorted(first, payload)] = end
    return ends


def _walk(
    buffer: bytearray, position: int, fill: int, starts: array[int], joined: dict[int, int]
) -> tuple[int, bytes | None]:
    """Find whole packets; return where the first incomplete one begins, and the last packet of the
    result set (EOF or ERR) or None.

    Payloads of several packets are joined; their ends are stored in ``joined``.
    """
    leaped = LEAST_ROWS
    while leaped >= LEAST_ROWS:  # else they are few, or their places were guessed badly
        heads = leap(buffer, position, fill)
        leaped = len(heads)
        if leaped:
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
    """Raise the server's error if the result set ended with one.

    https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_basic_eof_packet.html: an EOF
    packet has fewer than nine bytes.
    """
    if packet[0] == 0xFF:
        with well_formed("an error packet"):
            err.raise_mysql_exception(packet)
    if packet[0] != 0xFE or len(packet) >= 9:
        raise violation("a result set", "a packet is neither a row nor the end of the rows")
