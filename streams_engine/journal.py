"""What happened in a run, as structured records: into `logging`, and to whoever listens.

A record never holds a row's value or a secret. Its keys are those of the extras that standard
logging gets: ``stream``, ``event``, ``table`` and what the event adds.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Journal", "Listener", "Record"]

log = logging.getLogger("streams_engine.stream")


@dataclass(frozen=True, slots=True)
class Record:
    """One thing that happened."""

    at: float
    """Unix seconds."""
    level: int
    """Of `logging`: INFO, WARNING, ERROR."""
    event: str
    """Stable, kebab-case, as ``table-copied`` or ``reconnecting``."""
    message: str
    table: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """As a JSON-able document."""
        return {
            "time": self.at,
            "level": logging.getLevelName(self.level),
            "event": self.event,
            "message": self.message,
            "table": self.table,
            "details": dict(self.details),
        }


Listener = Callable[[Record], None]


class Journal:
    """The records of one stream. Thread-safe; a listener's exceptions are logged."""

    def __init__(self, stream: str = "") -> None:
        self.stream = stream
        self._listeners: list[Listener] = []

    def listen(self, listener: Listener) -> None:
        """Call with each record from now on, on the thread that makes it."""
        self._listeners.append(listener)

    def note(
        self, level: int, event: str, message: str, *, table: object = None, **details: Any
    ) -> None:
        """Something happened."""
        named = None if table is None else str(table)
        extra = {"stream": self.stream, "event": event, "table": named, **details}
        log.log(level, message, extra=extra)
        if not self._listeners:
            return
        record = Record(time.time(), level, event, message, named, details)
        for listener in list(self._listeners):
            try:
                listener(record)
            except Exception:
                log.exception("a listener raised", extra={"stream": self.stream})
