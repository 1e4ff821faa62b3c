"""One portion of rows into one table: blocks by COPY, upserts through a temporary table,
and the bad row isolated where it is to be set aside."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pyarrow as pa
from psycopg import sql

from streams_engine.adapters.postgres import copy_binary, copy_text, copy_tuples
from streams_engine.adapters.postgres.connect import translate
from streams_engine.adapters.postgres.selecting import own_rows
from streams_engine.bundles import blocks
from streams_engine.errors import RowRejected
from streams_engine.isolating import isolate
from streams_engine.model import TableId
from streams_engine.protocols import Load, Rejected
from streams_engine.row_text import row_texts

__all__ = ["Loader"]

PIECE = 1 << 20
"""What is handed to libpq at once."""

STAGE = "streams_engine_stage"

ARBITER = """
SELECT EXISTS (
  SELECT FROM pg_catalog.pg_index i WHERE i.indrelid = %s::regclass AND i.indisunique
  AND i.indisvalid AND i.indimmediate AND i.indpred IS NULL
  AND ARRAY(
    SELECT a.attname::text FROM pg_catalog.pg_attribute a WHERE a.attrelid = i.indrelid
    AND a.attnum = ANY((i.indkey::int2[])[0:i.indnkeyatts - 1]) ORDER BY 1) = %s::text[])
"""
"""Whether a unique index that is checked at once has just these columns."""


class Loader:
    """Loads the rows of one write within the caller's transaction. Used by one thread."""

    def __init__(self, connection: psycopg.Connection, load: Load) -> None:
        self._connection = connection
        self._load = load
        self._encoders = None if load.tuples else copy_binary.encoders_for(load.columns)
        self.rows = 0
        self.bytes = 0
        self.rejected: list[Rejected] = []
        self._arbiter: bool | None = None

    def run(self, rows: Iterator[pa.RecordBatch]) -> None:
        """Load all rows. Raises `RowRejected`, and psycopg's errors."""
        load = self._load
        into: sql.Composable = _name(load.table)
        if load.freeze:
            self._connection.execute(sql.SQL("TRUNCATE ONLY {}").format(into))
        if load.upsert:
            into = self._stage()
        if load.quarantine:
            for block in blocks(rows):
                for row, fault in isolate(block, lambda part: self._try(into, part)):
                    self.rejected.append(self._rejected(row, fault))
        else:
            self._copy(into, blocks(rows), freeze=load.freeze)
            if load.upsert:
                self._merge()
        if load.upsert:
            stage = sql.Identifier("pg_temp", STAGE)
            self._connection.execute(sql.SQL("DROP TABLE {}").format(stage))

    # COPY

    def _copy(
        self, into: sql.Composable, several: Iterator[pa.RecordBatch], *, freeze: bool = False
    ) -> None:
        load = self._load
        binary = load.tuples or self._encoders is not None
        options = [sql.SQL("FORMAT binary" if binary else "FORMAT text")]
        if freeze:
            options.append(sql.SQL("FREEZE true"))
        names = sql.SQL(", ").join(sql.Identifier(column.name) for column in load.columns)
        query = sql.SQL("COPY {}{} FROM STDIN ({})").format(
            into,
            sql.SQL(" ({})").format(names) if load.columns else sql.SQL(""),
            sql.SQL(", ").join(options),
        )
        counted = 0
        # The sequence of pulls matters: the source's error must end the COPY, not be lost in it.
        with self._connection.cursor() as cursor, cursor.copy(query) as copy:
            if binary:
                copy.write(copy_binary.HEADER)
            for block in several:
                buffer = self._encode(block)
                self.bytes += len(buffer)
                counted += block.num_rows
                for start in range(0, len(buffer), PIECE):
                    copy.write(buffer[start : start + PIECE])
            if binary:
                copy.write(copy_binary.TRAILER)
        self.rows += counted

    def _encode(self, block: pa.RecordBatch) -> Any:
        load = self._load
        if load.tuples:
            return copy_tuples.encode(block)
        try:
            if self._encoders is None:
                return copy_text.encode(block, load.columns)
            return copy_binary.encode(block, self._encoders, load.columns)
        except RowRejected as error:
            raise RowRejected(
                f"loading {load.table}: {error.message}",
                remedy=error.remedy,
                table=str(load.table),
                **error.details,
            ) from None

    # Bad rows

    def _try(self, into: sql.Composable, block: pa.RecordBatch) -> RowRejected | None:
        rows, size = self.rows, self.bytes
        try:
            with self._connection.transaction():
                self._copy(into, iter((block,)))
                if self._load.upsert:
                    # The table's own constraints are met only here.
                    self._merge()
                    self._connection.execute(sql.SQL("TRUNCATE {}").format(into))
            return None
        except psycopg.Error as error:
            fault = translate(error, f"loading {self._load.table}")
        except RowRejected as error:
            fault = error
        if not isinstance(fault, RowRejected):
            raise fault
        self.rows, self.bytes = rows, size
        return fault

    def _rejected(self, row: pa.RecordBatch, fault: RowRejected) -> Rejected:
        code = str(fault.details.get("sqlstate", "RANGE"))
        return Rejected(self._load.table, fault.message, code, row_texts(row))

    # Upsert

    def _stage(self) -> sql.Composable:
        """An empty temporary table with the load's columns, their types and nothing else."""
        load = self._load
        names = sql.SQL(", ").join(sql.Identifier(column.name) for column in load.columns)
        stage = sql.Identifier("pg_temp", STAGE)
        self._connection.execute(
            sql.SQL(
                "CREATE TEMPORARY TABLE {} ON COMMIT DROP AS SELECT {} FROM {} WITH NO DATA"
            ).format(sql.Identifier(STAGE), names, _name(load.table))
        )
        self._connection.execute(
            sql.SQL("ALTER TABLE {} ADD COLUMN {} bigint GENERATED ALWAYS AS IDENTITY").format(
                stage, sql.Identifier(ORDER)
            )
        )
        return stage

    def _merge(self) -> None:
        """From the stage into the table; of rows with one key the last one wins."""
        if self._is_arbiter():
            self._insert_or_update()
        else:
            self._update_then_insert()

    def _is_arbiter(self) -> bool:
        """True where ON CONFLICT can find rows by the key: it takes no deferrable constraint."""
        if self._arbiter is None:
            load = self._load
            names = sorted(load.key)
            row = self._connection.execute(
                ARBITER.encode(), (_name(load.table).as_string(None), names)
            ).fetchone()
            self._arbiter = bool(row and row[0])
        return self._arbiter

    def _update_then_insert(self) -> None:
        """The same in two statements; the deferrable constraint is checked at the commit."""
        load = self._load
        names = [column.name for column in load.columns]
        others = [name for name in names if name not in load.key]
        table = own_rows(self._connection, load.table)
        match = sql.SQL(" AND ").join(
            sql.SQL("t.{0} = s.{0}").format(sql.Identifier(name)) for name in load.key
        )
        last = sql.SQL(
            "SELECT DISTINCT ON ({key}) {columns} FROM {stage} ORDER BY {key}, {order} DESC"
        ).format(
            key=sql.SQL(", ").join(map(sql.Identifier, load.key)),
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
                _name(load.table),
                last,
                table,
                match,
                columns=sql.SQL(", ").join(map(sql.Identifier, names)),
            )
        )

    def _insert_or_update(self) -> None:
        """In one statement, by a unique index that is checked at once."""
        load = self._load
        names = [column.name for column in load.columns]
        columns = sql.SQL(", ").join(map(sql.Identifier, names))
        key = sql.SQL(", ").join(map(sql.Identifier, load.key))
        changes = sql.SQL(", ").join(
            sql.SQL("{0} = excluded.{0}").format(sql.Identifier(name))
            for name in names
            if name not in load.key
        )
        action = (
            sql.SQL("UPDATE SET {}").format(changes)
            if len(names) > len(load.key)
            else sql.SQL("NOTHING")
        )
        self._connection.execute(
            sql.SQL(
                "INSERT INTO {table} ({columns}) OVERRIDING SYSTEM VALUE"
                " SELECT DISTINCT ON ({key}) {columns} FROM {stage} ORDER BY {key}, {order} DESC"
                " ON CONFLICT ({key}) DO {action}"
            ).format(
                table=_name(load.table),
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
