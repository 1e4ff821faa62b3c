"""Cast values to the type of an existing column: exact, or the row is refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from streams_engine.arrow.plain import filled, from_numpy, scalar, to_numpy
from streams_engine.model import Dialect, NativeType
from streams_engine.schema.types.postgres import base_of

__all__ = ["FITS", "REASONS", "arrives"]

Fitted = tuple[pa.Array, np.ndarray | None]

INTEGER_BYTES: Mapping[str, int] = {
    "tinyint": 1, "smallint": 2, "mediumint": 3, "int": 4, "bigint": 8, "int2": 2, "int4": 4,
    "int8": 8,
}  # fmt: skip
WHOLE = r"\A-?[0-9]+\z"
NUMBER = r"\A-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]{1,3})?\z"
DATE = r"\A[0-9]{4}-[0-9]{2}-[0-9]{2}"
CLOCK = r"[0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{0,%d}0*)?)?"
UUID = r"\A[0-9a-fA-F]{8}-?(?:[0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12}\z"
BOOLEANS = {"true": True, "false": False, "t": True, "f": False, "1": True, "0": False}
MOST_PRECISION = 76
SURE_DIGITS = 15
"""A decimal of so many digits survives a double (DBL_DIG)."""


def digits_of_second(native: NativeType) -> int:
    """Return how many fractional digits of a second a type keeps. The default is 0 in MySQL, 6 in
    PostgreSQL."""
    if native.args:
        return native.args[0]
    return 6 if native.dialect is Dialect.POSTGRES else 0


def arrives(fit: str, native: NativeType, given: pa.DataType) -> pa.DataType | None:
    """Return the Arrow type that a fit produces for a type; None if it has no exact form."""
    native = base_of(native)
    if fit == "integer":
        return pa.uint64() if native.unsigned and native.name == "bigint" else pa.int64()
    if fit == "decimal":
        if not native.args or native.args[0] > MOST_PRECISION:
            return None
        precision, scale = (*native.args, 0)[:2]
        if not 0 <= scale <= precision:
            return None
        return (pa.decimal128 if precision <= 38 else pa.decimal256)(precision, scale)
    if fit == "float":
        return pa.float32() if native.name in ("float", "float4") else pa.float64()
    if fit == "timestamp":
        return pa.timestamp("us", "UTC" if native.name == "timestamptz" else None)
    return ARRIVES.get(fit, given)


ARRIVES: Mapping[str, pa.DataType] = {
    "boolean": pa.bool_(),
    "date": pa.date32(),
    "time": pa.duration("us"),
    "bits": pa.uint64(),
    "year": pa.int64(),
    **dict.fromkeys(("text", "padded", "labels"), pa.string()),
}


# Helpers


def _bad(mask: pa.Array | np.ndarray) -> np.ndarray | None:
    """Return the mask, or None if it marks nothing."""
    marked = mask if isinstance(mask, np.ndarray) else to_numpy(filled(mask, False))
    return marked if marked.any() else None


def _without(values: pa.Array, bad: np.ndarray | None) -> pa.Array:
    """Return the values with NULL in the marked rows."""
    if bad is None:
        return values
    return pc.if_else(from_numpy(bad), scalar(None, values.type), values)


def _both(one: np.ndarray | None, two: np.ndarray | None) -> np.ndarray | None:
    return two if one is None else one if two is None else one | two


def _unlike(values: pa.Array, pattern: str) -> np.ndarray | None:
    return _bad(pc.invert(pc.match_substring_regex(values, pattern)))


def _cast(values: pa.Array, cast: Callable[[pa.Array], pa.Array]) -> Fitted:
    """Cast all values at once; if that fails, one by one, to find the rows that do not fit."""
    try:
        return cast(values), None
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OverflowError):
        bad = np.zeros(len(values), bool)
        for place in range(len(values)):
            try:
                cast(values.slice(place, 1))
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OverflowError):
                bad[place] = True
        return cast(_without(values, bad)), bad


def _plain_number(values: pa.Array) -> Fitted:
    """Return numbers as decimal texts or unchanged, marking texts that are not numbers."""
    if pa.types.is_string(values.type):
        bad = _unlike(values, NUMBER)
        return _without(values, bad), bad
    if pa.types.is_boolean(values.type):
        return values.cast(pa.int8()), None
    return values, None


# Numbers


def integer(values: pa.Array, native: NativeType) -> Fitted:
    """Fit whole numbers within the range of the type."""
    wanted = arrives("integer", native, values.type)
    values, bad = _plain_number(values)
    if pa.types.is_string(values.type):
        fraction = _unlike(values, WHOLE)
        values, bad = _without(values, fraction), _both(bad, fraction)
    numbers, unfit = _cast(values, lambda part: part.cast(wanted))
    bits = 8 * INTEGER_BYTES[base_of(native).name]
    low = 0 if native.unsigned else -(1 << bits - 1)
    high = (1 << bits) - 1 if native.unsigned else (1 << bits - 1) - 1
    if bits < 64 or (native.unsigned and wanted != pa.uint64()):
        outside = pc.or_(pc.less(numbers, low), pc.greater(numbers, high))
        unfit = _both(unfit, _bad(outside))
    return numbers, _both(bad, unfit)


def decimal(values: pa.Array, native: NativeType) -> Fitted:
    """Fit numbers with no more digits than the type keeps."""
    wanted = arrives("decimal", native, values.type)
    values, bad = _plain_number(values)
    if pa.types.is_floating(values.type):
        # The shortest text that reads back equal; NaN and the infinities have no digits.
        unbounded = _bad(pc.invert(pc.is_finite(values)))
        texts = [None if v is None else repr(v) for v in _without(values, unbounded).to_pylist()]
        values, bad = pa.array(texts, pa.string()), _both(bad, unbounded)
    elif pa.types.is_integer(values.type):
        values = values.cast(pa.decimal128(20, 0))
    numbers, unfit = _cast(values, lambda part: part.cast(wanted))
    return numbers, _both(bad, unfit)


def floating(values: pa.Array, native: NativeType) -> Fitted:
    """Fit numbers that a double represents unchanged, or that single precision represents
    exactly."""
    wanted = arrives("float", native, values.type)
    values, bad = _plain_number(values)
    if pa.types.is_floating(values.type):
        numbers = values.cast(wanted)
        same = pc.or_(pc.equal(numbers.cast(values.type), values), pc.is_nan(values))
        return numbers, _both(bad, _bad(pc.invert(same)))
    texts = values.cast(pa.string())
    numbers = texts.cast(pa.float64()).cast(wanted)
    digits = pc.replace_substring_regex(texts, r"[eE].*\z|[-.]", "")
    sure = SURE_DIGITS if wanted == pa.float64() else 0
    unsure = pc.fill_null(pc.greater(pc.utf8_length(pc.utf8_ltrim(digits, "0")), sure), False)
    unfit = np.asarray(unsure).copy()
    for place in np.flatnonzero(unfit):
        text, number = texts[int(place)].as_py(), numbers[int(place)].as_py()
        unfit[place] = not _same_number(text, number, double=wanted == pa.float64())
    return numbers, _both(bad, _bad(unfit))


def _same_number(text: str, number: float, *, double: bool) -> bool:
    try:
        # As a double 0.1 is what every server shows of it; single precision shows more of it
        # wherever it is widened.
        return Decimal(text) in (Decimal(number), Decimal(repr(number)) if double else None)
    except InvalidOperation:
        return False


def boolean(values: pa.Array, _: NativeType) -> Fitted:
    """Fit 0 and 1, or the words for false and true."""
    if pa.types.is_string(values.type):
        texts = pc.utf8_lower(values)
        known = pa.array(list(BOOLEANS))
        bad = _bad(pc.and_(pc.is_valid(values), pc.invert(pc.is_in(texts, known))))
        true = pa.array([text for text, meant in BOOLEANS.items() if meant])
        truths = pc.if_else(pc.is_valid(values), pc.is_in(texts, true), pa.scalar(None, pa.bool_()))
        return truths, bad
    if pa.types.is_boolean(values.type):
        return values, None
    numbers, bad = _cast(values, lambda part: part.cast(pa.int64()))
    other = pc.invert(pc.or_(pc.equal(numbers, 0), pc.equal(numbers, 1)))
    return pc.not_equal(numbers, 0), _both(bad, _bad(other))


def bits(values: pa.Array, native: NativeType) -> Fitted:
    """Fit numbers with no more bits than the column."""
    width = native.args[0] if native.args else 1
    values, bad = _plain_number(values)
    numbers, unfit = _cast(values, lambda part: part.cast(pa.uint64()))
    if width < 64:
        unfit = _both(unfit, _bad(pc.greater(numbers, pa.scalar((1 << width) - 1, pa.uint64()))))
    return numbers, _both(bad, unfit)


def year(values: pa.Array, native: NativeType) -> Fitted:
    """Fit values of MySQL's YEAR: 0, and 1901 to 2155
    (https://dev.mysql.com/doc/refman/en/year.html)."""
    values, bad = _plain_number(values)
    years, unfit = _cast(values, lambda part: part.cast(pa.int64()))
    inside = pc.and_(pc.greater_equal(years, 1901), pc.less_equal(years, 2155))
    outside = _bad(pc.invert(pc.or_(inside, pc.equal(years, 0))))
    return years, _both(bad, _both(unfit, outside))


# Moments


def date(values: pa.Array, _: NativeType) -> Fitted:
    """Fit dates, and timestamps at midnight."""
    if not pa.types.is_timestamp(values.type):
        return values, None
    micro = values.cast(pa.timestamp("us", values.type.tz)).view(pa.int64())
    clock = _bad(pc.not_equal(micro, pc.multiply(_floor(micro, DAY), DAY)))
    return _floor(micro, DAY).cast(pa.int32()).view(pa.date32()), clock


DAY = 86_400_000_000


def _floor(numbers: pa.Array, by: int) -> pa.Array:
    whole = to_numpy(filled(numbers, 0)) // by
    return pc.if_else(numbers.is_valid(), from_numpy(whole), scalar(None, pa.int64()))


def timestamp(values: pa.Array, native: NativeType) -> Fitted:
    """Fit dates and UTC timestamps with no more fractional digits of a second than the type
    keeps."""
    wanted = arrives("timestamp", native, values.type)
    if pa.types.is_date(values.type):
        moments, unfit = _cast(values, lambda part: part.cast(pa.timestamp("us")))
        return moments.view(pa.int64()).view(wanted), unfit
    tz = values.type.tz
    moments, unfit = _cast(values, lambda part: part.cast(pa.timestamp("us", tz)))
    micro = moments.view(pa.int64())
    return micro.view(wanted), _both(unfit, _finer(micro, native))


def _finer(micro: pa.Array, native: NativeType) -> np.ndarray | None:
    """Mark the rows with more fractional digits of a second than the type keeps."""
    unit = 10 ** (6 - digits_of_second(base_of(native)))
    if unit == 1:
        return None
    return _bad(to_numpy(filled(micro, 0)) % unit != 0)


def time(values: pa.Array, native: NativeType) -> Fitted:
    """Fit times of day and durations with no more fractional digits of a second than the type
    keeps."""
    unit = pa.time64("us") if pa.types.is_time(values.type) else pa.duration("us")
    times, unfit = _cast(values, lambda part: part.cast(unit))
    micro = times.view(pa.int64())
    return micro.view(pa.duration("us")), _both(unfit, _finer(micro, native))


def date_text(values: pa.Array, native: NativeType) -> Fitted:
    """Fit ISO dates; the server checks that the day exists."""
    return values, _unlike(values, DATE + r"\z")


def timestamp_text(values: pa.Array, native: NativeType) -> Fitted:
    """Fit ISO dates with or without a time; with an offset if the type is an instant."""
    base = base_of(native)
    offset = r"(?:Z|[+-][0-9]{2}(?::?[0-9]{2})?)?" if base.name == "timestamptz" else ""
    clock = CLOCK % digits_of_second(base)
    return values, _unlike(values, rf"{DATE}(?:[T ]{clock}{offset})?\z")


def time_text(values: pa.Array, native: NativeType) -> Fitted:
    """Fit times with two digits each; MySQL's may be negative, or have three digits of hours."""
    base = base_of(native)
    sign = r"-?[0-9]?" if base.dialect is Dialect.MYSQL else ""
    return values, _unlike(values, rf"\A{sign}{CLOCK % digits_of_second(base)}\z")


# Texts and bytes


def text(values: pa.Array, native: NativeType) -> Fitted:
    """Fit texts no longer than the type, without trailing spaces if the type ignores them."""
    texts = values if pa.types.is_string(values.type) else _shown(values)
    base = base_of(native)
    bad = None
    if base.args and base.name in ("char", "varchar", "bpchar"):
        bad = _bad(pc.greater(pc.utf8_length(texts), base.args[0]))
    if base.name in ("char", "bpchar"):
        bad = _both(bad, _bad(pc.ends_with(texts, " ")))
    return texts, bad


def padded(values: pa.Array, native: NativeType) -> Fitted:
    """Fit PostgreSQL's char(n), which ignores trailing spaces."""
    return text(pc.utf8_rtrim(values, " "), native)


def _shown(values: pa.Array) -> pa.Array:
    if pa.types.is_floating(values.type):
        texts = [None if v is None else repr(v) for v in values.cast(pa.float64()).to_pylist()]
        return pa.array(texts, pa.string())
    return values.cast(pa.string())


def uuid(values: pa.Array, _: NativeType) -> Fitted:
    """Fit hexadecimal digits with or without hyphens, or 16 bytes."""
    if pa.types.is_string(values.type):
        return values, _unlike(values, UUID)
    return values, _bad(pc.not_equal(pc.binary_length(values), 16))


def whole_bytes(values: pa.Array, native: NativeType) -> Fitted:
    """Fit exactly as many bytes as BINARY(n) has, which would otherwise be padded with zeros."""
    return values, _bad(
        pc.not_equal(pc.binary_length(values), native.args[0] if native.args else 1)
    )


def unique_keys(values: pa.Array, _: NativeType) -> Fitted:
    """Fit JSON in which no object has a key twice; jsonb would keep only one."""
    mask = np.zeros(len(values), bool)
    for place, document in enumerate(values.to_pylist()):
        mask[place] = document is not None and not _has_unique_keys(document)
    return values, _bad(mask)


def _has_unique_keys(document: str) -> bool:
    def pairs(members: list[tuple[str, Any]]) -> None:
        if len({key for key, _ in members}) < len(members):
            raise KeyError

    try:
        json.loads(document, object_pairs_hook=pairs)
    except KeyError:
        return False
    except (ValueError, RecursionError):
        return True  # no JSON: the server's to refuse
    return True


def labels(values: pa.Array, native: NativeType) -> Fitted:
    """Fit JSON lists of labels for a SET of MySQL."""
    shown: list[str | None] = []
    mask = np.zeros(len(values), bool)
    for place, document in enumerate(values.to_pylist()):
        items = None if document is None else json.loads(document)
        mask[place] = items is not None and not all(item in native.labels for item in items)
        shown.append(None if items is None or mask[place] else ",".join(items))
    return pa.array(shown, pa.string()), _bad(mask)


def label(values: pa.Array, native: NativeType) -> Fitted:
    """Fit a label of an enum, compared exactly: MySQL would read '1' as the first label."""
    known = pa.array(base_of(native).labels, pa.string())
    return values, _bad(pc.and_(pc.is_valid(values), pc.invert(pc.is_in(values, known))))


def label_set(values: pa.Array, native: NativeType) -> Fitted:
    """Fit labels of a SET, separated by commas."""
    mask = np.zeros(len(values), bool)
    for place, text in enumerate(values.to_pylist()):
        mask[place] = bool(text) and not set(text.split(",")) <= set(native.labels)
    return values, _bad(mask)


def interval_text(values: pa.Array, _: NativeType) -> Fitted:
    """Fit spans with units, or times; a bare number would be read as seconds."""
    return values, _unlike(values, r"[A-Za-z:]")


def array(values: pa.Array, native: NativeType) -> Fitted:
    """Fit JSON lists, or PostgreSQL's own text of an array. A bare number is not a list."""
    element = base_of(native).element
    texts = element is not None and base_of(element).name in ("text", "varchar", "bpchar", "citext")
    shown: list[str | None] = []
    mask = np.zeros(len(values), bool)
    for place, document in enumerate(values.to_pylist()):
        try:
            own = not document or document[0] == "{"
            shown.append(document if own else _array(document, texts=texts))
        except (ValueError, RecursionError):
            mask[place] = True
            shown.append(None)
    return pa.array(shown, pa.string()), _bad(mask)


def _array(document: str, *, texts: bool) -> str:
    """Return the array text of a JSON list, keeping all digits of its numbers."""
    items = json.loads(document, parse_int=_Digits, parse_float=_Digits)
    if not isinstance(items, list):
        raise ValueError("no list")
    return _array_text(items, texts=texts)


class _Digits(str):
    """A number as the document has it."""

    __slots__ = ()


def _array_text(value: Any, *, texts: bool) -> str:
    if isinstance(value, list):
        return "{" + ",".join(_array_text(item, texts=texts) for item in value) + "}"
    if value is None:
        return "NULL"
    if isinstance(value, str) and not isinstance(value, _Digits):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if texts or isinstance(value, dict):
        raise ValueError("there is no such element")
    return str(value) if isinstance(value, _Digits) else str(value).lower()


def as_it_is(values: pa.Array, _: NativeType) -> Fitted:
    """Leave the values unchanged: the server parses them and rejects what is invalid."""
    return values, None


FITS: Mapping[str, Callable[[pa.Array, NativeType], Fitted]] = {
    "integer": integer,
    "decimal": decimal,
    "float": floating,
    "boolean": boolean,
    "bits": bits,
    "year": year,
    "date": date,
    "timestamp": timestamp,
    "time": time,
    "date_text": date_text,
    "timestamp_text": timestamp_text,
    "time_text": time_text,
    "text": text,
    "padded": padded,
    "uuid": uuid,
    "whole_bytes": whole_bytes,
    "unique_keys": unique_keys,
    "labels": labels,
    "label": label,
    "label_set": label_set,
    "interval_text": interval_text,
    "array": array,
    "as_it_is": as_it_is,
}

REASONS: Mapping[str, str] = {
    "integer": "it is not a whole number within the range of the column's type",
    "decimal": "it is not a number with the digits that the column keeps",
    "float": "it is not a number that the column's type holds exactly",
    "boolean": "it is neither 0 nor 1, true nor false",
    "bits": "it has more bits than the column",
    "year": "it is not a year of MySQL: 0, or 1901 to 2155",
    "date": "it has a time of day, which a date does not keep",
    "timestamp": (
        "it has more fractional digits of a second than the column keeps, or is out of range"
    ),
    "time": "it has more fractional digits of a second than the column keeps, or is out of range",
    "date_text": "it is not a date such as 2024-12-31",
    "timestamp_text": (
        "it is not a timestamp such as 2024-12-31 23:59:59, or is finer than the column keeps"
    ),
    "time_text": "it is not a time such as 23:59:59, or is finer than the column keeps",
    "text": "it is longer than the column, or ends in spaces that the column does not keep",
    "padded": "it is longer than the column",
    "uuid": "it is not a UUID",
    "whole_bytes": "its length in bytes differs from the column's",
    "unique_keys": "an object has the same key twice, and jsonb keeps one",
    "labels": "it is not a list of the column's labels",
    "label": "it is not one of the column's labels",
    "label_set": "it is not a list of the column's labels",
    "interval_text": "it has no unit",
    "array": "it is not a list",
}
