"""Write net changes as statements: a few rows each by itself, many through a staging table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from pymysql.constants import ER
from pymysql.err import IntegrityError

from streams_engine.adapters.mysql.sink import load_text
from streams_engine.adapters.mysql.sink.bulk_load import ORDER, MysqlBulkLoad
from streams_engine.adapters.mysql.snapshot.select import name, quote
from streams_engine.adapters.sql.change_writer import change_table
from streams_engine.arrow.plain import from_numpy
from streams_engine.contracts import WritePlan
from streams_engine.errors import RowRejected
from streams_engine.model import Column, NetChanges, TableId, Truncation

__all__ = ["MysqlDml"]

FEW = 4
FEW_BYTES = 1 << 20
"""Up to so many rows a statement for each is faster than a stage; a large value in a statement is
copied several times."""

WRITABLE = """
SELECT column_name FROM information_schema.columns WHERE table_schema = %s AND table_name = %s
AND COALESCE(generation_expression, '') = '' ORDER BY ordinal_position
"""

TEXTS = ("char", "text", "enum", "set")

SAME: Mapping[str, str] = {"json": "CAST({} AS CHAR)", "float": "{} * 1E0"}
"""By type, what tells values of a column apart exactly; for geometries it is their bytes."""

SINGLY = 64
"""Of so many rows that have more equals than are to go, each is deleted by a statement of its own;
of more, all equals go, and those that stay come back."""

DIGEST = "streams_engine_digest"
DIGESTED = f", {quote(DIGEST)} INT UNSIGNED, KEY {quote(DIGEST)} ({quote(DIGEST)})"
"""Of the stage of a table without a key, in which rows can only be found by all they have."""
SAME_IN_OTHER_TEXTS = (
    "float",
    "double",
    "json",
    "geom",
    "point",
    "line",
    "poly",
    "multi",
    "vector",
)
"""Types of which two texts may be one value, as 0 and -0, or whose text is not to be relied on."""


class MysqlDml:
    """Changes the rows of tables within the caller's transactions. Used by one thread."""

    def __init__(self, connection: Any, *, local_infile: bool, packet: int) -> None:
        self._connection = connection
        self._local = local_infile
        self._packet = packet
        self._stages: dict[tuple[TableId, tuple[str, ...]], TableId] = {}
        self.bytes = 0

    def forget(self) -> None:
        """Forget the staging tables, because tables may have other columns from here on."""
        self._stages.clear()

    def empty(self, step: Truncation) -> None:
        """DELETE, for TRUNCATE would commit."""
        for table in step.tables:
            self._run(f"DELETE FROM {name(table)}")

    def change(self, net: NetChanges) -> tuple[int, int]:
        """Apply one table's changes. Returns (rows changed, rows that were not there)."""
        return change_table(
            net, delete=self._delete, move=self._move, update=self._update, insert=self._insert
        )

    # Deletes

    def _delete(self, net: NetChanges, rows: pa.RecordBatch) -> int:
        if not net.key:
            return self._delete_copies(net, rows)
        if _is_few(rows) and (keys := self._key_literals(net, rows)) is not None:
            return sum(self._run(f"DELETE FROM {name(net.table)} WHERE {key}") for key in keys)
        stage = self._stage(net, rows)
        return self._run(
            f"DELETE t FROM {name(net.table)} t JOIN {name(stage)} s ON {_matching(net.key)}"
        )

    def _delete_copies(self, net: NetChanges, rows: pa.RecordBatch) -> int:
        """Delete some of several equal rows: delete all, then insert again those that stay, because
        nothing tells them apart."""
        copies = net.copies if net.copies is not None else np.ones(rows.num_rows, np.int64)
        stage = self._stage(net, rows)
        by_name = {column.name: column for column in net.columns}
        columns = [by_name[c] for c in rows.schema.names]
        self._run(f"UPDATE {name(stage)} s SET {quote(DIGEST)} = {_digest(columns, 's')}")
        both = f"{name(net.table)} t STRAIGHT_JOIN {name(stage)} s FORCE INDEX ({quote(DIGEST)})"
        match = f"s.{quote(DIGEST)} = {_digest(columns, 't')} AND "
        match += " AND ".join(map(_same, columns))
        with self._connection.cursor() as cursor:
            cursor.execute(
                f"SELECT s.{quote(ORDER)}, COUNT(*) FROM {both} ON {match}"
                f" GROUP BY s.{quote(ORDER)} ORDER BY s.{quote(ORDER)}"
            )
            # The server numbers rows as they come, from whatever number it likes.
            present = dict(cursor.fetchall())
            cursor.execute(f"SELECT {quote(ORDER)} FROM {name(stage)} ORDER BY 1")
            numbers = [row[0] for row in cursor.fetchall()]
        there = np.array([present.get(number, 0) for number in numbers], np.int64)
        stay = np.maximum(there - copies, 0)
        singly = np.flatnonzero(stay)
        if len(singly) > SINGLY:
            singly = singly[:0]
        chosen = [numbers[i] for i in singly]
        if len(chosen) < len(numbers):
            others = f" AND s.{quote(ORDER)} NOT IN ({', '.join(map(str, chosen))})"
            self._run(f"DELETE t FROM {both} ON {match}{others if chosen else ''}")
        for i in singly:
            self._delete_some(net.table, stage, columns, numbers[i], int(copies[i]))
            stay[i] = 0
        if stay.any():
            again = rows.take(from_numpy(np.repeat(np.arange(rows.num_rows), stay)))
            self._load(net.table, net, again)
        return int(np.minimum(there, copies).sum())

    def _delete_some(
        self, table: TableId, stage: TableId, columns: Sequence[Column], number: int, copies: int
    ) -> None:
        """Delete as many of the rows equal to a staged one as given, with LIMIT."""
        # MariaDB knows no alias here.
        same = " AND ".join(_same(c, name(table)) for c in columns)
        self._run(
            f"DELETE FROM {name(table)} WHERE EXISTS (SELECT 1 FROM {name(stage)} s"
            f" WHERE s.{quote(ORDER)} = {number} AND {same}) LIMIT {copies}"
        )

    # Updates

    def _move(self, net: NetChanges, old: pa.RecordBatch, new: pa.RecordBatch) -> int:
        keys = self._key_literals(net, old)
        if keys is None:
            stage = self._stage(net, old)
            head = f"UPDATE {name(net.table)} t JOIN {name(stage)} s ON {_matching(net.key)} SET "
            return self._run(head + self._assignments(net, new, "t.")[0])
        return self._run(
            f"UPDATE {name(net.table)} SET {self._assignments(net, new)[0]} WHERE {keys[0]}"
        )

    def _update(self, net: NetChanges) -> int:
        changed = 0
        try:
            for batch in net.updates:
                changed += self._update_in_place(net, batch)
        except IntegrityError as error:
            if error.args[0] != ER.DUP_ENTRY:
                raise
            # Rows that exchange a unique value: all of them leave before any comes back. What
            # was changed before is changed once more, to the same.
            return self._rewrite(net)
        return changed

    def _update_in_place(self, net: NetChanges, batch: pa.RecordBatch) -> int:
        others = [c for c in batch.schema.names if c not in net.key] or list(net.key)
        if _is_few(batch) and (keys := self._key_literals(net, batch)) is not None:
            changes = self._assignments(net, batch.select(others))
            return sum(
                self._run(f"UPDATE {name(net.table)} SET {change} WHERE {key}")
                for change, key in zip(changes, keys, strict=True)
            )
        stage = self._stage(net, batch)
        return self._run(
            f"UPDATE {name(net.table)} t JOIN {name(stage)} s ON {_matching(net.key)}"
            f" SET {_taking(others)}"
        )

    def _rewrite(self, net: NetChanges) -> int:
        """Move the rows to a temporary table, change them there, and put them back; other columns
        are kept."""
        interim = name(TableId(net.table.schema, "streams_engine_aside"))
        with self._connection.cursor() as cursor:
            cursor.execute(WRITABLE, (net.table.schema, net.table.name))
            columns = ", ".join(quote(row[0]) for row in cursor.fetchall())
        chosen = ", ".join(f"t.{column}" for column in columns.split(", "))
        self._run(f"DROP TEMPORARY TABLE IF EXISTS {interim}")
        made = False
        for batch in net.updates:
            stage = name(self._stage(net, batch))
            select = (
                f"SELECT {chosen} FROM {name(net.table)} t JOIN {stage} s ON {_matching(net.key)}"
            )
            self._run(
                f"INSERT INTO {interim} ({columns}) {select}"
                if made
                else f"CREATE TEMPORARY TABLE {interim} ({quote(ORDER)} BIGINT UNSIGNED NOT NULL"
                f" AUTO_INCREMENT PRIMARY KEY) ENGINE=InnoDB AS {select}"
            )
            made = True
            others = [c for c in batch.schema.names if c not in net.key]
            self._run(
                f"UPDATE {interim} t JOIN {stage} s ON {_matching(net.key)} SET {_taking(others)}"
            )
        self._run(f"DELETE t FROM {name(net.table)} t JOIN {interim} s ON {_matching(net.key)}")
        changed = self._run(
            f"INSERT INTO {name(net.table)} ({columns}) SELECT {columns} FROM {interim}"
        )
        self._run(f"DROP TEMPORARY TABLE {interim}")
        return changed

    # Inserts

    def _insert(self, net: NetChanges, rows: pa.RecordBatch) -> int:
        # A row alone is one statement, which leaves nothing if it fails.
        several = rows.num_rows > 1 or not _is_few(rows)
        if several:
            self._run("SAVEPOINT streams_engine_insert")
        try:
            self._load(net.table, net, rows)
        except RowRejected as error:
            if not net.key or error.details.get("errno") != ER.DUP_ENTRY:
                raise
            if several:
                self._run("ROLLBACK TO SAVEPOINT streams_engine_insert")
        else:
            return int(rows.num_rows)
        # A row of that key is there already: it gives way.
        stage = name(self._stage(net, rows))
        columns = ", ".join(quote(c) for c in rows.schema.names)
        self._run(f"DELETE t FROM {name(net.table)} t JOIN {stage} s ON {_matching(net.key)}")
        return self._run(f"INSERT INTO {name(net.table)} ({columns}) SELECT {columns} FROM {stage}")

    # Sending

    def _run(self, statement: str) -> int:
        with self._connection.cursor() as cursor:
            return int(cursor.execute(statement))

    def _load(self, table: TableId, net: NetChanges, batch: pa.RecordBatch) -> None:
        by_name = {column.name: column for column in net.columns}
        columns = tuple(by_name[c] for c in batch.schema.names)
        local = self._local and not _is_few(batch)
        loader = MysqlBulkLoad(
            self._connection, WritePlan(table, columns), local_infile=local, packet=self._packet
        )
        loader.run(iter((batch,)))
        self.bytes += loader.bytes

    def _stage(self, net: NetChanges, batch: pa.RecordBatch) -> TableId:
        """Fill a temporary table with exactly the rows of the batch."""
        names = tuple(batch.schema.names)
        stage = self._stages.get((net.table, names))
        if stage is None:
            number = len(self._stages)
            stage = TableId(net.table.schema, f"streams_engine_stage_{number}")
            self._run(f"DROP TEMPORARY TABLE IF EXISTS {name(stage)}")
            self._run(
                f"CREATE TEMPORARY TABLE {name(stage)} ({quote(ORDER)} BIGINT UNSIGNED NOT NULL"
                f" AUTO_INCREMENT PRIMARY KEY{'' if net.key else DIGESTED}) ENGINE=InnoDB AS SELECT"
                f" {', '.join(map(quote, names))} FROM {name(net.table)} LIMIT 0"
            )
            self._stages[net.table, names] = stage
        else:
            self._run(f"DELETE FROM {name(stage)}")
        self._load(stage, net, batch)
        return stage

    def _key_literals(self, net: NetChanges, batch: pa.RecordBatch) -> list[str] | None:
        """Return a condition for each row; None if a literal of a key's type might compare
        differently."""
        by_name = {column.name: column for column in net.columns}
        columns = []
        for c in net.key:
            values, column = batch.column(c), by_name[c]
            if pa.types.is_integer(values.type) and column.type.name.endswith("int"):
                shown = [str(v) for v in values.to_pylist()]
            elif pa.types.is_string(values.type) and column.type.name in ("char", "varchar"):
                texts = values.to_pylist()
                if column.type.name == "char":  # which keeps no spaces at the end
                    texts = [text.rstrip(" ") for text in texts]
                shown = [load_text.quoted(text.encode()) for text in texts]
            else:
                return None
            columns.append([f"{quote(c)} = {text}" for text in shown])
        return [" AND ".join(row) for row in zip(*columns, strict=True)]

    def _assignments(self, net: NetChanges, batch: pa.RecordBatch, alias: str = "") -> list[str]:
        by_name = {column.name: column for column in net.columns}
        names = batch.schema.names
        rows = load_text.values(batch, [by_name[c] for c in names])
        return [
            ", ".join(f"{alias}{quote(c)} = {v}" for c, v in zip(names, row, strict=True))
            for row in rows
        ]


def _is_few(rows: pa.RecordBatch) -> bool:
    return bool(rows.num_rows <= FEW and rows.nbytes <= FEW_BYTES)


def _matching(key: Sequence[str]) -> str:
    return " AND ".join(f"t.{quote(k)} = s.{quote(k)}" for k in key)


def _taking(names: Sequence[str]) -> str:
    return ", ".join(f"t.{quote(c)} = s.{quote(c)}" for c in names)


def _same(column: Column, alias: str = "t") -> str:
    """Return the condition that a column's value equals the staged one, ``s``; NULL equals NULL."""
    same = f"{_form(column, alias)} <=> {_form(column, 's')}"
    if column.type.name in ("float", "double"):  # 0 equals -0, and their texts differ
        texts = [f"CAST({a}.{quote(column.name)} AS CHAR)" for a in (alias, "s")]
        same += f" AND {' <=> '.join(texts)}"
    return same


def _form(column: Column, alias: str) -> str:
    """Return a value in a form in which equal means identical."""
    kind = column.type.name
    if kind.endswith(TEXTS):
        form = "CAST({} AS BINARY)"  # not what a collation takes for equal
    else:
        form = SAME.get(kind, "HEX({})" if load_text.is_bytes(column.type) else "{}")
    return form.format(f"{alias}.{quote(column.name)}")


def _digest(columns: Sequence[Column], alias: str) -> str:
    """Return an expression that is equal for equal rows, to use one index lookup instead of
    comparing every row.

    Only values whose text decides whether they are equal are part of it; NULLs are skipped.
    """
    texts = [_form(c, alias) for c in columns if not c.type.name.startswith(SAME_IN_OTHER_TEXTS)]
    return f"CRC32(CONCAT_WS('/', {', '.join(texts)}))" if texts else "0"
