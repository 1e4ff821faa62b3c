"""Compute generated columns that the log lacks, on the source's server.

PostgreSQL logs no generated columns (18 can log stored ones, if the publication says so). Their
expressions are immutable and name only columns of the same row
(https://www.postgresql.org/docs/current/ddl-generated-columns.html), so the server computes from a
row's values what it computed for the row itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import psycopg

from streams_engine.adapters.postgres.replication.value_decoder import Cells
from streams_engine.arrow.buffers import PAD
from streams_engine.errors import LogLost, TargetConflict, require
from streams_engine.model import Column, TableId, TableSchema

__all__ = ["Compute", "ComputedColumn", "compute", "computed_column"]

Texts = list[str | None]
Compute = Callable[[TableId, Column, Sequence[Column], Sequence[Texts]], Texts]
"""(table, generated column, columns that it names, their values as texts) -> its values."""

LITERAL = re.compile(r"'(?:[^']|'')*'")
NAME = re.compile(r'"((?:[^"]|"")+)"|([^\W\d][\w$]*)')


@dataclass(frozen=True, slots=True)
class ComputedColumn:
    """A generated column, and the columns of the relation from which it is computed."""

    table: TableId
    column: Column
    named: tuple[tuple[int, Column], ...]
    """(number in the relation, column)"""
    compute: Compute

    def cells(
        self, rows: int, chosen: np.ndarray, parts: Sequence[tuple[Cells, np.ndarray | None]]
    ) -> tuple[Cells, np.ndarray | None]:
        """Return the values, and a mask of those that the log neither contains nor changes.

        ``chosen``: the rows that have values; ``parts``: values of the named columns, and which of
        them the log lacks. Raises `LogLost` for a row of which the log has only some.
        """
        absent = np.zeros((len(parts), rows), bool)
        for number, (_, left) in enumerate(parts):
            if left is not None:
                absent[number] = left
        unchanged = np.asarray(absent.all(axis=0)) if parts else np.zeros(rows, bool)
        if (absent.any(axis=0) & ~unchanged).any():
            raise self._lost(absent)
        wanted = [int(row) for row in chosen if not unchanged[row]]
        texts: Sequence[Texts] = [
            [cells.text(row) if cells.valid[row] else None for row in wanted] for cells, _ in parts
        ]
        named = [column for _, column in self.named]
        values = self.compute(self.table, self.column, named, texts or [[None] * len(wanted)])
        return _cells(values, wanted, rows), unchanged if unchanged.any() else None

    def _lost(self, absent: np.ndarray) -> LogLost:
        names = [column.name for (_, column), left in zip(self.named, absent, strict=True)
                 if left.any()]  # fmt: skip
        return LogLost(
            f"{self.table}: the log lacks values of {', '.join(names)}, which an UPDATE kept and "
            f"which are stored out of line: the generated column {self.column.name} cannot be "
            "computed.",
            remedy=f"ALTER TABLE {self.table} REPLICA IDENTITY FULL; and load again "
            "(start with fresh=True), or leave the column out.",
            table=str(self.table),
            column=self.column.name,
        )


def computed_column(
    schema: TableSchema, column: Column, names: Sequence[str], ask: Compute
) -> ComputedColumn | None:
    """Return how to compute a column that a relation with these columns lacks; None for one that
    is not generated."""
    known = {c.name: c for c in schema.columns}
    rule = known[column.name].generated if column.name in known else None
    if rule is None:
        return None
    column = replace(column, generated=rule)
    spoken = {
        quoted.replace('""', '"') or plain
        for quoted, plain in NAME.findall(LITERAL.sub("", rule.sql))
    }
    if "tableoid" in spoken:
        raise _refused(schema.id, column, "it names tableoid")
    named = tuple(
        (number, known[name])
        for number, name in enumerate(names)
        if name in spoken and name in known
    )
    return ComputedColumn(schema.id, column, named, ask)


def compute(
    connection: psycopg.Connection,
    table: TableId,
    column: Column,
    named: Sequence[Column],
    values: Sequence[Texts],
) -> Texts:
    """Compute a generated column for some rows. Raises `TargetConflict` if the server refuses."""
    rule = require(column.generated, "the expression of a generated column").sql
    arguments = ", ".join(["%s::text[]"] * len(values))
    parts = ", ".join(f"v{number}" for number in range(len(values)))
    row = "".join(
        f"v{number}::{_escaped(c.type.text)} AS {_escaped(_quoted(c.name))}, "
        for number, c in enumerate(named)
    )
    shown = f"({_escaped(rule)})::{_escaped(column.type.text)}"
    query = (
        "SELECT CASE WHEN g IS DISTINCT FROM NULL THEN pg_catalog.format('%%s', g) END FROM "
        f"(SELECT n, {shown} AS g FROM (SELECT {row}n FROM unnest({arguments}) "
        f"WITH ORDINALITY u({parts}, n)) t) s ORDER BY n"
    )
    try:
        rows = connection.execute(query.encode(), list(values)).fetchall()
    except psycopg.OperationalError:
        raise
    except psycopg.Error as error:
        text = error.diag.message_primary or type(error).__name__
        raise _refused(table, column, f"the server refuses it now: {text}") from None
    return [row[0] for row in rows]


def _cells(values: Texts, places: Sequence[int], rows: int) -> Cells:
    """Return values as the cells of a buffer, each in its row."""
    start, length = np.zeros(rows, np.int64), np.zeros(rows, np.int64)
    valid = np.zeros(rows, bool)
    buffer = bytearray()
    for place, value in zip(places, values, strict=True):
        if value is not None:
            data = value.encode()
            start[place], length[place], valid[place] = len(buffer), len(data), True
            buffer += data
    return Cells(bytes(buffer) + bytes(PAD), start, length, valid)


def _refused(table: TableId, column: Column, why: str) -> TargetConflict:
    rule = column.generated.sql if column.generated else ""
    return TargetConflict(
        f"The column {table}.{column.name} is generated as ({rule}): PostgreSQL's log does not "
        f"contain its values, and they cannot be computed, for {why}.",
        remedy="Leave the column out (selectedColumns with the other columns), or make the "
        "target's column a generated one before the stream starts.",
        column=f"{table}.{column.name}",
    )


def _escaped(text: str) -> str:
    return text.replace("%", "%%")


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
