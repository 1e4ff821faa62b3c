"""MySQL and MariaDB as a source whose log can be followed."""

from __future__ import annotations

import contextlib
import functools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pymysql

from streams_engine.adapters.mysql.binlog.assembler import TransactionAssembler
from streams_engine.adapters.mysql.binlog.charsets import Charsets
from streams_engine.adapters.mysql.binlog.coverage import demand_coverage
from streams_engine.adapters.mysql.binlog.dump import BinlogDump
from streams_engine.adapters.mysql.binlog.events import Gtid, GtidBegin
from streams_engine.adapters.mysql.binlog.gtid import gtid_set
from streams_engine.adapters.mysql.binlog.reader import BinlogReader
from streams_engine.adapters.mysql.binlog.readiness import findings_for
from streams_engine.adapters.mysql.binlog.server_defaults import (
    CharacterSet,
    ServerDefaults,
    ServerFacts,
)
from streams_engine.adapters.mysql.binlog.start_position import start_position
from streams_engine.adapters.mysql.binlog.statements import StatementJudge
from streams_engine.adapters.mysql.binlog.structure_watch import (
    COLLATIONS,
    WAITING,
    StructureWatch,
)
from streams_engine.adapters.mysql.binlog.table_id_map import Place, TableIdMap
from streams_engine.adapters.mysql.catalog.reader import describe
from streams_engine.adapters.mysql.connection import MysqlConnect, is_mariadb, translating
from streams_engine.adapters.mysql.snapshot.snapshot import MysqlSnapshot
from streams_engine.adapters.mysql.snapshot.source import KEPT, WHO_LOCKS, MysqlSource, _position
from streams_engine.adapters.sql.polling import attempts
from streams_engine.contracts import Lag, Scope
from streams_engine.errors import LockTimeout, LogLost, PermissionDenied
from streams_engine.model import (
    ChangeSet,
    Finding,
    LogOptions,
    Position,
    TableId,
    TableSchema,
    TableSubscription,
)
from streams_engine.schema.ddl.mysql_keys import row_key

__all__ = ["MysqlChangeSource"]

REPLAY_SECONDS = 60
XA_DENIED = 1401
XA_SECONDS = 15
"""How long to wait for prepared transactions to end before a snapshot is refused."""

CHARACTER_SETS = (
    "SELECT character_set_name, default_collate_name, maxlen FROM information_schema.character_sets"
)
DATABASES = "SELECT schema_name, default_collation_name FROM information_schema.schemata"

SETTLED = "structure"
"""Key of a position that is reached only once the structure up to there was given too."""

AGAIN = "Load the tables again (start with fresh=True)."


class MysqlChangeSource(MysqlSource):
    """A MySQL or MariaDB server that is copied and then followed through its binary log."""

    def __init__(self, connect: MysqlConnect, options: LogOptions) -> None:
        super().__init__(connect)
        self._options = options

    @functools.cached_property
    def logs_cascades(self) -> bool:
        """Whether cascades are logged: since MySQL 9.6, above the storage engine
        (https://dev.mysql.com/doc/relnotes/mysql/9.6/en/)."""
        with contextlib.closing(self._connect.ask()) as connection:
            version = re.match(r"(\d+)\.(\d+)", str(connection.get_server_info()))
            newest = version is not None and tuple(map(int, version.groups())) >= (9, 6)
            return newest and not is_mariadb(connection)

    # Before

    def readiness(self, scope: Scope) -> Sequence[Finding]:
        """Return what prevents following these tables, each with the statement that repairs it."""
        catalog = self.catalog(scope)
        with contextlib.closing(self._connect.open(database="")) as connection:
            return findings_for(connection, catalog)

    def identities(self, tables: Sequence[TableSchema]) -> Mapping[TableId, tuple[str, ...]]:
        """Return the primary key's columns, else those of a unique key without NULLs, else all
        columns."""
        return {table.id: _identity(table) for table in tables}

    @contextlib.contextmanager
    def snapshot_at_position(
        self, scope: Scope, readers: int, *, resume: bool
    ) -> Iterator[MysqlSnapshot]:
        """Open a snapshot from whose position the log continues.

        This needs the global read lock: only under it do position and snapshot match. Raises
        `PermissionDenied` or `LockTimeout` without the lock, and `LockTimeout` if a prepared XA
        transaction stays: no snapshot contains its rows, but they are before the position.
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
        """Return the end of the log, or the position that the options name."""
        wanted = self._options.position
        if not wanted:
            return self._end()
        server = self._end()["server"]
        with contextlib.closing(self._connect.open(database="")) as connection:
            return start_position(connection, wanted, server)

    # The log

    @contextlib.contextmanager
    def changes(
        self, tracked: Sequence[TableSubscription], after: Position
    ) -> Iterator[StructureWatch]:
        """Read the log from a position. Raises `LogLost` if the server does not have it."""
        with self._read(tracked, after) as (reader, statements):
            yield StructureWatch(reader, statements, tracked, after, self._look, self.at_or_after)

    def _look(self, tables: Sequence[TableId]) -> tuple[Mapping[TableId, TableSchema], Position]:
        """Return those of the tables that exist, and the end of the log after that."""
        with (
            contextlib.closing(self._connect.open(database="")) as connection,
            translating("describing tables"),
        ):
            catalog = describe(connection, tables)
        return {table.id: table for table in catalog.tables}, self._end()

    @contextlib.contextmanager
    def _read(
        self, tracked: Sequence[TableSubscription], after: Position, *, replay: bool = False
    ) -> Iterator[tuple[BinlogReader, StatementJudge]]:
        with contextlib.closing(self._connect.ask()) as connection:
            maria = is_mariadb(connection)
            now = _position(connection)
            by_gtid = _way(connection, after, now, maria)
            demand_coverage(connection, (one.schema.id.schema for one in tracked))
            fold = _folds(connection)
        server = str(now["server"])
        statements = StatementJudge(
            self._described,
            mariadb=maria,
            fold=fold,
            foreign_keys=not self.logs_cascades,
            defaults=ServerDefaults(self._facts, after.get(COLLATIONS)),
        )
        tables = TableIdMap(
            tracked,
            statements,
            mariadb=maria,
            translate=Charsets(self._connect, mariadb=maria),
            covered=lambda since, begin, gtid: _covered(since, server, begin, gtid, maria),
        )
        with contextlib.closing(
            BinlogDump(self._connect, after, self._options.server_id, by_gtid=by_gtid)
        ) as dump:
            assembler = TransactionAssembler(
                dump.what,
                tables,
                statements,
                gtid_set(after.get("gtid"), mariadb=maria),
                after.get("prepared"),
                mariadb=maria,
                replay=replay,
            )
            reader = BinlogReader(
                dump,
                assembler,
                {**after, "file": None, "pos": 4} if by_gtid else after,
                server=server,
                replay=self._replay,
            )
            yield reader, statements

    def _facts(self) -> ServerFacts:
        """Query the server's defaults that statements depend on."""
        with (
            contextlib.closing(self._connect.open(database="")) as connection,
            translating("reading the character sets"),
            connection.cursor() as cursor,
        ):
            cursor.execute(CHARACTER_SETS)
            sets = {row[0]: CharacterSet(row[1], int(row[2])) for row in cursor.fetchall()}
            cursor.execute(DATABASES)
            databases = {row[0]: row[1] for row in cursor.fetchall()}
            cursor.execute("SELECT @@system_time_zone")
            return ServerFacts(sets, databases, str(cursor.fetchone()[0]))

    def _described(self, table: TableId) -> TableSchema | None:
        with (
            contextlib.closing(self._connect.open(database="")) as connection,
            translating(f"describing {table}"),
        ):
            return describe(connection, [table]).table(table)

    def _replay(
        self, name: str, begin: Position, tracked: Mapping[TableId, TableSubscription]
    ) -> list[ChangeSet]:
        """Read the rows of one prepared transaction from the log again."""
        known = [replace(one, since=None) for one in tracked.values()]
        try:
            with self._read(known, begin, replay=True) as (reader, _):
                sets: list[ChangeSet] = []
                while not reader.replayed:
                    one = reader.poll(REPLAY_SECONDS)
                    if one is None:
                        raise _not_replayed(name)
                    sets.append(one)
                return sets
        except LogLost:
            raise _not_replayed(name) from None

    def end(self) -> Position:
        """Return the present end of the log, including the structure up to there."""
        return {**self._end(), SETTLED: True}

    def is_read(self) -> bool | None:
        """Return True if any connection reads the binary log; None if none of this account does,
        and those of others are hidden, without the right PROCESS."""
        with (
            contextlib.closing(self._connect.ask()) as connection,
            translating("looking for readers of the log"),
            connection.cursor() as cursor,
        ):
            cursor.execute("SHOW PROCESSLIST")
            rows = cursor.fetchall()
        if any(str(row[4]).startswith("Binlog Dump") for row in rows):
            return True
        return False if len({row[1] for row in rows}) > 1 else None

    def _end(self) -> Position:
        with contextlib.closing(self._connect.ask()) as connection:
            position = _position(connection)
        if "file" not in position:
            raise PermissionDenied(
                "The server did not report the position of its binary log.",
                remedy="GRANT REPLICATION CLIENT (MariaDB: BINLOG MONITOR) ON *.* to the account, "
                "and see that log_bin is on.",
            )
        return position

    def at_or_after(self, position: Position, wanted: Position) -> bool:
        """Return True if ``position`` is at or after ``wanted``, and its structure was given."""
        waits = position.get(WAITING)
        if SETTLED in wanted and waits and self.at_or_after({**wanted, WAITING: None}, waits):
            return False
        if position.get("file") and wanted.get("file") and position["server"] == wanted["server"]:
            return _place(position) >= _place(wanted)
        maria = not _is_uuid(str(wanted.get("server") or position.get("server")))
        have = gtid_set(position.get("gtid"), mariadb=maria)
        return bool(have.contains(gtid_set(wanted.get("gtid"), mariadb=maria)))  # type: ignore[arg-type]

    def lag(self, position: Position) -> Lag:
        """Return the size of the log after the position in bytes; the server keeps none for the
        stream."""
        with contextlib.closing(self._connect.ask()) as connection:
            sizes = _files(connection)
        if not position.get("file"):
            return Lag(sum(sizes.values()))
        here = _number(position["file"])
        behind = sum(size for file, size in sizes.items() if _number(file) >= here)
        last = max(sizes, key=_number)
        end = {"server": position["server"], "file": last, "pos": sizes[last]}
        return Lag(max(0, behind - int(position["pos"])), end=end)

    # Prepared transactions

    def _prepared(self) -> list[str]:
        with (
            contextlib.closing(self._connect.open(database="")) as connection,
            translating("listing prepared transactions"),
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
        for last in attempts(XA_SECONDS, 0.2):
            names = self._prepared()
            if not names:
                return
            error = _prepared(names)
            if last:
                raise error
            self._waits(error.message)


def _not_replayed(name: str) -> LogLost:
    return LogLost(
        f"The binary log no longer contains the rows of the prepared transaction {name}.",
        remedy=AGAIN,
    )


def _prepared(names: Sequence[str]) -> LockTimeout:
    return LockTimeout(
        "Prepared XA transactions are open; no snapshot contains their rows: "
        f"{', '.join(names[:5])}.",
        remedy="Run XA COMMIT or XA ROLLBACK for them, then start again.",
    )


def _unlocked(reason: Finding | None) -> PermissionDenied | LockTimeout:
    text = (
        reason.message
        if reason is not None
        else ("The server did not report the position of its binary log.")
    )
    if reason is not None and KEPT in text:
        return LockTimeout(
            "Could not acquire the global read lock in time: the snapshot has no position of "
            "the binary log.",
            remedy=WHO_LOCKS,
        )
    return PermissionDenied(
        f"Could not read the position of the binary log at the snapshot. {text}",
        remedy="GRANT RELOAD, REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO the account.",
    )


def _identity(table: TableSchema) -> tuple[str, ...]:
    plain = tuple(column.name for column in table.columns if column.generated is None)
    key, primary = row_key(table), table.primary_key
    # A unique key over computed columns is computed on the target too, and carries no data.
    known = set(key) <= set(plain) or (primary is not None and primary.columns == key)
    return key if key and known else plain


# Positions


def _number(file: str) -> int:
    return int(file.rpartition(".")[2])


def _place(position: Position) -> tuple[int, int]:
    return _number(position["file"]), int(position["pos"])


def _is_uuid(server: str) -> bool:
    return bool(re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", server.lower()))


def _covered(
    since: Position, server: str, begin: Place, gtid: Gtid | GtidBegin | None, maria: bool
) -> bool:
    """Return whether a transaction that begins there is at or below ``since``."""
    if since.get("file") and since["server"] == server:
        return (_number(begin[0]), begin[1]) < _place(since)
    if gtid is None:
        return False
    return gtid_set(since.get("gtid"), mariadb=maria).has(gtid.source, gtid.number)


def _files(connection: Any) -> dict[str, int]:
    with translating("listing the binary log files"), connection.cursor() as cursor:
        cursor.execute("SHOW BINARY LOGS")
        return {row[0]: int(row[1]) for row in cursor.fetchall()}


def _folds(connection: Any) -> bool:
    with translating("reading the settings"), connection.cursor() as cursor:
        cursor.execute("SELECT @@lower_case_table_names")
        return bool(cursor.fetchone()[0])


def _way(connection: Any, after: Position, now: Position, maria: bool) -> bool:
    """Return whether to continue by GTIDs. Raises `LogLost` if neither GTIDs nor file positions can
    be continued."""
    gtids = gtid_set(after.get("gtid"), mariadb=maria)
    have = gtid_set(now.get("gtid"), mariadb=maria)
    same = after.get("server") == now["server"]
    if after.get("gtid") and not have.contains(gtids):  # type: ignore[arg-type]
        what = "was reset (RESET BINARY LOGS) or restored" if same else "is another one"
        raise LogLost(
            f"The server lacks transactions that the stream has read: it {what}.", remedy=AGAIN
        )
    if same and after.get("file"):
        files = _files(connection)
        if after["file"] not in files and after.get("gtid"):
            return True  # nothing may be lost yet: the server knows what it has purged
        if after["file"] not in files:
            raise LogLost(
                f"The server has purged {after['file']}, the next binary log file to read.",
                remedy=AGAIN + " Keep binary log files for longer (binlog_expire_logs_seconds).",
            )
        if files[after["file"]] < int(after["pos"]):
            raise LogLost(
                f"{after['file']} ends before the position: the server was reset or restored.",
                remedy=AGAIN,
            )
        return False
    if not after.get("gtid"):
        raise LogLost(
            f"The position is of server {after.get('server')}, this is server {now['server']}, "
            "and without a GTID set the position means nothing on it.",
            remedy=AGAIN,
        )
    return True
