"""Values as texts and back, exact or refused: a table of small functions by Arrow family."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from streams_engine.arrow.plain import filled, from_numpy, joined, scalar, to_numpy
from streams_engine.errors import RowRejected
from streams_engine.schema.types.files import family

__all__ = ["parse", "render"]

DAY = 86_400_000_000
"""Microseconds of a day."""
FIRST_DAY, LAST_DAY = -719_162, 2_932_896
"""0001-01-01 and 9999-12-31, between which Arrow's text is ISO 8601."""
HEX = np.array([list(b"%02x" % byte) for byte in range(256)], np.uint8)
FAULTS = (pa.ArrowInvalid, pa.ArrowNotImplementedError, OverflowError, ValueError)


def render(array: pa.Array, *, form: str) -> pa.StringArray:
    """Render values as texts for ``form`` csv or jsonl; NULL stays NULL.

    Raises `RowRejected`, without the value, if one has no text; the caller adds the column.
    """
    try:
        return RENDERERS[family(array.type)](array, form)
    except FAULTS as error:
        raise RowRejected(
            f"a value cannot be written as text without loss: {_reason(error)}"
        ) from None
    except KeyError:
        raise RowRejected(f"{array.type} cannot be written as text") from None


def parse(strings: pa.Array, arrow_type: pa.DataType, *, form: str) -> pa.Array:
    """Parse texts as values; NULL stays NULL. Raises `RowRejected` without the value."""
    try:
        return PARSERS[family(arrow_type)](strings.cast(pa.string()), arrow_type, form)
    except FAULTS:
        raise RowRejected(f"the text is not a valid {arrow_type}") from None
    except KeyError:
        raise RowRejected(f"{arrow_type} cannot be read from text") from None


def _reason(error: Exception) -> str:
    return str(error) if type(error) is ValueError else "the number is out of range"


def _join(*parts: pa.Array | str) -> pa.Array:
    return joined(parts)


def _where(valid: pa.Array, text: pa.Array) -> pa.Array:
    return pc.if_else(valid, text, scalar(None, text.type))


def _numpy(values: pa.Array) -> np.ndarray:
    """Return values as 64-bit integers; 0 for NULL."""
    wide = values.cast(pa.int64()) if values.type.bit_width == 32 else values.view(pa.int64())
    return to_numpy(filled(wide, 0))


def _all(strings: pa.Array, pattern: str) -> None:
    """Raise ValueError if one of the texts does not match the whole pattern."""
    if pc.any(pc.invert(pc.match_substring_regex(strings, rf"\A(?:{pattern})\z"))).as_py():
        raise ValueError("the text is not in the expected form")


def _pad(values: np.ndarray, digits: int) -> pa.Array:
    return pc.utf8_lpad(from_numpy(values).cast(pa.string()), digits, "0")


# Rendering


def _text(values: pa.Array, _: str) -> pa.Array:
    return values.cast(pa.string())


def _floats(values: pa.Array, _: str) -> pa.Array:
    text = values.cast(pa.string())
    for ours, arrows in (("NaN", "nan"), ("Infinity", "inf"), ("-Infinity", "-inf")):
        text = pc.if_else(pc.equal(text, scalar(arrows, text.type)), scalar(ours, text.type), text)
    return text


def _decimals(values: pa.Array, _: str) -> pa.Array:
    text = values.cast(pa.string())
    scientific = pc.match_substring(text, "E")
    if not pc.any(scientific).as_py():
        return text
    plain = [None if v is None else format(Decimal(v), "f") for v in text.to_pylist()]
    return pa.array(plain, pa.string())


def _bytes(values: pa.Array, form: str) -> pa.Array:
    if form != "csv":
        encoded = [None if v is None else base64.b64encode(v) for v in values.to_pylist()]
        return pa.array(encoded, pa.binary()).cast(pa.string())
    plain = filled(values, b"")
    data = plain.buffers()[2]
    offsets = np.frombuffer(plain.buffers()[1], np.int32)[plain.offset :][: len(plain) + 1]
    if not len(plain):
        return values.cast(pa.string())
    raw = np.frombuffer(data, np.uint8)[offsets[0] : offsets[-1]] if data else HEX[:0, 0]
    doubled = (offsets.astype(np.int64) - offsets[0]) * 2
    if doubled[-1] > np.iinfo(np.int32).max:
        raise ValueError("the block is too large")
    buffers = [None, pa.py_buffer(doubled.astype(np.int32)), pa.py_buffer(HEX[raw].tobytes())]
    return _where(values.is_valid(), pa.Array.from_buffers(pa.string(), len(plain), buffers))


def _dates(values: pa.Array, _: str) -> pa.Array:
    days = _numpy(values.view(pa.int32()))
    if len(days) and days.min() == np.iinfo(np.int32).min:
        raise ValueError("a zero date or an infinite date")
    usual = _usual(days)
    if usual.all():
        return values.cast(pa.string())
    within = from_numpy(usual)
    shown = pc.if_else(within, values, scalar(None, values.type)).cast(pa.string())
    return _where(values.is_valid(), pc.if_else(within, shown, _expanded(days)))


def _timestamps(values: pa.Array, _: str) -> pa.Array:
    micro = _numpy(values)
    if len(micro) and micro.min() == np.iinfo(np.int64).min:
        raise ValueError("a zero date or an infinite date")
    day, rest = np.divmod(micro, DAY)
    usual = _usual(day)
    safe = from_numpy(np.where(usual, micro, 0)).view(pa.timestamp("us"))
    text = pc.replace_substring(safe.cast(pa.string()), " ", "T")
    if not usual.all():
        clock = from_numpy(rest).view(pa.time64("us")).cast(pa.string())
        text = pc.if_else(from_numpy(usual), text, _join(_expanded(day), "T", clock))
    text = _where(values.is_valid(), _short(text))
    return text if values.type.tz is None else _join(text, "+00:00")


def _usual(days: np.ndarray) -> np.ndarray:
    return (days >= FIRST_DAY) & (days <= LAST_DAY)


def _short(text: pa.Array) -> pa.Array:
    """Remove a fraction that is zero."""
    return pc.replace_substring_regex(text, r"\.000000$", "")


def _expanded(days: np.ndarray) -> pa.Array:
    """Format days with signed years of six digits
    (https://howardhinnant.github.io/date_algorithms.html)."""
    shifted = days + 719_468
    era, of_era = np.divmod(shifted, 146_097)
    year_of_era = (of_era - of_era // 1460 + of_era // 36_524 - of_era // 146_096) // 365
    of_year = of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    month = (5 * of_year + 2) // 153
    day = of_year - (153 * month + 2) // 5 + 1
    month = np.where(month < 10, month + 3, month - 9)
    year = year_of_era + era * 400 + (month <= 2)
    sign = _signs(year < 0, "+")
    return _join(sign, _pad(np.abs(year), 6), "-", _pad(month, 2), "-", _pad(day, 2))


def _signs(negative: np.ndarray, plus: str) -> pa.Array:
    text = pa.string()
    return pc.if_else(from_numpy(negative), scalar("-", text), scalar(plus, text))


def _times(values: pa.Array, _: str) -> pa.Array:
    micro = _numpy(values.cast(pa.time64("us")))
    if len(micro) and (micro.min() < 0 or micro.max() >= DAY):
        raise ValueError("the time is not within one day")
    return _short(values.cast(pa.time64("us")).cast(pa.string()))


def _durations(values: pa.Array, _: str) -> pa.Array:
    micro = _numpy(values.cast(pa.duration("us")))
    if len(micro) and micro.min() == np.iinfo(np.int64).min:
        raise ValueError("the number is out of range")
    seconds, rest = np.divmod(np.abs(micro), 1_000_000)
    minutes, second = np.divmod(seconds, 60)
    hour, minute = np.divmod(minutes, 60)
    sign = _signs(micro < 0, "")
    clock = (_pad(hour, 2), ":", _pad(minute, 2), ":", _pad(second, 2), ".", _pad(rest, 6))
    return _where(values.is_valid(), _short(_join(sign, *clock)))


# Parsing


def _plain(strings: pa.Array, arrow: pa.DataType, _: str) -> pa.Array:
    return strings.cast(arrow)


def _parse_bool(strings: pa.Array, _: pa.DataType, __: str) -> pa.Array:
    lower = pc.utf8_lower(strings)
    _all(lower, "true|false")
    return pc.equal(lower, "true")


def _hexadecimal(strings: pa.Array) -> bool:
    """Return whether a text may be one that Arrow reads as a hexadecimal number."""
    data = strings.buffers()[2]
    if data is None or not len(strings):
        return False
    offsets = np.frombuffer(strings.buffers()[1], np.int32)
    begin, end = offsets[strings.offset], offsets[strings.offset + len(strings)]
    raw = bytes(memoryview(data)[begin:end])
    return b"x" in raw or b"X" in raw


def _parse_int(strings: pa.Array, arrow: pa.DataType, _: str) -> pa.Array:
    if _hexadecimal(strings):
        raise ValueError("the text is not in the expected form")
    try:
        return strings.cast(arrow)
    except pa.ArrowInvalid:  # a sign that Arrow does not know
        _all(strings, r"[+-]?[0-9]+")
        return pc.replace_substring_regex(strings, r"^\+", "").cast(arrow)


NUMBER = r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|[+-]?Infinity|[+-]?inf"
SPECIAL = r"NaN|[+-]?Infinity|nan|[+-]?inf"


def _parse_float(strings: pa.Array, arrow: pa.DataType, _: str) -> pa.Array:
    try:
        values = strings.cast(arrow)
    except pa.ArrowInvalid:  # a sign that Arrow does not know
        _all(strings, NUMBER)
        values = pc.replace_substring_regex(strings, r"^\+", "").cast(arrow)
    # What is no number in digits is one of a few words; digits must not become one.
    odd = pc.fill_null(pc.invert(pc.is_finite(values)), False)
    if pc.any(odd).as_py():
        _all(strings.filter(odd), SPECIAL)
    return values


def _parse_decimal(strings: pa.Array, arrow: pa.DataType, _: str) -> pa.Array:
    return strings.cast(arrow)


def _parse_bytes(strings: pa.Array, _: pa.DataType, form: str) -> pa.Array:
    if form == "csv":
        _all(strings, r"(?:[0-9A-Fa-f]{2})*")
        decoded = [None if s is None else bytes.fromhex(s) for s in strings.to_pylist()]
    else:
        decoded = [
            None if s is None else base64.b64decode(s, validate=True) for s in strings.to_pylist()
        ]
    return pa.array(decoded, pa.binary())


UNUSUAL = r"\A[+-]"
ISO_DAY = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
SIGNED_DAY = r"[+-][0-9]{6,7}-[0-9]{2}-[0-9]{2}"
CLOCK = r"[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,6})?"
OFFSET = r"Z|z|[+-][0-9]{2}(?::?[0-9]{2})?"


def _parse_date(strings: pa.Array, arrow: pa.DataType, _: str) -> pa.Array:
    _all(strings, f"{ISO_DAY}|{SIGNED_DAY}")
    unusual = pc.match_substring_regex(strings, UNUSUAL)
    if not pc.any(unusual).as_py():
        return strings.cast(arrow)
    usual = pc.if_else(unusual, pa.scalar(None, pa.string()), strings).cast(arrow)
    days = [_day_of(s) if u else None for s, u in _pairs(strings, unusual)]
    return pc.coalesce(usual, pa.array(days, pa.int32()).view(arrow))


def _pairs(strings: pa.Array, chosen: pa.Array) -> list[tuple[str, bool]]:
    return list(zip(strings.to_pylist(), chosen.to_pylist(), strict=True))


def _day_of(text: str) -> int:
    """Return the day number of ``+YYYYYY-MM-DD``. Raises ValueError if the day does not exist."""
    year, month, day = (int(part) for part in text[1:].split("-"))
    year = -year if text[0] == "-" else year
    # Numpy's calendar is proleptic Gregorian for every year, as Arrow's is.
    begin = np.datetime64(0, "M").astype(int) + (year - 1970) * 12 + month - 1
    first = int(np.datetime64(int(begin), "M").astype("datetime64[D]").astype(int))
    after = int(np.datetime64(int(begin) + 1, "M").astype("datetime64[D]").astype(int))
    if not 1 <= month <= 12 or not 1 <= day <= after - first:
        raise ValueError("the date does not exist")
    return first + day - 1


def _parse_timestamp(strings: pa.Array, arrow: pa.DataType, _: str) -> pa.Array:
    offset = f"(?:{OFFSET})" if arrow.tz is not None else ""
    _all(strings, f"(?:{ISO_DAY}|{SIGNED_DAY})[T ]{CLOCK}{offset}")
    unusual = pc.match_substring_regex(strings, UNUSUAL)
    if not pc.any(unusual).as_py():
        return strings.cast(arrow)
    # The clock of an unusual day is read on the first day of all, and the days added.
    days = np.array(
        [_day_of(re.split("[T ]", s)[0]) if u else 0 for s, u in _pairs(strings, unusual)], object
    )
    near = pc.replace_substring_regex(strings, rf"\A{SIGNED_DAY}", "1970-01-01").cast(arrow)
    micro = _numpy(near).astype(object) + days * DAY
    return pa.array(
        [m if v else None for m, v in zip(micro, strings.is_valid().to_pylist(), strict=True)],
        pa.int64(),
    ).view(arrow)


def _parse_time(strings: pa.Array, arrow: pa.DataType, _: str) -> pa.Array:
    _all(strings, CLOCK)
    return _join("1970-01-01 ", strings).cast(pa.timestamp("us")).view(pa.int64()).view(arrow)


PARTS = (
    r"^(?P<sign>[+-]?)(?P<hour>[0-9]{2,10}):(?P<minute>[0-5][0-9]):(?P<second>[0-5][0-9])"
    r"(?:\.(?P<rest>[0-9]{1,6}))?$"
)


def _parse_duration(strings: pa.Array, arrow: pa.DataType, _: str) -> pa.Array:
    parts = pc.extract_regex(strings, PARTS)
    if parts.null_count != strings.null_count:
        raise ValueError("the text is not in the expected form")
    fields = {name: pc.struct_field(parts, name) for name in ("sign", "hour", "minute", "second")}
    units = (("hour", 3600), ("minute", 60), ("second", 1))
    seconds = pa.scalar(0, pa.int64())
    for name, size in units:
        seconds = pc.add_checked(seconds, pc.multiply_checked(fields[name].cast(pa.int64()), size))
    rest = pc.utf8_rpad(pc.struct_field(parts, "rest"), 6, "0").cast(pa.int64())
    micro = pc.add_checked(pc.multiply_checked(seconds, 1_000_000), rest)
    return pc.if_else(pc.equal(fields["sign"], "-"), pc.negate(micro), micro).view(arrow)


RENDERERS: Mapping[str, Callable[[pa.Array, str], pa.Array]] = {
    "bool": _text,
    "int": _text,
    "float": _floats,
    "decimal": _decimals,
    "string": _text,
    "binary": _bytes,
    "date": _dates,
    "time": _times,
    "timestamp": _timestamps,
    "duration": _durations,
}

PARSERS: Mapping[str, Callable[[pa.Array, pa.DataType, str], pa.Array]] = {
    "bool": _parse_bool,
    "int": _parse_int,
    "float": _parse_float,
    "decimal": _parse_decimal,
    "string": _plain,
    "binary": _parse_bytes,
    "date": _parse_date,
    "time": _parse_time,
    "timestamp": _parse_timestamp,
    "duration": _parse_duration,
}
