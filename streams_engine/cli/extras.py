"""Commands whose libraries come with an extra of their own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from streams_engine.cli.names import complete_connections
from streams_engine.cli.session import Session, command
from streams_engine.errors import ConfigError

__all__ = ["register"]


def register(root: typer.Typer) -> None:
    """Add the commands."""
    command(root, "lsp")(lsp)
    command(root, "top")(top)


@contextmanager
def needing(extra: str, *packages: str) -> Iterator[None]:
    """Translate a missing package to a `ConfigError` that names the extra."""
    try:
        yield
    except ModuleNotFoundError as missing:
        if (missing.name or "").partition(".")[0] not in packages:
            raise
        raise ConfigError(
            f"{missing.name} is not installed.", remedy=f"pip install 'streams-engine[{extra}]'"
        ) from None


def lsp(
    session: Session,
    connection: Annotated[
        str | None,
        typer.Option(
            "--connection",
            "-c",
            help="The connection of documents whose first line names none (-- connection: NAME); "
            "without, all connections by their names.",
            autocompletion=complete_connections,
        ),
    ] = None,
) -> None:
    """Help an editor over standard input and output (Language Server Protocol)."""
    with needing("lsp", "pygls", "lsprotocol"):
        from streams_engine.cli.language_server import language_server
    with session.engine() as engine:
        if connection is not None:
            engine.connections.get(connection)
        server, help_ = language_server(engine, connection)
        try:
            server.start_io()
        finally:
            help_.close()


def top(
    session: Session,
    every: Annotated[
        float, typer.Option("--every", min=0.2, help="Seconds between updates.")
    ] = 1.0,
) -> None:
    """Watch all streams on a full screen: tables, lag, throughput; pause, resume and stop them."""
    with needing("top", "textual"):
        from streams_engine.cli.top import Top
    with session.engine() as engine:
        Top(engine, every).run()
