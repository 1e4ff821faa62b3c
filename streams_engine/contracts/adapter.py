"""Descriptor of an adapter: what a package offers for one kind of connection."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from streams_engine.contracts.explorer import Explorer
from streams_engine.contracts.files import DataFileStore
from streams_engine.contracts.navigation import Navigator
from streams_engine.contracts.sink import Sink
from streams_engine.contracts.source import Source
from streams_engine.contracts.statements import StatementSession
from streams_engine.model import Dialect, LogOptions

__all__ = ["Adapter", "Patience", "SinkRequest", "SourceRequest", "StatementListener"]


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds to wait for a server in its different states."""

    heartbeat: float = 30.0
    """Without a sign of life; then a connection is taken for dead."""
    lock_seconds: float = 10.0
    """For a lock that another session holds."""


StatementListener = Callable[[str, str], None]
"""Called with each statement that is sent to a server, and the kind of the server. The statement
may hold values of rows."""


@dataclass(frozen=True, slots=True)
class SourceRequest:
    """Everything needed to open a source or an explorer."""

    connection: Any
    """The result of `Adapter.connection` for the document or URL."""
    document: Any = None
    """The entry of the stream document (`config.documents.SourceConnection`)."""
    resolvers: Mapping[str, Callable[[str], str]] = field(default_factory=dict)
    """For `config.secret.Secret.reveal`."""
    path: str = "$"
    """The JSON path of the entry, for messages."""
    log: LogOptions | None = None
    """Its log is to be followed: return a `ChangeSource`, or raise `ConfigError`."""
    looking: bool = False
    """No log goes on from what is read."""
    patience: Patience = Patience()
    on_statement: StatementListener | None = None


@dataclass(frozen=True, slots=True)
class SinkRequest:
    """Everything needed to open a sink or an explorer."""

    connection: Any
    """The result of `Adapter.connection` for the document or URL."""
    spec: Any = None
    """`target.spec` of the stream document (`config.documents.TargetSpec`)."""
    resolvers: Mapping[str, Callable[[str], str]] = field(default_factory=dict)
    """For `config.secret.Secret.reveal`."""
    state_schema: str | None = None
    """Where checkpoint records lie; None: the adapter's own choice."""
    search_path: tuple[str, ...] = ()
    """The schemas in which names without one are looked up."""
    patience: Patience = Patience()
    on_statement: StatementListener | None = None
    create_database: bool = False
    """Create the database if it does not exist; False: refuse it."""


@dataclass(frozen=True, slots=True)
class Adapter:
    """One kind of place: how it is named, and how it is opened.

    The object of an entry point in the group ``streams_engine.adapters``; the module that holds
    it is imported when a stream names the kind. Import drivers in the functions, so that they
    are loaded when a place is opened. A function that is None: it cannot be used so.
    """

    kinds: tuple[str, ...]
    """The words that URLs begin with and documents have as ``type``, in lower case. Each needs an
    entry point of its name."""
    dialect: Dialect | None
    """Whose types and SQL it speaks. `Dialect.FILES`: types are Arrow's, and the adapter makes
    its own tables; None: it takes every type as it is read."""
    connection: Callable[[Mapping[str, Any] | str, str], Any]
    """Parse a document or a URL; the other argument is its JSON path. Connect to nothing. Return
    a `config.connection.Connection`, raise `ConfigError` naming the path of a fault."""
    source: Callable[[SourceRequest], Source] | None = None
    """Open what is read; connect when its methods are called."""
    sink: Callable[[SinkRequest], Sink] | None = None
    """Open what is written; connect when its methods are called."""
    explorer: Callable[[SourceRequest], Explorer] | None = None
    """Open a look at what is there."""
    files: Callable[[SourceRequest], DataFileStore] | None = None
    """Open the files themselves, where it holds tables as files."""
    navigator: Callable[[SourceRequest], Navigator] | None = None
    """Open a look at objects beside tables, and at sizes."""
    session: Callable[[SourceRequest], StatementSession] | None = None
    """Open it for statements of its users."""
    canonical: Callable[[SourceRequest | SinkRequest], Any] | None = None
    """Open what `verify` reads the place's texts through (`verify.rows.Canonical`)."""
