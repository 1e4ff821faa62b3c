"""Whole streams through TLS, with certificates as PEM texts and clients that must show one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from streams_engine import Engine, Stream
from streams_engine.testing.servers import Server, running
from tests.support.certificates import certificate, lend
from tests.support.databases import End

PEM, KEY = certificate()
OTHER, OTHER_KEY = certificate()
PASSWORD = "guarded"
RULES = (
    "hostssl all guarded 127.0.0.1/32 scram-sha-256 clientcert=verify-ca\n"
    "host all guarded 127.0.0.1/32 reject\n"
)


@pytest.fixture(scope="module")
def postgres(pg15: Server) -> Iterator[Server]:
    """A PostgreSQL whose account ``guarded`` gets in with TLS and a certificate alone."""
    with running("pg15") as server:
        pem, key = lend(server, PEM, KEY)
        rules = server.directory / "data" / "pg_hba.conf"
        rules.write_text(RULES + rules.read_text())
        with closing(server.connect()) as connection:
            connection.execute(f"CREATE ROLE guarded SUPERUSER LOGIN PASSWORD '{PASSWORD}'")
            for name, value in {
                "ssl_cert_file": pem, "ssl_key_file": key, "ssl_ca_file": pem, "ssl": "on",
            }.items():  # fmt: skip
                connection.execute(f"ALTER SYSTEM SET {name} = '{value}'")
            connection.execute("SELECT pg_reload_conf()")
        yield server


@pytest.fixture(scope="module")
def mysql(mysql9: Server) -> Iterator[Server]:
    """A MySQL whose account ``guarded`` gets in with TLS and a certificate alone."""
    with running("mysql9") as server:
        pem, key = lend(server, PEM, KEY)
        with closing(server.connect()) as connection, connection.cursor() as cursor:
            for name, value in {"ssl_ca": pem, "ssl_cert": pem, "ssl_key": key}.items():
                cursor.execute(f"SET GLOBAL {name} = %s", (value,))
            cursor.execute("ALTER INSTANCE RELOAD TLS")
            cursor.execute(f"CREATE USER guarded IDENTIFIED BY '{PASSWORD}' REQUIRE X509")
            cursor.execute("GRANT ALL ON *.* TO guarded WITH GRANT OPTION")
        yield server


def document(end: End, **ssl: str | None) -> dict[str, Any]:
    return {
        "name": end.server.kind, "type": end.server.kind, "host": "localhost",
        "port": end.server.port, "username": "guarded", "password": PASSWORD,
        "database": end.database,
        "ssl": {"mode": "verify-full", "ca": PEM, "client_cert": PEM, "client_key": KEY, **ssl},
    }  # fmt: skip


@pytest.fixture(params=["postgresql", "mysql"])
def ends(request: pytest.FixtureRequest, postgres: Server, mysql: Server) -> tuple[End, End]:
    """A source of each kind, and a target of the other."""
    both = [End(server, server.create_database()) for server in (postgres, mysql)]
    source, target = both if request.param == "postgresql" else both[::-1]
    source.run("CREATE TABLE t (id int PRIMARY KEY, a varchar(20), b decimal(12, 3))",
               "INSERT INTO t VALUES (1, 'one', 1.125), (2, NULL, NULL)")  # fmt: skip
    return source, target


def test_load_and_following_go_through_tls(ends: tuple[End, End]) -> None:
    source, target = ends
    with Stream(document(source), document(target), mode="cdc") as stream:
        stream.start()
        assert stream.catch_up(120), stream.error
        source.run("UPDATE t SET a = 'two' WHERE id = 2", "INSERT INTO t VALUES (3, 'three', 3)")
        assert stream.catch_up(120), stream.error
        assert stream.verify().ok
        stream.stop()
        stream.wait()
        stream.release()
    assert target.rows("SELECT id, a FROM t ORDER BY id") == [(1, "one"), (2, "two"), (3, "three")]


def test_who_cannot_prove_it_does_not_get_in(ends: tuple[End, End]) -> None:
    source, _ = ends
    with Engine() as engine:
        ping = engine.connections.ping
        assert ping(document(source)) == {"ping": "ok"}
        assert ping(document(source, mode="verify-ca")) == {"ping": "ok"}
        for refused in (
            document(source, ca=OTHER),
            document(source, mode="require", client_cert=None, client_key=None),
            document(source, mode="require", client_cert=OTHER, client_key=OTHER_KEY),
            document(source, mode="disabled"),
            document(source) | {"host": "127.0.0.1"},
        ):
            seen = ping(refused)
            assert seen["ping"] == "failed", refused["ssl"]["mode"]
            assert PASSWORD not in str(seen) and "PRIVATE" not in str(seen)


def test_require_with_an_authority_verifies_on_both(ends: tuple[End, End]) -> None:
    """As libpq has it: `require` and a `ca` are `verify-ca`. Without one nobody is verified."""
    source, _ = ends
    with Engine() as engine:
        ping = engine.connections.ping
        assert ping(document(source, mode="require")) == {"ping": "ok"}
        assert ping(document(source, mode="require", ca=None)) == {"ping": "ok"}
        seen = ping(document(source, mode="require", ca=OTHER))
        assert seen["code"] == "CONNECTION_FAILED" and "TLS handshake failed" in seen["error"]
        seen = ping(document(source, ca="no PEM at all"))
        assert seen["ping"] == "failed" and "INTERNAL" not in seen["code"]


LOADED = """
import json, sys
from streams_engine import Stream
stats = Stream(json.loads(sys.argv[1]), "null://").run()
assert "adbc_driver_postgresql" in sys.modules and "polars" not in sys.modules
print(stats.rows)
"""


def test_a_reader_loads_no_package_that_takes_ctrl_c(postgres: Server, tmp_path: Path) -> None:
    """ADBC's other interface imports polars where it is installed."""
    (tmp_path / "polars.py").write_text("DataFrame = None\n")
    source = End(postgres, postgres.create_database())
    source.run("CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t VALUES (1), (2)")
    done = subprocess.run(
        [sys.executable, "-c", LOADED, json.dumps(document(source))],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (0, "2\n"), done.stderr
