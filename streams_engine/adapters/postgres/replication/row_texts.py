"""Read a few row messages as the texts that they hold, without Arrow.

What is not plain (computed columns, a key that changed, damaged bytes) is left to `row_decoder`,
which knows it all.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

from streams_engine.adapters.postgres.replication.pgoutput import KEPT, NULL, TEXT, Messages
from streams_engine.adapters.postgres.replication.row_decoder import KEY, NEW, OLD, DecodePlan
from streams_engine.model import Op, TextRow

__all__ = ["row_texts"]

INSERT, DELETE = ord("I"), ord("D")
BOOLEANS = {b"t": b"true", b"f": b"false"}

_u2: Any = struct.Struct(">H").unpack_from
_u4: Any = struct.Struct(">I").unpack_from

Value = Any
"""``bytes``, None, or ``...`` for what the log does not carry."""


def row_texts(
    messages: Messages, changes: Sequence[tuple[DecodePlan, int]]
) -> tuple[TextRow, ...] | None:
    """Return the rows of the messages with these numbers, each by the plan of its relation; None if
    one of them has to be decoded."""
    rows = []
    for plan, index in changes:
        try:
            row = _row(plan, messages, index) if plan.plain else None
        except (ValueError, IndexError, struct.error):
            return None
        if row is None:
            return None
        rows.append(row)
    return tuple(rows)


def _row(plan: DecodePlan, messages: Messages, index: int) -> TextRow | None:
    buffer, end = messages.buffer, int(messages.end[index])
    kind, at, width = int(messages.kind[index]), int(messages.body[index]) + 4, len(plan.booleans)
    old: list[Value] | None = None
    marker = buffer[at]
    if marker != NEW:
        if marker not in (OLD, KEY) or (plan.unkeyed and marker == KEY):
            return None
        old, at = _values(buffer, at + 1, end, width)
    elif plan.unkeyed and kind != INSERT:
        return None
    table = plan.tracked.schema.id
    if kind == DELETE:
        identity = None if old is None else _identity(plan, old)
        return None if identity is None else TextRow(table, Op.DELETE, (), identity)
    if buffer[at] != NEW:
        return None
    new, _ = _values(buffer, at + 1, end, width)
    if marker == OLD and old is not None:
        # An unchanged value that is stored out of line is in the old tuple.
        new = [before if after is ... else after for before, after in zip(old, new, strict=True)]
    after = tuple(_shown(new[number], plan.booleans[number]) for number in plan.wanted)
    if kind == INSERT:
        return None if old is not None or ... in after else TextRow(table, Op.INSERT, after, ())
    identity = _identity(plan, new)
    if identity is None or (old is not None and _identity(plan, old) != identity):
        return None
    return TextRow(table, Op.UPDATE, after, identity)


def _identity(plan: DecodePlan, values: Sequence[Value]) -> tuple[bytes | None, ...] | None:
    """Return the values that tell which row it is; None if the log does not carry all."""
    identity = tuple(_shown(values[n], plan.booleans[n]) for n, _, _ in plan.identity)
    return None if ... in identity else identity


def _shown(value: Value, boolean: bool) -> Value:
    return BOOLEANS.get(value, value) if boolean else value


def _values(buffer: bytes, at: int, end: int, columns: int) -> tuple[list[Value], int]:
    """Return the values of a tuple, and where it ends. Raises `ValueError` if it is damaged."""
    if _u2(buffer, at)[0] != columns:
        raise ValueError("another number of columns")
    at += 2
    values: list[Value] = []
    for _ in range(columns):
        kind = buffer[at]
        if kind == TEXT:
            start = at + 5
            at = start + _u4(buffer, at + 1)[0]
            values.append(buffer[start:at])
        elif kind in (NULL, KEPT):
            at += 1
            values.append(None if kind == NULL else ...)
        else:
            raise ValueError("a format that was not requested")
    if at > end:
        raise ValueError("a value goes beyond its message")
    return values, at
