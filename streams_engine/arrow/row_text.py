"""Values of a rejected row as text, for the quarantine and for reports.

Arrow holds dates that Python's types cannot, so values are not converted through those if that may
fail.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

__all__ = ["row_texts", "value_text"]

NO_DATE = "a zero or partial date, or an infinite one"
"""What the minimum of a date's storage stands for: neither Arrow nor Python has such dates."""


def row_texts(row: pa.RecordBatch) -> dict[str, str | None]:
    """Return the first row of a batch as texts by column name."""
    return {name: value_text(row.column(name)[0]) for name in row.schema.names}


def value_text(value: pa.Scalar) -> str | None:
    """Return one value as text, bytes in hexadecimal; None for NULL."""
    if not value.is_valid:
        return None
    if pa.types.is_date32(value.type) or pa.types.is_timestamp(value.type):
        return _date_text(value)
    try:
        plain = value.as_py()
    except (OverflowError, ValueError):
        return str(value.cast(pa.string()))
    return plain.hex() if isinstance(plain, bytes) else str(plain)


def _date_text(value: pa.Scalar) -> str:
    """Return a date in ISO 8601; years before 1 as PostgreSQL writes them."""
    is_date = pa.types.is_date32(value.type)
    unit: Any = "D" if is_date else value.type.unit
    number = value.value
    if number == np.iinfo(np.int32 if is_date else np.int64).min:
        return NO_DATE
    text = str(np.datetime64(number, unit)).replace("T", " ")
    zone = "" if is_date or value.type.tz is None else "+00:00"
    year, rest = text[: text.index("-", 1)], text[text.index("-", 1) :]
    if int(year) >= 1:
        return text + zone
    return f"{1 - int(year):04d}{rest}{zone} BC"
