"""Check the binary log position that a config names against what the server has.

A position that leads nowhere, into the middle of a transaction, or to transactions that are purged
would be read on from elsewhere, or not at all.
"""

from __future__ import annotations

import re
from typing import Any

import pymysql

from streams_engine.adapters.mysql.connect import is_mariadb, translating
from streams_engine.adapters.mysql.gtids import gtid_set
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
    """Return the position that a text names. Raises `ConfigError` where the log has no such."""
    wanted = wanted.strip()
    found = FILE.fullmatch(wanted)
    if found is not None:
        file, pos = found[1], int(found[2])
        _demand_place(connection, file, pos)
        return {"server": server, "file": file, "pos": pos, "gtid": None}
    mariadb = is_mariadb(connection)
    try:
        gtids = gtid_set(wanted, mariadb=mariadb)
    except ValueError:
        kind = "MariaDB" if mariadb else "MySQL"
        raise _refused(
            f"it is neither 'file:pos' nor a GTID set of {kind}",
            "SHOW BINARY LOG STATUS (SHOW MASTER STATUS) prints both.",
        ) from None
    _demand_gtids(connection, gtids, mariadb)
    return {"server": "", "file": None, "pos": 4, "gtid": str(gtids)}


def _demand_place(connection: Any, file: str, pos: int) -> None:
    with translating("listing the log's files"), connection.cursor() as cursor:
        cursor.execute("SHOW BINARY LOGS")
        sizes = {row[0]: int(row[1]) for row in cursor.fetchall()}
    if file not in sizes:
        raise _refused(f"the server has no file {file}", "SHOW BINARY LOGS lists its files.")
    if pos == sizes[file]:
        return
    if pos > sizes[file]:
        raise _refused(f"{file} ends at {sizes[file]}", "Name an earlier place in it.")
    event = _event_at(connection, file, pos)
    if event is None or event[1] != pos:
        raise _refused(f"no event begins at {pos} of {file}", _LIST.format(file=file))
    if event[2] not in BETWEEN_TRANSACTIONS:
        raise _refused(
            f"{pos} of {file} is in the middle of a transaction", _LIST.format(file=file)
        )


_LIST = "SHOW BINLOG EVENTS IN '{file}' lists its places: name one where a Gtid event begins."


def _event_at(connection: Any, file: str, pos: int) -> Any:
    with translating(f"looking at the binary log {file}"), connection.cursor() as cursor:
        try:
            cursor.execute(f"SHOW BINLOG EVENTS IN %s FROM {pos:d} LIMIT 1", (file,))
        except pymysql.MySQLError as error:
            if error.args[0] == NO_EVENT_THERE:
                return None
            raise
        return cursor.fetchone()


def _demand_gtids(connection: Any, wanted: Any, mariadb: bool) -> None:
    """The server has had all that is read already, and still has all that is not."""
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
            f"It has {executed or 'none'}.",
        )
    if not wanted.contains(purged):
        raise _refused(
            "the server has purged transactions that are not in this GTID set",
            f"It has purged {purged}: begin after them.",
        )


def _refused(message: str, remedy: str) -> ConfigError:
    return ConfigError(f"{PATH}: {message}.", path=PATH, remedy=remedy)
