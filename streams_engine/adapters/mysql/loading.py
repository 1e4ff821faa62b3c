"""One portion of rows into one MySQL table: LOAD DATA LOCAL from memory, or multi-row INSERT.

LOCAL makes warnings of errors even in strict mode (a text cut, 300 stored as 127, a duplicate
skipped): any warning in the answer is the error that it hides, and nothing of the block stays.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pymysql
from pymysql.constants import COMMAND
from pymysql.err import OperationalError
from pymysql.protocol import LoadLocalPacketWrapper, MysqlPacket, OKPacketWrapper

from streams_engine.adapters.mysql import load_text
from streams_engine.adapters.mysql.connect import translate
from streams_engine.adapters.mysql.refusals import REASONS, refusal
from streams_engine.adapters.mysql.selecting import name, quote
from streams_engine.bundles import blocks
from streams_engine.errors import RowRejected
from streams_engine.isolating import isolate
from streams_engine.model import Column, TableId
from streams_engine.protocols import Load, Rejected
from streams_engine.row_text import row_texts

__all__ = ["Loader"]

REQUESTED = b"streams_engine"
"""The name of the file that LOAD DATA asks us for. We answer no other request of a server."""

PIECE = 1 << 20
"""Bytes of one packet of the file."""

STAGE = "streams_engine_stage"
ORDER = "streams_engine_order"

UTF8 = {None, "utf8mb4", "utf8mb3", "utf8"}
AS_TEXT = {"json", "uuid", "inet4", "inet6", "enum", "set"}
"""Types that take bytes for something else than their text."""


class Loader:
    """Loads the rows of one write within the caller's transaction. Used by one thread."""

    def __init__(self, connection: Any, load: Load, *, local_infile: bool, packet: int) -> None:
        self._connection = connection
        self._load = load
        self._local = local_infile and bool(load.columns)
        self._packet = packet
        self._stage = name(TableId(load.table.schema, STAGE))
        self.rows = 0
        self.bytes = 0
        self.rejected: list[Rejected] = []

    def stage(self) -> None:
        """Make the temporary table of an upsert; before the transaction, which it would end."""
        if not self._load.upsert:
            return
        columns = ", ".join(quote(column.name) for column in self._load.columns)
        self._execute(f"DROP TEMPORARY TABLE IF EXISTS {self._stage}")
        self._execute(
            f"CREATE TEMPORARY TABLE {self._stage} ("
            f"{quote(ORDER)} BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY) ENGINE=InnoDB "
            f"AS SELECT {columns} FROM {name(self._load.table)} LIMIT 0"
        )

    def run(self, rows: Iterator[pa.RecordBatch]) -> None:
        """Load all rows. Raises `RowRejected`, and PyMySQL's errors."""
        for block in blocks(rows):
            if self._load.quarantine:
                for row, fault in isolate(block, self._try):
                    self.rejected.append(self._rejected(row, fault))
            else:
                self._write(block)

    # One block

    def _write(self, block: pa.RecordBatch) -> None:
        into = self._stage if self._load.upsert else name(self._load.table)
        try:
            if self._local:
                self._load_data(into, block)
            else:
                self._insert(into, block)
            if self._load.upsert:
                self._merge()
        except RowRejected as error:
            raise self._named(error) from None
        except pymysql.MySQLError as error:
            raise translate(error, f"loading {self._load.table}") from None
        self.rows += block.num_rows

    def _try(self, block: pa.RecordBatch) -> RowRejected | None:
        size = self.bytes
        self._execute("SAVEPOINT streams_engine_block")
        try:
            self._write(block)
        except RowRejected as fault:
            self._execute("ROLLBACK TO SAVEPOINT streams_engine_block")
            self.bytes = size
            return fault
        return None

    def _load_data(self, into: str, block: pa.RecordBatch) -> None:
        data = load_text.lines(block, self._load.columns)
        with self._refusing():
            answer = self._send(self._statement(into), data)
        self.bytes += len(data)
        if answer.warning_count or answer.affected_rows != block.num_rows:
            raise self._warned(answer.affected_rows, block.num_rows)

    def _statement(self, into: str) -> str:
        places, assignments = [], []
        several = any(converted(column) for column in self._load.columns)
        for number, column in enumerate(self._load.columns):
            value = f"CONVERT(@v{number} USING utf8mb4)" if converted(column) else f"@v{number}"
            # MariaDB numbers a row 0 anew, whatever sql_mode says, where SET assigns columns and
            # the AUTO_INCREMENT column is none of them.
            if converted(column) or (several and column.identity is not None):
                places.append(f"@v{number}")
                assignments.append(f"{quote(column.name)} = {value}")
            else:
                places.append(quote(column.name))
        tail = f" SET {', '.join(assignments)}" if assignments else ""
        return (
            f"LOAD DATA LOCAL INFILE '{REQUESTED.decode()}' INTO TABLE {into} "
            "CHARACTER SET binary FIELDS TERMINATED BY '\\t' ESCAPED BY '\\\\' "
            f"LINES TERMINATED BY '\\n' ({', '.join(places)}){tail}"
        )

    def _send(self, statement: str, data: Any) -> OKPacketWrapper:
        """Issue LOAD DATA and answer the server's request for the file with ``data``."""
        connection = self._connection
        connection._execute_command(COMMAND.COM_QUERY, statement)
        packet: MysqlPacket = connection._read_packet()
        if not packet.is_load_local_packet():
            return OKPacketWrapper(packet)
        if LoadLocalPacketWrapper(packet).filename != REQUESTED:
            connection._force_close()
            raise OperationalError(2013, "the server asked for another file")
        for start in range(0, len(data), PIECE):
            connection.write_packet(data[start : start + PIECE])
        connection.write_packet(b"")
        packet = connection._read_packet()
        if not packet.is_ok_packet():
            connection._force_close()
            raise OperationalError(2013, "the server answered with something else")
        return OKPacketWrapper(packet)

    def _insert(self, into: str, block: pa.RecordBatch) -> None:
        columns = ", ".join(quote(column.name) for column in self._load.columns)
        head = f"INSERT INTO {into} ({columns}) VALUES ".encode()
        rows = (
            load_text.literals(block, self._load.columns)
            if self._load.columns
            else [b"()"] * block.num_rows
        )
        start = 0
        for end in _portions(rows, self._packet - len(head) - 64):
            if end == start:
                raise RowRejected(
                    "it is larger than the server's max_allowed_packet.",
                    remedy="Raise max_allowed_packet on the target.",
                    row=start + 1,
                )
            statement = head + b", ".join(rows[start:end])
            with self._refusing(offset=start):
                self._execute(statement)
            self.bytes += len(statement)
            if self._connection._result.warning_count:
                raise self._warned(end - start, end - start, offset=start)
            start = end

    def _execute(self, statement: str | bytes) -> None:
        with self._connection.cursor() as cursor:
            cursor.execute(statement)

    # What went wrong

    def _warned(self, written: int, sent: int, offset: int = 0) -> RowRejected:
        """The error that the first warning hides."""
        with self._connection.cursor() as cursor:
            cursor.execute("SHOW WARNINGS LIMIT 1")
            row = cursor.fetchone()
        if row is None:
            return RowRejected(f"{sent - written} of {sent} rows were skipped.")
        return refusal(row[1], row[2], self._load, offset)

    @contextlib.contextmanager
    def _refusing(self, offset: int = 0, numbered: bool = True) -> Iterator[None]:
        """Turn errors that a row is to blame for into `RowRejected`.

        The server counts the rows of its statement, which begins ``offset`` rows into the
        block; where it is not ``numbered`` like the block, the count says nothing.
        """
        try:
            yield
        except pymysql.MySQLError as error:
            number, message = (*error.args, 0, "")[:2]
            if number not in REASONS:
                raise
            fault = refusal(number, str(message), self._load, offset)
            if not numbered:
                fault.details.pop("row", None)
            raise fault from None

    def _named(self, error: RowRejected) -> RowRejected:
        what = f"loading {self._load.table}: "
        text = error.message if error.message.startswith(what) else what + error.message
        return RowRejected(
            text, remedy=error.remedy, **{**error.details, "table": str(self._load.table)}
        )

    def _rejected(self, row: pa.RecordBatch, fault: RowRejected) -> Rejected:
        code = str(fault.details.get("errno", "RANGE"))
        return Rejected(self._load.table, fault.message, code, row_texts(row))

    # Upsert

    def _merge(self) -> None:
        """From the stage into the table: an UPDATE by key, then a plain INSERT of the others.

        Of rows with one key the last one wins. Never REPLACE, no ON DUPLICATE KEY UPDATE:
        each can silently destroy another row that a second unique key names.
        """
        load = self._load
        table = name(load.table)
        key = ", ".join(quote(column) for column in load.key)
        newest = (
            f"(SELECT *, ROW_NUMBER() OVER (PARTITION BY {key} ORDER BY {quote(ORDER)} DESC)"
            f" AS streams_engine_rank FROM {self._stage})"
        )
        match = " AND ".join(f"t.{quote(k)} = s.{quote(k)}" for k in load.key)
        names = [quote(column.name) for column in load.columns]
        with self._refusing(numbered=False):
            self._execute(
                f"UPDATE {table} t JOIN {newest} s ON {match} SET "
                + ", ".join(f"t.{n} = s.{n}" for n in names)
                + " WHERE s.streams_engine_rank = 1"
            )
            self._execute(
                f"INSERT INTO {table} ({', '.join(names)})"
                f" SELECT {', '.join(f's.{n}' for n in names)}"
                f" FROM {newest} s LEFT JOIN {table} t ON {match}"
                f" WHERE s.streams_engine_rank = 1 AND t.{quote(load.key[0])} IS NULL"
            )
        self._execute(f"DELETE FROM {self._stage}")


def converted(column: Column) -> bool:
    """True where the server must be told that a field's bytes are text in UTF-8."""
    if column.type.name in AS_TEXT:
        return True
    return column.charset not in UTF8 and not load_text.is_bytes(column.type)


def _portions(rows: list[bytes], room: int) -> Iterator[int]:
    """Where each statement ends: no longer than ``room`` bytes. An end that is its own start
    means a row that fits into none."""
    size = start = 0
    for place, row in enumerate(rows):
        if len(row) > room:
            if place > start:
                yield place
            yield place
            return
        if size + len(row) + 2 > room:
            yield place
            size, start = 0, place
        size += len(row) + 2
    yield len(rows)
