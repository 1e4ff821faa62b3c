"""How a stream does, from the facts of its stats document."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from streams_engine.display import html_block
from streams_engine.model import Finding, Severity, findings_html
from streams_engine.units import duration

__all__ = ["Health", "health_of", "worst"]

HealthStatus = Literal["ok", "degraded", "failed"]
ORDER: tuple[HealthStatus, ...] = ("ok", "degraded", "failed")

AT_REST: Mapping[str, tuple[str, str, str]] = {
    "PAUSED": ("paused", "The stream is paused.", "resume() lets it go on."),
    "STOPPED": (
        "stopped",
        "The stream was stopped.",
        "Start it again: it goes on from its checkpoint.",
    ),
    "TIME_LIMIT_REACHED": (
        "stopped",
        "The stream ended at its time limit.",
        "Start it again: it goes on from its checkpoint.",
    ),
    "EVENT_LIMIT_REACHED": (
        "stopped",
        "The stream ended at its limit of rows.",
        "Start it again: it goes on from its checkpoint.",
    ),
}
"""By state: code, message and remedy of a stream that does not run, though its work is not done."""


@dataclass(frozen=True, slots=True)
class Health:
    """The health of a stream."""

    status: HealthStatus
    """failed: it ended so; degraded: it waits for a server, is paused, was stopped or cut by a
    limit, or rows are missing on the target."""
    lag_seconds: float | None
    """Of a cdc that has not ended: the age of the oldest commit of the source that is, or may be,
    not on the target; at least as long as an outage lasts."""
    retained_bytes: int | None
    """Bytes of log that the source retains for the stream."""
    unmatched: int
    """Updates and deletes whose row was not on the target."""
    quarantined: int
    """Rows in the quarantine."""
    since: str | None
    """Since when it waits for a server or a lock."""
    findings: tuple[Finding, ...]
    """Why it is not ok."""

    def __str__(self) -> str:
        lag = "" if self.lag_seconds is None else f", lag {duration(self.lag_seconds)}"
        reasons = "".join(f"; {finding.message}" for finding in self.findings)
        return f"{self.status}{lag}{reasons}"

    def _repr_html_(self) -> str:
        return html_block(f"Health: {self}", findings_html(self.findings))

    def to_dict(self) -> dict[str, Any]:
        """Return the document of the health."""
        return {
            "status": self.status,
            "lagSeconds": None if self.lag_seconds is None else round(self.lag_seconds, 3),
            "retainedBytes": self.retained_bytes,
            "unmatched": self.unmatched,
            "quarantined": self.quarantined,
            "since": self.since,
            "findings": [
                {
                    "severity": str(finding.severity),
                    "code": finding.code,
                    "object": finding.object,
                    "message": finding.message,
                    "remedy": finding.remedy,
                }
                for finding in self.findings
            ],
        }


def health_of(stats: Mapping[str, Any]) -> Health:
    """Return the health that a stats document shows."""
    changes, connection = stats.get("changes") or {}, stats["connection"]
    waits = connection["state"] == "waiting"
    target = next(node["stat"] for node in stats["nodes"] if node["type"] == "target")
    quarantined, unmatched = target["failedCounter"], changes.get("unmet", 0)
    lag = changes.get("lagSeconds")
    if waits and stats.get("changes") is not None:
        lag = max(lag or 0.0, _seconds_since(connection["since"]))
    findings = [*_failure(stats), *_rest(stats), *_wait(stats)]
    if quarantined:
        findings.append(Finding(
            Severity.WARNING, "quarantined", stats["name"], 
            f"{quarantined:,} rows are quarantined.",
            "Read the reasons in the quarantine table, or file.",
        ))  # fmt: skip
    if unmatched:
        findings.append(Finding(
            Severity.WARNING, "unmatched", stats["name"],
            f"{unmatched:,} updates and deletes found no row on the target.",
            "Compare with verify(); verify(repair=True) writes the rows again.",
        ))  # fmt: skip
    findings += _difference(stats)
    failed = stats["status"] == "FAILED"
    status: HealthStatus = "failed" if failed else "degraded" if findings else "ok"
    retained = changes.get("retainedBytes")
    since = connection["since"] if waits else None
    return Health(status, lag, retained, unmatched, quarantined, since, tuple(findings))


def worst(statuses: Iterable[HealthStatus]) -> HealthStatus:
    """Return the worst of several; ok if there is none."""
    return max(statuses, key=ORDER.index, default="ok")


def _failure(stats: Mapping[str, Any]) -> Iterable[Finding]:
    error = stats["error"]
    if stats["status"] == "FAILED" and error is not None:
        yield Finding(
            Severity.ERROR, error["code"], stats["name"], error["message"], error["remedy"]
        )


def _rest(stats: Mapping[str, Any]) -> Iterable[Finding]:
    if (rest := AT_REST.get(stats["status"])) is not None:
        code, message, remedy = rest
        yield Finding(Severity.WARNING, code, stats["name"], message, remedy)


def _wait(stats: Mapping[str, Any]) -> Iterable[Finding]:
    connection = stats["connection"]
    if connection["state"] == "waiting":
        yield Finding(
            Severity.WARNING, connection["code"], stats["name"], connection["reason"],
            "The stream goes on by itself once this is over.",
        )  # fmt: skip


def _difference(stats: Mapping[str, Any]) -> Iterable[Finding]:
    verification = stats.get("verification")
    if verification is not None and verification["ok"] is False:
        tables = ", ".join(verification["different"])
        yield Finding(
            Severity.WARNING, "verification", tables,
            f"The last comparison found {verification['differing']:,} rows that differ.",
            "Compare with verify(); verify(repair=True) writes the rows again.",
        )  # fmt: skip


def _seconds_since(moment: str) -> float:
    # The document has nine digits of a second, and a time of Python six.
    when = datetime.fromisoformat(f"{moment[:26]}+00:00")
    return max(0.0, (datetime.now(UTC) - when).total_seconds())
