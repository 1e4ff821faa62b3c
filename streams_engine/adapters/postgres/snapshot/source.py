"""PostgreSQL as a source: its catalog, and one exported snapshot for all readers."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import replace

import psycopg
from psycopg import sql

from streams_engine.adapters.postgres.catalog import queries
from streams_engine.adapters.postgres.catalog.reader import (
    read_catalog,
    tables_in_scope,
    undisturbed,
)
from streams_engine.adapters.postgres.connection import PostgresConnect, translating
from streams_engine.adapters.postgres.row_security import demand_all_rows
from streams_engine.adapters.postgres.snapshot.select import name, path_of
from streams_engine.adapters.postgres.snapshot.snapshot import PostgresSnapshot
from streams_engine.contracts import OfferCallback, Scope, SnapshotHandle
from streams_engine.errors import LockTimeout, NotFound, PermissionDenied, SnapshotLost
from streams_engine.model import (
    Catalog,
    Dialect,
    Finding,
    SequenceValue,
    Severity,
    TableId,
    TableSchema,
)

__all__ = ["PostgresSource"]

OLDEST = 130000

LOCK = "SAVEPOINT lock; LOCK TABLE {} IN ACCESS SHARE MODE; RELEASE SAVEPOINT lock"
TABLES_AT_ONCE = 50
UNDO = "ROLLBACK TO SAVEPOINT lock; RELEASE SAVEPOINT lock"


class PostgresSource:
    """A PostgreSQL database that is read. Safe to use from many threads."""

    dialect = Dialect.POSTGRES

    def __init__(self, connect: PostgresConnect, *, looking: bool = False) -> None:
        """Create a source. ``looking``: only previews read it, perhaps a few rows; no stream
        continues from it."""
        self._connect = connect
        self._looking = looking
        self._open: set[PostgresSnapshot] = set()
        self._offer: OfferCallback | None = None

    def share(self, offer: OfferCallback) -> None:
        """Offer every later snapshot to other processes, which may join while it is open."""
        self._offer = offer

    def offered(self, view: PostgresSnapshot) -> PostgresSnapshot:
        """Return the snapshot after all invited processes have joined it."""
        self._open.add(view)
        if self._offer is not None:
            self._offer(view.handle())
        return view

    @contextlib.contextmanager
    def join(self, handle: SnapshotHandle, readers: int) -> Iterator[PostgresSnapshot]:
        """Join the snapshot of another process, and export it again, so that readers do not need
        that process any more."""
        snapshot, catalog, query_path = handle.view
        with contextlib.closing(self._connect.open()) as holder:
            try:
                holder.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
                holder.execute(f"SET TRANSACTION SNAPSHOT '{snapshot}'".encode())
            except (psycopg.errors.UndefinedObject, psycopg.errors.InvalidParameterValue):
                raise SnapshotLost(
                    "The snapshot to join does not exist any more.",
                    remedy="Start the stream again: it resumes from its checkpoint.",
                ) from None
            view = PostgresSnapshot(
                self._connect, holder, catalog, readers, query_path=query_path, position={}
            )
            self._open.add(view)
            try:
                yield view
            finally:
                self._open.discard(view)
                view.close()

    def check(self) -> Sequence[Finding]:
        """Connect, and say what hinders a snapshot."""
        with contextlib.closing(self._connect.open(autocommit=True)) as connection:
            findings = []
            if connection.info.server_version < OLDEST:
                findings.append(
                    Finding(
                        Severity.ERROR,
                        "server-version",
                        "source",
                        f"PostgreSQL {connection.info.server_version // 10000} is too old.",
                        "The source must be PostgreSQL 13 or newer.",
                    )
                )
            encoding = connection.execute("SHOW server_encoding").fetchone()
            if encoding is not None and encoding[0] == "SQL_ASCII":
                findings.append(
                    Finding(
                        Severity.WARNING,
                        "sql-ascii",
                        "source",
                        "The database has the encoding SQL_ASCII: texts that are not valid "
                        "UTF-8 are refused.",
                        "If it holds texts in other encodings, convert it to UTF8 first.",
                    )
                )
            return findings

    def catalog(self, scope: Scope) -> Catalog:
        """Describe the tables in scope, in a view of its own and without locks."""
        connection = self._connect.open(search_path=path(scope))

        def read() -> Catalog:
            connection.rollback()
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            return _with_queries(connection, read_catalog(connection, scope), scope)

        with contextlib.closing(connection), translating("reading the catalog"):
            return undisturbed(read)

    def sequence_values(self, tables: Sequence[TableSchema]) -> Sequence[SequenceValue]:
        """Return the values of the sequences that the tables own or call, and of those without
        owner.

        A sequence that was never called is not included: the load has set it.
        """
        wanted = {
            "schemas": [table.id.schema for table in tables],
            "names": [table.id.name for table in tables],
        }
        with self._connect.ask() as connection, translating("reading the sequences"):
            rows = connection.execute(queries.SEQUENCE_VALUES, wanted).fetchall()
        return tuple(
            SequenceValue(
                row[8],
                sequence=TableId(row[0], row[1]),
                column=(TableId(row[2], row[3]), row[4]) if row[3] is not None else None,
                increment=row[5],
                cycle=row[6],
            )
            for row in rows
            if row[8] is not None or not row[7]
        )

    @contextlib.contextmanager
    def snapshot(self, scope: Scope, readers: int) -> Iterator[PostgresSnapshot]:
        """Open one exported snapshot, with ACCESS SHARE locks on every table before the catalog is
        read."""
        holder = self._connect.open(search_path=path(scope), autocommit=True)
        with contextlib.closing(holder):
            with translating("listing the tables"):
                tables = tables_in_scope(holder, scope)
            demand_all_rows(holder, tables, "source")
            # The view begins with the first statement after the locks, in their transaction:
            # LOCK TABLE takes no snapshot of its own in REPEATABLE READ.
            with translating("opening the snapshot"):
                holder.autocommit = False
                holder.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            locked = self._lock(holder, tables, named=scope.tables is not None)
            with translating("reading the catalog"):
                catalog = read_catalog(holder, scope, within=locked, looking=self._looking)
                catalog = _with_queries(holder, catalog, scope)
            view = PostgresSnapshot(
                self._connect,
                holder,
                catalog,
                readers,
                query_path=path_of(scope.schema),
                looking=self._looking,
            )
            try:
                yield self.offered(view)
            finally:
                self._open.discard(view)
                view.close()

    def tables(self, scope: Scope) -> Sequence[TableId]:
        """Return the names of the tables in scope."""
        return self._wanted(scope)

    def _wanted(self, scope: Scope) -> Sequence[TableId]:
        """Return the tables in scope, asked over another connection than the holder's.

        LOCK TABLE takes no snapshot in REPEATABLE READ; a query before it would, and the snapshot
        would be older than the locks.
        """
        with contextlib.closing(self._connect.open(autocommit=True)) as connection:
            return self._listed(connection, scope)

    def _listed(self, connection: psycopg.Connection, scope: Scope) -> Sequence[TableId]:
        """Return the tables in scope."""
        with translating("listing the tables"):
            return tables_in_scope(connection, scope)

    def _lock(
        self, holder: psycopg.Connection, tables: Sequence[TableId], *, named: bool
    ) -> list[TableId]:
        """Lock tables against DDL until the holder's transaction ends. Returns those that are
        there.

        Raises `NotFound` if a ``named`` one is not; others may vanish while we look.
        """
        locked: list[TableId] = []
        for start in range(0, len(tables), TABLES_AT_ONCE):
            some = tables[start : start + TABLES_AT_ONCE]
            if len(some) > 1 and _locked(holder, some):
                locked += some
            else:
                locked += self._lock_each(holder, some, named=named)
        return locked

    def _lock_each(
        self, holder: psycopg.Connection, tables: Sequence[TableId], *, named: bool
    ) -> Iterator[TableId]:
        for table in tables:
            try:
                with translating(f"locking {table} against DDL"):
                    _lock_all(holder, [table])
            except NotFound:
                if named:
                    raise
                with translating("opening the snapshot"):
                    holder.execute(UNDO, prepare=False)
            else:
                yield table

    def close(self) -> None:
        """End every open view and its readers."""
        for view in list(self._open):
            view.close()
        self._connect.abort.give_up()


def _locked(holder: psycopg.Connection, tables: Sequence[TableId]) -> bool:
    """Lock tables in one statement. False: one cannot be locked, and none is."""
    try:
        with translating("locking the tables against DDL"):
            _lock_all(holder, tables)
    except (NotFound, LockTimeout, PermissionDenied):
        with translating("opening the snapshot"):
            holder.execute(UNDO, prepare=False)
        return False
    return True


def _lock_all(holder: psycopg.Connection, tables: Sequence[TableId]) -> None:
    # Several statements in one round trip. A savepoint takes no snapshot, as LOCK TABLE does not.
    query = sql.SQL(LOCK).format(sql.SQL(", ").join(map(name, tables)))
    holder.execute(query, prepare=False)


def _with_queries(connection: psycopg.Connection, catalog: Catalog, scope: Scope) -> Catalog:
    if not scope.queries:
        return catalog
    from streams_engine.adapters.postgres.snapshot.query import query_tables

    tables, types = query_tables(connection, scope.queries, scope.schema)
    known = {user.id for user in catalog.types}
    return replace(
        catalog,
        tables=(*catalog.tables, *tables),
        types=(*catalog.types, *(t for t in types if t.id not in known)),
    )


def path(scope: Scope) -> tuple[str, ...]:
    """Return the search_path for rendering names: names of one schema are unqualified."""
    return () if scope.schema is None else (scope.schema,)
