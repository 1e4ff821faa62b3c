"""The conditions of a selection over Python values."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from streams_engine.model.extracts import Filter

__all__ = ["passes"]

TESTS: Mapping[str, Callable[[Any, Any], bool]] = {
    "=": lambda a, b: bool(a == b),
    "!=": lambda a, b: bool(a != b),
    "<": lambda a, b: bool(a < b),
    "<=": lambda a, b: bool(a <= b),
    ">": lambda a, b: bool(a > b),
    ">=": lambda a, b: bool(a >= b),
    "IN": lambda a, b: a in b,
    "NOT IN": lambda a, b: a not in b,
    "BETWEEN": lambda a, b: bool(b[0] <= a <= b[1]),
    "CONTAINS": lambda a, b: b in a,
    "NOT_CONTAINS": lambda a, b: b not in a,
    "STARTS_WITH": lambda a, b: bool(a.startswith(b)),
    "ENDS_WITH": lambda a, b: bool(a.endswith(b)),
    "LIKE": lambda a, b: _like(b).fullmatch(a) is not None,
    "NOT LIKE": lambda a, b: _like(b).fullmatch(a) is None,
    "IS NOT NULL": lambda a, b: True,
    "IS NULL": lambda a, b: False,
}


def passes(chosen: Filter, value: Any) -> bool:
    """Return True if a value satisfies a condition; NULL satisfies only IS NULL."""
    if value is None:
        return chosen.operator == "IS NULL"
    wanted = chosen.value
    wanted = [_as(value, w) for w in wanted] if isinstance(wanted, list) else _as(value, wanted)
    return TESTS[chosen.operator](value, wanted)


def _as(value: Any, wanted: Any) -> Any:
    """Convert a value of a document to the type of the value that it is compared with."""
    if isinstance(value, Decimal):
        return Decimal(str(wanted))
    if isinstance(value, datetime) and isinstance(wanted, str):
        return datetime.fromisoformat(wanted)
    if isinstance(value, date) and isinstance(wanted, str):
        return date.fromisoformat(wanted)
    return wanted


def _like(pattern: str) -> re.Pattern[str]:
    """Compile a LIKE pattern: ``%`` is anything, ``_`` one character, a backslash escapes the next
    one."""
    parts = re.findall(r"\\(.)|(%)|(_)|([^\\%_]+)", pattern, re.S)
    text = "".join(
        ".*" if many else "." if one else re.escape(quoted or plain)
        for quoted, many, one, plain in parts
    )
    return re.compile(text, re.S)
