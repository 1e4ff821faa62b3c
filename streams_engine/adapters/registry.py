"""Which adapter serves which connection. Drivers are imported only when one is opened."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from streams_engine.adapters.files import opening as files
from streams_engine.changes import LogOptions
from streams_engine.config import Connection, DatabaseConnection, NullConnection, Resolver
from streams_engine.config.connection import FilesConnection, S3Connection
from streams_engine.config.documents import SourceConnection
from streams_engine.config.secret import Secret
from streams_engine.config.stream import StreamConfig
from streams_engine.errors import ConfigError
from streams_engine.exploring import Explorer
from streams_engine.protocols import Sink, Source

__all__ = [
    "open_explorer",
    "open_sink",
    "open_source",
    "open_source_canonical",
    "open_target_canonical",
]


def open_source(
    connection: Connection,
    document: SourceConnection,
    resolvers: Mapping[str, Resolver],
    path: str,
    log: LogOptions | None = None,
    *,
    looking: bool = False,
    heartbeat: float = 30.0,
) -> Source:
    """The source behind a connection; nothing is connected yet. Raises `ConfigError`.

    ``log``: its log is to be followed; ``looking``: no log goes on from what is read;
    ``heartbeat``: seconds of silence after which a connection is taken for dead.
    """
    if isinstance(connection, DatabaseConnection):
        if connection.kind == "postgresql":
            postgres = replace(
                _postgres(connection, document.database, resolvers), heartbeat=heartbeat
            )
            if log is not None:
                from streams_engine.adapters.postgres.changes import PostgresChangeSource

                return PostgresChangeSource(postgres, log)
            from streams_engine.adapters.postgres.source import PostgresSource

            return PostgresSource(postgres, looking=looking)
        mysql = replace(_mysql(connection, document.database, resolvers), heartbeat=heartbeat)
        if log is not None:
            from streams_engine.adapters.mysql.changes import MysqlChangeSource

            return MysqlChangeSource(mysql, log)
        from streams_engine.adapters.mysql.source import MysqlSource

        return MysqlSource(mysql, looking=looking)
    if isinstance(connection, FilesConnection | S3Connection):
        return files.open_source(connection, document, resolvers, path)
    raise _no(connection, "source", path)


def open_sink(
    config: StreamConfig,
    resolvers: Mapping[str, Resolver],
    *,
    state_schema: str | None,
    search_path: tuple[str, ...],
) -> Sink:
    """The sink behind a stream's target; nothing is connected yet. Raises `ConfigError`."""
    connection, database = config.target, config.db.database
    heartbeat = config.options.heartbeat_timeout
    if isinstance(connection, NullConnection):
        from streams_engine.adapters.null import NullSink

        return NullSink()
    if isinstance(connection, DatabaseConnection) and connection.kind == "postgresql":
        from streams_engine.adapters.postgres.sink import PostgresSink

        return PostgresSink(
            replace(_postgres(connection, database, resolvers), heartbeat=heartbeat),
            state_schema=state_schema,
            search_path=search_path,
        )
    if isinstance(connection, DatabaseConnection):
        from streams_engine.adapters.mysql.sink import MysqlSink

        mysql = replace(_mysql(connection, database, resolvers), heartbeat=heartbeat)
        return MysqlSink(mysql, state_schema=state_schema)
    return files.open_sink(connection, config.document.target.spec, resolvers)


def open_explorer(
    connection: Connection, document: SourceConnection, resolvers: Mapping[str, Resolver]
) -> Explorer:
    """A look at what a connection leads to. Raises `ConfigError`."""
    if isinstance(connection, FilesConnection | S3Connection):
        from streams_engine.adapters.files.exploring import FilesExplorer

        return FilesExplorer(files.open_source(connection, document, resolvers, "$"))
    if not isinstance(connection, DatabaseConnection):
        raise _no(connection, "place to look at", "$")
    if connection.kind == "postgresql":
        from streams_engine.adapters.postgres.exploring import PostgresExplorer

        return PostgresExplorer(_postgres(connection, document.database, resolvers))
    from streams_engine.adapters.mysql.exploring import MysqlExplorer

    return MysqlExplorer(_mysql(connection, document.database, resolvers))


def open_source_canonical(
    connection: Connection, document: SourceConnection, resolvers: Mapping[str, Resolver]
) -> Any:
    """What `verify` reads a source's own texts through. Raises `ConfigError`."""
    if isinstance(connection, FilesConnection | S3Connection):
        return files.open_source_canonical(connection, document, resolvers)
    return _canonical(connection, document.database, resolvers)


def open_target_canonical(config: StreamConfig, resolvers: Mapping[str, Resolver]) -> Any:
    """What `verify` reads the target's own texts through. Raises `ConfigError`."""
    if isinstance(config.target, FilesConnection | S3Connection):
        spec = config.document.target.spec
        return files.open_target_canonical(config.target, spec, resolvers)
    return _canonical(config.target, config.db.database, resolvers)


def _canonical(
    connection: Connection, database: str | None, resolvers: Mapping[str, Resolver]
) -> Any:
    if isinstance(connection, DatabaseConnection):
        if connection.kind == "postgresql":
            from streams_engine.adapters.postgres.canonical import PostgresCanonical

            return PostgresCanonical(_postgres(connection, database, resolvers))
        from streams_engine.adapters.mysql.canonical import MysqlCanonical

        return MysqlCanonical(_mysql(connection, database, resolvers))
    raise _no(connection, "end of a verification", "$")


def _password(connection: DatabaseConnection, resolvers: Mapping[str, Resolver]) -> str | None:
    return None if connection.password is None else connection.password.reveal(resolvers)


def _pem(given: str | None, resolvers: Mapping[str, Resolver]) -> str | None:
    """A certificate or key as it is given, or what its reference leads to."""
    return None if given is None else Secret(given).reveal(resolvers)


def _postgres(
    connection: DatabaseConnection, database: str | None, resolvers: Mapping[str, Resolver]
) -> Any:
    from streams_engine.adapters.postgres.connect import PostgresConnect

    return PostgresConnect(
        host=connection.unix_socket or connection.host,
        port=connection.port,
        user=connection.username,
        password=_password(connection, resolvers),
        database=database or connection.database or "postgres",
        ssl_mode=connection.ssl.mode,
        ssl_ca=_pem(connection.ssl.ca, resolvers),
        ssl_cert=_pem(connection.ssl.client_cert, resolvers),
        ssl_key=_pem(connection.ssl.client_key, resolvers),
        clear_text=connection.ssl.allow_clear_text,
    )


def _mysql(
    connection: DatabaseConnection, database: str | None, resolvers: Mapping[str, Resolver]
) -> Any:
    from streams_engine.adapters.mysql.connect import MysqlConnect

    return MysqlConnect(
        kind=connection.kind,
        host=connection.host,
        port=connection.port,
        user=connection.username,
        password=_password(connection, resolvers),
        database=database or connection.database,
        ssl_mode=connection.ssl.mode,
        ssl_ca=_pem(connection.ssl.ca, resolvers),
        ssl_cert=_pem(connection.ssl.client_cert, resolvers),
        ssl_key=_pem(connection.ssl.client_key, resolvers),
        clear_text=connection.ssl.allow_clear_text,
        unix_socket=connection.unix_socket,
    )


def _no(connection: Connection, role: str, path: str) -> ConfigError:
    kind = connection.identity()["type"]
    return ConfigError(f"{path}: a connection of type {kind} cannot be a {role}.", path=path)
