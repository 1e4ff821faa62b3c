"""Findings that a check, a plan or a run reports about an object."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

__all__ = [
    "Finding",
    "Severity",
]


class Severity(StrEnum):
    """Severity of a finding: an ERROR prevents the start."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check or a mapping reports about an object."""

    severity: Severity
    code: str
    """Stable, kebab-case, as ``zero-dates`` or ``fulltext-index``."""
    object: str
    message: str
    remedy: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict, hash=False, compare=False)
