"""Findings that a check, a plan or a run reports about an object."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from streams_engine.display import html_table

__all__ = [
    "Finding",
    "Severity",
    "findings_html",
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

    def __str__(self) -> str:
        text = f"{self.severity} {self.code}: {self.object}: {self.message}"
        return f"{text} {self.remedy}" if self.remedy else text

    def _repr_html_(self) -> str:
        return findings_html([self])


def findings_html(findings: Iterable[Finding]) -> str:
    """Return findings as an HTML table, the gravest first; empty without any."""
    order = list(reversed(Severity))
    rows = [
        (f.severity, f.code, f.object, f.message, f.remedy)
        for f in sorted(findings, key=lambda f: order.index(f.severity))
    ]
    headers = ("severity", "code", "object", "message", "remedy")
    return html_table(headers, rows) if rows else ""
