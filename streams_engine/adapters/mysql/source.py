"""MySQL and MariaDB as a source: the catalog, and one consistent view for all readers."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pymysql
from pymysql.constants import ER

from streams_engine.adapters.mysql.catalog import TRANSACTIONAL, read_catalog, tables_in_scope
from streams_engine.adapters.mysql.connect import (
    MysqlConnect,
    is_mariadb,
    translate,
    translating,
)
from streams_engine.adapters.mysql.query import query_tables
from streams_engine.adapters.mysql.scans import observe
from streams_engine.adapters.mysql.selecting import name
from streams_engine.adapters.mysql.snapshot import MysqlSnapshot
from streams_engine.errors import (
    AuthenticationFailed,
    ConnectionFailed,
    LockTimeout,
    NotFound,
)
from streams_engine.model import (
    Catalog,
    Dialect,
    Finding,
    Observed,
    Position,
    SequenceValue,
    Severity,
    TableId,
    TableSchema,
)
from streams_engine.protocols import Scope, Waiting
from streams_engine.sharing import Offer, Ticket

__all__ = ["MysqlSource"]

LOCK_SECONDS = 5
"""How long the global read lock is tried for before we do without it, and other locks after it."""

ATTEMPT_SECONDS = 1
"""How long an attempt waits for a lock: whoever comes after it waits as long."""

PAUSE_SECONDS = 0.1
"""Between two attempts, for those who waited."""

KEPT = "another session keeps it waiting"

WHO_LOCKS = (
    "End what holds it: SHOW PROCESSLIST, performance_schema.metadata_locks (MariaDB: the plugin "
    "METADATA_LOCK_INFO), and information_schema.innodb_trx show sessions and open transactions."
)

BUSY = """
SELECT id FROM information_schema.processlist WHERE id <> CONNECTION_ID() AND time > 0
AND command NOT IN ('Sleep', 'Daemon', 'Slave_IO', 'Slave_SQL', 'Slave_worker')
AND command NOT LIKE 'Binlog Dump%' ORDER BY time DESC LIMIT 5
"""

TABLES_AT_ONCE = 50

LISTINGS = 5
"""How often the tables are listed and locked, where others come or go meanwhile."""

AUTO_INCREMENTS = """
SELECT table_schema, table_name, auto_increment FROM information_schema.tables
WHERE table_schema IN %s AND auto_increment IS NOT NULL
"""

NOT_TO_BE_HAD = frozenset(
    {ER.PARSE_ERROR, ER.UNKNOWN_SYSTEM_VARIABLE, ER.SPECIFIC_ACCESS_DENIED_ERROR}
)
"""What a server answers to a statement of another version or flavour, or without the right."""

BEGIN = "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY"


class MysqlSource:
    """A MySQL or MariaDB server that is read. Safe to use from many threads."""

    dialect = Dialect.MYSQL

    def __init__(self, connect: MysqlConnect, *, looking: bool = False) -> None:
        """``looking``: no log goes on from its views, so no lock is taken, and one reader reads."""
        self._connect = connect
        self._looking = looking
        self._open: set[MysqlSnapshot] = set()
        self._offer: Offer | None = None
        self._waits: Waiting = lambda what: None

    def watch_waits(self, waiting: Waiting) -> None:
        """Tell this what a view waits for; what it raises ends the wait."""
        self._waits = waiting

    def share(self, offer: Offer) -> None:
        """From now on each view is offered to other processes while writers are locked out.

        One connection of this process's own is enough then.
        """
        self._offer = offer

    @contextlib.contextmanager
    def join(self, ticket: Ticket, readers: int) -> Iterator[MysqlSnapshot]:
        """Begin in the view of another process, which keeps writers out until this returns."""
        with contextlib.ExitStack() as stack:
            connections = []
            for _ in range(readers + 1):
                connection = self._connect.open()
                stack.callback(_close, connection)
                connections.append(connection)
            with translating("joining the snapshot"):
                _begin_all(connections)
            for connection in connections:
                _lock(connection, ticket.view, named=True)
            holder = connections.pop()
            view = MysqlSnapshot(connections, Catalog(Dialect.MYSQL), {}, (), holder)
            stack.callback(view.close)
            self._open.add(view)
            try:
                yield view
            finally:
                self._open.discard(view)

    def check(self) -> Sequence[Finding]:
        """Connect, and say what hinders a snapshot."""
        with contextlib.closing(self._connect.open()) as connection:
            major = int(str(connection.get_server_info()).split(".")[0])
            if is_mariadb(connection) or major >= 8:
                return ()
            return (
                Finding(
                    Severity.ERROR,
                    "server-version",
                    "source",
                    f"MySQL {connection.get_server_info()} is too old.",
                    "MySQL 8.0 and newer and MariaDB 10.6 and newer can be read.",
                ),
            )

    def _scope(self, scope: Scope) -> Scope:
        return scope if scope.schema else replace(scope, schema=self._connect.database)

    def catalog(self, scope: Scope) -> Catalog:
        """Describe the tables in scope, without locks."""
        with contextlib.closing(self._connect.open()) as connection:
            wanted = self._scope(scope)
            return _with_queries(connection, read_catalog(connection, wanted), wanted)

    def sequence_values(self, tables: Sequence[TableSchema]) -> Sequence[SequenceValue]:
        """What each AUTO_INCREMENT column of the tables gives next."""
        numbered = {
            table.id: column.name
            for table in tables
            for column in table.columns
            if column.identity is not None
        }
        schemas = sorted({table.schema for table in numbered})
        if not schemas:
            return ()
        with (
            contextlib.closing(self._connect.open()) as connection,
            translating("reading AUTO_INCREMENT"),
            connection.cursor() as cursor,
        ):
            cursor.execute(AUTO_INCREMENTS, (schemas,))
            following = {TableId(row[0], row[1]): row[2] for row in cursor.fetchall()}
        return tuple(
            SequenceValue(int(following[table]), called=False, column=(table, column))
            for table, column in numbered.items()
            if table in following
        )

    def observe(
        self,
        tables: Sequence[TableSchema],
        *,
        booleans: bool,
        zero_dates: bool,
        foreign_keys: bool,
    ) -> Observed:
        """What a scan of the rows shows, as they are now."""
        with contextlib.closing(self._connect.open()) as connection:
            return observe(
                connection,
                tables,
                booleans=booleans,
                zero_dates=zero_dates,
                foreign_keys=foreign_keys,
            )

    @contextlib.contextmanager
    def snapshot(self, scope: Scope, readers: int) -> Iterator[MysqlSnapshot]:
        """One view on ``readers`` connections, begun together under a global read lock.

        Under it each of them takes metadata locks on every table, which last as long as its
        transaction: no DDL can spoil the view. Where the rights or the global lock are not
        to be had, one connection alone reads: its view is just as consistent, and a finding
        says so. Raises `LockTimeout`, which may be tried again, where a lock is kept by others.
        """
        wanted = self._scope(scope)
        with contextlib.ExitStack() as stack:

            def opened() -> Any:
                connection = self._connect.open()
                stack.callback(_close, connection)
                return connection

            holder, locker = opened(), opened()
            own = 1 if self._looking or self._offer is not None else readers
            connections = [opened() for _ in range(own)]
            findings: list[Finding] = []
            tables, position = self._begin(locker, holder, connections, wanted, findings)
            _close(locker)
            catalog = _with_queries(holder, read_catalog(holder, wanted, tables), wanted)
            findings += _not_transactional(catalog)
            view = MysqlSnapshot(connections, catalog, position, findings, holder)
            stack.callback(view.close)
            self._open.add(view)
            try:
                yield view
            finally:
                self._open.discard(view)

    def _begin(
        self,
        locker: Any,
        holder: Any,
        connections: list[Any],
        scope: Scope,
        findings: list[Finding],
    ) -> tuple[list[TableId], Position]:
        """Begin every transaction at one moment, and read the log's position at it.

        Nothing is kept from one attempt to the next, so that whoever is in the way can go on.
        """
        for connection in (locker, holder, *connections):
            with translating("opening the snapshot"), connection.cursor() as cursor:
                cursor.execute(f"SET SESSION lock_wait_timeout = {ATTEMPT_SECONDS}")
        until = time.monotonic() + LOCK_SECONDS
        while True:
            last = time.monotonic() >= until
            try:
                return self._attempt(locker, holder, connections, scope, findings, last=last)
            except LockTimeout as error:
                _roll_back([holder, *connections])
                over = last and time.monotonic() >= until + LOCK_SECONDS
                if over or not error.retryable:
                    raise
                self._waits(error.message)
                time.sleep(PAUSE_SECONDS)

    def _attempt(
        self,
        locker: Any,
        holder: Any,
        connections: list[Any],
        scope: Scope,
        findings: list[Finding],
        *,
        last: bool,
    ) -> tuple[list[TableId], Position]:
        """Begin the view, or raise `LockTimeout`.

        No metadata lock is held while the global one is waited for: DDL that waits for the one
        keeps the other from everybody. ``last``: do without the global lock.
        """
        try:
            reason = self._shut_out(locker, holder, scope, last=last)
            if reason is not None and (len(connections) > 1 or self._offer is not None):
                for connection in connections[1:]:
                    _close(connection)
                del connections[1:]
                findings.append(
                    Finding(
                        Severity.WARNING,
                        "one-reader",
                        "source",
                        f"A global read lock was not to be had ({reason}), nor locks on the "
                        "tables: one connection reads everything, in one consistent view.",
                        "GRANT RELOAD, or LOCK TABLES on the database, for parallel reading.",
                    )
                )
            named = scope.tables is not None
            _begin_latest(holder)
            tables = _lock(holder, tables_in_scope(holder, scope), named=named)
            position = _position(locker)
            if set(tables_in_scope(holder, scope)) - set(tables):
                raise LockTimeout("A table came while the view was opened.", remedy=WHO_LOCKS)
            with translating("opening the snapshot"):
                _begin_all(connections)
            if reason is not None and _position(locker) != position:
                # A commit fell in between: no position can be said to equal the view.
                position = {"server": position["server"]}
            _lock_alike(connections, tables)
            if reason is None and self._offer is not None:
                self._offer(Ticket(tuple(tables), late=False))
        except BaseException:
            with contextlib.suppress(pymysql.MySQLError):
                _unlock(locker)
            raise
        try:
            # A session that broke has lost its lock: that it unlocks now proves that it was held
            # when the last reader began.
            _unlock(locker)
        except pymysql.MySQLError as error:
            raise ConnectionFailed(
                f"{translate(error, 'the read lock').message} It was lost before every reader had "
                "begun: no position equals their view.",
                remedy="Start again.",
            ) from None
        return tables, position

    def _shut_out(self, locker: Any, holder: Any, scope: Scope, *, last: bool) -> str | None:
        """Keep writers out until the locker unlocks. Returns None, or why that was not had.

        Where the global read lock is not to be had, as on managed servers, locks on the tables
        do: what is committed to others meanwhile is in no view, and passed over in the log.
        """
        if self._looking:
            return "nobody asked for it"
        reason = _global_lock(locker)
        if reason is None or _table_locks(locker, holder, scope):
            return None
        if reason == KEPT and not last:
            raise LockTimeout(
                f"The global read lock: {reason}.{_busy_sessions(locker)}", remedy=WHO_LOCKS
            )
        return reason

    def close(self) -> None:
        """End every open view and its readers."""
        for view in list(self._open):
            view.close()


def _with_queries(connection: Any, catalog: Catalog, scope: Scope) -> Catalog:
    found = query_tables(connection, scope.queries, scope.schema)
    return replace(catalog, tables=(*catalog.tables, *found))


def _begin_latest(connection: Any) -> None:
    """Begin a transaction whose statements each see what is committed.

    With repeatable reads MySQL's information_schema shows the tables as they were at the first
    statement, which is before their metadata locks are had.
    """
    with translating("opening the snapshot"), connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL READ COMMITTED")
        connection.begin()


def _begin_all(connections: Sequence[Any]) -> None:
    """Begin the transaction of each, in the view of this moment."""
    for connection in connections:
        with connection.cursor() as cursor:
            cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            cursor.execute(BEGIN)


def _close(connection: Any) -> None:
    """Close a connection, also one that is closed or broken."""
    with contextlib.suppress(pymysql.MySQLError):
        connection.close()


def _roll_back(connections: Sequence[Any]) -> None:
    """Release the metadata locks of each."""
    for connection in connections:
        with contextlib.suppress(pymysql.MySQLError):
            connection.rollback()


def _busy_sessions(connection: Any) -> str:
    """A sentence about who may keep the global lock; empty where that is not known."""
    try:
        with connection.cursor() as cursor:
            cursor.execute(BUSY)
            numbers = [str(row[0]) for row in cursor.fetchall()]
    except pymysql.MySQLError:
        return ""
    return f" Sessions that work at long statements: {', '.join(numbers)}." if numbers else ""


def _unlock(locker: Any) -> None:
    with locker.cursor() as cursor:
        cursor.execute("UNLOCK TABLES")


def _global_lock(locker: Any) -> str | None:
    """Take the global read lock. Returns None, or why it was not had.

    Raises `ConnectionFailed` where the session broke.
    """
    try:
        with locker.cursor() as cursor:
            cursor.execute("FLUSH TABLES WITH READ LOCK")
        return None
    except pymysql.MySQLError as error:
        _demand_alive(error, "taking the global read lock")
        number = error.args[0] if error.args else 0
        return {
            1227: "the account lacks the RELOAD right",
            1045: "the account lacks the RELOAD right",
            1205: KEPT,
        }.get(number, f"error {number}")


def _table_locks(locker: Any, holder: Any, scope: Scope) -> bool:
    """Lock the tables against writes, all at once. False where that is not to be had."""
    for _ in range(LISTINGS):
        tables = tables_in_scope(holder, scope)
        if not tables:
            return False
        try:
            with locker.cursor() as cursor:
                cursor.execute("LOCK TABLES " + ", ".join(f"{name(t)} READ" for t in tables))
        except pymysql.MySQLError as error:
            _demand_alive(error, "taking read locks on the tables")
            return False
        if tables_in_scope(holder, scope) == tables:
            return True
    return False


def _demand_alive(error: pymysql.MySQLError, what: str) -> None:
    """Raise `ConnectionFailed` where the error means that the session broke."""
    found = translate(error, what)
    if isinstance(found, ConnectionFailed) and not isinstance(found, AuthenticationFailed):
        raise found from None


def _position(connection: Any) -> Position:
    """Server identity, binlog file and position, and GTID set, as far as they are to be had.

    What the server does not know, or the account may not see, is left out; every other error
    is raised.
    """
    found: dict[str, Any] = {"server": _scalar(connection, "SELECT @@server_uuid")}
    if found["server"] is None:
        found["server"] = f"server_id {_scalar(connection, 'SELECT @@server_id')}"
    for query in ("SHOW BINARY LOG STATUS", "SHOW MASTER STATUS"):
        row = _row(connection, query)
        if row:
            found |= {"file": row[0], "pos": row[1]}
            break
    if is_mariadb(connection):
        found["gtid"] = _scalar(connection, "SELECT @@gtid_binlog_pos")
    else:
        found["gtid"] = _scalar(connection, "SELECT @@global.gtid_executed")
    return found


def _scalar(connection: Any, query: str) -> Any:
    row = _row(connection, query)
    return None if row is None else row[0]


def _row(connection: Any, query: str) -> Any:
    """The first row; None where there is none, or the query is not for this server or account."""
    try:
        with connection.cursor() as cursor:
            cursor.execute(query)
            return cursor.fetchone()
    except pymysql.MySQLError as error:
        if error.args and error.args[0] in NOT_TO_BE_HAD:
            return None
        raise translate(error, "reading the position of the log") from None


def _lock(connection: Any, tables: Sequence[TableId], *, named: bool) -> list[TableId]:
    """Lock tables against DDL until the transaction ends. Returns those that are there.

    Raises `NotFound` where a ``named`` one is not; others may vanish while we look.
    """
    locked: list[TableId] = []
    for start in range(0, len(tables), TABLES_AT_ONCE):
        part = tables[start : start + TABLES_AT_ONCE]
        try:
            _touch(connection, part)
            locked += part
        except pymysql.MySQLError:
            for table in part:  # to say which
                try:
                    with translating(f"locking {table} against DDL"):
                        _touch(connection, [table])
                    locked.append(table)
                except NotFound:
                    if named:
                        raise
                except LockTimeout:
                    raise LockTimeout(
                        f"locking {table} against DDL: another session keeps a lock on it, or "
                        "waits for one.",
                        remedy=WHO_LOCKS,
                        table=str(table),
                    ) from None
    return locked


def _lock_alike(connections: Sequence[Any], tables: Sequence[TableId]) -> None:
    """Lock tables against DDL on each connection, side by side.

    Each needs locks of its own: DDL that waits for another's would stand before it in the queue.
    """
    with ThreadPoolExecutor(len(connections)) as pool:
        list(pool.map(lambda c: _lock(c, tables, named=True), connections))


def _touch(connection: Any, tables: Sequence[TableId]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(" UNION ALL ".join(f"(SELECT 1 FROM {name(t)} LIMIT 0)" for t in tables))


def _not_transactional(catalog: Catalog) -> Iterator[Finding]:
    for table in catalog.tables:
        if table.query is None and table.engine not in TRANSACTIONAL:
            yield Finding(
                Severity.WARNING,
                "not-transactional",
                str(table.id),
                f"Its engine {table.engine} keeps no views: writes during the copy show in it.",
                "Keep writers away while it is copied, or convert it to InnoDB.",
            )
