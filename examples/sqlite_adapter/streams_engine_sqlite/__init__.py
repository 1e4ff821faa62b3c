"""SQLite as a source and a target of streams_engine, by URLs ``sqlite:///path``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

from streams_engine.config import AdapterConnection
from streams_engine.contracts import Adapter, Sink, SinkRequest, Source, SourceRequest
from streams_engine.errors import ConfigError
from streams_engine.model import Dialect

__all__ = ["ADAPTER"]


def connection(document: Mapping[str, Any] | str, root: str) -> AdapterConnection:
    """``sqlite:///path``, or ``{"type": "sqlite", "path": ...}``."""
    if isinstance(document, str):
        path, name = unquote(urlsplit(document).path), None
    else:
        path, name = document.get("path"), document.get("name")
        unknown = sorted(set(document) - {"type", "path", "name"})
        if unknown:
            raise ConfigError(f"{root}.{unknown[0]}: unknown key.", path=f"{root}.{unknown[0]}")
    if not isinstance(path, str) or not path.strip("/"):
        raise ConfigError(
            f"{root}: no file is named.", path=root, remedy="Write sqlite:///path/of/the/file."
        )
    return AdapterConnection("sqlite", f"sqlite://{path}", {"path": path}, name)


def source(request: SourceRequest) -> Source:
    """Open the tables of a file."""
    from streams_engine_sqlite.source import SqliteSource

    if request.log is not None:
        raise ConfigError("$.mode: SQLite has no change log.", path="$.mode")
    return SqliteSource(request.connection.settings["path"])


def sink(request: SinkRequest) -> Sink:
    """Open a file that tables are written to."""
    from streams_engine_sqlite.sink import SqliteSink

    return SqliteSink(request.connection.settings["path"])


def canonical(request: SourceRequest | SinkRequest) -> Any:
    """Open a file for `verify`."""
    from streams_engine_sqlite.source import SqliteCanonical

    return SqliteCanonical(request.connection.settings["path"])


ADAPTER = Adapter(
    kinds=("sqlite",),
    dialect=Dialect.FILES,  # its types are Arrow's, and it makes its own tables
    connection=connection,
    source=source,
    sink=sink,
    canonical=canonical,
)
