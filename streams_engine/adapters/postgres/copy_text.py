"""Record batches as COPY text, for types whose binary form is not ours.

https://www.postgresql.org/docs/current/sql-copy.html, "Text Format": tab between fields,
newline after rows, ``\\N`` for NULL, backslash escapes for tab, newline, carriage return
and itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from streams_engine.errors import RowRejected
from streams_engine.model import Column
from streams_engine.schema.postgres import WIRE, base_of

__all__ = ["encode"]

DAY_MICROSECONDS = 86_400_000_000
ESCAPES = (("\\", "\\\\"), ("\t", "\\t"), ("\n", "\\n"), ("\r", "\\r"))


def encode(batch: pa.RecordBatch, columns: Sequence[Column]) -> Any:
    """The rows of a batch as COPY text in one buffer. Raises `RowRejected` naming the column."""
    if not columns:
        return b"\n" * batch.num_rows
    fields = []
    for values, column in zip(batch.columns, columns, strict=True):
        try:
            fields.append(_escaped(_text(values, column)))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, ValueError):
            raise RowRejected(
                f"Column {column.name}: a value has no text for {column.type}.",
                remedy="Choose another type with typeOverrides.",
                column=column.name,
            ) from None
    lines = pc.binary_join_element_wise(*fields, "\t")
    lines = pc.binary_join_element_wise(lines, pa.scalar(""), "\n")
    offsets = np.frombuffer(lines.buffers()[1], np.int32)
    data = lines.buffers()[2]
    start, end = offsets[lines.offset], offsets[lines.offset + len(lines)]
    return memoryview(data)[start:end] if data is not None else b""


def _escaped(text: pa.Array) -> pa.Array:
    for plain, escaped in ESCAPES:
        text = pc.replace_substring(text, plain, escaped)
    return text.fill_null("\\N")


def _text(values: pa.Array, column: Column) -> pa.Array:
    """The column as texts that the input function of its type reads back exactly."""
    arrow = values.type
    if arrow == WIRE:
        raise ValueError("a wire form has no text")
    if pa.types.is_string(arrow):
        return values
    if pa.types.is_binary(arrow):
        return _hex(values)
    if pa.types.is_duration(arrow):
        micro = values.cast(pa.duration("us")).view(pa.int64())
        if base_of(column.type).name == "time":
            return _time_of_day(micro)
        return pc.binary_join_element_wise(micro.cast(pa.string()), "microseconds", " ")
    if pa.types.is_timestamp(arrow) and arrow.tz is not None:
        plain = values.cast(pa.timestamp("us", "UTC")).cast(pa.timestamp("us"))
        return pc.binary_join_element_wise(plain.cast(pa.string()), "+00", "")
    if pa.types.is_list(arrow):
        return _array(values)
    if pa.types.is_integer(arrow) and base_of(column.type).name in {"bit", "varbit"}:
        width = column.type.args[0] if column.type.args else 1
        return pa.array(
            [None if v is None else format(v, f"0{width}b") for v in values.to_pylist()],
            pa.string(),
        )
    return values.cast(pa.string())


def _time_of_day(micro: pa.Array) -> pa.Array:
    """00:00:00 to 24:00:00, which Arrow's time of day stops short of."""
    outside = pc.or_(pc.less(micro, 0), pc.greater(micro, DAY_MICROSECONDS))
    if pc.any(outside).as_py():
        raise ValueError("outside a day")
    end = pc.equal(micro, DAY_MICROSECONDS)
    clock = pc.if_else(end, 0, micro).cast(pa.time64("us")).cast(pa.string())
    return pc.if_else(end, "24:00:00", clock)


def _hex(values: pa.Array) -> pa.Array:
    """bytea's hex form."""
    texts = [None if v is None else "\\x" + v.hex() for v in values.to_pylist()]
    return pa.array(texts, pa.string())


def _array(values: pa.Array) -> pa.Array:
    """An array literal with every element quoted."""

    def literal(items: list[Any]) -> str:
        parts = [
            "NULL" if i is None else '"' + str(i).replace("\\", "\\\\").replace('"', '\\"') + '"'
            for i in items
        ]
        return "{" + ",".join(parts) + "}"

    return pa.array([None if v is None else literal(v) for v in values.to_pylist()], pa.string())
