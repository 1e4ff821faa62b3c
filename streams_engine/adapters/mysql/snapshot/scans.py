"""Scan rows of MySQL and MariaDB for facts that the catalog does not hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    foreign_keys: bool,
) -> RowObservations:
    """Scan the tables: each at most once, and once more for each foreign key over texts."""
    found_booleans: set[tuple[TableId, str]] = set()
    zeros: dict[tuple[TableId, str], int] = {}
    loose: dict[tuple[TableId, str], CollatedKey] = {}
    by_id = {table.id: table for table in tables}
    for table in tables:
        flags = [c.name for c in table.columns if booleans and _is_flag(c)]
        dates = [c.name for c in table.columns if zero_dates and _is_solid_date(c)]
        odd, counts = _scan(connection, table.id, flags, dates)
        found_booleans |= {(table.id, flag) for flag, other in odd.items() if not other}
        zeros |= {(table.id, date): count for date, count in counts.items() if count}
        for key in table.foreign_keys if foreign_keys else ():
            referenced = by_id.get(key.referenced)
            collated = referenced and _loose(connection, table, key)
            if collated:
                loose[table.id, key.name] = collated
    return RowObservations(frozenset(found_booleans), zeros, loose)


def _is_flag(column: Column) -> bool:
    native = column.type
    return native.name == "tinyint" and native.args == (1,) and not native.unsigned


def _is_solid_date(column: Column) -> bool:
    return column.type.name in DATES and not column.nullable and column.generated is None


def _scan(
    connection: Any, table: TableId, flags: Sequence[str], dates: Sequence[str]
) -> tuple[Mapping[str, int], Mapping[str, int]]:
    """Return 1 for each flag column with a value other than 0, 1 and NULL, and the number of zero
    dates by column."""
    if not flags and not dates:
        return {}, {}
    tests = [f"COALESCE(MAX({quote(flag)} NOT IN (0, 1)), 0)" for flag in flags]
    tests += [f"COALESCE(SUM({_is_zero(quote(date))}), 0)" for date in dates]
    with translating(f"scanning {table}"), connection.cursor() as cursor:
        cursor.execute(f"SELECT {', '.join(tests)} FROM {name(table)}")
        numbers = [int(value) for value in cursor.fetchone()]
    return (
        dict(zip(flags, numbers, strict=False)),
        dict(zip(dates, numbers[len(flags) :], strict=True)),
    )


def _is_zero(date: str) -> str:
    """Return the condition under which the decoder finds no date: a part is 0, or the month has no
    such day."""
    parts = [f"{part}({date}) = 0" for part in ("YEAR", "MONTH", "DAYOFMONTH")]
    return f"({' OR '.join(parts)} OR DAYOFMONTH({date}) > DAYOFMONTH(LAST_DAY({date})))"


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
