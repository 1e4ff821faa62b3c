"""The binary log as a server sends it: a connection that dumps, read in large pieces.

PyMySQL connects and authenticates; then one command, and packets come without end.
https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_replication.html
"""

from __future__ import annotations

import contextlib
import random
import socket
import struct
import uuid
from collections.abc import Mapping
from typing import Any

import pymysql

from streams_engine.adapters.mysql.connect import MysqlConnect, is_mariadb, translate, translating
from streams_engine.adapters.mysql.gtids import MysqlGtids
from streams_engine.cutting import PAD
from streams_engine.errors import ConfigError, ConnectionFailed, LogLost, StreamsError
from streams_engine.model import Position

__all__ = ["BUFFER_BYTES", "Dump", "refusal"]

COM_BINLOG_DUMP = 0x12
COM_BINLOG_DUMP_GTID = 0x1E
COM_REGISTER_SLAVE = 0x15
USES_GTIDS = 0x04

BUFFER_BYTES = 16 << 20
"""How much of the log one change set is made of at most, unless one event is larger."""

HEARTBEAT_SECONDS = 5
SILENT_SECONDS = 4 * HEARTBEAT_SECONDS
"""After so long without even a heartbeat the connection is taken for dead."""

HELD_SECONDS = 3 * HEARTBEAT_SECONDS
"""How long the server may take to notice that a process that had our server id was killed."""


class Dump:
    """A connection on which the server sends its log, and the bytes that came."""

    def __init__(
        self, connect: MysqlConnect, after: Position, server_id: int | None, *, by_gtid: bool
    ) -> None:
        self.what = f"reading the binary log of {connect.host}:{connect.port}"
        self.buffer = bytearray(BUFFER_BYTES + PAD)
        self.fill = 0
        self._silent = 0.0
        self._connection = connect.open(database="")
        try:
            with translating(self.what):
                self.mariadb = is_mariadb(self._connection)
                self._prepare(server_id)
                self._start(after, self._server_id, by_gtid)
        except BaseException:
            self.close()
            raise
        self._sock = self._connection._sock

    def _prepare(self, server_id: int | None) -> None:
        # Random ones are large, so that they meet no server's own.
        self._server_id = server_id or random.randrange(1 << 30, (1 << 32) - 1)
        with self._connection.cursor() as cursor:
            if server_id:
                _reserve(cursor, server_id)
            period = HEARTBEAT_SECONDS * 1_000_000_000
            own = str(uuid.uuid4())
            settings = {
                "master_binlog_checksum": "@@global.binlog_checksum",
                "source_binlog_checksum": "@@global.binlog_checksum",
                "master_heartbeat_period": str(period),
                "source_heartbeat_period": str(period),
                "slave_uuid": f"'{own}'",
                "replica_uuid": f"'{own}'",
            }
            if self.mariadb:
                settings["mariadb_slave_capability"] = "4"
            cursor.execute("SET " + ", ".join(f"@{k} = {v}" for k, v in settings.items()))

    def _start(self, after: Position, server_id: int, by_gtid: bool) -> None:
        connection = self._connection
        if by_gtid and not self.mariadb:
            encoded = MysqlGtids(after.get("gtid") or "").encoded()
            head = struct.pack("<HII", USES_GTIDS, server_id, 0)
            _send(
                connection,
                COM_BINLOG_DUMP_GTID,
                head + struct.pack("<QI", 4, len(encoded)) + encoded,
            )
            return
        file, position = after.get("file") or "", int(after.get("pos") or 4)
        if by_gtid:
            with connection.cursor() as cursor:
                cursor.execute("SET @slave_connect_state = %s", (after.get("gtid") or "",))
                cursor.execute("SET @slave_gtid_strict_mode = 1, @slave_gtid_ignore_duplicates = 0")
            file, position = "", 4
        # Positions beyond 4 GB do not fit into the older command.
        if not self.mariadb and position > 0xFFFFFFFF:
            name = file.encode()
            head = struct.pack("<HII", 0, server_id, len(name)) + name
            _send(connection, COM_BINLOG_DUMP_GTID, head + struct.pack("<QI", position, 0))
            return
        body = struct.pack("<IHI", position & 0xFFFFFFFF, 0, server_id) + file.encode()
        _send(connection, COM_BINLOG_DUMP, body)

    def receive(self, timeout: float) -> int:
        """Wait for more bytes. Returns how many came: none in time is 0.

        Raises `ConnectionFailed` where the server closed, or was silent for too long.
        """
        room = len(self.buffer) - PAD - self.fill
        try:
            self._sock.settimeout(timeout)
            with memoryview(self.buffer) as view:
                received: int = self._sock.recv_into(view[self.fill : self.fill + room])
        except (BlockingIOError, TimeoutError, InterruptedError):
            return self._waited(timeout)
        except OSError as error:
            if getattr(error, "errno", None) == 2 and "did not complete" in str(error):
                return self._waited(timeout)  # TLS: no whole record is there
            raise translate(error, self.what) from None
        if not received:
            raise ConnectionFailed(
                f"{self.what}: the server ended the connection.",
                remedy="The stream goes on from its last position.",
            )
        self._silent = 0.0
        self.fill += received
        return received

    def _waited(self, seconds: float) -> int:
        self._silent += seconds
        if self._silent > SILENT_SECONDS:
            raise ConnectionFailed(
                f"{self.what}: not even a heartbeat came for {SILENT_SECONDS} seconds.",
                remedy="Check the network; the stream goes on from its last position.",
            )
        return 0

    @property
    def room(self) -> int:
        """How many bytes more the buffer takes."""
        return len(self.buffer) - PAD - self.fill

    def drop(self, until: int) -> None:
        """Forget the bytes before ``until``; the rest moves to the front."""
        rest = self.buffer[until : self.fill]
        if len(self.buffer) - PAD > BUFFER_BYTES and len(rest) < BUFFER_BYTES // 2:
            self.buffer = bytearray(BUFFER_BYTES + PAD)  # it had grown for one event
        self.buffer[: len(rest)] = rest
        self.fill = len(rest)

    def grow(self, size: int) -> None:
        """Make room for an event of ``size`` bytes; nothing moves."""
        larger = bytearray(size + (1 << 20) + PAD)
        larger[: self.fill] = self.buffer[: self.fill]
        self.buffer = larger

    def close(self) -> None:
        """End it; a read that is under way in another thread fails. Idempotent."""
        with contextlib.suppress(Exception):
            self._connection._sock.shutdown(socket.SHUT_RDWR)
        with contextlib.suppress(Exception):
            self._connection._force_close()


def _send(connection: Any, command: int, body: bytes) -> None:
    connection._next_seq_id = 0
    connection._write_bytes(struct.pack("<I", len(body) + 1)[:3] + b"\0" + bytes([command]) + body)


def _reserve(cursor: Any, server_id: int) -> None:
    """Take a server id for ourselves: a second reader with it would push the first one out."""
    cursor.execute(
        "SELECT GET_LOCK(%s, %s)", (f"streams_engine.server_id.{server_id}", HELD_SECONDS)
    )
    (mine,) = cursor.fetchone()
    others: list[Any] = []
    for query in ("SHOW REPLICAS", "SHOW SLAVE HOSTS"):
        with contextlib.suppress(pymysql.MySQLError):
            cursor.execute(query)
            others = [int(row[0]) for row in cursor.fetchall()]
            break
    cursor.execute("SELECT @@server_id")
    if not mine or server_id in others or cursor.fetchone()[0] == server_id:
        raise _conflict(server_id)


def _conflict(server_id: int | None) -> ConfigError:
    return ConfigError(
        f"The server id {server_id or ''} is another replica's, or the server's own.".replace(
            "  ", " "
        ),
        path="$.source.options.serverId",
        remedy="Choose a serverId that no server and no other stream uses, or leave it out.",
    )


# What the server answers instead of events

LOST: Mapping[str, str] = {
    "binlog files have been purged": "the server has purged transactions after the position",
    "purged required": "the server has purged transactions after the position",
    "could not find first log": "the server has purged the file of the position, or was reset",
    "could not open log file": "the server has purged the file of the position, or was reset",
    "log file size": "the file is shorter than the position: the server was reset or restored",
    "bogus data": "no event begins at the position: the log is another one",
    "impossible position": "the file is shorter than the position: the log is another one",
    "not in the master": "the server lacks the transaction of the position: it is another one",
    "which is not in": "the server lacks the transaction of the position: it is another one",
    "has more gtids": "the server lacks transactions of the position: it is behind, or another one",
    "start replication from gtid": "the server lacks the transaction of the position",
    "wrong offset or i/o error": "no event begins at the position: the log is another one",
}
"""What the texts of error 1236 mean; they hold no values of rows."""


def refusal(packet: bytes, what: str) -> StreamsError:
    """The error that an ERR or EOF packet in the stream means."""
    if packet[:1] != b"\xff":
        return ConnectionFailed(
            f"{what}: the server ended the stream.",
            remedy="The stream goes on from its last position.",
        )
    number = struct.unpack_from("<H", packet, 1)[0]
    text = packet[9:].decode(errors="replace").lower()
    if number != 1236:
        return translate(pymysql.err.OperationalError(number, ""), what)
    if "same server_uuid/server_id" in text or "same server_id" in text:
        return _conflict(None)
    for words, meaning in LOST.items():
        if words in text:
            return LogLost(
                f"{what}: {meaning}.",
                remedy="Load the tables again (start with fresh=True).",
                errno=number,
            )
    if "checksum" in text or "corrupt" in text or "truncated" in text:
        return LogLost(
            f"{what}: the server cannot read its own log (damaged file).",
            remedy="Load the tables again (start with fresh=True).",
            errno=number,
        )
    return ConnectionFailed(
        f"{what}: the server cannot send it (error 1236).",
        remedy="Look into the server's error log; the stream goes on from its last position.",
        errno=number,
    )
