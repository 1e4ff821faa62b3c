"""PostgreSQL as a sink: COPY, one transaction a portion, rows and checkpoint together."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import psycopg
from psycopg import sql
from psycopg.pq import ConnStatus

from streams_engine.adapters.postgres.catalog.reader import read_catalog
from streams_engine.adapters.postgres.connection import (
    PostgresConnect,
    hang_up,
    translating,
)
from streams_engine.adapters.postgres.row_security import demand_all_rows
from streams_engine.adapters.postgres.sink.bulk_load import PostgresBulkLoad
from streams_engine.adapters.postgres.sink.change_writer import PostgresChangeSession
from streams_engine.adapters.postgres.sink.checkpoint_table import PostgresStateTables
from streams_engine.adapters.postgres.sink.ddl import run_statements
from streams_engine.adapters.postgres.snapshot.select import own_rows
from streams_engine.adapters.sql.change_writer import SqlChangeWriter
from streams_engine.adapters.sql.checkpoint_table import CheckpointTable
from streams_engine.adapters.sql.chunk_write import ChunkWriter
from streams_engine.adapters.sql.pool import ConnectionPool, Driver
from streams_engine.contracts import (
    CheckpointCallback,
    Fence,
    PreparedWrite,
    StateChange,
    Statement,
    WritePlan,
    WriteResult,
    absent_database,
)
from streams_engine.errors import ConnectionFailed, NotFound, PermissionDenied, StreamsError
from streams_engine.model import Catalog, Dialect, Finding, Severity, TableId

__all__ = ["PostgresSink"]

MAINTENANCE = ("postgres", "template1")
"""Databases through which a missing one is created."""

DATABASES = "SELECT datname FROM pg_catalog.pg_database WHERE NOT datistemplate"

CANCEL_SECONDS = 2.0
"""How long the server may take to hear of a cancel; then the connection is cut."""

DURABLE = """
SELECT pg_catalog.set_config('synchronous_commit', 'on', false)
WHERE pg_catalog.current_setting('synchronous_commit') = 'off'
"""
"""What is acknowledged to a source must outlive a crash of the target."""


def _refusal(connection: psycopg.Connection, attempt: Sequence[Statement]) -> StreamsError | None:
    """Return the error with which the server refuses the statements; they leave no trace."""
    try:
        with connection.transaction(force_rollback=True):
            for statement in attempt:
                with translating(str(statement.object)):
                    connection.execute(statement.sql.encode())
    except ConnectionFailed:
        raise
    except StreamsError as error:
        return error
    return None


def _answers(connection: psycopg.Connection) -> bool:
    """Look whether the server has ended an idle connection, without a round trip: what it said on
    its way out lies there."""
    with contextlib.suppress(psycopg.Error):
        connection.pgconn.consume_input()
        return connection.pgconn.status == ConnStatus.OK
    return False


def _end(connection: psycopg.Connection) -> None:
    with contextlib.suppress(psycopg.Error):
        connection.close()


def _is_lost(connection: psycopg.Connection, error: Exception) -> bool:
    return isinstance(error, psycopg.OperationalError) and connection.broken


def _abort(connections: Sequence[psycopg.Connection]) -> None:
    """Cancel what runs while the server answers cancels, and cut the connections."""
    answers = True
    for connection in connections:
        if answers:
            try:
                connection.cancel_safe(timeout=CANCEL_SECONDS)
            except psycopg.Error:
                answers = False  # the others need not be tried
        hang_up(connection)


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
        create_database: bool = False,
    ) -> None:
        self._connect = connect
        self._may_create = create_database
        self._state = CheckpointTable(PostgresStateTables(state_schema))
        # Rendered names of one schema come unqualified; extensions often live in public.
        path = (*search_path, "public") if search_path else ()
        self._pool: ConnectionPool[psycopg.Connection] = ConnectionPool(
            Driver(
                errors=(psycopg.Error,),
                translating=translating,
                open=lambda: connect.open(search_path=path),
                answers=_answers,
                is_open=lambda connection: not connection.broken and not connection.closed,
                end=_end,
                abort=_abort,
                begin=lambda connection: None,  # the first statement does
            )
        )
        self._chunks = ChunkWriter(
            self._pool,
            self._state,
            load=PostgresBulkLoad,
            is_lost=_is_lost,
            fresh=lambda: contextlib.closing(connect.open(autocommit=True)),
        )

    def close(self) -> None:
        """Release every connection; a write that is under way is aborted."""
        self._pool.close()
        self._connect.abort.give_up()

    # Sink

    def check(self) -> Sequence[Finding]:
        """Connect, create the database where it is missing and may be created, and say what hinders
        a load. Raises `NotFound` for one that may not."""
        created = self.missing_database()
        if created is not None:
            if not self._may_create:
                raise NotFound(created.message, remedy=created.remedy)
            self._create_database()
        encoding = self._demand_writable()
        told = () if created is None else (created,)
        if encoding == "UTF8":
            return told
        return (
            *told,
            Finding(
                Severity.ERROR,
                "encoding",
                "target",
                f"The target database has the encoding {encoding}; expected UTF8.",
                "Create it with ENCODING 'UTF8'.",
            ),
        )

    def missing_database(self) -> Finding | None:
        """Connect and return the finding that the database does not exist, if so."""
        try:
            with self._pool.transaction():
                return None
        except NotFound:
            pass
        known: list[str] = []
        with contextlib.suppress(StreamsError), contextlib.closing(self._administration()) as admin:
            rows = admin.execute(DATABASES).fetchall()
            known = [name for (name,) in rows]
        return absent_database(str(self._connect.database), known, create=self._may_create)

    def _demand_writable(self) -> str | None:
        """Return the database's encoding."""
        with self._pool.transaction() as connection, translating("checking the target"):
            row = connection.execute("SELECT pg_catalog.pg_is_in_recovery()").fetchone()
            if row is not None and row[0]:
                raise PermissionDenied(
                    "The target is a standby, which is read-only.", remedy="Use the primary server."
                )
            self._state.tables.demand(connection)
            return connection.info.parameter_status("server_encoding")

    def _create_database(self) -> None:
        name = self._connect.database
        with (
            contextlib.closing(self._administration()) as admin,
            translating(f"creating the database {name}"),
        ):
            query = sql.SQL("CREATE DATABASE {} ENCODING 'UTF8' TEMPLATE template0")
            with contextlib.suppress(psycopg.errors.DuplicateDatabase):
                admin.execute(query.format(sql.Identifier(name)))

    def _administration(self) -> psycopg.Connection:
        """Connect to a database through which others are seen and created."""
        last: StreamsError | None = None
        for database in MAINTENANCE:
            try:
                return self._connect.open(autocommit=True, database=database)
            except StreamsError as error:
                last = error
        name = self._connect.database
        raise last or NotFound(f"The database {name} does not exist and cannot be created.")

    def load_state(self, stream: str) -> Mapping[str, Mapping[str, Any]]:
        """Return the checkpoint records of a stream by key."""
        with self._pool.transaction() as connection:
            return self._state.load(connection, stream)

    def quarantine_place(self, stream: str) -> str:
        """Return the name of the table that holds the quarantined rows of every stream."""
        return f"the table {self._state.tables.quarantine_name}"

    def save_state(self, stream: str, records: Mapping[str, Mapping[str, Any] | None]) -> None:
        """Put or remove records in one transaction."""
        with self._pool.transaction() as connection:
            self._state.begin(connection)
            self._state.save(connection, stream, records)

    def forget(self, stream: str) -> None:
        """Remove a stream's records; tables and schema of the state go where they are empty."""
        with self._pool.transaction() as connection:
            self._state.forget(connection, stream)

    def write_rows(
        self, stream: str, plan: WritePlan, rows: Iterator[Any], make_checkpoint: CheckpointCallback
    ) -> WriteResult:
        """COPY all rows, and the record of ``make_checkpoint``, in one transaction."""
        return self._chunks.write(stream, plan, rows, make_checkpoint)

    def prepare_write(
        self,
        stream: str,
        plan: WritePlan,
        rows: Iterator[Any],
        make_checkpoint: CheckpointCallback,
        fence: Fence,
    ) -> PreparedWrite:
        """Do what `write_rows` does, where the fence holds. See `SharedSink`."""
        return PreparedWrite(self._chunks.write(stream, plan, rows, make_checkpoint, fence))

    def commit_write(
        self, stream: str, plan: WritePlan, prepared: PreparedWrite, fence: Fence
    ) -> None:
        """Do nothing: `prepare_write` has committed already."""

    # ChangeSink

    @contextlib.contextmanager
    def change_writer(self, stream: str, key: str) -> Iterator[SqlChangeWriter]:
        """Take over a stream's changes, on a connection whose session is like no other."""
        with self._pool.lend_once() as connection:
            with translating("opening the session"):
                connection.execute(DURABLE)
                connection.commit()
            session = PostgresChangeSession(connection, self._state.tables)
            writer = SqlChangeWriter(connection, session, self._state, stream, key)
            try:
                yield writer
            finally:
                writer.rollback()

    # StructureSink

    def inspect(self, tables: Sequence[TableId]) -> Catalog:
        """Describe those tables that exist, with all types and sequences."""
        with self._pool.transaction() as connection, translating("reading the target's catalog"):
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            demand_all_rows(connection, tables, "target")
            return read_catalog(connection, tables=tables, everywhere=True)

    def has_rows(self, table: TableId) -> bool:
        """Return True if the table contains a row."""
        with self._pool.transaction() as connection, translating(f"checking {table} for rows"):
            query = sql.SQL("SELECT EXISTS (SELECT FROM {})").format(own_rows(connection, table))
            row = connection.execute(query).fetchone()
            return bool(row and row[0])

    def try_out(
        self, before: Sequence[Statement], attempts: Sequence[Sequence[Statement]]
    ) -> Sequence[StreamsError | None]:
        """Run each attempt in a savepoint of a transaction that is rolled back."""
        with self._pool.transaction() as connection, connection.transaction(force_rollback=True):
            try:
                for statement in before:
                    with translating(str(statement.object)):
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
        with self._pool.transaction() as connection:
            if state is not None:
                self._state.tables.create_within(connection)
                self._state.save(connection, *state)
            return run_statements(
                connection,
                statements,
                lambda wanted: connection.transaction() if wanted else contextlib.nullcontext(),
            )
