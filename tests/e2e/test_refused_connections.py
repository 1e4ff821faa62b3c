"""A connection that is refused: the server's own sentence, the right class, and no secret."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from streams_engine import Engine
from streams_engine.adapters.sql import watchdog
from streams_engine.testing.servers import Server
from tests.support.databases import account, run

PASSWORD = "s3cret-of-the-account"


def ping(document: Any) -> dict[str, Any]:
    """What an Engine says of a connection; no secret may be in it."""
    with Engine() as engine:
        seen = engine.connections.ping(document)
    assert PASSWORD not in str(seen)
    return dict(seen)


@pytest.fixture(params=["mysql9", "mariadb", "pg15", "pg18"])
def server(request: pytest.FixtureRequest) -> Server:
    """Each server in turn."""
    found: Server = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def silent() -> Iterator[int]:
    """A port where somebody listens and never says a word."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(8)
        yield listening.getsockname()[1]


def url(server: Server, who: str, database: str = "", port: int = 0) -> str:
    return f"{server.kind}://{who}@{server.host}:{port or server.port}/{database}"


def is_mysql(server: Server) -> bool:
    return server.kind != "postgresql"


def test_an_account_that_does_not_exist(server: Server) -> None:
    seen = ping(url(server, f"nobody_there:{PASSWORD}"))
    assert seen["code"] == "AUTHENTICATION_FAILED"
    assert "nobody_there" in seen["error"]


def test_a_wrong_password(server: Server) -> None:
    seen = ping(url(server, f"{server.user}:{PASSWORD}"))
    assert seen["code"] == "AUTHENTICATION_FAILED"
    expected = "Access denied for user" if is_mysql(server) else "password authentication failed"
    assert expected in seen["error"]


def test_a_database_that_does_not_exist(server: Server) -> None:
    seen = ping(url(server, f"{server.user}:{server.password}", "no_such_database"))
    assert seen["code"] == "NOT_FOUND"
    assert "no_such_database" in seen["error"].partition(": ")[2]


def test_a_role_that_may_not_log_in(pg_server: Server) -> None:
    run(pg_server, None, f"CREATE ROLE idle PASSWORD '{PASSWORD}'")
    try:
        seen = ping(url(pg_server, f"idle:{PASSWORD}"))
    finally:
        run(pg_server, None, "DROP ROLE idle")
    assert seen["code"] == "AUTHENTICATION_FAILED"
    assert 'role "idle" is not permitted to log in' in seen["error"]


def test_an_account_that_is_locked(mysql_server: Server) -> None:
    with account(mysql_server, "shut", PASSWORD, "ALTER USER {who} ACCOUNT LOCK") as place:
        seen = ping(place)
    assert seen["code"] == "AUTHENTICATION_FAILED"
    assert "locked" in seen["error"]


def test_too_many_connections(server: Server) -> None:
    limit = (
        "ALTER USER {who} WITH MAX_USER_CONNECTIONS 1"
        if is_mysql(server)
        else "ALTER ROLE {who} CONNECTION LIMIT 1"
    )
    with account(server, "busy", PASSWORD, limit) as place, closing(connected(server, "busy")):
        seen = ping(place + ("" if is_mysql(server) else "postgres"))
    assert seen["code"] == "CONNECTION_FAILED"
    expected = "max_user_connections" if is_mysql(server) else "too many connections for role"
    assert expected in seen["error"]


def connected(server: Server, name: str) -> Any:
    if is_mysql(server):
        import pymysql

        return pymysql.connect(
            host=server.host, port=server.port, user=name, password=PASSWORD, ssl_disabled=True
        )
    import psycopg

    return psycopg.connect(
        host=server.host, port=server.port, user=name, password=PASSWORD, dbname="postgres"
    )


def test_tls_that_the_server_does_not_have(mariadb: Server, pg15: Server) -> None:
    for server in (mariadb, pg15):
        seen = ping(url(server, f"{server.user}:{server.password}") + "?sslmode=require")
        assert seen["code"] == "CONNECTION_FAILED"
        assert "TLS" in seen["error"], seen
        assert "ssl.mode" in seen["remedy"]


def test_tls_that_the_server_demands(mysql_server: Server) -> None:
    with account(mysql_server, "safe", PASSWORD, "ALTER USER {who} REQUIRE SSL") as place:
        seen = ping(place + "?sslmode=disable")
    assert seen["code"] == "AUTHENTICATION_FAILED" and "Access denied" in seen["error"]


def test_a_certificate_of_an_unknown_authority(mysql9: Server) -> None:
    seen = ping(url(mysql9, f"{mysql9.user}:{mysql9.password}") + "?sslmode=verify-ca")
    assert seen["code"] == "CONNECTION_FAILED"
    assert "TLS handshake failed" in seen["error"] and "certificate" in seen["error"]


@pytest.mark.parametrize("kind", ["mysql", "mariadb", "postgresql"])
def test_nobody_listens(kind: str) -> None:
    seen = ping(f"{kind}://u:{PASSWORD}@127.0.0.1:1/d")
    assert seen["code"] == "CONNECTION_FAILED" and "connection was refused" in seen["error"]


@pytest.mark.parametrize("kind", ["mysql", "postgresql"])
def test_a_host_that_is_not_known(kind: str) -> None:
    seen = ping(f"{kind}://u:{PASSWORD}@no-such-host.invalid/d")
    assert seen["code"] == "CONNECTION_FAILED" and "host name is unknown" in seen["error"]


@pytest.mark.parametrize("kind", ["mysql", "postgresql"])
def test_a_time_out_is_said_as_such(
    kind: str, silent: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watchdog, "LOGIN_SECONDS", 2)
    seen = ping(f"{kind}://u:{PASSWORD}@127.0.0.1:{silent}/d")
    assert seen["code"] == "CONNECTION_FAILED" and "no answer within" in seen["error"]


def test_an_s3_that_refuses_or_is_not_there() -> None:
    where = {"region": "us-east-1", "endpoint": "http://127.0.0.1:1", "scope": {"bucket": "b"},
             "credentials": {"accessKey": "k", "secretKey": PASSWORD}}  # fmt: skip
    seen = ping({"name": "x", "type": "files", "spec": {"s3": where}})
    assert seen["code"] == "CONNECTION_FAILED" and "connection was refused" in seen["error"]
    assert "http://127.0.0.1:1" in seen["remedy"]


def test_an_ssh_server_that_is_not_there() -> None:
    ssh = {"host": "127.0.0.1", "port": 1, "username": "u", "password": PASSWORD}
    where = {"name": "x", "type": "mysql", "host": "h", "username": "u", "ssh": ssh}
    seen = ping(where)
    assert seen["code"] == "CONNECTION_FAILED" and "connection was refused" in seen["error"]


def test_a_port_of_another_kind_of_server(mysql_server: Server) -> None:
    seen = ping(f"postgresql://me:{PASSWORD}@{mysql_server.host}:{mysql_server.port}/shop")
    assert seen["code"] == "CONNECTION_FAILED"
    assert "what answered is no PostgreSQL server" in seen["error"]
