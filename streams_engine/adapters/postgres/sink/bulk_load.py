"""One portion of rows into one table: blocks by COPY, upserts through a temporary table, and bad
rows isolated if they may be quarantined."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pyarrow as pa
from psycopg import sql

from streams_engine.adapters.postgres.connection import translate
from streams_engine.adapters.postgres.sink import copy_binary, copy_text
from streams_engine.adapters.postgres.snapshot import copy_tuples
from streams_engine.adapters.postgres.snapshot.select import own_rows
from streams_engine.arrow.bad_rows import bisect
from streams_engine.arrow.batches import SLICE_BYTES
from streams_engine.contracts import QuarantinedRow, WritePlan
from streams_engine.errors import RowRejected
from streams_engine.model import TableId
from streams_engine.schema.types.source_texts import quarantined_row

__all__ = ["PostgresBulkLoad"]

STAGE = "streams_engine_stage"

ARBITER = """
SELECT EXISTS (
  SELECT FROM pg_catalog.pg_index i WHERE i.indrelid = %s::regclass AND i.indisunique
  AND i.indisvalid AND i.indimmediate AND NOT i.indisexclusion AND i.indpred IS NULL
  AND ARRAY(
    SELECT a.attname::text FROM pg_catalog.pg_attribute a WHERE a.attrelid = i.indrelid
    AND a.attnum = ANY((i.indkey::int2[])[0:i.indnkeyatts - 1]) ORDER BY 1) = %s::text[])
"""
"""Whether a unique index that is checked at once has just these columns."""


class PostgresBulkLoad:
    """Loads the rows of one write within the caller's transaction. Used by one thread."""

    def __init__(self, connection: psycopg.Connection, plan: WritePlan) -> None:
        self._connection = connection
        self._plan = plan
        self._encoders = None if plan.tuples else copy_binary.encoders_for(plan.columns)
        self.rows = 0
        self.bytes = 0
        self.quarantined: list[QuarantinedRow] = []
        self._arbiter: bool | None = None

    def prepare(self) -> None:
        """Do nothing: a temporary table can be created within the transaction."""

    def run(self, rows: Iterator[pa.RecordBatch]) -> None:
        """Load all rows. Raises `RowRejected`, and psycopg's errors."""
        plan = self._plan
        into: sql.Composable = _name(plan.table)
        if plan.freeze:
            self._connection.execute(sql.SQL("TRUNCATE ONLY {}").format(into))
        if plan.upsert:
            into = self._stage()
        if plan.quarantine:
            for block in rows:
                for row, fault in bisect(block, lambda part: self._try(into, part)):
                    self.quarantined.append(self._quarantined(row, fault))
        else:
            self._copy(into, rows, freeze=plan.freeze)
            if plan.upsert:
                self._merge()
        if plan.upsert:
            stage = sql.Identifier("pg_temp", STAGE)
            self._connection.execute(sql.SQL("DROP TABLE {}").format(stage))

    # COPY

    def _copy(
        self, into: sql.Composable, several: Iterator[pa.RecordBatch], *, freeze: bool = False
    ) -> None:
        plan = self._plan
        binary = plan.tuples or self._encoders is not None
        options = [sql.SQL("FORMAT binary" if binary else "FORMAT text")]
        if freeze:
            options.append(sql.SQL("FREEZE true"))
        names = sql.SQL(", ").join(sql.Identifier(column.name) for column in plan.columns)
        query = sql.SQL("COPY {}{} FROM STDIN ({})").format(
            into,
            sql.SQL(" ({})").format(names) if plan.columns else sql.SQL(""),
            sql.SQL(", ").join(options),
        )
        counted = 0
        # The sequence of pulls matters: the source's error must end the COPY, not be lost in it.
        with self._connection.cursor() as cursor, cursor.copy(query) as copy:
            if binary:
                copy.write(copy_binary.HEADER)
            for block in several:
                counted += block.num_rows
                for buffer in self._encoded(block):
                    self.bytes += len(buffer)
                    for start in range(0, len(buffer), SLICE_BYTES):
                        copy.write(buffer[start : start + SLICE_BYTES])
                    del buffer
                del block  # while the next one is read
            if binary:
                copy.write(copy_binary.TRAILER)
        self.rows += counted

    def _encoded(self, block: pa.RecordBatch) -> Iterator[Any]:
        """Yield the block in COPY's format, buffer by buffer."""
        plan = self._plan
        if plan.tuples:
            yield copy_tuples.encode(block)
            return
        try:
            if self._encoders is None:
                yield from copy_text.buffers(block, plan.columns)
            else:
                yield from copy_binary.buffers(block, self._encoders, plan.columns)
        except RowRejected as error:
            told = f"loading {plan.table}: {error.message}"
            named = RowRejected(told, remedy=error.remedy, table=str(plan.table), **error.details)
            named.find_unfit = error.find_unfit if plan.quarantine else None
            raise named from None

    # Bad rows

    def _try(self, into: sql.Composable, block: pa.RecordBatch) -> RowRejected | None:
        rows, size = self.rows, self.bytes
        try:
            with self._connection.transaction():
                self._copy(into, iter((block,)))
                if self._plan.upsert:
                    # The table's own constraints are met only here.
                    self._merge()
                    self._connection.execute(sql.SQL("TRUNCATE {}").format(into))
            return None
        except psycopg.Error as error:
            fault = translate(error, f"loading {self._plan.table}")
        except RowRejected as error:
            fault = error
        if not isinstance(fault, RowRejected):
            raise fault
        self.rows, self.bytes = rows, size
        return fault

    def _quarantined(self, row: pa.RecordBatch, fault: RowRejected) -> QuarantinedRow:
        code = str(fault.details.get("sqlstate", "RANGE"))
        return quarantined_row(self._plan, row, fault.message, code)

    # Upsert

    def _stage(self) -> sql.Composable:
        """Create an empty temporary table with the load's columns and types only."""
        plan = self._plan
        names = sql.SQL(", ").join(sql.Identifier(column.name) for column in plan.columns)
        stage = sql.Identifier("pg_temp", STAGE)
        self._connection.execute(
            sql.SQL(
                "CREATE TEMPORARY TABLE {} ON COMMIT DROP AS SELECT {} FROM {} WITH NO DATA"
            ).format(sql.Identifier(STAGE), names, _name(plan.table))
        )
        self._connection.execute(
            sql.SQL("ALTER TABLE {} ADD COLUMN {} bigint GENERATED ALWAYS AS IDENTITY").format(
                stage, sql.Identifier(ORDER)
            )
        )
        return stage

    def _merge(self) -> None:
        """Merge the staged rows into the table; of rows with one key the last one wins."""
        if self._is_arbiter():
            self._insert_or_update()
        else:
            self._update_then_insert()

    def _is_arbiter(self) -> bool:
        """Return True if ON CONFLICT can match rows by the key: it accepts no deferrable
        constraint."""
        if self._arbiter is None:
            plan = self._plan
            names = sorted(plan.key)
            row = self._connection.execute(
                ARBITER.encode(), (_name(plan.table).as_string(None), names)
            ).fetchone()
            self._arbiter = bool(row and row[0])
        return self._arbiter

    def _update_then_insert(self) -> None:
        """Merge in two statements; a deferrable constraint is checked at the commit."""
        plan = self._plan
        names = [column.name for column in plan.columns]
        others = [name for name in names if name not in plan.key]
        table = own_rows(self._connection, plan.table)
        match = sql.SQL(" AND ").join(
            sql.SQL("t.{0} = s.{0}").format(sql.Identifier(name)) for name in plan.key
        )
        last = sql.SQL(
            "SELECT DISTINCT ON ({key}) {columns} FROM {stage} ORDER BY {key}, {order} DESC"
        ).format(
            key=sql.SQL(", ").join(map(sql.Identifier, plan.key)),
            columns=sql.SQL(", ").join(map(sql.Identifier, names)),
            stage=sql.Identifier("pg_temp", STAGE),
            order=sql.Identifier(ORDER),
        )
        if others:
            self._connection.execute(
                sql.SQL("UPDATE {} AS t SET {} FROM ({}) AS s WHERE {}").format(
                    table,
                    sql.SQL(", ").join(
                        sql.SQL("{0} = s.{0}").format(sql.Identifier(name)) for name in others
                    ),
                    last,
                    match,
                )
            )
        self._connection.execute(
            sql.SQL(
                "INSERT INTO {} ({columns}) OVERRIDING SYSTEM VALUE SELECT {columns} FROM ({}) AS s"
                " WHERE NOT EXISTS (SELECT FROM {} AS t WHERE {})"
            ).format(
                _name(plan.table),
                last,
                table,
                match,
                columns=sql.SQL(", ").join(map(sql.Identifier, names)),
            )
        )

    def _insert_or_update(self) -> None:
        """Merge in one statement (ON CONFLICT), by a unique index that is checked at once."""
        plan = self._plan
        names = [column.name for column in plan.columns]
        columns = sql.SQL(", ").join(map(sql.Identifier, names))
        key = sql.SQL(", ").join(map(sql.Identifier, plan.key))
        changes = sql.SQL(", ").join(
            sql.SQL("{0} = excluded.{0}").format(sql.Identifier(name))
            for name in names
            if name not in plan.key
        )
        action = (
            sql.SQL("UPDATE SET {}").format(changes)
            if len(names) > len(plan.key)
            else sql.SQL("NOTHING")
        )
        self._connection.execute(
            sql.SQL(
                "INSERT INTO {table} ({columns}) OVERRIDING SYSTEM VALUE"
                " SELECT DISTINCT ON ({key}) {columns} FROM {stage} ORDER BY {key}, {order} DESC"
                " ON CONFLICT ({key}) DO {action}"
            ).format(
                table=_name(plan.table),
                columns=columns,
                key=key,
                stage=sql.Identifier("pg_temp", STAGE),
                order=sql.Identifier(ORDER),
                action=action,
            )
        )


ORDER = "streams_engine_order"


def _name(table: TableId) -> sql.Identifier:
    return sql.Identifier(table.schema, table.name)
