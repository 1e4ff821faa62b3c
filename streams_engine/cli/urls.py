"""The connection document that a URL stands for, as an engine stores it."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote, urlsplit

from streams_engine.config import parse_connection
from streams_engine.config.connection import DatabaseConnection, FilesConnection, S3Connection
from streams_engine.errors import ConfigError

__all__ = ["connection_document"]


def connection_document(url: str) -> dict[str, Any]:
    """Return the document of a URL; of ``env:NAME`` one that keeps the reference.

    Raises `ConfigError`.
    """
    if "://" not in url:
        return {"url": url}
    parsed = parse_connection(url)
    if isinstance(parsed, DatabaseConnection):
        if parsed.unix_socket is not None:
            raise ConfigError(
                "$: a stored connection has no socket.", path="$", remedy="Name host and port."
            )
        tls = parsed.ssl.model_dump(by_alias=True, exclude_defaults=True)
        password = urlsplit(url).password
        given = {
            "type": parsed.kind,
            "host": parsed.host,
            "port": parsed.port,
            "username": parsed.username,
            "password": None if password is None else unquote(password),
            "database": parsed.database,
            "schema": parsed.schema,
            "ssl": tls or None,
        }
        return {key: value for key, value in given.items() if value is not None}
    if isinstance(parsed, S3Connection):
        s3 = {
            "scope": {"bucket": parsed.bucket, "prefix": parsed.prefix},
            "region": parsed.region,
            "endpoint": parsed.endpoint,
        }
        spec: dict[str, Any] = {"s3": {k: v for k, v in s3.items() if v is not None}}
    elif isinstance(parsed, FilesConnection) and parsed.protocol == "file":
        spec = {"files": {"basePath": parsed.base_path}}
    elif isinstance(parsed, FilesConnection):
        spec = {"store": {"url": url.partition("?")[0]}}
    else:
        raise ConfigError("$: such a URL is not stored.", path="$", remedy="Give a document.")
    shape = {"file_format": parsed.file_format} if parsed.file_format else {}
    return {"type": "files", "spec": spec, **shape}
