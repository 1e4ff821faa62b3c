"""The private servers are ours, have the settings that the engine needs, and go away."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from streams_engine.testing import provision, servers
from streams_engine.testing.servers import Server, ServerStartError, start
from tests.support.polling import until

SETTINGS = {
    "mysql9": "SELECT @@log_bin, @@binlog_format, @@binlog_row_metadata, @@gtid_mode",
    "mariadb": "SELECT @@log_bin, @@binlog_format, @@binlog_row_metadata, 'ON'",
}


def test_mysql_has_what_change_capture_needs(mysql_server: Server) -> None:
    with mysql_server.connect() as connection, connection.cursor() as cursor:
        cursor.execute(SETTINGS[mysql_server.flavour_name])
        assert cursor.fetchone() == (1, "ROW", "FULL", "ON")


def test_postgres_has_what_change_capture_needs(pg_server: Server) -> None:
    with pg_server.connect() as connection:
        assert connection.execute("SHOW wal_level").fetchone() == ("logical",)


def test_a_stopped_server_leaves_nothing_behind(pg15: Server) -> None:
    server = start("pg15")
    assert server.port != pg15.port and server.directory.exists()
    server.stop()
    assert server.process.returncode is not None and not server.directory.exists()
    with pytest.raises(Exception, match="refused"):
        server.connect()


def test_mysql_asks_for_the_password(mysql9: Server) -> None:
    with mysql9.connect() as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT host, plugin FROM mysql.user "
            "WHERE user = 'root' AND authentication_string <> ''"
        )
        assert cursor.fetchall() == (("127.0.0.1", "caching_sha2_password"),)


def test_options_replace_the_usual_settings(pg15: Server) -> None:
    assert pg15._statement("SHOW wal_level") == ("logical",)
    with servers.running("pg15", {"wal_level": "replica"}) as server:
        assert server._statement("SHOW wal_level") == ("replica",)


@pytest.mark.parametrize("name", ["mariadb", "pg15"])
def test_another_port_is_taken_where_somebody_was_faster(
    name: str, pg15: Server, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    request.getfixturevalue(name)  # skips or fails where it cannot be had
    free = servers._free_port
    ports = iter([pg15.port])
    monkeypatch.setattr(servers, "_free_port", lambda: next(ports, None) or free())
    with start(name) as server:
        assert server.port != pg15.port


def test_a_server_that_was_not_started_here_is_refused(pg15: Server, tmp_path: Path) -> None:
    impostor = Server(
        "pg15",
        "postgresql",
        pg15.port,
        pg15.user,
        pg15.password,
        tmp_path,
        pg15.process,
        pg15.watch,
    )
    with pytest.raises(ServerStartError, match="not the one started"):
        servers._await(impostor)


@pytest.mark.parametrize("name", ["pg15", "mariadb"])
def test_nothing_outlives_a_process_that_was_killed(
    name: str, request: pytest.FixtureRequest
) -> None:
    request.getfixturevalue(name)  # skips or fails where it cannot be had
    script = f"""if True:
        import os
        from streams_engine.testing.servers import start
        server = start({name!r})
        print(server.pid, server.directory, flush=True)
        os.kill(os.getpid(), {int(signal.SIGKILL)})
    """
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    pid, directory = done.stdout.split()
    until(lambda: not Path(directory).exists())
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid), 0)


def test_a_mariadb_under_the_name_of_mysqld_is_not_mysql(tmp_path: Path) -> None:
    said = {
        "maria": "mysqld  Ver 10.11.19-MariaDB for debian-linux-gnu on x86_64",
        "old": "/usr/sbin/mysqld  Ver 8.0.40 for Linux on x86_64",
        "new": "/usr/sbin/mysqld  Ver 9.7.4-2 for Linux on x86_64 ((Debian))",
    }
    for name, text in said.items():
        (tmp_path / name).write_text(f"#!/bin/sh\necho '{text}'\n")
        (tmp_path / name).chmod(0o755)
    assert [n for n in said if servers._is_mysql9(tmp_path / n)] == ["new"]


def test_unstable_comes_from_the_archive_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    mirrors = [
        ("https://packages.example/debian/12/prod", "bookworm", ""),
        ("http://mirror.example/debian-security", "bookworm-security", ""),
        ("http://mirror.example/debian/", "bookworm", "[signed-by=/k.gpg] "),
    ]
    monkeypatch.setattr(provision, "_mirrors", lambda: iter(mirrors))
    assert list(provision._sources("sid")) == [
        "deb [signed-by=/k.gpg] http://mirror.example/debian/ sid main"
    ]


def test_an_unreachable_mirror_is_not_a_broken_suite(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("STREAMS_ENGINE_CACHE", str(tmp_path))
    monkeypatch.setattr(
        provision, "_mirrors", lambda: iter([("http://127.0.0.1:9/debian", "x", "")])
    )
    with pytest.raises(provision.ProvisionError) as failure:
        provision.provision("mysql9")
    assert not isinstance(failure.value, provision.SuiteBroken)
    assert not (tmp_path / "mysql9").exists()
