"""The binary log as a server sends it: a connection that dumps, read in large pieces.

PyMySQL connects and authenticates; then one command, and packets come without end.
https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_replication.html
"""

from __future__ import annotations

import contextlib
import random
import select
import socket
import ssl
import struct
import time
import uuid
from collections.abc import Mapping
from typing import Any

import pymysql

from streams_engine.adapters.mysql.binlog.gtid import MysqlGtids
from streams_engine.adapters.mysql.binlog.packet_buffer import PacketBuffer
from streams_engine.adapters.mysql.connection import (
    MysqlConnect,
    is_mariadb,
    translate,
    translating,
)
from streams_engine.errors import ConfigError, ConnectionFailed, LogLost, StreamsError
from streams_engine.model import Position

__all__ = ["BinlogDump", "refusal"]

COM_BINLOG_DUMP = 0x12
COM_BINLOG_DUMP_GTID = 0x1E
USES_GTIDS = 0x04

HEARTBEAT_SECONDS = 5.0
"""How often a server that has nothing to send says so at least."""

FAREWELL_SECONDS = 2
"""How long the server may take to end its side of a connection that is closed."""

NO_LINGER = struct.pack("ii", 1, 0)
"""`close` sends a reset (socket(7), SO_LINGER)."""

SENDER = """
SELECT id FROM information_schema.processlist WHERE id = %s AND command LIKE 'Binlog Dump%%'
"""

HELD_SECONDS = 15
"""How long the server may take to notice that a process that had our server id was killed."""


class BinlogDump:
    """A connection on which the server sends its log, and the bytes that came."""

    def __init__(
        self, connect: MysqlConnect, after: Position, server_id: int | None, *, by_gtid: bool
    ) -> None:
        self.what = f"reading the binary log of {connect.host}:{connect.port}"
        self.packets = PacketBuffer()
        self._silent = 0.0
        self.woken = False
        """Nobody waits in `receive`, until the reader has taken note."""
        self._connect = connect
        self._patience = connect.heartbeat
        self._sending = False
        """The server sends, and has a thread for it."""
        self._connection = connect.open(database="")
        self._wake, self._waker = socket.socketpair()
        self._waker.setblocking(False)
        try:
            with translating(self.what):
                self.mariadb = is_mariadb(self._connection)
                self._prepare(server_id)
                self._sending = True
                self._start(after, self._server_id, by_gtid)
        except BaseException:
            self.close()
            raise
        self._sock = self._connection._sock
        self._sock.settimeout(0.0)
        self._ready = select.poll()
        for one in (self._sock, self._wake):
            self._ready.register(one, select.POLLIN)

    def _prepare(self, server_id: int | None) -> None:
        # Random ones are large, so that they meet no server's own.
        self._server_id = server_id or random.randrange(1 << 30, (1 << 32) - 1)
        with self._connection.cursor() as cursor:
            if server_id:
                _reserve(cursor, server_id)
            period = int(min(HEARTBEAT_SECONDS, self._patience / 4) * 1_000_000_000)
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
        """Wait for more bytes. Returns how many came: none in time, or before `wake`, is 0.

        Raises `ConnectionFailed` if the server closed, or was silent for too long.
        """
        packets = self.packets
        begun = time.monotonic()
        try:
            if timeout > 0 and not self._awaits(timeout):
                return self._waited(time.monotonic() - begun)
            with memoryview(packets.data) as view:
                free = view[packets.fill : packets.fill + packets.room]
                received: int = self._sock.recv_into(free)
        except (BlockingIOError, TimeoutError, InterruptedError):
            return self._waited(time.monotonic() - begun)
        except OSError as error:
            if getattr(error, "errno", None) == 2 and "did not complete" in str(error):
                return self._waited(time.monotonic() - begun)  # TLS: no whole record is there
            self._sending = self._connect.abort.given_up  # then the server has not noticed
            raise translate(error, self.what) from None
        if not received:
            self._sending = self._connect.abort.given_up
            raise ConnectionFailed(
                f"{self.what}: the server closed the connection.",
                remedy="The stream continues from its last position.",
            )
        self._silent = 0.0
        packets.fill += received
        return received

    def _awaits(self, timeout: float) -> bool:
        """Wait for bytes, and return whether there may be some."""
        if self.woken:
            return False
        if isinstance(self._sock, ssl.SSLSocket) and self._sock.pending():
            return True
        ready = {descriptor for descriptor, _ in self._ready.poll(timeout * 1000)}
        if self._wake.fileno() in ready:
            self._wake.recv(4096)
            self.woken = True
        return self._sock.fileno() in ready

    def wake(self) -> None:
        """Let nobody wait in `receive` from here on. Thread-safe, also once it is closed."""
        with contextlib.suppress(OSError):
            self._waker.send(b".")

    def _waited(self, seconds: float) -> int:
        self._silent += seconds
        if self._silent > self._patience:
            self._sending = False
            raise ConnectionFailed(
                f"{self.what}: the server sent nothing, not even a heartbeat, for "
                f"{self._patience:.0f} seconds.",
                remedy="Check the network. The stream continues from its last position.",
            )
        return 0

    def close(self) -> None:
        """End it; a read that is under way in another thread fails. Idempotent.

        The connection is reset: after an orderly end the server would write a heartbeat into it
        without an error, and notice at the one after that.
        """
        with contextlib.suppress(Exception):
            sock = self._connection._sock
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
            sock.shutdown(socket.SHUT_RD)  # whoever reads is told, the server not yet
        with contextlib.suppress(Exception):
            self._connection._force_close()
        self._wake.close()
        self._waker.close()
        if self._sending:
            self._sending = False
            self._end_sender()

    def _end_sender(self) -> None:
        """Kill the thread that sent: an idle one notices only at its next heartbeat that nobody
        listens. An account may kill its own (https://dev.mysql.com/doc/refman/en/kill.html).
        Where that fails it is gone a heartbeat later. The look before it is for proxies, behind
        which the number may be that of another server's session."""
        with (
            contextlib.suppress(StreamsError, pymysql.MySQLError, OSError),
            contextlib.closing(
                self._connect.open(
                    database="", answer_seconds=FAREWELL_SECONDS, login_seconds=FAREWELL_SECONDS
                )
            ) as connection,
            connection.cursor() as cursor,
        ):
            if cursor.execute(SENDER, (self._connection.thread_id(),)):
                cursor.execute(f"KILL {self._connection.thread_id()}")


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
        f"The server id {server_id or ''} belongs to another replica, or to the server.".replace(
            "  ", " "
        ),
        path="$.source.options.serverId",
        remedy="Choose a serverId that no server and no other stream uses, or leave it out.",
    )


# What the server answers instead of events

LOST: Mapping[str, str] = {
    "binlog files have been purged": "the server has purged transactions after the position",
    "purged required": "the server has purged transactions after the position",
    "could not find first log": (
        "the server has purged the binary log file of the position, or was reset"
    ),
    "could not open log file": (
        "the server has purged the binary log file of the position, or was reset"
    ),
    "log file size": (
        "the binary log file is shorter than the position: the server was reset or restored"
    ),
    "bogus data": "no event begins at the position: this is another binary log",
    "impossible position": (
        "the binary log file is shorter than the position: this is another binary log"
    ),
    "not in the master": "the server lacks the transaction of the position: it is another server",
    "which is not in": "the server lacks the transaction of the position: it is another server",
    "has more gtids": (
        "the server lacks transactions of the position: it lags behind, or is another server"
    ),
    "start replication from gtid": "the server lacks the transaction of the position",
    "wrong offset or i/o error": "no event begins at the position: this is another binary log",
}
"""What the texts of error 1236 mean; they hold no values of rows."""


def refusal(packet: bytes, what: str) -> StreamsError:
    """Return the error for an ERR or EOF packet in the stream."""
    if packet[:1] != b"\xff":
        return ConnectionFailed(
            f"{what}: the server ended the stream.",
            remedy="The stream continues from its last position.",
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
            f"{what}: the server cannot read its own binary log (the file is damaged).",
            remedy="Load the tables again (start with fresh=True).",
            errno=number,
        )
    return ConnectionFailed(
        f"{what}: the server cannot send the binary log (error 1236).",
        remedy="See the server's error log. The stream continues from its last position.",
        errno=number,
    )
