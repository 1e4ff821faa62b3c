"""One consistent view of a MySQL or MariaDB server, on as many connections as may share it."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pymysql

from streams_engine.adapters.mysql.connect import translate, translating
from streams_engine.adapters.mysql.resultset import stream
from streams_engine.adapters.mysql.selecting import name, quote, select
from streams_engine.bundles import bundles
from streams_engine.errors import ConnectionFailed, SnapshotLost
from streams_engine.model import Catalog, Chunk, Extract, Finding, Position, TableId, TableSchema

__all__ = ["MysqlSnapshot", "boolean_columns"]

INTEGERS = {"tinyint", "smallint", "mediumint", "int", "bigint"}


class MysqlSnapshot:
    """The view. Each reader is a connection whose transaction began in it; none can join later."""

    def __init__(
        self,
        connections: Sequence[Any],
        catalog: Catalog,
        position: Position,
        findings: Sequence[Finding],
    ) -> None:
        self.catalog = catalog
        self.position = position
        self.findings = findings
        self.readers = len(connections)
        self._all = list(connections)
        self._free: queue.Queue[Any] = queue.Queue()
        for connection in connections:
            self._free.put(connection)
        self._closed = threading.Event()

    # Chunks

    def chunks(self, table: TableSchema, rows: int) -> Sequence[Chunk]:
        """Ranges of an integer primary key where the table is large, else one chunk.

        The outer ranges are open, so that together they hold every row.
        """
        key = table.primary_key
        small = (table.estimated_rows or 0) < 2 * rows
        if key is None or len(key.parts) != 1 or small or self.readers == 1:
            return [self._whole(table)]
        column = table.column(key.columns[0])
        if column.type.name not in INTEGERS:
            return [self._whole(table)]
        low, high = self._extremes(table.id, column.name)
        parts = max(1, (table.estimated_rows or 0) // rows)
        if low is None or high is None or high - low < parts:
            return [self._whole(table)]
        step = (high - low) // parts
        edges = [(low + step * i,) for i in range(1, parts)]
        lows, highs = [None, *edges], [*edges, None]
        share = (table.estimated_rows or 0) // parts
        return [
            Chunk(table.id, number, None, (column.name,), first, last, share)
            for number, (first, last) in enumerate(zip(lows, highs, strict=True))
        ]

    def _whole(self, table: TableSchema) -> Chunk:
        key = table.primary_key
        single = key is not None and len(key.parts) == 1 and not key.parts[0].length
        names = key.columns if key is not None and single else ()
        if names and table.column(names[0]).type.name not in INTEGERS:
            names = ()
        return Chunk(table.id, key=names, estimated_rows=table.estimated_rows)

    def _extremes(self, table: TableId, column: str) -> tuple[int | None, int | None]:
        key = quote(column)
        with self._borrowed(f"measuring {table}") as connection, connection.cursor() as cursor:
            cursor.execute(f"SELECT MIN({key}), MAX({key}) FROM {name(table)}")
            low, high = cursor.fetchone()
            return low, high

    def boolean_columns(self, tables: Sequence[TableSchema]) -> frozenset[tuple[TableId, str]]:
        """The TINYINT(1) columns that hold nothing but 0, 1 and NULL, by a scan in this view."""
        with self._borrowed("scanning TINYINT(1) columns") as connection:
            return boolean_columns(connection, tables)

    # Reading

    def read(self, extract: Extract, chunk: Chunk, rows: int) -> Iterator[pa.RecordBatch]:
        """The chunk in bundles, over one of the view's connections."""
        return bundles(self._blocks(extract, chunk), rows)

    def _blocks(self, extract: Extract, chunk: Chunk) -> Iterator[pa.RecordBatch]:
        what = f"reading {extract.table}"
        with self._borrowed(what) as connection:
            yield from stream(
                connection, select(extract, chunk), extract.arrow_schema(), str(extract.table)
            )

    @contextlib.contextmanager
    def _borrowed(self, what: str) -> Iterator[Any]:
        """One of the view's connections; it returns unless it broke or was left in mid-result."""
        connection = self._take(what)
        try:
            yield connection
        except (pymysql.MySQLError, OSError) as error:
            connection.close()
            raise self._lost(error, what) from None
        except BaseException:
            # The rows that were not read are still on their way: the connection is of no more use.
            connection.close()
            raise
        self._free.put(connection)

    def _take(self, what: str) -> Any:
        while not self._closed.is_set():
            with contextlib.suppress(queue.Empty):
                return self._free.get(timeout=0.5)
            if not any(connection.open for connection in self._all):
                break
        raise SnapshotLost(
            f"{what}: no connection into the snapshot is left.",
            remedy="Start the stream again: it continues from its checkpoint.",
        )

    def _lost(self, error: BaseException, what: str) -> Exception:
        found = translate(error, what)
        if isinstance(found, ConnectionFailed) and not self._closed.is_set():
            return SnapshotLost(
                f"{found.message} A reader cannot rejoin the consistent view.",
                remedy="Start the stream again: it continues from its checkpoint.",
                **found.details,
            )
        return found

    def close(self) -> None:
        """End the view. A read that is under way in another thread fails. Idempotent."""
        self._closed.set()
        for connection in self._all:
            with contextlib.suppress(Exception):
                connection._force_close()


def boolean_columns(
    connection: Any, tables: Sequence[TableSchema]
) -> frozenset[tuple[TableId, str]]:
    """The TINYINT(1) columns that hold nothing but 0, 1 and NULL."""
    found = set()
    for table in tables:
        names = [
            c.name
            for c in table.columns
            if c.type.name == "tinyint" and c.type.args == (1,) and not c.type.unsigned
        ]
        if not names:
            continue
        tests = ", ".join(f"COALESCE(MAX({quote(n)} NOT IN (0, 1)), 0)" for n in names)
        with translating(f"scanning {table.id}"), connection.cursor() as cursor:
            cursor.execute(f"SELECT {tests} FROM {name(table.id)}")
            odd = cursor.fetchone()
        found |= {(table.id, n) for n, other in zip(names, odd, strict=True) if not other}
    return frozenset(found)
