"""MySQL and MariaDB as a sink: one transaction a portion, rows and checkpoint together."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

import pymysql
from pymysql.connections import Connection

from streams_engine.adapters.mysql.catalog.reader import describe
from streams_engine.adapters.mysql.connection import (
    DRIVER_RAW,
    MysqlConnect,
    is_mariadb,
    shut_down,
    translate,
    translating,
)
from streams_engine.adapters.mysql.sink.bulk_load import MysqlBulkLoad
from streams_engine.adapters.mysql.sink.change_writer import MysqlChangeSession
from streams_engine.adapters.mysql.sink.checkpoint_table import MysqlStateTables
from streams_engine.adapters.mysql.sink.dml import MysqlDml
from streams_engine.adapters.mysql.snapshot.select import name, quote
from streams_engine.adapters.sql.change_writer import SqlChangeWriter
from streams_engine.adapters.sql.checkpoint_table import CheckpointTable
from streams_engine.adapters.sql.chunk_write import ChunkWriter
from streams_engine.adapters.sql.pool import ConnectionPool, Driver
from streams_engine.arrow.buffers import well_formed
from streams_engine.contracts import (
    CheckpointCallback,
    Fence,
    PreparedWrite,
    StateChange,
    Statement,
    WritePlan,
    WriteResult,
    absent_database,
    orphaned_rows,
    skipped_statement,
)
from streams_engine.errors import (
    ConnectionFailed,
    NotFound,
    PermissionDenied,
    StreamsError,
    TargetConflict,
    require,
)
from streams_engine.model import Catalog, Dialect, Finding, Severity, TableId
from streams_engine.schema.ddl.mysql import name_of

__all__ = ["MysqlSink"]

SETTINGS: Mapping[str, str] = {
    # Invalid dates go through where they come from a server that has them; 0 stays 0.
    "sql_mode": "'STRICT_TRANS_TABLES,STRICT_ALL_TABLES,ALLOW_INVALID_DATES,"
    "NO_AUTO_VALUE_ON_ZERO,NO_ENGINE_SUBSTITUTION'",
    "foreign_key_checks": "1",
    "unique_checks": "1",
    "sql_notes": "1",  # a DECIMAL that is rounded is only worth a note to the server
}

BUILD_BYTES = 64 << 20
"""What the server may sort in while it builds an index; its own default is 1 MB
(https://dev.mysql.com/doc/refman/en/innodb-parameters.html)."""

LARGEST_PACKET = 1 << 30
"""https://dev.mysql.com/doc/refman/en/packet-too-large.html"""

LOST = (2006, 2013)
"""The driver's numbers of a connection that broke."""


class MysqlSink:
    """A MySQL or MariaDB server that is written to. Safe to use from many threads."""

    dialect = Dialect.MYSQL
    transactional_ddl = False

    def __init__(
        self,
        connect: MysqlConnect,
        *,
        state_schema: str | None = None,
        local_infile: bool = True,
        packet: int = LARGEST_PACKET,
        create_database: bool = False,
    ) -> None:
        """Create a sink; it connects when it is used.

        ``local_infile``: use LOAD DATA LOCAL if the server allows it, else INSERT. ``packet``: the
        highest number of bytes of a statement, if the server accepts as many.
        """
        self._connect = connect
        self._state = CheckpointTable(MysqlStateTables(state_schema or connect.database))
        self._pool: ConnectionPool[Any] = ConnectionPool(
            Driver(
                errors=(pymysql.MySQLError, OSError),
                translating=translating,
                open=self._open,
                answers=_answers,
                is_open=lambda connection: bool(connection.open),
                end=_end,
                abort=_abort,
                begin=Connection.begin,
            )
        )
        self._chunks = ChunkWriter(
            self._pool,
            self._state,
            load=self._bulk_load,
            is_lost=_is_lost,
            fresh=lambda: contextlib.closing(connect.open()),
        )
        self._may_create = create_database
        self._may_load = self._local_infile = local_infile
        self._most = self._packet = packet

    # Connections

    def _open(self, *, found_rows: bool = False) -> Any:
        connection = self._connect.open(local_infile=True, found_rows=found_rows)
        with translating("opening the target"), connection.cursor() as cursor:
            settings = ", ".join(f"{key} = {value}" for key, value in SETTINGS.items())
            cursor.execute(f"SET SESSION {settings}")
            cursor.execute("SELECT @@local_infile, @@max_allowed_packet")
            with well_formed("the settings of the target", DRIVER_RAW):
                local, packet = map(int, cursor.fetchone())
            with contextlib.suppress(pymysql.MySQLError):  # MySQL's since 8.0.27
                cursor.execute(f"SET SESSION innodb_ddl_buffer_size = {BUILD_BYTES}")
        self._packet = min(packet, self._most)
        self._local_infile = bool(local) and self._may_load
        return connection

    def close(self) -> None:
        """Release every connection; a write that is under way is aborted."""
        self._pool.close()
        self._connect.abort.give_up()

    def _bulk_load(self, connection: Any, plan: WritePlan) -> MysqlBulkLoad:
        local, packet = self._local_infile, self._packet
        return MysqlBulkLoad(connection, plan, local_infile=local, packet=packet)

    # Sink

    def is_mariadb(self) -> bool:
        """Return whether the server is MariaDB. Connects."""
        with contextlib.closing(self._connect.open(database="")) as connection:
            return is_mariadb(connection)

    def check(self) -> Sequence[Finding]:
        """Connect, create the database if it is missing and may be created, and return what
        prevents a load. Raises `NotFound` for one that may not."""
        created = self.missing_database()
        if created is not None:
            if not self._may_create:
                raise NotFound(created.message, remedy=created.remedy)
            self._create_database()
        self._demand_writable()
        told = () if created is None else (created,)
        if self._local_infile:
            return told
        return (
            *told,
            Finding(
                Severity.INFO,
                "no-local-infile",
                "target",
                "The server does not allow LOAD DATA LOCAL (local_infile): rows are written "
                "with INSERT, which is slower.",
                "SET GLOBAL local_infile = 1 on the target while the stream runs.",
            ),
        )

    def missing_database(self) -> Finding | None:
        """Connect and return the finding that the database does not exist, if so."""
        try:
            with self._pool.lend():
                return None
        except NotFound:
            pass
        database = str(self._connect.database)
        with (
            contextlib.closing(self._connect.open(database="")) as connection,
            translating("listing the databases of the target"),
            connection.cursor() as cursor,
        ):
            cursor.execute("SHOW DATABASES")
            known = [name for (name,) in cursor.fetchall()]
        return absent_database(database, known, create=self._may_create)

    def _demand_writable(self) -> None:
        with (
            self._pool.lend() as connection,
            translating("checking the target"),
            connection.cursor() as cursor,
        ):
            cursor.execute("SELECT @@global.read_only")
            if cursor.fetchone()[0] and not _is_super(cursor):
                raise PermissionDenied(
                    "The target is read-only.",
                    remedy="Use the primary server.",
                )

    def _create_database(self) -> None:
        database = str(self._connect.database)
        with (
            contextlib.closing(self._connect.open(database="")) as connection,
            translating(f"creating the database {database}"),
            connection.cursor() as cursor,
        ):
            cursor.execute(f"CREATE DATABASE IF NOT EXISTS {quote(database)} CHARSET utf8mb4")

    def load_state(self, stream: str) -> Mapping[str, Mapping[str, Any]]:
        """Return the checkpoint records of a stream by key."""
        with self._pool.transaction() as connection:
            return self._state.load(connection, stream)

    def quarantine_place(self, stream: str) -> str:
        """Return the name of the table that holds the quarantined rows of every stream."""
        return f"the table {self._state.tables.quarantine_name}"

    def save_state(self, stream: str, records: Mapping[str, Mapping[str, Any] | None]) -> None:
        """Put or remove records in one transaction."""
        with self._pool.transaction(self._state.begin) as connection:
            self._state.save(connection, stream, records)

    def forget(self, stream: str) -> None:
        """Delete a stream's records, and drop empty state tables."""
        with self._pool.transaction() as connection:
            self._state.forget(connection, stream)

    def write_rows(
        self, stream: str, plan: WritePlan, rows: Iterator[Any], make_checkpoint: CheckpointCallback
    ) -> WriteResult:
        """Load all rows, and the record of ``make_checkpoint``, in one transaction."""
        return self._chunks.write(stream, plan, rows, make_checkpoint)

    def prepare_write(
        self,
        stream: str,
        plan: WritePlan,
        rows: Iterator[Any],
        make_checkpoint: CheckpointCallback,
        fence: Fence,
    ) -> PreparedWrite:
        """Do the work of `write_rows` if the fence holds. See `SharedSink`."""
        return PreparedWrite(self._chunks.write(stream, plan, rows, make_checkpoint, fence))

    def commit_write(
        self, stream: str, plan: WritePlan, prepared: PreparedWrite, fence: Fence
    ) -> None:
        """Do nothing: `prepare_write` has committed already."""

    # ChangeSink

    @contextlib.contextmanager
    def change_writer(self, stream: str, key: str) -> Iterator[SqlChangeWriter]:
        """Take over a stream's changes, on a connection whose session is like no other."""
        with self._pool.lend_once(lambda: self._open(found_rows=True)) as connection:
            changer = MysqlDml(connection, local_infile=self._local_infile, packet=self._packet)
            writer = SqlChangeWriter(
                connection, MysqlChangeSession(connection, changer), self._state, stream, key
            )
            try:
                yield writer
            finally:
                writer.rollback()

    # StructureSink

    def inspect(self, tables: Sequence[TableId]) -> Catalog:
        """Describe those tables that exist, and which of their databases do."""
        with self._pool.transaction() as connection, translating("reading the target's catalog"):
            return describe(connection, tables)

    def has_rows(self, table: TableId) -> bool:
        """Return True if the table contains a row."""
        with (
            self._pool.transaction() as connection,
            translating(f"checking {table} for rows"),
            connection.cursor() as cursor,
        ):
            cursor.execute(f"SELECT EXISTS (SELECT 1 FROM {name(table)})")
            return bool(cursor.fetchone()[0])

    def execute(
        self, statements: Sequence[Statement], state: StateChange | None = None
    ) -> Sequence[Finding]:
        """Run statements one by one, because each commits implicitly.

        Statements that drop tables come first, then the state, then the rest: a run that is killed
        in between finds either nothing of its own, or the record of what it created.
        """
        truncated = {table for statement in statements for table in statement.truncates}
        findings: list[Finding] = []
        with self._pool.lend() as connection:
            self._demand_alone(connection, truncated)
            self._each(connection, [s for s in statements if s.cleanup], findings)
            if state is not None:
                self._state.begin(connection)
                self._state.save(connection, *state)
                with translating("writing the checkpoint"):
                    connection.commit()
            self._each(connection, [s for s in statements if not s.cleanup], findings)
        return findings

    def try_out(
        self, before: Sequence[Statement], attempts: Sequence[Sequence[Statement]]
    ) -> Sequence[StreamsError | None]:
        """Make each table as a temporary one, which this session alone sees, and drop it.

        ``before`` makes databases, which stay: the state's own takes their place.
        """
        with self._pool.lend() as connection:
            try:
                self._state.make(connection)
                return [self._refusal(connection, attempt) for attempt in attempts]
            except ConnectionFailed:
                raise
            except StreamsError:  # making it will say so
                return [None] * len(attempts)

    def _refusal(self, connection: Any, attempt: Sequence[Statement]) -> StreamsError | None:
        trial = self._state.tables.named("streams_engine_trial")
        for statement in attempt:
            table = require(statement.table, f"the table of '{statement.object}'")
            head = f"CREATE TABLE {name_of(table)} "
            made = f"CREATE TEMPORARY TABLE {trial} " + statement.sql.removeprefix(head)
            with connection.cursor() as cursor:
                cursor.execute(f"DROP TEMPORARY TABLE IF EXISTS {trial}")
                try:
                    with translating(str(statement.object)):
                        cursor.execute(made)
                except ConnectionFailed:
                    raise
                except StreamsError as error:
                    return error
                cursor.execute(f"DROP TEMPORARY TABLE {trial}")
        return None

    def _each(
        self, connection: Any, statements: Sequence[Statement], findings: list[Finding]
    ) -> None:
        for statement in _joined(connection, statements):
            seen = statement.orphans is not None
            try:
                with (
                    translating(str(statement.object)),
                    _unchecked(connection, bool(statement.truncates) or seen),
                    connection.cursor() as cursor,
                ):
                    orphans = _count(cursor, statement.orphans) if statement.orphans else 0
                    if orphans:
                        findings.append(orphaned_rows(statement, orphans))
                        continue
                    cursor.execute(statement.sql)
            except StreamsError as error:
                if not statement.optional:
                    raise
                findings.append(skipped_statement(statement, error))

    def _demand_alone(self, connection: Any, truncated: set[TableId]) -> None:
        """Raise `TargetConflict` if other tables refer to those that are to be emptied."""
        if not truncated:
            return
        with translating("reading the foreign keys"), connection.cursor() as cursor:
            cursor.execute(
                "SELECT DISTINCT referenced_table_schema, referenced_table_name, table_schema,"
                " table_name FROM information_schema.key_column_usage"
                " WHERE (referenced_table_schema, referenced_table_name) IN %s",
                (sorted((t.schema, t.name) for t in truncated),),
            )
            references = cursor.fetchall()
            cursor.execute("SELECT @@lower_case_table_names")
            same = str.casefold if cursor.fetchone()[0] else str
            known = {(same(t.schema), same(t.name)) for t in truncated}
            for schema, table, other_schema, other in references:
                # The catalog compares names without their case, the server may not.
                ours = (same(schema), same(table)) in known
                if ours and (same(other_schema), same(other)) not in known:
                    raise TargetConflict(
                        f"{other_schema}.{other} refers to {schema}.{table}, which this stream "
                        "would empty.",
                        remedy="Move both tables, or drop the foreign key first.",
                        table=f"{schema}.{table}",
                    )


def _joined(connection: Any, statements: Sequence[Statement]) -> Iterator[Statement]:
    """Run consecutive statements that alter one table as one; yield those that are left to run.

    If the server refuses the combined statement, all are left, so that the faulty one is named.
    """
    for adds, group in groupby(statements, lambda s: s.clause is not None and s.table):
        several = list(group)
        if isinstance(adds, TableId) and len(several) > 1:
            clauses = ", ".join(str(statement.clause) for statement in several)
            with contextlib.suppress(pymysql.MySQLError), connection.cursor() as cursor:
                cursor.execute(f"ALTER TABLE {name(adds)} {clauses}")
                continue
        yield from several


@contextlib.contextmanager
def _unchecked(connection: Any, wanted: bool) -> Iterator[None]:
    """Turn foreign_key_checks off inside the block, if a query has shown before that the keys
    hold."""
    if not wanted:
        yield
        return
    with connection.cursor() as cursor:
        cursor.execute("SET SESSION foreign_key_checks = 0")
        try:
            yield
        finally:
            cursor.execute("SET SESSION foreign_key_checks = 1")


def _count(cursor: Any, query: str) -> int:
    cursor.execute(f"SELECT COUNT(*) FROM ({query}) o")
    return int(cursor.fetchone()[0])


def _is_super(cursor: Any) -> bool:
    cursor.execute("SHOW GRANTS")
    return any("SUPER" in row[0] or "CONNECTION_ADMIN" in row[0] for row in cursor.fetchall())


def _answers(connection: Any) -> bool:
    """Return True if the server answers a ping.

    Raises `ConnectionFailed` if the watchdog cut the connection, because it would cut the next.
    """
    try:
        connection.ping(reconnect=False)
    except (pymysql.MySQLError, OSError) as error:
        if connection.watch is not None and connection.watch.dead:
            raise translate(error, "connecting to the target") from None
        return False
    return True


def _is_lost(connection: Any, error: Exception) -> bool:
    return isinstance(error, OSError) or error.args[:1] in ((number,) for number in (0, *LOST))


def _abort(connections: Sequence[Any]) -> None:
    for connection in connections:
        shut_down(connection)


def _end(connection: Any) -> None:
    with contextlib.suppress(Exception):
        connection.close()
