"""A replication stream off a plain socket: messages are cut where they end, however they come."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest

from streams_engine.adapters.postgres.replication import copy_both as module
from streams_engine.adapters.postgres.replication.copy_both import CopyBoth, copy_both
from streams_engine.errors import ProtocolViolation


def frame(letter: str, content: bytes) -> bytes:
    return letter.encode() + struct.pack(">I", len(content) + 4) + content


BEGUN = frame("W", b"\0\0\0")
DATA = [b"w" + bytes(24) + b"B" + bytes(20), b"w" + bytes(24) + b"I" + b"x" * 9000]
CALM, ASKING = (b"k" + bytes(16) + bytes([reply]) for reply in (0, 1))
PAYLOADS = [DATA[0], CALM, DATA[1], ASKING, DATA[0]]
REFUSED = frame("E", b"SERROR\0C55006\0Mslot is active\0\0")


class Server:
    """The other end of a connection that libpq has logged in."""

    def __init__(self, monkeypatch: Any) -> None:
        self.ours, self.own = socket.socketpair()
        pgconn = SimpleNamespace(socket=self.ours.fileno(), ssl_in_use=False)
        self.connection: Any = SimpleNamespace(pgconn=pgconn, watch=None)
        monkeypatch.setattr(module, "watch_of", contextlib.nullcontext)

    def start(self, sent: bytes = BEGUN) -> CopyBoth:
        self.own.sendall(sent)
        return copy_both(self.connection, "START_REPLICATION")

    def close(self) -> None:
        self.own.close()
        self.ours.close()


@pytest.fixture
def server(monkeypatch: Any) -> Iterator[Server]:
    made = Server(monkeypatch)
    yield made
    made.close()


def read(stream: CopyBoth) -> tuple[list[bytes], int]:
    payloads: list[bytes] = []
    asked = 0
    while (burst := stream.receive()) is not None:
        payloads += [burst.buffer[a:b] for a, b in zip(burst.start, burst.end, strict=True)]
        asked += burst.asked
    return payloads, asked


@pytest.mark.parametrize("size", [1, 3, 7, 100, 1 << 20])
def test_messages_are_whole_however_they_come(server: Server, size: int) -> None:
    """Also those that come with the answer to the command, and a notice between them."""
    sent = b"".join(frame("d", payload) for payload in PAYLOADS) + frame("N", b"SNOTICE\0\0")
    stream = server.start(BEGUN + sent[:30])
    payloads, asked = read(stream)
    for at in range(30, len(sent), size):
        server.own.sendall(sent[at : at + size])
        more, count = read(stream)
        payloads, asked = payloads + more, asked + count
    assert payloads == PAYLOADS and asked == 1
    stream.close()


def test_the_error_comes_after_the_messages_before_it(server: Server) -> None:
    """With its state and message; a stream that just ends is a broken connection."""
    stream = server.start()
    server.own.sendall(frame("d", DATA[0]) + REFUSED)
    assert read_one(stream) == DATA[0]
    with pytest.raises(psycopg.errors.ObjectInUse) as caught:
        stream.receive()
    assert caught.value.diag.message_primary == "slot is active"
    stream.close()


def read_one(stream: CopyBoth) -> bytes:
    burst = stream.receive()
    assert burst is not None
    return burst.buffer[burst.start[0] : burst.end[0]]


def test_a_connection_that_ends_is_a_broken_one(server: Server) -> None:
    """What was received before is given first."""
    stream = server.start()
    server.own.sendall(frame("d", DATA[0]) + b"d\0")
    server.own.close()
    assert read_one(stream) == DATA[0]
    with pytest.raises(psycopg.OperationalError):
        stream.receive()
    stream.close()


def test_a_refused_command_can_be_tried_again(server: Server) -> None:
    """The server is ready for another command after the refusal."""
    with pytest.raises(psycopg.errors.ObjectInUse):
        server.start(REFUSED + frame("Z", b"I"))
    server.start().close()


BEYOND = b"d" + struct.pack(">I", 1 << 30)
FOREIGN = [b"d\0\0\0\3", frame("D", b"\0\0"), BEYOND, b"N" + BEYOND[1:], b"d\xff\xff\xff\xff"]


@pytest.mark.parametrize("sent", FOREIGN)
def test_bytes_of_no_server_are_a_violation(server: Server, sent: bytes) -> None:
    """A length that is too short, a message of another phase of the protocol, and lengths that no
    server sends: nothing of those is waited for."""
    stream = server.start()
    server.own.sendall(sent)
    with pytest.raises(ProtocolViolation):
        stream.receive()
    stream.close()


def test_the_longest_message_is_waited_for(server: Server) -> None:
    """A server sends up to 1 GB in one message."""
    stream = server.start()
    server.own.sendall(b"d" + struct.pack(">I", (1 << 30) - 1) + DATA[0])
    assert stream.receive() is None
    stream.close()


def test_what_is_sent_is_copy_data(server: Server) -> None:
    """After the command; CopyDone at the end."""
    stream = server.start()
    stream.send(b"r123")
    stream.close()
    command = frame("Q", b"START_REPLICATION\0")
    assert server.own.recv(1000) == command + frame("d", b"r123") + frame("c", b"")
