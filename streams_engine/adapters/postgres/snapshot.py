"""One exported snapshot of PostgreSQL, read by COPY BINARY into Arrow through ADBC."""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from functools import partial
from typing import Any

import adbc_driver_postgresql.dbapi as adbc
import numpy as np
import psycopg
import pyarrow as pa
from psycopg import sql

from streams_engine.adapters.postgres import copy_columns, copy_tuples
from streams_engine.adapters.postgres.connect import (
    LOCK_TIMEOUT_MS,
    SESSION,
    PostgresConnect,
    hidden_rows,
    pin,
    translating,
)
from streams_engine.adapters.postgres.selecting import select
from streams_engine.bundles import bundles
from streams_engine.errors import (
    ConnectionFailed,
    InternalError,
    LockTimeout,
    PermissionDenied,
    ServerError,
    SnapshotLost,
)
from streams_engine.model import Catalog, Chunk, Extract, Finding, Position, TableId, TableSchema
from streams_engine.sharing import Ticket

__all__ = ["PostgresSnapshot"]

CANCEL_SECONDS = 2.0
"""How long the server may take to hear of a cancel."""

BLOCK_BYTES = 2 << 20
"""What ADBC gathers before it hands a block over."""

IN_ORDER = {"max_parallel_workers_per_gather": "0", "enable_indexonlyscan": "off"}
"""What makes a reader scan a heap from its first page to its last."""

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
        "lock_timeout": str(LOCK_TIMEOUT_MS),
        "search_path": "",
    }.items()
)
"""The settings of a reader, in one round trip."""

EPOCH_DAYS = 10957
EPOCH_MICROSECONDS = 946_684_800_000_000
"""2000-01-01, PostgreSQL's epoch, since 1970-01-01."""


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
        self._readers: dict[Any, Callable[[], None]] = {}
        """Open connections, and what ends the statement that one is at."""
        self._spare: list[psycopg.Connection] = []
        """Those that wait for a read."""
        self._template: Any = None
        """What ADBC's connections are cloned from; it holds the server's types, no connection."""
        self._lent = contextlib.ExitStack()
        """Certificates given as texts, as files for as long as connections are cloned."""
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

    def ticket(self) -> Ticket:
        """What another process joins this view with, for as long as this one holds it."""
        return Ticket((self._id, self.catalog, self._query_path), late=True)

    def _value(self, query: str) -> Any:
        row = self._holder.execute(query).fetchone()
        return None if row is None else row[0]

    def _position(self) -> Position:
        system = self._value("SELECT system_identifier FROM pg_catalog.pg_control_system()")
        if self._looking:  # nothing goes on from here
            return {"system": str(system)}
        lsn = self._value(
            "SELECT CASE WHEN pg_catalog.pg_is_in_recovery()"
            " THEN pg_catalog.pg_last_wal_replay_lsn()"
            " ELSE pg_catalog.pg_current_wal_lsn() END::text"
        )
        return {
            "system": str(system),
            "timeline": self._value("SELECT timeline_id FROM pg_catalog.pg_control_checkpoint()"),
            "lsn": lsn,
            "writes": self._writes(),
            "storage": self._storage(),
        }

    def _names(self) -> list[str]:
        tables = [t.id for t in self.catalog.tables if t.query is None]
        return [f"{_q(table.schema)}.{_q(table.name)}" for table in tables]

    def _writes(self) -> int | None:
        """Writes to the captured tables as the cumulative statistics count them.

        The same count twice means that the tables were not touched in between.
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
        """A digest that changes where rows moved without being written (CLUSTER, VACUUM FULL),
        and where the statistics that `_writes` counts by began anew (a crash, a reset)."""
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
        """One chunk a leaf, large heaps in ctid ranges, the last of them open.

        ctid ranges need no key and touch each page once. A heap is read in the order of
        its ctids, so a cut one is continued by a count, as long as nothing was written.
        """
        own = self._own(table.id) or table
        leaves = own.partitioning.leaves() if own.partitioning else (None,)
        found: list[Chunk] = []
        for leaf in leaves:
            relation = leaf or table.id
            ranges, heap = self._ranges(relation, rows)
            for low, high, estimate in ranges:
                key = ("ctid",) if low is not None or high is not None else ()
                found.append(
                    Chunk(
                        table.id,
                        len(found),
                        leaf,
                        key,
                        None if low is None else (low,),
                        None if high is None else (high,),
                        estimate,
                        ordered=heap,
                    )
                )
        return found

    def _ranges(
        self, relation: Any, rows: int
    ) -> tuple[list[tuple[str | None, str | None, int | None]], bool]:
        """The ctid ranges of a relation, and whether it is a heap, read in ctid order."""
        query = sql.SQL(
            "SELECT pg_catalog.pg_relation_size(c.oid) / current_setting('block_size')::int,"
            " c.reltuples::int8, am.amname = 'heap' FROM pg_catalog.pg_class c"
            " LEFT JOIN pg_catalog.pg_am am ON am.oid = c.relam"
            " WHERE c.oid = {}::regclass"
        ).format(sql.Literal(f"{_q(relation.schema)}.{_q(relation.name)}"))
        with self._lock, translating(f"measuring {relation}"):
            row = self._holder.execute(query).fetchone()
        pages, estimate, heap = row or (0, -1, False)
        if estimate < 0:
            estimate = pages * 50
        parts = max(1, min(round(estimate / rows), pages // 64))
        if not heap or parts < 2:
            return [(None, None, max(estimate, 0))], bool(heap)
        step = -(-pages // parts)
        edges = [f"({step * i},0)" for i in range(1, parts)]
        lows, highs = [None, *edges], [*edges, None]
        share = estimate // parts
        return [(low, high, share) for low, high in zip(lows, highs, strict=True)], True

    def _own(self, table: TableId) -> TableSchema | None:
        """The table as it is on the server, whatever was selected of it and under what alias."""
        return self.catalog.table(TableId(table.schema, table.name))

    # Reading

    def read(self, extract: Extract, chunk: Chunk, rows: int) -> Iterator[pa.RecordBatch]:
        """The chunk in bundles, over a connection of its own into this snapshot."""
        table = self._own(extract.table)
        # Who looks, or asks in SQL, sees what SELECT shows: a parent with its children's rows.
        own = chunk.relation is None and not (table is not None and table.partitioning)
        only = own and not self._looking
        query = select(extract, chunk, only=only).as_string(self._holder)
        read = self._tuples if extract.tuples else self._blocks
        return bundles(read(extract, query), rows)

    def _blocks(self, extract: Extract, query: str) -> Iterator[pa.RecordBatch]:
        wanted = extract.arrow_schema()
        if not extract.columns:
            yield from self._counted(query)
            return
        if self._looking and copy_columns.readable(extract.columns):
            yield from self._columns(extract, query)
            return
        what = f"reading {extract.table}"
        reader = self._join(what)
        try:
            with _translating(what, self), reader.cursor() as cursor:
                if extract.query is not None:
                    cursor.execute(f"SET LOCAL search_path TO {self._query_path}")
                cursor.adbc_statement.set_options(
                    **{"adbc.postgresql.batch_size_hint_bytes": str(BLOCK_BYTES)}
                )
                cursor.execute(query)
                for block in cursor.fetch_record_batch():
                    yield _exact(block, wanted)
        finally:
            self._leave(reader)

    def _columns(self, extract: Extract, query: str) -> Iterator[pa.RecordBatch]:
        """For a few rows: ADBC would ask the server for all its types first, which takes longer."""
        wanted = extract.arrow_schema()
        with contextlib.closing(self._tuples(extract, query)) as blocks:
            for block in blocks:
                with _translating(f"reading {extract.table}", self):
                    columns = copy_columns.columns_of(block, wanted)
                yield columns

    def _tuples(self, extract: Extract, query: str) -> Generator[pa.RecordBatch, None, None]:
        """Rows as the server writes them, over a connection of psycopg's."""
        what = f"reading {extract.table}"
        with self._opening:  # one that is on its way is waited for
            spare = self._spare.pop() if self._spare else None
        reader = spare or self._seated(what)
        running = True
        try:
            with _translating(what, self):
                if extract.query is not None:
                    reader.execute(f"SET LOCAL search_path TO {self._query_path}".encode())
                yield from copy_tuples.read(reader, query, BLOCK_BYTES)
            running = False
        finally:
            self._leave(reader, running=running)

    def _seated(self, what: str) -> psycopg.Connection:
        """A connection of psycopg's inside the view."""
        reader = self._connect.open(gss=False)
        with self._lock:
            # The other way to cancel holds the interpreter's lock until the server answers.
            self._readers[reader] = partial(reader.cancel_safe, timeout=CANCEL_SECONDS)
        try:
            with _translating(what, self):
                reader.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
                reader.execute(f"SET TRANSACTION SNAPSHOT '{self._id}'".encode())
                pin(reader, IN_ORDER)
        except BaseException:
            self._leave(reader)
            raise
        return reader

    def warm(self) -> None:
        """Connect ahead of the first read, which has to wait for it else."""
        with self._opening:
            if not self._closed:
                self._spare.append(self._seated("preparing to read"))

    def _counted(self, query: str) -> Iterator[pa.RecordBatch]:
        """A table without columns still has rows."""
        count = query.replace("SELECT  FROM", "SELECT count(*) FROM", 1)
        with self._lock, translating("counting rows"):
            rows = self._value(count)
        yield pa.RecordBatch.from_struct_array(pa.array([{}] * rows, pa.struct([])))

    def _join(self, what: str) -> Any:
        """A connection inside the view, pinned like every other."""
        with _translating(what, self):
            reader = self._cloned()
        with self._lock:
            self._readers[reader] = reader.adbc_cancel
        try:
            with _translating(what, self), reader.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
                cursor.execute(f"SET TRANSACTION SNAPSHOT '{self._id}'")
                cursor.execute(f"SELECT {PINNED}")
                cursor.fetchone()
        except BaseException:
            self._leave(reader)
            raise
        return reader

    def _cloned(self) -> Any:
        """A connection of ADBC's. The first asks the server for all its types, which takes ten
        times as long as to connect: the others know them from it."""
        with self._opening:
            self._learn()
            return self._template.adbc_clone()

    def _learn(self) -> None:
        if self._closed:
            raise ConnectionFailed("The snapshot was closed.", retryable=False)
        if self._template is None:
            uri = self._lent.enter_context(self._connect.uri())
            self._template = adbc.connect(uri, autocommit=False)
            self._template.adbc_connection.close()

    def _leave(self, reader: Any, *, running: bool = True) -> None:
        """End a reader; ``running`` False where it has nothing in hand."""
        with self._lock:
            cancel = self._readers.pop(reader)
        if running:
            with contextlib.suppress(Exception):
                cancel()
        # ADBC's driver counts its connections without a lock (PostgresDatabase::Connect), and a
        # database that is closed with a wrong count is an error: it would fail a whole copy.
        with self._opening, contextlib.suppress(Exception):
            reader.close()

    @property
    def alive(self) -> bool:
        """False where the holder's session, and the view with it, is gone."""
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
        with self._lock:
            running = list(self._readers.values())
        for cancel in running:
            with contextlib.suppress(Exception):
                cancel()
        with self._opening:
            for reader in self._spare:
                self._leave(reader, running=False)
            self._spare = []
            if self._template is not None:
                self._template.close()
            self._lent.close()
        with contextlib.suppress(psycopg.Error):
            self._holder.close()


def _q(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def _exact(block: pa.RecordBatch, wanted: pa.Schema) -> pa.RecordBatch:
    """The block in exactly the wanted types, with what Arrow cannot hold marked."""
    columns = []
    for column, field in zip(block.columns, wanted, strict=True):
        if pa.types.is_timestamp(field.type):
            column = _marked(column, np.int64, EPOCH_MICROSECONDS)
        elif pa.types.is_date32(field.type):
            column = _marked(column, np.int32, EPOCH_DAYS)
        if column.type != field.type:
            column = column.cast(field.type)
        columns.append(column)
    return pa.RecordBatch.from_arrays(columns, schema=wanted)


def _marked(column: pa.Array, storage: Any, epoch: int) -> pa.Array:
    """Infinities and times beyond Arrow's range become the storage's minimum.

    ADBC adds the epoch without a look at overflow; the sum wraps and can be undone.
    """
    limits = np.iinfo(storage)
    bits = pa.int64() if storage is np.int64 else pa.int32()
    shown = column.view(bits)
    plain = shown.fill_null(0) if shown.null_count else shown
    raw = plain.to_numpy(zero_copy_only=False) - storage(epoch)
    beyond = (raw > limits.max - epoch) | (raw == limits.min)
    if not beyond.any():
        return column
    valid = np.asarray(shown.is_valid())
    values = np.where(beyond & valid, limits.min, plain.to_numpy(zero_copy_only=False))
    return pa.array(values, bits, mask=~valid).view(column.type)


def _server_sentence(error: Exception) -> str | None:
    """The server's primary message in an error of ADBC's or psycopg's, without the query."""
    found = re.search(r"(?:ERROR:\s+)?([^\n]*row-level security[^\n]*)", str(error))
    return None if found is None else found[1].partition("ERROR:")[2].strip() or found[1]


@contextlib.contextmanager
def _translating(what: str, view: PostgresSnapshot) -> Iterator[None]:
    """The drivers' errors as ours; a dead connection means that this reader lost the view."""
    try:
        yield
    except (adbc.Error, psycopg.Error) as error:
        state = getattr(error, "sqlstate", None)
        if view._closed:
            raise ConnectionFailed(f"{what}: the snapshot was closed.", retryable=False) from None
        if not view.alive:  # a reader that joins finds no snapshot of that name any more
            raise SnapshotLost(
                f"{what}: the session that holds the snapshot is gone, and the view with it.",
                remedy="Start the stream again: it continues from its checkpoint.",
            ) from None
        if state == "42501":  # ADBC gives the sentence, and not where the server said it
            if "row-level security" in str(error):
                raise hidden_rows(what, _server_sentence(error), state) from None
            raise PermissionDenied(
                f"{what}: the role {view._connect.user} lacks the right.",
                remedy="Grant it, or use another role.",
                sqlstate=state,
            ) from None
        if state == "55P03":
            raise LockTimeout(
                f"{what}: a statement that changes the table waits until the load is over, and its "
                "readers wait behind it.",
                remedy="End that statement, or give it a short lock_timeout; then start again.",
                sqlstate=state,
            ) from None
        if isinstance(error, adbc.OperationalError) or state is None or state[:2] in ("08", "57"):
            raise ConnectionFailed(f"{what}: the connection broke.", sqlstate=state) from None
        raise ServerError(
            f"{what}: the server reported SQLSTATE {state}.", sqlstate=state
        ) from None
    except (pa.ArrowInvalid, OSError) as error:
        if "PGRES_FATAL_ERROR" in str(error) and "closed the connection" not in str(error):
            raise ServerError(
                f"{what}: the server ended the result with an error.",
                remedy="Run the query by hand, or look into the server's log.",
            ) from None
        if isinstance(error, OSError):
            raise ConnectionFailed(f"{what}: the connection broke.") from None
        raise InternalError(f"{what}: {type(error).__name__} while decoding.") from None
