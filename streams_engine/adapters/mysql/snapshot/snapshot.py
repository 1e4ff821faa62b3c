"""One consistent view of a MySQL or MariaDB server, on as many connections as may share it."""

from __future__ import annotations

import contextlib
import queue
import socket
import threading
from collections.abc import Generator, Iterator, Sequence
from typing import Any

import pyarrow as pa
import pymysql

from streams_engine.adapters.mysql.connection import translate
from streams_engine.adapters.mysql.snapshot import chunks as snapshot_chunks
from streams_engine.adapters.mysql.snapshot.result_set import stream
from streams_engine.adapters.mysql.snapshot.scans import observe
from streams_engine.adapters.mysql.snapshot.select import select
from streams_engine.contracts import RecordBatches
from streams_engine.errors import ConnectionFailed, SnapshotLost, StreamsError
from streams_engine.model import (
    Catalog,
    Chunk,
    Extract,
    Finding,
    Position,
    RowObservations,
    TableId,
    TableSchema,
)

__all__ = ["MysqlSnapshot"]

KILL_SECONDS = 3
"""How long a server may take to end a statement whose view is closed."""


class MysqlSnapshot:
    """The view. Each reader is a connection whose transaction began in it; none can join later."""

    def __init__(
        self,
        connections: Sequence[Any],
        catalog: Catalog,
        position: Position,
        findings: Sequence[Finding],
        holder: Any,
    ) -> None:
        self.catalog = catalog
        self.position = position
        self.findings = findings
        self.readers = len(connections)
        self._all = [*connections, holder]
        self._holder = holder
        self._holder_lock = threading.Lock()
        self._free: queue.Queue[Any] = queue.Queue()
        for connection in connections:
            self._free.put(connection)
        self._closed = threading.Event()
        self._measured: dict[int, dict[TableId, bool]] = {}
        """By the rows of a chunk: which tables have several, where the statistics were doubted."""

    # Chunks

    def chunks(self, table: TableSchema, rows: int) -> Sequence[Chunk]:
        """Return ranges of the primary key if the table is large, else one chunk.

        The outer ranges are open, so that together they contain every row.
        """
        key = snapshot_chunks.key_of(table)
        share: int | None = table.estimated_rows
        edges: list[tuple[Any, ...]] = []
        if key:
            with self._borrowed(f"measuring {table.id}") as connection:
                large = self._is_large(connection, table, rows)
                edges = snapshot_chunks.edges(connection, table, key, rows, large=large)
        if edges:
            share = max(rows, (share or 0) // (len(edges) + 1))
        return [
            Chunk(table.id, number, None, key, low, high, share)
            for number, (low, high) in enumerate(zip([None, *edges], [*edges, None], strict=True))
        ]

    def _is_large(self, connection: Any, table: TableSchema, rows: int) -> bool:
        if not snapshot_chunks.is_doubtful(table, rows):
            return False
        known = self._measured.setdefault(rows, {})
        if table.id not in known:
            doubtful = {
                one.id: one
                for one in (*self.catalog.tables, table)
                if snapshot_chunks.is_doubtful(one, rows)
            }
            known |= snapshot_chunks.measured(connection, list(doubtful.values()), rows)
        return known[table.id]

    def observe(
        self,
        tables: Sequence[TableSchema],
        *,
        booleans: bool,
        zero_dates: bool,
        times: bool,
        foreign_keys: bool,
    ) -> RowObservations:
        """Scan the rows of this snapshot."""
        with self._borrowed("scanning the rows") as connection:
            return observe(
                connection,
                tables,
                booleans=booleans,
                zero_dates=zero_dates,
                times=times,
                foreign_keys=foreign_keys,
            )

    # Reading

    def read(self, extract: Extract, chunk: Chunk) -> RecordBatches:
        """Read the chunk in bundles, over one of the snapshot's connections."""
        return self._blocks(extract, chunk)

    def _blocks(self, extract: Extract, chunk: Chunk) -> Generator[pa.RecordBatch, None, None]:
        what = f"reading {extract.table}"
        with self._borrowed(what) as connection:
            yield from stream(
                connection,
                select(extract, chunk),
                extract.arrow_schema(),
                str(extract.table),
                lambda: self._interrupt(connection),
            )

    def _interrupt(self, connection: Any) -> None:
        """End a reader's query and keep its transaction: there is no other way into the view."""
        with (
            contextlib.suppress(pymysql.MySQLError),
            self._holder_lock,
            self._holder.cursor() as cursor,
        ):
            cursor.execute(f"KILL QUERY {connection.thread_id()}")

    @contextlib.contextmanager
    def _borrowed(self, what: str) -> Iterator[Any]:
        """Borrow one of the snapshot's connections; it is given back unless it broke."""
        connection = self._take(what)
        try:
            yield connection
        except (pymysql.MySQLError, OSError) as error:
            fault = self._lost(error, what)
            if isinstance(fault, ConnectionFailed):
                _shut(connection)
            raise fault from None
        except AttributeError:
            # The driver's socket is taken from under a thread that reads when the view is closed.
            if not self._closed.is_set():
                raise
            raise ConnectionFailed(f"{what}: the snapshot is closed.", retryable=False) from None
        except (GeneratorExit, StreamsError):
            # A KILL that came too late for its query must not hit the next one.
            with contextlib.suppress(pymysql.MySQLError), connection.cursor() as cursor:
                cursor.execute("DO 0")
            raise
        except BaseException:
            # Rows may still be on their way: the connection is of no more use.
            _shut(connection)
            raise
        finally:
            if connection.open:
                self._free.put(connection)

    def _take(self, what: str) -> Any:
        while not self._closed.is_set():
            with contextlib.suppress(queue.Empty):
                return self._free.get(timeout=0.5)
            if not any(connection.open for connection in self._all[: self.readers]):
                break
        raise SnapshotLost(
            f"{what}: every connection of the snapshot is lost.",
            remedy="Start the stream again: it resumes from its checkpoint.",
        )

    def _lost(self, error: BaseException, what: str) -> StreamsError:
        fault = translate(error, what)
        if isinstance(fault, ConnectionFailed) and not self._closed.is_set():
            return SnapshotLost(
                f"{fault.message} A new connection cannot join the snapshot.",
                remedy="Start the stream again: it resumes from its checkpoint.",
                **fault.details,
            )
        return fault

    def close(self) -> None:
        """End the view. A read that is under way in another thread fails, on the server too.

        Idempotent.
        """
        first = not self._closed.is_set()
        self._closed.set()
        busy = [c for c in self._all[: self.readers] if c.open and c not in self._free.queue]
        for connection in busy if first else ():
            # The server would go on with a statement until it has a row to send. One that does
            # not answer is not waited for.
            with contextlib.suppress(Exception):
                self._holder._sock.settimeout(KILL_SECONDS)
                self._interrupt(connection)
        for connection in self._all:
            # Closing a socket does not wake a thread that reads from it; shutting it down does.
            with contextlib.suppress(Exception):
                connection._sock.shutdown(socket.SHUT_RDWR)
            with contextlib.suppress(Exception):
                connection._force_close()


def _shut(connection: Any) -> None:
    with contextlib.suppress(pymysql.MySQLError, OSError):
        connection._force_close()
