"""Convert values between source and sink: a table of small functions."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from streams_engine.arrow.plain import filled, scalar, to_numpy
from streams_engine.model import NativeType
from streams_engine.schema.mapping.tables import ColumnMapping
from streams_engine.schema.types import casts

__all__ = ["CHOOSE_TYPE", "CONVERSIONS", "BadRows", "Converter", "unfit_text"]

CHOOSE_TYPE = (
    "choose another type (options.typeOverrides) or zeroDates policy, and load again with "
    "start(fresh=True) and schemaPolicy drop_and_recreate."
)
"""The end of the remedy of a value that does not fit: a checkpoint is of one choice of types."""

Conversion = Callable[[pa.Array, pa.DataType], tuple[pa.Array, np.ndarray | None]]
"""(values, the type that the sink's column wants) -> (converted, rows that fit no value)."""


def boolean(values: pa.Array, _: pa.DataType) -> tuple[pa.Array, np.ndarray | None]:
    """Convert 0 and 1 to false and true, marking other numbers."""
    zero, one = scalar(0, values.type), scalar(1, values.type)
    fits = pc.or_(pc.equal(values, zero), pc.equal(values, one))
    bad = filled(pc.invert(fits), False)
    return pc.not_equal(values, zero), _mask(bad)


def labels(values: pa.Array, _: pa.DataType) -> tuple[pa.Array, np.ndarray | None]:
    """Convert a SET's text to a list of labels; the empty text to the empty list.

    A label of a SET cannot contain a comma (https://dev.mysql.com/doc/refman/en/set.html).
    """
    split = pc.split_pattern(values, ",")
    empty = filled(pc.equal(values, scalar("", values.type)), False)
    if not pc.any(empty).as_py():
        return split, None
    nothing = pa.scalar([], type=split.type)
    return pc.if_else(empty, nothing, split), None


def date(values: pa.Array, _: pa.DataType) -> tuple[pa.Array, np.ndarray | None]:
    """Zero and partial dates, which arrive as the storage's minimum, become NULL."""
    if not _has_invalid(values):
        return values, None
    return pc.if_else(_invalid(values), scalar(None, values.type), values), None


def time_of_day(values: pa.Array, _: pa.DataType) -> tuple[pa.Array, np.ndarray | None]:
    """Mark rows with a time outside 00:00:00 to 24:00:00."""
    micro = filled(values.view(pa.int64()), 0)
    outside = pc.or_(pc.less(micro, 0), pc.greater(micro, DAY_MICROSECONDS))
    return values, _mask(outside)


def strict_date(values: pa.Array, _: pa.DataType) -> tuple[pa.Array, np.ndarray | None]:
    """Mark rows with a zero or partial date (``zeroDates: error``)."""
    return values, _mask(_invalid(values)) if _has_invalid(values) else None


def _lowest(values: pa.Array) -> tuple[pa.Array, pa.Scalar]:
    storage = pa.int32() if pa.types.is_date32(values.type) else pa.int64()
    lowest = scalar(-(1 << (storage.bit_width - 1)), storage)
    return values.view(storage), lowest


def _has_invalid(values: pa.Array) -> bool:
    numbers, lowest = _lowest(values)
    return bool(pc.min(numbers).equals(lowest))


def _invalid(values: pa.Array) -> pa.Array:
    return filled(pc.equal(*_lowest(values)), False)


# PostgreSQL's binary send format (https://www.postgresql.org/docs/current/datatype-datetime.html:
# days, or microseconds, since 2000-01-01; the ends of the range mean infinity)

EPOCH_DAYS = 10_957
EPOCH_MICROSECONDS = 946_684_800_000_000
DAY_MICROSECONDS = 86_400_000_000


def _wire(values: pa.Array, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the numbers and the validity of a column of big-endian binary values; 0 for NULL."""
    valid: np.ndarray = to_numpy(values.is_valid())
    numbers = np.zeros(len(values), np.dtype(dtype).newbyteorder("="))
    offsets = np.frombuffer(values.buffers()[1], np.int64)[values.offset :][: len(values) + 1]
    data = values.buffers()[2]
    if data is not None and valid.any():
        raw = np.frombuffer(data, np.uint8)[offsets[0] : offsets[-1]]
        numbers[valid] = raw.view(dtype)
    return numbers, valid


def _array(numbers: np.ndarray, valid: np.ndarray, wanted: pa.DataType) -> pa.Array:
    bits = None if valid.all() else pa.py_buffer(np.packbits(valid, bitorder="little"))
    return pa.Array.from_buffers(wanted, len(numbers), [bits, pa.py_buffer(numbers)])


def pg_date(values: pa.Array, wanted: pa.DataType) -> tuple[pa.Array, np.ndarray | None]:
    """Convert days since 2000 to days since 1970, marking infinite dates."""
    days, valid = _wire(values, ">i4")
    limits = np.iinfo(np.int32)
    bad = valid & ((days == limits.min) | (days == limits.max))
    moved = np.where(bad, 0, days.astype(np.int64) + EPOCH_DAYS).astype(np.int32)
    return _array(moved, valid, wanted), bad if bad.any() else None


def pg_timestamp(values: pa.Array, wanted: pa.DataType) -> tuple[pa.Array, np.ndarray | None]:
    """Convert microseconds since 2000 to microseconds since 1970, marking infinite timestamps and
    those in the last three decades before the year 294277."""
    micro, valid = _wire(values, ">i8")
    limits = np.iinfo(np.int64)
    bad = valid & ((micro == limits.min) | (micro > limits.max - EPOCH_MICROSECONDS))
    moved = np.where(bad, 0, micro) + EPOCH_MICROSECONDS
    return _array(moved, valid, wanted), bad if bad.any() else None


def pg_time(values: pa.Array, wanted: pa.DataType) -> tuple[pa.Array, np.ndarray | None]:
    """Convert microseconds of the day. 24:00:00 fits a duration but not a time of day."""
    micro, valid = _wire(values, ">i8")
    bad = micro == DAY_MICROSECONDS
    if pa.types.is_duration(wanted) or not bad.any():
        return _array(micro, valid, wanted), None
    return _array(np.where(bad, 0, micro), valid, wanted), bad


UNFIT: Mapping[str, Mapping[bytes, str]] = {
    "pg_date": {b"\x7f\xff\xff\xff": "infinity", b"\x80\0\0\0": "-infinity"},
    "pg_timestamp": {b"\x7f" + b"\xff" * 7: "infinity", b"\x80" + b"\0" * 7: "-infinity"},
    "pg_time": {DAY_MICROSECONDS.to_bytes(8, "big"): "24:00:00"},
}
"""By conversion: wire forms that have no counterpart."""

LATEST = np.iinfo(np.int64).max - EPOCH_MICROSECONDS


def unfit_text(conversion: str, wire: bytes) -> str | None:
    """Return the text for a wire form that the conversion marks as bad; None if it means a
    value."""
    known = UNFIT.get(conversion, {}).get(wire)
    if known is None and conversion == "pg_timestamp":
        micro = int.from_bytes(wire, "big", signed=True)
        if micro > LATEST:
            seconds, fraction = divmod(micro + EPOCH_MICROSECONDS, 1_000_000)
            return f"{np.datetime64(seconds, 's')}.{fraction:06d}".replace("T", " ")
    return known


def pg_decimal(values: pa.Array, wanted: pa.DataType) -> tuple[pa.Array, np.ndarray | None]:
    """Convert texts of digits to decimals, marking NaN and infinities."""
    bad = filled(pc.match_substring_regex(values, "[A-Za-z]"), False)
    mask = _mask(bad)
    plain = values if mask is None else pc.if_else(bad, scalar(None, pa.string()), values)
    return plain.cast(wanted), mask


# MySQL's JSON

_DOUBTFUL = r"[0-9]{16}|[0-9.]{17}|[0-9][eE]"
"""What a number looks like that a double might not hold."""


def json_numbers(values: pa.Array, _: pa.DataType) -> tuple[pa.Array, np.ndarray | None]:
    """Mark JSON with numbers that MySQL would round: it keeps only 64-bit integers and doubles."""
    doubtful = filled(pc.match_substring_regex(values, _DOUBTFUL), False)
    if not pc.any(doubtful).as_py():
        return values, None
    mask: np.ndarray = to_numpy(doubtful).copy()
    for index in np.flatnonzero(mask):
        mask[index] = not _kept(values[int(index)].as_py())
    return values, mask if mask.any() else None


def _kept(text: str) -> bool:
    try:
        json.loads(text, parse_int=_exact_integer, parse_float=_exact_float)
    except _RoundedError:
        return False
    except (ValueError, RecursionError):
        return True  # no JSON: the server's to refuse
    return True


class _RoundedError(Exception):
    """A number that MySQL would round."""


def _exact_integer(text: str) -> int:
    number = int(text) if len(text) < 25 else 1 << 70
    if not -(1 << 63) <= number < 1 << 64:
        return int(_exact_float(text))
    return number


def _exact_float(text: str) -> float:
    number = float(text)
    if not math.isfinite(number) or Decimal(repr(number)) != Decimal(text):
        raise _RoundedError
    return number


def _mask(bad: pa.Array) -> np.ndarray | None:
    mask: np.ndarray = to_numpy(bad)
    return mask if mask.any() else None


CONVERSIONS: Mapping[str, Conversion] = {
    "boolean": boolean,
    "labels": labels,
    "date": date,
    "strict_date": strict_date,
    "time_of_day": time_of_day,
    "pg_date": pg_date,
    "pg_timestamp": pg_timestamp,
    "pg_time": pg_time,
    "pg_decimal": pg_decimal,
    "json_numbers": json_numbers,
}

NATURAL: Mapping[str | None, pa.DataType] = {
    "pg_date": pa.date32(),
    "pg_timestamp": pa.timestamp("us"),
    "pg_time": pa.duration("us"),
}
"""What a conversion gives before a fit brings it into another type."""

REASONS: Mapping[str, str] = {
    "boolean": "a value other than 0 and 1 is not a boolean",
    "time_of_day": "a time outside 00:00:00 to 24:00:00",
    "strict_date": "a zero or partial date, which zeroDates or NOT NULL does not allow",
    "pg_date": "an infinite date has no equivalent",
    "pg_timestamp": "an infinite timestamp, or one after the year 294246, has no equivalent",
    "pg_time": "24:00:00 has no equivalent",
    "pg_decimal": "NaN and infinities have no equivalent",
    "json_numbers": "MySQL's JSON would round a number in it",
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
    fits: NativeType | None = None
    """The type of a column that was there, which a fit looks at."""


def _conversion(column: ColumnMapping, name: str, zero_dates: str) -> str:
    """Return the conversion to use: a zero date that cannot become NULL is a bad row under any
    policy."""
    strict = zero_dates == "error" or not column.target.nullable
    return "strict_date" if name == "date" and strict else name


class Converter:
    """Applies a table's conversions to its batches. Stateless between calls but for its counts."""

    def __init__(self, columns: Sequence[ColumnMapping], zero_dates: str) -> None:
        steps: list[_Step] = []
        for i, c in enumerate(columns):
            if c.convert is not None:
                steps.append(_Step(i, c.source.name, _conversion(c, c.convert, zero_dates)))
            if c.fit is not None:
                steps.append(_Step(i, c.source.name, c.fit, c.target.type))
        self._steps = tuple(steps)
        self._natural = {
            i: NATURAL[c.convert] for i, c in enumerate(columns) if c.fit and c.convert in NATURAL
        }
        self._schema = pa.schema([pa.field(c.target.name, c.target.arrow) for c in columns])

    @property
    def schema(self) -> pa.Schema:
        """The schema of what comes out."""
        return self._schema

    def __call__(
        self, batch: pa.RecordBatch
    ) -> tuple[pa.RecordBatch, list[BadRows], dict[str, int]]:
        """Return the converted batch, the rows that do not fit, and the number of values set to
        NULL by column."""
        columns = batch.columns
        bad: list[BadRows] = []
        replaced: dict[str, int] = {}
        for step in self._steps:
            before = columns[step.index]
            if step.fits is not None:
                after, mask = casts.FITS[step.name](before, step.fits)
                reason = casts.REASONS.get(step.name, "")
            else:
                wanted = self._schema.field(step.index).type
                after, mask = CONVERSIONS[step.name](before, self._natural.get(step.index, wanted))
                reason = REASONS.get(step.name, "")
            columns[step.index] = after
            if mask is not None:
                bad.append(BadRows(step.column, reason, mask))
            if step.name == "date" and (lost := after.null_count - before.null_count):
                replaced[step.column] = lost
        if not columns:
            return batch, bad, replaced
        return pa.RecordBatch.from_arrays(columns, schema=self._schema), bad, replaced
