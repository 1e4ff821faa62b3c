"""Names of stored things, for the completion of shells."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streams_engine.cli.session import ENGINE_VARIABLE
from streams_engine.errors import NotFound, StreamsError

if TYPE_CHECKING:
    from streams_engine.engine import Engine

__all__ = ["complete_configs", "complete_connections", "complete_streams", "stream_id"]


def _completed(listed: Callable[[Engine], Iterator[str]]) -> Callable[..., list[str]]:
    def complete(incomplete: str = "") -> list[str]:
        """Return the names that begin so; none where the engine cannot be opened."""
        from streams_engine.engine import Engine

        file = os.environ.get(ENGINE_VARIABLE)
        if not file or not Path(file).is_file():
            return []
        with suppress(StreamsError), Engine(file) as engine:
            return [name for name in listed(engine) if name.startswith(incomplete)]
        return []

    return complete


complete_connections = _completed(lambda engine: (one["name"] for one in engine.connections.all()))
complete_configs = _completed(lambda engine: (one["name"] for one in engine.configs.all()))
complete_streams = _completed(lambda engine: (one["id"] for one in engine.streams.all()))


def stream_id(engine: Engine, reference: str) -> str:
    """Return the id of a stream: itself, or of a config (by id or name) its newest run.

    Raises `NotFound`.
    """
    if reference.startswith("stream_"):
        return reference
    latest: dict[str, Any] | None = engine.configs.get(reference)["latestRun"]
    if latest is None:
        raise NotFound(
            f"The config '{reference}' was never started.",
            remedy=f"streams-engine streams start {reference}",
        )
    return str(latest["id"])
