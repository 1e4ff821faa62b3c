"""A small set in one round trip: its rows by prepared statements, the position, and COMMIT.

What the server refuses here leaves nothing, and is applied again in the ordinary way, which knows
how to go on. https://www.postgresql.org/docs/current/libpq-pipeline-mode.html
"""

from __future__ import annotations

import contextlib
import select
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg
import pyarrow as pa
from psycopg import pq, sql

from streams_engine.adapters.postgres.sink import copy_text
from streams_engine.adapters.postgres.sink.dml import FEW, FEW_BYTES, PostgresDml
from streams_engine.adapters.sql.watchdog import watch_of
from streams_engine.contracts import ApplyResult
from streams_engine.model import NetChanges, Op, RowTexts, TableId, Truncation

__all__ = ["RowStatement", "SmallSets"]

BEGIN, COMMIT = b"BEGIN", b"COMMIT"
KINDS = {Op.INSERT: "insert", Op.UPDATE: "update", Op.DELETE: "delete"}
FORGET = """
DO $$
DECLARE statement text;
BEGIN
  FOR statement IN
    SELECT name FROM pg_catalog.pg_prepared_statements WHERE starts_with(name, 'streams_engine_')
  LOOP
    EXECUTE format('DEALLOCATE %I', statement);
  END LOOP;
END $$
"""
"""In one command: between two of them the driver may deallocate all."""

Texts = Sequence[bytes | None]
"""Parameters, each as the text that its type reads back exactly; None: NULL."""


@dataclass(frozen=True, slots=True)
class RowStatement:
    """A statement that changes one row."""

    table: TableId
    name: bytes
    """Of the prepared statement."""
    text: bytes
    """What has to be prepared first; empty: it is there."""
    parameters: Texts


@dataclass
class SmallSets:
    """The prepared statements of one session, and how they are sent. Used by one thread."""

    connection: psycopg.Connection
    dml: PostgresDml
    sent: int = 0
    """Bytes of the rows."""
    _names: dict[tuple[object, ...], bytes] = field(default_factory=dict)
    _fresh: dict[tuple[object, ...], bytes] = field(default_factory=dict)
    """Those of the last `statements` that the server may not have."""
    _made: int = 0

    def forget(self) -> None:
        """Drop the statements, because columns may have other types from here on."""
        if self._made:
            self.connection.execute(FORGET)
        self._names.clear()

    def statements(self, steps: Sequence[NetChanges | Truncation]) -> list[RowStatement] | None:
        """Return a statement for each row; None if the steps need more than that."""
        rows = size = 0
        for step in steps:
            if isinstance(step, Truncation) or not self._is_plain(step):
                return None
            rows += step.rows
            if rows > FEW:
                return None
            size += sum(batch.nbytes for batch in _batches(step))
        if size > FEW_BYTES:
            return None
        self.sent += size
        self._fresh.clear()
        return [made for step in steps if isinstance(step, NetChanges) for made in self._of(step)]

    def text_statements(self, rows: Sequence[RowTexts]) -> list[RowStatement] | None:
        """Return a statement for each row, in their order; None if it takes more than that."""
        size = sum(len(value) for row in rows for value in row.values if value)
        if len(rows) > FEW or size > FEW_BYTES:
            return None
        if any(value and b"\0" in value for row in rows for value in row.values):
            return None  # libpq would cut it off there
        if any(row.op is Op.UPDATE and self.dml.always(row.table) for row in rows):
            return None
        if any(row.op is Op.INSERT and self._is_numbered(row.table, row.key) for row in rows):
            return None
        self.sent += size
        self._fresh.clear()
        return [
            self._statement(row.table, KINDS[row.op], row.key, row.columns, row.values)
            for row in rows
        ]

    def _is_plain(self, step: NetChanges) -> bool:
        """Return True for changes whose rows are independent of each other and of other tables'."""
        if step.cascades or step.protected_tables or (step.deletes is not None and not step.key):
            return False
        if step.inserts is not None and self._is_numbered(step.table, step.key):
            return False
        return not ((step.updates or step.moves) and self.dml.always(step.table))

    def _is_numbered(self, table: TableId, key: Sequence[str]) -> bool:
        return bool(self.dml.numbered_beside(table, key))

    def _of(self, step: NetChanges) -> Iterator[RowStatement]:
        """Yield the statements of a step, in the order in which it is applied."""
        key = step.key
        if step.deletes is not None:
            yield from self._rows(step, "delete", (), (step.deletes, key))
        for old, new in step.moves:
            names = tuple(new.schema.names)
            yield from self._rows(step, "update", names, (new, names), (old, key))
        for batch in step.updates:
            names = tuple(name for name in batch.schema.names if name not in key) or key
            yield from self._rows(step, "update", names, (batch, names), (batch, key))
        if step.inserts is not None:
            names = tuple(step.inserts.schema.names)
            yield from self._rows(step, "insert", names, (step.inserts, names))

    def _rows(
        self,
        step: NetChanges,
        kind: str,
        names: tuple[str, ...],
        *parts: tuple[pa.RecordBatch, Sequence[str]],
    ) -> Iterator[RowStatement]:
        columns = [text for batch, chosen in parts for text in _texts(step, batch, chosen)]
        for parameters in zip(*columns, strict=True):
            yield self._statement(step.table, kind, step.key, names, parameters)

    def _statement(
        self,
        table: TableId,
        kind: str,
        key: tuple[str, ...],
        names: tuple[str, ...],
        parameters: Texts,
    ) -> RowStatement:
        known = (table, kind, key, names)
        text, name = b"", self._names.get(known) or self._fresh.get(known)
        if name is None:
            self._made += 1
            name = self._fresh[known] = b"streams_engine_%d" % self._made
            query = self._query(NetChanges(table, (), key), kind, names)
            text = _numbered(query, self.connection)
        return RowStatement(table, name, text, parameters)

    def _query(self, step: NetChanges, kind: str, names: Sequence[str]) -> sql.Composed:
        if kind == "delete":
            return self.dml.deletion(step)
        if kind == "update":
            return self.dml.update(step, names)
        return self.dml.insertion(step, names)

    def run(
        self, statements: Sequence[RowStatement], position: bytes, values: Texts
    ) -> ApplyResult | None:
        """Run the statements and ``position``, which must change a row, and commit.

        Returns None, with nothing done, if the server refused a row. Raises psycopg's errors: over
        ``position``, over a lock that was not had in time, and over a broken connection.
        """
        pgconn = self.connection.pgconn
        pgconn.enter_pipeline_mode()
        if pgconn.transaction_status == pq.TransactionStatus.IDLE:
            pgconn.send_query_params(BEGIN, None)
            before = 1
        else:  # the catalog was asked
            before = 0
        places: list[int] = []
        for statement in statements:
            if statement.text:
                pgconn.send_prepare(statement.name, statement.text)
                before += 1
            places.append(before + len(places))
            pgconn.send_query_prepared(statement.name, statement.parameters)
        pgconn.send_query_params(position, values)
        pgconn.send_query_params(COMMIT, None)
        pgconn.pipeline_sync()
        with watch_of(self.connection):
            results = _results(pgconn)
        pgconn.exit_pipeline_mode()
        for place, result in enumerate(results):
            if result.status == pq.ExecStatus.FATAL_ERROR:
                error = psycopg.errors.error_from_result(result)
                with contextlib.suppress(psycopg.Error):
                    self.connection.rollback()
                if isinstance(error, psycopg.errors.InvalidSqlStatementName):
                    self._names.clear()
                if place < len(results) - 2 and isinstance(error, REFUSALS):
                    return None
                raise error
        self._names.update(self._fresh)
        return _result(statements, [results[place].command_tuples for place in places])


REFUSALS = (
    psycopg.IntegrityError,
    psycopg.DataError,
    psycopg.errors.InvalidSqlStatementName,  # the driver deallocates all after DROP and ROLLBACK
)


def _results(pgconn: Any) -> list[Any]:
    """Send what waits, and return a result for each statement up to the synchronisation."""
    results: list[Any] = []
    waiting = select.poll()
    waiting.register(pgconn.socket, select.POLLIN | select.POLLOUT)
    while pgconn.flush():
        if waiting.poll()[0][1] & select.POLLIN:
            pgconn.consume_input()
    waiting.modify(pgconn.socket, select.POLLIN)
    while True:
        while pgconn.is_busy():
            waiting.poll()
            pgconn.consume_input()
        result = pgconn.get_result()
        if result is None:
            continue
        if result.status == pq.ExecStatus.PIPELINE_SYNC:
            return results
        results.append(result)


def _result(statements: Sequence[RowStatement], counts: Sequence[int | None]) -> ApplyResult:
    rows: Counter[TableId] = Counter()
    unmatched: Counter[TableId] = Counter()
    for statement, count in zip(statements, counts, strict=True):
        rows[statement.table] += count or 0
        unmatched[statement.table] += 1 - (count or 0)
    return ApplyResult(dict(rows), dict(+unmatched))


def _numbered(query: sql.Composed, connection: psycopg.Connection) -> bytes:
    """Return a statement with $1, $2 in the places of its parameters."""
    first, *rest = query.as_string(connection).split("\0")
    return "".join([first, *(f"${i}{part}" for i, part in enumerate(rest, 1))]).encode()


def _batches(step: NetChanges) -> Iterator[pa.RecordBatch]:
    yield from (batch for batch in (step.deletes, *step.updates, step.inserts) if batch is not None)
    for old, new in step.moves:
        yield from (old, new)


def _texts(step: NetChanges, batch: pa.RecordBatch, names: Sequence[str]) -> Iterator[list[Any]]:
    """Yield each column as texts. Raises `RowRejected` naming the column."""
    by_name = {column.name: column for column in step.columns}
    for name in names:
        values = batch.column(name)
        plain = values.to_pylist() if pa.types.is_string(values.type) else None
        if plain is None or any("\0" in text for text in plain if text):
            (shown,) = copy_text.texts(batch.select([name]), [by_name[name]])
            plain = shown.to_pylist()
        yield [None if text is None else text.encode() for text in plain]
