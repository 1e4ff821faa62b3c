"""Filters of a selection as Arrow kernels, with SQL's meaning: NULL never matches.

Values are converted to the column's type; if that is impossible, the filter is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from streams_engine.adapters.files.formats.text_values import parse, render
from streams_engine.errors import ConfigError, RowRejected
from streams_engine.model import Filter

__all__ = ["kept"]

Test = Callable[[pa.Array, Any, Filter], pa.Array]


def kept(batch: pa.RecordBatch, filters: Sequence[Filter]) -> pa.RecordBatch:
    """Return the rows that match all filters. Raises `ConfigError` naming the column."""
    for chosen in filters:
        test = OPERATORS.get(chosen.operator.upper().strip())
        if test is None or chosen.column not in batch.schema.names:
            what = "operator" if test is None else "column"
            raise ConfigError(
                f"Filter on {chosen.column}: the table has no such {what}.", column=chosen.column
            )
        try:
            matches = test(batch.column(chosen.column), chosen.value, chosen)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, RowRejected, OverflowError):
            raise _refused(chosen, batch.schema.field(chosen.column).type) from None
        batch = batch.filter(matches.fill_null(False))
    return batch


def _refused(chosen: Filter, kind: pa.DataType) -> ConfigError:
    return ConfigError(
        f"Filter on {chosen.column}: the value of {chosen.operator} is not a valid {kind}.",
        remedy="Write the value as a literal of the column's type.",
        column=chosen.column,
    )


def _pair(values: pa.Array, value: Any, chosen: Filter) -> tuple[pa.Array, pa.Scalar]:
    """Return the column and the value in one type in which they compare exactly."""
    kind = values.type
    if pa.types.is_integer(kind) or pa.types.is_decimal(kind):
        number = _number(value, chosen, kind)
        scale = max(0, -int(number.as_tuple().exponent), getattr(kind, "scale", 0))
        exact = pa.decimal256(76, scale)
        return values.cast(exact), pa.scalar(number, exact)
    text = value.decode() if isinstance(value, bytes) else str(value)
    if isinstance(value, bool):
        text = text.lower()
    return values, parse(pa.array([text]), kind, form="csv")[0]


def _number(value: Any, chosen: Filter, kind: pa.DataType) -> Decimal:
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        raise _refused(chosen, kind) from None
    if not number.is_finite():
        raise _refused(chosen, kind)
    return number


def _compare(kernel: Callable[[pa.Array, pa.Scalar], pa.Array]) -> Test:
    def test(values: pa.Array, value: Any, chosen: Filter) -> pa.Array:
        if value is None:
            return pa.nulls(len(values), pa.bool_())
        return kernel(*_pair(values, value, chosen))

    return test


EQUAL = _compare(pc.equal)


def _several(value: Any, chosen: Filter) -> list[Any]:
    if not isinstance(value, Sequence) or isinstance(value, str | bytes):
        raise ConfigError(
            f"Filter on {chosen.column}: {chosen.operator} expects a list.", column=chosen.column
        )
    return list(value)


def _in(values: pa.Array, value: Any, chosen: Filter) -> pa.Array:
    matches = pa.array([False] * len(values), pa.bool_())
    for one in _several(value, chosen):
        matches = pc.or_kleene(matches, EQUAL(values, one, chosen))
    return matches


def _between(values: pa.Array, value: Any, chosen: Filter) -> pa.Array:
    bounds = _several(value, chosen)
    if len(bounds) != 2:
        raise ConfigError(
            f"Filter on {chosen.column}: BETWEEN expects two values.", column=chosen.column
        )
    low = _compare(pc.greater_equal)(values, bounds[0], chosen)
    return pc.and_kleene(low, _compare(pc.less_equal)(values, bounds[1], chosen))


def _matching(kernel: Callable[[pa.Array, str], pa.Array]) -> Test:
    def test(values: pa.Array, value: Any, _: Filter) -> pa.Array:
        if value is None:
            return pa.nulls(len(values), pa.bool_())
        return kernel(render(values, form="csv"), str(value))

    return test


def _not(test: Test) -> Test:
    return lambda values, value, chosen: pc.invert(test(values, value, chosen))


LIKE = _matching(pc.match_like)
CONTAINS = _matching(pc.match_substring)

OPERATORS: Mapping[str, Test] = {
    "=": EQUAL,
    "!=": _compare(pc.not_equal),
    "<": _compare(pc.less),
    "<=": _compare(pc.less_equal),
    ">": _compare(pc.greater),
    ">=": _compare(pc.greater_equal),
    "IN": _in,
    "NOT IN": _not(_in),
    "LIKE": LIKE,
    "NOT LIKE": _not(LIKE),
    "BETWEEN": _between,
    "CONTAINS": CONTAINS,
    "NOT_CONTAINS": _not(CONTAINS),
    "STARTS_WITH": _matching(pc.starts_with),
    "ENDS_WITH": _matching(pc.ends_with),
    "IS NULL": lambda values, _, __: pc.is_null(values),
    "IS NOT NULL": lambda values, _, __: pc.is_valid(values),
}
"""The operators of the stream document, and what each does."""
