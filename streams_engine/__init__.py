"""streams_engine: move a database, exactly, from Python.

::

    from streams_engine import Stream

    stream = Stream("mysql://root@127.0.0.1/shop", "postgresql://me@127.0.0.1/shop")
    print(stream.run().rows, "rows moved;", "equal" if stream.verify().ok else "NOT equal")

Importing this package is cheap: each name loads its module when it is first used (PEP 562), and
a driver loads when a stream opens the connection that needs it.
"""

import logging
from importlib import import_module
from typing import TYPE_CHECKING, Any

from streams_engine.errors import (
    AuthenticationFailed,
    CheckpointMismatch,
    ConfigError,
    ConnectionFailed,
    FencedOff,
    InternalError,
    LockTimeout,
    LogLost,
    LossyMapping,
    MalformedFile,
    NotFound,
    PermissionDenied,
    ProcessLost,
    ProtocolViolation,
    QueryFailed,
    QueryRefused,
    QueryStopped,
    QueryTimeout,
    RowRejected,
    SchemaChangeRefused,
    ServerError,
    SnapshotLost,
    SourceChanged,
    StateConflict,
    StoreFailed,
    StreamsError,
    TargetConflict,
    UnsupportedType,
)
from streams_engine.events import Event
from streams_engine.lifecycle import State

if TYPE_CHECKING:
    from streams_engine._version import __version__
    from streams_engine.aio import AsyncStream
    from streams_engine.alerts import Alert
    from streams_engine.api.openapi import openapi
    from streams_engine.api.schemas import schemas
    from streams_engine.config.options import StreamOptions
    from streams_engine.engine import AsyncEngine, Engine
    from streams_engine.health import Health
    from streams_engine.model import Finding, Severity
    from streams_engine.pipeline.snapshot.plan import ColumnPlan, Plan, TablePlan
    from streams_engine.query.result import QueryResult
    from streams_engine.stats import (
        ChangeStats,
        ConnectionStats,
        NodeStats,
        Stats,
        TableStats,
        VerificationStats,
    )
    from streams_engine.stream import Stream
    from streams_engine.verify.report import TableVerdict, VerifyReport

_LAZY = {
    "Alert": "streams_engine.alerts",
    "AsyncEngine": "streams_engine.engine",
    "AsyncStream": "streams_engine.aio",
    "ChangeStats": "streams_engine.stats",
    "ColumnPlan": "streams_engine.pipeline.snapshot.plan",
    "ConnectionStats": "streams_engine.stats",
    "Engine": "streams_engine.engine",
    "Finding": "streams_engine.model",
    "Health": "streams_engine.health",
    "NodeStats": "streams_engine.stats",
    "Plan": "streams_engine.pipeline.snapshot.plan",
    "QueryResult": "streams_engine.query.result",
    "Severity": "streams_engine.model",
    "Stats": "streams_engine.stats",
    "Stream": "streams_engine.stream",
    "StreamOptions": "streams_engine.config.options",
    "TablePlan": "streams_engine.pipeline.snapshot.plan",
    "TableStats": "streams_engine.stats",
    "TableVerdict": "streams_engine.verify.report",
    "VerificationStats": "streams_engine.stats",
    "VerifyReport": "streams_engine.verify.report",
    "__version__": "streams_engine._version",
    "openapi": "streams_engine.api.openapi",
    "schemas": "streams_engine.api.schemas",
}
"""The modules of the names that type checkers and editors see imported above."""

# Without logging set up, an application sees none of ours; errors are raised, not only logged.
logging.getLogger(__name__).addHandler(logging.NullHandler())

__all__ = [
    "Alert",
    "AsyncEngine",
    "AsyncStream",
    "AuthenticationFailed",
    "ChangeStats",
    "CheckpointMismatch",
    "ColumnPlan",
    "ConfigError",
    "ConnectionFailed",
    "ConnectionStats",
    "Engine",
    "Event",
    "FencedOff",
    "Finding",
    "Health",
    "InternalError",
    "LockTimeout",
    "LogLost",
    "LossyMapping",
    "MalformedFile",
    "NodeStats",
    "NotFound",
    "PermissionDenied",
    "Plan",
    "ProcessLost",
    "ProtocolViolation",
    "QueryFailed",
    "QueryRefused",
    "QueryResult",
    "QueryStopped",
    "QueryTimeout",
    "RowRejected",
    "SchemaChangeRefused",
    "ServerError",
    "Severity",
    "SnapshotLost",
    "SourceChanged",
    "State",
    "StateConflict",
    "Stats",
    "StoreFailed",
    "Stream",
    "StreamOptions",
    "StreamsError",
    "TablePlan",
    "TableStats",
    "TableVerdict",
    "TargetConflict",
    "UnsupportedType",
    "VerificationStats",
    "VerifyReport",
    "__version__",
    "openapi",
    "schemas",
]


if not TYPE_CHECKING:  # a type checker would take every name for one that is there

    def __getattr__(name: str) -> Any:
        """Import a public name at its first use."""
        if name not in _LAZY:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = getattr(import_module(_LAZY[name]), name)
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
