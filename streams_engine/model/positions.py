"""Positions of a source's log."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = [
    "Position",
]


Position = Mapping[str, Any]
"""Where a source's log stands, JSON-able and in the source's own terms.

PostgreSQL: ``{"system": ..., "timeline": ..., "lsn": "0/1A2B"}``; MySQL:
``{"server": uuid, "file": ..., "pos": ..., "gtid": ...}``.
"""
