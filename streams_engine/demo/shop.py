"""A generated shop: the same data each time, made by the server itself, set by set."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.resources import files
from string import Template

from streams_engine.model import Dialect

__all__ = ["sizes", "statements"]

_SHARES: Mapping[str, float] = {
    "customers": 0.08,
    "addresses": 0.10,
    "products": 0.02,
    "orders": 0.20,
    "payments": 0.15,
    "reviews": 0.03,
    "audit": 0.02,
}
_CATEGORIES = 120
_LINES_PER_ORDER = 2


def sizes(rows: int) -> dict[str, int]:
    """Return how many rows each table gets, together about ``rows``."""
    made = {table: max(1, int(rows * share)) for table, share in _SHARES.items()}
    # every customer has an address to be shipped to
    made["addresses"] = max(made["addresses"], made["customers"])
    made["categories"] = _CATEGORIES
    made["order_items"] = made["orders"] * _LINES_PER_ORDER
    return made


def statements(dialect: Dialect, rows: int) -> Iterator[str]:
    """Yield the SQL statements that build and fill the shop, in order (up to ten million rows)."""
    script = files(__package__).joinpath(f"shop_{dialect}.sql").read_text(encoding="utf-8")
    made = sizes(rows)
    text = Template(script).substitute(made, most=max(made.values()))
    for statement in text.split(";\n"):
        if statement.strip():
            yield statement.strip()
