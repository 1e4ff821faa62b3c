"""Waits of a snapshot for other sessions of a source: reported, and ended by pause and stop."""

from __future__ import annotations

from dataclasses import dataclass

from streams_engine.model import Finding, Severity, TableId
from streams_engine.pipeline.control import Control
from streams_engine.stats import Counters

__all__ = ["StartInterrupted", "StartWaits"]


class StartInterrupted(Exception):
    """The run is to pause or to end while it waits: nothing is wrong."""


@dataclass(frozen=True, slots=True)
class StartWaits:
    """The callback that a source tells its waits to. Raises `StartInterrupted` once they should
    end."""

    control: Control
    counters: Counters
    alias: str
    reloads: TableId | None = None
    """The table that is read again; None: the stream starts, or tables join."""

    def __call__(self, what: str) -> None:
        if self.control.cut():
            raise StartInterrupted
        self.counters.phase = "waiting"
        code, where, blocked = (
            ("start-waits", f"source {self.alias}".strip(), "the start of the stream")
            if self.reloads is None
            else ("reload-waits", str(self.reloads), "the snapshot in which it is read again")
        )
        remedy = "End those sessions, or stop the stream."
        message = f"Other sessions block {blocked}. {what}"
        self.counters.found([Finding(Severity.INFO, code, where, message, remedy)])
