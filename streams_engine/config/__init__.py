"""The documents that a stream is made of: connections, and stream configs of both generations."""

from streams_engine.config.connection import (
    AdapterConnection,
    Connection,
    DatabaseConnection,
    FilesConnection,
    NullConnection,
    S3Connection,
    Ssl,
    parse_connection,
)
from streams_engine.config.secret import Resolver, Secret
from streams_engine.config.stream import Options, StreamConfig, parse_config

__all__ = [
    "AdapterConnection",
    "Connection",
    "DatabaseConnection",
    "FilesConnection",
    "NullConnection",
    "Options",
    "Resolver",
    "S3Connection",
    "Secret",
    "Ssl",
    "StreamConfig",
    "parse_config",
    "parse_connection",
]
