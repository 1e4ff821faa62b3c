"""Parts of lists: the items of a page, and how many there are on all pages."""

from __future__ import annotations

from typing import Any, TypedDict

import pyarrow as pa

__all__ = ["DataPage", "FilePage", "Page"]


class Page(TypedDict):
    """A part of a list."""

    items: list[dict[str, Any]]
    """The documents of this page."""
    total: int
    """How many pass the filters, on all pages."""
    limit: int | None
    """How many were asked for at most; None: all."""
    offset: int
    """How many were left out before the first."""


class FilePage(TypedDict):
    """A part of a folder's files."""

    items: list[dict[str, Any]]
    """The documents of this page."""
    total: int | None
    """How many pass the filters; None where they were not to be counted."""
    limit: int | None
    """How many were asked for at most; None: all."""
    offset: int
    """How many were left out before the first."""


class DataPage(TypedDict):
    """A part of the rows of a table, a file or a query."""

    items: pa.Table
    """The rows of this page."""
    total: int | None
    """How many rows pass the filters; None where they were not to be counted."""
    limit: int | None
    """How many were asked for at most; None: all."""
    offset: int
    """How many were left out before the first."""
