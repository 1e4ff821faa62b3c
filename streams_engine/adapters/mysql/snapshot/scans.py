"""Scan rows of MySQL and MariaDB for facts that the catalog does not hold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from streams_engine.adapters.mysql.connection import translating
from streams_engine.adapters.mysql.snapshot.select import name, quote
from streams_engine.model import (
    CollatedKey,
    Column,
    ForeignKey,
    RowObservations,
    TableId,
    TableSchema,
)

__all__ = ["observe"]

DATES = {"date", "datetime", "timestamp"}


def observe(
    connection: Any,
    tables: Sequence[TableSchema],
    *,
    booleans: bool,
    zero_dates: bool,
    times: bool,
    foreign_keys: bool,
) -> RowObservations:
    """Scan the tables: each at most once, and once more for each foreign key over texts."""
    found_booleans: set[tuple[TableId, str]] = set()
    zeros: dict[tuple[TableId, str], int] = {}
    long: dict[tuple[TableId, str], int] = {}
    loose: dict[tuple[TableId, str], CollatedKey] = {}
    by_id = {table.id: table for table in tables}
    for table in tables:
        flags = [c.name for c in table.columns if booleans and _is_flag(c)]
        dates = [c.name for c in table.columns if zero_dates and _is_solid_date(c)]
        spans = [c.name for c in table.columns if times and _is_time(c)]
        conditions = [
            *(f"{quote(flag)} NOT IN (0, 1)" for flag in flags),
            *(_is_zero(quote(date)) for date in dates),
            *(_is_long(quote(span)) for span in spans),
        ]
        counts = iter(_counted(connection, table.id, conditions))
        found_booleans |= {(table.id, flag) for flag in flags if not next(counts)}
        zeros |= {(table.id, date): count for date in dates if (count := next(counts))}
        long |= {(table.id, span): count for span in spans if (count := next(counts))}
        for key in table.foreign_keys if foreign_keys else ():
            referenced = by_id.get(key.referenced)
            collated = referenced and _loose(connection, table, key)
            if collated:
                loose[table.id, key.name] = collated
    return RowObservations(frozenset(found_booleans), zeros, loose, long)


def _is_flag(column: Column) -> bool:
    native = column.type
    return native.name == "tinyint" and native.args == (1,) and not native.unsigned


def _is_solid_date(column: Column) -> bool:
    return column.type.name in DATES and not column.nullable and column.generated is None


def _is_time(column: Column) -> bool:
    return column.type.name == "time" and column.generated is None


def _counted(connection: Any, table: TableId, conditions: Sequence[str]) -> list[int]:
    """Return how many rows fulfil each condition."""
    if not conditions:
        return []
    sums = ", ".join(f"COALESCE(SUM({condition}), 0)" for condition in conditions)
    with translating(f"scanning {table}"), connection.cursor() as cursor:
        cursor.execute(f"SELECT {sums} FROM {name(table)}")
        return [int(value) for value in cursor.fetchone()]


def _is_zero(date: str) -> str:
    """Return the condition under which the decoder finds no date: a part is 0, or the month has no
    such day."""
    parts = [f"{part}({date}) = 0" for part in ("YEAR", "MONTH", "DAYOFMONTH")]
    return f"({' OR '.join(parts)} OR DAYOFMONTH({date}) > DAYOFMONTH(LAST_DAY({date})))"


def _is_long(span: str) -> str:
    """Return the condition under which PostgreSQL's ``time`` cannot hold a TIME."""
    return f"{span} NOT BETWEEN '00:00:00' AND '24:00:00'"


def _loose(connection: Any, table: TableSchema, key: ForeignKey) -> CollatedKey | None:
    """Count the rows that refer to a row by a text that differs from its own; None if there are
    none."""
    pairs = [
        (f"c.{quote(own)}", f"p.{quote(other)}", table.column(own).collation is not None)
        for own, other in zip(key.columns, key.referenced_columns, strict=True)
    ]
    texts = [(own, other) for own, other, is_text in pairs if is_text]
    if not texts:
        return None
    equal = " AND ".join(f"{own} = {other}" for own, other, _ in pairs)
    same = " AND ".join(f"CAST({a} AS BINARY) = CAST({b} AS BINARY)" for a, b in texts)
    folded = " AND ".join(
        f"CAST(LOWER({a}) AS BINARY) = CAST(LOWER({b}) AS BINARY)" for a, b in texts
    )
    rows = f"FROM {name(table.id)} c JOIN {name(key.referenced)} p ON {equal} WHERE NOT ({same})"
    with translating(f"scanning {table.id}"), connection.cursor() as cursor:
        cursor.execute(f"SELECT COUNT(*), COALESCE(SUM(NOT ({folded})), 0) {rows}")
        count, beyond = cursor.fetchone()
    return CollatedKey(int(count), int(beyond), f"SELECT c.* {rows}") if count else None
