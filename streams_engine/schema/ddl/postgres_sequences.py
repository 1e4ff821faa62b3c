"""Sequences of a PostgreSQL target after changes were applied to it.

Rows from a log bring their numbers with them and advance no sequence: the first row that an
application inserts on the target would repeat a number (case B56: after a cut-over).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from streams_engine.contracts import Statement
from streams_engine.errors import require
from streams_engine.model import (
    Catalog,
    Column,
    ObjectKind,
    ObjectRef,
    Sequence,
    SequenceValue,
    TableId,
)
from streams_engine.schema.ddl.postgres import literal, name_of, quote
from streams_engine.schema.mapping.postgres_to_postgres import NEXT_VALUE, sequence_called

__all__ = ["TargetSequence", "advance", "past_the_rows"]

GREATEST = 9223372036854775807


@dataclass(frozen=True, slots=True)
class TargetSequence:
    """A source's sequence, and what it is called on the target."""

    at: SequenceValue
    name: TableId | None
    """None for AUTO_INCREMENT, which is identified by its column."""
    column: tuple[TableId, str] | None
    """The target's column that owns it, if known."""


def advance(sequence: TargetSequence) -> Statement:
    """Set a sequence to the source's value; never back, unless it cycles.

    A sequence that does not exist on the target is skipped.
    """
    at = sequence.at
    places = []
    if sequence.column is not None:
        table, column = sequence.column
        # to_regclass: a table that is dropped at this moment is no error.
        owned = f"pg_catalog.pg_get_serial_sequence({literal(name_of(table))}, {literal(column)})"
        there = f"pg_catalog.to_regclass({literal(name_of(table))}) IS NOT NULL"
        places.append(f"CASE WHEN {there} THEN {owned}::pg_catalog.regclass END")
    if sequence.name is not None:
        places.append(f"pg_catalog.to_regclass({literal(name_of(sequence.name))})")
    behind = "<" if at.increment > 0 else ">"
    further = f"pg_catalog.pg_sequence_last_value(s.place) {behind} ({at.value})"
    guard = "" if at.cycle else f" AND COALESCE({further}, true)"
    called = "true" if at.called else "false"
    return Statement(
        f"SELECT pg_catalog.setval(s.place, {at.value}, {called})"
        f" FROM (SELECT COALESCE({', '.join(places)}) OFFSET 0) AS s(place)"
        f" WHERE s.place IS NOT NULL{guard}",
        _ref(sequence),
        sequence.column and sequence.column[0],
        optional=True,
    )


def _ref(sequence: TargetSequence) -> ObjectRef:
    if sequence.name is not None:
        return ObjectRef(ObjectKind.SEQUENCE, str(sequence.name))
    table, column = require(sequence.column, "the name or the column of a sequence")
    return ObjectRef(ObjectKind.SEQUENCE, column, table)


def past_the_rows(target: Catalog) -> Iterator[Statement]:
    """Advance each sequence that numbers a column past the rows; never back, and in its own steps.

    One that numbers columns of several tables passes the rows of all. For a sequence within an
    expression, or one that cycles, only the source's value counts.
    """
    users: dict[TableId, list[tuple[TableId, Column]]] = defaultdict(list)
    for table in target.tables:
        for column in table.columns:
            identity = column.identity
            called = column.default and NEXT_VALUE.match(column.default.sql)
            if identity is not None and identity.sequence is not None and not identity.cycle:
                following = identity.next_value
                at = identity.start if following is None else following
                bound = identity.maximum if identity.increment > 0 else identity.minimum
                yield _past(identity.sequence, at, identity.increment, bound, [(table.id, column)])
            elif called and (sequence := sequence_called(called[1], target.sequences)):
                users[sequence.id].append((table.id, column))
    for sequence in target.sequences:
        if users[sequence.id] and not sequence.cycle:
            bound = sequence.maximum if sequence.increment > 0 else sequence.minimum
            columns = users[sequence.id]
            yield _past(sequence.id, _following(sequence), sequence.increment, bound, columns)


def _following(sequence: Sequence) -> int:
    """Return the value that the sequence gives next."""
    last = sequence.last_value
    return sequence.start if last is None else last + sequence.increment


def _past(
    sequence: TableId,
    following: int,
    increment: int,
    bound: int | None,
    columns: Iterable[tuple[TableId, Column]],
) -> Statement:
    """Set the sequence so that its next value is beyond the last number in the columns."""
    columns = list(columns)
    up = increment > 0
    last, beyond = ("max", ">=") if up else ("min", "<=")
    tops = " UNION ALL ".join(
        f"SELECT {last}({quote(column.name)})::pg_catalog.numeric FROM {name_of(table)}"
        for table, column in columns
    )
    limit = bound if bound is not None else GREATEST if up else -GREATEST
    steps = f"pg_catalog.div(t.top - ({following}), {increment})"
    table, column = columns[0]
    return Statement(
        f"SELECT pg_catalog.setval({literal(name_of(sequence))}::pg_catalog.regclass,"
        f" ({following} + {increment} * {steps})::pg_catalog.int8)"
        f" FROM (SELECT {last}(x) FROM ({tops}) AS c(x)) AS t(top)"
        # A column may be numeric; a sequence never goes further than its bound.
        f" WHERE t.top {beyond} {following} AND NOT t.top {beyond[0]} {limit}",
        ObjectRef(ObjectKind.SEQUENCE, column.name, table),
        table,
        optional=True,
    )
