"""What keeps changes of followed tables out of a server's binary log.

A log that lacks a change looks like one without it: all that can be asked is asked at each start
and each time the log is opened. What a session switches off for itself (``sql_log_bin = 0``) shows
only while it is connected, and only on MySQL.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import pymysql

from streams_engine.adapters.mysql.connect import is_mariadb, translating
from streams_engine.errors import ConfigError
from streams_engine.model import Catalog, Finding, Severity

__all__ = ["coverage_findings", "demand_coverage"]

MISSED = (
    " What was changed while it was so is not in the log: load the tables again then (start with "
    "fresh=True)."
)

LOG_STATUS = ("SHOW BINARY LOG STATUS", "SHOW MASTER STATUS")
"""MySQL since 8.2, and before; MariaDB."""

REPLICA_STATUS = ("SHOW ALL SLAVES STATUS", "SHOW REPLICA STATUS", "SHOW SLAVE STATUS")
"""MariaDB, MySQL since 8.0.22, and before. A row for each server that is replicated from."""

SETTINGS = (
    "log_slave_updates", "log_replica_updates", "slave_run_triggers_for_rbr", "init_connect",
    "binlog_error_action", "wsrep_on", "wsrep_provider", "lower_case_table_names",
)  # fmt: skip

UNLOGGED_SESSIONS = """
SELECT t.processlist_id FROM performance_schema.variables_by_thread v
JOIN performance_schema.threads t ON t.thread_id = v.thread_id
WHERE v.variable_name = 'sql_log_bin' AND v.variable_value = 'OFF' ORDER BY 1 LIMIT 5
"""

ELSEWHERE: Mapping[str, str] = {
    "FEDERATED": "another server",
    "CONNECT": "files or another server",
    "SPIDER": "other servers",
    "MRG_MYISAM": "the tables that it merges",
    "NDBCLUSTER": "a cluster, whose other servers write no log here",
}
"""By engine: where the rows are, which change there without a trace here."""


def coverage_findings(connection: Any, catalog: Catalog) -> Sequence[Finding]:
    """What keeps changes of these tables out of the log; errors where that is certain."""
    settings = _settings(connection)
    schemas = sorted({table.id.schema for table in catalog.tables if table.query is None})
    return [
        *_filters(connection, schemas, settings),
        *_replicas(connection, settings),
        *_sessions(connection, settings),
        *_engines(catalog),
        *_transaction_precise(catalog),
    ]


def demand_coverage(connection: Any, schemas: Iterable[str]) -> None:
    """Raise `ConfigError` where the server as it is now keeps these databases out of its log."""
    settings = _settings(connection)
    several = (
        *_filters(connection, sorted(set(schemas)), settings),
        *_replicas(connection, settings),
    )
    for finding in several:
        if finding.severity is Severity.ERROR:
            raise ConfigError(
                f"{finding.object}: {finding.message}", path="$", remedy=finding.remedy
            )


def _settings(connection: Any) -> Mapping[str, str]:
    with translating("reading the settings"), connection.cursor() as cursor:
        cursor.execute(f"SHOW GLOBAL VARIABLES WHERE Variable_name IN {SETTINGS}")
        return {row[0].lower(): str(row[1]) for row in cursor.fetchall()}


# Filters


def _filters(
    connection: Any, schemas: Sequence[str], settings: Mapping[str, str]
) -> Iterator[Finding]:
    """With row images a filter asks for the database of the table, for DDL for the default one."""
    folds = settings.get("lower_case_table_names", "0") != "0"
    fold: Callable[[str], str] = str.lower if folds else str
    wanted, ignored = ({fold(name) for name in names} for names in _filtered_databases(connection))
    for schema in schemas:
        name = fold(schema)
        if wanted and name not in wanted:
            yield _unlogged(schema, "binlog_do_db names others and not this one")
        elif not wanted and name in ignored:
            # The server does not look at binlog_ignore_db where there is a binlog_do_db.
            yield _unlogged(schema, "binlog_ignore_db names it")
    if wanted or ignored:
        yield Finding(
            Severity.WARNING,
            "log-filters-ddl",
            "source",
            "The server filters its log (binlog_do_db, binlog_ignore_db): DDL of followed tables "
            "is missing there where it is run with another database as the default one.",
            "Take the filters out of the server's configuration and restart it.",
        )


def _unlogged(schema: str, why: str) -> Finding:
    return Finding(
        Severity.ERROR,
        "database-not-logged",
        f"database {schema}",
        f"The server keeps its changes out of the binary log: {why}.",
        "Take it out of the server's configuration and restart the server." + MISSED,
    )


def _filtered_databases(connection: Any) -> tuple[list[str], list[str]]:
    """(those that alone are logged, those that are not); both empty where nothing is filtered."""
    rows = _first_answer(connection, LOG_STATUS)
    if not rows:
        return [], []  # the log is off, or the right is missing: said elsewhere
    do, ignore = (str(rows[0][place] or "") for place in (2, 3))
    return [n for n in do.split(",") if n], [n for n in ignore.split(",") if n]


def _first_answer(connection: Any, queries: Sequence[str]) -> list[Any] | None:
    """The rows of the first query that the server takes; None where it takes none of them."""
    for query in queries:
        try:
            with connection.cursor() as cursor:
                cursor.execute(query)
                return list(cursor.fetchall())
        except pymysql.MySQLError:
            continue
    return None


# Replicas


def _replicas(connection: Any, settings: Mapping[str, str]) -> Iterator[Finding]:
    """A replica, or a member of a Galera cluster, logs what it applies only if it is told to."""
    updates = settings.get("log_replica_updates", settings.get("log_slave_updates", "ON"))
    name = "log_slave_updates" if is_mariadb(connection) else "log_replica_updates"
    cure = f"Set {name} = ON in the server's configuration and restart it." + MISSED
    clustered = settings.get("wsrep_on", "OFF").upper() == "ON"
    clustered &= settings.get("wsrep_provider", "none") not in ("", "none")
    if updates.upper() == "OFF" and clustered:
        yield Finding(
            Severity.ERROR,
            "replica-not-logging",
            "source",
            f"The server is a node of a Galera cluster, and {name} is off: what other nodes write "
            "is not in its binary log.",
            cure,
        )
        return
    triggers = settings.get("slave_run_triggers_for_rbr", "NO").upper() == "YES"
    if updates.upper() != "OFF" and not triggers:
        return
    replica = _is_replica(connection)
    if not replica:
        return
    severity = Severity.WARNING if replica == UNSURE else Severity.ERROR
    if updates.upper() == "OFF":
        yield Finding(
            severity,
            "replica-not-logging",
            "source",
            f"The server {replica}, and {name} is off: what it replicates is not in its binary "
            "log.",
            cure,
        )
    if triggers:
        yield Finding(
            severity,
            "replica-not-logging",
            "source",
            f"The server {replica}, and slave_run_triggers_for_rbr is YES: what its triggers "
            "change is not in its binary log.",
            "SET GLOBAL slave_run_triggers_for_rbr = 'LOGGING';" + MISSED,
        )


SURE, UNSURE = "is a replica", "was a replica, and may be one still"


def _is_replica(connection: Any) -> str | None:
    """A word for how it is one; None where it is none."""
    rows = _first_answer(connection, REPLICA_STATUS)
    if rows is not None:
        return SURE if rows else None
    # The right to ask is missing (MariaDB: SLAVE MONITOR).
    running = _first_answer(connection, ("SHOW GLOBAL STATUS LIKE 'Slaves_running'",))
    if running and int(running[0][1]):
        return SURE
    applied = _first_answer(connection, ("SELECT @@global.gtid_slave_pos",))
    return UNSURE if applied and applied[0][0] else None


# Sessions and settings


def _sessions(connection: Any, settings: Mapping[str, str]) -> Iterator[Finding]:
    if "sql_log_bin" in settings.get("init_connect", "").lower():
        yield Finding(
            Severity.ERROR,
            "sessions-not-logged",
            "source",
            "init_connect sets sql_log_bin: what the sessions of ordinary accounts change is not "
            "in the binary log.",
            "SET GLOBAL init_connect = ''; then reconnect the sessions that write." + MISSED,
        )
    if settings.get("binlog_error_action", "").upper() == "IGNORE_ERROR":
        yield Finding(
            Severity.WARNING,
            "log-errors-ignored",
            "source",
            "The server goes on without a binary log where it cannot write it: "
            "binlog_error_action is IGNORE_ERROR.",
            "SET GLOBAL binlog_error_action = 'ABORT_SERVER';",
        )
    sessions = _first_answer(connection, (UNLOGGED_SESSIONS,))
    if sessions:
        numbers = ", ".join(str(row[0]) for row in sessions)
        yield Finding(
            Severity.WARNING,
            "sessions-not-logged",
            "source",
            f"Sessions have sql_log_bin = 0, so that nothing that they change is in the binary "
            f"log: {numbers}.",
            "See that they change no followed table, or load the tables again afterwards.",
        )


# Tables


def _engines(catalog: Catalog) -> Iterator[Finding]:
    for table in catalog.tables:
        where = ELSEWHERE.get((table.engine or "").upper())
        if table.query is None and where is not None:
            yield Finding(
                Severity.ERROR,
                "rows-elsewhere",
                str(table.id),
                f"Its engine {table.engine} keeps its rows in {where}: what is changed there is "
                "not in this server's log.",
                "Leave the table out (tables), and follow the place where its rows are.",
            )


def _transaction_precise(catalog: Catalog) -> Iterator[Finding]:
    for table in catalog.tables:
        ends = [c for c in table.columns if c.generated and c.generated.sql.upper() == "ROW END"]
        if any(column.type.name == "bigint" for column in ends):
            yield Finding(
                Severity.ERROR,
                "statements-logged",
                str(table.id),
                "Its system versioning is transaction-precise: MariaDB logs the statements that "
                "change it, and not the rows.",
                "Make the columns of its period TIMESTAMP(6), or leave the table out (tables).",
            )
