"""Structured records of a run's events, for `logging` and for listeners."""

from __future__ import annotations

import inspect
import logging
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

from streams_engine.errors import ConfigError

__all__ = [
    "CATEGORIES",
    "Event",
    "EventLog",
    "Listener",
    "Unsubscribe",
    "is_awaited",
    "notify",
    "refuse_awaited",
    "subscribe",
]


log = logging.getLogger("streams_engine.stream")


CATEGORIES = ("general", "progress", "stat", "sql", "error", "s3")
"""What records are about."""

OF_EVENTS: Mapping[str, str] = {
    "phase": "progress",
    "table": "progress",
    "stats": "stat",
    "verification": "stat",
    "sql": "sql",
    "stored": "s3",
    "quarantined": "error",
    "reconnecting": "error",
    "alert": "error",
}
"""The categories of events; any other is general, and a record of level ERROR is an error."""


def line_of(stream: str, table: str | None, message: str) -> str:
    """Return a record as one line that needs no other fields."""
    return ": ".join(filter(None, (stream, table, message)))


@dataclass(frozen=True, slots=True)
class Event:
    """One event of a run."""

    at: float
    """Unix seconds."""
    level: int
    """Of `logging`: INFO, WARNING, ERROR."""
    event: str
    """Stable, kebab-case, as ``table-copied`` or ``reconnecting``."""
    message: str
    """What happened, with its figures."""
    table: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)
    stream: str = ""
    category: str = "general"
    """One of `CATEGORIES`."""

    def __str__(self) -> str:
        return line_of(self.stream, self.table, self.message)

    def to_dict(self) -> dict[str, Any]:
        """Return the event as a JSON-able document."""
        return {
            "time": self.at,
            "level": logging.getLevelName(self.level),
            "category": self.category,
            "stream": self.stream,
            "event": self.event,
            "message": self.message,
            "table": self.table,
            "details": dict(self.details),
        }


Listener = Callable[[Event], None]

Unsubscribe = Callable[[], None]
"""Ends one subscription; calling it again does nothing."""

Callback = TypeVar("Callback", bound=Callable[..., None])


def is_awaited(callback: object) -> bool:
    """Return whether what a callback returns has to be awaited: it is ``async def``."""
    return inspect.iscoroutinefunction(callback) or inspect.iscoroutinefunction(
        getattr(callback, "__call__", None)  # noqa: B004 - an object whose call is async def
    )


def refuse_awaited(callback: object) -> None:
    """Raise `ConfigError` for a callback that nobody would await."""
    if is_awaited(callback):
        name = getattr(callback, "__qualname__", type(callback).__qualname__)
        raise ConfigError(
            f"The callback {name} is async def: a Stream would not await it.",
            remedy="Give a plain function, or use AsyncStream.",
        )


def subscribe(callbacks: list[Callback], callback: Callback) -> Unsubscribe:
    """Append a callback and return the function that removes it again. Thread-safe. Raises
    `ConfigError` for one that is ``async def``."""
    refuse_awaited(callback)
    callbacks.append(callback)
    subscribed = [callback]

    def unsubscribe() -> None:
        with suppress(IndexError):  # a second call
            callbacks.remove(subscribed.pop())

    return unsubscribe


class EventLog:
    """The records of one stream. Thread-safe; a listener's exceptions are logged."""

    def __init__(self, stream: str = "") -> None:
        self.stream = stream
        self._listeners: list[Listener] = []

    def listen(self, listener: Listener) -> Unsubscribe:
        """Call with each record from now on, on the thread that makes it, until unsubscribed."""
        return subscribe(self._listeners, listener)

    def note(
        self, level: int, event: str, message: str, *, table: object = None, **details: Any
    ) -> None:
        """Log an event and pass it to all listeners."""
        named = None if table is None else str(table)
        category = "error" if level >= logging.ERROR else OF_EVENTS.get(event, "general")
        record = Event(time.time(), level, event, message, named, details, self.stream, category)
        own = {"stream": self.stream, "event": event, "table": named, "category": category}
        extra = {**own, "text": message, **details}
        # The line is an argument: what is in it is no format.
        notify(self.stream, log.log, level, "%s", str(record), extra=extra)
        for listener in list(self._listeners):
            notify(self.stream, listener, record)


log = logging.getLogger("streams_engine.stream")


def notify(stream: str, callback: Callable[..., Any], *arguments: Any, **more: Any) -> None:
    """Call ``callback``; log whatever it raises, including `SystemExit`.

    Only Ctrl-C in the main thread passes. Call it under no lock.
    """
    try:
        callback(*arguments, **more)
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt) and _is_main():
            raise
        with suppress(Exception):  # it may be the logging itself that raises
            log.exception("a callback raised", extra={"stream": stream})


def _is_main() -> bool:
    return threading.current_thread() is threading.main_thread()
