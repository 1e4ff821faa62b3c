"""The documents that methods return, as typed dictionaries, of which their schemas are made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NotRequired

from pydantic import ConfigDict
from typing_extensions import TypedDict

__all__ = [
    "DOCUMENTS",
    "AlertDict",
    "ChangesDict",
    "ColumnPlanDict",
    "ConnectionStateDict",
    "DifferenceDict",
    "ErrorDict",
    "FindingDict",
    "HealthDict",
    "LogDict",
    "NodeDict",
    "NodeStatDict",
    "ObjectDict",
    "PingDict",
    "PlanDict",
    "ReportDict",
    "RunDict",
    "StatsDict",
    "TableDict",
    "TablePlanDict",
    "VerdictDict",
    "VerificationResultDict",
]

Status = Literal[
    "READY", "RUNNING", "PAUSED", "STOPPED", "FINISHED", "FAILED", "TIME_LIMIT_REACHED",
    "EVENT_LIMIT_REACHED",
]  # fmt: skip
Category = Literal["general", "progress", "stat", "sql", "error", "s3"]
STRICT = ConfigDict(extra="forbid")


class ErrorDict(TypedDict):
    """An error: `StreamsError.to_dict`."""

    __pydantic_config__ = STRICT  # type: ignore[misc]

    code: str
    category: str
    message: str
    remedy: str | None
    retryable: bool
    details: dict[str, Any]


class FindingDict(TypedDict):
    """A finding about an object."""

    __pydantic_config__ = STRICT  # type: ignore[misc]

    severity: Literal["info", "warning", "error"]
    code: str
    object: str | None
    message: str
    remedy: str | None


class ObjectDict(TypedDict):
    """An object of the source that is not moved."""

    __pydantic_config__ = STRICT  # type: ignore[misc]

    kind: str
    name: str


class NodeStatDict(TypedDict):
    """The counters of one end: sizes in bytes, the duration in nanoseconds, the rate in bytes a
    second."""

    __pydantic_config__ = STRICT  # type: ignore[misc]

    failedCounter: int
    counter: int
    prevDataSize: int
    sumDataSize: int
    reportingInterval: int
    start: str | None
    duration: int
    avgRate: int
    status: Status


class NodeDict(TypedDict):
    """One end of a stream."""

    __pydantic_config__ = STRICT  # type: ignore[misc]

    id: str
    type: Literal["source", "target"]
    stat: NodeStatDict


class TableDict(TypedDict):
    """Progress of one table."""

    __pydantic_config__ = STRICT  # type: ignore[misc]

    name: str
    rows: int
    failed: int
    bytes: int
    estimatedRows: int | None
    phase: str
    seconds: float
    inserted: int
    updated: int
    deleted: int


class ConnectionStateDict(TypedDict):
    """Whether the stream is connected, or since when and why it waits."""

    __pydantic_config__ = STRICT  # type: ignore[misc]

    state: Literal["connected", "waiting"]
    since: str | None
    reason: str | None
    code: str | None
    attempts: int


class VerificationResultDict(TypedDict):
    """The last comparison in the background of a cdc."""

    __pydantic_config__ = STRICT  # type: ignore[misc]

    at: str
    ok: bool | None
    tables: int
    different: list[str]
    unknown: list[str]
    differing: int
    seconds: float
    error: str | None


class ChangesDict(TypedDict):
    """Progress of a cdc."""

    __pydantic_config__ = STRICT  # type: ignore[misc]

    transactions: int
    unmet: int
    reconnects: int
    lagBytes: int | None
    lagSeconds: float | None
    retainedBytes: int | None


class StatsDict(TypedDict):
    """The stats document: `Stats.to_dict`."""

    __pydantic_config__ = STRICT  # type: ignore[misc]

    configID: str
    streamID: str
    name: str
    status: Status
    phase: str
    nodes: list[NodeDict]
    tables: list[TableDict]
    findings: list[FindingDict]
    leftBehind: list[ObjectDict]
    error: ErrorDict | None
    connection: ConnectionStateDict
    verification: VerificationResultDict | None
    changes: NotRequired[ChangesDict]


class DifferenceDict(TypedDict):
    """A row that differs: names of columns, never values but those of the key."""

    __pydantic_config__ = STRICT  # type: ignore[misc]

    key: list[str | None]
    kind: Literal["missing", "extra", "different"]
    columns: list[str]


class VerdictDict(TypedDict):
    """The comparison of one table."""

    __pydantic_config__ = STRICT  # type: ignore[misc]

    table: str
    sourceRows: int
    targetRows: int
    equal: bool | None
    differing: int
    keys: list[str]
    kinds: list[str]
    differences: list[DifferenceDict]
    unsettled: int
    note: str | None
    repaired: int
    seconds: float
    bytesRead: int


class ReportDict(TypedDict):
    """A verification: `VerifyReport.to_dict`."""

    __pydantic_config__ = STRICT  # type: ignore[misc]

    ok: bool
    sameStructure: bool
    tables: list[VerdictDict]
    structure: list[FindingDict]


class ColumnPlanDict(TypedDict):
    """What becomes of a column."""

    __pydantic_config__ = STRICT  # type: ignore[misc]

    name: str
    sourceType: str
    arrowType: str
    targetType: str
    notes: list[str]


class TablePlanDict(TypedDict):
    """What becomes of a table."""

    __pydantic_config__ = STRICT  # type: ignore[misc]

    source: str
    target: str
    rows: int | None
    bytes: int | None
    changes: list[str]
    findings: int
    columns: list[ColumnPlanDict]


class PlanDict(TypedDict):
    """What a run would do: `Plan.to_dict`."""

    __pydantic_config__ = STRICT  # type: ignore[misc]

    tables: list[TablePlanDict]
    statements: list[str]
    findings: list[FindingDict]
    leftBehind: list[ObjectDict]


class RunDict(TypedDict):
    """A run of a config in an `Engine`."""

    __pydantic_config__ = STRICT  # type: ignore[misc]

    id: str
    configID: str
    name: str
    status: Status
    started: str | None
    ended: str | None
    rows: int
    quarantined: int
    bytes: int
    error: ErrorDict | None


class LogDict(TypedDict):
    """A record of a run's log."""

    __pydantic_config__ = STRICT  # type: ignore[misc]

    time: float
    level: str
    category: Category
    stream: str
    event: str
    message: str
    table: str | None
    details: dict[str, Any]


class HealthDict(TypedDict):
    """How a stream or an `Engine` does."""

    __pydantic_config__ = STRICT  # type: ignore[misc]

    status: Literal["ok", "degraded", "failed"]
    lagSeconds: float | None
    retainedBytes: int | None
    unmatched: int
    quarantined: int
    since: str | None
    findings: list[FindingDict]


class AlertDict(TypedDict):
    """A threshold that was crossed, a value that is back below it, or a stream that failed."""

    __pydantic_config__ = STRICT  # type: ignore[misc]

    stream: str
    kind: Literal["lag", "retained", "quarantined", "silent", "failed"]
    state: Literal["alert", "clear"]
    value: float
    threshold: float
    time: float
    message: str


class PingDict(TypedDict):
    """The answer of a ping."""

    __pydantic_config__ = STRICT  # type: ignore[misc]

    ping: Literal["ok", "failed"]
    error: NotRequired[str]
    code: NotRequired[str]
    remedy: NotRequired[str | None]


DOCUMENTS: Mapping[str, Any] = {
    "stats": StatsDict,
    "error": ErrorDict,
    "report": ReportDict,
    "plan": PlanDict,
    "run": RunDict,
    "log": LogDict,
    "finding": FindingDict,
    "health": HealthDict,
    "alert": AlertDict,
    "ping": PingDict,
}
"""By name of the schema: the document that a method returns."""
