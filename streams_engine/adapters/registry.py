"""Open sources, sinks and explorers by the adapter of their kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from streams_engine.config import Connection, Resolver
from streams_engine.config.adapters import adapter_of
from streams_engine.config.connection import ObjectConnection
from streams_engine.config.documents import Options, SourceConnection
from streams_engine.config.stream import StreamConfig
from streams_engine.contracts import (
    Adapter,
    DataFileStore,
    Explorer,
    Navigator,
    Patience,
    Sink,
    SinkRequest,
    Source,
    SourceRequest,
    StatementListener,
    StatementSession,
)
from streams_engine.errors import ConfigError
from streams_engine.model import LogOptions

__all__ = [
    "open_explorer",
    "open_files",
    "open_navigator",
    "open_session",
    "open_sink",
    "open_source",
    "open_source_canonical",
    "open_target_canonical",
    "patience_of",
]

Request = TypeVar("Request", bound=SourceRequest | SinkRequest)
Opened = TypeVar("Opened")


def patience_of(options: Options) -> Patience:
    """Return how long a stream's options let a server take."""
    return Patience(options.heartbeat_timeout, options.lock_timeout)


def open_source(
    connection: Connection,
    document: SourceConnection,
    resolvers: Mapping[str, Resolver],
    path: str,
    log: LogOptions | None = None,
    *,
    looking: bool = False,
    patience: Patience | None = None,
    on_statement: StatementListener | None = None,
) -> Source:
    """Create the source of a connection; it connects when it is used. Raises `ConfigError`.

    ``log``: its change log will be read; ``looking``: it is opened for previews, and no log
    continues from what is read.
    """
    times = patience or Patience()
    request = SourceRequest(
        connection, document, resolvers, path, log, looking, times, on_statement
    )
    return _opened(request, _adapter(connection).source, "source", path)


def open_sink(
    config: StreamConfig,
    resolvers: Mapping[str, Resolver],
    *,
    state_schema: str | None,
    search_path: tuple[str, ...],
    on_statement: StatementListener | None = None,
) -> Sink:
    """Create the sink of a stream's target; it connects when it is used. Raises `ConfigError`."""
    request = SinkRequest(
        config.target,
        config.document.target.spec,
        resolvers,
        state_schema,
        search_path,
        patience_of(config.options),
        on_statement,
        config.db.create_database,
    )
    return _opened(request, _adapter(config.target).sink, "target", "$.target")


def open_explorer(
    connection: Connection, document: SourceConnection, resolvers: Mapping[str, Resolver]
) -> Explorer:
    """Create the explorer of a connection. Raises `ConfigError`."""
    request = SourceRequest(connection, document, resolvers)
    return _opened(request, _adapter(connection).explorer, "connection to explore", "$")


def open_navigator(
    connection: Connection, document: SourceConnection, resolvers: Mapping[str, Resolver]
) -> Navigator:
    """Open a look around a connection. Raises `ConfigError`."""
    request = SourceRequest(connection, document, resolvers)
    return _opened(request, _adapter(connection).navigator, "connection to explore", "$")


def open_session(
    connection: Connection, document: SourceConnection, resolvers: Mapping[str, Resolver]
) -> StatementSession:
    """Open a connection for statements of its users. Raises `ConfigError` if it takes none."""
    request = SourceRequest(connection, document, resolvers)
    return _opened(request, _adapter(connection).session, "server that runs statements", "$")


def open_files(connection: Connection, resolvers: Mapping[str, Resolver]) -> DataFileStore:
    """Open the files of a connection. Raises `ConfigError` if it has none."""
    request = SourceRequest(connection, SourceConnection(), resolvers)
    return _opened(request, _adapter(connection).files, "store of files", "$")


def open_source_canonical(
    connection: Connection,
    document: SourceConnection,
    resolvers: Mapping[str, Resolver],
    *,
    heartbeat: float = 30.0,
) -> Any:
    """Open the source end of `verify`: values as the source's own texts. Raises `ConfigError`."""
    times = Patience(heartbeat)
    request = SourceRequest(connection, document, resolvers, "$.source", patience=times)
    return _opened(request, _adapter(connection).canonical, "side of a verification", "$")


def open_target_canonical(config: StreamConfig, resolvers: Mapping[str, Resolver]) -> Any:
    """Open the target end of `verify`: values as the target's own texts. Raises `ConfigError`."""
    times = Patience(config.options.heartbeat_timeout)
    request = SinkRequest(config.target, config.document.target.spec, resolvers, patience=times)
    return _opened(request, _adapter(config.target).canonical, "side of a verification", "$")


def _adapter(connection: Connection) -> Adapter:
    if isinstance(connection, ObjectConnection):
        return _OBJECT
    return adapter_of(connection.kind, "$")


def _opened(
    request: Request, opening: Callable[[Request], Opened] | None, role: str, path: str
) -> Opened:
    if opening is None:
        raise _no(request.connection, role, path)
    return opening(request)


def _no(connection: Connection, role: str, path: str) -> ConfigError:
    return ConfigError(
        f"{path}: a connection of type {connection.kind} cannot be a {role}.", path=path
    )


# Ends that the caller made


def _source_object(request: SourceRequest) -> Source:
    end = request.connection.end
    if not hasattr(end, "snapshot"):
        raise _no(request.connection, "source", request.path)
    source: Source = end
    return source


def _sink_object(request: SinkRequest) -> Sink:
    end = request.connection.end
    if not hasattr(end, "write_rows"):
        raise _no(request.connection, "target", "$.target")
    sink: Sink = end
    return sink


def _canonical_object(request: SourceRequest | SinkRequest) -> Any:
    end = request.connection.end
    if not hasattr(end, "canonical"):
        raise _no(request.connection, "side of a verification", "$")
    return end.canonical()


_OBJECT = Adapter(
    kinds=("object",),
    dialect=None,
    connection=lambda end, _: ObjectConnection(end),
    source=_source_object,
    sink=_sink_object,
    canonical=_canonical_object,
)
"""A source or sink that the caller made; it is the caller who closes it."""
