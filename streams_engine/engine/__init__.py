"""The control plane without the web: connections, stream configs and runs in one file."""

from streams_engine.engine.aio import AsyncEngine
from streams_engine.engine.core import Engine

__all__ = ["AsyncEngine", "Engine"]
