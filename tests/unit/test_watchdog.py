"""Who is cut by the watchdog, and who is waited for."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from streams_engine.adapters.sql.watchdog import NoAnswer, Watch, watch_of
from tests.support.polling import holds_for

HEARTBEAT = 0.4
LONG = 3.0


@dataclass(eq=False)
class FakeServer:
    """A server that answers over the second connection as it is told."""

    says: Callable[[], Collection[Any] | None]
    host: str = "somewhere"
    port: int = 1
    heartbeat: float = HEARTBEAT
    asked: int = 0

    def working_sessions(self, seconds: float) -> Collection[Any] | None:
        self.asked += 1
        return self.says()


@dataclass(eq=False)
class FakeConnection:
    """One end of a socket that the test holds the other of."""

    server: FakeServer
    session: Any = 7
    watch: Watch = field(init=False)

    def __post_init__(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.near = socket.create_connection(listener.getsockname())
            self.far, _ = listener.accept()
        near = self.near
        self.watch = Watch(
            self.server, self.session, near.fileno, lambda: near.shutdown(socket.SHUT_RDWR)
        )

    def receive(self, seconds: float = LONG) -> bytes | None:
        """What comes; nothing where it was cut, None where it still waits."""
        self.near.settimeout(seconds)
        with watch_of(self):
            try:
                return self.near.recv(10)
            except TimeoutError:
                return None

    def close(self) -> None:
        self.near.close()
        self.far.close()


Connect = Callable[..., FakeConnection]


@pytest.fixture
def connect() -> Iterator[Connect]:
    made = []

    def one(says: Callable[[], Collection[Any] | None], **more: Any) -> FakeConnection:
        made.append(FakeConnection(FakeServer(says), **more))
        return made[-1]

    yield one
    for connection in made:
        connection.close()


def unreachable() -> Collection[Any]:
    raise NoAnswer


def full() -> Collection[Any]:
    raise RuntimeError("too many connections")


def test_a_session_at_work_is_waited_for(connect: Connect) -> None:
    connection = connect(lambda: {7, 8})
    assert connection.receive(4 * HEARTBEAT) is None
    assert connection.server.asked >= 2


@pytest.mark.parametrize("says", [unreachable, lambda: {8}, lambda: ()])
def test_a_server_that_cannot_be_asked_or_knows_nothing_of_it_is_left(
    connect: Connect, says: Callable[[], Collection[Any]]
) -> None:
    begun = time.monotonic()
    connection = connect(says)
    assert connection.receive() == b""
    assert connection.watch.dead
    assert time.monotonic() - begun >= HEARTBEAT


@pytest.mark.parametrize("says", [full, lambda: None])
def test_an_answer_that_says_nothing_of_the_session_cuts_nobody(
    connect: Connect, says: Callable[[], Collection[Any] | None]
) -> None:
    assert connect(says).receive(4 * HEARTBEAT) is None


def test_a_session_whose_name_is_not_known_is_judged_with_the_server(connect: Connect) -> None:
    assert connect(lambda: (), session=None).receive(4 * HEARTBEAT) is None
    assert connect(unreachable, session=None).receive() == b""


def test_who_waits_for_nothing_is_not_asked_about(connect: Connect) -> None:
    connection = connect(unreachable)
    holds_for(lambda: not connection.server.asked and not connection.watch.dead, 3 * HEARTBEAT)


def test_bytes_that_come_are_a_sign_of_life(connect: Connect) -> None:
    connection = connect(unreachable)
    ended = threading.Event()

    def trickle() -> None:
        while not ended.wait(HEARTBEAT / 8):
            connection.far.sendall(b".")

    trickling = threading.Thread(target=trickle, daemon=True)
    trickling.start()
    with connection.watch:  # as one long read of a large answer
        ended.wait(4 * HEARTBEAT)
    ended.set()
    trickling.join()
    assert not connection.watch.dead


def test_idle_connections_of_a_dead_server_are_cut_with_the_one_that_waits(
    connect: Connect,
) -> None:
    waits = connect(unreachable)
    idle = FakeConnection(waits.server, session=9)
    assert waits.receive() == b""
    assert idle.receive() == b""
    assert idle.watch.dead
    idle.close()


def test_another_connection_that_is_heard_of_proves_the_server_alive(connect: Connect) -> None:
    waits = connect(unreachable)
    other = FakeConnection(waits.server, session=9)
    ended = threading.Event()

    def talk() -> None:
        while not ended.wait(HEARTBEAT / 50):
            other.far.sendall(b".")

    def slowly() -> Collection[Any]:
        ended.wait(HEARTBEAT / 4)
        raise NoAnswer

    waits.server.says = slowly
    talking = threading.Thread(target=talk, daemon=True)
    talking.start()
    assert waits.receive(3 * HEARTBEAT) is None
    ended.set()
    talking.join()
    other.close()
