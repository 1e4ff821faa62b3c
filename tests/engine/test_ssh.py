"""A database behind an SSH server: a tunnel for looks, loads and following."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any, ClassVar

import asyncssh
import pytest

from streams_engine import Engine, State, Stream
from streams_engine.errors import AuthenticationFailed, ConfigError, ConnectionFailed
from streams_engine.testing.servers import Server
from tests.support.databases import End
from tests.support.engine_documents import document
from tests.support.outages import reached

PASSWORD = "through-the-bastion"
KEY = asyncssh.generate_private_key("ssh-ed25519")
"""Of the user; the server's own is made with it."""
HOST_KEY = asyncssh.generate_private_key("ssh-ed25519")


class Gate(asyncssh.SSHServer):
    """Lets the user `me` in, and forwards where it is asked to."""

    connections: ClassVar[list[Any]] = []

    def connection_made(self, conn: Any) -> None:
        self.connections.append(conn)

    def password_auth_supported(self) -> bool:
        return True

    def validate_password(self, username: str, password: str) -> bool:
        return (username, password) == ("me", PASSWORD)

    def public_key_auth_supported(self) -> bool:
        return True

    def validate_public_key(self, username: str, key: Any) -> bool:
        return bool(username == "me" and key == KEY.convert_to_public())

    def connection_requested(self, *_: Any) -> bool:
        return True


class Bastion:
    """A real SSH server on a free port, on a thread of its own."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever)
        self.thread.start()
        self.acceptor = self.do(self.listen())
        self.port = self.acceptor.get_port()
        key = HOST_KEY.export_public_key("openssh").decode().strip()
        self.known_hosts = f"[127.0.0.1]:{self.port} {key}"

    async def listen(self) -> Any:
        return await asyncssh.create_server(Gate, "127.0.0.1", 0, server_host_keys=[HOST_KEY])

    def do(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(30)

    def cut(self) -> None:
        """End every session that is open."""

        async def cut() -> None:
            for connection in Gate.connections:
                connection.abort()
            Gate.connections.clear()

        self.do(cut())

    def close(self) -> None:
        async def close() -> None:
            self.acceptor.close()
            await self.acceptor.wait_closed()
            tasks = asyncio.all_tasks() - {asyncio.current_task()}
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        self.cut()
        self.do(close())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()

    def way(self, **more: Any) -> dict[str, Any]:
        """The ``ssh`` section of a document."""
        return {
            "host": "127.0.0.1", "port": self.port, "username": "me", "password": PASSWORD,
            "knownHosts": self.known_hosts, **more,
        }  # fmt: skip


@pytest.fixture(scope="module")
def bastion() -> Iterator[Bastion]:
    opened = Bastion()
    yield opened
    opened.close()


@pytest.fixture
def ends(pg18: Server, mysql9: Server, database: Any) -> tuple[End, End]:
    source, target = End(pg18, database(pg18)), End(mysql9, database(mysql9))
    source.run("CREATE TABLE t (id int PRIMARY KEY, a text)",
               "INSERT INTO t SELECT n, 'text ' || n FROM generate_series(1, 5000) n")  # fmt: skip
    return source, target


def test_a_key_or_a_password_opens_the_way(bastion: Bastion, ends: tuple[End, End]) -> None:
    key = KEY.export_private_key("openssh", passphrase="open sesame").decode()
    with Engine() as engine:
        for way in (
            bastion.way(),
            bastion.way(password=None, privateKey=key, passphrase="open sesame"),
        ):
            assert engine.connections.ping(document(ends[0], ssh=way)) == {"ping": "ok"}
        made = engine.connections.create(document(ends[0], ssh=bastion.way()))
        assert PASSWORD not in str(made)
        assert engine.connections.tables(made["id"]) == ["t"]
        assert engine.count(made["id"], "t") == 5000


def test_what_closes_the_way_is_told(bastion: Bastion, ends: tuple[End, End]) -> None:
    other = asyncssh.generate_private_key("ssh-ed25519").export_public_key("openssh").decode()
    with Engine() as engine:
        for way, code in (
            (bastion.way(password="wrong"), AuthenticationFailed.code),
            (bastion.way(port=1), ConnectionFailed.code),
            (bastion.way(knownHosts=f"[127.0.0.1]:{bastion.port} {other}"), ConnectionFailed.code),
            (bastion.way(password=None, privateKey="no key"), ConfigError.code),
        ):
            seen = engine.connections.ping(document(ends[0], ssh=way))
            assert (seen["ping"], seen["code"]) == ("failed", code)
            assert "wrong" not in seen["error"]
        with pytest.raises(ConfigError, match=r"\$\.ssh: .*expected 'password' or 'privateKey'"):
            engine.connections.create(document(ends[0], ssh=bastion.way(password=None)))
        strict = document(ends[0], ssh=bastion.way(), ssl={"mode": "verify-full"})
        assert "verify-ca" in engine.connections.ping(strict)["remedy"]


def test_a_load_goes_through_two_tunnels(bastion: Bastion, ends: tuple[End, End]) -> None:
    source, target = (document(end, ssh=bastion.way()) for end in ends)
    with Stream(source, target) as stream:
        assert stream.run().rows == 5000
        assert stream.verify().ok
    assert ends[1].rows("SELECT count(*), max(a) FROM t") == [(5000, "text 999")]


def test_following_goes_on_after_the_session_was_cut(
    bastion: Bastion, ends: tuple[End, End]
) -> None:
    source, target = (document(end, ssh=bastion.way()) for end in ends)
    with Stream(source, target, mode="cdc") as stream:
        stream.start()
        reached(stream, lambda stats: stats.phase == "following")
        bastion.cut()
        ends[0].run("INSERT INTO t VALUES (0, 'after the cut')")
        assert stream.catch_up(120), stream.error
        assert stream.state is State.RUNNING
        changes = stream.stats().changes
        assert changes is not None and changes.reconnects
        stream.stop()
        stream.wait()
        stream.release()
    assert ends[1].rows("SELECT a FROM t WHERE id = 0") == [("after the cut",)]
