"""One exported snapshot of PostgreSQL, read by COPY BINARY into Arrow: off the socket, or under TLS
through ADBC."""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import psycopg
import pyarrow as pa
from psycopg import sql

from streams_engine.adapters.postgres.connection import (
    SESSION,
    PostgresConnect,
    hang_up,
    hidden_rows,
    translating,
)
from streams_engine.adapters.postgres.snapshot import copy_columns, copy_tuples
from streams_engine.adapters.postgres.snapshot.copy_columns import sent_types
from streams_engine.adapters.postgres.snapshot.select import select
from streams_engine.adapters.sql.login import password_now
from streams_engine.contracts import RecordBatches, SnapshotHandle
from streams_engine.errors import (
    ConnectionFailed,
    InternalError,
    LockTimeout,
    PermissionDenied,
    ServerError,
    SnapshotLost,
    require,
)
from streams_engine.model import Catalog, Chunk, Extract, Finding, Position, TableId, TableSchema

if TYPE_CHECKING:
    from streams_engine.adapters.postgres.snapshot.adbc_readers import AdbcReader, AdbcReaders

__all__ = ["PostgresSnapshot"]

Ending = tuple[Callable[[], object], Callable[[], object]]
"""What cancels a statement, and what cuts its connection where that fails."""

Reading = Callable[[psycopg.Connection, str, int], Generator[pa.RecordBatch, None, None]]
"""What reads a query over a connection, in batches of about so many bytes."""

CANCEL_SECONDS = 2.0
"""How long the server may take to hear of a cancel."""

BLOCK_BYTES = 2 << 20
"""What is gathered before it is handed over."""

CHUNK_BYTES = 32 << 20
"""Of a table, with what is stored out of line: about the most of a chunk, however few its rows."""
LEAST_PAGES, LEAST_WIDE_PAGES = 64, 8
"""The least pages of a chunk; the second where rows are large, and most of them out of line."""

IN_ORDER = {"max_parallel_workers_per_gather": "0", "enable_indexonlyscan": "off"}
"""What makes a reader scan a heap from its first page to its last."""

SYSTEM = "system_identifier::pg_catalog.text"
WHERE_IT_IS = f"""
SELECT {SYSTEM}, timeline_id,
       CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_replay_lsn()
            ELSE pg_catalog.pg_current_wal_lsn() END::pg_catalog.text
FROM pg_catalog.pg_control_system(), pg_catalog.pg_control_checkpoint()
"""

PARTITIONS = """
SELECT i.inhrelid FROM pg_catalog.pg_inherits i
JOIN pg_catalog.pg_class p ON p.oid = i.inhparent AND p.relkind = 'p'
"""
"""Every partition of the database; children by INHERITS, temporary ones of any session among them,
are tables of their own."""

PINNED = ", ".join(
    f"pg_catalog.set_config('{key}', '{value}', false)"
    for key, value in {
        **SESSION,
        **IN_ORDER,
        "search_path": "",
    }.items()
)
"""The settings of a reader, in one round trip."""


class PostgresSnapshot:
    """A view that all readers share as long as its holder's transaction lives."""

    def __init__(
        self,
        connect: PostgresConnect,
        holder: psycopg.Connection,
        catalog: Catalog,
        readers: int,
        query_path: str = "public",
        position: Position | None = None,
        *,
        looking: bool = False,
    ) -> None:
        self._connect = connect
        self._looking = looking
        self._holder = holder
        self._query_path = query_path
        self._readers: dict[Any, Ending] = {}
        """Open connections, and what ends the statement that one is at."""
        self._spare: list[psycopg.Connection] = []
        """Those that wait for a read."""
        self._adbc: AdbcReaders | None = None
        """Its connections, once one was needed."""
        self._opening = threading.RLock()
        """Held while a reader connects, and while it leaves."""
        self.readers = readers
        self._lock = threading.Lock()
        self._closed = False
        self.catalog = catalog
        self.findings: Sequence[Finding] = ()
        with translating("exporting the snapshot"):
            self._id = self._value("SELECT pg_catalog.pg_export_snapshot()")
            self.position = self._position() if position is None else position

    def handle(self) -> SnapshotHandle:
        """Return the handle with which another process joins this snapshot while it is open."""
        return SnapshotHandle((self._id, self.catalog, self._query_path), late=True)

    def _value(self, query: str) -> Any:
        row = self._holder.execute(query).fetchone()
        return None if row is None else row[0]

    def _position(self) -> Position:
        if self._looking:  # nothing goes on from here
            return {"system": self._value(f"SELECT {SYSTEM} FROM pg_catalog.pg_control_system()")}
        row = self._holder.execute(WHERE_IT_IS.encode()).fetchone()
        system, timeline, lsn = require(row, "where the server is in its log")
        return {
            "system": system,
            "timeline": timeline,
            "lsn": lsn,
            "writes": self._writes(),
            "storage": self._storage(),
        }

    def _names(self) -> list[str]:
        tables = [t.id for t in self.catalog.tables if t.query is None]
        return [f"{_q(table.schema)}.{_q(table.name)}" for table in tables]

    def _writes(self) -> int | None:
        """Return how many rows of the captured tables were written, by the cumulative statistics.

        Equal counts mean that the tables were not changed in between.
        """
        names = self._names()
        query = (
            "SELECT sum(pg_catalog.pg_stat_get_tuples_inserted(r.oid)"
            " + pg_catalog.pg_stat_get_tuples_updated(r.oid)"
            " + pg_catalog.pg_stat_get_tuples_deleted(r.oid))::bigint"
            " FROM (SELECT unnest(%s::regclass[])::oid AS oid"
            f" UNION {PARTITIONS}) r"
        )
        row = self._holder.execute(query, (names,)).fetchone()
        return None if row is None else row[0]

    def _storage(self) -> str | None:
        """Return a digest that changes if rows moved without being written (CLUSTER, VACUUM FULL),
        or if the statistics that `_writes` uses were reset (also by a crash)."""
        names = self._names()
        query = (
            "SELECT md5(concat_ws(' ', (SELECT stats_reset FROM pg_catalog.pg_stat_bgwriter),"
            " (SELECT stats_reset FROM pg_catalog.pg_stat_database"
            " WHERE datname = current_database()),"
            " (SELECT string_agg(concat(r.oid, ':', pg_catalog.pg_relation_filenode(r.oid)), ' '"
            " ORDER BY r.oid) FROM (SELECT unnest(%s::regclass[])::oid AS oid"
            f" UNION {PARTITIONS}) r)))"
        )
        row = self._holder.execute(query, (names,)).fetchone()
        return None if row is None else str(row[0])

    # Chunks

    def chunks(self, table: TableSchema, rows: int) -> Sequence[Chunk]:
        """Return one chunk per leaf; large heaps in ctid ranges, of which the last is open.

        ctid ranges need no key and read each page once. A heap is read in ctid order, so an
        interrupted chunk continues by a count, as long as nothing was written.
        """
        own = self._own(table.id) or table
        leaves = own.partitioning.leaves() if own.partitioning else (None,)
        chunks: list[Chunk] = []
        for leaf in leaves:
            relation = leaf or table.id
            ranges, heap = self._ranges(relation, rows)
            for low, high, estimate in ranges:
                key = ("ctid",) if low is not None or high is not None else ()
                chunks.append(
                    Chunk(
                        table.id,
                        len(chunks),
                        leaf,
                        key,
                        None if low is None else (low,),
                        None if high is None else (high,),
                        estimate,
                        ordered=heap,
                    )
                )
        return chunks

    def _ranges(
        self, relation: Any, rows: int
    ) -> tuple[list[tuple[str | None, str | None, int | None]], bool]:
        """Return the ctid ranges of a relation, and whether it is a heap, which is read in ctid
        order."""
        query = sql.SQL(
            "SELECT pg_catalog.pg_relation_size(c.oid) / current_setting('block_size')::int,"
            " c.reltuples::int8, am.amname = 'heap', pg_catalog.pg_table_size(c.oid)"
            " FROM pg_catalog.pg_class c"
            " LEFT JOIN pg_catalog.pg_am am ON am.oid = c.relam"
            " WHERE c.oid = {}::regclass"
        ).format(sql.Literal(f"{_q(relation.schema)}.{_q(relation.name)}"))
        with self._lock, translating(f"measuring {relation}"):
            row = self._holder.execute(query).fetchone()
        pages, estimate, heap, size = row or (0, -1, False, 0)
        if estimate < 0:
            estimate = pages * 50
        by_rows = min(round(estimate / rows), pages // LEAST_PAGES)
        by_bytes = min(size // CHUNK_BYTES, pages // LEAST_WIDE_PAGES)
        parts = max(1, by_rows, by_bytes)
        if not heap or parts < 2:
            return [(None, None, max(estimate, 0))], bool(heap)
        step = -(-pages // parts)
        edges = [f"({step * i},0)" for i in range(1, parts)]
        lows, highs = [None, *edges], [*edges, None]
        share = estimate // parts
        return [(low, high, share) for low, high in zip(lows, highs, strict=True)], True

    def _own(self, table: TableId) -> TableSchema | None:
        """Return the table as it is on the server, whatever columns and alias were selected."""
        return self.catalog.table(TableId(table.schema, table.name))

    # Reading

    def read(self, extract: Extract, chunk: Chunk) -> RecordBatches:
        """Read the chunk in bundles, over its own connection in this snapshot."""
        table = self._own(extract.table)
        # Who looks, or asks in SQL, sees what SELECT shows: a parent with its children's rows.
        own = chunk.relation is None and not (table is not None and table.partitioning)
        only = own and not self._looking
        query = select(extract, chunk, only=only).as_string(self._holder)
        read = self._tuples if extract.tuples else self._blocks
        return read(extract, query)

    def _blocks(self, extract: Extract, query: str) -> Generator[pa.RecordBatch, None, None]:
        if not extract.columns:
            yield from self._counted(query)
        elif self._looking or not self._holder.pgconn.ssl_in_use:
            sent, wanted = sent_types(extract.columns), extract.arrow_schema()
            reading = partial(copy_columns.read, sent=sent, wanted=wanted)
            yield from self._read(reading, extract, query)
        else:
            yield from self._through_adbc(extract, query)

    def _through_adbc(self, extract: Extract, query: str) -> Iterator[pa.RecordBatch]:
        """Yield the rows of a read under TLS: libpq alone holds the keys, and ADBC takes its
        messages without an object for each."""
        what = f"reading {extract.table}"
        reader = self._join(what)
        running = True
        try:
            with _translating(what, self):
                if extract.query is not None:
                    reader.ask(f"SET LOCAL search_path TO {self._query_path}")
                wanted = extract.arrow_schema()
                with contextlib.closing(reader.read(query, BLOCK_BYTES, wanted)) as blocks:
                    yield from blocks
            running = False
        finally:
            self._leave(reader, running=running)

    def _tuples(self, extract: Extract, query: str) -> Generator[pa.RecordBatch, None, None]:
        """Yield rows in the server's own form."""
        return self._read(copy_tuples.read, extract, query)

    def _read(
        self, reading: Reading, extract: Extract, query: str
    ) -> Generator[pa.RecordBatch, None, None]:
        """Yield what ``reading`` makes of the rows, over a connection of psycopg."""
        what = f"reading {extract.table}"
        reader = self._spared() or self._seated(what)
        running = True
        try:
            with _translating(what, self):
                if extract.query is not None:
                    reader.execute(f"SET LOCAL search_path TO {self._query_path}".encode())
                yield from reading(reader, query, BLOCK_BYTES)
            running = False
        finally:
            if running or extract.query is not None or not self._spare_one(reader):
                self._leave(reader, running=running)

    def _spared(self) -> psycopg.Connection | None:
        """Return a connection that waits for a read."""
        with self._opening, self._lock:  # one that is on its way is waited for
            return self._spare.pop() if self._spare else None

    def _spare_one(self, reader: psycopg.Connection) -> bool:
        """Keep a connection for the next read; False if there are enough."""
        with self._lock:
            wanted = not self._closed and len(self._spare) < self.readers
            if wanted:
                self._spare.append(reader)
            return wanted

    def _seated(self, what: str) -> psycopg.Connection:
        """Open a connection of psycopg in the snapshot."""
        reader = self._connect.open(gss=False, autocommit=True)
        with self._lock:
            # The other way to cancel holds the interpreter's lock until the server answers.
            self._readers[reader] = (
                partial(reader.cancel_safe, timeout=CANCEL_SECONDS),
                partial(hang_up, reader),
            )
        settings = "".join(f"; SET {key} TO {value}" for key, value in IN_ORDER.items())
        try:
            with _translating(what, self):
                reader.execute(  # several statements, one round trip
                    "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;"
                    f" SET TRANSACTION SNAPSHOT '{self._id}'{settings}".encode(),
                    prepare=False,
                )
        except BaseException:
            self._leave(reader)
            raise
        return reader

    def warm(self) -> None:
        """Connect ahead of the first read, which has to wait for it else."""
        with self._opening:
            if not self._closed and not self._spare_one(
                reader := self._seated("preparing to read")
            ):
                self._leave(reader, running=False)

    def _counted(self, query: str) -> Iterator[pa.RecordBatch]:
        """Yield a batch without columns, which still has a number of rows."""
        count = query.replace("SELECT  FROM", "SELECT count(*) FROM", 1)
        with self._lock, translating("counting rows"):
            rows = self._value(count)
        yield pa.RecordBatch.from_struct_array(pa.array([{}] * rows, pa.struct([])))

    def _join(self, what: str) -> AdbcReader:
        """Open a connection of ADBC in the snapshot, pinned like every other."""
        with _translating(what, self):
            reader = self._connected()
        with self._lock:
            self._readers[reader] = (reader.cut, reader.cut)
        try:
            with _translating(what, self):
                reader.ask("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
                reader.ask(f"SET TRANSACTION SNAPSHOT '{self._id}'")
                patience = self._connect.lock_timeout
                process = reader.ask(
                    f"SELECT pg_catalog.pg_backend_pid(), {PINNED},"
                    f" pg_catalog.set_config('lock_timeout', '{patience}', false)"
                )
            reader.known_as(process)
            with self._lock:
                self._readers[reader] = (partial(self._connect.cancel, process), reader.cut)
        except BaseException:
            self._leave(reader)
            raise
        return reader

    def _connected(self) -> AdbcReader:
        from streams_engine.adapters.postgres.snapshot.adbc_readers import AdbcReaders

        with self._opening:
            if self._closed:
                raise ConnectionFailed("The snapshot is closed.", retryable=False)
            password = password_now(self._connect.password)
            if self._adbc is not None and self._adbc.password != password:
                self._adbc.close()
                self._adbc = None
            if self._adbc is None:
                self._adbc = AdbcReaders(self._connect, password)
            return self._adbc.open()

    def _leave(self, reader: Any, *, running: bool = True) -> None:
        """End a reader; ``running`` False if it has nothing in hand."""
        with self._lock:
            ending = self._readers.pop(reader)
        if running:
            _end([ending])
        # ADBC's driver counts its connections without a lock (PostgresDatabase::Connect), and a
        # database that is closed with a wrong count is an error: it would fail a whole copy.
        with self._opening, contextlib.suppress(Exception):
            reader.close()

    @property
    def alive(self) -> bool:
        """False if the holder's session, and the view with it, is gone."""
        if self._closed:
            return False
        try:
            with self._lock:
                self._holder.execute("SELECT 1")
        except psycopg.Error:
            return False
        return True

    def close(self) -> None:
        """End the view and every reader in it. Idempotent."""
        self._closed = True
        hang_up(self._holder)  # who waits on it holds the lock
        with self._lock:
            spare, self._spare = self._spare, []
            running = [ending for reader, ending in self._readers.items() if reader not in spare]
        _end(running)
        if (adbc := self._adbc) is not None:
            adbc.cut()  # one that connects holds the other lock
        with self._opening:
            for reader in spare:
                self._leave(reader, running=False)
            if self._adbc is not None:
                self._adbc.close()
        with contextlib.suppress(psycopg.Error):
            self._holder.close()


def _q(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def _end(several: Sequence[Ending]) -> None:
    """End statements; those of a server that does not answer are cut, one after the other."""
    answers = True
    for cancel, cut in several:
        if answers:
            try:
                cancel()
            except Exception:
                answers = False
        if not answers:
            cut()


def _server_sentence(error: Exception) -> str | None:
    """Return the server's primary message in an error, without the query."""
    match = re.search(r"(?:ERROR:\s+)?([^\n]*row-level security[^\n]*)", str(error))
    return None if match is None else match[1].partition("ERROR:")[2].strip() or match[1]


@contextlib.contextmanager
def _translating(what: str, view: PostgresSnapshot) -> Iterator[None]:
    """Translate the drivers' errors; a dead connection means that this reader lost the snapshot."""
    try:
        yield
    except psycopg.Error as error:
        state = error.sqlstate
        if view._closed:
            raise ConnectionFailed(f"{what}: the snapshot is closed.", retryable=False) from None
        if not view.alive:  # a reader that joins finds no snapshot of that name any more
            raise SnapshotLost(
                f"{what}: the session that holds the snapshot ended; the snapshot is lost.",
                remedy="Start the stream again: it resumes from its checkpoint.",
            ) from None
        if state == "42501":
            if "row-level security" in str(error):
                raise hidden_rows(what, _server_sentence(error), state) from None
            raise PermissionDenied(
                f"{what}: the role {view._connect.user} lacks the privilege.",
                remedy="Grant it, or use another role.",
                sqlstate=state,
            ) from None
        if state == "55P03":
            raise LockTimeout(
                f"{what}: a statement that changes the table waits for the load to end, and "
                "other sessions that read the table wait behind it.",
                remedy="End that statement, or give it a short lock_timeout; then start again.",
                sqlstate=state,
            ) from None
        if state is None or state[:2] in ("08", "57"):
            raise ConnectionFailed(f"{what}: the connection broke.", sqlstate=state) from None
        raise ServerError(
            f"{what}: the server reported SQLSTATE {state}.", sqlstate=state
        ) from None
    except (pa.ArrowInvalid, OSError) as error:
        if "PGRES_FATAL_ERROR" in str(error) and "closed the connection" not in str(error):
            raise ServerError(
                f"{what}: the server ended the result with an error.",
                remedy="Run the query by hand, or see the server's log.",
            ) from None
        if isinstance(error, OSError):
            raise ConnectionFailed(f"{what}: the connection broke.") from None
        raise InternalError(f"{what}: {type(error).__name__} while decoding the result.") from None
