"""Find what prevents following a server's log, each with the statement that repairs it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pymysql

from streams_engine.adapters.mysql.binlog.coverage import coverage_findings
from streams_engine.adapters.mysql.catalog.reader import TRANSACTIONAL
from streams_engine.adapters.mysql.connection import is_mariadb, translating
from streams_engine.model import Catalog, Finding, Severity

__all__ = ["findings_for"]

SHORTEST = 86_400
"""The least time, in seconds, that the log should be retained: less does not outlast a pause over a
weekend."""

NAMES = (
    "log_bin", "binlog_format", "binlog_row_image", "binlog_row_metadata",
    "binlog_row_value_options", "gtid_mode", "binlog_expire_logs_seconds", "expire_logs_days",
    "server_id",
)  # fmt: skip

Test = tuple[str, Callable[[str], bool], Severity, str, str, str]

SETTINGS: Sequence[Test] = (
    ("log_bin", lambda v: v in ("ON", "1"), Severity.ERROR, "log-bin-off",
     "The server does not write a binary log.",
     "Start it with log_bin=binlog and a server_id in its configuration."),
    ("binlog_format", lambda v: v == "ROW", Severity.ERROR, "binlog-format",
     "The binary log holds statements, not rows: binlog_format is not ROW.",
     "SET GLOBAL binlog_format = 'ROW'; then reconnect the sessions that write."),
    ("binlog_row_image", lambda v: v == "FULL", Severity.WARNING, "binlog-row-image",
     ("binlog_row_image is not FULL: an inserted row lacks the columns that took constant "
     "defaults. Defaults that are numbers or texts are filled in; any other default ends the "
     "stream."),
     "SET GLOBAL binlog_row_image = 'FULL'; then reconnect the sessions that write."),
    ("binlog_row_value_options", lambda v: "PARTIAL_JSON" not in v, Severity.ERROR, "partial-json",
     "Updates contain only the changed parts of JSON values.",
     "SET GLOBAL binlog_row_value_options = ''; then reconnect the sessions that write."),
    ("binlog_row_metadata", lambda v: v == "FULL", Severity.INFO, "binlog-row-metadata",
     "The binary log does not contain column names: columns are matched by position.",
     "SET GLOBAL binlog_row_metadata = 'FULL';"),
    ("gtid_mode", lambda v: v == "ON", Severity.INFO, "gtid-off",
     "Without GTIDs a position is not valid on another server, such as after a failover.",
     "Turn on gtid_mode step by step, as the MySQL manual describes."),
)  # fmt: skip
"""(variable, wanted value, severity of any other, code, message, remedy)."""

RIGHTS: Sequence[tuple[frozenset[str], Severity, str, str]] = (
    (frozenset({"REPLICATION SLAVE"}), Severity.ERROR, "read the log", "REPLICATION SLAVE"),
    (frozenset({"REPLICATION CLIENT", "BINLOG MONITOR"}), Severity.ERROR,
     "read the position of the binary log", "REPLICATION CLIENT"),
)  # fmt: skip
"""(any of these privileges, severity without them, their purpose, what to grant)."""

HELD_ON_ONE = re.compile("LOCK TABLES|ALL PRIVILEGES")
"""Privileges that allow locking the tables of a database."""


def findings_for(connection: Any, catalog: Catalog) -> Sequence[Finding]:
    """Return the findings about a server and the tables of a stream."""
    with translating("reading the settings"), connection.cursor() as cursor:
        cursor.execute(f"SHOW GLOBAL VARIABLES WHERE Variable_name IN {NAMES}")
        settings = {row[0].lower(): str(row[1]) for row in cursor.fetchall()}
    return [
        *_settings(settings),
        *_partial_images(settings, mariadb=is_mariadb(connection)),
        *_retention(settings),
        *coverage_findings(connection, catalog),
        *_rights(connection),
        *_engines(catalog),
        *_cascades(connection, catalog),
    ]


def _settings(settings: Mapping[str, str]) -> Iterator[Finding]:
    for name, good, severity, code, message, remedy in SETTINGS:
        if name in settings and not good(settings[name].upper()):
            yield Finding(severity, code, "source", message, remedy)


def _partial_images(settings: Mapping[str, str], *, mariadb: bool) -> Iterator[Finding]:
    """Check for MariaDB with partial row images.

    It logs a REPLACE of an existing row as an update of the named columns; the others get their
    defaults, which the log does not show.
    """
    if mariadb and settings.get("binlog_row_image", "").upper() in ("MINIMAL", "NOBLOB"):
        yield Finding(
            Severity.ERROR,
            "replace-not-logged",
            "source",
            "With partial row images MariaDB's binary log does not show what REPLACE does to "
            "columns that it does not name.",
            "SET GLOBAL binlog_row_image = 'FULL'; then reconnect the sessions that write.",
        )


def _retention(settings: Mapping[str, str]) -> Iterator[Finding]:
    seconds = int(settings.get("binlog_expire_logs_seconds") or 0)
    seconds = seconds or int(float(settings.get("expire_logs_days") or 0) * 86_400)
    if 0 < seconds < SHORTEST:
        yield Finding(
            Severity.WARNING,
            "short-retention",
            "source",
            f"The server keeps its binary log for {seconds} seconds: after a longer pause the "
            "stream must load its tables again.",
            "SET GLOBAL binlog_expire_logs_seconds = 604800;",
        )


def _rights(connection: Any) -> Iterator[Finding]:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SHOW GRANTS")
            grants = " ".join(str(row[0]) for row in cursor.fetchall()).upper()
    except pymysql.MySQLError:
        return
    everywhere = ",".join(re.findall(r"GRANT (.*?) ON \*\.\*", grants))
    held = {word.strip() for word in everywhere.split(",")}
    if {"ALL PRIVILEGES", "ALL"} & held:
        return
    if not is_mariadb(connection) and "XA_RECOVER_ADMIN" not in held:
        yield Finding(
            Severity.WARNING,
            "missing-right",
            "source",
            "The account cannot list prepared XA transactions: the stream would miss the rows "
            "of one that is prepared before the initial load and committed after it.",
            "GRANT XA_RECOVER_ADMIN ON *.* TO the account;",
        )
    # Of one database or of all: the tables are locked where the server cannot be.
    if not {"RELOAD", "FLUSH_TABLES"} & held and not HELD_ON_ONE.search(grants):
        yield Finding(
            Severity.ERROR,
            "missing-right",
            "source",
            "The account cannot take the locks that tie the initial load to a position of the "
            "binary log.",
            "GRANT RELOAD ON *.* TO the account; or, where the server allows it to nobody, "
            "GRANT LOCK TABLES ON the database.",
        )
    for wanted, severity, purpose, right in RIGHTS:
        if not wanted & held:
            yield Finding(
                severity,
                "missing-right",
                "source",
                f"The account cannot {purpose}: it lacks {right}.",
                f"GRANT {right} ON *.* TO the account;",
            )


def _engines(catalog: Catalog) -> Iterator[Finding]:
    for table in catalog.tables:
        if table.engine not in TRANSACTIONAL:
            yield Finding(
                Severity.WARNING,
                "not-transactional",
                str(table.id),
                f"The engine {table.engine} has no transactions: no snapshot of the table is "
                "consistent, and a failed statement leaves rows behind.",
                f"ALTER TABLE {table.id} ENGINE = InnoDB;",
            )


def _cascades(connection: Any, catalog: Catalog) -> Iterator[Finding]:
    """Yield a warning for each foreign key whose referential actions are not in the log, because
    the engine performs them."""
    version = re.match(r"(\d+)\.(\d+)", str(connection.get_server_info()))
    number = (int(version[1]), int(version[2])) if version else (0, 0)
    if not is_mariadb(connection) and number >= (9, 6):
        return
    for table in catalog.tables:
        for key in table.foreign_keys:
            if {key.on_delete, key.on_update} & {"CASCADE", "SET NULL", "SET DEFAULT"}:
                yield Finding(
                    Severity.INFO,
                    "cascade-not-logged",
                    str(table.id),
                    f"Changes that the foreign key {key.name} makes by itself (CASCADE, SET "
                    "NULL) are not in the binary log.",
                    details={"foreignKey": key.name},
                )
