"""The adapter of PostgreSQL. Drivers are imported when one is opened."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streams_engine.adapters.sql.login import database_of, login
from streams_engine.config.connection import server_connection
from streams_engine.contracts import (
    Adapter,
    Explorer,
    Navigator,
    Sink,
    SinkRequest,
    Source,
    SourceRequest,
    StatementSession,
)
from streams_engine.model import Dialect

if TYPE_CHECKING:
    from streams_engine.adapters.postgres.canonical import PostgresCanonical
    from streams_engine.adapters.postgres.connection import PostgresConnect

__all__ = ["ADAPTER"]


def _connect(request: SourceRequest | SinkRequest) -> PostgresConnect:
    from streams_engine.adapters.postgres.connection import PostgresConnect

    connection = request.connection
    return PostgresConnect(
        host=connection.unix_socket or connection.host,
        database=database_of(request) or "postgres",
        heartbeat=request.patience.heartbeat,
        lock_seconds=request.patience.lock_seconds,
        on_statement=request.on_statement,
        **login(connection, request.resolvers),
    )


def _source(request: SourceRequest) -> Source:
    if request.log is not None:
        from streams_engine.adapters.postgres.replication.source import PostgresChangeSource

        return PostgresChangeSource(_connect(request), request.log)
    from streams_engine.adapters.postgres.snapshot.source import PostgresSource

    return PostgresSource(_connect(request), looking=request.looking)


def _sink(request: SinkRequest) -> Sink:
    from streams_engine.adapters.postgres.sink.sink import PostgresSink

    return PostgresSink(
        _connect(request),
        state_schema=request.state_schema,
        search_path=request.search_path,
        create_database=request.create_database,
    )


def _explorer(request: SourceRequest) -> Explorer:
    from streams_engine.adapters.postgres.explorer import PostgresExplorer

    return PostgresExplorer(_connect(request))


def _navigator(request: SourceRequest) -> Navigator:
    from streams_engine.adapters.postgres.navigation import PostgresNavigator

    return PostgresNavigator(_connect(request))


def _session(request: SourceRequest) -> StatementSession:
    from streams_engine.adapters.postgres.statements import PostgresStatements

    return PostgresStatements(_connect(request), request.connection.schema)


def _canonical(request: SourceRequest | SinkRequest) -> PostgresCanonical:
    from streams_engine.adapters.postgres.canonical import PostgresCanonical

    return PostgresCanonical(_connect(request))


ADAPTER = Adapter(
    kinds=("postgresql", "postgres"),
    dialect=Dialect.POSTGRES,
    connection=server_connection,
    source=_source,
    sink=_sink,
    explorer=_explorer,
    navigator=_navigator,
    session=_session,
    canonical=_canonical,
)
