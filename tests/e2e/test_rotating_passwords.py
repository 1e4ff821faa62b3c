"""A password that a callable gives is asked for at each connection: tokens may rotate."""

from __future__ import annotations

import logging
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from streams_engine import Engine, Stream
from streams_engine.config import parse_connection
from streams_engine.config.secret import Secret
from streams_engine.errors import ConfigError, ConnectionFailed, StreamsError
from tests.support.cdc import OWN_SLOTS, caught_up, is_postgres
from tests.support.databases import End
from tests.support.outages import fill, reached


class Account:
    """An account of its own whose password changes; called, it gives the present one."""

    def __init__(self, end: End) -> None:
        self.end, self.name = end, f"rotating_{secrets.token_hex(4)}"
        self.given: list[str] = []
        self._lock = threading.Lock()
        self._password = secrets.token_urlsafe(12)
        if is_postgres(end):
            end.run(f"CREATE ROLE {self.name} SUPERUSER LOGIN PASSWORD '{self._password}'")
        else:
            end.run(
                f"CREATE USER {self.name} IDENTIFIED BY '{self._password}'",
                f"GRANT ALL ON *.* TO {self.name}",
            )

    def __call__(self) -> str:
        with self._lock:
            self.given.append(self._password)
            return self._password

    def rotate(self) -> None:
        """Change the password on the server, and end all sessions that began with the old one."""
        with self._lock:
            self._password = secrets.token_urlsafe(12)
            if is_postgres(self.end):
                self.end.run(f"ALTER ROLE {self.name} PASSWORD '{self._password}'")
            else:
                self.end.run(f"ALTER USER {self.name} IDENTIFIED BY '{self._password}'")
        self.end_sessions()

    def end_sessions(self) -> None:
        if is_postgres(self.end):
            self.end.run(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                f" WHERE usename = '{self.name}'"
            )
            return
        for (session,) in self.end.rows(
            f"SELECT id FROM information_schema.processlist WHERE user = '{self.name}'"
        ):
            try:
                self.end.run(f"KILL {session}")
            except Exception as error:
                assert "Unknown thread" in str(error)

    def drop(self) -> None:
        self.end_sessions()
        if is_postgres(self.end):
            self.end.run(f"DROP OWNED BY {self.name} CASCADE", f"DROP ROLE {self.name}")
        else:
            self.end.run(f"DROP USER {self.name}")

    def document(self, password: Any = None) -> dict[str, Any]:
        server = self.end.server
        return {"name": self.name, "type": server.kind, "host": server.host, "port": server.port,
                "username": self.name, "database": self.end.database,
                "password": self if password is None else password}  # fmt: skip


@pytest.fixture
def account(
    request: pytest.FixtureRequest, database: Callable[..., str]
) -> Iterator[Callable[[str], Account]]:
    made: list[Account] = []

    def make(name: str) -> Account:
        server = request.getfixturevalue(name)
        made.append(Account(End(server, database(server))))
        return made[-1]

    yield make
    for one in made:
        one.drop()


@contextmanager
def following(source: Account, target: Account, **options: Any) -> Iterator[Stream]:
    name = f"rotating {source.end.database}"
    with Stream(source.document(), target.document(), mode="cdc", name=name, **options) as stream:
        stream.start()
        reached(stream, lambda stats: stats.phase == "following")
        caught_up(stream)
        yield stream
        stream.stop()
        stream.wait(timeout=60)
        stream.release()
    if is_postgres(source.end):
        assert not source.end.rows(f"SELECT 1 {OWN_SLOTS}")


@pytest.mark.parametrize(
    ("source_name", "target_name"),
    [("mysql9", "pg18"), ("pg18", "mysql9"), ("mariadb", "pg18"), ("pg15", "mariadb")],
)
def test_a_stream_goes_on_after_both_passwords_were_altered(
    source_name: str,
    target_name: str,
    account: Callable[[str], Account],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    source, target = account(source_name), account(target_name)
    source.end.run("CREATE TABLE t (id int PRIMARY KEY, v varchar(200))")
    fill(source.end, 0, 10)
    with following(source, target) as stream:
        for first in (10, 20):
            before = len(source.given), len(target.given)
            source.rotate()
            target.rotate()
            fill(source.end, first, 10)
            caught_up(stream)
            asked = len(source.given), len(target.given)
            assert all(now > old for now, old in zip(asked, before, strict=True))
            assert len({*source.given}) == len({*target.given}) == first // 10 + 1
        read = "SELECT id, v FROM t ORDER BY id"
        assert source.end.rows(read) == target.end.rows(read)
        told = f"{stream.stats().to_dict()} {stream!r} {stream.plan().to_dict()} {caplog.text}"
        assert not any(word in told for word in {*source.given, *target.given})


def test_a_snapshot_reads_on_with_a_new_token_at_each_connection(
    account: Callable[[str], Account],
) -> None:
    """Chunks are read through ADBC's connections, each of which is a login."""
    source = account("pg18")
    source.end.run(
        "CREATE TABLE t (id int PRIMARY KEY, v text)",
        "INSERT INTO t SELECT i, repeat('x', 200) FROM generate_series(1, 40000) i",
    )
    with Stream(source.document(), "null://", chunk_rows=5000, parallelism=2) as stream:
        stream.on_record(lambda _: rotate_quietly(source))
        assert stream.run().rows == 40_000
    assert len({*source.given}) > 1


def rotate_quietly(account: Account) -> None:
    """Change the password; sessions that are there go on."""
    account.end_sessions = lambda: None  # type: ignore[method-assign]
    account.rotate()
    del account.end_sessions  # type: ignore[method-assign]


@pytest.mark.parametrize("name", ["mysql9", "pg18"])
def test_a_resolver_is_asked_at_each_connection(
    name: str, account: Callable[[str], Account]
) -> None:
    one = account(name)
    with Engine(resolvers={"tokens": lambda _: one()}) as engine:
        stored = engine.connections.create(one.document("tokens:shop"))
        assert engine.connections.ping(stored["id"]) == {"ping": "ok"}
        one.rotate()
        assert engine.connections.ping(stored["id"]) == {"ping": "ok"}
        assert engine.execute(stored["id"], "SELECT 1")["rows"] == [[1]]
    assert len({*one.given}) == 2


def test_an_engine_stores_no_callable(account: Callable[[str], Account]) -> None:
    one = account("pg18")
    with Engine() as engine:
        assert engine.connections.ping(one.document()) == {"ping": "ok"}
        with pytest.raises(ConfigError, match="stores texts") as caught:
            engine.connections.create(one.document())
        assert caught.value.path == "$.password" and "resolvers=" in str(caught.value.remedy)


@pytest.mark.parametrize("name", ["mysql9", "pg18"])
def test_what_a_callable_does_wrong_is_told(name: str, account: Callable[[str], Account]) -> None:
    one = account(name)

    def fail() -> str:
        raise OSError("no route to the vault")

    assert isinstance(failure(one.document(fail)), ConnectionFailed)
    assert isinstance(failure(one.document(fail)).__cause__, OSError)
    assert "OSError" in str(failure(one.document(fail)))
    assert "returned a int" in str(failure(one.document(lambda: 7)))
    wrong = failure(one.document(lambda: "quite a wrong one"))
    assert wrong.code == "AUTHENTICATION_FAILED" and "quite" not in str(wrong)


def failure(document: dict[str, Any]) -> StreamsError:
    with pytest.raises(StreamsError) as caught, Stream(document, "null://") as stream:
        stream.plan()
    return caught.value


def test_a_connection_object_holds_a_callable_and_does_not_show_it() -> None:
    def token() -> str:
        return "a long secret"

    document = {"type": "mysql", "host": "h", "username": "u", "password": token}
    connection = parse_connection(document)
    assert parse_connection(connection) is connection
    assert "token" not in repr(connection) and "secret" not in repr(connection)
    assert Secret(token) == Secret(token) != Secret(lambda: "another")
    assert Secret(token).reveal() == "a long secret"
    with Stream(connection, "null://") as stream:  # type: ignore[arg-type]
        assert "token" not in repr(stream)


@pytest.mark.parametrize("password", [7, b"bytes", ("list",)])
def test_another_thing_as_a_password_is_refused(password: Any) -> None:
    document = {"type": "mysql", "host": "h", "username": "u", "password": password}
    with pytest.raises(ConfigError, match=r"\$\.password: input should be a valid string"):
        parse_connection(document)
