"""Compares the structure of both ends of a move, each read from its own catalogs.

MySQL to PostgreSQL: both are brought to one vocabulary (`shapes`). PostgreSQL to
PostgreSQL: every definition, as the server itself writes it, must be the same text.
"""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from typing import Any

import psycopg
from psycopg import sql

from tests.support import canonical_rows
from tests.support.canonical_rows import End
from tests.support.postgres_catalog import definitions
from tests.support.samples import dialect, mysql_connection, pg_connection
from tests.support.shapes import Field, Shape, mysql_shapes, pg_shapes


def compare(source: End, target: End) -> list[str]:
    """What differs between the structures of two databases, in sentences; empty: equal."""
    if dialect(source.server) == "mysql":
        return _compare_shapes(source, target)
    theirs, ours = definitions(source), definitions(target)
    found = [f"{key} is missing on the target" for key in theirs if key not in ours]
    # An extension may bring or need more than the source has; nothing else may.
    found += [f"{k} is on the target only" for k in ours if k not in theirs and k[0] != "extension"]
    found += [
        f"{key}: {theirs[key]!r} became {ours[key]!r}"
        for key in theirs
        if key in ours and theirs[key] != ours[key]
    ]
    return sorted(found)


def _compare_shapes(source: End, target: End) -> list[str]:
    theirs, ours = mysql_shapes(source), pg_shapes(target)
    found = [f"table {name} is on the target only" for name in ours if name not in theirs]
    with (
        mysql_connection(source.server, source.database) as my,
        my.cursor() as cursor,
        pg_connection(target.server, target.database) as pg,
    ):
        for name, shape in theirs.items():
            if name not in ours:
                found.append(f"table {name} is missing on the target")
                continue
            differences = _compare_table(shape, ours[name])
            for a, b in zip(shape.fields, ours[name].fields, strict=False):
                differences += _compare_defaults(cursor, pg, a, b)
                if a.counts and b.counts:
                    differences += _compare_counter(pg, target.schema, name, b.column.name)
            found += [f"table {name}: {difference}" for difference in differences]
    return found


def _compare_table(a: Shape, b: Shape) -> list[str]:
    found = []
    names, others = ([f.column.name for f in shape.fields] for shape in (a, b))
    if names != others:
        return [f"columns {names} became {others}"]
    for left, right in zip(a.fields, b.fields, strict=True):
        where = f"column {left.column.name}"
        if not right.types <= left.types:
            found.append(f"{where}: {left.column.full} became {right.types}, not {left.types}")
        for what in ("nullable", "generated", "counts", "labels", "comment"):
            if getattr(left, what) != getattr(right, what):
                found.append(
                    f"{where}: {what} {getattr(left, what)!r} became {getattr(right, what)!r}"
                )
    for what in ("primary", "checks", "comment"):
        if getattr(a, what) != getattr(b, what):
            found.append(f"{what} {getattr(a, what)!r} became {getattr(b, what)!r}")
    if b.fulltext > a.fulltext:
        found.append(f"{b.fulltext} gin or gist indexes for {a.fulltext} full-text or spatial ones")
    lost, new = Counter(a.foreign) - Counter(b.foreign), Counter(b.foreign) - Counter(a.foreign)
    found += [f"foreign key {key} is missing" for key in lost]
    found += [f"foreign key {key} is on the target only" for key in new]
    rest = list(b.indexes)
    for index in a.indexes:
        match = next((other for other in rest if _same_index(index, other)), None)
        if match is None:
            found.append(f"index {index} is missing among {rest}")
        else:
            rest.remove(match)
    return found + [f"index {index} is on the target only" for index in rest]


def _same_index(a: tuple[bool, tuple[str, ...]], b: tuple[bool, tuple[str, ...]]) -> bool:
    """Same columns in order; an expression stands for an expression, or for a column's prefix.

    The prefix of an index that is not unique may also become the whole column.
    """
    if a[0] != b[0] or len(a[1]) != len(b[1]):
        return False
    for left, right in zip(a[1], b[1], strict=True):
        if left.endswith(" DESC") != right.endswith(" DESC"):
            return False
        left, right = left.removesuffix(" DESC"), right.removesuffix(" DESC")
        if left == "()":
            same = right.startswith("() ")
        elif left.endswith("~"):
            name = left[:-1]
            same = (right.startswith("() ") and name in right) or (not a[0] and right == name)
        else:
            same = left == right
        if not same:
            return False
    return True


def _compare_defaults(
    cursor: Any, pg: psycopg.Connection[tuple[Any, ...]], a: Field, b: Field
) -> list[str]:
    """Constants are compared by value: each server renders its own, the row rules apply."""
    where = f"column {a.column.name}: default"
    missed = [f"{where} {a.default!r} became {b.default!r}"]
    if a.default == "expression":  # which one cannot be told from its value
        return missed if b.default is None else []
    if a.default in (None, "now") or b.default in (None, "now"):
        return [] if a.default == b.default else missed
    value: Any = f"CAST({a.default} AS DOUBLE)" if a.column.type == "float" else a.default
    if a.column.type not in ("bit", "float") and a.column.type not in canonical_rows.BINARY:
        cursor.execute(f"SELECT CONVERT(CAST(({value}) AS CHAR) USING utf8mb4)")
    else:
        cursor.execute(f"SELECT {canonical_rows.mysql_expression(a.column, value)}")
    theirs = cursor.fetchone()[0]
    assert b.default is not None
    typed = sql.SQL("(({})::" + b.column.full + ")")
    shown = canonical_rows.pg_expression(b.column, typed.format(sql.SQL(b.default)))
    row = pg.execute(sql.SQL("SELECT {}").format(shown)).fetchone()
    left, right = canonical_rows.rules(a.column, b.column)
    one, two = (
        canonical_rows.apply(left, theirs),
        canonical_rows.apply(right, row[0] if row else None),
    )
    return [] if one == two else [f"{where} {a.default} became {b.default} ({one!r}, {two!r})"]


def _compare_counter(
    pg: psycopg.Connection[tuple[Any, ...]], schema: str, table: str, column: str
) -> list[str]:
    """The sequence's next value must lie past the largest value present."""
    relation = sql.Identifier(schema, table)
    row = pg.execute(
        "SELECT pg_get_serial_sequence(%s, %s)", (relation.as_string(pg), column)
    ).fetchone()
    if not row or not row[0]:
        return [f"column {column}: no sequence of its own"]
    last, called, largest = pg.execute(
        sql.SQL("SELECT last_value, is_called, (SELECT max({}) FROM {}) FROM {}").format(
            sql.Identifier(column), relation, sql.SQL(row[0])
        )
    ).fetchone() or (0, False, 0)
    following = Decimal(last) + (1 if called else 0)
    if largest is not None and following <= largest:
        return [f"column {column}: the sequence gives {following}, but {largest} is there"]
    return []
