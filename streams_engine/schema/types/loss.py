"""Tell where a chosen type would lose part of a value: refused unless allowed."""

from __future__ import annotations

from streams_engine.model import NativeType

__all__ = ["describe_loss"]

FRACTIONS = {"time", "timetz", "timestamp", "timestamptz", "datetime"}
MOMENTS = {"timestamp", "timestamptz", "datetime"}
FLOATS = {"float8": 53, "double": 53, "float4": 24, "float": 24}
"""Bits of the significand."""
DECIMALS = {"numeric", "decimal"}


def describe_loss(source: NativeType, target: NativeType, *, postgres_source: bool) -> str | None:
    """Describe what of a value would be rounded or cut off silently; None if nothing is.

    A value that does not fit at all is no matter of this function: the server refuses it.
    """
    if source.name in FRACTIONS and target.name in FRACTIONS:
        has, keeps = _digits(source, postgres_source), _digits(target, True)
        return f"fractions of a second beyond {keeps} digits" if keeps < has else None
    if source.name in MOMENTS and target.name == "date":
        return "the time of day"
    if source.name in MOMENTS and target.name == "time":
        return "the date"
    if source.name in DECIMALS and target.name in DECIMALS and target.args:
        scale = target.args[1] if len(target.args) > 1 else 0
        had = source.args[1] if len(source.args) > 1 else 0
        unbounded = not source.args and postgres_source
        return f"decimals beyond {scale}" if unbounded or scale < had else None
    if source.name in DECIMALS | set(FLOATS) and target.name in FLOATS:
        exact = FLOATS.get(source.name, 1000)
        return "digits beyond a float's" if FLOATS[target.name] < exact else None
    if source.name in FLOATS and target.name in DECIMALS and target.args:
        return "digits beyond the column's scale"
    return None


def _digits(native: NativeType, postgres: bool) -> int:
    """Return how many fractional digits of a second the type keeps. The default is 6 in PostgreSQL,
    0 in MySQL."""
    if native.args:
        return native.args[0]
    return 6 if postgres else 0
