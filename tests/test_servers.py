"""The private servers are ours, have the settings that the engine needs, and go away."""

from __future__ import annotations

import pytest

from streams_engine.testing.servers import Server, start

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
