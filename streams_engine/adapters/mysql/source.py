"""MySQL and MariaDB as a source: the catalog, and one consistent view for all readers."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pymysql

from streams_engine.adapters.mysql.catalog import TRANSACTIONAL, read_catalog, tables_in_scope
from streams_engine.adapters.mysql.connect import MysqlConnect, is_mariadb, translating
from streams_engine.adapters.mysql.query import query_tables
from streams_engine.adapters.mysql.selecting import name
from streams_engine.adapters.mysql.snapshot import MysqlSnapshot, boolean_columns
from streams_engine.errors import NotFound
from streams_engine.model import (
    Catalog,
    Dialect,
    Finding,
    Position,
    SequenceValue,
    Severity,
    TableId,
    TableSchema,
)
from streams_engine.protocols import Scope
from streams_engine.sharing import Offer, Ticket

__all__ = ["MysqlSource"]

LOCK_SECONDS = 5
"""How long the global read lock may keep new writes waiting before we do without it."""

TABLES_AT_ONCE = 50

AUTO_INCREMENTS = """
SELECT table_schema, table_name, auto_increment FROM information_schema.tables
WHERE table_schema IN %s AND auto_increment IS NOT NULL
"""

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

    def boolean_columns(self, tables: Sequence[TableSchema]) -> frozenset[tuple[TableId, str]]:
        """The TINYINT(1) columns that hold nothing but 0, 1 and NULL, by a scan."""
        with contextlib.closing(self._connect.open()) as connection:
            return boolean_columns(connection, tables)

    @contextlib.contextmanager
    def snapshot(self, scope: Scope, readers: int) -> Iterator[MysqlSnapshot]:
        """One view on ``readers`` connections, begun together under a global read lock.

        Before that a holder takes metadata locks on every table, which last as long as its
        transaction: no DDL can spoil the view. Where the rights or the global lock are not
        to be had, one connection alone reads: its view is just as consistent, and a finding
        says so.
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
            holder.begin()
            tables = _lock(holder, tables_in_scope(holder, wanted), named=wanted.tables is not None)
            findings: list[Finding] = []
            position = self._begin(locker, connections, tables, findings)
            _close(locker)
            # Each reader has these locks itself: DDL that waits for the holder's would otherwise
            # stand before it in the queue.
            for connection in connections:
                _lock(connection, tables, named=True)
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
        connections: list[Any],
        tables: Sequence[TableId],
        findings: list[Finding],
    ) -> Position:
        """Begin every transaction at one moment, and read the log's position at it.

        Where the global read lock is not to be had, as on managed servers, locks on the tables
        do: what is committed to others meanwhile is in no view, and passed over in the log.
        """
        reason = "nobody asked for it" if self._looking else _global_lock(locker)
        if reason is not None and not self._looking and _table_locks(locker, tables):
            reason = None
        try:
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
            position = _position(locker)
            with translating("opening the snapshot"):
                _begin_all(connections)
            if reason is None and self._offer is not None:
                self._offer(Ticket(tuple(tables), late=False))
            if reason is not None and _position(locker) != position:
                # A commit fell in between: no position can be said to equal the view.
                return {"server": position["server"]}
            return position
        finally:
            with contextlib.suppress(pymysql.MySQLError), locker.cursor() as cursor:
                cursor.execute("UNLOCK TABLES")

    def close(self) -> None:
        """End every open view and its readers."""
        for view in list(self._open):
            view.close()


def _with_queries(connection: Any, catalog: Catalog, scope: Scope) -> Catalog:
    found = query_tables(connection, scope.queries, scope.schema)
    return replace(catalog, tables=(*catalog.tables, *found))


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


def _global_lock(locker: Any) -> str | None:
    """Take the global read lock. Returns None, or why it was not had."""
    try:
        with locker.cursor() as cursor:
            cursor.execute(f"SET SESSION lock_wait_timeout = {LOCK_SECONDS}")
            cursor.execute("FLUSH TABLES WITH READ LOCK")
        return None
    except pymysql.MySQLError as error:
        number = error.args[0] if error.args else 0
        return {
            1227: "the account lacks the RELOAD right",
            1045: "the account lacks the RELOAD right",
            1205: f"another session kept it waiting for {LOCK_SECONDS} seconds",
        }.get(number, f"error {number}")


def _table_locks(locker: Any, tables: Sequence[TableId]) -> bool:
    """Lock the tables against writes, all at once. False where that is not to be had."""
    if not tables:
        return False
    try:
        with locker.cursor() as cursor:
            cursor.execute("LOCK TABLES " + ", ".join(f"{name(t)} READ" for t in tables))
        return True
    except pymysql.MySQLError:
        return False


def _position(connection: Any) -> Position:
    """Server identity, binlog file and position, and GTID set, as far as they are to be had."""
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
    try:
        with connection.cursor() as cursor:
            cursor.execute(query)
            return cursor.fetchone()
    except pymysql.MySQLError:
        return None


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
    return locked


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
