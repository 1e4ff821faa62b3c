"""Types of text columns, from a scan of every value: exact, or they stay text.

A column is bool, int64, decimal, float64, date, timestamp or timestamp with an offset if all of its
values are. A leading zero, ``+1``, ``-0``, a number of more than 76 digits, or values of several
forms make it text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

import pyarrow as pa
import pyarrow.compute as pc

from streams_engine.adapters.files.formats.text_values import CLOCK, ISO_DAY, OFFSET, parse
from streams_engine.errors import RowRejected

__all__ = ["NUMBERS", "TypeDetection"]

WHOLE = r"-?[1-9][0-9]{0,75}|0"
FRACTION = r"(?:-?[1-9][0-9]{0,75}|-?0)\.[0-9]{1,76}"
SCIENTIFIC = r"-?(?:[1-9][0-9]{0,30}|0)(?:\.[0-9]{1,30})?[eE][+-]?[0-9]{1,3}"
MOST_DIGITS = 76
SURE_DIGITS = 15
"""A decimal text of so many significant digits survives a double (DBL_DIG)."""


@dataclass
class TypeDetection:
    """The types that remain possible for one column after all values seen so far."""

    open: list[str] = field(default_factory=lambda: list(KINDS))
    whole_digits: int = 1
    scale: int = 0
    seen: bool = False
    scientific: bool = False
    """An exponent was seen: in CSV nothing else makes a number a float."""
    loose: bool = False
    """A number is a float without an exponent too, where a decimal would lose minus zero."""

    def show(self, values: pa.Array) -> None:
        """Look at some values; NULL says nothing."""
        if not self.open:
            return
        values = values.drop_null()
        if not len(values):
            return
        self.seen = True
        first = values.slice(0, 1)
        for part in (first, values):
            self.open = [kind for kind in self.open if KINDS[kind](self, part)]

    @property
    def arrow(self) -> pa.DataType:
        """Type of the column; text if no other type is certain."""
        if not self.seen or not self.open:
            return pa.string()
        kind = self.open[0]
        if kind == "float" and not (self.scientific or self.loose):
            return pa.string()
        if kind == "decimal":
            digits = self.whole_digits + self.scale
            make = pa.decimal128 if digits <= 38 else pa.decimal256
            return make(digits, self.scale)
        return TYPES[kind]


def _all(values: pa.Array, pattern: str) -> bool:
    return bool(pc.all(pc.match_substring_regex(values, rf"\A(?:{pattern})\z")).as_py())


def _boolean(_: TypeDetection, values: pa.Array) -> bool:
    return _all(values, "true|false")


def _integer(_: TypeDetection, values: pa.Array) -> bool:
    return _all(values, WHOLE) and _parses(values, pa.int64())


def _decimal(detection: TypeDetection, values: pa.Array) -> bool:
    if not _all(values, f"{WHOLE}|{FRACTION}") or _all_zero_sign(values):
        return False
    plain = pc.replace_substring(values, "-", "")
    point = pc.find_substring(plain, ".")
    size = pc.utf8_length(plain)
    whole = pc.if_else(pc.less(point, 0), size, point)
    scale = pc.if_else(pc.less(point, 0), 0, pc.subtract(pc.subtract(size, point), 1))
    detection.whole_digits = max(detection.whole_digits, pc.max(whole).as_py())
    detection.scale = max(detection.scale, pc.max(scale).as_py())
    return detection.whole_digits + detection.scale <= MOST_DIGITS


def _all_zero_sign(values: pa.Array) -> bool:
    """Return whether one of the values is minus zero, whose sign a decimal would lose."""
    return bool(pc.any(pc.match_substring_regex(values, r"\A-0(?:\.0+)?\z")).as_py())


def _double(detection: TypeDetection, values: pa.Array) -> bool:
    if not _all(values, f"{WHOLE}|-0|{FRACTION}|{SCIENTIFIC}"):
        return False
    if not _parses(values, pa.float64()):
        return False
    if pc.any(pc.match_substring_regex(values, "[eE]")).as_py():
        detection.scientific = True
    digits = pc.replace_substring_regex(values, r"[eE].*\z|[-.]", "")
    digits = pc.utf8_length(pc.utf8_ltrim(digits, "0"))
    exponent = pc.match_substring_regex(values, r"[eE][+-]?[3-9][0-9]{2}\z|[eE][+-]?2[89][0-9]\z")
    unsure = values.filter(pc.or_(pc.greater(digits, SURE_DIGITS), exponent))
    return all(Decimal(text) == Decimal(repr(float(text))) for text in unsure.to_pylist())


def _of_form(pattern: str, arrow: pa.DataType) -> Callable[[TypeDetection, pa.Array], bool]:
    return lambda _, values: _all(values, pattern) and _parses(values, arrow)


def _parses(values: pa.Array, arrow: pa.DataType) -> bool:
    try:
        parse(values, arrow, form="csv")
    except RowRejected:
        return False
    return True


TYPES: Mapping[str, pa.DataType] = {
    "bool": pa.bool_(),
    "int": pa.int64(),
    "float": pa.float64(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us"),
    "instant": pa.timestamp("us", "UTC"),
}

KINDS: Mapping[str, Callable[[TypeDetection, pa.Array], bool]] = {
    "bool": _boolean,
    "int": _integer,
    "decimal": _decimal,
    "float": _double,
    "date": _of_form(ISO_DAY, pa.date32()),
    "timestamp": _of_form(f"{ISO_DAY}[T ]{CLOCK}", pa.timestamp("us")),
    "instant": _of_form(f"{ISO_DAY}[T ]{CLOCK}(?:{OFFSET})", pa.timestamp("us", "UTC")),
}
"""In the order of preference; a whole number is also a decimal and a float."""

NUMBERS: Sequence[str] = ("int", "decimal", "float")
"""What the numbers of JSON can be."""
