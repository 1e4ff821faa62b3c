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

from streams_engine.adapters.mysql.catalog.reader import (
    TRANSACTIONAL,
    read_catalog,
    tables_in_scope,
)
from streams_engine.adapters.mysql.connection import (
    MysqlConnect,
    is_mariadb,
    translate,
    translating,
)
from streams_engine.adapters.mysql.snapshot.scans import observe
from streams_engine.adapters.mysql.snapshot.select import name
from streams_engine.adapters.mysql.snapshot.snapshot import MysqlSnapshot
from streams_engine.contracts import OfferCallback, Scope, SnapshotHandle, WaitCallback
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
    Position,
    RowObservations,
    SequenceValue,
    Severity,
    TableId,
    TableSchema,
)

__all__ = ["MysqlSource"]

ATTEMPT_SECONDS = 1
"""How long an attempt waits for a lock: whoever comes after it waits as long."""

PAUSE_SECONDS = 0.1
"""Between two attempts, for those who waited."""

KEPT = "another session blocks it"

WHO_LOCKS = (
    "End the session that holds it: SHOW PROCESSLIST, performance_schema.metadata_locks "
    "(MariaDB: the plugin METADATA_LOCK_INFO) and information_schema.innodb_trx show sessions "
    "and open transactions."
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
        """Create a source. ``looking``: only previews read it, so no lock is taken, and one
        connection reads."""
        self._connect = connect
        self._looking = looking
        self._open: set[MysqlSnapshot] = set()
        self._checked: list[Any] = []
        """The connection of the last `check`, which the snapshot after it uses."""
        self._offer: OfferCallback | None = None
        self._waits: WaitCallback = lambda what: None

    def watch_waits(self, waiting: WaitCallback) -> None:
        """Call this with what a snapshot waits for; an exception ends the wait."""
        self._waits = waiting

    def share(self, offer: OfferCallback) -> None:
        """Offer every later snapshot to other processes while the global read lock is held.

        This process itself then needs only one connection.
        """
        self._offer = offer

    @contextlib.contextmanager
    def join(self, handle: SnapshotHandle, readers: int) -> Iterator[MysqlSnapshot]:
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
                _lock(connection, handle.view, named=True)
            holder = connections.pop()
            view = MysqlSnapshot(connections, Catalog(Dialect.MYSQL), {}, (), holder)
            stack.callback(view.close)
            self._open.add(view)
            try:
                yield view
            finally:
                self._open.discard(view)

    def check(self) -> Sequence[Finding]:
        """Connect, and return what prevents a snapshot."""
        connection = self._connect.open()
        self._close_checked()
        self._checked.append(connection)
        major = int(str(connection.get_server_info()).split(".")[0])
        if is_mariadb(connection) or major >= 8:
            return ()
        return (
            Finding(
                Severity.ERROR,
                "server-version",
                "source",
                f"MySQL {connection.get_server_info()} is too old.",
                "The source must be MySQL 8.0 or newer, or MariaDB 10.6 or newer.",
            ),
        )

    def _close_checked(self) -> None:
        while self._checked:
            _close(self._checked.pop())

    def _scope(self, scope: Scope) -> Scope:
        return scope if scope.schema else replace(scope, schema=self._connect.database)

    def catalog(self, scope: Scope) -> Catalog:
        """Describe the tables in scope, without locks."""
        with contextlib.closing(self._connect.open()) as connection:
            wanted = self._scope(scope)
            return _with_queries(connection, read_catalog(connection, wanted), wanted)

    def sequence_values(self, tables: Sequence[TableSchema]) -> Sequence[SequenceValue]:
        """Read the next value of each AUTO_INCREMENT column of the tables."""
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
            contextlib.closing(self._connect.ask()) as connection,
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
        times: bool,
        foreign_keys: bool,
    ) -> RowObservations:
        """Scan the rows as they are now."""
        with contextlib.closing(self._connect.open()) as connection:
            return observe(
                connection,
                tables,
                booleans=booleans,
                zero_dates=zero_dates,
                times=times,
                foreign_keys=foreign_keys,
            )

    def tables(self, scope: Scope) -> Sequence[TableId]:
        """Return the names of the tables in scope."""
        with contextlib.closing(self._connect.ask()) as connection:
            return tables_in_scope(connection, scope)

    @contextlib.contextmanager
    def snapshot(self, scope: Scope, readers: int) -> Iterator[MysqlSnapshot]:
        """Open a snapshot on ``readers`` connections, begun together under a global read lock.

        Under the lock each takes metadata locks on every table until its transaction ends, so that
        no DDL can change them. Without the privileges or the lock only one connection reads: its
        snapshot is just as consistent, and a finding says so. Raises `LockTimeout`, which is
        retryable, if other sessions hold a lock.
        """
        wanted = self._scope(scope)
        with contextlib.ExitStack() as stack:
            own = 1 if self._looking or self._offer is not None else readers
            holder, locker, *connections = self._opened(stack, own + 2)
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

    def _opened(self, stack: contextlib.ExitStack, count: int) -> list[Any]:
        """Open connections at once; the stack closes them. One that `check` left is taken."""
        connections = []
        with contextlib.suppress(IndexError):
            connections.append(self._checked.pop())
        with ThreadPoolExecutor(count) as pool:
            opening = [pool.submit(self._connect.open) for _ in range(count - len(connections))]
        connections += [future.result() for future in opening if future.exception() is None]
        for connection in connections:
            stack.callback(_close, connection)
        for future in opening:
            future.result()  # the error of one that did not open
        for connection in connections:
            with translating("opening the snapshot"), connection.cursor() as cursor:
                cursor.execute(f"SET SESSION lock_wait_timeout = {ATTEMPT_SECONDS}")
        return connections

    def _begin(
        self,
        locker: Any,
        holder: Any,
        connections: list[Any],
        scope: Scope,
        findings: list[Finding],
    ) -> tuple[list[TableId], Position]:
        """Begin every transaction at one moment, and read the log's position at it.

        No lock is kept between attempts, so that a blocking session can continue.
        """
        # Half of the time is the global lock's, before it is done without.
        half = self._connect.lock_seconds / 2
        until = time.monotonic() + half
        while True:
            last = time.monotonic() >= until
            try:
                return self._attempt(locker, holder, connections, scope, findings, last=last)
            except LockTimeout as error:
                _roll_back([holder, *connections])
                over = last and time.monotonic() >= until + half
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
                        f"Could not acquire the global read lock ({reason}) or locks on the "
                        "tables: one connection reads all tables in one consistent snapshot.",
                        "GRANT RELOAD, or LOCK TABLES on the database, for parallel reading.",
                    )
                )
            named = scope.tables is not None
            _begin_latest(holder)
            tables = _lock(holder, tables_in_scope(holder, scope), named=named)
            position = _position(locker)
            if set(tables_in_scope(holder, scope)) - set(tables):
                raise LockTimeout(
                    "A table was created while the snapshot was opened.", remedy=WHO_LOCKS
                )
            with translating("opening the snapshot"):
                _begin_all(connections)
            if reason is not None and _position(locker) != position:
                # A commit fell in between: no position can be said to equal the view.
                position = {"server": position["server"]}
            _lock_alike(connections, tables)
            if reason is None and self._offer is not None:
                self._offer(SnapshotHandle(tuple(tables), late=False))
        except BaseException:
            with contextlib.suppress(pymysql.MySQLError):
                _unlock(locker)
            raise
        _unlock_held(locker)
        return tables, position

    def _shut_out(self, locker: Any, holder: Any, scope: Scope, *, last: bool) -> str | None:
        """Block writers until the locker unlocks; return None, or why that failed.

        If the global read lock is not available, as on managed servers, table locks are enough:
        what is committed to other tables meanwhile is in no snapshot, and skipped in the log.
        """
        if self._looking:
            return "not requested"
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
        self._close_checked()
        self._connect.abort.give_up()


def _with_queries(connection: Any, catalog: Catalog, scope: Scope) -> Catalog:
    if not scope.queries:
        return catalog
    from streams_engine.adapters.mysql.snapshot.query import query_tables

    queried = query_tables(connection, scope.queries, scope.schema)
    return replace(catalog, tables=(*catalog.tables, *queried))


def _begin_latest(connection: Any) -> None:
    """Begin a transaction whose statements each see the latest commits.

    With repeatable reads MySQL's information_schema would show the tables as of the first
    statement, before their metadata locks are acquired.
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
    """Return a sentence that names sessions that may hold the global lock; empty if unknown."""
    try:
        with connection.cursor() as cursor:
            cursor.execute(BUSY)
            numbers = [str(row[0]) for row in cursor.fetchall()]
    except pymysql.MySQLError:
        return ""
    return f" Sessions that run long statements: {', '.join(numbers)}." if numbers else ""


def _unlock(locker: Any) -> None:
    with locker.cursor() as cursor:
        cursor.execute("UNLOCK TABLES")


def _unlock_held(locker: Any) -> None:
    """Unlock, which proves that the lock was held until now: a session that broke has lost it.

    Raises `ConnectionFailed` if it was lost.
    """
    try:
        _unlock(locker)
    except pymysql.MySQLError as error:
        raise ConnectionFailed(
            f"{translate(error, 'the read lock').message} The lock was lost before every "
            "reader had begun: the snapshot has no position of the binary log.",
            remedy="Start again.",
        ) from None


def _global_lock(locker: Any) -> str | None:
    """Take the global read lock. Returns None, or why it was not had.

    Raises `ConnectionFailed` if the session broke.
    """
    try:
        with locker.cursor() as cursor:
            cursor.execute("FLUSH TABLES WITH READ LOCK")
        return None
    except pymysql.MySQLError as error:
        _demand_alive(error, "taking the global read lock")
        number = error.args[0] if error.args else 0
        return {
            1227: "the account lacks the RELOAD privilege",
            1045: "the account lacks the RELOAD privilege",
            1205: KEPT,
        }.get(number, f"error {number}")


def _table_locks(locker: Any, holder: Any, scope: Scope) -> bool:
    """Lock the tables against writes, all at once; return False if that fails."""
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
    """Raise `ConnectionFailed` if the error means that the session broke."""
    fault = translate(error, what)
    if isinstance(fault, ConnectionFailed) and not isinstance(fault, AuthenticationFailed):
        raise fault from None


def _position(connection: Any) -> Position:
    """Return server identity, binary log file and position, and GTID set, as far as the server
    shows them.

    What the server does not know, or the account cannot see, is left out; every other error is
    raised.
    """
    position: dict[str, Any] = {"server": _scalar(connection, "SELECT @@server_uuid")}
    if position["server"] is None:
        position["server"] = f"server_id {_scalar(connection, 'SELECT @@server_id')}"
    for query in ("SHOW BINARY LOG STATUS", "SHOW MASTER STATUS"):
        row = _row(connection, query)
        if row:
            position |= {"file": row[0], "pos": row[1]}
            break
    if is_mariadb(connection):
        position["gtid"] = _scalar(connection, "SELECT @@gtid_binlog_pos")
    else:
        position["gtid"] = _scalar(connection, "SELECT @@global.gtid_executed")
    return position


def _scalar(connection: Any, query: str) -> Any:
    row = _row(connection, query)
    return None if row is None else row[0]


def _row(connection: Any, query: str) -> Any:
    """Return the first row; None if there is none, or this server or account does not support the
    query."""
    try:
        with connection.cursor() as cursor:
            cursor.execute(query)
            return cursor.fetchone()
    except pymysql.MySQLError as error:
        if error.args and error.args[0] in NOT_TO_BE_HAD:
            return None
        raise translate(error, "reading the position of the binary log") from None


def _lock(connection: Any, tables: Sequence[TableId], *, named: bool) -> list[TableId]:
    """Lock tables against DDL until the transaction ends. Returns those that are there.

    Raises `NotFound` if a ``named`` one is not; others may vanish while we look.
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
                        f"locking {table} against DDL: another session holds a lock on it, or "
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
                f"The engine {table.engine} has no snapshots: the copy sees rows that are "
                "written while it runs.",
                "Stop writing to the table while it is copied, or convert it to InnoDB.",
            )
