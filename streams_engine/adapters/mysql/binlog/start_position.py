"""Check the binary log position that a config names against the server's log.

A position that does not exist, is in the middle of a transaction, or is before purged transactions
could not be continued correctly.
"""

from __future__ import annotations

import re
from typing import Any

import pymysql

from streams_engine.adapters.mysql.binlog.gtid import gtid_set
from streams_engine.adapters.mysql.connection import is_mariadb, translating
from streams_engine.errors import ConfigError
from streams_engine.model import Position

__all__ = ["start_position"]

PATH = "$.source.options.binlogPosition"
FILE = re.compile(r"([^\s:,]+\.\d+):(\d+)")
NO_EVENT_THERE = 1220
BETWEEN_TRANSACTIONS = frozenset(
    {"Format_desc", "Previous_gtids", "Gtid", "Anonymous_Gtid", "Gtid_list", "Binlog_checkpoint",
     "Rotate", "Stop", "Start_encryption"}
)  # fmt: skip
"""Events of SHOW BINLOG EVENTS that stand outside of transactions, or begin one."""


def start_position(connection: Any, wanted: str, server: str) -> Position:
    """Return the position that a text names. Raises `ConfigError` if the log has no such."""
    wanted = wanted.strip()
    match = FILE.fullmatch(wanted)
    if match is not None:
        file, pos = match[1], int(match[2])
        _demand_place(connection, file, pos)
        return {"server": server, "file": file, "pos": pos, "gtid": None}
    mariadb = is_mariadb(connection)
    try:
        gtids = gtid_set(wanted, mariadb=mariadb)
    except ValueError:
        kind = "MariaDB" if mariadb else "MySQL"
        raise _refused(
            f"expected 'file:pos' or a GTID set of {kind}",
            "SHOW BINARY LOG STATUS (SHOW MASTER STATUS) prints both.",
        ) from None
    _demand_gtids(connection, gtids, mariadb)
    return {"server": "", "file": None, "pos": 4, "gtid": str(gtids)}


def _demand_place(connection: Any, file: str, pos: int) -> None:
    with translating("listing the binary log files"), connection.cursor() as cursor:
        cursor.execute("SHOW BINARY LOGS")
        sizes = {row[0]: int(row[1]) for row in cursor.fetchall()}
    if file not in sizes:
        raise _refused(
            f"the server has no binary log file {file}", "SHOW BINARY LOGS lists its files."
        )
    if pos == sizes[file]:
        return
    if pos > sizes[file]:
        raise _refused(f"{file} ends at {sizes[file]}", "Name an earlier position in it.")
    event = _event_at(connection, file, pos)
    if event is None or event[1] != pos:
        raise _refused(f"no event begins at position {pos} of {file}", _LIST.format(file=file))
    if event[2] not in BETWEEN_TRANSACTIONS:
        raise _refused(
            f"position {pos} of {file} is in the middle of a transaction", _LIST.format(file=file)
        )


_LIST = "SHOW BINLOG EVENTS IN '{file}' lists its places: name one where a Gtid event begins."


def _event_at(connection: Any, file: str, pos: int) -> Any:
    with translating(f"reading the binary log {file}"), connection.cursor() as cursor:
        try:
            cursor.execute(f"SHOW BINLOG EVENTS IN %s FROM {pos:d} LIMIT 1", (file,))
        except pymysql.MySQLError as error:
            if error.args[0] == NO_EVENT_THERE:
                return None
            raise
        return cursor.fetchone()


def _demand_gtids(connection: Any, wanted: Any, mariadb: bool) -> None:
    """Check that the server has executed the wanted GTIDs, and has purged none after them."""
    with translating("asking for the GTIDs of the log"), connection.cursor() as cursor:
        if mariadb:
            cursor.execute("SHOW BINARY LOGS")
            oldest = cursor.fetchone()[0]
            cursor.execute("SELECT @@gtid_binlog_pos, BINLOG_GTID_POS(%s, 4)", (oldest,))
        else:
            cursor.execute("SELECT @@global.gtid_executed, @@global.gtid_purged")
        executed, purged = (gtid_set(text, mariadb=mariadb) for text in cursor.fetchone())
    if not executed.contains(wanted):
        raise _refused(
            "the server lacks transactions of this GTID set",
            f"The server has executed {executed or 'none'}.",
        )
    if not wanted.contains(purged):
        raise _refused(
            "the server has purged transactions that are not in this GTID set",
            f"The server has purged {purged}: begin after them.",
        )


def _refused(message: str, remedy: str) -> ConfigError:
    return ConfigError(f"{PATH}: {message}.", path=PATH, remedy=remedy)
