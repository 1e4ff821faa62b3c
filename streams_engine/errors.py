"""Every error that the library raises, each with a stable code.

::

    StreamsError
    ├── ConfigError              INVALID_CONFIG           a document or an argument is wrong
    ├── StateConflict            STATE_CONFLICT           the state forbids the call
    ├── NotFound                 NOT_FOUND                a named object does not exist
    ├── ConnectionFailed         CONNECTION_FAILED        a server cannot be reached
    │   ├── AuthenticationFailed AUTHENTICATION_FAILED    credentials were refused
    │   └── SnapshotLost         SNAPSHOT_LOST            the consistent snapshot is gone
    ├── PermissionDenied         PERMISSION_DENIED        the account lacks a privilege
    ├── LockTimeout              LOCK_TIMEOUT             a lock was not acquired in time
    ├── TargetConflict           TARGET_CONFLICT          existing objects on the target forbid it
    ├── UnsupportedType          UNSUPPORTED_TYPE         a type has no mapping
    ├── LossyMapping             LOSSY_MAPPING            a mapping would lose values
    ├── RowRejected              ROW_REJECTED             a row cannot be stored
    ├── MalformedFile            MALFORMED_FILE           a file does not match its format
    ├── CheckpointMismatch       CHECKPOINT_MISMATCH      it is of another source or config
    ├── SourceChanged            SOURCE_CHANGED           tables changed during the snapshot
    ├── ProtocolViolation        PROTOCOL_VIOLATION       bytes that the protocol forbids
    ├── LogLost                  LOG_LOST                 the log has a gap, or is of another server
    ├── SchemaChangeRefused      SCHEMA_CHANGE_REFUSED    a schema change is not carried over
    ├── FencedOff                FENCED_OFF               another process runs the stream
    ├── StoreFailed              STORE_FAILED             an Engine's file cannot be used
    ├── ProcessLost              PROCESS_LOST             a process ended during its work
    ├── QueryRefused             QUERY_REFUSED            a statement is no SELECT, or names
    │                                                     what does not exist
    ├── QueryFailed              QUERY_FAILED             a statement over several sources failed
    ├── QueryStopped             QUERY_STOPPED            somebody cancelled it
    │   └── QueryTimeout         QUERY_TIMEOUT            it took longer than its timeout
    ├── ServerError              SERVER_ERROR             any other error of a database
    └── InternalError            INTERNAL_ERROR           a bug in this library

A message names the object and what was expected; ``remedy`` says what to do. Neither
ever holds a secret or a value of a row.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, TypeVar

__all__ = [
    "AuthenticationFailed",
    "CheckpointMismatch",
    "ConfigError",
    "ConnectionFailed",
    "FencedOff",
    "InternalError",
    "LockTimeout",
    "LogLost",
    "LossyMapping",
    "MalformedFile",
    "NotFound",
    "PermissionDenied",
    "ProcessLost",
    "ProtocolViolation",
    "QueryFailed",
    "QueryRefused",
    "QueryStopped",
    "QueryTimeout",
    "RowRejected",
    "SchemaChangeRefused",
    "ServerError",
    "SnapshotLost",
    "SourceChanged",
    "StateConflict",
    "StoreFailed",
    "StreamsError",
    "TargetConflict",
    "UnsupportedType",
]


class StreamsError(Exception):
    """Base of all errors: a message, a stable ``code``, and a remedy.

    ``details`` contains JSON-able facts (names, paths, the server's codes), never a row's values or
    a secret. ``retryable`` means that the same call may succeed later without any change.
    """

    code: ClassVar[str] = "STREAMS_ERROR"
    category: ClassVar[str] = "general"
    retryable: bool = False

    def __init__(
        self,
        message: str,
        *,
        remedy: str | None = None,
        retryable: bool | None = None,
        **details: Any,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        self.details = details
        if retryable is not None:
            self.retryable = retryable

    def __str__(self) -> str:
        return f"{self.message} {self.remedy}" if self.remedy else self.message

    def to_dict(self) -> dict[str, Any]:
        """Return the error as a JSON-able document."""
        return {
            "code": self.code,
            "category": self.category,
            "message": self.message,
            "remedy": self.remedy,
            "retryable": self.retryable,
            "details": self.details,
        }


class ConfigError(StreamsError):
    """A document or an argument is wrong; ``path`` is the JSON path of the error."""

    code = "INVALID_CONFIG"
    category = "config"

    def __init__(self, message: str, *, path: str = "$", remedy: str | None = None, **details: Any):
        super().__init__(message, remedy=remedy, path=path, **details)
        self.path = path


class StateConflict(StreamsError):
    """The state forbids the call; nothing was changed."""

    code = "STATE_CONFLICT"
    category = "state"


class NotFound(StreamsError):
    """A named object does not exist."""

    code = "NOT_FOUND"
    category = "config"


class ConnectionFailed(StreamsError):
    """A server cannot be reached, or a connection broke."""

    code = "CONNECTION_FAILED"
    category = "connection"
    retryable = True


class AuthenticationFailed(ConnectionFailed):
    """The server refused the credentials."""

    code = "AUTHENTICATION_FAILED"
    retryable = False


class SnapshotLost(ConnectionFailed):
    """A reader was lost, and with it the consistent snapshot, which no session can rejoin."""

    code = "SNAPSHOT_LOST"
    retryable = False


class PermissionDenied(StreamsError):
    """The account lacks a privilege."""

    code = "PERMISSION_DENIED"
    category = "permission"


class LockTimeout(StreamsError):
    """A lock could not be acquired within its timeout."""

    code = "LOCK_TIMEOUT"
    category = "database"
    retryable = True


class TargetConflict(StreamsError):
    """``schemaPolicy`` or ``writeMode`` does not allow the existing objects on the target."""

    code = "TARGET_CONFLICT"
    category = "target"


class UnsupportedType(StreamsError):
    """A column's type has no mapping to the target."""

    code = "UNSUPPORTED_TYPE"
    category = "types"


class LossyMapping(StreamsError):
    """A mapping would lose values, and ``allowLossy`` was not given."""

    code = "LOSSY_MAPPING"
    category = "types"


class RowRejected(StreamsError):
    """A row was refused by the target, or one of its values fits no target value."""

    code = "ROW_REJECTED"
    category = "data"
    find_unfit: Callable[[], Any] | None = None
    """Within a quarantine: returns a mask of all rows of the block that an encoder refuses."""


class MalformedFile(StreamsError):
    """A file cannot be read as its format; names the file and the line or row group."""

    code = "MALFORMED_FILE"
    category = "data"


class CheckpointMismatch(StreamsError):
    """The checkpoint was written for another source or another config."""

    code = "CHECKPOINT_MISMATCH"
    category = "state"


class SourceChanged(StreamsError):
    """The source's structure changed while it was being copied."""

    code = "SOURCE_CHANGED"
    category = "source"


class ProtocolViolation(StreamsError):
    """A server sent bytes that its protocol does not allow; none of them were used."""

    code = "PROTOCOL_VIOLATION"
    category = "connection"


class LogLost(StreamsError):
    """The source's log does not continue from the checkpoint; nothing is silently skipped."""

    code = "LOG_LOST"
    category = "source"


class SchemaChangeRefused(StreamsError):
    """A schema change in the log that ``schemaChanges`` or the target does not allow."""

    code = "SCHEMA_CHANGE_REFUSED"
    category = "source"


class FencedOff(StreamsError):
    """Another process has taken over the stream; this one changes nothing more."""

    code = "FENCED_OFF"
    category = "state"


class StoreFailed(StreamsError):
    """The file of an `Engine` could not be read or written."""

    code = "STORE_FAILED"
    category = "engine"
    retryable = True


class ProcessLost(StreamsError):
    """A process ended in the middle of its work: that of an `Engine`'s run, or workers of a
    cluster with the same chunk."""

    code = "PROCESS_LOST"
    category = "engine"


class QueryRefused(StreamsError):
    """A statement is not a SELECT, cannot be parsed, or names something that does not exist.

    ``details`` may contain ``line`` and ``column``, counted from one.
    """

    code = "QUERY_REFUSED"
    category = "query"


class QueryFailed(StreamsError):
    """A statement over several sources failed in DuckDB, which joins them."""

    code = "QUERY_FAILED"
    category = "query"


class QueryStopped(StreamsError):
    """A query was cancelled; it no longer runs on any server."""

    code = "QUERY_STOPPED"
    category = "query"


class QueryTimeout(QueryStopped):
    """A query took longer than its timeout, and was cancelled."""

    code = "QUERY_TIMEOUT"


class ServerError(StreamsError):
    """A database reported an error that has no class of its own here."""

    code = "SERVER_ERROR"
    category = "database"


class InternalError(StreamsError):
    """A bug in this library; please report it."""

    code = "INTERNAL_ERROR"
    category = "internal"


T = TypeVar("T")


def require(value: T | None, what: str) -> T:
    """Return a value that must exist. Raises `InternalError` naming it if it is None."""
    if value is None:
        raise InternalError(
            f"A fault of streams_engine: {what} is missing.",
            remedy="Please report it with the log of streams_engine.stream.",
        )
    return value
