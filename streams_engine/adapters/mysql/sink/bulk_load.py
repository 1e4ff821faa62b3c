"""Write rows into one table: LOAD DATA LOCAL from memory, or multi-row INSERT."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pymysql
from pymysql.constants import COMMAND
from pymysql.err import OperationalError
from pymysql.protocol import LoadLocalPacketWrapper, MysqlPacket, OKPacketWrapper

from streams_engine.adapters.mysql.connection import translate
from streams_engine.adapters.mysql.sink import load_text
from streams_engine.adapters.mysql.sink.row_errors import REASONS, refusal
from streams_engine.adapters.mysql.snapshot.select import name, quote
from streams_engine.arrow.bad_rows import bisect
from streams_engine.arrow.batches import SLICE_BYTES, is_large, parts
from streams_engine.contracts import QuarantinedRow, WritePlan
from streams_engine.errors import RowRejected
from streams_engine.model import Column, TableId
from streams_engine.schema.types.source_texts import quarantined_row

__all__ = ["MysqlBulkLoad"]

REQUESTED = b"streams_engine"
"""The name of the file that LOAD DATA asks us for. We answer no other request of a server."""

STAGE = "streams_engine_stage"
ORDER = "streams_engine_order"

UTF8 = {None, "utf8mb4", "utf8mb3", "utf8"}
AS_TEXT = {"json", "uuid", "inet4", "inet6", "enum", "set"}
"""Types that take bytes for something else than their text."""


class MysqlBulkLoad:
    """Loads the rows of one write within the caller's transaction. Used by one thread."""

    def __init__(
        self, connection: Any, plan: WritePlan, *, local_infile: bool, packet: int
    ) -> None:
        self._connection = connection
        self._plan = plan
        self._local = local_infile and bool(plan.columns)
        self._packet = packet
        self._stage = name(TableId(plan.table.schema, STAGE))
        self.rows = 0
        self.bytes = 0
        self.quarantined: list[QuarantinedRow] = []

    def prepare(self) -> None:
        """Make the temporary table of an upsert; before the transaction, which it would end."""
        if not self._plan.upsert:
            return
        columns = ", ".join(quote(column.name) for column in self._plan.columns)
        self._execute(f"DROP TEMPORARY TABLE IF EXISTS {self._stage}")
        self._execute(
            f"CREATE TEMPORARY TABLE {self._stage} ("
            f"{quote(ORDER)} BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY) ENGINE=InnoDB "
            f"AS SELECT {columns} FROM {name(self._plan.table)} LIMIT 0"
        )

    def run(self, rows: Iterator[pa.RecordBatch]) -> None:
        """Load all rows. Raises `RowRejected`, and PyMySQL's errors."""
        for block in rows:
            if not block.num_rows:
                continue
            if self._plan.quarantine:
                for row, fault in bisect(block, self._try):
                    self.quarantined.append(self._quarantined(row, fault))
            else:
                self._write(block)

    # One block

    def _write(self, block: pa.RecordBatch) -> None:
        into = self._stage if self._plan.upsert else name(self._plan.table)
        try:
            if self._local:
                self._load_data(into, block)
            else:
                self._insert(into, block)
            if self._plan.upsert:
                self._merge()
        except RowRejected as error:
            raise self._named(error) from None
        except pymysql.MySQLError as error:
            raise translate(error, f"loading {self._plan.table}") from None
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
        data = load_text.buffers(block, self._plan.columns)
        with self._refusing():
            answer = self._send(self._statement(into), data)
        if answer.warning_count or answer.affected_rows != block.num_rows:
            raise self._warned(answer.affected_rows, block.num_rows)

    def _statement(self, into: str) -> str:
        places, assignments = [], []
        several = any(converted(column) for column in self._plan.columns)
        for number, column in enumerate(self._plan.columns):
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

    def _send(self, statement: str, data: Iterator[Any]) -> OKPacketWrapper:
        """Issue LOAD DATA and answer the server's request for the file with ``data``."""
        connection = self._connection
        connection._execute_command(COMMAND.COM_QUERY, statement)
        packet: MysqlPacket = connection._read_packet()
        if not packet.is_load_local_packet():
            return OKPacketWrapper(packet)
        if LoadLocalPacketWrapper(packet).filename != REQUESTED:
            connection._force_close()
            raise OperationalError(2013, "the server asked for another file")
        for buffer in data:
            self.bytes += len(buffer)
            for start in range(0, len(buffer), SLICE_BYTES):
                connection.write_packet(buffer[start : start + SLICE_BYTES])
        connection.write_packet(b"")
        packet = connection._read_packet()
        if not packet.is_ok_packet():
            connection._force_close()
            raise OperationalError(2013, "the server sent an unexpected answer")
        return OKPacketWrapper(packet)

    def _insert(self, into: str, block: pa.RecordBatch) -> None:
        columns = ", ".join(quote(column.name) for column in self._plan.columns)
        head = f"INSERT INTO {into} ({columns}) VALUES ".encode()
        done = 0
        for part in parts(block):
            if not self._plan.columns:
                self._insert_rows(head, [b"()"] * part.num_rows, done)
            elif is_large(part):
                self._insert_large(head, part, done)
            else:
                self._insert_rows(head, load_text.literals(part, self._plan.columns), done)
            done += part.num_rows

    def _insert_rows(self, head: bytes, rows: list[bytes], done: int) -> None:
        """Insert the rows of a block with INSERT; ``done`` rows of the block were inserted
        before."""
        start = 0
        for end in _statement_ends(rows, self._packet - len(head) - 64):
            if end == start:
                raise _beyond_packet(done + start)
            self._insert_statement(head + b", ".join(rows[start:end]), end - start, done + start)
            start = end

    def _insert_large(self, head: bytes, row: pa.RecordBatch, done: int) -> None:
        """Insert one row, whose statement is the only copy of its values."""
        statement = bytearray(head)
        for piece in load_text.large_literal(row, self._plan.columns):
            statement += piece
            if len(statement) > self._packet - 64:
                raise _beyond_packet(done)
        # The driver cuts it into packets, each time of what is left: a view is not copied then.
        self._insert_statement(memoryview(statement), 1, done)

    def _insert_statement(self, statement: bytes | memoryview, rows: int, done: int) -> None:
        with self._refusing(offset=done):
            self._execute(statement)
        self.bytes += len(statement)
        if self._connection._result.warning_count:
            raise self._warned(rows, rows, offset=done)

    def _execute(self, statement: str | bytes | memoryview) -> None:
        with self._connection.cursor() as cursor:
            cursor.execute(statement)

    # What went wrong

    def _warned(self, written: int, sent: int, offset: int = 0) -> RowRejected:
        """Return the error for the first warning."""
        with self._connection.cursor() as cursor:
            cursor.execute("SHOW WARNINGS LIMIT 1")
            row = cursor.fetchone()
        if row is None:
            return RowRejected(f"The server skipped {sent - written} of {sent} rows.")
        return refusal(row[1], row[2], self._plan, offset)

    @contextlib.contextmanager
    def _refusing(self, offset: int = 0, numbered: bool = True) -> Iterator[None]:
        """Turn errors caused by a row into `RowRejected`.

        The server counts the rows of its statement, which begins ``offset`` rows into the block; if
        the rows are not ``numbered`` like the block's, the count is ignored.
        """
        try:
            yield
        except pymysql.MySQLError as error:
            number, message = (*error.args, 0, "")[:2]
            if number not in REASONS:
                raise
            fault = refusal(number, str(message), self._plan, offset)
            if not numbered:
                fault.details.pop("row", None)
            raise fault from None

    def _named(self, error: RowRejected) -> RowRejected:
        what = f"loading {self._plan.table}: "
        text = error.message if error.message.startswith(what) else what + error.message
        named = RowRejected(
            text, remedy=error.remedy, **{**error.details, "table": str(self._plan.table)}
        )
        named.find_unfit = error.find_unfit if self._plan.quarantine else None
        return named

    def _quarantined(self, row: pa.RecordBatch, fault: RowRejected) -> QuarantinedRow:
        code = str(fault.details.get("errno", "RANGE"))
        return quarantined_row(self._plan, row, fault.message, code)

    # Upsert

    def _merge(self) -> None:
        """Merge the staged rows into the table: an UPDATE by key, then a plain INSERT of the
        others.

        Of rows with one key the last one wins. REPLACE and ON DUPLICATE KEY UPDATE are not used:
        each can silently destroy another row that matches a second unique key.
        """
        plan = self._plan
        table = name(plan.table)
        key = ", ".join(quote(column) for column in plan.key)
        newest = (
            f"(SELECT *, ROW_NUMBER() OVER (PARTITION BY {key} ORDER BY {quote(ORDER)} DESC)"
            f" AS streams_engine_rank FROM {self._stage})"
        )
        match = " AND ".join(f"t.{quote(k)} = s.{quote(k)}" for k in plan.key)
        names = [quote(column.name) for column in plan.columns]
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
                f" WHERE s.streams_engine_rank = 1 AND t.{quote(plan.key[0])} IS NULL"
            )
        self._execute(f"DELETE FROM {self._stage}")


def _beyond_packet(place: int) -> RowRejected:
    return RowRejected(
        "the row is larger than the server's max_allowed_packet.",
        remedy="Raise max_allowed_packet on the target.",
        row=place + 1,
    )


def converted(column: Column) -> bool:
    """Return True if the server must be told that a field's bytes are text in UTF-8."""
    if column.type.name in AS_TEXT:
        return True
    return column.charset not in UTF8 and not load_text.is_bytes(column.type)


def _statement_ends(rows: list[bytes], limit: int) -> Iterator[int]:
    """Yield the end of each statement of at most ``limit`` bytes. An end equal to its start means
    a row that fits into none."""
    size = start = 0
    for place, row in enumerate(rows):
        if len(row) > limit:
            if place > start:
                yield place
            yield place
            return
        if size + len(row) + 2 > limit:
            yield place
            size, start = 0, place
        size += len(row) + 2
    yield len(rows)
