"""Cut a table into chunks. The server makes the edges and compares them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pymysql.cursors import DictCursor

from streams_engine.adapters.mysql.snapshot.select import beyond, name, quote
from streams_engine.model import TableId, TableSchema

__all__ = ["edges", "is_doubtful", "key_of", "measured"]

INTEGERS = {"tinyint", "smallint", "mediumint", "int", "bigint"}
KEYS = {*INTEGERS, "year", "char", "varchar", "date", "datetime", "uuid", "inet4", "inet6"}
"""Types whose values, written as Python writes them, are equal to themselves on the server.

Not among them: DECIMAL (compared with a text as doubles), ENUM and SET (ordered by number),
FLOAT, TIMESTAMP (written with an offset), TIME and bytes.
"""

SLACK = 1.25
"""How much larger than asked for a chunk may be, so that a last small one need not be."""

FEW = 10
"""An estimate this many times below a chunk's size may be one of stale statistics."""

ASKED = 64
"""How many tables are asked about in one statement."""


def key_of(table: TableSchema) -> tuple[str, ...]:
    """Return the primary key's columns; empty if chunks cannot be cut and resumed by them."""
    key = table.primary_key
    if key is None or any(part.length for part in key.parts):
        return ()
    usable = all(table.column(column).type.name in KEYS for column in key.columns)
    return key.columns if usable else ()


def is_doubtful(table: TableSchema, rows: int) -> bool:
    """Return True if the statistics say so few rows that they may be stale."""
    return bool(key_of(table)) and (table.estimated_rows or 0) < rows // FEW


def measured(connection: Any, tables: Sequence[TableSchema], rows: int) -> dict[TableId, bool]:
    """Return for each table whether it has two chunks of rows or more. Many are asked about at
    once."""
    large = {table.id: False for table in tables}
    for start in range(0, len(tables), ASKED):
        some = tables[start : start + ASKED]
        parts = (
            f"(SELECT {place} FROM {name(table.id)} LIMIT 1 OFFSET {2 * rows})"
            for place, table in enumerate(some)
        )
        with connection.cursor() as cursor:
            cursor.execute(" UNION ALL ".join(parts))
            large |= {some[place].id: True for (place,) in cursor.fetchall()}
    return large


def edges(
    connection: Any,
    table: TableSchema,
    key: tuple[str, ...],
    rows: int,
    *,
    large: bool,
) -> list[tuple[Any, ...]]:
    """Return the keys at which chunks of about ``rows`` rows end; empty if the table is small.

    ``large``: it has several chunks, whatever the statistics say.
    """
    estimate = table.estimated_rows or 0
    if estimate < 2 * rows and not large:
        return []
    dense = len(key) == 1 and table.column(key[0]).type.name in INTEGERS
    if dense and estimate >= 2 * rows:
        return [(edge,) for edge in _by_density(connection, table, key[0], rows)]
    return _by_walking(connection, table, key, rows)


def _by_density(connection: Any, table: TableSchema, key: str, rows: int) -> list[int]:
    """Halve the range of keys until each part is small enough, then join small neighbours."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT MIN({quote(key)}), MAX({quote(key)}) FROM {name(table.id)}")
        lowest, highest = cursor.fetchone()
    if lowest is None:
        return []
    parts: list[tuple[int, int]] = []  # (inclusive end, estimated rows)
    waiting = [(lowest - 1, highest)]
    while waiting:
        low, high = waiting.pop()
        estimate = _estimate(connection, table, key, low, high)
        if estimate <= rows or high - low < 2:
            parts.append((high, estimate))
        else:
            middle = (low + high) // 2
            waiting += [(middle, high), (low, middle)]
    edges: list[int] = []
    held, before = 0, lowest
    for end, estimate in parts:
        if held and held + estimate > rows * SLACK:
            edges.append(before)
            held = 0
        held, before = held + estimate, end
    return edges


def _estimate(connection: Any, table: TableSchema, key: str, low: int, high: int) -> int:
    """Return the optimizer's row count of a range. (With FORCE INDEX MySQL 8 and newer would not
    estimate.)"""
    with connection.cursor(DictCursor) as cursor:
        cursor.execute(
            f"EXPLAIN FORMAT=TRADITIONAL SELECT * FROM {name(table.id)} USE INDEX (PRIMARY)"
            f" WHERE {quote(key)} > {low} AND {quote(key)} <= {high}"
        )
        return int(cursor.fetchone()["rows"] or 0)


def _by_walking(
    connection: Any, table: TableSchema, key: tuple[str, ...], rows: int
) -> list[tuple[Any, ...]]:
    """Return every ``rows``-th key, in the order of the index."""
    columns = ", ".join(map(quote, key))
    edges: list[tuple[Any, ...]] = []
    while True:
        after = f" WHERE {beyond(key, edges[-1], '>', '>')}" if edges else ""
        with connection.cursor() as cursor:
            cursor.execute(
                f"SELECT {columns} FROM {name(table.id)} FORCE INDEX (PRIMARY){after}"
                f" ORDER BY {columns} LIMIT 1 OFFSET {rows - 1}"
            )
            row = cursor.fetchone()
        if row is None:
            return edges
        edges.append(tuple(v if isinstance(v, int) else str(v) for v in row))
