"""PostgreSQL as a sink: COPY, one transaction a portion, rows and checkpoint together."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import psycopg
from psycopg import sql
from psycopg.pq import ConnStatus

from streams_engine.adapters.postgres.applying import PostgresChangeWriter
from streams_engine.adapters.postgres.catalog import read_catalog
from streams_engine.adapters.postgres.connect import (
    PostgresConnect,
    hang_up,
    translate,
    translating,
)
from streams_engine.adapters.postgres.loading import Loader
from streams_engine.adapters.postgres.row_security import demand_all_rows
from streams_engine.adapters.postgres.selecting import own_rows
from streams_engine.adapters.postgres.state import StateTable
from streams_engine.adapters.postgres.structure import run_statements
from streams_engine.errors import ConnectionFailed, NotFound, PermissionDenied, StreamsError
from streams_engine.model import Catalog, Dialect, Finding, Severity, TableId
from streams_engine.protocols import (
    Checkpoint,
    Load,
    Mark,
    StateChange,
    Statement,
    Written,
)
from streams_engine.sharing import Fence, Staged

__all__ = ["PostgresSink"]

MAINTENANCE = ("postgres", "template1")
"""Databases through which a missing one is created."""

CANCEL_SECONDS = 2.0
"""How long the server may take to hear of a cancel; then the connection is cut."""

SETTLE_SECONDS = 30
"""How long the end of a transaction is asked for, where the answer to its commit was lost."""

DURABLE = """
SELECT pg_catalog.set_config('synchronous_commit', 'on', false)
WHERE pg_catalog.current_setting('synchronous_commit') = 'off'
"""
"""What is acknowledged to a source must outlive a crash of the target."""


def _refusal(connection: psycopg.Connection, attempt: Sequence[Statement]) -> StreamsError | None:
    """What the server refuses the statements with; they leave no trace."""
    try:
        with connection.transaction(force_rollback=True):
            for statement in attempt:
                with translating(statement.object):
                    connection.execute(statement.sql.encode())
    except ConnectionFailed:
        raise
    except StreamsError as error:
        return error
    return None


class PostgresSink:
    """A PostgreSQL database that is written to. Safe to use from many threads."""

    dialect = Dialect.POSTGRES
    takes_tuples = True
    transactional_ddl = True

    def __init__(
        self,
        connect: PostgresConnect,
        *,
        state_schema: str | None = None,
        search_path: tuple[str, ...] = (),
    ) -> None:
        self._connect = connect
        self._state = StateTable(state_schema)
        # Rendered names of one schema come unqualified; extensions often live in public.
        self._path = (*search_path, "public") if search_path else ()
        self._idle: list[psycopg.Connection] = []
        self._busy: set[psycopg.Connection] = set()
        self._lock = threading.Lock()
        self._closed = False

    # Connections

    def _acquire(self) -> psycopg.Connection:
        with self._lock:
            if self._closed:
                raise ConnectionFailed("The target was closed.", retryable=False)
        connection = self._alive() or self._connect.open(search_path=self._path)
        with self._lock:
            # Closed meanwhile: nobody would end this one.
            closed = self._closed
            if not closed:
                self._busy.add(connection)
        if closed:
            connection.close()
            raise ConnectionFailed("The target was closed.", retryable=False)
        return connection

    def _alive(self) -> psycopg.Connection | None:
        """An idle connection that the server has not ended, or None."""
        while True:
            with self._lock:
                connection = self._idle.pop() if self._idle else None
            if connection is None:
                return None
            # What the server said on its way out lies there: no round trip is needed.
            with contextlib.suppress(psycopg.Error):
                connection.pgconn.consume_input()
                if connection.pgconn.status == ConnStatus.OK:
                    return connection
            connection.close()

    @contextlib.contextmanager
    def _connection(self) -> Iterator[psycopg.Connection]:
        """A connection whose transaction ends with the block: committed, or rolled back."""
        connection = self._acquire()
        try:
            yield connection
            with translating("committing on the target"):
                connection.commit()
        except BaseException:
            with contextlib.suppress(psycopg.Error):
                connection.rollback()
            raise
        finally:
            self._release(connection)

    def _release(self, connection: psycopg.Connection) -> None:
        with self._lock:
            self._busy.discard(connection)
            usable = not connection.broken and not connection.closed and not self._closed
            if usable:
                self._idle.append(connection)
        if not usable:
            connection.close()

    def close(self) -> None:
        """Release every connection; a write that is under way is aborted."""
        with self._lock:
            self._closed = True
            busy, idle = list(self._busy), list(self._idle)
            self._idle.clear()
        for connection in busy:
            with contextlib.suppress(psycopg.Error):
                connection.cancel_safe(timeout=CANCEL_SECONDS)
            hang_up(connection)
        for connection in idle:
            connection.close()

    # Sink

    def check(self) -> Sequence[Finding]:
        """Connect, create the database where it is missing, and say what hinders a load."""
        try:
            connection = self._acquire()
        except NotFound:
            self._create_database()
            connection = self._acquire()
        with self._lock:
            self._busy.discard(connection)
            self._idle.append(connection)
        findings = []
        encoding = connection.info.parameter_status("server_encoding")
        if encoding != "UTF8":
            findings.append(
                Finding(
                    Severity.ERROR,
                    "encoding",
                    "target",
                    f"The target database has the encoding {encoding}.",
                    "Create it with ENCODING 'UTF8'.",
                )
            )
        row = connection.execute("SELECT pg_catalog.pg_is_in_recovery()").fetchone()
        connection.commit()
        if row is not None and row[0]:
            raise PermissionDenied(
                "The target is a standby: it cannot be written to.", remedy="Name the primary."
            )
        with self._connection() as connection:
            self._state.demand(connection)
        return findings

    def _create_database(self) -> None:
        name = self._connect.database
        last: StreamsError | None = None
        for database in MAINTENANCE:
            try:
                admin = self._connect.open(autocommit=True, database=database)
            except StreamsError as error:
                last = error
                continue
            with contextlib.closing(admin), translating(f"creating the database {name}"):
                query = sql.SQL("CREATE DATABASE {} ENCODING 'UTF8' TEMPLATE template0")
                with contextlib.suppress(psycopg.errors.DuplicateDatabase):
                    admin.execute(query.format(sql.Identifier(name)))
                return
        raise last or NotFound(f"The database {name} does not exist and cannot be created.")

    def load_state(self, stream: str) -> Mapping[str, Mapping[str, Any]]:
        """The checkpoint records of a stream by key."""
        with self._connection() as connection:
            return self._state.load(connection, stream)

    def save_state(self, stream: str, records: Mapping[str, Mapping[str, Any] | None]) -> None:
        """Put or remove records in one transaction."""
        with self._connection() as connection:
            self._state.begin(connection)
            self._state.save(connection, stream, records)

    def forget(self, stream: str) -> None:
        """Remove a stream's records; tables and schema of the state go where they are empty."""
        with self._connection() as connection:
            self._state.forget(connection, stream)

    def write_rows(self, stream: str, load: Load, rows: Iterator[Any], mark: Mark) -> Written:
        """COPY all rows, and the record of ``mark``, in one transaction."""
        return self._write(stream, load, rows, mark, None)

    def stage(
        self, stream: str, load: Load, rows: Iterator[Any], mark: Mark, fence: Fence
    ) -> Staged:
        """What `write_rows` does, where the fence holds. See `SharedSink`."""
        return Staged(self._write(stream, load, rows, mark, fence))

    def settle(self, stream: str, load: Load, staged: Staged, fence: Fence) -> None:
        """Nothing is pending: `stage` commits."""

    def _write(
        self, stream: str, load: Load, rows: Iterator[Any], mark: Mark, fence: Fence | None
    ) -> Written:
        connection = self._acquire()
        loader = Loader(connection, load)
        checkpoint: Checkpoint | None = None
        try:
            self._state.begin(connection)
            if fence is not None:
                self._state.enter(connection, stream, fence)
            with translating(f"loading {load.table}"):
                row = connection.execute("SELECT pg_catalog.txid_current()").fetchone()
                loader.run(rows)
            checkpoint = mark()
            rejected = (*checkpoint.rejected, *loader.rejected)
            self._state.record(connection, stream, checkpoint, rejected)
            if fence is not None:
                self._state.demand_run(connection, stream, fence)
            self._commit(connection, row and row[0], load)
        except BaseException:
            with contextlib.suppress(psycopg.Error):
                connection.rollback()
            raise
        finally:
            self._release(connection)
        return Written(loader.rows, len(rejected), loader.bytes)

    def _commit(self, connection: psycopg.Connection, transaction: Any, load: Load) -> None:
        """Commit; where the answer is lost, the server is asked whether it happened."""
        what = f"committing {load.table}"
        if self._closed:  # a cancel that came between two statements ended none of them
            raise ConnectionFailed("The target was closed.", retryable=False)
        try:
            connection.commit()
        except psycopg.OperationalError as error:
            if not connection.broken or not self._committed(transaction, what):
                raise translate(error, what) from None
        except psycopg.Error as error:
            raise translate(error, what) from None

    def _committed(self, transaction: Any, what: str) -> bool:
        """How a transaction ended, asked for until its server process is through with it."""
        deadline = time.monotonic() + SETTLE_SECONDS
        while time.monotonic() < deadline:
            with contextlib.suppress(StreamsError), translating(what):
                query = "SELECT pg_catalog.txid_status(%s)"
                with contextlib.closing(self._connect.open(autocommit=True)) as connection:
                    row = connection.execute(query, (transaction,)).fetchone()
                if row is not None and row[0] in ("committed", "aborted"):
                    return bool(row[0] == "committed")
            time.sleep(0.2)
        raise ConnectionFailed(
            f"{what}: the connection broke, and whether it is committed cannot be found out.",
            remedy="Once the server answers the checkpoint says what is there.",
        )

    # ChangeSink

    @contextlib.contextmanager
    def follow(self, stream: str, key: str) -> Iterator[PostgresChangeWriter]:
        """Take over a stream's changes, on a connection whose session is like no other."""
        connection = self._acquire()
        try:
            with translating("opening the session"):
                connection.execute(DURABLE)
                connection.commit()
            writer = PostgresChangeWriter(connection, self._state, stream, key)
            try:
                yield writer
            finally:
                writer.abandon()
        finally:
            with contextlib.suppress(psycopg.Error):
                connection.close()
            self._release(connection)

    # StructureSink

    def inspect(self, tables: Sequence[TableId]) -> Catalog:
        """Describe those tables that exist, with the types and sequences of their schemas."""
        with self._connection() as connection, translating("reading the target's catalog"):
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            demand_all_rows(connection, tables, "target")
            return read_catalog(connection, tables=tables)

    def has_rows(self, table: TableId) -> bool:
        """True where the table holds a row."""
        with self._connection() as connection, translating(f"looking into {table}"):
            query = sql.SQL("SELECT EXISTS (SELECT FROM {})").format(own_rows(connection, table))
            row = connection.execute(query).fetchone()
            return bool(row and row[0])

    def try_out(
        self, before: Sequence[Statement], attempts: Sequence[Sequence[Statement]]
    ) -> Sequence[StreamsError | None]:
        """Run each attempt in a savepoint of a transaction that is rolled back."""
        with self._connection() as connection, connection.transaction(force_rollback=True):
            try:
                for statement in before:
                    with translating(statement.object):
                        connection.execute(statement.sql.encode())
            except ConnectionFailed:
                raise
            except StreamsError:  # making it will say so
                return [None] * len(attempts)
            return [_refusal(connection, attempt) for attempt in attempts]

    def execute(
        self, statements: Sequence[Statement], state: StateChange | None = None
    ) -> Sequence[Finding]:
        """Run all in one transaction; an optional one that fails becomes a warning."""
        with self._connection() as connection:
            if state is not None:
                self._state.make_within(connection)
                self._state.save(connection, *state)
            return run_statements(
                connection,
                statements,
                lambda wanted: connection.transaction() if wanted else contextlib.nullcontext(),
            )
