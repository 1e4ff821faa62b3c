"""`AsyncEngine`: the same engine for asyncio. A thin face: the work runs on threads."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

from streams_engine.engine.core import Engine

__all__ = ["AsyncEngine"]


class Awaited:
    """An object whose methods are awaited; those that give iterators are iterated with
    ``async for``."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._inner, name)
        if not callable(method) or name.startswith("_"):
            raise AttributeError(name)
        if name.startswith("follow_"):
            return lambda *args, **kwargs: _iterated(method(*args, **kwargs))

        def called(*args: Any, **kwargs: Any) -> Awaitable[Any]:
            return asyncio.to_thread(method, *args, **kwargs)

        called.__doc__ = method.__doc__
        return called

    def __dir__(self) -> list[str]:
        return [name for name in dir(self._inner) if not name.startswith("_")]


class AsyncEngine:
    """An `Engine` whose operations are awaited: ``await engine.connections.ping(id)``.

    ``connections``, ``configs``, ``streams`` and ``sql`` have the methods of `Engine`'s, each
    awaited; ``async for record in engine.streams.follow_logs(id)`` follows a log.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """As `Engine`; does not wait for any server."""
        self._engine = Engine(*args, **kwargs)
        self.connections = Awaited(self._engine.connections)
        self.configs = Awaited(self._engine.configs)
        self.streams = Awaited(self._engine.streams)
        self.sql = Awaited(self._engine.sql)

    async def data(self, *args: Any, **kwargs: Any) -> Any:
        """As `Engine.data`."""
        return await asyncio.to_thread(self._engine.data, *args, **kwargs)

    async def count(self, *args: Any, **kwargs: Any) -> int:
        """As `Engine.count`."""
        return await asyncio.to_thread(self._engine.count, *args, **kwargs)

    async def query(self, *args: Any, **kwargs: Any) -> Any:
        """As `Engine.query`."""
        return await asyncio.to_thread(self._engine.query, *args, **kwargs)

    async def explain(self, *args: Any, **kwargs: Any) -> Any:
        """As `Engine.explain`."""
        return await asyncio.to_thread(self._engine.explain, *args, **kwargs)

    async def close(self) -> None:
        """As `Engine.close`."""
        await asyncio.to_thread(self._engine.close)

    async def __aenter__(self) -> AsyncEngine:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


async def _iterated(items: Iterator[Any]) -> AsyncIterator[Any]:
    done = object()
    while (item := await asyncio.to_thread(next, items, done)) is not done:
        yield item
