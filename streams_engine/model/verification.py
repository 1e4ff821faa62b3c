"""How far a verification came, so that one which was interrupted goes on from there."""

from __future__ import annotations

from dataclasses import dataclass

from streams_engine.model.tables import TableId

__all__ = ["EqualRange", "VerificationProgress"]


@dataclass(frozen=True, slots=True)
class EqualRange:
    """Rows that were found equal, by their key: ``low`` <= key < ``high``."""

    low: int
    high: int
    rows: int


@dataclass(frozen=True, slots=True)
class VerificationProgress:
    """What one verification found equal of a table. What differs is not kept: it is compared
    again, so no key and no value of a row is in it."""

    table: TableId
    """The source's."""
    comparison: str
    """Digest of what is compared with what, and how: others do not go on from it."""
    begun: float
    """Unix seconds."""
    equal: tuple[EqualRange, ...] = ()
    by_value: tuple[str, ...] = ()
    """Columns that were found to have other texts on both ends, and are compared by value."""
    repaired: int = 0
    """Rows that were written again before it was interrupted."""
    rows: int | None = None
    """All of the table was found equal, so many rows; None: not yet."""
    notes: tuple[str, ...] = ()
