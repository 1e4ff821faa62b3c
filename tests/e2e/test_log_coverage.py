"""What keeps changes out of a binary log that is to be followed is refused by name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Any

import pytest

from streams_engine import Stream
from streams_engine.adapters.mysql.binlog.coverage import coverage_findings
from streams_engine.adapters.mysql.binlog.source import MysqlChangeSource
from streams_engine.adapters.mysql.catalog.reader import read_catalog
from streams_engine.adapters.mysql.connection import MysqlConnect
from streams_engine.contracts import Scope
from streams_engine.errors import ConfigError, StreamsError
from streams_engine.model import Extract, Finding, LogOptions, Severity, TableSubscription
from streams_engine.testing.servers import Server, running
from tests.support.databases import End

FLAVOURS = ("mysql9", "mariadb")
TABLE = "CREATE TABLE t (id INT PRIMARY KEY)"


@contextmanager
def server_with(name: str, options: Mapping[str, str], *databases: str) -> Iterator[Server]:
    """A server of these settings with a table in each database."""
    with running(name, options) as server:
        for database in databases:
            with closing(server.connect(None)) as c, c.cursor() as cursor:
                cursor.execute(f"CREATE DATABASE {database}")
            End(server, database).run(TABLE)
        yield server


def findings(server: Server, database: str) -> list[Finding]:
    """What hinders following a database."""
    with closing(server.connect(database)) as c:
        return list(coverage_findings(c, read_catalog(c, Scope(database))))


def refusal(server: Server, database: str, target: End) -> StreamsError:
    """The error of a cdc of the database."""
    stream = Stream(server.url(database), target.url, mode="cdc", name="unseen")
    with pytest.raises(StreamsError) as caught:
        stream.run()
    return caught.value


@pytest.mark.parametrize("name", FLAVOURS)
def test_ignored_databases(name: str, pg18: Server, database: Any) -> None:
    target = End(pg18, database(pg18))
    with server_with(name, {"binlog_ignore_db": "hidden"}, "hidden", "shop") as server:
        error = refusal(server, "hidden", target)
        assert error.code == "INVALID_CONFIG"
        assert "binlog_ignore_db" in error.message and "hidden" in error.message
        assert "restart" in str(error.remedy)
        assert [(f.code, f.severity.value) for f in findings(server, "shop")] == [
            ("log-filters-ddl", "warning")
        ]
        demanded_at_each_opening(server)


def demanded_at_each_opening(server: Server) -> None:
    """The log is not opened at a position that was reached before the filter was set."""
    connect = MysqlConnect(
        server.kind, server.host, server.port, server.user, server.password, "hidden"
    )
    source = MysqlChangeSource(connect, LogOptions("unseen"))
    [table] = source.catalog(Scope("hidden")).tables
    tracked = TableSubscription(table, Extract(table.id, table.columns), ("id",))
    with pytest.raises(ConfigError, match="binlog_ignore_db"):
        source.changes([tracked], source.end()).__enter__()


@pytest.mark.parametrize("name", FLAVOURS)
def test_databases_that_are_not_among_those_logged(name: str, pg18: Server, database: Any) -> None:
    target = End(pg18, database(pg18))
    with server_with(name, {"binlog_do_db": "shop"}, "hidden", "shop") as server:
        error = refusal(server, "hidden", target)
        assert error.code == "INVALID_CONFIG" and "binlog_do_db" in error.message
        assert {f.severity.value for f in findings(server, "shop")} == {"warning"}


REPLICATE = {
    "mysql9": "CHANGE REPLICATION SOURCE TO SOURCE_HOST = '127.0.0.1', SOURCE_PORT = 1",
    "mariadb": "CHANGE MASTER 'one' TO MASTER_HOST = '127.0.0.1', MASTER_PORT = 1",
}


@pytest.mark.parametrize("name", FLAVOURS)
def test_a_replica_that_does_not_log_what_it_applies(
    name: str, pg18: Server, database: Any
) -> None:
    target = End(pg18, database(pg18))
    with server_with(name, {"log_slave_updates": "OFF"}, "shop") as server:
        assert findings(server, "shop") == []  # no replica
        with closing(server.connect(None)) as c, c.cursor() as cursor:
            cursor.execute(REPLICATE[name])
        error = refusal(server, "shop", target)
        assert error.code == "INVALID_CONFIG" and "_updates" in error.message
        assert "_updates = ON" in str(error.remedy)


def test_triggers_of_a_replica_that_are_not_logged(mariadb: Server) -> None:
    options = {"log_slave_updates": "ON", "slave_run_triggers_for_rbr": "YES"}
    with server_with("mariadb", options, "shop") as server:
        with closing(server.connect(None)) as c, c.cursor() as cursor:
            cursor.execute(REPLICATE["mariadb"])
        [finding] = findings(server, "shop")
        assert finding.severity == "error" and "slave_run_triggers_for_rbr" in finding.message


def test_sessions_that_are_not_logged(mysql9: Server) -> None:
    options = {
        "performance_schema": "ON",
        "init_connect": "SET sql_log_bin = 0",
        "binlog_error_action": "IGNORE_ERROR",
    }
    with server_with("mysql9", options, "shop") as server, closing(server.connect(None)) as other:
        with other.cursor() as cursor:
            cursor.execute("SET sql_log_bin = 0")
        found = findings(server, "shop")
        told = {(f.code, f.severity.value) for f in found}
        assert ("sessions-not-logged", "error") in told  # init_connect
        assert ("log-errors-ignored", "warning") in told
        assert any(str(other.thread_id()) in f.message for f in found if f.severity == "warning")


def test_rows_that_are_kept_elsewhere(mysql9: Server, database: Any) -> None:
    end = End(mysql9, database(mysql9))
    end.run(
        "CREATE TABLE part (id INT) ENGINE = MyISAM",
        "CREATE TABLE whole (id INT) ENGINE = MERGE UNION = (part)",
    )
    found = [f for f in findings(mysql9, end.database) if f.code == "rows-elsewhere"]
    assert [f.object for f in found] == [f"{end.database}.whole"]


def test_a_table_that_the_server_cannot_open(mariadb: Server, database: Any) -> None:
    """MariaDB makes a MERGE table whose parts do not exist, and knows no engine of it then."""
    end = End(mariadb, database(mariadb))
    end.run("CREATE TABLE whole (id INT) ENGINE = MERGE UNION = (part)")
    found = [f for f in findings(mariadb, end.database) if f.severity is Severity.ERROR]
    assert [(f.code, f.object) for f in found] == [("unreadable", f"{end.database}.whole")]
