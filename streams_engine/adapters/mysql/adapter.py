"""The adapter of MySQL and MariaDB. Drivers are imported when one is opened."""

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
    from streams_engine.adapters.mysql.canonical import MysqlCanonical
    from streams_engine.adapters.mysql.connection import MysqlConnect

__all__ = ["ADAPTER"]


def _connect(request: SourceRequest | SinkRequest) -> MysqlConnect:
    from streams_engine.adapters.mysql.connection import MysqlConnect

    connection = request.connection
    return MysqlConnect(
        kind=connection.kind,
        host=connection.host,
        unix_socket=connection.unix_socket,
        database=database_of(request),
        heartbeat=request.patience.heartbeat,
        lock_seconds=request.patience.lock_seconds,
        on_statement=request.on_statement,
        **login(connection, request.resolvers),
    )


def _source(request: SourceRequest) -> Source:
    if request.log is not None:
        from streams_engine.adapters.mysql.binlog.source import MysqlChangeSource

        return MysqlChangeSource(_connect(request), request.log)
    from streams_engine.adapters.mysql.snapshot.source import MysqlSource

    return MysqlSource(_connect(request), looking=request.looking)


def _sink(request: SinkRequest) -> Sink:
    from streams_engine.adapters.mysql.sink.sink import MysqlSink

    return MysqlSink(
        _connect(request),
        state_schema=request.state_schema,
        create_database=request.create_database,
    )


def _explorer(request: SourceRequest) -> Explorer:
    from streams_engine.adapters.mysql.explorer import MysqlExplorer

    return MysqlExplorer(_connect(request))


def _navigator(request: SourceRequest) -> Navigator:
    from streams_engine.adapters.mysql.navigation import MysqlNavigator

    return MysqlNavigator(_connect(request))


def _session(request: SourceRequest) -> StatementSession:
    from streams_engine.adapters.mysql.statements import MysqlStatements

    return MysqlStatements(_connect(request))


def _canonical(request: SourceRequest | SinkRequest) -> MysqlCanonical:
    from streams_engine.adapters.mysql.canonical import MysqlCanonical

    return MysqlCanonical(_connect(request))


ADAPTER = Adapter(
    kinds=("mysql", "mariadb"),
    dialect=Dialect.MYSQL,
    connection=server_connection,
    source=_source,
    sink=_sink,
    explorer=_explorer,
    navigator=_navigator,
    session=_session,
    canonical=_canonical,
)
