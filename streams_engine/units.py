"""Numbers as people read them."""

from __future__ import annotations

__all__ = ["about_rows", "count", "duration", "moment", "plural", "rate", "size"]

_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")


def count(number: int) -> str:
    """Format a number with thousands separators: ``1,234,567``."""
    return f"{number:,}"


def plural(number: int, noun: str) -> str:
    """Format a number of things: ``1 table``, ``2,000 tables``."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def about_rows(rows: int | None) -> str:
    """Format how many rows a server's statistics say that a table has; None: they do not say."""
    return "rows unknown" if rows is None else f"about {plural(rows, 'row')}"


def size(number: float) -> str:
    """Format bytes in decimal units with three significant digits: ``1.23 MB``."""
    power = 0
    while number >= 999.5 and power < len(_UNITS) - 1:
        number /= 1000
        power += 1
    digits = 0 if power == 0 or number >= 99.95 else 1 if number >= 9.995 else 2
    return f"{number:.{digits}f} {_UNITS[power]}"


def rate(number: int, seconds: float) -> str:
    """Format a number per second; ``-`` if no time has passed yet."""
    return f"{number / seconds:,.0f}/s" if seconds > 0 and number else "-"


def duration(seconds: float) -> str:
    """Format seconds as ``0.4 s``, ``12 s``, ``3:05`` or ``1:02:03``."""
    if seconds < 59.5:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def moment(rfc3339: str | None) -> str:
    """Format a moment to the second, in UTC: ``2026-11-29 18:54:28``."""
    return "" if rfc3339 is None else rfc3339[:19].replace("T", " ")
