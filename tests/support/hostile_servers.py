"""Servers that want more of a client than it owes them: its password, or its files."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator

__all__ = ["CLEAR_TEXT", "FILE_REQUEST", "OK", "Heard", "mysql", "postgres"]

SECONDS = 10
CLIENT_SSL = 1 << 11
CAPABILITIES = 0xFFFFF7FF & ~CLIENT_SSL & ~(1 << 5)
"""Everything but TLS and compression."""
OK = b"\x00\x00\x00\x02\x00\x00\x00"
CLEAR_TEXT = b"\xfemysql_clear_password\x00"
SSL_REQUEST, GSS_REQUEST = 80877103, 80877104


def FILE_REQUEST(path: str) -> bytes:
    """The packet by which a server asks for a file."""
    return b"\xfb" + path.encode()


class Heard:
    """All that clients said, and the port where they say it."""

    def __init__(self) -> None:
        self.port = 0
        self.said = bytearray()
        self.ended = threading.Event()
        """The first client hung up."""


@contextlib.contextmanager
def _listening(serve: Callable[[socket.socket, Heard], None]) -> Iterator[Heard]:
    heard = Heard()
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        door.listen(8)
        heard.port = door.getsockname()[1]

        def talk(client: socket.socket) -> None:
            with client, contextlib.suppress(OSError, EOFError, struct.error):
                client.settimeout(SECONDS)
                serve(client, heard)
                while data := client.recv(65536):
                    heard.said += data
            heard.ended.set()

        def work() -> None:
            with contextlib.suppress(OSError):
                while True:
                    threading.Thread(target=talk, args=door.accept()[:1], daemon=True).start()

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        try:
            yield heard
        finally:
            door.shutdown(socket.SHUT_RDWR)
            thread.join(SECONDS)


def _exactly(client: socket.socket, size: int, heard: Heard) -> bytes:
    found = b""
    while len(found) < size:
        data = client.recv(size - len(found))
        if not data:
            raise EOFError
        found += data
    heard.said += found
    return found


def _packet(client: socket.socket, heard: Heard) -> tuple[int, bytes]:
    head = _exactly(client, 4, heard)
    return head[3], _exactly(client, int.from_bytes(head[:3], "little"), heard)


def _greeting() -> bytes:
    low, high = CAPABILITIES & 0xFFFF, CAPABILITIES >> 16
    return (
        b"\x0a9.7.0\x00" + struct.pack("<I", 7) + b"abcdefgh\x00" + struct.pack("<H", low)
        + b"\x2d" + struct.pack("<HHB", 2, high, 21) + bytes(10) + b"ijklmnopqrst\x00"
        + b"mysql_native_password\x00"
    )  # fmt: skip


@contextlib.contextmanager
def mysql(*answers: bytes, then: bytes = OK) -> Iterator[Heard]:
    """A MySQL server without TLS, whose answers to what it hears are given; then always one."""

    def serve(client: socket.socket, heard: Heard) -> None:
        def send(number: int, payload: bytes) -> None:
            client.sendall(len(payload).to_bytes(3, "little") + bytes([number]) + payload)

        send(0, _greeting())
        left = iter(answers)
        while True:
            number, _ = _packet(client, heard)
            send(number + 1, next(left, then))

    with _listening(serve) as heard:
        yield heard


@contextlib.contextmanager
def postgres() -> Iterator[Heard]:
    """A PostgreSQL server without TLS that asks for the password in clear text."""

    def serve(client: socket.socket, heard: Heard) -> None:
        while True:
            (size,) = struct.unpack(">I", _exactly(client, 4, heard))
            body = _exactly(client, size - 4, heard)
            if struct.unpack(">I", body[:4])[0] not in (SSL_REQUEST, GSS_REQUEST):
                break
            client.sendall(b"N")
        client.sendall(b"R" + struct.pack(">II", 8, 3))
        _exactly(client, 1, heard)
        (size,) = struct.unpack(">I", _exactly(client, 4, heard))
        _exactly(client, size - 4, heard)
        client.shutdown(socket.SHUT_RDWR)

    with _listening(serve) as heard:
        yield heard
