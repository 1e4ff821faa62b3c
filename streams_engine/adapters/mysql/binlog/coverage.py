"""Find what keeps changes of the stream's tables out of a server's binary log."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import pymysql

from streams_engine.adapters.mysql.connection import is_mariadb, translating
from streams_engine.errors import ConfigError
from streams_engine.model import Catalog, Finding, Severity, TableSchema

__all__ = ["coverage_findings", "demand_coverage", "hindrance_of"]

MISSED = (
    " Changes made until then are not in the binary log: load the tables again afterwards "
    "(start with fresh=True)."
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
    "CONNECT": "files or on another server",
    "SPIDER": "other servers",
    "MRG_MYISAM": "the tables that it merges",
    "NDBCLUSTER": "a cluster whose other servers do not write to this binary log",
}
"""By engine: where its rows are stored, and change without a trace in this log."""

UNREADABLE = "The server itself cannot open the table, so it can be neither read nor followed."
"""MariaDB knows no engine of such a table, as of a MERGE table whose parts do not fit it."""


def coverage_findings(connection: Any, catalog: Catalog) -> Sequence[Finding]:
    """Return what keeps changes of these tables out of the log; errors if that is certain."""
    settings = _settings(connection)
    schemas = sorted({table.id.schema for table in catalog.tables if table.query is None})
    return [
        *_filters(connection, schemas, settings),
        *_replicas(connection, settings),
        *_sessions(connection, settings),
        *_unfollowable(catalog),
    ]


def demand_coverage(connection: Any, schemas: Iterable[str]) -> None:
    """Raise `ConfigError` if the server as it is now keeps these databases out of its log."""
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
    """Check the binary log filters.

    With row images they match the database of the table; for DDL, the default database.
    """
    folds = settings.get("lower_case_table_names", "0") != "0"
    fold: Callable[[str], str] = str.lower if folds else str
    wanted, ignored = ({fold(name) for name in names} for names in _filtered_databases(connection))
    for schema in schemas:
        name = fold(schema)
        if wanted and name not in wanted:
            yield _unlogged(schema, "binlog_do_db does not name the database")
        elif not wanted and name in ignored:
            # The server does not look at binlog_ignore_db where there is a binlog_do_db.
            yield _unlogged(schema, "binlog_ignore_db names it")
    if wanted or ignored:
        yield Finding(
            Severity.WARNING,
            "log-filters-ddl",
            "source",
            "The server filters its binary log (binlog_do_db, binlog_ignore_db): DDL of the "
            "stream's tables is missing when it is run with another default database.",
            "Remove the filters from the server's configuration and restart it.",
        )


def _unlogged(schema: str, why: str) -> Finding:
    return Finding(
        Severity.ERROR,
        "database-not-logged",
        f"database {schema}",
        f"The server does not write the changes to its binary log: {why}.",
        "Remove the setting from the server's configuration and restart the server." + MISSED,
    )


def _filtered_databases(connection: Any) -> tuple[list[str], list[str]]:
    """Return the databases that alone are logged, and those that are not; both empty without
    filters."""
    rows = _first_answer(connection, LOG_STATUS)
    if not rows:
        return [], []  # the log is off, or the right is missing: said elsewhere
    do, ignore = (str(rows[0][place] or "") for place in (2, 3))
    return [n for n in do.split(",") if n], [n for n in ignore.split(",") if n]


def _first_answer(connection: Any, queries: Sequence[str]) -> list[Any] | None:
    """Return the rows of the first query that the server accepts; None if it accepts none."""
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
    """Check that a replica, or a node of a Galera cluster, logs the changes that it applies."""
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
            f"The server is a node of a Galera cluster and {name} is off: its binary log lacks "
            "what other nodes write.",
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
            f"The server {replica} and {name} is off: its binary log lacks the changes that it "
            "replicates.",
            cure,
        )
    if triggers:
        yield Finding(
            severity,
            "replica-not-logging",
            "source",
            f"The server {replica} and slave_run_triggers_for_rbr is YES: its binary log lacks "
            "the changes that its triggers make.",
            "SET GLOBAL slave_run_triggers_for_rbr = 'LOGGING';" + MISSED,
        )


SURE, UNSURE = "was a replica, and may still be one", "was a replica, and may be one still"


def _is_replica(connection: Any) -> str | None:
    """Return in what sense the server is a replica; None if it is not."""
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
            "init_connect sets sql_log_bin: changes by sessions of ordinary accounts are not in "
            "the binary log.",
            "SET GLOBAL init_connect = ''; then reconnect the sessions that write." + MISSED,
        )
    if settings.get("binlog_error_action", "").upper() == "IGNORE_ERROR":
        yield Finding(
            Severity.WARNING,
            "log-errors-ignored",
            "source",
            "binlog_error_action is IGNORE_ERROR: the server continues without a binary log "
            "when it cannot write to it.",
            "SET GLOBAL binlog_error_action = 'ABORT_SERVER';",
        )
    sessions = _first_answer(connection, (UNLOGGED_SESSIONS,))
    if sessions:
        numbers = ", ".join(str(row[0]) for row in sessions)
        yield Finding(
            Severity.WARNING,
            "sessions-not-logged",
            "source",
            f"Sessions have sql_log_bin = 0; their changes are not in the binary log: {numbers}.",
            "Make sure that they change none of the stream's tables, or load the tables again "
            "afterwards.",
        )


# Tables


def _unfollowable(catalog: Catalog) -> Iterator[Finding]:
    for table in catalog.tables:
        if table.query is None and table.engine is None:
            yield Finding(
                Severity.ERROR,
                "unreadable",
                str(table.id),
                UNREADABLE,
                f"CHECK TABLE {table.id} says why. Repair or drop the table, or leave it out "
                "(tables).",
            )
        if table.query is None and (reason := _rows_elsewhere(table)):
            yield Finding(
                Severity.ERROR,
                "rows-elsewhere",
                str(table.id),
                reason,
                "Leave the table out (tables), and stream it from the server that holds its rows.",
            )
        if reason := _transaction_precise(table):
            yield Finding(
                Severity.ERROR,
                "statements-logged",
                str(table.id),
                reason,
                "Make the columns of its period TIMESTAMP(6), or leave the table out (tables).",
            )


def hindrance_of(table: TableSchema) -> str | None:
    """Return why the log does not hold a table's changes; None if it does."""
    return _rows_elsewhere(table) or _transaction_precise(table)


def _rows_elsewhere(table: TableSchema) -> str | None:
    where = ELSEWHERE.get((table.engine or "").upper())
    return where and (
        f"The engine {table.engine} keeps the rows in {where}: changes made there are not in this "
        "server's binary log."
    )


def _transaction_precise(table: TableSchema) -> str | None:
    ends = [c for c in table.columns if c.generated and c.generated.sql.upper() == "ROW END"]
    if not any(column.type.name == "bigint" for column in ends):
        return None
    return (
        "System versioning of the table is transaction-precise: MariaDB logs the statements that "
        "change it, not the rows."
    )
