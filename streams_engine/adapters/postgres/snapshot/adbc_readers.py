"""Connections of ADBC: COPY BINARY into Arrow where libpq holds the keys of TLS.

Its low-level interface is used. The other one (``dbapi``) imports polars where that is installed,
after which Ctrl-C does not end what the main thread waits for.
https://arrow.apache.org/adbc/current/python/api/adbc_driver_manager.html
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import adbc_driver_postgresql
import numpy as np
import psycopg
import pyarrow as pa
from adbc_driver_manager import AdbcConnection, AdbcStatement, Error
from adbc_driver_manager._reader import AdbcRecordBatchReader

from streams_engine.adapters.postgres.connection import PostgresConnect
from streams_engine.adapters.postgres.snapshot.copy_messages import server_error
from streams_engine.adapters.postgres.sockets import SocketMark
from streams_engine.adapters.sql.watchdog import Watch

__all__ = ["AdbcReader", "AdbcReaders"]

EPOCH_DAYS = 10957
EPOCH_MICROSECONDS = 946_684_800_000_000
"""2000-01-01, PostgreSQL's epoch, since 1970-01-01."""


class AdbcReaders:
    """Opens connections to one server. Used by one thread at a time, which closes its readers, too;
    but for `cut`.

    The driver asks the server for all its types when it first connects, which takes ten times as
    long as connecting; later connections reuse them.
    """

    def __init__(self, connect: PostgresConnect, password: str | None) -> None:
        """Connect with this ``password``, that of ``connect`` by now."""
        self.password = password
        self._connect = replace(connect, password=password)
        self._mark = SocketMark()
        self._database: Any = None
        self._lent = contextlib.ExitStack()
        """Certificates given as texts, as files for as long as connections are opened."""
        self._readers: set[AdbcReader] = set()
        self._closed = False

    def open(self) -> AdbcReader:
        """Open a connection in a transaction. Raises psycopg's errors."""
        watch = Watch(self._connect, None, self._any_socket, self.cut)
        if self._database is None:
            mark = {"tcp_user_timeout": str(self._mark.milliseconds)}
            uri = self._lent.enter_context(self._connect.uri(**mark))
            with watch, _as_psycopg():
                self._database = adbc_driver_postgresql.connect(uri)
        before = self._mark.descriptors()
        with watch, _as_psycopg():
            connection = AdbcConnection(self._database)
            connection.set_autocommit(False)
        number = next(iter(self._mark.descriptors() - before), -1)
        reader = AdbcReader(self._connect, connection, self._mark, number, self._left)
        self._readers.add(reader)
        return reader

    def _any_socket(self) -> int:
        return next(iter(self._mark.descriptors()), -1)

    def cut(self) -> None:
        """Cut every connection: who waits on one fails at once."""
        self._mark.shut_all_down()

    def close(self) -> None:
        """Forget the server's types once the last reader is closed."""
        self._closed = True
        if self._readers:
            return
        if self._database is not None:
            self._database.close()
        self._lent.close()

    def _left(self, reader: AdbcReader) -> None:
        self._readers.discard(reader)
        if self._closed:
            self.close()


class AdbcReader:
    """One connection, used by one thread at a time, but for `cut`. Raises psycopg's errors."""

    def __init__(
        self,
        connect: PostgresConnect,
        connection: Any,
        mark: SocketMark,
        number: int,
        on_close: Callable[[AdbcReader], None],
    ) -> None:
        """Take over a connection; ``number`` is its socket, -1 if it was not found."""
        self._on_close = on_close
        self._connect = connect
        self._connection = connection
        self._number = number
        self.cut = partial(mark.shut_down, number)
        """Cuts the connection: who waits on it fails at once."""
        # What it is on the server is not known yet: it is judged with the server alone.
        self.known_as(None)

    def known_as(self, process: Any) -> None:
        """Watch it by its process on the server from now on."""
        number = self._number
        self._watch = Watch(self._connect, process, lambda: number, self.cut)

    def ask(self, query: str) -> Any:
        """Run a statement, and return the first value of its first row, None if it has none."""
        with contextlib.closing(AdbcStatement(self._connection)) as statement:
            blocks = self._answer(statement, query)
            first = None
            for block in blocks:
                if block.num_rows and block.num_columns:
                    first = block.column(0)[0].as_py()
            return first

    def read(
        self, query: str, size: int, wanted: pa.Schema
    ) -> Generator[pa.RecordBatch, None, None]:
        """Yield the rows of a query in blocks of about ``size`` bytes, in exactly ``wanted``."""
        with contextlib.closing(AdbcStatement(self._connection)) as statement:
            statement.set_options(**{"adbc.postgresql.batch_size_hint_bytes": str(size)})
            for block in self._answer(statement, query):
                exact = [_exact(block, wanted)]
                del block
                yield exact.pop()  # kept by nobody here while the next one comes

    def _answer(self, statement: Any, query: str) -> Iterator[pa.RecordBatch]:
        statement.set_sql_query(query)
        with self._watch, _as_psycopg():
            handle, _ = statement.execute_query()
            blocks = AdbcRecordBatchReader._import_from_c(handle.address)
        try:
            batches = iter(blocks)
            while True:
                with self._watch, _as_psycopg():
                    block = next(batches, None)
                if block is None:
                    return
                yield block
                del block
        finally:
            blocks.close()

    def close(self) -> None:
        """Close the connection. Raises ADBC's errors."""
        try:
            self._connection.close()
        finally:
            self._on_close(self)


@contextlib.contextmanager
def _as_psycopg() -> Iterator[None]:
    try:
        yield
    except Error as error:
        if error.sqlstate is None:
            raise psycopg.OperationalError(type(error).__name__) from None
        raise server_error(error.sqlstate, str(error)) from None


def _exact(block: pa.RecordBatch, wanted: pa.Schema) -> pa.RecordBatch:
    """Convert the block to exactly the wanted types, marking what Arrow cannot hold."""
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
    """Turn infinities and times beyond Arrow's range into the storage's minimum.

    ADBC adds the epoch without checking for overflow; the sum wraps and can be undone.
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
