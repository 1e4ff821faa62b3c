"""MySQL and MariaDB as a sink: one transaction a portion, rows and checkpoint together."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any
from uuid import uuid4

import pymysql
from pymysql.connections import Connection

from streams_engine.adapters.mysql.applying import MysqlChangeWriter
from streams_engine.adapters.mysql.catalog import describe
from streams_engine.adapters.mysql.changing import Changer
from streams_engine.adapters.mysql.connect import (
    DRIVER_RAW,
    MysqlConnect,
    is_mariadb,
    translate,
    translating,
)
from streams_engine.adapters.mysql.loading import Loader
from streams_engine.adapters.mysql.selecting import name, quote
from streams_engine.adapters.mysql.state import StateTable
from streams_engine.bounds import well_formed
from streams_engine.errors import (
    ConnectionFailed,
    NotFound,
    PermissionDenied,
    StreamsError,
    TargetConflict,
)
from streams_engine.model import Catalog, Dialect, Finding, Severity, TableId
from streams_engine.protocols import Load, Mark, StateChange, Statement, Written, left_out, orphaned
from streams_engine.required import required
from streams_engine.schema.mysql_ddl import name_of
from streams_engine.sharing import Fence, Staged

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

SETTLE_SECONDS = 30
"""How long the end of a transaction is asked for, where the answer to its commit was lost."""

LOST = (2006, 2013)


class MysqlSink:
    """A MySQL or MariaDB server that is written to. Safe to use from many threads."""

    dialect = Dialect.MYSQL
    transactional_ddl = False

    def __init__(self, connect: MysqlConnect, *, state_schema: str | None = None) -> None:
        self._connect = connect
        self._state = StateTable(state_schema or connect.database)
        self._idle: list[Any] = []
        self._busy: set[Any] = set()
        self._lock = threading.Lock()
        self._closed = False
        self._local_infile = True
        self._packet = 4 << 20

    # Connections

    def _acquire(self) -> Any:
        with self._lock:
            if self._closed:
                raise ConnectionFailed("The target was closed.", retryable=False)
        connection = self._alive() or self._open()
        with self._lock:
            closed = self._closed
            if not closed:
                self._busy.add(connection)
        if closed:
            _end(connection)
            raise ConnectionFailed("The target was closed.", retryable=False)
        return connection

    def _alive(self) -> Any:
        """An idle connection that still answers, or None."""
        while True:
            with self._lock:
                connection = self._idle.pop() if self._idle else None
            if connection is None:
                return None
            try:
                connection.ping(reconnect=False)
                return connection
            except (pymysql.MySQLError, OSError):
                _end(connection)

    def _open(self, *, found_rows: bool = False) -> Any:
        connection = self._connect.open(local_infile=True, found_rows=found_rows)
        with translating("opening the target"), connection.cursor() as cursor:
            settings = ", ".join(f"{key} = {value}" for key, value in SETTINGS.items())
            cursor.execute(f"SET SESSION {settings}")
            cursor.execute("SELECT @@local_infile, @@max_allowed_packet")
            with well_formed("the settings of the target", DRIVER_RAW):
                local, self._packet = cursor.fetchone()
            with contextlib.suppress(pymysql.MySQLError):  # MySQL's since 8.0.27
                cursor.execute(f"SET SESSION innodb_ddl_buffer_size = {BUILD_BYTES}")
        self._local_infile = bool(local)
        return connection

    @contextlib.contextmanager
    def _connection(self, begin: Callable[[Any], None] = Connection.begin) -> Iterator[Any]:
        """A connection whose transaction ends with the block: committed, or rolled back."""
        connection = self._acquire()
        try:
            with translating("writing to the target"):
                begin(connection)
            yield connection
            with translating("committing on the target"):
                connection.commit()
        except BaseException:
            with contextlib.suppress(pymysql.MySQLError, OSError):
                connection.rollback()
            raise
        finally:
            self._release(connection)

    def _release(self, connection: Any) -> None:
        with self._lock:
            self._busy.discard(connection)
            usable = connection.open and not self._closed
            if usable:
                self._idle.append(connection)
        if not usable:
            _end(connection)

    def close(self) -> None:
        """Release every connection; a write that is under way is aborted."""
        with self._lock:
            self._closed = True
            busy, idle = list(self._busy), list(self._idle)
            self._idle.clear()
        for connection in busy:
            with contextlib.suppress(Exception):
                connection._sock.shutdown(socket.SHUT_RDWR)
        for connection in idle:
            _end(connection)

    # Sink

    def is_mariadb(self) -> bool:
        """The real flavour of the server. Connects."""
        with contextlib.closing(self._connect.open(database="")) as connection:
            return is_mariadb(connection)

    def check(self) -> Sequence[Finding]:
        """Connect, create the database where it is missing, and say what hinders a load."""
        try:
            connection = self._acquire()
        except NotFound:
            self._create_database()
            connection = self._acquire()
        try:
            with translating("checking the target"), connection.cursor() as cursor:
                cursor.execute("SELECT @@global.read_only")
                if cursor.fetchone()[0] and not _is_super(cursor):
                    raise PermissionDenied(
                        "The target is read-only: it cannot be written to.",
                        remedy="Name the primary.",
                    )
        finally:
            self._release(connection)
        if self._local_infile:
            return ()
        return (
            Finding(
                Severity.INFO,
                "no-local-infile",
                "target",
                "The server does not allow LOAD DATA LOCAL: rows go by INSERT, which is slower.",
                "SET GLOBAL local_infile = 1 on the target while the stream runs.",
            ),
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
        """The checkpoint records of a stream by key."""
        with self._connection() as connection:
            return self._state.load(connection, stream)

    def save_state(self, stream: str, records: Mapping[str, Mapping[str, Any] | None]) -> None:
        """Put or remove records in one transaction."""
        with self._connection(self._state.begin) as connection:
            self._state.save(connection, stream, records)

    def forget(self, stream: str) -> None:
        """Remove a stream's records; the state's tables go where they are empty."""
        with self._connection() as connection:
            self._state.forget(connection, stream)

    def write_rows(self, stream: str, load: Load, rows: Iterator[Any], mark: Mark) -> Written:
        """Load all rows, and the record of ``mark``, in one transaction."""
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
        loader = Loader(connection, load, local_infile=self._local_infile, packet=self._packet)
        attempt = uuid4().hex
        try:
            with translating(f"loading {load.table}"):
                loader.stage()
                self._state.begin(connection)
                if fence is not None:
                    self._state.enter(connection, stream, fence)
                loader.run(rows)
            checkpoint = mark()
            rejected = (*checkpoint.rejected, *loader.rejected)
            self._state.record(connection, stream, checkpoint, rejected, attempt)
            if fence is not None:
                self._state.demand_run(connection, stream, fence)
            self._commit(connection, stream, checkpoint.key, attempt, load)
        except BaseException:
            with contextlib.suppress(pymysql.MySQLError, OSError):
                connection.rollback()
            raise
        finally:
            self._release(connection)
        return Written(loader.rows, len(rejected), loader.bytes)

    def _commit(self, connection: Any, stream: str, key: str, attempt: str, load: Load) -> None:
        """Commit; where the answer is lost, the state row says whether it happened."""
        what = f"committing {load.table}"
        if self._closed:
            raise ConnectionFailed("The target was closed.", retryable=False)
        try:
            connection.commit()
        except (pymysql.MySQLError, OSError) as error:
            lost = isinstance(error, OSError) or error.args[:1] in ((n,) for n in (0, *LOST))
            if not lost or not self._committed(stream, key, attempt, what):
                raise translate(error, what) from None

    def _committed(self, stream: str, key: str, attempt: str, what: str) -> bool:
        """How a transaction ended. The row's lock is held until the server is through with it."""
        deadline = time.monotonic() + SETTLE_SECONDS
        while time.monotonic() < deadline:
            with (
                contextlib.suppress(StreamsError),
                contextlib.closing(self._connect.open()) as connection,
            ):
                connection.begin()
                return self._state.attempted(connection, stream, key) == attempt
            time.sleep(0.2)
        raise ConnectionFailed(
            f"{what}: the connection broke, and whether it is committed cannot be found out.",
            remedy="Once the server answers the checkpoint says what is there.",
        )

    # ChangeSink

    @contextlib.contextmanager
    def follow(self, stream: str, key: str) -> Iterator[MysqlChangeWriter]:
        """Take over a stream's changes, on a connection whose session is like no other."""
        connection = self._open(found_rows=True)
        with self._lock:
            self._busy.add(connection)
        try:
            changer = Changer(connection, local_infile=self._local_infile, packet=self._packet)
            writer = MysqlChangeWriter(connection, changer, self._state, stream, key)
            try:
                yield writer
            finally:
                writer.abandon()
        finally:
            _end(connection)
            self._release(connection)

    # StructureSink

    def inspect(self, tables: Sequence[TableId]) -> Catalog:
        """Describe those tables that exist, and which of their databases do."""
        with self._connection() as connection, translating("reading the target's catalog"):
            return describe(connection, tables)

    def has_rows(self, table: TableId) -> bool:
        """True where the table holds a row."""
        with (
            self._connection() as connection,
            translating(f"looking into {table}"),
            connection.cursor() as cursor,
        ):
            cursor.execute(f"SELECT EXISTS (SELECT 1 FROM {name(table)})")
            return bool(cursor.fetchone()[0])

    def execute(
        self, statements: Sequence[Statement], state: StateChange | None = None
    ) -> Sequence[Finding]:
        """Run statements one by one: each commits by itself on these servers.

        What drops tables comes first, then the state, then the rest: a run that is killed in
        between finds either nothing of its own, or the record that what is there is its own.
        """
        emptied = {table for statement in statements for table in statement.empties}
        findings: list[Finding] = []
        connection = self._acquire()
        try:
            self._demand_alone(connection, emptied)
            self._each(connection, [s for s in statements if s.drops], findings)
            if state is not None:
                self._state.begin(connection)
                self._state.save(connection, *state)
                with translating("writing the checkpoint"):
                    connection.commit()
            self._each(connection, [s for s in statements if not s.drops], findings)
        finally:
            self._release(connection)
        return findings

    def try_out(
        self, before: Sequence[Statement], attempts: Sequence[Sequence[Statement]]
    ) -> Sequence[StreamsError | None]:
        """Make each table as a temporary one, which this session alone sees, and drop it.

        ``before`` makes databases, which stay: the state's own takes their place.
        """
        connection = self._acquire()
        try:
            self._state.make(connection)
            return [self._refusal(connection, attempt) for attempt in attempts]
        except ConnectionFailed:
            raise
        except StreamsError:  # making it will say so
            return [None] * len(attempts)
        finally:
            self._release(connection)

    def _refusal(self, connection: Any, attempt: Sequence[Statement]) -> StreamsError | None:
        trial = self._state.named("streams_engine_trial")
        for statement in attempt:
            table = required(statement.table, f"the table of '{statement.object}'")
            head = f"CREATE TABLE {name_of(table)} "
            made = f"CREATE TEMPORARY TABLE {trial} " + statement.sql.removeprefix(head)
            with connection.cursor() as cursor:
                cursor.execute(f"DROP TEMPORARY TABLE IF EXISTS {trial}")
                try:
                    with translating(statement.object):
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
                    translating(statement.object),
                    _unchecked(connection, bool(statement.empties) or seen),
                    connection.cursor() as cursor,
                ):
                    orphans = _count(cursor, statement.orphans) if statement.orphans else 0
                    if orphans:
                        findings.append(orphaned(statement, orphans))
                        continue
                    cursor.execute(statement.sql)
            except StreamsError as error:
                if not statement.optional:
                    raise
                findings.append(left_out(statement, error))

    def _demand_alone(self, connection: Any, emptied: set[TableId]) -> None:
        """Raise `TargetConflict` where other tables refer to those that are to be emptied."""
        if not emptied:
            return
        with translating("looking for foreign keys"), connection.cursor() as cursor:
            cursor.execute(
                "SELECT DISTINCT referenced_table_schema, referenced_table_name, table_schema,"
                " table_name FROM information_schema.key_column_usage"
                " WHERE (referenced_table_schema, referenced_table_name) IN %s",
                (sorted((t.schema, t.name) for t in emptied),),
            )
            references = cursor.fetchall()
            cursor.execute("SELECT @@lower_case_table_names")
            same = str.casefold if cursor.fetchone()[0] else str
            known = {(same(t.schema), same(t.name)) for t in emptied}
            for schema, table, other_schema, other in references:
                # The catalog compares names without their case, the server may not.
                ours = (same(schema), same(table)) in known
                if ours and (same(other_schema), same(other)) not in known:
                    raise TargetConflict(
                        f"{other_schema}.{other} refers to {schema}.{table}, which would be "
                        "emptied under it.",
                        remedy="Move both tables, or drop the foreign key first.",
                        table=f"{schema}.{table}",
                    )


def _joined(connection: Any, statements: Sequence[Statement]) -> Iterator[Statement]:
    """The statements that are left to run: what several in a row add to a table is run as one.

    Where that is refused they are all left, so that the one at fault is named.
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
    """Without the server's look at foreign keys, where it was seen before that they hold."""
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


def _end(connection: Any) -> None:
    with contextlib.suppress(Exception):
        connection.close()
