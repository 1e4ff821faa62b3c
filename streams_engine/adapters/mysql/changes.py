"""MySQL and MariaDB as a source whose log can be followed."""

from __future__ import annotations

import contextlib
import functools
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pymysql

from streams_engine.adapters.mysql.binlog import Dump
from streams_engine.adapters.mysql.catalog import describe
from streams_engine.adapters.mysql.charsets import Charsets
from streams_engine.adapters.mysql.connect import MysqlConnect, is_mariadb, translating
from streams_engine.adapters.mysql.gtids import gtid_set
from streams_engine.adapters.mysql.log_coverage import demand_coverage
from streams_engine.adapters.mysql.readiness import findings_for
from streams_engine.adapters.mysql.snapshot import MysqlSnapshot
from streams_engine.adapters.mysql.source import KEPT, WHO_LOCKS, MysqlSource, _position
from streams_engine.adapters.mysql.start_position import start_position
from streams_engine.adapters.mysql.statements import Statements
from streams_engine.adapters.mysql.transactions import MysqlChangeReader
from streams_engine.changes import ChangeSet, LogOptions, Tracked
from streams_engine.errors import LockTimeout, LogLost, PermissionDenied
from streams_engine.model import Finding, Position, TableId, TableSchema
from streams_engine.protocols import Lag, Scope
from streams_engine.schema.mysql_keys import row_key

__all__ = ["MysqlChangeSource"]

REPLAY_SECONDS = 60
XA_DENIED = 1401
XA_SECONDS = 15
"""How long prepared transactions may take to be resolved before a view is refused."""

AGAIN = "Load the tables again (start with fresh=True)."


class MysqlChangeSource(MysqlSource):
    """A MySQL or MariaDB server that is copied and then followed through its binary log."""

    def __init__(self, connect: MysqlConnect, options: LogOptions) -> None:
        super().__init__(connect)
        self._options = options

    @functools.cached_property
    def logs_cascades(self) -> bool:
        """Foreign keys act above the storage engine, and in the log, since MySQL 9.6
        (https://dev.mysql.com/doc/relnotes/mysql/9.6/en/)."""
        with contextlib.closing(self._connect.open(database="")) as connection:
            version = re.match(r"(\d+)\.(\d+)", str(connection.get_server_info()))
            newest = version is not None and tuple(map(int, version.groups())) >= (9, 6)
            return newest and not is_mariadb(connection)

    # Before

    def readiness(self, scope: Scope) -> Sequence[Finding]:
        """What hinders following these tables, each with the statement that repairs it."""
        catalog = self.catalog(scope)
        with contextlib.closing(self._connect.open(database="")) as connection:
            return findings_for(connection, catalog)

    def identities(self, tables: Sequence[TableSchema]) -> Mapping[TableId, tuple[str, ...]]:
        """The primary key, else a unique key without NULLs, else every column."""
        return {table.id: _identity(table) for table in tables}

    @contextlib.contextmanager
    def handover(self, scope: Scope, readers: int, *, again: bool) -> Iterator[MysqlSnapshot]:
        """A view whose position the log goes on from.

        It needs the global read lock: only under it a position equals the view. Raises
        `PermissionDenied` or `LockTimeout` where it is not to be had, and `LockTimeout` where a
        prepared XA transaction stays: its rows are in no view, and before the position.
        """
        self._await_prepared()
        with self.snapshot(scope, readers) as view:
            reason = next((f for f in view.findings if f.code == "one-reader"), None)
            if "file" not in view.position:
                raise _unlocked(reason)
            names = self._prepared()
            if names:
                raise _prepared(names)
            yield view

    def start(self, tables: Sequence[TableId]) -> Position:
        """The log's end, or the position that the options name."""
        wanted = self._options.position
        if not wanted:
            return self.end()
        server = self.end()["server"]
        with contextlib.closing(self._connect.open(database="")) as connection:
            return start_position(connection, wanted, server)

    # The log

    @contextlib.contextmanager
    def changes(self, tracked: Sequence[Tracked], after: Position) -> Iterator[MysqlChangeReader]:
        """Read the log from a position. Raises `LogLost` where the server does not have it."""
        with contextlib.closing(self._connect.open(database="")) as connection:
            maria = is_mariadb(connection)
            now = _position(connection)
            by_gtid = _way(connection, after, now, maria)
            demand_coverage(connection, (one.schema.id.schema for one in tracked))
            fold = _folds(connection)
        gtids = gtid_set(after.get("gtid"), mariadb=maria)
        statements = Statements(
            self._described, mariadb=maria, fold=fold, foreign_keys=not self.logs_cascades
        )
        with contextlib.closing(
            Dump(self._connect, after, self._options.server_id, by_gtid=by_gtid)
        ) as dump:
            yield MysqlChangeReader(
                dump,
                tracked,
                {**after, "file": None, "pos": 4} if by_gtid else after,
                server=str(now["server"]),
                gtids=gtids,
                statements=statements,
                translate=Charsets(self._connect, mariadb=maria),
                covered=lambda since, begin, gtid: _covered(
                    since, str(now["server"]), begin, gtid, maria
                ),
                replay=self._replay,
            )

    def _described(self, table: TableId) -> TableSchema | None:
        with (
            contextlib.closing(self._connect.open(database="")) as connection,
            translating(f"describing {table}"),
        ):
            return describe(connection, [table]).table(table)

    def _replay(
        self, name: str, begin: Position, tracked: Mapping[TableId, Tracked]
    ) -> list[ChangeSet]:
        """The rows of one prepared transaction, read from the log once more."""
        known = [replace(one, since=None) for one in tracked.values()]
        try:
            with self.changes(known, begin) as reader:
                reader.replaying = True
                found: list[ChangeSet] = []
                while reader.replaying:
                    one = reader.poll(REPLAY_SECONDS)
                    if one is None:
                        raise _not_replayed(name)
                    found.append(one)
                return found
        except LogLost:
            raise _not_replayed(name) from None

    def end(self) -> Position:
        """The end of the log now."""
        with contextlib.closing(self._connect.open(database="")) as connection:
            found = _position(connection)
        if "file" not in found:
            raise PermissionDenied(
                "The position of the binary log is not to be had.",
                remedy="GRANT REPLICATION CLIENT (MariaDB: BINLOG MONITOR) ON *.* to the account, "
                "and see that log_bin is on.",
            )
        return found

    def reached(self, position: Position, wanted: Position) -> bool:
        """True where ``position`` is at or after ``wanted``."""
        if position.get("file") and wanted.get("file") and position["server"] == wanted["server"]:
            return _place(position) >= _place(wanted)
        maria = not _is_uuid(str(wanted.get("server") or position.get("server")))
        have = gtid_set(position.get("gtid"), mariadb=maria)
        return bool(have.contains(gtid_set(wanted.get("gtid"), mariadb=maria)))  # type: ignore[arg-type]

    def lag(self, position: Position) -> Lag:
        """Bytes of log files behind the position; the server keeps none for us in particular."""
        with contextlib.closing(self._connect.open(database="")) as connection:
            sizes = _files(connection)
        if not position.get("file"):
            return Lag(sum(sizes.values()))
        here = _number(position["file"])
        behind = sum(size for file, size in sizes.items() if _number(file) >= here)
        return Lag(max(0, behind - int(position["pos"])))

    def release(self) -> None:
        """Nothing was made on the server."""

    # Prepared transactions

    def _prepared(self) -> list[str]:
        with (
            contextlib.closing(self._connect.open(database="")) as connection,
            translating("looking for prepared transactions"),
            connection.cursor() as cursor,
        ):
            try:
                cursor.execute("XA RECOVER")
            except pymysql.MySQLError as error:
                if error.args[0] == XA_DENIED:  # readiness says so
                    return []
                raise
            return [repr(row[3]) for row in cursor.fetchall()]

    def _await_prepared(self) -> None:
        deadline = time.monotonic() + XA_SECONDS
        while names := self._prepared():
            error = _prepared(names)
            if time.monotonic() > deadline:
                raise error
            self._waits(error.message)
            time.sleep(0.2)


def _not_replayed(name: str) -> LogLost:
    return LogLost(
        f"The log does not have the rows of the prepared transaction {name} any more.", remedy=AGAIN
    )


def _prepared(names: Sequence[str]) -> LockTimeout:
    return LockTimeout(
        f"Prepared XA transactions are open, whose rows no view shows: {', '.join(names[:5])}.",
        remedy="XA COMMIT or XA ROLLBACK them, then start again.",
    )


def _unlocked(reason: Finding | None) -> PermissionDenied | LockTimeout:
    text = reason.message if reason is not None else "The position of the log is not to be had."
    if reason is not None and KEPT in text:
        return LockTimeout(
            "The global read lock was not to be had in time: no position equals the view.",
            remedy=WHO_LOCKS,
        )
    return PermissionDenied(
        f"The log's position at the view is not to be had. {text}",
        remedy="GRANT RELOAD, REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO the account.",
    )


def _identity(table: TableSchema) -> tuple[str, ...]:
    every = tuple(column.name for column in table.columns if column.generated is None)
    return row_key(table) or every


# Positions


def _number(file: str) -> int:
    return int(file.rpartition(".")[2])


def _place(position: Position) -> tuple[int, int]:
    return _number(position["file"]), int(position["pos"])


def _is_uuid(server: str) -> bool:
    return bool(re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", server.lower()))


def _covered(
    since: Position, server: str, begin: tuple[Any, int], gtid: tuple[str, int] | None, maria: bool
) -> bool:
    """Whether a transaction that begins there is at or below ``since``."""
    if since.get("file") and since["server"] == server:
        return (_number(begin[0]), begin[1]) < _place(since)
    return gtid is not None and gtid_set(since.get("gtid"), mariadb=maria).has(*gtid)


def _files(connection: Any) -> dict[str, int]:
    with translating("listing the log's files"), connection.cursor() as cursor:
        cursor.execute("SHOW BINARY LOGS")
        return {row[0]: int(row[1]) for row in cursor.fetchall()}


def _folds(connection: Any) -> bool:
    with translating("reading the settings"), connection.cursor() as cursor:
        cursor.execute("SELECT @@lower_case_table_names")
        return bool(cursor.fetchone()[0])


def _way(connection: Any, after: Position, now: Position, maria: bool) -> bool:
    """Whether to go on by GTIDs. Raises `LogLost` where neither way leads on from there."""
    gtids = gtid_set(after.get("gtid"), mariadb=maria)
    have = gtid_set(now.get("gtid"), mariadb=maria)
    same = after.get("server") == now["server"]
    if after.get("gtid") and not have.contains(gtids):  # type: ignore[arg-type]
        what = "was reset (RESET BINARY LOGS) or restored" if same else "is another one"
        raise LogLost(
            f"The server lacks transactions that were read already: it {what}.", remedy=AGAIN
        )
    if same and after.get("file"):
        files = _files(connection)
        if after["file"] not in files and after.get("gtid"):
            return True  # nothing may be lost yet: the server knows what it has purged
        if after["file"] not in files:
            raise LogLost(
                f"The server has purged {after['file']}, which is to be read on.",
                remedy=AGAIN + " Let it keep its log longer (binlog_expire_logs_seconds).",
            )
        if files[after["file"]] < int(after["pos"]):
            raise LogLost(
                f"{after['file']} ends before the position: the server was reset or restored.",
                remedy=AGAIN,
            )
        return False
    if not after.get("gtid"):
        raise LogLost(
            f"The position is of the server {after.get('server')}, this is {now['server']}, and it "
            "has no GTID set by which to find it.",
            remedy=AGAIN,
        )
    return True
