"""What is done to values between source and sink: a table of small conversions.

A conversion takes the column as the source yields it and gives the array that the
sink's column wants, together with a mask of the rows whose value fits no target
value (None where every row fits). It never guesses: a value either has an exact
counterpart, or its row is marked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from streams_engine.schema.mapping import ColumnMapping

__all__ = ["CONVERSIONS", "BadRows", "Converter"]

Conversion = Callable[[pa.Array], tuple[pa.Array, np.ndarray | None]]


def boolean(values: pa.Array) -> tuple[pa.Array, np.ndarray | None]:
    """0 and 1 become false and true; any other number fits no boolean."""
    zero, one = pa.scalar(0, values.type), pa.scalar(1, values.type)
    fits = pc.or_(pc.equal(values, zero), pc.equal(values, one))
    bad = pc.fill_null(pc.invert(fits), False)
    return pc.not_equal(values, zero), _mask(bad)


def labels(values: pa.Array) -> tuple[pa.Array, np.ndarray | None]:
    """A SET's text becomes the list of its labels, the empty text the empty list.

    No label of a SET can hold a comma (https://dev.mysql.com/doc/refman/en/set.html).
    """
    split = pc.split_pattern(values, ",")
    empty = pc.fill_null(pc.equal(values, ""), False)
    if not pc.any(empty).as_py():
        return split, None
    nothing = pa.scalar([], type=split.type)
    return pc.if_else(empty, nothing, split), None


def date(values: pa.Array) -> tuple[pa.Array, np.ndarray | None]:
    """Zero and partial dates, which arrive as the storage's minimum, become NULL."""
    return pc.if_else(_invalid(values), pa.scalar(None, values.type), values), None


def strict_date(values: pa.Array) -> tuple[pa.Array, np.ndarray | None]:
    """A row with a zero or partial date is a bad row (``zeroDates: error``)."""
    return values, _mask(_invalid(values))


def _invalid(values: pa.Array) -> pa.Array:
    storage = pa.int32() if pa.types.is_date32(values.type) else pa.int64()
    lowest = pa.scalar(int(np.iinfo(storage.to_pandas_dtype()).min), storage)
    return pc.fill_null(pc.equal(values.view(storage), lowest), False)


def _mask(bad: pa.Array) -> np.ndarray | None:
    mask: np.ndarray = bad.to_numpy(zero_copy_only=False)
    return mask if mask.any() else None


CONVERSIONS: Mapping[str, Conversion] = {
    "boolean": boolean,
    "labels": labels,
    "date": date,
    "strict_date": strict_date,
}

REASONS: Mapping[str, str] = {
    "boolean": "a value other than 0 and 1 fits no boolean",
    "strict_date": "it holds a zero or partial date, which zeroDates or NOT NULL forbids",
}


@dataclass(frozen=True, slots=True)
class BadRows:
    """Rows of one batch that do not fit, by the column that refused them."""

    column: str
    reason: str
    mask: np.ndarray


@dataclass(frozen=True, slots=True)
class _Step:
    index: int
    column: str
    name: str


def _conversion(column: ColumnMapping, name: str, zero_dates: str) -> str:
    """A zero date that may not become NULL is a bad row, whatever the policy."""
    strict = zero_dates == "error" or not column.target.nullable
    return "strict_date" if name == "date" and strict else name


class Converter:
    """Applies a table's conversions to its batches. Stateless between calls but for its counts."""

    def __init__(self, columns: Sequence[ColumnMapping], zero_dates: str) -> None:
        self._steps = tuple(
            _Step(i, c.source.name, _conversion(c, c.convert, zero_dates))
            for i, c in enumerate(columns)
            if c.convert is not None
        )
        self._schema = pa.schema([pa.field(c.target.name, c.target.arrow) for c in columns])

    @property
    def schema(self) -> pa.Schema:
        """The schema of what comes out."""
        return self._schema

    def __call__(
        self, batch: pa.RecordBatch
    ) -> tuple[pa.RecordBatch, list[BadRows], dict[str, int]]:
        """(converted batch, rows that do not fit, values replaced by NULL per column)."""
        columns = batch.columns
        bad: list[BadRows] = []
        replaced: dict[str, int] = {}
        for step in self._steps:
            before = columns[step.index]
            after, mask = CONVERSIONS[step.name](before)
            columns[step.index] = after
            if mask is not None:
                bad.append(BadRows(step.column, REASONS[step.name], mask))
            if step.name == "date" and (lost := after.null_count - before.null_count):
                replaced[step.column] = lost
        if not columns:
            return batch, bad, replaced
        return pa.RecordBatch.from_arrays(columns, schema=self._schema), bad, replaced
